//! Jobs: queue and archive in one.

use async_trait::async_trait;
use claw_core::{
    ClaimedJob, Job, JobId, JobOutcome, JobResult, JobSource, JobSpec, JobStatus, RunUsage, Timestamp,
    WorkerId, WorkspaceId,
};

use crate::{Charge, SpendingFilter, SpendingRow, Spent, StoreError};

/// A job to store.
#[derive(Clone, Debug, PartialEq)]
pub struct SubmitRequest {
    /// Its id; the caller makes it.
    pub id: JobId,
    /// Owner mark of who submits it.
    pub owner: String,
    /// What to do, already checked.
    pub spec: JobSpec,
    /// Whether no other exclusive job may run in the same workspace at the same time.
    pub exclusive: bool,
    /// A key of the caller's: a second submit with the same owner and key returns the first job.
    pub idempotency_key: Option<String>,
}

/// What became of a submit.
#[derive(Clone, Debug, PartialEq)]
pub struct Submitted {
    /// The new job, or the first one with the same idempotency key.
    pub job: Job,
    /// Whether this call made it.
    pub created: bool,
}

/// What a worker asks for.
#[derive(Clone, Debug, PartialEq)]
pub struct ClaimRequest {
    /// Who asks.
    pub worker: WorkerId,
    /// When the lease lapses unless renewed.
    pub lease_until: Timestamp,
    /// Retries after which a job whose lease lapsed fails.
    pub max_retries: u32,
    /// Owner marks whose jobs are passed over and go on waiting.
    pub skip_owners: Vec<String>,
}

/// Which ended jobs are old.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EndedRule {
    /// Those that ended before this moment.
    pub before: Option<Timestamp>,
    /// Those beyond so many that ended last.
    pub beyond_newest: Option<u64>,
}

/// A job whose lease ran out, as [`Jobs::lapse`] left it: waiting again, failed or cancelled.
#[derive(Clone, Debug, PartialEq)]
pub struct LapsedJob {
    /// The job after the step.
    pub job: Job,
    /// Who held it.
    pub worker: WorkerId,
}

/// Order of a list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum JobSort {
    /// Newest first, by the order of submit.
    #[default]
    Newest,
    /// Oldest first, by the order of submit.
    Oldest,
    /// Most urgent first, then oldest.
    Priority,
}

/// Which jobs to list. Every field that is set narrows the list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct JobFilter {
    /// In this state.
    pub status: Option<JobStatus>,
    /// In this workspace.
    pub workspace: Option<WorkspaceId>,
    /// Carrying this tag.
    pub tag: Option<String>,
    /// From this door.
    pub source: Option<JobSource>,
    /// Whose prompt holds this text, in any letter case; `%` and `_` stand for themselves.
    pub search: Option<String>,
    /// With this owner mark.
    pub owner: Option<String>,
    /// Order.
    pub sort: JobSort,
    /// How many to pass over.
    pub offset: u64,
    /// How many at the most.
    pub limit: u64,
}

/// One page of jobs.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct JobPage {
    /// The jobs.
    pub items: Vec<Job>,
    /// How many match in all.
    pub total: u64,
}

/// A job's result with what goes with it.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredResult {
    /// The result.
    pub result: JobResult,
    /// When the job ended.
    pub finished_at: Timestamp,
}

/// Jobs by state. `completed` and `failed` count over the life of the store, deleted jobs included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct JobCounts {
    /// Waiting.
    pub pending: u64,
    /// Running.
    pub running: u64,
    /// Ended well, ever.
    pub completed: u64,
    /// Ended badly, ever.
    pub failed: u64,
    /// Ended by someone, ever.
    pub cancelled: u64,
}

/// Jobs and their life.
///
/// Every change of state is one atomic step with its [`claw_core::JobEvent`], appended to
/// [`crate::StreamName::job_events`]. A renewal and a cancel request to a running job change no state. Engines take
/// the step with [`Job::apply`], so that the rules are the same everywhere.
///
/// After a change engines signal [`crate::Topic::JobEvents`], after a submit, a requeue or a finish also
/// [`crate::Topic::JobsWaiting`], and after a cancel request [`crate::Topic::Cancel`] of that job.
#[async_trait]
pub trait Jobs: Send + Sync {
    /// Stores a job. It is on disk when the call returns. If the future is dropped it may be stored or not; submit
    /// again with the same idempotency key to find out. The key is kept as long as the job.
    ///
    /// # Errors
    ///
    /// [`StoreError::Conflict`] if another job has the id; [`StoreError::IdempotencyMismatch`] if the key was used for
    /// a spec that differs.
    async fn submit(&self, request: SubmitRequest, now: Timestamp) -> Result<Submitted, StoreError>;

