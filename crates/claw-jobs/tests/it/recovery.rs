//! What a start does about a former one that died. The moments are made by hand, exactly as a kill would leave them.

use std::path::PathBuf;

use claw_core::{Job, JobSpec, JobStatus, WorkerId};
use claw_store::ClaimRequest;
use serde_json::json;

use crate::setting::{House, INSTANCE, admin, assert_status, now, scripted};

async fn claimed_by_a_former_start(house: &House) -> (Job, u64) {
    let now = now();
    let request = ClaimRequest {
        worker: WorkerId::new(INSTANCE, "former", 0),
        lease_until: now + jiff::SignedDuration::from_secs(3600),
        max_retries: 1,
        skip_owners: Vec::new(),
    };
    let claimed =
        house.store.jobs.claim(request, now).await.expect("the store answers").expect("a job is due");
    (claimed.job, claimed.token)
}

/// A job in a workspace whose agent had written a file when the server died.
async fn half_done(house: &House) -> (Job, u64, PathBuf) {
    let workspace = house.workspace(&admin()).await;
    let spec =
        JobSpec { workspace_id: Some(workspace.id), ..scripted(&json!([{"text": "from the second run"}])) };
    house.submit(&admin(), spec).await;
    let (job, token) = claimed_by_a_former_start(house).await;
    let copy = house.files.checkout(workspace.id, job.id, None).await.expect("a working copy");
    std::fs::write(copy.dir.join("from-the-agent.txt"), "work\n").expect("written");
    let folder = copy.dir.parent().expect("a folder").to_owned();
    (job, token, folder)
}

fn save_outcome(folder: &std::path::Path, token: u64) {
    let outcome = json!({
        "token": token,
        "keep": true,
        "usage": {"cost_usd": 0.25, "duration_ms": 1000},
        "end": {
            "end": "completed",
            "result": {"text": "from the first run", "session_id": null, "num_turns": 1, "commit": null, "note": null}
        }
    });
    std::fs::write(folder.join("outcome.json"), outcome.to_string()).expect("written");
}

async fn kept_file(house: &House, job: &Job) -> bool {
    let workspace = job.spec.workspace_id.expect("a workspace");
    let path = "from-the-agent.txt".parse().expect("a path");
    house.workspaces.read_file(&admin(), workspace, &path).await.is_ok()
}

#[tokio::test]
async fn an_agent_that_was_done_is_not_run_again_and_its_work_is_kept() {
    let house = House::new().await;
    let (job, token, folder) = half_done(&house).await;
    save_outcome(&folder, token);

    let worker = house.worker().await;

    let ended = house.ended(job.id).await;
    assert_status(&ended, JobStatus::Completed);
    let (_, stored) = house.jobs.result(&admin(), job.id).await.expect("a result");
    assert_eq!(stored.result.text, "from the first run");
    assert_eq!((ended.usage.cost_usd, ended.retry_count), (Some(0.25), 0));
    assert!(kept_file(&house, &job).await);
    assert!(house.model.requests().is_empty(), "nothing was paid twice");
    worker.shutdown().await;
    assert!(house.files.leftover_jobs().await.expect("a list").is_empty());
}

#[tokio::test]
async fn a_crash_after_the_changes_were_kept_keeps_them_once() {
    let house = House::new().await;
    let (job, token, folder) = half_done(&house).await;
    save_outcome(&folder, token);
    let copy = house.files.working_copy(job.id).await.expect("readable").expect("there");
    house.files.keep(&copy).await.expect("kept by the former start");

    let worker = house.worker().await;

    assert_status(&house.ended(job.id).await, JobStatus::Completed);
    let workspace = job.spec.workspace_id.expect("a workspace");
    let history = house.workspaces.history(&admin(), workspace, 0, 10).await.expect("a history");
    assert_eq!(history.iter().filter(|commit| commit.job == Some(job.id)).count(), 1);
    worker.shutdown().await;
}

#[tokio::test]
async fn an_agent_that_was_not_done_is_run_again_from_the_workspace() {
    let house = House::new().await;
    let (job, _, _) = half_done(&house).await;

    let worker = house.worker().await;

    let ended = house.ended(job.id).await;
    assert_status(&ended, JobStatus::Completed);
    assert_eq!(ended.retry_count, 1);
    let (_, stored) = house.jobs.result(&admin(), job.id).await.expect("a result");
    assert_eq!(stored.result.text, "from the second run");
    assert!(!kept_file(&house, &job).await, "half a run does not count");
    worker.shutdown().await;
}

#[tokio::test]
async fn an_outcome_saved_under_an_earlier_lease_is_taken_up_by_the_next_run() {
    let house = House::new().await;
    let (job, token, folder) = half_done(&house).await;
    // The store was away when the run ended, for so long that the job was claimed anew.
    save_outcome(&folder, token - 1);

    let worker = house.worker().await;

    let ended = house.ended(job.id).await;
    assert_status(&ended, JobStatus::Completed);
    assert_eq!(
        house.jobs.result(&admin(), job.id).await.expect("one result").1.result.text,
        "from the first run"
    );
    worker.shutdown().await;
}

#[tokio::test]
async fn r10_r17_jobs_of_other_installations_are_left_alone() {
    let house = House::new().await;
    house.submit(&admin(), scripted(&json!([{"text": "x"}]))).await;
    let now = now();
    let request = ClaimRequest {
        worker: WorkerId::new("another-host", "boot", 0),
        lease_until: now + jiff::SignedDuration::from_secs(3600),
        max_retries: 1,
        skip_owners: Vec::new(),
    };
    let claimed = house.store.jobs.claim(request, now).await.expect("answers").expect("a job");

    let worker = house.worker().await;
    worker.shutdown().await;

    let job = house.store.jobs.get(claimed.job.id).await.expect("answers").expect("there");
    assert_eq!((job.status(), job.lease_count), (JobStatus::Running, 1));
}
