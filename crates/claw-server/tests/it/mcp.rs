//! `/mcp`: the tools of whoever holds a key.

use std::{collections::BTreeSet, time::Duration};

use axum::http::Method;
use claw_core::Scope;
use claw_mcp::{Need, tools};
use claw_server::{ConnectionLimits, serve_within};
use futures_util::future::join_all;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    time::timeout,
};
use tokio_util::sync::CancellationToken;

use crate::lab::{Answer, Call, Events, Lab, Options, PATIENCE, completed, until};

const NEWEST: &str = "2026-07-28";
const BOTH_FORMS: &str = "application/json, text/event-stream";

/// A message of the newest revision, which needs no session.
fn message(method: &str, mut params: Value) -> Value {
    params["_meta"] = json!({
        "io.modelcontextprotocol/protocolVersion": NEWEST,
        "io.modelcontextprotocol/clientInfo": {"name": "test", "version": "1"},
        "io.modelcontextprotocol/clientCapabilities": {},
    });
    json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params})
}

fn modern(lab: &Lab, key: &str, method: &str, params: Value) -> Call {
    let call = lab.post("/mcp", message(method, params.clone())).key(key).header("accept", BOTH_FORMS);
    let call = call.header("mcp-protocol-version", NEWEST).header("mcp-method", method);
    match params["name"].as_str() {
        Some(name) => call.header("mcp-name", name),
        None => call,
    }
}

async fn tool_names(lab: &Lab, key: &str) -> BTreeSet<String> {
    let list = modern(lab, key, "tools/list", json!({})).send().await.expect(200);
    let tools = list["result"]["tools"].as_array().unwrap_or_else(|| panic!("no tools: {list}"));
    tools.iter().map(|tool| tool["name"].as_str().expect("a name").to_owned()).collect()
}

async fn call_tool(lab: &Lab, key: &str, name: &str, arguments: Value) -> Value {
    modern(lab, key, "tools/call", json!({"name": name, "arguments": arguments})).send().await.expect(200)
}

/// A session of an older revision.
struct Session<'a> {
    lab: &'a Lab,
    key: String,
    id: String,
}

