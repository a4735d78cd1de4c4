//! Jobs and their state machine.
//!
//! ```text
//!            claim                       complete
//! pending ───────────▶ running ─────────────────────▶ completed
//!    │ ▲                 │ │ └─ fail (final) ────────▶ failed
//!    │ └─ fail (retry) ──┘ │ └─ cancel confirmed ────▶ cancelled
//!    │    release, lapse   │
//!    └─────── cancel ──────┴─ asked to cancel (still running)
//! ```
//!
//! Every change goes through [`Job::apply`]. A storage engine calls it inside its own atomic step and writes what
//! comes out, so all engines and doors share one table of what may follow what.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{JobId, RepoPath, WorkerId, WorkspaceId};

/// How urgent a job is: 0 to 9, the highest first. Larger numbers count as 9, as clients of old expect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(from = "u8", into = "u8")]
pub struct Priority(u8);

impl Priority {
    /// Returns the number, 0 to 9.
    pub fn get(self) -> u8 {
        self.0
    }
}

impl From<u8> for Priority {
    fn from(value: u8) -> Self {
        Self(value.min(9))
    }
}

impl From<Priority> for u8 {
    fn from(priority: Priority) -> Self {
        priority.0
    }
}

impl Default for Priority {
    fn default() -> Self {
        Self(5)
    }
}

/// Which door a job came through.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum JobSource {
    /// The command line.
    Cli,
    /// The REST API.
    #[default]
    Api,
    /// The webhook route.
    Webhook,
    /// A schedule.
    Cron,
    /// A file dropped into the watched folder.
    Filewatcher,
}

impl JobSource {
    /// Returns the name that clients and the store use.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Cli => "cli",
            Self::Api => "api",
            Self::Webhook => "webhook",
            Self::Cron => "cron",
            Self::Filewatcher => "filewatcher",
        }
    }

    /// Returns the source of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Cli, Self::Api, Self::Webhook, Self::Cron, Self::Filewatcher]
            .into_iter()
            .find(|s| s.as_str() == name)
    }
}

/// Where the result goes besides the store.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum OutputDest {
    /// Nowhere else: it is kept with the job. The name is the one that clients know.
    #[default]
    Redis,
}

/// What is wrong with a submitted job.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SpecError {
    /// Nothing to do.
    #[error("`prompt` is empty; say what the job is to do")]
    EmptyPrompt,
    /// More than the agent CLI accepts.
    #[error("`prompt` has {len} bytes; the limit is {} bytes", JobSpec::MAX_PROMPT_BYTES)]
    PromptTooLong {
        /// Its length in bytes.
        len: usize,
    },
    /// The budget is not a positive amount.
    #[error("`max_budget_usd` must be a positive amount up to 10000")]
    Budget,
    /// The timeout is zero or longer than a day.
    #[error("`timeout_secs` must be from 1 to 86400")]
    Timeout,
    /// A model name that could be taken for a flag or holds odd characters.
    #[error(
        "`model` must have 1 to 128 characters: letters, digits and `-_.:/[]@`, and begin with a letter or digit"
    )]
    Model,
    /// Too many tags, or one that is empty, too long or holds control characters.
    #[error("`tags` may hold 32 tags of 1 to 100 characters without control characters")]
    Tags,
    /// A tool pattern that could be taken for a flag or splits the list.
    #[error("`allowed_tools` may hold 100 patterns of 1 to 200 characters that do not begin with `-`")]
    AllowedTools,
    /// The folder is not inside the workspace.
    #[error("`working_dir` must be a folder inside the workspace, such as `.` or `src`")]
    WorkingDir,
}

/// What was asked for. Everything here was checked by [`JobSpec::check`] before it was stored.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct JobSpec {
    /// What the agent is to do.
    pub prompt: String,
    /// Model name or alias; `None` takes the CLI's default.
    pub model: Option<String>,
    /// Most that the job may cost in US dollars, over all its runs.
    pub max_budget_usd: Option<f64>,
    /// Tools the agent may use; `None` for all.
    pub allowed_tools: Option<Vec<String>>,
    /// Labels for finding jobs again.
    #[serde(default)]
    pub tags: Vec<String>,
    /// Where the result goes.
    #[serde(default)]
    pub output_dest: OutputDest,
    /// Which door it came through.
    pub source: JobSource,
    /// How urgent it is.
    #[serde(default)]
    pub priority: Priority,
    /// Wall time of one run in seconds; `None` takes the installation's.
    pub timeout_secs: Option<u64>,
    /// The workspace whose files the job sees; `None` for an empty folder.
    pub workspace_id: Option<WorkspaceId>,
    /// Folder inside the workspace where the agent starts; `None` for the top.
    pub working_dir: Option<String>,
}

