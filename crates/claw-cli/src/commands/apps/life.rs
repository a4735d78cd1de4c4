//! Starting, stopping, restarting, updating and uninstalling apps.

use std::time::Duration;

use clap::Args;
use claw_client::{
    Answer, Client, ClientError,
    homelab::{AppProgress, InstalledApp, WhichApp},
};
use claw_core::{Coded as _, ErrorCode};

use super::ports;
use crate::{
    commands::wish,
    context::Context,
    error::CliError,
    prompt,
    untrusted::{clean, clean_line},
};

/// Between two looks at what goes on.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// Looks in a row that may fail before the wait is given up: the server may be restarting.
const MAX_FAILED_LOOKS: u32 = 20;

/// The flags of `claw apps start`.
#[derive(Debug, Args)]
pub(super) struct Start {
    #[command(flatten)]
    which: super::Which,
    /// Do not wait until it is started
    #[arg(long)]
    no_wait: bool,
}

/// The flags of `claw apps update`.
#[derive(Debug, Args)]
pub(super) struct Update {
    #[command(flatten)]
    which: super::Which,
    /// A variable that changes, or that the newer version needs; can be repeated
    #[arg(short, long = "env", value_name = "NAME=VALUE", value_parser = wish::variable)]
    env: Vec<wish::Variable>,
    /// Replace a compose file that somebody edited; a copy is kept
    #[arg(long)]
    replace_edited: bool,
}

/// The flags of `claw apps uninstall`.
#[derive(Debug, Args)]
pub(super) struct Uninstall {
    #[command(flatten)]
    which: super::Which,
    /// Delete its data too: its folder and its volumes
    #[arg(long)]
    delete_data: bool,
    /// Do not ask
    #[arg(short, long)]
    yes: bool,
}

pub(super) async fn start(start: Start, context: &Context, client: &Client) -> Result<(), CliError> {
    if start.no_wait {
        let progress = client.start_app(&WhichApp::named(&start.which.name)).await.map_err(with_next_step)?;
        return told(context, &progress);
    }
    begin(&start.which.name, context, client).await
}

/// Starts an app and waits until it is started.
pub(super) async fn begin(name: &str, context: &Context, client: &Client) -> Result<(), CliError> {
    let spinner =
        context.output.spinner(format!("starting {}: getting its images first", clean_line(name, 60)));
    let progress = client.start_app(&WhichApp::named(name)).await.map_err(with_next_step)?;
    let progress = settled(context, client, progress).await?;
    drop(spinner);
    progress.map_or(Ok(()), |progress| told(context, &progress))
}

pub(super) async fn stop(name: &str, context: &Context, client: &Client) -> Result<(), CliError> {
    let spinner = context.output.spinner(format!("stopping {}", clean_line(name, 60)));
    let progress = client.stop_app(&WhichApp::named(name)).await.map_err(with_next_step)?;
    let progress = settled(context, client, progress).await?;
    drop(spinner);
    progress.map_or(Ok(()), |progress| told(context, &progress))
}

pub(super) async fn restart(name: &str, context: &Context, client: &Client) -> Result<(), CliError> {
    let spinner = context.output.spinner(format!("restarting {}", clean_line(name, 60)));
    let progress = client.restart_app(&WhichApp::named(name)).await.map_err(with_next_step)?;
    let progress = settled(context, client, progress).await?;
    drop(spinner);
    progress.map_or(Ok(()), |progress| told(context, &progress))
}

/// Waits for the end of what goes on beyond the answer. `None`: it was told how it ended.
async fn settled(
    context: &Context,
    client: &Client,
    progress: Answer<AppProgress>,
) -> Result<Option<Answer<AppProgress>>, CliError> {
    if progress.app.doing.is_none() {
        return Ok(Some(progress));
    }
    let name = progress.app.install_id.clone();
    let mut failed_looks = 0;
    let app = loop {
        tokio::time::sleep(LOOK_EVERY).await;
        match client.installed_app(&name).await {
            Ok(app) if app.doing.is_none() => break app,
            Ok(_) => failed_looks = 0,
            Err(error) if error.is_transient() && failed_looks < MAX_FAILED_LOOKS => failed_looks += 1,
            // May start and not look: then it goes on unseen.
            Err(error) if error.code() == ErrorCode::ScopeRequired => return Ok(Some(progress)),
            Err(error) => return Err(error.into()),
        }
    };
    if let Some(failure) = &app.failure {
        let logs = format!("`claw apps logs {}` shows what it wrote", clean_line(&name, 60));
        return Err(CliError::new(ErrorCode::ComposeUpFailed, clean_line(failure, 1000)).with_hint(logs));
    }
    let output = &context.output;
    output.answer(&app, |app| output.line(line(app, &app.status)))?;
    Ok(None)
}

