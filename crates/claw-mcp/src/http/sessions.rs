//! Sessions of clients that begin with `initialize`: bounded in number, and known to whoever began them alone.

use std::{
    collections::HashMap,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
    time::{Duration, Instant},
};

use futures_util::Stream;
use http::HeaderName;
use rmcp::{
    model::{ClientJsonRpcMessage, JsonRpcMessage, ProtocolVersion, ServerJsonRpcMessage, ServerResult},
    transport::{
        WorkerTransport,
        common::server_side_http::ServerSseMessage,
        streamable_http_server::session::{
            SessionId, SessionManager,
            local::{
                EventIdParseError, LocalSessionHandle, LocalSessionWorker, SessionConfig, SessionError,
                StreamableHttpMessageReceiver, create_local_session,
            },
        },
    },
};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::HttpLimits;
use crate::Owner;

pub(super) const SESSION_ID: HeaderName = HeaderName::from_static("mcp-session-id");

/// Messages that wait for a slow reader. Beyond them its own session waits.
const QUEUE: usize = 16;

/// The latest that a session is ended, were a stream of it open all the time.
const LONGEST: Duration = Duration::from_secs(7 * 24 * 3600);

tokio::task_local! {
    /// Who sent the request that is being answered.
    pub(super) static REQUESTED_BY: Owner;
}

/// The sessions of one service.
pub(super) struct Sessions {
    most: usize,
    most_each: usize,
    idle: Duration,
    stop: CancellationToken,
    // A std mutex: held for a look-up, never across an await.
    held: Mutex<HashMap<SessionId, Session>>,
}

struct Session {
    handle: LocalSessionHandle,
    owner: Owner,
    used: Instant,
    /// Held by each open stream as well.
    streams: Arc<()>,
    /// Whether the client knows events without a message, which say how to come back to a stream.
    knows_priming: bool,
    end: CancellationToken,
}

impl Session {
    fn is_busy(&self) -> bool {
        Arc::strong_count(&self.streams) > 1
    }
}

