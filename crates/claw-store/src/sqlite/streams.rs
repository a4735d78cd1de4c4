//! Streams: one row a stream with its last number, one row a record.

use async_trait::async_trait;
use claw_core::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::{
    Engine,
    error::{from_sql, moment, nanoseconds, to_sql},
    writer::Step,
};
use crate::{Record, StoreError, StreamName, Streams, Topic};

const READ: &str = "SELECT seq, at, data FROM records
    WHERE stream_id = (SELECT id FROM streams WHERE name = ?1) AND seq > ?2 ORDER BY seq LIMIT ?3";

const READ_BACK: &str = "SELECT seq, at, data FROM records
    WHERE stream_id = (SELECT id FROM streams WHERE name = ?1) AND seq < ?2 ORDER BY seq DESC LIMIT ?3";

#[async_trait]
impl Streams for Engine {
    async fn append(
        &self,
        stream: &StreamName,
        records: Vec<Vec<u8>>,
        now: Timestamp,
    ) -> Result<u64, StoreError> {
        if records.is_empty() {
            return self.last_seq(stream).await;
        }
        let stream = stream.clone();
        self.writer.write(move |step| append(step, stream, &records, now)).await
    }

    async fn read(&self, stream: &StreamName, after: u64, limit: u64) -> Result<Vec<Record>, StoreError> {
        let stream = stream.clone();
        self.readers.read(move |connection| read(connection, READ, &stream, after, limit)).await
    }

    async fn read_back(
        &self,
        stream: &StreamName,
        before: u64,
        limit: u64,
    ) -> Result<Vec<Record>, StoreError> {
        let stream = stream.clone();
        self.readers.read(move |connection| read(connection, READ_BACK, &stream, before, limit)).await
    }

    async fn last_seq(&self, stream: &StreamName) -> Result<u64, StoreError> {
        let stream = stream.clone();
        self.readers
            .read(move |connection| {
                let last: Option<i64> = connection
                    .prepare_cached("SELECT last_seq FROM streams WHERE name = ?1")?
                    .query_row(params![stream.as_str()], |row| row.get(0))
                    .optional()?;
                Ok(from_sql(last.unwrap_or(0)))
            })
            .await
    }

    async fn trim(&self, stream: &StreamName, up_to: u64) -> Result<(), StoreError> {
        let stream = stream.clone();
        self.writer
            .write(move |step| {
                let mut statement = step.connection.prepare_cached(
                    "DELETE FROM records WHERE stream_id = (SELECT id FROM streams WHERE name = ?1) AND seq <= ?2",
                )?;
                statement.execute(params![stream.as_str(), to_sql(up_to)])?;
                Ok(())
            })
            .await
    }
}

/// Appends inside a step and returns the last sequence number.
pub(super) fn append<R: AsRef<[u8]>>(
    step: &mut Step<'_>,
    stream: StreamName,
    records: &[R],
    now: Timestamp,
) -> Result<u64, StoreError> {
    let count = to_sql(records.len() as u64);
    let (id, last): (i64, i64) = step
        .connection
        .prepare_cached(
            "INSERT INTO streams (name, last_seq) VALUES (?1, ?2)
             ON CONFLICT (name) DO UPDATE SET last_seq = last_seq + excluded.last_seq RETURNING id, last_seq",
        )?
        .query_row(params![stream.as_str(), count], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let mut insert = step
        .connection
        .prepare_cached("INSERT INTO records (stream_id, seq, at, data) VALUES (?1, ?2, ?3, ?4)")?;
    for (seq, record) in (last - count + 1..).zip(records) {
        insert.execute(params![id, seq, nanoseconds(now), record.as_ref()])?;
    }
    drop(insert);
    step.signal(Topic::Stream(stream));
    Ok(from_sql(last))
}

/// Removes a stream with all its records, for one that nobody will append to again.
pub(super) fn remove(step: &mut Step<'_>, stream: &StreamName) -> Result<(), StoreError> {
    let mut statement = step
        .connection
        .prepare_cached("DELETE FROM records WHERE stream_id = (SELECT id FROM streams WHERE name = ?1)")?;
    statement.execute(params![stream.as_str()])?;
    step.connection
        .prepare_cached("DELETE FROM streams WHERE name = ?1")?
        .execute(params![stream.as_str()])?;
    Ok(())
}

fn read(
    connection: &Connection,
    sql: &str,
    stream: &StreamName,
    position: u64,
    limit: u64,
) -> Result<Vec<Record>, StoreError> {
    let mut statement = connection.prepare_cached(sql)?;
    let records = statement.query_map(params![stream.as_str(), to_sql(position), to_sql(limit)], record)?;
    Ok(records.collect::<Result<_, _>>()?)
}

fn record(row: &Row<'_>) -> rusqlite::Result<Record> {
    Ok(Record { seq: from_sql(row.get(0)?), at: moment(row.get(1)?), data: row.get(2)? })
}
