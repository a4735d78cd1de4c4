//! The machine and its Engine.

use claw_core::Scope;

use super::engine::lab;

#[tokio::test]
async fn m5_m6_any_key_learns_what_the_engine_is() {
    let lab = lab().await;
    let key = lab.key(&[Scope::JobsRead]).await;

    let info = lab.get("/api/system/info").key(&key).send().await.data();

    for member in ["docker_root", "docker_version", "api_version", "os", "arch"] {
        assert!(info[member].as_str().is_some_and(|text| !text.is_empty()), "{member}: {info}");
    }
    assert!(info["api_version"].as_str().is_some_and(|version| version.starts_with("1.")), "{info}");
}

#[tokio::test]
async fn b11_m6_m7_any_key_learns_how_busy_the_machine_is_in_both_shapes() {
    let lab = lab().await;
    let key = lab.key(&[Scope::JobsRead]).await;

    let metrics = lab.get("/api/system/metrics").key(&key).send().await.data();

    for path in ["/cpu/usage", "/memory/usagePercent", "/cpu_percent", "/memory_percent", "/disk_percent"] {
        let percent = metrics.pointer(path).and_then(serde_json::Value::as_f64);
        assert!(percent.is_some_and(|percent| (0.0..=100.0).contains(&percent)), "{path}: {metrics}");
    }
    for path in ["/memory/total", "/memory/used", "/disk/total", "/disk/used"] {
        assert!(
            metrics.pointer(path).and_then(serde_json::Value::as_u64).is_some_and(|bytes| bytes > 0),
            "{path}: {metrics}"
        );
    }
    assert!(metrics["uptime"].as_f64().is_some_and(|seconds| seconds > 0.0));
    assert!(metrics["currentTime"].as_str().is_some_and(|time| time.ends_with('Z')));
    assert!(metrics["containers"].is_u64() && metrics["images"].as_u64().is_some_and(|images| images > 0));
}

#[tokio::test]
async fn a9_what_goes_on_is_for_those_who_may_see_it() {
    let lab = lab().await;
    let key = lab.key(&[Scope::ContainersRead]).await;

    for path in ["/api/metrics/summary", "/api/activity", "/api/ws/activity"] {
        lab.get(path).key(&key).send().await.assert_enveloped(403, "SCOPE_REQUIRED");
        lab.get(path).anonymous().send().await.assert_enveloped(401, "API_KEY_REQUIRED");
    }
    let summary = lab.get("/api/metrics/summary").send().await.data();
    assert_eq!(summary["requests_by_hour"].as_array().map(Vec::len), Some(24));
    assert!(summary["requests_last_24h"].as_u64().is_some_and(|requests| requests > 0), "{summary}");
    let counts = &summary["container_counts"];
    let of = |name: &str| counts[name].as_u64().expect("a number");
    assert_eq!(of("total"), of("running") + of("stopped"));
    assert!(summary["uptime_seconds"].is_u64() && summary["pulls_last_24h"].is_u64());
}
