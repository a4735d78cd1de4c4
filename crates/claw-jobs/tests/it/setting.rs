//! A house without doors: store, gate, workspaces and services over a temporary folder.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use claw_agent::{
    gateway::{CredentialSource, Gateway, GatewayConfig},
    local::{LocalConfig, LocalSandbox},
    sandbox::{Limits, Sandbox, SandboxKind},
};
use claw_core::{
    Actor, Clock, Job, JobId, JobSource, JobSpec, JobStatus, NetworkMode, Persistence, Principal,
    RetryPolicy, Scope, Secret, SystemClock, Timestamp, Usd, Workspace,
};
use claw_gate::{Gate, GateConfig, KeyChange};
use claw_jobs::{
    DiskGuard, JobService, NewJob, NewWorkspace, Redactor, Retention, RetentionRules, Settings,
    SettingsDefaults, SpendingService, Worker, WorkerConfig, WorkerHandle, WorkerParts, WorkerState,
    WorkspaceLimits, WorkspaceService,
};
use claw_store::{
    Store, SubmitRequest,
    sqlite::{SqliteOptions, SqliteStore},
};
use claw_testkit::{FakeApi, TempDir, claude_binary, wait_until};
use claw_workspace::Workspaces;

/// The name that every worker of a [`House`] carries.
pub(crate) const INSTANCE: &str = "0123456789ab";

/// The installation's own token in every [`House`].
pub(crate) const API_TOKEN: &str = "a-token-for-tests-only-0123456789";

/// The model credential in every [`House`].
pub(crate) const MODEL_KEY: &str = "sk-ant-test-0123456789";

pub(crate) struct House {
    pub(crate) store: Store,
    pub(crate) gate: Gate,
    pub(crate) files: Workspaces,
    pub(crate) jobs: JobService,
    pub(crate) workspaces: WorkspaceService,
    pub(crate) settings: Settings,
    pub(crate) spending: SpendingService,
    pub(crate) disk: DiskGuard,
    pub(crate) redactor: Redactor,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) state: WorkerState,
    pub(crate) model: FakeApi,
    /// Where the model is: the address of `model`, unless the test says otherwise.
    pub(crate) model_url: String,
    pub(crate) folder: TempDir,
    data_dir: PathBuf,
    database: Option<SqliteStore>,
}

/// What a [`House`] may have otherwise.
pub(crate) struct Options {
    pub(crate) clock: Arc<dyn Clock>,
    /// Another data folder than a temporary one.
    pub(crate) data_dir: Option<PathBuf>,
    /// Bytes kept free.
    pub(crate) reserve: u64,
    pub(crate) budget_ceiling: Option<f64>,
    pub(crate) max_cost_per_day: Option<f64>,
    pub(crate) network: NetworkMode,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            clock: Arc::new(SystemClock),
            data_dir: None,
            reserve: 0,
            budget_ceiling: None,
            max_cost_per_day: None,
            network: NetworkMode::None,
        }
    }
}

pub(crate) fn usd(dollars: f64) -> Usd {
    Usd::from_dollars(dollars).expect("an amount")
}

impl House {
    pub(crate) async fn new() -> Self {
        Self::with(Options::default()).await
    }

