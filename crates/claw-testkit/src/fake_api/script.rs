//! The script in a prompt: `FAKE:` followed by a JSON array of steps, one step for each assistant turn.
//!
//! What is answered follows from the conversation in the request alone. The newest user text that holds a script counts,
//! and the number of assistant messages after it says which step is due. So one server plays for many clients at once,
//! across tool turns, continued sessions and sub-agents (whose prompt carries a script of its own).

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

const MARK: &str = "FAKE:";

/// One answer of the model, as written in a script.
///
/// An unknown field is an error, so that a misspelled script fails loudly instead of answering something else.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Step {
    /// The answer's text.
    pub(crate) text: Option<String>,
    /// The name of one tool to call.
    tool: Option<String>,
    /// The input of `tool`.
    input: Option<Value>,
    /// Several tools to call in one answer.
    #[serde(default)]
    tools: Vec<ToolCall>,
    /// A thinking block before the text.
    pub(crate) thinking: Option<String>,
    /// Answers with a summary of the request: model, tool names, number of messages.
    #[serde(default)]
    pub(crate) echo: bool,
    /// Seconds before the first byte.
    #[serde(default)]
    pub(crate) delay: f64,
    /// Seconds between the words of the text, which then arrive one by one.
    #[serde(default)]
    pub(crate) chunk_delay: f64,
    /// Waits before the first byte until the test releases this name.
    ///
    /// A step that holds and does nothing else uses up no turn: the next step waits.
    hold: Option<String>,
    /// All names to wait for, those of steps before this one that only hold included.
    #[serde(skip)]
    pub(crate) holds: Vec<String>,
    /// Waits after the first word of the text until the test releases this name.
    pub(crate) hold_after_first_word: Option<String>,
    /// Token counts that replace the usual ones.
    #[serde(default)]
    pub(crate) usage: BTreeMap<String, Value>,
    /// The stop reason, if not `end_turn` or `tool_use`.
    pub(crate) stop_reason: Option<String>,
    /// The model that claims to have answered.
    pub(crate) model: Option<String>,
    /// A fault of the stream.
    pub(crate) stream: Option<StreamFault>,
    /// Seconds for which a hanging stream hangs.
    pub(crate) seconds: Option<f64>,
    /// An HTTP status to answer with instead of a message.
    pub(crate) error: Option<u16>,
    /// How often this step comes before the next one; negative means always. Such a step uses up no turn.
    pub(crate) times: Option<i64>,
    /// The error's `type` field.
    #[serde(rename = "type")]
    pub(crate) kind: Option<String>,
    /// The error's sentence.
    pub(crate) message: Option<String>,
    /// The `retry-after` header of an error.
    pub(crate) retry_after: Option<Value>,
    /// Further headers of an error.
    #[serde(default)]
    pub(crate) headers: BTreeMap<String, String>,
    /// The `x-should-retry` header of an error.
    pub(crate) should_retry: Option<Value>,
    /// The error's body is a proxy's HTML page.
    #[serde(default)]
    pub(crate) html: bool,
}

/// One tool call of an answer.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ToolCall {
    tool: String,
    #[serde(default)]
    input: Option<Value>,
}

/// In which way a stream is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum StreamFault {
    /// Bytes that are no event stream.
    Garbage,
    /// Status 200 and nothing more.
    Empty,
    /// A data line that is cut inside its JSON, then an orderly end.
    BadJson,
    /// The connection closes after the first piece of text.
    Truncate,
    /// The connection is reset before the first byte of the answer.
    Reset,
    /// `message_start`, then silence, then the connection closes.
    Hang,
    /// `message_start`, then an `error` event.
    ErrorEvent,
    /// Everything but `message_delta` and `message_stop`.
    NoMessageStop,
}

impl Step {
    /// Returns whether this step says anything to the client.
    pub(crate) fn says_something(&self) -> bool {
        self.text.is_some()
            || self.echo
            || self.thinking.is_some()
            || self.tool.is_some()
            || !self.tools.is_empty()
            || self.error.is_some()
            || self.stream.is_some()
    }

    /// Returns the tool calls of this step as (name, input), in order.
    pub(crate) fn tool_calls(&self) -> impl Iterator<Item = (&str, Value)> {
        let empty = || Value::Object(serde_json::Map::new());
        let one = self.tool.as_deref().map(|name| (name, self.input.clone().unwrap_or_else(empty)));
        let many =
            self.tools.iter().map(move |call| (call.tool.as_str(), call.input.clone().unwrap_or_else(empty)));
        one.into_iter().chain(many)
    }
}

/// A script found in a conversation, and how far it has been played.
#[derive(Debug)]
pub(crate) struct Script {
    /// The array as text: the same script in the same session counts its `times` together.
    pub(crate) key: String,
    steps: Vec<Step>,
    turns: usize,
}

impl Script {
    /// Finds the newest script in the `messages` of a request.
    ///
    /// Only user texts count. The CLI also sends entries with `role: "system"` inside `messages` (environment, lists of
    /// skills and agents), `<system-reminder>` blocks in front of the prompt's own block, and tool results as
    /// `tool_result` blocks: none of them hides a script that follows, and tool results are never read.
    ///
    /// # Errors
    ///
    /// Returns a sentence when the newest `FAKE:[…]` is JSON but not a list of known steps.
    pub(crate) fn find(messages: &[Value]) -> Result<Option<Self>, String> {
        for (index, message) in messages.iter().enumerate().rev() {
            if message["role"] != "user" {
                continue;
            }
            if let Some(value) = texts(message).iter().rev().find_map(|text| newest_array(text)) {
                let steps = Vec::<Step>::deserialize(&value)
                    .map_err(|error| format!("the FAKE script in the prompt is not valid: {error}"))?;
                let steps = with_holds(steps);
                let turns =
                    messages[index + 1..].iter().filter(|message| message["role"] == "assistant").count();
                return Ok(Some(Self { key: value.to_string(), steps, turns }));
            }
        }
        Ok(None)
    }

