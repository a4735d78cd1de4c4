use claw_core::Scope;
use serde_json::{Value, json};

use crate::lab::Lab;

#[tokio::test]
async fn a_workspace_is_made_with_every_field_clients_know() {
    let lab = Lab::new().await;
    let body = json!({
        "name": " site ", "description": "the site", "persistence": "ephemeral", "claude_md": "be brief",
        "remote_url": "https://example.org/r.git", "memory_limit": "4g", "cpu_limit": 1.5, "network_mode": "bridge",
        "skill_ids": [], "credential_bindings": {}, "path": null,
    });

    let made = lab.post("/api/v1/workspaces", body).send().await.expect(201);
    let read = lab
        .get(&format!("/api/v1/workspaces/{}", made["id"].as_str().expect("an id")))
        .send()
        .await
        .expect(200);

    let mut expected = json!({
        "id": made["id"], "name": "site", "description": "the site", "path": null, "skill_ids": [], "tool_ids": [],
        "credential_bindings": {}, "claude_md": "be brief", "persistence": "ephemeral",
        "remote_url": "https://example.org/r.git", "base_image": null, "memory_limit": "4g", "cpu_limit": 1.5,
        "network_mode": "bridge", "parent_workspace_id": null, "parent_ref": null, "created_at": made["created_at"],
        "updated_at": made["updated_at"], "owner": made["owner"],
    });
    assert_eq!(made, expected);
    for (field, value) in
        [("parent_name", Value::Null), ("child_count", json!(0)), ("skill_names", json!([]))]
    {
        expected[field] = value;
    }
    assert_eq!(read, expected);
}

#[tokio::test]
async fn s6_s26_what_this_version_does_not_offer_is_refused_by_name() {
    let lab = Lab::new().await;
    let workspace = lab.workspace("w").await;
    for (field, value) in [
        ("persistence", json!("snapshot")),
        ("path", json!("/srv")),
        ("parent_workspace_id", json!(workspace)),
        ("base_image", json!("debian")),
        ("credential_bindings", json!({ "gh": "token" })),
        ("skill_ids", json!(["x"])),
        ("tool_ids", json!(["x"])),
    ] {
        let body = json!({ "name": "x", field: value });
        let answer = lab.post("/api/v1/workspaces", body.clone()).send().await;
        answer.assert_error(400, "INVALID_REQUEST");
        assert!(answer.text().contains(&format!("`{field}`")), "{}", answer.text());
        assert!(answer.text().contains("not available in this version"), "{}", answer.text());
        if !["persistence", "path", "parent_workspace_id"].contains(&field) {
            let answer = lab.put(&format!("/api/v1/workspaces/{workspace}"), body).send().await;
            answer.assert_error(400, "INVALID_REQUEST");
        }
    }
}

#[tokio::test]
async fn settings_that_cannot_be_are_refused() {
    let lab = Lab::new().await;
    for (field, value) in [
        ("name", json!("")),
        ("name", json!("a\nb")),
        ("persistence", json!("forever")),
        ("memory_limit", json!("lots")),
        ("memory_limit", json!("1m")),
        ("cpu_limit", json!(0)),
        ("network_mode", json!("host")),
        ("network_mode", json!("container:redis")),
    ] {
        let mut body = json!({ "name": "x" });
        body[field] = value;
        lab.post("/api/v1/workspaces", body).send().await.assert_error(400, "INVALID_REQUEST");
    }
    lab.post("/api/v1/workspaces", json!({})).send().await.assert_error(422, "INVALID_BODY");
}

