//! `claw apps`: the catalog, and what is installed of it.

mod install;
mod life;
mod show;

use clap::{Args, Subcommand};
use claw_client::{
    Client,
    homelab::{App, AppPort, InstalledApp},
};
use owo_colors::Style;

use super::containers::with_end;
use crate::{
    context::Context,
    error::CliError,
    output::Output,
    render::table::Table,
    untrusted::{clean, clean_line},
};

/// The commands of `claw apps`.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List the apps of the catalog
    List {
        /// Only those of this category, such as "Media Servers"
        #[arg(long)]
        category: Option<String>,
        /// Only those whose name or description holds this
        #[arg(long, value_name = "TEXT")]
        search: Option<String>,
    },
    /// Show an app of the catalog: its variables, ports and what it may
    Show {
        /// The app's id
        app: String,
        /// Print its compose file instead
        #[arg(long)]
        compose: bool,
    },
    /// Install an app: write its files; `--start` starts it too
    Install(install::Install),
    /// List installed apps
    Installed,
    /// Show how an installed app is
    Status(Which),
    /// Show what an installed app wrote
    Logs {
        #[command(flatten)]
        which: Which,
        /// The service [default: the main one]
        #[arg(long)]
        service: Option<String>,
        /// So many of the newest lines
        #[arg(short = 'n', long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=10_000))]
        tail: u32,
    },
    /// Start an installed app
    Start(life::Start),
    /// Stop an installed app
    Stop(Which),
    /// Restart an installed app, with what its files say now
    Restart(Which),
    /// Update an installed app to the catalog's version; data and values stay
    Update(life::Update),
    /// Remove an installed app; its data stays unless told otherwise
    Uninstall(life::Uninstall),
}

#[derive(Debug, Args)]
struct Which {
    /// The installed app: its id, or the name of its main container
    name: String,
}

pub(crate) async fn run(arguments: Arguments, context: &Context) -> Result<(), CliError> {
    let client = context.client()?;
    match arguments.action {
        Action::List { category, search } => list(context, &client, category, search).await,
        Action::Show { app, compose } => show::run(context, &client, &app, compose).await,
        Action::Install(install) => install::run(install, context, &client).await,
        Action::Installed => installed(context, &client).await,
        Action::Status(which) => status(context, &client, &which.name).await,
        Action::Logs { which, service, tail } => {
            let logs = client.app_logs(&which.name, service.as_deref(), Some(tail)).await?;
            let output = &context.output;
            output.answer(&logs, |text| output.bytes(clean(&with_end(text)).as_bytes()))
        }
        Action::Start(start) => life::start(start, context, &client).await,
        Action::Stop(which) => life::stop(&which.name, context, &client).await,
        Action::Restart(which) => life::restart(&which.name, context, &client).await,
        Action::Update(update) => life::update(update, context, &client).await,
        Action::Uninstall(uninstall) => life::uninstall(uninstall, context, &client).await,
    }
}

async fn list(
    context: &Context,
    client: &Client,
    category: Option<String>,
    search: Option<String>,
) -> Result<(), CliError> {
    let apps = client.apps().await?;
    let output = &context.output;
    if output.json {
        return Ok(output.json(apps.json())?);
    }
    let holds = |text: &str, part: &str| text.to_lowercase().contains(&part.to_lowercase());
    let fits = |app: &&App| {
        category.as_ref().is_none_or(|category| app.category.eq_ignore_ascii_case(category))
            && search.as_ref().is_none_or(|part| {
                [&app.id, &app.name, &app.description].into_iter().any(|text| holds(text, part))
            })
    };
    let mut table = Table::new(["ID", "CATEGORY", "PORT", "DESCRIPTION"]);
    let mut shown = 0;
    for app in apps.iter().filter(fits) {
        let port = if app.port == 0 { "-".to_owned() } else { app.port.to_string() };
        table.row([
            clean_line(&app.id, 40),
            clean_line(&app.category, 30),
            port,
            clean_line(&app.description, 80),
        ]);
        shown += 1;
    }
    table.print(output)?;
    match shown {
        0 => output.note("no such apps; `claw apps list` shows all"),
        _ => output.note("`claw apps show ID` tells more, `claw apps install ID` installs"),
    }
    Ok(())
}

async fn installed(context: &Context, client: &Client) -> Result<(), CliError> {
    let installed = client.installed_apps().await?;
    let output = &context.output;
    output.answer(&installed, |installed| {
        let mut table = Table::new(["NAME", "APP", "STATUS", "VERSION", "PORTS"]);
        for app in installed {
            let newer = app.update.as_deref().map(|newer| format!(" ({newer} is there)")).unwrap_or_default();
            table.row([
                clean_line(&app.install_id, 60),
                clean_line(&app.app_id, 40),
                clean_line(app.doing.as_deref().unwrap_or(&app.status), 20),
                clean_line(&format!("{}{newer}", app.version), 60),
                clean_line(&ports(&app.ports), 100),
            ]);
            table.style(2, style(app));
        }
        table.print(output)?;
        if installed.is_empty() {
            output.note("nothing is installed; `claw apps list` shows what there is");
        }
        Ok(())
    })
}

fn style(app: &InstalledApp) -> Style {
    match app.status.as_str() {
        "running" => Style::new().green(),
        "partial" | "incomplete" => Style::new().red(),
        _ => Style::new().yellow(),
    }
}

/// Writes ports as `8097->8096/tcp`.
fn ports(ports: &[AppPort]) -> String {
    let text = |port: &AppPort| match port.host {
        0 => format!("{}/{}", port.container, port.protocol),
        host => format!("{host}->{}/{}", port.container, port.protocol),
    };
    ports.iter().map(text).collect::<Vec<_>>().join(", ")
}

async fn status(context: &Context, client: &Client, name: &str) -> Result<(), CliError> {
    let app = client.installed_app(name).await?;
    let output = &context.output;
    output.answer(&app, |app| print_status(output, app))
}

fn print_status(output: &Output, app: &InstalledApp) -> std::io::Result<()> {
    let some = |text: &str| (!text.is_empty()).then(|| clean_line(text, 300));
    let facts = [
        ("name", some(&app.install_id)),
        ("app", some(&app.app_name)),
        ("status", some(&app.status)),
        ("doing", app.doing.as_deref().and_then(some)),
        ("version", some(&app.version)),
        ("newer", app.update.as_deref().and_then(some)),
        ("ports", some(&ports(&app.ports))),
        ("folder", some(&app.install_dir)),
        ("failure", app.failure.as_deref().and_then(some)),
    ];
    for (name, value) in facts {
        if let Some(value) = value {
            output.line(format!("{name:<10} {value}"))?;
        }
    }
    for service in &app.services {
        let health = service.health.as_deref().map(|health| format!(" ({health})")).unwrap_or_default();
        let text = format!("{}: {}{health}, {}", service.container_name, service.state, service.image);
        output.line(format!("{:<10} {}", "service", clean_line(&text, 300)))?;
    }
    if app.failure.is_some() {
        output.note(format!("`claw apps logs {}` shows what it wrote", clean_line(&app.install_id, 60)));
    }
    Ok(())
}
