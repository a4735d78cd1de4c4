use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use claw_docker::Docker;
use serde_json::{Value, json};

use crate::lab::{Lab, Options};

#[tokio::test]
async fn the_state_is_public_and_counts_jobs() {
    let lab = Lab::new().await;
    lab.completed_job().await;
    lab.job("runs").await;
    lab.claim().await;
    lab.job("waits").await;

    let status = lab.get("/api/v1/status").anonymous().send().await.expect(200);

    let expected = json!({
        "status": "healthy",
        "queue": { "pending": 1, "running": 1, "completed": 1, "failed": 0, "cancelled": 0 },
        "docker_available": false, "sandbox_image_ready": false, "execution_backend": "docker", "worker_count": 0,
        "capacity": 0, "active": 0, "waiting_because": null, "version": "1.2.3",
    });
    assert_eq!(status, expected);
    assert_eq!(lab.get("/health").anonymous().send().await.expect(200), json!({ "status": "ok" }));
}

#[tokio::test]
async fn without_the_store_the_state_is_unhealthy_and_health_still_answers() {
    let mut lab = Lab::new().await;
    lab.cut_store().await;

    let status = lab.get("/api/v1/status").anonymous().send().await;

    let expected = json!({ "status": "unhealthy", "error": "the store does not answer" });
    assert_eq!(status.expect(503), expected);
    lab.get("/health").send().await.expect(200);
}

#[tokio::test]
async fn the_real_engine_is_described() {
    let engine = Docker::connect(None).expect("an address of an Engine");
    let lab = Lab::with(Options {
        engine: Some(engine),
        sandbox_image: "no/such-image:ever",
        ..Options::default()
    })
    .await;

    let engine = lab.get("/api/v1/docker/status").send().await.expect(200);
    let status = lab.get("/api/v1/status").send().await.expect(200);

    assert_eq!(engine["available"], true, "these tests need a Docker Engine: {engine}");
    assert!(
        engine["server_version"].is_string()
            && engine["os"].is_string()
            && engine["containers_running"].is_u64()
    );
    assert_eq!((&status["docker_available"], &status["sandbox_image_ready"]), (&json!(true), &json!(false)));
}

#[tokio::test]
async fn an_engine_that_is_not_there_is_an_answer_too() {
    let engine = Docker::connect(Some("unix:///nonexistent/docker.sock")).expect("an address of an Engine");
    let lab = Lab::with(Options { engine: Some(engine), ..Options::default() }).await;

    let engine = lab.get("/api/v1/docker/status").send().await.expect(200);

    assert_eq!(engine["available"], false);
    assert!(engine["error"].is_string() && engine["server_version"] == Value::Null, "{engine}");
}

#[tokio::test]
async fn s33_p5_an_engine_that_says_nothing_does_not_hold_up_the_state() {
    let folder = tempfile::tempdir().expect("a folder");
    let socket = folder.path().join("docker.sock");
    // Accepted by the system, answered by nobody.
    let _listener = tokio::net::UnixListener::bind(&socket).expect("a socket");
    let engine = Docker::connect(socket.to_str()).expect("an address of an Engine");
    let lab = Lab::with(Options { engine: Some(engine), ..Options::default() }).await;

    let asked = tokio::time::Instant::now();
    let looks = (0..20).map(|_| lab.get("/api/v1/status").anonymous().send());
    for answer in futures_util::future::join_all(looks).await {
        assert_eq!(answer.expect(200)["docker_available"], false);
    }

    assert!(asked.elapsed() < Duration::from_secs(8), "{:?}", asked.elapsed());
}

#[tokio::test]
async fn s33_however_many_look_the_engine_is_asked_once_and_never_for_health() {
    let folder = tempfile::tempdir().expect("a folder");
    let socket = folder.path().join("docker.sock");
    let listener = tokio::net::UnixListener::bind(&socket).expect("a socket");
    let asked = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&asked);
    let engine = axum::Router::new().fallback(async move || {
        counter.fetch_add(1, Ordering::SeqCst);
        axum::http::StatusCode::INTERNAL_SERVER_ERROR
    });
    tokio::spawn(async move { axum::serve(listener, engine).await });
    let engine = Docker::connect(socket.to_str()).expect("an address of an Engine");
    let lab = Lab::with(Options { engine: Some(engine), ..Options::default() }).await;

    for path in ["/health", "/ready", "/metrics"] {
        lab.get(path).send().await;
    }
    assert_eq!(asked.load(Ordering::SeqCst), 0);
    lab.get("/api/v1/status").anonymous().send().await.expect(200);
    let once = asked.load(Ordering::SeqCst);
    let looks = (0..100).map(|_| lab.get("/api/v1/status").anonymous().send());
    futures_util::future::join_all(looks).await;

    // Once more at the most, should the first answer have grown old meanwhile.
    assert!((1..=4).contains(&once), "{once}");
    assert!(asked.load(Ordering::SeqCst) <= 2 * once, "{once}: {asked:?}");
}

#[tokio::test]
async fn s33_t32_strangers_who_ask_again_and_again_have_nobody_work() {
    let asked = Arc::<AtomicUsize>::default();
    let lab = Lab::with(Options { asked: Arc::clone(&asked), ..Options::default() }).await;

    for path in ["/ready", "/api/v1/auth/oauth-status"] {
        asked.store(0, Ordering::SeqCst);
        let looks = (0..200).map(|_| lab.get(path).anonymous().send());
        for answer in futures_util::future::join_all(looks).await {
            answer.expect(200);
        }
        // Once a second.
        assert!((1..20).contains(&asked.load(Ordering::SeqCst)), "{path}: {asked:?}");
    }
}
