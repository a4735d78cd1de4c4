//! Numbers that only grow.

use rusqlite::{Connection, OptionalExtension, params};

use crate::StoreError;

/// Adds one and returns the new number; the first is 1.
pub(super) fn next(connection: &Connection, name: &str) -> Result<i64, StoreError> {
    let mut statement = connection.prepare_cached(
        "INSERT INTO counters (name, value) VALUES (?1, 1)
         ON CONFLICT (name) DO UPDATE SET value = value + 1 RETURNING value",
    )?;
    Ok(statement.query_row(params![name], |row| row.get(0))?)
}

/// Adds to the number.
pub(super) fn add(connection: &Connection, name: &str, amount: i64) -> Result<(), StoreError> {
    let mut statement = connection.prepare_cached(
        "INSERT INTO counters (name, value) VALUES (?1, ?2)
         ON CONFLICT (name) DO UPDATE SET value = value + excluded.value",
    )?;
    statement.execute(params![name, amount])?;
    Ok(())
}

/// Sets the number.
pub(super) fn set(connection: &Connection, name: &str, value: i64) -> Result<(), StoreError> {
    let mut statement = connection.prepare_cached(
        "INSERT INTO counters (name, value) VALUES (?1, ?2)
         ON CONFLICT (name) DO UPDATE SET value = excluded.value",
    )?;
    statement.execute(params![name, value])?;
    Ok(())
}

/// Returns the number; 0 if nothing was counted yet.
pub(super) fn get(connection: &Connection, name: &str) -> Result<i64, StoreError> {
    let mut statement = connection.prepare_cached("SELECT value FROM counters WHERE name = ?1")?;
    Ok(statement.query_row(params![name], |row| row.get(0)).optional()?.unwrap_or(0))
}
