//! What can go wrong when talking to an Engine.

use std::{error::Error, io, path::PathBuf, time::Duration};

use bollard::errors::Error as ClientError;
use claw_core::{Coded, ErrorCode};
use serde::Deserialize;

use crate::transport::TooLong;

/// Longest part of the Engine's own words that is passed on, in characters. They may quote what an agent wrote.
const MAX_MESSAGE_CHARS: usize = 500;

/// Why an Engine did not do what it was asked.
#[derive(Clone, Debug, thiserror::Error)]
pub enum DockerError {
    /// The address is not one that can be spoken to.
    #[error(
        "`{endpoint}` is no usable Docker address: expected unix:///path/to/docker.sock or tcp://host:port"
    )]
    BadEndpoint {
        /// The address as given.
        endpoint: String,
    },
    /// An address that can only be spoken to over TLS came without certificates.
    #[error(
        "`{endpoint}` needs TLS: name a folder with ca.pem, cert.pem and key.pem, for example in DOCKER_CERT_PATH"
    )]
    NoCertificates {
        /// The address as given.
        endpoint: String,
    },
    /// A certificate or key for TLS cannot be used.
    #[error("{path} cannot be used for TLS to the Docker Engine: {reason}", path = path.display())]
    BadCertificate {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A name or id that would not be safe inside a request.
    #[error("`{name}` cannot name a Docker {kind}")]
    BadName {
        /// What it was meant to name.
        kind: &'static str,
        /// The name, cut to a readable length.
        name: String,
    },
    /// The Engine does not answer (in time).
    #[error("the Docker Engine at {endpoint} does not answer ({reason}); {advice}")]
    Unavailable {
        /// The address that was tried.
        endpoint: String,
        /// What happened.
        reason: String,
        /// What to do about it.
        advice: &'static str,
    },
    /// The thing asked for does not exist.
    #[error("{message}")]
    NotFound {
        /// The Engine's words.
        message: String,
    },
    /// The thing is in a state that does not allow this, or the name is taken.
    #[error("{message}")]
    Conflict {
        /// The Engine's words.
        message: String,
    },
    /// The Engine was asked and said no.
    #[error("the Docker Engine refused: {message}")]
    Refused {
        /// The Engine's words.
        message: String,
    },
    /// The Engine's answer cannot be understood.
    #[error("the Docker Engine gave an answer that cannot be read: {message}")]
    Unreadable {
        /// What is wrong with it.
        message: String,
    },
}

