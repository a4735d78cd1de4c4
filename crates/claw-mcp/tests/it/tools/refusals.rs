//! Calls that must not do anything.

use axum::http::Method;
use claw_core::Scope;
use serde_json::{Value, json};

use crate::house::House;

/// Arguments with which each tool could do something.
fn arguments(tool: &Value) -> Value {
    let required = tool["inputSchema"]["required"].as_array().expect("a list");
    let properties = &tool["inputSchema"]["properties"];
    let value = |name: &str| match properties[name]["type"].as_str().expect("a type") {
        "string" if name.ends_with("_id") && name != "app_id" => {
            json!("0198c6a0-0000-7000-8000-000000000000")
        }
        "string" => json!("nothing"),
        "array" => json!(["true"]),
        "object" => json!({ "name": "nothing" }),
        other => panic!("{name}: {other}"),
    };
    required.iter().filter_map(Value::as_str).map(|name| (name.to_owned(), value(name))).collect()
}

#[tokio::test]
async fn a_tool_whose_scope_is_missing_does_not_exist() {
    let house = House::new().await;
    let all = house.tools(&[Scope::All]).await.list().await;
    let mut talk = house.tools(&[Scope::ChatUse]).await;

    let listed: Vec<Value> = talk.list().await.iter().map(|tool| tool["name"].clone()).collect();

    assert_eq!(listed, ["check_scopes", "system_info", "system_metrics"]);
    for tool in all.iter().filter(|tool| !listed.contains(&tool["name"])) {
        let name = tool["name"].as_str().expect("a name");
        let refusal = talk.refusal("tools/call", json!({ "name": name, "arguments": arguments(tool) })).await;
        assert_eq!(refusal["code"], -32602, "{name}");
        let told = format!("tool '{name}' not found: tool not found");
        assert!(refusal["message"].as_str().is_some_and(|text| text.starts_with(&told)), "{refusal}");
    }
    let done = house.get("/api/v1/audit?limit=100").send().await.expect(200);
    let verbs: Vec<&str> =
        done["items"].as_array().expect("a list").iter().filter_map(|item| item["verb"].as_str()).collect();
    assert!(verbs.iter().all(|verb| verb.starts_with("key.") || verb.starts_with("setup")), "{verbs:?}");
}

#[tokio::test]
async fn every_argument_that_is_needed_is_asked_for_by_its_name() {
    let house = House::new().await;
    let mut talk = house.tools(&[Scope::All]).await;
    for tool in talk.list().await {
        let name = tool["name"].as_str().expect("a name").to_owned();
        let all = arguments(&tool);
        for needed in all.as_object().expect("an object").keys() {
            let mut some = all.clone();
            some.as_object_mut().expect("an object").shift_remove(needed);
            let told = talk.call(&name, some.clone()).await;
            assert_eq!(told.failure(), format!("required argument \"{needed}\" not found"), "{name}");
            some[needed] = json!(3);
            let told = talk.call(&name, some).await;
            let text = told.failure();
            assert!(
                text.starts_with(&format!("argument \"{needed}\" is not a")) || name == "save_template",
                "{name}: {text}"
            );
        }
    }
}

#[tokio::test]
async fn d12_a_scope_that_went_away_is_named_with_who_can_give_it_back() {
    let house = House::new().await;
    let key = house.key(&[Scope::ContainersRead, Scope::ContainersDelete]).await;
    let mut talk = house.tools_of(&key).await;
    let keys = house.get("/api/auth/status").key(&key).send().await.data();
    let id = keys["meta"]["id"].as_str().expect("an id");
    let scopes = json!({ "scopes": ["containers:read"] });
    house.call(Method::PATCH, &format!("/api/keys/{id}")).json(&scopes).send().await.data();

    let refused = talk.call("delete_container", json!({ "id": "web" })).await;

    let text = refused.failure();
    assert!(text.starts_with("Failed to delete container: HTTP 403: {\"success\":false,"), "{text}");
    assert!(text.contains("SCOPE_REQUIRED"), "{text}");
    assert!(refused.note().contains("containers:delete scope required"), "{}", refused.note());
    assert!(
        refused.note().contains("Whoever administers the server can add the scope"),
        "{}",
        refused.note()
    );
}

#[tokio::test]
async fn without_the_engine_or_the_server_every_tool_says_so() {
    let mut house = House::new().await;
    let mut talk = house.tools(&[Scope::ContainersRead]).await;

    let away = talk.call("list_containers", json!({})).await;
    assert!(away.failure().starts_with("Failed to list containers: HTTP 503: "), "{away:?}");
    house.kill().await;
    let gone = talk.call("list_containers", json!({})).await;
    assert!(
        gone.failure()
            .starts_with("Failed to list containers: execute request: cannot reach http://127.0.0.1:"),
        "{gone:?}"
    );
    house.start_again().await;
    let back = talk.call("list_containers", json!({})).await;
    assert!(back.failure().contains("HTTP 503: "), "{back:?}");
}

#[tokio::test]
async fn arguments_that_a_tool_does_not_know_are_named() {
    let house = House::new().await;
    let mut talk = house.tools(&[Scope::JobsRead]).await;

    let listed = talk.call("list_jobs", json!({ "limit": 5, "privileged": true, "\u{1b}[2Jstate": 1 })).await;
    assert_eq!(listed.note(), "Left out, since this tool does not know it: privileged, state.");

    let failed = talk.call("job_status", json!({ "id": "x" })).await;
    assert_eq!(failed.failure(), "required argument \"job_id\" not found");
    assert_eq!(failed.note(), "Left out, since this tool does not know it: id.");
}
