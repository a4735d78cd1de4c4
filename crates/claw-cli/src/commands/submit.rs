//! `claw submit`: gives the server a job, and waits for it if told to.

use std::time::Duration;

use clap::Args;
use claw_client::{Client, Job, SubmitJob};
use claw_core::{ErrorCode, JobId, JobSpec, JobStatus};

use super::{key::dollars, logs, result};
use crate::{context::Context, error::CliError, ids, prompt, render, untrusted};

/// The flags of `claw submit`.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// What the agent is to do; `-` reads it from standard input
    prompt: String,
    /// Model name or alias
    #[arg(short, long)]
    model: Option<String>,
    /// How urgent, 0 to 9, the highest first [default: 5]
    #[arg(short, long, value_parser = clap::value_parser!(u8).range(0..=9))]
    priority: Option<u8>,
    /// A label for finding the job again; can be repeated
    #[arg(short, long = "tag", value_name = "TAG")]
    tags: Vec<String>,
    /// Workspace whose files the job sees: its id or name
    #[arg(long)]
    workspace: Option<String>,
    /// Folder inside the workspace where the agent starts
    #[arg(short = 'd', long, value_name = "FOLDER")]
    working_dir: Option<String>,
    /// Most that the job may cost in US dollars
    #[arg(short, long, value_name = "USD", value_parser = dollars, allow_negative_numbers = true)]
    budget: Option<f64>,
    /// A tool the agent may use; can be repeated [default: all]
    #[arg(long, value_name = "TOOL")]
    allowed_tools: Vec<String>,
    /// Longest run in seconds
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..))]
    timeout: Option<u64>,
    /// Where the result goes: only `redis`, the server's own store
    #[arg(short, long, value_parser = ["redis"])]
    output: Option<String>,
    /// Wait until the job has ended and print its result
    #[arg(short, long)]
    wait: bool,
    /// Print the job's log as it grows, then its result
    #[arg(short, long)]
    follow: bool,
    /// Stop waiting after so many seconds, with exit code 4; the job goes on
    #[arg(long, value_name = "SECONDS")]
    wait_timeout: Option<u64>,
    /// The same key again gives the same job instead of a second one
    #[arg(long, value_name = "KEY")]
    idempotency_key: Option<String>,
}

pub(crate) async fn run(arguments: Arguments, context: &Context) -> Result<(), CliError> {
    let Arguments { wait, follow, wait_timeout, .. } = arguments;
    if wait_timeout.is_some() && !wait && !follow {
        return Err(CliError::usage("--wait-timeout needs --wait or --follow"));
    }
    let client = context.client()?;
    let key = arguments.idempotency_key.clone().unwrap_or_else(|| uuid::Uuid::new_v4().to_string());
    let job = request(arguments, &client).await?;
    let submitted = client.submit_job(&job, &key).await?;
    let id = submitted.id;
    let output = &context.output;
    if !wait && !follow {
        return output.answer(&submitted, |submitted| match output.quiet {
            true => output.line(id),
            false => output.line(format!("{id} {}", render::status(output.stdout, submitted.status))),
        });
    }
    let interrupt = logs::Interrupt::listen()?;
    output.note(format!("job {id} submitted"));
    let limit = wait_timeout.map(Duration::from_secs);
    let wait = async {
        if follow {
            let followed = logs::follow(context, &client, id, 0, false);
            match limit {
                Some(limit) => {
                    tokio::time::timeout(limit, followed).await.map_err(|_| timed_out(id, limit))??;
                }
                None => followed.await?,
            }
        }
        finish(context, &client, id, limit, follow).await
    };
    interrupt.or(id, wait).await
}

async fn request(arguments: Arguments, client: &Client) -> Result<SubmitJob, CliError> {
    let prompt = match arguments.prompt.as_str() {
        "-" => prompt::read_stdin(JobSpec::MAX_PROMPT_BYTES)?,
        _ => arguments.prompt,
    };
    if prompt.trim().is_empty() {
        return Err(CliError::usage("the prompt is empty; say what the job is to do"));
    }
    let workspace_id = match &arguments.workspace {
        Some(text) => Some(ids::workspace(client, text).await?),
        None => None,
    };
    Ok(SubmitJob {
        prompt,
        model: arguments.model,
        priority: arguments.priority,
        tags: arguments.tags,
        max_budget_usd: arguments.budget,
        allowed_tools: (!arguments.allowed_tools.is_empty()).then_some(arguments.allowed_tools),
        timeout_secs: arguments.timeout,
        workspace_id,
        working_dir: arguments.working_dir,
    })
}

/// Waits for the end and prints what came of the job.
async fn finish(
    context: &Context,
    client: &Client,
    id: JobId,
    limit: Option<Duration>,
    followed: bool,
) -> Result<(), CliError> {
    let spinner = context.output.spinner(format!("job {}", ids::short(&id.to_string())));
    let show = |job: &Job| spinner.message(format!("job {} is {}", ids::short(&id.to_string()), job.status));
    let job = client.wait_for_job(id, limit, show).await?;
    drop(spinner);
    if job.status != JobStatus::Completed {
        if context.output.json {
            context.output.json(job.json())?;
        }
        let reason =
            job.error.as_deref().map(|error| format!(": {}", untrusted::clean(error))).unwrap_or_default();
        let message = match job.status {
            JobStatus::Cancelled => format!("job {id} was cancelled"),
            _ => format!("job {id} failed{reason}"),
        };
        return Err(CliError::new(ErrorCode::JobFailed, message)
            .with_hint(format!("`claw logs {}` shows what happened", ids::short(&id.to_string()))));
    }
    let result = client.job_result(id).await?;
    if followed && !context.output.json && !context.output.quiet {
        // The log ended with the result's text.
        return result::print_facts(context, &result);
    }
    result::print(context, &result, result::Format::Text)
}

fn timed_out(id: JobId, limit: Duration) -> CliError {
    let message = format!("job {id} has not ended within {} s; it goes on", limit.as_secs());
    CliError::new(ErrorCode::WaitTimedOut, message)
        .with_hint(format!("`claw logs -f {}` follows it", ids::short(&id.to_string())))
}
