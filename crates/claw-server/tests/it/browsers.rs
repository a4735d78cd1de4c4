//! What browsers may do: hosts, origins, cookies.

use axum::http::Method;
use claw_core::{Actor, Role, Secret};
use serde_json::json;

use crate::lab::{Lab, Options};

const PATHS: [&str; 8] = [
    "/",
    "/docs",
    "/health",
    "/assets/app.css",
    "/api/openapi.json",
    "/api/v1/status",
    "/api/v1/events/jobs",
    "/api/nothing",
];

#[tokio::test]
async fn t14_a_foreign_host_name_reaches_no_route() {
    let lab = Lab::new().await;
    for path in PATHS {
        for host in ["evil.example", "evil.example:5179", "localhost.evil.example"] {
            let answer = lab.get(path).set("host", host).send().await;
            assert_eq!(answer.status, 421, "{path} at {host}");
            assert!(answer.text().contains("HOST_NOT_ALLOWED"), "{path} at {host}");
        }
        assert_eq!(lab.get(path).without("host").send().await.status, 421, "{path}");
    }
    assert_eq!(lab.get("/health").set("host", "claw.example").send().await.status, 200);
}

#[tokio::test]
async fn t14_a_foreign_origin_reaches_no_route() {
    let lab = Lab::new().await;
    for path in PATHS {
        for origin in ["https://evil.example", "null", "http://localhost:3000"] {
            let answer = lab.get(path).header("origin", origin).send().await;
            assert_eq!(answer.status, 403, "{path} from {origin}");
            assert!(answer.text().contains("ORIGIN_NOT_ALLOWED"), "{path} from {origin}");
            assert_eq!(answer.header("access-control-allow-origin"), "", "{path} from {origin}");
        }
        let elsewhere =
            lab.get(path).header("sec-fetch-site", "cross-site").header("sec-fetch-mode", "no-cors");
        assert_eq!(elsewhere.send().await.status, 403, "{path}");
    }
}

#[tokio::test]
async fn t14_a_configured_origin_may_use_the_api_and_no_other_gets_a_cors_header() {
    let lab = Lab::new().await;

    let own = lab.get("/api/v1/jobs").header("origin", "http://localhost:5179").send().await;
    let configured = lab.get("/api/v1/jobs").header("origin", "https://ui.example").send().await;

    assert_eq!((own.status.as_u16(), own.header("access-control-allow-origin")), (200, ""));
    assert_eq!(configured.status, 200);
    assert_eq!(configured.header("access-control-allow-origin"), "https://ui.example");
    assert_eq!(configured.header("access-control-allow-credentials"), "true");
    assert_eq!(configured.header("vary"), "Origin");
}

#[tokio::test]
async fn t14_asking_for_options_needs_no_credential_and_does_nothing() {
    let lab = Lab::new().await;
    let id = lab.job("x").await;
    let path = format!("/api/v1/jobs/{id}/cancel");

    let preflight = lab
        .call(Method::OPTIONS, &path)
        .anonymous()
        .header("origin", "https://ui.example")
        .header("access-control-request-method", "POST")
        .send()
        .await;
    let plain = lab.call(Method::OPTIONS, &path).send().await;
    let foreign = lab.call(Method::OPTIONS, &path).header("origin", "https://evil.example").send().await;

    assert_eq!(preflight.status, 204);
    assert_eq!(preflight.header("access-control-allow-origin"), "https://ui.example");
    assert!(preflight.header("access-control-allow-methods").contains("PATCH"));
    assert!(preflight.header("access-control-allow-headers").contains("x-api-key"));
    assert_eq!((plain.status.as_u16(), plain.header("access-control-allow-origin")), (204, ""));
    assert_eq!(foreign.status, 403);
    assert_eq!(lab.get(&format!("/api/v1/jobs/{id}")).send().await.expect(200)["status"], "pending");
}

