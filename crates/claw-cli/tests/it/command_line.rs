//! What holds for every command: help, usage, errors, color, the server's absence.

use serde_json::Value;

use crate::{
    program::Claw,
    server::{SUCCEEDS, Server},
};

fn home() -> tempfile::TempDir {
    tempfile::tempdir().expect("a folder")
}

#[tokio::test]
async fn a_command_line_that_cannot_be_understood_exits_with_64() {
    let home = home();
    for arguments in [
        &["frobnicate"][..],
        &["status", "--no-such-flag"],
        &["submit"],
        &["submit", "x", "-p", "10"],
        &["submit", "x", "--budget", "nan"],
        &["submit", "x", "--budget", "inf"],
        &["submit", "x", "--budget", "-1"],
        &["submit", "x", "--timeout", "0"],
        &["workspace", "create", ""],
        &["costs", "--from", "yesterday"],
        &["list", "--status", "gone"],
        &["key", "create", "--scope", "everything"],
        &["--api-url", "ftp://x", "list"],
        &["-q", "-v", "list"],
        // What only shows after the flags were read is no less a mistake of usage.
        &["submit", "x", "--wait-timeout", "5"],
        &["key", "update", "self", "--label", "x"],
        &["serve", "--set", "sandbox.memry=1g"],
    ] {
        let ran = Claw::new(home.path(), arguments).run().await;
        assert_eq!((ran.code, ran.stdout.as_str()), (64, ""), "{arguments:?}: {ran:?}");
    }
}

#[tokio::test]
async fn a_usage_error_is_json_for_those_who_asked_for_json() {
    let home = home();

    let said = Claw::new(home.path(), &["--json", "frobnicate"]).run().await.failed(64);

    let error: Value = serde_json::from_str(&said).expect("JSON");
    assert_eq!(error["code"], "INVALID_REQUEST");
    assert!(error["error"].as_str().is_some_and(|text| text.contains("frobnicate")), "{said}");
}

#[tokio::test]
async fn help_and_version_go_to_standard_output() {
    let home = home();

    let help = Claw::new(home.path(), &["--help"]).run().await.ok();
    let version = Claw::new(home.path(), &["-V"]).run().await.ok();

    assert!(help.contains("Exit codes: 0 success"), "{help}");
    assert_eq!(version, concat!("claw ", env!("CARGO_PKG_VERSION"), "\n"));
}

#[tokio::test]
async fn without_a_server_the_error_says_what_to_do() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    drop(listener);
    let home = home();

    let said = Claw::new(home.path(), &["--api-url", &url, "list"]).run().await.failed(1);

    assert!(
        said.contains(&format!("cannot reach {url}: connection refused; is `claw serve` running?")),
        "{said}"
    );
    assert!(said.contains("hint: `claw doctor`"), "{said}");
}

#[tokio::test]
async fn without_a_credential_or_with_a_wrong_one_the_hint_names_the_variable() {
    let server = Server::start().await;

    for command in [server.anonymous(&["list"]), server.command(&["--api-key", "wag_live_wrong", "list"])] {
        let said = command.run().await.failed(1);
        assert!(said.contains("CLAW_API_KEY"), "{said}");
        assert!(!said.contains("wag_live_wrong"), "{said}");
    }
}

#[tokio::test]
async fn a_file_without_an_end_is_not_read_without_an_end() {
    let server = Server::start().await;

    let said = server.claw(&["workspace", "create", "w", "--claude-md", "/dev/zero"]).await.failed(64);

    assert!(said.contains("/dev/zero: it has more than 1900000 bytes"), "{said}");
}

#[tokio::test]
async fn color_is_for_terminals_and_for_those_who_insist() {
    let server = Server::start().await;
    server.submit(SUCCEEDS).await;

    let piped = server.claw(&["list"]).await.ok();
    let insisted = server.claw(&["--color", "always", "list"]).await.ok();
    let no_color = server.command(&["list"]).env("NO_COLOR", "1").run().await.ok();

    assert!(!piped.contains('\u{1b}') && !no_color.contains('\u{1b}'));
    assert!(insisted.contains("\u{1b}[32mcompleted"), "{insisted:?}");
}

#[tokio::test]
async fn errors_are_json_with_json() {
    let server = Server::start().await;

    let said = server.claw(&["--json", "status", "abcdef"]).await.failed(2);

    let error: Value = serde_json::from_str(&said).expect("JSON");
    assert_eq!(error["code"], "JOB_NOT_FOUND");
}

#[tokio::test]
async fn every_shell_gets_completions_that_know_the_commands() {
    let home = home();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = Claw::new(home.path(), &["completions", shell]).run().await.ok();
        assert!(script.contains("workspace") && script.contains("api-url"), "{shell}");
    }
}

#[tokio::test]
async fn the_sample_configuration_is_one_that_loads() {
    let home = home();
    let sample = Claw::new(home.path(), &["config", "sample"]).run().await.ok();
    let path = home.path().join("clawmachine.toml");
    std::fs::write(&path, &sample).expect("a file");

    let ran = Claw::new(home.path(), &["--json", "doctor"]).run().await;

    let checks: Value = serde_json::from_str(&ran.stdout).expect("JSON");
    let settings =
        checks["checks"].as_array().expect("checks").iter().find(|check| check["name"] == "settings");
    assert_eq!(settings.expect("the check of the settings")["status"], "ok");
}
