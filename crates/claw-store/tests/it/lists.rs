//! Lists over so many jobs that the engine reads them in its other ways: merged ranges, the search index, and totals
//! that it remembers.

use std::time::Duration;

use claw_core::{ClaimedJob, JobOutcome, JobResult, JobStatus, RunUsage, WorkerId};
use claw_store::{ClaimRequest, JobFilter, JobSort, Store, conformance::lists::compare_lists};
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

/// A text that many jobs have is looked for in order of priority; not for ever, if only the last of them have it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p2_searches_by_priority_are_in_order_wherever_their_matches_are() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let opened = open(&folder.path().join("store.db"));
    let store = opened.store();
    let job = |number: usize| {
        let priority = [9, 5, 1][number % 3];
        let last = if priority == 1 { " lantern" } else { "" };
        let mut request =
            request(&format!("{number}{}{last}", if number.is_multiple_of(4) { " lobster" } else { "" }));
        request.owner = if number.is_multiple_of(7) { "key:few" } else { "key:many" }.into();
        request.spec.priority = priority.into();
        request
    };
    for chunk in (0..9_000).collect::<Vec<_>>().chunks(50) {
        // So few at once are begun in order.
        let submits = chunk.iter().map(|number| store.jobs.submit(job(*number), now()));
        join_all(submits).await.into_iter().for_each(|submitted| drop(submitted.expect("stored")));
    }
    let prompts: Vec<String> = (0..9_000).map(|number| job(number).spec.prompt).collect();

    for (search, owner, offset) in [
        ("lobster", None, 0),
        ("LOBSTER", None, 400),
        ("lobster", Some("key:many"), 0),
        ("lobster", None, 2_240),
        ("lantern", None, 0),
        ("lantern", Some("key:many"), 100),
    ] {
        let filter = JobFilter {
            search: Some(search.into()),
            owner: owner.map(str::to_owned),
            sort: JobSort::Priority,
            offset,
            limit: 20,
            ..JobFilter::default()
        };
        let page = store.jobs.list(filter).await.expect("readable");

        let mut expected: Vec<usize> = (0..9_000)
            .filter(|number| prompts[*number].contains(&search.to_lowercase()))
            .filter(|number| owner.is_none_or(|owner| job(*number).owner == owner))
            .collect();
        expected.sort_by_key(|number| number % 3);
        assert_eq!(page.total, expected.len() as u64, "{search} {owner:?}");
        let found: Vec<_> = page.items.iter().map(|job| job.spec.prompt.as_str()).collect();
        let expected: Vec<_> =
            expected.iter().skip(offset as usize).take(20).map(|number| prompts[*number].as_str()).collect();
        assert_eq!(found, expected, "{search} {owner:?} {offset}");
    }
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
