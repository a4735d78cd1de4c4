//! One line of stream-json as typed events.

use std::time::Duration;

use serde_json::{Map, Value};

/// Author of the messages that the CLI writes itself, such as the text of an API error.
const SYNTHETIC_MODEL: &str = "<synthetic>";

/// Something that happened in the run.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// A turn begins. Comes once per turn, so more than once in a run with background commands.
    Init {
        /// The session.
        session_id: Option<String>,
        /// The model in use.
        model: Option<String>,
        /// The CLI's version.
        cli_version: Option<String>,
    },
    /// The model said something.
    AssistantText {
        /// What it said.
        text: String,
        /// The tool call that runs the sub-agent that said it, if it was one.
        parent_tool_use_id: Option<String>,
    },
    /// The CLI itself said something in the model's place, such as an API error.
    SyntheticText {
        /// What it said.
        text: String,
    },
    /// The model thought.
    Thinking {
        /// What it thought.
        text: String,
    },
    /// The model called a tool.
    ToolUse {
        /// Names the call.
        id: String,
        /// The tool.
        name: String,
        /// What the tool was given.
        input: Value,
    },
    /// A tool answered.
    ToolResult {
        /// The call it answers.
        tool_use_id: String,
        /// Whether the tool failed.
        is_error: bool,
        /// The answer's text.
        text: String,
    },
    /// The model API failed and will be asked again.
    ApiRetry {
        /// Which try failed, from 1.
        attempt: u64,
        /// How many tries there will be at most.
        max_retries: u64,
        /// Pause before the next try.
        delay: Duration,
        /// HTTP status; `None` if there was no answer.
        status: Option<u16>,
        /// The CLI's word for it, such as `overloaded`.
        error: String,
    },
    /// A tool call was refused.
    PermissionDenied(Denial),
    /// A turn ended. The last one of a run is its result.
    Result(Box<ResultEvent>),
    /// Something this version does not know or need.
    Other {
        /// The line's `type`; empty if it has none.
        kind: String,
        /// The line's `subtype`.
        subtype: Option<String>,
    },
}

/// A tool call that was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denial {
    /// The tool.
    pub tool_name: String,
    /// The call.
    pub tool_use_id: Option<String>,
}

/// How a turn ended.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ResultEvent {
    /// `success`, `error_max_turns`, `error_max_budget_usd`, `error_during_execution` or another word. Alone it
    /// decides nothing: `success` goes along with `is_error` when the model API failed.
    pub subtype: String,
    /// Whether the turn failed.
    pub is_error: bool,
    /// The closing text; absent for error subtypes.
    pub text: Option<String>,
    /// What went wrong, for error subtypes.
    pub errors: Vec<String>,
    /// The session.
    pub session_id: Option<String>,
    /// Turns taken; tool results count.
    pub num_turns: Option<u64>,
    /// Cost in US dollars: of the process in some versions, of the whole session in others.
    pub total_cost_usd: Option<f64>,
    /// Cost in US dollars since the result before this one, in versions that tell.
    pub cost_since_last_result_usd: Option<f64>,
    /// Tool calls that were refused.
    pub permission_denials: Vec<Denial>,
    /// Why it ended: `completed`, `max_turns`, `budget_exhausted`, `api_error` and others.
    pub terminal_reason: Option<String>,
    /// HTTP status of the API error that ended it.
    pub api_error_status: Option<u16>,
}

/// Returns the events of one line: usually one, none for a line that is not a JSON object.
pub fn parse_line(line: &[u8]) -> Vec<Event> {
    // As readers of the log will see it: bytes that are no text must not hide what the rest of a line says.
    let line = String::from_utf8_lossy(line);
    let Ok(Value::Object(fields)) = serde_json::from_str(&line) else { return Vec::new() };
    let events = match (text(&fields, "type"), text(&fields, "subtype")) {
        (Some("system"), Some("init")) => vec![Event::Init {
            session_id: owned(&fields, "session_id"),
            model: owned(&fields, "model"),
            cli_version: owned(&fields, "claude_code_version"),
        }],
        (Some("system"), Some("api_retry")) => vec![api_retry(&fields)],
        (Some("system"), Some("permission_denied")) => {
            denial(&fields).map(Event::PermissionDenied).into_iter().collect()
        }
        (Some("assistant"), _) => assistant(&fields),
        (Some("user"), _) => blocks(&fields).filter_map(tool_result).collect(),
        (Some("result"), _) => vec![Event::Result(Box::new(result(&fields)))],
        _ => Vec::new(),
    };
    if events.is_empty() {
        let kind = owned(&fields, "type").unwrap_or_default();
        return vec![Event::Other { kind, subtype: owned(&fields, "subtype") }];
    }
    events
}

