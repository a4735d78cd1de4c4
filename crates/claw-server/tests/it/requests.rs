//! Requests that are wrong before any service is asked.

use axum::http::Method;
use serde_json::json;

use crate::lab::Lab;

#[tokio::test]
async fn a_bad_body_is_refused_with_what_is_wrong_about_it() {
    let lab = Lab::new().await;
    let send = |body: &str| lab.post("/api/v1/jobs", json!(null)).body(body.to_owned());

    for body in ["", "{", "nonsense", "{\"prompt\":\"x\"} trailing", "\u{0}"] {
        send(body).send().await.assert_error(400, "INVALID_REQUEST");
    }
    for (body, field) in [
        ("{}", "prompt"),
        ("[]", "SubmitBody"),
        ("null", "SubmitBody"),
        (r#"{"prompt":1}"#, "prompt"),
        (r#"{"prompt":"x","priority":256}"#, "priority"),
        (r#"{"prompt":"x","workspace_id":"y"}"#, "workspace_id"),
        (r#"{"prompt":"x","tags":[1]}"#, "tags"),
        (r#"{"prompt":"x","prompt":"y"}"#, "duplicate field"),
    ] {
        let answer = send(body).send().await;
        answer.assert_error(422, "INVALID_BODY");
        assert!(answer.text().contains(field), "{body}: {}", answer.text());
    }
    for body in
        [r#"{"prompt":""}"#, r#"{"prompt":"x","timeout_secs":0}"#, r#"{"prompt":"x","working_dir":"../y"}"#]
    {
        send(body).send().await.assert_error(400, "INVALID_REQUEST");
    }
}

#[tokio::test]
async fn t32_a_body_nested_without_end_is_refused() {
    let lab = Lab::new().await;
    let body = format!("{{\"prompt\":\"x\",\"skill_ids\":{}", "[".repeat(100_000));

    lab.post("/api/v1/jobs", json!(null)).body(body).send().await.assert_error(400, "INVALID_REQUEST");
}

#[tokio::test]
async fn a_body_of_another_type_is_refused() {
    let lab = Lab::new().await;
    for content_type in ["text/plain", "application/x-www-form-urlencoded", "application/jsonx"] {
        let call = lab.post("/api/v1/jobs", json!({ "prompt": "x" })).set("content-type", content_type);
        call.send().await.assert_error(415, "UNSUPPORTED_MEDIA_TYPE");
    }
    let untyped = lab.post("/api/v1/jobs", json!({ "prompt": "x" })).without("content-type").send().await;
    untyped.assert_error(415, "UNSUPPORTED_MEDIA_TYPE");
}

#[tokio::test]
async fn t32_a_body_that_is_too_large_is_refused_except_where_files_are_written() {
    let lab = Lab::new().await;
    let large = json!({ "prompt": "x".repeat(3 << 20), "content": "x".repeat(3 << 20) });

    lab.post("/api/v1/jobs", large.clone()).send().await.assert_error(413, "PAYLOAD_TOO_LARGE");
    lab.call(Method::POST, "/api/keys").json(&large).send().await.assert_enveloped(413, "PAYLOAD_TOO_LARGE");
    let workspace = lab.workspace("files").await;
    let path = format!("/api/v1/workspaces/{workspace}/files/large.txt");
    assert_eq!(lab.put(&path, json!({ "content": "x".repeat(3 << 20) })).send().await.status, 204);
    let larger = json!({ "content": "x".repeat(34 << 20) });
    lab.put(&path, larger).send().await.assert_error(413, "PAYLOAD_TOO_LARGE");
}

/// Many strangers at once must not fill the memory.
#[tokio::test]
async fn t32_strangers_get_little_room_for_their_bodies() {
    let lab = Lab::new().await;
    let padding = "x".repeat(64 << 10);
    let send = |path: &str| {
        let body = json!({
            "username": "ann", "password": padding, "setup_token": padding, "key": padding, "scopes": ["*"],
        });
        lab.post(path, body).anonymous()
    };

    for path in ["/api/v1/auth/login", "/api/v1/auth/setup"] {
        send(path).send().await.assert_error(413, "PAYLOAD_TOO_LARGE");
    }
    for path in ["/api/auth/setup", "/api/auth/verify"] {
        send(path).send().await.assert_enveloped(413, "PAYLOAD_TOO_LARGE");
    }
}

#[tokio::test]
async fn an_id_that_is_none_is_refused() {
    let lab = Lab::new().await;
    for path in [
        "/api/v1/jobs/x",
        "/api/v1/jobs/%2e%2e",
        "/api/v1/workspaces/0190a5d000007000800000000000",
        "/api/v1/jobs/%ff",
    ] {
        lab.get(path).send().await.assert_error(400, "INVALID_REQUEST");
    }
    lab.delete("/api/keys/x").send().await.assert_enveloped(400, "INVALID_REQUEST");
}

#[tokio::test]
async fn s32_what_there_is_not_answers_in_the_dialect_of_its_prefix() {
    let lab = Lab::new().await;

    lab.get("/api/v1/nothing").send().await.assert_error(404, "ROUTE_NOT_FOUND");
    lab.get("/api/v1/jobs/").send().await.assert_error(404, "ROUTE_NOT_FOUND");
    lab.get("/api/nothing").send().await.assert_enveloped(404, "ROUTE_NOT_FOUND");
    lab.get("/nothing").anonymous().send().await.assert_error(404, "ROUTE_NOT_FOUND");
    lab.get("/api/v1/nothing").anonymous().send().await.assert_error(401, "API_KEY_REQUIRED");
    lab.get("/api/nothing").anonymous().send().await.assert_enveloped(401, "API_KEY_REQUIRED");
    lab.delete("/api/v1/jobs").send().await.assert_error(405, "METHOD_NOT_ALLOWED");
    lab.delete("/api/v1/jobs").anonymous().send().await.assert_error(401, "API_KEY_REQUIRED");
    lab.call(Method::PUT, "/api/keys").send().await.assert_enveloped(405, "METHOD_NOT_ALLOWED");
    lab.delete("/health").anonymous().send().await.assert_error(405, "METHOD_NOT_ALLOWED");
}

#[tokio::test]
async fn s30_a_key_in_the_address_is_no_credential() {
    let lab = Lab::new().await;
    let path = format!("/api/v1/jobs?token={0}&key={0}&api_key={0}", lab.admin);

    lab.get(&path).anonymous().send().await.assert_error(401, "API_KEY_REQUIRED");
}

#[tokio::test]
async fn every_kind_of_credential_works_in_both_dialects() {
    let lab = Lab::new().await;
    for path in ["/api/v1/auth/me", "/api/settings"] {
        let call = || lab.get(path).anonymous();
        for (name, value) in [
            ("x-api-key", lab.admin.clone()),
            ("authorization", format!("Bearer {}", lab.admin)),
            ("authorization", format!("bearer {}", lab.admin)),
        ] {
            call().header(name, &value).send().await.expect(200);
        }
        assert_eq!(call().header("authorization", "Bearer nonsense").send().await.status, 401);
    }
}

#[tokio::test]
async fn t18_too_many_wrong_keys_are_told_when_to_come_back() {
    let lab = Lab::new().await;
    let mut answer = lab.get("/api/v1/jobs").key("wag_live_wrong").send().await;
    for _ in 0..50 {
        if answer.status == 429 {
            break;
        }
        answer.assert_error(401, "INVALID_KEY");
        assert!(answer.header("www-authenticate").starts_with("Bearer"));
        answer = lab.get("/api/v1/jobs").key("wag_live_wrong").send().await;
    }

    answer.assert_error(429, "RATE_LIMITED");
    assert!(answer.header("retry-after").parse::<u64>().is_ok_and(|secs| (1..=60).contains(&secs)));
    // The right key is let in from the same address all the same.
    lab.get("/api/v1/jobs").send().await.expect(200);
}

#[tokio::test]
async fn s27_without_the_store_nobody_is_let_in_and_nothing_of_it_is_told() {
    let mut lab = Lab::new().await;
    lab.cut_store().await;

    let answer = lab.get("/api/v1/jobs").send().await;
    answer.assert_error(503, "STORE_UNAVAILABLE");
    assert!(!answer.text().contains("sqlite") && !answer.text().contains(&*lab.folder().to_string_lossy()));
    lab.get("/api/keys").send().await.assert_enveloped(503, "STORE_UNAVAILABLE");
}
