//! Which tools a key sees, and how they are described.

use std::sync::{Arc, LazyLock};

use rmcp::model::{JsonObject, ToolAnnotations};
use serde_json::{Value, json};

use crate::{Host, Hosts, Need, Tool, tools};

/// A tool with the schemas that its functions make, made once.
struct Described {
    tool: &'static Tool,
    input: Arc<JsonObject>,
    output: Arc<JsonObject>,
}

static DESCRIBED: LazyLock<Vec<Described>> = LazyLock::new(|| {
    tools::ALL
        .iter()
        .map(|tool| Described {
            tool,
            input: Arc::new(object((tool.input)())),
            output: Arc::new(object((tool.output)())),
        })
        .collect()
});

/// Tells whether `host`'s key holds all that `tool` needs.
pub(super) fn permits(host: &Host, tool: &Tool) -> bool {
    let standing = host.standing();
    tool.need.scopes().iter().all(|scope| standing.permits(*scope))
}

/// The hosts on which `tool` may be used; `None` if it does not exist for this key.
fn permitting<'a>(hosts: &'a Hosts, tool: &Tool) -> Option<Vec<&'a Arc<Host>>> {
    match tool.need {
        Need::NamedHosts => hosts.are_named().then(Vec::new),
        Need::AnyKey => Some(hosts.iter().collect()),
        Need::Scopes(_) => {
            let permitting: Vec<_> = hosts.iter().filter(|host| permits(host, tool)).collect();
            (!permitting.is_empty()).then_some(permitting)
        }
    }
}

/// Returns the tools that exist, in the order of their names.
pub(super) fn tools(hosts: &Hosts, offered: impl Fn(&Tool) -> bool) -> Vec<rmcp::model::Tool> {
    DESCRIBED
        .iter()
        .filter(|described| offered(described.tool))
        .filter_map(|described| Some(shown(described, hosts, &permitting(hosts, described.tool)?)))
        .collect()
}

/// Returns what tells two lists of tools apart: names, and the hosts each can be used on.
pub(super) fn outline(hosts: &Hosts, offered: impl Fn(&Tool) -> bool) -> Vec<(&'static str, Vec<String>)> {
    tools::ALL
        .iter()
        .filter(|tool| offered(tool))
        .filter_map(|tool| {
            let on = permitting(hosts, tool)?;
            Some((tool.name, on.into_iter().map(|host| host.name().to_owned()).collect()))
        })
        .collect()
}

fn shown(described: &Described, hosts: &Hosts, permitting: &[&Arc<Host>]) -> rmcp::model::Tool {
    let tool = described.tool;
    let input = if hosts.are_named() && tool.need != Need::NamedHosts {
        let names: Vec<&str> = permitting.iter().map(|host| host.name()).collect();
        Arc::new(with_host(&described.input, &names))
    } else {
        Arc::clone(&described.input)
    };
    let mut shown = rmcp::model::Tool::new(tool.name, tool.description, input);
    shown.output_schema = Some(Arc::clone(&described.output));
    shown.annotations = Some(annotations(tool));
    shown
}

/// Says what a call does. What is as the protocol assumes where nothing is said (destructive aside, which people look for)
/// is left out, and so is what says nothing about tools that only read: a model pays for every word.
fn annotations(tool: &Tool) -> ToolAnnotations {
    let effect = tool.effect;
    let mut annotations = ToolAnnotations::new();
    if effect.is_read_only() {
        annotations.read_only_hint = Some(true);
    } else {
        annotations.destructive_hint = Some(effect.is_destructive());
        annotations.idempotent_hint = effect.is_idempotent().then_some(true);
    }
    annotations.open_world_hint = (!tool.open_world).then_some(false);
    annotations
}

fn with_host(input: &JsonObject, names: &[&str]) -> JsonObject {
    let mut input = input.clone();
    let description = format!("Host: {}", names.join("/"));
    if let Some(Value::Object(properties)) = input.get_mut("properties") {
        properties
            .insert("host".into(), json!({"type": "string", "enum": names, "description": description}));
    }
    if let Some(Value::Array(required)) = input.get_mut("required") {
        required.push(json!("host"));
    }
    input
}

fn object(schema: Value) -> JsonObject {
    match schema {
        Value::Object(members) => members,
        _ => JsonObject::new(),
    }
}
