//! Writes that share a batch see each other as if each had been alone.

use claw_core::JobStatus;
use claw_store::{StoreError, StreamName, SubmitRequest};
use rusqlite::Connection;

use crate::setting::{now, open, request};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writes_of_one_batch_see_what_those_before_them_did() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("store.db");
    let opened = open(&path);
    let store = opened.store();
    let keyed = |prompt| SubmitRequest { idempotency_key: Some("key".into()), ..request(prompt) };
    let first = keyed("a");
    let id = first.id;
    let (jobs, audit) = (&store.jobs, StreamName::audit());
    // While another program holds the file the first write waits for it, and the others wait behind that.
    let other = Connection::open(&path).expect("a database");
    other.execute_batch("BEGIN IMMEDIATE").expect("a lock");

    let writes = async {
        tokio::join!(
            jobs.submit(request("before"), now()),
            jobs.submit(first, now()),
            jobs.submit(keyed("a"), now()),
            jobs.submit(keyed("b"), now()),
            jobs.submit(SubmitRequest { id, ..request("c") }, now()),
            store.streams.append_chained(&audit, vec![b"one".to_vec()], now()),
            jobs.cancel(id, "somebody".into(), now()),
            jobs.submit(keyed("a"), now()),
            store.streams.append_chained(&audit, vec![b"two".to_vec()], now()),
        )
    };
    let release = async { other.execute_batch("ROLLBACK").expect("given back") };
    let ((_, first, again, mismatch, taken, one, cancelled, at_last, two), ()) =
        tokio::join!(writes, release);

    assert!(first.expect("stored").created);
    let again = again.expect("answered");
    assert_eq!((again.created, again.job.id, again.job.status()), (false, id, JobStatus::Pending));
    assert!(matches!(mismatch, Err(StoreError::IdempotencyMismatch { .. })), "{mismatch:?}");
    assert!(matches!(taken, Err(StoreError::Conflict { .. })), "{taken:?}");
    assert_eq!(cancelled.expect("cancelled").status(), JobStatus::Cancelled);
    let at_last = at_last.expect("answered");
    assert_eq!((at_last.created, at_last.job.status()), (false, JobStatus::Cancelled));
    assert_eq!((one.expect("appended"), two.expect("appended")), (1, 2));
    let counts = jobs.counts().await.expect("readable");
    assert_eq!((counts.pending, counts.cancelled), (1, 1));
    opened.close().await;
}
