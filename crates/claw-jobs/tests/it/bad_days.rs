//! Days on which things happen at the same moment, or not at all.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use claw_core::{
    Coded, ErrorCode, FailureKind, JobEvent, JobId, JobSource, JobSpec, JobState, JobStatus, Persistence,
};
use claw_store::{JobFilter, Precondition, StreamName};
use claw_testkit::wait_until;
use tokio::sync::{Barrier, Semaphore};

use crate::{
    fake_sandbox::FakeSandbox,
    setting::{House, Options, admin, assert_status, new_workspace, worker_config},
};

fn spec() -> JobSpec {
    JobSpec::new("do it", JobSource::Api)
}

/// How often each job has ended, by the events.
async fn ends(house: &House) -> HashMap<JobId, u32> {
    let mut ends = HashMap::new();
    for record in house.store.streams.read(&StreamName::job_events(), 0, 100_000).await.expect("events") {
        let event: JobEvent = serde_json::from_slice(&record.data).expect("an event");
        if event.status.is_terminal() {
            *ends.entry(event.job_id).or_default() += 1;
        }
    }
    ends
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_waiting_jobs_outlive_a_restart_and_end_once() {
    const JOBS: usize = 1000;
    let house = House::new().await;
    let actor = admin();
    let submits = (0..JOBS).map(|_| house.submit(&actor, spec()));
    futures_util::future::join_all(submits).await;
    let started = Arc::new(AtomicUsize::new(0));
    let sandbox = || {
        let started = Arc::clone(&started);
        FakeSandbox::new(move |agent| {
            started.fetch_add(1, Ordering::SeqCst);
            async move { agent.done("done").await }
        })
    };
    let worker = house.start(sandbox(), |config| config.capacity = 8).await;
    wait_until("a good part has begun", Duration::from_secs(60), async || {
        started.load(Ordering::SeqCst) > JOBS / 10
    })
    .await;

    worker.shutdown().await;
    let left = house.store.jobs.counts().await.expect("counts").pending;
    assert!(left > 0, "the restart came too late to show anything");
    let worker = house.start(sandbox(), |config| config.capacity = 8).await;

    wait_until("all have ended", Duration::from_secs(120), async || {
        let counts = house.store.jobs.counts().await.expect("counts");
        counts.pending + counts.running == 0
    })
    .await;
    worker.shutdown().await;
    let ends = ends(&house).await;
    assert_eq!((ends.len(), ends.values().max()), (JOBS, Some(&1)));
    assert_eq!(house.store.jobs.counts().await.expect("counts").completed, JOBS as u64);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r6_a_cancel_and_the_end_of_a_run_at_the_same_moment_leave_one_of_the_two() {
    const RACES: usize = 60;
    let house = House::new().await;
    let barriers: Arc<Mutex<HashMap<JobId, Arc<Barrier>>>> = Arc::default();
    let known = Arc::clone(&barriers);
    let sandbox = FakeSandbox::new(move |agent| {
        let barrier = Arc::clone(
            known.lock().expect("no panic").entry(agent.job).or_insert_with(|| Arc::new(Barrier::new(2))),
        );
        async move {
            barrier.wait().await;
            agent.done("done").await;
        }
    });
    let worker = house.worker_in(sandbox).await;

    let mut seen = HashMap::new();
    for race in 0..RACES {
        let job = house.submit(&admin(), spec()).await.id;
        let barrier = Arc::clone(
            barriers.lock().expect("no panic").entry(job).or_insert_with(|| Arc::new(Barrier::new(2))),
        );
        house.until("the job runs", job, |job| job.status() == JobStatus::Running).await;
        barrier.wait().await;
        // From at once to well after the end, so that both orders come up.
        for _ in 0..race * race {
            tokio::task::yield_now().await;
        }
        let cancelled = house.jobs.cancel(&admin(), job).await;

        let ended = house.ended(job).await;
        // What the caller was told is what holds.
        match cancelled {
            Ok(_) => assert_status(&ended, JobStatus::Cancelled),
            Err(error) => {
                assert_eq!(error.code(), ErrorCode::JobWrongState);
                assert_status(&ended, JobStatus::Completed);
            }
        }
        let result = house.store.jobs.result(job).await.expect("the store answers");
        assert_eq!(result.is_some(), ended.status() == JobStatus::Completed);
        *seen.entry(ended.status()).or_insert(0) += 1;
    }
    worker.shutdown().await;
    let ends = ends(&house).await;
    assert_eq!((ends.len(), ends.values().max()), (RACES, Some(&1)), "{seen:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r6_a_cancel_before_the_end_and_one_after_it_are_told_apart() {
    let house = House::new().await;
    let gate = Arc::new(Semaphore::new(0));
    let held = Arc::clone(&gate);
    let sandbox = FakeSandbox::new(move |agent| {
        let held = Arc::clone(&held);
        async move {
            held.acquire().await.expect("open").forget();
            agent.done("done").await;
        }
    });
    let worker = house.worker_in(sandbox).await;

    let first = house.submit(&admin(), spec()).await.id;
    house.until("the job runs", first, |job| job.status() == JobStatus::Running).await;
    house.jobs.cancel(&admin(), first).await.expect("asked");
    gate.add_permits(1);
    assert_status(&house.ended(first).await, JobStatus::Cancelled);

    let second = house.submit(&admin(), spec()).await.id;
    gate.add_permits(1);
    assert_status(&house.ended(second).await, JobStatus::Completed);
    let late = house.jobs.cancel(&admin(), second).await.expect_err("it has ended");
    assert_eq!(late.code(), ErrorCode::JobWrongState);
    worker.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cancel_at_the_moment_of_the_claim_ends_the_job_once() {
    const RACES: usize = 50;
    let house = House::new().await;
    let worker = house.worker_in(FakeSandbox::idle()).await;

    for _ in 0..RACES {
        let job = house.submit(&admin(), spec()).await.id;
        // The worker is being woken for it right now.
        let cancelled = house.jobs.cancel(&admin(), job).await;

        let ended = house.ended(job).await;
        assert_eq!(cancelled.is_ok(), ended.status() == JobStatus::Cancelled, "{:?}", ended.state);
    }
    worker.shutdown().await;
    let ends = ends(&house).await;
    assert_eq!((ends.len(), ends.values().max()), (RACES, Some(&1)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r14_r17_two_workers_take_turns_in_one_workspace_and_leave_each_others_files_alone() {
    const JOBS: usize = 12;
    let house = House::new().await;
    let workspace = house.workspace(&admin()).await.id;
    let at_work = Arc::new(AtomicUsize::new(0));
    let sandbox = || {
        let at_work = Arc::clone(&at_work);
        FakeSandbox::new(move |agent| {
            let at_work = Arc::clone(&at_work);
            async move {
                assert_eq!(at_work.fetch_add(1, Ordering::SeqCst), 0, "two jobs in one workspace");
                agent.append("counter.txt", &agent.job.to_string());
                tokio::task::yield_now().await;
                at_work.fetch_sub(1, Ordering::SeqCst);
                agent.done("done").await;
            }
        })
    };
    let first = house.worker_in(sandbox()).await;
    let mut jobs = Vec::new();
    for _ in 0..JOBS {
        let spec = JobSpec { workspace_id: Some(workspace), ..spec() };
        jobs.push(house.submit(&admin(), spec).await.id);
    }
    // It starts while the other one works, as a second machine would.
    let second = house
        .start(sandbox(), |config| {
            config.instance = "ba9876543210".into();
            config.run_root = config.run_root.with_file_name("run2");
        })
        .await;

    for job in &jobs {
        assert_status(&house.ended(*job).await, JobStatus::Completed);
    }
    first.shutdown().await;
    second.shutdown().await;
    let path = "counter.txt".parse().expect("a path");
    let counter = house.workspaces.read_file(&admin(), workspace, &path).await.expect("the counter");
    let lines = String::from_utf8(counter).expect("text");
    assert_eq!(lines.lines().count(), JOBS);
    assert!(jobs.iter().all(|job| lines.contains(&job.to_string())));
}

#[tokio::test]
async fn r13_a_workspace_that_goes_while_its_job_waits_fails_the_job() {
    let house = House::new().await;
    let workspace = house.workspaces.create(&admin(), new_workspace("w", Persistence::Persistent)).await;
    let workspace = workspace.expect("made").id;
    let job = house.submit(&admin(), JobSpec { workspace_id: Some(workspace), ..spec() }).await.id;
    // Behind the back of the service, which refuses while jobs wait.
    let id = workspace.to_string();
    house.store.documents.delete("workspace", &id, Precondition::None).await.expect("deleted");
    house.files.delete(workspace).await.expect("deleted");

    let worker = house.worker_in(FakeSandbox::idle()).await;

    let ended = house.ended(job).await;
    assert!(
        matches!(ended.state, JobState::Failed { kind: FailureKind::Workspace, .. }),
        "{:?}",
        ended.state
    );
    worker.shutdown().await;
    assert_eq!(house.files.leftover_jobs().await.expect("a list"), []);
}

#[tokio::test]
async fn r13_a_repository_that_goes_while_its_job_runs_leaves_the_work_on_the_server() {
    let house = House::new().await;
    let workspace = house.workspace(&admin()).await.id;
    let files = house.files.clone();
    let sandbox = FakeSandbox::new(move |agent| {
        let files = files.clone();
        async move {
            agent.append("work.txt", "work");
            files.delete(workspace).await.expect("deleted");
            agent.done("done").await;
        }
    });
    let worker = house.worker_in(sandbox).await;

    let job = house.submit(&admin(), JobSpec { workspace_id: Some(workspace), ..spec() }).await.id;

    let ended = house.ended(job).await;
    let JobState::Failed { kind: FailureKind::Workspace, error, .. } = &ended.state else {
        panic!("{:?}", ended.state)
    };
    assert!(error.contains("still in"), "{error}");
    worker.shutdown().await;
    let copy = house.files.working_copy(job).await.expect("readable").expect("it stays");
    assert_eq!(std::fs::read_to_string(copy.dir.join("work.txt")).expect("the work"), "work\n");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_fails_while_a_job_runs_costs_no_second_run() {
    let mut house = House::new().await;
    let workspace = house.workspace(&admin()).await.id;
    let (runs, gate) = (Arc::new(AtomicUsize::new(0)), Arc::new(Semaphore::new(0)));
    let sandbox = {
        let (runs, gate) = (Arc::clone(&runs), Arc::clone(&gate));
        FakeSandbox::new(move |agent| {
            runs.fetch_add(1, Ordering::SeqCst);
            let gate = Arc::clone(&gate);
            async move {
                agent.append("counter.txt", "once");
                agent.done("from the first run").await;
                gate.acquire().await.expect("open").forget();
            }
        })
    };
    let data_dir = house.folder.path().to_owned();
    let config = worker_config(&data_dir);
    let worker = house.start(sandbox.clone(), |it| *it = config).await;
    let job = house.submit(&admin(), JobSpec { workspace_id: Some(workspace), ..spec() }).await.id;
    let log = StreamName::job_log(job);
    wait_until("the agent is done and its words are stored", Duration::from_secs(30), async || {
        house.store.streams.last_seq(&log).await.expect("the store answers") >= 2
    })
    .await;

    house.cut_store().await;
    gate.add_permits(10);
    let outcome = data_dir.join(format!("jobs/{job}/outcome.json"));
    wait_until("the outcome is saved", Duration::from_secs(30), async || outcome.exists()).await;
    worker.shutdown().await;

    // The machine is mended, and the server comes up again over the same folder.
    let mended = House::with(Options { data_dir: Some(data_dir), ..Options::default() }).await;
    let worker = mended.worker_in(sandbox).await;
    let ended = mended.ended(job).await;
    worker.shutdown().await;
    assert_status(&ended, JobStatus::Completed);
    assert_eq!(runs.load(Ordering::SeqCst), 1);
    let path = "counter.txt".parse().expect("a path");
    let counter = mended.workspaces.read_file(&admin(), workspace, &path).await.expect("the counter");
    assert_eq!(counter, b"once\n");
    mended.close().await;
}

#[tokio::test]
async fn jobs_wait_while_the_sandbox_is_not_ready_and_say_why() {
    let house = House::new().await;
    let sandbox = FakeSandbox::idle();
    sandbox.set_ready(false);
    let worker = house.worker_in(sandbox.clone()).await;
    let job = house.submit(&admin(), spec()).await;
    wait_until("the reason is told", Duration::from_secs(10), async || {
        house.state.why_waits(&job, house.clock.now()).is_some_and(|wait| wait.reason == "the test says no")
    })
    .await;

    sandbox.set_ready(true);

    assert_status(&house.ended(job.id).await, JobStatus::Completed);
    assert_eq!(house.state.snapshot().waiting_because, None);
    worker.shutdown().await;
    let all = JobFilter { limit: 10, ..JobFilter::default() };
    assert_eq!(house.store.jobs.list(all).await.expect("a list").total, 1);
}
