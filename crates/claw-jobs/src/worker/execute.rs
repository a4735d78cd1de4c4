//! One run of one job, from claim to finish.

use std::{panic::AssertUnwindSafe, time::Duration};

use claw_agent::{
    invocation::{Invocation, Situation, WorkspaceBrief, system_text},
    run::{LineObserver, RunEnd, RunReport, RunRequest, run_agent},
    sandbox::Output,
    stream::Event,
};
use claw_core::{
    ClaimedJob, FailureKind, IllegalTransition, Job, JobResult, JobState, Persistence, RetryDecision,
    RunUsage, Workspace, WorkspaceEventKind, WorkspaceId,
};
use claw_store::StoreError;
use claw_workspace::{Kept, KeptAs, WorkingCopy, WorkspaceError};
use futures_util::FutureExt;
use tokio_util::sync::CancellationToken;

use super::{
    Worker, changes,
    dispatch::after,
    keeper::{EndReason, RunEnder},
    outcome::{SavedEnd, SavedOutcome},
};
use crate::{
    HouseLine, JobsError,
    logs::{HOUSE_TYPE, LogWriter},
    settings::RunSettings,
    timeline,
    workspaces::{self, KIND},
};

/// Longest instructions of a workspace in bytes: they travel in one argument, which may have 128 KiB.
const MAX_INSTRUCTION_BYTES: usize = 100_000;

/// How often the CLI asks the model again by itself, about 17 seconds in all. Its own default of 10 keeps a sandbox for
/// three minutes; a job that backs off keeps none.
const MODEL_RETRIES: &str = "5";

/// How often keeping the changes of a run is tried.
const KEEP_TRIES: u32 = 3;

/// Pause before the store or the workspace is asked again to take the outcome of a run.
const FINISH_AGAIN: Duration = Duration::from_secs(1);

/// A run that failed around the agent, with the kind that decides whether it is tried again.
struct Failure {
    kind: FailureKind,
    error: String,
}

impl From<JobsError> for Failure {
    fn from(error: JobsError) -> Self {
        let kind = match &error {
            JobsError::Workspace(_) | JobsError::WorkspaceNotFound(_) => FailureKind::Workspace,
            _ => FailureKind::Internal,
        };
        Self { kind, error: error.to_string() }
    }
}

/// What a run works with, once everything is at hand.
struct Prepared {
    workspace: Option<Workspace>,
    settings: RunSettings,
    copy: WorkingCopy,
    budget_usd: Option<f64>,
}

