//! From a step to an answer: plain JSON, an error, or the list of actions that make up a stream. No input or output here.

use std::time::Duration;

use bytes::Bytes;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::script::{Step, StreamFault};

/// The longest that a step may wait by its own wish, so that a mistake in a script does not hold a test run for hours.
const LONGEST_WAIT: Duration = Duration::from_secs(600);
/// How long a hanging stream hangs unless the step says otherwise: longer than any client's patience.
const HANG: Duration = Duration::from_secs(300);

/// What a stream does next.
#[derive(Clone, Debug)]
pub(crate) enum Action {
    /// Sends these bytes.
    Send(Bytes),
    /// Waits for this long.
    Sleep(Duration),
    /// Waits until the test releases this name.
    Hold(String),
    /// Ends the connection without the end of the body.
    Abort,
}

/// What is answered to a call for a message.
#[derive(Debug)]
pub(crate) enum Answer {
    /// A JSON document.
    Json(Value),
    /// An HTTP error.
    Error(ErrorAnswer),
    /// An event stream.
    Stream(Vec<Action>),
    /// No answer: the connection is reset.
    Reset,
}

/// An HTTP error in the protocol's form.
#[derive(Debug)]
pub(crate) struct ErrorAnswer {
    /// The HTTP status.
    pub(crate) status: u16,
    /// Additional headers.
    pub(crate) headers: Vec<(String, String)>,
    /// The content type of `body`.
    pub(crate) content_type: &'static str,
    /// The body.
    pub(crate) body: String,
}

impl ErrorAnswer {
    /// Returns the error with this status and sentence.
    pub(crate) fn new(status: u16, message: &str) -> Self {
        Self::typed(status, error_type(status), message)
    }

    fn typed(status: u16, kind: &str, message: &str) -> Self {
        let body =
            json!({"type": "error", "error": {"type": kind, "message": message}, "request_id": "req_fake"});
        Self { status, headers: Vec::new(), content_type: "application/json", body: body.to_string() }
    }

    fn of(status: u16, step: &Step) -> Self {
        let message = step.message.clone().unwrap_or_else(|| format!("fake error {status}"));
        let mut answer = Self::typed(status, step.kind.as_deref().unwrap_or(error_type(status)), &message);
        if step.html {
            answer.content_type = "text/html";
            answer.body = "<html><body>Bad gateway</body></html>".to_owned();
        }
        let header = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        answer
            .headers
            .extend(step.retry_after.as_ref().map(|value| ("retry-after".to_owned(), header(value))));
        answer
            .headers
            .extend(step.should_retry.as_ref().map(|value| ("x-should-retry".to_owned(), header(value))));
        answer.headers.extend(step.headers.clone());
        answer
    }
}

/// Returns the protocol's name for an HTTP status.
fn error_type(status: u16) -> &'static str {
    match status {
        400 => "invalid_request_error",
        401 => "authentication_error",
        403 => "permission_error",
        404 => "not_found_error",
        413 => "request_too_large",
        429 => "rate_limit_error",
        529 => "overloaded_error",
        _ => "api_error",
    }
}

/// Returns a wait of `seconds`, bounded; anything that is not a positive number is no wait.
pub(crate) fn wait(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds).unwrap_or_default().min(LONGEST_WAIT)
}

/// Returns the answer that `step` asks for to the request `body`.
pub(crate) fn answer(step: &Step, body: &Value) -> Answer {
    if let Some(status) = step.error {
        return Answer::Error(ErrorAnswer::of(status, step));
    }
    if step.stream == Some(StreamFault::Reset) {
        return Answer::Reset;
    }
    let message = Message::new(step, body);
    if body["stream"] == true {
        Answer::Stream(stream(step, &message))
    } else {
        Answer::Json(message.whole())
    }
}

/// A whole message, before it is cut into events.
struct Message {
    id: String,
    model: Value,
    blocks: Vec<Value>,
    stop_reason: String,
    usage: Map<String, Value>,
}

