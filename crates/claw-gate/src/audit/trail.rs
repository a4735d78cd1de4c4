//! The trail itself: where records go, and who reads them.

use std::{
    collections::HashSet,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use claw_core::{Action, Actor, AuditAct, AuditEnd, AuditRecord, Clock, DeedId, Resource, Timestamp};
use claw_store::{Record, StoreError, StreamName, Streams};
use futures_util::Stream;
use tokio::sync::oneshot;
use tokio_util::task::TaskTracker;

use super::{
    verify::{self, Verification},
    view::{self, AuditFilter, AuditPage},
    writer::{self, Message, Refusal, Senders, Settled},
};
use crate::{Gate, GateError};

/// Records that a start looks back over for intents without outcome. Those of a crash are the newest.
const LOOK_BACK: u64 = 5_000;

/// Records looked back over in one go, so that few are in memory.
const LOOK_BACK_PAGE: u64 = 250;

/// How long whoever wants everything written waits for it. Past it the store is in trouble.
const FLUSH_WAIT: Duration = Duration::from_secs(5);

/// The audit trail. Cheap to clone; clones share everything.
#[derive(Clone)]
pub struct AuditTrail {
    inner: Arc<Inner>,
}

struct Inner {
    streams: Arc<dyn Streams>,
    clock: Arc<dyn Clock>,
    /// Where the writing task listens; made with the first message, since that is when there is a runtime for sure.
    queues: OnceLock<Senders>,
    counted: Counted,
    tasks: TaskTracker,
    /// Whether reading is recorded too.
    reads: AtomicBool,
}

/// Counts outcomes. Holds on to the counters, since finding one by its labels costs more than counting.
#[derive(Default)]
struct Counted {
    done: OnceLock<metrics::Counter>,
    failed: OnceLock<metrics::Counter>,
    abandoned: OnceLock<metrics::Counter>,
}

impl Counted {
    fn count(&self, end: &AuditEnd) {
        let (counter, outcome) = match end {
            AuditEnd::Done => (&self.done, "done"),
            AuditEnd::Failed { .. } => (&self.failed, "failed"),
            AuditEnd::Abandoned => (&self.abandoned, "abandoned"),
        };
        let counter =
            counter.get_or_init(|| metrics::counter!("claw_audit_entries_total", "outcome" => outcome));
        counter.increment(1);
    }
}

impl AuditTrail {
    pub(crate) fn new(streams: Arc<dyn Streams>, clock: Arc<dyn Clock>) -> Self {
        let inner = Inner {
            streams,
            clock,
            queues: OnceLock::new(),
            counted: Counted::default(),
            tasks: TaskTracker::new(),
            reads: AtomicBool::new(false),
        };
        Self { inner: Arc::new(inner) }
    }

    fn queues(&self) -> &Senders {
        self.inner.queues.get_or_init(|| {
            let (senders, receivers) = writer::queues();
            let Inner { streams, clock, tasks, .. } = &*self.inner;
            tasks.spawn(writer::write(Arc::clone(streams), Arc::clone(clock), receivers));
            senders
        })
    }

    /// Returns the record of an intent.
    pub(super) fn intent(id: DeedId, act: AuditAct) -> Result<Vec<u8>, StoreError> {
        writer::encode(&AuditRecord::Intent { id, act }).ok_or_else(|| StoreError::Corrupt {
            what: "audit record".into(),
            reason: "it cannot be written as JSON".into(),
        })
    }

    /// Writes an intent and returns when it is on disk.
    pub(super) async fn intend(&self, intent: Vec<u8>) -> Result<(), StoreError> {
        let now = self.inner.clock.now();
        self.inner.streams.append_chained(&StreamName::audit(), vec![intent], now).await?;
        Ok(())
    }

    pub(super) fn settle(&self, settled: Settled) {
        self.inner.counted.count(&settled.end);
        let message = Message::Settled(settled, self.inner.clock.now());
        if self.queues().outcomes.try_send(message).is_err() {
            tracing::warn!("the outcome of a deed is not in the audit trail: too many wait to be written");
        }
    }

    /// Notes a refusal.
    pub(crate) fn denied(&self, act: AuditAct, code: &'static str) {
        let queues = self.queues();
        if queues.refusals.try_send(Refusal { act: act.tamed(), code }).is_err() {
            queues.crowded_out.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Has reading recorded from now on too, or no more.
    pub fn record_reads(&self, on: bool) {
        self.inner.reads.store(on, Ordering::Relaxed);
    }

    /// Notes that somebody read something, if that is to be recorded.
    pub(crate) fn read(&self, act: impl FnOnce() -> AuditAct) {
        if !self.inner.reads.load(Ordering::Relaxed) {
            return;
        }
        let queues = self.queues();
        if queues.reads.try_send(act()).is_err() {
            queues.reads_crowded_out.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Writes what the house tells about the trail.
    async fn note(&self, text: String, unsettled: Option<u64>) -> Result<(), StoreError> {
        let record = AuditRecord::Note { text, unsettled };
        let data = writer::encode(&record).into_iter().collect();
        self.inner.streams.append_chained(&StreamName::audit(), data, self.inner.clock.now()).await?;
        Ok(())
    }

    /// Notes what a former start left without outcome.
    pub(crate) async fn begin(&self) -> Result<(), StoreError> {
        let open = self.open_intents().await?;
        if open > 0 {
            let text = format!("the server ended in the middle of {open} deeds, whose outcome is unknown");
            self.note(text, Some(open)).await?;
        }
        Ok(())
    }

    /// Returns how many intents since the last such note have no outcome.
    async fn open_intents(&self) -> Result<u64, StoreError> {
        let (mut settled, mut open) = (HashSet::new(), 0);
        let (mut before, mut looked) = (u64::MAX, 0);
        while looked < LOOK_BACK {
            let records = self.inner.streams.read_back(&StreamName::audit(), before, LOOK_BACK_PAGE).await?;
            let Some(oldest) = records.last() else { break };
            (before, looked) = (oldest.seq, looked + records.len() as u64);
            for record in &records {
                match parse(record) {
                    Ok(AuditRecord::Outcomes { of }) => {
                        settled.extend(of.into_iter().map(|outcome| outcome.intent));
                    }
                    Ok(AuditRecord::Intent { id, .. }) => open += u64::from(!settled.remove(&id)),
                    Ok(AuditRecord::Note { unsettled: Some(_), .. }) => return Ok(open),
                    // One that cannot be read is shown by whoever lists or verifies; a start does not fail for it.
                    Ok(
                        AuditRecord::Note { unsettled: None, .. }
                        | AuditRecord::Denied { .. }
                        | AuditRecord::Read { .. },
                    )
                    | Err(_) => {}
                }
            }
        }
        Ok(open)
    }

    /// Returns when everything that was handed over so far is written, or the store has not taken it for some seconds.
    /// To be called before the store is closed.
    pub async fn flush(&self) {
        let (done, written) = oneshot::channel();
        let flushed = async {
            let queues = self.queues();
            if queues.outcomes.send(Message::Flush(done)).await.is_ok() {
                queues.hurry.notify_one();
                // An error means that the task ended, and wrote everything before.
                let _ = written.await;
            }
        };
        if tokio::time::timeout(FLUSH_WAIT, flushed).await.is_err() {
            tracing::warn!("the newest outcomes are not in the audit trail yet");
        }
    }

    /// Removes up to `limit` of the oldest records from before `before`, and returns how many. The chain can be
    /// verified from there on.
    pub async fn trim_before(&self, before: Timestamp, limit: u64) -> Result<u64, StoreError> {
        let removed = self.inner.streams.trim_before(&StreamName::audit(), before, limit).await?;
        if removed > 0 {
            self.note(format!("{removed} records from before {before} were removed by retention"), None)
                .await?;
        }
        Ok(removed)
    }

    pub(super) fn streams(&self) -> &Arc<dyn Streams> {
        &self.inner.streams
    }
}

impl Gate {
    /// Returns one page of the audit trail, newest first.
    ///
    /// # Errors
    ///
    /// [`GateError::ScopeMissing`] for who is no administrator; [`GateError::Store`].
    pub async fn audit_list(&self, actor: &Actor, filter: AuditFilter) -> Result<AuditPage, GateError> {
        self.permit(actor, Action::AuditRead, &Resource::Any)?;
        self.audit().flush().await;
        Ok(view::page(self.audit().streams().as_ref(), filter).await?)
    }

    /// Returns the audit trail as JSON lines, each with its line end, from after record `after`. The first line tells
    /// the hash before the first record; each further one is a record with its hash, so that
    /// [`crate::verify_export`] can check them anywhere.
    ///
    /// # Errors
    ///
    /// [`GateError::ScopeMissing`] for who is no administrator.
    pub async fn audit_export(
        &self,
        actor: &Actor,
        after: u64,
    ) -> Result<impl Stream<Item = Result<String, StoreError>> + Send + use<>, GateError> {
        self.permit(actor, Action::AuditRead, &Resource::Any)?;
        self.audit().flush().await;
        Ok(verify::export(Arc::clone(self.audit().streams()), after))
    }

    /// Checks every hash of the audit trail.
    ///
    /// # Errors
    ///
    /// [`GateError::ScopeMissing`] for who is no administrator; [`GateError::Store`] if the trail cannot be read.
    pub async fn audit_verify(&self, actor: &Actor) -> Result<Verification, GateError> {
        self.permit(actor, Action::AuditRead, &Resource::Any)?;
        self.audit().flush().await;
        Ok(verify::stored(self.audit().streams().as_ref()).await?)
    }
}

/// Reads a stored record.
pub(super) fn parse(record: &Record) -> Result<AuditRecord, StoreError> {
    serde_json::from_slice(&record.data).map_err(|error| StoreError::Corrupt {
        what: format!("record {} of the audit trail", record.seq),
        reason: error.to_string(),
    })
}
