//! A house without doors: store, gate, workspaces and services over a temporary folder.

use std::{path::PathBuf, sync::Arc, time::Duration};

use claw_agent::{
    gateway::{CredentialSource, Gateway, GatewayConfig},
    local::{LocalConfig, LocalSandbox},
    sandbox::{Limits, Sandbox, SandboxKind},
};
use claw_core::{
    Actor, Clock, Job, JobId, JobSource, JobSpec, JobStatus, NetworkMode, Persistence, Principal,
    RetryPolicy, Scope, Secret, SystemClock, Timestamp, Workspace,
};
use claw_gate::{Gate, GateConfig};
use claw_jobs::{
    JobService, NewJob, NewWorkspace, Settings, SettingsDefaults, Worker, WorkerConfig, WorkerHandle,
    WorkerState, WorkspaceLimits, WorkspaceService,
};
use claw_store::{
    Store,
    sqlite::{SqliteOptions, SqliteStore},
};
use claw_testkit::{FakeApi, TempDir, claude_binary, wait_until};
use claw_workspace::Workspaces;

/// The name that every worker of a [`House`] carries.
pub(crate) const INSTANCE: &str = "0123456789ab";

pub(crate) struct House {
    pub(crate) store: Store,
    pub(crate) files: Workspaces,
    pub(crate) jobs: JobService,
    pub(crate) workspaces: WorkspaceService,
    pub(crate) settings: Settings,
    pub(crate) state: WorkerState,
    pub(crate) model: FakeApi,
    pub(crate) folder: TempDir,
    _database: SqliteStore,
}

impl House {
    pub(crate) async fn new() -> Self {
        let folder = TempDir::new();
        let database =
            SqliteStore::open(&folder.path().join("claw.db"), SqliteOptions::default()).expect("a store");
        let store = database.store();
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let config = GateConfig {
            api_token: Some(Secret::new("a-token-for-tests-only-0123456789")),
            data_dir: folder.path().to_owned(),
        };
        let gate = Gate::new(config, Arc::clone(&store.documents), Arc::clone(&clock)).expect("a gate");
        let files = Workspaces::open(folder.path()).await.expect("workspaces");
        let workspaces =
            WorkspaceService::new(store.clone(), gate.clone(), files.clone(), Arc::clone(&clock));
        let jobs = JobService::new(store.clone(), gate.clone(), workspaces.clone(), Arc::clone(&clock));
        let defaults = SettingsDefaults {
            backend: SandboxKind::Local,
            sandbox_image: "claw-sandbox:latest".into(),
            limits: Limits { memory_bytes: 1 << 30, cpus: 1.0, pids: 256 },
            network: NetworkMode::None,
            timeout: Duration::from_secs(60),
            max_budget_usd: None,
            has_model_credential: true,
        };
        let settings = Settings::new(store.clone(), gate, defaults);
        let model = FakeApi::start().await;
        Self {
            store,
            files,
            jobs,
            workspaces,
            settings,
            state: WorkerState::default(),
            model,
            folder,
            _database: database,
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
            data_dir: self.folder.path().to_owned(),
            path: "/usr/local/bin:/usr/bin:/bin".into(),
            lang: "C.UTF-8".into(),
        };
        let sandbox: Arc<dyn Sandbox> = Arc::new(LocalSandbox::new(config));
        let mut gateway = GatewayConfig::new(CredentialSource::ApiKey(Secret::new("sk-ant-test")));
        gateway.upstream = self.model.base_url().parse().expect("an address");
        let config = WorkerConfig {
            instance: INSTANCE.into(),
            boot: JobId::new().short(),
            capacity,
            run_root: self.folder.path().join("run"),
            lease: Duration::from_secs(3),
            retry: RetryPolicy {
                max_retries: 1,
                base_delay: Duration::from_millis(10),
                max_delay: Duration::from_millis(20),
            },
            shutdown_grace: Duration::ZERO,
        };
        Worker::new(
            self.store.clone(),
            self.files.clone(),
            sandbox,
            Gateway::new(gateway, Arc::new(SystemClock)).expect("a gateway"),
            self.settings.clone(),
            Arc::new(SystemClock),
            config,
            self.state.clone(),
        )
        .start()
        .await
        .expect("the worker starts")
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
