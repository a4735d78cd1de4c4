//! Submitting, seeing and ending jobs, without a worker.

use claw_core::{
    Coded, ErrorCode, JobId, JobOutcome, JobResult, JobSource, JobSpec, JobStatus, Persistence, Principal,
    RunUsage, Scope, WorkerId, WorkspaceId,
};
use claw_jobs::{LogItem, NewJob};
use claw_store::{ClaimRequest, JobFilter, StreamName};
use futures_util::StreamExt;

use crate::setting::{House, admin, agent, assert_status, new_workspace, now};

fn spec() -> JobSpec {
    JobSpec::new("do it", JobSource::Api)
}

fn code<T: std::fmt::Debug>(outcome: Result<T, claw_jobs::JobsError>) -> ErrorCode {
    outcome.expect_err("it is refused").code()
}

async fn claim(house: &House) -> (JobId, u64) {
    let now = now();
    let request = ClaimRequest {
        worker: WorkerId::new("test", "boot", 0),
        lease_until: now + jiff::SignedDuration::from_secs(60),
        max_retries: 1,
        skip_owners: Vec::new(),
    };
    let claimed =
        house.store.jobs.claim(request, now).await.expect("the store answers").expect("a job is due");
    (claimed.job.id, claimed.token)
}

async fn complete(house: &House, (id, token): (JobId, u64)) {
    let result = JobResult { text: "done".into(), ..JobResult::default() };
    let outcome = JobOutcome::Completed { result };
    house.store.jobs.finish(id, token, outcome, RunUsage::default(), now()).await.expect("finished");
}

#[tokio::test]
async fn what_belongs_to_another_answers_as_if_it_did_not_exist() {
    let house = House::new().await;
    let (alice, bob) = (agent("alice"), agent("bob"));
    let job = house.submit(&alice, spec()).await;
    let workspace = house.workspace(&alice).await;

    assert_eq!(code(house.jobs.get(&bob, job.id).await), ErrorCode::JobNotFound);
    assert_eq!(code(house.jobs.result(&bob, job.id).await), ErrorCode::JobNotFound);
    assert_eq!(code(house.jobs.logs(&bob, job.id, 0, 0).await), ErrorCode::JobNotFound);
    assert_eq!(code(house.jobs.follow_logs(&bob, job.id, 0).await.map(|_| ())), ErrorCode::JobNotFound);
    assert_eq!(code(house.jobs.cancel(&bob, job.id).await), ErrorCode::JobNotFound);
    assert_eq!(code(house.jobs.delete(&bob, job.id).await), ErrorCode::JobNotFound);
    let foreign = JobSpec { workspace_id: Some(workspace.id), ..spec() };
    let submitted = house.jobs.submit(&bob, NewJob { spec: foreign, idempotency_key: None }).await;
    assert_eq!(code(submitted), ErrorCode::WorkspaceNotFound);
    assert_eq!(
        house.jobs.list(&bob, JobFilter { limit: 10, ..JobFilter::default() }).await.expect("a list").total,
        0
    );
    assert_eq!(house.jobs.get(&admin(), job.id).await.expect("admins see it").id, job.id);
}

#[tokio::test]
async fn a_key_without_the_scope_learns_nothing_not_even_what_exists() {
    let house = House::new().await;
    let job = house.submit(&admin(), spec()).await;
    let writer = claw_core::Actor::new(Principal::Key("w".into()), "w", [Scope::JobsWrite]);

    for id in [job.id, JobId::new()] {
        assert_eq!(code(house.jobs.get(&writer, id).await), ErrorCode::ScopeRequired);
    }
}

#[tokio::test]
async fn a_job_for_a_workspace_that_is_not_there_is_refused() {
    let house = House::new().await;

    let spec = JobSpec { workspace_id: Some(WorkspaceId::new()), ..spec() };

    let refused = house.jobs.submit(&admin(), NewJob { spec, idempotency_key: None }).await;
    assert_eq!(code(refused), ErrorCode::WorkspaceNotFound);
}

#[tokio::test]
async fn submitting_twice_with_one_key_gives_one_job() {
    let house = House::new().await;
    let new = NewJob { spec: spec(), idempotency_key: Some("nightly-2026-11-21".into()) };

    let first = house.jobs.submit(&admin(), new.clone()).await.expect("submitted");
    let second = house.jobs.submit(&admin(), new).await.expect("submitted");

    assert!(first.created && !second.created);
    assert_eq!(first.job.id, second.job.id);
}

