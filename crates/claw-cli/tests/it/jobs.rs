//! Jobs from the command line.

use serde_json::{Value, json};

use crate::server::{FAILS, HANGS, HOSTILE, SUCCEEDS, Server};

/// What is left of [`HOSTILE`] on the way to a person.
const HARMLESS: &str = "all done";

fn assert_harmless(text: &str) {
    assert!(text.contains(HARMLESS), "{text:?}");
    let is_harmful = |c: char| (c.is_control() && c != '\n') || c == '\u{202e}';
    assert!(!text.chars().any(is_harmful), "{text:?}");
}

#[tokio::test]
async fn a_submitted_job_is_named_and_not_waited_for() {
    let server = Server::start().await;

    let out = server.claw(&["submit", HANGS]).await.ok();

    let (id, status) = out.trim().split_once(' ').expect("an id and a status");
    assert!(id.parse::<claw_core::JobId>().is_ok(), "{out}");
    assert_eq!(status, "pending");
}

#[tokio::test]
async fn everything_said_about_a_job_reaches_the_server() {
    let server = Server::start().await;
    server.claw(&["workspace", "create", "site"]).await.ok();

    let arguments =
        ["submit", "-", "-m", "opus", "-p", "9", "-t", "a", "--tag", "b", "-b", "1.5", "-d", "src"];
    let more = ["--allowed-tools", "Bash", "--timeout", "60", "--workspace", "site", "-o", "redis"];
    server.command(&[&arguments[..], &more[..]].concat()).stdin("from a pipe\n").run().await.ok();

    let mut sent = server.sent_to("jobs").remove(0);
    assert!(sent["workspace_id"].take().is_string(), "the name became an id");
    let expected = json!({"prompt": "from a pipe\n", "model": "opus", "priority": 9, "tags": ["a", "b"],
        "max_budget_usd": 1.5, "allowed_tools": ["Bash"], "timeout_secs": 60, "workspace_id": null, "working_dir": "src"});
    assert_eq!(sent, expected);
}

#[tokio::test]
async fn the_same_idempotency_key_gives_the_same_job() {
    let server = Server::start().await;
    let submit = ["submit", "-q", HANGS, "--idempotency-key", "once"];

    let first = server.claw(&submit).await.ok();
    let second = server.claw(&submit).await.ok();

    assert_eq!(first, second);
}

#[tokio::test]
async fn waiting_prints_the_result_its_cost_and_its_duration() {
    let server = Server::start().await;

    let ran = server.claw(&["submit", "--wait", SUCCEEDS]).await;

    assert_harmless(&ran.stdout);
    let out = ran.ok();
    assert!(out.contains("cost: $0.0008") && out.contains("duration: 1.2 s"), "{out}");
}

#[tokio::test]
async fn waiting_quietly_prints_the_result_alone() {
    let server = Server::start().await;

    let ran = server.claw(&["submit", "--wait", "--quiet", SUCCEEDS]).await;

    assert_eq!((ran.stdout.as_str(), ran.stderr.as_str()), ("all done\n", ""));
}

#[tokio::test]
async fn o4_waiting_for_a_job_that_fails_exits_with_1_and_says_why() {
    let server = Server::start().await;

    let ran = server.claw(&["submit", "--wait", FAILS]).await;

    assert_eq!(ran.stdout, "");
    let said = ran.failed(1);
    assert_harmless(&said);
    assert!(said.contains("failed: the model said no") && said.contains("hint: `claw logs "), "{said}");
}

#[tokio::test]
async fn a_failed_wait_with_json_prints_the_job_and_the_error_as_json() {
    let server = Server::start().await;

    let ran = server.claw(&["--json", "submit", "--wait", FAILS]).await;

    let job: Value = serde_json::from_str(&ran.stdout).expect("a job");
    assert_eq!(job["status"], "failed");
    let error: Value = serde_json::from_str(&ran.failed(1)).expect("an error");
    assert_eq!(error["code"], "JOB_FAILED");
}

