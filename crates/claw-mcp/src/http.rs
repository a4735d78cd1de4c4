//! Streamable HTTP: one handler for `/mcp`, whichever program and router it stands in.
//!
//! The protocol is rmcp's; here is what surrounds it. Bodies are bounded and must be one JSON-RPC message; sessions
//! and open streams are bounded and belong to whoever began them; a refusal says in JSON-RPC what was wrong.
//! [`HttpService`] knows nothing of keys and host names: a program that listens itself asks a [`Guard`] first and
//! accepts connections with [`serve`], a server that has a router of its own does as it does everywhere.

mod body;
mod guard;
mod listen;
mod message;
mod sessions;

use std::{fmt::Display, future::Future, pin::Pin, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper::body::Body;
use rmcp::{
    ServerHandler,
    model::ErrorCode,
    transport::streamable_http_server::{StreamableHttpServerConfig, StreamableHttpService},
};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

pub use body::HttpBody;
pub(crate) use body::{Unread, read as read_body};
pub use guard::{Guard, GuardConfig};
pub use listen::{ConnectionLimits, serve};

use self::{
    body::{Held, read},
    message::{Envelope, accepts_the_protocol, bad_request, has_json_body, refused},
    sessions::{REQUESTED_BY, SESSION_ID, Sessions},
};
use crate::Owner;

/// What the reference implementations say of a session that there is not, or no longer.
const SESSION_NOT_FOUND: ErrorCode = ErrorCode(-32001);

/// What one server gives to its clients.
#[derive(Clone, Debug)]
pub struct HttpLimits {
    /// Bytes of a message.
    pub body_bytes: usize,
    /// How long a message may take to arrive.
    pub body_time: Duration,
    /// Sessions at the same time. The one unused for longest makes room for a new one.
    pub sessions: usize,
    /// Sessions of one owner at the same time.
    pub sessions_each: usize,
    /// How long a session may be unused, with no stream open.
    pub session_idle: Duration,
    /// Streams that stay open for notifications, at the same time.
    pub streams: usize,
}

impl Default for HttpLimits {
    fn default() -> Self {
        Self {
            body_bytes: 1024 * 1024,
            body_time: Duration::from_secs(60),
            sessions: 256,
            sessions_each: 256,
            session_idle: Duration::from_secs(3600),
            streams: 64,
        }
    }
}

/// Gives room for streams that stay open. A router puts it into a request's extensions to count such streams with its
/// others; without one the service counts its own.
#[derive(Clone)]
pub struct StreamRooms(Arc<dyn Fn() -> Option<StreamRoom> + Send + Sync>);

impl StreamRooms {
    /// Returns rooms that `enter` hands out, or does not.
    pub fn new(enter: impl Fn() -> Option<StreamRoom> + Send + Sync + 'static) -> Self {
        Self(Arc::new(enter))
    }
}

/// The room of one open stream.
pub struct StreamRoom {
    /// Kept as long as the stream is open.
    pub place: Box<dyn Send>,
    /// Resolves when the stream must end, such as when the key behind it was revoked.
    pub ended: Pin<Box<dyn Future<Output = ()> + Send>>,
}

/// Answers requests for `/mcp`. Cheap to clone; clones share sessions and streams.
pub struct HttpService<H> {
    protocol: StreamableHttpService<H, Sessions>,
    sessions: Arc<Sessions>,
    streams: Arc<Semaphore>,
    limits: Arc<HttpLimits>,
}

impl<H> Clone for HttpService<H> {
    fn clone(&self) -> Self {
        Self {
            protocol: self.protocol.clone(),
            sessions: Arc::clone(&self.sessions),
            streams: Arc::clone(&self.streams),
            limits: Arc::clone(&self.limits),
        }
    }
}

impl<H: ServerHandler> HttpService<H> {
    /// Returns a service whose sessions, and requests that need none, are each handled by what `handler` makes. It ends
    /// sessions and streams when `stop` is cancelled.
    pub fn new(
        handler: impl Fn() -> H + Send + Sync + 'static,
        limits: HttpLimits,
        stop: CancellationToken,
    ) -> Self {
        let sessions = Arc::new(Sessions::new(&limits, stop.clone()));
        let config = StreamableHttpServerConfig::default()
            // Judged before: by the guard, or by the router this stands in.
            .disable_allowed_hosts()
            .disable_allowed_origins()
            // Sessions send the events that say how to come back, to those who know them.
            .with_sse_retry(None)
            .with_json_response(true)
            .with_max_request_body_bytes(limits.body_bytes)
            .with_cancellation_token(stop);
        Self {
            protocol: StreamableHttpService::new(move || Ok(handler()), Arc::clone(&sessions), config),
            sessions,
            streams: Arc::new(Semaphore::new(limits.streams)),
            limits: Arc::new(limits),
        }
    }

    /// Answers one request. Its extensions may hold an [`Owner`] and [`StreamRooms`].
    pub async fn answer<B>(&self, request: Request<B>) -> Response<HttpBody>
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>> + Display,
    {
        let owner = request.extensions().get::<Owner>().cloned().unwrap_or_default();
        REQUESTED_BY.scope(owner, self.judged(request)).await
    }

    async fn judged<B>(&self, request: Request<B>) -> Response<HttpBody>
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>> + Display,
    {
        match *request.method() {
            Method::POST => self.post(request).await,
            Method::GET => self.stream(request.map(|_unread| Full::default())).await,
            Method::DELETE => {
                let id = request.headers().get(SESSION_ID).and_then(|id| id.to_str().ok());
                if let Some(id) = id
                    && !self.sessions.holds(id)
                {
                    return unknown_session();
                }
                self.pass(request.map(|_unread| Full::default())).await
            }
            _ => self.pass(request.map(|_unread| Full::default())).await,
        }
    }

    async fn post<B>(&self, request: Request<B>) -> Response<HttpBody>
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>> + Display,
    {
        if !has_json_body(request.headers()) || !accepts_the_protocol(request.headers()) {
            // Refused by its headers alone.
            return self.pass(request.map(|_unread| Full::default())).await;
        }
        let (parts, body) = request.into_parts();
        let body = match read(body, self.limits.body_bytes, self.limits.body_time).await {
            Ok(body) => body,
            Err(Unread::TooLong) => {
                let message = format!("the message is longer than {} bytes", self.limits.body_bytes);
                return refused(StatusCode::PAYLOAD_TOO_LARGE, ErrorCode::INVALID_REQUEST, message, None);
            }
            Err(Unread::Late) => {
                let message = "the message did not arrive in time";
                return refused(StatusCode::REQUEST_TIMEOUT, ErrorCode::INVALID_REQUEST, message, None);
            }
            Err(Unread::BrokenOff) => return bad_request("the message broke off", None),
        };
        let envelope = match Envelope::read(&body) {
            Ok(envelope) => envelope,
            Err(refusal) => return refusal.into_response(),
        };
        let (id, opens_stream) = (envelope.id(), envelope.method() == Some("subscriptions/listen"));
        if envelope.method() == Some("initialize") && !self.sessions.make_room() {
            let mut response = refused(
                StatusCode::SERVICE_UNAVAILABLE,
                ErrorCode::INTERNAL_ERROR,
                "all sessions are in use: end one, or try again later",
                id,
            );
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("30"));
            return response;
        }
        let request = Request::from_parts(parts, Full::new(body.clone()));
        let response = if opens_stream { self.stream(request).await } else { self.pass(request).await };
        match response.status() {
            // The headers were right, so it was the message that no one could read.
            StatusCode::UNSUPPORTED_MEDIA_TYPE => bad_request("this is no message of the protocol", id),
            StatusCode::NOT_FOUND if !is_json(&response) => unknown_session(),
            _ => response,
        }
    }

    /// Answers with a stream that stays open, if there is room for one.
    async fn stream(&self, request: Request<Full<Bytes>>) -> Response<HttpBody> {
        let rooms = request.extensions().get::<StreamRooms>().cloned();
        let room = match rooms {
            Some(rooms) => (rooms.0)(),
            None => Arc::clone(&self.streams).try_acquire_owned().ok().map(|permit| StreamRoom {
                place: Box::new(permit),
                ended: Box::pin(std::future::pending()),
            }),
        };
        let Some(room) = room else {
            let message = "too many streams are open: close one, or try again later";
            let mut response =
                refused(StatusCode::TOO_MANY_REQUESTS, ErrorCode::INTERNAL_ERROR, message, None);
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("5"));
            return response;
        };
        self.pass(request).await.map(|body| Held::new(body, room).boxed_unsync())
    }

    async fn pass(&self, request: Request<Full<Bytes>>) -> Response<HttpBody> {
        self.protocol.handle(request).await.map(BodyExt::boxed_unsync)
    }
}

fn is_json(response: &Response<HttpBody>) -> bool {
    response
        .headers()
        .get(header::CONTENT_TYPE)
        .is_some_and(|kind| kind.as_bytes().starts_with(b"application/json"))
}

fn unknown_session() -> Response<HttpBody> {
    refused(
        StatusCode::NOT_FOUND,
        SESSION_NOT_FOUND,
        "there is no such session: send `initialize` to begin one",
        None,
    )
}
