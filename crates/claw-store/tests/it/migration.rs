//! Stores written by older versions open with everything in them.

use std::time::Duration;

use claw_core::{JobResult, JobState, JobStatus, Timestamp, WorkerId};
use claw_store::{ChainHash, ClaimRequest, JobFilter, Store, StreamName, chain_hash};
use rusqlite::{Connection, params};
use serde_json::json;

use crate::setting::{open, request};

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + second).expect("a time in range")
}

async fn claim(store: &Store, second: i64) -> Option<claw_core::Job> {
    let worker = WorkerId::new("host", "boot", 1);
    let request = ClaimRequest {
        worker,
        lease_until: at(second) + Duration::from_secs(30),
        max_retries: 3,
        skip_owners: Vec::new(),
    };
    store.jobs.claim(request, at(second)).await.expect("works").map(|claimed| claimed.job)
}

#[tokio::test]
async fn o6_a_store_of_version_1_opens_with_everything_in_it() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("store.db");
    let connection = Connection::open(&path).expect("a database");
    connection.execute_batch(include_str!("store_v1.sql")).expect("valid SQL");
    drop(connection);

    let opened = open(&path);

    let store = opened.store();
    let document = store.documents.get("thing", "a").await.expect("readable").expect("stored");
    assert_eq!((document.version, document.value), (7, json!({ "answer": 42 })));
    let page = store.jobs.list(JobFilter { limit: 10, ..JobFilter::default() }).await.expect("readable");
    let prompts: Vec<_> = page.items.iter().map(|job| job.spec.prompt.as_str()).collect();
    assert_eq!(prompts, ["sweep", "fix the bug", "say hello"]);
    let done = &page.items[2];
    assert!(matches!(&done.state, JobState::Completed { worker, .. } if worker.as_str() == "host-boot-0"));
    assert_eq!((done.usage.cost_usd, done.spec.max_budget_usd), (Some(0.25), Some(0.75)));
    let result = store.jobs.result(done.id).await.expect("readable").expect("stored");
    let expected = JobResult {
        text: "hello".into(),
        session_id: Some("s".into()),
        num_turns: Some(2),
        ..JobResult::default()
    };
    assert_eq!((result.result, result.finished_at), (expected, at(60)));
    let log = StreamName::job_log(done.id);
    let records = store.streams.read(&log, 0, 10).await.expect("readable");
    let lines: Vec<_> = records.iter().map(|record| (record.seq, record.data.as_slice())).collect();
    assert_eq!(lines, [(4, &b"hel"[..]), (5, &b"lo"[..])]);
    let tagged =
        JobFilter { tag: Some("night".into()), search: Some("HELLO".into()), ..JobFilter::default() };
    assert_eq!(store.jobs.list(tagged).await.expect("readable").total, 1);
    assert_eq!(store.jobs.counts().await.expect("readable").completed, 2);
    assert!(store.leases.acquire("leader", "other", at(-1), at(-1)).await.expect("answered").is_none());

    let ready = claim(&store, 50).await.expect("one is ready");
    assert_eq!(ready.spec.prompt, "sweep");
    assert_eq!(claim(&store, 101).await.map(|job| job.status()), Some(JobStatus::Running), "lapsed and due");
    let mut keyed = request("say hello");
    keyed.idempotency_key = Some("key".into());
    assert!(store.jobs.submit(keyed, at(0)).await.is_err(), "the key is known, with another spec");
    opened.close().await;
}

#[tokio::test]
async fn o6_events_and_the_audit_trail_of_version_2_go_on_where_they_were() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("store.db");
    let connection = Connection::open(&path).expect("a database");
    connection.execute_batch(include_str!("store_v1.sql")).expect("valid SQL");
    let step = include_str!("../../src/sqlite/migrations/0002_chains_and_spending.sql");
    connection.execute_batch(step).expect("valid SQL");
    connection.pragma_update(None, "user_version", 2).expect("a version");
    let streams = "INSERT INTO streams (id, name, last_seq) VALUES (2, 'events/jobs', 3), (3, 'audit', 2)";
    connection.execute(streams, []).expect("streams");
    let hashes = [
        chain_hash(ChainHash::START, 1, at(1), b"one"),
        chain_hash(chain_hash(ChainHash::START, 1, at(1), b"one"), 2, at(2), b"two"),
    ];
    let add = "INSERT INTO records (stream_id, seq, at, data, hash) VALUES (?1, ?2, ?3, ?4, ?5)";
    let nanoseconds = |second| i64::try_from(at(second).as_nanosecond()).expect("in range");
    // The oldest event was trimmed.
    for (seq, data) in [(2, b"second"), (3, b"third.")] {
        connection.execute(add, params![2, seq, nanoseconds(seq), data, None::<Vec<u8>>]).expect("added");
    }
    for (seq, data, hash) in [(1, b"one", hashes[0]), (2, b"two", hashes[1])] {
        connection.execute(add, params![3, seq, nanoseconds(seq), data, hash.as_bytes()]).expect("added");
    }
    drop(connection);

    let opened = open(&path);

    let store = opened.store();
    let (events, audit) = (StreamName::job_events(), StreamName::audit());
    store.streams.append_chained(&audit, vec![b"three".to_vec()], at(3)).await.expect("appended");
    store.jobs.submit(request("new"), at(4)).await.expect("stored");
    let records = store.streams.read(&events, 0, 10).await.expect("readable");
    let numbers: Vec<_> = records.iter().map(|record| (record.seq, record.at)).collect();
    assert_eq!(numbers, [(2, at(2)), (3, at(3)), (4, at(4))]);
    let page = store.streams.read_chained(&audit, 0, 10).await.expect("readable");
    let found: Vec<_> = page.records.iter().map(|record| (record.record.seq, record.hash)).collect();
    assert_eq!(found, [(1, hashes[0]), (2, hashes[1]), (3, chain_hash(hashes[1], 3, at(3), b"three"))]);
    opened.close().await;
}
