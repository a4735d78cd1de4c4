//! Lines of a job's log as a model reads them: what the agent said and did, without what the protocol wraps around it.

use claw_core::untrusted::clean_line;
use serde_json::Value;

/// Longest line of what a tool was given or gave, in characters.
const WIDTH: usize = 300;

/// Longest line of something else.
const LONG_WIDTH: usize = 4000;

/// Inputs that say by themselves what a tool does, in the order in which they are looked for.
const TELLING_INPUTS: [&str; 8] =
    ["command", "file_path", "path", "pattern", "url", "query", "description", "prompt"];

/// Returns what a line of stream-json says, with a line break at its end; `None` if it says nothing to a reader.
pub(super) fn readable(line: &str) -> Option<String> {
    let Ok(event) = serde_json::from_str::<Value>(line) else {
        // Not from the agent's stream: a message of the sandbox, or a broken line.
        return told("", line, LONG_WIDTH);
    };
    match event["type"].as_str().unwrap_or_default() {
        "assistant" | "user" => blocks(&event["message"]["content"]),
        "result" => told("end: ", event["result"].as_str().or(event["subtype"].as_str())?, LONG_WIDTH),
        "system" if event["subtype"] == "init" => None,
        "system" => told("agent: ", event["subtype"].as_str()?, WIDTH),
        "claw" => {
            let what = event["subtype"].as_str()?;
            let words =
                ["text", "error"].into_iter().find_map(|name| event[name].as_str()).unwrap_or_default();
            told("server: ", &format!("{what} {words}"), LONG_WIDTH)
        }
        _ => None,
    }
}

fn blocks(content: &Value) -> Option<String> {
    let text = match content {
        Value::String(text) => told("said: ", text, LONG_WIDTH)?,
        Value::Array(blocks) => blocks.iter().filter_map(block).collect(),
        _ => return None,
    };
    (!text.is_empty()).then_some(text)
}

fn block(block: &Value) -> Option<String> {
    match block["type"].as_str().unwrap_or_default() {
        "text" => told("said: ", block["text"].as_str()?, LONG_WIDTH),
        "tool_use" => {
            let input = &block["input"];
            let telling = TELLING_INPUTS.iter().find_map(|name| input[*name].as_str());
            let input = telling.map_or_else(|| input.to_string(), str::to_owned);
            told("used ", &format!("{}: {input}", block["name"].as_str()?), WIDTH)
        }
        "tool_result" => {
            let name = if block["is_error"] == true { "failed: " } else { "got: " };
            match &block["content"] {
                Value::String(text) => told(name, text, WIDTH),
                Value::Array(parts) => {
                    let texts: Vec<&str> = parts.iter().filter_map(|part| part["text"].as_str()).collect();
                    told(name, &texts.join(" "), WIDTH)
                }
                _ => None,
            }
        }
        _ => None,
    }
}

fn told(name: &str, text: &str, width: usize) -> Option<String> {
    let text = clean_line(text, width);
    (!text.is_empty()).then(|| format!("{name}{text}\n"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn lines_say_what_the_agent_said_and_did() {
        let text = |text: &str| json!({ "type": "text", "text": text });
        for (line, expected) in [
            (json!({ "type": "system", "subtype": "init", "tools": ["Bash"] }), None),
            (
                json!({ "type": "assistant", "message": { "content": [text("I look\nnow")] } }),
                Some("said: I look now\n"),
            ),
            (
                json!({ "type": "assistant", "message": { "content": [
                    { "type": "tool_use", "name": "Bash", "input": { "command": "ls -l", "timeout": 3 } },
                    { "type": "tool_use", "name": "Odd", "input": { "x": 1 } },
                ] } }),
                Some("used Bash: ls -l\nused Odd: {\"x\":1}\n"),
            ),
            (
                json!({ "type": "user", "message": { "content": [
                    { "type": "tool_result", "content": "a\u{1b}[2Jb" },
                    { "type": "tool_result", "is_error": true, "content": [text("no")] },
                ] } }),
                Some("got: ab\nfailed: no\n"),
            ),
            (
                json!({ "type": "claw", "subtype": "run_failed", "error": "no" }),
                Some("server: run_failed no\n"),
            ),
            (json!({ "type": "result", "subtype": "success", "result": "done" }), Some("end: done\n")),
            (json!({ "type": "stream_event" }), None),
        ] {
            assert_eq!(readable(&line.to_string()).as_deref(), expected, "{line}");
        }
        assert_eq!(readable("broken {").as_deref(), Some("broken {\n"));
        assert_eq!(readable(" "), None);
    }

    #[test]
    fn d19_one_line_is_never_long() {
        let line = json!({ "type": "assistant", "message": { "content": "x".repeat(1 << 20) } });

        assert_eq!(
            readable(&line.to_string()).expect("a line").chars().count(),
            "said: ".len() + LONG_WIDTH + 1
        );
    }
}
