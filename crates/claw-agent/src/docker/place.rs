//! One container that waits for a job: started, seen to answer, and told its task.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use async_trait::async_trait;
use claw_core::JobId;
use tokio::{io::AsyncWriteExt, runtime::Handle, sync::mpsc, time::timeout};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    DockerSandbox, container,
    gauge::{self, Counted},
    run::{DockerRun, Stdin},
};
use crate::{
    invocation::{LateCall, LateRequest, waiting_arguments},
    run::RunDirectory,
    sandbox::{Output, SandboxError, SandboxRun, SandboxSpec},
    warm::{Taken, Waiting, WarmPlace, WarmSupply, WarmWanted},
};

/// Longest wait for a CLI that was just started to answer. It takes half a second on an idle machine.
const START_LIMIT: Duration = Duration::from_secs(30);

/// Longest wait for a CLI that is told its task to answer. It takes some 30 ms; with none, the job starts a CLI itself.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);

/// Lines before the answer that are kept, which hooks of the working copy may have caused.
const MAX_EARLY_LINES: usize = 256;

/// The same in bytes.
const MAX_EARLY_BYTES: usize = 1 << 20;

/// Lines between the container and whoever reads them. Few, because each may have megabytes.
const CHANNEL_LINES: usize = 8;

/// A container whose CLI waits. Dropping it removes the container, then the working copy, in the background.
pub(super) struct Place {
    pub(super) id: JobId,
    pub(super) wanted: WarmWanted,
    /// The image it was made from, by id.
    pub(super) image: String,
    pub(super) since: Instant,
    /// Bytes that it holds while it waits, if the Engine could tell.
    pub(super) memory: Option<u64>,
    cli: Cli,
    remains: Remains,
}

impl Place {
    /// Makes a working copy and starts a CLI in it. Returns once the CLI answers.
    pub(super) async fn start(
        sandbox: &DockerSandbox,
        supply: &Arc<dyn WarmSupply>,
        wanted: WarmWanted,
        image: String,
        cancel: &CancellationToken,
    ) -> Result<Self, String> {
        let shared = &sandbox.shared;
        let id = JobId::new();
        let cpus = sandbox.cpus().await.map_err(|error| error.to_string())?;
        let mut remains = Remains::new(id, supply, &shared.engine.tasks);
        let copy = supply.make(id, wanted.workspace).await?;
        let directory = RunDirectory::create(&supply.run_root(), id, 0)
            .map_err(|error| format!("could not make the folder of a run: {error}"))?;
        let socket_dir = directory.path().to_owned();
        remains.directory = Some(directory);
        // The files may have moved on since they were asked about.
        let wanted = WarmWanted { base: copy.base, ..wanted };
        let spec = SandboxSpec {
            job: id,
            attempt: 0,
            workspace: wanted.workspace.filter(|_| wanted.keeps_home),
            work_dir: copy.work_dir,
            current_dir: None,
            socket_dir,
            arguments: waiting_arguments(),
            environment: wanted.environment.clone(),
            stdin: Vec::new(),
            limits: wanted.limits,
            network: wanted.network,
        };
        let plan = container::plan_place(&shared.config, spec, cpus)?;
        let (mut run, stdin) = DockerRun::start_open(&shared.engine, plan, cancel, Counted::warm())
            .await
            .map_err(|error| error.to_string())?;
        let output = run.take_output();
        let container = run.container().to_owned();
        remains.run = Some(run);
        let mut cli = Cli { stdin, output: output.ok_or("its output is taken")?, early: Early::default() };

        let probe = [LateRequest::probe()];
        match cancel.run_until_cancelled(timeout(START_LIMIT, cli.ask(&probe))).await {
            Some(Ok(answered)) => answered?,
            Some(Err(_)) => return Err(format!("the CLI does not answer after {} s", START_LIMIT.as_secs())),
            None => return Err("nobody wants it any more".to_owned()),
        }
        // No rehearsal of a task, though it would save the first one some 40 ms: the CLI keeps what it composes, also for
        // a model that it is told of later.
        let memory = shared.engine.docker.memory_used(&container).await;
        let memory =
            memory.inspect_err(|error| tracing::debug!(%error, "could not measure a waiting CLI")).ok();
        Ok(Self { id, wanted, image, since: Instant::now(), memory, cli, remains })
    }

