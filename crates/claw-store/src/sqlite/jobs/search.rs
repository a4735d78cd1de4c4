//! Searching in prompts: a trigram index that is filled in batches, and a plain scan for what it does not know yet.
//!
//! Putting every prompt into the index as it is submitted would make a submit several times as costly and delay the
//! claim that follows. The newest few hundred prompts are quick to scan, so the index may lag behind by that much.

use std::time::{Duration, Instant};

use rusqlite::{Connection, functions::FunctionFlags, params};

use crate::{StoreError, sqlite::counters};

/// Jobs the index lags behind before the writer, when idle, brings it up to date.
const LAG: i64 = 256;

/// Jobs the index lags behind before it is brought up to date even while writes wait.
const LAG_WHEN_BUSY: i64 = 4096;

/// Bytes of prompts that one step puts into the index. Bounds how long writes wait for it.
const STEP_BYTES: usize = 64 * 1024;

/// Pages that one step writes which puts parts of the index together. Bounds how long writes wait for it.
const MERGE_PAGES: i64 = 64;

/// How long a step that failed is not tried again.
const PAUSE: Duration = Duration::from_secs(30);

/// The index knows sequences of this many characters; shorter texts need a scan.
const GRAM: usize = 3;

/// Name of the last job in the index among the counters.
const INDEXED: &str = "search_indexed";

/// The function that compares without regard to letter case.
pub(in crate::sqlite) fn register(connection: &Connection) -> Result<(), StoreError> {
    let flags = FunctionFlags::SQLITE_UTF8 | FunctionFlags::SQLITE_DETERMINISTIC;
    connection.create_scalar_function("contains_text", 2, flags, |context| {
        let (prompt, needle) = (context.get_raw(0).as_str()?, context.get_raw(1).as_str()?);
        Ok(contains(prompt, needle))
    })?;
    Ok(())
}

/// Returns the text without regard to letter case.
pub(super) fn fold(text: &str) -> String {
    text.chars().flat_map(char::to_lowercase).collect()
}

/// Tells whether the prompt holds the folded text.
fn contains(prompt: &str, needle: &str) -> bool {
    if prompt.is_ascii() {
        // Most prompts. Several times as fast as going through the characters, which is what a scan spends its time on.
        return needle.is_ascii() && prompt.to_ascii_lowercase().contains(needle);
    }
    fold(prompt).contains(needle)
}

/// Returns the text as a query to the index; `None` if the index cannot answer it.
pub(super) fn index_query(needle: &str) -> Option<String> {
    let known = needle.chars().count() >= GRAM && !needle.contains('\0');
    known.then(|| format!("\"{}\"", needle.replace('"', "\"\"")))
}

/// Returns the newest job that the index knows.
pub(super) fn indexed(connection: &Connection) -> Result<i64, StoreError> {
    counters::get(connection, INDEXED)
}

/// Returns the newest job; 0 if there is none.
pub(super) fn newest(connection: &Connection) -> Result<i64, StoreError> {
    let mut statement = connection.prepare_cached("SELECT max(seq) FROM job_specs")?;
    Ok(statement.query_row([], |row| row.get::<_, Option<i64>>(0))?.unwrap_or(0))
}

/// Removes a job from the index, if it is there.
pub(super) fn forget(connection: &Connection, seq: i64) -> Result<(), StoreError> {
    if seq <= indexed(connection)? {
        connection.prepare_cached("DELETE FROM job_search WHERE rowid = ?1")?.execute(params![seq])?;
    }
    Ok(())
}

/// What the index does not know yet, as the writer keeps it in mind.
pub(in crate::sqlite) struct Backlog {
    newest: i64,
    indexed: i64,
    /// Whether parts of the index may wait to be put together.
    is_in_parts: bool,
    not_before: Option<Instant>,
}

/// What there is to do for the index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::sqlite) enum Chore {
    /// Put in what is new.
    Index,
    /// Put parts together.
    Merge,
}

impl Backlog {
    /// Returns what is to be done in this file.
    pub(in crate::sqlite) fn load(connection: &Connection) -> Self {
        // On an error everything counts as new; the step itself then reports it.
        let (newest, indexed) = (newest(connection).unwrap_or(0), indexed(connection).unwrap_or(0));
        Self { newest, indexed, is_in_parts: false, not_before: None }
    }

