//! The program `clawmachine` from outside: what it is told, what it says, how it ends.

mod hosts;
mod listening;

use std::{ffi::OsStr, path::Path, process::Stdio};

use claw_core::Scope;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    process::{Child, ChildStderr, Command},
    time::timeout,
};

use crate::{
    house::{House, Talk},
    lab::PATIENCE,
};

/// One run of `clawmachine`: no environment but what is given.
pub(crate) struct Program {
    command: Command,
}

/// What a run left.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Program {
    pub(crate) fn new<S: AsRef<OsStr>>(arguments: impl IntoIterator<Item = S>) -> Self {
        #[expect(
            clippy::disallowed_methods,
            reason = "the program under test, started as a client starts it"
        )]
        let mut command = Command::new(env!("CARGO_BIN_EXE_clawmachine"));
        command.args(arguments).env_clear().kill_on_drop(true);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Self { command }
    }

    /// One that talks to this house with this key.
    pub(crate) fn of(house: &House, key: &str) -> Self {
        Self::new(["-api-url", &house.url(), "-api-key", key])
    }

    pub(crate) fn arguments<S: AsRef<OsStr>>(mut self, arguments: impl IntoIterator<Item = S>) -> Self {
        self.command.args(arguments);
        self
    }

    pub(crate) fn variable(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    pub(crate) fn start(mut self) -> Running {
        let mut child = self.command.spawn().expect("clawmachine starts");
        let stderr = BufReader::new(child.stderr.take().expect("a pipe"));
        let talk = Talk::over(child.stdout.take().expect("a pipe"), child.stdin.take().expect("a pipe"));
        Running { child, stderr, talk }
    }

    /// Sends it these lines and closes its input.
    pub(crate) async fn run(mut self, input: &str) -> Ran {
        let mut child = self.command.spawn().expect("clawmachine starts");
        let mut stdin = child.stdin.take().expect("a pipe");
        // One that ends at once reads nothing.
        let _unread = stdin.write_all(input.as_bytes()).await;
        drop(stdin);
        let output = timeout(PATIENCE, child.wait_with_output()).await.expect("it ends").expect("it ran");
        Ran {
            code: output.status.code().expect("it was not killed"),
            stdout: String::from_utf8(output.stdout).expect("text"),
            stderr: String::from_utf8(output.stderr).expect("text"),
        }
    }
}

/// A `clawmachine` that runs. It ends with this.
pub(crate) struct Running {
    child: Child,
    stderr: BufReader<ChildStderr>,
    /// What it says on standard output and hears on standard input.
    pub(crate) talk: Talk,
}

impl Running {
    /// Waits for a line on standard error that has these words, and returns it.
    pub(crate) async fn said(&mut self, words: &str) -> String {
        let said = async {
            loop {
                let mut line = String::new();
                let read = self.stderr.read_line(&mut line).await.expect("text");
                assert!(read > 0, "it ended without saying `{words}`");
                if line.contains(words) {
                    return line;
                }
            }
        };
        timeout(PATIENCE, said).await.expect("it says so in time")
    }

    /// Sends it a signal, and returns how it ended.
    pub(crate) async fn signal(mut self, signal: rustix::process::Signal) -> (Option<i32>, String) {
        let pid = self.child.id().expect("it runs");
        let pid = rustix::process::Pid::from_raw(pid.try_into().expect("a pid")).expect("a pid");
        rustix::process::kill_process(pid, signal).expect("it is told");
        let status = timeout(PATIENCE, self.child.wait()).await.expect("it ends").expect("it ran");
        let mut rest = String::new();
        self.stderr.read_to_string(&mut rest).await.expect("text");
        (status.code(), rest)
    }
}

pub(crate) fn file(folder: &TempDir, name: &str, text: &str) -> String {
    let path = folder.path().join(name);
    std::fs::write(&path, text).expect("a file is written");
    shown(&path)
}

fn shown(path: &Path) -> String {
    path.to_str().expect("text").to_owned()
}

fn messages(ran: &Ran) -> Vec<Value> {
    ran.stdout.lines().map(|line| serde_json::from_str(line).expect("one message a line")).collect()
}

