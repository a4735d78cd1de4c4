//! `claw delete`: removes a job with its log and result.

use std::time::Duration;

use clap::Args;
use claw_client::Client;
use claw_core::{Coded, ErrorCode, JobId};
use serde_json::json;

use crate::{context::Context, error::CliError, ids};

/// How long a cancelled job may take to end. The server kills what does not end by itself within seconds.
const CANCEL_LIMIT: Duration = Duration::from_secs(60);

/// The flags of `claw delete`.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The job: its id or the last digits of it
    job: String,
    /// End the job first if it waits or runs
    #[arg(long)]
    force: bool,
}

pub(crate) async fn run(arguments: Arguments, context: &Context) -> Result<(), CliError> {
    let client = context.client()?;
    let id = ids::job(&client, &arguments.job).await?;
    if arguments.force {
        end(context, &client, id).await?;
    }
    client.delete_job(id).await.map_err(|error| match error.code() {
        ErrorCode::JobWrongState => CliError::from(error).with_hint("--force ends the job first"),
        _ => error.into(),
    })?;
    context.output.done(&json!({ "id": id, "deleted": true }), format!("{id} deleted"))
}

/// Cancels the job and waits for its end. One that has ended already is left as it is.
async fn end(context: &Context, client: &Client, id: JobId) -> Result<(), CliError> {
    match client.cancel_job(id).await {
        Ok(_) => {}
        Err(error) if error.code() == ErrorCode::JobWrongState => return Ok(()),
        Err(error) => return Err(error.into()),
    }
    let _spinner = context.output.spinner("waiting for the job to end");
    client.wait_for_job(id, Some(CANCEL_LIMIT), |_| {}).await?;
    Ok(())
}
