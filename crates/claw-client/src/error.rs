//! The one error of this client.

use std::{error::Error, sync::Arc, time::Duration};

use claw_core::{Coded, ErrorCode};
use reqwest::{StatusCode, header::HeaderMap};
use serde::Deserialize;

use crate::ServerUrl;

/// As much of a refusal's body as is kept, for those who show it as it came.
const KEPT_BODY_BYTES: usize = 512;

/// A call that did not succeed: the server refused it, or could not be asked.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{message}")]
pub struct ClientError {
    code: ErrorCode,
    status: Option<u16>,
    message: String,
    body: Option<Box<str>>,
    server_code: Option<Box<str>>,
    retry_after: Option<Duration>,
    #[source]
    source: Option<Arc<dyn Error + Send + Sync>>,
}

/// The error bodies of both dialects, and of older servers, in one shape.
#[derive(Debug, Default)]
struct ErrorBody {
    code: Option<String>,
    message: Option<String>,
}

impl ClientError {
    /// Returns an error that a program found by itself, with the code it is to be known by.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self {
            code,
            status: None,
            message: message.into(),
            body: None,
            server_code: None,
            retry_after: None,
            source: None,
        }
    }

    /// Nothing answered at `url`.
    pub(crate) fn unreachable(url: &ServerUrl, error: reqwest::Error) -> Self {
        let reason = innermost(&error);
        let message = if error.is_timeout() {
            format!("no answer from {url} in time")
        } else if url.is_loopback() {
            format!("cannot reach {url}: {reason}; is `claw serve` running?")
        } else {
            format!("cannot reach {url}: {reason}; is the address right and the server running?")
        };
        Self {
            source: Some(Arc::new(error.without_url())),
            ..Self::new(ErrorCode::ServerUnreachable, message)
        }
    }

    /// The server said nothing for too long.
    pub(crate) fn silent(url: &ServerUrl) -> Self {
        Self::new(ErrorCode::ServerUnreachable, format!("no answer from {url} in time"))
    }

    /// Something answered that does not speak this API.
    pub(crate) fn unexpected(status: StatusCode, message: impl Into<String>) -> Self {
        Self { status: Some(status.as_u16()), ..Self::new(ErrorCode::UnexpectedAnswer, message) }
    }

    /// The server refused. `fallback` is the code for servers that send none with this status.
    pub(crate) fn refused(
        status: StatusCode,
        headers: &HeaderMap,
        body: &[u8],
        fallback: Option<ErrorCode>,
    ) -> Self {
        let ErrorBody { code: server_code, message } = ErrorBody::parse(body);
        let known = server_code.as_deref().and_then(code_from_name);
        let code = known.or(fallback).unwrap_or_else(|| code_from_status(status));
        let message = message.unwrap_or_else(|| plain_message(status, code));
        let kept = &body[..body.len().min(KEPT_BODY_BYTES)];
        Self {
            status: Some(status.as_u16()),
            body: Some(String::from_utf8_lossy(kept).into()),
            server_code: server_code.map(Into::into),
            retry_after: retry_after(headers),
            ..Self::new(code, message)
        }
    }

    /// Returns the HTTP status, if the server answered.
    pub fn status(&self) -> Option<u16> {
        self.status
    }

    /// Returns the sentence for people. It may come from the server: treat it as untrusted text on a terminal.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Returns the code that the server sent, also one that this client does not know. Untrusted text.
    pub fn server_code(&self) -> Option<&str> {
        self.server_code.as_deref()
    }

    /// Returns the beginning of the body with which the server refused, at most 512 bytes of it. Untrusted text.
    pub fn body(&self) -> Option<&str> {
        self.body.as_deref()
    }

    /// Returns how long the server asked to wait before the next try.
    pub fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }

    /// Tells whether no connection could be made, so that the server saw nothing of the call.
    pub(crate) fn is_connect(&self) -> bool {
        let source = self.source.as_ref().and_then(|source| source.downcast_ref::<reqwest::Error>());
        source.is_some_and(reqwest::Error::is_connect)
    }

    /// Tells whether the same call may succeed later without anything being changed.
    pub fn is_transient(&self) -> bool {
        self.code == ErrorCode::ServerUnreachable
            || matches!(self.status, Some(408 | 429 | 500 | 502 | 503 | 504))
    }
}

impl Coded for ClientError {
    fn code(&self) -> ErrorCode {
        self.code
    }
}

