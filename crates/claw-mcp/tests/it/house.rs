//! A whole server on loopback, and talks with MCP servers in front of it.
//!
//! ```ignore
//! let house = House::with_docker().await;
//! let mut talk = house.tools(&[Scope::ContainersRead]).await;
//! let answer = talk.call("list_containers", json!({})).await;
//! assert!(answer.text().contains("web"));
//! ```
//!
//! Programs are tested alike: [`Talk::over`] their standard output and input, with [`House::url`] and [`House::key`].

use std::{collections::HashMap, net::SocketAddr, ops::Deref, sync::Arc, time::Duration};

use claw_client::{Client, Credential};
use claw_core::Scope;
use claw_mcp::{Fixed, Host, Hosts, McpService, Options as ServiceOptions};
use rmcp::ServiceExt as _;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncRead, AsyncWrite, AsyncWriteExt as _, BufReader, Lines},
    net::TcpListener,
};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

use crate::{
    engine,
    lab::{Lab, Options},
    schema,
};

/// How long an answer may take before a test fails: the server itself waits 25 seconds for Compose.
const PATIENCE: Duration = Duration::from_secs(120);

/// A server that listens. What else it has and can do is that of [`Lab`].
pub(crate) struct House {
    lab: Lab,
    address: SocketAddr,
    serving: Option<AbortOnDropHandle<()>>,
}

impl Deref for House {
    type Target = Lab;

    fn deref(&self) -> &Lab {
        &self.lab
    }
}

impl House {
    /// A server whose Engine is away.
    pub(crate) async fn new() -> Self {
        Self::around(Lab::new().await).await
    }

    /// A server over the machine's own Engine.
    pub(crate) async fn with_docker() -> Self {
        Self::around(engine::lab().await).await
    }

    /// A server over the machine's own Engine that differs from the usual.
    pub(crate) async fn with(options: Options) -> Self {
        Self::around(engine::lab_with(options).await).await
    }

    async fn around(lab: Lab) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let mut house = Self { lab, address, serving: None };
        house.serve(listener);
        house
    }

    fn serve(&mut self, listener: TcpListener) {
        let serving = claw_server::serve(listener, self.lab.router.clone(), CancellationToken::new());
        let serving = tokio::spawn(async move { serving.await.expect("the server runs") });
        self.serving = Some(AbortOnDropHandle::new(serving));
    }

    /// The address, without a slash at its end.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Breaks every connection and takes no more, as a crash does.
    pub(crate) async fn kill(&mut self) {
        let serving = self.serving.take().expect("the server runs");
        serving.abort();
        // It was aborted, so its result says nothing.
        drop(serving.await);
    }

    /// Listens again at the same address.
    pub(crate) async fn start_again(&mut self) {
        let listener = TcpListener::bind(self.address).await.expect("the port is free again");
        self.serve(listener);
    }

    /// This server as tools see it, with a key; it was asked about the key.
    pub(crate) async fn host(&self, name: &str, key: &str) -> Host {
        let address = self.url().parse().expect("an address");
        let client = Client::new(address, Some(Credential::new(key))).expect("a client");
        let host = Host::new(name, "", client);
        host.refresh().await.expect("the server knows the key");
        host
    }

    /// Begins a talk with the tools of a new key that holds these scopes.
    pub(crate) async fn tools(&self, scopes: &[Scope]) -> Talk {
        let key = self.key(scopes).await;
        self.tools_of(&key).await
    }

    /// Begins a talk with the tools of this key.
    pub(crate) async fn tools_of(&self, key: &str) -> Talk {
        Talk::with(Hosts::single(self.host("", key).await), ServiceOptions::default()).await
    }
}

/// What the other side of a talk says.
pub(crate) type Incoming = Lines<BufReader<Box<dyn AsyncRead + Send + Unpin>>>;

/// What is said to it.
pub(crate) type Outgoing = Box<dyn AsyncWrite + Send + Unpin>;

/// A talk in JSON-RPC, one message a line.
pub(crate) struct Talk {
    lines: Incoming,
    writer: Outgoing,
    last_id: u64,
    /// What came without being asked for, the oldest first.
    pub(crate) notifications: Vec<Value>,
    /// What the results of tools were said to be.
    schemas: HashMap<String, Value>,
    _service: Option<AbortOnDropHandle<()>>,
}

impl Talk {
    /// Begins a talk with a service over these hosts, in this process.
    pub(crate) async fn with(hosts: Hosts, options: ServiceOptions) -> Self {
        let (ours, theirs) = tokio::io::duplex(64 * 1024);
        let service = McpService::new(Fixed(Arc::new(hosts)), options);
        let service = tokio::spawn(async move {
            let running = service.serve(theirs).await.expect("a handshake");
            // It ends with the talk.
            drop(running.waiting().await);
        });
        let (reader, writer) = tokio::io::split(ours);
        let mut talk = Self::over(reader, writer);
        talk._service = Some(AbortOnDropHandle::new(service));
        talk.initialize("2025-11-25").await;
        talk
    }

    /// A talk with whoever is behind these; nothing was said yet.
    pub(crate) fn over(
        reader: impl AsyncRead + Send + Unpin + 'static,
        writer: impl AsyncWrite + Send + Unpin + 'static,
    ) -> Self {
        let reader: Box<dyn AsyncRead + Send + Unpin> = Box::new(reader);
        Self {
            lines: BufReader::new(reader).lines(),
            writer: Box::new(writer),
            last_id: 0,
            notifications: Vec::new(),
            schemas: HashMap::new(),
            _service: None,
        }
    }

