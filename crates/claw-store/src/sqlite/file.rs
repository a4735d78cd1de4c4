//! The store's file: who may open it, with which rights, and how connections are set up.

use std::{
    fs::{DirBuilder, File, OpenOptions, Permissions, TryLockError},
    io::{self, Read},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use rusqlite::{Connection, OpenFlags, config::DbConfig};

use super::{SqliteOptions, jobs::search, migrations};
use crate::StoreError;

/// Readers never wait for the writer in WAL mode; only recovery after a crash and checkpoints take short locks.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a lock that somebody holds is waited for, and how often it is looked at.
const LOCK_PATIENCE: Duration = Duration::from_secs(1);
const LOCK_AGAIN: Duration = Duration::from_millis(20);

/// Statements kept ready per connection. More than there are different ones.
const STATEMENTS: usize = 128;

/// Page cache of the connection that writes, in KiB. It fills only as far as it is used, and is given back when nothing
/// comes.
const WRITER_CACHE_KIB: i64 = 4 * 1024;

/// Page cache of each connection that reads, in KiB: behind it there is the system's own.
const READER_CACHE_KIB: i64 = 2 * 1024;

/// Pages in the log that have it folded into the file. Pages that every write touches are copied once for so many.
const CHECKPOINT_PAGES: i64 = 8_000;

/// Size in bytes to which the log shrinks after a checkpoint.
const LOG_LIMIT_BYTES: i64 = 64 * 1024 * 1024;

/// Bytes of a database file that tell its size.
const HEADER_BYTES: usize = 100;

/// Held while the file is open; other processes see it.
pub(super) struct Lock {
    file: File,
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Closing the file is not enough: a process that is just being started holds a copy of it until it becomes
        // another program. An error means that the lock is gone anyway.
        let _ = self.file.unlock();
    }
}

/// Makes the folder and an empty file for nobody else's eyes, and takes the lock.
pub(super) fn prepare(path: &Path) -> Result<Lock, StoreError> {
    let failed = |error: io::Error| StoreError::Unavailable {
        reason: format!("{}: {error}: make the data folder writable for this user", path.display()),
    };
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(failed)?;
    }
    // A file of its own, because closing any handle on the database file would drop SQLite's locks on it.
    let mut lock_path = path.as_os_str().to_owned();
    lock_path.push(".lock");
    let lock = open_private(&PathBuf::from(lock_path)).map_err(failed)?;
    let started = Instant::now();
    loop {
        match lock.try_lock() {
            Ok(()) => break,
            // A server that was just killed may have left a child between fork and exec that still holds the lock.
            Err(TryLockError::WouldBlock) if started.elapsed() < LOCK_PATIENCE => {
                std::thread::sleep(LOCK_AGAIN)
            }
            Err(TryLockError::WouldBlock) => {
                let reason = format!(
                    "{} is in use by another running server: stop that one or choose another data folder",
                    path.display()
                );
                return Err(StoreError::Unavailable { reason });
            }
            Err(TryLockError::Error(error)) => return Err(failed(error)),
        }
    }
    // SQLite gives its `-wal` and `-shm` files the rights of this one.
    open_private(path).map_err(failed)?;
    Ok(Lock { file: lock })
}

fn open_private(path: &Path) -> io::Result<File> {
    let file =
        OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)?;
    if file.metadata()?.permissions().mode() & 0o077 != 0 {
        file.set_permissions(Permissions::from_mode(0o600))?;
    }
    Ok(file)
}

/// Refuses a file that was cut off. SQLite would find out only when it needs what is missing.
pub(super) fn check_length(path: &Path) -> Result<(), StoreError> {
    let mut log_path = path.as_os_str().to_owned();
    log_path.push("-wal");
    if std::fs::metadata(log_path).is_ok_and(|log| log.len() > 0) {
        // What is missing may be in the log: the last process was killed while it folded the log into the file.
        return Ok(());
    }
    let length = std::fs::metadata(path).map_or(0, |file| file.len());
    let mut header = [0; HEADER_BYTES];
    let is_read = File::open(path).and_then(|mut file| file.read_exact(&mut header)).is_ok();
    if !is_read || !header.starts_with(b"SQLite format 3\0") {
        // New, or no database: SQLite itself says so.
        return Ok(());
    }
    // Sections 1.3.2 and 1.3.8 of <https://sqlite.org/fileformat2.html>; a page size of 1 stands for 65,536.
    let page_bytes = match u16::from_be_bytes([header[16], header[17]]) {
        1 => 65_536,
        bytes => u64::from(bytes),
    };
    let pages = u32::from_be_bytes([header[28], header[29], header[30], header[31]]);
    let expected = page_bytes * u64::from(pages);
    if length < expected {
        let reason = format!(
            "{}: the file is cut off, it has {length} bytes and had {expected}: restore a backup",
            path.display()
        );
        return Err(StoreError::Unavailable { reason });
    }
    Ok(())
}

/// Opens the connection that writes.
pub(super) fn connect_writer(path: &Path, options: &SqliteOptions) -> Result<Connection, StoreError> {
    let connect = || -> Result<Connection, StoreError> {
        let connection = connect(path)?;
        // First: what is not for us is to stay as it is.
        migrations::check(&connection)?;
        connection.pragma_update(None, "cache_size", -WRITER_CACHE_KIB)?;
        // Takes effect in a new file only; space that retention frees can then be given back.
        connection.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
        connection.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(()))?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        connection.pragma_update_and_check(None, "wal_autocheckpoint", CHECKPOINT_PAGES, |_| Ok(()))?;
        connection.pragma_update_and_check(None, "journal_size_limit", LOG_LIMIT_BYTES, |_| Ok(()))?;
        if let Some(bytes) = options.max_size_bytes {
            let page_size: i64 = connection.pragma_query_value(None, "page_size", |row| row.get(0))?;
            let pages = super::error::to_sql(bytes) / page_size.max(1);
            connection.pragma_update_and_check(None, "max_page_count", pages.max(1), |_| Ok(()))?;
        }
        Ok(connection)
    };
    connect().map_err(|error| about(path, error))
}

/// Opens a connection that only reads. The file must have been opened for writing before.
pub(super) fn connect_reader(path: &Path) -> Result<Connection, StoreError> {
    let connect = || -> Result<Connection, StoreError> {
        let connection = connect(path)?;
        connection.pragma_update(None, "query_only", true)?;
        connection.pragma_update(None, "cache_size", -READER_CACHE_KIB)?;
        search::register(&connection)?;
        Ok(connection)
    };
    connect().map_err(|error| about(path, error))
}

fn connect(path: &Path) -> Result<Connection, StoreError> {
    // No URI names: a path with `?` in it is just a path. No mutex: each connection stays in one thread.
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    // Plans do not look at bound values. Otherwise a condition on the column of a partial index has its statement
    // compiled anew for each value.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    connection.pragma_update(None, "trusted_schema", false)?;
    Ok(connection)
}

/// Frees the pages that a connection keeps in memory. The system still has them.
pub(super) fn give_memory_back(connection: &Connection) {
    if let Err(error) = connection.execute_batch("PRAGMA shrink_memory") {
        tracing::debug!(%error, "a connection keeps its memory");
    }
}

/// Puts the file's name before what went wrong with it.
pub(super) fn about(path: &Path, error: StoreError) -> StoreError {
    match error {
        StoreError::Unavailable { reason } => {
            StoreError::Unavailable { reason: format!("{}: {reason}", path.display()) }
        }
        StoreError::Full { reason } => StoreError::Full { reason: format!("{}: {reason}", path.display()) },
        other => other,
    }
}
