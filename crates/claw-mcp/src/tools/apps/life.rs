//! What becomes of installed apps.

use std::time::Duration;

use claw_client::{
    Answer, Client, ClientError,
    homelab::{AppProgress, InstalledApp, WhichApp},
};
use claw_core::untrusted;
use serde_json::{Value, json};

use super::WRITE;
use crate::{
    Call, Effect, Failure, Outcome, Tool,
    tools::{TOOL, schema, text},
};

/// Between two looks at a start that goes on.
const LOOK_EVERY: Duration = Duration::from_secs(1);

pub(in crate::tools) const START_APP: Tool = Tool {
    name: "start_app",
    description: "Start an installed app; its images are pulled if they are missing.",
    need: WRITE,
    effect: Effect::Sets,
    open_world: true,
    long: true,
    input: || {
        let properties = json!({
            "app_id": schema::text(), "container_name": schema::text(), "compose_path": schema::text(),
        });
        schema::arguments(properties, &["app_id", "container_name"])
    },
    output: schema::status,
    run: |call| Box::pin(start_app(call)),
};

async fn start_app(call: Call) -> Result<Outcome, Failure> {
    let arguments = &call.arguments;
    let app_id = arguments.text("app_id")?.to_owned();
    let which = WhichApp {
        app_id: Some(app_id.clone()).filter(|id| !id.is_empty()),
        container_name: Some(arguments.text("container_name")?.to_owned()),
        compose_path: arguments.filled_text("compose_path")?,
        ..WhichApp::default()
    };
    change(&call, &app_id, &which, STARTING, async |client, which| client.start_app(which).await).await
}

pub(in crate::tools) const STOP_APP: Tool = Tool {
    name: "stop_app",
    description: "Stop an installed app; its data stays.",
    need: WRITE,
    effect: Effect::Destroys,
    input: || schema::one("container_name"),
    output: schema::status,
    run: |call| Box::pin(stop_app(call)),
    ..TOOL
};

async fn stop_app(call: Call) -> Result<Outcome, Failure> {
    let name = call.arguments.text("container_name")?.to_owned();
    let which = WhichApp::named(&name);
    change(&call, &name, &which, STOPPING, async |client, which| client.stop_app(which).await).await
}

pub(in crate::tools) const RESTART_APP: Tool = Tool {
    name: "restart_app",
    description: "Restart an installed app.",
    need: WRITE,
    effect: Effect::Disturbs,
    open_world: true,
    long: true,
    input: || schema::one("container_name"),
    output: schema::status,
    run: |call| Box::pin(restart_app(call)),
};

async fn restart_app(call: Call) -> Result<Outcome, Failure> {
    let name = call.arguments.text("container_name")?.to_owned();
    let which = WhichApp::named(&name);
    change(&call, &name, &which, RESTARTING, async |client, which| client.restart_app(which).await).await
}

/// The words for a change: what is done, what goes on, and what was done.
#[derive(Clone, Copy)]
struct Words {
    verb: &'static str,
    going_on: &'static str,
    done: &'static str,
}

const STARTING: Words = Words { verb: "start", going_on: "starting", done: "started" };
const STOPPING: Words = Words { verb: "stop", going_on: "stopping", done: "stopped" };
const RESTARTING: Words = Words { verb: "restart", going_on: "restarting", done: "restarted" };

/// Changes an app. The server answers after a while even if it is not done; who listens to progress waits for the end.
async fn change(
    call: &Call,
    shown: &str,
    which: &WhichApp,
    words: Words,
    work: impl AsyncFnOnce(&Client, &WhichApp) -> Result<Answer<AppProgress>, ClientError>,
) -> Result<Outcome, Failure> {
    let Words { verb, going_on, done } = words;
    let failed = |error: ClientError| Failure::of(&format!("{verb} app"), &error);
    let stopped = || {
        Failure::new(format!(
            "Failed to {verb} app: nobody waits for it any more, but the server goes on: app_status tells how it stands"
        ))
    };
    let begun = call.unless_stopped(work(call.client(), which), going_on, stopped).await?.map_err(failed)?;
    let name = begun.container_name.clone();
    let mut is_done = begun.status == done;
    if !is_done && call.progress.is_wanted() {
        let app = call.unless_stopped(settled(call, &name), going_on, stopped).await?.map_err(failed)?;
        if let Some(reason) = app.failure {
            return Err(Failure::new(format!("Failed to {verb} app: {reason}")));
        }
        is_done = true;
    }
    let status = if is_done { done } else { going_on };
    let outcome =
        Outcome::new(format!("App {shown} {status}"), json!({ "container_name": name, "status": status }));
    Ok(if is_done { outcome } else { outcome.noting("It goes on: app_status tells how it stands.") })
}

