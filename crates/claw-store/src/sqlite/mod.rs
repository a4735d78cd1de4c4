//! The embedded engine: SQLite with one group-committing writer and a few readers.
//!
//! An acknowledged write is on disk (`journal_mode=WAL`, `synchronous=FULL`). Writes that wait at the same time share
//! one transaction and one sync, see [`writer`]. A future that is dropped before its answer does not tell whether the
//! write happened.

mod counters;
mod documents;
mod error;
mod file;
mod jobs;
mod leases;
mod migrations;
mod queue;
mod readers;
mod rows;
mod streams;
mod table;
mod together;
mod upkeep;
mod writer;

use std::{path::Path, sync::Arc, thread::JoinHandle};

use self::{jobs::remembered::RememberedTotals, readers::Readers, writer::Writer};
use crate::{Store, StoreError, signals::LocalSignals};

/// What can be chosen about the engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SqliteOptions {
    /// Threads that read, each with its own connection and cache.
    pub readers: usize,
    /// Size in bytes past which the file does not grow: writes fail then as on a full disk. `None`: no bound.
    pub max_size_bytes: Option<u64>,
}

impl Default for SqliteOptions {
    fn default() -> Self {
        Self { readers: 3, max_size_bytes: None }
    }
}

/// An open store file. Exactly one process has it open at a time.
///
/// Dropping it without [`SqliteStore::close`] loses nothing that was acknowledged; the threads then end by themselves
/// when the last [`Store`] is gone.
pub struct SqliteStore {
    engine: Arc<Engine>,
    signals: Arc<LocalSignals>,
    threads: Vec<JoinHandle<()>>,
}

/// The handles through which the primitives reach the threads.
struct Engine {
    writer: Writer,
    readers: Readers,
    search_totals: Arc<RememberedTotals>,
}

impl SqliteStore {
    /// Opens the store file at `path`, creating it and its folder if they do not exist, and brings its schema up to
    /// date. Blocks for that long, so it belongs to the start of a program.
    ///
    /// # Errors
    ///
    /// [`StoreError::NewerSchema`] if a newer version wrote the file; [`StoreError::Full`] if there is no room to
    /// create or update it; [`StoreError::Unavailable`] if it cannot be opened, is no store or damaged, or another
    /// process has it open.
    pub fn open(path: &Path, options: SqliteOptions) -> Result<Self, StoreError> {
        let lock = file::prepare(path)?;
        file::check_length(path)?;
        let mut connection = file::connect_writer(path, &options)?;
        migrations::run(&mut connection).map_err(|error| file::about(path, error))?;
        let connections =
            (0..options.readers.max(1)).map(|_| file::connect_reader(path)).collect::<Result<Vec<_>, _>>()?;

        let no_thread = |error: std::io::Error| StoreError::Unavailable { reason: error.to_string() };
        let signals = Arc::new(LocalSignals::default());
        let (readers, mut threads) = Readers::start(connections).map_err(no_thread)?;
        let (writer, thread) = Writer::start(connection, Arc::clone(&signals), lock).map_err(no_thread)?;
        threads.push(thread);
        Ok(Self {
            engine: Arc::new(Engine { writer, readers, search_totals: Arc::default() }),
            signals,
            threads,
        })
    }

    /// Returns the five primitives. Clones share this file.
    pub fn store(&self) -> Store {
        Store {
            documents: self.engine.clone(),
            jobs: self.engine.clone(),
            streams: self.engine.clone(),
            leases: self.engine.clone(),
            signals: self.signals.clone(),
            upkeep: self.engine.clone(),
        }
    }

    /// Finishes what waits, folds the log into the file and gives the file free. Calls that come later are refused.
    pub async fn close(self) {
        self.engine.readers.close().await;
        self.engine.writer.close().await;
        let threads = self.threads;
        let joined = tokio::task::spawn_blocking(move || threads.into_iter().try_for_each(JoinHandle::join));
        if !matches!(joined.await, Ok(Ok(()))) {
            tracing::error!("a thread of the store broke off, what was acknowledged is safe");
        }
    }
}
