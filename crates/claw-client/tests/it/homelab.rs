//! The homelab's dialect: which request each call sends, and how answers and refusals are read.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use axum::{
    Json, Router,
    body::to_bytes,
    extract::{Request, State},
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::get,
};
use claw_client::{
    Client,
    homelab::{
        ActivityQuery, ContainerLogs, ExecRequest, InstallApp, NewContainer, NewPort, NewVolume, WhichApp,
    },
};
use claw_core::{Coded, ErrorCode};
use serde_json::{Value, json};

use crate::{Calls, client_of};

/// What a server was asked: method, address, body.
#[derive(Clone, Default)]
struct Asked(Arc<Mutex<Vec<String>>>);

impl Asked {
    async fn note(State(asked): State<Self>, request: Request) -> Response {
        let (parts, body) = request.into_parts();
        let body = to_bytes(body, 1 << 20).await.expect("a body");
        let body = String::from_utf8(body.to_vec()).expect("text");
        let line = format!("{} {} {body}", parts.method, parts.uri);
        asked.0.lock().expect("not poisoned").push(line.trim_end().to_owned());
        // No answer that any call expects, so that only what is sent counts here.
        (StatusCode::IM_A_TEAPOT, Json(json!({}))).into_response()
    }

    fn all(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().expect("not poisoned"))
    }
}

