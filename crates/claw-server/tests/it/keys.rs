use axum::http::Method;
use claw_core::Scope;
use serde_json::{Value, json};

use crate::lab::Lab;

#[tokio::test]
async fn a_key_is_made_shown_once_changed_and_revoked() {
    let lab = Lab::new().await;

    let made =
        lab.post("/api/keys", json!({ "label": "night", "scopes": ["jobs:read"] })).send().await.data();
    let (key, id) =
        (made["key"].as_str().expect("a key").to_owned(), made["meta"]["id"].as_str().expect("an id"));
    assert!(key.starts_with("wag_live_") && key.len() == 53);
    assert_eq!(made["meta"]["key_prefix"], format!("{}...", &key[45..]));
    assert_eq!((&made["meta"]["role"], &made["meta"]["scopes"]), (&json!("agent"), &json!(["jobs:read"])));

    let list = lab.get("/api/keys").send().await;
    assert!(!list.text().contains(&key));
    assert_eq!(list.data().as_array().map(Vec::len), Some(2));

    lab.post("/api/v1/jobs", json!({ "prompt": "x" }))
        .key(&key)
        .send()
        .await
        .assert_error(403, "SCOPE_REQUIRED");
    let path = format!("/api/keys/{id}");
    let change =
        lab.call(Method::PATCH, &path).json(&json!({ "scopes": ["jobs:read", "jobs:write"] })).send().await;
    assert_eq!(change.data()["scopes"], json!(["jobs:read", "jobs:write"]));
    lab.post("/api/v1/jobs", json!({ "prompt": "x" })).key(&key).send().await.expect(201);

    assert_eq!(lab.delete(&path).send().await.data(), json!({ "status": "revoked", "id": id }));
    lab.get("/api/v1/jobs").key(&key).send().await.assert_error(401, "INVALID_KEY");
    lab.delete(&path).send().await.assert_enveloped(400, "REVOKE_FAILED");
    lab.call(Method::PATCH, &path).json(&json!({})).send().await.assert_enveloped(404, "KEY_NOT_FOUND");
}

#[tokio::test]
async fn a11_a_key_expires_and_is_rotated_and_the_new_one_is_shown_once() {
    let lab = Lab::new().await;
    let body = json!({ "scopes": ["jobs:read"], "expires_at": "2999-01-01T00:00:00Z" });
    let made = lab.post("/api/keys", body).send().await.data();
    let (old, id) = (made["key"].as_str().expect("a key"), made["meta"]["id"].as_str().expect("an id"));
    assert_eq!(made["meta"]["expires_at"], "2999-01-01T00:00:00Z");
    let path = format!("/api/keys/{id}");
    let rotate = format!("{path}/rotate");

    let rotated = lab.post(&rotate, json!({})).send().await.data();

    let new = rotated["key"].as_str().expect("a key");
    assert!(new.starts_with("wag_live_") && new != old);
    assert_eq!(rotated["meta"]["id"], id);
    assert!(rotated["meta"]["former_until"].is_string());
    for key in [old, new] {
        lab.get("/api/v1/jobs").key(key).send().await.expect(200);
    }
    assert!(!lab.get("/api/keys").send().await.text().contains(&new[9..45]));
    let rotated = lab.post(&rotate, json!({ "grace_seconds": 0 })).send().await.data();
    for key in [old, new] {
        lab.get("/api/v1/jobs").key(key).send().await.assert_error(401, "INVALID_KEY");
    }
    let newest = rotated["key"].as_str().expect("a key");
    lab.get("/api/v1/jobs").key(newest).send().await.expect(200);
    let change = lab.call(Method::PATCH, &path).json(&json!({ "expires_at": null })).send().await;
    assert!(change.data().get("expires_at").is_none());

    let past = json!({ "scopes": ["jobs:read"], "expires_at": "2001-01-01T00:00:00Z" });
    lab.post("/api/keys", past).send().await.assert_enveloped(400, "INVALID_REQUEST");
    let long = json!({ "grace_seconds": 31 * 86_400 });
    lab.post(&rotate, long).send().await.assert_enveloped(400, "INVALID_REQUEST");
    lab.post(&rotate, json!({})).key(newest).send().await.assert_enveloped(403, "SCOPE_REQUIRED");
    lab.delete(&path).send().await.expect(200);
    lab.post(&rotate, json!({})).send().await.assert_enveloped(404, "KEY_NOT_FOUND");
}

