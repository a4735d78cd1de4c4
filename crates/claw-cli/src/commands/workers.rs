//! `claw workers`: who runs what.

use clap::Args;
use claw_core::{Clock, SystemClock};

use crate::{
    context::Context,
    error::CliError,
    ids,
    render::{self, table::Table},
    untrusted::clean_line,
};

/// The flags of `claw workers`.
#[derive(Debug, Args)]
pub(crate) struct Arguments {}

pub(crate) async fn run(_: Arguments, context: &Context) -> Result<(), CliError> {
    let workers = context.client()?.workers().await?;
    let output = &context.output;
    if output.json {
        return Ok(output.json(workers.json())?);
    }
    let now = SystemClock.now();
    let mut table = Table::new(["WORKER", "JOB", "WORKSPACE", "SINCE"]);
    for worker in &workers.items {
        let short = |id: Option<String>| id.map_or_else(|| "-".into(), |id| ids::short(&id).to_owned());
        table.row([
            clean_line(&worker.worker_id, 80),
            short(worker.job_id.map(|id| id.to_string())),
            short(worker.workspace_id.map(|id| id.to_string())),
            render::age(worker.started_at, now),
        ]);
    }
    if !workers.items.is_empty() {
        table.print(output)?;
    }
    output.note(format!("{} of {} busy", workers.active, workers.capacity));
    Ok(())
}