impl Message {
    fn new(step: &Step, body: &Value) -> Self {
        let mut blocks = Vec::new();
        if let Some(thinking) = &step.thinking {
            blocks.push(json!({"type": "thinking", "thinking": thinking, "signature": "ZmFrZQ=="}));
        }
        let text = if step.echo { Some(echo(body)) } else { step.text.clone() };
        blocks.extend(text.map(|text| json!({"type": "text", "text": text})));
        let mut stop_reason = "end_turn";
        for (name, input) in step.tool_calls() {
            blocks.push(json!({"type": "tool_use", "id": id("toolu"), "name": name, "input": input}));
            stop_reason = "tool_use";
        }
        let mut usage = Map::new();
        for (key, count) in [
            ("input_tokens", 100),
            ("cache_creation_input_tokens", 0),
            ("cache_read_input_tokens", 0),
            ("output_tokens", 20),
        ] {
            usage.insert(key.to_owned(), json!(count));
        }
        usage.extend(step.usage.clone());
        Self {
            id: id("msg"),
            model: match &step.model {
                Some(model) => json!(model),
                None if body["model"].is_string() => body["model"].clone(),
                None => json!("claude-fake"),
            },
            blocks,
            stop_reason: step.stop_reason.clone().unwrap_or_else(|| stop_reason.to_owned()),
            usage,
        }
    }

    fn whole(&self) -> Value {
        json!({
            "id": self.id, "type": "message", "role": "assistant", "model": self.model, "content": self.blocks,
            "stop_reason": self.stop_reason, "stop_sequence": null, "usage": self.usage,
        })
    }

    /// The message as `message_start` tells it: no content yet, and one output token.
    fn start(&self) -> Value {
        let mut usage = self.usage.clone();
        usage.insert("output_tokens".to_owned(), json!(1));
        json!({
            "id": self.id, "type": "message", "role": "assistant", "model": self.model, "content": [],
            "stop_reason": null, "stop_sequence": null, "usage": usage,
        })
    }
}

fn id(prefix: &str) -> String {
    let hex = Uuid::new_v4().simple().to_string();
    format!("{prefix}_{}", &hex[..24])
}

fn echo(body: &Value) -> String {
    let names: Vec<&Value> =
        body["tools"].as_array().into_iter().flatten().map(|tool| &tool["name"]).collect();
    let messages = body["messages"].as_array().map_or(0, Vec::len);
    json!({"model": body["model"], "messages": messages, "tools": names}).to_string()
}

fn event(name: &str, data: Value) -> Action {
    let mut whole = Map::new();
    whole.insert("type".to_owned(), json!(name));
    if let Value::Object(fields) = data {
        whole.extend(fields);
    }
    Action::Send(Bytes::from(format!("event: {name}\ndata: {}\n\n", Value::Object(whole))))
}

fn stream(step: &Step, message: &Message) -> Vec<Action> {
    match step.stream {
        Some(StreamFault::Garbage) => {
            return vec![Action::Send(Bytes::from_static(b"this is not sse at all\n\n<<<>>>\n\n"))];
        }
        Some(StreamFault::Empty) => return Vec::new(),
        _ => {}
    }
    let mut actions = vec![event("message_start", json!({"message": message.start()}))];
    match step.stream {
        Some(StreamFault::ErrorEvent) => {
            let kind = step.kind.as_deref().unwrap_or("overloaded_error");
            actions.push(event("error", json!({"error": {"type": kind, "message": "Overloaded"}})));
            return actions;
        }
        Some(StreamFault::Hang) => {
            actions.extend([Action::Sleep(step.seconds.map_or(HANG, wait)), Action::Abort]);
            return actions;
        }
        Some(StreamFault::BadJson) => {
            actions.push(Action::Send(Bytes::from_static(
                b"event: content_block_start\ndata: {\"type\": \"content_block_start\", \"index\": 0, \n\n",
            )));
            return actions;
        }
        _ => {}
    }
    for (index, block) in message.blocks.iter().enumerate() {
        let start = match block["type"].as_str() {
            Some("text") => json!({"type": "text", "text": ""}),
            Some("thinking") => json!({"type": "thinking", "thinking": "", "signature": ""}),
            _ => json!({"type": "tool_use", "id": block["id"], "name": block["name"], "input": {}}),
        };
        actions.push(event("content_block_start", json!({"index": index, "content_block": start})));
        let delta = |delta: Value| event("content_block_delta", json!({"index": index, "delta": delta}));
        match block["type"].as_str() {
            Some("text") => {
                let text = block["text"].as_str().unwrap_or_default();
                for (position, piece) in pieces(step, text).into_iter().enumerate() {
                    if position > 0 && step.chunk_delay > 0.0 {
                        actions.push(Action::Sleep(wait(step.chunk_delay)));
                    }
                    actions.push(delta(json!({"type": "text_delta", "text": piece})));
                    if step.stream == Some(StreamFault::Truncate) {
                        actions.push(Action::Abort);
                        return actions;
                    }
                    if position == 0 {
                        actions.extend(step.hold_after_first_word.clone().map(Action::Hold));
                    }
                }
            }
            Some("thinking") => {
                actions.push(delta(json!({"type": "thinking_delta", "thinking": block["thinking"]})));
                actions.push(delta(json!({"type": "signature_delta", "signature": block["signature"]})));
            }
            _ => {
                let input = block["input"].to_string();
                actions.push(delta(json!({"type": "input_json_delta", "partial_json": input})));
            }
        }
        actions.push(event("content_block_stop", json!({"index": index})));
    }
    if step.stream != Some(StreamFault::NoMessageStop) {
        let delta = json!({"stop_reason": message.stop_reason, "stop_sequence": null});
        let usage = json!({"output_tokens": message.usage["output_tokens"]});
        actions.push(event("message_delta", json!({"delta": delta, "usage": usage})));
        actions.push(event("message_stop", json!({})));
    }
    actions
}

