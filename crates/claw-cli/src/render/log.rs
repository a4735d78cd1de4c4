//! A job's log as a person reads it: what the agent said, which tools it used, how it ended.
//!
//! Every text in a log is untrusted: the agent and the programs it ran wrote it.

use owo_colors::Style;
use serde_json::Value;

use super::{cost, duration_ms};
use crate::{
    output::Stream,
    untrusted::{clean, clean_line},
};

/// Longest shown line of a tool's input or output.
const WIDTH: usize = 160;
/// Lines shown of a tool's output.
const OUTPUT_LINES: usize = 4;
/// Inputs that say by themselves what a tool does, in the order in which they are looked for.
const TELLING_INPUTS: &[&str] =
    &["command", "file_path", "path", "pattern", "url", "query", "description", "prompt"];

/// Turns raw stream-json lines into text.
pub(crate) struct LogRenderer {
    stream: Stream,
    verbose: bool,
}

impl LogRenderer {
    pub(crate) fn new(stream: Stream, verbose: bool) -> Self {
        Self { stream, verbose }
    }

    /// Returns what to show of one line; `None` when it holds nothing for people.
    pub(crate) fn render(&self, line: &str) -> Option<String> {
        let Ok(event) = serde_json::from_str::<Value>(line) else {
            // Not from the agent's stream: a message of the sandbox, or a broken line.
            let text = clean_line(line, 2000);
            return (!text.is_empty()).then_some(text);
        };
        match text_of(&event, "type") {
            "assistant" => self.blocks(&event, Self::assistant_block),
            "user" => self.blocks(&event, Self::user_block),
            "system" => self.system(&event),
            "result" => Some(self.result(&event)),
            "claw" => self.house(&event),
            kind => self.verbose.then(|| self.dim(&format!("({})", clean_line(kind, 60)))),
        }
    }

    fn blocks(&self, event: &Value, render: fn(&Self, &Value) -> Option<String>) -> Option<String> {
        let content = &event["message"]["content"];
        // A sub-agent's lines are set in, so that they are told from the agent's own.
        let indent = if event["parent_tool_use_id"].is_string() { "    " } else { "" };
        let texts: Vec<_> = match content {
            Value::Array(blocks) => blocks.iter().filter_map(|block| render(self, block)).collect(),
            Value::String(text) => vec![clean(text).into_owned()],
            _ => Vec::new(),
        };
        let text = texts.join("\n");
        (!text.is_empty()).then(|| indent.to_owned() + &text.replace('\n', &format!("\n{indent}")))
    }

    fn assistant_block(&self, block: &Value) -> Option<String> {
        match text_of(block, "type") {
            "text" => {
                Some(clean(text_of(block, "text").trim_end()).into_owned()).filter(|text| !text.is_empty())
            }
            "thinking" if self.verbose => Some(self.dim(&clean(text_of(block, "thinking")))),
            "tool_use" => {
                let name = clean_line(text_of(block, "name"), 60);
                let input = tool_input(&block["input"]);
                Some(format!(
                    "{} {}",
                    self.stream.paint(Style::new().cyan().bold(), format!("→ {name}")),
                    input
                ))
            }
            _ => None,
        }
    }

    fn user_block(&self, block: &Value) -> Option<String> {
        if text_of(block, "type") != "tool_result" {
            return None;
        }
        let text = tool_output(&block["content"]);
        let text = clean(&text);
        let lines: Vec<_> = text.lines().filter(|line| !line.trim().is_empty()).collect();
        let shown = if self.verbose { lines.len() } else { OUTPUT_LINES };
        let mut output: Vec<_> = lines.iter().take(shown).map(|line| format!("  {}", cut(line))).collect();
        if lines.len() > shown {
            output.push(format!("  … {} more lines", lines.len() - shown));
        }
        if block["is_error"] == Value::Bool(true) {
            let output = if output.is_empty() { "  failed".to_owned() } else { output.join("\n") };
            return Some(self.stream.paint(Style::new().red(), output));
        }
        (!output.is_empty()).then(|| self.dim(&output.join("\n")))
    }

