//! Lists compared with a filter that looks at every job.

use std::{cmp::Reverse, time::Duration};

use claw_core::{Job, JobSource, JobStatus, WorkspaceId};

use super::{random::Random, setting::*};
use crate::{JobFilter, JobPage, JobSort, Store};

const OWNERS: [&str; 3] = ["alice", "bob", "carol"];
const TAGS: [&str; 3] = ["night", "10%_x", "a"];
const SOURCES: [JobSource; 3] = [JobSource::Api, JobSource::Cron, JobSource::Webhook];
const WORDS: [&str; 8] = ["Fix", "the", "bug", "100%", "under_score", "\"Quoted\"", "Ärger", "x'y"];
const SEARCHES: [&str; 9] = ["fix", "BUG the", "100%", "r_s", "\"quo", "ärg", "x'", "Nowhere", "e"];

/// Every filter alone and together with others, in every order and page, gives what a naive one gives.
pub async fn p2_every_filter_and_order_equals_a_naive_one(store: Store) {
    compare_lists(&store, 160, 400).await;
}

/// Stores `jobs` random jobs, ends and deletes some, and compares `lists` random lists with naive ones.
///
/// Engines whose ways of reading depend on the number of jobs call it with more of them.
pub async fn compare_lists(store: &Store, jobs: usize, lists: usize) {
    let mut random = Random::new(7);
    let workspaces = [WorkspaceId::new(), WorkspaceId::new()];
    let mut stored = store_some(store, &mut random, &workspaces, jobs).await;
    stored = live_some(store, &mut random, stored).await;

    for number in 0..lists {
        let filter = random_filter(&mut random, &workspaces, jobs);

        let page = store.jobs.list(filter.clone()).await.expect("readable");

        let expected = naive(&stored, &filter);
        assert_eq!(page.total, expected.total, "list {number}: {filter:?}");
        let ids = |page: &JobPage| page.items.iter().map(|job| job.id).collect::<Vec<_>>();
        assert_eq!(ids(&page), ids(&expected), "list {number}: {filter:?}");
        assert_eq!(page, expected, "list {number}: {filter:?}");
    }
}

async fn store_some(
    store: &Store,
    random: &mut Random,
    workspaces: &[WorkspaceId],
    count: usize,
) -> Vec<Job> {
    let mut submits = Vec::new();
    for number in 0..count {
        let words: Vec<_> = (0..4).map(|_| *random.pick(&WORDS)).collect();
        let mut request = request(&format!("{number} {}", words.join(" ")));
        request.owner = (*random.pick(&OWNERS)).into();
        request.spec.source = *random.pick(&SOURCES);
        request.spec.priority = (*random.pick(&[1u8, 5, 9])).into();
        request.spec.workspace_id = (!random.one_in(3)).then(|| *random.pick(workspaces));
        request.spec.tags = TAGS.iter().filter(|_| random.one_in(3)).map(|tag| (*tag).to_owned()).collect();
        submits.push(store.jobs.submit(request, at(0)));
    }
    // All at once, so that engines may group them; in which order they came tells the event stream.
    for submitted in futures_util::future::join_all(submits).await {
        submitted.expect("stored");
    }
    let mut stored = Vec::new();
    for event in events(store).await {
        stored.push(store.jobs.get(event.job_id).await.expect("readable").expect("stored"));
    }
    stored
}

/// Brings some jobs into every state and deletes a few.
async fn live_some(store: &Store, random: &mut Random, stored: Vec<Job>) -> Vec<Job> {
    for _ in 0..(stored.len() / 2).min(300) {
        let Some(claimed) = claim(store, 0).await else { break };
        match random.below(4) {
            0 => drop(finish(store, &claimed, completed(), 1).await),
            1 => drop(finish(store, &claimed, failed(None), 1).await),
            2 => {
                store.jobs.cancel(claimed.job.id, "alice".into(), at(1)).await.expect("it runs");
                finish(store, &claimed, completed(), 1).await;
            }
            _ => {}
        }
    }
    let mut left = Vec::new();
    for job in stored {
        let job = store.jobs.get(job.id).await.expect("readable").expect("stored");
        if job.status().is_terminal() && random.one_in(5) {
            store.jobs.delete(job.id).await.expect("it ended");
        } else {
            left.push(job);
        }
    }
    left
}

