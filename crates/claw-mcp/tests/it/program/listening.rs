//! The program as a server: where it listens, whom it answers, and the two-endpoint SSE on the wire.

use claw_core::Scope;
use reqwest::{Client, Method, Response, StatusCode};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    time::timeout,
};

use super::{Program, Running, file};
use crate::{house::House, lab::PATIENCE};

const TOKEN: &str = "a-token-of-some-length";

/// A program that listens, and a client of it.
struct Listening {
    address: String,
    client: Client,
    _program: Running,
}

impl Listening {
    async fn start(program: Program) -> Self {
        let mut program = program.start();
        let line = program.said(" at http://").await;
        let address = line.split(" at http://").nth(1).and_then(|rest| rest.split('/').next());
        let client = Client::builder().no_proxy().build().expect("a client");
        Self { address: address.expect("an address").to_owned(), client, _program: program }
    }

    async fn sse(house: &House, key: &str) -> Self {
        let arguments = ["-transport", "sse", "-sse-addr", "127.0.0.1:0"];
        Self::start(Program::of(house, key).arguments(arguments)).await
    }

    fn call(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        self.client.request(method, format!("http://{}{path}", self.address))
    }

    async fn session(&self) -> Session {
        let response = self.call(Method::GET, "/sse").send().await.expect("an answer");
        assert_eq!(response.status(), StatusCode::OK);
        let mut session = Session { response, text: String::new(), endpoint: String::new() };
        let greeting = session.event("\r\n\r\n").await;
        let endpoint = greeting.strip_prefix("event: endpoint\r\ndata: ").expect("the endpoint first");
        session.endpoint = endpoint.to_owned();
        session
    }

    async fn send(&self, session: &Session, message: impl Into<String>) -> Response {
        self.call(Method::POST, &session.endpoint).body(message.into()).send().await.expect("an answer")
    }
}

/// A session of SSE.
struct Session {
    response: Response,
    text: String,
    endpoint: String,
}

impl Session {
    async fn event(&mut self, end: &str) -> String {
        loop {
            if let Some(at) = self.text.find(end) {
                let event = self.text[..at].to_owned();
                self.text.drain(..at + end.len());
                return event;
            }
            let chunk = timeout(PATIENCE, self.response.chunk()).await.expect("in time");
            let chunk = chunk.expect("the stream goes on").expect("no end");
            self.text.push_str(std::str::from_utf8(&chunk).expect("text"));
        }
    }

    async fn message(&mut self) -> Value {
        let event = self.event("\n\n").await;
        let data =
            event.strip_prefix("event: message\ndata: ").unwrap_or_else(|| panic!("no message: {event}"));
        serde_json::from_str(data).expect("JSON")
    }
}

fn initialize() -> String {
    let client = json!({ "name": "test", "version": "1" });
    let params = json!({ "protocolVersion": "2024-11-05", "capabilities": {}, "clientInfo": client });
    json!({ "jsonrpc": "2.0", "id": 1, "method": "initialize", "params": params }).to_string()
}

