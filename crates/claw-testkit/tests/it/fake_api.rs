use std::{io, path::Path, process::Stdio, time::Duration};

use claw_testkit::{FakeApi, TempDir, claude_binary};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    process::Command,
};

/// What a run of the CLI said.
struct Run {
    code: Option<i32>,
    events: Vec<Value>,
}

impl Run {
    fn result(&self) -> &Value {
        self.events.iter().rfind(|event| event["type"] == "result").expect("the run has a result")
    }

    fn retries(&self) -> usize {
        self.events.iter().filter(|event| event["subtype"] == "api_retry").count()
    }
}

/// Runs the real CLI on `prompt` in `folder`.
#[expect(clippy::disallowed_methods, reason = "the environment is cleared right here")]
async fn claude(api: &FakeApi, folder: &Path, prompt: &str) -> Run {
    let home = TempDir::new();
    let mut command = Command::new(claude_binary());
    command
        .args(["-p", "--output-format", "stream-json", "--verbose", "--dangerously-skip-permissions"])
        .current_dir(folder)
        .env_clear()
        .env("PATH", "/usr/local/bin:/usr/bin:/bin")
        .env("HOME", home.path())
        .env("ANTHROPIC_BASE_URL", api.base_url())
        .env("ANTHROPIC_API_KEY", "test-key")
        .env("CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC", "1")
        .env("IS_SANDBOX", "1")
        .kill_on_drop(true)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    if let Some(socket) = api.socket() {
        command.env("ANTHROPIC_UNIX_SOCKET", socket);
    }
    let mut child = command.spawn().expect("the CLI starts");
    let mut stdin = child.stdin.take().expect("stdin is piped");
    stdin.write_all(prompt.as_bytes()).await.expect("the CLI reads its prompt");
    drop(stdin);
    let output = tokio::time::timeout(Duration::from_secs(60), child.wait_with_output())
        .await
        .expect("the CLI ends in time")
        .expect("the CLI can be waited for");
    let events = String::from_utf8(output.stdout).expect("events are text");
    Run {
        code: output.status.code(),
        events: events.lines().map(|line| serde_json::from_str(line).expect("each line is JSON")).collect(),
    }
}

