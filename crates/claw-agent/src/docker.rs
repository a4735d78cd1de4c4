//! The hardened container: no network, no capabilities, no new privileges, a read-only root, and no secret inside.
//!
//! What a container of ours looks like is in `container`, how a run is watched and ended in `run`, how its output
//! gets out in `pump`, and who removes what it leaves in `leftovers`. Containers that wait for jobs are in `warm` (which
//! there should be) and `place` (one of them).

mod container;
mod gauge;
mod leftovers;
mod place;
mod pump;
mod run;
mod warm;

use std::{
    collections::HashSet,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use async_trait::async_trait;
use claw_core::{JobId, WorkspaceId};
use claw_docker::{Docker, DockerError};
use futures_util::{StreamExt, stream};
use tokio::sync::{Mutex, OnceCell};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    sandbox::{Sandbox, SandboxError, SandboxKind, SandboxRun, SandboxSpec},
    warm::{WarmPlace, WarmSupply, WarmWanted},
};

use self::{
    container::label,
    leftovers::{Engine, Unremoved},
    run::DockerRun,
    warm::Warm,
};

pub use self::warm::WarmConfig;

/// The image that `images/build-sandbox` makes.
pub const DEFAULT_IMAGE: &str = "claw-sandbox:latest";

/// User and group that runs get when the server is root, and owner of the image's HOME.
pub const SANDBOX_USER: (u32, u32) = (10001, 10001);

/// How long an answer of [`Sandbox::ready`] is believed. Every idle worker asks before every claim.
const READY_FOR: Duration = Duration::from_secs(2);

/// Longest wait for an Engine that is asked whether it is ready.
const READY_LIMIT: Duration = Duration::from_secs(5);

/// Leftovers removed at once: each costs the Engine some 40 ms, mostly waiting.
const SWEEP_WIDTH: usize = 4;

/// What a Docker sandbox is set up with.
#[derive(Clone, Debug)]
pub struct DockerSandboxConfig {
    /// Image of every run. It holds the agent CLI, and a HOME at `/home/claw` that any user may write.
    pub image: String,
    /// Identifies the data folder this server works on. Runs of other instances are never touched.
    pub instance: String,
    /// User and group of every run, by number.
    pub user: (u32, u32),
    /// Program that gets [`SandboxSpec::arguments`], with its own first arguments.
    pub program: Vec<String>,
    /// How our paths are called on the Engine's host, when the server itself runs in a container.
    pub host_paths: Option<HostPaths>,
    /// Another OCI runtime, such as `runsc`.
    pub runtime: Option<String>,
    /// How many containers wait for jobs.
    pub warm: WarmConfig,
}

/// A folder that has one name here and another one on the Engine's host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostPaths {
    /// The folder as this process sees it, absolute.
    pub inside: PathBuf,
    /// The same folder as the Engine's host sees it, absolute.
    pub host: PathBuf,
}

impl DockerSandboxConfig {
    /// Returns the usual set-up: [`DEFAULT_IMAGE`], the program `claude`, and [`SANDBOX_USER`] if this process is
    /// root or its own user otherwise (so that nobody has to be root to read what a run wrote).
    pub fn new(instance: impl Into<String>) -> Self {
        let user = match (rustix::process::geteuid(), rustix::process::getegid()) {
            (user, _) if user.is_root() => SANDBOX_USER,
            (user, group) => (user.as_raw(), group.as_raw()),
        };
        Self {
            image: DEFAULT_IMAGE.to_owned(),
            instance: instance.into(),
            user,
            program: vec!["claude".to_owned()],
            host_paths: None,
            runtime: None,
            warm: WarmConfig::OFF,
        }
    }
}

/// Runs agents in hardened containers. A cheap handle: clones share everything.
#[derive(Clone)]
pub struct DockerSandbox {
    shared: Arc<Shared>,
}

struct Shared {
    engine: Engine,
    config: DockerSandboxConfig,
    /// Held while asking, so that many workers ask once.
    ready: Mutex<Option<Answer>>,
    /// Processors of the Engine's machine, which refuses to give more than it has.
    cpus: OnceCell<f64>,
    warm: Warm,
}

