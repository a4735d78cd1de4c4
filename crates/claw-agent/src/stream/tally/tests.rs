use claw_core::FailureKind;
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::stream::parse_line;

const FINE: Option<Exit> = Some(Exit { code: 0, out_of_memory: false });

fn tally(lines: &[Value]) -> RunTally {
    let mut tally = RunTally::default();
    for line in lines {
        for event in parse_line(line.to_string().as_bytes()) {
            tally.event(&event);
        }
    }
    tally
}

fn verdict(lines: &[Value]) -> Verdict {
    tally(lines).verdict(FINE, None, None)
}

fn says(text: &str) -> Value {
    json!({"type": "assistant", "message": {"content": [{"type": "text", "text": text}]}})
}

fn writes(id: &str, file: &str) -> Value {
    json!({"type": "assistant", "message": {"content": [
        {"type": "tool_use", "id": id, "name": "Write", "input": {"file_path": file}}]}})
}

fn answered(id: &str, is_error: bool) -> Value {
    json!({"type": "user", "message": {"content": [
        {"type": "tool_result", "tool_use_id": id, "content": "x", "is_error": is_error}]}})
}

fn ends(more: Value) -> Value {
    let mut result = json!({"type": "result", "subtype": "success", "is_error": false, "session_id": "s"});
    for (name, value) in more.as_object().expect("fields") {
        result[name] = value.clone();
    }
    result
}

fn kind(verdict: &Verdict) -> Option<FailureKind> {
    verdict.outcome.as_ref().err().map(|failure| failure.kind)
}

#[test]
fn a_result_without_error_and_exit_code_zero_is_a_success() {
    let verdict = verdict(&[says("working"), ends(json!({"result": "done", "num_turns": 3}))]);

    assert_eq!(verdict.outcome, Ok("done".into()));
    assert_eq!((verdict.session_id.as_deref(), verdict.num_turns), (Some("s"), Some(3)));
}

#[test]
fn r8_an_error_with_exit_code_zero_and_subtype_success_has_failed() {
    let verdict =
        verdict(&[ends(json!({"is_error": true, "result": "API Error: 500 x", "api_error_status": 500}))]);

    assert_eq!(kind(&verdict), Some(FailureKind::ModelUnavailable));
}

#[test]
fn exit_code_zero_without_a_result_was_interrupted() {
    assert_eq!(kind(&verdict(&[says("almost")])), Some(FailureKind::Killed));
}

#[test]
fn r8_a_good_result_with_a_bad_exit_code_has_failed() {
    let exit = Some(Exit { code: 137, out_of_memory: true });
    let verdict = tally(&[ends(json!({"result": "done"}))]).verdict(exit, None, None);

    assert_eq!(kind(&verdict), Some(FailureKind::Killed));
}

#[test]
fn turn_and_money_limits_are_told_apart() {
    let turns = verdict(&[ends(json!({"subtype": "error_max_turns", "is_error": true}))]);
    let money =
        verdict(&[ends(json!({"subtype": "error_max_budget_usd", "is_error": true, "total_cost_usd": 0.5}))]);

    assert_eq!((kind(&turns), kind(&money)), (Some(FailureKind::Agent), Some(FailureKind::Budget)));
    assert_eq!(money.cost_usd, Some(0.5));
}

#[test]
fn the_last_of_several_results_wins_and_their_costs_add_up() {
    let usage = |usd: f64| json!({"m": {"costUSD": usd}});
    let verdict = verdict(&[
        ends(json!({"result": "first", "model_usage_since_last_result": usage(0.5), "num_turns": 2})),
        ends(json!({"result": "second", "model_usage_since_last_result": usage(0.25), "num_turns": 1})),
    ]);

    assert_eq!(verdict.outcome, Ok("second".into()));
    assert_eq!((verdict.cost_usd, verdict.num_turns), (Some(0.75), Some(3)));
}

#[test]
fn the_cost_of_a_resumed_run_is_what_was_added_to_the_sessions_total() {
    let cost = |total: f64, previous| {
        tally(&[ends(json!({"result": "x", "total_cost_usd": total}))]).verdict(FINE, None, previous).cost_usd
    };

    assert_eq!(cost(0.75, Some(0.5)), Some(0.25));
    assert_eq!(cost(0.25, Some(0.5)), Some(0.25), "a total that fell began anew with the process");
    assert_eq!(cost(0.75, None), Some(0.75));
}

#[test]
fn an_empty_result_is_replaced_by_what_was_said_and_written() {
    let verdict = verdict(&[
        says("one"),
        writes("a", "/w/b.txt"),
        answered("a", false),
        writes("b", "/w/a.txt"),
        answered("b", false),
        writes("c", "/w/refused.txt"),
        answered("c", true),
        says("two"),
        ends(json!({"result": ""})),
    ]);

    assert_eq!(verdict.outcome, Ok("one\n\ntwo\n\nFiles written:\n- /w/a.txt\n- /w/b.txt".into()));
    assert_eq!(verdict.files_written, ["/w/a.txt", "/w/b.txt"]);
}

#[test]
fn text_of_the_cli_itself_and_of_sub_agents_is_not_the_agents() {
    let synthetic = json!({"type": "assistant", "message": {"model": "<synthetic>",
        "content": [{"type": "text", "text": "API Error: 401"}]}});
    let sub_agent = json!({"type": "assistant", "parent_tool_use_id": "t",
        "message": {"content": [{"type": "text", "text": "from below"}]}});

    let verdict = verdict(&[synthetic, sub_agent, says("mine")]);

    assert_eq!(verdict.partial_text, "mine");
}

#[test]
fn refusals_are_listed_once() {
    let denied = json!({"tool_name": "Bash", "tool_use_id": "t"});
    let event =
        json!({"type": "system", "subtype": "permission_denied", "tool_name": "Bash", "tool_use_id": "t"});

    let verdict = verdict(&[event, ends(json!({"result": "x", "permission_denials": [denied]}))]);

    assert_eq!(
        verdict.permission_denials,
        [Denial { tool_name: "Bash".into(), tool_use_id: Some("t".into()) }]
    );
}

#[test]
fn the_end_of_standard_error_explains_an_early_exit() {
    let mut tally = RunTally::default();
    tally.stderr_line("noise ".repeat(2_000).as_bytes());
    tally.stderr_line(b"error: unknown option '--x'");

    let verdict = tally.verdict(Some(Exit { code: 1, out_of_memory: false }), None, None);

    let failure = verdict.outcome.expect_err("the run failed");
    assert_eq!(failure.kind, FailureKind::Agent);
    assert!(failure.message.ends_with("error: unknown option '--x'"), "{}", failure.message);
}

proptest! {
    // Each case makes tens of kilobytes of text.
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_replacement_text_is_bounded_and_cut_between_characters(texts in prop::collection::vec("[äb€]{0,9000}", 1..8)) {
        let lines: Vec<Value> = texts.iter().map(|text| says(text)).collect();
        let text = verdict(&lines).partial_text;

        prop_assert!(text.len() <= MAX_FALLBACK_BYTES);
        if texts.iter().map(String::len).sum::<usize>() > MAX_FALLBACK_BYTES {
            prop_assert!(text.ends_with(CUT_NOTE));
        }
    }
}