#[tokio::test]
async fn jobs_of_a_persistent_workspace_exclude_each_other_and_those_of_an_ephemeral_one_do_not() {
    let house = House::new().await;
    for (persistence, running) in [(Persistence::Persistent, 1), (Persistence::Ephemeral, 2)] {
        let workspace =
            house.workspaces.create(&admin(), new_workspace("w", persistence)).await.expect("created");
        for _ in 0..2 {
            house.submit(&admin(), JobSpec { workspace_id: Some(workspace.id), ..spec() }).await;
        }
        let before = house.jobs.running(&admin()).await.expect("a list").len();

        let request = |slot| ClaimRequest {
            worker: WorkerId::new("test", "boot", slot),
            lease_until: now() + jiff::SignedDuration::from_secs(60),
            max_retries: 1,
            skip_owners: Vec::new(),
        };
        for slot in 0..2 {
            house.store.jobs.claim(request(slot), now()).await.expect("the store answers");
        }

        assert_eq!(
            house.jobs.running(&admin()).await.expect("a list").len() - before,
            running,
            "{persistence:?}"
        );
    }
}

#[tokio::test]
async fn a_follower_gets_every_line_once_and_then_the_end() {
    let house = House::new().await;
    let job = house.submit(&admin(), spec()).await;
    let claimed = claim(&house).await;
    let stream = StreamName::job_log(job.id);
    let append = async |lines: &[&str]| {
        let lines = lines.iter().map(|line| line.as_bytes().to_vec()).collect();
        house.store.streams.append(&stream, lines, now()).await.expect("appended");
    };
    append(&["one", "two"]).await;
    let mut follower = Box::pin(house.jobs.follow_logs(&admin(), job.id, 1).await.expect("a follower"));

    let second = follower.next().await.expect("an item").expect("a line");
    append(&["three"]).await;
    let third = follower.next().await.expect("an item").expect("a line");
    append(&["four"]).await;
    complete(&house, claimed).await;
    let rest: Vec<_> = follower.map(|item| item.expect("an item")).collect().await;

    let line = |seq, text: &str| LogItem::Line { seq, text: text.into() };
    assert_eq!([second, third], [line(2, "two"), line(3, "three")]);
    assert_eq!(rest, [line(4, "four"), LogItem::End { status: JobStatus::Completed }]);
}

#[tokio::test]
async fn events_reach_only_those_who_may_see_the_job_and_can_be_resumed() {
    let house = House::new().await;
    let (alice, bob) = (agent("alice"), agent("bob"));
    let first = house.submit(&alice, spec()).await;
    house.submit(&bob, spec()).await;
    let third = house.submit(&alice, spec()).await;

    let mut events = Box::pin(house.jobs.events(&alice, Some(0)).await.expect("events"));
    let seen =
        [events.next().await, events.next().await].map(|event| event.expect("an event").expect("an event"));
    let mut resumed = Box::pin(house.jobs.events(&alice, Some(seen[0].seq)).await.expect("events"));

    assert_eq!(seen.each_ref().map(|event| event.event.job_id), [first.id, third.id]);
    assert_eq!(resumed.next().await.expect("an event").expect("an event"), seen[1]);
}

#[tokio::test]
async fn only_ended_jobs_can_be_deleted_and_then_everything_of_them_is_gone() {
    let house = House::new().await;
    let job = house.submit(&admin(), spec()).await;
    assert_eq!(code(house.jobs.delete(&admin(), job.id).await), ErrorCode::JobWrongState);
    let cancelled = house.jobs.cancel(&admin(), job.id).await.expect("cancelled");
    assert_status(&cancelled, JobStatus::Cancelled);
    assert_eq!(code(house.jobs.cancel(&admin(), job.id).await), ErrorCode::JobWrongState);

    house.jobs.delete(&admin(), job.id).await.expect("deleted");

    assert_eq!(code(house.jobs.get(&admin(), job.id).await), ErrorCode::JobNotFound);
}

#[tokio::test]
async fn a_job_without_a_result_says_in_which_state_it_is() {
    let house = House::new().await;
    let job = house.submit(&admin(), spec()).await;

    let error = house.jobs.result(&admin(), job.id).await.expect_err("there is none");

    assert_eq!(error.code(), ErrorCode::ResultNotFound);
    assert!(error.to_string().contains("pending"), "{error}");
}
