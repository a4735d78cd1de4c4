//! Streams: one row a stream with its last number, one row a record, in the stream's [`Table`].

use async_trait::async_trait;
use claw_core::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row, params, types::Null};

use super::{
    Engine,
    error::{corrupt, from_sql, moment, nanoseconds, to_sql},
    rows,
    table::Table,
    together::ChainEnd,
    writer::Step,
};
use crate::{
    ChainHash, ChainPage, ChainedRecord, Record, StoreError, StreamInfo, StreamName, Streams, Topic,
    chain_hash,
};

/// Which way records are read.
#[derive(Clone, Copy)]
enum Way {
    Forward,
    Back,
}

/// A record of a chained stream, as it will be written.
pub(super) struct ChainedRow {
    table: Table,
    stream_id: i64,
    seq: i64,
    at: i64,
    data: Vec<u8>,
    hash: ChainHash,
}

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
        self.writer
            .write(move |step| {
                check_log(step.connection, &stream)?;
                append(step, stream, &records, now)
            })
            .await
    }

    async fn read(&self, stream: &StreamName, after: u64, limit: u64) -> Result<Vec<Record>, StoreError> {
        let stream = stream.clone();
        self.readers.read(move |connection| read(connection, Way::Forward, &stream, after, limit)).await
    }

    async fn read_back(
        &self,
        stream: &StreamName,
        before: u64,
        limit: u64,
    ) -> Result<Vec<Record>, StoreError> {
        let stream = stream.clone();
        self.readers.read(move |connection| read(connection, Way::Back, &stream, before, limit)).await
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
        self.trim_in_steps(stream, Old::UpTo(to_sql(up_to)), u64::MAX).await.map(drop)
    }

    async fn trim_before(
        &self,
        stream: &StreamName,
        before: Timestamp,
        limit: u64,
    ) -> Result<u64, StoreError> {
        self.trim_in_steps(stream, Old::Before(nanoseconds(before)), limit).await
    }

    async fn append_chained(
        &self,
        stream: &StreamName,
        records: Vec<Vec<u8>>,
        now: Timestamp,
    ) -> Result<u64, StoreError> {
        if records.is_empty() {
            return self.last_seq(stream).await;
        }
        let stream = stream.clone();
        self.writer.write_all_or_nothing(move |step| append_chained(step, stream, records, now)).await
    }

    async fn read_chained(
        &self,
        stream: &StreamName,
        after: u64,
        limit: u64,
    ) -> Result<ChainPage, StoreError> {
        let stream = stream.clone();
        self.readers.read(move |connection| read_chained(connection, &stream, after, limit)).await
    }

    async fn streams(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: u64,
    ) -> Result<Vec<StreamInfo>, StoreError> {
        let (prefix, after) = (prefix.to_owned(), after.map(str::to_owned));
        self.readers.read(move |connection| list(connection, &prefix, after.as_deref(), limit)).await
    }
}

impl Engine {
    /// Removes old records in steps, between which other writes have their turn, and returns how many went.
    async fn trim_in_steps(&self, stream: &StreamName, old: Old, limit: u64) -> Result<u64, StoreError> {
        let mut removed = 0;
        while removed < limit {
            let (stream, left) = (stream.clone(), limit - removed);
            match self.writer.write(move |step| trim_oldest(step, &stream, old, left)).await? {
                0 => break,
                gone => removed += gone,
            }
        }
        Ok(removed)
    }
}

/// Which records of a stream are old.
#[derive(Clone, Copy)]
pub(super) enum Old {
    All,
    /// Those up to and with this number.
    UpTo(i64),
    /// Those from before this moment, in nanoseconds since 1970.
    Before(i64),
}

impl Old {
    fn holds(self, seq: i64, at: i64) -> bool {
        match self {
            Self::All => true,
            Self::UpTo(last) => seq <= last,
            Self::Before(moment) => at < moment,
        }
    }
}

/// Records and bytes that one step removes at the most (at least one record). Bounds how long other writes wait.
const STEP_RECORDS: u64 = 2_000;
const STEP_BYTES: i64 = 4 * 1024 * 1024;