#[tokio::test]
async fn bad_keys_are_refused_with_the_code_clients_know() {
    let lab = Lab::new().await;
    for (body, code) in [
        (json!({}), "SCOPES_REQUIRED"),
        (json!({ "scopes": [] }), "SCOPES_REQUIRED"),
        (json!({ "scopes": ["jobs:fly"] }), "UNKNOWN_SCOPE"),
        (json!({ "scopes": ["jobs:read"], "role": "root" }), "INVALID_ROLE"),
    ] {
        lab.post("/api/keys", body).send().await.assert_enveloped(400, code);
    }
    let own = lab.get("/api/settings").send().await.data();
    let path = format!("/api/keys/{}", own["id"].as_str().expect("an id"));
    lab.delete(&path).send().await.assert_enveloped(403, "CANNOT_REVOKE_SELF");
}

#[tokio::test]
async fn an_agent_lowers_its_own_scopes_and_cannot_take_them_back() {
    let lab = Lab::new().await;
    let agent = lab.key(&[Scope::JobsRead, Scope::JobsWrite]).await;
    let lower = async |scopes: &[&str]| {
        lab.post("/api/settings/scopes", json!({ "scopes": scopes })).key(&agent).send().await
    };

    assert_eq!(lower(&["jobs:read"]).await.data()["scopes"], json!(["jobs:read"]));
    lower(&["jobs:read", "jobs:write"]).await.assert_enveloped(403, "SCOPE_ESCALATION");
    lower(&[]).await.assert_enveloped(400, "SCOPES_REQUIRED");
    assert_eq!(lab.get("/api/settings").key(&agent).send().await.data()["scopes"], json!(["jobs:read"]));
}

#[tokio::test]
async fn an_agent_with_every_scope_cannot_hand_out_power() {
    let lab = Lab::new().await;
    let agent = lab.key(&[Scope::All]).await;

    let answer = lab.post("/api/keys", json!({ "scopes": ["jobs:read"] })).key(&agent).send().await;

    answer.assert_enveloped(403, "ADMIN_REQUIRED");
}

#[tokio::test]
async fn verify_tells_whose_key_it_is_and_refuses_others() {
    let lab = Lab::new().await;
    let agent = lab.key(&[Scope::JobsRead]).await;
    let verify =
        async |key: &str| lab.post("/api/auth/verify", json!({ "key": key })).anonymous().send().await;

    let good = verify(&agent).await.data();

    assert_eq!((&good["valid"], &good["role"]), (&json!(true), &json!("agent")));
    assert_eq!((&good["key_label"], &good["scopes"]), (&json!("test key"), &json!(["jobs:read"])));
    verify("wag_live_nonsense").await.assert_enveloped(401, "INVALID_KEY");
}

#[tokio::test]
async fn b7_auth_status_describes_the_key_that_asks() {
    let lab = Lab::new().await;
    let agent = lab.key(&[Scope::JobsRead]).await;

    let nobody = lab.get("/api/auth/status").anonymous().send().await.data();
    let somebody = lab.get("/api/auth/status").key(&agent).send().await.data();
    let all = lab.get("/api/auth/status").send().await.data();

    let expected =
        json!({ "has_key": true, "wizard_required": false, "setup_required": false, "key_count": 2 });
    assert_eq!(nobody, expected);
    assert_eq!(somebody["meta"]["scopes"], json!(["jobs:read"]));
    assert_ne!(somebody["meta"], Value::Null);
    assert!(
        all["meta"]["scopes"].as_array().is_some_and(|scopes| scopes.contains(&json!("containers:read")))
    );
    lab.get("/api/auth/status").key("wrong").send().await.assert_enveloped(401, "INVALID_KEY");
    let stale =
        lab.get("/api/auth/status").anonymous().header("cookie", "claw_session=over").send().await.data();
    assert_eq!(stale, expected);
}
