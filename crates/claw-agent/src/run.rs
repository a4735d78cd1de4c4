//! One run of an agent from start to end: gateway, sandbox, output, limits, verdict, and nothing left behind.

mod directory;
mod disk;
mod guard;
mod launch;
mod report;
mod usage;

use std::{path::PathBuf, pin::pin, sync::Arc, time::Duration};

use claw_core::{FailureKind, JobId, NetworkMode, RepoPath, WorkspaceId};
use tokio::{
    sync::mpsc,
    time::{Instant, timeout},
};
use tokio_util::sync::CancellationToken;

use crate::{
    gateway::{Gateway, GatewayReport, Meter},
    invocation::Invocation,
    sandbox::{Exit, GATEWAY_SOCKET_NAME, Limits, Output, Sandbox, SandboxError},
    stream::{Event, Failure, RunTally, api_failure, parse_line},
    warm::{Taken, WarmPlace},
};

pub use directory::sweep_run_directories;
pub use disk::{DiskLimits, DiskWatch};
pub use report::{RunEnd, RunReport};

pub(crate) use directory::RunDirectory;
use guard::RunGuard;

/// How long a cancelled or hopeless run may take to end by itself. The CLI ends its commands within it; together with
/// what follows, a cancelled run is gone within two seconds.
const CANCEL_GRACE: Duration = Duration::from_secs(1);

/// How long a run may take to end by itself when its time is up.
const TIMEOUT_GRACE: Duration = Duration::from_secs(5);

/// How long the last output may take to reach the observer after the processes have ended.
const DRAIN_AFTER_EXIT: Duration = Duration::from_secs(30);

/// The same after we ended the run: then the end matters more than the last lines.
const DRAIN_AFTER_STOP: Duration = Duration::from_millis(500);

/// Most output of one run, which all goes into its log. A CLI at work prints some megabytes in an hour.
const MAX_OUTPUT_BYTES: u64 = 256 << 20;

/// Longest wait for the gateway's connections to end and their costs to be counted, which goes on after that.
const GATEWAY_CLOSE: Duration = Duration::from_secs(5);

/// How long the CLI may take to end by itself once it can do no more, since a limit is used up. It says what it did by then.
const EXHAUSTED_GRACE: Duration = Duration::from_secs(3);

/// Everything that one run needs.
#[derive(Clone, Debug)]
pub struct RunRequest {
    /// The job.
    pub job: JobId,
    /// The lease's token: tells the runs of one job apart.
    pub attempt: u64,
    /// The workspace whose HOME is used; `None` for a HOME that ends with the run.
    pub workspace: Option<WorkspaceId>,
    /// Host folder with the working copy.
    pub work_dir: PathBuf,
    /// Folder inside the working copy where the agent starts; `None` for its top.
    pub current_dir: Option<RepoPath>,
    /// How the CLI is called.
    pub invocation: Invocation,
    /// Variables beyond those that every run gets. No secrets.
    pub environment: Vec<(String, String)>,
    /// What the run may use.
    pub limits: Limits,
    /// Which network it sees.
    pub network: NetworkMode,
    /// Wall time of the run.
    pub timeout: Duration,
    /// Folder for the runs' private folders; the same for all runs, below the data directory.
    pub run_root: PathBuf,
    /// [`RunReport::session_total_cost_usd`] of the session's run before this one, if it goes on with a session.
    pub previous_session_cost_usd: Option<f64>,
    /// A sandbox that waits, whose working copy is `work_dir`, if [`Invocation::can_come_late`]; `None` to start one.
    pub warm: Option<WarmPlace>,
    /// What ends the run when it fills the disk.
    pub disk: Option<DiskWatch>,
    /// Counts what the run costs, and says how much it may.
    pub meter: Arc<dyn Meter>,
}

/// Gets what the agent says, line by line and in order.
pub trait LineObserver: Send {
    /// Takes a line and the events it holds: none if it is not JSON, mostly one. The next line waits until this
    /// returns, so an observer that is slow slows the agent down.
    fn line(&mut self, output: &Output, events: &[Event]) -> impl Future<Output = ()> + Send;
}

