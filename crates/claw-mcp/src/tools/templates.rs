//! Templates: containers described for later.

use claw_core::{Scope, untrusted};
use serde_json::{Value, json};

use super::{TOOL, containers, schema};
use crate::{Call, Effect, Failure, Need, Outcome, Tool, tool::missing};

const READ: Need = Need::Scopes(&[Scope::TemplatesRead]);
const WRITE: Need = Need::Scopes(&[Scope::TemplatesWrite]);

pub(super) const LIST_TEMPLATES: Tool = Tool {
    name: "list_templates",
    description: "List saved container templates.",
    need: READ,
    output: || schema::list("templates"),
    run: |call| Box::pin(list_templates(call)),
    ..TOOL
};

async fn list_templates(call: Call) -> Result<Outcome, Failure> {
    let templates = call.client().templates().await.map_err(|error| Failure::of("list templates", &error))?;
    let shown = |template: &Value| -> Value {
        // What it is about; all of it is what `get_template` is for.
        ["name", "description", "image"]
            .into_iter()
            .filter_map(|name| Some((name.to_owned(), template.get(name)?.clone())))
            .collect()
    };
    Ok(Outcome::list("templates", templates.iter().map(shown).collect()))
}

pub(super) const GET_TEMPLATE: Tool = Tool {
    name: "get_template",
    description: "Show a template.",
    need: READ,
    input: || schema::one("name"),
    run: |call| Box::pin(get_template(call)),
    ..TOOL
};

async fn get_template(call: Call) -> Result<Outcome, Failure> {
    let name = call.arguments.text("name")?;
    let template = call.client().template(name).await.map_err(|error| Failure::of("get template", &error))?;
    Ok(Outcome::object(template.into_value()))
}

pub(super) const SAVE_TEMPLATE: Tool = Tool {
    name: "save_template",
    description: "Save a template: a name, and what create_container takes or a compose file.",
    need: WRITE,
    effect: Effect::Destroys,
    input: || {
        let template = json!({
            "type": "object", "properties": { "name": schema::text() }, "required": ["name"],
        });
        let properties = json!({ "template": template, "overwrite": schema::boolean() });
        schema::arguments(properties, &["template"])
    },
    output: schema::status,
    run: |call| Box::pin(save_template(call)),
    ..TOOL
};

async fn save_template(call: Call) -> Result<Outcome, Failure> {
    let template = call.arguments.get("template").ok_or_else(|| missing("template"))?;
    let overwrite = call.arguments.is("overwrite")?;
    let saved = call.client().save_template(template, overwrite).await;
    let saved = saved.map_err(|error| Failure::of("save template", &error))?;
    let structured = json!({ "name": saved.name, "status": saved.status, "replaced": saved.replaced });
    Ok(Outcome::new(format!("Template {} saved", saved.name), structured))
}

pub(super) const DEPLOY_TEMPLATE: Tool = Tool {
    name: "deploy_template",
    description: "Create and start the container a template describes.",
    need: Need::Scopes(&[Scope::TemplatesWrite, Scope::ContainersWrite]),
    effect: Effect::Adds,
    open_world: true,
    long: true,
    input: || {
        let properties = json!({
            "name": schema::text(), "container_name": schema::text(), "variables": schema::object(),
        });
        schema::arguments(properties, &["name"])
    },
    output: || schema::texts_named(&["id"]),
    run: |call| Box::pin(deploy_template(call)),
};

async fn deploy_template(call: Call) -> Result<Outcome, Failure> {
    let arguments = &call.arguments;
    let (name, variables) = (arguments.text("name")?, arguments.variables("variables")?);
    let container_name = arguments.filled_text("container_name")?;
    let work = call.client().deploy_template(name, container_name.as_deref(), &variables);
    let stopped = || Failure::new(format!("Failed to deploy template: {}", containers::GOES_ON));
    let made = call.unless_stopped(work, "creating", stopped).await?;
    let made = made.map_err(|error| Failure::of("deploy template", &error))?;
    let all: Value = serde_json::from_str(made.json()).unwrap_or_default();
    let mut told = containers::shown(&made);
    for name in ["install_id", "services"] {
        if let Some(member) = all.get(name) {
            told[name] = member.clone();
        }
    }
    let outcome = Outcome::object(told);
    Ok(match all["install_id"].as_str() {
        Some(id) => {
            let id = untrusted::clean_line(id, 200);
            outcome.noting(format!(
                "Its services are an app: stop_app, restart_app and uninstall_app take {id}."
            ))
        }
        None => outcome,
    })
}

pub(super) const DELETE_TEMPLATE: Tool = Tool {
    name: "delete_template",
    description: "Delete a template. Cannot be undone: ask the user first.",
    need: WRITE,
    effect: Effect::Destroys,
    input: || schema::one("name"),
    output: schema::status,
    run: |call| Box::pin(delete_template(call)),
    ..TOOL
};

async fn delete_template(call: Call) -> Result<Outcome, Failure> {
    let name = call.arguments.text("name")?;
    call.client().delete_template(name).await.map_err(|error| Failure::of("delete template", &error))?;
    Ok(Outcome::new(format!("Template {name} deleted"), json!({ "name": name, "status": "deleted" })))
}