    /// Notes the newest job.
    pub(in crate::sqlite) fn note(&mut self, newest: i64) {
        self.newest = self.newest.max(newest);
    }

    /// Tells what should be done now. Merging can wait for as long as there is something else to write.
    pub(in crate::sqlite) fn due(&self, idle: bool) -> Option<Chore> {
        let is_behind = self.newest - self.indexed >= if idle { LAG } else { LAG_WHEN_BUSY };
        let chore = match (is_behind, idle && self.is_in_parts) {
            (true, _) => Chore::Index,
            (false, true) => Chore::Merge,
            (false, false) => return None,
        };
        self.not_before.is_none_or(|not_before| not_before <= Instant::now()).then_some(chore)
    }

    /// Takes a step in a transaction of its own. Searches stay right if it fails, they only get slower.
    pub(in crate::sqlite) fn work_off(&mut self, connection: &Connection, chore: Chore) {
        let step = || -> Result<Self, StoreError> {
            connection.execute_batch("BEGIN IMMEDIATE")?;
            let known = indexed(connection)?;
            let (indexed, is_in_parts) = match chore {
                Chore::Index => (index_some(connection, known)?, true),
                Chore::Merge => (known, merge_some(connection)?),
            };
            if indexed != known {
                counters::set(connection, INDEXED, indexed)?;
            }
            // The newest that was noted may have been deleted since.
            let newest = newest(connection)?;
            connection.execute_batch("COMMIT")?;
            Ok(Self { newest, indexed, is_in_parts, not_before: None })
        };
        match step() {
            Ok(after) => *self = after,
            Err(error) => {
                tracing::warn!(%error, "the search index could not be brought up to date, searches get slower");
                if !connection.is_autocommit()
                    && let Err(error) = connection.execute_batch("ROLLBACK")
                {
                    tracing::error!(%error, "a failed transaction could not be rolled back");
                }
                self.not_before = Some(Instant::now() + PAUSE);
            }
        }
    }
}

/// Indexes the next jobs after `indexed` and returns the last one.
fn index_some(connection: &Connection, mut indexed: i64) -> Result<i64, StoreError> {
    let mut bytes = 0;
    let mut select = connection
        .prepare_cached("SELECT seq, prompt FROM job_specs WHERE seq > ?1 ORDER BY seq LIMIT ?2")?;
    let mut insert = connection.prepare_cached("INSERT INTO job_search (rowid, prompt) VALUES (?1, ?2)")?;
    let mut rows = select.query(params![indexed, LAG_WHEN_BUSY])?;
    while bytes < STEP_BYTES
        && let Some(row) = rows.next()?
    {
        let prompt: String = row.get(1)?;
        bytes += prompt.len();
        indexed = row.get(0)?;
        // The tokenizer would stop at a NUL.
        insert.execute(params![indexed, prompt.replace('\0', "\u{fffd}")])?;
    }
    Ok(indexed)
}

/// Puts some parts of the index together, and tells whether there may be more to do.
fn merge_some(connection: &Connection) -> Result<bool, StoreError> {
    let before = connection.total_changes();
    connection
        .prepare_cached("INSERT INTO job_search (job_search, rank) VALUES ('merge', ?1)")?
        .execute(params![MERGE_PAGES])?;
    // The statement itself counts as one change, as the manual says.
    Ok(connection.total_changes() - before >= 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_found_in_any_letter_case_and_alphabet() {
        for (prompt, text, expected) in [
            ("Mend the BUILD", "build", true),
            ("Mend the build", "BUILD", true),
            ("mend", "build", false),
            ("mend", "\u{e4}", false),
            ("\u{c4}rger im Bau", "\u{e4}RGER", true),
            ("300 \u{212a}", "k", true),
            ("k", "\u{212a}", true),
            ("\u{6f22}\u{5b57}", "\u{5b57}", true),
        ] {
            assert_eq!(contains(prompt, &fold(text)), expected, "{text} in {prompt}");
        }
    }
}
