//! Requests that want too much.

use axum::http::Method;
use claw_core::Scope;
use proptest::{prelude::*, test_runner::Config};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use tokio_util::sync::CancellationToken;

use crate::{
    access::operations,
    lab::{Lab, Options},
};

#[tokio::test]
async fn t32_one_caller_cannot_take_every_event_stream() {
    let lab = Lab::with(Options { max_streams_per_caller: 2, ..Options::default() }).await;
    let (hoarder, other) = (lab.key(&[Scope::JobsRead]).await, lab.key(&[Scope::JobsRead]).await);
    let mut held = Vec::new();
    for _ in 0..2 {
        held.push(lab.get("/api/v1/events/jobs").key(&hoarder).follow().await);
    }

    let refused = lab.get("/api/v1/events/jobs").key(&hoarder).send().await;

    refused.assert_error(429, "RATE_LIMITED");
    assert_eq!(refused.header("retry-after"), "5");
    lab.get("/api/v1/events/jobs").key(&other).follow().await;
    held.pop();
    lab.get("/api/v1/events/jobs").key(&hoarder).follow().await;
}

#[tokio::test]
async fn t18_a_forged_address_does_not_dodge_the_limit_on_wrong_keys() {
    let lab =
        Lab::with(Options { trusted_proxies: vec![([10, 0, 0, 0].into(), 8)], ..Options::default() }).await;
    let mut statuses = Vec::new();
    for n in 0..200 {
        let call = lab.get("/api/v1/jobs").key("wag_live_wrong");
        statuses.push(call.header("x-forwarded-for", &format!("203.0.113.{n}")).send().await.status.as_u16());
    }
    assert!(statuses.contains(&429), "{statuses:?}");
}

/// Runs the server on a socket until the guard is dropped, and returns its address.
async fn on_a_socket(lab: &Lab) -> (std::net::SocketAddr, tokio_util::sync::DropGuard) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let stop = CancellationToken::new();
    tokio::spawn(claw_server::serve(listener, lab.router.clone(), stop.clone()));
    (address, stop.drop_guard())
}

async fn raw(address: std::net::SocketAddr, request: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).await.expect("a connection");
    // The server may close before it has read everything.
    let _ = stream.write_all(request).await;
    let mut answer = Vec::new();
    let read = stream.read_to_end(&mut answer);
    let _ = tokio::time::timeout(crate::lab::PATIENCE, read).await.expect("an answer in time");
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn t32_heads_that_are_too_large_are_refused_and_the_server_goes_on() {
    let lab = Lab::new().await;
    let (address, _running) = on_a_socket(&lab).await;
    let many: String = (0..500).map(|n| format!("x-{n}: y\r\n")).collect();
    let long = "x".repeat(200_000);

    for head in [
        format!("GET /health HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n{many}\r\n"),
        format!("GET /health HTTP/1.1\r\nhost: localhost\r\nx: {long}\r\n\r\n"),
        format!("GET /{long} HTTP/1.1\r\nhost: localhost\r\n\r\n"),
    ] {
        let answer = raw(address, head.as_bytes()).await;
        let status = answer.split(' ').nth(1).unwrap_or_default();
        assert!(["400", "414", "431", ""].contains(&status), "{answer}");
    }
    let healthy = raw(address, b"GET /health HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").await;
    assert!(healthy.starts_with("HTTP/1.1 200"), "{healthy}");
}

#[tokio::test]
async fn t32_requests_that_contradict_themselves_are_refused() {
    let lab = Lab::new().await;
    let (address, _running) = on_a_socket(&lab).await;
    let head = "POST /api/v1/jobs HTTP/1.1\r\nhost: localhost\r\n";

    for rest in [
        "content-length: 5\r\ncontent-length: 6\r\n\r\nhello",
        "content-length: -1\r\n\r\n",
        "content-length: 99999999999999999999999\r\n\r\n",
        "transfer-encoding: gzip\r\n\r\nhello",
        "transfer-encoding: chunked\r\n\r\nZZ\r\nhello",
    ] {
        let answer = raw(address, format!("{head}connection: close\r\n{rest}").as_bytes()).await;
        let status: u16 = answer.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(400);
        assert!((400..500).contains(&status), "{rest:?}: {answer}");
    }
    assert_eq!(lab.get("/api/v1/jobs").send().await.expect(200)["total"], 0);
}

#[tokio::test]
async fn t23_a_compressed_body_is_not_unpacked() {
    let lab = Lab::new().await;
    // Ten bytes of gzip that would unpack to much more.
    let body: &[u8] = &[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3];

    let call = lab.call(Method::POST, "/api/v1/jobs").header("content-type", "application/json");
    let answer = call.header("content-encoding", "gzip").body(body).send().await;

    answer.assert_error(400, "INVALID_REQUEST");
}