impl<'a> Session<'a> {
    async fn begin(lab: &'a Lab, key: &str) -> Self {
        let client = json!({"name": "test", "version": "1"});
        let params = json!({"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": client});
        let hello = json!({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": params});
        let answer = lab.post("/mcp", hello).key(key).header("accept", BOTH_FORMS).send().await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let id = answer.header("mcp-session-id").to_owned();
        let session = Self { lab, key: key.to_owned(), id };
        let ready = json!({"jsonrpc": "2.0", "method": "notifications/initialized"});
        assert_eq!(session.post(ready).send().await.status, 202);
        session
    }

    fn dressed(&self, call: Call) -> Call {
        call.key(&self.key).header("accept", BOTH_FORMS).header("mcp-session-id", &self.id)
    }

    fn post(&self, body: Value) -> Call {
        self.dressed(self.lab.post("/mcp", body))
    }

    async fn ask(&self, method: &str, params: Value) -> Answer {
        self.post(json!({"jsonrpc": "2.0", "id": 7, "method": method, "params": params})).send().await
    }

    async fn listen(&self) -> Events {
        self.dressed(self.lab.get("/mcp")).follow().await
    }
}

/// Reads on until a line of the stream holds `text`.
async fn hears(stream: &mut Events, text: &str) {
    let mut heard = String::new();
    while !heard.contains(text) {
        let chunk = stream.chunk().await;
        heard.push_str(&chunk.unwrap_or_else(|| panic!("the stream ended after: {heard}")));
    }
}

async fn key_id(lab: &Lab, key: &str) -> String {
    let status = lab.get("/api/auth/status").key(key).send().await.expect(200);
    status["meta"]["id"].as_str().or(status["data"]["meta"]["id"].as_str()).expect("an id").to_owned()
}

/// Gives the key these scopes, and no others, as an administrator does.
async fn change_scopes(lab: &Lab, id: &str, scopes: &[Scope]) {
    let scopes: Vec<_> = scopes.iter().map(|scope| scope.as_str()).collect();
    let path = format!("/api/keys/{id}");
    let answer = lab.call(Method::PATCH, &path).json(&json!({"scopes": scopes})).send().await;
    assert_eq!(answer.status, 200, "{}", answer.text());
}

#[tokio::test]
async fn d1_nothing_is_answered_without_a_key() {
    let lab = Lab::new().await;
    let hello = message("server/discover", json!({}));
    let bare = || lab.post("/mcp", hello.clone()).anonymous().header("accept", BOTH_FORMS);

    let wrong_key = format!("wag_live_{}", "x".repeat(32));
    for call in [
        bare(),
        bare().key(&wrong_key),
        bare().header("authorization", "Bearer nonsense"),
        bare().header("cookie", "claw_session=x"),
    ] {
        let answer = call.send().await;
        assert_eq!(answer.status, 401, "{}", answer.text());
        assert_eq!(answer.header("www-authenticate"), "Bearer realm=\"clawmachine\"");
    }
    for method in ["GET", "DELETE", "PUT"] {
        let method = method.parse().expect("a method");
        assert_eq!(lab.call(method, "/mcp").anonymous().send().await.status, 401);
    }
    let bearer = format!("Bearer {}", lab.admin);
    let answer = bare().header("mcp-protocol-version", NEWEST).header("mcp-method", "server/discover");
    answer.header("authorization", &bearer).send().await.expect(200);
}

#[tokio::test]
async fn t14_hosts_and_origins_that_do_not_pass_elsewhere_do_not_pass_here() {
    let lab = Lab::new().await;
    let call = || modern(&lab, &lab.admin, "server/discover", json!({}));

    assert_eq!(call().set("host", "evil.example").send().await.status, 421);
    assert_eq!(call().header("origin", "http://evil.example").send().await.status, 403);
    call().header("origin", "http://localhost:5179").send().await.expect(200);
}

#[tokio::test]
async fn d13_a_key_sees_the_tools_that_its_scopes_permit() {
    let lab = Lab::new().await;
    let reader = lab.key(&[Scope::ContainersRead]).await;

    let names = tool_names(&lab, &reader).await;

    assert!(names.contains("list_containers") && names.contains("check_scopes"), "{names:?}");
    assert!(!names.contains("start_container") && !names.contains("list_hosts"), "{names:?}");
    assert!(tool_names(&lab, &lab.admin).await.contains("delete_container"));
    let list = modern(&lab, &reader, "tools/list", json!({})).send().await.expect(200);
    assert_eq!(list["result"]["cacheScope"], "private");
    let again = modern(&lab, &reader, "tools/list", json!({})).send().await.expect(200);
    assert_eq!(list, again, "the same order each time");
}

#[tokio::test]
async fn d12_a_refusal_names_the_missing_scope_and_who_can_grant_it() {
    let lab = Lab::new().await;
    let reader = lab.key(&[Scope::ContainersRead]).await;

    let missing = call_tool(&lab, &reader, "delete_container", json!({"id": "x"})).await;
    let unknown = call_tool(&lab, &reader, "no_such_tool", json!({})).await;

    assert_eq!(missing["error"]["code"], -32602);
    let text = missing["error"]["message"].as_str().expect("a message");
    assert!(text.starts_with("tool 'delete_container' not found: tool not found"), "{text}");
    assert!(text.contains("`containers:delete`") && text.contains("administrator"), "{text}");
    assert_eq!(missing["error"]["data"]["missingScopes"], json!(["containers:delete"]));
    assert_eq!(unknown["error"]["message"], "tool 'no_such_tool' not found: tool not found");
}

#[tokio::test]
async fn tools_act_as_the_key_from_the_address_of_the_client() {
    let lab = Lab::new().await;
    let key = lab.key(&[Scope::JobsRead]).await;

    let answer = call_tool(&lab, &key, "check_scopes", json!({})).await;

    let result = &answer["result"];
    assert!(result.get("isError").is_none(), "{answer}");
    assert_eq!(result["structuredContent"]["meta"]["scopes"], json!(["jobs:read"]), "{answer}");
    assert!(result["content"][0]["text"].as_str().expect("text").contains("jobs:read"));
}

#[tokio::test]
async fn d6_a_scope_that_is_switched_on_makes_the_tool_appear_and_clients_are_told() {
    let lab = Lab::new().await;
    let key = lab.key(&[Scope::ContainersRead]).await;
    let id = key_id(&lab, &key).await;
    let session = Session::begin(&lab, &key).await;
    let mut of_session = session.listen().await;
    let wanted = json!({"notifications": {"toolsListChanged": true}});
    let mut subscribed = modern(&lab, &key, "subscriptions/listen", wanted).follow().await;
    hears(&mut subscribed, "notifications/subscriptions/acknowledged").await;
    assert!(!tool_names(&lab, &key).await.contains("pull_image"));

    change_scopes(&lab, &id, &[Scope::ContainersRead, Scope::ImagesWrite]).await;

    hears(&mut subscribed, "notifications/tools/list_changed").await;
    hears(&mut of_session, "notifications/tools/list_changed").await;
    assert!(tool_names(&lab, &key).await.contains("pull_image"));
    let listed = session.ask("tools/list", json!({})).await;
    assert!(listed.text().contains("pull_image"), "{}", listed.text());
    change_scopes(&lab, &id, &[Scope::ImagesRead]).await;
    hears(&mut subscribed, "notifications/tools/list_changed").await;
    assert!(!tool_names(&lab, &key).await.contains("list_containers"));
}

#[tokio::test]
async fn a_revoked_key_ends_its_streams_and_its_session_answers_no_more() {
    let lab = Lab::new().await;
    let key = lab.key(&[Scope::ContainersRead]).await;
    let id = key_id(&lab, &key).await;
    let session = Session::begin(&lab, &key).await;
    let mut of_session = session.listen().await;
    let wanted = json!({"notifications": {"toolsListChanged": true}});
    let mut subscribed = modern(&lab, &key, "subscriptions/listen", wanted).follow().await;

    let revoked = lab.delete(&format!("/api/keys/{id}")).send().await;

    assert!(revoked.status.is_success(), "{}", revoked.text());
    while subscribed.chunk().await.is_some() {}
    while of_session.chunk().await.is_some() {}
    assert_eq!(session.ask("tools/list", json!({})).await.status, 401);
}

#[tokio::test]
async fn open_streams_end_with_the_server() {
    let lab = Lab::new().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("an address");
    let stop = CancellationToken::new();
    // Longer than any test waits, so that nothing but the end of the streams ends the server.
    let limits = ConnectionLimits { drain_time: Duration::from_secs(3600), ..ConnectionLimits::default() };
    let serving = tokio::spawn(serve_within(listener, lab.router.clone(), limits, stop.clone()));
    let body =
        message("subscriptions/listen", json!({"notifications": {"toolsListChanged": true}})).to_string();
    let request = format!(
        "POST /mcp HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {}\r\naccept: {BOTH_FORMS}\r\n\
         content-type: application/json\r\nmcp-protocol-version: {NEWEST}\r\n\
         mcp-method: subscriptions/listen\r\ncontent-length: {}\r\n\r\n{body}",
        lab.admin,
        body.len(),
    );
    let mut client = TcpStream::connect(address).await.expect("a connection");
    client.write_all(request.as_bytes()).await.expect("it reads");
    let mut heard = Vec::new();
    while !String::from_utf8_lossy(&heard).contains("acknowledged") {
        let read = timeout(PATIENCE, client.read_buf(&mut heard)).await.expect("news in time").expect("news");
        assert_ne!(read, 0, "{}", String::from_utf8_lossy(&heard));
    }

    stop.cancel();

    timeout(PATIENCE, serving).await.expect("it ends").expect("no panic").expect("no error");
}

#[tokio::test]
async fn t20_a_session_of_another_key_does_not_exist() {
    let lab = Lab::new().await;
    let (anna, ben) = (lab.key(&[Scope::ContainersRead]).await, lab.key(&[Scope::All]).await);
    let session = Session::begin(&lab, &anna).await;

    let stolen = Session { lab: &lab, key: ben, id: session.id.clone() };

    assert_eq!(stolen.ask("tools/list", json!({})).await.status, 404);
    assert_eq!(stolen.dressed(lab.get("/mcp")).send().await.status, 404);
    assert_eq!(stolen.dressed(lab.delete("/mcp")).send().await.status, 404);
    assert_eq!(session.ask("tools/list", json!({})).await.status, 200);
    assert!(session.dressed(lab.delete("/mcp")).send().await.status.is_success());
    assert_eq!(session.ask("tools/list", json!({})).await.status, 404);
}

#[tokio::test]
async fn t32_streams_count_among_those_that_one_caller_may_follow() {
    let lab = Lab::with(Options { max_streams_per_caller: 2, ..Options::default() }).await;
    let key = lab.key(&[Scope::ContainersRead]).await;
    let listen =
        || modern(&lab, &key, "subscriptions/listen", json!({"notifications": {"toolsListChanged": true}}));
    let session = Session::begin(&lab, &key).await;
    let first = listen().follow().await;
    let _second = session.listen().await;

    let refused = listen().send().await;

    assert_eq!(refused.status, 429, "{}", refused.text());
    assert!(!refused.header("retry-after").is_empty());
    call_tool(&lab, &key, "check_scopes", json!({})).await;
    drop(first);
    until(async || listen().open().await.status() == 200).await;
}

#[tokio::test]
async fn what_is_no_message_is_refused_with_the_right_status() {
    let lab = Lab::new().await;
    let post = |body: &'static str| {
        let call = lab.call(Method::POST, "/mcp").header("accept", BOTH_FORMS);
        call.set("content-type", "application/json").body(body)
    };
    let code = |answer: &Answer| (answer.status.as_u16(), answer.json()["error"]["code"].as_i64());

    assert_eq!(code(&post("{").send().await), (400, Some(-32700)));
    assert_eq!(code(&post("[]").send().await), (400, Some(-32600)));
    assert_eq!(code(&post(r#"{"jsonrpc":"1.0","id":1,"method":"ping"}"#).send().await), (400, Some(-32600)));
    assert_eq!(code(&post(r#"{"jsonrpc":"2.0","id":{},"method":"ping"}"#).send().await), (400, Some(-32600)));
    assert_eq!(post("{}").set("content-type", "text/plain").send().await.status, 415);
    assert_eq!(post("{}").set("accept", "application/json").send().await.status, 406);
    assert_eq!(lab.call(Method::PUT, "/mcp").send().await.status, 405);
    let long = "x".repeat(3 << 20);
    let call = lab.call(Method::POST, "/mcp").header("accept", BOTH_FORMS);
    assert_eq!(call.set("content-type", "application/json").body(long).send().await.status, 413);
    let mismatch =
        modern(&lab, &lab.admin, "tools/list", json!({})).set("mcp-method", "tools/call").send().await;
    assert_eq!(code(&mismatch), (400, Some(-32020)));
    let ghost = modern(&lab, &lab.admin, "no/such/method", json!({})).send().await;
    assert_eq!(code(&ghost), (404, Some(-32601)));
}

/// The same request, from a client that polls long calls.
fn polling(lab: &Lab, key: &str, method: &str, params: Value) -> Call {
    let mut body = message(method, params.clone());
    body["params"]["_meta"]["io.modelcontextprotocol/clientCapabilities"] =
        json!({"extensions": {"io.modelcontextprotocol/tasks": {}}});
    let name = params["name"].as_str().or(params["taskId"].as_str()).unwrap_or_default();
    modern(lab, key, method, json!({})).set("mcp-name", name).json(&body)
}

#[tokio::test]
async fn t20_a_long_call_becomes_a_task_that_its_owner_alone_can_poll_and_cancel() {
    let lab = Lab::new().await;
    let scopes = [Scope::JobsRead, Scope::JobsWrite];
    let (anna, ben) = (lab.key(&scopes).await, lab.key(&scopes).await);
    let submit = json!({"name": "submit_job", "arguments": {"prompt": "say hello", "wait": true}});
    let begin = async || {
        let begun = polling(&lab, &anna, "tools/call", submit.clone()).send().await.expect(200);
        assert_eq!(begun["result"]["resultType"], "task", "{begun}");
        begun["result"]["taskId"].as_str().expect("an id").to_owned()
    };
    let ask = async |key: &str, method: &str, id: &str| {
        polling(&lab, key, method, json!({"taskId": id})).send().await.expect(200)
    };
    let status = async |id: &str| ask(&anna, "tasks/get", id).await["result"]["status"].clone();

    let done = begin().await;

    for method in ["tasks/get", "tasks/cancel"] {
        assert_eq!(ask(&ben, method, &done).await["error"]["code"], -32602, "{method}");
    }
    assert_eq!(status(&done).await, "working");
    let claimed = lab.claim().await;
    lab.finish(&claimed, completed("hello")).await;
    until(async || status(&done).await == "completed").await;
    let result = ask(&anna, "tasks/get", &done).await["result"]["result"].clone();
    assert!(result.to_string().contains("hello"), "{result}");

    let unwanted = begin().await;
    assert_eq!(ask(&anna, "tasks/cancel", &unwanted).await["result"]["resultType"], "complete");
    until(async || status(&unwanted).await == "cancelled").await;
    let jobs = async || lab.get("/api/v1/jobs?status=cancelled").send().await.expect(200)["total"].clone();
    until(async || jobs().await == 1).await;
}

#[tokio::test]
async fn what_is_done_in_a_moment_needs_no_task() {
    let lab = Lab::new().await;
    let submit = json!({"name": "submit_job", "arguments": {"prompt": "say hello"}});

    let answer = polling(&lab, &lab.admin, "tools/call", submit).send().await.expect(200);

    assert_eq!(answer["result"]["resultType"], "complete", "{answer}");
}

/// A small generator, so that a failure can be repeated.
struct Random(u64);

impl Random {
    fn next(&mut self, below: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % below as u64).expect("a small number")
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_a_thousand_random_keys_none_sees_or_runs_a_tool_outside_its_scopes() {
    const KEYS: usize = 1000;
    let lab = Lab::new().await;
    let plain: Vec<_> =
        Scope::ALL.iter().copied().filter(|scope| !matches!(scope, Scope::All | Scope::Admin)).collect();
    let mut random = Random(0x5eed_c1a3);
    let mut tried = 0;

    for _ in 0..KEYS / 50 {
        let sets: Vec<Vec<Scope>> = (0..50)
            .map(|_| {
                let share = 1 + random.next(8);
                let mut scopes: Vec<_> = plain.iter().copied().filter(|_| random.next(8) < share).collect();
                if scopes.is_empty() {
                    // There are no keys without any.
                    scopes.push(plain[random.next(plain.len())]);
                }
                scopes
            })
            .collect();
        let keys = join_all(sets.iter().map(|scopes| lab.key(scopes))).await;
        let picks: Vec<Vec<usize>> =
            sets.iter().map(|_| (0..3).map(|_| random.next(tools::ALL.len())).collect()).collect();
        let checks = sets.iter().zip(&keys).zip(&picks).map(async |((scopes, key), picks)| {
            let permitted = |need: Need| match need {
                Need::AnyKey => true,
                Need::NamedHosts => false,
                Need::Scopes(needed) => needed.iter().all(|scope| scopes.contains(scope)),
            };
            let expected: BTreeSet<String> = tools::ALL
                .iter()
                .filter(|tool| permitted(tool.need))
                .map(|tool| tool.name.to_owned())
                .collect();
            assert_eq!(tool_names(&lab, key).await, expected, "{scopes:?}");
            let foreign = picks.iter().map(|pick| &tools::ALL[*pick]).filter(|tool| !permitted(tool.need));
            let mut refused = 0;
            for tool in foreign {
                let answer = call_tool(&lab, key, tool.name, json!({})).await;
                assert_eq!(answer["error"]["code"], -32602, "{} with {scopes:?}: {answer}", tool.name);
                refused += 1;
            }
            refused
        });
        tried += join_all(checks).await.into_iter().sum::<usize>();
    }

    assert!(tried > KEYS / 2, "only {tried} calls of tools outside the scopes were tried");
}
