//! Whole runs of the real CLI in the Docker sandbox, through the gateway, started for the job or waiting for it.

use std::{
    collections::{HashMap, HashSet},
    os::unix::fs::chown,
    path::PathBuf,
    sync::{Arc, Mutex},
};

use async_trait::async_trait;
use claw_agent::{
    docker::{DockerSandbox, DockerSandboxConfig, WarmConfig},
    gateway::{Allowance, CredentialSource, Gateway, GatewayConfig, Meter, MeterError},
    invocation::Invocation,
    run::{LineObserver, RunReport, RunRequest, run_agent},
    sandbox::{Limits, Output, Sandbox},
    stream::Event,
    warm::{WarmCopy, WarmPlace, WarmSupply, WarmWanted},
};
use claw_core::{JobId, ModelUse, NetworkMode, Secret, SystemClock, WorkspaceId};
use claw_docker::Docker;
use claw_testkit::{FakeApi, TempDir, wait_until};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use crate::lab::{PATIENCE, engine};

/// Everything that whole runs need.
pub(crate) struct WarmLab {
    pub(crate) docker: Docker,
    pub(crate) sandbox: DockerSandbox,
    pub(crate) supply: Arc<Supply>,
    pub(crate) api: FakeApi,
    pub(crate) instance: String,
    gateway: Gateway,
    _folder: TempDir,
}

/// What a run came to.
pub(crate) struct Ran {
    pub(crate) report: RunReport,
    pub(crate) lines: Vec<Value>,
    /// Whether the job took a place.
    pub(crate) was_warm: bool,
    pub(crate) job: JobId,
}

impl WarmLab {
    /// A lab whose sandbox keeps so many places.
    pub(crate) async fn new(count: usize) -> Self {
        let folder = TempDir::new();
        let instance = format!("test-{}", JobId::new());
        let docker = Docker::connect(Some(&engine())).expect("DOCKER_HOST is usable");
        let sandbox = sandbox(&docker, &instance, count);
        let supply = Arc::new(Supply {
            root: folder.path().to_owned(),
            owner: sandbox.owner(),
            limits: Mutex::new(LIMITS),
            files: Mutex::default(),
            busy: Mutex::default(),
        });
        let api = FakeApi::start().await;
        let mut config = GatewayConfig::new(CredentialSource::ApiKey(Secret::new("sk-ant-canary")));
        config.upstream = api.base_url().parse().expect("an address");
        let gateway = Gateway::new(config, Arc::new(SystemClock)).expect("a gateway");
        sandbox.ready().await.expect("Engine and image are there");
        sandbox.keep_warm(supply.clone());
        Self { docker, sandbox, supply, api, instance, gateway, _folder: folder }
    }

    /// Waits until so many places wait.
    pub(crate) async fn warmed(&self, count: usize) {
        wait_until(&format!("{count} places wait"), PATIENCE, async || self.sandbox.waiting() == count).await;
    }

    /// Waits until the container of the one place has another id than `id`, and returns it.
    pub(crate) async fn another_than(&self, id: &str) -> String {
        let mut found = String::new();
        wait_until("another place waits", PATIENCE, async || {
            found = self.places().await.pop().unwrap_or_default();
            self.sandbox.waiting() == 1 && !found.is_empty() && found != id
        })
        .await;
        found
    }

    /// Ids of the containers that were started ahead and are still called so.
    pub(crate) async fn places(&self) -> Vec<String> {
        let found = self.docker.containers_with_label("claw.instance", &self.instance).await.expect("listed");
        found
            .into_iter()
            .filter(|container| container.name.starts_with("claw-warm-"))
            .map(|container| container.id)
            .collect()
    }

    /// Names of everything that the Engine has of this lab.
    pub(crate) async fn leftovers(&self) -> Vec<String> {
        let label = ("claw.instance", self.instance.as_str());
        let containers = self.docker.containers_with_label(label.0, label.1).await.expect("listed");
        let volumes = self.docker.volumes_with_labels(&[label]).await.expect("listed");
        containers
            .into_iter()
            .map(|container| container.name)
            .chain(volumes.into_iter().map(|it| it.0))
            .collect()
    }

    /// Runs a job without a workspace.
    pub(crate) async fn run(&self, invocation: Invocation) -> Ran {
        self.run_as(None, false, invocation, |_| {}, CancellationToken::new()).await
    }

