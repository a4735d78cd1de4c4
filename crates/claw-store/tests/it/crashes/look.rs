//! The parent's look into a store whose user died: what each actor's part holds, and what must be true of the whole.

use std::collections::{BTreeMap, HashMap};

use claw_core::{Job, JobEvent, JobId, JobState, JobStatus, Usd};
use claw_store::{
    ChainHash, JobCounts, JobFilter, SpendingFilter, SpendingGroup, Store, StreamName, chain_hash, day_of,
};

use super::{
    ACTORS,
    model::{ModelActor, ModelJob},
    protocol::owner,
};
use crate::setting::now;

/// More than any of these stores holds.
const ALL: u64 = 1_000_000;

/// A job whose deletion was begun may have lost any beginning of its log.
pub(super) type Deleting = Option<JobId>;

/// Reads everything, checks what must always be true, and returns what each actor's part holds.
pub(super) async fn look(store: &Store, deleting: &[Deleting]) -> Vec<ModelActor> {
    let events = events(store).await;
    let records = records(store).await;
    let mut actors = Vec::new();
    for (actor, deleting) in deleting.iter().enumerate() {
        let mut seen = ModelActor { records: records[actor], ..ModelActor::default() };
        (seen.runs, seen.spent_nanos) = spent(store, actor).await;
        for (id, states) in events.get(&owner(actor)).into_iter().flatten() {
            let may_be_cut = *deleting == Some(*id);
            let job = match store.jobs.get(*id).await.expect("readable") {
                Some(job) => seen_job(store, job, states, may_be_cut).await,
                None => gone_job(store, *id, states).await,
            };
            seen.jobs.insert(*id, job);
        }
        lists(store, actor, &seen).await;
        actors.push(seen);
    }
    counts(store, &actors).await;
    actors
}

/// The states of each job by owner, in the order of their events.
async fn events(store: &Store) -> HashMap<String, BTreeMap<JobId, Vec<JobStatus>>> {
    let mut events: HashMap<String, BTreeMap<JobId, Vec<JobStatus>>> = HashMap::new();
    let stored = store.streams.read(&StreamName::job_events(), 0, ALL).await.expect("readable");
    for (seq, record) in (1..).zip(stored) {
        assert_eq!(record.seq, seq, "events have no gap");
        let event: JobEvent = serde_json::from_slice(&record.data).expect("an event");
        events.entry(event.owner).or_default().entry(event.job_id).or_default().push(event.status);
    }
    events
}

/// Verifies the chain, and returns how many records of each actor are in it: each once and in order.
async fn records(store: &Store) -> [u64; ACTORS] {
    let mut counts = [0; ACTORS];
    let page = store.streams.read_chained(&StreamName::audit(), 0, ALL).await.expect("readable");
    assert_eq!((page.after, page.before), (0, ChainHash::START));
    let mut previous = page.before;
    for (seq, chained) in (1..).zip(&page.records) {
        let (record, hash) = (&chained.record, chained.hash);
        assert_eq!(record.seq, seq, "the chain has no gap");
        assert_eq!(chain_hash(previous, seq, record.at, &record.data), hash, "record {seq}");
        previous = hash;
        let text = std::str::from_utf8(&record.data).expect("text");
        let (name, number) = text.split_once('/').expect("who and which");
        let actor = (0..ACTORS).find(|actor| owner(*actor) == name).expect("one of the actors");
        counts[actor] += 1;
        assert_eq!(number, counts[actor].to_string(), "each record of {name} is there once");
    }
    counts
}

async fn spent(store: &Store, actor: usize) -> (u64, u64) {
    let day = day_of(now());
    let filter =
        SpendingFilter { from: day, to: day, owner: Some(owner(actor)), group: SpendingGroup::Owner };
    let rows = store.jobs.spending(filter).await.expect("readable");
    assert!(rows.len() <= 1, "one owner");
    rows.first().map_or((0, 0), |row| (row.runs, row.cost.nanos()))
}

async fn seen_job(store: &Store, job: Job, states: &[JobStatus], may_be_cut: bool) -> ModelJob {
    let log = StreamName::job_log(job.id);
    let lines = store.streams.read(&log, 0, ALL).await.expect("readable");
    let last = store.streams.last_seq(&log).await.expect("readable");
    let first = last + 1 - lines.len() as u64;
    assert!(first == 1 || may_be_cut, "the log of {} begins with line {first}", job.id);
    for (seq, line) in (first..).zip(&lines) {
        assert_eq!((line.seq, line.data.as_slice()), (seq, seq.to_string().as_bytes()), "no gap, no double");
    }
    let result = store.jobs.result(job.id).await.expect("readable").map(|stored| stored.result.text);
    let cancel_requested = match &job.state {
        JobState::Running { cancel_requested_by, .. } => cancel_requested_by.is_some(),
        _ => false,
    };
    ModelJob {
        status: job.status(),
        cancel_requested,
        leases: job.lease_count,
        cost_nanos: job.usage.cost_usd.and_then(Usd::from_dollars).unwrap_or_default().nanos(),
        result,
        lines: last,
        events: states.to_vec(),
        is_deleted: false,
    }
}

async fn gone_job(store: &Store, id: JobId, states: &[JobStatus]) -> ModelJob {
    assert_eq!(store.jobs.result(id).await.expect("readable"), None);
    assert_eq!(store.streams.last_seq(&StreamName::job_log(id)).await.expect("readable"), 0);
    ModelJob {
        status: *states.last().expect("an event"),
        cancel_requested: false,
        leases: 0,
        cost_nanos: 0,
        result: None,
        lines: 0,
        events: states.to_vec(),
        is_deleted: true,
    }
}

/// Lists and searches tell the same as the jobs themselves.
async fn lists(store: &Store, actor: usize, seen: &ModelActor) {
    let stored = || seen.jobs.values().filter(|job| !job.is_deleted);
    let total = async |status: Option<JobStatus>, search: Option<String>| {
        let filter = JobFilter { owner: Some(owner(actor)), status, search, ..JobFilter::default() };
        store.jobs.list(filter).await.expect("readable").total
    };
    for status in JobStatus::ALL {
        let expected = stored().filter(|job| job.status == status).count() as u64;
        assert_eq!(total(Some(status), None).await, expected, "{status}");
    }
    assert_eq!(total(None, Some(owner(actor))).await, stored().count() as u64, "the search finds all");
}

async fn counts(store: &Store, actors: &[ModelActor]) {
    let ever = |status: JobStatus, and_deleted: bool| {
        let jobs = actors.iter().flat_map(|actor| actor.jobs.values());
        jobs.filter(|job| job.status == status && (and_deleted || !job.is_deleted)).count() as u64
    };
    let expected = JobCounts {
        pending: ever(JobStatus::Pending, false),
        running: ever(JobStatus::Running, false),
        completed: ever(JobStatus::Completed, true),
        failed: ever(JobStatus::Failed, true),
        cancelled: ever(JobStatus::Cancelled, true),
    };
    assert_eq!(store.jobs.counts().await.expect("readable"), expected);
}
