//! One round, step by step.

use std::time::Duration;

use claw_core::{Job, JobId, JobState, Timestamp, WorkspaceId};
use claw_store::{EndedRule, StoreError, StreamInfo, StreamName};
use jiff::SignedDuration;

use super::{
    GcReport, GcSubject, Retention,
    rules::{RetentionRules, cutoff},
};
use crate::{JobService, JobsError, worker::is_unkept, workspaces::KIND};

/// Jobs deleted, or streams looked at, between two pauses.
const BATCH: u64 = 50;

/// Records removed in one step of the store.
const RECORDS: u64 = 1000;

/// Bytes given back to the disk in one step of the store.
const GIVE_BACK: u64 = 4 << 20;

/// The pause between two steps. Other writes go first meanwhile.
const PAUSE: Duration = Duration::from_millis(20);

/// Most that a dry run counts of jobs.
const COUNTED_JOBS: u64 = 1_000_000;

/// How long after its end a job's working copy may still be in the hands of the worker.
const COPY_HOLDS: SignedDuration = SignedDuration::from_hours(1);

const LOG_PREFIX: &str = "log/";
const TIMELINE_PREFIX: &str = "workspace/";

pub(super) struct Round<'a> {
    house: &'a Retention,
    now: Timestamp,
    report: GcReport,
}

impl<'a> Round<'a> {
    pub(super) fn new(house: &'a Retention, dry_run: bool) -> Self {
        Self { house, now: house.clock.now(), report: GcReport::new(dry_run) }
    }

    pub(super) async fn make(mut self) -> Result<GcReport, JobsError> {
        let RetentionRules { jobs_days, jobs_count, logs_days, events_days, audit_days, .. } =
            self.house.rules.clone();
        let before = jobs_days.map(|days| cutoff(self.now, days));
        self.jobs(EndedRule { before, beyond_newest: jobs_count }).await?;
        self.large_store().await?;
        if let Some(days) = logs_days.filter(|days| jobs_days.is_none_or(|jobs| *days < jobs)) {
            self.logs(cutoff(self.now, days)).await?;
        }
        if let Some(days) = events_days {
            let (stream, before) = (StreamName::job_events(), cutoff(self.now, days));
            self.trim(GcSubject::Events, &stream, before).await?;
        }
        self.timelines().await?;
        if let Some(days) = audit_days {
            self.audit(cutoff(self.now, days)).await?;
        }
        self.working_copies().await?;
        self.homes().await?;
        self.give_back().await?;
        Ok(self.report)
    }

    /// Deletes the ended jobs that a rule names.
    async fn jobs(&mut self, rule: EndedRule) -> Result<(), JobsError> {
        if self.report.dry_run {
            let ended = self.house.store.jobs.ended(rule, COUNTED_JOBS).await?;
            self.report.add(GcSubject::Jobs, ended.len() as u64);
            return Ok(());
        }
        while self.delete_batch(rule).await? > 0 {}
        Ok(())
    }

    async fn delete_batch(&mut self, rule: EndedRule) -> Result<usize, JobsError> {
        let ended = self.house.store.jobs.ended(rule, BATCH).await?;
        for job in &ended {
            match self.house.store.jobs.delete(*job).await {
                Ok(()) => self.report.add(GcSubject::Jobs, 1),
                // Someone else was faster.
                Err(StoreError::JobNotFound(_)) => {}
                Err(error) => return Err(error.into()),
            }
            self.house.files.discard(*job).await?;
        }
        pause().await;
        Ok(ended.len())
    }

    /// Deletes the oldest ended jobs until the store is within its limit.
    async fn large_store(&mut self) -> Result<(), JobsError> {
        let Some(limit) = self.house.rules.store_bytes.filter(|_| !self.report.dry_run) else {
            return Ok(());
        };
        loop {
            let size = self.house.store.upkeep.size().await?;
            if size.bytes.saturating_sub(size.free_bytes) <= limit {
                return Ok(());
            }
            if self.delete_batch(EndedRule { before: None, beyond_newest: Some(0) }).await? == 0 {
                tracing::warn!(
                    limit,
                    bytes = size.bytes,
                    "the store is beyond its limit, and no ended job is left"
                );
                return Ok(());
            }
        }
    }