#[tokio::test]
async fn r24_a_change_replaces_some_fields_and_keeps_others() {
    let lab = Lab::new().await;
    let body =
        json!({ "name": "a", "description": "b", "claude_md": "c", "remote_url": "d", "memory_limit": "1g" });
    let made = lab.post("/api/v1/workspaces", body).send().await.expect(201);
    let path = format!("/api/v1/workspaces/{}", made["id"].as_str().expect("an id"));

    let changed = lab.put(&path, json!({ "name": "z", "cpu_limit": 2 })).send().await.expect(200);

    assert_eq!(
        (&changed["name"], &changed["description"], &changed["claude_md"]),
        (&json!("z"), &json!(""), &json!(null))
    );
    assert_eq!((&changed["remote_url"], &changed["memory_limit"]), (&json!("d"), &json!("1g")));
    assert_eq!(changed["cpu_limit"], 2.0);
    lab.put(&path, json!({ "description": "no name" })).send().await.assert_error(422, "INVALID_BODY");
}

#[tokio::test]
async fn workspaces_are_listed_by_name_a_page_at_a_time() {
    let lab = Lab::new().await;
    for name in ["gamma", "alpha", "Beta"] {
        lab.workspace(name).await;
    }
    let agent = lab.key(&[Scope::WorkspacesRead]).await;

    let page = lab.get("/api/v1/workspaces?limit=2&offset=1").send().await.expect(200);
    let others = lab.get("/api/v1/workspaces").key(&agent).send().await.expect(200);

    let names: Vec<_> = page["items"].as_array().expect("items").iter().map(|item| &item["name"]).collect();
    assert_eq!(names, ["Beta", "gamma"]);
    assert_eq!((&page["total"], &page["offset"], &page["limit"]), (&json!(3), &json!(1), &json!(2)));
    assert_eq!((&others["total"], &others["limit"]), (&json!(0), &json!(50)));
}

#[tokio::test]
async fn a_workspace_with_open_jobs_stays() {
    let lab = Lab::new().await;
    let workspace = lab.workspace("busy").await;
    let path = format!("/api/v1/workspaces/{workspace}");
    let job = lab
        .post("/api/v1/jobs", json!({ "prompt": "x", "workspace_id": workspace }))
        .send()
        .await
        .expect(201);

    lab.delete(&path).send().await.assert_error(409, "WORKSPACE_BUSY");
    let cancel = format!("/api/v1/jobs/{}/cancel", job["id"].as_str().expect("an id"));
    lab.call(axum::http::Method::POST, &cancel).send().await.expect(200);
    let repository = lab.folder().join("repos").join(format!("{workspace}.git"));
    assert!(repository.exists());

    assert_eq!(lab.delete(&format!("{path}?delete_files=true")).send().await.status, 204);

    assert!(!repository.exists());
    lab.get(&path).send().await.assert_error(404, "WORKSPACE_NOT_FOUND");
    lab.delete(&format!("{path}?delete_files=maybe")).send().await.assert_error(400, "INVALID_REQUEST");
}

#[tokio::test]
async fn history_and_timeline_tell_what_happened() {
    let lab = Lab::new().await;
    let workspace = lab.workspace("w").await;
    let path = format!("/api/v1/workspaces/{workspace}");
    assert_eq!(lab.put(&format!("{path}/files/a.txt"), json!({ "content": "x" })).send().await.status, 204);

    let commits = lab.get(&format!("{path}/history")).send().await.expect(200)["commits"].clone();
    let newest = lab.get(&format!("{path}/history?limit=1")).send().await.expect(200)["commits"].clone();
    let timeline = lab.get(&format!("{path}/events")).send().await.expect(200);

    assert_eq!(commits.as_array().map(Vec::len), Some(2));
    assert_eq!(newest, json!([commits[0]]));
    assert_eq!(commits[0]["hash"].as_str().map(str::len), Some(40));
    assert_eq!(commits[0]["job_id"], Value::Null);
    for field in ["message", "date", "author"] {
        assert!(commits[0][field].is_string(), "{field}");
    }
    let kinds: Vec<_> =
        timeline["events"].as_array().expect("events").iter().map(|event| &event["event_type"]).collect();
    assert_eq!(kinds, ["file_modified", "initialized"]);
    assert_eq!(
        (&timeline["total"], &timeline["limit"], &timeline["offset"]),
        (&json!(2), &json!(50), &json!(0))
    );
}