impl JobSpec {
    /// Longest prompt in bytes. The agent CLI itself gives up at about 9 MB.
    pub const MAX_PROMPT_BYTES: usize = 1_500_000;

    /// Returns a job that only says what to do.
    pub fn new(prompt: impl Into<String>, source: JobSource) -> Self {
        Self {
            prompt: prompt.into(),
            model: None,
            max_budget_usd: None,
            allowed_tools: None,
            tags: Vec::new(),
            output_dest: OutputDest::Redis,
            source,
            priority: Priority::default(),
            timeout_secs: None,
            workspace_id: None,
            working_dir: None,
        }
    }

    /// Checks everything that can be judged without asking the store.
    ///
    /// # Errors
    ///
    /// Returns the first field that cannot be accepted.
    pub fn check(&self) -> Result<(), SpecError> {
        if self.prompt.trim().is_empty() {
            return Err(SpecError::EmptyPrompt);
        }
        if self.prompt.len() > Self::MAX_PROMPT_BYTES {
            return Err(SpecError::PromptTooLong { len: self.prompt.len() });
        }
        if self.max_budget_usd.is_some_and(|usd| !(usd > 0.0 && usd <= 10_000.0)) {
            return Err(SpecError::Budget);
        }
        if self.timeout_secs.is_some_and(|secs| !(1..=86_400).contains(&secs)) {
            return Err(SpecError::Timeout);
        }
        if self.model.as_deref().is_some_and(|model| !is_model_name(model)) {
            return Err(SpecError::Model);
        }
        let tag_ok = |tag: &String| {
            !tag.is_empty() && tag.chars().count() <= 100 && !tag.chars().any(char::is_control)
        };
        if self.tags.len() > 32 || !self.tags.iter().all(tag_ok) {
            return Err(SpecError::Tags);
        }
        let pattern_ok = |tool: &String| {
            !tool.is_empty()
                && tool.len() <= 200
                && !tool.starts_with('-')
                && !tool.chars().any(char::is_control)
        };
        if self.allowed_tools.as_ref().is_some_and(|tools| tools.len() > 100 || !tools.iter().all(pattern_ok))
        {
            return Err(SpecError::AllowedTools);
        }
        if self.working_dir.as_deref().is_some_and(|dir| dir.parse::<RepoPath>().is_err()) {
            return Err(SpecError::WorkingDir);
        }
        Ok(())
    }
}

fn is_model_name(name: &str) -> bool {
    name.len() <= 128
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || "-_.:/[]@".contains(c))
}

/// The five states as clients name them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum JobStatus {
    /// Waits for a worker.
    Pending,
    /// A worker has it.
    Running,
    /// Ended well.
    Completed,
    /// Ended badly.
    Failed,
    /// Was ended by someone.
    Cancelled,
}

impl JobStatus {
    /// Every status, in the order of a job's life.
    pub const ALL: [JobStatus; 5] =
        [Self::Pending, Self::Running, Self::Completed, Self::Failed, Self::Cancelled];

    /// Returns the name that clients and the store use.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Running => "running",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    /// Returns the status of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.as_str() == name)
    }

    /// Tells whether nothing more will happen to the job.
    pub fn is_terminal(self) -> bool {
        matches!(self, Self::Completed | Self::Failed | Self::Cancelled)
    }
}

impl fmt::Display for JobStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A worker's right to a job until a moment. The token grows with each claim of the job, so a holder that
/// fell asleep and comes back is told apart from its successor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// Who holds it.
    pub worker: WorkerId,
    /// Fencing token: 1 for the first claim of the job, larger for each later one.
    pub token: u64,
    /// When it lapses unless renewed.
    pub until: Timestamp,
}