/// Runs the agent and judges how that went. Whatever happens, its processes, socket and folders are gone afterwards,
/// also when the future is dropped; then in the background.
pub async fn run_agent(
    sandbox: &dyn Sandbox,
    gateway: &Gateway,
    request: RunRequest,
    observer: impl LineObserver,
    cancel: CancellationToken,
) -> RunReport {
    let began = Instant::now();
    let previous_cost = request.previous_session_cost_usd;
    let timeout_after = request.timeout;
    let mut tally = RunTally::default();
    let mut traffic = GatewayReport::default();

    let ended = attempt(sandbox, gateway, request, observer, &cancel, &mut tally, &mut traffic).await;

    let last_retry = tally.last_retry().map(|(status, error)| (status, error.to_owned()));
    let exit = match &ended {
        Ok(Cause::Exited(exit)) => Some(*exit),
        Ok(Cause::Cancelled | Cause::TimedOut | Cause::Hopeless | Cause::Excess(_)) | Err(_) => None,
    };
    let verdict = tally.verdict(exit, traffic.last_error.as_ref(), previous_cost);
    let outcome = match ended {
        Ok(Cause::Exited(_)) => Ok(verdict.outcome.clone()),
        Ok(Cause::Cancelled) => Err(()),
        Ok(Cause::TimedOut) => Ok(Err(report::timed_out(timeout_after, &traffic, last_retry))),
        Ok(Cause::Hopeless) => Ok(Err(report::hopeless(&traffic, last_retry))),
        Ok(Cause::Excess(failure)) | Err(failure) => Ok(Err(failure)),
    };
    // Whatever became of the run after it, a used-up limit is why.
    let outcome = outcome.map(|ended| ended.map_err(|failure| report::or_budget(failure, &traffic)));
    RunReport::new(outcome, verdict, traffic, began.elapsed())
}

/// Why a run ended.
enum Cause {
    Exited(Exit),
    Cancelled,
    TimedOut,
    /// The model API refused the credential; the CLI would go on asking for three minutes.
    Hopeless,
    /// It fills the disk or the log, or may cost no more.
    Excess(Failure),
}

async fn attempt(
    sandbox: &dyn Sandbox,
    gateway: &Gateway,
    request: RunRequest,
    observer: impl LineObserver,
    cancel: &CancellationToken,
    tally: &mut RunTally,
    traffic: &mut GatewayReport,
) -> Result<Cause, Failure> {
    let deadline = Instant::now() + request.timeout;
    let (made_ahead, waiting) = match request.warm.as_ref().and_then(WarmPlace::take) {
        Some(Taken { directory, waiting }) => (Some(directory), Some(waiting)),
        None => (None, None),
    };
    let directory = RunDirectory::for_run(&request.run_root, request.job, request.attempt, made_ahead)
        .map_err(|error| {
            Failure::new(FailureKind::Internal, format!("could not make the run's folder: {error}"))
        })?;
    let session = gateway
        .open(&directory.path().join(GATEWAY_SOCKET_NAME), request.meter.clone())
        .await
        .map_err(|error| Failure::new(FailureKind::Internal, error.to_string()))?;

    let (job, work_dir, disk) = (request.job, request.work_dir.clone(), request.disk.clone());
    let cause = tokio::select! {
        biased;
        () = cancel.cancelled() => Ok(Cause::Cancelled),
        () = tokio::time::sleep_until(deadline) => Ok(Cause::TimedOut),
        // Dropping it midway leaves nothing running.
        started = launch::launch(sandbox, waiting, request, directory.path().to_owned()) => match started {
            Ok(run) => {
                let mut run = RunGuard::new(run);
                let home = run.home_dir();
                let full = async {
                    match disk {
                        Some(disk) => disk.until_full(job, work_dir, home).await,
                        None => std::future::pending().await,
                    }
                };
                let exhausted = session.exhausted();
                let no_money = async {
                    exhausted.cancelled().await;
                    tokio::time::sleep(EXHAUSTED_GRACE).await;
                    Failure::new(FailureKind::Budget, "a limit of the job's costs is used up")
                };
                let full = async {
                    tokio::select! {
                        failure = full => failure,
                        failure = no_money => failure,
                    }
                };
                let cause = supervise(&mut run, observer, deadline, cancel, full, tally).await;
                run.remove().await;
                cause.map_err(sandbox_failure)
            }
            Err(error) => Err(sandbox_failure(error)),
        },
    };
    *traffic = session.report();
    match timeout(GATEWAY_CLOSE, session.close()).await {
        Ok(closed) => traffic.spent = closed.spent,
        Err(_) => tracing::warn!("a connection to the model gateway did not end with its run"),
    }
    cause
}