fn told(context: &Context, progress: &Answer<AppProgress>) -> Result<(), CliError> {
    let output = &context.output;
    output.answer(progress, |progress| {
        if output.verbose {
            output.note(clean(progress.output.trim_end()));
        }
        output.line(line(&progress.app, &progress.status))?;
        if progress.app.doing.is_some() {
            let name = clean_line(&progress.app.install_id, 60);
            output.note(format!("it goes on; `claw apps status {name}` shows how it is"));
        }
        Ok(())
    })
}

fn line(app: &InstalledApp, done: &str) -> String {
    let ports = ports(&app.ports);
    let at = if ports.is_empty() { String::new() } else { format!(", {ports}") };
    clean_line(&format!("{} {done}{at}", app.install_id), 300)
}

pub(super) async fn update(update: Update, context: &Context, client: &Client) -> Result<(), CliError> {
    let environment = wish::variables(update.env, context)?;
    let name = clean_line(&update.which.name, 60);
    let spinner = context.output.spinner(format!("updating {name}: getting newer images first"));
    let which = WhichApp::named(&update.which.name);
    let done = client.update_app(&which, &environment, update.replace_edited).await;
    drop(spinner);
    let done = done.map_err(|error| match error.code() {
        ErrorCode::Conflict => CliError::from(error)
            .with_hint("--replace-edited replaces a compose file that was edited, and keeps a copy"),
        _ => with_next_step(error),
    })?;
    let output = &context.output;
    output.answer(&done, |done| {
        let (from, to) = (clean_line(&done.from, 60), clean_line(&done.to, 60));
        output.line(match done.status.as_str() {
            "current" => format!("{name} has the newest version, {to}"),
            _ => format!("{name} updated from {from} to {to}"),
        })?;
        for (variable, password) in &done.generated {
            let line = format!("{}={}", clean_line(variable, 100), clean_line(password.expose(), 300));
            output.line(format!("{:<10} {line}", "password"))?;
        }
        Ok(())
    })
}

pub(super) async fn uninstall(
    uninstall: Uninstall,
    context: &Context,
    client: &Client,
) -> Result<(), CliError> {
    let name = clean_line(&uninstall.which.name, 60);
    let data = if uninstall.delete_data { "Its data is deleted too." } else { "Its data stays." };
    prompt::confirm(&context.output, uninstall.yes, &format!("Uninstall {name}? {data}"))?;
    let spinner = context.output.spinner(format!("uninstalling {name}"));
    let which = WhichApp::named(&uninstall.which.name);
    let gone = client.uninstall_app(&which, uninstall.delete_data).await;
    drop(spinner);
    let gone = gone.map_err(with_next_step)?;
    let output = &context.output;
    output.answer(&gone, |gone| {
        output.line(format!("{name} is uninstalled"))?;
        if let Some(folder) = &gone.data_kept_in {
            output.note(format!("its data is in {}", clean_line(folder, 300)));
        }
        if !gone.volumes_kept.is_empty() {
            output.note(format!("its volumes stay: {}", clean_line(&gone.volumes_kept.join(", "), 500)));
        }
        if let Some(note) = &gone.note {
            output.warn(clean_line(note, 500));
        }
        Ok(())
    })
}

fn with_next_step(error: ClientError) -> CliError {
    match error.code() {
        ErrorCode::Conflict => CliError::from(error)
            .with_hint("`claw apps installed` shows what is being done; try again after that"),
        ErrorCode::ComposeUpFailed => CliError::from(error)
            .with_hint("`claw apps status NAME` shows its services, `claw apps logs NAME` what they wrote"),
        _ => error.into(),
    }
}
