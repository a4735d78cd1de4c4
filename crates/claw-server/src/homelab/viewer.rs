//! What everybody does: as it happens, over a socket.
//!
//! One task of the feed reads the store for all viewers; each of them sends what it has not sent yet. A viewer that takes
//! nothing is dropped by its connection's patience, and keeps nobody else waiting.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use axum::{
    extract::{
        FromRequestParts, State,
        ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade, close_code},
    },
    http::request::Parts,
    response::Response,
};
use claw_core::{Action, ErrorCode, Secret};
use claw_gate::{Credential, GateError};
use claw_homelab::{Feed, Frame};
use futures_util::{SinkExt as _, StreamExt as _, stream::SplitSink};
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep, timeout};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::view::Envelope;
use crate::{
    app::Server,
    error::{ApiError, ApiResult},
    extract::{self, Caller, Connection, Query},
    measures::Counted,
    tickets::TICKET_TIME,
};

/// Pause between signs of life.
const PING_EVERY: Duration = Duration::from_secs(20);

/// How long nothing may come back, not even the answer to a sign of life.
const SILENCE: Duration = Duration::from_secs(60);

/// Pause between looks at whether the credential is still good.
const RECHECK: Duration = Duration::from_secs(30);

/// Largest message of a viewer, in bytes: nothing they say is read.
const MAX_MESSAGE_BYTES: usize = 4096;

/// Bytes of the buffers of one viewer, for what comes and for what goes. Memory grows with the number of viewers by these.
const READ_BUFFER_BYTES: usize = 1024;
const WRITE_BUFFER_BYTES: usize = 8 * 1024;

/// Shortest time between two batches to one viewer, so that a busy feed costs a bounded number of small writes.
const PACE: Duration = Duration::from_millis(50);

/// Viewers are woken one after the other within this time, so that many of them do not hold up what others ask.
const SPREAD_MS: u64 = 40;

/// How long a farewell may take.
const FAREWELL: Duration = Duration::from_secs(1);

/// What a viewer that found no room is told to wait.
const NO_ROOM_WAIT: Duration = Duration::from_secs(5);

pub(super) fn routes() -> OpenApiRouter<Server> {
    OpenApiRouter::default().routes(routes!(create_socket_ticket)).routes(routes!(follow_activity))
}

/// A ticket with which a browser opens a socket.
#[derive(Serialize, ToSchema)]
struct TicketView {
    /// For `?ticket=`, once.
    ticket: String,
    /// Seconds for which it is good.
    expires_in: u64,
}

/// Get a ticket for the socket
///
/// Browsers can set no header on a socket, and a key in an address ends up in logs. A ticket is good once and for half a
/// minute.
#[utoipa::path(
    post, path = "/api/ws/ticket", tag = "activity",
    responses((status = 200, description = "The ticket.", body = Envelope<TicketView>)),
    extensions(("x-scope" = json!("system:read"))),
)]
async fn create_socket_ticket(
    caller: Caller,
    State(server): State<Server>,
) -> ApiResult<Envelope<TicketView>> {
    server.gate().permit(&caller, Action::ActivityRead, &claw_core::Resource::Any)?;
    let ticket = server.tickets().issue(caller).ok_or_else(no_room)?;
    Ok(Envelope::of(TicketView { ticket, expires_in: TICKET_TIME.as_secs() }))
}

fn no_room() -> ApiError {
    ApiError::new(ErrorCode::RateLimited, "too many follow the activity already: try again soon")
        .after(NO_ROOM_WAIT)
}

/// How to follow.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct FollowQuery {
    /// Begin after this place in the feed (`seq` of an event); without it, with what happens from now on.
    after: Option<u64>,
    /// A ticket, where no header can be set.
    #[expect(dead_code, reason = "read by `Viewer`, named here for the API's description")]
    ticket: Option<String>,
    /// A key, for clients that know no better: addresses end up in logs.
    #[expect(dead_code, reason = "read by `Viewer`, named here for the API's description")]
    key: Option<String>,
}

/// Whoever opens a socket: by a header like everywhere, or by what stands in the address.
struct Viewer(Caller);

/// What may stand in the address.
#[derive(Deserialize)]
struct AddressCredential {
    ticket: Option<String>,
    key: Option<String>,
}

impl FromRequestParts<Server> for Viewer {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, server: &Server) -> ApiResult<Self> {
        let in_headers = extract::credential(&parts.headers, server.config().secure_cookies)?;
        if !matches!(in_headers, Credential::None) {
            return Ok(Self(Caller::admit(in_headers, parts, server).await?));
        }
        let Query(AddressCredential { ticket, key }) = Query::from_request_parts(parts, server).await?;
        if let Some(ticket) = ticket {
            let holder = server.tickets().redeem(&ticket).ok_or(GateError::InvalidKey)?;
            // A key may have been revoked since.
            return Ok(Self(Caller::admit(holder.into_credential(), parts, server).await?));
        }
        let credential = key.map_or(Credential::None, |key| Credential::ApiKey(Secret::new(key)));
        Ok(Self(Caller::admit(credential, parts, server).await?))
    }
}

