//! The key, the hosts and the machine.

use claw_client::{KeyMeta, SetupStatus};
use claw_core::Scope;
use serde_json::{Map, Value, json};

use super::{TOOL, schema};
use crate::{Call, Failure, Need, Outcome, Tool, tools};

pub(super) const CHECK_SCOPES: Tool = Tool {
    name: "check_scopes",
    description: "Show what the API key may do, and which scope each hidden tool needs.",
    output: || json!({ "type": "object", "properties": { "meta": { "type": "object" } } }),
    run: |call| Box::pin(check_scopes(call)),
    ..TOOL
};

async fn check_scopes(call: Call) -> Result<Outcome, Failure> {
    let status = call.client().setup_status().await.map_err(|error| Failure::of("check scopes", &error))?;
    let SetupStatus { has_key, setup_required, meta } = status.into_value();
    // Who asks may have been told that a scope was switched on: the list of tools follows at once.
    call.host.suspect();
    let mut told = json!({ "has_key": has_key, "wizard_required": setup_required });
    match meta {
        Some(meta) => {
            told["meta"] = shown(&meta);
            let missing = missing(&meta);
            if !missing.is_empty() {
                told["missing"] = Value::Object(missing);
                told["help"] = json!("Whoever administers the server can add a scope to this key.");
            }
        }
        None => {
            told["meta"] =
                json!({ "id": "", "key_prefix": "", "label": "", "scopes": null, "created_at": "" });
        }
    }
    Ok(Outcome::object(told))
}

fn shown(meta: &KeyMeta) -> Value {
    let KeyMeta { id, key_prefix, label, scopes, created_at, last_used_at, expires_at, .. } = meta;
    let mut shown = json!({
        "id": id, "key_prefix": key_prefix, "label": label, "scopes": scopes, "created_at": created_at,
    });
    for (name, moment) in [("last_used_at", last_used_at), ("expires_at", expires_at)] {
        if let Some(moment) = moment {
            shown[name] = json!(moment);
        }
    }
    shown
}

/// The tools that the key does not permit, by the scope that is missing for them.
fn missing(meta: &KeyMeta) -> Map<String, Value> {
    let holds =
        |scope: Scope| meta.scopes.iter().any(|held| held == scope.as_str() || held == Scope::All.as_str());
    let mut missing = Map::new();
    for tool in tools::ALL {
        for scope in tool.need.scopes().iter().filter(|scope| !holds(**scope)) {
            let tools = missing.entry(scope.as_str()).or_insert_with(|| json!([]));
            if let Some(tools) = tools.as_array_mut() {
                tools.push(json!(tool.name));
            }
        }
    }
    missing
}

pub(super) const LIST_HOSTS: Tool = Tool {
    name: "list_hosts",
    description: "List the configured hosts and what may be done on each.",
    need: Need::NamedHosts,
    output: || schema::list("hosts"),
    run: |call| Box::pin(async move { Ok(list_hosts(&call)) }),
    ..TOOL
};

fn list_hosts(call: &Call) -> Outcome {
    let shown = call.hosts.iter().map(|host| {
        let standing = host.standing();
        let scopes = standing.meta().map_or(Value::Null, |meta| json!(meta.scopes));
        let mut shown = json!({ "name": host.name(), "label": host.label(), "scopes": scopes });
        if let Some(problem) = standing.problem() {
            shown["error"] = json!(problem);
        }
        shown
    });
    Outcome::list("hosts", shown.collect())
}

pub(super) const SYSTEM_INFO: Tool = Tool {
    name: "system_info",
    description: "Show the version of Docker, and the machine.",
    output: || schema::texts_named(&["docker_version"]),
    run: |call| Box::pin(system_info(call)),
    ..TOOL
};

async fn system_info(call: Call) -> Result<Outcome, Failure> {
    let info = call.client().system_info().await.map_err(|error| Failure::of("get system info", &error))?;
    Ok(Outcome::object(json!({
        "docker_version": info.docker_version, "api_version": info.api_version, "os": info.os, "arch": info.arch,
        "cpus": info.cpus, "memory_bytes": info.memory_bytes,
    })))
}

pub(super) const SYSTEM_METRICS: Tool = Tool {
    name: "system_metrics",
    description: "Show load, memory and disk use in percent, and how many containers and images there are.",
    output: || {
        json!({
            "type": "object",
            "properties": { "cpu_percent": schema::number(), "memory_percent": schema::number() },
        })
    },
    run: |call| Box::pin(system_metrics(call)),
    ..TOOL
};

async fn system_metrics(call: Call) -> Result<Outcome, Failure> {
    let metrics =
        call.client().system_metrics().await.map_err(|error| Failure::of("get system metrics", &error))?;
    Ok(Outcome::object(json!({
        "cpu_percent": metrics.cpu_percent, "memory_percent": metrics.memory_percent,
        "disk_percent": metrics.disk_percent, "containers": metrics.containers, "images": metrics.images,
    })))
}