#[tokio::test]
async fn the_two_endpoints_answer_as_those_of_the_original() {
    let house = House::new().await;
    let key = house.key(&[Scope::JobsRead]).await;
    let server = Listening::sse(&house, &key).await;
    let mut session = server.session().await;
    let headers = session.response.headers();
    assert_eq!(headers["content-type"], "text/event-stream");
    assert_eq!(headers["cache-control"], "no-cache");
    assert!(!headers.contains_key("access-control-allow-origin"), "{headers:?}");
    assert!(session.endpoint.starts_with("/message?sessionId="), "{}", session.endpoint);

    let accepted = server.send(&session, initialize()).await;
    assert_eq!(accepted.status(), StatusCode::ACCEPTED);
    assert_eq!(accepted.text().await.expect("text"), "");
    let told = session.message().await;
    assert_eq!(told["result"]["protocolVersion"], "2024-11-05");
    let call =
        json!({ "jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": { "name": "list_jobs" } });
    server.send(&session, call.to_string()).await;
    let answer = session.message().await;
    assert_eq!((&answer["id"], &answer["result"]["content"][0]["type"]), (&json!(2), &json!("text")));
    // A batch is taken, and refused in the stream.
    assert_eq!(server.send(&session, "[{}]").await.status(), StatusCode::ACCEPTED);
    assert_eq!(session.message().await["error"]["message"], "Failed to parse message");
    // A pong that nobody waits for is nothing.
    server.send(&session, r#"{"jsonrpc":"2.0","id":77,"result":{}}"#).await;
    server.send(&session, r#"{"jsonrpc":"2.0","id":3,"method":"ping"}"#).await;
    assert_eq!(session.message().await, json!({ "jsonrpc": "2.0", "id": 3, "result": {} }));

    let refused = [
        (Method::GET, session.endpoint.as_str(), "", -32600, "Method not allowed"),
        (Method::POST, "/message", "{}", -32602, "Missing sessionId"),
        (Method::POST, "/message?sessionId=", "{}", -32602, "Missing sessionId"),
        (Method::POST, "/message?sessionId=nobody", "{}", -32602, "Invalid session ID"),
        (Method::POST, session.endpoint.as_str(), "{", -32700, "Parse error"),
    ];
    for (method, path, body, code, message) in refused {
        let answer = server.call(method, path).body(body).send().await.expect("an answer");

        assert_eq!(answer.status(), StatusCode::BAD_REQUEST, "{path} {body}");
        let error: Value = serde_json::from_str(&answer.text().await.expect("text")).expect("JSON");
        assert_eq!(error["error"], json!({ "code": code, "message": message }));
    }
    let wrong = server.call(Method::POST, "/sse").send().await.expect("an answer");
    assert_eq!(
        (wrong.status(), wrong.text().await.expect("text")),
        (StatusCode::METHOD_NOT_ALLOWED, "Method not allowed".into())
    );
    let nowhere = server.call(Method::GET, "/nowhere").send().await.expect("an answer");
    assert_eq!(nowhere.status(), StatusCode::NOT_FOUND);
    let health = server.call(Method::POST, "/healthz").send().await.expect("an answer");
    let health: Value = serde_json::from_str(&health.text().await.expect("text")).expect("JSON");
    assert_eq!(
        (&health["status"], &health["version"]),
        (&json!("healthy"), &json!(env!("CARGO_PKG_VERSION")))
    );
    health["timestamp"].as_str().expect("a time").parse::<jiff::Timestamp>().expect("RFC 3339");
}

#[tokio::test]
async fn a_public_address_is_named_and_its_path_stands_before_both_routes() {
    let house = House::new().await;
    let key = house.key(&[Scope::JobsRead]).await;
    let arguments = ["-transport=sse", "-sse-addr=127.0.0.1:0", "-sse-base-url=http://claw.example/pre/"];
    let server = Listening::start(Program::of(&house, &key).arguments(arguments)).await;

    let get = |path: &'static str| server.call(Method::GET, path).header("host", "claw.example").send();
    assert_eq!(get("/sse").await.expect("an answer").status(), StatusCode::NOT_FOUND);
    let mut stream = get("/pre/sse").await.expect("an answer");
    let greeting = stream.chunk().await.expect("a greeting").expect("a greeting");
    let greeting = std::str::from_utf8(&greeting).expect("text");
    assert!(
        greeting.starts_with("event: endpoint\r\ndata: http://claw.example/pre/message?sessionId="),
        "{greeting}"
    );
}

#[tokio::test]
async fn d9_streamable_http_is_there_beside_the_old_pair() {
    let house = House::new().await;
    let key = house.key(&[Scope::JobsRead]).await;
    let servers = [
        Listening::sse(&house, &key).await,
        Listening::start(Program::of(&house, &key).arguments([
            "-transport",
            "http",
            "-http-addr",
            "127.0.0.1:0",
        ]))
        .await,
    ];
    for server in servers {
        let post = server.call(Method::POST, "/mcp").header("content-type", "application/json");
        let post = post.header("accept", "application/json, text/event-stream").body(initialize());
        let answer = post.send().await.expect("an answer");

        assert_eq!(answer.status(), StatusCode::OK);
        assert!(answer.text().await.expect("text").contains("ClawMachine"));
    }
}

#[tokio::test]
async fn d1_t14_only_loopback_names_and_own_pages_are_answered() {
    let house = House::new().await;
    let key = house.key(&[Scope::JobsRead]).await;
    let arguments = [
        "-transport",
        "sse",
        "-sse-addr",
        "127.0.0.1:0",
        "-allow-host",
        "claw.lan",
        "-allow-origin",
        "https://ui.example",
    ];
    let server = Listening::start(Program::of(&house, &key).arguments(arguments)).await;
    let own = format!("http://{}", server.address);
    for (headers, expected) in [
        (&[][..], StatusCode::OK),
        (&[("host", "localhost:8080")], StatusCode::OK),
        (&[("host", "claw.lan")], StatusCode::OK),
        (&[("host", "evil.example")], StatusCode::FORBIDDEN),
        (&[("host", "127.0.0.1.evil.example")], StatusCode::FORBIDDEN),
        (&[("origin", own.as_str())], StatusCode::OK),
        (&[("origin", "https://ui.example")], StatusCode::OK),
        (&[("origin", "https://evil.example")], StatusCode::FORBIDDEN),
        (&[("origin", "null")], StatusCode::FORBIDDEN),
    ] {
        for path in ["/sse", "/mcp", "/healthz", "/message?sessionId=x"] {
            let method = if path == "/sse" { Method::GET } else { Method::POST };
            let mut call = server.call(method, path).body("{}");
            for (name, value) in headers {
                call = call.header(*name, *value);
            }
            let answer = call.send().await.expect("an answer");

            let passed = answer.status() != StatusCode::FORBIDDEN;
            assert_eq!(passed, expected == StatusCode::OK, "{path} {headers:?}");
            let open = answer
                .headers()
                .get("access-control-allow-origin")
                .map(|value| value.to_str().expect("text"));
            let configured =
                headers.contains(&("origin", "https://ui.example")).then_some("https://ui.example");
            assert_eq!(open, configured, "{path} {headers:?}");
        }
    }
}

#[tokio::test]
async fn d1_off_loopback_there_is_no_server_without_a_token() {
    let house = House::new().await;
    let key = house.key(&[Scope::JobsRead]).await;
    for (flag, transport) in [("-sse-addr", "sse"), ("-http-addr", "http")] {
        for address in ["0.0.0.0:0", "[::]:0"] {
            let ran =
                Program::of(&house, &key).arguments(["-transport", transport, flag, address]).run("").await;

            assert_eq!(ran.code, 1, "{address}");
            assert!(ran.stderr.contains("Server error: bind "), "{}", ran.stderr);
            assert!(ran.stderr.contains("give a token with -token-file"), "{}", ran.stderr);
        }
    }
    let short =
        Program::of(&house, &key).arguments(["-transport", "http"]).variable("CLAWMACHINE_TOKEN", "hunter2");
    let ran = short.run("").await;
    assert!(ran.code == 1 && ran.stderr.contains("shorter than 16"), "{ran:?}");
    assert!(!ran.stderr.contains("hunter2"), "{ran:?}");
}

#[tokio::test]
async fn d1_a_token_is_demanded_of_every_message_and_stream() {
    let house = House::new().await;
    let folder = TempDir::new().expect("a folder");
    let key = house.key(&[Scope::JobsRead]).await;
    let token = file(&folder, "token", &format!("{TOKEN}\n"));
    for program in [
        Program::of(&house, &key).arguments(["-transport", "sse", "-sse-addr", ":0", "-token-file", &token]),
        Program::of(&house, &key)
            .arguments(["-transport", "http", "-http-addr", ":0"])
            .variable("CLAWMACHINE_TOKEN", TOKEN),
    ] {
        let server = Listening::start(program).await;
        assert!(server.address.starts_with("0.0.0.0:"), "{}", server.address);
        let address = server.address.replace("0.0.0.0", "127.0.0.1");
        for path in ["/sse", "/message?sessionId=x", "/mcp", "/nowhere"] {
            for given in [
                None,
                Some("Bearer "),
                Some("Bearer a-token-of-some-lengt"),
                Some("Basic a-token-of-some-length"),
            ] {
                let mut call = server.client.post(format!("http://{address}{path}"));
                if let Some(given) = given {
                    call = call.header("authorization", given);
                }
                let answer = call.send().await.expect("an answer");

                assert_eq!(answer.status(), StatusCode::UNAUTHORIZED, "{path} {given:?}");
                assert!(answer.headers().contains_key("www-authenticate"));
            }
            let call = server.client.post(format!("http://{address}{path}")).bearer_auth(TOKEN);
            assert_ne!(call.send().await.expect("an answer").status(), StatusCode::UNAUTHORIZED, "{path}");
        }
        let health = server.client.get(format!("http://{address}/healthz")).send().await.expect("an answer");
        assert_eq!(health.status(), StatusCode::OK, "probes have no token, and learn nothing");
    }
}

#[tokio::test]
async fn a_port_that_is_taken_is_told_of() {
    let house = House::new().await;
    let key = house.key(&[Scope::JobsRead]).await;
    let taken = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = taken.local_addr().expect("an address").to_string();

    let ran = Program::of(&house, &key).arguments(["-transport", "sse", "-sse-addr", &address]).run("").await;

    assert_eq!(ran.code, 1);
    assert!(ran.stderr.contains(&format!("Server error: bind SSE address {address}: ")), "{}", ran.stderr);
}

#[tokio::test]
async fn t32_a_thousand_sessions_find_as_much_room_as_there_is_and_no_more() {
    let house = House::new().await;
    let key = house.key(&[Scope::JobsRead]).await;
    let server = Listening::sse(&house, &key).await;
    let (mut open, mut refused) = (Vec::new(), 0);
    for _ in 0..1000 {
        let answer = server.call(Method::GET, "/sse").send().await.expect("an answer");
        match answer.status() {
            StatusCode::OK => open.push(answer),
            StatusCode::SERVICE_UNAVAILABLE => {
                assert!(answer.headers().contains_key("retry-after"));
                refused += 1;
                drop(answer.bytes().await);
            }
            other => panic!("{other}"),
        }
    }
    assert_eq!((open.len(), refused), (256, 744));

    // Those that go make room, and the others are served meanwhile.
    open.truncate(200);
    let mut session = loop {
        let answer = server.call(Method::GET, "/sse").send().await.expect("an answer");
        if answer.status() == StatusCode::OK {
            let mut session = Session { response: answer, text: String::new(), endpoint: String::new() };
            session.endpoint = session.event("\r\n\r\n").await.split("data: ").nth(1).expect("it").to_owned();
            break session;
        }
    };
    server.send(&session, initialize()).await;
    assert!(session.message().await["result"].is_object());
}

#[tokio::test]
async fn t32_garbage_and_endless_heads_end_their_own_connection_alone() {
    let house = House::new().await;
    let key = house.key(&[Scope::JobsRead]).await;
    let server = Listening::sse(&house, &key).await;
    let mut session = server.session().await;
    let endless = format!("GET /sse HTTP/1.1\r\nhost: localhost\r\nx: {}", "x".repeat(1 << 20));
    for bytes in [&b"\x16\x03\x01\x02\x00\x01"[..], b"GET\r\n\r\n", endless.as_bytes()] {
        let mut stream = TcpStream::connect(&server.address).await.expect("a connection");
        // It may be closed before all is sent.
        let _unread = stream.write_all(bytes).await;
        let mut answer = Vec::new();
        let _reset = timeout(PATIENCE, stream.read_to_end(&mut answer)).await.expect("it is closed");
        assert!(!String::from_utf8_lossy(&answer).contains("200 OK"));
    }
    let long = server.call(Method::POST, &session.endpoint).body("x".repeat(5 << 20)).send().await;
    // A client that sends on may find the connection closed before it reads the answer.
    assert!(long.is_err() || long.is_ok_and(|answer| answer.status() == StatusCode::PAYLOAD_TOO_LARGE));

    server.send(&session, initialize()).await;
    assert!(session.message().await["result"].is_object());
}
