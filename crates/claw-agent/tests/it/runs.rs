//! Whole runs of the real CLI, by what the model does.

use std::time::Duration;

use claw_agent::{gateway::CredentialSource, run::RunEnd};
use claw_core::{FailureKind, WorkspaceId};
use claw_testkit::{FakeApi, claude_binary};
use serde_json::{Value, json};

use crate::lab::{Lab, REAL_KEY, bash, completed, failed, gateway, script};

/// Makes API errors final at once.
fn without_retries() -> (String, String) {
    ("CLAUDE_CODE_MAX_RETRIES".to_owned(), "0".to_owned())
}

#[tokio::test]
async fn a_tool_call_writes_a_file_and_the_closing_text_is_the_result() {
    let lab = Lab::start().await;
    let file = lab.work_dir().join("hello.txt");
    let write = json!({"tool": "Write", "input": {"file_path": file, "content": "hi\n"}});

    let report = lab.run_prompt(script(json!([write, {"text": "All done."}]))).await;

    assert_eq!(completed(&report), "All done.");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "hi\n");
    assert_eq!(report.files_written, [file.to_string_lossy()]);
    assert_eq!(report.traffic.requests, 2);
    assert!(report.usage.cost_usd.is_some_and(|usd| usd > 0.0) && report.usage.duration_ms > 0);
    assert!(report.session_id.is_some() && report.num_turns.is_some());
}

#[tokio::test]
async fn s4_s12_only_the_upstream_sees_the_real_key() {
    let lab = Lab::start().await;

    let report = lab
        .run_prompt(bash(
            "env > env.txt; cat /proc/$PPID/environ > parent.txt; cat /proc/$PPID/cmdline > cmdline.txt",
        ))
        .await;

    completed(&report);
    assert_eq!(lab.api.message_requests()[0].header("x-api-key"), Some(REAL_KEY));
    for name in ["env.txt", "parent.txt", "cmdline.txt"] {
        let text = String::from_utf8_lossy(&std::fs::read(lab.work_dir().join(name)).unwrap()).into_owned();
        assert!(!text.is_empty() && !text.contains(REAL_KEY), "{name}: {text}");
        // The server's own variables: here those of the test run.
        assert!(!text.contains("CARGO_") && !text.contains("CLAW_TEST_CLAUDE"), "{name}: {text}");
    }
}

#[tokio::test]
async fn a_refused_credential_ends_the_run_early_and_reads_well() {
    let mut lab = Lab::start().await;
    lab.gateway = gateway(&lab.api, CredentialSource::ApiKey(claw_core::Secret::new("wrong")));

    let report = lab.run_prompt("hello").await;

    let (kind, message) = failed(&report);
    assert_eq!(kind, FailureKind::ModelAuth);
    assert!(message.starts_with("the model API refused the credential (401: "), "{message}");
    assert!(
        message.ends_with("check ANTHROPIC_API_KEY or log in again, then submit the job again"),
        "{message}"
    );
    assert_eq!(report.traffic.requests, 1, "the CLI did not ask again");
    assert_eq!(report.partial_text, "");
}

#[tokio::test]
async fn a_cli_that_keeps_asking_with_a_refused_credential_is_ended() {
    let api = FakeApi::start().await;
    let stand_in = stand_in(include_str!("../samples/refused-credential-retries.jsonl"), "sleep 300");
    let lab = Lab::with(api, "data", stand_in.path().join("claude"));

    let report = lab.run_prompt("hello").await;

    assert_eq!(failed(&report).0, FailureKind::ModelAuth);
    assert!(report.usage.duration_ms < 10_000);
}

#[tokio::test]
async fn without_a_credential_nothing_is_sent_and_the_failure_says_what_to_set() {
    let mut lab = Lab::start().await;
    lab.gateway = gateway(&lab.api, CredentialSource::Missing);

    let report = lab.run_prompt("hello").await;

    let expected = "there is no credential for the model API: set ANTHROPIC_API_KEY or log in with `claude`, then \
                    submit the job again";
    assert_eq!(failed(&report), (FailureKind::ModelAuth, expected));
    assert_eq!(lab.api.message_requests().len(), 0);
}