/// Why a run failed. The kind decides whether trying again can help.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureKind {
    /// The model API refused the credential, or there is none.
    ModelAuth,
    /// The model API refused the request itself.
    ModelRequest,
    /// The model API was overloaded, limited the rate or broke.
    ModelUnavailable,
    /// The job's time was up.
    Timeout,
    /// The job's money was up.
    Budget,
    /// The agent reached its turn limit or ended with an error of its own.
    Agent,
    /// The agent ended without a result, killed from outside or out of memory or processes.
    Killed,
    /// The sandbox could not be made.
    Sandbox,
    /// The workspace is gone or its repository refused.
    Workspace,
    /// The worker's lease lapsed: its process or machine died.
    WorkerLost,
    /// Something of ours broke.
    Internal,
}

impl FailureKind {
    /// Tells whether the same job may succeed when tried again later.
    pub fn is_retryable(self) -> bool {
        match self {
            Self::ModelUnavailable | Self::Killed | Self::Sandbox | Self::WorkerLost | Self::Internal => true,
            // A timeout that is retried costs four times the time and money for the same end.
            Self::ModelAuth
            | Self::ModelRequest
            | Self::Timeout
            | Self::Budget
            | Self::Agent
            | Self::Workspace => false,
        }
    }
}

/// Where a job stands, with what belongs to that state and no other.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "status", rename_all = "lowercase")]
pub enum JobState {
    /// Waits for a worker, not before `not_before`.
    Pending {
        /// Earliest claim; set while backing off.
        not_before: Option<Timestamp>,
        /// Why the previous run failed.
        last_error: Option<String>,
    },
    /// A worker has it.
    Running {
        /// When this run was claimed.
        started_at: Timestamp,
        /// Whose it is.
        lease: Lease,
        /// Who asked for it to end, if anyone did.
        cancel_requested_by: Option<String>,
    },
    /// Ended well.
    Completed {
        /// When the last run was claimed.
        started_at: Timestamp,
        /// When it ended.
        finished_at: Timestamp,
        /// Who ran it.
        worker: WorkerId,
    },
    /// Ended badly.
    Failed {
        /// When the last run was claimed.
        started_at: Timestamp,
        /// When it ended.
        finished_at: Timestamp,
        /// Who ran it.
        worker: WorkerId,
        /// Why.
        kind: FailureKind,
        /// Why, as a sentence for people.
        error: String,
    },
    /// Was ended by someone.
    Cancelled {
        /// When the last run was claimed; `None` if it never ran.
        started_at: Option<Timestamp>,
        /// When it ended.
        finished_at: Timestamp,
        /// Owner mark of who asked.
        by: String,
    },
}

impl JobState {
    /// Returns the state's name.
    pub fn status(&self) -> JobStatus {
        match self {
            Self::Pending { .. } => JobStatus::Pending,
            Self::Running { .. } => JobStatus::Running,
            Self::Completed { .. } => JobStatus::Completed,
            Self::Failed { .. } => JobStatus::Failed,
            Self::Cancelled { .. } => JobStatus::Cancelled,
        }
    }
}

/// What one run used. Kept for every run, however it ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RunUsage {
    /// Cost in US dollars, if the agent told.
    pub cost_usd: Option<f64>,
    /// Wall time in milliseconds.
    pub duration_ms: u64,
}

/// What a job brought.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobResult {
    /// The agent's closing text.
    pub text: String,
    /// The agent CLI's session, for continuing it.
    pub session_id: Option<String>,
    /// Turns the agent took.
    pub num_turns: Option<u64>,
    /// Commit that holds the job's changes, if it changed files of a persistent workspace.
    pub commit: Option<String>,
    /// Something the reader should know about how the changes were kept.
    pub note: Option<String>,
}

/// How a run ended, as the worker reports it.
#[derive(Clone, Debug, PartialEq)]
pub enum JobOutcome {
    /// The agent finished.
    Completed {
        /// What it brought.
        result: JobResult,
    },
    /// The run failed.
    Failed {
        /// Why.
        kind: FailureKind,
        /// Why, as a sentence for people.
        error: String,
        /// When to try again; `None` if this was the last time.
        retry_at: Option<Timestamp>,
    },
    /// The run was ended because someone asked.
    Cancelled,
    /// The worker gives the job back unharmed, because it is stopping.
    Released,
}