#[tokio::test]
async fn t32_values_nested_without_end_and_parameters_without_number_are_refused_or_harmless() {
    let lab = Lab::new().await;
    let deep = format!("{{\"prompt\":{}1{}}}", "[".repeat(100_000), "]".repeat(100_000));
    let answer = lab.call(Method::POST, "/api/v1/jobs").header("content-type", "application/json").body(deep);
    answer.send().await.assert_error(422, "INVALID_BODY");

    let query: String = (0..5_000).map(|n| format!("&x{n}=1")).collect();
    let answer = lab.get(&format!("/api/v1/jobs?limit=1{query}")).send().await;
    assert!(answer.status.is_success() || answer.status.is_client_error(), "{}", answer.status);
    let twice = lab.get("/api/v1/jobs?limit=1&limit=2").send().await;
    twice.assert_error(400, "INVALID_REQUEST");
}

/// Cases of the fuzzing tests; `CLAW_FUZZ_CASES` asks for more.
#[expect(clippy::disallowed_methods, reason = "a test, and no setting")]
fn cases() -> u32 {
    std::env::var("CLAW_FUZZ_CASES").ok().and_then(|text| text.parse().ok()).unwrap_or(8)
}

/// JSON-like text, valid or not, with the fields that bodies have.
fn body() -> impl Strategy<Value = String> {
    let name = prop_oneof![
        Just("prompt"),
        Just("name"),
        Just("scopes"),
        Just("label"),
        Just("username"),
        Just("password"),
        Just("content"),
        Just("value"),
        Just("tags"),
        Just("priority"),
        Just("timeout_secs"),
        Just("workspace_id"),
        Just("max_budget_usd"),
        Just("role"),
        Just("setup_token"),
        Just("key"),
        Just("model"),
        Just("working_dir"),
    ];
    let value = prop_oneof![
        any::<f64>().prop_map(|number| json!(number)),
        any::<i64>().prop_map(|number| json!(number)),
        ".{0,40}".prop_map(|text| json!(text)),
        Just(json!(null)),
        Just(json!([])),
        Just(json!({})),
        Just(json!(["*"])),
        Just(json!([[["x"]]])),
        Just(json!("../../etc/passwd")),
        Just(json!("x".repeat(5_000))),
        Just(json!("\u{0}\u{202e}")),
    ];
    let object = prop::collection::vec((name, value), 0..6).prop_map(|fields| {
        let object: serde_json::Map<_, _> =
            fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        serde_json::Value::Object(object).to_string()
    });
    prop_oneof![4 => object, 1 => ".{0,200}", 1 => Just("{".repeat(200)), 1 => Just(String::new())]
}

/// A piece of a path or query.
fn piece() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-z0-9%._-]{0,20}",
        Just("..%2f..%2f".to_owned()),
        Just("%00".to_owned()),
        Just("%ff%fe".to_owned()),
        Just("019a5b7e-6f2d-7c3b-9d5e-0f4a1b2c3d4e".to_owned()),
        Just("-1".to_owned()),
        Just("99999999999999999999".to_owned()),
        Just("NaN".to_owned()),
    ]
}

#[test]
fn t32_no_request_makes_a_route_panic_or_break() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    let lab = runtime.block_on(Lab::new());
    let operations = operations();
    let config = Config { cases: cases(), failure_persistence: None, ..Config::default() };
    let parameter = || {
        prop_oneof![
            Just("limit"),
            Just("offset"),
            Just("status"),
            Just("since"),
            Just("until"),
            Just("from"),
            Just("to"),
            Just("group_by"),
            Just("before"),
            Just("search"),
            Just("sort"),
            Just("dry_run"),
            Just("path"),
            Just("last_event_id"),
        ]
    };
    let input = (piece(), prop::collection::vec((parameter(), piece()), 0..4), body(), any::<[u8; 12]>());
    proptest!(config, |((id, query, body, header) in input)| {
        runtime.block_on(async {
            for operation in &operations {
                if operation.path == "/api/v1/events/jobs" {
                    continue;
                }
                let mut path = operation.path.clone();
                for name in ["{id}", "{path}", "{key}", "{username}"] {
                    path = path.replace(name, if id.is_empty() { "x" } else { &id });
                }
                let query: Vec<_> = query.iter().map(|(name, value)| format!("{name}={value}")).collect();
                let method: Method = operation.method.to_uppercase().parse().expect("a method");
                let header: String = header.iter().map(|byte| char::from(byte % 94 + 33)).collect();
                let call = lab.call(method, &format!("{path}?{}", query.join("&")));
                let call = call.header("content-type", "application/json").header("last-event-id", &header);
                let answer = call.header("idempotency-key", &header).body(body.clone()).send().await;
                let status = answer.status.as_u16();
                assert!(status < 500 || status == 503, "{} {path}: {status} {}", operation.method, answer.text());
                if status >= 400 {
                    let body = answer.json();
                    let code = body["code"].as_str().or_else(|| body["error"]["code"].as_str());
                    assert!(code.is_some(), "{} {path}: {}", operation.method, answer.text());
                }
            }
        });
    });
}
