//! A job as rows: a small one that changes, and what was asked for, which does not.

use claw_core::{Job, JobId, JobSpec, JobState, RunUsage, Timestamp};
use rusqlite::{Connection, OptionalExtension, Row, params};
use serde::{Deserialize, Serialize};

use crate::{
    StoreError,
    sqlite::error::{corrupt, moment},
};

/// A job with what only the queue needs to know.
pub(super) struct StoredJob {
    pub(super) seq: i64,
    /// Its turn inside its priority.
    pub(super) queue_seq: i64,
    /// Whether it shares its workspace with no other exclusive job.
    pub(super) exclusive: bool,
    pub(super) job: Job,
}

/// The changing part, as JSON beside the columns that are searched by. Jobs written by older versions must load, so
/// later fields need a default.
#[derive(Serialize, Deserialize)]
struct Progress {
    state: JobState,
    retry_count: u32,
    lease_count: u64,
    usage: RunUsage,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    postponed_since: Option<Timestamp>,
}

/// Returns the changing part of `job` as it is stored.
pub(super) fn progress(job: &Job) -> Result<String, StoreError> {
    let progress = Progress {
        state: job.state.clone(),
        retry_count: job.retry_count,
        lease_count: job.lease_count,
        usage: job.usage,
        postponed_since: job.postponed_since,
    };
    serde_json::to_string(&progress).map_err(|error| corrupt(&format!("job {}", job.id), error))
}

/// Returns the spec as it is stored: its prompt, and the rest as JSON.
pub(super) fn spec_columns(spec: JobSpec) -> Result<(String, String), StoreError> {
    let mut rest = spec;
    let prompt = std::mem::take(&mut rest.prompt);
    let json = serde_json::to_string(&rest).map_err(|error| corrupt("job spec", error))?;
    Ok((prompt, json))
}

/// Reads back what [`spec_columns`] wrote.
pub(super) fn spec(prompt: String, json: &str) -> Result<JobSpec, StoreError> {
    let rest: JobSpec = serde_json::from_str(json).map_err(|error| corrupt("job spec", error))?;
    Ok(JobSpec { prompt, ..rest })
}

const BY_ID: &str = "SELECT jobs.seq, jobs.queue_seq, jobs.exclusive, jobs.id, jobs.owner, jobs.created_at,
        jobs.progress, job_specs.prompt, job_specs.spec
    FROM jobs JOIN job_specs ON job_specs.seq = jobs.seq WHERE jobs.id = ?1";

const BY_SEQ: &str = "SELECT jobs.seq, jobs.queue_seq, jobs.exclusive, jobs.id, jobs.owner, jobs.created_at,
        jobs.progress, job_specs.prompt, job_specs.spec
    FROM jobs JOIN job_specs ON job_specs.seq = jobs.seq WHERE jobs.seq = ?1";

/// Returns the job, or `None`.
pub(super) fn find(connection: &Connection, id: JobId) -> Result<Option<StoredJob>, StoreError> {
    let mut statement = connection.prepare_cached(BY_ID)?;
    statement.query_row(params![id.to_string()], Columns::read).optional()?.map(Columns::into_job).transpose()
}

/// Returns the job.
pub(super) fn require(connection: &Connection, id: JobId) -> Result<StoredJob, StoreError> {
    find(connection, id)?.ok_or(StoreError::JobNotFound(id))
}

/// Returns the job at a place that was just read from an index.
pub(super) fn at(connection: &Connection, seq: i64) -> Result<StoredJob, StoreError> {
    connection.prepare_cached(BY_SEQ)?.query_row(params![seq], Columns::read)?.into_job()
}

/// Returns the numbers of the running jobs, oldest first.
pub(super) fn running(connection: &Connection) -> Result<Vec<i64>, StoreError> {
    let mut statement =
        connection.prepare_cached("SELECT seq FROM jobs WHERE status = 'running' ORDER BY seq")?;
    let found = statement.query_map([], |row| row.get(0))?;
    Ok(found.collect::<Result<_, _>>()?)
}

struct Columns {
    seq: i64,
    queue_seq: i64,
    exclusive: bool,
    id: String,
    owner: String,
    created_at: i64,
    progress: String,
    prompt: String,
    spec: String,
}

impl Columns {
    fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            seq: row.get(0)?,
            queue_seq: row.get(1)?,
            exclusive: row.get(2)?,
            id: row.get(3)?,
            owner: row.get(4)?,
            created_at: row.get(5)?,
            progress: row.get(6)?,
            prompt: row.get(7)?,
            spec: row.get(8)?,
        })
    }

    fn into_job(self) -> Result<StoredJob, StoreError> {
        let what = format!("job {}", self.id);
        let id = self.id.parse().map_err(|error| corrupt(&what, error))?;
        let progress: Progress =
            serde_json::from_str(&self.progress).map_err(|error| corrupt(&what, error))?;
        let job = Job {
            id,
            owner: self.owner,
            spec: spec(self.prompt, &self.spec)?,
            state: progress.state,
            created_at: moment(self.created_at),
            retry_count: progress.retry_count,
            lease_count: progress.lease_count,
            usage: progress.usage,
            postponed_since: progress.postponed_since,
        };
        Ok(StoredJob { seq: self.seq, queue_seq: self.queue_seq, exclusive: self.exclusive, job })
    }
}

#[cfg(test)]
mod tests {
    use rusqlite::StatementStatus;

    use super::*;
    use crate::sqlite::{SqliteOptions, SqliteStore, file};

    #[tokio::test]
    async fn a_statement_is_compiled_once_for_all_the_rows_it_finds() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("store.db");
        SqliteStore::open(&path, SqliteOptions::default()).expect("a store").close().await;
        let connection = file::connect_reader(&path).expect("a reader");
        let mut statement = connection.prepare(BY_SEQ).expect("a statement");

        for seq in 1..=10 {
            assert!(!statement.exists(params![seq]).expect("an answer"), "job {seq}");
        }

        assert_eq!(statement.get_status(StatementStatus::RePrepare), 0);
    }
}
