//! `claw import`: taking over what another server has.

use std::{path::PathBuf, sync::Arc};

use clap::{Args, Subcommand};
use claw_core::{Actor, Clock, ErrorCode, Role, Scope, SystemClock};
use claw_docker::Docker;
use claw_gate::{ForeignKey, Gate, GateConfig, Imported};
use claw_homelab::{
    HomelabError,
    marketplace::{Adopted, ForeignInstall},
};
use serde_json::{Value, json};

use super::serve::SettingFlags;
use crate::{
    context::Context,
    error::CliError,
    import::{self, Found},
    output::Output,
    serve::{failed, homelab::HomelabPart, parts},
    settings::Settings,
    untrusted::clean_line,
};

/// The commands of `claw import`.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Take over keys, templates and installed apps of a WAGMIOS server. Its keys go on working unchanged. The server
    /// of this data folder must not run; what was taken over before is left as it is
    Wagmios(WagmiosArguments),
}

#[derive(Debug, Args)]
struct WagmiosArguments {
    /// The other server's data folder, with `keys` and `templates` in it
    folder: PathBuf,
    /// Its folder of apps, if that is not `containers` in the data folder
    #[arg(long, value_name = "FOLDER")]
    apps: Option<PathBuf>,
    /// Only tell what would be taken over
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    settings: SettingFlags,
}

/// What became of one thing.
struct Line {
    kind: &'static str,
    name: String,
    outcome: &'static str,
    detail: String,
}

impl Line {
    fn json(&self) -> Value {
        json!({ "kind": self.kind, "name": self.name, "outcome": self.outcome, "detail": self.detail })
    }
}

pub(crate) async fn run(arguments: Arguments, context: &Context) -> Result<(), CliError> {
    let Action::Wagmios(arguments) = arguments.action;
    let settings = context.settings(&arguments.settings.overrides()?)?;
    let mut found = import::look(&arguments.folder, arguments.apps.as_deref())?;
    let lines =
        if arguments.dry_run { foreseen(&found) } else { take_over(&mut found, &settings, context).await? };
    report(&lines, &found, arguments.dry_run, &context.output)?;
    match found.problems.len() {
        0 => Ok(()),
        number => {
            let text = format!("{number} things could not be taken over; the warnings say which and why");
            Err(CliError::new(ErrorCode::InvalidRequest, text)
                .with_hint("mend them and run it again: what is here already is left as it is"))
        }
    }
}

fn describe(key: &ForeignKey) -> (String, String) {
    let scopes: Vec<_> = key.scopes.iter().map(|scope| scope.as_str()).collect();
    let name = if key.label.is_empty() { key.role.as_str() } else { &key.label };
    (name.to_owned(), format!("{}, {}", key.role.as_str(), scopes.join(" ")))
}

fn foreseen(found: &Found) -> Vec<Line> {
    let mut lines = Vec::new();
    for key in &found.keys {
        let (name, detail) = describe(key);
        lines.push(Line { kind: "key", name, outcome: "found", detail });
    }
    for template in &found.templates {
        lines.push(Line {
            kind: "template",
            name: template.name.clone(),
            outcome: "found",
            detail: String::new(),
        });
    }
    for app in &found.apps {
        let name = format!("{}/{}", app.app_id, app.install_id);
        lines.push(Line { kind: "app", name, outcome: "found", detail: app.folder.clone() });
    }
    lines
}

async fn take_over(found: &mut Found, settings: &Settings, context: &Context) -> Result<Vec<Line>, CliError> {
    let (data_dir, database) = parts::open_store(settings).map_err(|error| {
        error.with_hint("the server of this data folder must not run meanwhile: stop it and try again")
    })?;
    let store = database.store();
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let config = GateConfig { api_token: settings.server.api_token.clone(), data_dir };
    let gate =
        Gate::new(config, store.clone(), Arc::clone(&clock)).map_err(failed("preparing access control"))?;
    let done = async {
        require_way_in(&gate, found).await?;
        let (engine, certificates) = (&settings.server.docker_host, &settings.server.docker_cert_path);
        let docker = Docker::connect_with(engine.as_deref(), certificates.as_deref())
            .map_err(failed("preparing the way to Docker"))?;
        let homelab = HomelabPart::build(settings, &context.environment, &docker, &gate, &store, &clock)?;
        let lines = each(found, &gate, &homelab).await;
        homelab.close().await;
        Ok(lines)
    }
    .await;
    gate.audit().flush().await;
    drop((gate, store));
    database.close().await;
    done
}

