//! Jobs: queue and archive in the same rows.

mod list;
mod queue;
pub(super) mod remembered;
mod row;
pub(super) mod search;
mod spending;
pub(super) mod submit;
pub(super) mod totals;

use async_trait::async_trait;
use claw_core::{ClaimedJob, Job, JobId, JobOutcome, RunUsage, Timestamp, Transition};
use rusqlite::{Connection, OptionalExtension, params};

use super::{
    Engine,
    error::{corrupt, moment, nanoseconds, to_sql},
    streams, writer,
};
use crate::{
    Charge, ClaimRequest, EndedRule, JobCounts, JobFilter, JobPage, Jobs, LapsedJob, SpendingFilter,
    SpendingRow, Spent, StoreError, StoredResult, StreamName, SubmitRequest, Submitted, Topic,
};

#[async_trait]
impl Jobs for Engine {
    async fn submit(&self, request: SubmitRequest, now: Timestamp) -> Result<Submitted, StoreError> {
        let new = submit::NewJob::prepare(request, now)?;
        self.writer.write_all_or_nothing(move |step| submit::submit(step, new)).await
    }

    async fn claim(&self, request: ClaimRequest, now: Timestamp) -> Result<Option<ClaimedJob>, StoreError> {
        self.writer.write(move |step| queue::claim(step, request, now)).await
    }

    async fn next_due(&self, _now: Timestamp) -> Result<Option<Timestamp>, StoreError> {
        self.readers.read(next_due).await
    }

    async fn renew(&self, job: JobId, token: u64, until: Timestamp) -> Result<Job, StoreError> {
        self.writer
            .write(move |step| {
                let mut stored = row::require(step.connection, job)?;
                // The moment of a renewal is not looked at: what counts is whose lease it is.
                queue::advance(step, &mut stored, Transition::Renew { token, until }, until)?;
                Ok(stored.job)
            })
            .await
    }

    async fn finish(
        &self,
        job: JobId,
        token: u64,
        outcome: JobOutcome,
        usage: RunUsage,
        now: Timestamp,
    ) -> Result<Job, StoreError> {
        self.writer
            .write(move |step| {
                let stored = row::require(step.connection, job)?;
                queue::finish(step, stored, token, outcome, usage, now)
            })
            .await
    }

    async fn cancel(&self, job: JobId, by: String, now: Timestamp) -> Result<Job, StoreError> {
        self.writer
            .write(move |step| {
                let mut stored = row::require(step.connection, job)?;
                queue::advance(step, &mut stored, Transition::RequestCancel { by }, now)?;
                step.signal(Topic::Cancel(job));
                Ok(stored.job)
            })
            .await
    }

    async fn lapse(
        &self,
        dead_workers: &[String],
        max_retries: u32,
        now: Timestamp,
    ) -> Result<Vec<LapsedJob>, StoreError> {
        let dead_workers = dead_workers.to_vec();
        self.writer.write(move |step| queue::lapse(step, &dead_workers, max_retries, now)).await
    }

    async fn get(&self, job: JobId) -> Result<Option<Job>, StoreError> {
        self.readers.read(move |connection| Ok(row::find(connection, job)?.map(|stored| stored.job))).await
    }

    async fn result(&self, job: JobId) -> Result<Option<StoredResult>, StoreError> {
        self.readers.read(move |connection| result(connection, job)).await
    }

    async fn list(&self, filter: JobFilter) -> Result<JobPage, StoreError> {
        let totals = self.search_totals.clone();
        self.readers.read(move |connection| list::list(connection, &totals, &filter)).await
    }

    async fn running(&self) -> Result<Vec<Job>, StoreError> {
        self.readers
            .read(|connection| {
                let running = row::running(connection)?;
                running.into_iter().map(|seq| Ok(row::at(connection, seq)?.job)).collect()
            })
            .await
    }

    async fn charge(&self, charge: Charge, now: Timestamp) -> Result<Spent, StoreError> {
        self.writer.write(move |step| spending::charge(step, &charge, now)).await
    }

    async fn spent(&self, job: Option<JobId>, owner: &str, now: Timestamp) -> Result<Spent, StoreError> {
        let owner = owner.to_owned();
        self.readers.read(move |connection| spending::spent(connection, job, &owner, now)).await
    }

    async fn spending(&self, filter: SpendingFilter) -> Result<Vec<SpendingRow>, StoreError> {
        self.readers.read(move |connection| spending::rows(connection, &filter)).await
    }

    async fn ended(&self, rule: EndedRule, limit: u64) -> Result<Vec<JobId>, StoreError> {
        self.readers.read(move |connection| ended(connection, rule, limit)).await
    }

    async fn counts(&self) -> Result<JobCounts, StoreError> {
        self.readers.read(totals::counts).await
    }

    async fn delete(&self, job: JobId) -> Result<(), StoreError> {
        let log = StreamName::job_log(job);
        loop {
            let log = log.clone();
            let step = move |step: &mut writer::Step<'_>| {
                queue::require_ended(&row::require(step.connection, job)?)?;
                streams::trim_oldest(step, &log, streams::Old::All, u64::MAX)
            };
            if self.writer.write(step).await? == 0 {
                break;
            }
        }
        self.writer
            .write(move |step| {
                let stored = row::require(step.connection, job)?;
                queue::delete(step, &stored)
            })
            .await
    }
}

fn ended(connection: &Connection, rule: EndedRule, limit: u64) -> Result<Vec<JobId>, StoreError> {
    // Both parts of the rule name the jobs that ended first, so the longer list holds the shorter one.
    let before = rule.before.map_or(i64::MIN, nanoseconds);
    let beyond = match rule.beyond_newest {
        Some(kept) => totals::ended(connection)?.saturating_sub(kept),
        None => 0,
    };
    let mut statement = connection.prepare_cached(
        "SELECT id, ended_at FROM jobs WHERE ended_at IS NOT NULL ORDER BY ended_at, seq LIMIT ?1",
    )?;
    let mut rows = statement.query(params![to_sql(limit)])?;
    let mut old = Vec::new();
    while let Some(row) = rows.next()? {
        let (id, ended_at): (String, i64) = (row.get(0)?, row.get(1)?);
        if ended_at >= before && old.len() as u64 >= beyond {
            break;
        }
        old.push(id.parse().map_err(|error| corrupt("job id", error))?);
    }
    Ok(old)
}

fn next_due(connection: &Connection) -> Result<Option<Timestamp>, StoreError> {
    let next: Option<i64> = connection
        .prepare_cached(
            "SELECT min(due) FROM (
                SELECT min(not_before) AS due FROM jobs WHERE place = 'later'
                UNION ALL SELECT min(lease_until) FROM jobs WHERE status = 'running')",
        )?
        .query_row([], |row| row.get(0))?;
    Ok(next.map(moment))
}

fn result(connection: &Connection, job: JobId) -> Result<Option<StoredResult>, StoreError> {
    let stored: Option<(i64, String)> = connection
        .prepare_cached(
            "SELECT finished_at, result FROM job_results WHERE seq = (SELECT seq FROM jobs WHERE id = ?1)",
        )?
        .query_row(params![job.to_string()], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let parse = |(finished_at, json): (i64, String)| {
        let result =
            serde_json::from_str(&json).map_err(|error| corrupt(&format!("result of job {job}"), error))?;
        Ok(StoredResult { result, finished_at: moment(finished_at) })
    };
    stored.map(parse).transpose()
}
