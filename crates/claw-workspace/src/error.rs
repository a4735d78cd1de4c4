//! What can go wrong.

use std::{io, path::PathBuf};

use claw_core::{Coded, ErrorCode, JobId, WorkspaceId};

/// An operation on a workspace that failed.
#[derive(Debug, thiserror::Error)]
pub enum WorkspaceError {
    /// There is no git to run.
    #[error("git was not found in {searched}; install it (Debian: apt-get install git)")]
    GitMissing {
        /// Where it was looked for.
        searched: String,
    },
    /// The installed git lacks what is needed here.
    #[error("git {found} is too old; install version {needed} or newer")]
    GitTooOld {
        /// What `git --version` says.
        found: String,
        /// The oldest version that will do.
        needed: &'static str,
    },
    /// The workspace has no repository.
    #[error("workspace {0} has no repository")]
    NotFound(WorkspaceId),
    /// The workspace has a repository already.
    #[error("workspace {0} has a repository already")]
    Exists(WorkspaceId),
    /// The path names nothing.
    #[error("`{path}` does not exist in the workspace")]
    FileNotFound {
        /// The path as given.
        path: String,
    },
    /// The path names a folder where a file is needed.
    #[error("`{path}` is a folder; name a file, or delete the folder first")]
    IsFolder {
        /// The path as given.
        path: String,
    },
    /// A part of the path is a file where a folder is needed.
    #[error("`{path}` lies below something that is not a folder")]
    NotAFolder {
        /// The path as given.
        path: String,
    },
    /// The path names a symbolic link, or something else that has no content of its own.
    #[error("`{path}` is a link and links are not followed; delete it to put a file in its place")]
    IsLink {
        /// The path as given.
        path: String,
    },
    /// The path is longer than a working copy can hold.
    #[error("the path is longer than {limit_bytes} bytes; choose shorter names")]
    PathTooLong {
        /// The limit.
        limit_bytes: usize,
    },
    /// The file is larger than was asked for.
    #[error("`{path}` has {size_bytes} bytes, more than the limit of {limit_bytes}")]
    FileTooLarge {
        /// The path as given.
        path: String,
        /// Its size.
        size_bytes: u64,
        /// The limit.
        limit_bytes: u64,
    },
    /// Other writers were faster each time.
    #[error("workspace {0} changed during every attempt; try again")]
    Contended(WorkspaceId),
    /// The job has a working copy, which may hold work that is not kept yet.
    #[error("job {0} has a working copy already; keep or discard it first")]
    WorkingCopyExists(JobId),
    /// The job has no working copy, or only part of one.
    #[error("job {0} has no working copy that could be kept; discard what is left of it")]
    NoWorkingCopy(JobId),
    /// A git process failed.
    #[error("git {what} failed with status {status}: {detail}")]
    Git {
        /// The git command.
        what: &'static str,
        /// Its exit status, -1 if it was killed.
        status: i32,
        /// What it wrote on standard error, cut.
        detail: String,
    },
    /// A git process took too long and was killed.
    #[error("git {what} took longer than {seconds} seconds")]
    GitTimeout {
        /// The git command.
        what: &'static str,
        /// The limit.
        seconds: u64,
    },
    /// Git answered something that cannot be read.
    #[error("git {what} gave an answer that cannot be read: {detail}")]
    GitAnswer {
        /// The git command.
        what: &'static str,
        /// What is wrong with it.
        detail: String,
    },
    /// A file operation failed.
    #[error("cannot {what} {}", path.display())]
    Io {
        /// What was tried, such as `create`.
        what: &'static str,
        /// On what.
        path: PathBuf,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
    /// A file changed while it was being kept: something of the sandbox is still alive.
    #[error("`{path}` changed while it was being kept; end every process of the sandbox first")]
    WorkTreeChanged {
        /// The path in the work tree.
        path: String,
    },
    /// A working copy's record cannot be read.
    #[error("the record of job {job}'s working copy cannot be read; discard the working copy")]
    BadRecord {
        /// The job.
        job: JobId,
        /// What is wrong with it.
        #[source]
        source: serde_json::Error,
    },
    /// A task of this crate ended early, which only a panic or the end of the program can cause.
    #[error("work on the workspace was interrupted; try again")]
    Interrupted,
}

impl WorkspaceError {
    /// Returns a function for `map_err` that names what was tried on which path.
    pub(crate) fn io(what: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { what, path: path.into(), source }
    }
}

impl Coded for WorkspaceError {
    fn code(&self) -> ErrorCode {
        match self {
            Self::NotFound(_) => ErrorCode::WorkspaceNotFound,
            Self::FileNotFound { .. } => ErrorCode::FileNotFound,
            Self::IsFolder { .. } | Self::NotAFolder { .. } | Self::PathTooLong { .. } => {
                ErrorCode::InvalidRequest
            }
            Self::IsLink { .. } => ErrorCode::PathNotAllowed,
            Self::FileTooLarge { .. } => ErrorCode::PayloadTooLarge,
            Self::Contended(_) | Self::Exists(_) => ErrorCode::WorkspaceConflict,
            Self::GitMissing { .. }
            | Self::GitTooOld { .. }
            | Self::WorkingCopyExists(_)
            | Self::NoWorkingCopy(_)
            | Self::Git { .. }
            | Self::GitTimeout { .. }
            | Self::GitAnswer { .. }
            | Self::Io { .. }
            | Self::WorkTreeChanged { .. }
            | Self::BadRecord { .. }
            | Self::Interrupted => ErrorCode::Internal,
        }
    }
}