#[tokio::test]
async fn a_wait_that_is_too_long_exits_with_4_and_leaves_the_job_alone() {
    let server = Server::start().await;

    for flag in ["--wait", "--follow"] {
        let ran = server.claw(&["submit", HANGS, flag, "--wait-timeout", "1"]).await;

        assert!(ran.failed(4).contains("it goes on"));
    }
    assert_eq!(server.claw(&["--json", "list", "--status", "running"]).await.json()["total"], 2);
}

#[tokio::test]
async fn a_wait_ends_when_the_job_is_cancelled_meanwhile() {
    let server = Server::start().await;
    let key = ["--idempotency-key", "known"];
    let id = server.claw(&[&["submit", "-q", HANGS][..], &key].concat()).await.ok();

    let wait_arguments = [&["submit", HANGS, "--wait"][..], &key].concat();
    let wait = server.claw(&wait_arguments);
    let cancel_arguments = ["cancel", id.trim()];
    let cancel = server.claw(&cancel_arguments);
    let (waited, cancelled) = tokio::join!(wait, cancel);

    assert_eq!(cancelled.ok(), format!("{} cancelled\n", id.trim()));
    assert!(waited.failed(1).contains("was cancelled"));
}

#[tokio::test]
async fn a_wait_ended_with_ctrl_c_says_that_the_job_goes_on_and_how_to_end_it() {
    let server = Server::start().await;

    for flag in ["--wait", "--follow"] {
        let ran = server.command(&["submit", HANGS, flag]).interrupted_after("submitted").await;

        let said = ran.failed(130);
        assert!(said.contains("it goes on") && said.contains("claw cancel"), "{said}");
    }
    assert_eq!(server.claw(&["--json", "list", "--status", "running"]).await.json()["total"], 2);
}

#[tokio::test]
async fn a_key_that_sees_only_its_own_jobs_is_told_so() {
    let server = Server::start().await;
    let key = server.claw(&["key", "create", "--scope", "jobs:read"]).await.ok();

    let agent = server.anonymous(&["--api-key", key.trim(), "list"]).run().await;
    let admin = server.claw(&["list"]).await;

    assert!(agent.stderr.contains("made with this key"), "{}", agent.stderr);
    assert!(!admin.stderr.contains("made with this key"), "{}", admin.stderr);
}

#[tokio::test]
async fn jobs_of_the_command_line_are_not_looked_for_under_a_source_that_none_has() {
    let server = Server::start().await;

    let said = server.claw(&["list", "--source", "cli"]).await.failed(64);

    assert!(said.contains("use `api`"), "{said}");
}

#[tokio::test]
async fn following_shows_the_log_and_then_the_result() {
    let server = Server::start().await;

    let out = server.claw(&["submit", "--follow", SUCCEEDS]).await.ok();

    assert_harmless(&out);
    assert!(out.starts_with("● claude, Claude Code 2\nall done\n✔ done ($0.0008)\n"), "{out}");
    assert!(out.contains("commit: 0123456789a…") || out.contains("commit: 0123456789ab"), "{out}");
}

#[tokio::test]
async fn following_with_json_prints_one_value_a_line() {
    let server = Server::start().await;

    let out = server.claw(&["--json", "submit", "--follow", SUCCEEDS]).await.ok();

    let lines: Vec<Value> = out.lines().map(|line| serde_json::from_str(line).expect("a value")).collect();
    let kinds: Vec<_> = lines.iter().map(|line| line["type"].as_str().unwrap_or("the result")).collect();
    assert_eq!(kinds, ["system", "assistant", "result", "the result"]);
    assert_eq!(lines[3]["result"], HOSTILE, "escaped, not changed");
}

#[tokio::test]
async fn a_job_is_found_by_its_last_digits() {
    let server = Server::start().await;
    let id = server.submit(SUCCEEDS).await;
    server.submit(SUCCEEDS).await;

    let out = server.claw(&["status", &id[id.len() - 12..]]).await.ok();

    assert!(out.contains(&id) && out.contains("completed"), "{out}");
}

#[tokio::test]
async fn digits_that_fit_several_jobs_are_refused_with_the_candidates() {
    let server = Server::start().await;
    let (first, second) = (server.submit(SUCCEEDS).await, server.submit(FAILS).await);

    // Ids of one minute share their first digits.
    let said = server.claw(&["status", &first[..8]]).await.failed(64);

    assert!(said.contains("more than one job") && said.contains(&first) && said.contains(&second), "{said}");
}

