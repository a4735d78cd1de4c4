//! A talk with one client, message by message: what stdio and the two-endpoint SSE have in common.
//!
//! rmcp speaks the protocol; here is what lies beneath it. A message that cannot be read is answered in JSON-RPC, no
//! more requests are taken than are answered, and a client that asks before it shook hands is answered too, as older
//! clients of the original expect.

mod message;
mod stdio;

use std::{
    borrow::Cow,
    collections::{HashSet, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use rmcp::{
    RoleServer, ServerHandler,
    model::{
        ClientJsonRpcMessage, ClientNotification, ClientRequest, JsonRpcMessage, RequestId, ServerResult,
    },
    service::{QuitReason, RxJsonRpcMessage, TxJsonRpcMessage, serve_directly_with_ct, serve_server_with_ct},
    transport::Transport,
};
use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;

pub(crate) use message::{Read, error_text, read};
pub use stdio::talk;

/// Requests of one client that are being answered at the same time. Further ones wait in the client's pipe or queue.
const MOST_OUTSTANDING: usize = 100;

/// Where messages come from.
pub(crate) trait Source: Send + 'static {
    /// Returns the next message; `None` when there will be no more. May be dropped at any time and called again.
    fn next(&mut self) -> BoxFuture<'_, Option<Read>>;
}

/// The requests that have no answer yet.
#[derive(Debug, Default)]
struct Outstanding {
    // A std mutex: held for a look, never across an await.
    ids: Mutex<HashSet<RequestId>>,
    fewer: Notify,
}

impl Outstanding {
    fn lock(&self) -> MutexGuard<'_, HashSet<RequestId>> {
        self.ids.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns when one more request may be taken.
    async fn room(&self) {
        loop {
            let fewer = self.fewer.notified();
            if self.lock().len() < MOST_OUTSTANDING {
                return;
            }
            fewer.await;
        }
    }

    fn begun(&self, id: &RequestId) {
        self.lock().insert(id.clone());
    }

    fn ended(&self, id: Option<&RequestId>) {
        if id.is_some_and(|id| self.lock().remove(id)) {
            self.fewer.notify_one();
        }
    }
}

/// A talk as rmcp takes it.
pub(crate) struct Wire<S> {
    source: S,
    outbox: mpsc::Sender<Bytes>,
    outstanding: Arc<Outstanding>,
    /// The answer to a message that could not be read, until there is room for it.
    refusal: Option<Bytes>,
    /// Messages that were read already.
    ahead: VecDeque<ClientJsonRpcMessage>,
    /// A request that begins a talk was taken. Before that only requests count.
    begun: bool,
}

impl<S: Source> Wire<S> {
    pub(crate) fn new(source: S, outbox: mpsc::Sender<Bytes>) -> Self {
        Self {
            source,
            outbox,
            outstanding: Arc::default(),
            refusal: None,
            ahead: VecDeque::new(),
            begun: false,
        }
    }

    async fn next(&mut self) -> Option<ClientJsonRpcMessage> {
        loop {
            if self.refusal.is_some() {
                let place = self.outbox.reserve().await.ok()?;
                place.send(self.refusal.take().unwrap_or_default());
            }
            if let Some(message) = self.ahead.pop_front() {
                return Some(message);
            }
            self.outstanding.room().await;
            match self.source.next().await? {
                Read::Message(message) => return Some(*message),
                Read::Refused(answer) => self.refusal = Some(answer),
                Read::Nothing => {}
            }
        }
    }
}

impl<S: Source> Transport<RoleServer> for Wire<S> {
    type Error = std::io::Error;

    fn name() -> Cow<'static, str> {
        "wire".into()
    }

    fn send(
        &mut self,
        message: TxJsonRpcMessage<RoleServer>,
    ) -> impl Future<Output = Result<(), Self::Error>> + Send + 'static {
        let id = match &message {
            JsonRpcMessage::Response(response) => Some(response.id.clone()),
            JsonRpcMessage::Error(error) => error.id.clone(),
            JsonRpcMessage::Request(_) | JsonRpcMessage::Notification(_) => None,
        };
        let text = serde_json::to_vec(&message);
        let (outbox, outstanding) = (self.outbox.clone(), Arc::clone(&self.outstanding));
        async move {
            let sent = match text {
                Ok(text) => outbox.send(text.into()).await.map_err(|_closed| {
                    std::io::Error::new(std::io::ErrorKind::NotConnected, "the client is gone")
                }),
                Err(error) => Err(error.into()),
            };
            outstanding.ended(id.as_ref());
            sent
        }
    }

    async fn receive(&mut self) -> Option<RxJsonRpcMessage<RoleServer>> {
        loop {
            let message = self.next().await?;
            match &message {
                JsonRpcMessage::Request(request) => {
                    self.outstanding.begun(&request.id);
                    let only_asks = matches!(
                        &request.request,
                        ClientRequest::PingRequest(_) | ClientRequest::DiscoverRequest(_)
                    );
                    self.begun |= !only_asks;
                }
                // rmcp takes nothing but requests for a beginning.
                _ if !self.begun => continue,
                JsonRpcMessage::Notification(notification) => {
                    if let ClientNotification::CancelledNotification(cancelled) = &notification.notification {
                        // It gets no answer any more.
                        self.outstanding.ended(cancelled.params.request_id.as_ref());
                    }
                }
                JsonRpcMessage::Response(_) | JsonRpcMessage::Error(_) => {}
            }
            return Some(message);
        }
    }

    async fn close(&mut self) -> Result<(), Self::Error> {
        Ok(())
    }
}

/// Has `handler` answer a client until the client leaves or `stop` is cancelled.
pub(crate) async fn answer<H, S>(handler: H, mut wire: Wire<S>, stop: CancellationToken)
where
    H: ServerHandler,
    S: Source,
{
    let Some(shakes_hands) = stop.run_until_cancelled(first(&mut wire)).await.flatten() else { return };
    let running = if shakes_hands {
        match serve_server_with_ct(handler, wire, stop).await {
            Ok(running) => running,
            Err(error) => {
                tracing::debug!(%error, "a client left before it shook hands");
                return;
            }
        }
    } else {
        serve_directly_with_ct(handler, wire, None, stop)
    };
    if let Ok(QuitReason::JoinError(error)) | Err(error) = running.waiting().await {
        tracing::error!(%error, "a client is no longer answered");
    }
}

/// Waits for the first request that says how the client begins, and leaves it to be read again. Tells whether rmcp knows
/// this beginning: a handshake, or the fields that newer clients put into each request. `None` when there is none.
async fn first<S: Source>(wire: &mut Wire<S>) -> Option<bool> {
    loop {
        let JsonRpcMessage::Request(request) = wire.next().await? else { continue };
        if matches!(request.request, ClientRequest::PingRequest(_)) {
            let pong = JsonRpcMessage::response(ServerResult::empty(()), request.id);
            wire.send(pong).await.ok()?;
            continue;
        }
        use rmcp::model::GetMeta as _;
        let shakes_hands = matches!(
            request.request,
            ClientRequest::InitializeRequest(_) | ClientRequest::DiscoverRequest(_)
        ) || request.request.get_meta().protocol_version().is_some();
        wire.ahead.push_back(JsonRpcMessage::Request(request));
        return Some(shakes_hands);
    }
}
