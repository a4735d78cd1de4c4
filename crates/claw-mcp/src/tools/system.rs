//! The key, the hosts and the machine.

use serde_json::{Value, json};

use crate::{Call, Effect, Failure, Need, Outcome, Standing, Tool};

/// Tells what the key may do.
pub(super) const CHECK_SCOPES: Tool = Tool {
    name: "check_scopes",
    title: "Check scopes",
    description: "Show what the API key may do.",
    need: Need::AnyKey,
    effect: Effect::Reads,
    open_world: false,
    long: false,
    input: || json!({"type": "object", "properties": {}, "required": []}),
    output: || json!({"type": "object"}),
    run: |call| Box::pin(check_scopes(call)),
};

async fn check_scopes(call: Call) -> Result<Outcome, Failure> {
    let status = call.client().setup_status().await.map_err(|error| Failure::of("check scopes", &error))?;
    let structured: Value = serde_json::from_str(status.json())
        .map_err(|error| Failure::new(format!("Failed to check scopes: {error}")))?;
    let text = serde_json::to_string_pretty(&structured).map_err(|error| Failure::new(error.to_string()))?;
    Ok(Outcome::new(text, structured))
}

/// Lists the configured hosts.
pub(super) const LIST_HOSTS: Tool = Tool {
    name: "list_hosts",
    title: "List hosts",
    description: "List the configured hosts and what may be done on each.",
    need: Need::NamedHosts,
    effect: Effect::Reads,
    open_world: false,
    long: false,
    input: || json!({"type": "object", "properties": {}, "required": []}),
    output: || json!({"type": "object"}),
    run: |call| Box::pin(async move { Ok(list_hosts(&call)) }),
};

fn list_hosts(call: &Call) -> Outcome {
    let hosts: Vec<Value> = call
        .hosts
        .iter()
        .map(|host| {
            let (scopes, problem) = match host.standing() {
                Standing::Up(meta) => (json!(meta.scopes), None),
                Standing::Unknown => (Value::Null, None),
                Standing::Down(problem) => (Value::Null, Some(problem.to_string())),
            };
            let mut shown = json!({"name": host.name(), "label": host.label(), "scopes": scopes});
            if let (Some(problem), Some(members)) = (problem, shown.as_object_mut()) {
                members.insert("error".into(), json!(problem));
            }
            shown
        })
        .collect();
    let text = serde_json::to_string_pretty(&hosts).unwrap_or_default();
    Outcome::new(text, json!({"hosts": hosts}))
}
