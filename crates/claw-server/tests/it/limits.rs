//! Requests that want too much.

use std::{net::SocketAddr, time::Duration};

use axum::http::Method;
use claw_core::Scope;
use claw_server::ConnectionLimits;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    time::timeout,
};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::lab::{Lab, Options, PATIENCE};

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
pub(crate) async fn on_a_socket(lab: &Lab) -> (SocketAddr, DropGuard) {
    within(lab, ConnectionLimits::default()).await
}

async fn within(lab: &Lab, limits: ConnectionLimits) -> (SocketAddr, DropGuard) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let stop = CancellationToken::new();
    tokio::spawn(claw_server::serve_within(listener, lab.router.clone(), limits, stop.clone()));
    (address, stop.drop_guard())
}

pub(crate) async fn connect(address: SocketAddr) -> TcpStream {
    TcpStream::connect(address).await.expect("a connection")
}

/// Reads up to the end of the connection.
pub(crate) async fn rest(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    // A connection that is reset has ended too.
    let _ = timeout(PATIENCE, stream.read_to_end(&mut answer)).await.expect("an end in time");
    String::from_utf8_lossy(&answer).into_owned()
}

async fn raw(address: SocketAddr, request: &[u8]) -> String {
    let mut stream = connect(address).await;
    // The server may close before it has read everything.
    let _ = stream.write_all(request).await;
    rest(&mut stream).await
}

