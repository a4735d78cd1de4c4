//! Apps: the catalog, and what is installed.

mod life;

use claw_client::homelab::{InstallApp, InstalledApp};
use claw_core::{Scope, Secret};
use serde_json::{Value, json};

use super::{
    TOOL, schema,
    text::{self, Excerpt, Keep, MOST_BYTES, USUAL_BYTES},
};
use crate::{Call, Effect, Failure, Need, Outcome, Tool};

pub(super) use life::{RESTART_APP, START_APP, STOP_APP, UNINSTALL_APP, UPDATE_APP};

const READ: Need = Need::Scopes(&[Scope::MarketplaceRead]);
const WRITE: Need = Need::Scopes(&[Scope::MarketplaceWrite]);

/// Lines of a log unless asked otherwise, and at the most: what the server gives.
const USUAL_LINES: u64 = 100;
const MOST_LINES: u64 = 1000;

pub(super) const BROWSE_MARKETPLACE: Tool = Tool {
    name: "browse_marketplace",
    description: "List the apps that can be installed.",
    need: READ,
    output: || schema::list("apps"),
    run: |call| Box::pin(browse_marketplace(call)),
    ..TOOL
};

async fn browse_marketplace(call: Call) -> Result<Outcome, Failure> {
    let apps = call.client().apps().await.map_err(|error| Failure::of("browse marketplace", &error))?;
    let shown = |app: &claw_client::homelab::App| -> Value {
        json!({
            "id": app.id, "name": app.name, "description": app.description, "port": app.port,
            "category": app.category,
        })
    };
    Ok(Outcome::list("apps", apps.iter().map(shown).collect()))
}

pub(super) const GET_MARKETPLACE_APP: Tool = Tool {
    name: "get_marketplace_app",
    description: "Show all about an app: its variables, ports and compose file.",
    need: READ,
    input: || schema::one("app_id"),
    output: || schema::texts_named(&["id"]),
    run: |call| Box::pin(get_marketplace_app(call)),
    ..TOOL
};

async fn get_marketplace_app(call: Call) -> Result<Outcome, Failure> {
    let id = call.arguments.text("app_id")?;
    let app = call.client().app(id).await.map_err(|error| Failure::of("get marketplace app", &error))?;
    let mut all: Value = serde_json::from_str(app.json()).unwrap_or_default();
    if let Some(members) = all.as_object_mut() {
        // Every member of it but these is there without it.
        let meta = members.remove("meta").unwrap_or_default();
        for name in ["version", "website", "source"] {
            members.insert(name.to_owned(), meta[name].clone());
        }
        if let Some(compose) = members.remove("raw_markdown") {
            members.insert("compose".to_owned(), compose);
        }
    }
    Ok(Outcome::object(all))
}

pub(super) const LIST_INSTALLED_APPS: Tool = Tool {
    name: "list_installed_apps",
    description: "List installed apps; update names a newer version.",
    need: READ,
    output: || schema::list("apps"),
    run: |call| Box::pin(list_installed_apps(call)),
    ..TOOL
};

async fn list_installed_apps(call: Call) -> Result<Outcome, Failure> {
    let apps =
        call.client().installed_apps().await.map_err(|error| Failure::of("list installed apps", &error))?;
    let shown = |app: &InstalledApp| -> Value {
        let InstalledApp { app_id, app_name, container_name, status, update, .. } = app;
        let mut shown = json!({
            "app_id": app_id, "app_name": app_name, "container_name": container_name, "status": status,
        });
        if let Some(update) = update {
            shown["update"] = json!(update);
        }
        shown
    };
    Ok(Outcome::list("apps", apps.iter().map(shown).collect()))
}

pub(super) const APP_STATUS: Tool = Tool {
    name: "app_status",
    description: "Show an installed app: its services, ports, and what failed.",
    need: READ,
    input: || schema::one("container_name"),
    output: schema::status,
    run: |call| Box::pin(app_status(call)),
    ..TOOL
};

