//! Jobs in sandboxes that waited for them.

use std::time::Duration;

use claw_testkit::wait_until;
use serde_json::{Value, json};

use crate::setting::{Setting, bash};

async fn setting() -> Setting {
    Setting::docker_with(&[("CLAW_SANDBOX_WARM", "1"), ("RUST_LOG", "info,claw_agent=debug")]).await
}

/// Waits until so many sandboxes have been made ready since the start.
async fn made_ready(setting: &Setting, count: usize) {
    wait_until(&format!("{count} sandboxes were made ready"), Duration::from_secs(60), async || {
        setting.server.log().matches("a sandbox waits for a job").count() >= count
    })
    .await;
}

/// Where the job's runs say that they ran.
async fn sandboxes_of(setting: &Setting, id: &str) -> Vec<String> {
    let log = setting.server.claw_ok(&["logs", "--raw", id]).await;
    let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    lines.filter_map(|line| line["sandbox"].as_str().map(str::to_owned)).collect()
}

#[tokio::test]
async fn p8_jobs_take_the_sandbox_that_waits_and_another_one_comes_for_their_workspace() {
    let mut setting = setting().await;
    setting.workspace("site").await;
    made_ready(&setting, 1).await;

    let alone = setting.submit(json!([bash("echo x >file; ls"), {"text": "one"}]), &["--wait"]).await;
    made_ready(&setting, 2).await;
    let first =
        setting.submit(json!([bash("echo a >a"), {"text": "two"}]), &["--workspace", "site", "--wait"]).await;
    made_ready(&setting, 3).await;
    let second =
        setting.submit(json!([bash("cp a b"), {"text": "three"}]), &["--workspace", "site", "--wait"]).await;
    made_ready(&setting, 4).await;

    assert_eq!(sandboxes_of(&setting, &alone).await, ["docker, warm"]);
    assert_eq!(sandboxes_of(&setting, &first).await, ["docker"], "none waited for this workspace");
    assert_eq!(sandboxes_of(&setting, &second).await, ["docker, warm"]);
    assert_eq!(setting.server.claw_json(&["result", &second]).await["result"], "three");
    assert_eq!(setting.server.claw_ok(&["workspace", "cat", "site", "b"]).await, "a\n");
    let history = setting.server.claw_ok(&["--json", "workspace", "history", "site"]).await;
    assert!(history.contains(&first) && history.contains(&second), "{history}");

    setting.server.claw_ok(&["workspace", "delete", "site", "--files"]).await;
    setting.server.stop().await;
    assert_eq!(setting.docker.containers(), [""; 0], "nothing waits without a server");
    for folder in ["jobs", "run"] {
        let entries = std::fs::read_dir(setting.server.data_dir().join(folder)).expect("a folder").count();
        assert_eq!(entries, 0, "{folder}");
    }
}

#[tokio::test]
async fn a_server_that_is_killed_leaves_no_sandbox_to_the_next() {
    let mut setting = setting().await;
    made_ready(&setting, 1).await;
    let before = setting.docker.containers();

    setting.server.kill().await;
    setting.server.start_again().await;
    made_ready(&setting, 2).await;

    let after = setting.docker.containers();
    assert_eq!((before.len(), after.len()), (1, 1));
    assert_ne!(before, after);
    let jobs = std::fs::read_dir(setting.server.data_dir().join("jobs")).expect("a folder").count();
    assert_eq!(jobs, 1, "the working copy of the one that waits");
}

#[tokio::test]
async fn r7_a_budget_ends_a_run_in_a_sandbox_that_waited() {
    let setting = setting().await;
    made_ready(&setting, 1).await;
    let costly = json!({"tool": "Bash", "input": {"command": "true"}, "usage": {"input_tokens": 1_000_000, "output_tokens": 1_000_000}});
    let script = json!([costly, costly, {"text": "never"}]);

    let id = setting.submit(script, &["--budget", "0.01"]).await;
    let job = setting.ended(&id).await;

    assert_eq!(sandboxes_of(&setting, &id).await, ["docker, warm"]);
    assert_eq!(job["status"], "failed", "{job:#}");
    assert_eq!(setting.model.message_requests().len(), 1, "no second turn is begun");
}

#[tokio::test]
async fn a_job_in_a_sandbox_that_waited_is_cancelled_as_any_other() {
    let setting = setting().await;
    made_ready(&setting, 1).await;
    let id = setting.submit(json!([{"hold": "for ever"}, {"text": "never"}]), &[]).await;
    setting.model.wait_for_hold("for ever").await;

    setting.server.claw_ok(&["cancel", &id]).await;

    assert_eq!(setting.ended(&id).await["status"], "cancelled");
    assert_eq!(sandboxes_of(&setting, &id).await, ["docker, warm"]);
}