/// Appends inside a step and returns the last sequence number.
pub(super) fn append<R: AsRef<[u8]>>(
    step: &mut Step<'_>,
    stream: StreamName,
    records: &[R],
    now: Timestamp,
) -> Result<u64, StoreError> {
    let count = to_sql(records.len() as u64);
    let (id, last) = extend(step.connection, &stream, count)?;
    let rows: Vec<_> = (last - count + 1..).zip(records).collect();
    insert(step.connection, Table::of(&stream), &rows, |(seq, record), values| {
        values.add(id)?;
        values.add(seq)?;
        values.add(nanoseconds(now))?;
        values.add(record.as_ref())?;
        values.add(Null)
    })?;
    step.signal(Topic::Stream(stream));
    Ok(from_sql(last))
}

/// Appends job events, each with its moment.
pub(super) fn append_events(connection: &Connection, events: &[(i64, Vec<u8>)]) -> Result<(), StoreError> {
    let count = to_sql(events.len() as u64);
    let (id, last) = extend(connection, &StreamName::job_events(), count)?;
    let rows: Vec<_> = (last - count + 1..).zip(events).collect();
    insert(connection, Table::JobEvents, &rows, |(seq, (at, event)), values| {
        values.add(id)?;
        values.add(seq)?;
        values.add(at)?;
        values.add(event)?;
        values.add(Null)
    })
}

/// Writes records of chained streams.
pub(super) fn insert_chained(connection: &Connection, records: &[ChainedRow]) -> Result<(), StoreError> {
    for records in records.chunk_by(|one, next| one.table == next.table) {
        insert(connection, records[0].table, records, |record, values| {
            values.add(record.stream_id)?;
            values.add(record.seq)?;
            values.add(record.at)?;
            values.add(&record.data)?;
            values.add(record.hash.as_bytes().as_slice())
        })?;
    }
    Ok(())
}

fn insert<R>(
    connection: &Connection,
    table: Table,
    rows: &[R],
    bind: impl Fn(&R, &mut rows::Values<'_, '_>) -> rusqlite::Result<()>,
) -> Result<(), StoreError> {
    let table = format!("{} (stream_id, seq, at, data, hash)", table.name());
    Ok(rows::insert(connection, &table, rows, bind)?)
}

/// Makes room for so many records; returns the stream's row and the number of the last of them.
fn extend(connection: &Connection, stream: &StreamName, count: i64) -> Result<(i64, i64), StoreError> {
    let mut statement = connection.prepare_cached(
        "INSERT INTO streams (name, last_seq) VALUES (?1, ?2)
         ON CONFLICT (name) DO UPDATE SET last_seq = last_seq + excluded.last_seq RETURNING id, last_seq",
    )?;
    Ok(statement.query_row(params![stream.as_str(), count], |row| Ok((row.get(0)?, row.get(1)?)))?)
}

/// Refuses to begin the log of a job that does not exist.
fn check_log(connection: &Connection, stream: &StreamName) -> Result<(), StoreError> {
    let Some(Ok(job)) = stream.as_str().strip_prefix("log/").map(str::parse::<claw_core::JobId>) else {
        return Ok(());
    };
    if find(connection, stream)?.is_some() {
        return Ok(());
    }
    let mut job_exists = connection.prepare_cached("SELECT 1 FROM jobs WHERE id = ?1")?;
    match job_exists.exists(params![job.to_string()])? {
        true => Ok(()),
        false => Err(StoreError::JobNotFound(job)),
    }
}

/// Returns the stream's row and its last number.
fn find(connection: &Connection, stream: &StreamName) -> Result<Option<(i64, i64)>, StoreError> {
    let mut statement = connection.prepare_cached("SELECT id, last_seq FROM streams WHERE name = ?1")?;
    Ok(statement.query_row(params![stream.as_str()], |row| Ok((row.get(0)?, row.get(1)?))).optional()?)
}

/// Removes the records up to and with `last`, and notes the hash of that one if they are chained.
fn remove_up_to(connection: &Connection, table: Table, stream_id: i64, last: i64) -> Result<(), StoreError> {
    let table = table.name();
    connection
        .prepare_cached(&format!(
            "UPDATE streams SET anchor = coalesce(
                (SELECT hash FROM {table} WHERE stream_id = ?1 AND seq <= ?2 ORDER BY seq DESC LIMIT 1), anchor)
             WHERE id = ?1",
        ))?
        .execute(params![stream_id, last])?;
    connection
        .prepare_cached(&format!("DELETE FROM {table} WHERE stream_id = ?1 AND seq <= ?2"))?
        .execute(params![stream_id, last])?;
    Ok(())
}

