//! The one place where errors become HTTP: a stable code, a sentence for the caller, the details for the log.

use std::{error::Error, time::Duration};

use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use claw_core::{Coded, ErrorCode, Scope};
use claw_gate::GateError;
use claw_homelab::HomelabError;
use claw_jobs::JobsError;
use serde::Serialize;
use utoipa::ToSchema;

/// A refusal or failure on its way to the caller. It gets its body in [`render`], once the dialect is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ApiError {
    code: ErrorCode,
    message: String,
    retry_after: Option<Duration>,
    /// The scope that is missing, if that is what is wrong.
    scope: Option<Scope>,
}

/// Longest body of an error in the homelab's dialect: clients cut it there, in the middle of what they paste.
const MAX_ENVELOPE_BYTES: usize = 512;

pub(crate) type ApiResult<T> = Result<T, ApiError>;

impl ApiError {
    pub(crate) fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), retry_after: None, scope: None }
    }

    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self::new(ErrorCode::InvalidRequest, message)
    }

    /// A field that clients of other versions send and that means nothing here yet.
    pub(crate) fn not_available(field: &str) -> Self {
        Self::invalid(format!("`{field}` is not available in this version: leave it out"))
    }

    pub(crate) fn after(mut self, wait: Duration) -> Self {
        self.retry_after = Some(wait);
        self
    }

    pub(crate) fn code(&self) -> ErrorCode {
        self.code
    }

    pub(crate) fn message(&self) -> &str {
        &self.message
    }

    /// Returns the scope that is missing, if that is what is wrong.
    pub(crate) fn missing_scope(&self) -> Option<Scope> {
        self.scope
    }

    /// Takes the code from the error. What broke on our side is logged with its sources and shown as a plain sentence.
    pub(crate) fn of(error: &(impl Coded + 'static)) -> Self {
        let code = error.code();
        let message = match code {
            ErrorCode::Internal => {
                tracing::error!(error = chain(error), "a request failed");
                "something broke on the server; its log tells what, under the request id of this answer"
                    .into()
            }
            ErrorCode::StoreUnavailable => {
                tracing::warn!(error = chain(error), "the store does not answer");
                "the store does not answer: try again; the server's log tells more".into()
            }
            _ => error.to_string(),
        };
        Self::new(code, message)
    }

    fn status(&self) -> StatusCode {
        StatusCode::from_u16(self.code.http_status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }
}

/// Joins an error and its sources into one line for the log.
fn chain(error: &dyn Error) -> String {
    let mut line = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        line.push_str(": ");
        line.push_str(&cause.to_string());
        source = cause.source();
    }
    line
}

impl From<GateError> for ApiError {
    fn from(error: GateError) -> Self {
        let scope = match &error {
            GateError::ScopeMissing(scope) => Some(*scope),
            _ => None,
        };
        Self { retry_after: error.retry_after(), scope, ..Self::of(&error) }
    }
}

impl From<HomelabError> for ApiError {
    fn from(error: HomelabError) -> Self {
        match error {
            HomelabError::Gate(error) => error.into(),
            HomelabError::App(error) => error.into(),
            error => Self::of(&error),
        }
    }
}

impl From<JobsError> for ApiError {
    fn from(error: JobsError) -> Self {
        match error {
            JobsError::Gate(error) => error.into(),
            error => Self::of(&error),
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response = self.status().into_response();
        response.extensions_mut().insert(self);
        response
    }
}

/// Which of the two shapes errors take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// `{"error":"sentence","code":"CODE"}`.
    Plain,
    /// `{"success":false,"data":null,"error":{"code":…,"message":…}}`.
    Enveloped,
}

