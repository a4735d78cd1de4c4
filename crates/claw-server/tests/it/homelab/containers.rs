//! Containers: their life, what is ours, and what hangs up.

use axum::http::Method;
use claw_core::Scope;
use serde_json::{Value, json};

use super::engine::{Gatekeeper, IMAGE, Named, Outsider, lab, lab_with, outside, unique};
use crate::lab::{Lab, Options, own, until};

fn path(container: &str, what: &str) -> String {
    format!("/api/containers/{container}/{what}")
}

async fn listed(lab: &Lab, name: &str) -> Option<Value> {
    let list = lab.get("/api/containers").send().await.data();
    list.as_array().expect("a list").iter().find(|entry| entry["name"] == name).cloned()
}

#[tokio::test]
async fn c2_a_container_lives_from_creation_to_removal() {
    let lab = lab().await;
    let name = Named::new("life");
    let body = json!({
        "image": IMAGE, "name": name.0, "command": ["sleep", "600"], "env": { "TZ": "Etc/UTC", "API_TOKEN": "hunter22" },
        "ports": [{ "private": 80, "protocol": "" }],
    });

    let made = lab.post("/api/containers", body).send().await.data();

    assert_eq!(
        (&made["name"], &made["image"], &made["state"]),
        (&json!(name.0), &json!(IMAGE), &json!("running"))
    );
    let id = made["id"].as_str().expect("an id").to_owned();
    assert!(id.len() == 64 && id.bytes().all(|byte| byte.is_ascii_hexdigit()), "{id}");
    let entry = listed(&lab, &name.0).await.expect("listed at once");
    assert!(entry["status"].as_str().is_some_and(|status| status.starts_with("Up ")), "{entry}");
    let config = lab.get(&path(&name.0, "config")).send().await.data();
    assert_eq!((&config["env"]["TZ"], &config["env"]["API_TOKEN"]), (&json!("Etc/UTC"), &json!("********")));
    assert!(config["created_by"].as_str().is_some_and(|by| by.starts_with("key:")), "{config}");

    let stop = lab.post(&path(&name.0, "stop"), Value::Null).send().await.data();
    assert_eq!(stop, json!({ "status": "stopped" }));
    assert_eq!(listed(&lab, &name.0).await.expect("listed")["state"], "exited");
    let start = lab.post(&path(&id, "start"), Value::Null).send().await.data();
    assert_eq!(start, json!({ "status": "started" }));
    let again = lab.post(&path(&id[..12], "start"), Value::Null).send().await.data();
    assert_eq!(again, json!({ "status": "started" }));
    let restart = lab.post(&path(&name.0, "restart"), Value::Null).send().await.data();
    assert_eq!(restart, json!({ "status": "restarted" }));
    let delete = lab.delete(&path(&name.0, "delete")).send().await.data();
    assert_eq!(delete, json!({ "status": "deleted" }));
    assert_eq!(listed(&lab, &name.0).await, None);
    lab.delete(&path(&name.0, "delete")).send().await.assert_enveloped(404, "NOT_FOUND");
}

#[tokio::test]
async fn post_deletes_as_well_for_clients_that_cannot_send_delete() {
    let lab = lab().await;
    let container = Outsider::run("post", &[]);

    let deleted = lab.post(&path(&container.name, "delete"), Value::Null).send().await.data();

    assert_eq!(deleted, json!({ "status": "deleted" }));
    assert_eq!(listed(&lab, &container.name).await, None);
}

#[tokio::test]
async fn a5_what_is_ours_is_out_of_reach_by_its_labels_its_name_and_its_id() {
    let name = unique("own");
    let mut names = own();
    names.names.push(name.clone());
    let lab = lab_with(Options { own: names, ..Options::default() }).await;
    let labelled = Outsider::run("labelled", &["--label", "claw.instance=0123456789ab"]);
    let named = Outsider::run("named", &[]);
    outside(&["rename", &named.id, &name]);
    // Seen under its name once, it stays ours under every other.
    lab.post(&path(&name, "stop"), Value::Null).send().await.assert_enveloped(403, "PROTECTED");
    let other = unique("renamed");
    let is_kept = async || lab.store.documents.count("own-container").await.expect("the store answers") > 0;
    until(is_kept).await;
    outside(&["rename", &named.id, &other]);

    for container in [&labelled.name, &labelled.id, &labelled.id[..12].to_owned(), &other, &named.id] {
        for what in ["start", "stop", "restart", "delete"] {
            let answer = lab.post(&path(container, what), Value::Null).send().await;
            answer.assert_enveloped(403, "PROTECTED");
        }
        lab.delete(&path(container, "delete")).send().await.assert_enveloped(403, "PROTECTED");
        let config = lab.get(&path(container, "config")).send().await.data();
        assert_eq!(config["protected"], true);
    }
    for taken in [name.as_str(), &name.to_uppercase(), "wagmios-backend", "wagmios-frontend", "clawmachine"] {
        let body = json!({ "image": IMAGE, "name": taken });
        lab.post("/api/containers", body).send().await.assert_enveloped(403, "PROTECTED");
    }
    assert_eq!((labelled.state().as_str(), named.state().as_str()), ("running", "running"));
}

