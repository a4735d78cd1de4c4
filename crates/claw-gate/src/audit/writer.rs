//! The task that writes outcomes and refusals, many in one record.

use std::{sync::Arc, time::Duration};

use claw_core::{AuditAct, AuditEnd, AuditOutcome, AuditRecord, Clock, DeedId, Timestamp};
use claw_store::{StoreError, StreamName, Streams};
use tokio::sync::{mpsc, oneshot};

use super::denials::Denials;

/// Outcomes and refusals that may wait. Past it outcomes read unknown, and refusals are only counted.
pub(super) const QUEUE: usize = 8_192;

/// Outcomes in one record at the most.
const BATCH: usize = 256;

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
    Denied {
        act: AuditAct,
        code: &'static str,
    },
    /// Write what waits, and what is being counted, then answer.
    Flush(oneshot::Sender<()>),
}

/// Writes until all senders are gone.
pub(super) async fn write(
    streams: Arc<dyn Streams>,
    clock: Arc<dyn Clock>,
    mut queue: mpsc::Receiver<Message>,
) {
    let mut denials = Denials::default();
    let mut messages = Vec::with_capacity(BATCH);
    loop {
        let received = tokio::select! {
            received = queue.recv_many(&mut messages, BATCH) => received,
            () = denials.due() => {
                append(streams.as_ref(), clock.as_ref(), denials.take_due()).await;
                continue;
            }
        };
        if received == 0 {
            return append(streams.as_ref(), clock.as_ref(), denials.take_all()).await;
        }
        let (mut outcomes, mut records, mut flushes) = (Vec::new(), Vec::new(), Vec::new());
        for message in messages.drain(..) {
            match message {
                Message::Settled(Settled { intent, end }, at) => {
                    outcomes.push(AuditOutcome { intent, at, end });
                }
                Message::Denied { act, code } => records.extend(denials.add(act, code)),
                Message::Flush(done) => flushes.push(done),
            }
        }
        if !outcomes.is_empty() {
            records.push(AuditRecord::Outcomes { of: outcomes });
        }
        if !flushes.is_empty() {
            records.extend(denials.take_all());
        }
        append(streams.as_ref(), clock.as_ref(), records).await;
        for done in flushes {
            // Whoever asked may have gone.
            let _ = done.send(());
        }
    }
}

async fn append(streams: &dyn Streams, clock: &dyn Clock, records: Vec<AuditRecord>) {
    if records.is_empty() {
        return;
    }
    for record in &records {
        if let AuditRecord::Denied { more, .. } = record {
            metrics::counter!("claw_audit_entries_total", "outcome" => "denied").increment(more + 1);
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

/// Writes an intent and returns when it is on disk.
pub(super) async fn intend(
    streams: &dyn Streams,
    clock: &dyn Clock,
    id: DeedId,
    act: AuditAct,
) -> Result<(), StoreError> {
    let record = AuditRecord::Intent { id, act };
    let data = encode(&record).ok_or_else(|| StoreError::Corrupt {
        what: "audit record".into(),
        reason: "it cannot be written as JSON".into(),
    })?;
    streams.append_chained(&StreamName::audit(), vec![data], clock.now()).await?;
    Ok(())
}

pub(super) fn encode(record: &AuditRecord) -> Option<Vec<u8>> {
    serde_json::to_vec(record)
        .inspect_err(|error| tracing::error!(%error, "an audit record cannot be written as JSON"))
        .ok()
}