struct Answer {
    asked: Instant,
    answer: Result<(), String>,
}

impl DockerSandbox {
    /// Returns a sandbox on `docker`. Nothing is asked yet.
    pub fn new(docker: Docker, config: DockerSandboxConfig) -> Self {
        let tasks = TaskTracker::new();
        // A closed tracker takes new tasks as well; it only lets `settle` return.
        tasks.close();
        let warm = Warm::new(config.warm);
        let engine = Engine { docker, tasks, unremoved: Unremoved::default() };
        let shared = Shared { engine, config, ready: Mutex::new(None), cpus: OnceCell::new(), warm };
        Self { shared: Arc::new(shared) }
    }

    /// Returns how many started containers wait for a job now.
    pub fn waiting(&self) -> usize {
        self.shared.warm.waiting()
    }

    /// Ends what waits for jobs, and returns when nothing goes on in the background any more: every run has ended and
    /// every removal is done. For an orderly shutdown, once all runs are removed or dropped.
    pub async fn settle(&self) {
        self.shared.warm.stop();
        self.shared.engine.tasks.wait().await;
    }

    /// Asks for the image: one call that tells whether the Engine answers as well.
    async fn ask_ready(&self) -> Result<(), String> {
        let Shared { engine: Engine { docker, .. }, config, .. } = &*self.shared;
        match tokio::time::timeout(READY_LIMIT, docker.image(&config.image)).await {
            Ok(Ok(Some(image))) => {
                self.shared.warm.image_is(&image.id);
                Unremoved::try_again(&self.shared.engine);
                Ok(())
            }
            Ok(Ok(None)) => Err(image_missing(&config.image)),
            Ok(Err(error)) => Err(not_ready(&error)),
            Err(_) => Err(format!(
                "the Docker Engine at {} does not answer within {} s; `claw doctor` looks for the cause",
                docker.endpoint(),
                READY_LIMIT.as_secs()
            )),
        }
    }

    async fn cpus(&self) -> Result<f64, DockerError> {
        let ask = || async { Ok(f64::from(self.shared.engine.docker.info().await?.cpus.max(1))) };
        self.shared.cpus.get_or_try_init(ask).await.copied()
    }

    fn start_error(&self, error: &DockerError) -> SandboxError {
        match error {
            DockerError::Unavailable { .. } => SandboxError::NotReady { reason: not_ready(error) },
            DockerError::NotFound { message } if message.contains("image") => {
                SandboxError::NotReady { reason: image_missing(&self.shared.config.image) }
            }
            other => SandboxError::Start { reason: other.to_string() },
        }
    }
}

#[async_trait]
impl Sandbox for DockerSandbox {
    fn kind(&self) -> SandboxKind {
        SandboxKind::Docker
    }

    fn owner(&self) -> Option<(u32, u32)> {
        let user = self.shared.config.user;
        (user.0 != rustix::process::geteuid().as_raw()).then_some(user)
    }

    async fn ready(&self) -> Result<(), SandboxError> {
        let mut kept = self.shared.ready.lock().await;
        let answer = match &*kept {
            Some(kept) if kept.asked.elapsed() < READY_FOR => kept.answer.clone(),
            _ => {
                let answer = self.ask_ready().await;
                *kept = Some(Answer { asked: Instant::now(), answer: answer.clone() });
                answer
            }
        };
        answer.map_err(|reason| SandboxError::NotReady { reason })
    }

