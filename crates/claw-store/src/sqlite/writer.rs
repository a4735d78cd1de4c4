//! The one writer: a thread that puts whatever waits into one transaction and syncs it to disk once.

use std::{
    collections::HashSet,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    thread::JoinHandle,
    time::{Duration, Instant},
};

use rusqlite::Connection;
use tokio::sync::oneshot;

use super::{
    error::closed,
    file,
    jobs::search,
    queue::{Entrance, Exit, IDLE, Next, queue},
    together::{Done, Memory, Share, Together},
};
use crate::{Signals, StoreError, Topic, fault, signals::LocalSignals};

/// Writes that may wait. Past it callers wait for a place, so that memory stays bounded.
const QUEUE: usize = 1024;

/// Writes that share one transaction. Bounds how long the first of them waits for its answer.
const BATCH: usize = 256;

/// How long nothing must come before the time is used for chores. Writers that take turns leave shorter gaps.
const QUIET: Duration = Duration::from_millis(5);

/// One write inside the transaction of its batch. A savepoint of its own undoes it alone if it fails.
pub(super) struct Step<'a> {
    pub(super) connection: &'a Connection,
    /// What the write changes together with others of its batch.
    pub(super) share: Share,
    /// The state of the batch.
    pub(super) together: &'a mut Together,
    topics: Vec<Topic>,
}

/// What a write leaves when it went well.
struct Effect {
    topics: Vec<Topic>,
    share: Share,
}

impl Step<'_> {
    /// Has the topic signalled once everything is on disk.
    pub(super) fn signal(&mut self, topic: Topic) {
        self.topics.push(topic);
    }
}

/// Sends writes to the writer thread.
#[derive(Clone)]
pub(super) struct Writer {
    queue: Entrance<Message>,
}

enum Message {
    Write(Box<dyn Write>),
    /// Finish what waits, then end.
    Close,
}

trait Write: Send {
    /// Tells whether the caller still waits for the answer.
    fn is_wanted(&self) -> bool;

    /// Tells whether the work changes nothing unless it succeeds, apart from a store that is full or broken.
    fn is_all_or_nothing(&self) -> bool;

    /// Does the work; `None` if it failed and must be undone.
    fn run(&mut self, connection: &Connection, together: &mut Together) -> Option<Effect>;

    /// Tells whether the work failed because there was no room.
    fn met_full_disk(&self) -> bool;

    /// Answers the caller. `lost` tells why the whole batch did not reach the disk.
    fn answer(self: Box<Self>, lost: Option<&Lost>);
}

/// Why a whole batch did not reach the disk.
struct Lost {
    reason: String,
    full: bool,
}

impl Lost {
    fn error(&self) -> StoreError {
        let reason = self.reason.clone();
        if self.full { StoreError::Full { reason } } else { StoreError::Unavailable { reason } }
    }
}

impl From<StoreError> for Lost {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Full { reason } => Self { reason, full: true },
            StoreError::Unavailable { reason } => Self { reason, full: false },
            other => Self { reason: other.to_string(), full: false },
        }
    }
}

struct Waiting<T, F> {
    all_or_nothing: bool,
    work: Option<F>,
    /// What the work gave; nothing until it ran.
    outcome: Option<Result<T, StoreError>>,
    reply: oneshot::Sender<Result<T, StoreError>>,
}