    fn system(&self, event: &Value) -> Option<String> {
        match text_of(event, "subtype") {
            "init" => {
                let model = clean_line(text_of(event, "model"), 60);
                let version = clean_line(text_of(event, "claude_code_version"), 30);
                Some(self.dim(&format!("● {model}, Claude Code {version}")))
            }
            "api_retry" => {
                let reason = clean_line(text_of(event, "error"), 60);
                let number = |name: &str| event[name].as_u64().unwrap_or_default();
                let (attempt, limit) = (number("attempt"), number("max_retries"));
                let pause = event["retry_delay_ms"].as_f64().unwrap_or_default() / 1000.0;
                let text = format!(
                    "! the model API answered {reason}; attempt {attempt} of {limit} in {pause:.1} s"
                );
                Some(self.stream.paint(Style::new().yellow(), text))
            }
            "permission_denied" => {
                let tool = clean_line(text_of(event, "tool_name"), 60);
                Some(self.stream.paint(Style::new().yellow(), format!("! {tool} was not allowed")))
            }
            subtype => self.verbose.then(|| self.dim(&format!("({})", clean_line(subtype, 60)))),
        }
    }

    /// A line of the server's own: what it did around the agent.
    fn house(&self, event: &Value) -> Option<String> {
        let yellow = |text: String| Some(self.stream.paint(Style::new().yellow(), text));
        match text_of(event, "subtype") {
            "run_started" => {
                let attempt = event["attempt"].as_u64().unwrap_or(1);
                (self.verbose || attempt > 1).then(|| self.dim(&format!("● run {attempt} begins")))
            }
            "stderr" => Some(self.dim(&clean_line(text_of(event, "text"), 2000))),
            "changes" => Some(self.dim(&format!("● {}", clean_line(text_of(event, "text"), 500)))),
            "run_failed" => {
                let error = clean_line(text_of(event, "error"), 500);
                match event["retry_at"].as_str() {
                    Some(_) => yellow(format!("! the run failed and will be tried again: {error}")),
                    None => Some(self.stream.paint(Style::new().red().bold(), format!("✗ {error}"))),
                }
            }
            "run_lost" => yellow("! the server went away during the run; the job begins again".to_owned()),
            "run_cancelled" => yellow("! cancelled".to_owned()),
            "run_released" => yellow("! the server is stopping; the job waits for its next start".to_owned()),
            "pretended" => Some(self.dim(&clean_line(text_of(event, "text"), 2000))),
            subtype => self.verbose.then(|| self.dim(&format!("({})", clean_line(subtype, 60)))),
        }
    }

    fn result(&self, event: &Value) -> String {
        let mut facts = Vec::new();
        if let Some(usd) = event["total_cost_usd"].as_f64() {
            facts.push(cost(usd));
        }
        if let Some(turns) = event["num_turns"].as_u64() {
            facts.push(if turns == 1 { "1 turn".to_owned() } else { format!("{turns} turns") });
        }
        if let Some(ms) = event["duration_ms"].as_u64() {
            facts.push(duration_ms(ms));
        }
        let facts = if facts.is_empty() { String::new() } else { format!(" ({})", facts.join(", ")) };
        // A failed API call reads `success` with `is_error` set.
        if event["is_error"] == Value::Bool(true) || text_of(event, "subtype").starts_with("error") {
            let reason = match text_of(event, "result") {
                "" => event["errors"].as_array().and_then(|errors| errors.first()).and_then(Value::as_str),
                text => Some(text),
            };
            let reason = clean_line(reason.unwrap_or_else(|| text_of(event, "subtype")), 500);
            return self.stream.paint(Style::new().red().bold(), format!("✗ {reason}{facts}"));
        }
        self.stream.paint(Style::new().green().bold(), format!("✔ done{facts}"))
    }

    fn dim(&self, text: &str) -> String {
        self.stream.paint(Style::new().dimmed(), text)
    }
}

fn text_of<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or_default()
}

fn cut(line: &str) -> String {
    // Not `clean_line`: indentation says something in a tool's output.
    if line.chars().count() <= WIDTH {
        return line.to_owned();
    }
    line.chars().take(WIDTH - 1).chain(['…']).collect()
}

/// Returns the part of a tool's input that tells most, or all of it as JSON.
fn tool_input(input: &Value) -> String {
    let telling = TELLING_INPUTS.iter().find_map(|name| input[*name].as_str());
    match telling {
        Some(text) => clean_line(text, WIDTH),
        None if input.as_object().is_some_and(|fields| fields.is_empty()) => String::new(),
        None => clean_line(&input.to_string(), WIDTH),
    }
}