    async fn start(&self, spec: SandboxSpec) -> Result<Box<dyn SandboxRun>, SandboxError> {
        // In its own task, because a call that is dropped midway may still have its effect in the Engine: the task
        // sees every call to its end, and then removes what nobody wants any more.
        let begun = Instant::now();
        let cancel = CancellationToken::new();
        let dropped = cancel.clone().drop_guard();
        let sandbox = self.clone();
        let start = async move {
            let cpus = sandbox.cpus().await.map_err(|error| sandbox.start_error(&error))?;
            let config = &sandbox.shared.config;
            let plan =
                container::plan(config, spec, cpus).map_err(|reason| SandboxError::Start { reason })?;
            DockerRun::start(&sandbox.shared.engine, plan, &cancel)
                .await
                .map_err(|error| sandbox.start_error(&error))
        };
        // A run that is handed over to nobody is dropped, which removes it.
        let started = self.shared.engine.tasks.spawn(start).await;
        drop(dropped.disarm());
        match started {
            Ok(run) => {
                let run = run?;
                gauge::started("cold", begun.elapsed());
                Ok(Box::new(run))
            }
            Err(error) => {
                Err(SandboxError::Start { reason: format!("the task that starts it ended: {error}") })
            }
        }
    }

    async fn sweep(&self, live: &HashSet<JobId>) -> Result<usize, SandboxError> {
        let Shared { engine: Engine { docker, .. }, config, .. } = &*self.shared;
        let is_live = |job: Option<&String>| {
            job.and_then(|job| job.parse().ok()).is_some_and(|job: JobId| live.contains(&job))
        };
        let mut failures = Vec::new();

        let found = docker
            .containers_with_label(label::INSTANCE, &config.instance)
            .await
            .map_err(|error| cleanup_error(&error))?;
        let dead = found.into_iter().filter(|container| !is_live(container.labels.get(label::JOB)));
        let mut removals = stream::iter(dead)
            .map(|container| async move { docker.remove_force(&container.id).await })
            .buffer_unordered(SWEEP_WIDTH);
        let mut removed = 0;
        while let Some(result) = removals.next().await {
            match result {
                Ok(()) => removed += 1,
                Err(error) => failures.push(error),
            }
        }

        let ended_homes = [(label::INSTANCE, config.instance.as_str()), (label::HOME, label::HOME_OF_RUN)];
        let homes = docker.volumes_with_labels(&ended_homes).await.map_err(|error| cleanup_error(&error))?;
        for (volume, labels) in homes {
            if !is_live(labels.get(label::JOB))
                && let Err(error) = docker.remove_volume(&volume).await
            {
                failures.push(error);
            }
        }

        match failures.first() {
            None => Ok(removed),
            Some(error) => Err(cleanup_error(error)),
        }
    }

    async fn forget_workspace(&self, workspace: WorkspaceId) -> Result<(), SandboxError> {
        self.shared.warm.forget(workspace).await?;
        let volume = container::workspace_home(workspace);
        self.shared.engine.docker.remove_volume(&volume).await.map_err(|error| cleanup_error(&error))
    }

    fn keep_warm(&self, supply: Arc<dyn WarmSupply>) {
        if self.shared.warm.is_on() {
            self.shared.engine.tasks.spawn(Warm::tend(self.clone(), supply));
        }
    }

    fn reserve(&self, wanted: &WarmWanted) -> Option<WarmPlace> {
        self.shared.warm.take(wanted)
    }

    fn job_ended(&self, workspace: Option<WorkspaceId>) {
        self.shared.warm.touch(workspace);
    }

    async fn remembered_workspaces(&self) -> Result<Vec<WorkspaceId>, SandboxError> {
        let Shared { engine: Engine { docker, .. }, config, .. } = &*self.shared;
        let kept = [(label::INSTANCE, config.instance.as_str()), (label::HOME, label::HOME_OF_WORKSPACE)];
        let homes = docker.volumes_with_labels(&kept).await.map_err(|error| cleanup_error(&error))?;
        Ok(homes.iter().filter_map(|(_, labels)| labels.get(label::WORKSPACE)?.parse().ok()).collect())
    }
}

fn not_ready(error: &DockerError) -> String {
    format!("{error}; `claw doctor` looks for the cause")
}

fn image_missing(image: &str) -> String {
    format!(
        "the sandbox image `{image}` is missing; build it with `images/build-sandbox`, see also `claw doctor`"
    )
}

fn cleanup_error(error: &DockerError) -> SandboxError {
    SandboxError::Cleanup { reason: error.to_string() }
}
