//! What can go wrong in the homelab, as doors show it.

use claw_core::{Coded, ErrorCode};
use claw_docker::{DockerError, policy::Refused};
use claw_gate::GateError;
use claw_store::StoreError;

use crate::{compose::ComposeError, marketplace::MarketplaceError};

/// An operation of the homelab that was refused or failed.
#[derive(Debug, thiserror::Error)]
pub enum HomelabError {
    /// The gate said no, or could not say yes.
    #[error(transparent)]
    Gate(#[from] GateError),
    /// The store refused or does not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The Engine refused or does not answer.
    #[error(transparent)]
    Docker(#[from] DockerError),
    /// The policy does not permit what would come of it.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// Nothing is run in a container that the policy would not let anybody make.
    #[error(
        "nothing is run in container `{container}`: whoever runs programs in it has what it has. {refused}"
    )]
    ExecRefused {
        /// The container.
        container: String,
        /// What it has beyond the policy, or what is wrong with the program.
        refused: Refused,
    },
    /// The container has to run for this.
    #[error("container `{0}` does not run: start it first")]
    NotRunning(String),
    /// More programs are run in containers than there is room for.
    #[error("too many programs are being run in containers: try again when some have ended")]
    TooManyPrograms,
    /// The services of a template could not be deployed.
    #[error(transparent)]
    App(#[from] MarketplaceError),
    /// The compose file of a template cannot be taken.
    #[error("the compose file: {0}")]
    Compose(ComposeError),
    /// The container does not exist.
    #[error("container `{0}` does not exist: list containers to see which do")]
    ContainerNotFound(String),
    /// The image does not exist here.
    #[error("image `{0}` is not here: list images to see which are")]
    ImageNotFound(String),
    /// The template does not exist.
    #[error("template `{0}` does not exist: list templates to see which do")]
    TemplateNotFound(String),
    /// The pull does not exist, or is long over.
    #[error("pull `{0}` does not exist, or has been over for long")]
    PullNotFound(String),
    /// The file does not exist.
    #[error("logo `{0}` does not exist")]
    LogoNotFound(String),
    /// The thing is ours.
    #[error("{what} `{name}` belongs to ClawMachine itself: it cannot be changed from here")]
    Protected {
        /// What it is.
        what: &'static str,
        /// Its name.
        name: String,
    },
    /// A container of that name exists.
    #[error("a container named `{0}` exists already: choose another name or remove it first")]
    NameTaken(String),
    /// A template of that name exists, and was not to be replaced.
    #[error("template `{0}` exists already")]
    TemplateExists(String),
    /// Something in the request is not what it should be.
    #[error("{message}")]
    Invalid {
        /// Which kind of thing.
        code: ErrorCode,
        /// What is wrong, and what is expected.
        message: String,
    },
    /// The Engine could not get an image.
    #[error("image `{image}` could not be pulled: {reason}")]
    PullFailed {
        /// The image.
        image: String,
        /// The Engine's words.
        reason: String,
        /// What kind of failure it is.
        code: ErrorCode,
    },
    /// The name of an image leads to another one each time.
    #[error("image `{0}` changed again and again while a container was made of it: try again")]
    ImageMoves(String),
    /// More pulls wait than there is room for.
    #[error("too many images are being pulled: try again when some are there")]
    TooManyPulls,
    /// More templates than there is room for.
    #[error("there are {0} templates, which is as many as there may be: delete some first")]
    TooManyTemplates(u64),
    /// Something about the machine cannot be read.
    #[error("the state of the machine cannot be read: {0}")]
    Metrics(String),
    /// The server stops before the work was done.
    #[error("the server stops: ask again when it is back")]
    Stopping,
}

impl HomelabError {
    /// Returns an error about something in the request.
    pub(crate) fn invalid(code: ErrorCode, message: impl Into<String>) -> Self {
        Self::Invalid { code, message: message.into() }
    }

    /// Returns a short and harmless form of a name that others chose.
    pub(crate) fn shown(name: &str) -> String {
        name.chars().take(80).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
    }
}

impl Coded for HomelabError {
    fn code(&self) -> ErrorCode {
        match self {
            Self::Gate(error) => error.code(),
            Self::Store(error) => error.code(),
            Self::Docker(DockerError::NotFound { .. }) => ErrorCode::NotFound,
            Self::Docker(DockerError::Conflict { .. }) => ErrorCode::Conflict,
            Self::Docker(error) => error.code(),
            Self::Refused(refused) => refused.code(),
            Self::App(MarketplaceError::Compose(error)) if error.missing.is_some() => {
                ErrorCode::VariablesRequired
            }
            Self::App(error) => error.code(),
            Self::ExecRefused { .. } => ErrorCode::PolicyRefused,
            Self::NotRunning(_) => ErrorCode::Conflict,
            Self::Compose(error) if error.missing.is_some() => ErrorCode::VariablesRequired,
            Self::Compose(error) => error.code(),
            Self::ContainerNotFound(_)
            | Self::ImageNotFound(_)
            | Self::TemplateNotFound(_)
            | Self::PullNotFound(_)
            | Self::LogoNotFound(_) => ErrorCode::NotFound,
            Self::Protected { .. } => ErrorCode::Protected,
            Self::ImageMoves(_) => ErrorCode::Conflict,
            Self::NameTaken(_) => ErrorCode::NameTaken,
            Self::TemplateExists(_) => ErrorCode::Conflict,
            Self::Invalid { code, .. } => *code,
            Self::PullFailed { code, .. } => *code,
            Self::TooManyPulls | Self::TooManyPrograms => ErrorCode::RateLimited,
            Self::TooManyTemplates(_) => ErrorCode::StorageFull,
            Self::Metrics(_) => ErrorCode::Internal,
            Self::Stopping => ErrorCode::StoreUnavailable,
        }
    }
}