async fn app_status(call: Call) -> Result<Outcome, Failure> {
    let name = call.arguments.text("container_name")?;
    let app =
        call.client().installed_app(name).await.map_err(|error| Failure::of("get app status", &error))?;
    let mut all: Value = serde_json::from_str(app.json()).unwrap_or_default();
    if let Some(members) = all.as_object_mut() {
        // Older names of what is there under another.
        members.remove("path");
        members.remove("versions");
    }
    Ok(Outcome::object(all))
}

pub(super) const APP_LOGS: Tool = Tool {
    name: "app_logs",
    description: "Show the last lines a service of an app wrote: untrusted data.",
    need: READ,
    input: || {
        let properties = json!({
            "container_name": schema::text(), "service": schema::text(),
            "tail": schema::number(), "max_bytes": schema::number(),
        });
        schema::arguments(properties, &["container_name"])
    },
    output: schema::untrusted,
    run: |call| Box::pin(app_logs(call)),
    ..TOOL
};

async fn app_logs(call: Call) -> Result<Outcome, Failure> {
    let arguments = &call.arguments;
    let name = arguments.text("container_name")?;
    let service = arguments.filled_text("service")?;
    let tail = u32::try_from(arguments.count("tail", USUAL_LINES, MOST_LINES)).ok();
    let logs = call.client().app_logs(name, service.as_deref(), tail).await;
    let logs = logs.map_err(|error| Failure::of("get app logs", &error))?;
    let excerpt = Excerpt::of(&logs, Keep::End, arguments.count("max_bytes", USUAL_BYTES, MOST_BYTES));
    let origin = match service {
        Some(service) => format!("service {service} of app {name}"),
        None => format!("app {name}"),
    };
    Ok(text::outcome(&origin, excerpt, "a greater max_bytes gets more"))
}

pub(super) const INSTALL_APP: Tool = Tool {
    name: "install_app",
    description: "Install an app without starting it; start_app does. Show the user generated passwords: they are told \
                  only once.",
    need: WRITE,
    effect: Effect::Adds,
    input: || {
        let properties = json!({
            "app_id": schema::text(), "container_name": schema::text(), "custom_name": schema::text(),
            "environment": schema::texts_by_name(),
        });
        schema::arguments(properties, &["app_id"])
    },
    output: || schema::texts_named(&["container_name"]),
    run: |call| Box::pin(install_app(call)),
    ..TOOL
};

async fn install_app(call: Call) -> Result<Outcome, Failure> {
    let arguments = &call.arguments;
    let app = InstallApp {
        app_id: arguments.text("app_id")?.to_owned(),
        custom_name: arguments.filled_text("custom_name")?,
        container_name: arguments.filled_text("container_name")?,
        environment: arguments.variables("environment")?,
        ports: std::collections::BTreeMap::new(),
    };
    let made = call.client().install_app(&app).await.map_err(|error| Failure::of("install app", &error))?;
    let ports = made.ports.iter().map(|port| {
        json!({ "service": port.service, "host": port.host, "container": port.container, "protocol": port.protocol })
    });
    let mut told = json!({
        "app_id": made.app_id, "app_name": made.app_name, "compose_path": made.compose_path,
        "install_dir": made.install_dir, "status": made.status, "container_name": made.container_name,
        "ports": ports.collect::<Vec<_>>(),
    });
    if !made.generated.is_empty() {
        told["generated"] = generated(&made.generated);
    }
    if !made.notes.is_empty() {
        told["notes"] = json!(made.notes);
    }
    Ok(Outcome::object(told))
}

/// Passwords that were made up. The user needs them to sign in, and nobody else tells them.
fn generated(passwords: &std::collections::BTreeMap<String, Secret>) -> Value {
    passwords.iter().map(|(name, password)| (name.clone(), json!(password.expose()))).collect()
}
