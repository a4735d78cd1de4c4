//! Sandboxes that wait for jobs: the same for a job as one that is started for it, and never used twice.

use std::{collections::HashSet, time::Duration};

use claw_agent::{
    invocation::Invocation,
    run::{RunEnd, RunRequest},
    sandbox::{Limits, Sandbox},
    warm::WarmSupply,
};
use claw_core::{FailureKind, JobId, WorkspaceId};
use claw_testkit::wait_until;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::{
    lab::PATIENCE,
    warm_lab::{LIMITS, Ran, WarmLab, bash, script},
};

/// Replaces what differs from run to run: ids, times, and what is measured.
fn comparable(value: &Value) -> Value {
    const PASSING: [&str; 16] = [
        "uuid",
        "session_id",
        "timestamp",
        "duration_ms",
        "duration_api_ms",
        "ttft_ms",
        "ttft_stream_ms",
        "first_content_frame_ms",
        // Named after the number of the CLI's process.
        "messaging_socket_path",
        "time_to_request_ms",
        "user_id",
        "id",
        "tool_use_id",
        "agent_id",
        "memory_paths",
        "parent_tool_use_id",
    ];
    match value {
        Value::Object(fields) => fields
            .iter()
            .map(|(name, field)| match PASSING.contains(&name.as_str()) {
                true => (name.clone(), json!("…")),
                false => (name.clone(), comparable(field)),
            })
            .collect(),
        Value::Array(items) => items.iter().map(comparable).collect(),
        other => other.clone(),
    }
}

/// What the model was asked, without what differs from run to run.
fn asked(lab: &WarmLab) -> Vec<Value> {
    let billing = |text: &str| text.starts_with("x-anthropic-billing-header");
    let mut requests: Vec<Value> =
        lab.api.message_requests().iter().map(|request| comparable(&request.body)).collect();
    for request in &mut requests {
        if let Some(system) = request["system"].as_array_mut() {
            system.retain(|block| !block["text"].as_str().is_some_and(billing));
        }
    }
    requests
}

/// Collects where two values differ, since whole logs are too long to be read.
fn differences(at: &str, cold: &Value, warm: &Value, found: &mut Vec<String>) {
    match (cold, warm) {
        (Value::Object(cold), Value::Object(warm)) => {
            let names: std::collections::BTreeSet<_> = cold.keys().chain(warm.keys()).collect();
            for name in names {
                let of =
                    |fields: &serde_json::Map<_, _>| fields.get(name).cloned().unwrap_or(json!("(none)"));
                differences(&format!("{at}.{name}"), &of(cold), &of(warm), found);
            }
        }
        (Value::Array(cold), Value::Array(warm)) if cold.len() == warm.len() => {
            for (index, (cold, warm)) in cold.iter().zip(warm).enumerate() {
                differences(&format!("{at}[{index}]"), cold, warm, found);
            }
        }
        _ if cold == warm => {}
        _ => found.push(format!("{at}\n  cold: {cold}\n  warm: {warm}")),
    }
}

fn assert_same(what: &str, cold: Vec<Value>, warm: Vec<Value>) {
    let mut found = Vec::new();
    differences(what, &Value::Array(cold), &Value::Array(warm), &mut found);
    assert!(found.is_empty(), "{}", found.join("\n"));
}

fn texts(ran: &Ran) -> Vec<Value> {
    // The two outputs are in order, each by itself.
    let (stderr, stdout): (Vec<_>, Vec<_>) = ran.lines.iter().map(comparable).partition(Value::is_string);
    [stdout, stderr].concat()
}

async fn same_warm_as_cold(invocation: impl Fn() -> Invocation) -> Vec<Value> {
    let (cold_lab, warm_lab) = (WarmLab::new(0).await, WarmLab::new(1).await);
    warm_lab.warmed(1).await;

    let cold = cold_lab.run(invocation()).await;
    let warm = warm_lab.run(invocation()).await;

    assert!(!cold.was_warm && warm.was_warm);
    assert_same("log", texts(&cold), texts(&warm));
    assert_same("asked", asked(&cold_lab), asked(&warm_lab));
    assert_eq!(cold.report.end, warm.report.end);
    assert_eq!(cold.report.num_turns, warm.report.num_turns);
    assert_eq!(cold.report.usage.cost_usd, warm.report.usage.cost_usd);
    assert_eq!(cold.report.permission_denials.len(), warm.report.permission_denials.len());
    let lines = warm.lines;
    cold_lab.end().await;
    warm_lab.end().await;
    lines
}

