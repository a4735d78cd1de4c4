//! One run: started, watched, ended, removed.

use std::{path::PathBuf, pin::Pin, time::Duration};

use async_trait::async_trait;
use claw_docker::{Docker, DockerError, Status};
use futures_util::future::BoxFuture;
use tokio::{
    io::{AsyncWrite, AsyncWriteExt},
    sync::{mpsc, watch},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    cleanup_error,
    container::Plan,
    gauge::Counted,
    leftovers::{Engine, Leftovers},
    pump,
};
use crate::sandbox::{Exit, Output, SandboxError, SandboxRun};

/// How often a running container is looked at, besides waiting for the Engine to report its end. Only a net below
/// the net: for an Engine that hangs, or forgets to report.
const LOOK_EVERY: Duration = Duration::from_secs(10);

/// How often in a row the Engine may fail to answer such a look before the run counts as lost.
const MISSED_LOOKS: u32 = 3;

/// Longest wait for a killed container to end.
const KILL_LIMIT: Duration = Duration::from_secs(20);

/// Exit codes of a program that was ended by SIGKILL or SIGTERM.
const KILLED: i64 = 137;
const TERMINATED: i64 = 143;

/// A program's standard input.
pub(super) type Stdin = Pin<Box<dyn AsyncWrite + Send>>;

/// How a run ended; an error is what happened to a lost one.
pub(super) type Outcome = Result<Exit, String>;

/// A container at work. Dropping it removes the container in the background.
pub(super) struct DockerRun {
    docker: Docker,
    container: String,
    output: Option<mpsc::Receiver<Output>>,
    outcome: watch::Receiver<Option<Outcome>>,
    /// Cancelled once the run ends: whatever the Engine still holds is taken from it then.
    ending: CancellationToken,
    leftovers: Leftovers,
    /// Tasks of this run go here.
    tasks: TaskTracker,
    /// The volume that is its HOME.
    home: String,
    is_warm: bool,
    _counted: Counted,
}

impl DockerRun {
    /// Makes and starts the container, and gives its program what it reads. Cancelling `cancel` stops after the step at
    /// hand; what was made is removed.
    pub(super) async fn start(
        engine: &Engine,
        mut plan: Plan,
        cancel: &CancellationToken,
    ) -> Result<Self, DockerError> {
        let bytes = std::mem::take(&mut plan.stdin);
        let (run, stdin) = Self::start_open(engine, plan, cancel, Counted::running()).await?;
        run.feed(stdin, bytes);
        Ok(run)
    }

    /// The same, with the program's input left open.
    pub(super) async fn start_open(
        engine: &Engine,
        plan: Plan,
        cancel: &CancellationToken,
        counted: Counted,
    ) -> Result<(Self, Stdin), DockerError> {
        let Plan { container, home, home_ends, .. } = plan;
        let volume = home_ends.then(|| home.clone());
        let Engine { docker, tasks, .. } = engine;
        let mut leftovers = Leftovers::new(engine, &container.name, volume);
        let container = match docker.create_container(container).await {
            Ok(id) => id,
            Err(error) => {
                // A container of that name is not ours to remove: it may be at work. After a timeout it may be ours.
                if !error.is_unavailable() {
                    leftovers.nothing_there();
                }
                return Err(error);
            }
        };
        // The name may change, the id does not.
        leftovers.container_is(&container);
        if cancel.is_cancelled() {
            return Err(DockerError::Conflict { message: "nobody waits for this run any more".to_owned() });
        }
        let streams = docker.attach(&container).await?;
        docker.start(&container).await?;

        let ending = CancellationToken::new();
        let gone = leftovers.gone();
        let (output, pumping) = pump::pump(streams.output, ending.clone(), gone.clone());
        tasks.spawn(pumping);
        let (sender, outcome) = watch::channel(None);
        let watching = {
            let (docker, container, ending) = (docker.clone(), container.clone(), ending.clone());
            async move {
                let outcome = watch_over(&docker, &container).await;
                ending.cancel();
                sender.send_replace(Some(outcome));
            }
        };
        tasks.spawn(gone.run_until_cancelled_owned(watching));
        let run = Self {
            docker: docker.clone(),
            container,
            output: Some(output),
            outcome,
            ending,
            leftovers,
            tasks: tasks.clone(),
            home,
            is_warm: false,
            _counted: counted,
        };
        Ok((run, streams.stdin))
    }

    /// Writes what the program is to read, in the background, then ends its input.
    pub(super) fn feed(&self, mut stdin: Stdin, bytes: Vec<u8>) {
        let container = self.container.clone();
        let feeding = async move {
            // A program may end without having read everything.
            if let Err(error) = stdin.write_all(&bytes).await {
                tracing::debug!(container, %error, "the run's standard input was closed early");
            }
            // As above: without a reader there is nothing to close.
            let _ = stdin.shutdown().await;
        };
        self.tasks.spawn(self.leftovers.gone().run_until_cancelled_owned(feeding));
    }

