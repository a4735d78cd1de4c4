//! Requests to a server in process, and what they are answered.

use axum::{
    Router,
    body::{Body, BodyDataStream},
    http::{HeaderMap, Method, Request, StatusCode, header},
};
use futures_util::StreamExt as _;
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use tower::ServiceExt as _;

use super::PATIENCE;

/// A request in the making.
pub(crate) struct Call {
    router: Router,
    request: axum::http::request::Builder,
    body: Option<Body>,
}

impl Call {
    pub(super) fn new(router: Router, method: Method, path: &str) -> Self {
        Self { router, request: Request::builder().method(method).uri(path), body: None }
    }

    pub(crate) fn header(mut self, name: &'static str, value: &str) -> Self {
        let headers = self.request.headers_mut().expect("a request that can be made");
        headers.append(name, value.parse().expect("a header value"));
        self
    }

    /// Replaces a header.
    pub(crate) fn set(mut self, name: &'static str, value: &str) -> Self {
        self = self.without(name);
        self.header(name, value)
    }

    pub(crate) fn without(mut self, name: &'static str) -> Self {
        self.request.headers_mut().expect("a request that can be made").remove(name);
        self
    }

    pub(crate) fn anonymous(self) -> Self {
        self.without("x-api-key")
    }

    pub(crate) fn key(self, key: &str) -> Self {
        self.set("x-api-key", key)
    }

    pub(crate) fn body(mut self, body: impl Into<Body>) -> Self {
        self.body = Some(body.into());
        self
    }

    pub(crate) fn json(self, body: &Value) -> Self {
        self.set("content-type", "application/json").body(body.to_string())
    }

    /// Sends the request and returns the answer as it begins.
    pub(crate) async fn open(self) -> axum::response::Response {
        let request =
            self.request.body(self.body.unwrap_or_else(Body::empty)).expect("a request that can be made");
        let answer = tokio::time::timeout(PATIENCE, self.router.oneshot(request)).await;
        answer.expect("an answer in time").expect("the router never fails")
    }

    /// Sends the request and reads the whole answer.
    pub(crate) async fn send(self) -> Answer {
        let (parts, body) = self.open().await.into_parts();
        let body = tokio::time::timeout(PATIENCE, body.collect()).await.expect("a whole answer in time");
        let body = body.expect("a readable answer").to_bytes().to_vec();
        Answer { status: parts.status, headers: parts.headers, body }
    }

    /// Sends the request and follows the events it answers.
    pub(crate) async fn follow(self) -> Events {
        let response = self.open().await;
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.headers()[header::CONTENT_TYPE], "text/event-stream");
        Events { body: response.into_body().into_data_stream(), text: String::new() }
    }
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().expect("a text header"))
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|_| panic!("{}: no JSON: {}", self.status, self.text()))
    }

    /// Checks the status and returns the body.
    pub(crate) fn expect(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", self.text());
        self.json()
    }

    /// Checks that it is a success of the homelab's dialect and returns its data.
    pub(crate) fn data(&self) -> Value {
        let body = self.expect(200);
        assert_eq!((&body["success"], &body["error"]), (&json!(true), &Value::Null));
        body["data"].clone()
    }

    /// Returns the code of an error in the orchestrator's dialect, with the shape checked.
    pub(crate) fn code(&self) -> String {
        let body = self.json();
        assert!(
            body["error"].is_string() && body.as_object().is_some_and(|fields| fields.len() == 2),
            "{body}"
        );
        body["code"].as_str().unwrap_or_else(|| panic!("no code: {body}")).to_owned()
    }

    /// Checks that it is this error in the orchestrator's dialect.
    pub(crate) fn assert_error(&self, status: u16, code: &str) {
        assert_eq!((self.status.as_u16(), self.code().as_str()), (status, code), "{}", self.text());
    }

    /// Checks that it is this error in the homelab's dialect.
    pub(crate) fn assert_enveloped(&self, status: u16, code: &str) {
        let body = self.json();
        assert_eq!((&body["success"], &body["data"]), (&json!(false), &Value::Null), "{body}");
        assert_eq!((self.status.as_u16(), body["error"]["code"].as_str()), (status, Some(code)), "{body}");
        assert!(body["error"]["message"].is_string(), "{body}");
    }
}

/// One server-sent event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Event {
    pub(crate) name: String,
    pub(crate) id: Option<u64>,
    pub(crate) data: String,
}

impl Event {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.data).expect("JSON data")
    }
}

/// Events of an open stream.
pub(crate) struct Events {
    body: BodyDataStream,
    text: String,
}

impl Events {
    /// Returns the next event, or `None` when the stream has ended.
    pub(crate) async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some((block, rest)) = self.text.split_once("\n\n") {
                let event = parse(block);
                self.text = rest.to_owned();
                if event.name.is_empty() {
                    continue;
                }
                return Some(event);
            }
            let chunk = self.chunk().await?;
            self.text.push_str(&chunk);
        }
    }

    /// Returns the next bytes as they come.
    pub(crate) async fn chunk(&mut self) -> Option<String> {
        let chunk = tokio::time::timeout(PATIENCE, self.body.next()).await.expect("bytes in time")?;
        Some(String::from_utf8(chunk.expect("a readable stream").to_vec()).expect("UTF-8"))
    }

    /// Returns every event up to the end of the stream.
    pub(crate) async fn rest(mut self) -> Vec<Event> {
        let mut events = Vec::new();
        while let Some(event) = self.next().await {
            events.push(event);
        }
        events
    }
}

fn parse(block: &str) -> Event {
    let mut event = Event::default();
    let mut data = Vec::new();
    for line in block.split('\n') {
        match line.split_once(": ") {
            Some(("event", name)) => event.name = name.to_owned(),
            Some(("id", id)) => event.id = id.parse().ok(),
            Some(("data", text)) => data.push(text),
            _ => {}
        }
    }
    event.data = data.join("\n");
    event
}
