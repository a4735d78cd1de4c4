//! Costs: what is charged, and that a budget holds against an agent that talks to the socket itself.

use std::{sync::Arc, time::Duration};

use claw_agent::gateway::{GatewayConfig, ModelPrice};
use claw_core::{FailureKind, TokenUsage, Usd};
use claw_testkit::{FakeApi, wait_until};
use futures_util::{StreamExt, future::join_all};
use serde_json::{Value, json};

use crate::{
    gateway::{Setup, error, key, message},
    lab::{Lab, PATIENCE, completed, failed, gateway, gateway_with, script},
    meters::Budget,
};

const MODEL: &str = "claude-opus-5-5";

/// What an answer of the fake costs: 100 tokens in and 20 out.
const TURN: Usd = Usd::from_nanos(800_000);

/// A request with the price of a real model.
fn priced(prompt: &str, stream: bool) -> Value {
    let mut body = message(prompt, stream);
    body["model"] = json!(MODEL);
    body
}

fn dollars(dollars: f64) -> Usd {
    Usd::from_dollars(dollars).unwrap()
}

#[tokio::test]
async fn each_turn_is_charged_when_it_begins_and_before_its_end_is_seen() {
    let api = FakeApi::start().await;
    let budget = Arc::new(Budget::unlimited());
    let setup = Setup::metered(&gateway(&api, key()), budget.clone()).await;
    let steps = r#"FAKE:[{"text":"first last","hold_after_first_word":"gate"}]"#;

    let mut chunks = setup.post(&priced(steps, true)).await.bytes_stream();
    let first = chunks.next().await.unwrap().unwrap();
    wait_until("the beginning is charged", PATIENCE, async || !budget.charges().is_empty()).await;
    let at_first = budget.charges();
    api.release("gate");
    let mut text = String::from_utf8_lossy(&first).into_owned();
    while !text.contains("message_stop") {
        text.push_str(&String::from_utf8_lossy(&chunks.next().await.unwrap().unwrap()));
    }
    let at_end = budget.charges();

    let tokens = |input, output| TokenUsage { input, output, ..TokenUsage::default() };
    let charged = |index: usize| (at_end[index].turns, at_end[index].tokens, at_end[index].cost);
    assert_eq!((at_first.len(), at_end.len()), (1, 2));
    assert_eq!(at_end[0].model, MODEL);
    assert_eq!(charged(0), (1, tokens(100, 0), dollars(0.0004)));
    assert_eq!(charged(1), (0, tokens(0, 20), dollars(0.0004)));
    assert_eq!(setup.session.report().spent, TURN);
}

#[tokio::test]
async fn answers_in_one_piece_are_charged_before_anybody_gets_them() {
    let api = FakeApi::start().await;
    let budget = Arc::new(Budget::unlimited());
    let setup = Setup::metered(&gateway(&api, key()), budget.clone()).await;

    let answer: Value = setup.post(&priced("hi", false)).await.json().await.unwrap();

    assert_eq!(answer["usage"]["output_tokens"], 20);
    assert_eq!(budget.charges().iter().map(|used| (used.turns, used.cost)).collect::<Vec<_>>(), [(1, TURN)]);
}

#[tokio::test]
async fn errors_and_lookups_cost_nothing() {
    let api = FakeApi::start().await;
    let budget = Arc::new(Budget::of(0.0));
    let setup = Setup::metered(&gateway(&api, key()), budget.clone()).await;

    let count = setup.client.post("http://localhost/v1/messages/count_tokens").json(&priced("hi", false));
    let models = setup.client.get("http://localhost/v1/models");
    let (count, models) = (count.send().await.unwrap(), models.send().await.unwrap());

    assert!(count.status().is_success() && models.status().is_success());
    assert_eq!(budget.charges(), []);
}

