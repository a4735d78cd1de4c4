//! What must not get out, wherever it comes in.

use std::{cell::RefCell, io, sync::Once};

use axum::http::Method;
use claw_core::{Actor, Role, Secret};
use serde_json::json;
use tracing_subscriber::{Layer as _, filter::dynamic_filter_fn, fmt, layer::SubscriberExt as _};

use crate::lab::{Lab, Options};

thread_local! {
    /// What is logged on this thread, if its test wants to know. Everything of a test but the store runs on one thread.
    static LOG: RefCell<Option<Vec<u8>>> = const { RefCell::new(None) };
}

/// Writes to the log of the thread.
struct ThreadLog;

impl io::Write for ThreadLog {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        LOG.with_borrow_mut(|log| log.get_or_insert_default().write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Begins to keep what is logged on this thread, on every level. One subscriber for all tests: what is enabled is
/// remembered for the whole process.
fn log_everything() {
    static INSTALL: Once = Once::new();
    INSTALL.call_once(|| {
        let wanted = dynamic_filter_fn(|_, _| LOG.with_borrow(Option::is_some));
        let layer = fmt::layer().with_ansi(false).with_writer(|| ThreadLog).with_filter(wanted);
        let subscriber = tracing_subscriber::registry().with(layer);
        tracing::subscriber::set_global_default(subscriber).expect("no other test sets one");
    });
    LOG.set(Some(Vec::new()));
}

fn logged() -> String {
    String::from_utf8_lossy(&LOG.take().expect("a log")).into_owned()
}

#[tokio::test]
async fn t12_no_secret_of_a_request_is_in_the_log_or_the_audit_trail() {
    log_everything();
    let lab = Lab::new().await;
    let password = Secret::new("CANARY-password");
    lab.gate.create_user(&Actor::system(), "ann", &password, Role::User).await.expect("a user is made");
    let workspace = lab.workspace("files").await;
    let file = format!("/api/v1/workspaces/{workspace}/files/a.txt");

    let anonymous = |path: &str| lab.get(path).anonymous();
    let login = |username: &str, password: &str| {
        let body = json!({ "username": username, "password": password });
        lab.post("/api/v1/auth/login", body).anonymous()
    };
    let sign_in = login("ann", "CANARY-password").send().await;
    let cookie = sign_in.header("set-cookie").split(';').next().expect("a cookie").to_owned();
    let change = json!({ "old_password": "CANARY-wrong", "new_password": "CANARY-newer" });
    for call in [
        anonymous("/api/v1/jobs").header("x-api-key", "wag_live_CANARY-key"),
        anonymous("/api/v1/jobs").header("authorization", "Bearer CANARY-bearer"),
        anonymous("/api/v1/jobs").header("authorization", "Basic CANARY-basic"),
        anonymous("/api/v1/jobs").header("cookie", "claw_session=CANARY-cookie"),
        anonymous("/api/v1/jobs?token=CANARY-query&limit=CANARY-limit"),
        lab.get("/api/v1/jobs?limit=CANARY-limit&search=CANARY-search"),
        lab.get("/api/v1/nothing?key=CANARY-query"),
        lab.get("/api/v1/jobs").header("referer", "http://localhost/?token=CANARY-referer"),
        lab.get("/api/v1/jobs").header("user-agent", "CANARY-agent"),
        lab.get("/api/v1/jobs").header("origin", "https://CANARY-origin.example"),
        lab.get("/api/v1/auth/me").anonymous().header("cookie", &cookie),
        lab.post("/api/v1/jobs", json!({ "prompt": "CANARY-prompt" }))
            .header("idempotency-key", "CANARY-mark"),
        lab.post("/api/v1/jobs", json!({ "prompt": "x", "priority": "CANARY-field" })),
        lab.post("/api/v1/jobs", json!(null)).body("{\"prompt\": CANARY-body"),
        lab.put(&file, json!({ "content": "CANARY-content" })),
        lab.put("/api/v1/config/anthropic_api_key", json!({ "value": "CANARY-model-key" })),
        lab.put("/api/v1/config", json!({ "sandbox_image": 1, "CANARY-name": "x" })),
        lab.post("/api/auth/verify", json!({ "key": "wag_live_CANARY-verify" })).anonymous(),
        lab.post("/api/auth/setup", json!({ "setup_token": "CANARY-token", "scopes": ["*"] })).anonymous(),
        login("ann", "CANARY-wrong"),
        // People type their password into the other field.
        login("CANARY-typed-into-the-wrong-field", "x"),
        lab.post("/api/v1/auth/password", change).anonymous().header("cookie", &cookie),
        lab.put("/api/v1/auth/users/ann/password", json!({ "password": "CANARY-reset" })),
        lab.call(Method::PATCH, "/api/keys/CANARY")
            .json(&json!({ "label": "CANARY-label" }))
            .set("x-api-key", "CANARY"),
    ] {
        call.send().await;
    }
    let trail = lab.get("/api/v1/audit/export").send().await.text();

    // The path of a request is logged, as the only thing that the sender chose.
    let log = logged().replace("path=\"/api/keys/CANARY\"", "");
    assert!(log.contains("job submitted") && trail.contains("job.submit"));
    for secret in ["CANARY", &lab.admin, cookie.trim_start_matches("claw_session=")] {
        let lines: Vec<_> = log.lines().filter(|line| line.contains(secret)).collect();
        assert!(lines.is_empty(), "the log holds {secret}: {lines:?}");
        assert!(!trail.contains(secret), "the trail holds {secret}");
    }
}

#[tokio::test]
async fn lines_about_a_job_name_it_and_the_request() {
    log_everything();
    let lab = Lab::with(Options::default()).await;

    let submitted = lab.post("/api/v1/jobs", json!({ "prompt": "x" })).send().await;

    let (id, request) = (submitted.expect(201)["id"].clone(), submitted.header("x-request-id").to_owned());
    let log = logged();
    let line = log.lines().find(|line| line.contains("job submitted")).expect("a line");
    assert!(line.contains(id.as_str().expect("an id")) && line.contains(&request), "{line}");
}
