//! What can go wrong when talking to an Engine.

use std::{error::Error, io};

use bollard::errors::Error as ClientError;
use claw_core::{Coded, ErrorCode};

/// Longest part of the Engine's own words that is passed on, in characters. They may quote what an agent wrote.
const MAX_MESSAGE_CHARS: usize = 500;

/// Why an Engine did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum DockerError {
    /// The address is not one that can be spoken to.
    #[error(
        "`{endpoint}` is no usable Docker address: expected unix:///path/to/docker.sock or tcp://host:port"
    )]
    BadEndpoint {
        /// The address as given.
        endpoint: String,
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

    pub(crate) fn timed_out(endpoint: &str, seconds: u64) -> Self {
        Self::Unavailable {
            endpoint: endpoint.to_owned(),
            reason: format!("no answer within {seconds} s"),
            advice: "look at its log and restart it if it hangs",
        }
    }

    pub(crate) fn from_client(error: ClientError, endpoint: &str) -> Self {
        match error {
            ClientError::DockerResponseServerError { status_code, message } => {
                let message = readable(&message);
                match status_code {
                    404 => Self::NotFound { message },
                    409 => Self::Conflict { message },
                    _ => Self::Refused { message },
                }
            }
            ClientError::DockerStreamError { error }
            | ClientError::DockerContainerWaitError { error, .. } => {
                Self::Refused { message: readable(&error) }
            }
            ClientError::JsonDataError { message, .. } => Self::Unreadable { message: readable(&message) },
            ClientError::JsonSerdeError { err } => Self::Unreadable { message: readable(&err.to_string()) },
            ClientError::RequestTimeoutError => Self::timed_out(endpoint, crate::connection::LIMIT.as_secs()),
            ClientError::SocketNotFoundError(_) => {
                Self::unavailable(endpoint, "there is no such socket", None)
            }
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
            Self::BadEndpoint { .. } | Self::BadName { .. } => ErrorCode::InvalidRequest,
            Self::Unavailable { .. }
            | Self::NotFound { .. }
            | Self::Conflict { .. }
            | Self::Refused { .. }
            | Self::Unreadable { .. } => ErrorCode::DockerError,
        }
    }
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