/// Removes the oldest records as long as they are old, at most `limit` of them and no more than one step may, and
/// returns how many went.
pub(super) fn trim_oldest(
    step: &mut Step<'_>,
    stream: &StreamName,
    old: Old,
    limit: u64,
) -> Result<u64, StoreError> {
    let connection = step.connection;
    let Some((id, _)) = find(connection, stream)? else { return Ok(0) };
    let table = Table::of(stream);
    let mut statement = connection.prepare_cached(&format!(
        "SELECT seq, at, length(data) FROM {} WHERE stream_id = ?1 ORDER BY seq LIMIT ?2",
        table.name(),
    ))?;
    let mut rows = statement.query(params![id, to_sql(limit.min(STEP_RECORDS))])?;
    let (mut gone, mut last, mut bytes) = (0, None, 0);
    while bytes < STEP_BYTES
        && let Some(row) = rows.next()?
    {
        let (seq, at, length): (i64, i64, i64) = (row.get(0)?, row.get(1)?, row.get(2)?);
        // Only from the beginning: a clock that jumped must not make holes.
        if !old.holds(seq, at) {
            break;
        }
        (gone, last, bytes) = (gone + 1, Some(seq), bytes + length);
    }
    drop(rows);
    if let Some(last) = last {
        remove_up_to(connection, table, id, last)?;
    }
    Ok(gone)
}

fn append_chained(
    step: &mut Step<'_>,
    stream: StreamName,
    records: Vec<Vec<u8>>,
    now: Timestamp,
) -> Result<u64, StoreError> {
    let connection = step.connection;
    let mut end = match step.together.chain(&stream) {
        Some(end) => end,
        None => {
            let (stream_id, last) = extend(connection, &stream, 0)?;
            ChainEnd { stream_id, last, hash: hash_of(connection, &stream, stream_id, last)?, noted: last }
        }
    };
    let table = Table::of(&stream);
    // As it will be read back.
    let (nanoseconds, at) = (nanoseconds(now), moment(nanoseconds(now)));
    for data in records {
        end.last += 1;
        end.hash = chain_hash(end.hash, from_sql(end.last), at, &data);
        let (stream_id, seq, hash) = (end.stream_id, end.last, end.hash);
        step.together.put_off_record(ChainedRow { table, stream_id, seq, at: nanoseconds, data, hash });
    }
    let last = end.last;
    step.together.set_chain(stream, end);
    Ok(from_sql(last))
}

/// Returns the hash of a record that may have been trimmed as the newest of those.
fn hash_of(
    connection: &Connection,
    stream: &StreamName,
    stream_id: i64,
    seq: i64,
) -> Result<ChainHash, StoreError> {
    if seq == 0 {
        return Ok(ChainHash::START);
    }
    let mut statement = connection.prepare_cached(&format!(
        "SELECT coalesce((SELECT hash FROM {} WHERE stream_id = ?1 AND seq = ?2),
                         (SELECT anchor FROM streams WHERE id = ?1))",
        Table::of(stream).name(),
    ))?;
    let hash: Option<Vec<u8>> = statement.query_row(params![stream_id, seq], |row| row.get(0))?;
    hash.and_then(|bytes| ChainHash::from_bytes(&bytes))
        .ok_or_else(|| corrupt(&format!("record {seq} of `{}`", stream.as_str()), "it has no hash"))
}

fn read_chained(
    connection: &Connection,
    stream: &StreamName,
    after: u64,
    limit: u64,
) -> Result<ChainPage, StoreError> {
    let Some((id, last)) = find(connection, stream)? else {
        return Ok(ChainPage { after: 0, before: ChainHash::START, records: Vec::new() });
    };
    let mut statement = connection.prepare_cached(&format!(
        "SELECT seq, at, data, hash FROM {} WHERE stream_id = ?1 AND seq > ?2 ORDER BY seq LIMIT ?3",
        Table::of(stream).name(),
    ))?;
    let rows = statement.query_map(params![id, to_sql(after), to_sql(limit)], |row| {
        Ok((record(row)?, row.get::<_, Option<Vec<u8>>>(3)?))
    })?;
    let mut records = Vec::new();
    for row in rows {
        let (record, hash) = row?;
        let hash = hash.and_then(|bytes| ChainHash::from_bytes(&bytes)).ok_or_else(|| {
            corrupt(&format!("record {} of `{}`", record.seq, stream.as_str()), "it has no hash")
        })?;
        records.push(ChainedRecord { record, hash });
    }
    let after = match records.first() {
        Some(first) => first.record.seq.saturating_sub(1),
        None => from_sql(last).min(after),
    };
    let before = hash_of(connection, stream, id, to_sql(after))?;
    Ok(ChainPage { after, before, records })
}

