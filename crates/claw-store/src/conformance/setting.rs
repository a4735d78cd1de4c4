//! What the cases have in common: moments, requests, and short ways to say usual steps.

use std::time::Duration;

use claw_core::{
    ClaimedJob, FailureKind, Job, JobEvent, JobId, JobOutcome, JobResult, JobSource, JobSpec, Priority,
    RunUsage, Timestamp, WorkerId, WorkspaceId,
};

use crate::{ClaimRequest, Record, Store, StreamName, SubmitRequest};

/// Length of the leases that [`claim`] takes.
pub(super) const LEASE_SECS: i64 = 30;

/// Retries after which a lapsed job fails.
pub(super) const MAX_RETRIES: u32 = 2;

/// Longest wait for something that should happen at once.
const PATIENCE: Duration = Duration::from_secs(20);

/// Returns a moment that many seconds after the start of the case.
pub(super) fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + second).expect("a time in range")
}

pub(super) fn worker(slot: usize) -> WorkerId {
    WorkerId::new("host", "boot", slot)
}

/// Returns a request for an ordinary job.
pub(super) fn request(prompt: &str) -> SubmitRequest {
    SubmitRequest {
        id: JobId::new(),
        owner: "alice".into(),
        spec: JobSpec::new(prompt, JobSource::Api),
        exclusive: false,
        idempotency_key: None,
    }
}

/// Returns a request for a job that shares its workspace with no other.
pub(super) fn exclusive(prompt: &str, workspace: WorkspaceId) -> SubmitRequest {
    let mut request = request(prompt);
    request.spec.workspace_id = Some(workspace);
    request.exclusive = true;
    request
}

pub(super) fn with_priority(mut request: SubmitRequest, priority: u8) -> SubmitRequest {
    request.spec.priority = Priority::from(priority);
    request
}

pub(super) async fn submit(store: &Store, request: SubmitRequest) -> Job {
    store.jobs.submit(request, at(0)).await.expect("the job is stored").job
}

pub(super) async fn submit_all(
    store: &Store,
    requests: impl IntoIterator<Item = SubmitRequest>,
) -> Vec<JobId> {
    let mut ids = Vec::new();
    for request in requests {
        ids.push(submit(store, request).await.id);
    }
    ids
}

pub(super) async fn claim_by(store: &Store, worker: WorkerId, second: i64) -> Option<ClaimedJob> {
    let request = ClaimRequest {
        worker,
        lease_until: at(second + LEASE_SECS),
        max_retries: MAX_RETRIES,
        skip_owners: Vec::new(),
    };
    store.jobs.claim(request, at(second)).await.expect("claiming works")
}

pub(super) async fn claim(store: &Store, second: i64) -> Option<ClaimedJob> {
    claim_by(store, worker(0), second).await
}

/// Claims until nothing is due, and returns the ids.
pub(super) async fn claim_all(store: &Store, second: i64) -> Vec<JobId> {
    let mut ids = Vec::new();
    while let Some(claimed) = claim(store, second).await {
        ids.push(claimed.job.id);
    }
    ids
}

/// A job that is submitted and claimed.
pub(super) async fn running(store: &Store, second: i64) -> ClaimedJob {
    let id = submit(store, request("run")).await.id;
    let claimed = claim(store, second).await.expect("the job is due");
    assert_eq!(claimed.job.id, id);
    claimed
}

pub(super) async fn finish(store: &Store, claimed: &ClaimedJob, outcome: JobOutcome, second: i64) -> Job {
    let finished = store.jobs.finish(claimed.job.id, claimed.token, outcome, usage(), at(second)).await;
    finished.expect("the holder may finish")
}

pub(super) fn usage() -> RunUsage {
    RunUsage { cost_usd: Some(0.25), duration_ms: 10 }
}

pub(super) fn completed() -> JobOutcome {
    JobOutcome::Completed {
        result: JobResult { text: "done".into(), session_id: Some("s".into()), ..JobResult::default() },
    }
}

/// A failure, tried again at the given second or never.
pub(super) fn failed(retry_at: Option<i64>) -> JobOutcome {
    let (kind, error) = (FailureKind::ModelUnavailable, "overloaded".to_owned());
    JobOutcome::Failed { kind, error, retry_at: retry_at.map(at) }
}

/// All job events with their records, after checking that their numbers have no gap.
pub(super) async fn events(store: &Store) -> Vec<JobEvent> {
    let records = store.streams.read(&StreamName::job_events(), 0, 1_000_000).await.expect("readable");
    assert_gapless(&records, 1);
    records.iter().map(|record| serde_json::from_slice(&record.data).expect("a job event")).collect()
}

pub(super) async fn events_of(store: &Store, job: JobId) -> Vec<JobEvent> {
    events(store).await.into_iter().filter(|event| event.job_id == job).collect()
}

pub(super) fn assert_gapless(records: &[Record], first: u64) {
    for (expected, record) in (first..).zip(records) {
        assert_eq!(record.seq, expected, "numbers have no gap and no double");
    }
}

/// Returns what the future gives, within a time that is long enough for anything that works.
pub(super) async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, future).await {
        Ok(value) => value,
        Err(_) => panic!("{what} did not happen in {} s", PATIENCE.as_secs()),
    }
}
