//! The gateway between a hostile client and the model API.

use std::{path::PathBuf, sync::Arc, time::Duration};

use claw_agent::gateway::{CredentialSource, ErrorOrigin, Gateway, GatewaySession, Meter};
use claw_core::Secret;
use claw_testkit::{FakeApi, TempDir};
use futures_util::StreamExt;
use reqwest::{Client, Method, StatusCode};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

use crate::{
    lab::{REAL_KEY, gateway, gateway_with},
    meters::Unmetered,
};

/// A session of a gateway, and a client of its socket.
pub(crate) struct Setup {
    _folder: TempDir,
    pub(crate) socket: PathBuf,
    pub(crate) session: GatewaySession,
    pub(crate) client: Client,
}

impl Setup {
    pub(crate) async fn new(gateway: &Gateway) -> Self {
        Self::metered(gateway, Arc::new(Unmetered)).await
    }

    pub(crate) async fn metered(gateway: &Gateway, meter: Arc<dyn Meter>) -> Self {
        let folder = TempDir::new();
        let socket = folder.join("api.sock");
        let session = gateway.open(&socket, meter).await.unwrap();
        let client = Client::builder().unix_socket(socket.clone()).build().unwrap();
        Self { _folder: folder, socket, session, client }
    }

    pub(crate) async fn post(&self, body: &Value) -> reqwest::Response {
        self.client.post("http://localhost/v1/messages?beta=true").json(body).send().await.unwrap()
    }
}

pub(crate) fn key() -> CredentialSource {
    CredentialSource::ApiKey(Secret::new(REAL_KEY))
}

pub(crate) fn message(prompt: &str, stream: bool) -> Value {
    json!({"model": "m", "max_tokens": 9, "stream": stream, "messages": [{"role": "user", "content": prompt}]})
}

pub(crate) async fn error(response: reqwest::Response) -> (u16, String, String) {
    let status = response.status().as_u16();
    let body: Value = response.json().await.unwrap();
    assert_eq!(body["type"], "error");
    let text = |name: &str| body["error"][name].as_str().unwrap().to_owned();
    (status, text("type"), text("message"))
}

#[tokio::test]
async fn the_credential_is_put_in_and_the_clients_own_is_dropped() {
    let api = FakeApi::builder().require_key(REAL_KEY).start().await;
    let setup = Setup::new(&gateway(&api, key())).await;

    let response = setup
        .client
        .post("http://localhost/v1/messages?beta=true")
        .header("x-api-key", "stolen")
        .header("authorization", "Bearer stolen")
        .header("cookie", "session=stolen")
        .header("anthropic-version", "2023-06-01")
        .json(&message("hi", false))
        .send()
        .await
        .unwrap();

    assert_eq!(response.status(), StatusCode::OK);
    let seen = &api.message_requests()[0];
    assert_eq!(seen.path, "/v1/messages?beta=true");
    assert_eq!(seen.header("x-api-key"), Some(REAL_KEY));
    assert_eq!(seen.header("anthropic-version"), Some("2023-06-01"));
    assert_eq!((seen.header("authorization"), seen.header("cookie")), (None, None));
    assert_eq!(seen.body, message("hi", false));
    assert!(seen.header("content-length").is_some(), "the length is known upstream");
}

#[tokio::test]
async fn tokens_go_as_bearer_and_logins_with_their_beta() {
    let api = FakeApi::start().await;
    let folder = TempDir::new();
    let login = json!({"claudeAiOauth": {"accessToken": "from-file", "expiresAt": 4_000_000_000_000_u64}});
    let file = folder.write("login.json", login.to_string());
    let beta = Some("oauth-2025-04-20");

    for (source, token, beta) in [
        (CredentialSource::AuthToken(Secret::new("plain")), "Bearer plain", None),
        (CredentialSource::OauthToken(Secret::new("long")), "Bearer long", beta),
        (CredentialSource::LoginFile(file), "Bearer from-file", beta),
    ] {
        let setup = Setup::new(&gateway(&api, source)).await;
        setup.post(&message("hi", false)).await;
        let requests = api.message_requests();
        let seen = requests.last().unwrap();
        assert_eq!((seen.header("authorization"), seen.header("anthropic-beta")), (Some(token), beta));
        assert_eq!(seen.header("x-api-key"), None);
    }
}