    /// Removes the logs of jobs that have ended before `before`.
    async fn logs(&mut self, before: Timestamp) -> Result<(), JobsError> {
        let mut last: Option<StreamName> = None;
        loop {
            let found = self.streams(LOG_PREFIX, last.as_ref()).await?;
            let Some(newest) = found.last() else { return Ok(()) };
            last = Some(newest.name.clone());
            for stream in &found {
                let Some(id) = id_of::<JobId>(stream, LOG_PREFIX) else { continue };
                if stream.newest.is_none_or(|newest| newest >= before) {
                    continue;
                }
                let job = self.house.store.jobs.get(id).await?;
                if job.as_ref().is_none_or(|job| ended_before(job, before)) {
                    self.trim(GcSubject::LogLines, &stream.name, before).await?;
                }
            }
            pause().await;
        }
    }

    /// Removes old entries of timelines, and the timelines of workspaces that are gone.
    async fn timelines(&mut self) -> Result<(), JobsError> {
        let before = self.house.rules.timeline_days.map(|days| cutoff(self.now, days));
        let mut last: Option<StreamName> = None;
        loop {
            let found = self.streams(TIMELINE_PREFIX, last.as_ref()).await?;
            let Some(newest) = found.last() else { return Ok(()) };
            last = Some(newest.name.clone());
            for stream in found.iter().filter(|stream| stream.records > 0) {
                let Some(id) = id_of::<WorkspaceId>(stream, TIMELINE_PREFIX) else { continue };
                let before = if self.is_gone(id).await? { Some(self.now) } else { before };
                if let Some(before) =
                    before.filter(|before| stream.oldest.is_some_and(|oldest| oldest < *before))
                {
                    self.trim(GcSubject::TimelineEntries, &stream.name, before).await?;
                }
            }
            pause().await;
        }
    }

    /// Removes old audit entries through the trail, which keeps its chain whole.
    async fn audit(&mut self, before: Timestamp) -> Result<(), JobsError> {
        if self.report.dry_run {
            return self.trim(GcSubject::AuditEntries, &StreamName::audit(), before).await;
        }
        loop {
            let removed = self.house.gate.audit().trim_before(before, RECORDS).await?;
            self.report.add(GcSubject::AuditEntries, removed);
            if removed == 0 {
                return Ok(());
            }
            pause().await;
        }
    }

    /// Removes working copies whose jobs are gone, or have ended long ago and need them no more.
    ///
    /// One of no job that was made since the start waits for a job that is to come.
    async fn working_copies(&mut self) -> Result<(), JobsError> {
        for id in self.house.files.leftover_jobs().await? {
            let job = self.house.store.jobs.get(id).await?;
            if job.is_none() && made_at(id).is_none_or(|made| made >= self.house.started_at) {
                continue;
            }
            if let Some(job) = job {
                let unkept = match self.house.files.working_copy(id).await.unwrap_or_default() {
                    Some(copy) => is_unkept(&copy).await,
                    None => false,
                };
                let before = self.now.checked_sub(COPY_HOLDS).unwrap_or(Timestamp::MIN);
                if unkept || !ended_before(&job, before) {
                    continue;
                }
            }
            if !self.report.dry_run {
                self.house.files.discard(id).await?;
                pause().await;
            }
            self.report.add(GcSubject::WorkingCopies, 1);
        }
        Ok(())
    }

