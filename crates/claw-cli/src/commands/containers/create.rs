//! `claw containers create`.

use clap::Args;
use claw_client::{
    Client,
    homelab::{NewContainer, NewPort, NewVolume},
};
use claw_core::{Coded as _, ErrorCode};

use super::ports;
use crate::{
    commands::{images, wish},
    context::Context,
    error::CliError,
    untrusted::clean_line,
};

/// The flags of `claw containers create`.
#[derive(Debug, Args)]
pub(super) struct Create {
    /// The image, such as nginx:1.27; it is pulled if it is not there
    image: String,
    /// Its program, or arguments of the image's
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    command: Vec<String>,
    /// Its name [default: Docker picks one]
    #[arg(long)]
    name: Option<String>,
    /// A variable; NAME alone takes its value from this shell; can be repeated
    #[arg(short, long = "env", value_name = "NAME=VALUE", value_parser = wish::variable)]
    env: Vec<wish::Variable>,
    /// A port, published with HOST: before it; can be repeated
    #[arg(short, long = "port", value_name = "HOST:CONTAINER", value_parser = wish::port)]
    ports: Vec<NewPort>,
    /// A volume or folder of the server's machine, with :ro for reading only; can be repeated
    #[arg(long = "volume", value_name = "SOURCE:PLACE", value_parser = wish::volume)]
    volumes: Vec<NewVolume>,
    /// A network to be in; can be repeated
    #[arg(long = "network", value_name = "NETWORK")]
    networks: Vec<String>,
    /// What becomes of it when it ends: no, always, unless-stopped, on-failure or on-failure:N
    #[arg(long, value_name = "WHEN")]
    restart: Option<String>,
}

pub(super) async fn run(create: Create, context: &Context, client: &Client) -> Result<(), CliError> {
    let new = NewContainer {
        name: create.name.unwrap_or_default(),
        env: wish::variables(create.env, context)?,
        ports: create.ports,
        volumes: create.volumes,
        command: create.command,
        restart: create.restart,
        networks: create.networks,
        image: create.image,
    };
    let output = &context.output;
    images::pull_if_missing(context, client, &new.image).await?;
    let spinner = output.spinner(format!("making a container of {}", clean_line(&new.image, 60)));
    let made = client.create_container(&new).await;
    drop(spinner);
    let made = made.map_err(|error| match error.code() {
        ErrorCode::NameTaken => CliError::from(error).with_hint("--name gives it another one"),
        _ => error.into(),
    })?;
    output.answer(&made, |made| {
        if output.quiet {
            return output.line(clean_line(&made.id, 64));
        }
        let ports = ports(&made.ports);
        let at = if ports.is_empty() { String::new() } else { format!(", {ports}") };
        output.line(format!("{} runs{}", clean_line(&made.name, 60), clean_line(&at, 200)))
    })
}
