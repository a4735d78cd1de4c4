//! Sessions: a stream of events to a client, and what it sent.

use std::{
    collections::HashMap,
    convert::Infallible,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use futures_util::future::BoxFuture;
use hyper::body::{Body, Frame};
use rmcp::model::{JsonRpcMessage, RequestId};
use tokio::{
    sync::mpsc,
    time::{Instant, Interval, MissedTickBehavior, interval_at},
};
use tokio_util::sync::{CancellationToken, DropGuard};
use uuid::Uuid;

use super::Pings;
use crate::wire::{Read, Source, Wire};

/// Messages of a client that wait to be handled.
const INBOX: usize = 16;
/// Events that wait to be sent. When a client reads none of them, its connection is given up after a while.
const OUTBOX: usize = 100;

/// The sessions of one service.
pub(super) struct Sessions {
    most: usize,
    // A std mutex: held for a look-up, never across an await.
    held: Mutex<HashMap<String, Inbox>>,
}

/// Where the messages for a session go.
#[derive(Clone)]
pub(super) struct Inbox(mpsc::Sender<Read>);

impl Inbox {
    /// Gives the session a message; an error when it has ended.
    pub(super) async fn send(&self, message: Read) -> Result<(), ()> {
        self.0.send(message).await.map_err(drop)
    }
}

impl Sessions {
    pub(super) fn new(most: usize) -> Self {
        Self { most, held: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Inbox>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn find(&self, id: &str) -> Option<Inbox> {
        self.lock().get(id).cloned()
    }

    /// Begins a session, if there is room.
    pub(super) fn begin(
        sessions: &Arc<Self>,
        stop: &CancellationToken,
    ) -> Option<(Session, mpsc::Receiver<Bytes>, Wire<Received>)> {
        let mut held = sessions.lock();
        if held.len() >= sessions.most {
            return None;
        }
        let id = Uuid::new_v4().to_string();
        let (inbox, received) = mpsc::channel(INBOX);
        let (outbox, events) = mpsc::channel(OUTBOX);
        held.insert(id.clone(), Inbox(inbox));
        drop(held);
        let end = stop.child_token();
        let pings = Arc::new(Pings::default());
        let wire = Wire::new(Received { received, pings: Arc::clone(&pings) }, outbox);
        let session =
            Session { id, sessions: Arc::clone(sessions), pings, end: end.clone(), _ended: end.drop_guard() };
        Some((session, events, wire))
    }
}

/// A session. It ends when this is dropped.
pub(super) struct Session {
    id: String,
    sessions: Arc<Sessions>,
    pings: Arc<Pings>,
    end: CancellationToken,
    _ended: DropGuard,
}

impl Session {
    pub(super) fn id(&self) -> &str {
        &self.id
    }

    pub(super) fn end(&self) -> &CancellationToken {
        &self.end
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.sessions.lock().remove(&self.id);
    }
}

/// What a client sent.
pub(super) struct Received {
    received: mpsc::Receiver<Read>,
    pings: Arc<Pings>,
}

impl Received {
    /// Tells whether this is the answer to a sign of life, of which the protocol knows nothing.
    fn is_pong(&self, message: &Read) -> bool {
        let Read::Message(message) = message else { return false };
        let id = match message.as_ref() {
            JsonRpcMessage::Response(response) => Some(&response.id),
            JsonRpcMessage::Error(error) => error.id.as_ref(),
            JsonRpcMessage::Request(_) | JsonRpcMessage::Notification(_) => None,
        };
        matches!(id, Some(RequestId::Number(id)) if self.pings.holds(*id))
    }
}

impl Source for Received {
    fn next(&mut self) -> BoxFuture<'_, Option<Read>> {
        Box::pin(async {
            loop {
                let message = self.received.recv().await?;
                if !self.is_pong(&message) {
                    return Some(message);
                }
            }
        })
    }
}

/// The body of the answer: the events of a session, which ends with it.
pub(super) struct Events {
    greeting: Option<Bytes>,
    events: mpsc::Receiver<Bytes>,
    keep_alive: Interval,
    session: Session,
}

impl Events {
    pub(super) fn new(
        greeting: Bytes,
        session: Session,
        events: mpsc::Receiver<Bytes>,
        keep_alive: Duration,
    ) -> Self {
        let mut keep_alive = interval_at(Instant::now() + keep_alive, keep_alive);
        keep_alive.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self { greeting: Some(greeting), events, keep_alive, session }
    }
}

impl Body for Events {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if let Some(greeting) = self.greeting.take() {
            return Poll::Ready(Some(Ok(Frame::data(greeting))));
        }
        match self.events.poll_recv(context) {
            Poll::Ready(None) => return Poll::Ready(None),
            Poll::Ready(Some(message)) => {
                let mut event = BytesMut::with_capacity(message.len() + 32);
                event.extend_from_slice(b"event: message\ndata: ");
                event.extend_from_slice(&message);
                event.extend_from_slice(b"\n\n");
                return Poll::Ready(Some(Ok(Frame::data(event.freeze()))));
            }
            Poll::Pending => {}
        }
        if self.keep_alive.poll_tick(context).is_ready() {
            let id = self.session.pings.next();
            let event =
                format!("event: message\ndata:{{\"jsonrpc\":\"2.0\",\"id\":{id},\"method\":\"ping\"}}\n\n");
            return Poll::Ready(Some(Ok(Frame::data(event.into()))));
        }
        Poll::Pending
    }
}
