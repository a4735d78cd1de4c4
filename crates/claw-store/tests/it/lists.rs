//! Lists over so many jobs that the engine reads them in its other ways: merged ranges, the search index, and totals
//! that it remembers.

use std::time::Duration;

use claw_core::{ClaimedJob, JobOutcome, JobResult, JobStatus, RunUsage, WorkerId};
use claw_store::{ClaimRequest, JobFilter, Store, conformance::lists::compare_lists};
use futures_util::future::join_all;

use crate::setting::{now, open, request};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lists_of_many_jobs_equal_naive_ones_too() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let opened = open(&folder.path().join("store.db"));

    compare_lists(&opened.store(), 3_000, 150).await;

    opened.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_total_of_a_search_stays_true_while_jobs_come_change_and_go() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let opened = open(&folder.path().join("store.db"));
    let store = opened.store();
    let submits = (0..2_500).map(|number| store.jobs.submit(request(prompt(number)), now()));
    join_all(submits).await.into_iter().for_each(|submitted| drop(submitted.expect("stored")));
    assert_totals(&store, [1_250, 1_250, 0]).await;

    store.jobs.submit(request("Needle"), now()).await.expect("stored");
    store.jobs.submit(request("straw"), now()).await.expect("stored");
    assert_totals(&store, [1_251, 1_251, 0]).await;

    let claimed = claim(&store).await;
    assert_eq!(claimed.job.spec.prompt, prompt(0));
    assert_totals(&store, [1_251, 1_250, 0]).await;

    let outcome = JobOutcome::Completed { result: JobResult::default() };
    let (id, token) = (claimed.job.id, claimed.token);
    store.jobs.finish(id, token, outcome, RunUsage::default(), now()).await.expect("held");
    assert_totals(&store, [1_251, 1_250, 1]).await;

    store.jobs.delete(id).await.expect("it has ended");
    assert_totals(&store, [1_250, 1_250, 0]).await;
    opened.close().await;
}

fn prompt(number: usize) -> &'static str {
    if number.is_multiple_of(2) { "a needle" } else { "some straw" }
}

async fn claim(store: &Store) -> ClaimedJob {
    let request = ClaimRequest {
        worker: WorkerId::new("host", "boot", 0),
        lease_until: now() + Duration::from_secs(30),
        max_retries: 3,
        skip_owners: Vec::new(),
    };
    store.jobs.claim(request, now()).await.expect("works").expect("one is due")
}

/// Searches twice each, by the index and by a text too short for it: in all states, waiting and completed.
async fn assert_totals(store: &Store, expected: [u64; 3]) {
    let states = [None, Some(JobStatus::Pending), Some(JobStatus::Completed)];
    for (status, expected) in states.into_iter().zip(expected) {
        for search in ["needle", "NE", "needle", "NE"] {
            let filter = JobFilter { search: Some(search.into()), status, limit: 3, ..JobFilter::default() };
            let page = store.jobs.list(filter).await.expect("readable");
            assert_eq!(page.total, expected, "{search} {status:?}");
            assert_eq!(page.items.len() as u64, expected.min(3), "{search} {status:?}");
        }
    }
}