    /// Becomes the run of a job, with the output that is still to come.
    pub(super) fn into_job(mut self, name: String, output: mpsc::Receiver<Output>) -> Self {
        self.output = Some(output);
        self.is_warm = true;
        self._counted = Counted::running();
        // For people who look at the Engine; nothing depends on it.
        let (docker, container) = (self.docker.clone(), self.container.clone());
        self.tasks.spawn(async move {
            if let Err(error) = docker.rename_container(&container, &name).await {
                tracing::debug!(container, %error, "could not name a container after its job");
            }
        });
        self
    }

    /// Returns the Engine's id of the container.
    pub(super) fn container(&self) -> &str {
        &self.container
    }

    /// Returns what turns `Some` when the program has ended.
    pub(super) fn outcome(&self) -> watch::Receiver<Option<Outcome>> {
        self.outcome.clone()
    }

    /// Returns where tasks of this run belong, and what ends them with it.
    pub(super) fn tasks(&self) -> (&TaskTracker, CancellationToken) {
        (&self.tasks, self.leftovers.gone())
    }

    /// Sends a signal and waits up to `limit` for the end. Tells whether it came.
    async fn end_by(&self, signal: &str, limit: Duration) -> Result<bool, DockerError> {
        match self.docker.signal(&self.container, signal).await {
            Ok(()) => {}
            // Gone, or not running any more.
            Err(DockerError::NotFound { .. } | DockerError::Conflict { .. }) => return Ok(true),
            Err(error) => return Err(error),
        }
        match tokio::time::timeout(limit, self.docker.wait(&self.container)).await {
            Ok(Err(error)) if !error.is_not_found() => Err(error),
            Ok(_) => Ok(true),
            Err(_) => Ok(false),
        }
    }
}

#[async_trait]
impl SandboxRun for DockerRun {
    fn take_output(&mut self) -> Option<mpsc::Receiver<Output>> {
        self.output.take()
    }

    async fn stop(&mut self, grace: Duration) -> Result<(), SandboxError> {
        self.ending.cancel();
        if matches!(&*self.outcome.borrow(), Some(Ok(_))) {
            return Ok(());
        }
        let ended = async {
            Ok((!grace.is_zero() && self.end_by("SIGTERM", grace).await?)
                || self.end_by("SIGKILL", KILL_LIMIT).await?)
        };
        match ended.await {
            Ok(true) => Ok(()),
            Ok(false) => {
                let seconds = KILL_LIMIT.as_secs();
                Err(SandboxError::Lost {
                    reason: format!("the container did not end {seconds} s after a kill"),
                })
            }
            Err(error) => Err(lost(&error)),
        }
    }

    async fn wait(&mut self) -> Result<Exit, SandboxError> {
        let outcome = match self.outcome.wait_for(Option::is_some).await {
            Ok(outcome) => outcome.clone(),
            // The task that watches ended without an outcome: the runtime is shutting down.
            Err(_) => None,
        };
        let outcome = outcome.unwrap_or_else(|| Err("the server is stopping".to_owned()));
        outcome.map_err(|reason| SandboxError::Lost { reason })
    }

    fn home_dir(&self) -> BoxFuture<'static, Option<PathBuf>> {
        let (docker, volume) = (self.docker.clone(), self.home.clone());
        Box::pin(async move {
            let folder = docker.volume_folder(&volume).await;
            folder.inspect_err(|error| tracing::debug!(volume, %error, "cannot tell where a HOME is")).ok()
        })
    }

    fn is_warm(&self) -> bool {
        self.is_warm
    }

    async fn remove(self: Box<Self>) -> Result<(), SandboxError> {
        self.ending.cancel();
        self.leftovers.remove().await.map_err(|error| cleanup_error(&error))
    }
}

/// Waits for the container's end and says how it ended.
async fn watch_over(docker: &Docker, container: &str) -> Outcome {
    let mut waiting = std::pin::pin!(docker.wait(container));
    let mut missed = 0;
    loop {
        tokio::select! {
            code = &mut waiting => return settle(docker, container, code).await,
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
        match docker.state(container).await {
            Ok(state) if state.status == Status::Exited => {
                return settle(docker, container, Ok(state.exit_code)).await;
            }
            Ok(_) => missed = 0,
            Err(error) if error.is_unavailable() && missed + 1 < MISSED_LOOKS => missed += 1,
            Err(error) => return Err(reason(&error)),
        }
    }
}

/// Decides whether an exit code is the agent's own doing.
async fn settle(docker: &Docker, container: &str, code: Result<i64, DockerError>) -> Outcome {
    let code = code.map_err(|error| reason(&error))?;
    match docker.state(container).await {
        // `docker rm --force` marks the container before it kills it.
        Ok(state) if state.status == Status::Removing && code == KILLED => Err(removed()),
        Ok(state) => Ok(Exit { code, out_of_memory: state.out_of_memory }),
        // The code is true even if the container is gone by now, unless it only says that somebody ended it.
        Err(error) if code == KILLED || code == TERMINATED => Err(reason(&error)),
        Err(_) => Ok(Exit { code, out_of_memory: false }),
    }
}

fn reason(error: &DockerError) -> String {
    if error.is_not_found() { removed() } else { error.to_string() }
}

fn removed() -> String {
    "its container was removed by somebody else".to_owned()
}

fn lost(error: &DockerError) -> SandboxError {
    SandboxError::Lost { reason: reason(error) }
}
