//! What everybody does: a durable feed to look back into and to follow.
//!
//! The feed is for people and agents who want to see what goes on. It is written behind what it tells of, many events at
//! a time, so that nobody waits for it; what must never be missing is in the audit trail, whose intents are on disk before
//! their effects.

mod event;
mod hours;
mod list;
mod live;
mod writer;

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use claw_core::{Action, Actor, Clock, Principal, Resource, Scope, Timestamp};
use claw_gate::{Gate, GateError};
use claw_store::{Store, StreamName};
use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

pub use event::{Event, EventKind, EventStatus, NewEvent};
pub use list::{ActivityFilter, ActivityPage, MAX_EVENTS};
pub use live::{Feed, Frame};

use hours::{HOURS, Hours};
use live::Live;
use writer::{Message, Writer};

use crate::HomelabError;

/// Name of the stream.
const STREAM: &str = "activity";

/// Events that wait to be written. Beyond them events are lost, and it is logged.
const QUEUE: usize = 8192;

/// Events of strangers that are written down in a minute, so that nobody without a key pushes out what others did.
const STRANGERS_A_MINUTE: u64 = 60;

/// How long a look back waits for what is being written.
const FLUSH_TIME: Duration = Duration::from_secs(2);

/// Who is told of for callers without a credential.
pub const UNAUTHENTICATED: &str = "unauthenticated";

/// Who is told of for callers with a wrong credential.
pub const INVALID_KEY: &str = "invalid-key";

/// The feed. Cheap to clone; clones share everything.
#[derive(Clone)]
pub struct Activity {
    shared: Arc<Shared>,
}

struct Shared {
    gate: Gate,
    store: Store,
    stream: StreamName,
    clock: Arc<dyn Clock>,
    keep: u64,
    queue: mpsc::Sender<Message>,
    live: Arc<Live>,
    hours: Arc<Mutex<Hours>>,
    strangers: Mutex<Strangers>,
    lost: AtomicU64,
}

/// How many events strangers caused in this minute.
#[derive(Default)]
struct Strangers {
    minute: i64,
    events: u64,
}

/// A request to the homelab's API, as the server saw it.
#[derive(Clone, Debug, PartialEq)]
pub struct ApiCall {
    /// Who, for people; see [`UNAUTHENTICATED`] and [`INVALID_KEY`].
    pub agent: String,
    /// Who, exactly; empty for strangers.
    pub actor: String,
    /// The HTTP method.
    pub method: String,
    /// The path without the query.
    pub path: String,
    /// Status of the answer.
    pub status_code: u16,
    /// How long it took.
    pub took: Duration,
    /// The error's code, if it was one.
    pub code: Option<String>,
    /// The scope that was missing, if one was.
    pub scope: Option<Scope>,
}

/// What goes on, in numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ActivityCounts {
    /// Requests in each of the last 24 hours, the oldest first, this hour last.
    pub requests_by_hour: [u64; HOURS],
    /// Images pulled in these hours.
    pub pulls: u64,
}

impl Activity {
    /// Begins to write and to follow the feed, on `tasks` and until `stop`; keeps the newest `keep` events.
    pub(crate) fn start(
        gate: Gate,
        store: Store,
        clock: Arc<dyn Clock>,
        keep: u64,
        tasks: &TaskTracker,
        stop: &CancellationToken,
    ) -> Self {
        let (queue, messages) = mpsc::channel(QUEUE);
        let stream = StreamName::stored(STREAM);
        let (live, hours) = (Live::new(), Arc::<Mutex<Hours>>::default());
        let writer = Writer {
            store: store.clone(),
            stream: stream.clone(),
            clock: Arc::clone(&clock),
            keep,
            hours: Arc::clone(&hours),
        };
        tasks.spawn(writer.run(messages, stop.clone()));
        tasks.spawn(Arc::clone(&live).follow(store.clone(), stream.clone(), stop.clone()));
        let strangers = Mutex::default();
        let lost = AtomicU64::new(0);
        Self {
            shared: Arc::new(Shared {
                gate,
                store,
                stream,
                clock,
                keep,
                queue,
                live,
                hours,
                strangers,
                lost,
            }),
        }
    }

    /// Notes an event. Never waits.
    pub fn record(&self, event: NewEvent) {
        let event = event.at(self.shared.clock.now());
        self.send(Message::Event(Box::new(event)));
    }

    fn send(&self, message: Message) {
        if self.shared.queue.try_send(message).is_err() {
            // Relaxed: the number alone counts.
            let lost = self.shared.lost.fetch_add(1, Ordering::Relaxed) + 1;
            if lost.is_power_of_two() {
                tracing::warn!(
                    lost,
                    "events are missing from the activity feed: more happen than can be written"
                );
            }
        }
    }

