//! Templates.

use claw_core::Scope;
use serde_json::{Value, json};

use super::engine::{self, IMAGE, Named, lab};
use crate::lab::Lab;

#[tokio::test]
async fn b12_a_template_is_saved_read_in_the_envelope_replaced_and_deleted() {
    let lab = Lab::new().await;
    let template = json!({ "name": "web app", "compose": "services: {}\n", "more": [1] });

    let saved = lab.post("/api/containers/templates", template.clone()).send().await.data();

    assert_eq!(saved, json!({ "status": "saved", "name": "web app", "replaced": false }));
    assert_eq!(lab.get("/api/containers/templates/web%20app").send().await.data(), template);
    assert_eq!(lab.get("/api/containers/templates").send().await.data(), json!([template]));
    let replaced = lab.post("/api/containers/templates", template.clone()).send().await.data();
    assert_eq!(replaced["replaced"], true);
    let kept = lab.post("/api/containers/templates?overwrite=false", template).send().await;
    kept.assert_enveloped(409, "CONFLICT");
    assert_eq!(
        lab.delete("/api/containers/templates/web%20app").send().await.data(),
        json!({ "status": "deleted" })
    );
    lab.delete("/api/containers/templates/web%20app").send().await.assert_enveloped(404, "NOT_FOUND");
    lab.get("/api/containers/templates/web%20app").send().await.assert_enveloped(404, "NOT_FOUND");
    assert_eq!(lab.get("/api/containers/templates").send().await.data(), json!([]));
}

#[tokio::test]
async fn a3_t6_a_template_has_one_meaning_and_a_name_that_leads_nowhere() {
    let lab = Lab::new().await;
    let save = |body: &str| lab.post("/api/containers/templates", Value::Null).body(body.to_owned());

    for name in ["../../etc/passwd", "a/b", "a\\\\b", "..", "a\\nb"] {
        let body = format!("{{\"name\":\"{name}\",\"compose\":\"x\"}}");
        save(&body).send().await.assert_enveloped(400, "INVALID_TEMPLATE_NAME");
    }
    for body in ["", "[]", "null", r#"{"name":"a","name":"b"}"#, r#"{"name":"a","Name":"b"}"#, "{\"name\":"] {
        save(body).send().await.assert_enveloped(400, "INVALID_REQUEST");
    }
    let large = json!({ "name": "large", "compose": "x".repeat(300 << 10) });
    lab.post("/api/containers/templates", large).send().await.assert_enveloped(400, "INVALID_REQUEST");
    lab.get("/api/containers/templates/..%2F..%2Fetc%2Fpasswd")
        .send()
        .await
        .assert_enveloped(404, "NOT_FOUND");
    assert_eq!(lab.get("/api/containers/templates").send().await.data(), json!([]));
}

#[tokio::test]
async fn a3_a_template_is_deployed_through_the_same_policy_and_needs_the_scope_of_containers() {
    let lab = lab().await;
    let (name, other) = (Named::new("template"), Named::new("template"));
    let save = async |template: Value| lab.post("/api/containers/templates", template).send().await.data();
    save(json!({ "name": name.0, "image": IMAGE, "command": ["sleep", "600"], "env": { "A": "b" } })).await;
    let deploy = |name: &str| format!("/api/containers/templates/{name}/deploy");

    let made = lab.post(&deploy(&name.0), json!({})).send().await.data();

    assert_eq!((&made["name"], &made["state"]), (&json!(name.0), &json!("running")));
    lab.post(&deploy(&name.0), json!({})).send().await.assert_enveloped(409, "NAME_TAKEN");
    let second = lab.post(&deploy(&name.0), json!({ "name": other.0 })).send().await.data();
    assert_eq!(second["name"], other.0);
    let key = lab.key(&[Scope::TemplatesRead, Scope::TemplatesWrite]).await;
    lab.post(&deploy(&name.0), json!({})).key(&key).send().await.assert_enveloped(403, "SCOPE_REQUIRED");

    save(json!({ "name": "escape", "image": IMAGE, "privileged": true })).await;
    lab.post(&deploy("escape"), json!({})).send().await.assert_enveloped(403, "POLICY_REFUSED");
    save(json!({ "name": "mount", "image": IMAGE, "volumes": [{ "host": "/", "container": "/x" }] })).await;
    lab.post(&deploy("mount"), json!({})).send().await.assert_enveloped(403, "BLOCKED_VOLUME");
    save(json!({ "name": "odd", "image": IMAGE, "HostConfig": { "Privileged": true } })).await;
    lab.post(&deploy("odd"), json!({})).send().await.assert_enveloped(400, "INVALID_REQUEST");
    save(json!({ "name": "none" })).await;
    lab.post(&deploy("none"), json!({})).send().await.assert_enveloped(400, "INVALID_REQUEST");
}

