//! Requests that nobody meant: whatever comes, no route panics or breaks, and every refusal has one of our shapes.

use axum::http::{HeaderName, HeaderValue, Method, Request};
use proptest::{prelude::*, test_runner::Config};
use serde_json::json;
use tower::ServiceExt as _;

use crate::{
    access::{Operation, operations},
    lab::Lab,
};

/// Cases of each test; `CLAW_FUZZ_CASES` asks for more.
#[expect(clippy::disallowed_methods, reason = "a test, and no setting")]
fn cases(few: u32) -> Config {
    let asked = std::env::var("CLAW_FUZZ_CASES").ok().and_then(|text| text.parse().ok());
    Config { cases: asked.unwrap_or(few), failure_persistence: None, ..Config::default() }
}

/// JSON-like text, valid or not, with the fields that bodies have.
fn body() -> impl Strategy<Value = Vec<u8>> {
    let name = prop::sample::select(vec![
        "prompt",
        "name",
        "scopes",
        "label",
        "username",
        "password",
        "old_password",
        "new_password",
        "content",
        "value",
        "tags",
        "priority",
        "timeout_secs",
        "workspace_id",
        "max_budget_usd",
        "max_usd_per_day",
        "role",
        "setup_token",
        "key",
        "model",
        "working_dir",
        "allowed_tools",
        "output_dest",
        "skill_ids",
        "persistence",
        "claude_md",
        "memory_limit",
        "cpu_limit",
        "network_mode",
        "docker_memory_limit",
    ]);
    let value = prop_oneof![
        any::<f64>().prop_map(|number| json!(number)),
        any::<i64>().prop_map(|number| json!(number)),
        ".{0,40}".prop_map(|text| json!(text)),
        prop::sample::select(vec![
            json!(null),
            json!(true),
            json!([]),
            json!({}),
            json!(["*"]),
            json!([[["x"]]]),
            json!({ "type": "redis" }),
            json!("../../etc/passwd"),
            json!("x".repeat(5_000)),
            json!("\u{0}\u{202e}\u{1b}[2J"),
            json!(u64::MAX),
        ]),
    ];
    let object = prop::collection::vec((name, value), 0..6).prop_map(|fields| {
        let object: serde_json::Map<_, _> =
            fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        serde_json::Value::Object(object).to_string().into_bytes()
    });
    prop_oneof![
        5 => object,
        1 => ".{0,200}".prop_map(String::into_bytes),
        1 => prop::collection::vec(any::<u8>(), 0..200),
        1 => prop::sample::select(vec!["{".repeat(200), "[".repeat(50_000), String::new(), "\u{feff}{}".into()])
            .prop_map(String::into_bytes),
    ]
}

/// A piece of a path or query.
fn piece() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-z0-9%._~:@!$&'()*+,;=-]{0,30}",
        prop::collection::vec(any::<u8>(), 0..12)
            .prop_map(|bytes| bytes.iter().map(|byte| format!("%{byte:02x}")).collect()),
        prop::sample::select(
            [
                "..%2f..%2f",
                "..",
                "%00",
                "%ff%fe",
                "%",
                "-1",
                "99999999999999999999",
                "NaN",
                "2026-02-30",
                "true",
                "019a5b7e-6f2d-7c3b-9d5e-0f4a1b2c3d4e",
                "2026-01-01T00:00:00Z",
                "-009999-01-01",
            ]
            .map(str::to_owned)
            .to_vec()
        ),
    ]
}

fn query() -> impl Strategy<Value = String> {
    let name = prop::sample::select(vec![
        "limit",
        "offset",
        "status",
        "since",
        "until",
        "from",
        "to",
        "group_by",
        "before",
        "after",
        "search",
        "sort",
        "dry_run",
        "path",
        "last_event_id",
        "outcome",
        "actor",
        "verb",
        "target",
        "tag",
        "source",
        "workspace_id",
        "username",
        "owner",
        "delete_files",
        "raw",
        "download",
    ]);
    prop::collection::vec((name, piece()), 0..5).prop_map(|pairs| {
        let pairs: Vec<_> = pairs.into_iter().map(|(name, value)| format!("{name}={value}")).collect();
        pairs.join("&")
    })
}

/// Headers that are looked at, with whatever bytes a header may hold.
fn headers() -> impl Strategy<Value = Vec<(&'static str, Vec<u8>)>> {
    let name = prop::sample::select(vec![
        "content-type",
        "last-event-id",
        "idempotency-key",
        "cookie",
        "authorization",
        "origin",
        "sec-fetch-site",
        "sec-fetch-mode",
        "x-forwarded-for",
        "forwarded",
        "x-requested-with",
        "accept",
        "range",
        "if-none-match",
        "content-encoding",
        "x-api-key",
        "host",
    ]);
    let value = prop_oneof![
        prop::collection::vec(any::<u8>(), 0..60),
        prop::sample::select(vec![
            "Bearer ",
            "Basic Og==",
            "claw_session=",
            ";;;=;",
            "for=\"[::",
            "application/json;",
            "localhost:99999",
            "[::1",
            "null",
            "http://",
            "cross-site",
            "navigate",
            "bytes=0-0",
            "gzip",
        ])
        .prop_map(|text| text.as_bytes().to_vec()),
    ];
    prop::collection::vec((name, value), 0..5)
}