/// One step of a job's life.
#[derive(Clone, Debug, PartialEq)]
pub enum Transition {
    /// A worker takes the job.
    Claim {
        /// Who.
        worker: WorkerId,
        /// When the lease lapses.
        until: Timestamp,
    },
    /// The holder goes on.
    Renew {
        /// The lease's token.
        token: u64,
        /// When the lease lapses now.
        until: Timestamp,
    },
    /// Someone asks for the job to end.
    RequestCancel {
        /// Owner mark of who asked.
        by: String,
    },
    /// The holder reports how the run ended.
    Finish {
        /// The lease's token.
        token: u64,
        /// How it ended.
        outcome: JobOutcome,
        /// What it used.
        usage: RunUsage,
    },
    /// The holder is gone.
    Lapse {
        /// Retries after which the job fails.
        max_retries: u32,
        /// Whether the holder is known to be dead, so that its lease need not run out first.
        holder_is_dead: bool,
    },
}

impl Transition {
    fn name(&self) -> &'static str {
        match self {
            Self::Claim { .. } => "claim",
            Self::Renew { .. } => "renew",
            Self::RequestCancel { .. } => "cancel",
            Self::Finish { .. } => "finish",
            Self::Lapse { .. } => "lapse",
        }
    }
}

/// A step that may not follow.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IllegalTransition {
    /// The job's state does not allow the step.
    #[error("cannot {step} a job that is {status}")]
    WrongState {
        /// The step's name.
        step: &'static str,
        /// The job's state.
        status: JobStatus,
    },
    /// The lease passed to another worker, or the job ended.
    #[error("the lease on the job was lost")]
    LostLease,
    /// The lease has not run out.
    #[error("the lease on the job has not lapsed")]
    NotLapsed,
    /// The job is backing off.
    #[error("the job is not due yet")]
    NotDue,
}

/// One job as it stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Job {
    /// Identifies the job.
    pub id: JobId,
    /// Who submitted it, as [`crate::Actor::owner`] writes it.
    pub owner: String,
    /// What was asked for.
    pub spec: JobSpec,
    /// Where it stands.
    pub state: JobState,
    /// When it was submitted.
    pub created_at: Timestamp,
    /// Runs that failed and were or will be tried again.
    pub retry_count: u32,
    /// Claims so far; the token of the newest lease.
    pub lease_count: u64,
    /// What all runs used together.
    pub usage: RunUsage,
}

impl Job {
    /// Returns a new job that waits for a worker.
    pub fn new(id: JobId, owner: String, spec: JobSpec, now: Timestamp) -> Self {
        Self {
            id,
            owner,
            spec,
            state: JobState::Pending { not_before: None, last_error: None },
            created_at: now,
            retry_count: 0,
            lease_count: 0,
            usage: RunUsage::default(),
        }
    }

    /// Returns the state's name.
    pub fn status(&self) -> JobStatus {
        self.state.status()
    }

