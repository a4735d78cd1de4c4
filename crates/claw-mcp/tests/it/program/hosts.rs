//! Many hosts: some away, some back, and keys that change meanwhile.

use claw_core::Scope;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{Program, Running, file};
use crate::{
    house::{House, Talk},
    lab::until,
};

/// Starts the program with these hosts, in this order: name, address, key.
fn start(folder: &TempDir, hosts: &[(&str, &str, &str)]) -> Running {
    let instances: serde_json::Map<_, _> = hosts
        .iter()
        .map(|(name, url, key)| ((*name).to_owned(), json!({ "url": url, "key": key, "label": "" })))
        .collect();
    let path = file(folder, "hosts.json", &json!({ "instances": instances }).to_string());
    Program::new(["-config", &path]).start()
}

async fn list_hosts(talk: &mut Talk) -> Value {
    talk.call("list_hosts", json!({})).await.ok().json()
}

async fn is_up(talk: &mut Talk, name: &str) -> bool {
    let hosts = list_hosts(talk).await;
    let host = hosts.as_array().expect("a list").iter().find(|host| host["name"] == name);
    host.expect("the host").get("error").is_none()
}

async fn names(talk: &mut Talk) -> Vec<String> {
    let tools = talk.list().await;
    tools.iter().map(|tool| tool["name"].as_str().expect("a name").to_owned()).collect()
}

#[tokio::test]
async fn d5_of_two_hosts_one_is_killed_and_comes_back_by_itself_while_calls_to_the_other_go_on() {
    let folder = TempDir::new().expect("a folder");
    let (mut first, second) = (House::new().await, House::new().await);
    let key = first.key(&[Scope::JobsRead]).await;
    let other = second.key(&[Scope::JobsRead]).await;
    let mut program = start(&folder, &[("first", &first.url(), &key), ("second", &second.url(), &other)]);
    let talk = &mut program.talk;
    talk.initialize("2025-11-25").await;
    let tools = names(talk).await;
    talk.call("list_jobs", json!({ "host": "first" })).await.ok();

    first.kill().await;

    let failed = talk.call("list_jobs", json!({ "host": "first" })).await;
    assert!(failed.failure().contains("Failed to list jobs: execute request: "), "{failed:?}");
    for _ in 0..20 {
        talk.call("list_jobs", json!({ "host": "second" })).await.ok();
    }
    until(async || !is_up(talk, "first").await).await;
    assert_eq!(names(talk).await, tools, "a restart of a host is no reason to forget its tools");

    first.start_again().await;

    // Nothing is asked of it meanwhile: it is found by itself.
    until(async || is_up(talk, "first").await).await;
    talk.call("list_jobs", json!({ "host": "first" })).await.ok();
    talk.call("list_jobs", json!({ "host": "second" })).await.ok();
    assert!(talk.notifications.is_empty(), "nothing else was permitted meanwhile: {:?}", talk.notifications);
}

#[tokio::test]
async fn d5_hosts_that_are_away_or_do_not_know_their_key_stop_nobody_at_the_start() {
    let folder = TempDir::new().expect("a folder");
    let (mut late, there) = (House::new().await, House::new().await);
    let key = late.key(&[Scope::WorkspacesRead]).await;
    let other = there.key(&[Scope::JobsRead]).await;
    late.kill().await;
    let hosts = [
        ("zeta", late.url(), key.as_str()),
        ("alpha", there.url(), other.as_str()),
        ("mid", there.url(), "wag_live_nobody"),
    ];
    let hosts = hosts.each_ref().map(|(name, url, key)| (*name, url.as_str(), *key));
    let mut program = start(&folder, &hosts);
    let talk = &mut program.talk;
    talk.initialize("2025-11-25").await;

    let listed = list_hosts(talk).await;
    assert!(listed[0]["error"].as_str().expect("a problem").contains("cannot reach"), "{listed}");
    assert_eq!(listed[0]["scopes"], Value::Null);
    assert_eq!((&listed[1]["name"], &listed[1]["scopes"]), (&json!("alpha"), &json!(["jobs:read"])));
    assert!(
        listed[2]["error"].as_str().expect("a problem").contains("the credential is not valid"),
        "{listed}"
    );
    talk.call("list_jobs", json!({ "host": "alpha" })).await.ok();
    let refused = talk.call("list_workspaces", json!({ "host": "zeta" })).await;
    assert!(refused.failure().contains("host \"zeta\" cannot be used now"), "{refused:?}");
    assert!(!names(talk).await.contains(&"list_workspaces".to_owned()));

    late.start_again().await;

    // It is found, and the client told, without a question.
    while talk.next().await["method"] != "notifications/tools/list_changed" {}
    assert!(is_up(talk, "zeta").await);
    talk.call("list_workspaces", json!({ "host": "zeta" })).await.ok();
    let tools = talk.list().await;
    let tool = tools.iter().find(|tool| tool["name"] == "list_workspaces").expect("it exists now");
    assert_eq!(tool["inputSchema"]["properties"]["host"]["enum"], json!(["zeta"]));
    assert!(talk.notifications.is_empty(), "{:?}", talk.notifications);
    for words in [
        "Instance zeta (): check API key for zeta: execute request: ",
        "Instance mid (): check API key for mid: HTTP 401: ",
    ] {
        program.said(words).await;
    }
}