#[tokio::test]
async fn an_overloaded_model_fails_the_run_for_now() {
    let lab = Lab::start().await;
    let mut request = lab.request(script(json!([{"error": 529, "times": -1}])));
    request.environment.push(without_retries());

    let report = lab.run(request).await;

    let (kind, message) = failed(&report);
    assert_eq!(kind, FailureKind::ModelUnavailable);
    assert!(message.starts_with("the model API is overloaded (529"), "{message}");
}

#[tokio::test]
async fn two_overloaded_answers_and_a_good_one_make_a_success() {
    let lab = Lab::start().await;

    let report = lab.run_prompt(script(json!([{"error": 529, "times": 2}, {"text": "recovered"}]))).await;

    assert_eq!(completed(&report), "recovered");
    assert_eq!(report.traffic.last_error, None);
}

#[tokio::test]
async fn an_unreachable_model_fails_the_run_for_now() {
    let mut lab = Lab::start().await;
    let gone = FakeApi::start().await.base_url().to_owned();
    lab.gateway =
        crate::lab::gateway_with(&gone, CredentialSource::ApiKey(claw_core::Secret::new("k")), |_| {});
    let mut request = lab.request("hello");
    request.environment.push(without_retries());

    let report = lab.run(request).await;

    let (kind, message) = failed(&report);
    assert_eq!(kind, FailureKind::ModelUnavailable);
    assert!(message.starts_with("could not reach the model API"), "{message}");
}

#[tokio::test]
async fn the_cli_recovers_from_a_broken_stream_or_the_run_fails_with_a_reason() {
    let lab = Lab::start().await;
    for fault in ["garbage", "empty", "bad_json", "truncate", "reset", "error_event"] {
        lab.api.force(json!({"stream": fault, "times": 1}));
        let report = lab.run_prompt("hello").await;
        assert!(matches!(report.end, RunEnd::Completed { .. }), "{fault}: {:?}", report.end);

        // Broken, and then the second try without streaming fails too.
        lab.api.force(json!({"stream": fault, "times": 1}));
        let mut request = lab.request(script(json!([{"error": 500, "times": -1}])));
        request.environment.push(without_retries());
        let report = lab.run(request).await;
        let (kind, message) = failed(&report);
        assert_eq!(kind, FailureKind::ModelUnavailable, "{fault}");
        assert!(message.starts_with("the model API"), "{fault}: {message}");
    }
}

#[tokio::test]
async fn a_hanging_model_ends_with_the_jobs_time() {
    let lab = Lab::start().await;
    let mut request = lab.request(script(json!([{"stream": "hang", "seconds": 120}])));
    request.timeout = Duration::from_secs(3);

    let report = lab.run(request).await;

    assert_eq!(failed(&report), (FailureKind::Timeout, "the job's time of 3 s was up"));
    assert!(report.usage.duration_ms < 10_000);
}

#[tokio::test]
async fn what_a_failed_run_said_and_cost_is_kept() {
    let lab = Lab::start().await;
    let steps = json!([
        {"text": "Half of it.", "tool": "Bash", "input": {"command": "true"}},
        {"error": 400, "times": -1, "message": "no more"},
    ]);

    let report = lab.run_prompt(script(steps)).await;

    let (kind, message) = failed(&report);
    assert_eq!(kind, FailureKind::ModelRequest);
    assert!(message.starts_with("the model API refused the request (400: no more)"), "{message}");
    assert_eq!(report.partial_text, "Half of it.");
    assert!(report.usage.cost_usd.is_some_and(|usd| usd > 0.0));
}

