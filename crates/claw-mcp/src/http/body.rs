//! Bodies: read within bounds, and held open within bounds.

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http_body_util::{BodyExt as _, LengthLimitError, Limited, combinators::UnsyncBoxBody};
use hyper::body::{Body, Frame, SizeHint};

use super::StreamRoom;

/// The body of an answer.
pub type HttpBody = UnsyncBoxBody<Bytes, Infallible>;

/// Why a body could not be read.
#[derive(Debug)]
pub(crate) enum Unread {
    TooLong,
    Late,
    BrokenOff,
}

/// Reads a body of at most so many bytes within so much time.
pub(crate) async fn read<B>(body: B, most: usize, time: Duration) -> Result<Bytes, Unread>
where
    B: Body<Data = Bytes>,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let body = std::pin::pin!(Limited::new(body, most));
    match tokio::time::timeout(time, body.collect()).await {
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(Unread::TooLong),
        Ok(Err(_broken)) => Err(Unread::BrokenOff),
        Err(_elapsed) => Err(Unread::Late),
    }
}

/// A body that holds a room as long as it lives, and ends when the room does.
pub(super) struct Held {
    body: HttpBody,
    room: StreamRoom,
}

impl Held {
    pub(super) fn new(body: HttpBody, room: StreamRoom) -> Self {
        Self { body, room }
    }
}

impl Body for Held {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.room.ended.as_mut().poll(context).is_ready() {
            return Poll::Ready(None);
        }
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