    pub(crate) async fn with(options: Options) -> Self {
        let folder = TempDir::new();
        let data_dir = options.data_dir.unwrap_or_else(|| folder.path().to_owned());
        let clock = options.clock;
        let database = open(&data_dir.join("claw.db")).await;
        let store = database.store();
        let config = GateConfig { api_token: Some(Secret::new(API_TOKEN)), data_dir: data_dir.clone() };
        let gate = Gate::new(config, store.clone(), Arc::clone(&clock)).expect("a gate");
        let files = Workspaces::open(&data_dir).await.expect("workspaces");
        let defaults = SettingsDefaults {
            backend: SandboxKind::Local,
            sandbox_image: "claw-sandbox:latest".into(),
            limits: Limits { memory_bytes: 1 << 30, cpus: 1.0, pids: 256 },
            network: options.network,
            timeout: Duration::from_secs(60),
            max_budget_usd: None,
            budget_ceiling: options.budget_ceiling.map(usd),
            max_cost_per_day: options.max_cost_per_day.map(usd),
            has_model_credential: true,
        };
        let settings = Settings::new(store.clone(), gate.clone(), defaults);
        let disk = DiskGuard::new(data_dir.clone(), options.reserve);
        let workspaces = WorkspaceService::new(
            store.clone(),
            gate.clone(),
            files.clone(),
            settings.clone(),
            disk.clone(),
            Arc::clone(&clock),
        );
        let jobs = JobService::new(store.clone(), gate.clone(), workspaces.clone(), Arc::clone(&clock));
        let spending = SpendingService::new(store.clone(), gate.clone());
        let model = FakeApi::start().await;
        Self {
            store,
            gate,
            files,
            jobs,
            workspaces,
            settings,
            spending,
            disk,
            // The worker learns of the model's credential by itself.
            redactor: Redactor::new([Secret::new(API_TOKEN)]),
            clock,
            state: WorkerState::default(),
            model_url: model.base_url().to_owned(),
            model,
            folder,
            data_dir,
            database: Some(database),
        }
    }

    /// Starts a worker whose agent is the real CLI as a plain process.
    pub(crate) async fn worker(&self) -> WorkerHandle {
        self.worker_with(claude_binary(), 2).await
    }

    /// Starts a worker that runs `program` as its agent.
    pub(crate) async fn worker_with(&self, program: PathBuf, capacity: usize) -> WorkerHandle {
        let config = LocalConfig {
            program,
            data_dir: self.data_dir.clone(),
            path: "/usr/local/bin:/usr/bin:/bin".into(),
            lang: "C.UTF-8".into(),
        };
        self.start(Arc::new(LocalSandbox::new(config)), |config| config.capacity = capacity).await
    }

    /// Starts a worker with a sandbox of the test's own.
    pub(crate) async fn worker_in(&self, sandbox: Arc<dyn Sandbox>) -> WorkerHandle {
        self.start(sandbox, |_| {}).await
    }

    pub(crate) async fn start(
        &self,
        sandbox: Arc<dyn Sandbox>,
        change: impl FnOnce(&mut WorkerConfig),
    ) -> WorkerHandle {
        Worker::new(self.worker_parts(sandbox, change)).start().await.expect("the worker starts")
    }

    pub(crate) fn worker_parts(
        &self,
        sandbox: Arc<dyn Sandbox>,
        change: impl FnOnce(&mut WorkerConfig),
    ) -> WorkerParts {
        let mut gateway = GatewayConfig::new(CredentialSource::ApiKey(Secret::new(MODEL_KEY)));
        gateway.upstream = self.model_url.parse().expect("an address");
        let mut config = worker_config(&self.data_dir);
        change(&mut config);
        WorkerParts {
            store: self.store.clone(),
            gate: self.gate.clone(),
            files: self.files.clone(),
            sandbox,
            gateway: Gateway::new(gateway, Arc::clone(&self.clock)).expect("a gateway"),
            settings: self.settings.clone(),
            disk: self.disk.clone(),
            redactor: self.redactor.clone(),
            clock: Arc::clone(&self.clock),
            config,
            state: self.state.clone(),
        }
    }

    /// Closes the store, so that every use of it fails.
    pub(crate) async fn cut_store(&mut self) {
        self.database.take().expect("the store is open").close().await;
    }

    /// Closes the store, so that another house may stand on the same folder.
    pub(crate) async fn close(mut self) {
        self.cut_store().await;
    }

    /// Returns a part that removes what is old.
    pub(crate) fn retention(&self, sandbox: Arc<dyn Sandbox>, rules: RetentionRules) -> Retention {
        Retention::new(
            self.store.clone(),
            self.gate.clone(),
            self.files.clone(),
            sandbox,
            rules,
            Arc::clone(&self.clock),
        )
    }

    /// Sets what the jobs of a key may cost on one day.
    pub(crate) async fn cap_key(&self, id: &str, dollars: f64) {
        let id = id.parse().expect("a key id");
        let change = KeyChange { max_usd_per_day: Some(Some(usd(dollars))), ..KeyChange::default() };
        self.gate.update_key(&Actor::system(), id, change).await.expect("changed");
    }

