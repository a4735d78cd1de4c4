//! Rate limits, stalls and hopeless errors of the model API.

use std::{sync::Arc, time::Duration};

use claw_core::FailureKind;
use claw_testkit::{FakeApi, claude_binary};
use futures_util::future::join_all;
use serde_json::json;
use tokio::time::Instant;

use crate::{
    gateway::{Setup, error, key, message},
    lab::{Lab, REAL_KEY, completed, failed, gateway, gateway_with, script},
};

#[tokio::test]
async fn a_short_rate_limit_is_waited_for_and_the_agent_does_not_see_it() {
    let api = FakeApi::start().await;
    let gateway = gateway(&api, key());
    let setup = Setup::new(&gateway).await;
    let mut changed = gateway.model_changed();
    api.force(json!({"error": 429, "retry_after": 1, "message": "slow down"}));
    let began = Instant::now();

    let asked = message("hi", true);
    let asking = setup.post(&asked);
    let watching = async {
        changed.changed().await.unwrap();
        gateway.model_state()
    };
    let (answer, paused) = tokio::join!(asking, watching);

    assert!(answer.status().is_success() && began.elapsed() >= Duration::from_secs(1));
    assert!(paused.paused_until.is_some());
    assert_eq!(paused.reason.as_deref(), Some("429: slow down"));
    assert_eq!(gateway.model_state(), claw_agent::gateway::ModelState::default());
    assert_eq!(api.message_requests().len(), 2);
}

#[tokio::test]
async fn a_rate_limit_holds_back_every_run_and_ends_with_one_that_goes_first() {
    let api = FakeApi::start().await;
    let gateway = gateway(&api, key());
    let setups = join_all((0..4).map(|_| Setup::new(&gateway))).await;
    api.force(json!({"error": 429, "retry_after": 1, "times": 1}));

    let asked = message("hi", false);
    let first = setups[0].post(&asked);
    let others = async {
        gateway.model_changed().wait_for(|state| state.paused_until.is_some()).await.unwrap();
        join_all(setups[1..].iter().map(|setup| setup.post(&asked))).await
    };
    let (first, others) = tokio::join!(first, others);

    assert!(first.status().is_success() && others.iter().all(|answer| answer.status().is_success()));
    assert_eq!(api.message_requests().len(), 5, "only the first one was sent back");
}

#[tokio::test]
async fn a_long_rate_limit_is_told_at_once_to_every_run_and_not_retried() {
    let api = FakeApi::start().await;
    let gateway = gateway(&api, key());
    let (one, other) = (Setup::new(&gateway).await, Setup::new(&gateway).await);
    api.force(json!({"error": 429, "retry_after": 600, "message": "quota"}));

    let first = one.post(&message("hi", true)).await;
    let second = other.post(&message("hi", true)).await;

    for answer in [first, second] {
        assert_eq!(answer.headers()["x-should-retry"], "false");
        assert!(answer.headers()["retry-after"].to_str().unwrap().parse::<u64>().unwrap() > 500);
        let (status, kind, text) = error(answer).await;
        assert_eq!((status, kind.as_str()), (429, "rate_limit_error"));
        assert!(text.contains("quota"), "{text}");
    }
    assert!(gateway.model_state().paused_until.is_some());
    assert_eq!(api.message_requests().len(), 1);
}

#[tokio::test]
async fn limits_that_are_told_by_their_reset_are_understood() {
    let api = FakeApi::start().await;
    let gateway = gateway(&api, key());
    let setup = Setup::new(&gateway).await;
    api.force(json!({"error": 429, "headers": {
        "anthropic-ratelimit-tokens-remaining": "0", "anthropic-ratelimit-tokens-reset": "2999-01-01T00:00:00Z"}}));

    setup.post(&message("hi", true)).await;

    assert!(gateway.model_state().paused_until.is_some());
}

#[tokio::test]
async fn a_job_that_meets_a_long_rate_limit_ends_at_once_and_may_be_tried_again() {
    let lab = Lab::start().await;
    lab.api.force(json!({"error": 429, "retry_after": 600, "times": -1}));

    let report = lab.run_prompt("hi").await;

    let (kind, text) = failed(&report);
    assert_eq!(kind, FailureKind::ModelUnavailable, "{text}");
    assert_eq!(lab.api.message_requests().len(), 1);
    assert_eq!(report.traffic.last_error.unwrap().status, Some(429));
}

#[tokio::test]
async fn hopeless_answers_end_a_job_at_once() {
    let lab = Lab::start().await;
    for (step, kind, beginning) in [
        (json!({"error": 403}), FailureKind::ModelAuth, "the model API does not allow"),
        (
            json!({"error": 404, "message": "model: x"}),
            FailureKind::ModelRequest,
            "the model API does not know",
        ),
        (json!({"error": 413}), FailureKind::ModelRequest, "the request to the model was too large"),
        (
            json!({"error": 400, "message": "Your credit balance is too low to access the Anthropic API."}),
            FailureKind::ModelAuth,
            "the model API's account has no money left (400: Your credit balance is too low",
        ),
        (
            json!({"error": 400, "message": "bad"}),
            FailureKind::ModelRequest,
            "the model API refused the request",
        ),
    ] {
        let before = lab.api.message_requests().len();
        let mut step = step;
        step["times"] = json!(-1);
        lab.api.force(step.clone());

        let report = lab.run_prompt("hi").await;

        let (found, text) = failed(&report);
        assert!(found == kind && text.starts_with(beginning), "{step}: {found:?} {text}");
        // After some kinds of 400 the CLI asks for less, a few times and without a pause.
        let tries = lab.api.message_requests().len() - before;
        assert!(tries <= if step["message"] == "bad" { 6 } else { 2 }, "{step} was tried {tries} times");
    }
}

#[tokio::test]
async fn a_stalled_answer_becomes_another_try_of_the_real_cli() {
    let api = FakeApi::builder().require_key(REAL_KEY).start().await;
    let mut lab = Lab::with(api, "data", claude_binary());
    lab.gateway = gateway_with(lab.api.base_url(), key(), |config| {
        config.idle_timeout = Duration::from_millis(500);
    });
    lab.api.force(json!({"stream": "hang", "seconds": 300}));

    let report = lab.run_prompt(script(json!([{"text": "after the stall"}]))).await;

    assert_eq!(completed(&report), "after the stall");
    assert_eq!(lab.api.message_requests().len(), 2);
}

#[tokio::test]
async fn a_model_that_always_stalls_is_a_clear_failure() {
    let api = FakeApi::builder().require_key(REAL_KEY).start().await;
    let mut lab = Lab::with(api, "data", claude_binary());
    lab.gateway = gateway_with(lab.api.base_url(), key(), |config| {
        config.idle_timeout = Duration::from_millis(300);
        config.answer_timeout = Duration::from_millis(300);
    });
    lab.api.force(json!({"stream": "hang", "seconds": 300, "times": -1, "delay": 0.0}));
    let mut request = lab.request("hi");
    request.environment.push(("CLAUDE_CODE_MAX_RETRIES".to_owned(), "0".to_owned()));
    request.meter = Arc::new(crate::meters::Unmetered);

    let report = lab.run(request).await;

    let (kind, text) = failed(&report);
    assert_eq!(kind, FailureKind::ModelUnavailable, "{text}");
}