#[tokio::test]
async fn a6_asking_for_options_does_nothing() {
    let lab = lab().await;
    let container = Outsider::create("options", &[]);

    for what in ["start", "stop", "restart", "delete"] {
        let answer = lab.call(Method::OPTIONS, &path(&container.name, what)).send().await;
        assert_eq!((answer.status.as_u16(), answer.text().as_str()), (204, ""));
    }

    assert_eq!(container.state(), "created");
}

#[tokio::test]
async fn a15_what_looks_like_an_option_names_nothing() {
    let lab = lab().await;

    for odd in ["-a", "--help", "-f", "%2e%2e", "a%2F..%2Fb", "x%3Fforce=1", "x%00", "%20", "json"] {
        for what in ["start", "stop", "restart"] {
            let answer = lab.post(&path(odd, what), Value::Null).send().await;
            answer.assert_enveloped(404, "NOT_FOUND");
        }
        lab.get(&path(odd, "logs")).send().await.assert_enveloped(404, "NOT_FOUND");
        lab.get(&path(odd, "config")).send().await.assert_enveloped(404, "NOT_FOUND");
        lab.delete(&path(odd, "delete")).send().await.assert_enveloped(404, "NOT_FOUND");
    }
}

#[tokio::test]
async fn b5_b6_dockers_reason_arrives_with_the_right_code_and_nothing_is_left_behind() {
    let lab = lab().await;
    let name = Named::new("broken");

    let body = json!({ "image": IMAGE, "name": name.0, "command": ["/no/such/program"] });
    let answer = lab.post("/api/containers", body).send().await;

    answer.assert_enveloped(503, "DOCKER_ERROR");
    assert!(answer.text().contains("/no/such/program"), "{}", answer.text());
    assert!(answer.body.len() <= 512);
    assert_eq!(listed(&lab, &name.0).await, None);
    let body = json!({ "image": IMAGE, "name": name.0, "command": ["sleep", "600"] });
    lab.post("/api/containers", body.clone()).send().await.data();
    lab.post("/api/containers", body).send().await.assert_enveloped(409, "NAME_TAKEN");
}

#[tokio::test]
async fn two_who_race_for_one_name_get_one_container() {
    let lab = lab().await;
    let name = Named::new("race");
    let body = json!({ "image": IMAGE, "name": name.0, "command": ["sleep", "600"] });

    let racers = (0..4).map(|_| lab.post("/api/containers", body.clone()).send());
    let answers = futures_util::future::join_all(racers).await;

    let mut statuses: Vec<_> = answers.iter().map(|answer| answer.status.as_u16()).collect();
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 409, 409, 409]);
    assert_eq!(listed(&lab, &name.0).await.expect("there")["state"], "running");
}

#[tokio::test]
async fn what_the_policy_forbids_is_refused_with_its_rule() {
    let lab = lab().await;
    let name = Named::new("refused");

    for (member, value, code) in [
        ("privileged", json!(true), "POLICY_REFUSED"),
        ("cap_add", json!(["SYS_ADMIN"]), "POLICY_REFUSED"),
        ("network_mode", json!("host"), "POLICY_REFUSED"),
        ("pid", json!("host"), "POLICY_REFUSED"),
        ("security_opt", json!(["seccomp=unconfined"]), "POLICY_REFUSED"),
        ("labels", json!({ "claw.instance": "x" }), "POLICY_REFUSED"),
        ("volumes", json!([{ "host": "/", "container": "/host" }]), "BLOCKED_VOLUME"),
        ("volumes", json!([{ "host": "/var/run/docker.sock", "container": "/s" }]), "BLOCKED_VOLUME"),
        ("volumes", json!([{ "host": "wagmios_data", "container": "/data" }]), "BLOCKED_VOLUME"),
    ] {
        let mut body = json!({ "image": IMAGE, "name": name.0, "command": ["sleep", "600"] });
        body[member] = value;
        let answer = lab.post("/api/containers", body).send().await;
        answer.assert_enveloped(403, code);
        assert!(answer.text().contains('('), "names the rule: {}", answer.text());
    }
    assert_eq!(listed(&lab, &name.0).await, None);
}