fn assistant(fields: &Map<String, Value>) -> Vec<Event> {
    let model = fields.get("message").and_then(|message| message.get("model")).and_then(Value::as_str);
    let synthetic = model == Some(SYNTHETIC_MODEL);
    let parent = owned(fields, "parent_tool_use_id");
    blocks(fields)
        .filter_map(|block| match text(block, "type")? {
            "text" if synthetic => Some(Event::SyntheticText { text: owned(block, "text")? }),
            "text" => {
                Some(Event::AssistantText { text: owned(block, "text")?, parent_tool_use_id: parent.clone() })
            }
            "thinking" => Some(Event::Thinking { text: owned(block, "thinking")? }),
            "tool_use" => Some(Event::ToolUse {
                id: owned(block, "id")?,
                name: owned(block, "name")?,
                input: block.get("input").cloned().unwrap_or_default(),
            }),
            _ => None,
        })
        .collect()
}

fn tool_result(block: &Map<String, Value>) -> Option<Event> {
    (text(block, "type")? == "tool_result").then_some(())?;
    Some(Event::ToolResult {
        tool_use_id: owned(block, "tool_use_id")?,
        is_error: flag(block, "is_error"),
        text: block.get("content").map(content_text).unwrap_or_default(),
    })
}

/// The text of a tool's answer, which is a string or a list of blocks.
fn content_text(content: &Value) -> String {
    match content {
        Value::String(text) => text.clone(),
        Value::Array(blocks) => {
            let texts: Vec<&str> = blocks.iter().filter_map(|block| block.get("text")?.as_str()).collect();
            texts.join("\n")
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => String::new(),
    }
}

fn api_retry(fields: &Map<String, Value>) -> Event {
    let delay_ms = fields.get("retry_delay_ms").and_then(Value::as_f64).unwrap_or_default();
    Event::ApiRetry {
        attempt: number(fields, "attempt").unwrap_or_default(),
        max_retries: number(fields, "max_retries").unwrap_or_default(),
        delay: Duration::try_from_secs_f64(delay_ms / 1000.0).unwrap_or_default(),
        status: status(fields, "error_status"),
        error: owned(fields, "error").unwrap_or_default(),
    }
}

fn result(fields: &Map<String, Value>) -> ResultEvent {
    ResultEvent {
        subtype: owned(fields, "subtype").unwrap_or_default(),
        is_error: flag(fields, "is_error"),
        text: owned(fields, "result"),
        errors: list(fields, "errors").filter_map(Value::as_str).map(str::to_owned).collect(),
        session_id: owned(fields, "session_id"),
        num_turns: number(fields, "num_turns"),
        total_cost_usd: fields.get("total_cost_usd").and_then(cost),
        cost_since_last_result_usd: fields
            .get("model_usage_since_last_result")
            .and_then(Value::as_object)
            .map(|models| {
                models
                    .values()
                    .filter_map(|usage| cost(usage.get("costUSD")?))
                    .fold(0.0, |sum, usd| sum + usd)
            }),
        permission_denials: list(fields, "permission_denials")
            .filter_map(Value::as_object)
            .filter_map(denial)
            .collect(),
        terminal_reason: owned(fields, "terminal_reason"),
        api_error_status: status(fields, "api_error_status"),
    }
}

fn denial(fields: &Map<String, Value>) -> Option<Denial> {
    Some(Denial { tool_name: owned(fields, "tool_name")?, tool_use_id: owned(fields, "tool_use_id") })
}

fn blocks(fields: &Map<String, Value>) -> impl Iterator<Item = &Map<String, Value>> {
    let content = fields.get("message").and_then(|message| message.get("content"));
    content.and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_object)
}

fn list<'a>(fields: &'a Map<String, Value>, name: &str) -> impl Iterator<Item = &'a Value> + use<'a> {
    fields.get(name).and_then(Value::as_array).into_iter().flatten()
}

