//! The feed: what is in it, who sees it, and that it stays.

use claw_core::Scope;
use serde_json::{Value, json};

use super::engine::{Outsider, lab};
use crate::lab::Lab;

async fn events(lab: &Lab, query: &str) -> Vec<Value> {
    let page = lab.get(&format!("/api/activity{query}")).send().await.data();
    page["events"].as_array().expect("events").clone()
}

#[tokio::test]
async fn b10_requests_are_told_of_with_who_what_and_how_it_went() {
    let lab = Lab::new().await;
    let key = lab.key(&[Scope::TemplatesRead]).await;
    lab.get("/api/containers/templates?x=secret").key(&key).send().await.data();
    lab.post("/api/containers/templates", json!({ "name": "x" })).key(&key).send().await;
    lab.get("/api/containers/templates").anonymous().send().await;
    lab.get("/api/containers/templates").key("wag_live_wrong").send().await;
    lab.get("/api/system/info").send().await;
    lab.get("/health").anonymous().send().await;
    lab.get("/api/v1/jobs").send().await;

    let events = events(&lab, "?type=api_call").await;

    let told: Vec<_> = events
        .iter()
        .map(|event| {
            let of = |name: &str| event[name].as_str().unwrap_or_default().to_owned();
            let code = event["details"]["status_code"].as_u64().expect("a status");
            (of("agent"), of("action"), of("target"), of("status"), code)
        })
        .collect();
    let tail = &key[key.len() - 8..];
    let path = "/api/containers/templates".to_owned();
    let expected = |agent: &str, method: &str, status: &str, code| {
        (agent.to_owned(), method.to_owned(), path.clone(), status.to_owned(), code)
    };
    assert_eq!(
        told,
        [
            expected(tail, "GET", "success", 200),
            expected(tail, "POST", "client_error", 403),
            expected("unauthenticated", "GET", "client_error", 401),
            expected("invalid-key", "GET", "client_error", 401),
        ]
    );
    assert_eq!(events[1]["scope"], "templates:write");
    assert_eq!(events[1]["details"]["code"], "SCOPE_REQUIRED");
    assert!(events.iter().all(|event| event["id"].as_str().is_some_and(|id| id.len() == 16)));
    assert!(events.iter().all(|event| event["details"]["duration_ms"].is_u64()));
    assert!(!json!(events).to_string().contains(&key));
}

/// What the issue wants to be shown in one place.
#[tokio::test]
async fn a2_t31_a_key_without_delete_is_refused_on_the_record_and_in_the_feed() {
    let lab = lab().await;
    let container = Outsider::run("kept", &[]);
    let key = lab.key(&[Scope::ContainersRead, Scope::ContainersWrite]).await;
    let mut feed = lab.homelab.activity.follow(&claw_core::Actor::system(), None).await.expect("followed");
    let path = format!("/api/containers/{}/delete", container.name);

    let answer = lab.delete(&path).key(&key).send().await;

    answer.assert_enveloped(403, "SCOPE_REQUIRED");
    assert!(answer.text().contains("containers:delete scope required"));
    assert_eq!(container.state(), "running");
    let frames =
        tokio::time::timeout(crate::lab::PATIENCE, feed.next()).await.expect("told").expect("readable");
    let live: Value = serde_json::from_str(&frames[0].text).expect("JSON");
    assert_eq!(
        (&live["action"], &live["target"], &live["status"]),
        (&json!("DELETE"), &json!(path), &json!("client_error"))
    );
    assert_eq!((&live["agent"], &live["scope"]), (&json!(key[key.len() - 8..]), &json!("containers:delete")));
    lab.gate.audit().flush().await;
    let audit = lab.get("/api/v1/audit?outcome=denied").send().await.expect(200);
    let entry = &audit["items"][0];
    assert_eq!((&entry["verb"], &entry["code"]), (&json!("container.delete"), &json!("SCOPE_REQUIRED")));
    assert_eq!(entry["target"], format!("container:{}", container.name));
    assert!(entry["actor"].as_str().is_some_and(|actor| actor.starts_with("key:")));
    // The same key may stop what it may not delete, and that is told of too.
    lab.post(&path.replace("delete", "stop"), Value::Null).key(&key).send().await.data();
    let stops = events(&lab, "?type=container_action&action=stop").await;
    assert_eq!((&stops[0]["target"], &stops[0]["status"]), (&json!(container.name), &json!("success")));
    assert_eq!(stops[0]["details"]["container_id"], container.id);
    assert_eq!(stops[0]["agent"], key[key.len() - 8..]);
}

