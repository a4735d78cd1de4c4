//! What the writes of one batch change together.
//!
//! Every submit counts in the same few rows and appends to the same streams. Within a batch such changes are added up
//! in memory and written once, before the commit, and new rows wait until there is something that must see them: that is
//! most of what makes a submit cheap. A write that fails takes back its own share.

use std::collections::HashMap;

use claw_core::Timestamp;
use rusqlite::{Connection, params};

use super::{
    counters,
    error::nanoseconds,
    jobs::{
        submit::{self, NewRow},
        totals::Counts,
    },
    streams::{self, ChainedRow},
};
use crate::{ChainHash, StoreError, StreamName, Topic};

/// Numbers submits and the turns of jobs that are tried again. The stored number is none that was used yet.
const JOB_SEQ: &str = "job_seq";

/// So many numbers are set aside at once, so that not every batch has to write down how far they are used. A start goes on
/// behind them.
const SEQ_AHEAD: i64 = 1024;

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

/// The end of a chained stream.
#[derive(Clone)]
pub(super) struct ChainEnd {
    pub(super) stream_id: i64,
    pub(super) last: i64,
    pub(super) hash: ChainHash,
    /// The last number that is written down with the stream.
    pub(super) noted: i64,
}

/// What the writer knows of the file from one batch to the next, since nobody else writes it. After a batch that failed it
/// knows nothing.
#[derive(Default)]
pub(super) struct Memory {
    job_seq: Option<JobSeq>,
    /// No job has a greater id.
    greatest_id: Option<String>,
    chains: HashMap<StreamName, ChainEnd>,
}

struct JobSeq {
    last: i64,
    set_aside: i64,
    noted: i64,
}

/// The state of a batch.
pub(super) struct Together {
    memory: Memory,
    share: Share,
    jobs: Vec<NewRow>,
    records: Vec<ChainedRow>,
    newest: Option<i64>,
    topics: Vec<Topic>,
}

/// What a write that fails must give back.
pub(super) struct Mark {
    chains: HashMap<StreamName, ChainEnd>,
}

/// What a batch leaves once it is on disk.
pub(super) struct Done {
    pub(super) memory: Memory,
    /// The newest job, if there is a new one.
    pub(super) newest: Option<i64>,
    /// What is to be signalled.
    pub(super) topics: Vec<Topic>,
}

impl Together {
    pub(super) fn new(memory: Memory) -> Self {
        Self {
            memory,
            share: Share::default(),
            jobs: Vec::new(),
            records: Vec::new(),
            newest: None,
            topics: Vec::new(),
        }
    }

    /// Returns the next number of a job's turn. Numbers of writes that fail are not used again.
    pub(super) fn next_job_seq(&mut self, connection: &Connection) -> Result<i64, StoreError> {
        let seq = match &mut self.memory.job_seq {
            Some(seq) => seq,
            none => {
                let noted = counters::get(connection, JOB_SEQ)?;
                none.insert(JobSeq { last: noted, set_aside: noted, noted })
            }
        };
        seq.last += 1;
        if seq.last > seq.set_aside {
            seq.set_aside = seq.last + SEQ_AHEAD;
        }
        Ok(seq.last)
    }

    /// Tells whether there may be a job with this id. Ids sort in the order in which they are made, so that hardly any has
    /// to be looked for.
    pub(super) fn may_be_taken(&mut self, connection: &Connection, id: &str) -> Result<bool, StoreError> {
        if self.memory.greatest_id.is_none() {
            let mut greatest = connection.prepare_cached("SELECT max(id) FROM jobs")?;
            self.memory.greatest_id = greatest.query_row([], |row| row.get(0))?;
        }
        Ok(self.memory.greatest_id.as_deref().is_some_and(|greatest| id <= greatest))
    }

    /// Has a new job written before anything looks at jobs again.
    pub(super) fn put_off(&mut self, job: NewRow) {
        if self.memory.greatest_id.as_deref().is_none_or(|greatest| job.id() > greatest) {
            self.memory.greatest_id = Some(job.id().to_owned());
        }
        self.newest = Some(job.seq());
        self.jobs.push(job);
    }

    /// Returns the new jobs that are not written yet.
    pub(super) fn put_off_jobs(&self) -> &[NewRow] {
        &self.jobs
    }

    /// Has a record of a chained stream written before anything looks at streams again.
    pub(super) fn put_off_record(&mut self, record: ChainedRow) {
        self.records.push(record);
    }

    /// Returns how many rows are not written yet.
    pub(super) fn waiting(&self) -> usize {
        self.jobs.len() + self.records.len()
    }

    /// Returns the end of a chained stream, if it is known.
    pub(super) fn chain(&self, stream: &StreamName) -> Option<ChainEnd> {
        self.memory.chains.get(stream).cloned()
    }

    /// Notes the new end of a chained stream.
    pub(super) fn set_chain(&mut self, stream: StreamName, end: ChainEnd) {
        self.memory.chains.insert(stream, end);
    }

    /// Forgets a stream that is removed.
    pub(super) fn forget_chain(&mut self, stream: &StreamName) {
        self.memory.chains.remove(stream);
    }

    pub(super) fn mark(&self) -> Mark {
        // Holds one stream at the most in practice, the audit trail.
        Mark { chains: self.memory.chains.clone() }
    }

    pub(super) fn give_back(&mut self, mark: Mark) {
        self.memory.chains = mark.chains;
    }

    pub(super) fn take_in(&mut self, share: Share) {
        self.share.counts.add(share.counts);
        self.share.events.extend(share.events);
    }

    /// Writes the rows that were put off, for a write that may look at them.
    pub(super) fn settle(&mut self, connection: &Connection) -> Result<(), StoreError> {
        if !self.jobs.is_empty() {
            let mut jobs = std::mem::take(&mut self.jobs);
            submit::insert(connection, &jobs)?;
            for alike in jobs.chunk_by(|one, next| one.kind() == next.kind()) {
                let count = i64::try_from(alike.len()).unwrap_or(i64::MAX);
                self.share.counts.count(&alike[0].kind(), alike[0].status(), count);
            }
            self.share.events.extend(jobs.iter_mut().map(NewRow::take_event));
            self.topics.push(Topic::JobsWaiting);
        }
        if !self.records.is_empty() {
            streams::insert_chained(connection, &std::mem::take(&mut self.records))?;
        }
        Ok(())
    }

    /// Writes all that is not written yet.
    pub(super) fn write(mut self, connection: &Connection) -> Result<Done, StoreError> {
        self.settle(connection)?;
        self.share.counts.write(connection)?;
        if let Some(seq) = &mut self.memory.job_seq
            && seq.noted != seq.set_aside
        {
            counters::set(connection, JOB_SEQ, seq.set_aside)?;
            seq.noted = seq.set_aside;
        }
        if !self.share.events.is_empty() {
            streams::append_events(connection, &self.share.events)?;
            self.topics.extend([Topic::JobEvents, Topic::Stream(StreamName::job_events())]);
        }
        for (stream, end) in &mut self.memory.chains {
            if end.noted != end.last {
                connection
                    .prepare_cached("UPDATE streams SET last_seq = ?2 WHERE id = ?1")?
                    .execute(params![end.stream_id, end.last])?;
                end.noted = end.last;
                self.topics.push(Topic::Stream(stream.clone()));
            }
        }
        Ok(Done { memory: self.memory, newest: self.newest, topics: self.topics })
    }
}
