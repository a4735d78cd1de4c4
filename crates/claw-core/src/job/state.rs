//! Where a job stands, and how its runs end.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::WorkerId;

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
    /// The run met a limit that is not the job's fault and goes by itself, such as the model API's rate limit. The job
    /// waits for it to pass; that is no retry.
    Postponed {
        /// What it met, as a sentence for people.
        error: String,
        /// When to go on.
        until: Timestamp,
    },
}
