//! What a model reads of the tools before it calls one.

use claw_core::Scope;
use claw_mcp::tools;
use serde_json::{Value, json};

use crate::house::House;

/// The tools of the original, with the arguments that each needs.
const ORIGINAL: [(&str, &[&str]); 19] = [
    ("browse_marketplace", &[]),
    ("check_scopes", &[]),
    ("container_config", &["id"]),
    ("container_logs", &["id"]),
    ("create_container", &["image"]),
    ("delete_container", &["id"]),
    ("delete_image", &["id"]),
    ("get_marketplace_app", &["app_id"]),
    ("install_app", &["app_id"]),
    ("list_containers", &[]),
    ("list_images", &[]),
    ("list_installed_apps", &[]),
    ("pull_image", &["image"]),
    ("restart_container", &["id"]),
    ("start_app", &["app_id", "container_name"]),
    ("start_container", &["id"]),
    ("stop_container", &["id"]),
    ("system_info", &[]),
    ("system_metrics", &[]),
];

#[tokio::test]
async fn d19_the_whole_list_is_less_than_four_thousand_tokens() {
    let house = House::new().await;
    let mut talk = house.tools(&[Scope::All]).await;

    let result = talk.request("tools/list", json!({})).await;

    let bytes = result.to_string().len();
    let count = result["tools"].as_array().expect("a list").len();
    assert!(bytes / 4 < 4000, "{count} tools in {bytes} bytes, some {} tokens", bytes / 4);
}

#[tokio::test]
async fn d17_the_tools_of_the_original_need_what_they_needed() {
    let house = House::new().await;
    let mut talk = house.tools(&[Scope::All]).await;

    let tools = talk.list().await;

    let needed = |tool: &Value| tool["inputSchema"]["required"].clone();
    for (name, required) in ORIGINAL {
        let tool = tools.iter().find(|tool| tool["name"] == name).unwrap_or_else(|| panic!("{name}"));
        assert_eq!(needed(tool), json!(required), "{name}");
    }
    assert!(tools.iter().all(|tool| needed(tool).is_array()));
}

#[tokio::test]
async fn d13_a_key_with_the_wildcard_sees_every_tool() {
    let house = House::new().await;
    let mut talk = house.tools(&[Scope::All]).await;

    let shown: Vec<Value> = talk.list().await.iter().map(|tool| tool["name"].clone()).collect();

    // Where hosts have no names there are none to list.
    let all = tools::ALL.iter().map(|tool| tool.name).filter(|name| *name != "list_hosts");
    assert_eq!(shown, all.collect::<Vec<_>>());
}

#[tokio::test]
async fn d4_d15_arguments_are_declared_as_they_are_taken() {
    let house = House::new().await;
    let mut talk = house.tools(&[Scope::All]).await;
    let tools = talk.list().await;
    let properties = |name: &str| {
        let tool = tools.iter().find(|tool| tool["name"] == name).expect("a tool");
        tool["inputSchema"]["properties"].clone()
    };

    let create = properties("create_container");
    for (name, members, required) in [
        ("ports", ["private", "public", "protocol"].as_slice(), json!(["private"])),
        ("volumes", &["host", "container"], json!(["host", "container"])),
    ] {
        assert_eq!(create[name]["type"], "array", "{name}");
        assert_eq!(create[name]["items"]["required"], required, "{name}");
        for member in members {
            assert!(create[name]["items"]["properties"][member].is_object(), "{name}.{member}");
        }
    }
    assert_eq!(create["env"]["additionalProperties"], json!({ "type": "string" }));
    assert_eq!(properties("container_logs")["tail"]["default"], 100);
    assert!(properties("start_app")["compose_path"].is_object(), "known, and not needed");
}

#[tokio::test]
async fn d8_what_tools_do_to_the_world_is_told_truly() {
    let house = House::new().await;
    let mut talk = house.tools(&[Scope::All]).await;

    // What is not said is what the protocol assumes.
    let told = |tool: &Value| {
        let hint = |name: &str, assumed: bool| tool["annotations"][name].as_bool().unwrap_or(assumed);
        match hint("readOnlyHint", false) {
            true => "reads",
            false => match (hint("destructiveHint", true), hint("idempotentHint", false)) {
                (false, false) => "adds",
                (false, true) => "sets",
                (true, true) => "destroys",
                (true, false) => "disturbs",
            },
        }
    };
    for tool in talk.list().await {
        let name = tool["name"].as_str().expect("a name").to_owned();
        let expected = match name.as_str() {
            "create_container" | "deploy_template" | "install_app" | "submit_job" => "adds",
            "pull_image" | "start_app" | "start_container" => "sets",
            "cancel_job" | "delete_container" | "delete_image" | "delete_template" | "save_template"
            | "stop_app" | "stop_container" | "uninstall_app" | "update_app" => "destroys",
            "exec_container" | "restart_app" | "restart_container" => "disturbs",
            _ => "reads",
        };
        assert_eq!(told(&tool), expected, "{name}");
        let reaches_out = tool["annotations"]["openWorldHint"].as_bool().unwrap_or(true);
        let expected = [
            "create_container",
            "deploy_template",
            "exec_container",
            "pull_image",
            "restart_app",
            "start_app",
            "submit_job",
            "update_app",
        ]
        .contains(&name.as_str());
        assert_eq!(reaches_out, expected, "{name}");
        if name.starts_with("delete_") {
            let description = tool["description"].as_str().expect("a description");
            assert!(description.contains("Cannot be undone: ask the user first."), "{name}: {description}");
        }
    }
}
