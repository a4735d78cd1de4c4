//! A whole server in process, and requests to it.

mod talk;

use std::{
    net::IpAddr,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use axum::{Router, http::Method};
use claw_agent::{
    local::{LocalConfig, LocalSandbox},
    sandbox::{Limits, SandboxKind},
};
use claw_core::{
    Actor, ClaimedJob, Clock, JobId, JobOutcome, JobResult, NetworkMode, Role, RunUsage, Scope, Secret,
    SystemClock, Timestamp, WorkerId,
};
use claw_docker::{
    Docker, Mirror,
    policy::{Own, Policy},
};
use claw_gate::{Gate, GateConfig, NewKey, SetupState};
use claw_homelab::{
    Homelab, HomelabParts,
    marketplace::{Catalog, MarketplaceConfig},
};
use claw_jobs::{
    DiskGuard, JobService, Retention, RetentionRules, Settings, SettingsDefaults, SpendingService,
    WorkerState, WorkspaceService,
};
use claw_server::{App, HttpConfig, MetricsAccess, ModelLogin, Probes};
use claw_store::{
    ClaimRequest, Store, StreamName,
    sqlite::{SqliteOptions, SqliteStore},
};
use claw_workspace::Workspaces;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio_util::sync::{CancellationToken, DropGuard};

pub(crate) use self::talk::{Answer, Call, Event, Events};

/// How long anything may take before a test fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A server with everything behind it.
pub(crate) struct Lab {
    pub(crate) router: Router,
    pub(crate) store: Store,
    pub(crate) gate: Gate,
    /// A key of role admin with every scope; empty before set-up.
    pub(crate) admin: String,
    /// The setup token; empty after set-up.
    pub(crate) setup_token: String,
    pub(crate) homelab: Homelab,
    folder: TempDir,
    database: Option<SqliteStore>,
    _mirror: DropGuard,
}

/// What tests choose.
pub(crate) struct Options {
    /// The Engine of the homelab; one that is away if not chosen.
    pub(crate) docker: Option<Docker>,
    /// What is ours; the folder of the apps is in that of the lab if it is not told here.
    pub(crate) own: Own,
    pub(crate) policy: Policy,
    /// The apps; those of the program if not chosen.
    pub(crate) catalog: Option<Catalog>,
    /// Where programs are looked for.
    pub(crate) programs: &'static str,
    pub(crate) engine: Option<Docker>,
    pub(crate) sandbox_image: &'static str,
    pub(crate) listen: &'static str,
    pub(crate) secure_cookies: bool,
    pub(crate) trusted_proxies: Vec<(IpAddr, u8)>,
    pub(crate) max_streams_per_caller: usize,
    pub(crate) metrics: MetricsAccess,
    /// What `/ready` is told.
    pub(crate) not_ready: Vec<String>,
    /// Counts how often other parts are asked how they are.
    pub(crate) asked: Arc<AtomicUsize>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            docker: None,
            own: own(),
            policy: Policy::default(),
            catalog: None,
            programs: "/usr/local/bin:/usr/bin:/bin",
            engine: None,
            sandbox_image: "claw-sandbox:latest",
            listen: "127.0.0.1:5179",
            secure_cookies: false,
            trusted_proxies: Vec::new(),
            max_streams_per_caller: 300,
            metrics: MetricsAccess::Local,
            not_ready: Vec::new(),
            asked: Arc::default(),
        }
    }
}

/// What is ours, without the names that tests give to what they make.
pub(crate) fn own() -> Own {
    let names = ["claw", "clawmachine*", "wagmios-backend", "wagmios-frontend"].map(str::to_owned).into();
    Own { names, ..Own::default() }
}

/// The answers that tests chose.
struct Answers {
    not_ready: Vec<String>,
    asked: Arc<AtomicUsize>,
}

#[async_trait]
impl Probes for Answers {
    async fn model_login(&self) -> ModelLogin {
        self.asked.fetch_add(1, Ordering::SeqCst);
        ModelLogin {
            kind: "Claude login".into(),
            status: "refresh_failed",
            expires_at: Some("2026-01-01T00:00:00Z".parse().expect("a time")),
            refreshed_at: None,
            refresh_token_first_seen: Some(now()),
            error: Some("/root/.claude cannot be written".into()),
        }
    }

    async fn metrics(&self) -> String {
        "claw_up 1\n".into()
    }

    async fn not_ready(&self) -> Vec<String> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        self.not_ready.clone()
    }
}

