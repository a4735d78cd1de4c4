//! `claw status`: the server at a glance, or one job.

use clap::Args;
use claw_client::{Job, Status};
use owo_colors::Style;

use crate::{context::Context, error::CliError, ids, output::Output, render, untrusted::clean_line};

/// The flags of `claw status`.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// A job: its id or the last digits of it
    job: Option<String>,
}

pub(crate) async fn run(arguments: Arguments, context: &Context) -> Result<(), CliError> {
    let client = context.client()?;
    let output = &context.output;
    let Some(text) = arguments.job else {
        let status = client.status().await?;
        return output.answer(&status, |status| print_status(output, status));
    };
    let job = client.job(ids::job(&client, &text).await?).await?;
    output.answer(&job, |job| print_job(output, job))
}

fn print_status(output: &Output, status: &Status) -> std::io::Result<()> {
    let style = if status.status == "healthy" { Style::new().green() } else { Style::new().red() };
    let word = output.stdout.paint(style, clean_line(&status.status, 60));
    let version = status.version.as_deref().map(|version| format!(" (version {})", clean_line(version, 30)));
    output.line(format!("server   {word}{}", version.unwrap_or_default()))?;
    let queue = status.queue;
    output.line(format!(
        "jobs     {} pending, {} running, {} completed, {} failed",
        queue.pending, queue.running, queue.completed, queue.failed
    ))?;
    if let Some(workers) = status.worker_count {
        output.line(format!("workers  {workers}"))?;
    }
    let mut facts =
        vec![format!("backend {}", clean_line(status.execution_backend.as_deref().unwrap_or("unknown"), 20))];
    if let Some(available) = status.docker_available {
        facts.push(if available { "Docker answers" } else { "Docker does not answer" }.into());
    }
    if let Some(ready) = status.sandbox_image_ready {
        facts.push(if ready { "sandbox image ready" } else { "sandbox image missing" }.into());
    }
    output.line(format!("sandbox  {}", facts.join(", ")))?;
    if let Some(reason) = &status.waiting_because {
        output.line(format!("waiting  {}", clean_line(reason, 500)))?;
    }
    if status.docker_available == Some(false) || status.sandbox_image_ready == Some(false) {
        output.note("`claw doctor` on the server's machine says how to mend it");
    }
    Ok(())
}

fn print_job(output: &Output, job: &Job) -> std::io::Result<()> {
    let mut facts = vec![
        ("id", job.id.to_string()),
        ("status", render::status(output.stdout, job.status)),
        ("prompt", clean_line(&job.prompt, if output.verbose { 2000 } else { 100 })),
    ];
    let mut add = |name, value: Option<String>| facts.extend(value.map(|value| (name, value)));
    add("error", job.error.as_deref().map(|error| clean_line(error, 500)));
    add("model", job.model.as_deref().map(|model| clean_line(model, 128)));
    add("priority", job.priority.map(|priority| priority.to_string()));
    add("tags", (!job.tags.is_empty()).then(|| clean_line(&job.tags.join(", "), 500)));
    add("workspace", job.workspace_id.map(|id| id.to_string()));
    add("source", job.source.as_deref().map(|source| clean_line(source, 30)));
    add("owner", job.owner.as_deref().map(|owner| clean_line(owner, 100)));
    add("created", job.created_at.map(render::time));
    add("started", job.started_at.map(render::time));
    add("ended", job.completed_at.map(render::time));
    add("worker", job.worker_id.as_deref().map(|worker| clean_line(worker, 100)));
    add("retries", (job.retry_count > 0).then(|| job.retry_count.to_string()));
    add("cost", job.cost_usd.map(render::cost));
    add("duration", job.duration_ms.map(render::duration_ms));
    for (name, value) in facts {
        output.line(format!("{name:<10} {value}"))?;
    }
    Ok(())
}