    /// Runs a job, after `change` was made to its request.
    pub(crate) async fn run_as(
        &self,
        workspace: Option<WorkspaceId>,
        keeps_home: bool,
        invocation: Invocation,
        change: impl FnOnce(&mut RunRequest),
        cancel: CancellationToken,
    ) -> Ran {
        let job = JobId::new();
        let busy = self.supply.busy(workspace);
        let wanted = self.supply.wanted_by(workspace, keeps_home);
        let warm = self.sandbox.reserve(&wanted).filter(|_| invocation.can_come_late());
        let work_dir = match &warm {
            Some(place) => self.supply.hand_over(place, job),
            None => self.supply.make(job, workspace).await.expect("made").work_dir,
        };
        let was_warm = warm.is_some();
        let mut request = RunRequest {
            job,
            attempt: 1,
            workspace: workspace.filter(|_| keeps_home),
            work_dir,
            current_dir: None,
            invocation,
            environment: wanted.environment,
            limits: wanted.limits,
            network: wanted.network,
            timeout: PATIENCE,
            run_root: self.supply.run_root(),
            previous_session_cost_usd: None,
            warm,
            disk: None,
            meter: Arc::new(Unmetered),
        };
        change(&mut request);
        let lines = Recorder::default();
        let report = run_agent(&self.sandbox, &self.gateway, request, lines.clone(), cancel).await;
        self.supply.discard(job).await;
        drop(busy);
        self.sandbox.job_ended(workspace);
        let lines = lines.0.lock().expect("not poisoned").clone();
        Ran { report, lines, was_warm, job }
    }

    /// Leaves what a server leaves that is killed while so many places wait.
    pub(crate) async fn leave_places_of_a_killed_server(&self, count: usize) {
        let (instance, supply) = (self.instance.clone(), self.supply.clone());
        let killed = tokio::task::spawn_blocking(move || {
            let runtime = tokio::runtime::Runtime::new().expect("a runtime");
            runtime.block_on(async {
                let docker = Docker::connect(Some(&engine())).expect("as above");
                let server = sandbox(&docker, &instance, count);
                server.keep_warm(supply);
                wait_until("the places wait", PATIENCE, async || server.waiting() == count).await;
            });
            // Nothing that it would still do is done.
            runtime.shutdown_background();
        });
        killed.await.expect("no panic");
    }

    /// Ends everything and checks that nothing is left.
    pub(crate) async fn end(self) {
        self.sandbox.settle().await;
        assert_eq!(self.leftovers().await, [""; 0]);
        for folder in ["jobs", "run"] {
            let entries = std::fs::read_dir(self.supply.root.join(folder)).map_or(0, Iterator::count);
            assert_eq!(entries, 0, "{folder}");
        }
    }
}

/// A failed test ends without its clean-up.
impl Drop for WarmLab {
    fn drop(&mut self) {
        let instance = self.instance.clone();
        let sweeping = std::thread::spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            let docker = Docker::connect(Some(&engine())).expect("as above");
            drop(runtime.block_on(sandbox(&docker, &instance, 0).sweep(&HashSet::new())));
        });
        drop(sweeping.join());
    }
}

/// What every run here may use.
pub(crate) const LIMITS: Limits = Limits { memory_bytes: 1 << 30, cpus: 2.0, pids: 256 };

/// A sandbox of `instance`.
fn sandbox(docker: &Docker, instance: &str, count: usize) -> DockerSandbox {
    let warm = WarmConfig { count, memory_bytes: u64::MAX, ..WarmConfig::OFF };
    DockerSandbox::new(docker.clone(), DockerSandboxConfig { warm, ..DockerSandboxConfig::new(instance) })
}

/// A call with a script for the model.
pub(crate) fn script(steps: Value) -> Invocation {
    Invocation {
        prompt: format!("Please do this. FAKE:{steps}"),
        append_system_prompt: Some("You work for the house.".to_owned()),
        ..Invocation::default()
    }
}

/// A step that runs a command.
pub(crate) fn bash(command: &str) -> Value {
    serde_json::json!({"tool": "Bash", "input": {"command": command}})
}

/// Makes working copies from files that are said here.
pub(crate) struct Supply {
    root: PathBuf,
    owner: Option<(u32, u32)>,
    pub(crate) limits: Mutex<Limits>,
    files: Mutex<HashMap<WorkspaceId, Vec<(String, String)>>>,
    busy: Mutex<HashMap<WorkspaceId, usize>>,
}