#[tokio::test]
async fn d10_hosts_are_named_in_the_order_of_the_file() {
    let folder = TempDir::new().expect("a folder");
    let house = House::new().await;
    let key = house.key(&[Scope::SystemRead]).await;
    let url = house.url();
    let wanted = ["zeta", "alpha", "mid", "beta", "10", "9"];
    let mut program = start(&folder, &wanted.map(|name| (name, url.as_str(), key.as_str())));
    let talk = &mut program.talk;
    talk.initialize("2025-11-25").await;

    let listed = list_hosts(talk).await;
    let listed: Vec<_> = listed.as_array().expect("a list").iter().map(|host| host["name"].clone()).collect();
    assert_eq!(json!(listed), json!(wanted));
    let tools = talk.list().await;
    let tool = tools.iter().find(|tool| tool["name"] == "check_scopes").expect("it exists");
    assert_eq!(tool["inputSchema"]["properties"]["host"]["enum"], json!(wanted));
    assert_eq!(tool["inputSchema"]["required"], json!(["host"]));
    let unknown = talk.call("check_scopes", json!({ "host": "eta" })).await;
    assert_eq!(unknown.failure(), "unknown host: eta (available: zeta, alpha, mid, beta, 10, 9)");
    let missing = talk.call("check_scopes", json!({})).await;
    assert_eq!(missing.failure(), "host parameter is required");
}

#[tokio::test]
async fn d6_a_scope_that_is_switched_on_or_off_shows_at_once_and_the_client_is_told() {
    let house = House::new().await;
    let created = house.post("/api/keys", json!({ "scopes": ["jobs:read"] })).send().await.data();
    let key = created["key"].as_str().expect("a key").to_owned();
    let path = format!("/api/keys/{}", created["meta"]["id"].as_str().expect("an id"));
    let change = async |scopes: &[&str]| {
        house
            .call(axum::http::Method::PATCH, &path)
            .json(&json!({ "scopes": scopes }))
            .send()
            .await
            .expect(200);
    };
    let mut program = Program::of(&house, &key).start();
    let talk = &mut program.talk;
    talk.initialize("2025-11-25").await;
    assert!(!names(talk).await.contains(&"list_workspaces".to_owned()));

    // A list is never older than the key, whether or not anybody was told.
    change(&["jobs:read", "workspaces:read"]).await;
    assert!(names(talk).await.contains(&"list_workspaces".to_owned()));
    talk.call("list_workspaces", json!({})).await.ok();

    for scopes in [&["jobs:read"][..], &["jobs:read", "images:read"]] {
        talk.notifications.clear();
        change(scopes).await;
        loop {
            // Without asking for anything.
            let told = talk.next().await;
            if told["method"] == "notifications/tools/list_changed" {
                break;
            }
        }
        let images = names(talk).await.contains(&"list_images".to_owned());
        assert_eq!(images, scopes.contains(&"images:read"));
    }
}

#[tokio::test]
async fn d6_a_scope_that_was_just_granted_counts_for_the_next_call() {
    let house = House::new().await;
    // A key that may not watch the server's events, so that nobody tells of the change.
    let created = house.post("/api/keys", json!({ "scopes": ["workspaces:write"] })).send().await.data();
    let key = created["key"].as_str().expect("a key").to_owned();
    let path = format!("/api/keys/{}", created["meta"]["id"].as_str().expect("an id"));
    let mut program = Program::of(&house, &key).start();
    let talk = &mut program.talk;
    talk.initialize("2025-11-25").await;
    let call = json!({ "name": "list_workspaces", "arguments": {} });
    let refused = talk.refusal("tools/call", call).await;
    assert!(refused["message"].as_str().is_some_and(|said| said.contains("`workspaces:read`")), "{refused}");

    let scopes = json!({ "scopes": ["workspaces:write", "workspaces:read"] });
    house.call(axum::http::Method::PATCH, &path).json(&scopes).send().await.expect(200);

    talk.call("list_workspaces", json!({})).await.ok();
}
