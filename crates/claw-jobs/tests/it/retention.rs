//! What is old goes, in small steps, and nothing else.

use std::{sync::Arc, time::Duration};

use claw_core::{Coded, ErrorCode, JobSource, JobSpec, JobStatus, ManualClock, Persistence, WorkspaceId};
use claw_jobs::{GcReport, GcSubject, RetentionRules};
use claw_store::{JobFilter, StreamName};
use claw_testkit::wait_until;

use crate::{
    fake_sandbox::FakeSandbox,
    setting::{House, Options, admin, agent, assert_status, new_workspace, now},
};

const DAY: i64 = 86_400;

async fn house() -> (House, Arc<ManualClock>) {
    let clock = Arc::new(ManualClock::new(now()));
    let house = House::with(Options { clock: clock.clone(), ..Options::default() }).await;
    (house, clock)
}

/// Runs `count` jobs to their end.
async fn run_jobs(house: &House, count: usize, workspace: Option<WorkspaceId>) -> Vec<claw_core::JobId> {
    let worker = house
        .worker_in(FakeSandbox::new(|agent| async move {
            agent.say("a line").await;
            agent.done("done").await;
        }))
        .await;
    let mut jobs = Vec::new();
    for _ in 0..count {
        let spec = JobSpec { workspace_id: workspace, ..JobSpec::new("x", JobSource::Api) };
        jobs.push(house.submit(&admin(), spec).await.id);
    }
    for job in &jobs {
        assert_status(&house.ended(*job).await, JobStatus::Completed);
    }
    worker.shutdown().await;
    jobs
}

async fn jobs_left(house: &House) -> u64 {
    house.store.jobs.list(JobFilter { limit: 1, ..JobFilter::default() }).await.expect("a list").total
}

fn removed(report: &GcReport) -> Vec<(GcSubject, u64)> {
    let some = report.counts.iter().filter(|count| count.removed > 0);
    some.map(|count| (count.subject, count.removed)).filter(|(it, _)| *it != GcSubject::StoreBytes).collect()
}

#[tokio::test]
async fn p11_jobs_go_by_age_with_their_logs_and_those_that_wait_stay() {
    let (house, clock) = house().await;
    let old = run_jobs(&house, 3, None).await;
    let waiting = house.submit(&admin(), JobSpec::new("waits", JobSource::Api)).await.id;
    clock.advance(8 * DAY);
    let rules = RetentionRules { jobs_days: Some(7), ..RetentionRules::default() };
    let retention = house.retention(FakeSandbox::idle(), rules);

    let told = retention.gc(&admin(), true).await.expect("told");
    assert_eq!((removed(&told), jobs_left(&house).await), (vec![(GcSubject::Jobs, 3)], 4));
    let done = retention.gc(&admin(), false).await.expect("done");
    let again = retention.gc(&admin(), false).await.expect("done");

    assert_eq!((removed(&done), removed(&again)), (vec![(GcSubject::Jobs, 3)], vec![]));
    assert_eq!(jobs_left(&house).await, 1);
    assert_status(&house.job(waiting).await, JobStatus::Pending);
    for job in old {
        assert_eq!(house.store.streams.read(&StreamName::job_log(job), 0, 10).await.expect("a log"), []);
    }
}

#[tokio::test]
async fn p11_beyond_a_number_the_oldest_jobs_go() {
    let (house, clock) = house().await;
    let mut jobs = Vec::new();
    for _ in 0..4 {
        jobs.extend(run_jobs(&house, 1, None).await);
        clock.advance(60);
    }
    let rules = RetentionRules { jobs_count: Some(2), ..RetentionRules::default() };

    let report = house.retention(FakeSandbox::idle(), rules).gc(&admin(), false).await.expect("done");

    assert_eq!(removed(&report), [(GcSubject::Jobs, 2)]);
    for (job, stays) in jobs.into_iter().zip([false, false, true, true]) {
        assert_eq!(house.store.jobs.get(job).await.expect("the store answers").is_some(), stays);
    }
}

#[tokio::test]
async fn p11_a_store_beyond_its_size_sheds_its_oldest_jobs() {
    let (house, _clock) = house().await;
    run_jobs(&house, 3, None).await;
    let waiting = house.submit(&admin(), JobSpec::new("waits", JobSource::Api)).await.id;
    let rules = RetentionRules { store_bytes: Some(1), ..RetentionRules::default() };

    let report = house.retention(FakeSandbox::idle(), rules).gc(&admin(), false).await.expect("done");

    assert_eq!(removed(&report), [(GcSubject::Jobs, 3)]);
    assert_status(&house.job(waiting).await, JobStatus::Pending);
}

