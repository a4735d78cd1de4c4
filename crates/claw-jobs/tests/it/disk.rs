//! A disk that fills up: new work is refused before the store has no room, and taken again when there is some.

use std::time::Duration;

use claw_core::{Coded, ErrorCode, JobSource, JobSpec, JobStatus};
use claw_jobs::NewJob;
use claw_testkit::{SmallDisk, wait_until};

use crate::{
    fake_sandbox::FakeSandbox,
    setting::{House, Options, admin, assert_status},
};

const MIB: u64 = 1 << 20;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_refuses_new_work_with_a_clear_code_and_takes_it_again_when_there_is_room() {
    let disk = SmallDisk::mount(96 * MIB);
    let options = Options { data_dir: Some(disk.path().to_owned()), reserve: 32 * MIB, ..Options::default() };
    let house = House::with(options).await;
    let workspace = house.workspace(&admin()).await.id;
    let waiting = house.submit(&admin(), JobSpec::new("x", JobSource::Api)).await;
    let filler = disk.fill(16 * MIB);
    wait_until("the guard has seen it", Duration::from_secs(10), async || house.disk.check().is_err()).await;
    let worker = house.worker_in(FakeSandbox::idle()).await;

    let new = || NewJob { spec: JobSpec::new("y", JobSource::Api), idempotency_key: None };
    let path = "a.txt".parse().expect("a path");
    let refusals = [
        house.jobs.submit(&admin(), new()).await.map(|_| ()),
        house.workspaces.write_file(&admin(), workspace, &path, b"x").await,
        house.workspaces.delete_file(&admin(), workspace, &path).await,
    ];
    for refusal in refusals {
        let refusal = refusal.expect_err("refused");
        assert_eq!((refusal.code(), refusal.code().http_status()), (ErrorCode::StorageFull, 507));
        assert!(refusal.to_string().contains("less than the 32.0 MiB"), "{refusal}");
    }
    let told = async || {
        let wait = house.state.why_waits(&waiting, house.clock.now());
        wait.is_some_and(|wait| wait.reason.contains("`storage.reserve`"))
    };
    wait_until("the waiting job says why it waits", Duration::from_secs(10), told).await;
    assert_eq!(house.job(waiting.id).await.lease_count, 0, "nothing was claimed");
    // What makes room is taken.
    let cancelled = house.submit_anyway(&admin()).await;
    house.jobs.cancel(&admin(), cancelled).await.expect("cancelled");
    house.jobs.delete(&admin(), cancelled).await.expect("deleted");

    drop(filler);

    assert_status(&house.ended(waiting.id).await, JobStatus::Completed);
    house.jobs.submit(&admin(), new()).await.expect("there is room again");
    worker.shutdown().await;
    house.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_that_runs_when_the_disk_fills_up_ends_within_the_reserve() {
    let disk = SmallDisk::mount(96 * MIB);
    let options = Options { data_dir: Some(disk.path().to_owned()), reserve: 32 * MIB, ..Options::default() };
    let house = House::with(options).await;
    let workspace = house.workspace(&admin()).await.id;
    let gate = std::sync::Arc::new(tokio::sync::Semaphore::new(0));
    let held = std::sync::Arc::clone(&gate);
    let sandbox = FakeSandbox::new(move |agent| {
        let held = std::sync::Arc::clone(&held);
        async move {
            agent.append("work.txt", "work");
            held.acquire().await.expect("open").forget();
            agent.done("done").await;
        }
    });
    let worker = house.worker_in(sandbox).await;
    let spec = JobSpec { workspace_id: Some(workspace), ..JobSpec::new("x", JobSource::Api) };
    let job = house.submit(&admin(), spec).await.id;
    house.until("the job runs", job, |job| job.status() == JobStatus::Running).await;

    let filler = disk.fill(24 * MIB);
    gate.add_permits(1);

    assert_status(&house.ended(job).await, JobStatus::Completed);
    let path = "work.txt".parse().expect("a path");
    assert_eq!(house.workspaces.read_file(&admin(), workspace, &path).await.expect("kept"), b"work\n");
    worker.shutdown().await;
    drop(filler);
    house.close().await;
}