impl<T, F> Write for Waiting<T, F>
where
    T: Send,
    F: FnOnce(&mut Step<'_>) -> Result<T, StoreError> + Send,
{
    fn is_wanted(&self) -> bool {
        !self.reply.is_closed()
    }

    fn is_all_or_nothing(&self) -> bool {
        self.all_or_nothing
    }

    fn run(&mut self, connection: &Connection, together: &mut Together) -> Option<Effect> {
        let work = self.work.take()?;
        let mut step = Step { connection, share: Share::default(), together, topics: Vec::new() };
        // A panic must not take the writer along: the savepoint undoes the half-done work.
        let outcome = catch_unwind(AssertUnwindSafe(|| work(&mut step))).unwrap_or_else(|_| {
            tracing::error!("a write panicked and was undone");
            Err(StoreError::Unavailable { reason: "the write broke off and was undone".into() })
        });
        let is_ok = outcome.is_ok();
        self.outcome = Some(outcome);
        is_ok.then_some(Effect { topics: step.topics, share: step.share })
    }

    fn met_full_disk(&self) -> bool {
        matches!(self.outcome, Some(Err(StoreError::Full { .. })))
    }

    fn answer(self: Box<Self>, lost: Option<&Lost>) {
        let outcome = match (self.outcome, lost) {
            (Some(outcome), None) => outcome,
            // The one that broke the batch knows best what happened.
            (Some(Err(error @ (StoreError::Unavailable { .. } | StoreError::Full { .. }))), Some(_)) => {
                Err(error)
            }
            (_, Some(lost)) => Err(lost.error()),
            (None, None) => Err(closed()),
        };
        // A caller that went away does not want to know.
        let _ = self.reply.send(outcome);
    }
}

impl Writer {
    /// Starts the thread. `guard` is dropped when the connection is closed.
    pub(super) fn start(
        connection: Connection,
        signals: Arc<LocalSignals>,
        guard: impl Send + 'static,
    ) -> std::io::Result<(Self, JoinHandle<()>)> {
        let (queue, exit) = queue(QUEUE);
        let thread = std::thread::Builder::new().name("store-writer".into()).spawn(move || {
            work_off(connection, exit, &signals);
            drop(guard);
        })?;
        Ok((Self { queue }, thread))
    }

    /// Does `work` in a transaction and returns when it is on disk.
    ///
    /// If the returned future is dropped the write may still happen, or may not.
    pub(super) async fn write<T, F>(&self, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&mut Step<'_>) -> Result<T, StoreError> + Send + 'static,
    {
        self.submit(work, false).await
    }

    /// Like [`Writer::write`], for work that checks everything before it changes anything, and looks at nothing that
    /// others of its batch have put off. It needs no savepoint, which costs as much as a small write; should it fail midway
    /// after all, its whole batch is undone.
    pub(super) async fn write_all_or_nothing<T, F>(&self, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&mut Step<'_>) -> Result<T, StoreError> + Send + 'static,
    {
        self.submit(work, true).await
    }

    async fn submit<T, F>(&self, work: F, all_or_nothing: bool) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&mut Step<'_>) -> Result<T, StoreError> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let write = Waiting { all_or_nothing, work: Some(work), outcome: None, reply };
        self.queue.enter(Message::Write(Box::new(write))).await.map_err(|_| closed())?;
        answer.await.map_err(|_| closed())?
    }

    /// Has the thread end after everything that waits.
    pub(super) async fn close(&self) {
        // An error means that it ended already.
        let _ = self.queue.enter(Message::Close).await;
    }
}

fn work_off(connection: Connection, queue: Exit<Message>, signals: &LocalSignals) {
    let mut backlog = search::Backlog::load(&connection);
    let mut memory = Memory::default();
    let (mut is_quiet, mut is_closing, mut is_lean) = (false, false, false);
    loop {
        let chores_wait = backlog.due(true).is_some();
        let patience = match (chores_wait, is_quiet) {
            _ if is_closing => Some(Duration::ZERO),
            (true, true) => Some(Duration::ZERO),
            (true, false) => Some(QUIET),
            (false, _) => (!is_lean).then_some(IDLE),
        };
        match queue.batch(BATCH, patience) {
            Next::Came(messages) => {
                (is_quiet, is_lean) = (false, false);
                let mut batch = Vec::with_capacity(messages.len());
                for message in messages {
                    match message {
                        Message::Write(write) if write.is_wanted() => batch.push(write),
                        Message::Write(_) => {}
                        Message::Close => {
                            queue.close();
                            is_closing = true;
                        }
                    }
                }
                if let Some(newest) = commit(&connection, batch, &mut memory, signals) {
                    backlog.note(newest);
                }
            }
            Next::Nothing if is_closing => break,
            Next::Nothing if chores_wait => is_quiet = true,
            Next::Nothing => {
                file::give_memory_back(&connection);
                is_lean = true;
            }
            Next::End => break,
        }
        // One step a batch, so that those who wait soon have their turn.
        if let Some(chore) = backlog.due(is_quiet).filter(|_| !is_closing) {
            backlog.work_off(&connection, chore);
        }
    }
    // Everything acknowledged is in the log already; folding it into the file makes the next start quick.
    fault::point("store.before_checkpoint");
    if let Err(error) = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())) {
        tracing::warn!(%error, "the store's log could not be folded into its file, the next start does it");
    }
}

