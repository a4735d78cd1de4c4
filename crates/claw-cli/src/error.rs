//! What goes wrong on the command line, and what to do about it.

use std::io;

use claw_client::ClientError;
use claw_core::{Coded, ErrorCode};

use crate::settings::SettingsError;

/// A failure with its sentence, its hint and its exit code.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub(crate) struct CliError {
    code: ErrorCode,
    message: String,
    hint: Option<String>,
    nature: Nature,
}

/// What beyond its code decides about the exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Nature {
    /// Nothing.
    Ordinary,
    /// The command line or a setting asks for what cannot be; the server was not asked.
    Usage,
    /// The person ended it.
    Interrupted,
    /// The reader of our output went away.
    BrokenPipe,
    /// A program that was run elsewhere ended so.
    Exited(u8),
}

/// A command line that cannot be understood (`EX_USAGE` of sysexits.h), apart from 2 for "not found".
pub(crate) const EXIT_USAGE: u8 = 64;

/// What shells report for a program that SIGINT ended.
const EXIT_INTERRUPTED: u8 = 130;

impl CliError {
    pub(crate) fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), hint: None, nature: Nature::Ordinary }
    }

    /// A command line or a setting that cannot be carried out as it was given.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self { nature: Nature::Usage, ..Self::new(ErrorCode::InvalidRequest, message) }
    }

    /// A wait that the person ended with Ctrl-C.
    pub(crate) fn interrupted(message: impl Into<String>) -> Self {
        Self { nature: Nature::Interrupted, ..Self::new(ErrorCode::WaitTimedOut, message) }
    }

    /// A program that was run elsewhere ended with this exit code, with which we end too.
    pub(crate) fn exited(code: i64) -> Self {
        let own = u8::try_from(code).ok().filter(|code| *code > 0).unwrap_or(1);
        let error = Self::new(ErrorCode::JobFailed, format!("it ended with exit code {code}"));
        Self { nature: Nature::Exited(own), ..error }
    }

    /// Something that should not happen.
    pub(crate) fn internal(message: impl Into<String>) -> Self {
        Self::new(ErrorCode::Internal, message)
    }

    pub(crate) fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    pub(crate) fn message(&self) -> &str {
        &self.message
    }

    pub(crate) fn hint(&self) -> Option<&str> {
        self.hint.as_deref()
    }

    pub(crate) fn exit_code(&self) -> u8 {
        match self.nature {
            Nature::Usage => EXIT_USAGE,
            Nature::Interrupted => EXIT_INTERRUPTED,
            Nature::Exited(code) => code,
            Nature::Ordinary | Nature::BrokenPipe => self.code.exit_code(),
        }
    }

    /// Tells whether the reader of our output went away.
    pub(crate) fn is_broken_pipe(&self) -> bool {
        self.nature == Nature::BrokenPipe
    }
}

impl Coded for CliError {
    fn code(&self) -> ErrorCode {
        self.code
    }
}

impl From<ClientError> for CliError {
    fn from(error: ClientError) -> Self {
        let hint = match error.retry_after() {
            Some(pause) => Some(format!("try again in {} s", pause.as_secs())),
            None => hint_for(error.code()).map(str::to_owned),
        };
        Self { hint, ..Self::new(error.code(), error.message()) }
    }
}

/// The next step after a refusal of the server.
fn hint_for(code: ErrorCode) -> Option<&'static str> {
    match code {
        ErrorCode::SetupRequired => Some("run `claw setup` to make the first key"),
        ErrorCode::ApiKeyRequired | ErrorCode::InvalidKey => {
            Some("set CLAW_API_KEY to a key of this server, or run `claw setup` if it is new")
        }
        ErrorCode::InvalidSetupToken => {
            Some("the token is in the server's log and in the file setup-token of its data folder")
        }
        ErrorCode::ScopeRequired => Some(
            "an administrator can set the key's scopes, the old ones too: `claw key update ID --scope A --scope B`",
        ),
        ErrorCode::AdminRequired => Some("use a key with the role admin"),
        ErrorCode::ServerUnreachable => {
            Some("`claw doctor` looks for the reason; --api-url names another server")
        }
        ErrorCode::UnexpectedAnswer => Some("check the address given with --api-url or CLAW_API_URL"),
        ErrorCode::JobNotFound => Some("`claw list` shows the jobs"),
        ErrorCode::ResultNotFound => Some("`claw status JOB` shows whether the job has ended, and how"),
        ErrorCode::WorkspaceNotFound => Some("`claw workspace list` shows the workspaces"),
        ErrorCode::FileNotFound => Some("`claw workspace files WORKSPACE` shows the files"),
        ErrorCode::KeyNotFound => Some("`claw key list` shows the keys"),
        ErrorCode::UserNotFound => Some("`claw user list` shows the accounts"),
        ErrorCode::WaitTimedOut => Some("`claw logs -f JOB` follows it, `claw cancel JOB` ends it"),
        ErrorCode::UnknownScope => Some("`claw key create --help` lists the scopes"),
        ErrorCode::PolicyRefused | ErrorCode::BlockedVolume => Some(
            "an administrator can permit some of it in policy.toml; `claw policy explain` says with which line",
        ),
        ErrorCode::Protected => Some("ClawMachine's own containers, images and volumes are left alone"),
        ErrorCode::DockerError => Some("`claw doctor` looks whether Docker answers the server"),
        ErrorCode::AppNotFound => Some("`claw apps list` shows the apps"),
        ErrorCode::ComposeNotFound => Some("`claw apps installed` shows what is installed"),
        ErrorCode::VariablesRequired => {
            Some("give each with `-e NAME=VALUE`; `claw apps show APP` tells what they are")
        }
        _ => None,
    }
}

impl From<SettingsError> for CliError {
    fn from(error: SettingsError) -> Self {
        Self::usage(error.to_string())
    }
}

impl From<io::Error> for CliError {
    fn from(error: io::Error) -> Self {
        let nature = match error.kind() {
            io::ErrorKind::BrokenPipe => Nature::BrokenPipe,
            _ => Nature::Ordinary,
        };
        Self { nature, ..Self::new(ErrorCode::Internal, error.to_string()) }
    }
}
