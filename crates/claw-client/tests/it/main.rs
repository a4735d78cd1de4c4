//! The client against a scripted server on a real socket.

mod homelab;

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{
    Json, Router,
    body::Body,
    extract::State,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use claw_client::{Client, Credential, LogEvent, SubmitJob};
use claw_core::{Coded, ErrorCode, JobId, JobStatus};
use serde_json::json;

const JOB: &str = "019a5b7e-6f2d-7c3b-9d5e-0f4a1b2c3d4e";

fn job_id() -> JobId {
    JOB.parse().expect("a job id")
}

/// Serves `app` until the test's runtime ends, and returns a client of it.
async fn client_of(app: Router) -> Client {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move { axum::serve(listener, app).await });
    let server = format!("http://{address}").parse().expect("a server address");
    Client::new(server, Some(Credential::new("wag_live_test"))).expect("a client")
}

fn events(text: impl Into<Body>) -> Response {
    ([(header::CONTENT_TYPE, "text/event-stream")], text.into()).into_response()
}

#[derive(Clone, Default)]
struct Calls(Arc<AtomicUsize>);

impl Calls {
    /// Returns how many calls there were before this one.
    fn next(&self) -> usize {
        self.0.fetch_add(1, Ordering::SeqCst)
    }
}

#[tokio::test]
async fn a_followed_log_goes_on_after_a_broken_connection_without_missing_or_doubling_a_line() {
    async fn stream(State(calls): State<Calls>, headers: HeaderMap) -> Response {
        let resumed_after = headers.get("last-event-id").map(|id| id.to_str().unwrap_or_default().to_owned());
        match (calls.next(), resumed_after.as_deref()) {
            // Cut in the middle of the second line.
            (0, None) => events("retry: 1\n\nid: 1\nevent: log\ndata: one\n\nid: 2\nevent: log\ndata: tw"),
            (1, Some("1")) => StatusCode::SERVICE_UNAVAILABLE.into_response(),
            // The first line comes again, as from a server that is careless about the id.
            (2, Some("1")) => events(
                "id: 1\nevent: log\ndata: one\n\nid: 2\nevent: log\ndata: two\n\nevent: end\ndata: {\"job_id\":\"x\",\"status\":\"completed\"}\n\n",
            ),
            other => panic!("unexpected request {other:?}"),
        }
    }
    let app = Router::new().route("/api/v1/jobs/{id}/logs/stream", get(stream)).with_state(Calls::default());
    let mut log = client_of(app).await.follow_log(job_id(), 0).await.expect("a stream");

    let mut seen = Vec::new();
    while let Some(event) = log.next().await.expect("an event") {
        let is_end = matches!(event, LogEvent::End { .. });
        seen.push(event);
        if is_end {
            break;
        }
    }

    let line = |sequence, line: &str| LogEvent::Line { sequence, line: line.into() };
    assert_eq!(seen, [line(1, "one"), line(2, "two"), LogEvent::End { status: JobStatus::Completed }]);
}

#[tokio::test]
async fn a_server_that_stays_away_ends_the_stream_with_an_error() {
    async fn stream(State(calls): State<Calls>) -> Response {
        match calls.next() {
            0 => events("retry: 0\n\n"),
            _ => StatusCode::SERVICE_UNAVAILABLE.into_response(),
        }
    }
    let calls = Calls::default();
    let app = Router::new().route("/api/v1/events/jobs", get(stream)).with_state(calls.clone());
    let mut stream = client_of(app).await.job_events().await.expect("a stream");

    let error = stream.next().await.expect_err("the server is away");

    assert_eq!(error.status(), Some(503));
    assert_eq!(calls.next(), 15, "one connection and fourteen reconnects");
}

#[tokio::test]
async fn a_refused_stream_is_not_tried_again() {
    async fn stream(State(calls): State<Calls>) -> Response {
        match calls.next() {
            0 => events("retry: 0\n\n"),
            _ => (StatusCode::UNAUTHORIZED, Json(json!({"error": "revoked", "code": "INVALID_KEY"})))
                .into_response(),
        }
    }
    let calls = Calls::default();
    let app = Router::new().route("/api/v1/events/jobs", get(stream)).with_state(calls.clone());
    let mut stream = client_of(app).await.job_events().await.expect("a stream");

    let error = stream.next().await.expect_err("the key was revoked");

    assert_eq!((error.code(), calls.next()), (ErrorCode::InvalidKey, 2));
}

