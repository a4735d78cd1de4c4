//! A job's log: the agent's lines as they came, with a few of the house's own between them.

use std::sync::Arc;

use claw_core::{Clock, JobId, JobStatus, Timestamp};
use claw_store::{Store, StoreError, StreamName};
use serde::Serialize;
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinHandle,
};

use crate::Redactor;

/// Lines that wait for the store at the most. A full queue slows the agent down; nothing is dropped.
const QUEUE_LINES: usize = 1024;

/// Lines written in one step at the most.
const BATCH_LINES: usize = 512;

/// Bytes written in one step at the most, unless one line alone has more.
const BATCH_BYTES: usize = 4 * 1024 * 1024;

/// The `type` of a [`HouseLine`].
pub(crate) const HOUSE_TYPE: &str = "claw";

/// A page of a job's log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogPage {
    /// The lines.
    pub lines: Vec<String>,
    /// How many lines the log has in all.
    pub total: u64,
    /// How many were passed over.
    pub offset: u64,
}

/// What a follower of a log sees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogItem {
    /// One line.
    Line {
        /// Its number, from 1.
        seq: u64,
        /// Its text.
        text: String,
    },
    /// The job has ended and every line was sent.
    End {
        /// How it ended.
        status: JobStatus,
    },
}

/// A line of the house's own in a job's log: `{"type":"claw","subtype":…}`. Readers of stream-json pass over types
/// they do not know.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "subtype", rename_all = "snake_case")]
pub enum HouseLine {
    /// A run begins.
    RunStarted {
        /// 1 for the first claim of the job.
        attempt: u64,
        /// Who runs it.
        worker: String,
        /// Where it runs.
        sandbox: &'static str,
        /// When.
        timestamp: Timestamp,
    },
    /// The agent wrote to standard error.
    Stderr {
        /// The line.
        text: String,
    },
    /// The agent's output held a line that passed itself off as one of the house's.
    Pretended {
        /// The line.
        text: String,
    },
    /// What became of the changes.
    Changes {
        /// One sentence.
        text: String,
        /// The commit that holds them.
        commit: Option<String>,
    },
    /// A run ended badly.
    RunFailed {
        /// Why.
        error: String,
        /// When it is tried again.
        retry_at: Option<Timestamp>,
    },
    /// The worker went away during a run; what the run did does not count.
    RunLost,
    /// The run was ended on request.
    RunCancelled,
    /// The worker gave the job back because it is stopping.
    RunReleased,
}

#[derive(Serialize)]
struct Typed<'a> {
    r#type: &'static str,
    #[serde(flatten)]
    line: &'a HouseLine,
}

impl HouseLine {
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        // These types always serialize; an empty line would be the worst that could come of it.
        serde_json::to_vec(&Typed { r#type: HOUSE_TYPE, line: self }).unwrap_or_default()
    }
}

enum Entry {
    Line(Vec<u8>),
    Flush(oneshot::Sender<()>),
}

/// Appends lines to one job's log in batches, in order.
#[derive(Clone)]
pub(crate) struct LogWriter {
    queue: mpsc::Sender<Entry>,
    redactor: Redactor,
}

/// The task behind a [`LogWriter`]. It ends when all writers are gone and every line is on disk.
pub(crate) type LogTask = JoinHandle<Result<(), StoreError>>;

impl LogWriter {
    /// Starts the task that writes.
    pub(crate) fn start(
        store: &Store,
        clock: Arc<dyn Clock>,
        redactor: Redactor,
        job: JobId,
    ) -> (Self, LogTask) {
        let (queue, receiver) = mpsc::channel(QUEUE_LINES);
        let streams = Arc::clone(&store.streams);
        let stream = StreamName::job_log(job);
        let task = tokio::spawn(async move {
            let mut receiver = receiver;
            while let Some(batch) = next_batch(&mut receiver).await {
                if !batch.lines.is_empty() {
                    streams.append(&stream, batch.lines, clock.now()).await?;
                }
                for done in batch.flushed {
                    // Whoever waited may have given up.
                    let _ = done.send(());
                }
            }
            Ok(())
        });
        (Self { queue, redactor }, task)
    }

    /// Queues one line, without the secrets that it may hold. Waits while the queue is full. Tells whether the log
    /// still takes lines.
    pub(crate) async fn line(&self, line: Vec<u8>) -> bool {
        self.queue.send(Entry::Line(self.redactor.bytes(line))).await.is_ok()
    }

    /// Queues one line of the house's own.
    pub(crate) async fn house(&self, line: HouseLine) -> bool {
        self.line(line.to_bytes()).await
    }

    /// Waits until every line queued so far is on disk. Tells whether it is.
    pub(crate) async fn flush(&self) -> bool {
        let (done, flushed) = oneshot::channel();
        self.queue.send(Entry::Flush(done)).await.is_ok() && flushed.await.is_ok()
    }
}

#[derive(Default)]
struct Batch {
    lines: Vec<Vec<u8>>,
    flushed: Vec<oneshot::Sender<()>>,
}

/// Takes what is there, waiting only for the first entry: under load the batches grow by themselves.
async fn next_batch(receiver: &mut mpsc::Receiver<Entry>) -> Option<Batch> {
    let mut batch = Batch::default();
    let mut bytes = 0;
    let mut next = Some(receiver.recv().await?);
    while let Some(entry) = next.take() {
        match entry {
            Entry::Line(line) => {
                bytes += line.len();
                batch.lines.push(line);
            }
            Entry::Flush(done) => batch.flushed.push(done),
        }
        if batch.lines.len() < BATCH_LINES && bytes < BATCH_BYTES {
            next = receiver.try_recv().ok();
        }
    }
    Some(batch)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_the_house_names_its_type_and_subtype() {
        let line = HouseLine::RunFailed { error: "overloaded".into(), retry_at: None };

        assert_eq!(
            String::from_utf8(line.to_bytes()).expect("JSON is UTF-8"),
            r#"{"type":"claw","subtype":"run_failed","error":"overloaded","retry_at":null}"#
        );
    }

    #[tokio::test]
    async fn p9_a_batch_takes_what_waits_up_to_its_limit() {
        let (sender, mut receiver) = mpsc::channel(QUEUE_LINES);
        for number in 0..BATCH_LINES + 1 {
            sender.send(Entry::Line(vec![u8::try_from(number % 251).expect("small")])).await.expect("room");
        }
        drop(sender);

        let sizes = [
            next_batch(&mut receiver).await,
            next_batch(&mut receiver).await,
            next_batch(&mut receiver).await,
        ]
        .map(|batch| batch.map(|batch| batch.lines.len()));

        assert_eq!(sizes, [Some(BATCH_LINES), Some(1), None]);
    }
}
