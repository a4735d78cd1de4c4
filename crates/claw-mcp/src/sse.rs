//! The two-endpoint SSE of the protocol's first version: answers come as events of `/sse`, messages go to `/message`.
//!
//! Newer clients use `/mcp`; this stays for configurations of the original. Who may speak here at all is for a
//! [`Guard`](crate::http::Guard) to say before.

mod base_url;
mod session;

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Body;
use rmcp::{ServerHandler, model::ErrorCode};
use serde_json::Value;
use tokio::time::timeout;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

pub use base_url::BaseUrl;

use self::session::{Events, Sessions};
use crate::{
    http::{HttpBody, Unread, read_body},
    wire::{self, Read, error_text},
};

/// What one server gives to its clients.
#[derive(Clone, Debug)]
pub struct SseLimits {
    /// Sessions at the same time.
    pub sessions: usize,
    /// Bytes of a message.
    pub message_bytes: usize,
    /// How long a message may take to arrive.
    pub message_time: Duration,
    /// How long a message may wait for room in its session.
    pub queue_time: Duration,
    /// Pause between signs of life.
    pub keep_alive: Duration,
}

impl Default for SseLimits {
    fn default() -> Self {
        Self {
            sessions: 256,
            message_bytes: 4 << 20,
            message_time: Duration::from_secs(30),
            queue_time: Duration::from_secs(10),
            keep_alive: Duration::from_secs(30),
        }
    }
}

/// Answers requests for `/sse` and `/message`. Cheap to clone; clones share the sessions.
pub struct SseService<H> {
    inner: Arc<Inner<H>>,
}

struct Inner<H> {
    handler: Box<dyn Fn() -> H + Send + Sync>,
    base: BaseUrl,
    limits: SseLimits,
    sessions: Arc<Sessions>,
    running: TaskTracker,
    stop: CancellationToken,
}

impl<H> Clone for SseService<H> {
    fn clone(&self) -> Self {
        Self { inner: Arc::clone(&self.inner) }
    }
}

impl<H: ServerHandler> SseService<H> {
    /// Returns a service whose sessions are each handled by what `handler` makes, until `stop` is cancelled.
    pub fn new(
        handler: impl Fn() -> H + Send + Sync + 'static,
        base: BaseUrl,
        limits: SseLimits,
        stop: CancellationToken,
    ) -> Self {
        let sessions = Arc::new(Sessions::new(limits.sessions));
        let (handler, running) = (Box::new(handler), TaskTracker::new());
        Self { inner: Arc::new(Inner { handler, base, limits, sessions, running, stop }) }
    }

    /// Answers one request; `None` when it is for another path.
    pub async fn answer<B>(&self, request: Request<B>) -> Option<Response<HttpBody>>
    where
        B: Body<Data = Bytes> + Send,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let path = request.uri().path().strip_prefix(self.inner.base.path())?;
        match (path, request.method()) {
            ("/sse", &Method::GET) => Some(self.open()),
            ("/sse", _) => Some(text(StatusCode::METHOD_NOT_ALLOWED, "Method not allowed")),
            ("/message", &Method::POST) => Some(self.take(request).await.unwrap_or_else(|refusal| refusal)),
            ("/message", _) => {
                Some(refused(StatusCode::BAD_REQUEST, ErrorCode::INVALID_REQUEST, "Method not allowed"))
            }
            _ => None,
        }
    }

    /// Begins a session.
    fn open(&self) -> Response<HttpBody> {
        let inner = &self.inner;
        let Some((session, events, wire)) = Sessions::begin(&inner.sessions, &inner.stop) else {
            let message = "all sessions are in use: end one, or try again later\n";
            let mut response = text(StatusCode::SERVICE_UNAVAILABLE, message);
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("30"));
            return response;
        };
        let greeting = format!("event: endpoint\r\ndata: {}\r\n\r\n", inner.base.endpoint(session.id()));
        inner.running.spawn(wire::answer((inner.handler)(), wire, session.end().clone()));
        let events = Events::new(greeting.into(), session, events, inner.limits.keep_alive);
        let mut response = Response::new(events.boxed_unsync());
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        // Proxies must pass each event on at once.
        headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
        response
    }

    /// Takes a message for a session.
    async fn take<B>(&self, request: Request<B>) -> Result<Response<HttpBody>, Response<HttpBody>>
    where
        B: Body<Data = Bytes> + Send,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let limits = &self.inner.limits;
        let bad = |code, message| refused(StatusCode::BAD_REQUEST, code, message);
        let id = request.uri().query().into_iter().flat_map(|query| query.split('&'));
        let id = id.filter_map(|pair| pair.strip_prefix("sessionId=")).find(|id| !id.is_empty());
        let id = id.ok_or_else(|| bad(ErrorCode::INVALID_PARAMS, "Missing sessionId"))?;
        let unknown = || bad(ErrorCode::INVALID_PARAMS, "Invalid session ID");
        let session = self.inner.sessions.find(id).ok_or_else(unknown)?;
        let body = match read_body(request.into_body(), limits.message_bytes, limits.message_time).await {
            Ok(body) => body,
            Err(Unread::TooLong) => {
                let message = format!("the message is longer than {} bytes", limits.message_bytes);
                return Err(refused(StatusCode::PAYLOAD_TOO_LARGE, ErrorCode::INVALID_REQUEST, &message));
            }
            Err(Unread::Late) => {
                let message = "the message did not arrive in time";
                return Err(refused(StatusCode::REQUEST_TIMEOUT, ErrorCode::INVALID_REQUEST, message));
            }
            Err(Unread::BrokenOff) => return Err(bad(ErrorCode::INVALID_REQUEST, "the message broke off")),
        };
        let message = wire::read(&body);
        if let Read::Refused(answer) = &message
            && body.trim_ascii_start().first() != Some(&b'[')
        {
            return Err(json(StatusCode::BAD_REQUEST, answer.clone()));
        }
        match timeout(limits.queue_time, session.send(message)).await {
            Ok(Ok(())) => {
                let mut response = Response::new(HttpBody::default());
                *response.status_mut() = StatusCode::ACCEPTED;
                Ok(response)
            }
            Ok(Err(_ended)) => Err(unknown()),
            Err(_elapsed) => {
                let message = "the session has as many requests to answer as it may: read its answers";
                Err(refused(StatusCode::SERVICE_UNAVAILABLE, ErrorCode::INTERNAL_ERROR, message))
            }
        }
    }

    /// Returns when every session has ended, which they do once it is time to stop.
    pub async fn ended(&self) {
        self.inner.running.close();
        self.inner.running.wait().await;
    }
}

/// Numbers for the requests of ours by which a client is asked whether it is there.
#[derive(Debug, Default)]
struct Pings(AtomicI64);

impl Pings {
    fn next(&self) -> i64 {
        self.0.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Tells whether a request with this number was sent.
    fn holds(&self, id: i64) -> bool {
        (1..=self.0.load(Ordering::Relaxed)).contains(&id)
    }
}

fn refused(status: StatusCode, code: ErrorCode, message: &str) -> Response<HttpBody> {
    json(status, error_text(Value::Null, code, message))
}

fn json(status: StatusCode, body: Bytes) -> Response<HttpBody> {
    with_type(status, "application/json", body)
}

fn text(status: StatusCode, body: &'static str) -> Response<HttpBody> {
    with_type(status, "text/plain; charset=utf-8", Bytes::from_static(body.as_bytes()))
}

fn with_type(status: StatusCode, kind: &'static str, body: Bytes) -> Response<HttpBody> {
    let mut response = Response::new(Full::new(body).boxed_unsync());
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}
