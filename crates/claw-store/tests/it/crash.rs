//! What is acknowledged stays, whatever happens to the process or the caller.

use std::{
    collections::BTreeSet,
    io::{BufRead, BufReader, Write},
    time::Duration,
};

use claw_core::{JobId, WorkerId};
use claw_store::ClaimRequest;

use crate::{
    child,
    setting::{assert_only_whole_submits, now, open, request},
};

/// Acknowledged submits after which the child is killed, in the middle of others.
const BEFORE_THE_KILL: usize = 300;

#[tokio::test]
async fn every_acknowledged_submit_is_there_after_a_kill() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut process = child::command("crash::the_child_submits_until_it_is_killed", folder.path())
        .spawn()
        .expect("a child");
    let output = BufReader::new(process.stdout.take().expect("piped"));

    let mut acknowledged = Vec::new();
    for line in output.lines() {
        // Only whole lines count; the last one may be cut off.
        let line = line.expect("text");
        acknowledged.extend(line.strip_prefix("acknowledged ").and_then(|id| id.parse::<JobId>().ok()));
        if acknowledged.len() == BEFORE_THE_KILL {
            process.kill().expect("SIGKILL");
        }
    }
    process.wait().expect("it ended");

    assert!(acknowledged.len() >= BEFORE_THE_KILL, "the child ended early: {}", acknowledged.len());
    let opened = open(&folder.path().join("store.db"));
    let stored: BTreeSet<_> = assert_only_whole_submits(&opened.store()).await.into_iter().collect();
    let lost: Vec<_> = acknowledged.iter().filter(|id| !stored.contains(id)).collect();
    assert!(lost.is_empty(), "acknowledged and lost: {lost:?}");
    opened.close().await;
}

/// Not a test of its own: the part of the child in the test above. Does nothing in the ordinary run.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_child_submits_until_it_is_killed() {
    let Some(folder) = child::folder() else { return };
    let opened = open(&folder.join("store.db"));
    let submitters = (0..16).map(|_| async {
        loop {
            let job = opened.store().jobs.submit(request("x"), now()).await.expect("stored").job;
            // The line before may be the test harness's own and unfinished.
            let line = format!("\nacknowledged {}\n", job.id);
            std::io::stdout().lock().write_all(line.as_bytes()).expect("the parent reads");
        }
    });
    futures_util::future::join_all::<_>(submitters).await.into_iter().for_each(|never: ()| never);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn callers_that_go_away_leave_whole_jobs_or_none() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let opened = open(&folder.path().join("store.db"));
    let store = opened.store();

    for number in 0..200 {
        let submit = store.jobs.submit(request("dropped"), now());
        // At once, and at some moment in the middle.
        let patience = Duration::from_micros(number % 20 * 100);
        let _ = tokio::time::timeout(patience, submit).await;
    }

    let last = store.jobs.submit(request("stays"), now()).await.expect("the writer lives").job.id;
    let stored = assert_only_whole_submits(&store).await;
    assert_eq!(stored.last(), Some(&last));
    opened.close().await;
}

#[tokio::test]
async fn everything_is_still_there_after_an_orderly_close() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("store.db");
    let opened = open(&path);
    let store = opened.store();
    let id = store.jobs.submit(request("x"), now()).await.expect("stored").job.id;
    opened.close().await;
    let refused = store.jobs.get(id).await.expect_err("closed");
    assert_eq!(refused.to_string(), "the store is not available: the store is closed");

    let opened = open(&path);

    let worker = WorkerId::new("host", "boot", 0);
    let request = ClaimRequest {
        worker,
        lease_until: now() + Duration::from_secs(30),
        max_retries: 3,
        skip_owners: Vec::new(),
    };
    let claimed = opened.store().jobs.claim(request, now()).await.expect("works").expect("it still waits");
    assert_eq!(claimed.job.id, id);
    opened.close().await;
}
