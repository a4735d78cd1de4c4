//! The official clients list every tool and call every one, over each transport.
//!
//! `scripts/test` fetches them into `.cache/`.

use std::{collections::BTreeSet, path::PathBuf, process::Stdio};

use claw_core::Scope;
use futures_util::{StreamExt as _, stream};
use serde_json::{Map, Value, json};
use tokio::{io::AsyncWriteExt as _, process::Command, time::timeout};

use crate::{
    house::House,
    lab::PATIENCE,
    program::{Program, Running},
};

/// The tools that find something in a house in which nothing happened yet. The others fail, each in its own words.
const SUCCEEDING: [&str; 16] = [
    "browse_marketplace",
    "cancel_job",
    "check_scopes",
    "get_marketplace_app",
    "job_logs",
    "job_status",
    "list_containers",
    "list_files",
    "list_images",
    "list_installed_apps",
    "list_jobs",
    "list_templates",
    "list_workspaces",
    "recent_activity",
    "submit_job",
    "system_info",
];

/// How clients come to the tools.
struct Way {
    transport: &'static str,
    command: Vec<String>,
    url: String,
    token: Option<String>,
    /// The program that is between, if it is a server.
    _program: Option<Running>,
}

impl Way {
    async fn stdio(house: &House, key: &str) -> Self {
        let command = [env!("CARGO_BIN_EXE_clawmachine"), "-api-url", &house.url(), "-api-key", key];
        let command = command.map(str::to_owned).to_vec();
        Self { transport: "stdio", command, url: String::new(), token: None, _program: None }
    }

    async fn listening(house: &House, key: &str, transport: &'static str) -> Self {
        let address = if transport == "sse" { "-sse-addr" } else { "-http-addr" };
        let arguments = ["-transport", transport, address, "127.0.0.1:0"];
        let mut program = Program::of(house, key).arguments(arguments).start();
        let line = program.said(" at http://").await;
        let url = line.trim().split(" at ").nth(1).expect("an address").to_owned();
        Self { transport, command: Vec::new(), url, token: None, _program: Some(program) }
    }

    async fn server(house: &House, key: &str) -> Self {
        let url = format!("{}/mcp", house.url());
        Self { transport: "http", command: Vec::new(), url, token: Some(key.to_owned()), _program: None }
    }
}

/// A house with something in it, and what to call every tool with.
async fn house() -> (House, String, Map<String, Value>) {
    let house = House::with_docker().await;
    let key = house.key(&[Scope::All]).await;
    let job = house.job("say hello").await.to_string();
    let workspace = house.workspace("notes").await;
    let app = house.get("/api/marketplace").send().await.data()[0]["id"].clone();
    let nobody = "claw-test-no-such-container";
    let calls = [
        ("app_logs", json!({ "container_name": nobody })),
        ("app_status", json!({ "container_name": nobody })),
        ("browse_marketplace", json!({})),
        ("cancel_job", json!({ "job_id": job })),
        ("check_scopes", json!({})),
        ("container_config", json!({ "id": nobody })),
        ("container_logs", json!({ "id": nobody })),
        ("container_stats", json!({ "id": nobody })),
        ("create_container", json!({ "image": "" })),
        ("delete_container", json!({ "id": nobody })),
        ("delete_image", json!({ "id": "claw-test-no-such-image" })),
        ("delete_template", json!({ "name": "no-such-template" })),
        ("deploy_template", json!({ "name": "no-such-template" })),
        ("exec_container", json!({ "id": nobody, "command": ["true"] })),
        ("get_marketplace_app", json!({ "app_id": app })),
        ("get_template", json!({ "name": "no-such-template" })),
        ("install_app", json!({ "app_id": "no-such-app" })),
        ("job_logs", json!({ "job_id": job })),
        ("job_result", json!({ "job_id": job })),
        ("job_status", json!({ "job_id": job })),
        ("list_containers", json!({})),
        ("list_files", json!({ "workspace_id": workspace })),
        ("list_images", json!({})),
        ("list_installed_apps", json!({})),
        ("list_jobs", json!({})),
        ("list_templates", json!({})),
        ("list_workspaces", json!({})),
        ("pull_image", json!({ "image": "" })),
        ("read_file", json!({ "workspace_id": workspace, "path": "no-such-file" })),
        ("recent_activity", json!({})),
        ("restart_app", json!({ "container_name": nobody })),
        ("restart_container", json!({ "id": nobody })),
        ("save_template", json!({ "template": {} })),
        ("start_app", json!({ "app_id": "no-such-app", "container_name": nobody })),
        ("start_container", json!({ "id": nobody })),
        ("stop_app", json!({ "container_name": nobody })),
        ("stop_container", json!({ "id": nobody })),
        ("submit_job", json!({ "prompt": "say hello" })),
        ("system_info", json!({})),
        ("system_metrics", json!({})),
        ("uninstall_app", json!({ "container_name": nobody })),
        ("update_app", json!({ "container_name": nobody })),
        ("workspace_history", json!({ "workspace_id": workspace })),
    ];
    let calls = calls.map(|(name, arguments)| (name.to_owned(), arguments));
    (house, key, calls.into_iter().collect())
}

fn cached(path: &str) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "../../.cache", path].iter().collect()
}