/// Waits until nothing is being done with an app.
async fn settled(call: &Call, name: &str) -> Result<InstalledApp, ClientError> {
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        match call.client().installed_app(name).await {
            Ok(app) if app.doing.is_none() => return Ok(app.into_value()),
            Ok(_) => {}
            Err(error) if error.is_transient() => {}
            Err(error) => return Err(error),
        }
    }
}

pub(in crate::tools) const UPDATE_APP: Tool = Tool {
    name: "update_app",
    description: "Update an installed app to the catalog's version; its data stays. Ask the user first.",
    need: WRITE,
    effect: Effect::Destroys,
    open_world: true,
    long: true,
    input: || {
        let properties = json!({
            "container_name": schema::text(), "environment": schema::object(), "replace_edited": schema::boolean(),
        });
        schema::arguments(properties, &["container_name"])
    },
    output: schema::status,
    run: |call| Box::pin(update_app(call)),
};

async fn update_app(call: Call) -> Result<Outcome, Failure> {
    let arguments = &call.arguments;
    let name = arguments.text("container_name")?;
    let (which, environment) = (WhichApp::named(name), arguments.variables("environment")?);
    let work = call.client().update_app(&which, &environment, arguments.is("replace_edited")?);
    let stopped = || {
        Failure::new(
            "Failed to update app: nobody waits for it any more, but the server goes on: app_status tells how it stands",
        )
    };
    let update = call.unless_stopped(work, "updating", stopped).await?;
    let update = update.map_err(|error| Failure::of("update app", &error))?;
    let mut told = json!({
        "container_name": update.container_name, "status": update.status, "from": update.from, "to": update.to,
    });
    let all: Value = serde_json::from_str(update.json()).unwrap_or_default();
    if all["generated"].as_object().is_some_and(|generated| !generated.is_empty()) {
        // Of variables that the newer version brought; nobody tells them again.
        told["generated"] = all["generated"].clone();
    }
    Ok(Outcome::object(told))
}

pub(in crate::tools) const UNINSTALL_APP: Tool = Tool {
    name: "uninstall_app",
    description: "Remove an installed app. Its data stays unless delete_data is true, which cannot be undone. Ask the user \
                  first.",
    need: WRITE,
    effect: Effect::Destroys,
    input: || {
        let properties = json!({ "container_name": schema::text(), "delete_data": schema::boolean() });
        schema::arguments(properties, &["container_name"])
    },
    output: schema::status,
    run: |call| Box::pin(uninstall_app(call)),
    ..TOOL
};

async fn uninstall_app(call: Call) -> Result<Outcome, Failure> {
    let name = call.arguments.text("container_name")?;
    let delete_data = call.arguments.is("delete_data")?;
    let gone = call.client().uninstall_app(&WhichApp::named(name), delete_data).await;
    let gone = gone.map_err(|error| Failure::of("uninstall app", &error))?;
    let mut structured: Value = serde_json::from_str(gone.json()).unwrap_or_default();
    text::clean_value(&mut structured);
    let left = structured["note"].as_str().map(str::to_owned);
    let mut outcome = Outcome::new(format!("App {name} uninstalled"), structured);
    if let Some(folder) = &gone.data_kept_in {
        outcome = outcome.noting(format!("Its data is in {}.", untrusted::clean_line(folder, 500)));
    }
    if !gone.volumes_kept.is_empty() {
        let volumes = untrusted::clean_line(&gone.volumes_kept.join(", "), 500);
        outcome = outcome.noting(format!("Its volumes are kept: {volumes}."));
    }
    if let Some(left) = left {
        outcome = outcome.noting(left);
    }
    Ok(outcome)
}
