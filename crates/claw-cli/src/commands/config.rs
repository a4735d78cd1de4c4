//! `claw config`: the server's configuration file.

use clap::{Args, Subcommand};

use crate::{context::Context, error::CliError, settings};

/// The commands of `claw config`.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Print a commented file with every setting
    Sample,
}

pub(crate) async fn run(arguments: Arguments, context: &Context) -> Result<(), CliError> {
    match arguments.action {
        Action::Sample => Ok(context.output.bytes(settings::sample().as_bytes())?),
    }
}