impl Dialect {
    /// Returns the dialect of a path: `/api/v1` and what is not below `/api` is plain.
    pub(crate) fn of(path: &str) -> Self {
        let below = |prefix: &str| {
            path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        if below("/api") && !below("/api/v1") { Self::Enveloped } else { Self::Plain }
    }
}

/// An error as `/api/v1` answers it.
#[derive(Serialize, ToSchema)]
pub(crate) struct ErrorBody {
    /// What went wrong and what to do about it, for people.
    #[schema(example = "job 019a5b7e-6f2d-7c3b-9d5e-0f4a1b2c3d4e does not exist")]
    error: String,
    /// What went wrong, for programs. Codes do not change.
    #[schema(value_type = String, example = "JOB_NOT_FOUND")]
    code: ErrorCode,
}

/// An error as the rest of `/api` answers it.
#[derive(Serialize, ToSchema)]
pub(crate) struct ErrorEnvelope {
    /// Always false.
    success: bool,
    /// Always null.
    #[schema(value_type = Option<Object>)]
    data: Option<()>,
    /// The error.
    error: EnvelopedError,
}

/// What went wrong.
#[derive(Serialize, ToSchema)]
pub(crate) struct EnvelopedError {
    /// What went wrong, for programs. Codes do not change.
    #[schema(value_type = String, example = "SCOPE_REQUIRED")]
    code: ErrorCode,
    /// What went wrong and what to do about it, for people.
    #[schema(example = "keys:write scope required")]
    message: String,
}

/// Gives the response of an [`ApiError`] its body. Other responses pass unchanged.
pub(crate) fn render(dialect: Dialect, mut response: Response) -> Response {
    let Some(error) = response.extensions_mut().remove::<ApiError>() else { return response };
    let status = response.status();
    let ApiError { code, message, retry_after, scope: _ } = error;
    let body = match dialect {
        Dialect::Plain => axum::Json(ErrorBody { error: message, code }).into_response(),
        Dialect::Enveloped => {
            let error = EnvelopedError { code, message: short(message, code) };
            axum::Json(ErrorEnvelope { success: false, data: None, error }).into_response()
        }
    };
    let (mut parts, body) = body.into_parts();
    parts.status = status;
    parts.headers.extend(response.headers_mut().drain().filter_map(|(name, value)| {
        // The empty body's headers give way to the real one's.
        let name = name?;
        (name != header::CONTENT_TYPE && name != header::CONTENT_LENGTH).then_some((name, value))
    }));
    if let Some(wait) = retry_after {
        let secs = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
        parts.headers.insert(header::RETRY_AFTER, HeaderValue::from(secs.max(1)));
    }
    if status == StatusCode::UNAUTHORIZED {
        parts
            .headers
            .insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"clawmachine\""));
    }
    Response::from_parts(parts, body)
}

/// Cuts a message so that the whole body stays within [`MAX_ENVELOPE_BYTES`].
fn short(mut message: String, code: ErrorCode) -> String {
    const AROUND: &str = r#"{"success":false,"data":null,"error":{"code":"","message":""}}"#;
    let room = MAX_ENVELOPE_BYTES - AROUND.len() - code.as_str().len();
    // In JSON, a quote takes two bytes and a control character six.
    let written = |c: char| match c {
        '"' | '\\' => 2,
        c if c.is_control() => 6,
        c => c.len_utf8(),
    };
    if message.chars().map(written).sum::<usize>() <= room {
        return message;
    }
    let mut taken = '…'.len_utf8();
    let end = message.char_indices().find_map(|(at, c)| {
        taken += written(c);
        (taken > room).then_some(at)
    });
    message.truncate(end.unwrap_or(0));
    message.push('…');
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn m21_bodies_of_errors_are_whole_where_clients_cut_them() {
        for message in ["x".repeat(9000), "\"\n".repeat(3000), "ä🦀".repeat(3000), "short".to_owned()] {
            let code = ErrorCode::InvalidCustomName;
            let error = EnvelopedError { code, message: short(message.clone(), code) };
            let body =
                serde_json::to_string(&ErrorEnvelope { success: false, data: None, error }).expect("JSON");
            assert!(body.len() <= MAX_ENVELOPE_BYTES, "{}", body.len());
            assert!(body.len() > 250 || message == "short", "{}", body.len());
        }
    }

    #[test]
    fn the_dialect_follows_whole_path_segments() {
        for (path, dialect) in [
            ("/api/v1/jobs", Dialect::Plain),
            ("/api/v1", Dialect::Plain),
            ("/health", Dialect::Plain),
            ("/apix", Dialect::Plain),
            ("/api", Dialect::Enveloped),
            ("/api/keys", Dialect::Enveloped),
            ("/api/v10/x", Dialect::Enveloped),
        ] {
            assert_eq!(Dialect::of(path), dialect, "{path}");
        }
    }

    #[test]
    fn what_broke_inside_is_not_told_to_the_caller() {
        let error = GateError::PasswordHashing { reason: "salt 42".into() };

        let shown = ApiError::from(error);

        assert_eq!(shown.code(), ErrorCode::Internal);
        assert!(!shown.message().contains("42"), "{}", shown.message());
    }
}
