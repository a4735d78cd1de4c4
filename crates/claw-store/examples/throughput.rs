//! Measures the SQLite engine: durable submits a second with 16 callers, the way from submit to claim, and how long
//! the first page of a list takes, for each filter.
//!
//! `cargo run --release -p claw-store --example throughput -- [jobs] [folder] [plain]`
//!
//! With `plain` only submits are measured, of jobs of one owner without tags and workspaces.
#![expect(clippy::disallowed_methods, reason = "a measurement needs the real time")]

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use claw_core::{JobId, JobSource, JobSpec, JobStatus, Priority, RunUsage, Timestamp, WorkerId, WorkspaceId};
use claw_store::{
    ClaimRequest, JobFilter, JobSort, Store, SubmitRequest,
    sqlite::{SqliteOptions, SqliteStore},
};
use tokio::task::JoinSet;

const CALLERS: usize = 16;
const OWNERS: [&str; 3] = ["alice", "bob", "carol"];
const SOURCES: [JobSource; 3] = [JobSource::Api, JobSource::Cron, JobSource::Webhook];

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let mut arguments = std::env::args().skip(1);
    let jobs: usize = arguments.next().map_or(100_000, |number| number.parse().expect("a number of jobs"));
    let temporary = tempfile::tempdir().expect("a temporary folder");
    let folder = arguments.next().map_or_else(|| temporary.path().to_owned(), PathBuf::from);
    let opened = SqliteStore::open(&folder.join("throughput.db"), SqliteOptions::default()).expect("a store");
    let store = opened.store();
    let workspaces: Vec<_> = (0..20).map(|_| WorkspaceId::new()).collect();

    if arguments.next().as_deref() == Some("plain") {
        submit(&store, jobs, &workspaces[..0]).await;
        return;
    }
    submit(&store, jobs, &workspaces).await;
    end_most(&store, jobs / 2).await;
    lists(&store, &workspaces).await;
    claims(&store).await;
    let start = Instant::now();
    opened.close().await;
    println!("close{:>50}", format!("{:.1?}", start.elapsed()));
}

fn request(number: usize, workspaces: &[WorkspaceId]) -> SubmitRequest {
    let mut spec =
        JobSpec::new(format!("Please look at number {number} and mend the build"), SOURCES[number % 3]);
    if workspaces.is_empty() {
        return SubmitRequest {
            id: JobId::new(),
            owner: OWNERS[0].into(),
            spec,
            exclusive: false,
            idempotency_key: None,
        };
    }
    spec.tags = vec![format!("tag-{}", number % 7)];
    spec.workspace_id = Some(workspaces[number % workspaces.len()]);
    spec.priority = Priority::from(u8::try_from(number % 10).unwrap_or(9));
    let owner = OWNERS[number % 11 % 3].into();
    SubmitRequest { id: JobId::new(), owner, spec, exclusive: false, idempotency_key: None }
}

async fn submit(store: &Store, jobs: usize, workspaces: &[WorkspaceId]) {
    let start = Instant::now();
    let mut callers = JoinSet::new();
    for caller in 0..CALLERS {
        let (store, workspaces) = (store.clone(), workspaces.to_vec());
        callers.spawn(async move {
            for number in (caller..jobs).step_by(CALLERS) {
                store.jobs.submit(request(number, &workspaces), Timestamp::now()).await.expect("stored");
            }
        });
    }
    callers.join_all().await;
    println!(
        "durable submits a second, {CALLERS} callers{:>19.0}",
        jobs as f64 / start.elapsed().as_secs_f64()
    );
}

/// Claims and ends jobs, so that every state has its share.
async fn end_most(store: &Store, jobs: usize) {
    let start = Instant::now();
    let mut callers = JoinSet::new();
    for caller in 0..CALLERS {
        let store = store.clone();
        callers.spawn(async move {
            for number in (caller..jobs).step_by(CALLERS) {
                let now = Timestamp::now();
                let Some(claimed) = store.jobs.claim(claim_request(caller), now).await.expect("works") else {
                    return;
                };
                let (id, token) = (claimed.job.id, claimed.token);
                if number % 3 == 0 {
                    store.jobs.cancel(id, "alice".into(), now).await.expect("it runs");
                }
                let outcome = claw_core::JobOutcome::Completed { result: Default::default() };
                store.jobs.finish(id, token, outcome, RunUsage::default(), now).await.expect("held");
            }
        });
    }
    callers.join_all().await;
    println!("claims and finishes a second{:>27.0}", jobs as f64 / start.elapsed().as_secs_f64());
}

