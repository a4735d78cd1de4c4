//! One run of one job, from claim to outcome.

use std::{panic::AssertUnwindSafe, sync::Arc, time::Duration};

use claw_agent::{
    gateway::UpstreamError,
    invocation::{Invocation, Situation, WorkspaceBrief, system_text},
    run::{RunEnd, RunReport, RunRequest, run_agent},
    sandbox::SandboxKind,
    warm::WarmPlace,
};
use claw_core::{
    ClaimedJob, FailureKind, Job, JobResult, Persistence, RetryDecision, RunUsage, Workspace,
    WorkspaceEventKind, WorkspaceId,
};
use claw_store::fault;
use claw_workspace::WorkingCopy;
use futures_util::FutureExt;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use super::{
    Worker, changes,
    dispatch::{after, clock_time},
    keeper::{EndReason, RunEnder},
    notes::LogObserver,
    outcome::{SavedEnd, SavedOutcome},
};
use crate::{
    HouseLine, JobsError,
    logs::LogWriter,
    settings::RunSettings,
    spans,
    workspaces::{self, KIND},
};

/// Longest instructions of a workspace in bytes: they travel in one argument, which may have 128 KiB.
const MAX_INSTRUCTION_BYTES: usize = 100_000;

/// How often the CLI asks the model again by itself, about 17 seconds in all. Its own default of 10 keeps a sandbox for
/// three minutes; a job that backs off keeps none.
const MODEL_RETRIES: &str = "5";

/// How long a job may be postponed by rate limits before it fails.
const MAX_POSTPONED: Duration = Duration::from_secs(6 * 3600);

/// How long a job is postponed if the model API did not say for how long.
const POSTPONE: Duration = Duration::from_secs(60);

/// The HTTP status of a rate limit.
const TOO_MANY_REQUESTS: u16 = 429;

