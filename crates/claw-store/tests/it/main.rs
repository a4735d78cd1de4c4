//! The conformance suite against SQLite, and what only a file can get wrong.
#![expect(clippy::unwrap_used, reason = "a failed step of a test is a failed test")]

use claw_core::{JobId, JobOutcome, JobResult, JobSource, JobSpec, JobStatus, RunUsage, Timestamp, WorkerId};
use claw_store::{sqlite::*, *};

#[tokio::test]
async fn smoke() {
    let folder = tempfile::tempdir().unwrap();
    let opened = SqliteStore::open(&folder.path().join("a/store.db"), SqliteOptions::default()).unwrap();
    let store = opened.store();
    let now = Timestamp::now();
    let id = JobId::new();
    let request = SubmitRequest {
        id,
        owner: "o".into(),
        spec: JobSpec { tags: vec!["t".into()], ..JobSpec::new("Hello World", JobSource::Api) },
        exclusive: false,
        idempotency_key: Some("k".into()),
    };
    assert!(store.jobs.submit(request.clone(), now).await.unwrap().created);
    assert!(!store.jobs.submit(request, now).await.unwrap().created);
    let claimed = store
        .jobs
        .claim(
            ClaimRequest {
                worker: WorkerId::new("h", "b", 0),
                lease_until: now + std::time::Duration::from_secs(9),
                max_retries: 3,
            },
            now,
        )
        .await
        .unwrap()
        .unwrap();
    store.jobs.renew(id, claimed.token, now + std::time::Duration::from_secs(19)).await.unwrap();
    assert_eq!(store.jobs.running().await.unwrap().len(), 1);
    store
        .jobs
        .finish(
            id,
            claimed.token,
            JobOutcome::Completed { result: JobResult::default() },
            RunUsage::default(),
            now,
        )
        .await
        .unwrap();
    assert_eq!(store.jobs.get(id).await.unwrap().unwrap().status(), JobStatus::Completed);
    assert!(store.jobs.result(id).await.unwrap().is_some());
    for sort in [JobSort::Newest, JobSort::Oldest, JobSort::Priority] {
        for search in [None, Some("lo w".to_owned()), Some("LO".to_owned()), Some("nope".to_owned())] {
            for tag in [None, Some("t".to_owned())] {
                let page = store
                    .jobs
                    .list(JobFilter { sort, search: search.clone(), tag, limit: 10, ..JobFilter::default() })
                    .await
                    .unwrap();
                assert_eq!(page.total, u64::from(search.as_deref() != Some("nope")));
                assert_eq!(page.items.len() as u64, page.total);
            }
        }
    }
    assert_eq!(store.streams.append(&StreamName::job_log(id), vec![vec![1], vec![2]], now).await.unwrap(), 2);
    assert_eq!(store.streams.last_seq(&StreamName::job_events()).await.unwrap(), 3);
    assert_eq!(store.streams.read_back(&StreamName::job_log(id), 9, 1).await.unwrap()[0].data, vec![2]);
    store.jobs.delete(id).await.unwrap();
    assert_eq!(store.jobs.counts().await.unwrap().completed, 1);
    let version = store
        .documents
        .put(
            NewDocument {
                kind: "user",
                id: "a".into(),
                sort_key: "".into(),
                owner: "".into(),
                value: serde_json::json!({"a": 1}),
            },
            Precondition::Absent,
        )
        .await
        .unwrap();
    assert_eq!(store.documents.get("user", "a").await.unwrap().unwrap().version, version);
    assert_eq!(
        store
            .leases
            .acquire("l", "me", now + std::time::Duration::from_secs(1), now)
            .await
            .unwrap()
            .unwrap()
            .token,
        1
    );
    opened.close().await;
    assert!(store.documents.get("user", "a").await.is_err());
}
