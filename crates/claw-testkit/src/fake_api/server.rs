//! The HTTP side: connections, routes, and the playing of a stream's actions.

use std::{
    convert::Infallible,
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
};

use bytes::Bytes;
use futures_util::stream;
use http_body_util::{BodyExt as _, Full, Limited, StreamBody, combinators::UnsyncBoxBody};
use hyper::{
    Method, Request, Response, StatusCode,
    body::{Frame, Incoming},
    header,
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream, UnixListener, UnixStream},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    RecordedRequest, Shared,
    answer::{Action, Answer, ErrorAnswer, answer, wait},
    script::{Script, Step},
};

/// The largest request that is read; the CLI refuses prompts above about 9 MB itself.
const LARGEST_BODY: usize = 64 << 20;

/// What ends a connection without an answer.
#[derive(Debug, thiserror::Error)]
#[error("the script wants the connection to be reset")]
struct ResetWanted;

type Body = UnsyncBoxBody<Bytes, io::Error>;

/// Where connections come from.
pub(super) enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Listener {
    async fn accept(&self) -> io::Result<Socket> {
        Ok(match self {
            Self::Tcp(listener) => {
                let (stream, _) = listener.accept().await?;
                stream.set_nodelay(true)?;
                Socket::Tcp(stream)
            }
            Self::Unix(listener) => Socket::Unix(listener.accept().await?.0),
        })
    }
}

/// Serves until `stop`; then open connections are cut.
pub(super) async fn serve(listener: Listener, shared: Arc<Shared>, stop: CancellationToken) {
    let connections = TaskTracker::new();
    loop {
        let socket = tokio::select! {
            () = stop.cancelled() => break,
            socket = listener.accept() => socket,
        };
        // A connection that ended before it was accepted is its client's affair.
        let Ok(socket) = socket else { continue };
        let (shared, stop) = (Arc::clone(&shared), stop.clone());
        connections.spawn(async move {
            let reset = Arc::new(AtomicBool::new(false));
            let io = TokioIo::new(Connection { socket, reset: Arc::clone(&reset) });
            let service = service_fn(move |request| {
                let (shared, reset) = (Arc::clone(&shared), Arc::clone(&reset));
                async move { handle(request, &shared).await.inspect_err(|_| reset.store(true, Ordering::Relaxed)) }
            });
            tokio::select! {
                () = stop.cancelled() => {}
                // Broken connections are part of what is played here.
                _ = http1::Builder::new().serve_connection(io, service) => {}
            }
        });
    }
    connections.close();
    connections.wait().await;
}

async fn handle(request: Request<Incoming>, shared: &Arc<Shared>) -> Result<Response<Body>, ResetWanted> {
    let (parts, body) = request.into_parts();
    let Ok(body) = Limited::new(body, LARGEST_BODY).collect().await else {
        return Ok(error_response(&ErrorAnswer::new(413, "the request is larger than the fake model reads")));
    };
    let raw = body.to_bytes();
    let recorded = RecordedRequest {
        method: parts.method.to_string(),
        path: parts.uri.path_and_query().map_or_else(|| "/".to_owned(), ToString::to_string),
        headers: parts.headers,
        body: serde_json::from_slice(&raw).unwrap_or_default(),
    };
    let is_message = recorded.is_message();
    // Counted together with the record, so that who sees the request does not find the server idle.
    let in_flight = is_message.then(|| InFlight(Arc::clone(shared)));
    shared.change(|state| {
        state.in_flight += usize::from(is_message);
        state.requests.push(recorded.clone());
    });
    if let Some(in_flight) = in_flight {
        return message(&recorded, in_flight).await;
    }
    if parts.uri.path() == "/v1/oauth/token" {
        let renewed = shared.change(|state| state.login.as_mut().map(|login| login.renew(&recorded.body)));
        return Ok(match renewed {
            Some(Answer::Json(login)) => json_response(&login),
            Some(Answer::Error(error)) => error_response(&error),
            _ => error_response(&ErrorAnswer::new(404, "there is no login here")),
        });
    }
    Ok(match (&parts.method, parts.uri.path()) {
        (&Method::HEAD, _) | (_, "/") => json_response(&json!({})),
        (_, "/v1/messages/count_tokens") => json_response(&json!({"input_tokens": (raw.len() / 4).max(1)})),
        (_, "/v1/models") => json_response(&json!({
            "data": [{"type": "model", "id": "claude-sonnet-4-5", "display_name": "Fake",
                      "created_at": "2025-01-01T00:00:00Z"}],
            "has_more": false, "first_id": null, "last_id": null,
        })),
        (_, path) => error_response(&ErrorAnswer::new(404, &format!("not found: {path}"))),
    })
}

