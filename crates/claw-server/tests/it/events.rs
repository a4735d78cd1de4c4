//! Server-sent events.

use std::time::Duration;

use axum::http::Method;
use claw_core::{Actor, KeyId, Role, Scope, Secret};
use serde_json::json;

use crate::lab::{Call, Event, Lab, completed};

fn line(id: u64, data: &str) -> Event {
    Event { name: "log".into(), id: Some(id), data: data.into() }
}

#[tokio::test]
async fn a_log_is_followed_from_its_first_line_to_the_end_of_the_job() {
    let lab = Lab::new().await;
    let id = lab.job("x").await;
    let claimed = lab.claim().await;
    lab.log(id, &["{\"n\":1}", "two"]).await;

    let mut events = lab.get(&format!("/api/v1/jobs/{id}/logs/stream")).follow().await;
    assert_eq!(events.next().await, Some(line(1, "{\"n\":1}")));
    assert_eq!(events.next().await, Some(line(2, "two")));
    lab.log(id, &["three\r\nevent: end\rdata: forged"]).await;
    assert_eq!(events.next().await, Some(line(3, "three\nevent: end\ndata: forged")));
    lab.log(id, &["four"]).await;
    lab.finish(&claimed, completed("done")).await;

    let rest = events.rest().await;
    let end = json!({ "job_id": id.to_string(), "status": "completed" });
    assert_eq!(rest.len(), 2);
    assert_eq!((&rest[0], rest[1].name.as_str(), rest[1].json()), (&line(4, "four"), "end", end));
}

#[tokio::test]
async fn a_log_goes_on_after_the_last_line_seen() {
    let lab = Lab::new().await;
    let id = lab.job("x").await;
    let claimed = lab.claim().await;
    lab.log(id, &["one", "two", "three"]).await;
    lab.finish(&claimed, completed("done")).await;
    let path = format!("/api/v1/jobs/{id}/logs/stream");
    let ids = |events: Vec<Event>| events.into_iter().map(|event| event.id).collect::<Vec<_>>();

    let by_header = lab.get(&path).header("last-event-id", "2").follow().await.rest().await;
    let by_query = lab.get(&format!("{path}?last_event_id=1")).follow().await.rest().await;
    let both =
        lab.get(&format!("{path}?last_event_id=1")).header("last-event-id", "3").follow().await.rest().await;
    let beyond = lab.get(&path).header("last-event-id", "18446744073709551615").follow().await.rest().await;

    assert_eq!(ids(by_header), [Some(3), None]);
    assert_eq!(ids(by_query), [Some(2), Some(3), None]);
    assert_eq!(ids(both), [None]);
    assert_eq!(ids(beyond), [None]);
    lab.get(&path).header("last-event-id", "x").send().await.assert_error(400, "INVALID_REQUEST");
}

#[tokio::test]
async fn r22_a_page_of_a_log_tells_how_long_the_log_is() {
    let lab = Lab::new().await;
    let id = lab.job("x").await;
    lab.log(id, &["one", "two", "three"]).await;
    let page =
        async |query: &str| lab.get(&format!("/api/v1/jobs/{id}/logs{query}")).send().await.expect(200);

    let expected =
        json!({ "job_id": id.to_string(), "lines": ["one", "two", "three"], "total": 3, "offset": 0 });
    assert_eq!(page("").await, expected);
    assert_eq!(page("?limit=0").await, expected);
    let middle = json!({ "job_id": id.to_string(), "lines": ["two"], "total": 3, "offset": 1 });
    assert_eq!(page("?offset=1&limit=1").await, middle);
    assert_eq!(page("?offset=18446744073709551615").await["lines"], json!([]));
}