#[tokio::test]
async fn a_spent_budget_fails_the_run_and_tells_the_cost() {
    let lab = Lab::start().await;
    let mut request = lab.request(bash("true"));
    request.invocation.max_budget_usd = Some(0.000_01);

    let report = lab.run(request).await;

    assert_eq!(failed(&report).0, FailureKind::Budget);
    assert!(report.usage.cost_usd.is_some_and(|usd| usd > 0.000_01));
}

#[tokio::test]
async fn tools_that_are_not_allowed_are_refused_and_listed() {
    let lab = Lab::start().await;
    let mut request = lab.request(bash("touch forbidden"));
    request.invocation.allowed_tools = vec!["Write".into(), "Bash(git *)".into()];

    let report = lab.run(request).await;

    assert_eq!(completed(&report), "done");
    assert!(!lab.work_dir().join("forbidden").exists());
    let refused: Vec<&str> =
        report.permission_denials.iter().map(|denial| denial.tool_name.as_str()).collect();
    assert_eq!(refused, ["Bash"]);
}

#[tokio::test]
async fn a_session_goes_on_in_the_workspaces_home_and_costs_only_its_own() {
    let lab = Lab::start().await;
    let workspace = Some(WorkspaceId::new());
    let mut first = lab.request(script(json!([{"text": "one"}])));
    first.workspace = workspace;
    let first = lab.run(first).await;
    let mut second = lab.request(script(json!([{"text": "two"}])));
    second.workspace = workspace;
    second.invocation.resume = first.session_id.clone();
    second.previous_session_cost_usd = first.session_total_cost_usd;

    let second = lab.run(second).await;

    assert_eq!(completed(&second), "two");
    assert_eq!(second.session_id, first.session_id);
    let cost = |usd: Option<f64>| (usd.unwrap() * 1e6).round();
    assert_eq!(cost(second.usage.cost_usd), cost(first.usage.cost_usd));
    let history = lab.api.message_requests()[1].body["messages"].as_array().map(Vec::len);
    assert!(history > lab.api.message_requests()[0].body["messages"].as_array().map(Vec::len));
}

#[tokio::test]
async fn the_system_text_reaches_the_model() {
    let lab = Lab::start().await;
    let mut request = lab.request("hello");
    request.invocation.append_system_prompt = Some("The canary sings at dawn.".into());
    request.invocation.model = Some("claude-haiku-4-5".into());

    completed(&lab.run(request).await);

    let body = &lab.api.message_requests()[0].body;
    assert!(body["system"].to_string().contains("The canary sings at dawn."));
    assert_eq!(body["model"], Value::from("claude-haiku-4-5"));
}

#[tokio::test]
async fn a_cli_that_ends_without_a_result_failed_with_its_own_words() {
    let stand_in = stand_in("", "echo 'error: something is off' >&2; exit 1");
    let lab = Lab::with(FakeApi::start().await, "data", stand_in.path().join("claude"));

    let report = lab.run_prompt("hello").await;

    let expected = "the agent CLI ended with exit code 1: error: something is off";
    assert_eq!(failed(&report), (FailureKind::Agent, expected));
}

#[tokio::test]
async fn a_long_data_directory_does_not_matter_to_the_socket() {
    let api = FakeApi::builder().require_key(REAL_KEY).start().await;
    let deep = format!("{}/{}", "d".repeat(90), "e".repeat(90));
    let lab = Lab::with(api, &deep, claude_binary());

    assert_eq!(completed(&lab.run_prompt(script(json!([{"text": "there"}]))).await), "there");
}

/// A program that takes the CLI's place: prints `output`, then does `rest`.
fn stand_in(output: &str, rest: &str) -> claw_testkit::TempDir {
    let folder = claw_testkit::TempDir::new();
    folder.write("output", output);
    let text = format!("#!/bin/sh\ncat {}\n{rest}\n", folder.join("output").display());
    let path = folder.write("claude", text);
    std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    folder
}