/// Passes the output on until the run ends or has to, then makes sure that it did.
async fn supervise(
    run: &mut RunGuard,
    observer: impl LineObserver,
    deadline: Instant,
    cancel: &CancellationToken,
    full: impl Future<Output = Failure>,
    tally: &mut RunTally,
) -> Result<Cause, SandboxError> {
    let hopeless = CancellationToken::new();
    let output = run.take_output();
    let flooded = CancellationToken::new();
    let mut pump = pin!(pump(output, observer, tally, &hopeless, &flooded));
    let mut pump_ended = false;
    let mut full = pin!(full);

    let cause = loop {
        tokio::select! {
            biased;
            () = cancel.cancelled() => break Ok(Cause::Cancelled),
            () = hopeless.cancelled() => break Ok(Cause::Hopeless),
            () = flooded.cancelled() => break Ok(Cause::Excess(report::too_much_output(MAX_OUTPUT_BYTES))),
            () = tokio::time::sleep_until(deadline) => break Ok(Cause::TimedOut),
            failure = &mut full => break Ok(Cause::Excess(failure)),
            () = &mut pump, if !pump_ended => pump_ended = true,
            exit = run.wait() => break exit.map(Cause::Exited),
        }
    };

    let (grace, drain) = match &cause {
        // Processes that outlived the agent hold its output open.
        Ok(Cause::Exited(_)) => (Duration::ZERO, DRAIN_AFTER_EXIT),
        Ok(Cause::TimedOut) => (TIMEOUT_GRACE, DRAIN_AFTER_STOP),
        Ok(Cause::Cancelled | Cause::Hopeless | Cause::Excess(_)) | Err(_) => {
            (CANCEL_GRACE, DRAIN_AFTER_STOP)
        }
    };
    {
        let mut stop = pin!(run.stop(grace));
        loop {
            tokio::select! {
                () = &mut pump, if !pump_ended => pump_ended = true,
                () = &mut stop => break,
            }
        }
    }
    if !pump_ended && timeout(drain, pump).await.is_err() {
        tracing::warn!("the last lines of a run were dropped: they could not be stored in time");
    }
    cause
}

/// Takes the output line by line: counts it, shows it, and looks for what cannot heal.
async fn pump(
    output: Option<mpsc::Receiver<Output>>,
    mut observer: impl LineObserver,
    tally: &mut RunTally,
    hopeless: &CancellationToken,
    flooded: &CancellationToken,
) {
    let Some(mut output) = output else { return };
    let mut room = MAX_OUTPUT_BYTES;
    while let Some(line) = output.recv().await {
        let (Output::Stdout { line: bytes, .. } | Output::Stderr { line: bytes }) = &line;
        match room.checked_sub(bytes.len() as u64 + 1) {
            Some(left) => room = left,
            // What still comes is thrown away, now that nobody takes it.
            None => return flooded.cancel(),
        }
        let events = match &line {
            Output::Stdout { line, .. } => parse_line(line),
            Output::Stderr { line } => {
                tally.stderr_line(line);
                Vec::new()
            }
        };
        for event in &events {
            tally.event(event);
            if is_hopeless(event) {
                hopeless.cancel();
            }
        }
        observer.line(&line, &events).await;
    }
}

/// Tells whether the model API refused the credential, which asking again does not change.
fn is_hopeless(event: &Event) -> bool {
    match event {
        Event::ApiRetry { status, error, .. } => {
            matches!(status, Some(401 | 403)) || error == "authentication_failed"
        }
        Event::Init { .. }
        | Event::AssistantText { .. }
        | Event::SyntheticText { .. }
        | Event::Thinking { .. }
        | Event::ToolUse { .. }
        | Event::ToolResult { .. }
        | Event::PermissionDenied(_)
        | Event::Result(_)
        | Event::Other { .. } => false,
    }
}

fn sandbox_failure(error: SandboxError) -> Failure {
    Failure::new(FailureKind::Sandbox, error.to_string())
}