async fn signed_in(lab: &Lab) -> String {
    let password = Secret::new("correct horse");
    lab.gate.create_user(&Actor::system(), "ann", &password, Role::User).await.expect("a user is made");
    let body = json!({ "username": "ann", "password": "correct horse" });
    let answer = lab.post("/api/v1/auth/login", body).anonymous().send().await;
    answer.expect(200);
    answer.header("set-cookie").split(';').next().expect("a cookie").to_owned()
}

#[tokio::test]
async fn t16_a_change_with_a_session_needs_a_page_of_ours_or_what_no_form_can_send() {
    let lab = Lab::new().await;
    let cookie = signed_in(&lab).await;
    let call = |method, path: &str| lab.call(method, path).anonymous().header("cookie", &cookie);
    let submit = || call(Method::POST, "/api/v1/jobs").json(&json!({ "prompt": "x" }));

    for kind in ["text/plain", "text/plain;application/json", "application/x-www-form-urlencoded", ""] {
        submit().set("content-type", kind).send().await.assert_error(403, "ORIGIN_NOT_ALLOWED");
    }
    submit().without("content-type").send().await.assert_error(403, "ORIGIN_NOT_ALLOWED");
    submit().header("origin", "https://evil.example").send().await.assert_error(403, "ORIGIN_NOT_ALLOWED");
    submit().header("origin", "null").send().await.assert_error(403, "ORIGIN_NOT_ALLOWED");
    submit().header("sec-fetch-site", "same-site").send().await.assert_error(403, "ORIGIN_NOT_ALLOWED");
    assert_eq!(lab.get("/api/v1/jobs").send().await.expect(200)["total"], 0);

    submit().header("origin", "http://localhost:5179").send().await.expect(201);
    submit().header("sec-fetch-site", "same-origin").send().await.expect(201);
    submit().header("origin", "https://ui.example").send().await.expect(201);
    // Programs that were given a person's cookie.
    submit().send().await.expect(201);
    let id = submit().set("content-type", "Application/JSON; charset=utf-8").send().await.expect(201);
    let path = format!("/api/v1/jobs/{}", id["id"].as_str().expect("an id"));
    let cancel = || call(Method::POST, &format!("{path}/cancel"));
    cancel().send().await.assert_error(403, "ORIGIN_NOT_ALLOWED");
    cancel().header("x-requested-with", "curl").send().await.expect(200);
    assert_eq!(call(Method::DELETE, &path).send().await.status, 204);
    assert_eq!(call(Method::GET, "/api/v1/jobs").send().await.expect(200)["total"], 4);
}

#[tokio::test]
async fn t16_a_session_that_was_planted_is_not_the_one_after_the_sign_in() {
    let lab = Lab::new().await;
    let planted = signed_in(&lab).await;
    let me = async |cookie: &str| {
        lab.get("/api/v1/auth/me").anonymous().header("cookie", cookie).send().await.status.as_u16()
    };
    let sign_in = async |cookie: &str| {
        let body = json!({ "username": "ann", "password": "correct horse" });
        let login = lab.post("/api/v1/auth/login", body).anonymous().header("cookie", cookie).send().await;
        login.header("set-cookie").split(';').next().expect("a cookie").to_owned()
    };

    let fresh = sign_in(&planted).await;
    assert_ne!(fresh, planted);
    assert_eq!((me(&planted).await, me(&fresh).await), (401, 200), "the old one ends");
    let chosen = sign_in("claw_session=a-value-of-the-attackers-choice").await;
    assert!(!chosen.contains("attackers"));
    assert_eq!(me("claw_session=a-value-of-the-attackers-choice").await, 401);
}