    /// Calls `act` once the CLI has ended, unless the place is gone by then.
    pub(super) fn on_end(&self, act: impl FnOnce() + Send + 'static) {
        let Some(run) = &self.remains.run else { return };
        let (tasks, gone) = run.tasks();
        let mut outcome = run.outcome();
        tasks.spawn(gone.run_until_cancelled_owned(async move {
            if outcome.wait_for(Option::is_some).await.is_ok() {
                act();
            }
        }));
    }

    /// Tells whether the CLI has not ended.
    pub(super) fn is_alive(&self) -> bool {
        self.remains.run.as_ref().is_some_and(|run| run.outcome().borrow().is_none())
    }

    /// Ends and removes it, and returns when its container is gone.
    pub(super) async fn end(mut self) -> Result<(), SandboxError> {
        match self.remains.run.take() {
            Some(run) => Box::new(run).remove().await,
            None => Ok(()),
        }
    }

    /// Takes it out for a job.
    pub(super) fn into_warm(mut self) -> Option<WarmPlace> {
        let (id, directory) = (self.id, self.remains.directory.take()?);
        Some(WarmPlace::new(id, Taken { directory, waiting: Box::new(self) }))
    }
}

#[async_trait]
impl Waiting for Place {
    async fn begin(
        mut self: Box<Self>,
        job: JobId,
        attempt: u64,
        call: LateCall,
    ) -> Result<Box<dyn SandboxRun>, SandboxError> {
        let begun = Instant::now();
        let answered = match timeout(ANSWER_LIMIT, self.cli.ask(&call.requests)).await {
            Ok(answered) => answered,
            Err(_) => Err("the CLI that waits does not answer".to_owned()),
        };
        if let Err(reason) = answered {
            // Gone before the job starts another CLI on the same files.
            self.end().await?;
            return Err(SandboxError::Start { reason });
        }
        let Self { cli: Cli { stdin, output, early }, mut remains, id, .. } = *self;
        let Some(run) = remains.run.take() else {
            return Err(SandboxError::Start { reason: "the place was used".to_owned() });
        };
        run.feed(stdin, call.task);
        let (sender, receiver) = mpsc::channel(CHANNEL_LINES);
        run.tasks().0.spawn(forward(early.lines, output, sender));
        gauge::started("warm", begun.elapsed());
        tracing::debug!(job.id = %job, place = %id, "a job took a waiting sandbox");
        Ok(Box::new(run.into_job(container::job_container(job, attempt), receiver)))
    }
}

/// What goes with a place that no job took: the container first, since it works on the files.
struct Remains {
    id: JobId,
    run: Option<DockerRun>,
    directory: Option<RunDirectory>,
    supply: Arc<dyn WarmSupply>,
    tasks: TaskTracker,
    runtime: Handle,
}

impl Remains {
    /// Must be called inside a runtime.
    fn new(id: JobId, supply: &Arc<dyn WarmSupply>, tasks: &TaskTracker) -> Self {
        let (supply, tasks, runtime) = (Arc::clone(supply), tasks.clone(), Handle::current());
        Self { id, run: None, directory: None, supply, tasks, runtime }
    }
}

impl Drop for Remains {
    fn drop(&mut self) {
        let (id, run, directory) = (self.id, self.run.take(), self.directory.take());
        let supply = Arc::clone(&self.supply);
        let removal = async move {
            if let Some(run) = run
                && let Err(error) = Box::new(run).remove().await
            {
                tracing::warn!(%error, "could not remove a sandbox that waited");
            }
            drop(directory);
            supply.discard(id).await;
        };
        self.tasks.spawn_on(removal, &self.runtime);
    }
}

/// Passes on what was printed early, then the rest. Ends with the output, and without a reader.
async fn forward(early: Vec<Output>, mut output: mpsc::Receiver<Output>, sender: mpsc::Sender<Output>) {
    let all = async {
        for line in early {
            sender.send(line).await.ok()?;
        }
        while let Some(line) = output.recv().await {
            sender.send(line).await.ok()?;
        }
        Some(())
    };
    // Without a reader, dropping the output tells the pump that what comes is not wanted.
    let _ = all.await;
}

/// The CLI of a place.
struct Cli {
    stdin: Stdin,
    output: mpsc::Receiver<Output>,
    early: Early,
}