impl DockerError {
    /// Tells whether the thing asked for does not exist.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::NotFound { .. })
    }

    /// Tells whether the Engine could not be reached.
    pub fn is_unavailable(&self) -> bool {
        matches!(self, Self::Unavailable { .. })
    }

    pub(crate) fn timed_out(endpoint: &str, limit: Duration) -> Self {
        Self::Unavailable {
            endpoint: endpoint.to_owned(),
            reason: format!("no answer within {} s", limit.as_secs_f32()),
            advice: "look at its log and restart it if it hangs",
        }
    }

    pub(crate) fn hung_up(endpoint: &str) -> Self {
        Self::Unavailable {
            endpoint: endpoint.to_owned(),
            reason: "it hung up".to_owned(),
            advice: "see whether it was stopped or restarted",
        }
    }

    /// The Engine's answer to a request for `path` says no: with its own words, in whatever form they came.
    pub(crate) fn from_answer(status: u16, body: &[u8], path: &str) -> Self {
        #[derive(Deserialize)]
        struct Words {
            message: String,
        }
        let message = match serde_json::from_slice(body) {
            Ok(Words { message }) => readable(&message),
            Err(_) if body.trim_ascii().is_empty() => format!("status {status} for {path}, without a reason"),
            Err(_) => readable(&String::from_utf8_lossy(body)),
        };
        Self::from_status(status, message)
    }

    pub(crate) fn refused(words: &str) -> Self {
        Self::Refused { message: readable(words) }
    }

    pub(crate) fn unreadable(error: &serde_json::Error) -> Self {
        Self::Unreadable { message: readable(&error.to_string()) }
    }

    fn from_status(status: u16, message: String) -> Self {
        let message = if message.is_empty() { format!("status {status} without a reason") } else { message };
        match status {
            404 => Self::NotFound { message },
            409 => Self::Conflict { message },
            _ => Self::Refused { message },
        }
    }

    pub(crate) fn from_client(error: ClientError, endpoint: &str) -> Self {
        match error {
            ClientError::DockerResponseServerError { status_code, message } => {
                Self::from_status(status_code, readable(&message))
            }
            ClientError::DockerStreamError { error }
            | ClientError::DockerContainerWaitError { error, .. } => {
                Self::Refused { message: readable(&error) }
            }
            ClientError::JsonDataError { message, .. } => Self::Unreadable { message: readable(&message) },
            ClientError::JsonSerdeError { err } => Self::Unreadable { message: readable(&err.to_string()) },
            ClientError::RequestTimeoutError => Self::timed_out(endpoint, crate::connection::LIMIT),
            other if is_too_long(&other) => Self::Unreadable { message: TooLong.to_string() },
            other => {
                let kind = io_kind(&other);
                Self::unavailable(endpoint, &innermost(&other), kind)
            }
        }
    }

    fn unavailable(endpoint: &str, reason: &str, kind: Option<io::ErrorKind>) -> Self {
        Self::Unavailable {
            endpoint: endpoint.to_owned(),
            reason: readable(reason),
            advice: match kind {
                Some(io::ErrorKind::PermissionDenied) => {
                    "let this user use it, for example by adding it to the group `docker`"
                }
                _ => "start it, for example with `systemctl start docker`",
            },
        }
    }
}

impl Coded for DockerError {
    fn code(&self) -> ErrorCode {
        match self {
            Self::BadEndpoint { .. }
            | Self::NoCertificates { .. }
            | Self::BadCertificate { .. }
            | Self::BadName { .. } => ErrorCode::InvalidRequest,
            Self::NotFound { .. } => ErrorCode::NotFound,
            Self::Conflict { message } if is_name_taken(message) => ErrorCode::NameTaken,
            Self::Conflict { .. } => ErrorCode::Conflict,
            Self::Unavailable { .. } | Self::Refused { .. } | Self::Unreadable { .. } => {
                ErrorCode::DockerError
            }
        }
    }
}

/// Docker: "The container name "/x" is already in use by container …"; Podman: "the container name "x" is already in
/// use by …". There is no code for it.
fn is_name_taken(message: &str) -> bool {
    message.contains("name") && message.contains("is already in use")
}

/// Returns `text` on one line, without control characters, and not too long.
fn readable(text: &str) -> String {
    let mut line: String =
        text.trim().chars().take(MAX_MESSAGE_CHARS).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if text.trim().chars().nth(MAX_MESSAGE_CHARS).is_some() {
        line.push('…');
    }
    line
}

/// Tells whether the connection was ended since too much came over it.
fn is_too_long(error: &(dyn Error + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        let inside = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        if inside.is_some_and(|inside| inside.is::<TooLong>()) {
            return true;
        }
        next = error.source();
    }
    false
}

fn io_kind(error: &(dyn Error + 'static)) -> Option<io::ErrorKind> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(error) = error.downcast_ref::<io::Error>() {
            return Some(error.kind());
        }
        next = error.source();
    }
    None
}

/// The outer errors of the client say only that something failed ("client error (Connect)").
fn innermost(error: &(dyn Error + 'static)) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_engines_words_are_cut_and_kept_on_one_line() {
        let error = DockerError::from_client(
            ClientError::DockerResponseServerError {
                status_code: 500,
                message: format!("bad\n\u{1b}[31m{}", "x".repeat(2000)),
            },
            "unix:///run/docker.sock",
        );

        let text = error.to_string();
        assert!(text.starts_with("the Docker Engine refused: bad  [31mxxx"), "{text}");
        assert!(text.ends_with('…') && text.chars().count() < 600, "{text}");
    }
}