/// A run that failed around the agent, with the kind that decides whether it is tried again.
pub(super) struct Failure {
    pub(super) kind: FailureKind,
    pub(super) error: String,
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

/// What keeps a run from beginning.
enum Obstacle {
    /// The run has failed.
    Failure(Failure),
    /// A daily limit was used up since the claim: the job goes back and waits with the others.
    DayIsSpent,
}

impl<E: Into<JobsError>> From<E> for Obstacle {
    fn from(error: E) -> Self {
        Self::Failure(error.into().into())
    }
}

/// What a run works with, once everything is at hand.
struct Prepared {
    workspace: Option<Workspace>,
    settings: RunSettings,
    copy: WorkingCopy,
    /// A sandbox that waited, in which `copy` is mounted.
    warm: Option<WarmPlace>,
}

impl Worker {
    /// Runs the job to its end, whatever happens. A panic ends this job and no other.
    pub(super) async fn run_supervised(&self, claimed: ClaimedJob, stop_runs: CancellationToken) {
        let (id, token) = (claimed.job.id, claimed.token);
        let ender = RunEnder::default();
        let (log, log_task) = self.log_writer(id);
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
        let busy = self.busy.begin(claimed.job.spec.workspace_id);
        let (settled, ()) = tokio::join!(run, self.keep_lease(id, token, stop_runs, &ender));
        self.active.remove(id, token);
        drop(log);
        match log_task.await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                tracing::error!(job.id = %id, %error, "part of the job's log could not be stored")
            }
            Err(error) => tracing::error!(job.id = %id, %error, "the job's log writer ended badly"),
        }
        if settled {
            fault::point("worker.before_discard");
            if let Err(error) = self.files.discard(id).await {
                tracing::warn!(job.id = %id, %error, "could not remove the job's working copy; the next start tries again");
            }
        }
        drop(busy);
        self.sandbox.job_ended(claimed.job.spec.workspace_id);
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
        let prepared = self.prepare(job).instrument(spans::prepare(job.id)).await;
        let is_warm = prepared.as_ref().is_ok_and(|prepared| prepared.warm.is_some());
        log.house(HouseLine::RunStarted {
            attempt: claimed.token,
            worker: self.config.instance.clone(),
            sandbox: match (self.sandbox.kind(), is_warm) {
                (SandboxKind::Docker, true) => "docker, warm",
                (kind, _) => kind.as_str(),
            },
            timestamp: self.clock.now(),
        })
        .await;
        let prepared = match prepared {
            Ok(prepared) => prepared,
            Err(Obstacle::Failure(failure)) => {
                let saved = self.failed(job, claimed.token, failure, RunUsage::default());
                return self.keep_and_finish(job, saved, None, log, ender).await;
            }
            Err(Obstacle::DayIsSpent) => {
                return self.release(job, claimed.token, RunUsage::default(), log, ender).await;
            }
        };
        fault::point("worker.before_run");
        let about = format!("job started: {}", job.spec.prompt);
        self.note(job.spec.workspace_id, WorkspaceEventKind::JobStarted, job, &about).await;
        let report = self.run_agent(claimed, &prepared, ender, log).instrument(spans::agent(job.id)).await;
        fault::point("worker.after_run");
        let usage = metered(report.usage);
        match ender.reason() {
            Some(EndReason::LeaseLost) => return true,
            Some(EndReason::Shutdown) if !matches!(report.end, RunEnd::Completed { .. }) => {
                log.house(HouseLine::RunReleased).await;
                return self.release(job, claimed.token, usage, log, ender).await;
            }
            Some(EndReason::Shutdown | EndReason::Cancel) | None => {}
        }
        let keep = prepared.workspace.as_ref().is_some_and(|w| w.persistence == Persistence::Persistent);
        let saved = self.redacted(SavedOutcome { keep, ..self.verdict(job, claimed.token, report) });
        if let Err(error) = saved.save(changes::folder(&prepared.copy)).await {
            // Only the next start would read it.
            tracing::warn!(job.id = %job.id, %error, "could not save the run's outcome beside its working copy");
        }
        fault::point("worker.outcome_saved");
        self.keep_and_finish(job, saved, Some(&prepared.copy), log, ender).await
    }

    async fn prepare(&self, job: &Job) -> Result<Prepared, Obstacle> {
        let settings = self.settings.for_run().await?;
        let left = self.purse.left(job.id, &job.owner, &job.spec).await?;
        if let Some((budget, _)) = left.budget
            && left.is_budget_used_up()
        {
            let error = format!("the job's budget of {budget} is used up");
            return Err(Obstacle::Failure(Failure { kind: FailureKind::Budget, error }));
        }
        if left.is_used_up() {
            return Err(Obstacle::DayIsSpent);
        }
        let workspace = match job.spec.workspace_id {
            Some(id) => Some(self.workspace(id).await?),
            None => None,
        };
        // A copy of an earlier run of this job: its work was either kept already or does not count.
        self.files.discard(job.id).await?;
        fault::point("worker.before_checkout");
        let (copy, warm) = match self.reserve(job, workspace.as_ref(), &settings).await {
            Some((place, copy)) => (copy, Some(place)),
            None => {
                let owner = self.sandbox.owner();
                let copy = match &workspace {
                    Some(workspace) => self.files.checkout(workspace.id, job.id, owner).await,
                    None => self.files.checkout_empty(job.id, owner).await,
                };
                (copy?, None)
            }
        };
        if let Some(folder) = &job.spec.working_dir
            && !copy.dir.join(folder).is_dir()
        {
            // Known before anything is started, and no better the next time.
            let error = format!("the workspace has no folder `{folder}` to start in");
            return Err(Obstacle::Failure(Failure { kind: FailureKind::Workspace, error }));
        }
        Ok(Prepared { workspace, settings, copy, warm })
    }

    pub(super) async fn workspace(&self, id: WorkspaceId) -> Result<Workspace, JobsError> {
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
        let Prepared { workspace, settings, copy, warm } = prepared;
        let spec = &claimed.job.spec;
        let (limits, network) = settings.within(workspace.as_ref());
        // A login has another token every few hours.
        if let Some(secret) = self.gateway.secret().await {
            self.redactor.learn(secret);
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
                // The meter holds the limit, over all runs, and knows what the CLI does not.
                max_budget_usd: None,
                allowed_tools: spec.allowed_tools.clone().unwrap_or_default(),
                append_system_prompt: Some(system_prompt(&claimed.job, workspace.as_ref())),
                resume: None,
            },
            environment: run_environment(),
            limits,
            network,
            timeout: spec.timeout_secs.map_or(settings.timeout, Duration::from_secs),
            run_root: self.config.run_root.clone(),
            previous_session_cost_usd: None,
            warm: warm.clone(),
            disk: self.config.run_disk.clone(),
            meter: Arc::new(self.purse.meter(&claimed.job)),
        };
        let observer = LogObserver { log: log.clone(), ender };
        run_agent(self.sandbox.as_ref(), &self.gateway, request, observer, ender.token()).await
    }

    /// Turns the agent's report into what is kept of it, deciding whether a failed run is tried again.
    fn verdict(&self, job: &Job, token: u64, report: RunReport) -> SavedOutcome {
        let usage = metered(report.usage);
        let end = match report.end {
            RunEnd::Completed { text } => SavedEnd::Completed {
                result: JobResult {
                    text,
                    session_id: report.session_id,
                    num_turns: report.num_turns,
                    commit: None,
                    note: None,
                },
            },
            RunEnd::Cancelled => SavedEnd::Cancelled,
            RunEnd::Failed { kind: FailureKind::ModelUnavailable, message }
                if is_rate_limit(report.traffic.last_error.as_ref()) =>
            {
                let pause = report.traffic.last_error.and_then(|error| error.retry_after);
                self.rate_limited(job, message, pause)
            }
            RunEnd::Failed { kind, message } => {
                return self.failed(job, token, Failure { kind, error: message }, usage);
            }
        };
        SavedOutcome { token, end, usage, keep: false }
    }

    /// Decides what follows a run that met the model API's rate limit and nothing worse. That is not the job's fault and
    /// goes by itself, so it spends no retry; but it does not go on for ever.
    fn rate_limited(&self, job: &Job, message: String, pause: Option<Duration>) -> SavedEnd {
        let now = self.clock.now();
        if let Some(since) = job.postponed_since
            && after(since, MAX_POSTPONED) <= now
        {
            let since = clock_time(since);
            let error = format!("the model API has limited the rate since {since}; at the end {message}");
            return SavedEnd::Failed { kind: FailureKind::ModelUnavailable, error, retry_at: None };
        }
        let paused_until = self.gateway.model_state().paused_until.filter(|until| *until > now);
        SavedEnd::Postponed {
            error: message,
            until: paused_until.unwrap_or_else(|| after(now, pause.unwrap_or(POSTPONE))),
        }
    }

    pub(super) fn failed(&self, job: &Job, token: u64, failure: Failure, usage: RunUsage) -> SavedOutcome {
        let Failure { kind, error } = failure;
        let retry_at = match self.config.retry.decide(kind, job.retry_count, rand::random::<f64>()) {
            RetryDecision::After(pause) => Some(after(self.clock.now(), pause)),
            RetryDecision::GiveUp => None,
        };
        SavedOutcome { token, end: SavedEnd::Failed { kind, error, retry_at }, usage, keep: false }
    }
}

/// Tells whether the model API would have taken the request at another time: it limits the rate, or said when to come
/// back.
fn is_rate_limit(error: Option<&UpstreamError>) -> bool {
    error.is_some_and(|error| error.status == Some(TOO_MANY_REQUESTS) || error.retry_after.is_some())
}

/// Leaves out what the CLI says a run cost: the gateway has counted it, turn by turn, and knows better.
fn metered(usage: RunUsage) -> RunUsage {
    RunUsage { cost_usd: None, ..usage }
}

/// Returns the variables that every run gets.
pub(super) fn run_environment() -> Vec<(String, String)> {
    vec![("CLAUDE_CODE_MAX_RETRIES".to_owned(), MODEL_RETRIES.to_owned())]
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
