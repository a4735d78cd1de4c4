//! What the tests have in common.

use std::path::Path;

use claw_core::{JobEvent, JobId, JobSource, JobSpec, Timestamp};
use claw_store::{
    JobCounts, NewDocument, Store, StreamName, SubmitRequest,
    sqlite::{SqliteOptions, SqliteStore},
};
use serde_json::Value;

pub(crate) fn open(path: &Path) -> SqliteStore {
    SqliteStore::open(path, SqliteOptions::default()).expect("the store opens")
}

pub(crate) fn now() -> Timestamp {
    Timestamp::from_second(1_800_000_000).expect("a time in range")
}

pub(crate) fn request(prompt: &str) -> SubmitRequest {
    SubmitRequest {
        id: JobId::new(),
        owner: "alice".into(),
        spec: JobSpec::new(prompt, JobSource::Api),
        exclusive: false,
        idempotency_key: None,
    }
}

pub(crate) fn document(id: &str, value: Value) -> NewDocument {
    NewDocument { kind: "thing", id: id.into(), sort_key: String::new(), owner: String::new(), value }
}

/// Checks that every stored job has exactly its event and nothing else was written, and returns the jobs' ids.
pub(crate) async fn assert_only_whole_submits(store: &Store) -> Vec<JobId> {
    let records = store.streams.read(&StreamName::job_events(), 0, 1_000_000).await.expect("readable");
    let mut ids = Vec::new();
    for (seq, record) in (1..).zip(&records) {
        assert_eq!(record.seq, seq, "events have no gap");
        let event: JobEvent = serde_json::from_slice(&record.data).expect("an event");
        assert!(store.jobs.get(event.job_id).await.expect("readable").is_some(), "an event without its job");
        ids.push(event.job_id);
    }
    let pending = ids.len() as u64;
    assert_eq!(store.jobs.counts().await.expect("readable"), JobCounts { pending, ..JobCounts::default() });
    ids
}