impl Worker {
    /// Runs the job to its end, whatever happens. A panic ends this job and no other.
    pub(super) async fn run_supervised(&self, claimed: ClaimedJob, stop_runs: CancellationToken) {
        let (id, token) = (claimed.job.id, claimed.token);
        let ender = RunEnder::default();
        let (log, log_task) = LogWriter::start(&self.store, self.clock.clone(), id);
        let run = async {
            let ended = AssertUnwindSafe(self.run(&claimed, &ender, &log)).catch_unwind().await;
            let settled = match ended {
                Ok(settled) => settled,
                Err(_panic) => {
                    tracing::error!(job.id = %id, "the run panicked");
                    let error =
                        "something broke inside the worker; the server's log has the details".to_owned();
                    let end = SavedEnd::Failed { kind: FailureKind::Internal, error, retry_at: None };
                    let saved = SavedOutcome { token, end, usage: RunUsage::default(), keep: false };
                    self.finish(&claimed.job, saved, &log, &ender).await
                }
            };
            ender.settle();
            settled
        };
        let (settled, ()) = tokio::join!(run, self.keep_lease(id, token, stop_runs, &ender));
        drop(log);
        match log_task.await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                tracing::error!(job.id = %id, %error, "part of the job's log could not be stored")
            }
            Err(error) => tracing::error!(job.id = %id, %error, "the job's log writer ended badly"),
        }
        if settled && let Err(error) = self.files.discard(id).await {
            tracing::warn!(job.id = %id, %error, "could not remove the job's working copy; the next start tries again");
        }
    }

    /// Tells whether the job is settled, so that nothing on disk is needed any more.
    async fn run(&self, claimed: &ClaimedJob, ender: &RunEnder, log: &LogWriter) -> bool {
        let job = &claimed.job;
        if let Some((saved, copy)) = self.saved_run(job).await {
            // The agent was done when the worker or the store went away: only the rest is left to do.
            tracing::info!(job.id = %job.id, "going on from the saved outcome of an earlier run");
            let saved = SavedOutcome { token: claimed.token, ..saved };
            return self.keep_and_finish(job, saved, Some(&copy), log, ender).await;
        }
        log.house(HouseLine::RunStarted {
            attempt: claimed.token,
            worker: self.config.instance.clone(),
            sandbox: self.sandbox.kind().as_str(),
            timestamp: self.clock.now(),
        })
        .await;
        let prepared = match self.prepare(job).await {
            Ok(prepared) => prepared,
            Err(failure) => {
                let saved = self.failed(job, claimed.token, failure, RunUsage::default());
                return self.keep_and_finish(job, saved, None, log, ender).await;
            }
        };
        let about = format!("job started: {}", job.spec.prompt);
        self.note(job.spec.workspace_id, WorkspaceEventKind::JobStarted, job, &about).await;
        let report = self.run_agent(claimed, &prepared, ender, log).await;
        let usage = report.usage;
        match ender.reason() {
            Some(EndReason::LeaseLost) => return true,
            Some(EndReason::Shutdown) if !matches!(report.end, RunEnd::Completed { .. }) => {
                log.house(HouseLine::RunReleased).await;
                return self.release(job, claimed.token, usage, log, ender).await;
            }
            Some(EndReason::Shutdown | EndReason::Cancel) | None => {}
        }
        let keep = prepared.workspace.as_ref().is_some_and(|w| w.persistence == Persistence::Persistent);
        let saved = SavedOutcome { keep, ..self.verdict(job, claimed.token, report) };
        if let Err(error) = saved.save(changes::folder(&prepared.copy)).await {
            // Only the next start would read it.
            tracing::warn!(job.id = %job.id, %error, "could not save the run's outcome beside its working copy");
        }
        self.keep_and_finish(job, saved, Some(&prepared.copy), log, ender).await
    }

    async fn prepare(&self, job: &Job) -> Result<Prepared, Failure> {
        let settings = self.settings.for_run().await?;
        let budget_usd = match job.spec.max_budget_usd.or(settings.max_budget_usd) {
            Some(budget) => {
                let left = budget - job.usage.cost_usd.unwrap_or(0.0);
                if left <= 0.0 {
                    let error = format!("the job's budget of {budget} US dollars is used up");
                    return Err(Failure { kind: FailureKind::Budget, error });
                }
                Some(left)
            }
            None => None,
        };
        let workspace = match job.spec.workspace_id {
            Some(id) => Some(self.workspace(id).await?),
            None => None,
        };
        // A copy of an earlier run of this job: its work was either kept already or does not count.
        self.files.discard(job.id).await.map_err(JobsError::from)?;
        let owner = self.sandbox.owner();
        let copy = match &workspace {
            Some(workspace) => self.files.checkout(workspace.id, job.id, owner).await,
            None => self.files.checkout_empty(job.id, owner).await,
        };
        let copy = copy.map_err(JobsError::from)?;
        if let Some(folder) = &job.spec.working_dir
            && !copy.dir.join(folder).is_dir()
        {
            // Known before anything is started, and no better the next time.
            let error = format!("the workspace has no folder `{folder}` to start in");
            return Err(Failure { kind: FailureKind::Workspace, error });
        }
        Ok(Prepared { workspace, settings, copy, budget_usd })
    }

    async fn workspace(&self, id: WorkspaceId) -> Result<Workspace, JobsError> {
        let document = self.store.documents.get(KIND, &id.to_string()).await?;
        Ok(workspaces::parse(&document.ok_or(JobsError::WorkspaceNotFound(id))?)?)
    }

    async fn run_agent(
        &self,
        claimed: &ClaimedJob,
        prepared: &Prepared,
        ender: &RunEnder,
        log: &LogWriter,
    ) -> RunReport {
        let Prepared { workspace, settings, copy, budget_usd } = prepared;
        let spec = &claimed.job.spec;
        let mut limits = settings.limits;
        let mut network = settings.network;
        if let Some(workspace) = workspace {
            limits.memory_bytes = workspace.memory_limit_bytes.unwrap_or(limits.memory_bytes);
            limits.cpus = workspace.cpu_limit.unwrap_or(limits.cpus);
            network = workspace.network_mode.unwrap_or(network);
        }
        let request = RunRequest {
            job: claimed.job.id,
            attempt: claimed.token,
            // A HOME that outlives the job would carry what it planted there into later jobs, and into those beside it.
            workspace: workspace.as_ref().filter(|w| w.persistence == Persistence::Persistent).map(|w| w.id),
            work_dir: copy.dir.clone(),
            // Checked when the job was submitted.
            current_dir: spec.working_dir.as_deref().and_then(|dir| dir.parse().ok()),
            invocation: Invocation {
                prompt: spec.prompt.clone(),
                model: spec.model.clone(),
                max_budget_usd: *budget_usd,
                allowed_tools: spec.allowed_tools.clone().unwrap_or_default(),
                append_system_prompt: Some(system_prompt(&claimed.job, workspace.as_ref())),
                resume: None,
            },
            environment: vec![("CLAUDE_CODE_MAX_RETRIES".to_owned(), MODEL_RETRIES.to_owned())],
            limits,
            network,
            timeout: spec.timeout_secs.map_or(settings.timeout, Duration::from_secs),
            run_root: self.config.run_root.clone(),
            previous_session_cost_usd: None,
        };
        let observer = LogObserver { log: log.clone(), ender };
        run_agent(self.sandbox.as_ref(), &self.gateway, request, observer, ender.token()).await
    }

    /// Turns the agent's report into what is kept of it, deciding whether a failed run is tried again.
    fn verdict(&self, job: &Job, token: u64, report: RunReport) -> SavedOutcome {
        let usage = report.usage;
        match report.end {
            RunEnd::Completed { text } => {
                let result = JobResult {
                    text,
                    session_id: report.session_id,
                    num_turns: report.num_turns,
                    commit: None,
                    note: None,
                };
                SavedOutcome { token, end: SavedEnd::Completed { result }, usage, keep: false }
            }
            RunEnd::Cancelled => SavedOutcome { token, end: SavedEnd::Cancelled, usage, keep: false },
            RunEnd::Failed { kind, message } => {
                self.failed(job, token, Failure { kind, error: message }, usage)
            }
        }
    }

    fn failed(&self, job: &Job, token: u64, failure: Failure, usage: RunUsage) -> SavedOutcome {
        let Failure { kind, error } = failure;
        let retry_at = match self.config.retry.decide(kind, job.retry_count, rand::random::<f64>()) {
            RetryDecision::After(pause) => Some(after(self.clock.now(), pause)),
            RetryDecision::GiveUp => None,
        };
        SavedOutcome { token, end: SavedEnd::Failed { kind, error, retry_at }, usage, keep: false }
    }

    /// Keeps what the run changed, if it is to be kept, and finishes the job. May be done again after a crash.
    pub(super) async fn keep_and_finish(
        &self,
        job: &Job,
        mut saved: SavedOutcome,
        copy: Option<&WorkingCopy>,
        log: &LogWriter,
        ender: &RunEnder,
    ) -> bool {
        let mut copy_is_needed = false;
        if let Some(copy) = copy.filter(|_| saved.keep) {
            match self.keep(copy).await {
                Ok(kept) => {
                    if let Some(text) = changes::sentence(&kept) {
                        if matches!(kept.outcome, KeptAs::Conflict { .. }) {
                            self.note(job.spec.workspace_id, WorkspaceEventKind::JobConflict, job, &text)
                                .await;
                        }
                        log.house(HouseLine::Changes { text, commit: changes::commit(&kept) }).await;
                    }
                    if let SavedEnd::Completed { result } = &mut saved.end {
                        changes::tell(&kept, result);
                    }
                }
                Err(error) => {
                    // The result must not claim what did not happen, and the work must not be lost.
                    tracing::error!(job.id = %job.id, %error, "could not keep the job's changes");
                    changes::mark_unkept(copy, job.id).await;
                    copy_is_needed = true;
                    let place = copy.dir.display();
                    let error = format!(
                        "the changes could not be kept in the workspace ({error}); they are still in {place} on the server"
                    );
                    saved = self.failed(
                        job,
                        saved.token,
                        Failure { kind: FailureKind::Workspace, error },
                        saved.usage,
                    );
                }
            }
        }
        self.finish(job, saved, log, ender).await && !copy_is_needed
    }

    /// Keeps the changes, trying again what a full disk or a busy repository refused.
    async fn keep(&self, copy: &WorkingCopy) -> Result<Kept, WorkspaceError> {
        let mut tries = 1;
        loop {
            match self.files.keep(copy).await {
                Err(error) if tries < KEEP_TRIES => {
                    tracing::warn!(job.id = %copy.job, %error, "could not keep the job's changes, trying again");
                    tries += 1;
                    tokio::time::sleep(FINISH_AGAIN).await;
                }
                outcome => return outcome,
            }
        }
    }

    async fn release(
        &self,
        job: &Job,
        token: u64,
        usage: RunUsage,
        log: &LogWriter,
        ender: &RunEnder,
    ) -> bool {
        log.flush().await;
        ender.settle();
        let outcome = claw_core::JobOutcome::Released;
        match self.store.jobs.finish(job.id, token, outcome, usage, self.clock.now()).await {
            Ok(_) => true,
            Err(error) => {
                tracing::warn!(job.id = %job.id, %error, "could not give the job back; its lease will lapse");
                true
            }
        }
    }

    /// Writes the last lines of the log, then the outcome. Tells whether the store has it, or has moved on.
    async fn finish(&self, job: &Job, saved: SavedOutcome, log: &LogWriter, ender: &RunEnder) -> bool {
        match &saved.end {
            SavedEnd::Completed { .. } => true,
            SavedEnd::Failed { error, retry_at, .. } => {
                log.house(HouseLine::RunFailed { error: error.clone(), retry_at: *retry_at }).await
            }
            SavedEnd::Cancelled => log.house(HouseLine::RunCancelled).await,
        };
        // A reader that sees the job's end must find its whole log.
        log.flush().await;
        ender.settle();
        let give_up_at = after(self.clock.now(), self.config.lease);
        loop {
            let now = self.clock.now();
            let outcome = saved.end.clone().into_outcome();
            match self.store.jobs.finish(job.id, saved.token, outcome, saved.usage, now).await {
                Ok(finished) => {
                    self.note_end(&finished).await;
                    return true;
                }
                Err(StoreError::Transition(IllegalTransition::LostLease) | StoreError::JobNotFound(_)) => {
                    tracing::warn!(job.id = %job.id, "the job has moved on: this run's outcome does not count");
                    return true;
                }
                Err(error) if now >= give_up_at => {
                    tracing::error!(job.id = %job.id, %error, "could not store the outcome; it stays beside the working copy");
                    return false;
                }
                Err(error) => {
                    tracing::warn!(job.id = %job.id, %error, "could not store the outcome, trying again");
                    tokio::time::sleep(FINISH_AGAIN).await;
                }
            }
        }
    }

    async fn note_end(&self, job: &Job) {
        let workspace = job.spec.workspace_id;
        match &job.state {
            JobState::Completed { .. } => {
                let seconds = job.usage.duration_ms / 1000;
                let cost = job.usage.cost_usd.map(|usd| format!(", {usd:.4} US dollars")).unwrap_or_default();
                let text = format!("job completed in {seconds} s{cost}");
                tracing::info!(job.id = %job.id, duration_ms = job.usage.duration_ms, "job completed");
                self.note(workspace, WorkspaceEventKind::JobCompleted, job, &text).await;
            }
            JobState::Failed { error, .. } => {
                tracing::warn!(job.id = %job.id, error, "job failed");
                self.note(workspace, WorkspaceEventKind::JobFailed, job, &format!("job failed: {error}"))
                    .await;
            }
            JobState::Pending { last_error: Some(error), .. } => {
                tracing::info!(job.id = %job.id, error, retry_count = job.retry_count, "job will be tried again");
                self.note(workspace, WorkspaceEventKind::JobFailed, job, &format!("run failed: {error}"))
                    .await;
            }
            JobState::Cancelled { by, .. } => {
                tracing::info!(job.id = %job.id, by, "job cancelled");
                self.note(workspace, WorkspaceEventKind::JobFailed, job, "job cancelled").await;
            }
            JobState::Pending { last_error: None, .. } | JobState::Running { .. } => {}
        }
    }

    /// Writes to the workspace's timeline. What it tells of has happened already, so a failure is only logged.
    async fn note(&self, workspace: Option<WorkspaceId>, kind: WorkspaceEventKind, job: &Job, text: &str) {
        let Some(workspace) = workspace else { return };
        let related = Some(job.id.to_string());
        if let Err(error) =
            timeline::record(&self.store, workspace, kind, related, text, self.clock.now()).await
        {
            tracing::warn!(workspace.id = %workspace, %error, "could not write to the workspace's timeline");
        }
    }
}