/// A job of a workspace that runs.
pub(crate) struct Busy<'a>(&'a Supply, Option<WorkspaceId>);

impl Supply {
    /// Says what is in a workspace.
    pub(crate) fn put(&self, workspace: WorkspaceId, files: &[(&str, &str)]) {
        let files = files.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect();
        self.files.lock().expect("not poisoned").insert(workspace, files);
    }

    fn busy(&self, workspace: Option<WorkspaceId>) -> Busy<'_> {
        if let Some(workspace) = workspace {
            *self.busy.lock().expect("not poisoned").entry(workspace).or_default() += 1;
        }
        Busy(self, workspace)
    }

    fn base(&self, workspace: Option<WorkspaceId>) -> Option<String> {
        workspace.map(|workspace| format!("{:?}", self.files.lock().expect("not poisoned").get(&workspace)))
    }

    fn wanted_by(&self, workspace: Option<WorkspaceId>, keeps_home: bool) -> WarmWanted {
        WarmWanted {
            workspace,
            base: self.base(workspace),
            keeps_home,
            environment: vec![("CLAUDE_CODE_MAX_RETRIES".to_owned(), "1".to_owned())],
            limits: *self.limits.lock().expect("not poisoned"),
            network: NetworkMode::None,
        }
    }

    fn folder(&self, id: JobId) -> PathBuf {
        self.root.join("jobs").join(id.to_string())
    }

    fn hand_over(&self, place: &WarmPlace, job: JobId) -> PathBuf {
        std::fs::rename(self.folder(place.id()), self.folder(job)).expect("renamed");
        self.folder(job).join("work")
    }
}

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        if let Some(workspace) = self.1 {
            *self.0.busy.lock().expect("not poisoned").entry(workspace).or_default() -= 1;
        }
    }
}

#[async_trait]
impl WarmSupply for Supply {
    fn run_root(&self) -> PathBuf {
        self.root.join("run")
    }

    async fn wanted(&self, workspace: Option<WorkspaceId>) -> Result<Option<WarmWanted>, String> {
        let jobs = workspace.and_then(|id| self.busy.lock().expect("not poisoned").get(&id).copied());
        let free = jobs.unwrap_or(0) == 0;
        Ok(free.then(|| self.wanted_by(workspace, workspace.is_some())))
    }

    async fn make(&self, place: JobId, workspace: Option<WorkspaceId>) -> Result<WarmCopy, String> {
        let work_dir = self.folder(place).join("work");
        std::fs::create_dir_all(&work_dir).map_err(|error| error.to_string())?;
        let files = self.files.lock().expect("not poisoned");
        for (name, text) in workspace.and_then(|workspace| files.get(&workspace)).into_iter().flatten() {
            std::fs::write(work_dir.join(name), text).map_err(|error| error.to_string())?;
        }
        if let Some((user, group)) = self.owner {
            chown(&work_dir, Some(user), Some(group)).map_err(|error| error.to_string())?;
        }
        drop(files);
        Ok(WarmCopy { work_dir, base: self.base(workspace) })
    }

    async fn discard(&self, place: JobId) {
        // There is none if a job took it.
        drop(std::fs::remove_dir_all(self.folder(place)));
    }
}

#[derive(Clone, Default)]
struct Recorder(Arc<Mutex<Vec<Value>>>);

impl LineObserver for Recorder {
    async fn line(&mut self, output: &Output, _: &[Event]) {
        let line = match output {
            // A flood, which a test must not keep in memory.
            Output::Stdout { line, .. } if line.starts_with(b"x") => return,
            Output::Stdout { line, .. } => serde_json::from_slice(line).expect("JSON"),
            Output::Stderr { line } => Value::String(String::from_utf8_lossy(line).into_owned()),
        };
        self.0.lock().expect("not poisoned").push(line);
    }
}

/// Limits nothing and counts nothing.
#[derive(Debug)]
struct Unmetered;

#[async_trait]
impl Meter for Unmetered {
    async fn allowance(&self) -> Result<Allowance, MeterError> {
        Ok(Allowance { left: None, limit: String::new() })
    }

    async fn charge(&self, _: ModelUse) -> Result<(), MeterError> {
        Ok(())
    }
}