#[tokio::test]
async fn a_job_gets_the_same_in_a_sandbox_that_waited() {
    let steps = json!([bash("echo made >file; cat file; pwd; env | cut -d= -f1 | sort | xargs"), {"text": "all done"}]);

    let lines = same_warm_as_cold(|| script(steps.clone())).await;

    let log = format!("{lines:?}");
    assert!(log.contains("CLAW_JOB_ID") && log.contains("all done"), "{log}");
}

#[tokio::test]
async fn the_model_and_the_tools_of_a_job_hold_in_a_sandbox_that_waited() {
    let steps = json!([bash("echo allowed"), bash("touch refused"), {"text": "done"}]);
    let invocation = || Invocation {
        model: Some("haiku".to_owned()),
        allowed_tools: vec!["Bash(echo *)".to_owned()],
        ..script(steps.clone())
    };

    let lines = same_warm_as_cold(invocation).await;

    let denials = lines.last().expect("a result")["permission_denials"].as_array().map(Vec::len);
    assert_eq!(denials, Some(1), "{lines:#?}");
    assert!(lines[0]["model"].as_str().is_some_and(|model| model.contains("haiku")), "{:#}", lines[0]);
}

#[tokio::test]
async fn a_model_that_the_cli_does_not_know_is_asked_for_as_it_is() {
    let invocation =
        || Invocation { model: Some("house-model-1".to_owned()), ..script(json!([{"echo": true}])) };

    let lines = same_warm_as_cold(invocation).await;

    assert!(
        lines.last().expect("a result")["result"].as_str().is_some_and(|text| text.contains("house-model-1"))
    );
}

#[tokio::test]
async fn t27_a_job_finds_nothing_of_the_one_before_it() {
    let lab = WarmLab::new(1).await;
    lab.warmed(1).await;
    let leave = "for place in ~ /tmp /workspace; do echo secret >$place/left; done; \
                 (setsid sleep 600 >/dev/null 2>&1 </dev/null &) ; echo $CLAW_JOB_ID";
    let look = "ls -A ~/left /tmp/left /workspace/left 2>&1 | grep -v 'No such file'; ls -A /workspace; \
                pgrep -c sleep; echo $CLAW_JOB_ID; ls ~/.claude/projects | wc -l";

    let first = lab.run(script(json!([bash(leave), {"text": "left"}]))).await;
    lab.warmed(1).await;
    let second = lab.run(script(json!([bash(look), {"text": "looked"}]))).await;

    assert!(first.was_warm && second.was_warm);
    let output = |ran: &Ran| {
        let said = |line: &Value| line["tool_use_result"]["stdout"].as_str().map(str::to_owned);
        ran.lines.iter().find_map(said).expect("what the command said")
    };
    assert_eq!(output(&first), first.job.to_string());
    assert_eq!(
        output(&second),
        format!("0\n{}\n1", second.job),
        "no file, no process, its own id and session"
    );
    lab.end().await;
}

#[tokio::test]
async fn a_place_whose_cli_dies_is_replaced_and_never_handed_out() {
    let lab = WarmLab::new(1).await;
    lab.warmed(1).await;
    let dead = lab.places().await.pop().expect("a place");

    lab.docker.kill(&dead).await.expect("killed");
    wait_until("it is noticed", PATIENCE, async || lab.sandbox.waiting() == 0).await;
    let ran = lab.run(script(json!([{"text": "cold"}]))).await;
    lab.warmed(1).await;

    assert!(!ran.was_warm);
    assert_eq!(ran.report.end, RunEnd::Completed { text: "cold".to_owned() });
    assert!(!lab.places().await.contains(&dead));
    lab.end().await;
}

#[tokio::test]
async fn a_place_that_does_not_answer_is_given_up_for_a_new_sandbox() {
    let lab = WarmLab::new(1).await;
    lab.warmed(1).await;
    let frozen = lab.places().await.pop().expect("a place");
    let client = bollard::Docker::connect_with_host(&crate::lab::engine()).expect("an Engine");
    client.pause_container(&frozen).await.expect("paused");

    let ran = lab.run(script(json!([{"text": "all the same"}]))).await;

    assert_eq!(ran.report.end, RunEnd::Completed { text: "all the same".to_owned() });
    lab.end().await;
}

