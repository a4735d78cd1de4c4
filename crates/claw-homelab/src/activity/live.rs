//! The feed as it grows, for many viewers at once: one reader of the store, and one text for all of them.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use claw_store::{Record, Store, StoreError, StreamName, tail};
use futures_util::StreamExt as _;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// Events kept in memory for viewers that are a little behind. Those further behind read the store.
const KEPT: usize = 1024;

/// Events that a viewer gets in one go.
const BATCH: usize = 64;

/// Pause before the store is asked again after it did not answer.
const RETRY: Duration = Duration::from_secs(1);

/// One event as it is sent: a JSON object on one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Its place in the feed.
    pub seq: u64,
    /// The JSON.
    pub text: Arc<str>,
}

impl Frame {
    fn of(record: &Record) -> Option<Self> {
        let text = std::str::from_utf8(&record.data).ok()?;
        // Stored by us, as one object with members.
        let members = text.strip_prefix('{')?;
        Some(Self { seq: record.seq, text: format!("{{\"seq\":{},{members}", record.seq).into() })
    }
}

/// The newest events, and a sign that there are newer ones.
pub(super) struct Live {
    // A std mutex: held to copy a few pointers, never across an await.
    newest_frames: Mutex<VecDeque<Frame>>,
    newest: watch::Sender<u64>,
}

impl Live {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self { newest_frames: Mutex::default(), newest: watch::Sender::new(0) })
    }

    /// Returns how many places in the feed there are.
    pub(super) fn viewers(&self) -> usize {
        self.newest.receiver_count()
    }

    /// Follows the stored feed until `stop`.
    pub(super) async fn follow(self: Arc<Self>, store: Store, stream: StreamName, stop: CancellationToken) {
        let run = async {
            let mut after = None;
            loop {
                match self.follow_from(&store, &stream, &mut after).await {
                    Ok(()) => return,
                    Err(error) => tracing::warn!(%error, "the activity feed waits for the store"),
                }
                tokio::time::sleep(RETRY).await;
            }
        };
        tokio::select! {
            () = stop.cancelled() => {}
            () = run => {}
        }
    }

    async fn follow_from(
        &self,
        store: &Store,
        stream: &StreamName,
        after: &mut Option<u64>,
    ) -> Result<(), StoreError> {
        let start = match *after {
            Some(seq) => seq,
            None => store.streams.last_seq(stream).await?,
        };
        *after = Some(start);
        self.newest.send_replace(start);
        let records = tail(Arc::clone(&store.streams), Arc::clone(&store.signals), stream.clone(), start);
        let mut batches = std::pin::pin!(records.ready_chunks(BATCH));
        while let Some(batch) = batches.next().await {
            for record in batch {
                let record = record?;
                *after = Some(record.seq);
                self.push(&record);
            }
            if let Some(seq) = *after {
                self.newest.send_replace(seq);
            }
        }
        Ok(())
    }

    fn push(&self, record: &Record) {
        let Some(frame) = Frame::of(record) else { return };
        let mut frames = self.newest_frames.lock().unwrap_or_else(PoisonError::into_inner);
        if frames.len() >= KEPT {
            frames.pop_front();
        }
        frames.push_back(frame);
    }

    /// Returns events after `after`; `None` if some of them are no longer, or not yet, in memory.
    fn after(&self, after: u64) -> Option<Vec<Frame>> {
        let frames = self.newest_frames.lock().unwrap_or_else(PoisonError::into_inner);
        let oldest = frames.front()?.seq;
        if oldest > after + 1 {
            return None;
        }
        Some(frames.iter().skip_while(|frame| frame.seq <= after).take(BATCH).cloned().collect())
    }
}

/// One viewer's place in the feed.
pub struct Feed {
    store: Store,
    stream: StreamName,
    live: Arc<Live>,
    newest: watch::Receiver<u64>,
    after: u64,
}

impl Feed {
    /// Begins after event `after`, or with what happens from now on.
    pub(super) async fn begin(
        store: Store,
        stream: StreamName,
        live: Arc<Live>,
        after: Option<u64>,
    ) -> Result<Self, StoreError> {
        let newest = live.newest.subscribe();
        let last = store.streams.last_seq(&stream).await?;
        // Somebody who asks for what is beyond the end, such as after the store was replaced, gets what is new.
        let after = after.unwrap_or(last).min(last);
        Ok(Self { store, stream, live, newest, after })
    }

    /// Waits until there may be something to return. Cancel safe.
    pub async fn ready(&mut self) {
        let after = self.after;
        if self.newest.wait_for(|newest| *newest > after).await.is_err() {
            // The feed has ended with the server.
            std::future::pending::<()>().await;
        }
    }

    /// Returns the next events, waiting for one if there is none. Cancel safe.
    ///
    /// # Errors
    ///
    /// Why the store cannot be read.
    pub async fn next(&mut self) -> Result<Vec<Frame>, StoreError> {
        loop {
            // Before the look, so that what comes after it wakes us.
            let newest = *self.newest.borrow_and_update();
            if newest > self.after {
                let frames = match self.live.after(self.after) {
                    Some(frames) => frames,
                    None => self.stored().await?,
                };
                if let Some(last) = frames.last() {
                    self.after = last.seq;
                    return Ok(frames);
                }
                // What there was is of no version that can be read, or was removed as too old.
                self.after = newest;
            }
            if self.newest.changed().await.is_err() {
                // The feed has ended with the server.
                std::future::pending::<()>().await;
            }
        }
    }

    async fn stored(&self) -> Result<Vec<Frame>, StoreError> {
        let records = self.store.streams.read(&self.stream, self.after, BATCH as u64).await?;
        Ok(records.iter().filter_map(Frame::of).collect())
    }
}
