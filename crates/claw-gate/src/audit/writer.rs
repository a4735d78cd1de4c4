//! The task that writes outcomes, refusals and reads, many in one record.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use claw_core::{AuditAct, AuditEnd, AuditOutcome, AuditRecord, Clock, DeedId, Timestamp};
use claw_store::{StreamName, Streams};
use tokio::sync::{Notify, mpsc, oneshot};

use super::repeats::{Denials, Reads};

/// Outcomes that may wait, about 8 MB of them. Past it they are lost, and their deeds read unknown.
const OUTCOMES: usize = 65_536;

/// Refusals that may wait, apart from outcomes so that strangers cannot crowd those out. Past it they are only counted.
const REFUSALS: usize = 1_024;

/// Outcomes in one record at the most.
const BATCH: usize = 1_024;

/// How long outcomes wait for others, so that they share a record and their writing does not come between the writes that
/// somebody waits for.
const GATHER: Duration = Duration::from_millis(10);

/// Pause before the store is asked again.
const AGAIN: Duration = Duration::from_secs(1);

/// How often a batch is tried before it is given up; the intents then read unknown.
const TRIES: u32 = 30;

/// How something went, to be written.
#[derive(Debug)]
pub(super) struct Settled {
    pub(super) intent: DeedId,
    pub(super) end: AuditEnd,
}

/// What the task is told.
#[derive(Debug)]
pub(super) enum Message {
    Settled(Settled, Timestamp),
    /// Write what waits, and what is being counted, then answer.
    Flush(oneshot::Sender<()>),
}

/// A refusal, to be written.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) act: AuditAct,
    pub(super) code: &'static str,
}

/// Where the task listens.
#[derive(Clone, Debug)]
pub(super) struct Senders {
    pub(super) outcomes: mpsc::Sender<Message>,
    /// Told when somebody waits for what is written.
    pub(super) hurry: Arc<Notify>,
    pub(super) refusals: mpsc::Sender<Refusal>,
    /// Refusals for which there was no place.
    pub(super) crowded_out: Arc<AtomicU64>,
    /// What was read, apart from refusals so that the one cannot crowd out the other.
    pub(super) reads: mpsc::Sender<AuditAct>,
    /// Reads for which there was no place.
    pub(super) reads_crowded_out: Arc<AtomicU64>,
}

/// The task's side.
pub(super) struct Receivers {
    outcomes: mpsc::Receiver<Message>,
    hurry: Arc<Notify>,
    refusals: mpsc::Receiver<Refusal>,
    crowded_out: Arc<AtomicU64>,
    reads: mpsc::Receiver<AuditAct>,
    reads_crowded_out: Arc<AtomicU64>,
}

pub(super) fn queues() -> (Senders, Receivers) {
    let (outcomes, outcomes_receiver) = mpsc::channel(OUTCOMES);
    let (refusals, refusals_receiver) = mpsc::channel(REFUSALS);
    let (reads, reads_receiver) = mpsc::channel(REFUSALS);
    let hurry = Arc::<Notify>::default();
    let crowded_out = Arc::<AtomicU64>::default();
    let reads_crowded_out = Arc::<AtomicU64>::default();
    let receivers = Receivers {
        outcomes: outcomes_receiver,
        hurry: Arc::clone(&hurry),
        refusals: refusals_receiver,
        crowded_out: Arc::clone(&crowded_out),
        reads: reads_receiver,
        reads_crowded_out: Arc::clone(&reads_crowded_out),
    };
    (Senders { outcomes, hurry, refusals, crowded_out, reads, reads_crowded_out }, receivers)
}

/// Writes until all senders are gone.
pub(super) async fn write(streams: Arc<dyn Streams>, clock: Arc<dyn Clock>, mut queues: Receivers) {
    let (mut denials, mut readings) = (Denials::default(), Reads::default());
    let (mut messages, mut refusals, mut reads) = (Vec::new(), Vec::new(), Vec::new());
    loop {
        let ended = tokio::select! {
            biased;
            received = queues.outcomes.recv_many(&mut messages, BATCH) => received == 0,
            _ = queues.refusals.recv_many(&mut refusals, BATCH) => false,
            _ = queues.reads.recv_many(&mut reads, BATCH) => false,
            () = denials.due() => false,
            () = readings.due() => false,
        };
        if !ended && !messages.is_empty() {
            gather(&mut queues, &mut messages).await;
        }
        // What was refused before a flush was asked for is there by now, and outcomes must not starve it.
        while let Ok(refusal) = queues.refusals.try_recv() {
            refusals.push(refusal);
        }
        while reads.len() < BATCH
            && let Ok(read) = queues.reads.try_recv()
        {
            reads.push(read);
        }
        let mut records = denials.take_due();
        denials.count_further(queues.crowded_out.swap(0, Ordering::Relaxed));
        records.extend(refusals.drain(..).filter_map(|Refusal { act, code }| denials.add(act, code)));
        records.extend(readings.take_due());
        readings.count_further(queues.reads_crowded_out.swap(0, Ordering::Relaxed));
        records.extend(reads.drain(..).filter_map(|act| readings.add(act.tamed(), "")));
        let (mut outcomes, mut flushes) = (Vec::new(), Vec::new());
        for message in messages.drain(..) {
            match message {
                Message::Settled(Settled { intent, end }, at) => {
                    outcomes.push(AuditOutcome { intent, at, end });
                }
                Message::Flush(done) => flushes.push(done),
            }
        }
        if !outcomes.is_empty() {
            records.push(AuditRecord::Outcomes { of: outcomes });
        }
        if ended || !flushes.is_empty() {
            records.extend(denials.take_all());
            records.extend(readings.take_all());
        }
        append(streams.as_ref(), clock.as_ref(), records).await;
        for done in flushes {
            // Whoever asked may have gone.
            let _ = done.send(());
        }
        if ended {
            return;
        }
    }
}

/// Waits a moment for further outcomes, unless somebody waits for these.
async fn gather(queues: &mut Receivers, messages: &mut Vec<Message>) {
    // Taking each as it comes would wake this task for each.
    tokio::select! {
        () = queues.hurry.notified() => {}
        () = tokio::time::sleep(GATHER) => {}
    }
    while messages.len() < BATCH
        && let Ok(message) = queues.outcomes.try_recv()
    {
        messages.push(message);
    }
}

async fn append(streams: &dyn Streams, clock: &dyn Clock, records: Vec<AuditRecord>) {
    if records.is_empty() {
        return;
    }
    for record in &records {
        match record {
            AuditRecord::Denied { more, .. } => {
                metrics::counter!("claw_audit_entries_total", "outcome" => "denied").increment(more + 1);
            }
            AuditRecord::Read { more, .. } => {
                metrics::counter!("claw_audit_entries_total", "outcome" => "read").increment(more + 1);
            }
            AuditRecord::Intent { .. } | AuditRecord::Outcomes { .. } | AuditRecord::Note { .. } => {}
        }
    }
    for attempt in 1..=TRIES {
        let encoded = records.iter().filter_map(encode).collect();
        match streams.append_chained(&StreamName::audit(), encoded, clock.now()).await {
            Ok(_) => return,
            Err(error) => {
                tracing::error!(%error, attempt, "outcomes could not be written to the audit trail");
                tokio::time::sleep(AGAIN).await;
            }
        }
    }
}

/// Returns a record as it is stored.
pub(super) fn encode(record: &AuditRecord) -> Option<Vec<u8>> {
    serde_json::to_vec(record)
        .inspect_err(|error| tracing::error!(%error, "an audit record cannot be written as JSON"))
        .ok()
}