const HANDSHAKE: &str = concat!(
    r#"{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-06-18","capabilities":{},"#,
    r#""clientInfo":{"name":"test","version":"1"}}}"#,
    "\n",
    r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#,
    "\n",
);

#[tokio::test]
async fn help_and_version_are_told_and_all_is_well() {
    for flag in ["-h", "-help", "--help"] {
        let ran = Program::new([flag]).run("").await;

        assert_eq!((ran.code, ran.stdout.as_str()), (0, ""), "{flag}");
        assert!(ran.stderr.starts_with("Usage of "), "{}", ran.stderr);
        assert!(ran.stderr.contains("\n  -sse-base-url string\n    \t"), "{}", ran.stderr);
    }
    let ran = Program::new(["--version", "-api-url"]).run("").await;
    assert_eq!(ran.code, 2, "flags are read to the end first: {ran:?}");
    let ran = Program::new(["-version"]).run("").await;
    assert_eq!(
        (ran.code, ran.stdout, ran.stderr),
        (0, concat!(env!("CARGO_PKG_VERSION"), "\n").into(), "".into())
    );
}

#[tokio::test]
async fn mistakes_on_the_command_line_end_with_two_and_the_usage() {
    for (arguments, words) in [
        (&["-nonsense"][..], "flag provided but not defined: -nonsense\nUsage of "),
        (&["-api-key"], "flag needs an argument: -api-key\nUsage of "),
        (&["---x"], "bad flag syntax: ---x\nUsage of "),
    ] {
        let ran = Program::new(arguments).run("").await;

        assert_eq!((ran.code, ran.stdout.as_str()), (2, ""), "{arguments:?}");
        assert!(ran.stderr.starts_with(words), "{}", ran.stderr);
    }
}

#[tokio::test]
async fn an_address_and_a_key_are_required() {
    for program in [
        Program::new([""; 0]),
        Program::new(["-api-url", "http://127.0.0.1:1"]),
        Program::new(["-api-key=k"]),
        Program::new([""; 0])
            .variable("WAGMIOS_API_URL", "http://127.0.0.1:1")
            .variable("WAGMIOS_API_KEY", ""),
        Program::new(["serve", "-api-url", "http://127.0.0.1:1", "-api-key", "k"]),
    ] {
        let ran = program.run("").await;

        assert_eq!((ran.code, ran.stdout.as_str(), ran.stderr.lines().count()), (1, "", 2), "{ran:?}");
        assert!(ran.stderr.contains("are required\nUse "), "{}", ran.stderr);
        assert!(ran.stderr.contains("WAGMIOS_API_URL") && ran.stderr.contains("-api-url"), "{}", ran.stderr);
    }
}

#[tokio::test]
async fn an_origin_that_no_browser_sends_is_refused() {
    for origin in ["example.org", "://x", "https://", "https://example.org/page"] {
        let given = ["-api-url", "http://127.0.0.1:1", "-api-key", "k", "-allow-origin", origin];
        let ran = Program::new(given).run("").await;

        assert_eq!((ran.code, ran.stdout.as_str()), (1, ""), "{origin}");
        assert!(
            ran.stderr.starts_with("Error: -allow-origin wants an origin like https://"),
            "{}",
            ran.stderr
        );
    }
}