impl ErrorBody {
    fn parse(body: &[u8]) -> Self {
        #[derive(Deserialize)]
        struct Fields {
            error: Option<serde_json::Value>,
            code: Option<String>,
        }
        let Ok(fields) = serde_json::from_slice::<Fields>(body) else {
            return Self::default();
        };
        match fields.error {
            Some(serde_json::Value::String(message)) => Self { code: fields.code, message: Some(message) },
            Some(serde_json::Value::Object(mut error)) => {
                let mut text = |name: &str| match error.remove(name) {
                    Some(serde_json::Value::String(text)) => Some(text),
                    _ => None,
                };
                Self { code: text("code"), message: text("message") }
            }
            _ => Self { code: fields.code, message: None },
        }
    }
}

pub(crate) fn code_from_name(name: &str) -> Option<ErrorCode> {
    ErrorCode::ALL.iter().copied().find(|code| code.as_str() == name)
}

/// The code for a server that sends none: the most general one of that status.
fn code_from_status(status: StatusCode) -> ErrorCode {
    match status.as_u16() {
        401 => ErrorCode::InvalidKey,
        403 => ErrorCode::ScopeRequired,
        404 => ErrorCode::RouteNotFound,
        405 => ErrorCode::MethodNotAllowed,
        409 => ErrorCode::JobWrongState,
        413 => ErrorCode::PayloadTooLarge,
        415 => ErrorCode::UnsupportedMediaType,
        422 => ErrorCode::InvalidBody,
        429 => ErrorCode::RateLimited,
        400..=499 => ErrorCode::InvalidRequest,
        503 => ErrorCode::StoreUnavailable,
        _ => ErrorCode::Internal,
    }
}

fn plain_message(status: StatusCode, code: ErrorCode) -> String {
    match code {
        ErrorCode::JobNotFound => "the job does not exist".into(),
        ErrorCode::ResultNotFound => "the job has no result".into(),
        ErrorCode::WorkspaceNotFound => "the workspace does not exist".into(),
        ErrorCode::FileNotFound => "the file does not exist in the workspace".into(),
        ErrorCode::KeyNotFound => "the key does not exist".into(),
        ErrorCode::UserNotFound => "the user does not exist".into(),
        ErrorCode::RouteNotFound => "the server does not know this route; it may be an older version".into(),
        ErrorCode::InvalidKey => "the credential is missing or not valid".into(),
        _ => format!("the server answered {status}"),
    }
}

/// Reads `Retry-After` in its form of seconds; the date form is not used by our server.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let secs = headers.get(reqwest::header::RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(secs))
}

/// The last cause says what happened ("connection refused"); those above it only name layers.
fn innermost(error: &dyn Error) -> String {
    let mut cause = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    let text = cause.to_string();
    // `std::io::Error` adds its number, which says nothing to most people.
    text.split(" (os error").next().unwrap_or(&text).to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(status: u16, body: &str, fallback: Option<ErrorCode>) -> (ErrorCode, String) {
        let status = StatusCode::from_u16(status).expect("a status");
        let error = ClientError::refused(status, &HeaderMap::new(), body.as_bytes(), fallback);
        (error.code(), error.message().to_owned())
    }

    #[test]
    fn error_bodies_of_both_dialects_are_read() {
        let expected = (ErrorCode::JobWrongState, "the job is running".to_owned());
        for body in [
            r#"{"error":"the job is running","code":"JOB_WRONG_STATE"}"#,
            r#"{"success":false,"error":{"code":"JOB_WRONG_STATE","message":"the job is running"}}"#,
        ] {
            assert_eq!(refused(409, body, None), expected, "{body}");
        }
    }

    #[test]
    fn a_server_that_sends_no_code_is_understood_by_its_status() {
        let missing = refused(404, "", Some(ErrorCode::JobNotFound));
        assert_eq!(missing, (ErrorCode::JobNotFound, "the job does not exist".into()));

        assert_eq!(refused(401, r#"{"error":"no"}"#, None), (ErrorCode::InvalidKey, "no".into()));
        assert_eq!(refused(429, "<html>", None).0, ErrorCode::RateLimited);
        assert_eq!(refused(599, "", None).0, ErrorCode::Internal);
        assert_eq!(
            refused(400, r#"{"error":"x","code":"FROM_THE_FUTURE"}"#, None).0,
            ErrorCode::InvalidRequest
        );
    }

    #[test]
    fn retry_after_is_read_in_seconds() {
        let mut headers = HeaderMap::new();
        headers.insert(reqwest::header::RETRY_AFTER, "7".parse().expect("a header value"));

        let error = ClientError::refused(StatusCode::TOO_MANY_REQUESTS, &headers, b"", None);

        assert_eq!(error.retry_after(), Some(Duration::from_secs(7)));
        assert!(error.is_transient());
    }
}