    /// Hands the most urgent due job to a worker: highest priority first, then the oldest submit. A job that is tried
    /// again goes behind the others of its priority when it becomes due; one that was released keeps its turn. Passes
    /// over exclusive jobs whose workspace has an exclusive job running. Leases that lapsed are freed first, as
    /// [`Jobs::lapse`] does, in the same step. Never hands one job to two workers. `None`: nothing is due.
    ///
    /// Not cancel safe: if the future is dropped the job may be claimed, and is free again only when the lease lapses.
    async fn claim(&self, request: ClaimRequest, now: Timestamp) -> Result<Option<ClaimedJob>, StoreError>;

    /// Returns when the next waiting job becomes due or the next lease lapses, whichever is first; `None` if
    /// neither is ahead. A worker sleeps until then or a signal. A moment in the past: claim at once.
    async fn next_due(&self, now: Timestamp) -> Result<Option<Timestamp>, StoreError>;

    /// Moves the end of a lease. Returns the job, whose state tells whether someone asked to cancel it.
    ///
    /// # Errors
    ///
    /// [`StoreError::JobNotFound`]; [`StoreError::Transition`] with `LostLease` if `token` is not the newest lease of a
    /// running job.
    async fn renew(&self, job: JobId, token: u64, until: Timestamp) -> Result<Job, StoreError>;

    /// Records how a run ended, with its result if it completed. The cost in `usage` is what was not charged while it
    /// ran; it is added to the job and to the sums of the day.
    ///
    /// # Errors
    ///
    /// [`StoreError::JobNotFound`]; [`StoreError::Transition`] with `LostLease` if `token` is not the newest lease of a
    /// running job.
    async fn finish(
        &self,
        job: JobId,
        token: u64,
        outcome: JobOutcome,
        usage: RunUsage,
        now: Timestamp,
    ) -> Result<Job, StoreError>;

    /// Cancels a waiting job, or asks the holder of a running one to end it. Asking twice is harmless.
    ///
    /// # Errors
    ///
    /// [`StoreError::JobNotFound`]; [`StoreError::Transition`] if the job has ended.
    async fn cancel(&self, job: JobId, by: String, now: Timestamp) -> Result<Job, StoreError>;

    /// Frees every job whose lease ran out, and every job held by a worker whose id starts with one of
    /// `dead_workers` whatever its lease (a former start of this very server). Returns them.
    async fn lapse(
        &self,
        dead_workers: &[String],
        max_retries: u32,
        now: Timestamp,
    ) -> Result<Vec<LapsedJob>, StoreError>;

    /// Returns the job, or `None`.
    async fn get(&self, job: JobId) -> Result<Option<Job>, StoreError>;

    /// Returns the job's result, or `None` if it has none.
    async fn result(&self, job: JobId) -> Result<Option<StoredResult>, StoreError>;

    /// Returns one page with the total, read from one snapshot.
    async fn list(&self, filter: JobFilter) -> Result<JobPage, StoreError>;

    /// Returns the jobs that are running, with their leases.
    async fn running(&self) -> Result<Vec<Job>, StoreError>;

    /// Adds what was spent to the job, whatever its state, and to the sums of the day (UTC) of `now`, in one step.
    /// The sums keep what was spent on jobs that were deleted meanwhile. Returns what was spent with it.
    async fn charge(&self, charge: Charge, now: Timestamp) -> Result<Spent, StoreError>;

    /// Returns what was spent on a job, and on the day (UTC) of `now` by `owner` and by everyone.
    async fn spent(&self, job: Option<JobId>, owner: &str, now: Timestamp) -> Result<Spent, StoreError>;

    /// Sums up what was spent; at most [`crate::MAX_SPENDING_ROWS`] rows.
    async fn spending(&self, filter: SpendingFilter) -> Result<Vec<SpendingRow>, StoreError>;

    /// Returns up to `limit` jobs that are old by either part of the rule, those that ended first before the others.
    async fn ended(&self, rule: EndedRule, limit: u64) -> Result<Vec<JobId>, StoreError>;

    /// Returns the counts, without walking the jobs.
    async fn counts(&self) -> Result<JobCounts, StoreError>;

    /// Deletes an ended job with its result, log and idempotency key. The counts keep it. A long log goes in several
    /// steps, so that other writes have their turn: a crash in between leaves the job with the end of its log, and the
    /// next call goes on.
    ///
    /// # Errors
    ///
    /// [`StoreError::JobNotFound`]; [`StoreError::Transition`] if the job has not ended.
    async fn delete(&self, job: JobId) -> Result<(), StoreError>;
}
