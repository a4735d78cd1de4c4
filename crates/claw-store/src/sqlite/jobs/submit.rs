//! New jobs: made ready by whoever asks, looked at one by one, and written together with the others of their batch.

use claw_core::{Job, JobEvent, JobStatus, Timestamp};
use rusqlite::{Connection, OptionalExtension, params};

use super::{queue, row, totals};
use crate::{
    StoreError, SubmitRequest, Submitted,
    sqlite::{
        error::{corrupt, nanoseconds},
        rows,
        writer::Step,
    },
};

/// A job that is to be stored, with all that needs no look at what is there.
pub(super) struct NewJob {
    job: Job,
    row: NewRow,
}

/// Its rows.
pub(in crate::sqlite) struct NewRow {
    seq: i64,
    id: String,
    owner: String,
    workspace: Option<String>,
    source: &'static str,
    priority: u8,
    exclusive: bool,
    idempotency_key: Option<String>,
    created_at: i64,
    status: JobStatus,
    place: Option<&'static str>,
    progress: String,
    prompt: String,
    spec: String,
    /// Each once, in order.
    tags: Vec<String>,
    event: Vec<u8>,
}

impl NewJob {
    /// Makes the job and its rows. For the caller's thread, so that the writer has that much less to do.
    pub(super) fn prepare(request: SubmitRequest, now: Timestamp) -> Result<Self, StoreError> {
        let SubmitRequest { id, owner, spec, exclusive, idempotency_key } = request;
        let exclusive = exclusive && spec.workspace_id.is_some();
        let job = Job::new(id, owner, spec, now);
        let (prompt, spec) = row::spec_columns(job.spec.clone())?;
        let event = serde_json::to_vec(&JobEvent {
            job_id: id,
            owner: job.owner.clone(),
            status: job.status(),
            worker_id: None,
            workspace_id: job.spec.workspace_id,
            timestamp: now,
        })
        .map_err(|error| corrupt("job event", error))?;
        let row = NewRow {
            seq: 0,
            id: id.to_string(),
            owner: job.owner.clone(),
            workspace: job.spec.workspace_id.map(|workspace| workspace.to_string()),
            source: job.spec.source.as_str(),
            priority: job.spec.priority.get(),
            exclusive,
            idempotency_key,
            created_at: nanoseconds(now),
            status: job.status(),
            place: queue::place(&job, exclusive, now),
            progress: row::progress(&job)?,
            prompt,
            spec,
            tags: totals::tags(&job).into_iter().map(str::to_owned).collect(),
            event,
        };
        Ok(Self { job, row })
    }
}

impl NewRow {
    /// Its id.
    pub(in crate::sqlite) fn id(&self) -> &str {
        &self.id
    }

    /// Its number, once it has one.
    pub(in crate::sqlite) fn seq(&self) -> i64 {
        self.seq
    }

    /// Its event, and when that was.
    pub(in crate::sqlite) fn take_event(&mut self) -> (i64, Vec<u8>) {
        (self.created_at, std::mem::take(&mut self.event))
    }

    /// As which it counts.
    pub(in crate::sqlite) fn kind(&self) -> totals::Kind<'_> {
        totals::Kind {
            owner: &self.owner,
            workspace: self.workspace.as_deref(),
            source: self.source,
            tags: self.tags.iter().map(String::as_str).collect(),
        }
    }

    /// In which state it begins.
    pub(in crate::sqlite) fn status(&self) -> JobStatus {
        self.status
    }
}

/// Takes a new job into the batch, or finds the one with the same idempotency key.
pub(super) fn submit(step: &mut Step<'_>, new: NewJob) -> Result<Submitted, StoreError> {
    let NewJob { job, mut row } = new;
    let connection = step.connection;
    if let Some(key) = &row.idempotency_key
        && let Some(first) = first_with_key(step, &row.owner, key)?
    {
        // Compared as read back from storage, so that a number's last digit cannot make a difference.
        if first.spec != row::spec(row.prompt, &row.spec)? {
            return Err(StoreError::IdempotencyMismatch { key: key.clone() });
        }
        return Ok(Submitted { job: first, created: false });
    }
    if step.together.may_be_taken(connection, &row.id)? && is_taken(step, &row.id)? {
        return Err(StoreError::Conflict { kind: "job".into(), id: row.id });
    }
    row.seq = step.together.next_job_seq(connection)?;
    step.together.put_off(row);
    Ok(Submitted { job, created: true })
}

fn first_with_key(step: &Step<'_>, owner: &str, key: &str) -> Result<Option<Job>, StoreError> {
    let has_key = |row: &&NewRow| row.owner == owner && row.idempotency_key.as_deref() == Some(key);
    if let Some(row) = step.together.put_off_jobs().iter().find(has_key) {
        let id = row.id.parse().map_err(|error| corrupt("job id", error))?;
        let spec = row::spec(row.prompt.clone(), &row.spec)?;
        return Ok(Some(Job::new(id, row.owner.clone(), spec, crate::sqlite::error::moment(row.created_at))));
    }
    let seq: Option<i64> = step
        .connection
        .prepare_cached("SELECT seq FROM jobs WHERE owner = ?1 AND idempotency_key = ?2")?
        .query_row(params![owner, key], |row| row.get(0))
        .optional()?;
    seq.map(|seq| row::at(step.connection, seq).map(|stored| stored.job)).transpose()
}

fn is_taken(step: &Step<'_>, id: &str) -> Result<bool, StoreError> {
    if step.together.put_off_jobs().iter().any(|row| row.id == id) {
        return Ok(true);
    }
    Ok(step.connection.prepare_cached("SELECT 1 FROM jobs WHERE id = ?1")?.exists(params![id])?)
}

/// Writes new jobs, and lets the first of each workspace come forward.
pub(in crate::sqlite) fn insert(connection: &Connection, jobs: &[NewRow]) -> Result<(), StoreError> {
    rows::insert(
        connection,
        "jobs (seq, id, owner, workspace, source, priority, exclusive, idempotency_key, created_at, status, place,
            queue_seq, progress)",
        jobs,
        |job, values| {
            values.add(job.seq)?;
            values.add(&job.id)?;
            values.add(&job.owner)?;
            values.add(&job.workspace)?;
            values.add(job.source)?;
            values.add(job.priority)?;
            values.add(job.exclusive)?;
            values.add(&job.idempotency_key)?;
            values.add(job.created_at)?;
            values.add(job.status.as_str())?;
            values.add(job.place)?;
            values.add(job.seq)?;
            values.add(&job.progress)
        },
    )?;
    rows::insert(connection, "job_specs (seq, prompt, spec)", jobs, |job, values| {
        values.add(job.seq)?;
        values.add(&job.prompt)?;
        values.add(&job.spec)
    })?;
    let tags: Vec<_> = jobs.iter().flat_map(|job| job.tags.iter().map(|tag| (tag, job.seq))).collect();
    rows::insert(connection, "job_tags (tag, seq)", &tags, |(tag, seq), values| {
        values.add(tag)?;
        values.add(seq)
    })?;
    let mut workspaces: Vec<_> =
        jobs.iter().filter(|job| job.exclusive).filter_map(|job| job.workspace.as_deref()).collect();
    workspaces.sort_unstable();
    workspaces.dedup();
    workspaces.into_iter().try_for_each(|workspace| queue::elect(connection, workspace))
}
