//! The first key of a new server.

use std::os::unix::fs::MetadataExt;

use serde_json::Value;

use crate::{
    program::Claw,
    server::{SETUP_TOKEN, Server},
};

#[tokio::test]
async fn set_up_makes_the_first_key_stores_it_for_its_owner_and_is_idempotent() {
    let server = Server::waiting_for_setup().await;
    let locked = server.anonymous(&["list"]).run().await.failed(1);
    assert!(locked.contains("hint: run `claw setup`"), "{locked}");

    let first = server.anonymous(&["setup", "--token", SETUP_TOKEN]).run().await.ok();
    let second = server.anonymous(&["setup"]).run().await.ok();

    assert!(first.contains("made the first key") && !first.contains("wag_live_"), "{first}");
    assert!(second.contains("the stored key works"), "{second}");
    server.anonymous(&["list"]).run().await.ok();
    let file = server.home.path().join(".config/clawmachine/credentials.toml");
    assert_eq!(std::fs::metadata(&file).expect("the stored key").mode() & 0o777, 0o600);
    assert_eq!(server.sent_to("setup")[0]["scopes"], serde_json::json!(["*"]));
}

#[tokio::test]
async fn set_up_finds_the_token_in_the_data_folder() {
    let server = Server::waiting_for_setup().await;
    let data_dir = server.home.path().join("data");
    std::fs::create_dir(&data_dir).expect("a folder");
    std::fs::write(data_dir.join("setup-token"), format!("{SETUP_TOKEN}\n")).expect("a file");

    let ran = server.anonymous(&["--json", "setup"]).env("CLAW_DATA_DIR", &data_dir).run().await;

    assert_eq!(ran.json()["status"], "set_up");
}

#[tokio::test]
async fn set_up_goes_to_the_address_that_the_server_was_told_to_listen_on() {
    let server = Server::waiting_for_setup().await;
    let address = server.url.trim_start_matches("http://");

    let claw =
        Claw::new(server.home.path(), &["--json", "setup", "--token", SETUP_TOKEN, "--listen", address]);

    assert_eq!(claw.run().await.json()["server"], server.url);
}

#[tokio::test]
async fn set_up_without_a_token_says_where_it_is() {
    let server = Server::waiting_for_setup().await;

    let said = server.anonymous(&["setup"]).run().await.failed(1);

    assert!(said.contains(".claw/setup-token") && said.contains("--token"), "{said}");
}

#[tokio::test]
async fn a_wrong_token_is_refused_and_nothing_is_stored() {
    let server = Server::waiting_for_setup().await;

    let said = server.anonymous(&["setup", "--token", "-"]).stdin("wrong\n").run().await.failed(1);

    assert!(said.contains("the setup token is wrong or used") && said.contains("hint: "), "{said}");
    server.anonymous(&["list"]).run().await.failed(1);
}

#[tokio::test]
async fn a_server_that_others_set_up_exits_with_3() {
    let server = Server::start().await;

    let ran = server.anonymous(&["--json", "setup"]).run().await;

    let error: Value = serde_json::from_str(&ran.failed(3)).expect("JSON");
    assert_eq!(error["code"], "ALREADY_SETUP");
}

#[tokio::test]
async fn set_up_is_content_with_a_key_in_a_variable() {
    let server = Server::start().await;

    let out = server.claw(&["setup"]).await.ok();

    assert!(out.contains("the credential in CLAW_API_KEY works"), "{out}");
}

#[tokio::test]
async fn a_stored_key_that_others_can_read_is_not_used() {
    use std::os::unix::fs::PermissionsExt;

    let server = Server::waiting_for_setup().await;
    server.anonymous(&["setup", "--token", SETUP_TOKEN]).run().await.ok();
    let file = server.home.path().join(".config/clawmachine/credentials.toml");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).expect("changed");

    let said = server.anonymous(&["list"]).run().await.failed(1);

    assert!(said.contains("can be read by other users") && said.contains("chmod 600"), "{said}");
}