    /// Takes one step.
    ///
    /// A cancel that was acknowledged wins: whatever the holder reports afterwards, the job reads cancelled, and
    /// what the run used is kept.
    ///
    /// # Errors
    ///
    /// Returns why the step may not follow; the job is unchanged then.
    pub fn apply(&mut self, transition: Transition, now: Timestamp) -> Result<(), IllegalTransition> {
        let wrong_state = IllegalTransition::WrongState { step: transition.name(), status: self.status() };
        match transition {
            Transition::Claim { worker, until } => {
                let JobState::Pending { not_before, .. } = &self.state else { return Err(wrong_state) };
                if not_before.is_some_and(|due| due > now) {
                    return Err(IllegalTransition::NotDue);
                }
                self.lease_count += 1;
                let lease = Lease { worker, token: self.lease_count, until };
                self.state = JobState::Running { started_at: now, lease, cancel_requested_by: None };
            }
            Transition::Renew { token, until } => {
                let JobState::Running { lease, .. } = &mut self.state else {
                    return Err(IllegalTransition::LostLease);
                };
                if lease.token != token {
                    return Err(IllegalTransition::LostLease);
                }
                lease.until = until;
            }
            Transition::RequestCancel { by } => match &mut self.state {
                JobState::Pending { .. } => {
                    self.state = JobState::Cancelled { started_at: None, finished_at: now, by };
                }
                JobState::Running { cancel_requested_by, .. } => {
                    cancel_requested_by.get_or_insert(by);
                }
                JobState::Completed { .. } | JobState::Failed { .. } | JobState::Cancelled { .. } => {
                    return Err(wrong_state);
                }
            },
            Transition::Finish { token, outcome, usage } => {
                let JobState::Running { started_at, lease, cancel_requested_by } = &self.state else {
                    return Err(IllegalTransition::LostLease);
                };
                if lease.token != token {
                    return Err(IllegalTransition::LostLease);
                }
                let next = after_run(*started_at, lease, cancel_requested_by.clone(), outcome, now);
                self.retry_count += u32::from(next.counts_as_retry);
                self.state = next.state;
                self.add_usage(usage);
            }
            Transition::Lapse { max_retries, holder_is_dead } => {
                let JobState::Running { started_at, lease, cancel_requested_by } = &self.state else {
                    return Err(wrong_state);
                };
                if lease.until > now && !holder_is_dead {
                    return Err(IllegalTransition::NotLapsed);
                }
                let error = format!("worker {} stopped answering while it ran this job", lease.worker);
                let retry_at = (self.retry_count < max_retries).then_some(now);
                let outcome = JobOutcome::Failed { kind: FailureKind::WorkerLost, error, retry_at };
                let next = after_run(*started_at, lease, cancel_requested_by.clone(), outcome, now);
                self.retry_count += u32::from(next.counts_as_retry);
                self.state = next.state;
            }
        }
        Ok(())
    }

    fn add_usage(&mut self, run: RunUsage) {
        self.usage.duration_ms = self.usage.duration_ms.saturating_add(run.duration_ms);
        if let Some(cost) = run.cost_usd {
            self.usage.cost_usd = Some(self.usage.cost_usd.unwrap_or(0.0) + cost);
        }
    }
}

struct AfterRun {
    state: JobState,
    counts_as_retry: bool,
}

fn after_run(
    started_at: Timestamp,
    lease: &Lease,
    cancel_requested_by: Option<String>,
    outcome: JobOutcome,
    now: Timestamp,
) -> AfterRun {
    let worker = lease.worker.clone();
    let ended = |state| AfterRun { state, counts_as_retry: false };
    if let Some(by) = cancel_requested_by {
        return ended(JobState::Cancelled { started_at: Some(started_at), finished_at: now, by });
    }
    match outcome {
        JobOutcome::Completed { .. } => ended(JobState::Completed { started_at, finished_at: now, worker }),
        JobOutcome::Failed { error, retry_at: Some(due), .. } => AfterRun {
            state: JobState::Pending { not_before: Some(due), last_error: Some(error) },
            counts_as_retry: true,
        },
        JobOutcome::Failed { kind, error, retry_at: None } => {
            ended(JobState::Failed { started_at, finished_at: now, worker, kind, error })
        }
        // The worker was told to end the run although nobody's request is on record: the house itself did it.
        JobOutcome::Cancelled => {
            ended(JobState::Cancelled { started_at: Some(started_at), finished_at: now, by: "system".into() })
        }
        JobOutcome::Released => ended(JobState::Pending { not_before: None, last_error: None }),
    }
}