#[tokio::test]
async fn r7_a_used_up_budget_refuses_the_next_turn_and_says_so() {
    let api = FakeApi::start().await;
    let budget = Arc::new(Budget::of(0.001));
    let setup = Setup::metered(&gateway(&api, key()), budget.clone()).await;

    for _ in 0..2 {
        assert!(setup.post(&priced("hi", true)).await.bytes().await.is_ok());
    }
    let refused = setup.post(&priced("hi", true)).await;

    assert_eq!(refused.headers()["x-should-retry"], "false");
    let (status, _, text) = error(refused).await;
    assert_eq!(
        (status / 100, text.as_str()),
        (4, "the job's budget of $0.001 is used up: raise it or split the task")
    );
    assert_eq!(setup.session.report().refused_for_budget.as_deref(), Some(text.as_str()));
    assert!(setup.session.exhausted().is_cancelled());
    assert_eq!((budget.spent(), api.message_requests().len()), (dollars(0.0016), 2));
}

#[tokio::test]
async fn r7_thirty_two_requests_at_once_pass_a_budget_by_one_turn_at_most() {
    let api = FakeApi::start().await;
    let budget = Arc::new(Budget::of(0.003));
    let setup = Setup::metered(&gateway(&api, key()), budget.clone()).await;
    let ask = |number: usize| {
        // Some say that they want little, and get as much as the others.
        let mut body = priced("hi", number.is_multiple_of(2));
        body["max_tokens"] = json!([64_000, 1, 0][number % 3]);
        let request = setup.client.post("http://localhost/v1/messages").json(&body);
        async move { request.send().await.unwrap().bytes().await }
    };

    join_all((0..32).map(ask)).await;

    assert!(budget.spent() >= dollars(0.003), "all of it may be used");
    assert!(budget.spent() <= dollars(0.003).saturating_add(TURN), "{}", budget.spent());
}

#[tokio::test]
async fn turns_run_side_by_side_while_the_budget_covers_them_all() {
    let api = FakeApi::start().await;
    let budget = Arc::new(Budget::of(1.0));
    let setup = Setup::metered(&gateway(&api, key()), budget.clone()).await;
    let held = r#"FAKE:[{"hold":"gate"},{"text":"done"}]"#;

    let (first, second) = (priced(held, true), priced(held, true));
    let asking = join_all([setup.post(&first), setup.post(&second)]);
    let watching = async {
        api.wait_for_request(2).await;
        api.release("gate");
    };
    let (answers, ()) = tokio::join!(asking, watching);

    assert!(answers.iter().all(|answer| answer.status().is_success()));
}

