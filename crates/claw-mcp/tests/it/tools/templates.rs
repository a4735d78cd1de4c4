//! Templates, from saving to deploying.

use claw_core::Scope;
use serde_json::json;

use crate::{
    engine::{IMAGE, Named},
    house::House,
};

#[tokio::test]
async fn d11_a_template_lives_from_saving_to_deleting() {
    let house = House::with_docker().await;
    let scopes = [Scope::TemplatesRead, Scope::TemplatesWrite, Scope::ContainersWrite];
    let mut talk = house.tools(&scopes).await;
    let name = Named::new("mcp-template");
    let template = json!({ "name": "sleeper", "image": IMAGE, "command": ["sleep", "600"] });

    let saved = talk.call("save_template", json!({ "template": template })).await.ok();
    assert_eq!(saved.text(), "Template sleeper saved");
    let again = talk.call("save_template", json!({ "template": template })).await;
    assert!(
        again.failure().starts_with("Failed to save template: HTTP 409: "),
        "nothing is replaced unasked: {again:?}"
    );
    let replaced = talk.call("save_template", json!({ "template": template, "overwrite": true })).await.ok();
    assert_eq!(replaced.structured()["replaced"], true);

    let list = talk.call("list_templates", json!({})).await.ok().json();
    assert_eq!(list, json!([{ "name": "sleeper", "image": IMAGE }]));
    let shown = talk.call("get_template", json!({ "name": "sleeper" })).await.ok().json();
    assert_eq!(shown, template);
    let deployed = talk
        .call("deploy_template", json!({ "name": "sleeper", "container_name": name.0 }))
        .await
        .ok()
        .json();
    assert_eq!((&deployed["name"], &deployed["state"]), (&json!(name.0), &json!("running")));

    let deleted = talk.call("delete_template", json!({ "name": "sleeper" })).await.ok();
    assert_eq!(deleted.text(), "Template sleeper deleted");
    let gone = talk.call("get_template", json!({ "name": "sleeper" })).await;
    assert!(gone.failure().starts_with("Failed to get template: HTTP 404: "), "{gone:?}");
}

#[tokio::test]
async fn deploying_exists_only_for_who_may_make_containers_too() {
    let house = House::new().await;
    for (scopes, exists) in [
        (&[Scope::TemplatesWrite][..], false),
        (&[Scope::ContainersWrite], false),
        (&[Scope::TemplatesWrite, Scope::ContainersWrite], true),
    ] {
        let mut talk = house.tools(scopes).await;
        let listed = talk.list().await.iter().any(|tool| tool["name"] == "deploy_template");
        assert_eq!(listed, exists, "{scopes:?}");
    }
}