#[tokio::test]
async fn the_real_cli_says_the_scripted_text_and_counts_its_tokens() {
    let api = FakeApi::start().await;
    let folder = TempDir::new();

    let run = claude(&api, folder.path(), r#"FAKE:[{"text":"hello","usage":{"output_tokens":7}}]"#).await;

    assert_eq!((run.code, run.result()["result"].as_str()), (Some(0), Some("hello")));
    assert_eq!(run.result()["usage"]["output_tokens"], 7);
    let requests = api.message_requests();
    assert_eq!(requests.len(), 1);
    assert_eq!(requests[0].header("x-api-key"), Some("test-key"));
    assert_eq!(requests[0].body["stream"], true);
}

#[tokio::test]
async fn the_real_cli_carries_out_a_scripted_tool_call() {
    let api = FakeApi::start().await;
    let folder = TempDir::new();
    let file = folder.join("hello.md");
    let script =
        json!([{"tool": "Write", "input": {"file_path": file, "content": "written"}}, {"text": "done"}]);

    let run = claude(&api, folder.path(), &format!("please FAKE:{script}")).await;

    assert_eq!(run.result()["result"], "done");
    assert_eq!(folder.read("hello.md"), "written");
    assert_eq!(api.message_requests().len(), 2);
}

#[tokio::test]
async fn the_real_cli_recovers_from_an_overloaded_model() {
    let api = FakeApi::start().await;
    let folder = TempDir::new();

    let run = claude(&api, folder.path(), r#"FAKE:[{"error":529,"times":1},{"text":"recovered"}]"#).await;

    assert_eq!((run.code, run.result()["result"].as_str()), (Some(0), Some("recovered")));
    assert_eq!(run.retries(), 1);
}

#[tokio::test]
async fn the_real_cli_recovers_from_each_broken_stream() {
    let api = FakeApi::start().await;
    let folder = TempDir::new();
    // A stream that is cut counts as a lost connection: the CLI streams again. After the others it asks for a plain answer.
    for (fault, streams_again) in
        [("garbage", false), ("empty", false), ("bad_json", false), ("error_event", true), ("truncate", true)]
    {
        let prompt = format!(r#"FAKE:[{{"stream":"{fault}","text":"part","times":1}},{{"text":"whole"}}]"#);

        let run = claude(&api, folder.path(), &prompt).await;

        assert_eq!(run.result()["result"], "whole", "{fault}");
        let last = api.message_requests().pop().expect("there were requests");
        assert_eq!(last.body["stream"] == true, streams_again, "{fault}");
    }
}

#[tokio::test]
async fn the_real_cli_reaches_the_model_over_a_unix_socket() {
    let folder = TempDir::new();
    let api = FakeApi::start_unix(folder.join("api.sock")).await;

    let run = claude(&api, folder.path(), r#"FAKE:[{"thinking":"hm","text":"over a socket"}]"#).await;

    assert_eq!(run.result()["result"], "over a socket");
}

/// Sends one call for a message with `prompt` and returns all that comes back until the connection ends.
async fn call(api: &FakeApi, prompt: &str, headers: &str) -> io::Result<String> {
    let body = json!({"stream": true, "messages": [{"role": "user", "content": prompt}]}).to_string();
    let head = format!(
        "POST /v1/messages HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n{headers}content-length: {}\r\n\r\n",
        body.len()
    );
    let mut text = String::new();
    let mut stream = tokio::net::TcpStream::connect(api.base_url().trim_start_matches("http://")).await?;
    stream.write_all(format!("{head}{body}").as_bytes()).await?;
    stream.read_to_string(&mut text).await?;
    Ok(text)
}

#[tokio::test]
async fn a_held_answer_comes_when_the_test_releases_it() {
    let api = FakeApi::start().await;
    let ((), answer) = tokio::join!(
        async {
            api.wait_for_request(1).await;
            api.wait_for_hold("gate").await;
            api.release("gate");
        },
        call(&api, r#"FAKE:[{"hold":"gate"},{"text":"after the gate"}]"#, ""),
    );

    assert!(answer.expect("an answer").contains("after the gate"));
    api.wait_until_idle().await;
}

#[tokio::test]
async fn a_stream_can_be_held_after_its_first_word() {
    let api = FakeApi::start().await;
    let mut stream =
        tokio::net::TcpStream::connect(api.base_url().trim_start_matches("http://")).await.expect("up");
    let body = json!({"stream": true, "messages": [
        {"role": "user", "content": r#"FAKE:[{"text":"first second","hold_after_first_word":"middle"}]"#}]});
    let body = body.to_string();
    let head = format!(
        "POST /v1/messages HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(format!("{head}{body}").as_bytes()).await.expect("sent");

    let mut seen = Vec::new();
    while !String::from_utf8_lossy(&seen).contains("first") {
        assert_ne!(stream.read_buf(&mut seen).await.expect("readable"), 0, "the stream ended early");
    }
    api.wait_for_hold("middle").await;
    let before = String::from_utf8_lossy(&seen).into_owned();
    api.release("middle");
    stream.read_to_end(&mut seen).await.expect("the rest comes");

    assert!(!before.contains(r#""text":"second""#));
    assert!(String::from_utf8_lossy(&seen).contains(r#""text":"second""#));
}

#[tokio::test]
async fn a_client_that_goes_away_ends_its_call() {
    let api = FakeApi::start().await;
    {
        let call = call(&api, r#"FAKE:[{"hold":"never"},{"text":"x"}]"#, "");
        tokio::select! {
            _ = call => panic!("the call is held"),
            () = api.wait_for_hold("never") => {}
        }
    }

    api.wait_until_idle().await;
}

#[tokio::test]
async fn a_key_that_is_required_is_checked_in_both_headers() {
    let api = FakeApi::builder().require_key("right").default_text("welcome").start().await;

    for (headers, expected) in [
        ("", "authentication_error"),
        ("x-api-key: wrong\r\n", "authentication_error"),
        ("x-api-key: right\r\n", "welcome"),
        ("authorization: Bearer right\r\n", "welcome"),
    ] {
        let answer = call(&api, "hello", headers).await.expect("an answer");
        assert!(answer.contains(expected), "{headers:?}: {answer}");
    }
}

#[tokio::test]
async fn a_forced_step_comes_first_and_as_often_as_said() {
    let api = FakeApi::start().await;
    api.force(json!({"error": 429, "times": 2, "retry_after": 3}));

    let mut answers = Vec::new();
    for _ in 0..3 {
        answers.push(call(&api, "hello", "").await.expect("an answer"));
    }

    assert!(
        answers[0].starts_with("HTTP/1.1 429") && answers[0].contains("retry-after: 3\r\n"),
        "{}",
        answers[0]
    );
    assert!(answers[1].starts_with("HTTP/1.1 429"));
    assert!(answers[2].starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn a_reset_and_a_cut_stream_differ_from_an_orderly_end() {
    let api = FakeApi::start().await;

    let reset = call(&api, r#"FAKE:[{"stream":"reset"}]"#, "").await.expect_err("the connection is reset");
    let cut =
        call(&api, r#"FAKE:[{"stream":"truncate","text":"a b"}]"#, "").await.expect("the first part comes");
    let whole = call(&api, r#"FAKE:[{"text":"a b"}]"#, "").await.expect("all comes");

    assert_eq!(reset.kind(), io::ErrorKind::ConnectionReset);
    assert!(cut.contains("text_delta") && !cut.ends_with("0\r\n\r\n"), "{cut}");
    assert!(whole.ends_with("0\r\n\r\n"), "{whole}");
}

#[tokio::test]
async fn a_misspelled_script_is_answered_with_a_sentence() {
    let api = FakeApi::start().await;

    let answer = call(&api, r#"FAKE:[{"txet":"x"}]"#, "").await.expect("an answer");

    assert!(answer.starts_with("HTTP/1.1 400") && answer.contains("unknown field `txet`"), "{answer}");
}

#[tokio::test]
async fn probes_are_answered_and_other_paths_are_not_found() {
    let api = FakeApi::start().await;
    let http = |request: &'static str| {
        let address = api.base_url().trim_start_matches("http://").to_owned();
        async move {
            let mut stream = tokio::net::TcpStream::connect(address).await.expect("the server listens");
            let head = format!("{request} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
            stream.write_all(head.as_bytes()).await.expect("sent");
            let mut text = String::new();
            stream.read_to_string(&mut text).await.expect("answered");
            text
        }
    };

    assert!(http("HEAD /api/hello").await.starts_with("HTTP/1.1 200"));
    assert!(http("GET /v1/models").await.contains("has_more"));
    assert!(http("POST /v1/messages/count_tokens").await.contains("input_tokens"));
    let missing = http("GET /nowhere").await;
    assert!(missing.starts_with("HTTP/1.1 404") && missing.contains("not_found_error"), "{missing}");
    assert_eq!(api.requests().len(), 4);
    assert!(api.message_requests().is_empty());
}
