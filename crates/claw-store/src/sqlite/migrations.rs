//! The schema: embedded steps that only go forward and run by themselves.

use rusqlite::Connection;

use crate::{StoreError, fault};

/// Every step ever shipped, in order. A step that was released is never edited: add another.
const MIGRATIONS: &[&str] = &[
    include_str!("migrations/0001_initial.sql"),
    include_str!("migrations/0002_chains_and_spending.sql"),
    include_str!("migrations/0003_cheaper_submits.sql"),
];

/// Marks a file as ours (`PRAGMA application_id`): the letters "Claw".
const APPLICATION_ID: i32 = 0x436c_6177;

/// Returns the version of a file's schema. A file of a newer version or of another program is refused, and nothing in it
/// is changed.
pub(super) fn check(connection: &Connection) -> Result<u32, StoreError> {
    let known = u32::try_from(MIGRATIONS.len()).unwrap_or(u32::MAX);
    let found: u32 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    let application: i32 = connection.pragma_query_value(None, "application_id", |row| row.get(0))?;
    let tables: u32 = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    if application != APPLICATION_ID && tables > 0 {
        let reason = "the file is a database of another program: choose another data folder".to_owned();
        return Err(StoreError::Unavailable { reason });
    }
    if found > known { Err(StoreError::NewerSchema { found, known }) } else { Ok(found) }
}

/// Brings the schema up to the newest version, each step in a transaction of its own.
pub(super) fn run(connection: &mut Connection) -> Result<(), StoreError> {
    let found = check(connection)?;
    for (version, step) in (1u32..).zip(MIGRATIONS).skip(found as usize) {
        fault::point("store.before_migration");
        let transaction = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
        transaction.execute_batch(step)?;
        transaction.pragma_update(None, "user_version", version)?;
        transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
        fault::point("store.before_migration_commit");
        transaction.commit()?;
        fault::point("store.after_migration");
        tracing::info!(version, "store schema updated");
    }
    Ok(())
}
