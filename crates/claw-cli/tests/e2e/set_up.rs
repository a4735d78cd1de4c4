//! The first minutes of an installation without a token in its configuration.

use std::path::Path;

use claw_testkit::{TempDir, TestServer};

use crate::setting::CLAW;

#[tokio::test]
async fn set_up_makes_an_admin_key_once_and_nothing_else_answers_before() {
    let folder = TempDir::new();
    let data_dir = folder.path().join("data");
    std::fs::create_dir(&data_dir).expect("a data folder");
    let server = TestServer::start(Path::new(CLAW), &data_dir, &[("CLAW_API_TOKEN", "")]).await;
    let locked = server.claw(&["list"]).await;

    let set_up = server.claw_ok(&["setup"]).await;
    let listed = server.claw(&["list"]).await;
    let again = server.claw(&["setup"]).await;

    assert_eq!(locked.status.code(), Some(1));
    let hint = String::from_utf8_lossy(&locked.stderr).into_owned();
    assert!(hint.contains("setup"), "it says what to do: {hint}");
    assert!(!set_up.contains("wag_live_"), "the key is stored, not shown: {set_up}");
    assert!(listed.status.success(), "the stored key works: {}", String::from_utf8_lossy(&listed.stderr));
    assert!(again.status.success(), "a second set-up finds everything in place");
    assert!(!data_dir.join("setup-token").exists(), "the token is gone");
}

#[tokio::test]
async fn the_stored_key_is_found_again_when_the_server_moves_to_another_port() {
    let folder = TempDir::new();
    let data_dir = folder.path().join("data");
    std::fs::create_dir(&data_dir).expect("a data folder");
    let mut server = TestServer::start(Path::new(CLAW), &data_dir, &[("CLAW_API_TOKEN", "")]).await;
    server.claw_ok(&["setup"]).await;
    server.stop().await;
    server.start_again().await;

    assert_eq!(server.claw(&["list"]).await.status.code(), Some(1), "the address is another one");
    server.claw_ok(&["setup"]).await;

    server.claw_ok(&["list"]).await;
}

#[tokio::test]
async fn a_key_does_what_its_scopes_say_and_nothing_else() {
    let folder = TempDir::new();
    let data_dir = folder.path().join("data");
    std::fs::create_dir(&data_dir).expect("a data folder");
    let server = TestServer::start(Path::new(CLAW), &data_dir, &[]).await;
    let made = server.claw_json(&["key", "create", "--label", "reader", "--scope", "jobs:read"]).await;
    let key = made["key"].as_str().or_else(|| made["data"]["key"].as_str()).expect("a key").to_owned();
    let as_reader = async |arguments: &[&str]| {
        server.client().args(["--api-key", &key]).args(arguments).output().await.expect("the command runs")
    };

    assert!(as_reader(&["list"]).await.status.success());
    let refused = as_reader(&["submit", "anything"]).await;

    assert_eq!(refused.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("jobs:write"));
}
