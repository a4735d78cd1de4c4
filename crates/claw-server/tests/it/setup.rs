use axum::http::Method;
use serde_json::json;

use crate::{
    access::operations,
    lab::{Lab, Options},
};

/// What answers before set-up, besides the pages.
const OPEN: [&str; 5] = [
    "get /health",
    "get /api/openapi.json",
    "get /api/auth/status",
    "post /api/auth/setup",
    "post /api/v1/auth/setup",
];

#[tokio::test]
async fn before_set_up_nothing_answers_but_health_the_pages_and_set_up_itself() {
    let lab = Lab::before_setup(Options::default()).await;
    for operation in operations() {
        let name = format!("{} {}", operation.method, operation.path);
        let path =
            operation.path.replace("{id}", "0190a5d0-0000-7000-8000-000000000000").replace("{path}", "a");
        let method: Method = operation.method.to_uppercase().parse().expect("a method");
        for key in [None, Some("wag_live_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=")] {
            let call = lab
                .call(method.clone(), &path)
                .json(&json!({ "username": "a", "password": "b", "key": "c" }));
            let call = if let Some(key) = key { call.key(key) } else { call };

            let answer = call.send().await;

            let locked = answer.status == 401 && answer.text().contains("SETUP_REQUIRED");
            assert_eq!(locked, !OPEN.contains(&name.as_str()), "{name}: {} {}", answer.status, answer.text());
        }
    }
    for path in ["/", "/docs", "/assets/app.css"] {
        assert_eq!(lab.get(path).send().await.status, 200, "{path}");
    }
    lab.get("/nothing").send().await.assert_error(401, "SETUP_REQUIRED");
    lab.get("/api/nothing").send().await.assert_enveloped(401, "SETUP_REQUIRED");
}

#[tokio::test]
async fn the_setup_token_makes_the_first_key_once() {
    let lab = Lab::before_setup(Options::default()).await;
    let status = lab.get("/api/auth/status").send().await.data();
    assert_eq!((&status["has_key"], &status["wizard_required"]), (&json!(false), &json!(true)));
    assert_eq!(status["setup_token_available"], true);
    let set_up = async |token: &str, scopes: &[&str]| {
        let body = json!({ "setup_token": token, "scopes": scopes, "label": "first" });
        lab.post("/api/auth/setup", body).send().await
    };

    set_up("wag_setup_wrong", &["*"]).await.assert_enveloped(403, "INVALID_SETUP_TOKEN");
    set_up(&lab.setup_token, &[]).await.assert_enveloped(400, "SCOPES_REQUIRED");
    let made = set_up(&lab.setup_token, &["*"]).await.data();
    set_up(&lab.setup_token, &["*"]).await.assert_enveloped(409, "ALREADY_SETUP");

    assert_eq!((&made["meta"]["role"], &made["meta"]["label"]), (&json!("admin"), &json!("first")));
    let key = made["key"].as_str().expect("a key");
    assert_eq!(lab.get("/api/v1/jobs").key(key).send().await.expect(200)["total"], 0);
}

#[tokio::test]
async fn the_setup_token_makes_the_first_person_once() {
    let lab = Lab::before_setup(Options::default()).await;
    let set_up = async |token: &str| {
        let body = json!({ "setup_token": token, "username": "ann", "password": "correct horse" });
        lab.post("/api/v1/auth/setup", body).send().await
    };

    set_up("wag_setup_wrong").await.assert_error(403, "INVALID_SETUP_TOKEN");
    assert_eq!(set_up(&lab.setup_token).await.expect(201), json!({ "username": "ann", "role": "admin" }));
    set_up(&lab.setup_token).await.assert_error(409, "ALREADY_SETUP");

    let body = json!({ "username": "ann", "password": "correct horse" });
    lab.post("/api/v1/auth/login", body).send().await.expect(200);
    let status = lab.get("/api/auth/status").send().await.data();
    assert_eq!((&status["has_key"], &status["key_count"]), (&json!(true), &json!(0)));
}