impl Lab {
    /// Returns a server whose set-up was finished with [`Lab::admin`].
    pub(crate) async fn new() -> Self {
        Self::with(Options::default()).await
    }

    pub(crate) async fn with(options: Options) -> Self {
        let mut lab = Self::before_setup(options).await;
        let token = Secret::new(std::mem::take(&mut lab.setup_token));
        let scopes = [Scope::All].into();
        let (key, _) = lab
            .gate
            .setup_with_key(&token, "root", scopes, [127, 0, 0, 1].into())
            .await
            .expect("set-up is done");
        lab.admin = key.expose().to_owned();
        lab
    }

    pub(crate) async fn before_setup(options: Options) -> Self {
        let folder = tempfile::tempdir().expect("a folder for the test");
        let database = SqliteStore::open(&folder.path().join("claw.db"), SqliteOptions::default())
            .expect("a store file");
        let store = database.store();
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let config = GateConfig { api_token: None, data_dir: folder.path().to_owned() };
        let gate = Gate::new(config, store.clone(), Arc::clone(&clock)).expect("a gate");
        let SetupState::Required { token } = gate.start(None).await.expect("the gate starts") else {
            panic!("a new store needs set-up")
        };
        let files = Workspaces::open(folder.path()).await.expect("git is installed");
        let defaults = SettingsDefaults {
            backend: SandboxKind::Docker,
            sandbox_image: options.sandbox_image.into(),
            limits: Limits { memory_bytes: 4 << 30, cpus: 2.0, pids: 256 },
            network: NetworkMode::Bridge,
            timeout: Duration::from_secs(1800),
            max_budget_usd: None,
            budget_ceiling: None,
            max_cost_per_day: None,
            has_model_credential: true,
        };
        let settings = Settings::new(store.clone(), gate.clone(), defaults);
        let disk = DiskGuard::new(folder.path().to_owned(), 0);
        let workspaces = WorkspaceService::new(
            store.clone(),
            gate.clone(),
            files.clone(),
            settings.clone(),
            disk,
            Arc::clone(&clock),
        );
        let jobs = JobService::new(store.clone(), gate.clone(), workspaces.clone(), Arc::clone(&clock));
        let local = LocalConfig {
            program: "claude".into(),
            data_dir: folder.path().to_owned(),
            path: "/usr/bin:/bin".into(),
            lang: "C.UTF-8".into(),
        };
        let retention = Retention::new(
            store.clone(),
            gate.clone(),
            files,
            Arc::new(LocalSandbox::new(local)),
            RetentionRules::default(),
            Arc::clone(&clock),
        );
        let docker = options.docker.unwrap_or_else(|| {
            let nowhere = format!("unix://{}/docker.sock", folder.path().display());
            Docker::connect(Some(&nowhere)).expect("an address")
        });
        let stop = CancellationToken::new();
        let (mirror, follow) = Mirror::start(docker.clone(), stop.clone());
        tokio::spawn(follow);
        let own = options.own;
        let apps = own.apps_folder.clone();
        let apps = apps.unwrap_or_else(|| folder.path().join("containers").display().to_string());
        let mut marketplace = MarketplaceConfig::below(
            folder.path(),
            options.programs.into(),
            folder.path().to_owned(),
            Vec::new(),
        );
        marketplace.host_apps_folder = apps.clone().into();
        marketplace.apps_folder = own.apps_folder_seen_at.as_ref().unwrap_or(&apps).into();
        marketplace.catalog = options.catalog.unwrap_or(marketplace.catalog);
        let homelab = Homelab::new(HomelabParts {
            docker,
            mirror,
            gate: gate.clone(),
            store: store.clone(),
            clock: Arc::clone(&clock),
            policy: options.policy,
            own: Own { apps_folder: Some(apps), ..own },
            own_images: vec!["claw-sandbox:latest".into()],
            data_dir: folder.path().to_owned(),
            activity_keep: 10_000,
            marketplace,
        });
        let router = claw_server::router(App {
            homelab: homelab.clone(),
            spending: SpendingService::new(store.clone(), gate.clone()),
            retention,
            probes: Arc::new(Answers { not_ready: options.not_ready, asked: options.asked }),
            gate: gate.clone(),
            jobs,
            workspaces,
            settings,
            engine: options.engine,
            worker: WorkerState::default(),
            config: HttpConfig {
                listen: options.listen.parse().expect("an address"),
                allowed_hosts: vec!["claw.example".into()],
                cors_origins: vec!["https://ui.example".into()],
                secure_cookies: options.secure_cookies,
                trusted_proxies: options.trusted_proxies,
                max_streams_per_caller: options.max_streams_per_caller,
                metrics: options.metrics,
                sandbox_image: options.sandbox_image.into(),
                version: "1.2.3".into(),
            },
        });
        let setup_token = token.expose().to_owned();
        Self {
            router,
            store,
            gate,
            admin: String::new(),
            setup_token,
            homelab,
            folder,
            database: Some(database),
            _mirror: stop.drop_guard(),
        }
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Closes the store, so that every use of it fails.
    pub(crate) async fn cut_store(&mut self) {
        self.database.take().expect("the store is open").close().await;
    }

    /// Makes a key of role agent with exactly these scopes.
    pub(crate) async fn key(&self, scopes: &[Scope]) -> String {
        let scopes = scopes.iter().copied().collect();
        let made = self
            .gate
            .create_key(
                &Actor::system(),
                NewKey {
                    label: "test key".into(),
                    scopes,
                    role: Role::Agent,
                    max_usd_per_day: None,
                    expires_at: None,
                },
            )
            .await;
        made.expect("a key is made").0.expose().to_owned()
    }

    /// Begins a request with the admin's key and a host that passes.
    pub(crate) fn call(&self, method: Method, path: &str) -> Call {
        let call = Call::new(self.router.clone(), method, path).header("host", "localhost:5179");
        if self.admin.is_empty() { call } else { call.header("x-api-key", &self.admin) }
    }

    pub(crate) fn get(&self, path: &str) -> Call {
        self.call(Method::GET, path)
    }

    pub(crate) fn post(&self, path: &str, body: Value) -> Call {
        self.call(Method::POST, path).json(&body)
    }

    pub(crate) fn put(&self, path: &str, body: Value) -> Call {
        self.call(Method::PUT, path).json(&body)
    }

    pub(crate) fn delete(&self, path: &str) -> Call {
        self.call(Method::DELETE, path)
    }

    /// Submits a job as the admin.
    pub(crate) async fn job(&self, prompt: &str) -> JobId {
        let answer = self.post("/api/v1/jobs", json!({ "prompt": prompt })).send().await;
        answer.expect(201)["id"].as_str().expect("an id").parse().expect("an id")
    }

    /// Makes a workspace as the admin.
    pub(crate) async fn workspace(&self, name: &str) -> String {
        let answer = self.post("/api/v1/workspaces", json!({ "name": name })).send().await;
        answer.expect(201)["id"].as_str().expect("an id").to_owned()
    }

    /// Claims the most urgent job, as a worker does.
    pub(crate) async fn claim(&self) -> ClaimedJob {
        let lease_until = now().saturating_add(Duration::from_secs(600)).expect("a time");
        let request = ClaimRequest {
            worker: WorkerId::new("test", "boot", 0),
            lease_until,
            max_retries: 3,
            skip_owners: Vec::new(),
        };
        self.store.jobs.claim(request, now()).await.expect("the store answers").expect("a job is waiting")
    }

    /// Ends a claimed job, as a worker does.
    pub(crate) async fn finish(&self, claimed: &ClaimedJob, outcome: JobOutcome) {
        let usage = RunUsage { cost_usd: Some(0.25), duration_ms: 1500 };
        self.store
            .jobs
            .finish(claimed.job.id, claimed.token, outcome, usage, now())
            .await
            .expect("the job ends");
    }

    /// Submits a job and lets it complete.
    pub(crate) async fn completed_job(&self) -> JobId {
        let id = self.job("say hello").await;
        let claimed = self.claim().await;
        self.finish(&claimed, completed("hello")).await;
        id
    }

    /// Appends lines to a job's log, as a worker does.
    pub(crate) async fn log(&self, job: JobId, lines: &[&str]) {
        let lines = lines.iter().map(|line| line.as_bytes().to_vec()).collect();
        self.store
            .streams
            .append(&StreamName::job_log(job), lines, now())
            .await
            .expect("the log takes lines");
    }
}

/// Waits, within [`PATIENCE`], until something holds.
pub(crate) async fn until(mut holds: impl AsyncFnMut() -> bool) {
    let wait = async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, wait).await.expect("it comes to hold in time");
}

pub(crate) fn now() -> Timestamp {
    SystemClock.now()
}

pub(crate) fn completed(text: &str) -> JobOutcome {
    JobOutcome::Completed {
        result: JobResult { text: text.into(), num_turns: Some(2), ..JobResult::default() },
    }
}
