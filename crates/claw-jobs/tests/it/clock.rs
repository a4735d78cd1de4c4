//! The clock is set forward and back while jobs wait and run.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use claw_core::{JobSource, JobSpec, JobStatus, ManualClock};
use claw_store::Topic;
use tokio::sync::Semaphore;

use crate::{
    fake_sandbox::FakeSandbox,
    setting::{House, Options, admin, assert_status, now},
};

const DAY: i64 = 86_400;

async fn house() -> (House, Arc<ManualClock>) {
    let clock = Arc::new(ManualClock::new(now()));
    let house = House::with(Options { clock: clock.clone(), ..Options::default() }).await;
    (house, clock)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_running_job_is_not_given_away_when_the_clock_jumps() {
    for jump in [DAY, -DAY] {
        let (house, clock) = house().await;
        let (runs, gate) = (Arc::new(AtomicUsize::new(0)), Arc::new(Semaphore::new(0)));
        let sandbox = {
            let (runs, gate) = (Arc::clone(&runs), Arc::clone(&gate));
            FakeSandbox::new(move |agent| {
                runs.fetch_add(1, Ordering::SeqCst);
                let gate = Arc::clone(&gate);
                async move {
                    gate.acquire().await.expect("open").forget();
                    agent.done("done").await;
                }
            })
        };
        let worker = house.worker_in(sandbox).await;
        let job = house.submit(&admin(), JobSpec::new("x", JobSource::Api)).await.id;
        house.until("the job runs", job, |job| job.status() == JobStatus::Running).await;

        clock.advance(jump);
        // The next claim frees what has lapsed by the clock, and then takes this one.
        let other = house.submit(&admin(), JobSpec::new("y", JobSource::Api)).await.id;
        house.until("the other is claimed", other, |job| job.lease_count > 0).await;
        gate.add_permits(2);

        for id in [job, other] {
            let ended = house.ended(id).await;
            assert_status(&ended, JobStatus::Completed);
            assert_eq!((ended.lease_count, ended.retry_count), (1, 0), "jump of {jump} s");
        }
        assert_eq!(runs.load(Ordering::SeqCst), 2, "jump of {jump} s");
        worker.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_that_backs_off_is_not_lost_when_the_clock_jumps() {
    for jump in [DAY, -60] {
        let (house, clock) = house().await;
        let runs = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&runs);
        let sandbox = FakeSandbox::new(move |agent| {
            let is_first = count.fetch_add(1, Ordering::SeqCst) == 0;
            async move { if is_first { agent.api_error(500).await } else { agent.done("done").await } }
        });
        let worker = house
            .start(sandbox, |config| {
                config.retry.base_delay = Duration::from_secs(30);
                config.retry.max_delay = Duration::from_secs(30);
            })
            .await;
        let job = house.submit(&admin(), JobSpec::new("x", JobSource::Api)).await.id;
        house.until("the job backs off", job, |job| job.retry_count == 1).await;

        clock.advance(jump);
        // A minute later, at the latest, it is due by whatever clock.
        clock.advance(120);
        house.store.signals.publish(Topic::JobsWaiting);

        assert_status(&house.ended(job).await, JobStatus::Completed);
        assert_eq!(runs.load(Ordering::SeqCst), 2, "jump of {jump} s");
        worker.shutdown().await;
    }
}
