//! The Claude Code CLI as a client of MCP, in one conversation of several turns.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use claw_testkit::{FakeApi, TempDir, claude_binary};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout, Command},
};

use crate::setting::CLAW;

/// How long a turn may take.
const PATIENCE: Duration = Duration::from_secs(120);

/// By which way the CLI reaches the homelab.
#[derive(Clone, Copy)]
pub(super) enum Door {
    /// `clawmachine`, started by the CLI.
    Program,
    /// `/mcp` of `claw serve`.
    Server,
}

/// A running CLI.
pub(super) struct Claude {
    child: Child,
    stdin: ChildStdin,
    lines: Lines<BufReader<ChildStdout>>,
}

/// What happened until the CLI waited for the user again.
#[derive(Debug, Default)]
pub(super) struct Turn {
    /// The tools that the model was given.
    pub(super) tools: Vec<String>,
    calls: Vec<Call>,
    /// What it said in the end.
    pub(super) text: String,
}

#[derive(Debug, Default)]
struct Call {
    id: String,
    tool: String,
    result: String,
    is_error: bool,
}

impl Turn {
    fn call(&self, tool: &str) -> &Call {
        let name = format!("mcp__clawmachine__{tool}");
        self.calls
            .iter()
            .find(|call| call.tool == name)
            .unwrap_or_else(|| panic!("no call of {tool}: {self:?}"))
    }

    /// What a call gave that did not fail.
    pub(super) fn result(&self, tool: &str) -> &str {
        let call = self.call(tool);
        assert!(!call.is_error, "{tool} failed: {}", call.result);
        &call.result
    }

    /// Why a call failed.
    pub(super) fn failure(&self, tool: &str) -> &str {
        let call = self.call(tool);
        assert!(call.is_error, "{tool} did not fail: {}", call.result);
        &call.result
    }
}

/// The program of the other package: a build of the workspace puts it beside ours.
pub(super) fn clawmachine() -> PathBuf {
    let program = Path::new(CLAW).with_file_name("clawmachine");
    assert!(program.is_file(), "{} is missing: run `cargo build -p claw-mcp`", program.display());
    program
}