#[tokio::test]
async fn b12_a_template_with_a_compose_file_is_deployed_as_what_it_describes() {
    let lab = lab().await;
    let name = Named::new("compose");
    let save = async |template: &str, compose: &str| {
        let body = json!({ "name": template, "compose": compose });
        lab.post("/api/containers/templates", body).send().await.data();
        lab.post(
            &format!("/api/containers/templates/{template}/deploy"),
            json!({ "name": name.0, "variables": { "WHO": "me" } }),
        )
        .send()
        .await
    };
    let service =
        |rest: &str| format!("services:\n  web:\n    image: {IMAGE}\n    command: [sleep, '600']\n{rest}");

    save("host", &service("    network_mode: host\n")).await.assert_enveloped(403, "POLICY_REFUSED");
    save("root", &service("    volumes: ['/:/host']\n")).await.assert_enveloped(403, "BLOCKED_VOLUME");
    let bind =
        "    volumes: ['x:/host']\nvolumes:\n  x:\n    driver_opts: {type: none, o: bind, device: /}\n";
    save("bind", &service(bind)).await.assert_enveloped(403, "BLOCKED_VOLUME");
    save("include", "include: [/etc/passwd]\n").await.assert_enveloped(400, "INVALID_COMPOSE_FILE");
    save("missing", &service("    environment: {A: '${NOBODY}'}\n"))
        .await
        .assert_enveloped(400, "VARIABLES_REQUIRED");
    let made = save("good", &service("    environment: {A: '${WHO}'}\n")).await.data();

    assert_eq!((&made["name"], &made["state"]), (&json!(name.0), &json!("running")));
    let config = lab.get(&format!("/api/containers/{}/config", name.0)).send().await.data();
    assert_eq!(config["env"]["A"], "me");
}

#[tokio::test]
async fn b12_the_services_of_a_template_are_deployed_stopped_and_removed_together() {
    let lab = lab().await;
    // Not of the names that are ours in this lab, and not longer than an install's may be.
    let name = engine::unique("several").replace("claw-test-", "t");
    let (web, db) = (Named(name.clone()), Named(format!("{name}-db")));
    let key = lab.key(&[Scope::TemplatesWrite, Scope::ContainersWrite, Scope::ContainersRead]).await;
    let save = async |rest: &str| {
        let compose = format!(
            "services:\n  web:\n    image: {IMAGE}\n    command: [sleep, '600']\n    init: true\n    depends_on: [db]\n    \
             stop_grace_period: 1s\n{rest}  db:\n    image: {IMAGE}\n    command: [sleep, '600']\n    init: true\n    \
             stop_grace_period: 1s\n    environment: {{WHO: '${{WHO}}'}}\n    volumes: ['data:/data', './config:/config']\n\
             volumes:\n  data:\n"
        );
        lab.post("/api/containers/templates", json!({ "name": "shop", "compose": compose }))
            .send()
            .await
            .data();
    };
    let deploy = || {
        let body = json!({ "name": web.0, "variables": { "WHO": "me" } });
        lab.post("/api/containers/templates/shop/deploy", body).key(&key)
    };
    let named = |verb: &str| lab.post(&format!("/api/marketplace/{verb}"), json!({ "install_id": web.0 }));

    // What one of them may not have, none of them gets.
    save("    privileged: true\n").await;
    deploy().send().await.assert_enveloped(403, "POLICY_REFUSED");
    assert_eq!(lab.get("/api/marketplace/installed").send().await.data(), json!([]));
    save("    ports: ['5179:80']\n").await;
    deploy().send().await.assert_enveloped(403, "POLICY_REFUSED");
    save("").await;
    let few = lab.key(&[Scope::TemplatesWrite]).await;
    deploy().key(&few).send().await.assert_enveloped(403, "SCOPE_REQUIRED");

    let made = deploy().send().await.data();

    assert_eq!(
        (&made["name"], &made["state"], &made["install_id"]),
        (&json!(web.0), &json!("running"), &json!(web.0))
    );
    let services = made["services"].as_array().expect("a list");
    let running: Vec<_> =
        services.iter().map(|service| (&service["container_name"], &service["state"])).collect();
    assert_eq!(running, [(&json!(db.0), &json!("running")), (&json!(web.0), &json!("running"))]);
    let config = lab.get(&format!("/api/containers/{}/config", db.0)).send().await.data();
    assert_eq!(config["env"]["WHO"], "me");
    assert!(config["created_by"].as_str().is_some_and(|creator| creator.starts_with("key:")), "{config}");
    deploy().send().await.assert_enveloped(409, "NAME_TAKEN");

    assert_eq!(named("stop").send().await.data()["status"], "stopped");
    let state = lab.get(&format!("/api/marketplace/{}/status", web.0)).send().await.data();
    assert_eq!(state["status"], "stopped");
    assert_eq!(named("start").send().await.data()["status"], "started");
    named("update").send().await.assert_enveloped(404, "APP_NOT_FOUND");
    let gone = lab.post("/api/marketplace/uninstall", json!({ "install_id": web.0, "delete_data": true }));
    assert_eq!(gone.send().await.data()["status"], "uninstalled");
    assert_eq!(lab.get("/api/marketplace/installed").send().await.data(), json!([]));
    lab.get(&format!("/api/containers/{}/config", db.0)).send().await.assert_enveloped(404, "NOT_FOUND");
}
