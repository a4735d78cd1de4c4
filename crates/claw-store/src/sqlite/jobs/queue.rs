//! The life of a job: every step is [`Job::apply`] with its rows, counts and event in one transaction.
//!
//! A claim takes the first job whose place is `ready`; it never walks past jobs that cannot run. For that, of all
//! exclusive jobs of one workspace at most one is ready, and none while one of them runs: see [`elect`].

use claw_core::{
    ClaimedJob, IllegalTransition, Job, JobEvent, JobOutcome, JobState, JobStatus, Timestamp, Transition,
};
use rusqlite::{Connection, OptionalExtension, params};

use super::{
    row::{self, StoredJob},
    spending, totals,
};
use crate::{
    ClaimRequest, LapsedJob, StoreError, StreamName, Topic,
    sqlite::{
        error::{corrupt, nanoseconds},
        streams,
        writer::Step,
    },
};

/// Hands out the first job that is ready, after freeing what lapsed and what backed off long enough.
pub(super) fn claim(
    step: &mut Step<'_>,
    request: ClaimRequest,
    now: Timestamp,
) -> Result<Option<ClaimedJob>, StoreError> {
    lapse(step, &[], request.max_retries, now)?;
    let connection = step.connection;
    wake_due(step, now)?;
    let ready = first_ready(connection, &request.skip_owners)?;
    let Some(seq) = ready else { return Ok(None) };
    let mut stored = row::at(connection, seq)?;
    let claim = Transition::Claim { worker: request.worker, until: request.lease_until };
    match advance(step, &mut stored, claim, now) {
        Ok(()) => {
            let token = stored.job.lease_count;
            Ok(Some(ClaimedJob { job: stored.job, token }))
        }
        // A caller whose clock is ahead made it ready. What lapsed above must stay freed, so this is no error.
        Err(StoreError::Transition(IllegalTransition::NotDue)) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Returns the job whose turn it is, of those whose owner is none of `skip_owners`.
fn first_ready(connection: &Connection, skip_owners: &[String]) -> Result<Option<i64>, StoreError> {
    if skip_owners.is_empty() {
        let mut first = connection.prepare_cached(
            "SELECT seq FROM jobs WHERE place = 'ready' ORDER BY priority DESC, queue_seq LIMIT 1",
        )?;
        return Ok(first.query_row([], |row| row.get(0)).optional()?);
    }
    let owners = serde_json::to_string(skip_owners).map_err(|error| corrupt("owners", error))?;
    let mut first = connection.prepare_cached(
        "SELECT seq FROM jobs WHERE place = 'ready' AND owner NOT IN (SELECT value FROM json_each(?1))
         ORDER BY priority DESC, queue_seq LIMIT 1",
    )?;
    Ok(first.query_row(params![owners], |row| row.get(0)).optional()?)
}

/// Lets every job join the queue whose time to back off is over, in the order in which they became due.
fn wake_due(step: &mut Step<'_>, now: Timestamp) -> Result<(), StoreError> {
    let connection = step.connection;
    let due: Vec<(i64, Option<String>, bool)> = connection
        .prepare_cached(
            "SELECT seq, workspace, exclusive FROM jobs
             WHERE place = 'later' AND not_before <= ?1 ORDER BY not_before, queue_seq",
        )?
        .query_map(params![nanoseconds(now)], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
        .collect::<Result<_, _>>()?;
    for (seq, workspace, exclusive) in due {
        let turn = step.together.next_job_seq(connection)?;
        connection
            .prepare_cached("UPDATE jobs SET place = ?2, queue_seq = ?3 WHERE seq = ?1")?
            .execute(params![seq, if exclusive { "behind" } else { "ready" }, turn])?;
        if let Some(workspace) = workspace.filter(|_| exclusive) {
            elect(connection, &workspace)?;
        }
    }
    Ok(())
}

/// Frees the jobs whose lease ran out, and those of dead workers.
pub(super) fn lapse(
    step: &mut Step<'_>,
    dead_workers: &[String],
    max_retries: u32,
    now: Timestamp,
) -> Result<Vec<LapsedJob>, StoreError> {
    let candidates = if dead_workers.is_empty() {
        step.connection
            .prepare_cached(
                "SELECT seq FROM jobs WHERE status = 'running' AND lease_until <= ?1 ORDER BY seq",
            )?
            .query_map(params![nanoseconds(now)], |row| row.get(0))?
            .collect::<Result<Vec<i64>, _>>()?
    } else {
        row::running(step.connection)?
    };
    let mut lapsed = Vec::new();
    for seq in candidates {
        let mut stored = row::at(step.connection, seq)?;
        let JobState::Running { lease, .. } = &stored.job.state else { continue };
        let is_dead = dead_workers.iter().any(|prefix| lease.worker.as_str().starts_with(prefix));
        if lease.until > now && !is_dead {
            continue;
        }
        let worker = lease.worker.clone();
        let transition = Transition::Lapse { max_retries, holder_is_dead: is_dead };
        advance(step, &mut stored, transition, now)?;
        lapsed.push(LapsedJob { job: stored.job, worker });
    }
    Ok(lapsed)
}

/// Records how a run ended.
pub(super) fn finish(
    step: &mut Step<'_>,
    mut stored: StoredJob,
    token: u64,
    outcome: JobOutcome,
    usage: claw_core::RunUsage,
    now: Timestamp,
) -> Result<Job, StoreError> {
    let result = match &outcome {
        JobOutcome::Completed { result } => Some(result.clone()),
        JobOutcome::Failed { .. }
        | JobOutcome::Cancelled
        | JobOutcome::Released
        | JobOutcome::Postponed { .. } => None,
    };
    advance(step, &mut stored, Transition::Finish { token, outcome, usage }, now)?;
    spending::ran(step.connection, &stored.job, usage, now)?;
    // A cancel that was acknowledged wins over the result.
    if let Some(result) = result
        && stored.job.status() == JobStatus::Completed
    {
        let json = serde_json::to_string(&result).map_err(|error| corrupt("job result", error))?;
        step.connection
            .prepare_cached("INSERT INTO job_results (seq, finished_at, result) VALUES (?1, ?2, ?3)")?
            .execute(params![stored.seq, nanoseconds(now), json])?;
    }
    Ok(stored.job)
}

/// Takes one step of a job's life and writes all that goes with it.
pub(super) fn advance(
    step: &mut Step<'_>,
    stored: &mut StoredJob,
    transition: Transition,
    now: Timestamp,
) -> Result<(), StoreError> {
    let connection = step.connection;
    let keeps_turn = matches!(&transition, Transition::Finish { outcome: JobOutcome::Released, .. });
    let before = stored.job.status();
    stored.job.apply(transition, now)?;

    let job = &stored.job;
    let lease_until = match &job.state {
        JobState::Running { lease, .. } => Some(nanoseconds(lease.until)),
        _ => None,
    };
    if job.status() == before {
        connection
            .prepare_cached("UPDATE jobs SET lease_until = ?2, progress = ?3 WHERE seq = ?1")?
            .execute(params![stored.seq, lease_until, row::progress(job)?])?;
        return Ok(());
    }
    let not_before = match &job.state {
        JobState::Pending { not_before, .. } => not_before.map(nanoseconds),
        _ => None,
    };
    if job.status() == JobStatus::Pending && !keeps_turn {
        stored.queue_seq = step.together.next_job_seq(connection)?;
    }
    connection
        .prepare_cached(
            "UPDATE jobs SET status = ?2, place = ?3, queue_seq = ?4, not_before = ?5, lease_until = ?6,
                progress = ?7, ended_at = ?8
             WHERE seq = ?1",
        )?
        .execute(params![
            stored.seq,
            job.status().as_str(),
            place(job, stored.exclusive, now),
            stored.queue_seq,
            not_before,
            lease_until,
            row::progress(job)?,
            job.status().is_terminal().then(|| nanoseconds(now)),
        ])?;
    totals::moved(&mut step.share.counts, job, before);
    announce(step, stored, now)
}

/// Returns where the job stands in the queue; nothing if it does not wait.
pub(super) fn place(job: &Job, exclusive: bool, now: Timestamp) -> Option<&'static str> {
    match &job.state {
        JobState::Pending { not_before: Some(due), .. } if *due > now => Some("later"),
        // Whether it is the workspace's turn is found out by `elect`.
        JobState::Pending { .. } if exclusive => Some("behind"),
        JobState::Pending { .. } => Some("ready"),
        _ => None,
    }
}

/// Writes the event of a change, lets the workspace's next job come forward, and wakes who waits for it.
fn announce(step: &mut Step<'_>, stored: &StoredJob, now: Timestamp) -> Result<(), StoreError> {
    let job = &stored.job;
    if stored.exclusive
        && let Some(workspace) = job.spec.workspace_id
    {
        elect(step.connection, &workspace.to_string())?;
    }
    let event = JobEvent {
        job_id: job.id,
        owner: job.owner.clone(),
        status: job.status(),
        worker_id: match &job.state {
            JobState::Running { lease, .. } => Some(lease.worker.clone()),
            _ => None,
        },
        workspace_id: job.spec.workspace_id,
        timestamp: now,
    };
    let event = serde_json::to_vec(&event).map_err(|error| corrupt("job event", error))?;
    step.share.event(event, now);
    if job.status() != JobStatus::Running {
        // Either the job itself waits, or its end made room for another one of its workspace.
        step.signal(Topic::JobsWaiting);
    }
    Ok(())
}

/// Makes the first waiting exclusive job of a workspace the one that is ready, or none while one runs.
pub(super) fn elect(connection: &Connection, workspace: &str) -> Result<(), StoreError> {
    connection
        .prepare_cached(
            "UPDATE jobs SET place = 'behind' WHERE workspace = ?1 AND place = 'ready' AND exclusive = 1",
        )?
        .execute(params![workspace])?;
    connection
        .prepare_cached(
            "UPDATE jobs SET place = 'ready'
             WHERE seq = (SELECT seq FROM jobs WHERE workspace = ?1 AND place = 'behind'
                          ORDER BY priority DESC, queue_seq LIMIT 1)
               AND NOT EXISTS (SELECT 1 FROM jobs WHERE workspace = ?1 AND status = 'running' AND exclusive = 1)",
        )?
        .execute(params![workspace])?;
    Ok(())
}

/// Fails if the job has not ended, so that it cannot be deleted.
pub(super) fn require_ended(stored: &StoredJob) -> Result<(), StoreError> {
    match stored.job.status() {
        status if status.is_terminal() => Ok(()),
        status => Err(IllegalTransition::WrongState { step: "delete", status }.into()),
    }
}

/// Deletes an ended job with all that belongs to it.
pub(super) fn delete(step: &mut Step<'_>, stored: &StoredJob) -> Result<(), StoreError> {
    let (job, connection) = (&stored.job, step.connection);
    require_ended(stored)?;
    for tag in totals::tags(job) {
        connection
            .prepare_cached("DELETE FROM job_tags WHERE tag = ?1 AND seq = ?2")?
            .execute(params![tag, stored.seq])?;
    }
    super::search::forget(connection, stored.seq)?;
    for sql in [
        "DELETE FROM job_results WHERE seq = ?1",
        "DELETE FROM job_specs WHERE seq = ?1",
        "DELETE FROM jobs WHERE seq = ?1",
    ] {
        connection.prepare_cached(sql)?.execute(params![stored.seq])?;
    }
    totals::removed(&mut step.share.counts, job);
    streams::remove(step, &StreamName::job_log(job.id))
}
