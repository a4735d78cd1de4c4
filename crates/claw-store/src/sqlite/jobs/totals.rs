//! How many jobs there are, kept up to date with every step, so that no list ever counts by walking.

use std::collections::BTreeSet;

use claw_core::{Job, JobStatus};
use rusqlite::{Connection, params};

use crate::{
    JobCounts, StoreError,
    sqlite::{counters, error::from_sql},
};

/// By what jobs are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dimension {
    All,
    Owner,
    Workspace,
    Source,
    Tag,
}

impl Dimension {
    fn as_str(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Owner => "owner",
            Self::Workspace => "workspace",
            Self::Source => "source",
            Self::Tag => "tag",
        }
    }
}

/// Counts a new job.
pub(super) fn added(connection: &Connection, job: &Job) -> Result<(), StoreError> {
    add(connection, job, job.status(), 1)
}

/// Counts a job that went from one state to another.
pub(super) fn moved(connection: &Connection, job: &Job, from: JobStatus) -> Result<(), StoreError> {
    add(connection, job, from, -1)?;
    add(connection, job, job.status(), 1)?;
    if let Some(name) = ended_counter(job.status()) {
        counters::next(connection, name)?;
    }
    Ok(())
}

/// Forgets a deleted job; what it added to [`counts`] stays.
pub(super) fn removed(connection: &Connection, job: &Job) -> Result<(), StoreError> {
    add(connection, job, job.status(), -1)
}

/// Returns how many jobs have the value, in the state or in any.
pub(super) fn total(
    connection: &Connection,
    dimension: Dimension,
    value: &str,
    status: Option<JobStatus>,
) -> Result<u64, StoreError> {
    let mut statement = connection.prepare_cached(
        "SELECT coalesce(sum(jobs), 0) FROM job_totals
         WHERE dimension = ?1 AND value = ?2 AND (?3 IS NULL OR status = ?3)",
    )?;
    let status = status.map(JobStatus::as_str);
    Ok(from_sql(statement.query_row(params![dimension.as_str(), value, status], |row| row.get(0))?))
}

/// Returns the counts by state.
pub(super) fn counts(connection: &Connection) -> Result<JobCounts, StoreError> {
    let stored = |status| total(connection, Dimension::All, "", Some(status));
    let ever = |status| match ended_counter(status) {
        Some(name) => counters::get(connection, name).map(from_sql),
        None => Ok(0),
    };
    Ok(JobCounts {
        pending: stored(JobStatus::Pending)?,
        running: stored(JobStatus::Running)?,
        completed: ever(JobStatus::Completed)?,
        failed: ever(JobStatus::Failed)?,
        cancelled: ever(JobStatus::Cancelled)?,
    })
}

/// Returns the job's tags, each once.
pub(super) fn tags(job: &Job) -> BTreeSet<&str> {
    job.spec.tags.iter().map(String::as_str).collect()
}

fn ended_counter(status: JobStatus) -> Option<&'static str> {
    match status {
        JobStatus::Pending | JobStatus::Running => None,
        JobStatus::Completed => Some("ended_completed"),
        JobStatus::Failed => Some("ended_failed"),
        JobStatus::Cancelled => Some("ended_cancelled"),
    }
}

fn add(connection: &Connection, job: &Job, status: JobStatus, change: i32) -> Result<(), StoreError> {
    let mut statement = connection.prepare_cached(
        "INSERT INTO job_totals (dimension, value, status, jobs) VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT (dimension, value, status) DO UPDATE SET jobs = jobs + excluded.jobs RETURNING jobs",
    )?;
    let mut add = |dimension: Dimension, value: &str| -> Result<(), StoreError> {
        let left: i64 = statement
            .query_row(params![dimension.as_str(), value, status.as_str(), change], |row| row.get(0))?;
        if left == 0 {
            // Owners, workspaces and tags come and go; their rows go with them.
            connection
                .prepare_cached("DELETE FROM job_totals WHERE dimension = ?1 AND value = ?2 AND status = ?3")?
                .execute(params![dimension.as_str(), value, status.as_str()])?;
        }
        Ok(())
    };
    add(Dimension::All, "")?;
    add(Dimension::Owner, &job.owner)?;
    add(Dimension::Source, job.spec.source.as_str())?;
    if let Some(workspace) = job.spec.workspace_id {
        add(Dimension::Workspace, &workspace.to_string())?;
    }
    for tag in tags(job) {
        add(Dimension::Tag, tag)?;
    }
    Ok(())
}