async fn message(request: &RecordedRequest, in_flight: InFlight) -> Result<Response<Body>, ResetWanted> {
    let shared = &in_flight.0;
    if let Some(key) = &shared.options.require_key {
        let bearer = request.header("authorization").and_then(|value| value.strip_prefix("Bearer "));
        if request.header("x-api-key") != Some(key) && bearer != Some(key) {
            return Ok(error_response(&ErrorAnswer::new(401, "invalid x-api-key")));
        }
    }
    let access = shared.state().login.as_ref().map(|login| login.access.clone());
    if let Some(access) = access
        && request.header("authorization") != Some(&format!("Bearer {access}"))
    {
        return Ok(error_response(&ErrorAnswer::new(401, "OAuth token has expired")));
    }
    let mut step = match due(shared, &request.body) {
        Ok(step) => step,
        Err(sentence) => return Ok(error_response(&ErrorAnswer::new(400, &sentence))),
    };
    if !step.says_something() {
        step.text = Some(shared.options.default_text.clone());
    }
    tokio::time::sleep(wait(step.delay)).await;
    for name in &step.holds {
        shared.hold(name).await;
    }
    match answer(&step, &request.body) {
        Answer::Json(message) => Ok(json_response(&message)),
        Answer::Error(error) => Ok(error_response(&error)),
        Answer::Stream(actions) => Ok(stream_response(actions, in_flight)),
        Answer::Reset => Err(ResetWanted),
    }
}

/// Decides which step is played: a forced one, else the script's, else one that says the default text.
fn due(shared: &Shared, body: &Value) -> Result<Step, String> {
    let mut state = shared.state();
    if let Some((times, step)) = &mut state.forced
        && *times != 0
    {
        *times -= 1;
        return Ok(step.clone());
    }
    let messages = body["messages"].as_array().map_or(&[][..], Vec::as_slice);
    let Some(script) = Script::find(messages)? else { return Ok(Step::default()) };
    let session = session(body);
    let times_seen = |index: usize| {
        let seen = state.times_seen.entry(format!("{session}#{index}#{}", script.key)).or_default();
        *seen += 1;
        *seen
    };
    Ok(script.due(times_seen).cloned().unwrap_or_default())
}

/// Returns what tells one client's session from another's; empty when the request does not say.
fn session(body: &Value) -> String {
    let user = body["metadata"]["user_id"].as_str().unwrap_or_default();
    match serde_json::from_str::<Value>(user) {
        Ok(value) => value["session_id"].as_str().unwrap_or(user).to_owned(),
        Err(_) => user.to_owned(),
    }
}

fn full(text: String) -> Body {
    Full::new(Bytes::from(text)).map_err(|never: Infallible| match never {}).boxed_unsync()
}

fn response(status: u16, content_type: &'static str, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, header::HeaderValue::from_static(content_type));
    headers.insert("request-id", header::HeaderValue::from_static("req_fake"));
    response
}

fn json_response(body: &Value) -> Response<Body> {
    response(200, "application/json", full(body.to_string()))
}

fn error_response(error: &ErrorAnswer) -> Response<Body> {
    let mut response = response(error.status, error.content_type, full(error.body.clone()));
    for (name, value) in &error.headers {
        if let (Ok(name), Ok(value)) =
            (name.parse::<header::HeaderName>(), header::HeaderValue::from_str(value))
        {
            response.headers_mut().insert(name, value);
        }
    }
    response
}

fn stream_response(actions: Vec<Action>, in_flight: InFlight) -> Response<Body> {
    let play = stream::unfold((actions.into_iter(), in_flight), |(mut actions, in_flight)| async move {
        loop {
            let item = match actions.next()? {
                Action::Send(bytes) => Ok(Frame::data(bytes)),
                Action::Abort => Err(io::Error::from(io::ErrorKind::ConnectionAborted)),
                Action::Sleep(duration) => {
                    tokio::time::sleep(duration).await;
                    continue;
                }
                Action::Hold(name) => {
                    in_flight.0.hold(&name).await;
                    continue;
                }
            };
            // The connection sends what it has when the body is not ready: so each event leaves before the next is made.
            tokio::task::yield_now().await;
            return Some((item, (actions, in_flight)));
        }
    });
    let mut response =
        response(200, "text/event-stream; charset=utf-8", StreamBody::new(play).boxed_unsync());
    response.headers_mut().insert(header::CACHE_CONTROL, header::HeaderValue::from_static("no-cache"));
    response
}

/// Counts a call for a message as under way until its answer was sent or its client has gone.
struct InFlight(Arc<Shared>);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.change(|state| state.in_flight = state.in_flight.saturating_sub(1));
    }
}

enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// A socket that is reset, not closed, when the script wants it so.
struct Connection {
    socket: Socket,
    reset: Arc<AtomicBool>,
}

impl Drop for Connection {
    fn drop(&mut self) {
        if let Socket::Tcp(stream) = &self.socket
            && self.reset.load(Ordering::Relaxed)
        {
            // Fails only when the connection is gone already, which is what is wanted.
            drop(stream.set_zero_linger());
        }
    }
}

impl AsyncRead for Connection {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().socket {
            Socket::Tcp(stream) => Pin::new(stream).poll_read(cx, buf),
            Socket::Unix(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Connection {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.get_mut().socket {
            Socket::Tcp(stream) => Pin::new(stream).poll_write(cx, buf),
            Socket::Unix(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().socket {
            Socket::Tcp(stream) => Pin::new(stream).poll_flush(cx),
            Socket::Unix(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let connection = self.get_mut();
        if connection.reset.load(Ordering::Relaxed) {
            // An orderly end would reach the client before the reset.
            return Poll::Ready(Ok(()));
        }
        match &mut connection.socket {
            Socket::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
            Socket::Unix(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