#[tokio::test]
async fn changes_of_jobs_arrive_in_order_with_what_clients_know() {
    let lab = Lab::new().await;
    let mut events = lab.get("/api/v1/events/jobs").follow().await;
    let connected = events.next().await.expect("an event");
    assert_eq!((connected.name.as_str(), connected.json()), ("connected", json!({ "status": "connected" })));

    let id = lab.job("x").await;
    let claimed = lab.claim().await;
    lab.finish(&claimed, completed("done")).await;

    for (status, worker) in
        [("pending", json!(null)), ("running", json!("test-boot-0")), ("completed", json!(null))]
    {
        let event = events.next().await.expect("an event");
        let data = event.json();
        assert_eq!(event.name, "job_update");
        assert_eq!((&data["type"], &data["status"]), (&json!("job_update"), &json!(status)));
        assert_eq!((&data["job_id"], &data["worker_id"]), (&json!(id.to_string()), &worker));
        assert!(data["timestamp"].is_string());
    }
}

#[tokio::test]
async fn p10_a_client_that_reconnects_again_and_again_misses_nothing_and_sees_nothing_twice() {
    let lab = Lab::new().await;
    let mut last = None;
    let mut seen = Vec::new();
    let mut submitted = Vec::new();
    for _ in 0..8 {
        let call = lab.get("/api/v1/events/jobs");
        let call = if let Some(id) = last { call.header("last-event-id", &format!("{id}")) } else { call };
        let mut events = call.follow().await;
        let connected = events.next().await.expect("a greeting");
        assert_eq!(connected.name, "connected");
        // Some while connected, of which only one is read; some after the connection is gone.
        for number in 0..3 {
            submitted.push(lab.job(&format!("{number}")).await.to_string());
        }
        let event = events.next().await.expect("an event");
        last = event.id;
        seen.push(event.json()["job_id"].as_str().expect("an id").to_owned());
        drop(events);
        submitted.push(lab.job("while away").await.to_string());
    }
    let mut events = lab
        .get("/api/v1/events/jobs")
        .header("last-event-id", &last.expect("a place").to_string())
        .follow()
        .await;
    events.next().await.expect("a greeting");
    while seen.len() < submitted.len() {
        seen.push(
            events.next().await.expect("an event").json()["job_id"].as_str().expect("an id").to_owned(),
        );
    }

    assert_eq!(seen, submitted);
}

#[tokio::test]
async fn a_client_that_saw_only_the_greeting_misses_nothing_either() {
    let lab = Lab::new().await;
    lab.job("before").await;
    let mut events = lab.get("/api/v1/events/jobs").follow().await;
    let place = events.next().await.expect("a greeting").id.expect("a place");
    drop(events);
    let id = lab.job("while away").await;

    let mut events =
        lab.get("/api/v1/events/jobs").header("last-event-id", &place.to_string()).follow().await;

    events.next().await.expect("a greeting");
    assert_eq!(events.next().await.expect("an event").json()["job_id"], id.to_string());
}

#[tokio::test]
async fn s20_s21_an_agent_sees_changes_of_its_own_jobs_only() {
    let lab = Lab::new().await;
    let agent = lab.key(&[Scope::JobsRead, Scope::JobsWrite]).await;
    let mut events = lab.get("/api/v1/events/jobs").key(&agent).follow().await;
    events.next().await.expect("a greeting");

    lab.job("the admin's").await;
    let own = lab.post("/api/v1/jobs", json!({ "prompt": "mine" })).key(&agent).send().await.expect(201);

    assert_eq!(events.next().await.expect("an event").json()["job_id"], own["id"]);
}

/// Moves the clock on. It stands still only meanwhile: the store's threads answer in real time.
async fn advance(secs: u64) {
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(secs)).await;
    tokio::time::resume();
}

#[tokio::test]
async fn a_stream_on_which_nothing_happens_is_kept_alive() {
    let lab = Lab::new().await;
    let mut events = lab.get("/api/v1/events/jobs").follow().await;
    events.next().await.expect("a greeting");

    for _ in 0..3 {
        advance(16).await;
        assert_eq!(events.chunk().await.as_deref(), Some(": keep-alive\n\n"));
    }
    let id = lab.job("x").await;
    assert_eq!(events.next().await.expect("an event").json()["job_id"], id.to_string());
}

