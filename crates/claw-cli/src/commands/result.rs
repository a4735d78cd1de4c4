//! `claw result`: what a job brought.

use clap::{Args, ValueEnum};
use claw_client::{Answer, JobResult};

use crate::{
    context::Context,
    error::CliError,
    ids, render,
    untrusted::{clean, clean_line},
};

/// The flags of `claw result`.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The job: its id or the last digits of it
    job: String,
    /// `text` for people, `json` as the API gives it, `raw` for the result's own bytes
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

/// How to print a result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    Text,
    Json,
    Raw,
}

pub(crate) async fn run(arguments: Arguments, context: &Context) -> Result<(), CliError> {
    let client = context.client()?;
    let id = ids::job(&client, &arguments.job).await?;
    print(context, &client.job_result(id).await?, arguments.format)
}

/// Prints a result.
pub(super) fn print(context: &Context, result: &Answer<JobResult>, format: Format) -> Result<(), CliError> {
    let output = &context.output;
    match format {
        Format::Json => return Ok(output.json(result.json())?),
        Format::Text if output.json => return Ok(output.json(result.json())?),
        Format::Raw => return Ok(output.bytes(result.result.as_bytes())?),
        Format::Text => {}
    }
    output.line(clean(result.result.trim_end()))?;
    if output.quiet {
        return Ok(());
    }
    output.line("")?;
    print_facts(context, result)
}

/// Prints what goes with a result: what it cost and where its changes are.
pub(super) fn print_facts(context: &Context, result: &JobResult) -> Result<(), CliError> {
    let output = &context.output;
    let mut facts = Vec::new();
    facts.extend(result.cost_usd.map(|usd| format!("cost: {}", render::cost(usd))));
    facts.extend(result.duration_ms.map(|ms| format!("duration: {}", render::duration_ms(ms))));
    facts.extend(result.num_turns.map(|turns| format!("turns: {turns}")));
    facts.extend(result.commit.as_deref().map(|commit| format!("commit: {}", clean_line(commit, 12))));
    if !facts.is_empty() {
        output.line(facts.join("  "))?;
    }
    if let Some(note) = &result.note {
        output.line(format!("note: {}", clean_line(note, 500)))?;
    }
    Ok(())
}