/// Follow what everybody does
///
/// A WebSocket: each message is one event as JSON, with its `seq`. What is sent to it is not read. It ends when the
/// credential does.
#[utoipa::path(
    get, path = "/api/ws/activity", tag = "activity",
    params(FollowQuery),
    responses(
        (status = 101, description = "The socket."),
        (status = 400, description = "`INVALID_REQUEST`: not a WebSocket."),
    ),
    extensions(("x-scope" = json!("system:read"))),
)]
async fn follow_activity(
    Viewer(caller): Viewer,
    connection: Connection,
    State(server): State<Server>,
    Query(query): Query<FollowQuery>,
    upgrade: Result<WebSocketUpgrade, axum::extract::ws::rejection::WebSocketUpgradeRejection>,
) -> ApiResult<Response> {
    let feed = server.homelab().activity.follow(&caller, query.after).await?;
    let upgrade = upgrade.map_err(|_rejection| {
        ApiError::invalid(
            "this is a WebSocket: connect with a WebSocket client, or list events at /api/activity",
        )
    })?;
    let room = server.viewers().clone().try_acquire_owned().map_err(|_full| no_room())?;
    let socket_task = connection.sockets.token();
    let response = upgrade
        .read_buffer_size(READ_BUFFER_BYTES)
        .write_buffer_size(WRITE_BUFFER_BYTES)
        .max_message_size(MAX_MESSAGE_BYTES)
        .max_frame_size(MAX_MESSAGE_BYTES)
        .on_failed_upgrade(|error| tracing::debug!(%error, "a socket could not be opened"))
        .on_upgrade(move |socket| async move {
            let _held = (room, socket_task, Counted::new("claw_http_streams"));
            let why = show(socket, feed, caller, &server, &connection).await;
            tracing::debug!(why, "a viewer of the activity is gone");
        });
    Ok(response)
}

/// Sends what happens until somebody or something ends it, and returns what.
async fn show(
    socket: WebSocket,
    mut feed: Feed,
    caller: Caller,
    server: &Server,
    connection: &Connection,
) -> &'static str {
    static VIEWERS: AtomicU64 = AtomicU64::new(0);
    // Relaxed: any spread will do.
    let turn = Duration::from_millis(VIEWERS.fetch_add(1, Ordering::Relaxed) % SPREAD_MS);
    let (mut sink, mut source) = socket.split();
    let mut watch = server.gate().watch(&caller, Action::ActivityRead);
    let ended = watch.ended();
    tokio::pin!(ended);
    let tick = |period| {
        let mut interval = interval_at(Instant::now() + period, period);
        interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
        interval
    };
    let (mut ping, mut recheck) = (tick(PING_EVERY), tick(RECHECK));
    let mut heard = Instant::now();
    let mut rest = Duration::ZERO;
    loop {
        let batch = async {
            sleep(rest).await;
            feed.ready().await;
            sleep(turn).await;
            feed.next().await
        };
        tokio::select! {
            biased;
            () = connection.stop.cancelled() => {
                return farewell(sink, close_code::AWAY, "the server stops").await;
            }
            _reason = &mut ended => {
                return farewell(sink, close_code::POLICY, "the credential is no longer good").await;
            }
            _ = recheck.tick() => {
                if !caller.is_unchanged(server.gate()).await {
                    return farewell(sink, close_code::POLICY, "the credential was changed").await;
                }
            }
            message = source.next() => match message {
                // Read so that signs of life are answered, and for nothing else.
                Some(Ok(Message::Close(_))) | None => return "it closed the socket",
                Some(Ok(_)) => heard = Instant::now(),
                Some(Err(_)) => return "its connection broke",
            },
            _ = ping.tick() => {
                if heard.elapsed() > SILENCE {
                    return "it gave no sign of life";
                }
                if sink.send(Message::Ping(Default::default())).await.is_err() {
                    return "its connection broke";
                }
            }
            frames = batch => {
                rest = PACE;
                match frames {
                    Ok(frames) => if send(&mut sink, frames).await.is_err() {
                        return "it took nothing, or its connection broke";
                    },
                    Err(error) => {
                        tracing::warn!(%error, "a viewer of the activity waits for the store");
                        return farewell(sink, close_code::ERROR, "the store does not answer").await;
                    }
                }
            }
        }
    }
}

async fn send(sink: &mut SplitSink<WebSocket, Message>, frames: Vec<Frame>) -> Result<(), axum::Error> {
    for frame in frames {
        sink.feed(Message::Text((&*frame.text).into())).await?;
    }
    sink.flush().await
}

/// Says why it is over, if somebody still listens.
async fn farewell(mut sink: SplitSink<WebSocket, Message>, code: u16, why: &'static str) -> &'static str {
    let close = Message::Close(Some(CloseFrame { code, reason: why.into() }));
    // Whoever does not take it will see that the connection ends.
    let _ = timeout(FAREWELL, sink.send(close)).await;
    why
}
