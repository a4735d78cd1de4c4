//! `claw apps install`.

use clap::Args;
use claw_client::{
    Client,
    homelab::{InstallApp, NewApp},
};
use claw_core::{Coded as _, ErrorCode};

use super::{life, ports};
use crate::{commands::wish, context::Context, error::CliError, output::Output, untrusted::clean_line};

/// The flags of `claw apps install`.
#[derive(Debug, Args)]
pub(super) struct Install {
    /// The app's id
    app: String,
    /// A name for the install [default: the app's id]
    #[arg(long)]
    name: Option<String>,
    /// Name of its main container [default: the install's name]
    #[arg(long, value_name = "NAME")]
    container_name: Option<String>,
    /// A variable; NAME alone takes its value from this shell; can be repeated
    #[arg(short, long = "env", value_name = "NAME=VALUE", value_parser = wish::variable)]
    env: Vec<wish::Variable>,
    /// Another port of the server's machine for one of the app's; can be repeated
    #[arg(short, long = "port", value_name = "HOST:CONTAINER", value_parser = wish::published)]
    ports: Vec<(u16, u16)>,
    /// Start it too
    #[arg(long)]
    start: bool,
}

pub(super) async fn run(install: Install, context: &Context, client: &Client) -> Result<(), CliError> {
    let app = InstallApp {
        app_id: install.app,
        custom_name: install.name,
        container_name: install.container_name,
        environment: wish::variables(install.env, context)?,
        ports: install.ports.into_iter().collect(),
    };
    let made = client.install_app(&app).await.map_err(|error| match error.code() {
        ErrorCode::NameTaken | ErrorCode::Conflict => {
            CliError::from(error).with_hint("--name installs it once more under another name")
        }
        _ => error.into(),
    })?;
    let output = &context.output;
    output.answer(&made, |made| print(output, made))?;
    if install.start {
        return life::begin(&made.install_id, context, client).await;
    }
    let name = clean_line(&made.install_id, 60);
    output.note(format!("it is not started; `claw apps start {name}` does"));
    Ok(())
}

fn print(output: &Output, made: &NewApp) -> std::io::Result<()> {
    let name = clean_line(&made.install_id, 60);
    if output.quiet {
        output.line(&name)?;
    } else {
        output.line(format!("{} is installed as {name}", clean_line(&made.app_name, 60)))?;
        output.line(format!("{:<10} {}", "folder", clean_line(&made.install_dir, 300)))?;
        if !made.ports.is_empty() {
            output.line(format!("{:<10} {}", "ports", clean_line(&ports(&made.ports), 200)))?;
        }
    }
    for (name, password) in &made.generated {
        // Made up by the server for this app; it cannot be had again, so not even --quiet keeps it back.
        let line = format!("{}={}", clean_line(name, 100), clean_line(password.expose(), 300));
        output.line(format!("{:<10} {line}", "password"))?;
    }
    if !made.generated.is_empty() {
        output.note("passwords are shown this once; they are in the file .env of the folder");
    }
    for port in &made.ports {
        if let Some(taken) = port.instead_of {
            output.note(format!("port {taken} is taken, so it is {} instead", port.host));
        }
    }
    for note in &made.notes {
        output.note(clean_line(note, 500));
    }
    Ok(())
}