/// Runs a client, which must end well unless `may_fail`, and returns what it printed.
async fn run(program: PathBuf, arguments: &[&str], input: &str, may_fail: bool) -> String {
    let home = tempfile::TempDir::new().expect("a folder");
    assert!(program.exists(), "{} is missing: scripts/test fetches it", program.display());
    #[expect(clippy::disallowed_methods, reason = "a client, started as its users start it")]
    let mut client = Command::new(program);
    client.args(arguments).env_clear().env("HOME", home.path()).current_dir(home.path()).kill_on_drop(true);
    client.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut client = client.spawn().expect("the client starts");
    let mut stdin = client.stdin.take().expect("a pipe");
    stdin.write_all(input.as_bytes()).await.expect("it reads");
    drop(stdin);
    let output = timeout(PATIENCE * 6, client.wait_with_output()).await.expect("it ends").expect("it ran");
    let (told, problems) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(may_fail || output.status.success(), "{arguments:?}: {told}{problems}");
    told.into_owned()
}

fn listed(tools: &Value) -> BTreeSet<String> {
    let tools = tools.as_array().expect("a list").iter();
    let names = tools.map(|tool| tool.as_str().or(tool["name"].as_str()).expect("a name").to_owned());
    names.collect()
}

/// The Python client calls everything in one talk.
async fn python(way: &Way, calls: &Map<String, Value>) {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/clients/every_tool.py");
    let task = json!({
        "transport": way.transport, "command": way.command, "url": way.url, "token": way.token, "calls": calls,
    });

    let told = run(cached("mcp-python/bin/python"), &[script], &task.to_string(), false).await;

    let told: Value = serde_json::from_str(&told).expect("JSON");
    assert_eq!(told["server"], "ClawMachine");
    assert_eq!(listed(&told["tools"]), calls.keys().cloned().collect());
    for name in calls.keys() {
        let result = &told["results"][name];
        assert!(!result["text"].as_str().expect("a text").is_empty(), "{name}");
        assert!(result["failed"] == false || !SUCCEEDING.contains(&name.as_str()), "{name}: {result}");
    }
}

/// The inspector begins a new talk for each call.
async fn inspector(way: &Way, calls: &Map<String, Value>) {
    let node = cached("mcp-tools/node_modules/.bin/node");
    let program = cached("mcp-tools/node_modules/.bin/mcp-inspector");
    let program = program.to_str().expect("text");
    let token = way.token.as_ref().map(|token| format!("Authorization: Bearer {token}"));
    let mut target = vec![program, "--cli"];
    if way.url.is_empty() {
        target.extend(way.command.iter().map(String::as_str));
    } else {
        target.extend(["--server-url", &way.url, "--transport", way.transport]);
    }
    if let Some(token) = &token {
        target.extend(["--header", token]);
    }
    target.extend(["--format", "json", "--quiet", "--method"]);
    let inspect = async |arguments: &[&str], may_fail| -> Value {
        let arguments: Vec<_> = target.iter().chain(arguments).copied().collect();
        let told = run(node.clone(), &arguments, "", may_fail).await;
        serde_json::from_str(&told).unwrap_or_else(|error| panic!("no JSON ({error}): {told}"))
    };
    let eras: &[&str] = if way.transport == "sse" { &["legacy"] } else { &["legacy", "modern"] };
    for era in eras {
        let told = inspect(&["tools/list", "--protocol-era", era], false).await;
        assert_eq!(listed(&told["result"]["tools"]), calls.keys().cloned().collect(), "{era}");
    }
    let inspect = &inspect;
    let calling = calls.iter().map(|(name, arguments)| async move {
        let arguments = arguments.to_string();
        let call = ["tools/call", "--tool-name", name, "--tool-args-json", &arguments];
        let told = inspect(&call, true).await;
        let result = &told["result"];
        assert!(result["content"][0]["text"].is_string(), "{name}: {told}");
        let failed = result["isError"] == true;
        assert!(!failed || !SUCCEEDING.contains(&name.as_str()), "{name}: {told}");
    });
    // Each is a process of its own.
    stream::iter(calling).buffer_unordered(3).collect::<Vec<_>>().await;
}

#[tokio::test]
async fn the_python_client_lists_and_calls_every_tool_over_each_transport() {
    let (house, key, mut calls) = house().await;
    for way in [
        Way::stdio(&house, &key).await,
        Way::listening(&house, &key, "http").await,
        Way::listening(&house, &key, "sse").await,
        Way::server(&house, &key).await,
    ] {
        // A job is cancelled only once.
        calls["cancel_job"] = json!({ "job_id": house.job("say hello").await.to_string() });
        python(&way, &calls).await;
    }
}

#[tokio::test]
async fn the_inspector_lists_and_calls_every_tool_over_stdio() {
    let (house, key, calls) = house().await;
    inspector(&Way::stdio(&house, &key).await, &calls).await;
}

#[tokio::test]
async fn the_inspector_lists_and_calls_every_tool_over_streamable_http() {
    let (house, key, calls) = house().await;
    inspector(&Way::listening(&house, &key, "http").await, &calls).await;
}

#[tokio::test]
async fn the_inspector_lists_and_calls_every_tool_over_the_two_endpoints() {
    let (house, key, calls) = house().await;
    inspector(&Way::listening(&house, &key, "sse").await, &calls).await;
}

#[tokio::test]
async fn the_inspector_lists_and_calls_every_tool_of_the_server_itself() {
    let (house, key, calls) = house().await;
    inspector(&Way::server(&house, &key).await, &calls).await;
}