/// Puts a batch on disk and answers it. Returns the newest job, if there is a new one.
fn commit(
    connection: &Connection,
    mut batch: Vec<Box<dyn Write>>,
    memory: &mut Memory,
    signals: &LocalSignals,
) -> Option<i64> {
    if batch.is_empty() {
        return None;
    }
    let start = Instant::now();
    let mut newest = None;
    let lost = match run(connection, &mut batch, std::mem::take(memory)) {
        Ok((done, topics)) => {
            topics.into_iter().chain(done.topics).for_each(|topic| signals.publish(topic));
            (*memory, newest) = (done.memory, done.newest);
            None
        }
        Err(error) => {
            if !connection.is_autocommit()
                && let Err(error) = connection.execute_batch("ROLLBACK")
            {
                tracing::error!(%error, "a failed transaction could not be rolled back");
            }
            tracing::error!(%error, writes = batch.len(), "the store could not write");
            Some(Lost::from(error))
        }
    };
    metrics::histogram!("claw_store_write_seconds").record(start.elapsed());
    metrics::histogram!("claw_store_batch_writes").record(batch.len() as f64);
    fault::point("store.before_answers");
    for write in batch {
        write.answer(lost.as_ref());
    }
    fault::point("store.after_answers");
    newest
}

/// Runs the whole batch in one transaction and returns what it leaves once it is on disk, and what to signal besides.
fn run(
    connection: &Connection,
    batch: &mut [Box<dyn Write>],
    memory: Memory,
) -> Result<(Done, HashSet<Topic>), StoreError> {
    let statement = |sql| connection.prepare_cached(sql)?.execute([]);
    let mut topics = HashSet::new();
    let mut together = Together::new(memory);
    fault::point("store.before_begin");
    statement("BEGIN IMMEDIATE")?;
    for write in batch {
        let needs_savepoint = !write.is_all_or_nothing();
        if needs_savepoint {
            together.settle(connection)?;
            statement("SAVEPOINT one_write")?;
        }
        // What needs no savepoint changes nothing when it is refused, so there is nothing to remember for it.
        let mark = needs_savepoint.then(|| together.mark());
        let changes = (connection.total_changes(), together.waiting());
        let outcome = write.run(connection, &mut together);
        if connection.is_autocommit() {
            // SQLite itself gives up the whole transaction when the disk is full or broken, and what the writes
            // before this one did is gone with it.
            let reason = "the disk is full or broken, nothing was written".into();
            return Err(if write.met_full_disk() {
                StoreError::Full { reason }
            } else {
                StoreError::Unavailable { reason }
            });
        }
        match outcome {
            Some(effect) => {
                topics.extend(effect.topics);
                together.take_in(effect.share);
            }
            None => {
                if let Some(mark) = mark {
                    together.give_back(mark);
                    statement("ROLLBACK TO one_write")?;
                } else if (connection.total_changes(), together.waiting()) != changes {
                    let reason = "a write broke off midway, nothing of its batch was written".into();
                    return Err(StoreError::Unavailable { reason });
                }
            }
        }
        if needs_savepoint {
            statement("RELEASE one_write")?;
        }
        fault::point("store.after_write");
    }
    let done = together.write(connection)?;
    fault::point("store.before_commit");
    statement("COMMIT")?;
    fault::point("store.after_commit");
    Ok((done, topics))
}
