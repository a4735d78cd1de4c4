//! Server-sent events: resumable, kept alive, ended with the server or the credential.
//!
//! Nothing is buffered here: the next event is asked for when the connection has taken the one before, so a slow
//! reader slows its own stream only.

use std::{convert::Infallible, pin::Pin, time::Duration};

use axum::{
    body::{Body, Bytes},
    http::{HeaderName, HeaderValue, header},
    response::{IntoResponse, Response},
};
use claw_core::{Action, ErrorCode};
use claw_gate::Gate;
use futures_util::{Stream, StreamExt as _, stream};
use tokio::{
    sync::{OwnedSemaphorePermit, watch},
    time::{Instant, Interval, MissedTickBehavior, interval_at},
};
use tokio_util::sync::CancellationToken;

use crate::{
    app::Server,
    error::{ApiError, ApiResult},
    extract::{Caller, Connection},
    measures::Counted,
    rooms::Room,
};

/// Pause between signs of life.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// Pause between looks at whether the credential is still good.
const RECHECK: Duration = Duration::from_secs(30);

/// What browsers are told to wait before they reconnect.
const RETRY_MS: u32 = 2000;

/// What a client that found no room is told to wait.
const NO_ROOM_WAIT: Duration = Duration::from_secs(5);

/// One event.
pub(crate) struct Event {
    /// Its name.
    pub(crate) name: &'static str,
    /// Its place in the stream, for resuming after it.
    pub(crate) id: Option<u64>,
    /// Its content. Line breaks of every kind arrive as `\n`: the format knows no other.
    pub(crate) data: String,
}

impl Event {
    fn encode(&self) -> Bytes {
        let mut text = String::with_capacity(self.data.len() + 64);
        text.push_str("event: ");
        text.push_str(self.name);
        text.push('\n');
        if let Some(id) = self.id {
            text.push_str(&format!("id: {id}\n"));
        }
        for line in self.data.split('\n').flat_map(|line| line.strip_suffix('\r').unwrap_or(line).split('\r'))
        {
            text.push_str("data: ");
            text.push_str(line);
            text.push('\n');
        }
        text.push('\n');
        text.into()
    }
}

type Events = Pin<Box<dyn Stream<Item = ApiResult<Event>> + Send>>;

struct Live {
    greeting: Option<Bytes>,
    events: Events,
    keep_alive: Interval,
    recheck: Interval,
    stop: CancellationToken,
    /// Somebody's credential changed, perhaps the caller's.
    changes: watch::Receiver<u64>,
    caller: Caller,
    gate: Gate,
    /// Ends when the caller may no longer follow. One future for the whole stream: each new one looks into the store.
    ended: Pin<Box<dyn Future<Output = ()> + Send>>,
    _room: (OwnedSemaphorePermit, Room<String>, Counted),
}

/// Answers with a stream of events, until they end, the server stops, or the caller's credential changes.
///
/// # Errors
///
/// Too many streams are open.
pub(crate) fn respond(
    server: &Server,
    connection: Connection,
    caller: Caller,
    action: Action,
    events: impl Stream<Item = ApiResult<Event>> + Send + 'static,
) -> ApiResult<Response> {
    let own = server.streams_of().enter(caller.owner()).ok_or_else(|| {
        let message =
            "you follow as many event streams as one caller may: close some, or follow `/api/v1/events/jobs`";
        ApiError::new(ErrorCode::RateLimited, message).after(NO_ROOM_WAIT)
    })?;
    let room = server.streams().clone().try_acquire_owned().map_err(|_| {
        ApiError::new(ErrorCode::RateLimited, "too many event streams are open: try again soon")
            .after(NO_ROOM_WAIT)
    })?;
    let live = Live {
        greeting: Some(format!("retry: {RETRY_MS}\n\n").into()),
        events: Box::pin(events),
        keep_alive: every(KEEP_ALIVE),
        recheck: every(RECHECK),
        stop: connection.stop,
        ended: {
            let mut watch = server.gate().watch(&caller, action);
            Box::pin(async move {
                let reason = watch.ended().await;
                tracing::debug!(%reason, "an event stream ends with its credential");
            })
        },
        changes: server.gate().changes(),
        caller,
        gate: server.gate().clone(),
        _room: (room, own, Counted::new("claw_http_streams")),
    };
    let body = stream::unfold(live, |mut live| async move {
        let bytes = live.next().await?;
        Some((Ok::<_, Infallible>(bytes), live))
    });
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream")),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-cache, no-store")),
        // Proxies must pass each event on at once.
        (HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no")),
    ];
    Ok((headers, Body::from_stream(body)).into_response())
}

fn every(period: Duration) -> Interval {
    let mut interval = interval_at(Instant::now() + period, period);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    interval
}

impl Live {
    async fn next(&mut self) -> Option<Bytes> {
        if let Some(greeting) = self.greeting.take() {
            return Some(greeting);
        }
        loop {
            tokio::select! {
                biased;
                () = self.stop.cancelled() => return None,
                // At once when the key is revoked, the session ends or the scope is gone.
                () = &mut self.ended => return None,
                () = changed(&mut self.changes, &mut self.recheck) => {
                    // A client whose key was merely changed reconnects and sees what it may see now.
                    if !self.caller.is_unchanged(&self.gate).await {
                        return None;
                    }
                }
                event = self.events.next() => {
                    self.keep_alive.reset();
                    return match event {
                        Some(Ok(event)) => Some(event.encode()),
                        Some(Err(error)) => {
                            // The client goes on after the last event it saw.
                            tracing::warn!(code = error.code().as_str(), error = error.message(), "an event stream ended early");
                            None
                        }
                        None => None,
                    };
                }
                _ = self.keep_alive.tick() => return Some(Bytes::from_static(b": keep-alive\n\n")),
            }
        }
    }
}

/// Returns when the caller's credential may have changed.
async fn changed(changes: &mut watch::Receiver<u64>, recheck: &mut Interval) {
    tokio::select! {
        changed = changes.changed() => {
            if changed.is_err() {
                // The gate is gone, and with it the server: its end is told otherwise.
                std::future::pending::<()>().await;
            }
        }
        _ = recheck.tick() => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_line_break_in_the_data_can_end_an_event_or_forge_a_field() {
        let event = Event { name: "log", id: Some(7), data: "a\r\nb\revent: end\nid: 9\n\nc".into() };

        let bytes = event.encode();

        let expected =
            "event: log\nid: 7\ndata: a\ndata: b\ndata: event: end\ndata: id: 9\ndata: \ndata: c\n\n";
        assert_eq!(std::str::from_utf8(&bytes), Ok(expected));
    }
}