#[tokio::test]
async fn other_routes_are_answered_here_and_never_asked_upstream() {
    let api = FakeApi::start().await;
    let setup = Setup::new(&gateway(&api, key())).await;

    for (method, path) in [
        (Method::GET, "/v1/files"),
        (Method::POST, "/v1/messages/batches"),
        (Method::GET, "/v1/organizations/me"),
        (Method::GET, "/"),
        (Method::DELETE, "/v1/models/x"),
        (Method::POST, "/v1/messages/"),
    ] {
        let response = setup.client.request(method, format!("http://localhost{path}")).send().await.unwrap();
        assert_eq!(error(response).await.0, 404, "{path}");
    }
    let probe = setup.client.head("http://localhost/api/hello").send().await.unwrap();

    assert_eq!(probe.status(), StatusCode::OK);
    assert_eq!(api.requests().len(), 0);
    assert_eq!(setup.session.report().requests, 0);
}

#[tokio::test]
async fn models_are_listed() {
    let api = FakeApi::start().await;
    let setup = Setup::new(&gateway(&api, key())).await;

    let models: Value =
        setup.client.get("http://localhost/v1/models?limit=5").send().await.unwrap().json().await.unwrap();

    assert!(models["data"].is_array());
    assert_eq!(api.requests()[0].path, "/v1/models?limit=5");
}

#[tokio::test]
async fn the_first_word_arrives_before_the_last_is_sent() {
    let api = FakeApi::start().await;
    let setup = Setup::new(&gateway(&api, key())).await;
    let steps = r#"FAKE:[{"text":"first last","hold_after_first_word":"gate"}]"#;

    let mut chunks = setup.post(&message(steps, true)).await.bytes_stream();
    let mut received = String::new();
    while !received.contains("first") {
        received.push_str(&String::from_utf8_lossy(&chunks.next().await.unwrap().unwrap()));
    }
    let early = received.clone();
    api.release("gate");
    while let Some(chunk) = chunks.next().await {
        received.push_str(&String::from_utf8_lossy(&chunk.unwrap()));
    }

    assert!(!early.contains("last"));
    assert!(received.contains("last") && received.contains("message_stop"));
    assert_eq!(setup.session.report().last_error, None);
}

#[tokio::test]
async fn upstream_errors_pass_and_are_remembered_until_a_success() {
    let api = FakeApi::start().await;
    let setup = Setup::new(&gateway(&api, key())).await;
    api.force(json!({"error": 529, "message": "busy\u{1b}[31m"}));

    let (status, kind, _) = error(setup.post(&message("hi", true)).await).await;
    let remembered = setup.session.report().last_error.unwrap();
    setup.post(&message("hi", true)).await.bytes().await.unwrap();

    assert_eq!((status, kind.as_str()), (529, "overloaded_error"));
    assert_eq!((remembered.status, remembered.message.as_str()), (Some(529), "busy"));
    assert_eq!(remembered.origin, ErrorOrigin::Upstream);
    assert_eq!(setup.session.report().last_error, None);
    assert_eq!(setup.session.report().requests, 2);
}

#[tokio::test]
async fn a_refused_credential_is_not_to_be_tried_again() {
    let api = FakeApi::builder().require_key("another").start().await;
    let setup = Setup::new(&gateway(&api, key())).await;

    let response = setup.post(&message("hi", true)).await;

    assert_eq!(response.headers()["x-should-retry"], "false");
    assert_eq!(error(response).await.0, 401);
}

