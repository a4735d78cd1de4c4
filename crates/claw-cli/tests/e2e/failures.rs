//! Model calls that fail, and jobs that are ended.

use std::time::{Duration, Instant};

use claw_testkit::wait_until;
use serde_json::json;

use crate::setting::{Setting, bash};

/// A failed model call must read as a sentence, not as a stack of codes.
fn assert_reads_well(error: &str, mentions: &[&str]) {
    assert!(error.split_whitespace().count() >= 5, "not a sentence: {error}");
    for word in mentions {
        assert!(error.to_lowercase().contains(word), "`{word}` is not in: {error}");
    }
}

#[tokio::test]
async fn a_refused_credential_fails_the_job_at_once_with_the_way_out() {
    let setting = Setting::docker().await;

    let id = setting.submit(json!([{"error": 401, "times": -1}]), &[]).await;

    let job = setting.ended(&id).await;
    assert_eq!(job["status"], "failed");
    assert_reads_well(job["error"].as_str().expect("an error"), &["401", "credential"]);
    assert_eq!(job["retry_count"], 0, "it cannot heal by itself");
    assert!(setting.model.requests().len() <= 3, "it does not wait for eleven tries");
    setting.assert_nothing_left().await;
}

#[tokio::test]
async fn an_overloaded_model_is_tried_again_and_then_fails_the_job() {
    let settings = [("CLAW_MAX_RETRIES", "1"), ("CLAW_RETRY_BASE_DELAY_SECS", "1")];
    let setting = Setting::docker_with(&settings).await;

    let id = setting.submit(json!([{"error": 529, "times": -1}]), &[]).await;

    let job = setting.ended(&id).await;
    assert_eq!(job["status"], "failed");
    assert_reads_well(job["error"].as_str().expect("an error"), &["overloaded"]);
    assert_eq!(job["retry_count"], 1);
}

#[tokio::test]
async fn a_job_recovers_when_the_model_does() {
    let setting = Setting::docker().await;

    let id = setting.submit(json!([{"error": 529, "times": 1}, {"text": "better now"}]), &["--wait"]).await;

    assert_eq!(setting.server.claw_json(&["result", &id]).await["result"], "better now");
}

#[tokio::test]
async fn a_broken_stream_fails_the_job_or_is_healed_by_the_cli() {
    let setting = Setting::docker_with(&[("CLAW_MAX_RETRIES", "0")]).await;

    for kind in ["garbage", "reset"] {
        let id = setting.submit(json!([{"stream": kind, "times": -1}]), &[]).await;

        let job = setting.ended(&id).await;
        match job["status"].as_str() {
            Some("completed") => {}
            Some("failed") => assert_reads_well(job["error"].as_str().expect("an error"), &["model"]),
            other => panic!("{kind}: {other:?}"),
        }
    }
}

#[tokio::test]
async fn a_cancelled_job_stops_within_two_seconds_and_leaves_nothing_behind() {
    let setting = Setting::docker().await;
    let stubborn = "trap '' TERM; (trap '' TERM; while :; do sleep 1; done) & while :; do sleep 1; done";
    let mut quickest = Duration::MAX;
    // The quickest of three, since the machine does other things too.
    for _ in 0..3 {
        let id = setting.submit(json!([bash(stubborn), {"text": "never"}]), &[]).await;
        wait_until("the command runs", Duration::from_secs(60), async || {
            setting.server.claw_ok(&["logs", "--raw", &id]).await.contains("tool_use")
        })
        .await;

        let asked = Instant::now();
        setting.server.claw_ok(&["cancel", &id]).await;
        let job = setting.ended(&id).await;
        quickest = quickest.min(asked.elapsed());

        assert_eq!(job["status"], "cancelled");
        setting.assert_nothing_left().await;
        if quickest < Duration::from_secs(2) {
            return;
        }
    }
    panic!("the quickest of three took {quickest:?}");
}

#[tokio::test]
async fn a_job_whose_time_is_up_fails_once_and_says_so() {
    let setting = Setting::docker().await;

    let id = setting.submit(json!([{"stream": "hang"}]), &["--timeout", "2"]).await;

    let job = setting.ended(&id).await;
    assert_eq!((&job["status"], &job["retry_count"]), (&json!("failed"), &json!(0)));
    assert_reads_well(job["error"].as_str().expect("an error"), &["2 s"]);
    setting.assert_nothing_left().await;
}

#[tokio::test]
async fn waiting_for_a_failed_job_exits_with_one() {
    let setting = Setting::docker().await;

    let output = setting.server.claw(&["submit", "--wait", r#"FAKE:[{"error":400,"times":-1}]"#]).await;

    assert_eq!(output.status.code(), Some(1), "{}", String::from_utf8_lossy(&output.stderr));
}