#[tokio::test]
async fn a_file_of_hosts_that_cannot_be_read_is_told_in_the_words_of_the_original() {
    let folder = TempDir::new().expect("a folder");
    for (text, words) in [
        (None, "Error loading config: read config file: open "),
        (Some("{"), "Error loading config: parse config file: "),
        (Some(r#"{"instances":{"a":7}}"#), "Error loading config: parse config file: "),
        (Some("{}"), "Error loading config: no instances defined in config"),
        (
            Some(r#"{"instances":{"a":{"url":"http://h","key_env":"NO_SUCH"}}}"#),
            "Error loading config: the variable",
        ),
        (
            Some(r#"{"instances":{"a":{"url":"http://h","key_file":"/no/such"}}}"#),
            "Error loading config: read key file: open /no/such: No such file or directory (os error 2) (instance a)",
        ),
        (Some(r#"{"instances":{"a":{"url":"nonsense","key":"k"}}}"#), "Error: check API key for a: "),
    ] {
        let path = match text {
            Some(text) => file(&folder, "hosts.json", text),
            None => "/no/such/file".into(),
        };
        // The flags of one host are not looked at.
        let ran =
            Program::new(["-config", &path, "-api-url", "http://127.0.0.1:1", "-api-key", "k"]).run("").await;

        assert_eq!((ran.code, ran.stdout.as_str()), (1, ""), "{text:?}");
        assert!(ran.stderr.starts_with(words), "{text:?}: {}", ran.stderr);
    }
}

#[tokio::test]
async fn one_host_must_be_there_and_know_the_key() {
    let house = House::new().await;
    let key = house.key(&[Scope::SystemRead]).await;
    let url = house.url();
    for (url, key, transport, words) in [
        ("http://127.0.0.1:1", "k", "stdio", "Error: check API key status: execute request: "),
        (&url, "wag_live_nobody", "stdio", "Error: check API key status: HTTP 401: {"),
        (&url, "no-key-at-all", "stdio", "Error: check API key status: HTTP 401: {"),
        ("nonsense", "k", "stdio", "Error: check API key status: "),
        // The key is looked at first.
        ("http://127.0.0.1:1", "k", "carrier-pigeon", "Error: check API key status: "),
    ] {
        let ran =
            Program::new(["-api-url", url, "-api-key", key, "-transport", transport]).run(HANDSHAKE).await;

        assert_eq!((ran.code, ran.stdout.as_str()), (1, ""), "{url} {key}");
        assert!(ran.stderr.starts_with(words), "{url} {key}: {}", ran.stderr);
    }
    let ran = Program::of(&house, &key).arguments(["-transport", "STDIO"]).run("").await;
    assert_eq!(ran.code, 1);
    assert!(ran.stderr.contains("Server error: unknown transport: STDIO (use 'stdio', "), "{}", ran.stderr);
}

#[tokio::test]
async fn d18_a_slash_at_the_end_of_the_address_is_no_other_address() {
    let house = House::new().await;
    let key = house.key(&[Scope::SystemRead, Scope::JobsWrite, Scope::JobsRead]).await;
    let url = format!("{}/", house.url());
    let mut program = Program::new(["-api-url", &url, "-api-key", &key]).start();
    program.talk.initialize("2025-06-18").await;

    program.talk.call("submit_job", json!({ "prompt": "say hello" })).await.ok();
}

#[tokio::test]
async fn what_is_left_out_of_the_command_line_is_taken_from_variables_and_files() {
    let house = House::new().await;
    let (folder, url) = (TempDir::new().expect("a folder"), house.url());
    let key = house.key(&[Scope::SystemRead]).await;
    let key_file = file(&folder, "key", &format!("{key}\n"));
    let none = || Program::new([""; 0]);
    for program in [
        none().variable("WAGMIOS_API_URL", &url).variable("WAGMIOS_API_KEY", &key),
        none()
            .arguments(["-api-url", &url])
            .variable("WAGMIOS_API_URL", "http://127.0.0.1:1")
            .variable("WAGMIOS_API_KEY", &key),
        none().arguments(["-api-url", &url, "-api-key-file", &key_file]).variable("WAGMIOS_API_KEY", "wrong"),
        none().arguments(["-api-url", &url]).variable("WAGMIOS_API_KEY_FILE", &key_file),
        none().arguments(["--api-key", &key, "--api-url", &url, "-api-key-file", ""]),
    ] {
        let ran = program.run(HANDSHAKE).await;

        assert_eq!(ran.code, 0, "{ran:?}");
        assert_eq!(messages(&ran)[0]["result"]["serverInfo"]["name"], "ClawMachine");
    }
}

#[tokio::test]
async fn d14_nothing_of_a_key_is_shown_whatever_happens() {
    let house = House::new().await;
    let folder = TempDir::new().expect("a folder");
    let key = house.key(&[Scope::SystemRead]).await;
    let secret = key.strip_prefix("wag_live_").expect("a key of ours");
    let hosts = json!({ "instances": {
        "good": { "url": house.url(), "key": &key },
        "away": { "url": "http://127.0.0.1:1", "key": &key },
        "wrong": { "url": house.url(), "key": format!("{key}x") },
    }});
    let hosts = file(&folder, "hosts.json", &hosts.to_string());
    let call = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"list_hosts"}}"#;
    for (program, code) in [
        (Program::of(&house, &key), 0),
        (Program::new(["-config", &hosts]), 0),
        (Program::new(["-api-url", "http://127.0.0.1:1", "-api-key", &key]), 1),
        (Program::new(["-api-url", &format!("http://{key}@127.0.0.1:1"), "-api-key", &key]), 1),
        (Program::new(["-api-url", &house.url(), "-api-key", &format!("{key}\u{7f}")]), 1),
        (Program::of(&house, &key).arguments(["-transport", &key]), 1),
    ] {
        let ran = program.run(&format!("{HANDSHAKE}{call}\n")).await;

        assert_eq!(ran.code, code, "{ran:?}");
        // What the server tells of a key by which people recognize it is its last characters.
        let part = &secret[..secret.len() - 8];
        assert!(!ran.stderr.contains(part) && !ran.stdout.contains(part), "{ran:?}");
    }
}

#[tokio::test]
async fn logs_have_the_date_and_time_of_go_and_the_output_is_of_the_protocol_alone() {
    let house = House::new().await;
    let key = house.key(&[Scope::ContainersRead, Scope::SystemRead]).await;

    let ran = Program::of(&house, &key).run(HANDSHAKE).await;

    assert_eq!(ran.code, 0);
    for line in ran.stderr.lines() {
        let shape: String = line.chars().take(20).map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
        assert_eq!(shape, "0000/00/00 00:00:00 ", "{line}");
    }
    assert!(ran.stderr.contains(" API key: "), "{}", ran.stderr);
    assert!(ran.stderr.contains(" (scopes: containers:read, system:read)\n"), "{}", ran.stderr);
    assert_eq!(messages(&ran).len(), 1);
}

#[tokio::test]
async fn everything_that_was_asked_is_answered_before_the_end() {
    let house = House::new().await;
    let key = house.key(&[Scope::SystemRead, Scope::JobsRead]).await;
    let calls: String = (1..=40)
        .map(|id| {
            format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"tools/call","params":{{"name":"list_jobs"}}}}"#)
                + "\n"
        })
        .collect();

    let ran = Program::of(&house, &key).run(&format!("{HANDSHAKE}{calls}")).await;

    let mut answered: Vec<_> = messages(&ran).iter().filter_map(|message| message["id"].as_u64()).collect();
    answered.sort_unstable();
    assert_eq!((ran.code, answered), (0, (0..=40).collect()), "{}", ran.stderr);
}

#[tokio::test]
async fn a_client_that_asks_before_it_shook_hands_is_answered() {
    let house = House::new().await;
    let key = house.key(&[Scope::SystemRead]).await;
    let mut program = Program::of(&house, &key).start();
    let talk = &mut program.talk;

    talk.notify("notifications/initialized", json!({})).await;
    assert_eq!(talk.request("ping", json!({})).await, json!({}));
    assert!(talk.list().await.iter().any(|tool| tool["name"] == "check_scopes"));
    talk.call("check_scopes", json!({})).await.ok();
    let told = talk.initialize("2024-11-05").await;
    assert_eq!(told["protocolVersion"], "2024-11-05");
    assert!(!talk.list().await.is_empty());
}

#[tokio::test]
async fn t32_what_is_no_message_is_answered_and_the_talk_goes_on() {
    let house = House::new().await;
    let key = house.key(&[Scope::SystemRead]).await;
    let mut program = Program::of(&house, &key).start();
    let talk = &mut program.talk;
    talk.initialize("2025-06-18").await;
    let long = "x".repeat(5 << 20);
    let deep = "[".repeat(200_000);

    for (line, code, message) in [
        ("garbage", -32700, "Parse error"),
        ("\u{0}\u{1}", -32700, "Parse error"),
        (&deep, -32700, "Parse error"),
        ("[]", -32700, "Failed to parse message"),
        (r#"{"jsonrpc":"1.0","id":7,"method":"ping"}"#, -32600, "Invalid JSON-RPC version"),
        (r#"{"jsonrpc":"2.0","id":7}"#, -32600, "Invalid request"),
        (&long, -32600, "the message is longer than 4194304 bytes"),
    ] {
        talk.send_line(line).await;

        let error = talk.next().await;
        assert_eq!(error["jsonrpc"], "2.0");
        assert_eq!((&error["error"]["code"], &error["error"]["message"]), (&json!(code), &json!(message)));
    }
    assert_eq!(talk.request("ping", json!({})).await, json!({}));
}

#[tokio::test]
async fn t32_a_client_that_reads_nothing_is_asked_no_further_and_gets_all_its_answers_later() {
    let house = House::new().await;
    let key = house.key(&[Scope::SystemRead]).await;
    let mut program = Program::of(&house, &key).start();
    program.talk.initialize("2025-06-18").await;
    let (mut reader, mut writer) = program.talk.into_parts();
    let asked = 3_000;

    // More than fits into the pipes in both directions: it waits until somebody reads.
    let asking = tokio::spawn(async move {
        for id in 1..=asked {
            let line = format!("{}\n", json!({ "jsonrpc": "2.0", "id": id, "method": "tools/list" }));
            writer.write_all(line.as_bytes()).await.expect("it reads on");
        }
        writer
    });
    let mut answered = 0;
    while answered < asked {
        let line =
            timeout(PATIENCE, reader.next_line()).await.expect("in time").expect("text").expect("no end");
        answered += u64::from(line.contains("\"tools\":["));
    }

    drop(timeout(PATIENCE, asking).await.expect("all is asked").expect("it was asked"));
}

#[tokio::test]
async fn told_to_stop_it_ends_well() {
    let house = House::new().await;
    let key = house.key(&[Scope::SystemRead]).await;
    for signal in [rustix::process::Signal::INT, rustix::process::Signal::TERM] {
        for transport in [&["-transport", "stdio"][..], &["-transport", "sse", "-sse-addr", "127.0.0.1:0"]] {
            let mut program = Program::of(&house, &key).arguments(transport).start();
            program.said("Starting MCP server").await;

            let (code, rest) = program.signal(signal).await;

            assert_eq!(code, Some(0), "{transport:?} {signal:?}: {rest}");
        }
    }
}

#[tokio::test]
async fn told_to_only_read_it_offers_no_tool_that_changes_anything() {
    let house = House::new().await;
    let key = house.key(&[Scope::All]).await;
    let mut program = Program::of(&house, &key).arguments(["-read-only"]).start();
    program.talk.initialize("2025-06-18").await;

    let tools = program.talk.list().await;

    assert!(tools.len() > 10);
    for tool in &tools {
        assert_eq!(tool["annotations"]["readOnlyHint"], true, "{}", tool["name"]);
    }
    let params = json!({ "name": "delete_container", "arguments": { "id": "x" } });
    assert_eq!(program.talk.refusal("tools/call", params).await["code"], -32602);
}

#[tokio::test]
async fn configurations_of_clients_are_printed() {
    for client in ["claude-code", "claude-desktop", "cursor", "vscode", "gemini", "generic"] {
        let ran = Program::new(["config", client]).run("").await;

        assert_eq!((ran.code, ran.stderr.as_str()), (0, ""), "{client}");
        assert!(ran.stdout.contains("clawmachine"), "{client}: {}", ran.stdout);
    }
    for arguments in [&["config"][..], &["config", "nonsense"]] {
        let ran = Program::new(arguments).run("").await;

        assert_eq!((ran.code, ran.stdout.as_str()), (1, ""), "{arguments:?}");
        assert!(ran.stderr.contains("Clients: claude-code, "), "{}", ran.stderr);
    }
}