impl Cli {
    /// Sends requests and waits until each is answered well.
    async fn ask(&mut self, requests: &[LateRequest]) -> Result<(), String> {
        let lines: Vec<u8> = requests.iter().flat_map(|request| request.line.iter().copied()).collect();
        let written = async {
            self.stdin.write_all(&lines).await?;
            self.stdin.flush().await
        };
        written.await.map_err(|error| format!("the CLI that waits takes no input: {error}"))?;
        let mut open: Vec<&str> = requests.iter().map(|request| request.id.as_str()).collect();
        while !open.is_empty() {
            let Some(output) = self.output.recv().await else {
                return Err(format!("the CLI that waits has ended{}", self.early.last_words()));
            };
            match answer_in(&output) {
                Some(Answer { id, error: None }) => open.retain(|wanted| *wanted != id),
                Some(Answer { error: Some(error), .. }) => return Err(error),
                None => self.early.push(output)?,
            }
        }
        Ok(())
    }
}

/// What a CLI printed before its task, which belongs to the job's log.
#[derive(Default)]
struct Early {
    lines: Vec<Output>,
    bytes: usize,
}

impl Early {
    fn push(&mut self, output: Output) -> Result<(), String> {
        let (Output::Stdout { line, .. } | Output::Stderr { line }) = &output;
        if is_own_echo(line) {
            return Ok(());
        }
        self.bytes += line.len();
        self.lines.push(output);
        if self.lines.len() > MAX_EARLY_LINES || self.bytes > MAX_EARLY_BYTES {
            return Err("the CLI prints too much before it has a task".to_owned());
        }
        Ok(())
    }

    /// What it said last on standard error.
    fn last_words(&self) -> String {
        let last = self.lines.iter().rev().find_map(|output| match output {
            Output::Stderr { line } => Some(String::from_utf8_lossy(line)),
            Output::Stdout { .. } => None,
        });
        last.map(|text| format!(": {}", crate::text::one_line(&text, 300))).unwrap_or_default()
    }
}

/// An answer to one of our requests.
struct Answer {
    id: String,
    error: Option<String>,
}

fn answer_in(output: &Output) -> Option<Answer> {
    let Output::Stdout { line, truncated: false } = output else { return None };
    let message: serde_json::Value = serde_json::from_slice(line).ok()?;
    if message["type"] != "control_response" {
        return None;
    }
    let response = &message["response"];
    let error = (response["subtype"] != "success").then(|| {
        let text = response["error"].as_str().unwrap_or("no reason given");
        format!("the CLI that waits refused: {}", crate::text::one_line(text, 300))
    });
    Some(Answer { id: response["request_id"].as_str()?.to_owned(), error })
}

/// Tells whether the line only repeats a mode that a request has set; a CLI that is called with the mode prints none.
fn is_own_echo(line: &[u8]) -> bool {
    serde_json::from_slice::<serde_json::Value>(line).is_ok_and(|message| {
        message["type"] == "system" && message["subtype"] == "status" && message["permissionMode"].is_string()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stdout(text: &str) -> Output {
        Output::Stdout { line: text.into(), truncated: false }
    }

    #[test]
    fn answers_are_told_from_everything_else_that_is_printed() {
        let good = r#"{"type":"control_response","response":{"subtype":"success","request_id":"a"}}"#;
        let bad = r#"{"type":"control_response","response":{"subtype":"error","request_id":"a","error":"no\nway"}}"#;

        assert!(answer_in(&stdout(good)).is_some_and(|answer| answer.id == "a" && answer.error.is_none()));
        let refused = answer_in(&stdout(bad)).and_then(|answer| answer.error).expect("an error");
        assert_eq!(refused, "the CLI that waits refused: no way");
        for other in ["", "text", "[]", r#"{"type":"system"}"#, r#"{"type":"control_response"}"#] {
            assert!(answer_in(&stdout(other)).is_none(), "{other}");
        }
        assert!(answer_in(&Output::Stderr { line: good.into() }).is_none());
    }

    #[test]
    fn what_is_printed_early_is_kept_up_to_a_bound_and_echoes_are_not() {
        let mut early = Early::default();

        early
            .push(stdout(r#"{"type":"system","subtype":"status","permissionMode":"dontAsk"}"#))
            .expect("dropped");
        early.push(stdout("kept")).expect("kept");
        early.push(Output::Stderr { line: b"last\nwords".into() }).expect("kept");

        assert_eq!(early.lines.len(), 2);
        assert_eq!(early.last_words(), ": last words");
        let flood = (0..MAX_EARLY_LINES).try_for_each(|_| early.push(stdout("more")));
        assert!(flood.is_err());
    }
}