/// Sends a request that may be anything and checks what comes back.
async fn send(
    lab: &Lab,
    operation: &Operation,
    path: &str,
    headers: &[(&'static str, Vec<u8>)],
    body: Vec<u8>,
) {
    let method: Method = operation.method.to_uppercase().parse().expect("a method");
    let Ok(mut request) = Request::builder().method(method).uri(path).body(axum::body::Body::from(body))
    else {
        // No address that a client could send.
        return;
    };
    let fields = request.headers_mut();
    fields.insert("host", HeaderValue::from_static("localhost"));
    fields.insert("content-type", HeaderValue::from_static("application/json"));
    fields.insert("x-api-key", lab.admin.parse().expect("a header value"));
    for (name, value) in headers {
        if let Ok(value) = HeaderValue::from_bytes(value) {
            fields.insert(HeaderName::from_static(name), value);
        }
    }
    let response = lab.router.clone().oneshot(request).await.expect("the router never fails");
    let status = response.status().as_u16();
    if response.headers().get("content-type").is_some_and(|kind| kind == "text/event-stream") && status == 200
    {
        // It may never end.
        return;
    }
    let answer = axum::body::to_bytes(response.into_body(), 64 << 20).await.expect("a readable answer");
    let name = format!("{} {path}: {status} {}", operation.method, String::from_utf8_lossy(&answer));
    // The Engine of this lab is away, which routes say who ask it.
    let is_away = status == 503 && name.contains("DOCKER_ERROR");
    assert!(status < 500 || is_away, "{name}");
    if status >= 400 {
        let body: serde_json::Value = serde_json::from_slice(&answer).unwrap_or_else(|_| panic!("{name}"));
        let code = body["code"].as_str().or_else(|| body["error"]["code"].as_str());
        assert!(code.is_some_and(|code| !code.is_empty()), "{name}");
    }
}

#[test]
fn t32_no_request_makes_a_route_panic_or_break() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    let lab = runtime.block_on(Lab::new());
    let operations = operations();
    let input = (piece(), query(), headers(), body());
    // With the right key first, or next to nothing would get beyond it.
    proptest!(cases(24), |((id, query, headers, body) in input)| {
        let open: Vec<_> =
            headers.into_iter().filter(|(name, _)| !["x-api-key", "host", "origin", "content-type"].contains(name)).collect();
        for operation in &operations {
            let mut path = operation.path.clone();
            for name in ["{id}", "{path}", "{key}", "{username}"] {
                path = path.replace(name, if id.is_empty() { "x" } else { &id });
            }
            let path = format!("{path}?{query}");
            runtime.block_on(send(&lab, operation, &path, &open, body.clone()));
        }
    });
}

#[test]
fn t32_no_head_of_a_request_breaks_the_server() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    let lab = runtime.block_on(Lab::new());
    let method = prop::sample::select(vec!["get", "post", "put", "patch", "delete", "trace", "x-any"]);
    let path = prop::collection::vec(piece(), 0..6).prop_map(|pieces| format!("/{}", pieces.join("/")));
    let prefix =
        prop::sample::select(vec!["", "/api", "/api/v1", "/api/v1/jobs", "/api/keys", "/assets", "/docs"]);
    let input = (method, prefix, path, query(), headers(), body());
    proptest!(cases(400), |((method, prefix, path, query, headers, body) in input)| {
        let operation = Operation { method: method.into(), path: String::new(), scope: None };
        let path = format!("{prefix}{path}?{query}");
        runtime.block_on(send(&lab, &operation, &path, &headers, body));
    });
}

#[test]
fn t32_no_bytes_on_a_connection_break_the_server() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    let lab = runtime.block_on(Lab::new());
    let (address, _running) = runtime.block_on(crate::limits::on_a_socket(&lab));
    let whole = format!(
        "POST /api/v1/jobs HTTP/1.1\r\nhost: localhost\r\nx-api-key: {}\r\ncontent-type: application/json\r\n\
         content-length: 14\r\nconnection: close\r\n\r\n{{\"prompt\":\"x\"}}",
        lab.admin
    );
    let length = whole.len();
    let changes = prop::collection::vec((0..length, any::<u8>()), 0..6);
    proptest!(cases(100), |((changes, cut) in (changes, 0..=length))| {
        let mut bytes = whole.clone().into_bytes();
        for (place, byte) in changes {
            bytes[place] = byte;
        }
        bytes.truncate(cut);
        runtime.block_on(async {
            let mut stream = crate::limits::connect(address).await;
            let _ = tokio::io::AsyncWriteExt::write_all(&mut stream, &bytes).await;
            let _ = tokio::io::AsyncWriteExt::shutdown(&mut stream).await;
            let answer = crate::limits::rest(&mut stream).await;
            let status = answer.split(' ').nth(1).unwrap_or("400");
            assert!(status.starts_with(['2', '4']), "{answer}");
        });
    });
    assert!(runtime.block_on(crate::limits::is_healthy(address)));
}
