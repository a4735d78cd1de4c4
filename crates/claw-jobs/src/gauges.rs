//! What is measured about jobs. The names are part of the product: dashboards are built on them.

use std::time::Duration;

use claw_core::{Clock, FailureKind, Job, JobState, JobStatus};
use claw_store::{JobFilter, JobSort, Store};
use std::sync::Arc;

use crate::{DiskGuard, JobsError};

/// Refreshes what is read from the store rather than counted as it happens. Asked before each scrape.
#[derive(Clone)]
pub struct JobsGauges {
    store: Store,
    disk: DiskGuard,
    clock: Arc<dyn Clock>,
}

impl JobsGauges {
    /// Wires the gauges.
    pub fn new(store: Store, disk: DiskGuard, clock: Arc<dyn Clock>) -> Self {
        Self { store, disk, clock }
    }

    /// Sets `claw_jobs`, `claw_queue_age_seconds` and `claw_disk_free_bytes`.
    ///
    /// # Errors
    ///
    /// Fails if the store does not answer; nothing is set then.
    pub async fn refresh(&self) -> Result<(), JobsError> {
        let counts = self.store.jobs.counts().await?;
        let oldest = JobFilter {
            status: Some(JobStatus::Pending),
            sort: JobSort::Oldest,
            limit: 1,
            ..JobFilter::default()
        };
        let oldest = self.store.jobs.list(oldest).await?.items.into_iter().next();
        let jobs = [
            (JobStatus::Pending, counts.pending),
            (JobStatus::Running, counts.running),
            (JobStatus::Completed, counts.completed),
            (JobStatus::Failed, counts.failed),
            (JobStatus::Cancelled, counts.cancelled),
        ];
        for (status, count) in jobs {
            metrics::gauge!("claw_jobs", "state" => status.as_str()).set(count as f64);
        }
        let age = oldest.map_or(Duration::ZERO, |job| elapsed(&job, self.clock.as_ref()));
        metrics::gauge!("claw_queue_age_seconds").set(age.as_secs_f64());
        if let Ok(free) = self.disk.free() {
            metrics::gauge!("claw_disk_free_bytes").set(free as f64);
        }
        Ok(())
    }
}

/// Counts the first claim of a job: how long it took since the submit.
pub(crate) fn job_claimed(job: &Job, clock: &dyn Clock) {
    if job.lease_count == 1 {
        metrics::histogram!("claw_job_claim_seconds").record(elapsed(job, clock).as_secs_f64());
    }
}

/// Counts one run.
pub(crate) fn run_ended(outcome: &'static str, seconds: f64) {
    metrics::histogram!("claw_job_run_seconds", "outcome" => outcome).record(seconds);
}

/// Counts the end of a job; of one that goes on, nothing.
pub(crate) fn job_finished(job: &Job) {
    let kind = match &job.state {
        JobState::Completed { .. } | JobState::Cancelled { .. } => "none",
        JobState::Failed { kind, .. } => kind_name(*kind),
        JobState::Pending { .. } | JobState::Running { .. } => return,
    };
    let outcome = job.status().as_str();
    metrics::counter!("claw_jobs_finished_total", "outcome" => outcome, "kind" => kind).increment(1);
}

fn elapsed(job: &Job, clock: &dyn Clock) -> Duration {
    Duration::try_from(clock.now().duration_since(job.created_at)).unwrap_or(Duration::ZERO)
}

fn kind_name(kind: FailureKind) -> &'static str {
    match kind {
        FailureKind::ModelAuth => "model_auth",
        FailureKind::ModelRequest => "model_request",
        FailureKind::ModelUnavailable => "model_unavailable",
        FailureKind::Timeout => "timeout",
        FailureKind::Budget => "budget",
        FailureKind::Agent => "agent",
        FailureKind::Killed => "killed",
        FailureKind::Sandbox => "sandbox",
        FailureKind::Workspace => "workspace",
        FailureKind::WorkerLost => "worker_lost",
        FailureKind::Internal => "internal",
    }
}