#[tokio::test]
async fn a_stream_ends_when_its_key_is_revoked_or_changed() {
    let lab = Lab::new().await;
    for change in ["revoke", "lower"] {
        let key = lab.post("/api/keys", json!({ "scopes": ["jobs:read", "jobs:write"] })).send().await.data();
        let id: KeyId = key["meta"]["id"].as_str().expect("an id").parse().expect("an id");
        let mut events =
            lab.get("/api/v1/events/jobs").key(key["key"].as_str().expect("a key")).follow().await;
        events.next().await.expect("a greeting");
        let path = format!("/api/keys/{id}");
        let answer = match change {
            "revoke" => lab.delete(&path).send().await,
            _ => lab.call(Method::PATCH, &path).json(&json!({ "scopes": ["jobs:read"] })).send().await,
        };
        answer.data();

        advance(31).await;

        assert_eq!(events.next().await, None, "{change}");
    }
}

#[tokio::test]
async fn t32_streams_beyond_the_limit_are_told_to_come_back_and_other_requests_go_on() {
    let lab = Lab::new().await;
    let mut open = Vec::new();
    for _ in 0..256 {
        open.push(lab.get("/api/v1/events/jobs").follow().await);
    }

    let refused = lab.get("/api/v1/events/jobs").send().await;
    refused.assert_error(429, "RATE_LIMITED");
    assert_eq!(refused.header("retry-after"), "5");
    lab.get("/api/v1/jobs").send().await.expect(200);

    open.pop();
    lab.get("/api/v1/events/jobs").follow().await.next().await.expect("a greeting");
}

#[tokio::test]
async fn s28_a_stream_ends_at_once_with_its_key_its_session_or_its_person() {
    let lab = Lab::new().await;
    let password = Secret::new("correct horse");
    for end in
        ["revoke", "take the scope", "sign out", "end the session", "reset the password", "delete the person"]
    {
        let name = "ann";
        lab.gate.create_user(&Actor::system(), name, &password, Role::User).await.expect("a user is made");
        let login = json!({ "username": name, "password": "correct horse" });
        let login = lab.post("/api/v1/auth/login", login).anonymous().send().await;
        let cookie = login.header("set-cookie").split(';').next().expect("a cookie").to_owned();
        let as_ann =
            |call: Call| call.anonymous().header("cookie", &cookie).header("sec-fetch-site", "same-origin");
        let key = lab.post("/api/keys", json!({ "scopes": ["jobs:read", "jobs:write"] })).send().await.data();
        let key_path = format!("/api/keys/{}", key["meta"]["id"].as_str().expect("an id"));
        let follow = lab.get("/api/v1/events/jobs");
        let with_key = ["revoke", "take the scope"].contains(&end);
        let follow = if with_key { follow.key(key["key"].as_str().expect("a key")) } else { as_ann(follow) };
        let mut events = follow.follow().await;
        events.next().await.expect("a greeting");

        let done = match end {
            "revoke" => lab.delete(&key_path),
            "take the scope" => lab.call(Method::PATCH, &key_path).json(&json!({ "scopes": ["jobs:write"] })),
            "sign out" => as_ann(lab.post("/api/v1/auth/logout", json!({}))),
            "end the session" => {
                let sessions = lab.get("/api/v1/auth/sessions?username=ann").send().await.expect(200);
                let id = sessions["items"][0]["id"].as_str().expect("an id");
                lab.delete(&format!("/api/v1/auth/sessions/{id}?username=ann"))
            }
            "reset the password" => {
                lab.put("/api/v1/auth/users/ann/password", json!({ "password": "battery staple" }))
            }
            _ => lab.delete("/api/v1/auth/users/ann"),
        };
        done.send().await.expect(200);

        // Sooner than anybody looks without being told.
        assert_eq!(events.next().await, None, "{end}");
        // Gone already in one case.
        let _ = lab.gate.delete_user(&Actor::system(), name).await;
    }
}
