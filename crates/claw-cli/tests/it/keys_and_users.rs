//! Keys and accounts.

use serde_json::json;

use crate::server::Server;

#[tokio::test]
async fn a_key_is_printed_once_and_alone() {
    let server = Server::start().await;

    let ran = server.claw(&["key", "create", "--scope", "jobs:read", "--label", "reader"]).await;

    assert!(ran.stderr.contains("not shown again"), "{}", ran.stderr);
    let key = ran.ok();
    assert!(key.starts_with("wag_live_") && key.lines().count() == 1, "{key}");
    server.anonymous(&["--api-key", key.trim(), "list"]).run().await.ok();
    assert!(!server.claw(&["key", "list"]).await.ok().contains(key.trim()));
}

#[tokio::test]
async fn a_key_is_changed_by_its_label_and_stays_the_same() {
    let server = Server::start().await;
    server.claw(&["key", "create", "--scope", "jobs:read", "--label", "reader"]).await.ok();

    let scopes = ["--scope", "jobs:read", "--scope", "jobs:write"];
    let json = server.claw(&[&["--json", "key", "update", "reader"][..], &scopes].concat()).await.json();

    assert_eq!((&json["label"], &json["scopes"]), (&json!("reader"), &json!(["jobs:read", "jobs:write"])));
    assert_eq!(server.claw(&["--json", "key", "show", "reader"]).await.json(), json);
}

#[tokio::test]
async fn a_rotated_key_is_printed_once_and_alone() {
    let server = Server::start().await;
    let create = ["key", "create", "--scope", "jobs:read", "--label", "reader", "--expires"];
    let old = server.claw(&[&create[..], &["30d"]].concat()).await.ok();
    assert!(server.claw(&["key", "show", "reader"]).await.ok().contains("expires     20"));

    let ran = server.claw(&["key", "rotate", "reader", "--grace", "1h"]).await;

    assert!(ran.stderr.contains("the former one is good until"), "{}", ran.stderr);
    let new = ran.ok();
    assert!(new.starts_with("wag_live_") && new.lines().count() == 1 && new != old, "{new}");
    server.claw(&["key", "rotate", "reader", "--grace", "forever"]).await.failed(64);
    server.claw(&[&create[..], &["someday"]].concat()).await.failed(64);
}

#[tokio::test]
async fn a_key_that_does_not_exist_exits_with_2() {
    let server = Server::start().await;

    server.claw(&["key", "show", "nobody"]).await.failed(2);
    server.claw(&["key", "revoke", "nobody"]).await.failed(2);
}

#[tokio::test]
async fn a_password_comes_from_standard_input_and_never_from_an_argument() {
    let server = Server::start().await;

    let out =
        server.command(&["user", "create", "ann", "--role", "admin"]).stdin("pass word\n").run().await.ok();
    server.claw(&["user", "create", "bob", "--password", "x"]).await.failed(64);

    assert_eq!(out, "ann created with role admin\n");
    assert_eq!(
        server.sent_to("users"),
        [json!({"username": "ann", "password": "pass word", "role": "admin"})]
    );
}
