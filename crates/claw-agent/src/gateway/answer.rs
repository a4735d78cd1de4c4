//! What the agent gets as an answer.

use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use http_body_util::{BodyExt, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::{
    Response, StatusCode,
    body::Frame,
    header::{self, HeaderMap, HeaderName, HeaderValue},
};
use serde_json::{Value, json};
use tokio::{
    sync::mpsc,
    time::{Instant, timeout_at},
};

use super::report::UpstreamError;
use crate::text::one_line;

pub(super) type BoxError = Box<dyn std::error::Error + Send + Sync>;
pub(super) type AnswerBody = UnsyncBoxBody<Bytes, BoxError>;

/// A piece of an answer, or why it breaks off.
pub(super) type Piece = Result<Frame<Bytes>, BoxError>;

/// Tells the CLI's client library whether to ask again. Without it a wrong key is tried eleven times, for three minutes.
pub(super) const SHOULD_RETRY: HeaderName = HeaderName::from_static("x-should-retry");

/// Most pieces of an answer that wait for an agent which does not read them.
const MAX_WAITING: usize = 8;

/// Largest error answer that is read. Real ones have a few hundred bytes.
const MAX_ERROR_BYTES: usize = 256 * 1024;

/// Longest message of an error that is kept.
const MAX_MESSAGE_BYTES: usize = 1_000;

/// Returns a body and what its pieces are put into. The body breaks off if the other end goes away without a word.
pub(super) fn channel() -> (mpsc::Sender<Option<Piece>>, AnswerBody) {
    let (sender, receiver) = mpsc::channel::<Option<Piece>>(MAX_WAITING);
    let pieces = stream::unfold(Some(receiver), |receiver| async move {
        let mut receiver = receiver?;
        match receiver.recv().await {
            Some(Some(Ok(frame))) => Some((Ok(frame), Some(receiver))),
            Some(Some(Err(error))) => Some((Err(error), None)),
            Some(None) => None,
            None => Some((Err("the model gateway was closed".into()), None)),
        }
    });
    (sender, StreamBody::new(pieces).boxed_unsync())
}

/// Returns a body that is there at once.
pub(super) fn full(bytes: impl Into<Bytes>) -> AnswerBody {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed_unsync()
}

/// An error answer in the API's own form.
pub(super) fn refuse(error: &UpstreamError) -> Response<AnswerBody> {
    let body = json!({"type": "error", "error": {"type": error.kind, "message": error.message}});
    let mut answer = Response::new(full(body.to_string()));
    let status = error.status.and_then(|status| StatusCode::from_u16(status).ok());
    *answer.status_mut() = status.unwrap_or(StatusCode::BAD_GATEWAY);
    let headers = answer.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if let Some(pause) = error.retry_after {
        headers.insert(header::RETRY_AFTER, HeaderValue::from(pause.as_secs_f64().ceil() as u64));
    }
    if error.is_final() {
        headers.insert(SHOULD_RETRY, HeaderValue::from_static("false"));
    }
    answer
}

/// An error answer of the API, read as a whole.
#[derive(Debug)]
pub(super) struct ErrorAnswer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    body: Bytes,
    pub(super) error: UpstreamError,
}

impl ErrorAnswer {
    /// Reads the rest of an answer that is no success, as far as it comes in time.
    pub(super) async fn read(mut response: reqwest::Response, time: Duration) -> Self {
        let (status, headers) = (response.status(), response.headers().clone());
        let deadline = Instant::now() + time;
        let mut body = Vec::new();
        while let Ok(Ok(Some(chunk))) = timeout_at(deadline, response.chunk()).await {
            let room = MAX_ERROR_BYTES - body.len();
            body.extend_from_slice(&chunk[..chunk.len().min(room)]);
            if room == 0 {
                break;
            }
        }
        let error = error_of(status.as_u16(), &body);
        Self { status, headers, body: body.into(), error }
    }

    /// Returns the answer for the agent, with those of the headers that are its business.
    pub(super) fn passed_on(self, mut headers: HeaderMap) -> Response<AnswerBody> {
        if self.error.is_final() {
            headers.insert(SHOULD_RETRY, HeaderValue::from_static("false"));
        }
        let mut answer = Response::new(full(self.body));
        *answer.status_mut() = self.status;
        *answer.headers_mut() = headers;
        answer
    }
}

/// Reads an error answer of the API: `{"type":"error","error":{"type":…,"message":…}}`, or whatever a proxy sent.
fn error_of(status: u16, text: &[u8]) -> UpstreamError {
    let value: Value = serde_json::from_slice(text).unwrap_or_default();
    let field = |name: &str| value.get("error")?.get(name)?.as_str();
    let message = match field("message") {
        Some(message) => one_line(message, MAX_MESSAGE_BYTES),
        None if text.first() == Some(&b'<') => String::new(),
        None => one_line(&String::from_utf8_lossy(text), MAX_MESSAGE_BYTES),
    };
    UpstreamError::upstream(status, &one_line(field("type").unwrap_or("unknown"), 100), message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn error_answers_are_read_whatever_their_form() {
        let message = |text: &str| error_of(502, text.as_bytes()).message;

        assert_eq!(
            message(r#"{"type":"error","error":{"type":"api_error","message":"down\nnow"}}"#),
            "down now"
        );
        assert_eq!(message("<html>Bad gateway</html>"), "");
        assert_eq!(message("upstream\u{7} gone"), "upstream gone");
        assert_eq!(message("[1,"), "[1,");
    }

    #[tokio::test]
    async fn a_body_whose_maker_went_away_breaks_off_instead_of_ending() {
        let (sender, body) = channel();
        drop(sender);
        let (ended, whole) = channel();
        ended.try_send(None).expect("room");

        assert!(body.collect().await.is_err());
        assert!(whole.collect().await.is_ok());
    }
}