/// Cuts a text into the pieces that are sent one by one: words with the space after them, or the text as a whole.
fn pieces<'text>(step: &Step, text: &'text str) -> Vec<&'text str> {
    if step.chunk_delay <= 0.0 && step.hold_after_first_word.is_none() {
        return vec![text];
    }
    let mut pieces = Vec::new();
    let mut start = 0;
    let mut after_space = false;
    for (at, character) in text.char_indices() {
        if after_space && !character.is_whitespace() {
            pieces.push(&text[start..at]);
            start = at;
        }
        after_space = character.is_whitespace();
    }
    pieces.push(&text[start..]);
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    fn events(step: Value, stream: bool) -> Vec<String> {
        let step: Step = serde_json::from_value(step).expect("the step is valid");
        match answer(&step, &json!({"stream": stream})) {
            Answer::Stream(actions) => actions
                .into_iter()
                .map(|action| match action {
                    Action::Send(bytes) => {
                        let text = String::from_utf8(bytes.to_vec()).expect("events are text");
                        text.lines().next().unwrap_or_default().trim_start_matches("event: ").to_owned()
                    }
                    Action::Sleep(duration) => format!("sleep {}", duration.as_millis()),
                    Action::Hold(name) => format!("hold {name}"),
                    Action::Abort => "abort".to_owned(),
                })
                .collect(),
            other => vec![format!("{other:?}")],
        }
    }

    #[test]
    fn a_text_is_streamed_in_the_order_of_the_protocol() {
        let whole = [
            "message_start",
            "content_block_start",
            "content_block_delta",
            "content_block_stop",
            "message_delta",
            "message_stop",
        ];
        assert_eq!(events(json!({"text": "one two"}), true), whole);
        assert_eq!(events(json!({"text": "x", "stream": "no_message_stop"}), true), whole[..4]);
    }

    #[test]
    fn a_paced_text_arrives_word_by_word() {
        let sent = events(json!({"text": "one two three", "chunk_delay": 0.25}), true);

        assert_eq!(sent.iter().filter(|event| *event == "content_block_delta").count(), 3);
        assert_eq!(sent.iter().filter(|event| *event == "sleep 250").count(), 2);
    }

    #[test]
    fn each_fault_breaks_the_stream_in_its_own_way() {
        for (fault, last) in [
            ("garbage", "this is not sse at all"),
            ("bad_json", "content_block_start"),
            ("truncate", "abort"),
            ("hang", "abort"),
            ("error_event", "error"),
        ] {
            let sent = events(json!({"text": "x", "stream": fault}), true);
            assert_eq!(sent.last().map(String::as_str), Some(last), "{fault}");
        }
        assert!(events(json!({"text": "x", "stream": "empty"}), true).is_empty());
        assert_eq!(events(json!({"text": "x", "stream": "reset"}), true), ["Reset"]);
    }

    #[test]
    fn a_waiting_step_waits_no_longer_than_the_bound() {
        assert_eq!(wait(1e12), LONGEST_WAIT);
        assert_eq!(wait(f64::INFINITY), Duration::ZERO);
        assert_eq!(wait(-1.0), Duration::ZERO);
    }

    #[test]
    fn without_stream_the_answer_is_one_document() {
        let step: Step =
            serde_json::from_value(json!({"tool": "Bash", "input": {"command": "pwd"}})).expect("valid");

        let Answer::Json(message) = answer(&step, &json!({"model": "m"})) else {
            panic!("expected a document")
        };

        assert_eq!(message["stop_reason"], "tool_use");
        assert_eq!(message["content"][0]["input"]["command"], "pwd");
        assert_eq!(message["model"], "m");
    }
}
