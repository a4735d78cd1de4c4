//! A machine without Docker: the server starts, says what is missing, and runs nothing on the host.

use std::{path::Path, time::Duration};

use claw_testkit::{FakeApi, TempDir, TestServer, wait_until};
use serde_json::Value;

use crate::setting::{CLAW, REAL_KEY};

/// Starts a server that finds no Docker, with more variables.
pub(crate) async fn server_without_docker(
    folder: &TempDir,
    model: &FakeApi,
    environment: &[(&str, &str)],
) -> TestServer {
    let data_dir = folder.path().join("data");
    std::fs::create_dir(&data_dir).expect("a data folder");
    let nowhere = format!("unix://{}", folder.path().join("no-docker.sock").display());
    let base_url = model.base_url();
    let mut variables = vec![
        ("DOCKER_HOST", nowhere.as_str()),
        ("ANTHROPIC_BASE_URL", base_url),
        ("ANTHROPIC_API_KEY", REAL_KEY),
    ];
    variables.extend_from_slice(environment);
    TestServer::start(Path::new(CLAW), &data_dir, &variables).await
}

#[tokio::test]
async fn jobs_wait_and_the_status_says_why() {
    let (folder, model) = (TempDir::new(), FakeApi::start().await);
    let server = server_without_docker(&folder, &model, &[]).await;
    let submitted = server.claw_json(&["submit", "anything"]).await;
    let id = submitted["id"].as_str().expect("an id");

    let mut status = Value::Null;
    wait_until("the status says why", Duration::from_secs(20), async || {
        status = server.claw_json(&["status"]).await;
        status["waiting_because"].is_string()
    })
    .await;

    assert_eq!(status["docker_available"], false, "{status:#}");
    assert!(status["waiting_because"].as_str().expect("a reason").contains("Docker"), "{status:#}");
    assert_eq!(server.claw_json(&["status", id]).await["status"], "pending");
    assert!(model.requests().is_empty(), "nothing ran on the host");
}

#[tokio::test]
async fn the_doctor_names_the_problem_and_the_way_out() {
    let (folder, model) = (TempDir::new(), FakeApi::start().await);
    let server = server_without_docker(&folder, &model, &[]).await;

    let output = server.claw(&["doctor"]).await;

    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("Docker") && text.contains("start"), "{text}");
}