impl Claude {
    /// Starts the CLI with one MCP server.
    pub(super) async fn start(door: Door, url: &str, key: &str, model: &FakeApi, folder: &TempDir) -> Self {
        let server = match door {
            Door::Program => {
                json!({"command": clawmachine(), "args": [], "env": {"WAGMIOS_API_URL": url, "WAGMIOS_API_KEY": key}})
            }
            Door::Server => {
                json!({"type": "http", "url": format!("{url}/mcp"), "headers": {"Authorization": format!("Bearer {key}")}})
            }
        };
        let config = folder.write("mcp.json", json!({"mcpServers": {"clawmachine": server}}).to_string());
        #[expect(clippy::disallowed_methods, reason = "a client, started as its user would start it")]
        let mut command = Command::new(claude_binary());
        command
            .args(["-p", "--input-format", "stream-json", "--output-format", "stream-json", "--verbose"])
            .args(["--strict-mcp-config", "--allowedTools", "mcp__clawmachine", "--mcp-config"])
            .arg(config)
            .env_clear()
            .env("PATH", "/usr/local/bin:/usr/bin:/bin")
            .env("HOME", folder.folder("claude-home"))
            .env("ANTHROPIC_BASE_URL", model.base_url())
            .env("ANTHROPIC_API_KEY", "sk-ant-test")
            .env("CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC", "1")
            // The model sees the tools themselves, not a tool that looks for tools.
            .env("ENABLE_TOOL_SEARCH", "false")
            .current_dir(folder.folder("claude-work"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .kill_on_drop(true);
        let mut child = command.spawn().expect("the CLI starts");
        let stdin = child.stdin.take().expect("a pipe");
        let lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
        Self { child, stdin, lines }
    }

    /// Says something; the model plays `script`.
    pub(super) async fn say(&mut self, words: &str, script: Value) -> Turn {
        let content = format!("{words} FAKE:{script}");
        let message = json!({"type": "user", "message": {"role": "user", "content": content}});
        self.stdin.write_all(format!("{message}\n").as_bytes()).await.expect("the CLI reads");
        self.stdin.flush().await.expect("the CLI reads");
        let mut turn = Turn::default();
        let read = async {
            while let Some(line) = self.lines.next_line().await.expect("text") {
                let event: Value = serde_json::from_str(&line).expect("JSON");
                if turn.note(&event) {
                    return;
                }
            }
            panic!("the CLI ended in the middle of a turn: {turn:?}");
        };
        tokio::time::timeout(PATIENCE, read).await.expect("the turn ends");
        turn
    }

    /// The process of `clawmachine`, if the CLI started one.
    pub(super) fn server_process(&self) -> Option<u32> {
        let parent = self.child.id().expect("the CLI runs");
        let processes = std::fs::read_dir("/proc").expect("processes");
        let mut found = processes
            .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok())
            .filter(|pid| {
                // One that has ended meanwhile is none.
                let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
                let Some((name, rest)) = stat.rsplit_once(')') else { return false };
                name.ends_with("(clawmachine") && rest.split_whitespace().nth(1) == Some(&parent.to_string())
            });
        found.next()
    }
}

impl Turn {
    /// Takes in what the CLI tells; true when the turn is over.
    fn note(&mut self, event: &Value) -> bool {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        match event["type"].as_str() {
            Some("system") if event["subtype"] == "init" => {
                self.tools = event["tools"].as_array().into_iter().flatten().map(text).collect();
            }
            Some("assistant") => {
                for part in event["message"]["content"].as_array().into_iter().flatten() {
                    if part["type"] == "tool_use" {
                        let call =
                            Call { id: text(&part["id"]), tool: text(&part["name"]), ..Call::default() };
                        self.calls.push(call);
                    }
                }
            }
            Some("user") => {
                for part in event["message"]["content"].as_array().into_iter().flatten() {
                    let Some(call) = self.calls.iter_mut().find(|call| part["tool_use_id"] == *call.id)
                    else {
                        continue;
                    };
                    let content = &part["content"];
                    let pieces = content
                        .as_array()
                        .map(|parts| parts.iter().map(|part| text(&part["text"])).collect());
                    call.result = pieces.unwrap_or_else(|| text(content));
                    call.is_error = part["is_error"] == true;
                }
            }
            Some("result") => {
                self.text = text(&event["result"]);
                return true;
            }
            _ => {}
        }
        false
    }
}

/// The commands that `clawmachine config claude-code` says.
pub(super) fn documented_commands() -> Vec<String> {
    let text = include_str!("../../../../claw-mcp/src/cli/config_for/claude-code.md");
    text.lines().filter_map(|line| line.strip_prefix("$ claude ")).map(str::to_owned).collect()
}

/// Runs a documented command with this server, this key, and the program as it was built.
pub(super) async fn run_documented(command: &str, home: &Path, url: &str, key: &str) {
    let program = clawmachine();
    let command = command.replace("http://127.0.0.1:5179", url).replace("wag_live_…", key);
    let mut arguments = words(&command);
    if let Some(last) = arguments.last_mut().filter(|last| *last == "clawmachine") {
        *last = program.display().to_string();
    }
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let said = cli(&arguments, home).await;
    assert!(said.contains("Added"), "{command}: {said}");
}

/// The words of a command, as a shell reads them.
fn words(command: &str) -> Vec<String> {
    let parts = command.split('"').enumerate();
    let words = parts.flat_map(|(index, part)| match index % 2 {
        0 => part.split_whitespace().map(str::to_owned).collect(),
        _ => vec![part.to_owned()],
    });
    words.collect()
}

/// Runs the CLI and returns what it said.
pub(super) async fn cli(arguments: &[&str], home: &Path) -> String {
    #[expect(clippy::disallowed_methods, reason = "a client, started as its user would start it")]
    let mut command = Command::new(claude_binary());
    command.args(arguments).env_clear().env("PATH", "/usr/local/bin:/usr/bin:/bin").env("HOME", home);
    command
        .env("CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC", "1")
        .current_dir(home)
        .stdin(Stdio::null())
        .kill_on_drop(true);
    let output =
        tokio::time::timeout(PATIENCE, command.output()).await.expect("the CLI ends").expect("it runs");
    let said = [output.stdout, output.stderr].concat();
    String::from_utf8_lossy(&said).into_owned()
}