#[tokio::test]
async fn every_call_sends_its_request() {
    let asked = Asked::default();
    let client = &client_of(Router::new().fallback(Asked::note).with_state(asked.clone())).await;
    macro_rules! sends {
        ($call:expr, $line:expr) => {
            let error = $call.await.expect_err("a teapot");
            assert_eq!(error.status(), Some(418), "{error}");
            assert_eq!(asked.all(), [$line]);
        };
    }

    sends!(client.system_info(), "GET /api/system/info");
    sends!(client.system_metrics(), "GET /api/system/metrics");
    sends!(client.metrics_summary(), "GET /api/metrics/summary");
    sends!(client.containers(), "GET /api/containers");
    sends!(client.container_config("web"), "GET /api/containers/web/config");
    sends!(client.container_stats("web"), "GET /api/containers/web/stats");
    sends!(client.container_logs("a/b", &ContainerLogs::default()), "GET /api/containers/a%2Fb/logs");
    let newest = ContainerLogs { tail: Some(5), timestamps: true, ..ContainerLogs::default() };
    sends!(client.container_logs("web", &newest), "GET /api/containers/web/logs?tail=5&timestamps=true");
    sends!(client.start_container("web"), "POST /api/containers/web/start");
    sends!(client.stop_container("web"), "POST /api/containers/web/stop");
    sends!(client.restart_container("web"), "POST /api/containers/web/restart");
    sends!(client.delete_container("web"), "DELETE /api/containers/web/delete");
    let plain = NewContainer { image: "nginx".into(), ..NewContainer::default() };
    sends!(client.create_container(&plain), r#"POST /api/containers {"image":"nginx"}"#);
    let full = NewContainer {
        name: "web".into(),
        env: BTreeMap::from([("TZ".to_owned(), "UTC".to_owned())]),
        ports: vec![NewPort { private: 80, public: Some(8080), protocol: String::new() }],
        volumes: vec![NewVolume { host: "data".into(), container: "/data".into(), read_only: false }],
        command: vec!["nginx".into()],
        ..plain
    };
    sends!(
        client.create_container(&full),
        r#"POST /api/containers {"image":"nginx","name":"web","env":{"TZ":"UTC"},"ports":[{"private":80,"public":8080}],"volumes":[{"host":"data","container":"/data"}],"command":["nginx"]}"#
    );
    let exec = ExecRequest { command: vec!["ls".into()], timeout_seconds: Some(3), ..ExecRequest::default() };
    sends!(
        client.exec("web", &exec),
        r#"POST /api/containers/web/exec {"command":["ls"],"timeout_seconds":3}"#
    );

    sends!(client.images(), "GET /api/images");
    sends!(client.begin_pull("nginx"), r#"POST /api/images/pull?wait=false {"image":"nginx"}"#);
    sends!(client.pull("p1"), "GET /api/images/pulls/p1");
    sends!(client.pulls(), "GET /api/images/pulls");
    sends!(client.cancel_pull("p1"), "DELETE /api/images/pulls/p1");
    sends!(client.delete_image("ghcr.io/a/b:1"), "DELETE /api/images/ghcr.io%2Fa%2Fb:1");

    sends!(client.templates(), "GET /api/containers/templates");
    sends!(client.template("t"), "GET /api/containers/templates/t");
    sends!(client.delete_template("t"), "DELETE /api/containers/templates/t");
    sends!(
        client.save_template(&json!({"name": "t"}), false),
        r#"POST /api/containers/templates?overwrite=false {"name":"t"}"#
    );
    sends!(
        client.deploy_template("t", Some("web"), &BTreeMap::new()),
        r#"POST /api/containers/templates/t/deploy {"name":"web"}"#
    );

    let which = WhichApp::named("jelly");
    sends!(client.apps(), "GET /api/marketplace");
    sends!(client.app("jellyfin"), "GET /api/marketplace/jellyfin");
    sends!(client.installed_apps(), "GET /api/marketplace/installed");
    sends!(client.installed_app("jelly"), "GET /api/marketplace/jelly/status");
    sends!(
        client.app_logs("jelly", Some("db"), Some(9)),
        "GET /api/marketplace/jelly/logs?service=db&tail=9"
    );
    let app = InstallApp {
        app_id: "jellyfin".into(),
        ports: BTreeMap::from([(8097, 8096)]),
        ..InstallApp::default()
    };
    sends!(
        client.install_app(&app),
        r#"POST /api/marketplace/create {"app_id":"jellyfin","ports":{"8097":8096}}"#
    );
    sends!(client.start_app(&which), r#"POST /api/marketplace/start {"container_name":"jelly"}"#);
    sends!(client.stop_app(&which), r#"POST /api/marketplace/stop {"container_name":"jelly"}"#);
    sends!(client.restart_app(&which), r#"POST /api/marketplace/restart {"container_name":"jelly"}"#);
    sends!(
        client.update_app(&which, &BTreeMap::new(), true),
        r#"POST /api/marketplace/update {"container_name":"jelly","replace_edited":true}"#
    );
    sends!(
        client.uninstall_app(&which, false),
        r#"POST /api/marketplace/uninstall {"container_name":"jelly","delete_data":false}"#
    );

    let some = ActivityQuery { kind: Some("api_call".into()), limit: Some(2), ..ActivityQuery::default() };
    sends!(client.activity(&some), "GET /api/activity?limit=2&type=api_call");
}

#[tokio::test]
async fn names_that_would_become_another_path_are_not_sent() {
    let asked = Asked::default();
    let client = client_of(Router::new().fallback(Asked::note).with_state(asked.clone())).await;

    for name in ["", ".", "..", "a\nb"] {
        let error = client.delete_container(name).await.expect_err("no name");
        assert_eq!((error.code(), error.status()), (ErrorCode::InvalidRequest, None), "{name:?}");
    }
    for name in ["installed", "create"] {
        assert_eq!(client.app(name).await.expect_err("no app").code(), ErrorCode::AppNotFound);
    }

    assert_eq!(asked.all(), Vec::<String>::new());
}

async fn answering(status: StatusCode, body: Value) -> Client {
    client_of(Router::new().fallback(move || async move { (status, Json(body)) })).await
}

#[tokio::test]
async fn a_list_keeps_members_that_are_not_known_here() {
    let data = json!([{"id": "4f", "name": "web", "state": "running", "new": 1,
        "ports": [{"private": 80, "public": 8080, "protocol": "tcp", "host": "8080", "container": "80"}]}]);
    let client = answering(StatusCode::OK, json!({"success": true, "data": data, "error": null})).await;

    let containers = client.containers().await.expect("a list");

    assert_eq!((containers[0].name.as_str(), containers[0].ports[0].public), ("web", Some(8080)));
    assert!(containers.json().contains(r#""new":1"#));
}

#[tokio::test]
async fn a_refusal_keeps_status_code_message_and_body_apart() {
    let body = json!({"success": false, "data": null,
        "error": {"code": "FROM_THE_FUTURE", "message": "containers:delete scope required"}});
    let client = answering(StatusCode::FORBIDDEN, body.clone()).await;

    let error = client.delete_container("web").await.expect_err("refused");

    assert_eq!((error.status(), error.code()), (Some(403), ErrorCode::ScopeRequired));
    assert_eq!(error.server_code(), Some("FROM_THE_FUTURE"));
    assert_eq!(error.message(), "containers:delete scope required");
    assert_eq!(serde_json::from_str::<Value>(error.body().expect("a body")).expect("JSON"), body);
}

#[tokio::test]
async fn no_more_than_half_a_kibibyte_of_a_refusal_is_kept() {
    let client = answering(StatusCode::BAD_GATEWAY, json!("é".repeat(9000))).await;

    let error = client.containers().await.expect_err("refused");

    // The last character is cut in two, and what is left of it is shown as one that cannot be read.
    assert!(error.body().expect("a body").len() <= 514, "{error:?}");
}

#[tokio::test]
async fn a_refusal_inside_of_a_success_is_a_refusal() {
    let body =
        json!({"success": false, "data": null, "error": {"code": "NOT_FOUND", "message": "no such thing"}});
    let client = answering(StatusCode::OK, body).await;

    let error = client.containers().await.expect_err("refused");

    assert_eq!((error.code(), error.message()), (ErrorCode::NotFound, "no such thing"));
}

fn pull(status: &str, percent: u8) -> Value {
    json!({"success": true, "data": {
        "status": status, "image": "nginx:latest", "pull_id": "p1", "percent": percent,
        "code": "IMAGE_PULL_FAILED", "reason": "the registry hung up"}})
}

#[tokio::test]
async fn a_pull_tells_how_it_stands_until_it_ends() {
    async fn look(State(calls): State<Calls>) -> Response {
        match calls.next() {
            0 => Json(pull("pulling", 40)).into_response(),
            // The server is restarted in the middle.
            1 => StatusCode::SERVICE_UNAVAILABLE.into_response(),
            2 => Json(pull("pulling", 40)).into_response(),
            _ => Json(pull("pulled", 100)).into_response(),
        }
    }
    let app = Router::new()
        .route("/api/images/pull", axum::routing::post(|| async { Json(pull("pulling", 0)) }))
        .route("/api/images/pulls/p1", get(look))
        .with_state(Calls::default());

    let mut seen = Vec::new();
    let done = client_of(app).await.pull_image("nginx", |pull| seen.push(pull.percent)).await;

    assert_eq!(done.expect("the image").status, "pulled");
    assert_eq!(seen, [Some(0), Some(40), Some(100)]);
}

#[tokio::test]
async fn a_pull_that_fails_is_an_error_with_the_servers_reason() {
    let app =
        Router::new().route("/api/images/pull", axum::routing::post(|| async { Json(pull("failed", 3)) }));

    let error = client_of(app).await.pull_image("nginx", |_| {}).await.expect_err("it failed");

    assert_eq!((error.code(), error.message()), (ErrorCode::ImagePullFailed, "the registry hung up"));
}