    /// Takes the two ends, for tests that say and hear at the same time.
    pub(crate) fn into_parts(self) -> (Incoming, Outgoing) {
        (self.lines, self.writer)
    }

    /// Shakes hands and returns what the server says of itself.
    pub(crate) async fn initialize(&mut self, version: &str) -> Value {
        let client = json!({ "name": "test", "version": "1" });
        let params = json!({ "protocolVersion": version, "capabilities": {}, "clientInfo": client });
        let answer = self.request("initialize", params).await;
        self.notify("notifications/initialized", json!({})).await;
        answer
    }

    /// Sends a line as it is.
    pub(crate) async fn send_line(&mut self, line: &str) {
        self.writer.write_all(format!("{line}\n").as_bytes()).await.expect("the other side reads");
        self.writer.flush().await.expect("the other side reads");
    }

    /// Sends a notification.
    pub(crate) async fn notify(&mut self, method: &str, params: Value) {
        let message = json!({ "jsonrpc": "2.0", "method": method, "params": params });
        self.send_line(&message.to_string()).await;
    }

    /// Sends a request and returns its id.
    pub(crate) async fn send(&mut self, method: &str, params: Value) -> u64 {
        self.last_id += 1;
        let message = json!({ "jsonrpc": "2.0", "id": self.last_id, "method": method, "params": params });
        self.send_line(&message.to_string()).await;
        self.last_id
    }

    /// Returns the next message, whatever it is.
    pub(crate) async fn next(&mut self) -> Value {
        let line = tokio::time::timeout(PATIENCE, self.lines.next_line()).await;
        let line = line.expect("a message in time").expect("a readable line").expect("no end yet");
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("no JSON ({error}): {line}"))
    }

    /// Returns the answer to a request: an object with `result` or `error`.
    pub(crate) async fn answer(&mut self, id: u64) -> Value {
        loop {
            let message = self.next().await;
            if message["id"] == id && message.get("method").is_none() {
                return message;
            }
            self.notifications.push(message);
        }
    }

    /// Sends a request and returns its result.
    pub(crate) async fn request(&mut self, method: &str, params: Value) -> Value {
        let id = self.send(method, params).await;
        let mut answer = self.answer(id).await;
        assert!(answer.get("error").is_none(), "{method}: {answer}");
        answer["result"].take()
    }

    /// Sends a request that is refused by the protocol and returns the error.
    pub(crate) async fn refusal(&mut self, method: &str, params: Value) -> Value {
        let id = self.send(method, params).await;
        let mut answer = self.answer(id).await;
        assert!(answer.get("result").is_none(), "{method}: {answer}");
        answer["error"].take()
    }

    /// Lists the tools as the server shows them.
    pub(crate) async fn list(&mut self) -> Vec<Value> {
        let result = self.request("tools/list", json!({})).await;
        result["tools"].as_array().expect("a list").clone()
    }

    /// Calls a tool, and checks that what it gives is what it was said to give.
    pub(crate) async fn call(&mut self, tool: &str, arguments: Value) -> Called {
        let params = json!({ "name": tool, "arguments": arguments });
        let called = Called(self.request("tools/call", params).await);
        self.check(tool, &called).await;
        called
    }

    /// Checks the form of a result, and its structured content against the tool's own schema.
    pub(crate) async fn check(&mut self, tool: &str, called: &Called) {
        let blocks = called.0["content"].as_array().expect("content");
        assert!((1..=2).contains(&blocks.len()), "{}", called.0);
        assert!(blocks.iter().all(|block| block["type"] == "text"), "{}", called.0);
        if called.is_error() {
            assert_eq!(called.0.get("structuredContent"), None, "{}", called.0);
            return;
        }
        assert_eq!(called.0.get("isError"), None, "{}", called.0);
        if !self.schemas.contains_key(tool) {
            let listed = self.list().await;
            let schema = |tool: &Value| {
                (tool["name"].as_str().unwrap_or_default().to_owned(), tool["outputSchema"].clone())
            };
            self.schemas = listed.iter().map(schema).collect();
        }
        schema::assert_fits(&self.schemas[tool], called.structured(), tool);
    }
}

/// What a call of a tool gave.
#[derive(Debug)]
pub(crate) struct Called(pub(crate) Value);

impl Called {
    /// The first text: all that clients of the original look at.
    pub(crate) fn text(&self) -> &str {
        self.0["content"][0]["text"].as_str().unwrap_or_else(|| panic!("no text: {}", self.0))
    }

    /// What is said beside the text.
    pub(crate) fn note(&self) -> &str {
        self.0["content"][1]["text"].as_str().unwrap_or_default()
    }

    /// The text as JSON.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(self.text()).unwrap_or_else(|error| panic!("no JSON ({error}): {}", self.text()))
    }

    /// The structured result.
    pub(crate) fn structured(&self) -> &Value {
        &self.0["structuredContent"]
    }

    /// Whether the tool failed.
    pub(crate) fn is_error(&self) -> bool {
        self.0["isError"] == true
    }

    /// Checks that the tool did not fail.
    pub(crate) fn ok(self) -> Self {
        assert!(!self.is_error(), "{}", self.0);
        self
    }

    /// Checks that the tool failed, and returns its words.
    pub(crate) fn failure(&self) -> &str {
        assert!(self.is_error(), "{}", self.0);
        self.text()
    }
}