    /// Removes what the sandbox keeps for workspaces that are gone.
    async fn homes(&mut self) -> Result<(), JobsError> {
        let homes = match self.house.sandbox.remembered_workspaces().await {
            Ok(homes) => homes,
            Err(error) => {
                // Docker may be away for a while: the rest of the round does not need it.
                tracing::warn!(%error, "could not look for HOME folders of deleted workspaces");
                return Ok(());
            }
        };
        for id in homes {
            if !self.is_gone(id).await? || JobService::open_jobs(&self.house.store, id).await? > 0 {
                continue;
            }
            if !self.report.dry_run {
                if let Err(error) = self.house.sandbox.forget_workspace(id).await {
                    tracing::warn!(workspace.id = %id, %error, "could not remove the HOME of a deleted workspace");
                    continue;
                }
                pause().await;
            }
            self.report.add(GcSubject::Homes, 1);
        }
        Ok(())
    }

    /// Gives the room that became free inside the store back to the disk.
    async fn give_back(&mut self) -> Result<(), JobsError> {
        if self.report.dry_run {
            return Ok(());
        }
        loop {
            let freed = self.house.store.upkeep.give_back(GIVE_BACK).await?;
            if freed == 0 {
                return Ok(());
            }
            self.report.add(GcSubject::StoreBytes, freed);
            pause().await;
        }
    }

    /// Removes the records of a stream from before a moment, or counts them.
    async fn trim(
        &mut self,
        subject: GcSubject,
        stream: &StreamName,
        before: Timestamp,
    ) -> Result<(), JobsError> {
        if self.report.dry_run {
            let count = self.count_before(stream, before).await?;
            self.report.add(subject, count);
            return Ok(());
        }
        loop {
            let removed = self.house.store.streams.trim_before(stream, before, RECORDS).await?;
            self.report.add(subject, removed);
            if removed < RECORDS {
                return Ok(());
            }
            pause().await;
        }
    }

    /// Counts the records from before a moment. Records are in order of time, so halving finds the first that stays.
    async fn count_before(&self, stream: &StreamName, before: Timestamp) -> Result<u64, JobsError> {
        let streams = &self.house.store.streams;
        let Some(first) = streams.read(stream, 0, 1).await?.into_iter().next() else { return Ok(0) };
        let (mut low, mut high) = (first.seq, streams.last_seq(stream).await? + 1);
        while low < high {
            let middle = low + (high - low) / 2;
            match streams.read(stream, middle - 1, 1).await?.into_iter().next() {
                Some(record) if record.at < before => low = middle + 1,
                Some(_) | None => high = middle,
            }
        }
        Ok(low - first.seq)
    }

    async fn streams(&self, prefix: &str, after: Option<&StreamName>) -> Result<Vec<StreamInfo>, JobsError> {
        let after = after.map(StreamName::as_str);
        Ok(self.house.store.streams.streams(prefix, after, BATCH).await?)
    }

    async fn is_gone(&self, workspace: WorkspaceId) -> Result<bool, JobsError> {
        Ok(self.house.store.documents.get(KIND, &workspace.to_string()).await?.is_none())
    }
}

fn id_of<Id: std::str::FromStr>(stream: &StreamInfo, prefix: &str) -> Option<Id> {
    stream.name.as_str().strip_prefix(prefix)?.parse().ok()
}

fn ended_before(job: &Job, before: Timestamp) -> bool {
    match &job.state {
        JobState::Completed { finished_at, .. }
        | JobState::Failed { finished_at, .. }
        | JobState::Cancelled { finished_at, .. } => *finished_at < before,
        JobState::Pending { .. } | JobState::Running { .. } => false,
    }
}

/// Returns when an id was made; `None` if it does not tell.
fn made_at(id: JobId) -> Option<Timestamp> {
    let (seconds, nanoseconds) = id.as_uuid().get_timestamp()?.to_unix();
    Timestamp::new(seconds.try_into().ok()?, nanoseconds.try_into().ok()?).ok()
}

async fn pause() {
    tokio::time::sleep(PAUSE).await;
}