#[tokio::test]
async fn places_follow_the_settings() {
    let lab = WarmLab::new(1).await;
    lab.warmed(1).await;
    let first = lab.places().await.pop().expect("a place");
    *lab.supply.limits.lock().expect("not poisoned") = Limits { memory_bytes: 768 << 20, ..LIMITS };

    let ran = lab.run(script(json!([{"text": "cold"}]))).await;
    let second = lab.another_than(&first).await;
    let again = lab.run(script(json!([{"text": "warm"}]))).await;

    assert!(!ran.was_warm && again.was_warm);
    assert_ne!(first, second);
    lab.end().await;
}

#[tokio::test]
async fn a_workspace_that_had_a_job_gets_a_place_with_its_files_and_its_home() {
    let lab = WarmLab::new(1).await;
    let workspace = WorkspaceId::new();
    lab.supply.put(workspace, &[("CLAUDE.md", "The word is heliotrope."), ("file", "1")]);
    lab.warmed(1).await;
    let other = lab.places().await.pop().expect("a place");
    let run = async |command: &str| {
        let invocation = script(json!([bash(command), {"text": "done"}]));
        lab.run_as(Some(workspace), true, invocation, |_| {}, CancellationToken::new()).await
    };

    let first = run("echo kept >~/kept").await;
    lab.another_than(&other).await;
    let second = run("cat ~/kept file").await;
    lab.warmed(1).await;
    lab.supply.put(workspace, &[("file", "2")]);
    let third = run("cat ~/kept file").await;

    assert_eq!([&first, &second, &third].map(|ran| ran.was_warm), [false, true, false]);
    let log = |ran: &Ran| format!("{:?}", ran.lines);
    assert!(log(&second).contains(r#"kept\n1"#), "{}", log(&second));
    assert!(log(&third).contains(r#"kept\n2"#), "stale files are not used: {}", log(&third));
    let requests = lab.api.message_requests();
    let knew = |at: usize| requests[at].body.to_string().contains("heliotrope");
    assert!(knew(0) && knew(2), "what the CLI reads at its start was there");

    lab.warmed(1).await;
    lab.sandbox.forget_workspace(workspace).await.expect("forgotten, though a place had its HOME");
    lab.end().await;
}

#[tokio::test]
async fn without_a_count_nothing_waits() {
    let lab = WarmLab::new(0).await;

    let ran = lab.run(script(json!([{"text": "cold"}]))).await;

    assert!(!ran.was_warm);
    assert_eq!(lab.sandbox.waiting(), 0);
    lab.end().await;
}

#[tokio::test]
async fn a_run_in_a_sandbox_that_waited_can_be_cancelled_and_runs_out_of_time() {
    let lab = WarmLab::new(2).await;
    lab.warmed(2).await;
    let forever = || script(json!([{"hold": "for ever"}, {"text": "never"}]));
    let cancel = CancellationToken::new();
    let canceller = async {
        lab.api.wait_for_request(1).await;
        cancel.cancel();
    };

    let (cancelled, ()) = tokio::join!(lab.run_as(None, false, forever(), |_| {}, cancel.clone()), canceller);
    let short = |request: &mut RunRequest| request.timeout = Duration::from_secs(2);
    let late = lab.run_as(None, false, forever(), short, CancellationToken::new()).await;

    assert!(cancelled.was_warm && late.was_warm);
    assert_eq!(cancelled.report.end, RunEnd::Cancelled);
    let RunEnd::Failed { kind, .. } = late.report.end else { panic!("{:?}", late.report.end) };
    assert_eq!(kind, FailureKind::Timeout);
    lab.end().await;
}

#[tokio::test]
async fn a_new_server_removes_the_places_of_one_that_was_killed() {
    let lab = WarmLab::new(0).await;
    lab.leave_places_of_a_killed_server(1).await;
    assert_eq!(lab.leftovers().await.len(), 2, "a container and its HOME");

    let removed = lab.sandbox.sweep(&HashSet::from([JobId::new()])).await.expect("swept");

    assert_eq!(removed, 1);
    assert_eq!(lab.leftovers().await, [""; 0]);
}

#[tokio::test]
async fn a_reservation_that_is_dropped_leaves_nothing() {
    let lab = WarmLab::new(1).await;
    lab.warmed(1).await;
    let wanted = lab.supply.wanted(None).await.expect("known").expect("some");

    let place = lab.sandbox.reserve(&wanted).expect("a place");
    assert!(lab.sandbox.reserve(&wanted).is_none(), "one place, one job");
    drop(place);

    lab.end().await;
}
