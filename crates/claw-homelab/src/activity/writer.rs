//! Writes the feed down, many events at a time.

use std::sync::{Arc, Mutex, PoisonError};

use claw_core::Clock;
use claw_store::{NewDocument, Precondition, Store, StreamName};
use tokio::{
    sync::{mpsc, oneshot},
    time::{Duration, MissedTickBehavior},
};
use tokio_util::sync::CancellationToken;

use super::{
    event::{Event, EventKind, EventStatus},
    hours::Hours,
};

/// Events written in one go.
const BATCH: usize = 256;

/// Events beyond those kept before the oldest are removed, so that this is done seldom.
const SLACK: u64 = 500;

/// Pause between two times at which the counts are written down.
const COUNTS_EVERY: Duration = Duration::from_secs(15);

/// Kind and id of the document that holds the counts.
const COUNTS: (&str, &str) = ("activity-hours", "counts");

/// What the writer is told.
pub(super) enum Message {
    /// Write this down.
    Event(Box<Event>),
    /// Count a request that has no event of its own.
    Count,
    /// Tell when everything from before is written down.
    Flush(oneshot::Sender<()>),
}

pub(super) struct Writer {
    pub(super) store: Store,
    pub(super) stream: StreamName,
    pub(super) clock: Arc<dyn Clock>,
    /// Events kept.
    pub(super) keep: u64,
    // A std mutex: held to add a number, never across an await.
    pub(super) hours: Arc<Mutex<Hours>>,
}

impl Writer {
    /// Writes until `stop`, and then what is waiting.
    pub(super) async fn run(self, mut messages: mpsc::Receiver<Message>, stop: CancellationToken) {
        self.load_counts().await;
        let mut tick = tokio::time::interval(COUNTS_EVERY);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut batch = Vec::with_capacity(BATCH);
        let mut written_counts = self.counts();
        let mut trimmed_at = 0;
        loop {
            tokio::select! {
                () = stop.cancelled(), if !messages.is_closed() => messages.close(),
                received = messages.recv_many(&mut batch, BATCH) => {
                    if received == 0 {
                        break;
                    }
                    self.write(&mut batch, &mut trimmed_at).await;
                }
                _ = tick.tick() => self.save_counts(&mut written_counts).await,
            }
        }
        self.save_counts(&mut written_counts).await;
    }

    async fn write(&self, batch: &mut Vec<Message>, trimmed_at: &mut u64) {
        let now = self.clock.now();
        let (mut records, mut waiting) = (Vec::with_capacity(batch.len()), Vec::new());
        {
            let mut hours = self.hours.lock().unwrap_or_else(PoisonError::into_inner);
            for message in batch.drain(..) {
                match message {
                    Message::Event(event) => {
                        match (event.kind, event.status) {
                            (EventKind::ApiCall, _) => hours.request(now),
                            (EventKind::ImagePull, EventStatus::Success) => hours.pull(now),
                            _ => {}
                        }
                        match serde_json::to_vec(&event) {
                            Ok(record) => records.push(record),
                            Err(error) => tracing::error!(%error, "an event cannot be written down"),
                        }
                    }
                    Message::Count => hours.request(now),
                    Message::Flush(done) => waiting.push(done),
                }
            }
        }
        if !records.is_empty() {
            let events = records.len();
            match self.store.streams.append(&self.stream, records, now).await {
                Ok(last) => self.trim(last, trimmed_at).await,
                // The audit trail tells what was done; the feed goes on as soon as there is room.
                Err(error) => tracing::warn!(events, %error, "events are missing from the activity feed"),
            }
        }
        for done in waiting {
            // Whoever asked may have gone.
            let _ = done.send(());
        }
    }

    async fn trim(&self, last: u64, trimmed_at: &mut u64) {
        if last < *trimmed_at + SLACK {
            return;
        }
        *trimmed_at = last;
        if let Some(up_to) = last.checked_sub(self.keep)
            && let Err(error) = self.store.streams.trim(&self.stream, up_to).await
        {
            tracing::warn!(%error, "old events of the activity feed could not be removed");
        }
    }

    fn counts(&self) -> Hours {
        self.hours.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    async fn load_counts(&self) {
        match self.store.documents.get(COUNTS.0, COUNTS.1).await {
            Ok(Some(document)) => {
                // Counts of another version are not worth a failure.
                let stored: Hours = serde_json::from_value(document.value).unwrap_or_default();
                self.hours.lock().unwrap_or_else(PoisonError::into_inner).add(&stored);
            }
            Ok(None) => {}
            Err(error) => tracing::warn!(%error, "the counts of the last hours could not be read"),
        }
    }

    async fn save_counts(&self, written: &mut Hours) {
        let counts = self.counts();
        if counts == *written {
            return;
        }
        let document = NewDocument {
            kind: COUNTS.0,
            id: COUNTS.1.to_owned(),
            sort_key: String::new(),
            owner: String::new(),
            value: serde_json::to_value(&counts).unwrap_or_default(),
        };
        match self.store.documents.put(document, Precondition::None).await {
            Ok(_) => *written = counts,
            Err(error) => tracing::warn!(%error, "the counts of the last hours could not be written down"),
        }
    }
}
