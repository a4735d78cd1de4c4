//! `/mcp`: the tools of `claw-mcp` for whoever holds a key, without a second process.
//!
//! A tool calls the REST API, here by the router in this process: the gate, the audit trail, limits and scopes are those
//! of any other request, and the address it came from is the client's.

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    http::{self, request::Parts},
    response::{IntoResponse as _, Response},
    routing::any,
};
use bytes::Bytes;
use claw_client::{Client, InProcess, KeyMeta};
use claw_core::{Actor, ErrorCode, Scope};
use claw_gate::{Credential, Gate};
use claw_mcp::{
    Admission, Admitted, Host, Hosts, McpService, Options, Owner, PerRequest,
    http::{HttpLimits, HttpService, StreamRoom, StreamRooms},
};
use futures_util::{
    FutureExt as _, StreamExt as _,
    future::BoxFuture,
    stream::{self, BoxStream},
};
use http_body_util::BodyExt as _;
use hyper::body::Body as _;
use tokio::{sync::watch, time::timeout};
use tokio_util::sync::{CancellationToken, DropGuard};
use tower::ServiceExt as _;

use crate::{
    app::{MAX_BODY_BYTES, Server},
    error::{ApiError, ApiResult},
    extract::{Caller, Connection, credential},
    measures::Counted,
};

/// Sessions of one caller at the same time, of 256 in all.
const SESSIONS_EACH: usize = 64;

/// How often somebody who listens is looked at without a sign that something changed: keys expire.
const LOOK_AGAIN: Duration = Duration::from_secs(30);

/// What the client of a server in process calls it. It is never resolved.
const HERE: &str = "http://127.0.0.1";

/// What answers at `/mcp`.
#[derive(Clone)]
struct Mcp {
    server: Server,
    /// The routes that tools call.
    api: Router,
    /// Without a credential.
    client: Option<Client>,
    service: HttpService<McpService<PerRequest>>,
    /// Ends sessions when nobody can reach them any more.
    _end: Arc<DropGuard>,
}

/// Returns the route, over those that tools call.
pub(crate) fn routes(server: &Server, api: Router) -> Router<Server> {
    let end = CancellationToken::new();
    let version = server.config().version.clone();
    let tools = McpService::new(PerRequest, Options { version, ..Options::default() });
    let limits =
        HttpLimits { body_bytes: MAX_BODY_BYTES, sessions_each: SESSIONS_EACH, ..HttpLimits::default() };
    let service = HttpService::new(move || tools.for_session(), limits, end.clone());
    let client = HERE.parse().ok().and_then(|here| {
        Client::new(here, None).inspect_err(|error| tracing::error!(%error, "`/mcp` cannot be offered")).ok()
    });
    let mcp = Mcp { server: server.clone(), api, client, service, _end: Arc::new(end.drop_guard()) };
    let mcp = Router::new().route("/mcp", any(answer)).with_state(mcp);
    Router::new().merge(mcp)
}

async fn answer(State(mcp): State<Mcp>, request: Request) -> Response {
    let (mut parts, body) = request.into_parts();
    match mcp.admit(&mut parts).await {
        Ok(()) => mcp.service.answer(http::Request::from_parts(parts, body)).await.map(Body::new),
        Err(error) => error.into_response(),
    }
}

impl Mcp {
    /// Lets a request in that carries a key, and notes with it what the key may do.
    async fn admit(&self, parts: &mut Parts) -> ApiResult<()> {
        let found = match credential(&parts.headers, self.server.config().secure_cookies)? {
            // Sessions are for pages; programs come with a key.
            Credential::Session(_) => Credential::None,
            found => found,
        };
        let caller = Caller::admit(found.clone(), parts, &self.server).await?;
        let (Some(client), Credential::ApiKey(secret) | Credential::Bearer(secret)) = (&self.client, &found)
        else {
            return Err(ApiError::new(ErrorCode::ApiKeyRequired, "send an API key as bearer token"));
        };
        let connection = Connection::of(parts);
        let owner = caller.owner();
        let inside = Inside { api: self.api.clone(), connection: connection.clone() };
        let credential = claw_client::Credential::new(secret.expose());
        let client = client
            .with_credential(Some(credential))
            .map_err(|_unsendable| ApiError::new(ErrorCode::InvalidKey, "the API key is not valid"))?
            .answered_by(Arc::new(inside));
        let sender = Sender {
            gate: self.server.gate().clone(),
            credential: found,
            connection,
            client,
            admitted: hosts_slot(&caller),
        };
        let sender = Arc::new(sender);
        parts.extensions.insert(self.rooms(&owner, &sender));
        parts.extensions.insert(Owner::new(owner));
        parts.extensions.insert(Admitted(sender));
        Ok(())
    }