#[derive(Debug, thiserror::Error)]
pub(super) enum SessionsError {
    #[error("all sessions are in use")]
    NoRoom,
    #[error("there is no such session")]
    Unknown,
    #[error("the session failed")]
    Session(#[from] SessionError),
    #[error("the event to go on after is none of this session's")]
    Event(#[from] EventIdParseError),
}

impl Sessions {
    pub(super) fn new(limits: &HttpLimits, stop: CancellationToken) -> Self {
        Self {
            most: limits.sessions,
            most_each: limits.sessions_each,
            idle: limits.session_idle,
            stop,
            held: Mutex::default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<SessionId, Session>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells whether the request's sender has this session.
    pub(super) fn holds(&self, id: &str) -> bool {
        self.with(id, |_| ()).is_ok()
    }

    /// Looks at a session of the request's sender, which counts as a use of it.
    fn with<T>(&self, id: &str, look: impl FnOnce(&mut Session) -> T) -> Result<T, SessionsError> {
        let mut held = self.lock();
        let session = held.get_mut(id).filter(|session| session.owner == requested_by());
        let session = session.ok_or(SessionsError::Unknown)?;
        session.used = Instant::now();
        Ok(look(session))
    }

    fn handle(&self, id: &str) -> Result<LocalSessionHandle, SessionsError> {
        self.with(id, |session| session.handle.clone())
    }

    fn open(&self, id: &str, receiver: StreamableHttpMessageReceiver) -> Result<Open, SessionsError> {
        self.with(id, |session| Open {
            receiver: receiver.inner,
            knows_priming: session.knows_priming,
            _counted: Arc::clone(&session.streams),
        })
    }

    /// Makes room for one more session of the request's sender: ends those unused for too long, then the one that was
    /// unused for longest. Tells whether there is room.
    pub(super) fn make_room(&self) -> bool {
        let owner = requested_by();
        let mut held = self.lock();
        let now = Instant::now();
        held.retain(|_, session| {
            let lives = session.is_busy() || now.duration_since(session.used) < self.idle;
            if !lives {
                session.end.cancel();
            }
            lives
        });
        let own = held.values().filter(|session| session.owner == owner).count();
        if own >= self.most_each && !end_oldest(&mut held, |session| session.owner == owner) {
            return false;
        }
        held.len() < self.most || end_oldest(&mut held, |_| true)
    }
}

/// Ends the session unused for longest of those that `may` end and have no stream open.
fn end_oldest(held: &mut HashMap<SessionId, Session>, may: impl Fn(&Session) -> bool) -> bool {
    let oldest = held
        .iter()
        .filter(|(_, session)| !session.is_busy() && may(session))
        .min_by_key(|(_, session)| session.used)
        .map(|(id, _)| Arc::clone(id));
    let Some(session) = oldest.and_then(|id| held.remove(&id)) else { return false };
    session.end.cancel();
    true
}

fn requested_by() -> Owner {
    REQUESTED_BY.try_with(Owner::clone).unwrap_or_default()
}

impl SessionManager for Sessions {
    type Error = SessionsError;
    type Transport = WorkerTransport<LocalSessionWorker>;

    async fn create_session(&self) -> Result<(SessionId, Self::Transport), SessionsError> {
        let id: SessionId = Uuid::new_v4().to_string().into();
        let mut config = SessionConfig::default();
        config.channel_capacity = QUEUE;
        config.keep_alive = Some(LONGEST);
        let (handle, worker) = create_local_session(Arc::clone(&id), config);
        let end = self.stop.child_token();
        let session = Session {
            handle,
            owner: requested_by(),
            used: Instant::now(),
            streams: Arc::default(),
            knows_priming: false,
            end: end.clone(),
        };
        let mut held = self.lock();
        if held.len() >= self.most {
            return Err(SessionsError::NoRoom);
        }
        held.insert(Arc::clone(&id), session);
        Ok((id, WorkerTransport::spawn_with_ct(worker, end)))
    }

    async fn initialize_session(
        &self,
        id: &SessionId,
        message: ClientJsonRpcMessage,
    ) -> Result<ServerJsonRpcMessage, SessionsError> {
        let response = self.handle(id)?.initialize(message).await?;
        if let JsonRpcMessage::Response(response) = &response
            && let ServerResult::InitializeResult(result) = &response.result
        {
            let knows_priming = result.protocol_version >= ProtocolVersion::V_2025_11_25;
            self.with(id, |session| session.knows_priming = knows_priming)?;
        }
        Ok(response)
    }

    async fn has_session(&self, id: &SessionId) -> Result<bool, SessionsError> {
        Ok(self.holds(id))
    }

    /// Called when a client ends its session, which was looked for before, and when the session has ended.
    async fn close_session(&self, id: &SessionId) -> Result<(), SessionsError> {
        if let Some(session) = self.lock().remove(id) {
            session.end.cancel();
        }
        Ok(())
    }

    async fn create_stream(
        &self,
        id: &SessionId,
        message: ClientJsonRpcMessage,
    ) -> Result<impl Stream<Item = ServerSseMessage> + Send + Sync + 'static, SessionsError> {
        let handle = self.handle(id)?;
        let receiver = handle.establish_request_wise_channel().await?;
        let request = receiver.http_request_id;
        let open = self.open(id, receiver)?;
        handle.push_message(message, request).await?;
        Ok(open)
    }

    async fn accept_message(
        &self,
        id: &SessionId,
        message: ClientJsonRpcMessage,
    ) -> Result<(), SessionsError> {
        Ok(self.handle(id)?.push_message(message, None).await?)
    }

    async fn create_standalone_stream(
        &self,
        id: &SessionId,
    ) -> Result<impl Stream<Item = ServerSseMessage> + Send + Sync + 'static, SessionsError> {
        let receiver = self.handle(id)?.establish_common_channel().await?;
        self.open(id, receiver)
    }

    async fn resume(
        &self,
        id: &SessionId,
        last_event_id: String,
    ) -> Result<impl Stream<Item = ServerSseMessage> + Send + Sync + 'static, SessionsError> {
        let receiver = self.handle(id)?.resume(last_event_id.parse()?).await?;
        self.open(id, receiver)
    }
}

/// A stream to a client, counted as long as it is open.
struct Open {
    receiver: mpsc::Receiver<ServerSseMessage>,
    knows_priming: bool,
    _counted: Arc<()>,
}

impl Stream for Open {
    type Item = ServerSseMessage;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<ServerSseMessage>> {
        loop {
            let next = std::task::ready!(self.receiver.poll_recv(context));
            match next {
                // Older clients take every event for a message.
                Some(event) if event.message.is_none() && !self.knows_priming => {}
                next => return Poll::Ready(next),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sessions(most: usize, most_each: usize) -> Sessions {
        let limits = HttpLimits { sessions: most, sessions_each: most_each, ..HttpLimits::default() };
        Sessions::new(&limits, CancellationToken::new())
    }

    async fn begin(sessions: &Sessions, owner: &str) -> Option<SessionId> {
        let begin = async {
            if !sessions.make_room() {
                return None;
            }
            let (id, _transport) = sessions.create_session().await.expect("there is room");
            Some(id)
        };
        REQUESTED_BY.scope(Owner::new(owner), begin).await
    }

    fn has(sessions: &Sessions, owner: &str, id: &SessionId) -> bool {
        REQUESTED_BY.sync_scope(Owner::new(owner), || sessions.holds(id))
    }

    #[tokio::test]
    async fn t20_a_session_is_known_to_its_owner_alone() {
        let sessions = sessions(8, 8);

        let id = begin(&sessions, "anna").await.expect("a session");

        assert!(has(&sessions, "anna", &id));
        assert!(!has(&sessions, "ben", &id));
    }

    #[tokio::test]
    async fn t32_a_new_session_takes_the_place_of_the_one_unused_for_longest() {
        let sessions = sessions(3, 2);
        let first = begin(&sessions, "anna").await.expect("a session");
        let second = begin(&sessions, "anna").await.expect("a session");
        let others = begin(&sessions, "ben").await.expect("a session");
        assert!(has(&sessions, "anna", &first), "which is a use of it");

        let third = begin(&sessions, "anna").await.expect("a session");

        let kept: Vec<_> = [&first, &second, &third].map(|id| has(&sessions, "anna", id)).into();
        assert_eq!(kept, [true, false, true]);
        assert!(
            has(&sessions, "ben", &others),
            "nobody takes the places of others while their own are enough"
        );
        assert_eq!(sessions.lock().len(), 3);
    }

    #[tokio::test]
    async fn t32_sessions_with_open_streams_stay_and_then_there_is_no_room() {
        let sessions = sessions(1, 1);
        let id = begin(&sessions, "anna").await.expect("a session");
        let stream = Arc::clone(&sessions.lock()[&id].streams);

        assert_eq!(begin(&sessions, "anna").await, None);
        drop(stream);
        assert!(begin(&sessions, "anna").await.is_some());
        assert!(!has(&sessions, "anna", &id));
    }
}
