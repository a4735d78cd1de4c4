//! What the writes of one batch change together.
//!
//! Every submit counts in the same few rows and appends to the same streams. Within a batch such changes are added up
//! in memory and written once, before the commit, which is most of what makes a submit cheap. A write that fails takes
//! back its own share.

use std::collections::HashMap;

use claw_core::Timestamp;
use rusqlite::{Connection, params};

use super::{counters, error::nanoseconds, jobs::totals::Counts, streams};
use crate::{ChainHash, StoreError, StreamName};

/// Numbers submits and the turns of jobs that are tried again.
const JOB_SEQ: &str = "job_seq";

/// What one write adds, or all of a batch.
#[derive(Default)]
pub(super) struct Share {
    /// Counts of jobs.
    pub(super) counts: Counts,
    /// Job events, in order.
    events: Vec<(i64, Vec<u8>)>,
}

impl Share {
    /// Has a job event appended.
    pub(super) fn event(&mut self, event: Vec<u8>, at: Timestamp) {
        self.events.push((nanoseconds(at), event));
    }
}

/// The end of a chained stream, as the batch leaves it.
#[derive(Clone)]
pub(super) struct ChainEnd {
    pub(super) stream_id: i64,
    pub(super) last: i64,
    pub(super) hash: ChainHash,
}

/// The state of a batch.
#[derive(Default)]
pub(super) struct Together {
    share: Share,
    job_seq: Option<i64>,
    chains: HashMap<StreamName, ChainEnd>,
}

/// What a write that fails must give back.
pub(super) struct Mark {
    chains: HashMap<StreamName, ChainEnd>,
}

impl Together {
    /// Returns the next number of a job's turn. Numbers of writes that fail are not used again.
    pub(super) fn next_job_seq(&mut self, connection: &Connection) -> Result<i64, StoreError> {
        let last = match self.job_seq {
            Some(last) => last,
            None => counters::get(connection, JOB_SEQ)?,
        };
        self.job_seq = Some(last + 1);
        Ok(last + 1)
    }

    /// Returns the end of a chained stream, if the batch has appended to it.
    pub(super) fn chain(&self, stream: &StreamName) -> Option<ChainEnd> {
        self.chains.get(stream).cloned()
    }

    /// Notes the new end of a chained stream.
    pub(super) fn set_chain(&mut self, stream: StreamName, end: ChainEnd) {
        self.chains.insert(stream, end);
    }

    pub(super) fn mark(&self) -> Mark {
        // Holds one stream at the most in practice, the audit trail.
        Mark { chains: self.chains.clone() }
    }

    pub(super) fn give_back(&mut self, mark: Mark) {
        self.chains = mark.chains;
    }

    pub(super) fn take_in(&mut self, share: Share) {
        self.share.counts.add(share.counts);
        self.share.events.extend(share.events);
    }

    /// Writes it all.
    pub(super) fn write(self, connection: &Connection) -> Result<(), StoreError> {
        self.share.counts.write(connection)?;
        if let Some(last) = self.job_seq {
            counters::set(connection, JOB_SEQ, last)?;
        }
        if !self.share.events.is_empty() {
            streams::append_at(connection, &StreamName::job_events(), &self.share.events)?;
        }
        for end in self.chains.values() {
            connection
                .prepare_cached("UPDATE streams SET last_seq = ?2 WHERE id = ?1")?
                .execute(params![end.stream_id, end.last])?;
        }
        Ok(())
    }
}