/// A job in the hands of the worker that claimed it.
#[derive(Clone, Debug, PartialEq)]
pub struct ClaimedJob {
    /// The job, running.
    pub job: Job,
    /// Token to renew and finish with.
    pub token: u64,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LEASE_SECS: i64 = 30;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).expect("a time in range")
    }

    fn worker() -> WorkerId {
        WorkerId::new("host", "boot", 0)
    }

    fn claim(now: i64) -> Transition {
        Transition::Claim { worker: worker(), until: at(now + LEASE_SECS) }
    }

    fn finish(token: u64, outcome: JobOutcome) -> Transition {
        Transition::Finish { token, outcome, usage: RunUsage { cost_usd: Some(0.5), duration_ms: 10 } }
    }

    fn failed(retry_at: Option<Timestamp>) -> JobOutcome {
        JobOutcome::Failed { kind: FailureKind::ModelUnavailable, error: "overloaded".into(), retry_at }
    }

    fn completed() -> JobOutcome {
        JobOutcome::Completed { result: JobResult::default() }
    }

    fn cancel() -> Transition {
        Transition::RequestCancel { by: "token".into() }
    }

    fn pending() -> Job {
        Job::new(JobId::new(), "token".into(), JobSpec::new("x", JobSource::Api), at(0))
    }

    /// A job brought to the given state by legal steps only.
    fn job(status: JobStatus) -> Job {
        let mut job = pending();
        let steps = match status {
            JobStatus::Pending => vec![],
            JobStatus::Running => vec![claim(0)],
            JobStatus::Completed => vec![claim(0), finish(1, completed())],
            JobStatus::Failed => vec![claim(0), finish(1, failed(None))],
            JobStatus::Cancelled => vec![cancel()],
        };
        for step in steps {
            job.apply(step, at(0)).expect("a legal step");
        }
        assert_eq!(job.status(), status);
        job
    }

    #[test]
    fn the_whole_transition_table_holds() {
        use JobStatus::*;
        type Case = (&'static str, fn() -> Transition, [Option<JobStatus>; 5]);
        // Columns: pending, running, completed, failed, cancelled. `None`: the step is refused.
        let table: [Case; 10] = [
            ("claim", || claim(1), [Some(Running), None, None, None, None]),
            (
                "renew",
                || Transition::Renew { token: 1, until: at(60) },
                [None, Some(Running), None, None, None],
            ),
            ("cancel", cancel, [Some(Cancelled), Some(Running), None, None, None]),
            ("complete", || finish(1, completed()), [None, Some(Completed), None, None, None]),
            ("fail for good", || finish(1, failed(None)), [None, Some(Failed), None, None, None]),
            ("fail and retry", || finish(1, failed(Some(at(9)))), [None, Some(Pending), None, None, None]),
            (
                "confirm cancel",
                || finish(1, JobOutcome::Cancelled),
                [None, Some(Cancelled), None, None, None],
            ),
            ("release", || finish(1, JobOutcome::Released), [None, Some(Pending), None, None, None]),
            (
                "lapse of a dead holder",
                || Transition::Lapse { max_retries: 3, holder_is_dead: true },
                [None, Some(Pending), None, None, None],
            ),
            (
                "lapse early",
                || Transition::Lapse { max_retries: 3, holder_is_dead: false },
                [None, None, None, None, None],
            ),
        ];
        for (name, transition, expected) in table {
            for (from, expected) in JobStatus::ALL.into_iter().zip(expected) {
                let before = job(from);
                let mut after = before.clone();

                let outcome = after.apply(transition(), at(1));

                assert_eq!(outcome.is_ok(), expected.is_some(), "{name} from {from}");
                match expected {
                    Some(status) => assert_eq!(after.status(), status, "{name} from {from}"),
                    None => assert_eq!(after, before, "{name} from {from} must change nothing"),
                }
            }
        }
    }

    #[test]
    fn an_acknowledged_cancel_wins_over_every_later_report() {
        for outcome in
            [completed(), failed(None), failed(Some(at(5))), JobOutcome::Cancelled, JobOutcome::Released]
        {
            let mut job = job(JobStatus::Running);
            job.apply(cancel(), at(1)).expect("a running job can be asked to end");

            job.apply(finish(1, outcome.clone()), at(2)).expect("the holder reports");

            assert!(matches!(&job.state, JobState::Cancelled { by, .. } if by == "token"), "{outcome:?}");
            assert_eq!(job.usage.cost_usd, Some(0.5), "the cost is kept");
        }
    }

    #[test]
    fn a_lapsed_lease_frees_the_job_and_refuses_the_old_holder() {
        let mut job = job(JobStatus::Running);

        job.apply(Transition::Lapse { max_retries: 3, holder_is_dead: false }, at(LEASE_SECS))
            .expect("the lease ran out");
        job.apply(claim(LEASE_SECS), at(LEASE_SECS)).expect("it can be claimed again");

        assert_eq!(job.apply(finish(1, completed()), at(40)), Err(IllegalTransition::LostLease));
        assert_eq!(
            job.apply(Transition::Renew { token: 1, until: at(99) }, at(40)),
            Err(IllegalTransition::LostLease)
        );
        assert_eq!(job.retry_count, 1);
        assert_eq!(job.apply(finish(2, completed()), at(41)), Ok(()));
    }

    #[test]
    fn a_job_whose_workers_keep_dying_fails_after_the_last_retry() {
        let mut job = pending();
        for _ in 0..3 {
            job.apply(claim(0), at(0)).expect("claimable");
            job.apply(Transition::Lapse { max_retries: 2, holder_is_dead: false }, at(LEASE_SECS))
                .expect("lapsed");
            // The next claim happens at the same moment, so that the test needs no second clock.
            if let JobState::Pending { not_before, .. } = &mut job.state {
                *not_before = None;
            }
        }

        assert!(
            matches!(&job.state, JobState::Failed { kind: FailureKind::WorkerLost, .. }),
            "{:?}",
            job.state
        );
        assert_eq!(job.retry_count, 2);
    }

    #[test]
    fn a_lapse_after_a_cancel_request_ends_the_job() {
        let mut job = job(JobStatus::Running);
        job.apply(cancel(), at(1)).expect("asked");

        job.apply(Transition::Lapse { max_retries: 3, holder_is_dead: false }, at(LEASE_SECS))
            .expect("lapsed");

        assert_eq!(job.status(), JobStatus::Cancelled);
    }

    #[test]
    fn a_job_that_backs_off_is_not_claimable_before_its_time() {
        let mut job = job(JobStatus::Running);
        job.apply(finish(1, failed(Some(at(10)))), at(1)).expect("failed");

        assert_eq!(job.apply(claim(9), at(9)), Err(IllegalTransition::NotDue));
        assert_eq!(job.apply(claim(10), at(10)), Ok(()));
        assert_eq!(job.usage, RunUsage { cost_usd: Some(0.5), duration_ms: 10 });
    }

    #[test]
    fn specs_with_hostile_fields_are_refused() {
        let spec = |change: fn(&mut JobSpec)| {
            let mut spec = JobSpec::new("do it", JobSource::Api);
            change(&mut spec);
            spec.check()
        };
        assert_eq!(spec(|_| ()), Ok(()));
        assert_eq!(spec(|s| s.prompt = " \n".into()), Err(SpecError::EmptyPrompt));
        assert_eq!(spec(|s| s.max_budget_usd = Some(0.0)), Err(SpecError::Budget));
        assert_eq!(spec(|s| s.max_budget_usd = Some(f64::NAN)), Err(SpecError::Budget));
        assert_eq!(spec(|s| s.timeout_secs = Some(0)), Err(SpecError::Timeout));
        assert_eq!(spec(|s| s.model = Some("--dangerously".into())), Err(SpecError::Model));
        assert_eq!(spec(|s| s.model = Some("opus\n".into())), Err(SpecError::Model));
        assert_eq!(
            spec(|s| s.allowed_tools = Some(vec!["--mcp-config".into()])),
            Err(SpecError::AllowedTools)
        );
        assert_eq!(spec(|s| s.working_dir = Some("../..".into())), Err(SpecError::WorkingDir));
        assert_eq!(spec(|s| s.working_dir = Some("/var/run".into())), Err(SpecError::WorkingDir));
        assert_eq!(spec(|s| s.tags = vec!["a\u{1b}]52;c;x".into()]), Err(SpecError::Tags));
    }

    proptest! {
        /// Whatever happens in whatever order, a job that ended stays as it ended.
        #[test]
        fn an_ended_job_never_changes(steps in proptest::collection::vec((0u8..9, 0i64..200, 0u64..4), 1..40)) {
            let mut job = pending();
            let mut ended: Option<Job> = None;
            for (kind, time, token) in steps {
                let step = match kind {
                    0 => claim(time),
                    1 => Transition::Renew { token, until: at(time + LEASE_SECS) },
                    2 => cancel(),
                    3 => finish(token, completed()),
                    4 => finish(token, failed(None)),
                    5 => finish(token, failed(Some(at(time)))),
                    6 => finish(token, JobOutcome::Released),
                    7 => finish(token, JobOutcome::Cancelled),
                    _ => Transition::Lapse { max_retries: 2, holder_is_dead: false },
                };
                let outcome = job.apply(step, at(time));
                if let Some(ended) = &ended {
                    prop_assert!(outcome.is_err());
                    prop_assert_eq!(ended, &job);
                } else if job.status().is_terminal() {
                    ended = Some(job.clone());
                }
            }
        }
    }
}
