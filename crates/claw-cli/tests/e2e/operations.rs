//! What those who run the server rely on: limits on money, the audit trail, the disk, what watches.

use std::time::Duration;

use claw_testkit::wait_until;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::setting::{Setting, bash};

/// A model turn of 100 tokens in and 20 out costs more than this.
const LESS_THAN_A_TURN: &str = "0.0001";

async fn get(setting: &Setting, path: &str) -> (u16, String) {
    let host = setting.server.url().trim_start_matches("http://");
    let mut stream = TcpStream::connect(host).await.expect("a connection");
    let request = format!("GET {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.expect("a request");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("an answer");
    let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
    (status, answer)
}

#[tokio::test]
async fn r7_a_jobs_budget_stops_it_within_one_turn_and_its_cost_is_kept() {
    let setting = Setting::docker().await;
    let script = json!([bash("echo one"), bash("echo two"), bash("echo three"), {"text": "done"}]);

    let id = setting.submit(script, &["--budget", LESS_THAN_A_TURN]).await;

    let job = setting.ended(&id).await;
    assert_eq!((&job["status"], &job["retry_count"]), (&json!("failed"), &json!(0)), "{job:#}");
    assert!(job["error"].as_str().is_some_and(|error| error.contains("budget")), "{job:#}");
    assert_eq!(setting.model.requests().len(), 1, "the second turn never reached the model");
    let cost = job["cost_usd"].as_f64().expect("a cost");
    let costs = setting.server.claw_json(&["costs", "--by", "model"]).await;
    assert!(cost > 0.0 && costs["total_usd"] == json!(cost), "{job:#} {costs:#}");
}

#[tokio::test]
async fn a_daily_limit_stops_jobs_says_so_and_lets_them_go_on_once_it_is_raised() {
    let setting = Setting::docker().await;
    let key = setting.server.claw_json(&[
        "key",
        "create",
        "--label",
        "spender",
        "--scope",
        "jobs:read",
        "--scope",
        "jobs:write",
        "--max-usd-per-day",
        LESS_THAN_A_TURN,
    ]);
    let key = key.await;
    let secret = key["key"].as_str().expect("a key").to_owned();
    let submit = async |text: &str| -> String {
        let mut command = setting.server.client();
        command.env("CLAW_API_KEY", &secret).env_remove("CLAW_API_TOKEN");
        let prompt = crate::setting::prompt(&json!([{"text": text}]));
        let output = command.args(["--json", "submit", &prompt]).output().await.expect("the command runs");
        let answer: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        answer["id"].as_str().expect("an id").to_owned()
    };
    let first = submit("within the limit").await;
    assert_eq!(setting.ended(&first).await["status"], "completed");

    let second = submit("past the limit").await;

    let mut job = Value::Null;
    wait_until("the job says why it waits", Duration::from_secs(30), async || {
        job = setting.job(&second).await;
        job["waiting_because"].is_string()
    })
    .await;
    assert_eq!(job["status"], "pending", "{job:#}");
    assert!(job["waiting_because"].as_str().is_some_and(|why| why.contains("limit")), "{job:#}");
    assert!(job["waiting_until"].as_str().is_some_and(|until| until.ends_with("T00:00:00Z")), "{job:#}");
    setting.server.claw_ok(&["key", "update", "spender", "--max-usd-per-day", "5"]).await;
    assert_eq!(setting.ended(&second).await["status"], "completed");
}

#[tokio::test]
async fn what_was_done_and_spent_is_found_by_what_people_call_things() {
    let setting = Setting::docker().await;
    let key = ["key", "create", "--label", "spender", "--scope", "jobs:read", "--scope", "jobs:write"];
    let key = setting.server.claw_json(&key).await;
    let as_spender = async |arguments: &[&str]| {
        let mut command = setting.server.client();
        command.env("CLAW_API_KEY", key["key"].as_str().expect("a key")).env_remove("CLAW_API_TOKEN");
        command.args(arguments).output().await.expect("the command runs")
    };
    let submitted = as_spender(&["--json", "submit", "anything"]).await;
    let job: Value = serde_json::from_slice(&submitted.stdout).expect("JSON");
    let job = job["id"].as_str().expect("an id");
    assert!(as_spender(&["status"]).await.status.success());
    let entries = async |filter: &[&str]| {
        let listed = setting.server.claw_json(&[&["audit", "list"], filter].concat()).await;
        listed["items"].as_array().expect("entries").clone()
    };

    let of_key = entries(&["--actor", "spender", "--verb", "job."]).await;
    let of_job = entries(&["--target", &format!("job:{}", &job[job.len() - 12..])]).await;

    assert_eq!((of_key.len(), &of_key[0]["target"]), (1, &json!(format!("job:{job}"))), "{of_key:#?}");
    assert!(of_job.contains(&of_key[0]), "{of_job:#?}");
    let denied = entries(&["--actor", "spender", "--outcome", "denied"]).await;
    assert!(denied.is_empty(), "looking at the server is no attempt at anything: {denied:#?}");
    setting.server.claw_ok(&["costs", "--owner", "spender"]).await;
    for unknown in [["costs", "--owner", "nobody"].as_slice(), &["audit", "list", "--actor", "nobody"]] {
        let output = setting.server.claw(unknown).await;
        assert_eq!(output.status.code(), Some(64), "{output:?}");
    }
}

#[tokio::test]
async fn t31_what_was_done_is_on_record_and_a_changed_record_is_found() {
    let mut setting = Setting::docker().await;
    let id = setting.submit(json!([{"text": "done"}]), &["--wait"]).await;

    let listed = setting.server.claw_json(&["audit", "list", "--verb", "job."]).await;
    assert_eq!(listed["items"][0]["target"], json!(format!("job:{id}")));
    let verified = setting.server.claw_json(&["audit", "verify"]).await;
    assert_eq!(verified["ok"], true);
    let export = setting.folder.path().join("audit.jsonl");
    let export = export.to_str().expect("a path");
    setting.server.claw_ok(&["audit", "export", "--file", export]).await;
    let head = verified["head"].as_str().expect("a hash");
    setting.server.claw_ok(&["audit", "verify", "--file", export, "--head", head]).await;

    setting.server.stop().await;
    // The server folded its log into the file when it stopped.
    let path = setting.server.data_dir().join("claw.db");
    let mut bytes = std::fs::read(&path).expect("the database");
    let verb = b"\"verb\":\"job.submit\"";
    let at = bytes.windows(verb.len()).position(|window| window == verb).expect("the entry");
    bytes[at..at + verb.len()].copy_from_slice(b"\"verb\":\"job.cancel\"");
    std::fs::write(&path, bytes).expect("a changed database");
    setting.server.start_again().await;

    let output = setting.server.claw(&["audit", "verify"]).await;
    assert_eq!(output.status.code(), Some(3), "{}", String::from_utf8_lossy(&output.stdout));
    assert!(String::from_utf8_lossy(&output.stderr).contains("broken at record"));
}

#[tokio::test]
async fn t31_a_server_killed_again_and_again_loses_no_entry_of_its_record() {
    let mut setting = Setting::docker().await;
    let mut submitted = Vec::new();
    for round in 0..3 {
        submitted.push(setting.submit(json!([{"text": format!("round {round}")}]), &[]).await);
        setting.server.kill().await;
        setting.server.start_again().await;
    }

    let listed = setting.server.claw_json(&["audit", "list", "--verb", "job.submit"]).await;

    let targets: Vec<_> =
        listed["items"].as_array().expect("entries").iter().map(|entry| &entry["target"]).collect();
    for id in &submitted {
        assert!(targets.contains(&&json!(format!("job:{id}"))), "{listed:#}");
        assert_eq!(setting.ended(id).await["status"], "completed");
    }
    assert_eq!(setting.server.claw_json(&["audit", "verify"]).await["ok"], true);
}

#[tokio::test]
async fn o6_metrics_and_readiness_tell_what_happens() {
    let setting = Setting::docker().await;
    setting.submit(json!([bash("echo x"), {"text": "done"}]), &["--wait"]).await;

    let (status, metrics) = get(&setting, "/metrics").await;

    assert_eq!(status, 200);
    for line in [
        "claw_jobs{state=\"completed\"} 1",
        "claw_jobs_finished_total{outcome=\"completed\",kind=\"none\"} 1",
        "claw_sandbox_start_seconds_count{kind=\"cold\"} 1",
        "claw_job_claim_seconds_count 1",
        "claw_audit_entries_total{outcome=\"done\"}",
        "claw_http_requests_total{route=\"/api/v1/jobs\",method=\"POST\",status_class=\"2xx\"} 1",
        "claw_gateway_requests_total{status_class=\"2xx\"} 2",
        "claw_cost_usd_total{",
        "claw_tokens_total{",
        "claw_store_batch_writes_count",
    ] {
        assert!(metrics.contains(line), "{line}\n{metrics}");
    }
    assert_eq!(get(&setting, "/ready").await.0, 200);
    let removed = setting.server.claw_json(&["gc", "--dry-run"]).await;
    assert_eq!(removed["dry_run"], true);
}
