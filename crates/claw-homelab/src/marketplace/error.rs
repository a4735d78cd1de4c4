//! What can go wrong with apps.

use std::io;

use claw_core::{Coded, ErrorCode};
use claw_docker::{DockerError, policy::Refused};
use claw_gate::GateError;
use claw_store::StoreError;

use super::composer::ComposerError;
use crate::compose::ComposeError;

/// Why something with an app was not done.
#[derive(Debug, thiserror::Error)]
pub enum MarketplaceError {
    /// The caller may not.
    #[error(transparent)]
    Gate(#[from] GateError),
    /// The store does not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The Engine does not answer, or said no.
    #[error(transparent)]
    Docker(#[from] DockerError),
    /// The policy does not permit what would come of it.
    #[error("{service}: {refused}")]
    Refused {
        /// The service of the app.
        service: String,
        /// What the policy says.
        #[source]
        refused: Refused,
    },
    /// The compose file is not taken.
    #[error("compose.yaml: {0}")]
    Compose(#[from] ComposeError),
    /// Compose did not do it.
    #[error("{0}")]
    Composer(#[from] ComposerError),
    /// Something in the request is not allowed.
    #[error("{message}")]
    Invalid {
        /// The stable code.
        code: ErrorCode,
        /// What is wrong, and what is expected.
        message: String,
    },
    /// No catalog has the app.
    #[error("there is no app `{id}` in the marketplace")]
    AppNotFound {
        /// The id, as given.
        id: String,
    },
    /// There is no such install.
    #[error("{what} is not installed: create it first, or see the list of installed apps")]
    NotInstalled {
        /// What was asked for.
        what: String,
    },
    /// The app needs values that were not given.
    #[error("{app} needs {}: give them in `environment`", list(.missing))]
    VariablesRequired {
        /// The app's name.
        app: String,
        /// Each name, with what it is for.
        missing: Vec<(String, String)>,
    },
    /// The path leads elsewhere.
    #[error("`{path}` is not below the folder of the installed apps")]
    PathForbidden {
        /// The path, as given.
        path: String,
    },
    /// The name is taken.
    #[error("{what}: choose another name, or uninstall that one first")]
    NameTaken {
        /// Who has it.
        what: String,
    },
    /// Something else is being done with the app.
    #[error("`{install}` is being {doing}: try again when that is done")]
    Busy {
        /// The install.
        install: String,
        /// What is being done.
        doing: &'static str,
    },
    /// The compose file was changed by hand, and the change would be lost.
    #[error(
        "compose.yaml of `{install}` was changed by hand: set `replace_edited` to let the update replace it; a copy is kept"
    )]
    Edited {
        /// The install.
        install: String,
    },
    /// The other catalog cannot be read.
    #[error("the catalog at the configured address cannot be read: {reason}")]
    Remote {
        /// What happened.
        reason: String,
    },
    /// A file cannot be read or written.
    #[error("{path} cannot be {doing}: {source}")]
    Files {
        /// What was tried.
        doing: &'static str,
        /// The file.
        path: String,
        /// Why not.
        source: io::Error,
    },
    /// A task of ours ended early.
    #[error("the work was given up: the server stops, or something broke in it")]
    GivenUp,
}

fn list(missing: &[(String, String)]) -> String {
    let each = missing.iter().map(|(name, what)| match what.is_empty() {
        true => format!("`{name}`"),
        false => format!("`{name}` ({})", what.trim_end_matches('.')),
    });
    each.collect::<Vec<_>>().join(", ")
}

impl MarketplaceError {
    pub(crate) fn invalid(code: ErrorCode, message: impl Into<String>) -> Self {
        Self::Invalid { code, message: message.into() }
    }
}

impl Coded for MarketplaceError {
    fn code(&self) -> ErrorCode {
        match self {
            Self::Gate(error) => error.code(),
            Self::Store(error) => error.code(),
            Self::Docker(error) => error.code(),
            Self::Refused { refused, .. } => refused.code(),
            Self::Compose(error) => error.code(),
            Self::Composer(
                ComposerError::Missing
                | ComposerError::Failed { .. }
                | ComposerError::Slow { .. }
                | ComposerError::Run(_)
                | ComposerError::Stopped,
            ) => ErrorCode::ComposeUpFailed,
            Self::Invalid { code, .. } => *code,
            Self::AppNotFound { .. } => ErrorCode::AppNotFound,
            Self::NotInstalled { .. } => ErrorCode::ComposeNotFound,
            Self::VariablesRequired { .. } => ErrorCode::VariablesRequired,
            Self::PathForbidden { .. } => ErrorCode::PathForbidden,
            Self::NameTaken { .. } => ErrorCode::NameTaken,
            Self::Busy { .. } | Self::Edited { .. } => ErrorCode::Conflict,
            Self::Remote { .. } => ErrorCode::TemplateFetchFailed,
            Self::Files { source, .. } if source.kind() == io::ErrorKind::StorageFull => {
                ErrorCode::StorageFull
            }
            Self::Files { source, .. } if source.kind() == io::ErrorKind::FileTooLarge => {
                ErrorCode::InvalidComposeFile
            }
            Self::Files { .. } | Self::GivenUp => ErrorCode::Internal,
        }
    }
}
