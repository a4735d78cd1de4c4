//! What can go wrong with any engine.

use claw_core::{Coded, ErrorCode, IllegalTransition, JobId};

/// An operation of the store that did not happen. Nothing of it was written.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The precondition on a document did not hold.
    #[error("{kind} `{id}` was changed or created by someone else meanwhile")]
    Conflict {
        /// The document's kind.
        kind: String,
        /// The document's id.
        id: String,
    },
    /// The job does not exist.
    #[error("job {0} does not exist")]
    JobNotFound(JobId),
    /// The job's state does not allow the step.
    #[error(transparent)]
    Transition(#[from] IllegalTransition),
    /// The idempotency key was used before with another request.
    #[error("idempotency key `{key}` was used before for another request")]
    IdempotencyMismatch {
        /// The key as given.
        key: String,
    },
    /// The store file was written by a newer version.
    #[error(
        "the store has schema {found}, this version knows up to {known}: start the newer version again or restore a backup"
    )]
    NewerSchema {
        /// Schema version in the file.
        found: u32,
        /// Newest schema version this program knows.
        known: u32,
    },
    /// The engine does not answer or refused: disk full, file locked or damaged.
    #[error("the store is not available: {reason}")]
    Unavailable {
        /// What the engine said.
        reason: String,
    },
    /// There is no room for a write. Reads go on; writes too as soon as there is room.
    #[error("the store is full: {reason}")]
    Full {
        /// What the engine said and what to do.
        reason: String,
    },
    /// Something stored cannot be read back.
    #[error("stored {what} cannot be read: {reason}")]
    Corrupt {
        /// What it is.
        what: String,
        /// Why.
        reason: String,
    },
}

impl Coded for StoreError {
    fn code(&self) -> ErrorCode {
        match self {
            Self::Conflict { .. } => ErrorCode::Conflict,
            Self::JobNotFound(_) => ErrorCode::JobNotFound,
            Self::Transition(_) => ErrorCode::JobWrongState,
            Self::IdempotencyMismatch { .. } => ErrorCode::IdempotencyMismatch,
            Self::NewerSchema { .. } | Self::Unavailable { .. } => ErrorCode::StoreUnavailable,
            Self::Full { .. } => ErrorCode::StorageFull,
            Self::Corrupt { .. } => ErrorCode::Internal,
        }
    }
}
