//! The body of an answer on its way from the API to the agent.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use futures_util::FutureExt;
use http_body_util::{BodyExt, Full, combinators::UnsyncBoxBody};
use hyper::body::{Body, Frame, SizeHint};
use serde_json::Value;
use tokio::time::{Instant, Sleep};

use super::{report::UpstreamError, session::SessionState};
use crate::text::one_line;

pub(super) type BoxError = Box<dyn std::error::Error + Send + Sync>;
pub(super) type AnswerBody = UnsyncBoxBody<Bytes, BoxError>;

/// How much of an error answer is kept for the verdict.
const MAX_ERROR_BYTES: usize = 16 * 1024;

/// Longest message of an error that is kept.
const MAX_MESSAGE_BYTES: usize = 1_000;

/// What is learned from an answer while it passes.
#[derive(Debug)]
pub(super) enum Watch {
    /// A model's answer: an end without error clears the session's last error.
    Message,
    /// An error answer with this status: its text becomes the session's last error.
    Error(u16, Vec<u8>),
    /// Nothing.
    Nothing,
}

/// Passes an answer through frame by frame, ends it after too long a silence, and reports how it went.
pub(super) struct Relay {
    inner: reqwest::Body,
    idle_timeout: Duration,
    idle: Pin<Box<Sleep>>,
    watch: Watch,
    session: Arc<SessionState>,
}

impl Relay {
    pub(super) fn boxed(
        inner: reqwest::Body,
        idle_timeout: Duration,
        watch: Watch,
        session: Arc<SessionState>,
    ) -> AnswerBody {
        let idle = Box::pin(tokio::time::sleep(idle_timeout));
        Self { inner, idle_timeout, idle, watch, session }.boxed_unsync()
    }

    fn ended(&mut self) {
        match std::mem::replace(&mut self.watch, Watch::Nothing) {
            Watch::Message => self.session.set_last_error(None),
            Watch::Error(status, text) => self.session.set_last_error(Some(error_of(status, &text))),
            Watch::Nothing => {}
        }
    }

    fn broke(&mut self, message: &str) {
        match std::mem::replace(&mut self.watch, Watch::Nothing) {
            Watch::Message => self.session.set_last_error(Some(UpstreamError::broken_answer(message))),
            Watch::Error(status, text) => self.session.set_last_error(Some(error_of(status, &text))),
            Watch::Nothing => {}
        }
    }
}

impl Body for Relay {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match Pin::new(&mut self.inner).poll_frame(context) {
            Poll::Ready(Some(Ok(frame))) => {
                if let (Watch::Error(_, text), Some(data)) = (&mut self.watch, frame.data_ref()) {
                    text.extend_from_slice(&data[..data.len().min(MAX_ERROR_BYTES - text.len())]);
                }
                let next = Instant::now() + self.idle_timeout;
                self.idle.as_mut().reset(next);
                if self.inner.is_end_stream() {
                    self.ended();
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(error))) => {
                self.broke("the model API's answer broke off: try again later");
                Poll::Ready(Some(Err(error.into())))
            }
            Poll::Ready(None) => {
                self.ended();
                Poll::Ready(None)
            }
            Poll::Pending => {
                if self.idle.poll_unpin(context).is_pending() {
                    return Poll::Pending;
                }
                let message = "the model API's answer stalled: try again later";
                self.broke(message);
                Poll::Ready(Some(Err(message.into())))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// Returns a body that is there at once.
pub(super) fn full(bytes: impl Into<Bytes>) -> AnswerBody {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed_unsync()
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
}