    /// Stores a job past the service and its checks.
    pub(crate) async fn submit_anyway(&self, actor: &Actor) -> JobId {
        let request = SubmitRequest {
            id: JobId::new(),
            owner: actor.owner(),
            spec: JobSpec::new("x", JobSource::Api),
            exclusive: false,
            idempotency_key: None,
        };
        self.store.jobs.submit(request, self.clock.now()).await.expect("stored").job.id
    }

    /// Returns the job as the store has it.
    pub(crate) async fn job(&self, id: JobId) -> Job {
        self.store.jobs.get(id).await.expect("the store answers").expect("the job exists")
    }

    /// Waits until the job is as wanted.
    pub(crate) async fn until(&self, what: &str, id: JobId, wanted: impl Fn(&Job) -> bool) -> Job {
        let mut last = None;
        wait_until(what, Duration::from_secs(60), async || {
            last = Some(self.job(id).await);
            last.as_ref().is_some_and(&wanted)
        })
        .await;
        last.expect("the job exists")
    }

    pub(crate) async fn workspace(&self, actor: &Actor) -> Workspace {
        self.workspaces
            .create(actor, new_workspace("site", Persistence::Persistent))
            .await
            .expect("a workspace")
    }

    pub(crate) async fn submit(&self, actor: &Actor, spec: JobSpec) -> Job {
        self.jobs.submit(actor, NewJob { spec, idempotency_key: None }).await.expect("submitted").job
    }

    /// Waits until the job has ended, and returns it.
    pub(crate) async fn ended(&self, id: JobId) -> Job {
        let mut last = None;
        wait_until(&format!("job {id} has ended"), Duration::from_secs(60), async || {
            last = self.store.jobs.get(id).await.expect("the store answers");
            last.as_ref().is_some_and(|job| job.status().is_terminal())
        })
        .await;
        last.expect("the job exists")
    }
}

/// Opens a store. One whose server was killed a moment ago may still be locked: a child that the server was just forking
/// holds its files until it has become git.
async fn open(path: &Path) -> SqliteStore {
    let mut opened = None;
    wait_until("the store is free", Duration::from_secs(10), async || {
        match SqliteStore::open(path, SqliteOptions::default()) {
            Ok(database) => opened = Some(database),
            Err(error) if error.to_string().contains("in use by another running server") => {}
            Err(error) => panic!("a store: {error}"),
        }
        opened.is_some()
    })
    .await;
    opened.expect("it is open")
}

/// How workers work here: quick to retry, and no grace.
pub(crate) fn worker_config(data_dir: &Path) -> WorkerConfig {
    WorkerConfig {
        instance: INSTANCE.into(),
        boot: JobId::new().short(),
        capacity: 2,
        run_root: data_dir.join("run"),
        run_disk: None,
        lease: Duration::from_secs(3),
        retry: RetryPolicy {
            max_retries: 1,
            base_delay: Duration::from_millis(10),
            max_delay: Duration::from_millis(20),
        },
        shutdown_grace: Duration::ZERO,
    }
}

pub(crate) fn now() -> Timestamp {
    SystemClock.now()
}

pub(crate) fn admin() -> Actor {
    Actor::new(Principal::Token, "admin", [Scope::All])
}

/// An agent's key with everything that jobs and workspaces take.
pub(crate) fn agent(name: &str) -> Actor {
    Actor::new(
        Principal::Key(name.into()),
        name,
        [Scope::JobsRead, Scope::JobsWrite, Scope::WorkspacesRead, Scope::WorkspacesWrite],
    )
}

pub(crate) fn new_workspace(name: &str, persistence: Persistence) -> NewWorkspace {
    NewWorkspace {
        name: name.parse().expect("a name"),
        description: String::new(),
        persistence,
        claude_md: None,
        remote_url: None,
        limits: WorkspaceLimits::default(),
    }
}

/// A job whose model plays `script`.
pub(crate) fn scripted(script: &serde_json::Value) -> JobSpec {
    JobSpec::new(format!("FAKE:{script}"), JobSource::Api)
}

pub(crate) fn assert_status(job: &Job, status: JobStatus) {
    assert_eq!(job.status(), status, "{:?}", job.state);
}