#[tokio::test]
async fn r7_an_answer_that_the_agent_leaves_is_charged_all_the_same() {
    let api = FakeApi::start().await;
    let budget = Arc::new(Budget::unlimited());
    let setup = Setup::metered(&gateway(&api, key()), budget.clone()).await;
    let steps = r#"FAKE:[{"text":"first last","hold_after_first_word":"gate"}]"#;

    let mut chunks = setup.post(&priced(steps, true)).await.bytes_stream();
    chunks.next().await.unwrap().unwrap();
    drop(chunks);
    let asked = priced(r#"FAKE:[{"hold":"gate"},{"text":"x"}]"#, false);
    let mut unanswered = Box::pin(setup.post(&asked));
    tokio::select! {
        _ = &mut unanswered => panic!("it is held"),
        _ = api.wait_for_request(2) => {}
    }
    drop(unanswered);
    api.release("gate");

    wait_until("both are charged", PATIENCE, async || budget.spent() == TURN.saturating_add(TURN)).await;
}

#[tokio::test]
async fn r7_an_agent_that_leaves_every_answer_gets_no_further_than_any_other() {
    let api = FakeApi::start().await;
    let budget = Arc::new(Budget::of(0.003));
    let setup = Setup::metered(&gateway(&api, key()), budget.clone()).await;
    let steps = r#"FAKE:[{"text":"first last","chunk_delay":0.05}]"#;

    for _ in 0..12 {
        let answer = setup.post(&priced(steps, true)).await;
        if answer.status().is_success() {
            answer.bytes_stream().next().await.unwrap().unwrap();
        }
    }
    setup.session.close().await;

    assert!(budget.spent() >= dollars(0.003), "all of it may be used");
    assert!(budget.spent() <= dollars(0.003).saturating_add(TURN), "{}", budget.spent());
}

#[tokio::test]
async fn r9_what_was_under_way_when_a_run_ended_is_charged_as_far_as_it_came() {
    let api = FakeApi::start().await;
    let budget = Arc::new(Budget::unlimited());
    let setup = Setup::metered(&gateway(&api, key()), budget.clone()).await;
    let words = "word ".repeat(60);
    let steps =
        format!("FAKE:{}", json!([{"text": format!("{words}\n x"), "hold_after_first_word": "gate"}]));

    let mut chunks = setup.post(&priced(&steps, true)).await.bytes_stream();
    let mut text = String::new();
    while !text.contains("word") {
        text.push_str(&String::from_utf8_lossy(&chunks.next().await.unwrap().unwrap()));
    }
    let report = setup.session.close().await;

    let output: u64 = budget.charges().iter().map(|used| used.tokens.output).sum();
    assert_eq!(output, 2, "five bytes of text");
    assert_eq!((report.spent, budget.spent()), (dollars(0.00044), dollars(0.00044)));
}

#[tokio::test]
async fn r9_answers_that_break_off_or_stall_are_charged() {
    let api = FakeApi::start().await;
    let budget = Arc::new(Budget::unlimited());
    let short = |config: &mut GatewayConfig| config.idle_timeout = Duration::from_millis(200);
    let setup = Setup::metered(&gateway_with(api.base_url(), key(), short), budget.clone()).await;

    for steps in [
        r#"FAKE:[{"text":"abcdef","stream":"truncate"}]"#,
        r#"FAKE:[{"stream":"hang","seconds":60}]"#,
        r#"FAKE:[{"stream":"error_event"}]"#,
    ] {
        let before = budget.spent();
        let _broken = setup.post(&priced(steps, true)).await.bytes().await;
        assert!(budget.spent() >= before.saturating_add(dollars(0.0004)), "{steps}");
    }
}

#[tokio::test]
async fn while_costs_cannot_be_counted_no_turn_begins() {
    let api = FakeApi::start().await;
    let budget = Arc::new(Budget::of(1.0));
    let setup = Setup::metered(&gateway(&api, key()), budget.clone()).await;

    budget.break_charging(true);
    let first = setup.post(&priced("hi", true)).await.bytes().await;
    let (status, _, text) = error(setup.post(&priced("hi", true)).await).await;
    budget.break_charging(false);
    let third = setup.post(&priced("hi", true)).await.bytes().await;

    assert!(first.is_ok() && third.is_ok());
    assert_eq!((status, text.as_str()), (503, "the costs of the job cannot be counted now: try again later"));
    assert_eq!((budget.spent(), api.message_requests().len()), (TURN.saturating_add(TURN), 2));
}

#[tokio::test]
async fn r7_requests_that_lie_about_what_they_cost_are_refused() {
    let api = FakeApi::start().await;
    let setup = Setup::new(&gateway(&api, key())).await;

    for body in [
        r#"{"model":"claude-haiku-4-5","model":"claude-opus-4-1","max_tokens":9,"messages":[]}"#,
        r#"{"model":"m","max_tokens":1,"max_tokens":64000,"messages":[]}"#,
    ] {
        let request = setup.client.post("http://localhost/v1/messages").body(body);
        assert_eq!(error(request.send().await.unwrap()).await.0, 400, "{body}");
    }
    assert_eq!(api.requests().len(), 0);
}

#[tokio::test]
async fn prices_of_ones_own_are_charged_and_checked() {
    let api = FakeApi::start().await;
    let budget = Arc::new(Budget::unlimited());
    let price = |input: f64| -> ModelPrice {
        serde_json::from_value(json!({"input": input, "output": 1.0})).unwrap()
    };
    let own = |config: &mut GatewayConfig| {
        config.prices.insert("house-model".to_owned(), price(10.0));
    };
    let setup = Setup::metered(&gateway_with(api.base_url(), key(), own), budget.clone()).await;
    let mut body = message("hi", false);
    body["model"] = json!("house-model");

    setup.post(&body).await.bytes().await.unwrap();

    assert_eq!(budget.spent(), dollars(0.00102));
    let mut config = GatewayConfig::new(key());
    config.prices.insert("x".to_owned(), price(-1.0));
    let error = claw_agent::gateway::Gateway::new(config, Arc::new(claw_core::SystemClock)).unwrap_err();
    assert_eq!(error.to_string(), "the price of `x` is no price: give dollars per million tokens, 0 or more");
}

#[tokio::test]
async fn r7_a_run_ends_when_its_budget_is_used_up() {
    let lab = Lab::start().await;
    let budget = Arc::new(Budget::of(0.001));
    let mut request = lab.request(script(json!([
        {"tool": "Bash", "input": {"command": "touch one"}}, {"tool": "Bash", "input": {"command": "touch two"}},
        {"tool": "Bash", "input": {"command": "touch three"}}, {"text": "done"}
    ])));
    request.meter = budget.clone();

    let report = lab.run(request).await;

    let refusal = "the job's budget of $0.001 is used up: raise it or split the task";
    assert_eq!(failed(&report), (FailureKind::Budget, refusal));
    assert_eq!(report.traffic.refused_for_budget.as_deref(), Some(refusal));
    assert!(budget.spent() <= dollars(0.0018), "one turn past it at most: {}", budget.spent());
    assert_eq!((report.traffic.spent, lab.api.message_requests().len()), (budget.spent(), 2));
}

#[tokio::test]
async fn what_is_charged_is_what_the_cli_itself_reckons() {
    let lab = Lab::start().await;
    let budget = Arc::new(Budget::unlimited());
    let usage = json!({
        "input_tokens": 1_234, "output_tokens": 567, "cache_read_input_tokens": 89_012,
        "cache_creation_input_tokens": 3_456,
        "cache_creation": {"ephemeral_1h_input_tokens": 1_000, "ephemeral_5m_input_tokens": 2_456},
        "server_tool_use": {"web_search_requests": 0},
    });
    let with = |more: Value| {
        let mut usage = usage.clone();
        usage.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        usage
    };
    for (model, usage) in [
        ("opus", usage.clone()),
        ("sonnet", usage.clone()),
        ("haiku", with(json!({"cache_read_input_tokens": 200_000}))),
        (
            "claude-opus-4-1",
            with(json!({"server_tool_use": {"web_search_requests": 3}, "inference_geo": "us"})),
        ),
        ("claude-opus-5-5", with(json!({"speed": "fast"}))),
    ] {
        let before = budget.spent();
        let mut request = lab.request(script(json!([
            {"tool": "Bash", "input": {"command": "true"}, "usage": usage}, {"text": "done", "usage": usage}
        ])));
        request.invocation.model = Some(model.to_owned());
        request.meter = budget.clone();

        let report = lab.run(request).await;

        assert_eq!(completed(&report), "done");
        let charged = budget.spent().saturating_sub(before);
        assert_eq!(Some(charged), report.usage.cost_usd.and_then(Usd::from_dollars), "{model}");
        assert_eq!(report.traffic.spent, charged);
    }
}

#[tokio::test]
async fn r7_sub_agents_spend_from_the_same_budget() {
    let lab = Lab::start().await;
    let budget = Arc::new(Budget::of(0.002));
    let helper = |name: usize| {
        let steps: Vec<Value> = (0..4)
            .map(|_| json!({"tool": "Bash", "input": {"command": "true"}}))
            .chain([json!({"text": "x"})])
            .collect();
        json!({"tool": "Task", "input": {"description": format!("part {name}"),
            "prompt": script(json!(steps)), "subagent_type": "general-purpose"}})
    };
    let mut request =
        lab.request(script(json!([{"tools": (0..4).map(helper).collect::<Vec<_>>()}, {"text": "done"}])));
    request.meter = budget.clone();

    let report = lab.run(request).await;

    assert_eq!(failed(&report).0, FailureKind::Budget);
    assert!(budget.spent() >= dollars(0.002), "all of it may be used: {}", budget.spent());
    assert!(budget.spent() <= dollars(0.003), "one turn past it at most: {}", budget.spent());
    let of_a_helper = |seen: &claw_testkit::fake_api::RecordedRequest| {
        !seen.body["messages"].to_string().contains("part 0")
    };
    assert!(lab.api.message_requests().iter().any(of_a_helper), "sub-agents were at work");
}
