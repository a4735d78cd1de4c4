//! What a call gave, or why it failed.

use claw_client::ClientError;
use claw_core::{Coded as _, ErrorCode, untrusted};
use serde_json::{Value, json};

use crate::tools::text;

/// Longest JSON text of a list: the containers of a large house many times over.
const MOST_LIST_BYTES: usize = 256 * 1024;

/// Longest text of a failure. What the server says is cut to 512 bytes before.
const MOST_FAILURE_BYTES: u64 = 2048;

/// What a call gave.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// For the model and for clients that know no structured results.
    pub text: String,
    /// The same as data; fits the tool's output schema.
    pub structured: Value,
    /// What the model should know beside the text, which is a contract with older clients and stays as it is: where the
    /// text comes from, what was left out of it. A content block of its own, the last one.
    pub note: Option<String>,
}

impl Outcome {
    /// Returns an outcome that needs no note.
    pub fn new(text: impl Into<String>, structured: Value) -> Self {
        Self { text: text.into(), structured, note: None }
    }

    /// Returns an outcome that is an object: its JSON is the text.
    pub fn object(mut object: Value) -> Self {
        text::clean_value(&mut object);
        Self::new(pretty(&object), object)
    }

    /// Returns an outcome that is a list: its JSON is the text, and structured results, which must be objects, hold it
    /// under `name`. More than anybody can read is left out.
    pub fn list(name: &str, mut list: Vec<Value>) -> Self {
        list.iter_mut().for_each(text::clean_value);
        let all = list.len();
        let mut room = MOST_LIST_BYTES;
        let fits = list.iter().take_while(|entry| {
            // Two spaces of indentation for each line are small beside the entry.
            let size = pretty(entry).len() + 2;
            let fits = size <= room;
            room = room.saturating_sub(size);
            fits
        });
        let shown = fits.count();
        list.truncate(shown);
        let note = (shown < all).then(|| format!("Only the first {shown} of {all} are shown."));
        Self { text: pretty(&json!(list)), structured: json!({ name: list }), note }
    }

    /// Adds what the model should know beside the text.
    pub fn noting(self, note: impl Into<String>) -> Self {
        Self { note: Some(joined(self.note, note.into())), ..self }
    }
}

fn joined(before: Option<String>, note: String) -> String {
    match before {
        Some(before) => format!("{before} {note}"),
        None => note,
    }
}

/// Returns the JSON text of a value, indented by two spaces.
pub(crate) fn pretty(value: &Value) -> String {
    // A value that is in memory always has a JSON text.
    serde_json::to_string_pretty(value).unwrap_or_default()
}

/// A call that failed, in words for the model: a tool result with `isError`, not a protocol error.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct Failure {
    /// What went wrong, in the words that older clients know.
    pub text: String,
    /// What to do, if there is more to say. A content block of its own, the last one.
    pub note: Option<String>,
}

impl Failure {
    /// Returns a failure with this text. What others wrote may be part of it.
    pub fn new(text: impl Into<String>) -> Self {
        // On one line, so that no name in it can begin one.
        let text = text.into().replace(['\n', '\r'], " ");
        Self { text: text::Excerpt::of(&text, text::Keep::Beginning, MOST_FAILURE_BYTES).text, note: None }
    }

    /// Adds what to do, or what else to know.
    pub fn noting(self, note: impl Into<String>) -> Self {
        Self { note: Some(joined(self.note, note.into())), ..self }
    }

    /// A call of the REST API that failed: `Failed to <verb phrase>: <cause>`, the cause in the words of the original.
    pub fn of(verb_phrase: &str, error: &ClientError) -> Self {
        let failure = Self::new(format!("Failed to {verb_phrase}: {}", cause(error)));
        Self { note: hint(error), ..failure }
    }
}

/// What went wrong, in the words of the original.
fn cause(error: &ClientError) -> String {
    match (error.status(), error.body()) {
        (Some(status), Some(body)) if !(200..300).contains(&status) => format!("HTTP {status}: {body}"),
        (Some(_), Some(_)) => {
            let code = error.server_code().unwrap_or(error.code().as_str());
            format!("{code}: {}", error.message())
        }
        _ if error.code() == ErrorCode::UnexpectedAnswer => format!("decode response: {}", error.message()),
        _ if error.code() == ErrorCode::ServerUnreachable => format!("execute request: {}", error.message()),
        _ => format!("{}: {}", error.code().as_str(), error.message()),
    }
}

/// What to do about it, where the server's words do not say so.
fn hint(error: &ClientError) -> Option<String> {
    match error.code() {
        ErrorCode::ScopeRequired => Some(format!(
            "The API key lacks a permission: {}. Do not look for a way around it: tell the user. Whoever administers the \
             server can add the scope to the key, and the call works from then on.",
            untrusted::clean_line(error.message(), 200),
        )),
        ErrorCode::Protected | ErrorCode::PolicyRefused | ErrorCode::BlockedVolume => Some(
            "The server does not allow this to anybody. Do not look for a way around it: tell the user."
                .into(),
        ),
        ErrorCode::InvalidKey | ErrorCode::ApiKeyRequired => Some(
            "The API key is wrong, expired or revoked: the user must give this client another one.".into(),
        ),
        _ => error.retry_after().map(|pause| format!("Try again in {} seconds.", pause.as_secs().max(1))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_of_lists_are_indented_by_two_spaces() {
        let outcome = Outcome::list("things", vec![json!({ "a": 1 })]);

        assert_eq!(outcome.text, "[\n  {\n    \"a\": 1\n  }\n]");
        assert_eq!(outcome.structured, json!({ "things": [{ "a": 1 }] }));
        assert_eq!(outcome.note, None);
    }

    #[test]
    fn d19_a_list_without_end_has_one() {
        let entry = json!({ "name": "x".repeat(1000) });

        let outcome = Outcome::list("things", vec![entry; 1000]);

        assert!(outcome.text.len() <= MOST_LIST_BYTES + 4096, "{}", outcome.text.len());
        let shown = outcome.structured["things"].as_array().expect("a list").len();
        assert!(shown > 200, "{shown}");
        assert_eq!(outcome.note, Some(format!("Only the first {shown} of 1000 are shown.")));
    }

    #[test]
    fn t11_words_of_failures_are_cleaned_and_bounded() {
        let failure = Failure::new(format!("no such name: \u{1b}[2J\u{202e}x\n{}", "y".repeat(10_000)));

        assert!(failure.text.starts_with("no such name: x yyy"), "{}", failure.text);
        assert_eq!(failure.text.len(), 2048);
    }
}
