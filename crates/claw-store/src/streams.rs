//! Append-only ordered records, and the live tail over them.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use async_trait::async_trait;
use claw_core::{JobId, Timestamp, WorkspaceId};
use futures_util::Stream;

use crate::{ChainPage, Signals, StoreError, Topic};

/// Names one stream.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamName(String);

impl StreamName {
    pub(crate) const JOB_EVENTS: &str = "events/jobs";
    pub(crate) const AUDIT: &str = "audit";

    /// Every change of every job, as JSON [`claw_core::JobEvent`]s.
    pub fn job_events() -> Self {
        Self(Self::JOB_EVENTS.into())
    }

    /// A job's log: the agent's output lines as they came.
    pub fn job_log(job: JobId) -> Self {
        Self(format!("log/{job}"))
    }

    /// A workspace's timeline, as JSON [`claw_core::WorkspaceEvent`]s.
    pub fn workspace_events(workspace: WorkspaceId) -> Self {
        Self(format!("workspace/{workspace}"))
    }

    /// The audit trail. Chained.
    pub fn audit() -> Self {
        Self(Self::AUDIT.into())
    }

    /// Returns the stream that engines store under this name.
    pub fn stored(name: impl Into<String>) -> Self {
        Self(name.into())
    }

    /// Returns the name as engines store it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// One record of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Position in the stream: 1 for the first record ever, then one more each, without gaps.
    pub seq: u64,
    /// When it was appended.
    pub at: Timestamp,
    /// Its content.
    pub data: Vec<u8>,
}

/// A stream at a glance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamInfo {
    /// Its name.
    pub name: StreamName,
    /// Number of its newest record ever.
    pub last_seq: u64,
    /// Records that are kept.
    pub records: u64,
    /// When the oldest of those was appended.
    pub oldest: Option<Timestamp>,
    /// When the newest of those was appended.
    pub newest: Option<Timestamp>,
}

/// Append-only ordered records.
#[async_trait]
pub trait Streams: Send + Sync {
    /// Appends the records in order, as one step, and returns the sequence number of the last one (or the current
    /// last one if `records` is empty). They are on disk when the call returns. Signals [`Topic::Stream`] afterwards.
    ///
    /// # Errors
    ///
    /// [`StoreError::JobNotFound`] for the log of a job that does not exist (any more), so that a late line does not
    /// leave a log that belongs to nobody.
    async fn append(
        &self,
        stream: &StreamName,
        records: Vec<Vec<u8>>,
        now: Timestamp,
    ) -> Result<u64, StoreError>;

    /// Returns up to `limit` records that come after `after` (0 for the beginning), in order.
    async fn read(&self, stream: &StreamName, after: u64, limit: u64) -> Result<Vec<Record>, StoreError>;

    /// Returns up to `limit` of the newest records that come before `before`, newest first.
    async fn read_back(
        &self,
        stream: &StreamName,
        before: u64,
        limit: u64,
    ) -> Result<Vec<Record>, StoreError>;

    /// Returns the sequence number of the newest record ever appended; 0 if there never was one.
    async fn last_seq(&self, stream: &StreamName) -> Result<u64, StoreError>;

    /// Removes all records up to and with `up_to`, many of them in several steps, so that other writes have their turn.
    /// Sequence numbers go on as before.
    async fn trim(&self, stream: &StreamName, up_to: u64) -> Result<(), StoreError>;

    /// Removes the oldest records as long as they were appended before `before`, at most `limit` of them, and returns
    /// how many went.
    async fn trim_before(
        &self,
        stream: &StreamName,
        before: Timestamp,
        limit: u64,
    ) -> Result<u64, StoreError>;

    /// Like [`Streams::append`], for a stream whose records are chained by [`crate::chain_hash`]. A stream is either
    /// appended to by this or by `append`, never by both. The engine chains them in the step that appends them, so
    /// appenders at the same time make one chain.
    ///
    /// Writes of one process take effect in the order in which their futures were first polled: an append that was
    /// begun before another write is on disk if that one is.
    async fn append_chained(
        &self,
        stream: &StreamName,
        records: Vec<Vec<u8>>,
        now: Timestamp,
    ) -> Result<u64, StoreError>;

    /// Returns up to `limit` records of a chained stream that come after `after`, with their hashes and the one before
    /// them. Begins with the oldest record if older ones were trimmed.
    async fn read_chained(
        &self,
        stream: &StreamName,
        after: u64,
        limit: u64,
    ) -> Result<ChainPage, StoreError>;

    /// Returns up to `limit` streams whose name begins with `prefix`, in the order of their names, from after `after`.
    async fn streams(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: u64,
    ) -> Result<Vec<StreamInfo>, StoreError>;
}

/// Records read in one go by a tail.
const TAIL_BATCH: u64 = 500;

/// How long a tail waits without a signal before it looks by itself. A safety net: signals may be lost.
const TAIL_SAFETY: Duration = Duration::from_secs(5);

struct Tail {
    streams: Arc<dyn Streams>,
    signals: Arc<dyn Signals>,
    name: StreamName,
    after: u64,
    ready: VecDeque<Record>,
}

/// Follows a stream from after `after` on, for ever: what is stored first, then what is appended, each record once
/// and in order. Ends after an error.
pub fn tail(
    streams: Arc<dyn Streams>,
    signals: Arc<dyn Signals>,
    name: StreamName,
    after: u64,
) -> impl Stream<Item = Result<Record, StoreError>> + Send {
    let start = Tail { streams, signals, name, after, ready: VecDeque::new() };
    futures_util::stream::unfold(Some(start), |tail| async move {
        let mut tail = tail?;
        match tail.next().await {
            Ok(record) => Some((Ok(record), Some(tail))),
            Err(error) => Some((Err(error), None)),
        }
    })
}

impl Tail {
    async fn next(&mut self) -> Result<Record, StoreError> {
        loop {
            if let Some(record) = self.ready.pop_front() {
                self.after = record.seq;
                return Ok(record);
            }
            // Subscribed before reading, so that an append between the two wakes us.
            let mut signal = self.signals.subscribe(Topic::Stream(self.name.clone()));
            self.ready = self.streams.read(&self.name, self.after, TAIL_BATCH).await?.into();
            if self.ready.is_empty() {
                // Elapsed is as good as a signal: both mean "look again".
                let _ = tokio::time::timeout(TAIL_SAFETY, signal.changed()).await;
            }
        }
    }
}
