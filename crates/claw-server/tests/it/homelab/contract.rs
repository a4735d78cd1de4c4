//! What clients of the original find different from it: the list of mismatches between its server and its Go client, line
//! by line. Lines that have their place elsewhere are tested there (`m5` to `m7`, `m11`, `m13` to `m15`, `m21`); those of
//! the marketplace (`m16` to `m20`) are with the marketplace.

use claw_core::Scope;
use serde_json::{Value, json};

use super::engine::{IMAGE, Named, Outsider, lab};
use crate::lab::{Lab, until};

fn texts(value: &Value) -> Vec<&str> {
    value.as_array().expect("a list").iter().map(|text| text.as_str().expect("text")).collect()
}

#[tokio::test]
async fn m1_m2_b7_the_status_tells_the_scopes_of_the_key_that_asks() {
    let lab = Lab::new().await;
    let key = lab.key(&[Scope::ContainersRead, Scope::ContainersWrite]).await;

    let status = lab.get("/api/auth/status").key(&key).send().await.data();

    assert_eq!((&status["has_key"], &status["wizard_required"]), (&json!(true), &json!(false)));
    assert_eq!(texts(&status["meta"]["scopes"]), ["containers:read", "containers:write"]);
    let open = lab.get("/api/auth/status").anonymous().send().await.data();
    assert_eq!(open["meta"], Value::Null);
}

#[tokio::test]
async fn m3_the_status_refuses_a_wrong_key() {
    let lab = Lab::new().await;

    lab.get("/api/auth/status").key("wag_live_wrong").send().await.assert_enveloped(401, "INVALID_KEY");
}

#[tokio::test]
async fn m4_the_wildcard_is_written_out() {
    let lab = Lab::new().await;

    let status = lab.get("/api/auth/status").send().await.data();

    let scopes = texts(&status["meta"]["scopes"]);
    for scope in Scope::ALL {
        assert!(scopes.contains(&scope.as_str()), "{scope}");
    }
}

#[tokio::test]
async fn b8_a_scope_that_is_switched_on_later_holds_at_once_for_the_same_key() {
    let lab = lab().await;
    let made = lab.post("/api/keys", json!({ "scopes": ["images:read"] })).send().await.data();
    let (key, id) = (made["key"].as_str().expect("a key"), made["meta"]["id"].as_str().expect("an id"));
    lab.get("/api/containers").key(key).send().await.assert_enveloped(403, "SCOPE_REQUIRED");

    let change = lab
        .call(axum::http::Method::PATCH, &format!("/api/keys/{id}"))
        .json(&json!({ "scopes": ["images:read", "containers:read"] }));
    change.send().await.data();

    lab.get("/api/containers").key(key).send().await.data();
    let raise = lab.post("/api/settings/scopes", json!({ "scopes": ["containers:delete"] })).key(key);
    raise.send().await.assert_enveloped(403, "SCOPE_ESCALATION");
}

#[tokio::test]
async fn m8_c1_lists_of_containers_have_every_member_that_any_client_reads() {
    let lab = lab().await;
    let container =
        Outsider::run("listed", &["--network", "bridge", "--publish", "127.0.0.1::80", "--expose", "81/udp"]);

    let mut found = None;
    until(async || {
        let list = lab.get("/api/containers").send().await.data();
        let list = list.as_array().expect("a list");
        found =
            list.iter().find(|entry| entry["name"] == container.name && entry["state"] == "running").cloned();
        found.is_some()
    })
    .await;
    let entry = found.expect("the container");
    assert_eq!((&entry["id"], &entry["image"]), (&json!(container.id), &json!(IMAGE)));
    assert_eq!(entry["state"], "running");
    assert!(entry["status"].as_str().is_some_and(|line| line.starts_with("Up ")), "{entry}");
    assert!(entry["created"].as_str().is_some_and(|time| time.ends_with('Z')), "{entry}");
    let ports = entry["ports"].as_array().expect("a list");
    let port = |private: u64| ports.iter().find(|port| port["private"] == private).expect("the port");
    let published = port(80);
    let public = published["public"].as_u64().expect("a number");
    assert_eq!(published["host"], public.to_string());
    assert_eq!((&published["container"], &published["protocol"]), (&json!("80"), &json!("tcp")));
    let hidden = port(81).as_object().expect("an object");
    assert!(!hidden.contains_key("public") && hidden["protocol"] == "udp", "{hidden:?}");
}

#[tokio::test]
async fn m9_logs_are_a_text_and_an_object_for_those_who_ask() {
    let lab = lab().await;
    let container = Outsider::run("text", &[]);
    let path = format!("/api/containers/{}/logs", container.name);

    assert_eq!(lab.get(&path).send().await.data(), "");
    assert_eq!(lab.get(&format!("{path}?format=object")).send().await.data(), json!({ "logs": "" }));
    assert_eq!(lab.get(&format!("{path}?tail=")).send().await.data(), "");
}