#[tokio::test]
async fn a_job_that_does_not_exist_exits_with_2() {
    let server = Server::start().await;
    let unknown = claw_core::JobId::new().to_string();

    for arguments in [
        ["status", &unknown],
        ["result", &unknown],
        ["cancel", &unknown],
        ["delete", &unknown],
        ["status", "abcdef"],
    ] {
        let said = server.claw(&arguments).await.failed(2);
        assert!(said.starts_with("error: ") && said.contains("hint: "), "{said}");
    }
}

#[tokio::test]
async fn a_job_in_the_wrong_state_exits_with_3() {
    let server = Server::start().await;
    let (ended, running) = (server.submit(SUCCEEDS).await, server.submit(HANGS).await);

    server.claw(&["cancel", &ended]).await.failed(3);
    let said = server.claw(&["delete", &running]).await.failed(3);

    assert!(said.contains("hint: --force"), "{said}");
}

#[tokio::test]
async fn a_forced_delete_ends_the_job_first() {
    let server = Server::start().await;
    let running = server.submit(HANGS).await;
    let ended = server.submit(SUCCEEDS).await;

    server.claw(&["delete", "--force", &running]).await.ok();
    server.claw(&["delete", "--force", &ended]).await.ok();

    assert_eq!(server.claw(&["--json", "list"]).await.json()["total"], 0);
}

#[tokio::test]
async fn a_list_shows_short_ids_and_keeps_every_field_with_json() {
    let server = Server::start().await;
    let id = server.submit(&format!("say\n{HOSTILE}")).await;

    let out = server.claw(&["list"]).await.ok();
    let json = server.claw(&["list", "--json"]).await.json();

    assert_harmless(&out);
    assert!(out.starts_with("ID ") && out.contains(&id[24..]) && out.contains("say all done"), "{out}");
    assert_eq!(json["items"][0]["from_the_future"], "\u{9b}");
}

#[tokio::test]
async fn a_list_that_goes_on_says_how() {
    let server = Server::start().await;
    for _ in 0..3 {
        server.submit(SUCCEEDS).await;
    }

    let ran = server.claw(&["list", "--limit", "2"]).await;

    assert_eq!(ran.stdout.lines().count(), 3, "a heading and two jobs");
    assert!(ran.stderr.contains("2 of 3; --offset 2"), "{}", ran.stderr);
}

#[tokio::test]
async fn logs_can_be_cut_followed_and_had_raw() {
    let server = Server::start().await;
    let id = server.submit(SUCCEEDS).await;

    assert_harmless(&server.claw(&["logs", &id]).await.ok());
    assert_eq!(server.claw(&["logs", &id, "-n", "1"]).await.ok(), "✔ done ($0.0008)\n");
    assert_eq!(server.claw(&["logs", "-f", &id, "-n", "1"]).await.ok(), "✔ done ($0.0008)\n");
    let raw = server.claw(&["logs", "--raw", &id]).await.ok();
    let lines: Vec<Value> = raw.lines().map(|line| serde_json::from_str(line).expect("a value")).collect();
    assert_eq!(lines[1]["message"]["content"][0]["text"], HOSTILE, "a pipe gets the bytes as they are");
}

#[tokio::test]
async fn a_result_comes_as_text_json_or_its_own_bytes() {
    let server = Server::start().await;
    let id = server.submit(SUCCEEDS).await;

    assert_harmless(&server.claw(&["result", &id]).await.ok());
    assert_eq!(server.claw(&["result", &id, "--format", "raw"]).await.ok(), HOSTILE);
    assert_eq!(server.claw(&["result", &id, "--format", "json"]).await.json()["num_turns"], 3);
}

#[tokio::test]
async fn the_server_at_a_glance() {
    let server = Server::start().await;

    let ran = server.claw(&["status"]).await;

    assert!(ran.stderr.contains("claw doctor"), "{}", ran.stderr);
    insta::assert_snapshot!(ran.ok());
}
