//! Traces at a collector that speaks OTLP over HTTP.

use std::sync::{Arc, Mutex, PoisonError};

use axum::{Router, body::Bytes, extract::State, http::StatusCode, routing::post};
use opentelemetry_proto::tonic::{
    collector::trace::v1::ExportTraceServiceRequest, common::v1::any_value::Value as AnyValue,
    trace::v1::Span,
};
use prost::Message as _;
use serde_json::json;

use crate::setting::{Setting, bash};

/// What no trace may hold: a part of the prompt and of what the agent said.
const SPOKEN: &str = "words-of-the-agent";

/// Keeps the spans that are sent to it.
#[derive(Clone, Default)]
struct Collector(Arc<Mutex<Vec<Bytes>>>);

impl Collector {
    async fn start() -> (Self, String) {
        let collector = Self::default();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let app = Router::new().route("/v1/traces", post(take)).with_state(collector.clone());
        tokio::spawn(async move { axum::serve(listener, app).await });
        (collector, url)
    }

    fn bodies(&self) -> Vec<Bytes> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn spans(&self) -> Vec<Span> {
        let requests = self.bodies();
        let requests = requests
            .iter()
            .map(|body| ExportTraceServiceRequest::decode(body.clone()).expect("a request of the protocol"));
        let resources = requests.flat_map(|request| request.resource_spans);
        resources.flat_map(|resource| resource.scope_spans).flat_map(|scope| scope.spans).collect()
    }
}

async fn take(State(collector): State<Collector>, body: Bytes) -> StatusCode {
    collector.0.lock().unwrap_or_else(PoisonError::into_inner).push(body);
    StatusCode::OK
}

fn attribute(span: &Span, name: &str) -> Option<String> {
    let value = span.attributes.iter().find(|attribute| attribute.key == name)?.value.clone()?.value?;
    match value {
        AnyValue::StringValue(text) => Some(text),
        AnyValue::IntValue(number) => Some(number.to_string()),
        _ => None,
    }
}

#[tokio::test]
async fn o6_a_jobs_steps_are_one_trace_with_its_id_and_without_its_words() {
    let (collector, url) = Collector::start().await;
    let mut setting =
        Setting::docker_with(&[("CLAW_OTLP_ENDPOINT", &url), ("CLAW_LOG_FORMAT", "json")]).await;
    setting.workspace("site").await;
    let script = json!([bash("echo x > x.txt"), {"text": SPOKEN}]);

    let id = setting.submit(script, &["--workspace", "site", "--wait"]).await;
    setting.server.stop().await;

    let spans = collector.spans();
    let trace = id.replace('-', "");
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let of_job: Vec<_> = spans.iter().filter(|span| hex(&span.trace_id) == trace).collect();
    for name in ["submit", "job", "prepare", "run", "keep", "finish"] {
        let found = of_job.iter().find(|span| span.name == name);
        let found = found.unwrap_or_else(|| panic!("no span {name}: {spans:#?}"));
        assert_eq!(attribute(found, "job.id"), Some(id.clone()), "{found:#?}");
        assert!(found.end_time_unix_nano >= found.start_time_unix_nano);
    }
    let whole = of_job.iter().find(|span| span.name == "job").expect("found above");
    let run = of_job.iter().find(|span| span.name == "run").expect("found above");
    assert_eq!(run.parent_span_id, whole.span_id);
    let submit = of_job.iter().find(|span| span.name == "submit").expect("found above");
    let request = spans.iter().find(|span| span.span_id == submit.links[0].span_id).expect("the request");
    assert_eq!(
        (request.name.as_str(), attribute(request, "path")),
        ("request", Some("/api/v1/jobs".to_owned()))
    );
    for body in collector.bodies() {
        let text = String::from_utf8_lossy(&body).into_owned();
        assert!(!text.contains(SPOKEN) && !text.contains("FAKE:"), "{text}");
    }
    let log = setting.server.log();
    assert!(!log.contains(SPOKEN) && !log.contains("FAKE:"), "{log}");
    let lines: Vec<serde_json::Value> =
        log.lines().map(|line| serde_json::from_str(line).expect("every line is JSON")).collect();
    assert!(!lines.is_empty());
}

#[tokio::test]
async fn a_collector_that_does_not_answer_holds_up_neither_jobs_nor_the_end() {
    let nobody = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let url = format!("http://{}", nobody.local_addr().expect("an address"));
    drop(nobody);
    let mut setting = Setting::docker_with(&[("CLAW_OTLP_ENDPOINT", &url)]).await;

    let id = setting.submit(json!([{"text": "done"}]), &["--wait"]).await;

    assert_eq!(setting.job(&id).await["status"], "completed");
    setting.server.stop().await;
}