#[tokio::test]
async fn m10_the_configuration_is_whole() {
    let lab = lab().await;
    let container = Outsider::create(
        "whole",
        &["--env", "A=b", "--restart", "on-failure:3", "--label", "x=y", "--volume", "/anonymous"],
    );

    let config = lab.get(&format!("/api/containers/{}/config", container.name)).send().await.data();

    assert_eq!(
        (&config["id"], &config["state"], &config["env"]["A"]),
        (&json!(container.id), &json!("created"), &json!("b"))
    );
    assert_eq!((&config["labels"]["x"], &config["restart_policy"]), (&json!("y"), &json!("on-failure")));
    assert_eq!(config["command"], json!(["bash", "-c", "exec sleep 600"]));
    assert_eq!(
        (&config["volumes"][0]["container"], &config["mounts"][0]["type"]),
        (&json!("/anonymous"), &json!("volume"))
    );
    assert_eq!((&config["created_by"], &config["protected"]), (&Value::Null, &json!(false)));
}

#[tokio::test]
async fn m11_m12_both_forms_of_a_body_are_taken_and_the_answer_is_a_whole_entry() {
    let lab = lab().await;
    let (promised, written) = (Named::new("promised"), Named::new("written"));
    let bodies = [
        json!({
            "image": IMAGE, "name": promised.0, "command": ["sleep", "600"],
            "env": { "A": "1" }, "ports": [{ "private": 80, "protocol": "" }],
        }),
        json!({
            "image": IMAGE, "name": written.0, "command": ["sleep", "600"],
            "env": [{ "key": "A", "value": "1" }], "attrs": { "privileged": true },
        }),
    ];
    for body in bodies {
        let made = lab.post("/api/containers", body.clone()).send().await.data();

        for member in ["id", "name", "image", "state", "status", "created"] {
            assert!(made[member].as_str().is_some_and(|text| !text.is_empty()), "{member}: {made}");
        }
        assert!(made["ports"].is_array());
        let id = made["id"].as_str().expect("an id");
        let config = lab.get(&format!("/api/containers/{id}/config")).send().await.data();
        assert_eq!((&config["env"]["A"], &config["privileged"]), (&json!("1"), &json!(false)));
    }
    // Without a name, or with the empty one that the Go client sends, Docker picks one.
    let body = json!({ "image": IMAGE, "name": "", "command": ["sleep", "600"] });
    let made = lab.post("/api/containers", body).send().await.data();
    let _removed = Named(made["name"].as_str().expect("a name").to_owned());
    assert!(!_removed.0.is_empty());
}

#[tokio::test]
async fn m21_errors_of_the_homelab_are_whole_where_clients_cut_them() {
    let lab = lab().await;
    let name = "x".repeat(5000);
    let body = json!({
        "image": IMAGE, "privileged": true, "pid": "host", "ipc": "host", "network_mode": "host", "userns": "host",
        "cap_add": ["ALL"], "security_opt": ["seccomp=unconfined", "apparmor=unconfined"],
        "volumes": [{ "host": "/", "container": "/host" }, { "host": "/etc", "container": "/e" }],
    });

    for answer in [
        lab.post("/api/containers", body).send().await,
        lab.get(&format!("/api/containers/{name}/logs")).send().await,
        lab.post("/api/containers", json!({ "image": name })).send().await,
        lab.post("/api/containers", json!({ name: 1 })).send().await,
    ] {
        assert!(answer.status.is_client_error());
        assert!(answer.body.len() <= 512, "{}", answer.text());
        assert_eq!(answer.json()["success"], false);
    }
}

#[tokio::test]
async fn m22_d18_an_address_that_ends_in_a_slash_does_no_harm() {
    let lab = Lab::new().await;

    let saved = lab.post("//api/containers/templates", json!({ "name": "x" })).send().await.data();

    assert_eq!(saved["status"], "saved");
    assert_eq!(lab.get("///api/containers/templates/x").send().await.data(), json!({ "name": "x" }));
    lab.get("//api/v1/jobs?limit=1").send().await.expect(200);
    lab.get("//api/keys").anonymous().send().await.assert_enveloped(401, "API_KEY_REQUIRED");
    lab.get("//evil.example/api").send().await.assert_error(404, "ROUTE_NOT_FOUND");
}

#[tokio::test]
async fn b16_what_there_is_not_answers_in_the_envelope() {
    let lab = Lab::new().await;

    lab.get("/api/containers/a/b/c").send().await.assert_enveloped(404, "ROUTE_NOT_FOUND");
    lab.call(axum::http::Method::PUT, "/api/containers")
        .send()
        .await
        .assert_enveloped(405, "METHOD_NOT_ALLOWED");
}