fn list(
    connection: &Connection,
    prefix: &str,
    after: Option<&str>,
    limit: u64,
) -> Result<Vec<StreamInfo>, StoreError> {
    let mut statement = connection.prepare_cached(
        "SELECT id, name, last_seq FROM streams
         WHERE name >= ?1 AND substr(name, 1, length(?1)) = ?1 AND (?2 IS NULL OR name > ?2)
         ORDER BY name LIMIT ?3",
    )?;
    let mut rows = statement.query(params![prefix, after, to_sql(limit)])?;
    let mut streams = Vec::new();
    while let Some(row) = rows.next()? {
        let (id, last_seq): (i64, i64) = (row.get(0)?, row.get(2)?);
        let name = StreamName::stored(row.get::<_, String>(1)?);
        let (oldest, newest) = ends(connection, Table::of(&name), id)?;
        streams.push(StreamInfo {
            name,
            last_seq: from_sql(last_seq),
            // Only the oldest are ever removed, so that what is left has no gap.
            records: oldest.map_or(0, |(first, _)| from_sql(last_seq - first + 1)),
            oldest: oldest.map(|(_, at)| moment(at)),
            newest: newest.map(|(_, at)| moment(at)),
        });
    }
    Ok(streams)
}

/// A record's number and moment.
type Place = (i64, i64);

/// Returns the first and the last record of a stream.
fn ends(
    connection: &Connection,
    table: Table,
    stream_id: i64,
) -> Result<(Option<Place>, Option<Place>), StoreError> {
    let at_end = |order: &str| -> Result<Option<Place>, StoreError> {
        let sql =
            format!("SELECT seq, at FROM {} WHERE stream_id = ?1 ORDER BY seq {order} LIMIT 1", table.name());
        let mut statement = connection.prepare_cached(&sql)?;
        Ok(statement.query_row(params![stream_id], |row| Ok((row.get(0)?, row.get(1)?))).optional()?)
    };
    Ok((at_end("ASC")?, at_end("DESC")?))
}

/// Removes a stream with all its records, for one that nobody will append to again.
pub(super) fn remove(step: &mut Step<'_>, stream: &StreamName) -> Result<(), StoreError> {
    step.together.forget_chain(stream);
    let sql = format!(
        "DELETE FROM {} WHERE stream_id = (SELECT id FROM streams WHERE name = ?1)",
        Table::of(stream).name()
    );
    step.connection.prepare_cached(&sql)?.execute(params![stream.as_str()])?;
    step.connection
        .prepare_cached("DELETE FROM streams WHERE name = ?1")?
        .execute(params![stream.as_str()])?;
    Ok(())
}

fn read(
    connection: &Connection,
    way: Way,
    stream: &StreamName,
    position: u64,
    limit: u64,
) -> Result<Vec<Record>, StoreError> {
    let (beyond, order) = match way {
        Way::Forward => (">", "ASC"),
        Way::Back => ("<", "DESC"),
    };
    let mut statement = connection.prepare_cached(&format!(
        "SELECT seq, at, data FROM {} WHERE stream_id = (SELECT id FROM streams WHERE name = ?1) AND seq {beyond} ?2
         ORDER BY seq {order} LIMIT ?3",
        Table::of(stream).name(),
    ))?;
    let records = statement.query_map(params![stream.as_str(), to_sql(position), to_sql(limit)], record)?;
    Ok(records.collect::<Result<_, _>>()?)
}

fn record(row: &Row<'_>) -> rusqlite::Result<Record> {
    Ok(Record { seq: from_sql(row.get(0)?), at: moment(row.get(1)?), data: row.get(2)? })
}