pub(crate) async fn is_healthy(address: SocketAddr) -> bool {
    raw(address, b"GET /health HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
        .await
        .starts_with("HTTP/1.1 200")
}

#[tokio::test]
async fn t32_heads_that_are_too_large_are_refused_and_the_server_goes_on() {
    let lab = Lab::new().await;
    let (address, _running) = on_a_socket(&lab).await;
    let many: String = (0..101).map(|n| format!("x-{n}: y\r\n")).collect();
    let long = "x".repeat(200_000);
    let close = "host: localhost\r\nconnection: close\r\n";

    for (head, statuses) in [
        (format!("GET /health HTTP/1.1\r\n{close}{many}\r\n"), &["431"][..]),
        (format!("GET /health HTTP/1.1\r\n{close}x: {long}\r\n\r\n"), &["431"]),
        (format!("GET /{long} HTTP/1.1\r\n{close}\r\n"), &["414", "431"]),
        (format!("GET /{} HTTP/1.1\r\n{close}\r\n", &long[..20_000]), &["400"]),
    ] {
        let answer = raw(address, head.as_bytes()).await;
        // Closing while the sender still sends may take the answer along.
        let status = answer.split(' ').nth(1).unwrap_or(statuses[0]);
        assert!(statuses.contains(&status), "{answer}");
    }
    assert!(is_healthy(address).await);
}

#[tokio::test]
async fn t32_heads_that_do_not_come_to_an_end_lose_their_connection() {
    let lab = Lab::new().await;
    let limits = ConnectionLimits { head_time: Duration::from_millis(200), ..ConnectionLimits::default() };
    let (address, _running) = within(&lab, limits).await;

    // Nothing at all, half a head, and nothing after a whole request.
    for begin in ["", "GET /health HTTP/1.1\r\nhost: loc", "GET /health HTTP/1.1\r\nhost: localhost\r\n\r\n"]
    {
        let mut stream = connect(address).await;
        stream.write_all(begin.as_bytes()).await.expect("the server reads");
        rest(&mut stream).await;
    }
    // One byte after the other, each in time, and still no end.
    let mut stream = connect(address).await;
    let mut buffer = [0; 1024];
    stream.write_all(b"GET /health HTTP/1.1\r\nx: ").await.expect("the server reads");
    loop {
        if stream.write_all(b"x").await.is_err() {
            break;
        }
        let read = timeout(Duration::from_millis(10), stream.read(&mut buffer)).await;
        if let Ok(Ok(0) | Err(_)) = read {
            break;
        }
    }
    assert!(is_healthy(address).await);
}

#[tokio::test]
async fn t32_bodies_that_do_not_come_to_an_end_are_given_up() {
    let lab = Lab::new().await;
    let limits = ConnectionLimits { body_time: Duration::from_millis(200), ..ConnectionLimits::default() };
    let (address, _running) = within(&lab, limits).await;
    let key = &lab.admin;

    for (path, head) in [
        ("/api/v1/jobs", format!("x-api-key: {key}\r\ncontent-length: 1000\r\n\r\n{{\"pro")),
        ("/api/v1/jobs", format!("x-api-key: {key}\r\ntransfer-encoding: chunked\r\n\r\n5\r\n{{\"pro\r\n")),
        // A stranger's word about the length buys no time.
        ("/api/v1/auth/login", "content-length: 33000000\r\n\r\n{\"use".to_owned()),
    ] {
        let head =
            format!("POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n{head}");
        let answer = raw(address, head.as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 400") && answer.contains("did not arrive"), "{answer}");
    }
    assert_eq!(lab.get("/api/v1/jobs").send().await.expect(200)["total"], 0);
    assert!(is_healthy(address).await);
}

/// A job with a log that no buffer of the system holds.
async fn long_log(lab: &Lab) -> String {
    let id = lab.job("x").await;
    let line = "x".repeat(100_000);
    for _ in 0..100 {
        lab.log(id, &[line.as_str(); 2]).await;
    }
    id.to_string()
}

#[tokio::test]
async fn t32_readers_that_take_nothing_are_dropped_whatever_they_asked_for() {
    let lab = Lab::new().await;
    let id = long_log(&lab).await;
    let limits = ConnectionLimits {
        connections: 2,
        write_time: Duration::from_millis(200),
        ..ConnectionLimits::default()
    };
    let (address, _running) = within(&lab, limits).await;
    let ask = async |path: &str| {
        let mut stream = connect(address).await;
        let head = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nx-api-key: {}\r\n\r\n", lab.admin);
        stream.write_all(head.as_bytes()).await.expect("the server reads");
        stream
    };
    let mut stuck = Vec::new();
    for _ in 0..2 {
        // Two fill the house, and are held open here without being read.
        stuck.push(ask(&format!("/api/v1/jobs/{id}/logs/stream")).await);
        stuck.push(ask(&format!("/api/v1/jobs/{id}/logs?limit=0")).await);

        // Takes the first place that is free again, so that it needs both to be.
        let _first = connect(address).await;
        assert!(is_healthy(address).await, "there is room again");
    }
    for mut stream in stuck {
        let answer = rest(&mut stream).await;
        assert!(answer.starts_with("HTTP/1.1 200") && answer.len() < 15_000_000, "{}", answer.len());
    }
}

#[tokio::test]
async fn t32_connections_beyond_the_limit_wait_for_their_turn() {
    let lab = Lab::new().await;
    let limits = ConnectionLimits { connections: 2, ..ConnectionLimits::default() };
    let (address, _running) = within(&lab, limits).await;
    let (first, _second) = (connect(address).await, connect(address).await);

    let mut waiting = Box::pin(is_healthy(address));
    assert!(timeout(Duration::from_millis(100), &mut waiting).await.is_err(), "the house is full");
    drop(first);

    assert!(timeout(PATIENCE, waiting).await.expect("its turn"));
}

#[tokio::test]
async fn t32_requests_that_are_sent_all_at_once_are_answered_in_order() {
    let lab = Lab::new().await;
    let (address, _running) = on_a_socket(&lab).await;
    let mut all = String::new();
    for n in 0..200 {
        all.push_str(&format!("GET /api/v1/nothing-{n} HTTP/1.1\r\nhost: localhost\r\n\r\n"));
        all.push_str("GET /health HTTP/1.1\r\nhost: localhost\r\n\r\n");
    }
    all.push_str("GET /health HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
    // After the last one nobody listens any more.
    all.push_str("GET /health HTTP/1.1\r\nhost: localhost\r\n\r\n");

    let answers = raw(address, all.as_bytes()).await;

    let statuses: Vec<_> = answers.split("HTTP/1.1 ").skip(1).map(|answer| &answer[..3]).collect();
    assert_eq!(statuses.len(), 401);
    assert!(statuses.chunks(2).all(|pair| matches!(pair, ["401", "200"] | ["200"])), "{statuses:?}");
}

#[tokio::test]
async fn a_body_is_never_taken_for_the_next_request() {
    let lab = Lab::new().await;
    let (address, _running) = on_a_socket(&lab).await;
    let hidden = format!("GET /api/keys HTTP/1.1\r\nhost: localhost\r\nx-api-key: {}\r\n\r\n", lab.admin);
    let both = "content-length: 4\r\ntransfer-encoding: chunked\r\n";
    let length = format!("content-length: {}\r\n", hidden.len());

    for (path, framing) in [
        // Refused before the body is read, not read at all, and framed in two ways.
        ("/api/v1/jobs", length.as_str()),
        ("/health", &length),
        ("/api/v1/auth/login", both),
    ] {
        let body = if framing == both { format!("0\r\n\r\n{hidden}") } else { hidden.clone() };
        let request = format!("POST {path} HTTP/1.1\r\nhost: localhost\r\n{framing}\r\n{body}");
        let mut stream = connect(address).await;
        let _ = stream.write_all(request.as_bytes()).await;
        let _ = stream.shutdown().await;
        let answer = rest(&mut stream).await;
        assert!(!answer.contains("key_prefix"), "{path} {framing}: {answer}");
    }
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
