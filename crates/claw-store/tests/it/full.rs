//! A full or broken disk: writes are refused as a whole, reads go on, and everything recovers by itself.

use std::{path::Path, process::ExitStatus};

use claw_store::{
    Precondition, Store, StoreError,
    sqlite::{SqliteOptions, SqliteStore},
};
use futures_util::future::join_all;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};

use crate::{
    child,
    setting::{assert_only_whole_submits, document, now, open, request},
};

fn is_unavailable<T>(outcome: &Result<T, StoreError>) -> bool {
    matches!(outcome, Err(StoreError::Full { .. } | StoreError::Unavailable { .. }))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_may_not_grow_refuses_writes_until_there_is_room() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let options = SqliteOptions { max_size_bytes: Some(600 * 1024), ..SqliteOptions::default() };
    let opened = SqliteStore::open(&folder.path().join("store.db"), options).expect("the store opens");
    let store = opened.store();
    let filling = "x".repeat(20_000);
    let mut kept = Vec::new();
    let error = loop {
        let id = format!("filling {}", kept.len());
        match store.documents.put(document(&id, json!(filling)), Precondition::None).await {
            Ok(_) => kept.push(id),
            Err(error) => break error,
        }
    };
    assert!(error.to_string().contains("free space on the disk"), "{error}");

    let submits = join_all((0..32).map(|_| store.jobs.submit(request(&filling), now()))).await;

    assert!(submits.iter().any(is_unavailable), "there is no room for all of them");
    let stored = assert_only_whole_submits(&store).await;
    let acknowledged = submits.into_iter().flatten().map(|submitted| submitted.job.id);
    assert!(acknowledged.into_iter().all(|id| stored.contains(&id)));
    for id in &kept {
        assert!(store.documents.get("thing", id).await.expect("reads go on").is_some(), "{id}");
        store.documents.delete("thing", id, Precondition::None).await.expect("deleting needs no room");
    }
    store.jobs.submit(request(&filling), now()).await.expect("there is room again");
    opened.close().await;
}

/// The limit on file sizes makes the kernel refuse what a full disk would refuse, in the middle of a commit.
#[tokio::test]
async fn o7_a_commit_that_fails_is_told_to_everyone_in_it() {
    let folder = tempfile::tempdir().expect("a temporary folder");

    let output = child::command("full::the_child_commits_to_a_disk_that_refuses", folder.path())
        .output()
        .expect("a child");

    let text = String::from_utf8_lossy(&output.stdout);
    assert!(ExitStatus::success(&output.status), "{text}");
    assert!(text.contains("the child did its part"), "{text}");
    let opened = open(&folder.path().join("store.db"));
    assert_eq!(assert_only_whole_submits(&opened.store()).await.len(), 2);
    opened.close().await;
}

/// Not a test of its own: the part of the child in the test above. Does nothing in the ordinary run.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_child_commits_to_a_disk_that_refuses() {
    let Some(folder) = child::folder() else { return };
    // Writing past the limit would end the process if nobody listened.
    let _refused = signal(SignalKind::from_raw(rustix::process::Signal::XFSZ.as_raw())).expect("a listener");
    let opened = open(&folder.join("store.db"));
    let store = opened.store();
    store.jobs.submit(request("before"), now()).await.expect("stored");

    refuse_growth(&folder.join("store.db-wal"), || async {
        let submits = join_all((0..16).map(|_| store.jobs.submit(request(&"x".repeat(9_000)), now()))).await;
        assert!(submits.iter().all(is_unavailable), "{submits:?}");
        assert_eq!(still_readable(&store).await, 1);
    })
    .await;

    store.jobs.submit(request("after"), now()).await.expect("the disk takes writes again");
    opened.close().await;
    println!("the child did its part");
}

async fn still_readable(store: &Store) -> usize {
    assert_only_whole_submits(store).await.len()
}

async fn refuse_growth<F: Future<Output = ()>>(file: &Path, during: impl FnOnce() -> F) {
    let limit = getrlimit(Resource::Fsize);
    let size = std::fs::metadata(file).expect("the log exists").len();
    setrlimit(Resource::Fsize, Rlimit { current: Some(size), ..limit }).expect("a lower limit");
    during().await;
    setrlimit(Resource::Fsize, limit).expect("the former limit");
}