#[tokio::test]
async fn b4_what_was_begun_is_done_when_the_caller_hangs_up() {
    let mut gate = Gatekeeper::before("/containers/create");
    let lab = lab_with(Options { docker: Some(gate.docker()), ..Options::default() }).await;
    let name = Named::new("hangup");
    let body = json!({ "image": IMAGE, "name": name.0, "command": ["sleep", "600"] });

    // The Engine is being asked, and then whoever asked is gone.
    let mut request = Box::pin(lab.post("/api/containers", body).send());
    tokio::select! {
        answer = &mut request => panic!("answered without the Engine: {:?}", answer.status),
        came = gate.came.wait_for(|came| *came > 0) => drop(came.expect("the gate is there")),
    }
    drop(request);
    assert_eq!(listed(&lab, &name.0).await, None);
    gate.open();

    // It is made and started, and on record as done.
    until(async || listed(&lab, &name.0).await.is_some_and(|entry| entry["state"] == "running")).await;
    until(async || {
        lab.gate.audit().flush().await;
        let page = lab.get("/api/v1/audit?verb=container.create").send().await.expect(200);
        let items = page["items"].as_array().expect("items");
        items.len() == 1 && items[0]["outcome"] == "done"
    })
    .await;
    assert_eq!(*gate.came.borrow(), 1, "the Engine was asked once");
}

#[tokio::test]
async fn a19_what_a_container_writes_is_read_without_its_secrets() {
    let lab = lab().await;
    let script =
        r#"printf 'login with %s\n' "$DB_PASSWORD"; printf '\033[31mred\033[0m \377 end\n'; echo err >&2"#;
    let container = Outsider::with_script("logs", &["--env", "DB_PASSWORD=correct horse"], script);
    outside(&["start", "--attach", &container.id]);

    let logs = lab.get(&path(&container.name, "logs")).send().await.data();

    let logs = logs.as_str().expect("text");
    assert!(logs.contains("login with ********\n") && logs.contains("red \u{fffd} end\n"), "{logs:?}");
    assert!(logs.contains("err\n"), "{logs:?}");
    let last = lab.get(&path(&container.name, "logs?tail=1&format=object")).send().await.data();
    assert_eq!(last["logs"].as_str().map(|logs| logs.lines().count()), Some(1));
    let none = lab.get(&path(&container.name, "logs?tail=0")).send().await.data();
    assert_eq!(none, "");
    lab.get(&path(&container.name, "logs?tail=999999999999")).send().await.data();
    for tail in ["-1", "x", "1.5", "+1", "%20"] {
        let answer = lab.get(&path(&container.name, &format!("logs?tail={tail}"))).send().await;
        answer.assert_enveloped(400, "INVALID_TAIL");
    }
    lab.get(&path(&container.name, "logs?since=soon")).send().await.assert_enveloped(400, "INVALID_REQUEST");
}

#[tokio::test]
async fn without_the_engine_nothing_is_told_as_if_it_were_true() {
    let lab = Lab::new().await;

    for path in ["/api/containers", "/api/images", "/api/system/info", "/api/containers/x/logs"] {
        lab.get(path).send().await.assert_enveloped(503, "DOCKER_ERROR");
    }
    lab.post("/api/containers/x/start", Value::Null).send().await.assert_enveloped(503, "DOCKER_ERROR");
    let body = json!({ "image": IMAGE });
    lab.post("/api/containers", body).send().await.assert_enveloped(503, "DOCKER_ERROR");
}

#[tokio::test]
async fn a2_who_may_not_is_told_so_before_anything_else() {
    let lab = Lab::new().await;
    let key = lab.key(&[Scope::ContainersRead]).await;

    for body in ["", "{", "{}", "[]"] {
        let call = lab.post("/api/containers", Value::Null).key(&key).body(body.to_owned());
        call.send().await.assert_enveloped(403, "SCOPE_REQUIRED");
    }
    lab.delete("/api/containers/nothing/delete")
        .key(&key)
        .send()
        .await
        .assert_enveloped(403, "SCOPE_REQUIRED");
}