    /// Streams that stay open count among the caller's others, and end with the key or the server.
    fn rooms(&self, owner: &str, sender: &Arc<Sender>) -> StreamRooms {
        let (server, owner, sender) = (self.server.clone(), owner.to_owned(), Arc::clone(sender));
        StreamRooms::new(move || {
            let own = server.streams_of().enter(owner.clone())?;
            let room = Arc::clone(server.streams()).try_acquire_owned().ok()?;
            let (sender, stop) = (Arc::clone(&sender), sender.connection.stop.clone());
            let ended = async move {
                tokio::select! {
                    () = stop.cancelled() => {}
                    () = sender.locked_out() => {}
                }
            };
            Some(StreamRoom {
                place: Box::new((own, room, Counted::new("claw_http_streams"))),
                ended: ended.boxed(),
            })
        })
    }
}

/// Whoever sent a request, to be looked at again while it is answered.
struct Sender {
    gate: Gate,
    credential: Credential,
    connection: Connection,
    client: Client,
    /// As they were when the request was let in, for its first look.
    admitted: std::sync::Mutex<Option<Actor>>,
}

fn hosts_slot(caller: &Caller) -> std::sync::Mutex<Option<Actor>> {
    std::sync::Mutex::new(Some((**caller).clone()))
}

impl Sender {
    async fn now(&self) -> Option<Actor> {
        let admitted = self.admitted.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take();
        match admitted {
            Some(actor) => Some(actor),
            // No answer from the store means no access.
            None => self.gate.authenticate(self.credential.clone(), self.connection.client).await.ok(),
        }
    }

    /// Returns when they would not be let in any more.
    async fn locked_out(&self) {
        let mut changes = self.gate.changes();
        loop {
            // Before the look, so that a change during it is not missed.
            changes.mark_unchanged();
            if self.gate.authenticate(self.credential.clone(), self.connection.client).await.is_err() {
                return;
            }
            // Elapsed is as good as a change: both mean "look again".
            let _ = timeout(LOOK_AGAIN, changes.changed()).await;
        }
    }
}

impl Admission for Sender {
    fn hosts(&self) -> BoxFuture<'_, Option<Arc<Hosts>>> {
        Box::pin(async {
            let actor = self.now().await?;
            let host = Host::new("", "", self.client.clone()).known(meta(&actor));
            Some(Arc::new(Hosts::single(host)))
        })
    }

    fn changes(&self) -> BoxStream<'static, ()> {
        changes(self.gate.changes())
    }
}

fn changes(receiver: watch::Receiver<u64>) -> BoxStream<'static, ()> {
    stream::unfold(receiver, |mut receiver| async {
        receiver.changed().await.ok()?;
        Some(((), receiver))
    })
    .boxed()
}

/// What tools need to know of a key.
fn meta(actor: &Actor) -> KeyMeta {
    KeyMeta {
        label: actor.label.clone(),
        scopes: Scope::ALL
            .iter()
            .filter(|scope| actor.holds(**scope))
            .map(|scope| scope.as_str().to_owned())
            .collect(),
        ..KeyMeta::default()
    }
}

/// The routes in this process, for one client.
struct Inside {
    api: Router,
    connection: Connection,
}

impl InProcess for Inside {
    fn answer(&self, mut request: http::Request<Bytes>) -> BoxFuture<'_, http::Response<claw_client::Body>> {
        request.extensions_mut().insert(self.connection.clone());
        Box::pin(async move {
            let answered = self.api.clone().oneshot(request.map(Body::from)).await;
            let (parts, body) = answered.unwrap_or_else(|never| match never {}).into_parts();
            let body = if body.size_hint().exact().is_some() {
                // It is whole already.
                body.collect().await.map(|whole| whole.to_bytes().into()).unwrap_or_default()
            } else {
                claw_client::Body::wrap_stream(body.into_data_stream())
            };
            http::Response::from_parts(parts, body)
        })
    }
}
