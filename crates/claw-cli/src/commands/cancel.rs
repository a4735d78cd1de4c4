//! `claw cancel`: ends a job.

use clap::Args;

use crate::{context::Context, error::CliError, ids};

/// The flags of `claw cancel`.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The job: its id or the last digits of it
    job: String,
}

pub(crate) async fn run(arguments: Arguments, context: &Context) -> Result<(), CliError> {
    let client = context.client()?;
    let id = ids::job(&client, &arguments.job).await?;
    let answer = client.cancel_job(id).await?;
    context.output.answer(&answer, |job| context.output.line(format!("{} {}", job.id, job.status)))
}
