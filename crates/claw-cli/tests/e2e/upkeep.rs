//! What administrators do without any job running: read the record, remove what is old.

use claw_testkit::{FakeApi, TempDir, TestServer};
use serde_json::{Value, json};

use crate::without_docker::server_without_docker;

async fn cancelled_job(server: &TestServer) -> String {
    let submitted = server.claw_json(&["submit", "anything"]).await;
    let id = submitted["id"].as_str().expect("an id").to_owned();
    server.claw_ok(&["cancel", &id]).await;
    id
}

#[tokio::test]
async fn t31_a_submit_a_cancel_and_a_refusal_are_on_record_with_who_and_how() {
    let (folder, model) = (TempDir::new(), FakeApi::start().await);
    let server = server_without_docker(&folder, &model, &[]).await;
    let made = server.claw_json(&["key", "create", "--label", "reader", "--scope", "jobs:read"]).await;
    let key = made["key"].as_str().expect("a key");
    let id = cancelled_job(&server).await;
    let refused = server.client().args(["--api-key", key, "submit", "x"]).output().await.expect("it ran");
    assert_eq!(refused.status.code(), Some(1));

    let listed = server.claw_json(&["audit", "list", "--verb", "job."]).await;

    let entries = listed["items"].as_array().expect("entries");
    let told: Vec<_> =
        entries.iter().map(|entry| json!([entry["verb"], entry["outcome"], entry["code"]])).collect();
    let expected = [
        json!(["job.submit", "denied", "SCOPE_REQUIRED"]),
        json!(["job.cancel", "done", Value::Null]),
        json!(["job.submit", "done", Value::Null]),
    ];
    assert_eq!(told, expected, "{listed:#}");
    assert_eq!(entries[0]["label"], "reader", "{listed:#}");
    assert_eq!(entries[1]["target"], json!(format!("job:{id}")), "{listed:#}");
    let verified = server.claw(&["audit", "verify"]).await;
    assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stderr));
}

#[tokio::test]
async fn p11_gc_removes_what_is_beyond_the_count_and_tells_so_before() {
    let (folder, model) = (TempDir::new(), FakeApi::start().await);
    let server = server_without_docker(&folder, &model, &[("CLAW_RETENTION_JOBS_COUNT", "1")]).await;
    let mut ids = Vec::new();
    for _ in 0..3 {
        ids.push(cancelled_job(&server).await);
    }
    let waiting = server.claw_json(&["submit", "still waiting"]).await["id"].clone();

    let would = server.claw_ok(&["gc", "--dry-run"]).await;
    let before = server.claw_json(&["list"]).await["total"].clone();
    let did = server.claw_ok(&["gc"]).await;

    assert!(would.contains("would remove 2 jobs") && did.contains("2 jobs"), "{would}{did}");
    assert_eq!(before, 4);
    let left = server.claw_json(&["list"]).await;
    let left: Vec<_> = left["items"].as_array().expect("jobs").iter().map(|job| job["id"].clone()).collect();
    assert_eq!(left, [waiting, json!(ids[2])], "the newest that ended, and the one that waits");
}