#[tokio::test]
async fn p11_logs_events_and_timelines_go_by_age_and_the_jobs_stay() {
    let (house, clock) = house().await;
    let workspace = house.workspace(&admin()).await.id;
    let job = run_jobs(&house, 1, Some(workspace)).await[0];
    let log = house.store.streams.last_seq(&StreamName::job_log(job)).await.expect("a number");
    clock.advance(8 * DAY);
    let young = run_jobs(&house, 1, Some(workspace)).await[0];
    let rules = RetentionRules {
        jobs_days: Some(30),
        logs_days: Some(7),
        events_days: Some(7),
        timeline_days: Some(7),
        ..RetentionRules::default()
    };
    let retention = house.retention(FakeSandbox::idle(), rules);

    let told = retention.gc(&admin(), true).await.expect("told");
    let done = retention.gc(&admin(), false).await.expect("done");

    // Created, started, completed; submitted, claimed, finished.
    let expected = [(GcSubject::LogLines, log), (GcSubject::Events, 3), (GcSubject::TimelineEntries, 3)];
    assert_eq!((removed(&told), removed(&done)), (expected.to_vec(), expected.to_vec()));
    assert_eq!(house.jobs.logs(&admin(), job, 0, 0).await.expect("a log").lines.len(), 0);
    assert!(!house.jobs.logs(&admin(), young, 0, 0).await.expect("a log").lines.is_empty());
    let (entries, total) = house.workspaces.events(&admin(), workspace, 0, 10).await.expect("a timeline");
    assert_eq!((entries.len(), total), (2, 2));
    house.jobs.result(&admin(), job).await.expect("the result stays");
}

#[tokio::test]
async fn what_is_left_of_jobs_and_workspaces_that_are_gone_goes() {
    let house = House::new().await;
    let sandbox = FakeSandbox::idle();
    let (kept, deleted) = (house.workspace(&admin()).await.id, house.workspace(&admin()).await.id);
    sandbox.homes.lock().expect("no panic").extend([kept, deleted]);
    house.workspaces.delete(&admin(), deleted, false).await.expect("deleted");
    let gone = claw_core::JobId::new();
    house.files.checkout_empty(gone, None).await.expect("a copy");
    let waiting = house.submit(&admin(), JobSpec::new("waits", JobSource::Api)).await.id;
    house.files.checkout_empty(waiting, None).await.expect("a copy");
    let made = now().as_millisecond();
    wait_until("the next millisecond", Duration::from_secs(5), async || now().as_millisecond() > made).await;
    let retention = house.retention(sandbox.clone(), RetentionRules::default());
    // Made since the start, for a job that is to come.
    let ahead = claw_core::JobId::new();
    house.files.checkout_empty(ahead, None).await.expect("a copy");

    let told = retention.gc(&admin(), true).await.expect("told");
    let done = retention.gc(&admin(), false).await.expect("done");

    // The timeline of the deleted workspace goes as well.
    let expected = [(GcSubject::TimelineEntries, 1), (GcSubject::WorkingCopies, 1), (GcSubject::Homes, 1)];
    assert_eq!((removed(&told), removed(&done)), (expected.to_vec(), expected.to_vec()));
    assert_eq!(house.files.leftover_jobs().await.expect("a list"), [waiting, ahead]);
    assert_eq!(*sandbox.homes.lock().expect("no panic"), [kept].into());
}

#[tokio::test]
async fn work_that_could_not_be_kept_stays_as_long_as_its_job() {
    let (house, clock) = house().await;
    let workspace = house
        .workspaces
        .create(&admin(), new_workspace("w", Persistence::Persistent))
        .await
        .expect("made")
        .id;
    let files = house.files.clone();
    let worker = house
        .worker_in(FakeSandbox::new(move |agent| {
            let files = files.clone();
            async move {
                agent.append("work.txt", "work");
                files.delete(workspace).await.expect("deleted");
                agent.done("done").await;
            }
        }))
        .await;
    let spec = JobSpec { workspace_id: Some(workspace), ..JobSpec::new("x", JobSource::Api) };
    let job = house.submit(&admin(), spec).await.id;
    assert_status(&house.ended(job).await, JobStatus::Failed);
    worker.shutdown().await;
    clock.advance(2 * DAY);

    let kept = house.retention(FakeSandbox::idle(), RetentionRules::default());
    kept.gc(&admin(), false).await.expect("done");
    assert_eq!(house.files.leftover_jobs().await.expect("a list"), [job]);
    let rules = RetentionRules { jobs_days: Some(1), ..RetentionRules::default() };
    house.retention(FakeSandbox::idle(), rules).gc(&admin(), false).await.expect("done");

    assert_eq!(house.files.leftover_jobs().await.expect("a list"), []);
}

#[tokio::test]
async fn only_administrators_remove_what_is_old() {
    let house = House::new().await;
    let retention = house.retention(FakeSandbox::idle(), RetentionRules::default());

    for dry_run in [true, false] {
        let refused = retention.gc(&agent("a"), dry_run).await.expect_err("refused");
        assert_eq!(refused.code(), ErrorCode::ScopeRequired);
    }
}
