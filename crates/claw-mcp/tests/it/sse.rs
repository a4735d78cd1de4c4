//! The two-endpoint SSE within a process: what clients that misbehave can take.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use claw_core::Scope;
use claw_mcp::{
    Fixed, Hosts, McpService, Options,
    http::HttpBody,
    sse::{BaseUrl, SseLimits, SseService},
};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::house::House;

type Service = SseService<McpService<Fixed>>;

async fn service(house: &House, limits: SseLimits, stop: &CancellationToken) -> Service {
    let key = house.key(&[Scope::All]).await;
    let hosts = Arc::new(Hosts::single(house.host("", &key).await));
    let service = McpService::new(Fixed(hosts), Options::default());
    SseService::new(move || service.for_session(), BaseUrl::default(), limits, stop.clone())
}

async fn ask(service: &Service, method: Method, path: &str, body: impl Into<Bytes>) -> Response<HttpBody> {
    let request =
        Request::builder().method(method).uri(path).body(Full::new(body.into())).expect("a request");
    service.answer(request).await.expect("a path of this service")
}

/// A session, of which the first event is read.
async fn session(service: &Service) -> (Response<HttpBody>, String) {
    let mut stream = ask(service, Method::GET, "/sse", "").await;
    let greeting = event(&mut stream).await;
    let endpoint = greeting.trim().rsplit("data: ").next().expect("an endpoint").to_owned();
    (stream, endpoint)
}

async fn event(stream: &mut Response<HttpBody>) -> String {
    let frame = stream.frame().await.expect("no end").expect("it cannot fail");
    String::from_utf8(frame.into_data().expect("data").to_vec()).expect("text")
}

async fn message(stream: &mut Response<HttpBody>) -> Value {
    let event = event(stream).await;
    let data = event.split_once("data:").expect("data").1;
    serde_json::from_str(data).expect("JSON")
}

fn initialize() -> String {
    let client = json!({ "name": "test", "version": "1" });
    let params = json!({ "protocolVersion": "2024-11-05", "capabilities": {}, "clientInfo": client });
    json!({ "jsonrpc": "2.0", "id": 0, "method": "initialize", "params": params }).to_string()
}

fn request(id: u64, method: &str) -> String {
    json!({ "jsonrpc": "2.0", "id": id, "method": method }).to_string()
}

#[tokio::test]
async fn t32_who_reads_no_answers_is_asked_no_further_and_others_are_served() {
    let house = House::new().await;
    let stop = CancellationToken::new();
    let limits = SseLimits { queue_time: Duration::from_millis(50), ..SseLimits::default() };
    let service = service(&house, limits, &stop).await;
    let (mut deaf, endpoint) = session(&service).await;
    assert_eq!(ask(&service, Method::POST, &endpoint, initialize()).await.status(), StatusCode::ACCEPTED);
    message(&mut deaf).await;

    let mut accepted = 0;
    while ask(&service, Method::POST, &endpoint, request(accepted + 1, "ping")).await.status()
        == StatusCode::ACCEPTED
    {
        accepted += 1;
        // The queue for answers, that for questions, and those that are being answered.
        assert!(accepted < 100 + 16 + 100 + 64, "{accepted}");
    }
    let (mut other, other_endpoint) = session(&service).await;
    ask(&service, Method::POST, &other_endpoint, initialize()).await;
    assert!(message(&mut other).await["result"].is_object());

    // Nothing of what was taken is lost to one who only was slow.
    let mut answered: Vec<u64> = Vec::new();
    while (answered.len() as u64) < accepted {
        answered.push(message(&mut deaf).await["id"].as_u64().expect("a number"));
    }
    answered.sort_unstable();
    assert_eq!(answered, (1..=accepted).collect::<Vec<_>>());
    assert_eq!(
        ask(&service, Method::POST, &endpoint, request(0, "ping")).await.status(),
        StatusCode::ACCEPTED
    );
}

#[tokio::test]
async fn a_silent_session_is_asked_whether_it_is_there_and_its_answers_are_not_taken_for_others() {
    let house = House::new().await;
    let stop = CancellationToken::new();
    let limits = SseLimits { keep_alive: Duration::from_millis(10), ..SseLimits::default() };
    let service = service(&house, limits, &stop).await;
    let (mut stream, endpoint) = session(&service).await;
    for id in 1..=3 {
        let ping = event(&mut stream).await;
        let expected =
            format!("event: message\ndata:{{\"jsonrpc\":\"2.0\",\"id\":{id},\"method\":\"ping\"}}\n\n");
        assert_eq!(ping, expected);
        let pong = json!({ "jsonrpc": "2.0", "id": id, "result": {} }).to_string();
        assert_eq!(ask(&service, Method::POST, &endpoint, pong).await.status(), StatusCode::ACCEPTED);
    }

    ask(&service, Method::POST, &endpoint, initialize()).await;

    let told = loop {
        let message = message(&mut stream).await;
        if message.get("method").is_none() {
            break message;
        }
    };
    assert_eq!(told["result"]["serverInfo"]["name"], "ClawMachine");
}

#[tokio::test]
async fn t20_t32_a_session_ends_with_its_stream_and_all_of_them_with_the_program() {
    let house = House::new().await;
    let stop = CancellationToken::new();
    let service = service(&house, SseLimits { sessions: 1, ..SseLimits::default() }, &stop).await;
    let (first, first_endpoint) = session(&service).await;
    let full = ask(&service, Method::GET, "/sse", "").await;
    assert_eq!(full.status(), StatusCode::SERVICE_UNAVAILABLE);

    drop(first);
    let gone = ask(&service, Method::POST, &first_endpoint, initialize()).await;
    assert_eq!(gone.status(), StatusCode::BAD_REQUEST);
    let (mut second, second_endpoint) = session(&service).await;
    assert_ne!(first_endpoint, second_endpoint);
    ask(&service, Method::POST, &second_endpoint, initialize()).await;
    message(&mut second).await;

    stop.cancel();
    assert!(second.frame().await.is_none(), "the stream ends");
    service.ended().await;
}
