//! What can go wrong with jobs and workspaces, as doors show it.

use claw_core::{Coded, ErrorCode, JobId, SpecError, WorkspaceId, WorkspaceSettingsError};
use claw_gate::GateError;
use claw_store::StoreError;
use claw_workspace::WorkspaceError;

use crate::StorageFull;

/// An operation on jobs, workspaces or settings that was refused or failed.
#[derive(Debug, thiserror::Error)]
pub enum JobsError {
    /// The gate said no, or could not say yes.
    #[error(transparent)]
    Gate(#[from] GateError),
    /// The job does not exist, or not for this caller.
    #[error("job {0} does not exist")]
    JobNotFound(JobId),
    /// The job has no result.
    #[error("job {id} has no result: it is {status}")]
    NoResult {
        /// The job.
        id: JobId,
        /// Its state's name.
        status: &'static str,
    },
    /// The workspace does not exist, or not for this caller.
    #[error("workspace {0} does not exist")]
    WorkspaceNotFound(WorkspaceId),
    /// Jobs of the workspace are waiting or running.
    #[error("workspace {id} has {jobs} waiting or running jobs: cancel them or wait for them first")]
    WorkspaceBusy {
        /// The workspace.
        id: WorkspaceId,
        /// How many.
        jobs: u64,
    },
    /// The job cannot be accepted as it is.
    #[error(transparent)]
    Spec(#[from] SpecError),
    /// The workspace cannot be accepted as it is.
    #[error(transparent)]
    WorkspaceSettings(#[from] WorkspaceSettingsError),
    /// The setting does not exist.
    #[error("there is no setting `{0}`")]
    UnknownSetting(String),
    /// The setting does not take this value.
    #[error("setting `{key}`: {reason}")]
    BadSetting {
        /// The setting.
        key: String,
        /// What was expected.
        reason: String,
    },
    /// More is asked for than the installation gives.
    #[error(
        "{what} is {asked}, more than the {most} of this installation: ask for less, or have an administrator raise it"
    )]
    OverCeiling {
        /// The field.
        what: &'static str,
        /// What was asked for.
        asked: String,
        /// What there is.
        most: String,
    },
    /// The days asked for cannot be answered.
    #[error("`from` must be a day before `to`, or the same, and at most {max_days} days before it")]
    BadRange {
        /// Days that may be asked for at once.
        max_days: i32,
    },
    /// There is too little room for new work.
    #[error(transparent)]
    StorageFull(#[from] StorageFull),
    /// The workspace's repository refused.
    #[error(transparent)]
    Workspace(#[from] WorkspaceError),
    /// The store refused or does not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Coded for JobsError {
    fn code(&self) -> ErrorCode {
        match self {
            Self::Gate(error) => error.code(),
            Self::JobNotFound(_) => ErrorCode::JobNotFound,
            Self::NoResult { .. } => ErrorCode::ResultNotFound,
            Self::WorkspaceNotFound(_) => ErrorCode::WorkspaceNotFound,
            Self::WorkspaceBusy { .. } => ErrorCode::WorkspaceBusy,
            Self::Spec(_)
            | Self::WorkspaceSettings(_)
            | Self::BadSetting { .. }
            | Self::BadRange { .. }
            | Self::OverCeiling { .. } => ErrorCode::InvalidRequest,
            Self::StorageFull(error) => error.code(),
            Self::UnknownSetting(_) => ErrorCode::SettingNotFound,
            Self::Workspace(error) => error.code(),
            Self::Store(error) => error.code(),
        }
    }
}