    /// Returns the step that is due, or nothing when the script has been played to its end.
    ///
    /// `times_seen` counts, for a step with `times`, how often it has come including now.
    pub(crate) fn due(&self, mut times_seen: impl FnMut(usize) -> i64) -> Option<&Step> {
        let mut turn = 0;
        for (index, step) in self.steps.iter().enumerate() {
            match step.times {
                Some(times) if turn == self.turns => {
                    if times < 0 || times_seen(index) <= times {
                        return Some(step);
                    }
                }
                Some(_) => {}
                None if turn == self.turns => return Some(step),
                None => turn += 1,
            }
        }
        None
    }
}

/// Gives each step its names to wait for, and drops the steps that only hold.
fn with_holds(steps: Vec<Step>) -> Vec<Step> {
    let mut folded = Vec::new();
    let mut waiting = Vec::new();
    for mut step in steps {
        waiting.extend(step.hold.take());
        if step.says_something() || waiting.is_empty() {
            step.holds = std::mem::take(&mut waiting);
            folded.push(step);
        }
    }
    if !waiting.is_empty() {
        folded.push(Step { holds: waiting, ..Step::default() });
    }
    folded
}

/// Returns the texts of a message, in order.
fn texts(message: &Value) -> Vec<&str> {
    match &message["content"] {
        Value::String(text) => vec![text],
        Value::Array(blocks) => blocks
            .iter()
            .filter(|block| block["type"] == "text")
            .filter_map(|block| block["text"].as_str())
            .collect(),
        _ => Vec::new(),
    }
}

/// Returns the last JSON array that follows a mark; text around it does not matter.
fn newest_array(text: &str) -> Option<Value> {
    text.rmatch_indices(MARK).find_map(|(at, _)| {
        let rest = text[at + MARK.len()..].trim_start();
        let parsed = rest
            .starts_with('[')
            .then(|| serde_json::Deserializer::from_str(rest).into_iter::<Value>().next())??;
        parsed.ok()
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn due_text(messages: Value) -> Option<String> {
        let messages = messages.as_array().expect("messages are an array");
        let script = Script::find(messages).expect("the script is valid")?;
        Some(script.due(|_| 1)?.text.clone().unwrap_or_default())
    }

    #[test]
    fn the_step_due_is_the_number_of_assistant_turns_after_the_script() {
        let mut messages =
            vec![json!({"role": "user", "content": r#"go FAKE:[{"text":"a"},{"text":"b"}] please"#})];
        for expected in [Some("a"), Some("b"), None] {
            assert_eq!(due_text(json!(messages)).as_deref(), expected);
            messages.push(json!({"role": "assistant", "content": []}));
            messages
                .push(json!({"role": "user", "content": [{"type": "tool_result", "content": "FAKE:[]"}]}));
        }
    }

    #[test]
    fn system_entries_and_reminders_do_not_hide_the_prompt() {
        let messages = json!([
            {"role": "user", "content": [
                {"type": "text", "text": "<system-reminder>notes of FAKE: steps</system-reminder>"},
                {"type": "text", "text": r#"FAKE: [{"text":"mine"}]"#},
            ]},
            {"role": "system", "content": "environment FAKE:[{\"text\":\"not mine\"}]"},
        ]);

        assert_eq!(due_text(messages).as_deref(), Some("mine"));
    }

    #[test]
    fn the_newest_script_of_a_conversation_counts() {
        let messages = json!([
            {"role": "user", "content": r#"FAKE:[{"text":"old"}]"#},
            {"role": "assistant", "content": "old"},
            {"role": "user", "content": r#"FAKE:[{"text":"new"}]"#},
        ]);

        assert_eq!(due_text(messages).as_deref(), Some("new"));
    }

    #[test]
    fn a_step_with_times_uses_up_no_turn() {
        let messages =
            [json!({"role": "user", "content": r#"FAKE:[{"error":529,"times":2},{"text":"fine"}]"#})];
        let script = Script::find(&messages).expect("valid").expect("found");

        let statuses: Vec<_> =
            (1..=3).map(|seen| script.due(|_| seen).expect("a step is due").error).collect();

        assert_eq!(statuses, [Some(529), Some(529), None]);
    }

    #[test]
    fn a_step_that_only_holds_makes_the_next_one_wait() {
        let messages = [json!({"role": "user", "content": r#"FAKE:[{"hold":"gate"},{"text":"after"}]"#})];
        let script = Script::find(&messages).expect("valid").expect("found");

        let step = script.due(|_| 1).expect("a step is due");

        assert_eq!(
            (step.holds.as_slice(), step.text.as_deref()),
            (["gate".to_owned()].as_slice(), Some("after"))
        );
    }

    #[test]
    fn a_misspelled_step_is_named() {
        let messages = [json!({"role": "user", "content": r#"FAKE:[{"txet":"a"}]"#})];

        let error = Script::find(&messages).expect_err("the step is unknown");

        assert!(error.contains("txet"), "{error}");
    }
}