fn text<'a>(fields: &'a Map<String, Value>, name: &str) -> Option<&'a str> {
    fields.get(name)?.as_str()
}

fn owned(fields: &Map<String, Value>, name: &str) -> Option<String> {
    text(fields, name).map(str::to_owned)
}

fn flag(fields: &Map<String, Value>, name: &str) -> bool {
    fields.get(name).and_then(Value::as_bool).unwrap_or_default()
}

fn number(fields: &Map<String, Value>, name: &str) -> Option<u64> {
    fields.get(name)?.as_u64()
}

fn status(fields: &Map<String, Value>, name: &str) -> Option<u16> {
    number(fields, name)?.try_into().ok()
}

/// An amount of money; one that is negative or not finite is no amount.
fn cost(value: &Value) -> Option<f64> {
    value.as_f64().filter(|usd| usd.is_finite() && *usd >= 0.0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_line_that_is_not_an_object_is_no_event() {
        for line in [&b"plain text"[..], b"", b"[1]", b"\xff\xfe", b"{\"type\":", b"3"] {
            assert_eq!(parse_line(line), []);
        }
    }

    #[test]
    fn unknown_kinds_are_kept_by_name() {
        assert_eq!(
            parse_line(br#"{"subtype":"glow","type":"system","x":{}}"#),
            [Event::Other { kind: "system".into(), subtype: Some("glow".into()) }]
        );
        assert_eq!(parse_line(b"{}"), [Event::Other { kind: String::new(), subtype: None }]);
    }

    #[test]
    fn bytes_that_are_no_text_do_not_hide_what_a_line_says_it_is() {
        // A reader of the log sees them replaced, and so the rest of the line as it is.
        let line = b"{\"type\":\"claw\",\"subtype\":\"run_failed\",\"error\":\"\xff\"}";

        assert_eq!(
            parse_line(line),
            [Event::Other { kind: "claw".into(), subtype: Some("run_failed".into()) }]
        );
    }

    #[test]
    fn every_content_block_of_a_message_becomes_an_event() {
        let line = br#"{"message":{"content":[{"type":"thinking","thinking":"hm"},{"type":"new"},
            {"text":"hi","type":"text"}]},"type":"assistant","parent_tool_use_id":"t"}"#;

        assert_eq!(
            parse_line(line),
            [
                Event::Thinking { text: "hm".into() },
                Event::AssistantText { text: "hi".into(), parent_tool_use_id: Some("t".into()) }
            ]
        );
    }

    #[test]
    fn fields_of_the_wrong_type_count_as_absent() {
        let line = br#"{"type":"result","is_error":"yes","result":7,"total_cost_usd":-1,"num_turns":-3,
            "permission_denials":{},"model_usage_since_last_result":[],"api_error_status":70000}"#;

        assert_eq!(parse_line(line), [Event::Result(Box::default())]);
    }

    #[test]
    fn cost_since_the_last_result_sums_all_models() {
        let line = br#"{"type":"result","model_usage_since_last_result":{"a":{"costUSD":0.5},"b":{"costUSD":0.25},"c":{}}}"#;

        let [Event::Result(result)] = &parse_line(line)[..] else { panic!("one result expected") };
        assert_eq!(result.cost_since_last_result_usd, Some(0.75));
    }

    fn json() -> impl Strategy<Value = Value> {
        let word = prop::sample::select(vec![
            "type",
            "subtype",
            "message",
            "content",
            "assistant",
            "user",
            "system",
            "result",
            "init",
            "api_retry",
            "text",
            "tool_use",
            "tool_result",
            "errors",
            "permission_denials",
            "model_usage_since_last_result",
            "id",
            "name",
            "input",
            "is_error",
            "retry_delay_ms",
            "x",
        ])
        .prop_map(str::to_owned);
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            word.clone().prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 40, 6, move |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
                prop::collection::vec((word.clone(), inner), 0..6)
                    .prop_map(|fields| Value::Object(fields.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #![proptest_config(crate::fuzz::cases())]

        #[test]
        fn no_bytes_make_the_parser_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            parse_line(&bytes);
        }

        #[test]
        fn no_json_makes_the_parser_panic(value in json()) {
            parse_line(value.to_string().as_bytes());
        }
    }
}