/// The first key ends set-up. If it is one that cannot manage others, nobody ever could.
async fn require_way_in(gate: &Gate, found: &Found) -> Result<(), CliError> {
    let is_way_in = |key: &ForeignKey| {
        let manages = [Scope::All, Scope::Admin, Scope::KeysWrite];
        key.role == Role::Admin && key.scopes.iter().any(|scope| manages.contains(scope))
    };
    let state = gate.setup_state().await.map_err(failed("looking at the keys"))?;
    if !state.required || found.keys.is_empty() || found.keys.iter().any(is_way_in) {
        return Ok(());
    }
    let text = "none of the keys may manage keys, so that nobody could afterwards";
    Err(CliError::new(ErrorCode::Conflict, text).with_hint(
        "finish set-up first: start `claw serve`, run `claw setup`, stop the server, and import then",
    ))
}

async fn each(found: &mut Found, gate: &Gate, homelab: &HomelabPart) -> Vec<Line> {
    let actor = Actor::system();
    let mut lines = Vec::new();
    for key in std::mem::take(&mut found.keys) {
        let (name, detail) = describe(&key);
        let outcome = match gate.import_key(&actor, key).await {
            Ok(Imported::New(_)) => "taken over",
            Ok(Imported::Known(_)) => "here already",
            Err(error) => {
                found.problems.push(format!("key {name}: {error}"));
                continue;
            }
        };
        lines.push(Line { kind: "key", name, outcome, detail });
    }
    for template in std::mem::take(&mut found.templates) {
        let saved = homelab.homelab.templates.save(&actor, &template.body, true).await;
        let outcome = match saved {
            Ok(_) => "taken over",
            Err(HomelabError::TemplateExists(_)) => "here already",
            Err(error) => {
                found.problems.push(format!("template {}: {error}", template.name));
                continue;
            }
        };
        lines.push(Line { kind: "template", name: template.name, outcome, detail: String::new() });
    }
    for app in std::mem::take(&mut found.apps) {
        let name = format!("{}/{}", app.app_id, app.install_id);
        let foreign = ForeignInstall { app_id: app.app_id, install_id: app.install_id, compose: app.compose };
        let (outcome, detail) = match homelab.homelab.marketplace.adopt(&actor, foreign).await {
            Ok(Adopted::New { install_dir }) => {
                if install_dir != app.folder {
                    found.notes.push(format!(
                        "app {name}: its data is not copied; move what you need from {} to {install_dir} before you \
                         start it",
                        app.folder
                    ));
                }
                ("taken over", install_dir)
            }
            Ok(Adopted::Known) => ("here already", String::new()),
            Err(error) => {
                found.problems.push(format!("app {name}: {error}"));
                continue;
            }
        };
        lines.push(Line { kind: "app", name, outcome, detail });
    }
    lines
}

fn report(lines: &[Line], found: &Found, dry_run: bool, output: &Output) -> Result<(), CliError> {
    if output.json {
        let items: Vec<_> = lines.iter().map(Line::json).collect();
        let value = json!({
            "dry_run": dry_run, "items": items, "problems": found.problems, "notes": found.notes,
        });
        return Ok(output.json(&value.to_string())?);
    }
    for Line { kind, name, outcome, detail } in lines {
        let detail = clean_line(detail, 300);
        output.line(format!("{kind:<8} {:<40} {outcome:<12} {detail}", clean_line(name, 130)).trim_end())?;
    }
    for note in &found.notes {
        output.note(clean_line(note, 600));
    }
    for problem in &found.problems {
        output.warn(clean_line(problem, 600));
    }
    if dry_run {
        output.note("nothing was changed; run it without --dry-run to take this over");
    } else if lines.iter().any(|line| line.kind == "app" && line.outcome == "taken over") {
        output.note(
            "apps are not started: end the containers of the other server first (`docker compose down` in each folder)",
        );
    }
    Ok(())
}
