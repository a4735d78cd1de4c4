//! The doctor, with and without a server.

use serde_json::Value;

use crate::{
    program::{Claw, Ran},
    server::Server,
};

fn check(ran: &Ran, name: &str) -> Value {
    let value: Value = serde_json::from_str(&ran.stdout).expect("JSON");
    let checks = value["checks"].as_array().expect("checks");
    checks.iter().find(|check| check["name"] == name).unwrap_or_else(|| panic!("no {name}: {value}")).clone()
}

/// Returns a run in which every part is missing that can be.
fn on_a_bare_machine(claw: Claw) -> Claw {
    claw.env("DOCKER_HOST", "unix:///nowhere/docker.sock")
}

#[tokio::test]
async fn a_bare_machine_is_told_what_is_missing_and_how_to_mend_it() {
    let home = tempfile::tempdir().expect("a folder");
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("an address").to_string();
    drop(listener);
    let claw = Claw::new(home.path(), &["--json", "doctor", "--listen", &address]);

    let ran = on_a_bare_machine(claw).env("CLAW_API_URL", format!("http://{address}")).run().await;

    assert_eq!(ran.code, 1, "{ran:?}");
    for (name, status) in [
        ("server", "warn"),
        ("settings", "ok"),
        ("port", "ok"),
        ("docker", "fail"),
        ("git", "ok"),
        ("model credential", "fail"),
    ] {
        let check = check(&ran, name);
        assert_eq!(check["status"], status, "{check}");
        assert_eq!(check["mend"].is_string(), status != "ok", "{check}");
    }
}

#[tokio::test]
async fn a_server_that_knows_us_is_well() {
    let server = Server::start().await;

    let ran =
        on_a_bare_machine(server.command(&["--json", "doctor"])).env("ANTHROPIC_API_KEY", "sk-x").run().await;

    for name in ["server", "credential", "model credential"] {
        assert_eq!(check(&ran, name)["status"], "ok", "{ran:?}");
    }
    assert!(!ran.stdout.contains("sk-x"), "{ran:?}");
}

#[tokio::test]
async fn docker_is_no_fault_where_jobs_run_without_it() {
    let server = Server::start().await;
    let arguments = ["doctor", "--set", "execution_backend=local"];

    let ran = on_a_bare_machine(server.command(&arguments)).env("ANTHROPIC_API_KEY", "sk-x").run().await;

    assert!(ran.stdout.contains("warn  docker"), "{ran:?}");
    assert!(ran.stdout.contains("start it"), "{ran:?}");
}

#[tokio::test]
async fn another_program_on_the_port_is_named() {
    let home = tempfile::tempdir().expect("a folder");
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let taken = listener.local_addr().expect("an address").to_string();
    let free = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let nobody = free.local_addr().expect("an address").to_string();
    drop(free);
    let claw = Claw::new(home.path(), &["--json", "doctor", "--listen", &taken]);

    let ran = on_a_bare_machine(claw).env("CLAW_API_URL", format!("http://{nobody}")).run().await;

    let check = check(&ran, "port");
    assert_eq!(check["status"], "fail");
    assert!(check["found"].as_str().is_some_and(|text| text.contains("another program")), "{check}");
}

#[tokio::test]
async fn settings_that_cannot_be_used_are_a_finding() {
    let server = Server::start().await;

    let ran = server.command(&["--json", "doctor"]).env("CLAW_EXECUTION_BACKEND", "host").run().await;

    assert_eq!(ran.code, 1);
    let found = check(&ran, "settings");
    assert!(found["found"].as_str().is_some_and(|text| text.contains("CLAW_EXECUTION_BACKEND")), "{found}");
}