fn random_filter(random: &mut Random, workspaces: &[WorkspaceId], jobs: usize) -> JobFilter {
    let search = *random.pick(&SEARCHES);
    let unknown = random.one_in(20);
    JobFilter {
        status: random.one_in(3).then(|| *random.pick(&JobStatus::ALL)),
        workspace: random.one_in(4).then(|| *random.pick(workspaces)),
        tag: random.one_in(4).then(|| if unknown { "unknown" } else { *random.pick(&TAGS) }.to_owned()),
        source: random.one_in(4).then(|| *random.pick(&SOURCES)),
        search: random.one_in(3).then(|| search.to_owned()),
        owner: random.one_in(3).then(|| (*random.pick(&OWNERS)).to_owned()),
        sort: *random.pick(&[JobSort::Newest, JobSort::Oldest, JobSort::Priority]),
        offset: if random.one_in(2) { 0 } else { random.below(jobs / 2) as u64 },
        limit: 1 + random.below(20) as u64,
    }
}

/// What the contract says, word for word. `stored` is in order of submit.
fn naive(stored: &[Job], filter: &JobFilter) -> JobPage {
    let search = filter.search.as_deref().map(str::to_lowercase);
    let mut matching: Vec<_> = stored
        .iter()
        .filter(|job| filter.status.is_none_or(|status| job.status() == status))
        .filter(|job| filter.workspace.is_none_or(|workspace| job.spec.workspace_id == Some(workspace)))
        .filter(|job| filter.tag.as_ref().is_none_or(|tag| job.spec.tags.contains(tag)))
        .filter(|job| filter.source.is_none_or(|source| job.spec.source == source))
        .filter(|job| search.as_ref().is_none_or(|text| job.spec.prompt.to_lowercase().contains(text)))
        .filter(|job| filter.owner.as_ref().is_none_or(|owner| job.owner == *owner))
        .collect();
    match filter.sort {
        JobSort::Newest => matching.reverse(),
        JobSort::Oldest => {}
        JobSort::Priority => matching.sort_by_key(|job| Reverse(job.spec.priority)),
    }
    let cut = |number: u64| usize::try_from(number).expect("a small number");
    let total = matching.len() as u64;
    let items = matching.into_iter().skip(cut(filter.offset)).take(cut(filter.limit)).cloned().collect();
    JobPage { items, total }
}

/// Characters that mean something to an engine mean nothing to a search.
pub async fn search_takes_every_character_for_itself(store: Store) {
    let prompts = ["100% done", "100 done", "a_b", "aXb", "say \"hi\" NEAR me", "a*", "back\\slash", "GROSS"];
    submit_all(&store, prompts.map(request)).await;

    for (search, expected) in [
        ("0% d", vec![0]),
        ("%", vec![0]),
        ("a_b", vec![2]),
        ("_", vec![2]),
        ("\"HI\"", vec![4]),
        ("hi\" near", vec![4]),
        ("a*", vec![5]),
        ("k\\s", vec![6]),
        ("gross", vec![7]),
        ("", (0..8).collect()),
    ] {
        let filter = JobFilter {
            search: Some(search.into()),
            sort: JobSort::Oldest,
            limit: 10,
            ..JobFilter::default()
        };

        let page = store.jobs.list(filter).await.expect("readable");

        let found: Vec<_> = page.items.iter().map(|job| job.spec.prompt.as_str()).collect();
        let expected: Vec<_> = expected.into_iter().map(|index: usize| prompts[index]).collect();
        assert_eq!(found, expected, "{search}");
        assert_eq!(page.total, expected.len() as u64, "{search}");
    }
}

/// Asking for no items still tells how many there are.
pub async fn an_empty_limit_returns_only_the_total(store: Store) {
    submit_all(&store, ["a", "b"].map(request)).await;

    let page = tokio::time::timeout(Duration::from_secs(20), store.jobs.list(JobFilter::default())).await;

    assert_eq!(page.expect("in time").expect("readable"), JobPage { items: vec![], total: 2 });
}