    /// Notes what `actor` did.
    pub async fn note(
        &self,
        actor: &Actor,
        kind: EventKind,
        action: &str,
        target: &str,
        status: EventStatus,
        details: Option<Value>,
    ) {
        self.record(NewEvent {
            kind,
            action: action.to_owned(),
            target: target.to_owned(),
            status,
            agent: self.agent(actor).await,
            actor: actor.owner(),
            details,
            scope: None,
        });
    }

    /// Returns how the feed calls somebody.
    pub(crate) async fn agent(&self, actor: &Actor) -> String {
        match &actor.principal {
            Principal::Key(_) => match self.shared.gate.own_key(actor).await {
                Ok(meta) if !meta.key_prefix.is_empty() => meta.key_prefix,
                Ok(_) | Err(_) => "unknown".to_owned(),
            },
            Principal::User(_) | Principal::Token | Principal::System => actor.owner(),
        }
    }

    /// Notes a request.
    pub fn api_call(&self, call: ApiCall) {
        let ApiCall { agent, actor, method, path, status_code, took, code, scope } = call;
        if actor.is_empty() && !self.stranger_may_be_told_of() {
            return self.send(Message::Count);
        }
        let status = match status_code {
            200..=299 => EventStatus::Success,
            400..=499 => EventStatus::ClientError,
            500..=599 => EventStatus::ServerError,
            _ => EventStatus::Unknown,
        };
        let mut details = json!({ "status_code": status_code, "duration_ms": u64::try_from(took.as_millis()).unwrap_or(u64::MAX) });
        if let Some(code) = code {
            details["code"] = code.into();
        }
        self.record(NewEvent {
            kind: EventKind::ApiCall,
            action: method,
            target: path,
            status,
            agent,
            actor,
            details: Some(details),
            scope: scope.map(|scope| scope.as_str().to_owned()),
        });
    }

    fn stranger_may_be_told_of(&self) -> bool {
        let minute = self.shared.clock.now().as_second().div_euclid(60);
        let mut strangers = self.shared.strangers.lock().unwrap_or_else(PoisonError::into_inner);
        if strangers.minute != minute {
            *strangers = Strangers { minute, events: 0 };
        }
        strangers.events += 1;
        strangers.events <= STRANGERS_A_MINUTE
    }

    /// Lists events, the oldest first.
    ///
    /// # Errors
    ///
    /// The gate's refusal, or why the store cannot be read.
    pub async fn list(&self, actor: &Actor, filter: &ActivityFilter) -> Result<ActivityPage, HomelabError> {
        self.shared.gate.permit(actor, Action::ActivityRead, &Resource::Any)?;
        self.settled().await;
        Ok(list::list(&self.shared.store, &self.shared.stream, filter, self.shared.keep + QUEUE as u64)
            .await?)
    }

    /// Follows the feed: from after event `after` on, or what happens from now on.
    ///
    /// # Errors
    ///
    /// The gate's refusal, or why the store cannot be read.
    pub async fn follow(&self, actor: &Actor, after: Option<u64>) -> Result<Feed, HomelabError> {
        self.shared.gate.permit(actor, Action::ActivityRead, &Resource::Any)?;
        if after.is_none() {
            // What is being written is of before.
            self.settled().await;
        }
        let shared = &self.shared;
        let (store, stream, live) = (shared.store.clone(), shared.stream.clone(), Arc::clone(&shared.live));
        Ok(Feed::begin(store, stream, live, after).await?)
    }

    /// Returns how many follow the feed now.
    pub fn viewers(&self) -> usize {
        self.shared.live.viewers()
    }

    /// Returns how many requests and pulls there were in the last 24 hours.
    ///
    /// # Errors
    ///
    /// The gate's refusal.
    pub fn counts(&self, actor: &Actor) -> Result<ActivityCounts, GateError> {
        self.shared.gate.permit(actor, Action::ActivityRead, &Resource::Any)?;
        let now: Timestamp = self.shared.clock.now();
        let hours = self.shared.hours.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(ActivityCounts { requests_by_hour: hours.requests(now), pulls: hours.pulls(now) })
    }

    /// Waits, not for long, until everything noted before is written down.
    pub async fn settled(&self) {
        let (done, written) = oneshot::channel();
        let wait = async {
            if self.shared.queue.send(Message::Flush(done)).await.is_ok() {
                // Gone means that the server stops, after it has written everything.
                let _ = written.await;
            }
        };
        // A slow disk must not keep somebody from looking back.
        let _ = tokio::time::timeout(FLUSH_TIME, wait).await;
    }
}