#[tokio::test]
async fn t16_session_cookies_are_out_of_reach_of_scripts_neighbors_and_plain_text_where_configured() {
    for (secure, name, end) in
        [(false, "claw_session", "Max-Age=86400"), (true, "__Host-claw_session", "Max-Age=86400; Secure")]
    {
        let lab = Lab::with(Options { secure_cookies: secure, ..Options::default() }).await;
        let password = Secret::new("correct horse");
        lab.gate.create_user(&Actor::system(), "ann", &password, Role::User).await.expect("a user is made");

        let body = json!({ "username": "ann", "password": "correct horse" });
        let answer = lab.post("/api/v1/auth/login", body).anonymous().send().await;

        let cookie = answer.header("set-cookie");
        assert!(cookie.starts_with(&format!("{name}=")), "{cookie}");
        assert!(cookie.ends_with(&format!("; HttpOnly; SameSite=Lax; Path=/; {end}")), "{cookie}");
        let pair = cookie.split(';').next().expect("a pair");
        let me = lab.get("/api/v1/auth/me").anonymous().header("cookie", pair).send().await;
        assert_eq!(me.expect(200)["username"], "ann");
        // A cookie of the other name could have been planted by a neighboring site.
        let other = if secure { pair.replace("__Host-", "") } else { format!("__Host-{pair}") };
        lab.get("/api/v1/auth/me")
            .anonymous()
            .header("cookie", &other)
            .send()
            .await
            .assert_error(401, "API_KEY_REQUIRED");
    }
}

#[tokio::test]
async fn t16_no_answer_of_any_kind_can_be_framed_run_or_sniffed() {
    let lab = Lab::new().await;
    let job = lab.completed_job().await;
    let workspace = lab.workspace("files").await;
    let file = format!("/api/v1/workspaces/{workspace}/files/page.html");
    assert_eq!(lab.put(&file, json!({ "content": "<script>alert(1)</script>" })).send().await.status, 204);
    let large = json!({ "prompt": "x".repeat(3 << 20) });

    let get = |path: &str| lab.get(path);
    let raw = |suffix: &str| lab.get(&format!("{file}{suffix}"));
    for (kind, status, call) in [
        ("a page", 200, get("/")),
        ("a style sheet", 200, get("/assets/app.css")),
        ("the document", 200, get("/api/openapi.json")),
        ("JSON", 200, get("/api/v1/jobs")),
        ("the envelope", 200, get("/api/keys")),
        ("nothing", 204, lab.call(Method::OPTIONS, "/api/v1/jobs")),
        ("a file", 200, raw("?raw=true")),
        ("a download", 200, raw("?download=true")),
        ("events", 200, get(&format!("/api/v1/jobs/{job}/logs/stream"))),
        ("lines", 200, get("/api/v1/audit/export")),
        ("metrics", 200, get("/metrics")),
        ("no credential", 401, get("/api/v1/jobs").anonymous()),
        ("an enveloped refusal", 401, get("/api/keys").anonymous()),
        ("a foreign origin", 403, get("/api/v1/jobs").header("origin", "https://evil.example")),
        ("no route", 404, get("/api/v1/nothing")),
        ("no page", 404, get("/nothing")),
        ("another method", 405, lab.delete("/api/v1/jobs")),
        ("too much", 413, lab.post("/api/v1/jobs", large)),
        ("another type", 415, lab.post("/api/v1/jobs", json!({})).set("content-type", "text/plain")),
        ("a foreign host", 421, get("/").set("host", "evil.example")),
        ("another shape", 422, lab.post("/api/v1/jobs", json!({}))),
        ("a long address", 400, get(&format!("/{}", "x".repeat(20_000)))),
    ] {
        let answer = call.send().await;

        assert_eq!(answer.status, status, "{kind}: {}", answer.text());
        assert_eq!(answer.header("x-request-id").len(), 32, "{kind}");
        assert_eq!(answer.header("x-content-type-options"), "nosniff", "{kind}");
        assert_eq!(answer.header("x-frame-options"), "DENY", "{kind}");
        assert_eq!(answer.header("referrer-policy"), "no-referrer", "{kind}");
        assert_eq!(answer.header("cross-origin-resource-policy"), "same-origin", "{kind}");
        assert!(answer.header("cache-control").contains("no-store") || kind == "a style sheet", "{kind}");
        let policy = answer.header("content-security-policy");
        assert!(policy.contains("default-src 'none'") && policy.contains("frame-ancestors 'none'"), "{kind}");
        assert!(!policy.contains("script") && !policy.contains("unsafe"), "{kind}: {policy}");
    }
}
