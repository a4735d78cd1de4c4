//! Kills at bad moments.

use std::time::Duration;

use claw_testkit::wait_until;
use serde_json::{Value, json};

use crate::setting::{Setting, bash};

async fn running_with_output(setting: &Setting, id: &str) {
    wait_until("the agent works", Duration::from_secs(60), async || {
        setting.server.claw_ok(&["logs", "--raw", id]).await.contains("tool_result")
    })
    .await;
}

fn events_of(log: &str, subtype: &str) -> usize {
    log.lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter(|line| line["type"] == "claw" && line["subtype"] == subtype)
        .count()
}

#[tokio::test]
async fn a_server_killed_during_a_job_runs_it_again_to_exactly_one_result() {
    let mut setting = Setting::docker().await;
    setting.workspace("site").await;
    let script = json!([bash("date +%N >> runs.txt"), {"hold": "crash"}, {"text": "survived"}]);
    let id = setting.submit(script, &["--workspace", "site"]).await;
    running_with_output(&setting, &id).await;

    setting.server.kill().await;
    assert_eq!(setting.docker.containers().len(), 1, "the container outlives the server");
    setting.model.release("crash");
    setting.server.start_again().await;

    let job = setting.ended(&id).await;
    assert_eq!((&job["status"], &job["retry_count"]), (&json!("completed"), &json!(1)), "{job:#}");
    assert_eq!(setting.server.claw_json(&["result", &id]).await["result"], "survived");
    let runs = setting.server.claw_ok(&["workspace", "cat", "site", "runs.txt"]).await;
    assert_eq!(runs.lines().count(), 1, "the lost run left nothing in the workspace: {runs}");
    let log = setting.server.claw_ok(&["logs", "--raw", &id]).await;
    assert_eq!(events_of(&log, "run_started"), 2);
    setting.assert_nothing_left().await;
}

#[tokio::test]
async fn r15_an_orderly_stop_gives_a_running_job_back_without_counting_a_retry() {
    let mut setting = Setting::docker_with(&[("CLAW_SHUTDOWN_GRACE_SECS", "1")]).await;
    let id = setting.submit(json!([bash("echo begun"), {"hold": "stop"}, {"text": "done"}]), &[]).await;
    running_with_output(&setting, &id).await;

    setting.server.stop().await;
    assert!(setting.docker.containers().is_empty(), "nothing runs without the server");
    setting.model.release("stop");
    setting.server.start_again().await;

    let job = setting.ended(&id).await;
    assert_eq!((&job["status"], &job["retry_count"]), (&json!("completed"), &json!(0)), "{job:#}");
}

#[tokio::test]
async fn a_container_removed_by_hand_is_noticed_and_the_job_tried_again() {
    let setting = Setting::docker_with(&[("CLAW_RETRY_BASE_DELAY_SECS", "1")]).await;
    let id = setting.submit(json!([bash("echo begun"), {"hold": "removed"}, {"text": "done"}]), &[]).await;
    running_with_output(&setting, &id).await;

    setting.docker.remove_containers();
    setting.model.release("removed");

    let job = setting.ended(&id).await;
    assert_eq!((&job["status"], &job["retry_count"]), (&json!("completed"), &json!(1)), "{job:#}");
    setting.assert_nothing_left().await;
}

#[tokio::test]
async fn jobs_of_one_workspace_run_one_after_the_other_and_all_their_work_is_kept() {
    let setting = Setting::docker().await;
    setting.workspace("site").await;
    let mut ids = Vec::new();
    for number in 0..3 {
        let script = json!([bash(&format!("echo {number} >> numbers.txt")), {"text": "added"}]);
        ids.push(setting.submit(script, &["--workspace", "site"]).await);
    }

    for id in &ids {
        assert_eq!(setting.ended(id).await["status"], "completed");
    }

    assert_eq!(setting.server.claw_ok(&["workspace", "cat", "site", "numbers.txt"]).await, "0\n1\n2\n");
}