/// Returns a tool's output: a text, or blocks of which some are texts.
fn tool_output(content: &Value) -> String {
    match content {
        Value::String(text) => text.clone(),
        Value::Array(blocks) => {
            let texts = blocks.iter().map(|block| match text_of(block, "type") {
                "text" => text_of(block, "text").to_owned(),
                kind => format!("[{kind}]"),
            });
            texts.collect::<Vec<_>>().join("\n")
        }
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{cli::Cli, output::Output, settings::Environment};

    fn plain() -> Stream {
        let cli =
            <Cli as clap::Parser>::try_parse_from(["claw", "--color", "never", "list"]).expect("a command");
        Output::new(&cli.globals, &Environment::default()).stdout
    }

    fn render(verbose: bool, events: &[Value]) -> String {
        let renderer = LogRenderer::new(plain(), verbose);
        let lines: Vec<_> = events.iter().filter_map(|event| renderer.render(&event.to_string())).collect();
        lines.join("\n")
    }

    fn story() -> Vec<Value> {
        vec![
            json!({"type":"claw","subtype":"run_started","attempt":2,"worker":"w","sandbox":"docker"}),
            json!({"type":"system","subtype":"init","model":"claude-opus-4-8","claude_code_version":"2.1.329","tools":["Bash"]}),
            json!({"type":"system","subtype":"api_retry","attempt":1,"max_retries":10,"retry_delay_ms":512.3,"error":"overloaded","error_status":529}),
            json!({"type":"assistant","message":{"content":[{"type":"thinking","thinking":"hm"}]}}),
            json!({"type":"assistant","message":{"content":[{"type":"text","text":"I will write \u{1b}[2Jthe file.\n"}]}}),
            json!({"type":"assistant","message":{"content":[{"type":"tool_use","name":"Bash","input":{"command":"ls\n-la"}}]}}),
            json!({"type":"user","message":{"content":[{"type":"tool_result","content":"a\n\n  b\nc\nd\ne\nf"}]}}),
            json!({"type":"assistant","parent_tool_use_id":"t1","message":{"content":[{"type":"tool_use","name":"Odd","input":{"n":1}}]}}),
            json!({"type":"user","parent_tool_use_id":"t1","message":{"content":[{"type":"tool_result","is_error":true,"content":[{"type":"text","text":"Exit code 7\nno such file"}]}]}}),
            json!({"type":"system","subtype":"task_progress"}),
            json!({"type":"news_of_tomorrow"}),
            json!({"type":"result","subtype":"success","is_error":false,"result":"done","total_cost_usd":0.0008,"num_turns":3,"duration_ms":1234}),
            json!({"type":"claw","subtype":"stderr","text":"warning: \u{1b}[31mold"}),
            json!({"type":"claw","subtype":"changes","text":"changed 1 file: commit 0123","commit":"0123"}),
            json!({"type":"claw","subtype":"run_failed","error":"the model API is overloaded","retry_at":"2026-11-21T00:00:00Z"}),
            json!({"type":"claw","subtype":"run_failed","error":"the model API is overloaded","retry_at":null}),
            json!({"type":"claw","subtype":"run_lost"}),
            json!({"type":"claw","subtype":"run_cancelled"}),
            json!({"type":"claw","subtype":"run_released"}),
        ]
    }

    #[test]
    fn a_log_reads_as_what_was_said_done_and_cost() {
        insta::assert_snapshot!(render(false, &story()));
    }

    #[test]
    fn a_verbose_log_leaves_nothing_out() {
        insta::assert_snapshot!(render(true, &story()));
    }

    #[test]
    fn a_result_that_is_an_error_reads_as_one_whatever_its_subtype() {
        for (event, expected) in [
            (
                json!({"type":"result","subtype":"success","is_error":true,"result":"API Error: 401 bad key"}),
                "✗ API Error: 401 bad key",
            ),
            (
                json!({"type":"result","subtype":"error_max_turns","is_error":true,"errors":["too many turns"]}),
                "✗ too many turns",
            ),
            (json!({"type":"result","subtype":"error_during_execution"}), "✗ error_during_execution"),
        ] {
            assert_eq!(render(false, &[event]), expected);
        }
    }

    #[test]
    fn what_should_be_a_number_cannot_bring_terminal_sequences() {
        let evil = "\u{9b}2J\u{9d}0;owned\u{9c}\u{202e}";
        for verbose in [false, true] {
            let shown = render(
                verbose,
                &[
                    json!({"type":"system","subtype":"api_retry","attempt":evil,"max_retries":[evil],"error":"overloaded"}),
                    json!({"type":"claw","subtype":"run_started","attempt":evil}),
                    json!({"type":"result","total_cost_usd":evil,"num_turns":evil,"duration_ms":evil}),
                ],
            );

            assert_eq!(clean(&shown), shown);
        }
    }

    #[test]
    fn lines_that_are_not_json_are_shown_safely() {
        let renderer = LogRenderer::new(plain(), false);

        assert_eq!(renderer.render("npm \u{1b}]0;owned\u{7}warn").as_deref(), Some("npm warn"));
        assert_eq!(renderer.render("  "), None);
    }
}
