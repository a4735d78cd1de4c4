//! Jobs as plain processes of this machine, for those who asked for it.

use std::path::Path;

use claw_testkit::{FakeApi, TEST_TOKEN, TempDir, TestServer, claude_binary};

use crate::setting::{CLAW, REAL_KEY};

#[tokio::test]
async fn s10_a_job_outside_of_a_container_sees_nothing_of_the_servers_environment() {
    let (folder, model) = (TempDir::new(), FakeApi::start().await);
    let data_dir = folder.path().join("data");
    std::fs::create_dir(&data_dir).expect("a data folder");
    let claude = claude_binary();
    let variables = [
        ("CLAW_EXECUTION_BACKEND", "local"),
        ("CLAW_CLAUDE_PROGRAM", claude.to_str().expect("a path")),
        ("ANTHROPIC_BASE_URL", model.base_url()),
        ("ANTHROPIC_API_KEY", REAL_KEY),
        ("SOME_SECRET_OF_THE_SERVER", "canary-in-the-environment"),
    ];
    let server = TestServer::start(Path::new(CLAW), &data_dir, &variables).await;
    let prompt = r#"FAKE:[{"tool":"Bash","input":{"command":"env; echo read-to-the-end"}},{"text":"done"}]"#;

    let job = server.claw_json(&["submit", "--wait", prompt]).await;

    let log = server.claw_ok(&["logs", job["job_id"].as_str().expect("an id"), "--raw"]).await;
    assert!(log.contains("read-to-the-end"), "{log}");
    for secret in ["canary-in-the-environment", REAL_KEY, TEST_TOKEN] {
        assert!(!log.contains(secret), "{secret}: {log}");
    }
}