#[tokio::test]
async fn b10_the_list_honors_its_filters() {
    let lab = Lab::new().await;
    let key = lab.key(&[Scope::TemplatesRead]).await;
    for number in 0..12 {
        let name = format!("/api/containers/templates/t{number}");
        lab.get(&name).send().await;
        lab.get(&name).key(&key).send().await;
    }
    lab.get("/api/settings").send().await.data();

    assert_eq!(events(&lab, "?type=api_call&outcome=success").await.len(), 1);
    assert_eq!(events(&lab, &format!("?key={}", &key[key.len() - 8..])).await.len(), 12);
    let actor = events(&lab, "?limit=1&target=/api/containers/templates/t0").await[0]["actor"].clone();
    let actor = actor.as_str().expect("a mark").to_owned();
    assert_eq!(events(&lab, &format!("?key={actor}")).await.len(), 12);
    assert_eq!(events(&lab, &format!("?key={}", actor.trim_start_matches("key:"))).await.len(), 12);
    let newest = events(&lab, "?limit=2&action=get&target=/api/containers/").await;
    assert_eq!(
        newest.iter().map(|event| &event["target"]).collect::<Vec<_>>(),
        [&json!("/api/containers/templates/t11"); 2]
    );
    let since = newest[0]["timestamp"].as_str().expect("a time");
    assert!(events(&lab, &format!("?since={since}&target=/api/containers/templates/t1")).await.len() < 12);
    let before = newest[0]["seq"].as_u64().expect("a place");
    assert!(
        events(&lab, &format!("?before={before}"))
            .await
            .iter()
            .all(|event| event["seq"].as_u64() < Some(before))
    );
    assert!(
        events(&lab, &format!("?after={before}"))
            .await
            .iter()
            .all(|event| event["seq"].as_u64() > Some(before))
    );
    let page = lab.get("/api/activity?limit=500").send().await.data();
    assert!(page["total"].as_u64() >= Some(25) && page["newest"].as_u64() >= Some(25), "{page}");
    for query in ["limit=0", "limit=x", "limit=-1", "type=x", "outcome=x", "since=soon"] {
        lab.get(&format!("/api/activity?{query}")).send().await.assert_enveloped(400, "INVALID_REQUEST");
    }
    lab.get("/api/activity?limit=100000&type=&key=").send().await.data();
}

#[tokio::test]
async fn t31_strangers_cannot_push_out_what_others_did() {
    let lab = Lab::new().await;
    for _ in 0..300 {
        lab.get("/api/keys").anonymous().send().await;
    }

    let told = events(&lab, "?limit=500&key=unauthenticated").await;

    assert!((1..=120).contains(&told.len()), "{}", told.len());
}

#[tokio::test]
async fn t31_nothing_that_is_sent_forges_a_line_of_the_feed() {
    let lab = Lab::new().await;
    let odd = "x%0A%7B%22type%22%3A%22key_action%22%7D%1B%5B2J%E2%80%AE";
    lab.get(&format!("/api/containers/templates/{odd}")).send().await;
    lab.delete(&format!("/api/containers/templates/{odd}")).send().await;

    let events = events(&lab, "").await;

    assert!(events.iter().all(|event| event["type"] != "key_action"), "{events:?}");
    for event in &events {
        for text in [&event["target"], &event["action"], &event["agent"]] {
            let text = text.as_str().expect("text");
            assert!(text.chars().all(|c| !c.is_control() && c != '\u{202e}'), "{text:?}");
        }
    }
    assert!(events.iter().any(|event| event["type"] == "template_action"), "{events:?}");
}

#[tokio::test]
async fn b10_the_feed_stays_when_the_homelab_ends() {
    let lab = Lab::new().await;
    lab.get("/api/settings").send().await.data();

    lab.homelab.settle().await;

    let stream = claw_store::StreamName::stored("activity");
    assert_eq!(lab.store.streams.last_seq(&stream).await.expect("readable"), 1);
    let counts = lab.store.documents.get("activity-hours", "counts").await.expect("readable");
    assert!(counts.is_some(), "the counts are written down too");
}