/// Puts what the agent says into the job's log.
struct LogObserver<'a> {
    log: LogWriter,
    ender: &'a RunEnder,
}

impl LineObserver for LogObserver<'_> {
    async fn line(&mut self, output: &Output, events: &[Event]) {
        let stored = match output {
            Output::Stdout { line, .. } if events.iter().any(is_house_type) => {
                self.log
                    .house(HouseLine::Pretended { text: String::from_utf8_lossy(line).into_owned() })
                    .await
            }
            Output::Stdout { line, .. } => self.log.line(line.clone()).await,
            Output::Stderr { line } => {
                self.log.house(HouseLine::Stderr { text: String::from_utf8_lossy(line).into_owned() }).await
            }
        };
        if !stored {
            // The store refused a line. A run whose log has holes must not pass for whole: let it be run again.
            self.ender.end(EndReason::LeaseLost);
        }
    }
}

/// Tells whether the line calls itself one of the house's. What the house says in a log must be the house's.
fn is_house_type(event: &Event) -> bool {
    matches!(event, Event::Other { kind, .. } if kind == HOUSE_TYPE)
}

fn system_prompt(job: &Job, workspace: Option<&Workspace>) -> String {
    let brief = workspace.map(|w| WorkspaceBrief { name: w.name.as_str(), description: &w.description });
    let mut text = system_text(Situation { job: job.id, source: job.spec.source, workspace: brief });
    if let Some(instructions) = workspace.and_then(|workspace| workspace.claude_md.as_deref()) {
        text.push_str("\n\n");
        text.push_str(&instructions[..instructions.floor_char_boundary(MAX_INSTRUCTION_BYTES)]);
    }
    text
}
