use claw_core::TokenUsage;
use proptest::prelude::*;
use serde_json::json;

use super::*;

fn stream(events: &[Value]) -> String {
    let name = |event: &Value| event["type"].as_str().unwrap_or_default().to_owned();
    events.iter().map(|event| format!("event: {}\ndata: {event}\n\n", name(event))).collect()
}

fn start() -> Value {
    json!({"type": "message_start", "message": {"type": "message", "model": "claude-opus-5-5", "content": [],
        "usage": {"input_tokens": 100, "cache_read_input_tokens": 7, "output_tokens": 1}}})
}

fn text(text: &str) -> Value {
    json!({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": text}})
}

fn end() -> Value {
    json!({"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 20}})
}

fn tap(pieces: &[&[u8]]) -> Tap {
    let mut tap = Tap::default();
    pieces.iter().for_each(|piece| tap.push(piece));
    tap
}

fn tokens(reading: &Reading) -> Option<TokenUsage> {
    reading.usage.map(|usage| usage.tokens)
}

#[test]
fn a_stream_tells_its_input_at_its_beginning_and_the_rest_at_its_end() {
    let (first, rest) = (stream(&[start(), text("hi")]), stream(&[end(), json!({"type": "message_stop"})]));
    let mut tap = tap(&[first.as_bytes()]);

    let beginning = tap.beginning().expect("it began");
    let over_early = tap.is_over();
    tap.push(rest.as_bytes());

    assert!(!over_early && tap.is_over());
    let input = TokenUsage { input: 100, cache_read: 7, ..TokenUsage::default() };
    assert_eq!(beginning.model.as_deref(), Some("claude-opus-5-5"));
    assert_eq!(tokens(&beginning), Some(input));
    assert_eq!(tokens(&tap.end()), Some(TokenUsage { output: 20, ..input }));
}

#[test]
fn a_document_tells_all_at_its_end() {
    let document = json!({"model": "m", "usage": {"input_tokens": 3, "output_tokens": 4}, "type": "message"});
    let tap = tap(&[b" \n", document.to_string().as_bytes()]);

    assert!(tap.is_document() && tap.beginning().is_none());
    assert_eq!(tokens(&tap.end()), Some(TokenUsage { input: 3, output: 4, ..TokenUsage::default() }));
}

#[test]
fn what_was_written_is_estimated_if_the_answer_broke_off() {
    let output = |text: String| tokens(&tap(&[text.as_bytes()]).end()).map(|tokens| tokens.output);

    assert_eq!(output(stream(&[start(), text(&"x".repeat(300)), text(&"y".repeat(300))])), Some(200));
    let thought = json!({"type": "content_block_delta", "delta": {"type": "signature_delta", "signature": "x".repeat(30)}});
    assert_eq!(output(stream(&[start(), thought])), Some(10));
    assert_eq!(output(r#"{"type":"message","content":[{"ty"#.to_owned()), Some(11));
    assert_eq!(output(String::new()), None);
    assert_eq!(output(json!({"type": "error"}).to_string()), None);
}

#[test]
fn an_answer_without_counts_is_estimated() {
    let start = json!({"type": "message_start", "message": {"model": "m"}});
    let reading =
        tap(&[stream(&[start, text(&"x".repeat(30)), json!({"type": "message_stop"})]).as_bytes()]).end();

    assert_eq!(tokens(&reading).map(|tokens| tokens.output), Some(10));
}

#[test]
fn an_answer_too_large_to_be_read_is_estimated() {
    let piece = vec![b' '; 1 << 20];
    let mut tap = tap(&[b"{"]);
    (0..20).for_each(|_| tap.push(&piece));

    assert!(tokens(&tap.end()).expect("an estimate").output > 6_000_000);
}

fn event() -> impl Strategy<Value = String> {
    let known = prop::sample::select(vec![
        start(),
        text("some words"),
        end(),
        json!({"type": "message_stop"}),
        json!({"type": "ping"}),
        json!({"type": "message_delta", "usage": {"output_tokens": u64::MAX, "iterations": [{"input_tokens": 5}]}}),
        json!({"type": "message_start", "message": {"usage": "none"}}),
    ]);
    prop_oneof![
        4 => known.prop_map(|event| format!("event: x\r\ndata: {event}\r\n\r\n")),
        1 => "[ -~\r\n]{0,40}",
        1 => Just("data: {\"type\": \"message_delta\",\ndata: \"usage\": {\"output_tokens\": 9}}\n\n".to_owned()),
    ]
}

proptest! {
    #![proptest_config(crate::fuzz::cases())]

    #[test]
    fn fuzz_the_reading_is_the_same_however_the_bytes_are_cut(
        events in prop::collection::vec(event(), 0..8),
        tail in prop::collection::vec(any::<u8>(), 0..30),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
    ) {
        let mut bytes = events.concat().into_bytes();
        bytes.extend(tail);
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
        cuts.extend([0, bytes.len()]);
        cuts.sort_unstable();
        let pieces: Vec<&[u8]> = cuts.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect();
        let single: Vec<&[u8]> = bytes.chunks(1).collect();

        let whole = tap(&[&bytes]);
        let (in_pieces, in_bytes) = (tap(&pieces), tap(&single));

        prop_assert_eq!(whole.is_over(), in_pieces.is_over());
        prop_assert_eq!(whole.is_over(), in_bytes.is_over());
        let reading = whole.end();
        prop_assert_eq!(&reading, &in_pieces.end());
        prop_assert_eq!(&reading, &in_bytes.end());
    }

    #[test]
    fn fuzz_no_bytes_confuse_the_meter(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let reading = tap(&[&bytes]).end();
        let most = bytes.len() as u64;
        prop_assert!(reading.usage.is_none_or(|usage| usage.tokens.output <= most));
    }
}
