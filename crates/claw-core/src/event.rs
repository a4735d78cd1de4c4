//! What the job event stream says.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{JobId, JobStatus, WorkerId, WorkspaceId};

/// One change of a job, written in the same atomic step as the change itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobEvent {
    /// The job.
    pub job_id: JobId,
    /// Its owner, by whom readers are told apart.
    pub owner: String,
    /// Its state after the change.
    pub status: JobStatus,
    /// Who runs it, while it runs.
    pub worker_id: Option<WorkerId>,
    /// Its workspace.
    pub workspace_id: Option<WorkspaceId>,
    /// When it changed.
    pub timestamp: Timestamp,
}
