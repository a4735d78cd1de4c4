//! `claw list`: jobs, the newest first unless told otherwise.

use clap::{Args, ValueEnum};
use claw_client::{Client, JobPage, JobQuery, JobSort};
use claw_core::{Clock, JobStatus, SystemClock};
use owo_colors::Style;

use crate::{
    context::Context,
    error::CliError,
    ids,
    output::Output,
    render::{self, table::Table},
    untrusted::clean_line,
};

/// The flags of `claw list`.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Only jobs in this state
    #[arg(long, value_parser = parse_status)]
    status: Option<JobStatus>,
    /// Only jobs that came through this door
    #[arg(long, value_parser = parse_source)]
    source: Option<String>,
    /// Only jobs with this label
    #[arg(long)]
    tag: Option<String>,
    /// Only jobs whose text holds this
    #[arg(long, value_name = "TEXT")]
    search: Option<String>,
    /// Only jobs of this workspace: its id or name
    #[arg(long)]
    workspace: Option<String>,
    /// In which order
    #[arg(long, value_enum, default_value_t = Sort::Newest)]
    sort: Sort,
    /// At most so many
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=100))]
    limit: u32,
    /// After so many
    #[arg(long, default_value_t = 0, hide_default_value = true)]
    offset: u64,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Sort {
    Newest,
    Oldest,
    Priority,
}

fn parse_status(text: &str) -> Result<JobStatus, String> {
    let names = || JobStatus::ALL.map(JobStatus::as_str).join(", ");
    JobStatus::from_name(text).ok_or_else(|| format!("expected one of {}", names()))
}

fn parse_source(text: &str) -> Result<String, String> {
    match text {
        "api" | "webhook" | "cron" | "filewatcher" => Ok(text.to_owned()),
        "cli" => Err("jobs from the command line come through the API: use `api`".to_owned()),
        _ => Err("expected one of api, webhook, cron, filewatcher".to_owned()),
    }
}

pub(crate) async fn run(arguments: Arguments, context: &Context) -> Result<(), CliError> {
    let client = context.client()?;
    let workspace_id = match &arguments.workspace {
        Some(text) => Some(ids::workspace(&client, text).await?),
        None => None,
    };
    let query = JobQuery {
        status: arguments.status,
        workspace_id,
        tag: arguments.tag,
        source: arguments.source,
        search: arguments.search,
        sort: Some(match arguments.sort {
            Sort::Newest => JobSort::Newest,
            Sort::Oldest => JobSort::Oldest,
            Sort::Priority => JobSort::Priority,
        }),
        limit: Some(arguments.limit),
        offset: Some(arguments.offset),
    };
    let page = client.jobs(&query).await?;
    let output = &context.output;
    output.answer(&page, |page| print(output, page, arguments.offset))?;
    if !output.quiet && !output.json && sees_only_its_own(&client).await {
        output.note("these are the jobs made with this key; an administrator sees all of them");
    }
    Ok(())
}

/// Tells whether the credential is a key without the right to see others' jobs. Who cannot tell is told nothing.
async fn sees_only_its_own(client: &Client) -> bool {
    let is_all = |scope: &String| matches!(scope.as_str(), "*" | "admin");
    client.own_key().await.is_ok_and(|key| key.role == "agent" && !key.scopes.iter().any(is_all))
}

fn print(output: &Output, page: &JobPage, offset: u64) -> std::io::Result<()> {
    let now = SystemClock.now();
    let mut table = Table::new(["ID", "STATUS", "AGE", "COST", "PROMPT"]);
    for job in &page.items {
        let id = job.id.to_string();
        let id = if output.verbose { id } else { ids::short(&id).to_owned() };
        let cost = job.cost_usd.map_or_else(|| "-".into(), render::cost);
        table.row([
            id,
            job.status.to_string(),
            render::age(job.created_at, now),
            cost,
            clean_line(&job.prompt, 60),
        ]);
        table.style(
            1,
            match job.status {
                JobStatus::Failed => Style::new().red(),
                JobStatus::Completed => Style::new().green(),
                JobStatus::Running => Style::new().cyan(),
                JobStatus::Pending => Style::new().yellow(),
                JobStatus::Cancelled => Style::new().magenta(),
            },
        );
    }
    table.print(output)?;
    let shown = offset + page.items.len() as u64;
    if page.items.is_empty() {
        output.note("no jobs");
    } else if page.total > shown {
        output.note(format!("{shown} of {}; --offset {shown} shows the next ones", page.total));
    }
    Ok(())
}