#[tokio::test]
async fn a_login_renewed_during_a_request_is_used_for_another_try() {
    let api = FakeApi::start().await;
    let folder = TempDir::new();
    let login = |token: &str| {
        let login = json!({"claudeAiOauth": {"accessToken": token, "expiresAt": 4_000_000_000_000_u64}});
        folder.write("login.json", login.to_string())
    };
    let setup = Setup::new(&gateway(&api, CredentialSource::LoginFile(login("stale")))).await;
    let refused = message(r#"FAKE:[{"hold":"gate"},{"error":401,"times":1},{"text":"fine"}]"#, false);

    let renewing = async {
        api.wait_for_hold("gate").await;
        login("renewed-token");
        api.release("gate");
    };
    let (response, ()) = tokio::join!(setup.post(&refused), renewing);

    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(api.message_requests()[0].header("authorization"), Some("Bearer stale"));
    assert_eq!(api.message_requests()[1].header("authorization"), Some("Bearer renewed-token"));
}

#[tokio::test]
async fn a_missing_credential_is_said_without_asking_upstream() {
    let api = FakeApi::start().await;
    let setup = Setup::new(&gateway(&api, CredentialSource::Missing)).await;

    let (status, kind, text) = error(setup.post(&message("hi", true)).await).await;

    assert_eq!((status, kind.as_str()), (401, "authentication_error"));
    assert!(text.contains("set ANTHROPIC_API_KEY or log in"), "{text}");
    assert_eq!(api.requests().len(), 0);
}

#[tokio::test]
async fn an_unreachable_upstream_is_a_bad_gateway() {
    let gone = FakeApi::start().await.base_url().to_owned();
    let setup = Setup::new(&gateway_with(&gone, key(), |_| {})).await;

    let (status, kind, text) = error(setup.post(&message("hi", true)).await).await;

    assert_eq!((status, kind.as_str()), (502, "api_error"));
    assert!(text.starts_with("could not reach the model API"), "{text}");
    assert!(!text.contains(REAL_KEY));
}

#[tokio::test]
async fn requests_beyond_the_limit_are_refused_with_and_without_a_length() {
    let api = FakeApi::start().await;
    let setup =
        Setup::new(&gateway_with(api.base_url(), key(), |config| config.max_request_bytes = 10_000)).await;
    let large = message(&"x".repeat(20_000), false);
    let chunks = futures_util::stream::iter(
        large
            .to_string()
            .into_bytes()
            .chunks(3_000)
            .map(|c| Ok::<_, std::io::Error>(c.to_vec()))
            .collect::<Vec<_>>(),
    );

    let known = setup.post(&large).await;
    let unknown = setup
        .client
        .post("http://localhost/v1/messages")
        .body(reqwest::Body::wrap_stream(chunks))
        .send()
        .await
        .unwrap();

    assert_eq!(error(known).await.0, 413);
    assert_eq!(error(unknown).await.0, 413);
    assert_eq!(setup.post(&message("small", false)).await.status(), StatusCode::OK);
}

#[tokio::test]
async fn requests_that_make_the_api_reach_other_hosts_are_never_asked_upstream() {
    let api = FakeApi::start().await;
    let setup = Setup::new(&gateway(&api, key())).await;
    let image = json!({"type": "image", "source": {"type": "url", "url": "https://evil.example/?secret"}});
    let mut by_image = message("hi", true);
    by_image["messages"][0]["content"] = json!([image]);
    let mut by_server = message("hi", true);
    by_server["mcp_servers"] = json!([{"type": "url", "url": "https://evil.example", "name": "e"}]);
    let mut by_tool = message("hi", true);
    by_tool["tools"] = json!([{"type": "web_fetch_20250910", "name": "web_fetch"}]);

    for body in [by_image, by_server, by_tool] {
        for path in ["/v1/messages?beta=true", "/v1/messages/count_tokens"] {
            let request = setup.client.post(format!("http://localhost{path}")).json(&body);
            let (status, kind, text) = error(request.send().await.unwrap()).await;

            assert_eq!((status, kind.as_str()), (400, "invalid_request_error"));
            assert!(text.starts_with("the model gateway does not pass on requests that ask for"), "{text}");
        }
    }
    assert_eq!(api.requests().len(), 0);
}

#[tokio::test]
async fn a_stalled_answer_is_ended() {
    let api = FakeApi::start().await;
    let short = Duration::from_millis(200);
    let setup = Setup::new(&gateway_with(api.base_url(), key(), |config| config.idle_timeout = short)).await;

    let body = setup.post(&message(r#"FAKE:[{"stream":"hang","seconds":60}]"#, true)).await.bytes().await;

    assert!(body.is_err());
    let error = setup.session.report().last_error.unwrap();
    assert_eq!(
        (error.status, error.message.as_str()),
        (None, "the model API's answer stalled: try again later")
    );
}

#[tokio::test]
async fn an_answer_that_breaks_off_breaks_off_for_the_agent_too() {
    let api = FakeApi::start().await;
    let setup = Setup::new(&gateway(&api, key())).await;

    let body = setup.post(&message(r#"FAKE:[{"text":"a b","stream":"truncate"}]"#, true)).await.bytes().await;

    assert!(body.is_err());
    assert_eq!(setup.session.report().last_error.unwrap().kind, "broken_stream");
}

#[tokio::test]
async fn redirects_are_not_followed_and_cookies_do_not_pass() {
    let redirect =
        answer_once("HTTP/1.1 302 Found\r\nlocation: http://169.254.169.254/\r\ncontent-length: 0\r\n\r\n")
            .await;
    let cookie =
        answer_once("HTTP/1.1 200 OK\r\nset-cookie: a=b\r\nrequest-id: r1\r\ncontent-length: 2\r\n\r\n{}")
            .await;

    let redirected =
        Setup::new(&gateway_with(&redirect, key(), |_| {})).await.post(&message("hi", false)).await;
    let with_cookie =
        Setup::new(&gateway_with(&cookie, key(), |_| {})).await.post(&message("hi", false)).await;

    assert!(redirected.headers().get("location").is_none());
    assert_eq!(error(redirected).await.0, 502);
    assert_eq!(with_cookie.headers()["request-id"], "r1");
    assert!(with_cookie.headers().get("set-cookie").is_none());
}

#[tokio::test]
async fn a_closed_session_leaves_no_socket_and_no_connection() {
    let api = FakeApi::start().await;
    let gateway = gateway(&api, key());
    let setup = Setup::new(&gateway).await;
    let mut chunks =
        setup.post(&message(r#"FAKE:[{"stream":"hang","seconds":60}]"#, true)).await.bytes_stream();
    chunks.next().await.unwrap().unwrap();

    let report = setup.session.close().await;

    assert_eq!(report.requests, 1);
    assert!(!setup.socket.exists());
    while let Some(chunk) = chunks.next().await {
        if chunk.is_err() {
            break;
        }
    }
    api.wait_until_idle().await;
    assert!(setup.client.get("http://localhost/v1/models").send().await.is_err());
}

#[tokio::test]
async fn a_path_too_long_for_a_socket_address_works() {
    let api = FakeApi::start().await;
    let folder = TempDir::new();
    let deep = folder.join("d".repeat(120));
    std::fs::create_dir(&deep).unwrap();
    let short = folder.join("s");
    std::os::unix::fs::symlink(&deep, &short).unwrap();

    let session = gateway(&api, key()).open(&deep.join("api.sock"), Arc::new(Unmetered)).await.unwrap();
    let client = Client::builder().unix_socket(short.join("api.sock")).build().unwrap();
    let answer = client.get("http://localhost/v1/models").send().await.unwrap();

    assert_eq!(answer.status(), StatusCode::OK);
    session.close().await;
    assert!(!deep.join("api.sock").exists());
}

#[tokio::test]
async fn addresses_with_more_than_a_host_and_path_are_refused() {
    for upstream in ["ftp://x", "http://user@x", "http://x/?a=b", "unix:/x"] {
        let mut config = claw_agent::gateway::GatewayConfig::new(key());
        config.upstream = upstream.parse().unwrap();
        let error = Gateway::new(config, std::sync::Arc::new(claw_core::SystemClock)).unwrap_err();
        assert!(error.to_string().starts_with("the model API's address must begin with"), "{upstream}");
    }
}

/// A server that gives one answer, whatever it is asked.
async fn answer_once(answer: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = vec![0; 64 * 1024];
        let read = stream.read(&mut request).await.unwrap();
        assert!(read > 0);
        stream.write_all(answer.as_bytes()).await.unwrap();
        // The rest of the request, and the client's end of the connection.
        while stream.read(&mut request).await.is_ok_and(|count| count > 0) {}
    });
    address
}
