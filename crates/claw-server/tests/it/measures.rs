//! What is counted about requests.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use axum::http::Method;
use metrics::{
    Counter, CounterFn, Gauge, GaugeFn, Histogram, HistogramFn, Key, KeyName, Metadata, Recorder,
    SharedString, Unit,
};
use serde_json::json;

use crate::lab::Lab;

/// Sums of what was counted, by name and labels.
#[derive(Clone, Default)]
struct Sums(Arc<Mutex<BTreeMap<String, f64>>>);

struct Sum(Sums, String);

impl Sum {
    fn change(&self, change: impl FnOnce(&mut f64)) {
        change(self.0.0.lock().expect("a lock").entry(self.1.clone()).or_default());
    }
}

impl CounterFn for Sum {
    fn increment(&self, value: u64) {
        self.change(|sum| *sum += value as f64);
    }

    fn absolute(&self, value: u64) {
        self.change(|sum| *sum = value as f64);
    }
}

impl GaugeFn for Sum {
    fn increment(&self, value: f64) {
        self.change(|sum| *sum += value);
    }

    fn decrement(&self, value: f64) {
        self.change(|sum| *sum -= value);
    }

    fn set(&self, value: f64) {
        self.change(|sum| *sum = value);
    }
}

impl HistogramFn for Sum {
    fn record(&self, _value: f64) {
        self.change(|sum| *sum += 1.0);
    }
}

impl Sums {
    fn of(&self, key: &Key) -> Arc<Sum> {
        let labels: Vec<_> = key.labels().map(|label| format!("{}={}", label.key(), label.value())).collect();
        Arc::new(Sum(self.clone(), format!("{}{{{}}}", key.name(), labels.join(","))))
    }

    fn get(&self, name: &str) -> f64 {
        self.0.lock().expect("a lock").get(name).copied().unwrap_or_default()
    }
}

impl Recorder for Sums {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        Counter::from_arc(self.of(key))
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::from_arc(self.of(key))
    }

    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::from_arc(self.of(key))
    }
}

#[tokio::test]
async fn t12_requests_are_counted_by_route_and_never_by_what_their_sender_wrote() {
    let sums = Sums::default();
    let _guard = metrics::set_default_local_recorder(&sums);
    let lab = Lab::new().await;
    let id = lab.job("CANARY").await;

    for _ in 0..3 {
        lab.get(&format!("/api/v1/jobs/{id}?x=CANARY")).send().await.expect(200);
    }
    lab.get("/api/v1/jobs/CANARY").send().await;
    lab.get("/CANARY").send().await;
    lab.call(Method::from_bytes(b"CANARY").expect("a method"), "/api/v1/jobs").send().await;
    lab.post("/api/v1/jobs", json!({ "prompt": 1 })).key("wag_live_CANARY").send().await;
    let mut events = lab.get("/api/v1/events/jobs").follow().await;
    events.next().await.expect("a greeting");

    let count = |labels: &str| sums.get(&format!("claw_http_requests_total{{{labels}}}"));
    assert_eq!(count("route=/api/v1/jobs/{id},method=GET,status_class=2xx"), 3.0);
    assert_eq!(count("route=/api/v1/jobs/{id},method=GET,status_class=4xx"), 1.0);
    assert_eq!(count("route=none,method=GET,status_class=4xx"), 1.0);
    assert_eq!(count("route=/api/v1/jobs,method=other,status_class=4xx"), 1.0);
    assert_eq!(sums.get("claw_http_seconds{route=/api/v1/jobs/{id}}"), 4.0);
    assert_eq!(sums.get("claw_auth_failures_total{kind=key}"), 1.0);
    assert_eq!(sums.get("claw_http_streams{}"), 1.0);
    drop(events);
    assert_eq!(sums.get("claw_http_streams{}"), 0.0);
    let names: Vec<_> = sums.0.lock().expect("a lock").keys().cloned().collect();
    assert!(!names.iter().any(|name| name.contains("CANARY") || name.contains(&id.to_string())), "{names:?}");
}