#[tokio::test]
async fn a_wait_wakes_on_the_event_of_its_own_job() {
    async fn job(State(calls): State<Calls>) -> Response {
        let status = if calls.next() == 0 { "running" } else { "completed" };
        Json(json!({"id": JOB, "status": status, "a_field_of_the_future": 1})).into_response()
    }
    async fn stream() -> Response {
        events(format!(
            "event: job_update\ndata: {{\"type\":\"job_update\",\"job_id\":\"{}\",\"status\":\"failed\"}}\n\n\
             event: job_update\ndata: {{\"type\":\"job_update\",\"job_id\":\"{JOB}\",\"status\":\"completed\"}}\n\n",
            JobId::new()
        ))
    }
    let calls = Calls::default();
    let app = Router::new()
        .route("/api/v1/jobs/{id}", get(job))
        .route("/api/v1/events/jobs", get(stream))
        .with_state(calls.clone());
    let client = client_of(app).await;

    let mut seen = Vec::new();
    let limit = Some(Duration::from_secs(60));
    let job = client.wait_for_job(job_id(), limit, |job| seen.push(job.status)).await.expect("the job");

    assert_eq!(seen, [JobStatus::Running, JobStatus::Completed]);
    assert!(job.json().contains("a_field_of_the_future"));
    assert_eq!(calls.next(), 2, "one look before and one after the event");
}

#[tokio::test]
async fn a_wait_ends_at_its_limit() {
    let app = Router::new()
        .route("/api/v1/jobs/{id}", get(|| async { Json(json!({"id": JOB, "status": "pending"})) }))
        .route(
            "/api/v1/events/jobs",
            get(|| async {
                events(Body::from_stream(futures_util::stream::pending::<Result<String, std::io::Error>>()))
            }),
        );
    let client = client_of(app).await;

    let outcome = client.wait_for_job(job_id(), Some(Duration::from_millis(50)), |_| {}).await;

    assert_eq!(outcome.expect_err("the limit").code(), ErrorCode::WaitTimedOut);
}

#[tokio::test]
async fn a_submit_whose_answer_is_lost_is_sent_again_with_the_same_idempotency_key() {
    async fn submit(State(calls): State<Calls>, headers: HeaderMap) -> Response {
        assert_eq!(headers["idempotency-key"], "once");
        if calls.next() == 0 {
            // Promises more than it sends, then closes.
            let broken = Body::from_stream(futures_util::stream::iter([
                Ok("{\"id\":"),
                Err(std::io::Error::other("connection lost")),
            ]));
            return (StatusCode::CREATED, broken).into_response();
        }
        (StatusCode::CREATED, Json(json!({"id": JOB, "status": "pending"}))).into_response()
    }
    let calls = Calls::default();
    let app = Router::new().route("/api/v1/jobs", post(submit)).with_state(calls.clone());

    let submitted = client_of(app).await.submit_job(&SubmitJob::new("hello"), "once").await.expect("a job");

    assert_eq!((submitted.id, calls.next()), (job_id(), 2));
}

#[tokio::test]
async fn the_key_does_not_follow_a_redirect() {
    let app = Router::new().route(
        "/api/v1/status",
        get(|| async { (StatusCode::FOUND, [(header::LOCATION, "http://127.0.0.1:9/api/v1/status")]) }),
    );

    let error = client_of(app).await.status().await.expect_err("a redirect");

    assert_eq!(error.code(), ErrorCode::UnexpectedAnswer);
    assert!(error.message().contains("redirects to http://127.0.0.1:9/api/v1/status"), "{error}");
}

#[tokio::test]
async fn a_page_of_html_is_not_taken_for_an_answer() {
    let app = Router::new().fallback(|| async { "<html>the dashboard</html>" });

    let error = client_of(app).await.status().await.expect_err("no JSON");

    assert_eq!(error.code(), ErrorCode::UnexpectedAnswer);
}

#[tokio::test]
async fn nobody_listening_is_said_in_plain_words() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("an address");
    drop(listener);
    let client =
        Client::new(format!("http://{address}").parse().expect("an address"), None).expect("a client");

    let error = client.status().await.expect_err("nobody listens");

    assert_eq!(error.code(), ErrorCode::ServerUnreachable);
    let expected = format!("cannot reach http://{address}: connection refused; is `claw serve` running?");
    assert_eq!(error.message(), expected);
}

#[tokio::test]
async fn the_envelope_of_the_homelab_dialect_is_opened() {
    let app = Router::new().route(
        "/api/auth/status",
        get(|| async { Json(json!({"success": true, "data": {"has_key": true, "new": 1}})) }),
    );

    let status = client_of(app).await.setup_status().await.expect("an answer");

    assert!(status.has_key && !status.setup_required);
    assert_eq!(status.json(), r#"{"has_key":true,"new":1}"#);
}
