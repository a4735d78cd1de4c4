//! The real CLI of the image, in the real sandbox, with a scripted model behind the socket.

use claw_agent::{
    docker::{DockerSandbox, DockerSandboxConfig},
    invocation::Invocation,
    sandbox::{GATEWAY_SOCKET_NAME, Limits, Output, Sandbox, SandboxSpec},
};
use claw_core::WorkspaceId;
use claw_testkit::FakeApi;
use tokio::time::timeout;

use crate::lab::{Lab, PATIENCE};

/// Runs the CLI and returns the lines of its stream.
async fn ask(
    lab: &Lab,
    workspace: Option<WorkspaceId>,
    prompt: &str,
    more: &[&str],
) -> Vec<serde_json::Value> {
    let sandbox = DockerSandbox::new(lab.docker.clone(), DockerSandboxConfig::new(&lab.instance));
    let invocation = Invocation { prompt: prompt.to_owned(), ..Default::default() };
    let mut arguments = invocation.arguments();
    arguments.extend(more.iter().map(|argument| (*argument).to_owned()));
    let limits = Limits { memory_bytes: 1 << 30, cpus: 2.0, pids: 256 };
    let spec = SandboxSpec { workspace, arguments, stdin: invocation.stdin(), limits, ..lab.spec("") };
    let mut run = sandbox.start(spec).await.expect("started");
    let mut output = run.take_output().expect("the first call");
    let mut lines = Vec::new();
    while let Some(piece) = timeout(PATIENCE, output.recv()).await.expect("the output ends") {
        match piece {
            Output::Stdout { line, truncated: false } => {
                lines.push(serde_json::from_slice(&line).expect("JSON"))
            }
            other => panic!("unexpected output: {other:?}"),
        }
    }
    let exit = timeout(PATIENCE, run.wait()).await.expect("the run ends").expect("not lost");
    run.remove().await.expect("removed");
    assert_eq!(exit.code, 0, "{lines:#?}");
    lines
}

#[tokio::test]
async fn the_agent_reaches_its_model_through_the_socket_alone_and_works_in_the_working_copy() {
    let lab = Lab::new().await;
    let api = FakeApi::start_unix(lab.socket_dir.path().join(GATEWAY_SOCKET_NAME)).await;
    let script = r#"FAKE:[{"tool":"Bash","input":{"command":"git init -q . && echo made >file && git status --short"}},{"text":"all done"}]"#;

    let lines = ask(&lab, None, script, &[]).await;

    let result = lines.last().expect("a result");
    assert_eq!(result["type"], "result", "{result:#}");
    assert_eq!(result["result"], "all done", "{result:#}");
    assert_eq!(result["is_error"], false, "{result:#}");
    let file = std::fs::read_to_string(lab.work_dir.path().join("file")).expect("written by the agent");
    assert_eq!(file, "made\n");
    assert_eq!(api.message_requests().len(), 2);
    assert_eq!(api.message_requests()[0].header("x-api-key"), Some("held-by-the-gateway"));
    assert_eq!(lab.leftovers().await, [""; 0]);
}

#[tokio::test]
async fn a_session_goes_on_in_a_new_container_of_the_same_workspace() {
    let lab = Lab::new().await;
    let _api = FakeApi::start_unix(lab.socket_dir.path().join(GATEWAY_SOCKET_NAME)).await;
    let workspace = WorkspaceId::new();

    let first = ask(&lab, Some(workspace), r#"FAKE:[{"text":"one"}]"#, &[]).await;
    let second = ask(&lab, Some(workspace), r#"FAKE:[{"text":"two"}]"#, &["--continue"]).await;
    lab.sandbox.forget_workspace(workspace).await.expect("forgotten");

    assert_eq!(second.last().expect("a result")["result"], "two");
    assert_eq!(first[0]["session_id"], second[0]["session_id"]);
    assert!(first[0]["session_id"].is_string(), "{:#}", first[0]);
}
