//! The model API limits the rate: jobs wait for it to pass, and spend neither retries nor sandboxes on it.

use std::{sync::Arc, time::Duration};

use claw_core::{Clock, FailureKind, JobSource, JobSpec, JobState, JobStatus, ManualClock};
use claw_testkit::wait_until;
use serde_json::json;

use crate::{
    fake_sandbox::{Agent, FakeSandbox},
    setting::{House, Options, admin, assert_status, now, scripted},
};

async fn ask_once(agent: Agent) {
    match agent.ask_model().await.0 {
        200 => agent.done("done").await,
        status => agent.api_error(status).await,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r7_a_rate_limit_spends_no_retry_and_holds_the_jobs_behind_it() {
    let clock = Arc::new(ManualClock::new(now()));
    let house = House::with(Options { clock: clock.clone(), ..Options::default() }).await;
    let worker = house.start(FakeSandbox::new(ask_once), |config| config.capacity = 1).await;
    let script =
        json!([{"error": 429, "times": 1, "retry_after": 3600, "message": "slow down"}, {"text": "fine"}]);
    let limited = house.submit(&admin(), scripted(&script)).await;
    house.until("the job is postponed", limited.id, |job| job.postponed_since.is_some()).await;

    let behind = house.submit(&admin(), JobSpec::new("x", JobSource::Api)).await;

    let told = async || {
        let wait = house.state.why_waits(&behind, clock.now());
        wait.is_some_and(|wait| wait.reason.starts_with("the model API") && wait.until.is_some())
    };
    wait_until("the job behind says why it waits", Duration::from_secs(10), told).await;
    assert_eq!(house.job(behind.id).await.lease_count, 0, "it is not claimed meanwhile");
    worker.shutdown().await;
    clock.advance(3601);
    let worker = house.start(FakeSandbox::new(ask_once), |config| config.capacity = 1).await;
    for (id, claims) in [(limited.id, 2), (behind.id, 1)] {
        let ended = house.ended(id).await;
        assert_status(&ended, JobStatus::Completed);
        assert_eq!((ended.retry_count, ended.lease_count, ended.postponed_since), (0, claims, None));
    }
    worker.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rate_limit_that_lasts_for_hours_fails_the_job_and_says_so() {
    let clock = Arc::new(ManualClock::new(now()));
    let house = House::with(Options { clock: clock.clone(), ..Options::default() }).await;
    let worker = house.worker_in(FakeSandbox::new(ask_once)).await;
    let script = json!([{"error": 429, "times": -1, "retry_after": 60}]);
    let job = house.submit(&admin(), scripted(&script)).await.id;
    house.until("the job is postponed", job, |job| job.postponed_since.is_some()).await;

    clock.advance(7 * 3600);
    // Any change of the settings has the worker look again.
    house.settings.set(&admin(), Vec::new()).await.expect("nothing changed");

    let ended = house.ended(job).await;
    let JobState::Failed { kind: FailureKind::ModelUnavailable, error, .. } = &ended.state else {
        panic!("{:?}", ended.state)
    };
    assert!(error.starts_with("the model API has limited the rate since"), "{error}");
    assert_eq!(ended.retry_count, 0);
    worker.shutdown().await;
}