fn claim_request(slot: usize) -> ClaimRequest {
    let lease_until = Timestamp::now() + Duration::from_secs(600);
    ClaimRequest {
        worker: WorkerId::new("host", "boot", slot),
        lease_until,
        max_retries: 3,
        skip_owners: Vec::new(),
    }
}

async fn lists(store: &Store, workspaces: &[WorkspaceId]) {
    let all = JobFilter { limit: 50, ..JobFilter::default() };
    let status = |status| JobFilter { status: Some(status), ..all.clone() };
    let owner = JobFilter { owner: Some("bob".into()), ..all.clone() };
    let search = |text: &str| JobFilter { search: Some(text.into()), ..all.clone() };
    let workspace = JobFilter { workspace: Some(workspaces[3]), ..all.clone() };
    let tag = JobFilter { tag: Some("tag-3".into()), ..all.clone() };
    let source = JobFilter { source: Some(JobSource::Cron), ..all.clone() };
    let filters = [
        ("all, by priority", JobFilter { sort: JobSort::Priority, ..all.clone() }),
        ("pending", status(JobStatus::Pending)),
        ("completed, oldest first", JobFilter { sort: JobSort::Oldest, ..status(JobStatus::Completed) }),
        ("pending, by priority", JobFilter { sort: JobSort::Priority, ..status(JobStatus::Pending) }),
        ("failed, of which there are none", status(JobStatus::Failed)),
        ("owner, by priority", JobFilter { sort: JobSort::Priority, ..owner.clone() }),
        ("owner, completed", JobFilter { status: Some(JobStatus::Completed), ..owner.clone() }),
        ("owner and workspace", JobFilter { owner: owner.owner.clone(), ..workspace.clone() }),
        ("owner and source", JobFilter { source: source.source, ..owner.clone() }),
        ("owner", owner),
        ("workspace", workspace),
        ("tag", tag.clone()),
        ("tag and source", JobFilter { source: source.source, ..tag }),
        ("source", source),
        ("search that finds one", search("NUMBER 77777 ")),
        ("search that finds some", search("er 123")),
        ("search that finds nothing", search("nothing like it")),
        ("search that finds all", search("mend the build")),
        ("search of two characters", search("77")),
        ("all, page 100", JobFilter { offset: 5_000, ..all.clone() }),
        ("all", all),
    ];
    for (name, filter) in &filters {
        let first = Instant::now();
        store.jobs.list(filter.clone()).await.expect("readable");
        let first = first.elapsed();
        let mut times = Vec::new();
        let mut total = 0;
        for _ in 0..50 {
            let start = Instant::now();
            total = store.jobs.list(filter.clone()).await.expect("readable").total;
            times.push(start.elapsed());
        }
        times.sort();
        let (p50, p99) = (times[times.len() / 2], times[times.len() * 99 / 100]);
        println!("list: {name:<32} of {total:>6} {p50:>10.2?} p50 {p99:>10.2?} p99 {first:>10.2?} first");
    }
    for (name, filter) in &filters {
        let far = JobFilter { offset: 49_950, ..filter.clone() };
        let start = Instant::now();
        let page = store.jobs.list(far).await.expect("readable");
        if !page.items.is_empty() {
            println!("page 1,000: {name:<32} {:>16.2?}", start.elapsed());
        }
    }
}

/// From the call of submit to the answer of the claim, on an otherwise idle store.
async fn claims(store: &Store) {
    let workspaces = [WorkspaceId::new()];
    let mut times = Vec::new();
    for _ in 0..200 {
        let mut first = request(9, &workspaces);
        first.spec.priority = Priority::from(9);
        let start = Instant::now();
        store.jobs.submit(first, Timestamp::now()).await.expect("stored");
        store.jobs.claim(claim_request(0), Timestamp::now()).await.expect("works").expect("one is due");
        times.push(start.elapsed());
    }
    times.sort();
    println!("submit, then claim{:>37}", format!("{:.2?} p50", times[times.len() / 2]));
}
