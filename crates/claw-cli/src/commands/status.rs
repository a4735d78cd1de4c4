//! `claw status`: the server at a glance, or one job.

use clap::Args;
use claw_client::{Client, Job, ModelLogin, SpendingQuery, Status};
use claw_core::Timestamp;
use owo_colors::Style;

use crate::{context::Context, error::CliError, ids, output::Output, render, untrusted::clean_line};

/// The setting with the most that all jobs together may cost in a day.
const DAILY_LIMIT: &str = "max_cost_per_day_usd";

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
        let more = if output.json { More::default() } else { More::ask(&client).await };
        return output.answer(&status, |status| print_status(output, status, &more));
    };
    let job = client.job(ids::job(&client, &text).await?).await?;
    output.answer(&job, |job| print_job(output, job))
}

/// What the server tells elsewhere, as far as this credential may know it.
#[derive(Default)]
struct More {
    login: Option<ModelLogin>,
    spent_today: Option<f64>,
    daily_limit: Option<f64>,
    not_ready: Vec<String>,
}

impl More {
    async fn ask(client: &Client) -> Self {
        // Of whoever asks, or of everybody for an administrator.
        let today = claw_core::Clock::now(&claw_core::SystemClock).to_zoned(jiff::tz::TimeZone::UTC).date();
        let today = SpendingQuery {
            from: Some(today.to_string()),
            to: Some(today.to_string()),
            ..SpendingQuery::default()
        };
        let (login, spent, limit, readiness) = tokio::join!(
            client.model_login(),
            client.spending(&today),
            async {
                // Others may not read settings, and the audit trail would tell that they tried.
                let own = client.setup_status().await.ok()?.into_value().meta?;
                if own.role == "admin" { client.setting(DAILY_LIMIT).await.ok() } else { None }
            },
            client.readiness(),
        );
        Self {
            login: login.ok().map(claw_client::Answer::into_value),
            spent_today: spent.ok().map(|spent| spent.total_usd),
            daily_limit: limit.and_then(|limit| limit.value.parse().ok()),
            not_ready: readiness.map(|readiness| readiness.into_value().reasons).unwrap_or_default(),
        }
    }
}

fn print_status(output: &Output, status: &Status, more: &More) -> std::io::Result<()> {
    let style = if status.status == "healthy" { Style::new().green() } else { Style::new().red() };
    let word = output.stdout.paint(style, clean_line(&status.status, 60));
    let version = status.version.as_deref().map(|version| format!(" (version {})", clean_line(version, 30)));
    output.line(format!("server   {word}{}", version.unwrap_or_default()))?;
    let queue = status.queue;
    output.line(format!(
        "jobs     {} pending, {} running, {} completed, {} failed",
        queue.pending, queue.running, queue.completed, queue.failed
    ))?;
    match (status.active, status.capacity.or(status.worker_count)) {
        (Some(active), Some(capacity)) => output.line(format!("workers  {active} of {capacity} busy"))?,
        (None, Some(workers)) => output.line(format!("workers  {workers}"))?,
        (_, None) => {}
    }
    let mut facts =
        vec![format!("backend {}", clean_line(status.execution_backend.as_deref().unwrap_or("unknown"), 20))];
    if let Some(available) = status.docker_available {
        facts.push(if available { "Docker answers" } else { "Docker does not answer" }.into());
    }
    if let Some(ready) = status.sandbox_image_ready {
        facts.push(if ready { "sandbox image ready" } else { "sandbox image missing" }.into());
    }
    if let Some(waiting) = status.sandboxes_waiting {
        facts.push(format!("{waiting} started ahead"));
    }
    output.line(format!("sandbox  {}", facts.join(", ")))?;
    if let Some(login) = &more.login {
        output.line(format!("model    {}", describe_login(login)))?;
        if !login.serves() {
            output.note("jobs will fail: log in with `claude` as the server's user, or start it with ANTHROPIC_API_KEY");
        }
    }
    if let Some(spent) = more.spent_today {
        let limit = more.daily_limit.map(|limit| format!(" of {}", render::cost(limit))).unwrap_or_default();
        output.line(format!("spent    {}{limit} today (UTC)", render::cost(spent)))?;
    }
    if let Some(reason) = &status.waiting_because {
        output.line(format!("waiting  {}", clean_line(reason, 500)))?;
    }
    for reason in more.not_ready.iter().filter(|reason| Some(*reason) != status.waiting_because.as_ref()) {
        output.line(format!("trouble  {}", clean_line(reason, 500)))?;
    }
    if status.docker_available == Some(false) || status.sandbox_image_ready == Some(false) {
        output.note("`claw doctor` on the server's machine says how to mend it");
    }
    Ok(())
}

/// Returns how the credential for the model API stands, and what to do if it does not serve.
pub(crate) fn describe_login(login: &ModelLogin) -> String {
    let kind = login.kind.as_deref().map_or_else(|| "credential".to_owned(), |kind| clean_line(kind, 40));
    let until = login.expires_at.and_then(|at| Timestamp::from_millisecond(at).ok()).map(render::time);
    let state = login.state.as_deref().unwrap_or(&login.status);
    let found = match (state, until) {
        ("valid", None) => format!("{kind}, valid"),
        ("valid" | "expiring", Some(until)) => format!("{kind}, valid until {until}"),
        ("expired", _) => format!("{kind}, expired"),
        ("missing", _) => "no credential".to_owned(),
        ("refresh_failed", _) => format!("{kind}, could not be renewed"),
        (other, _) => format!("{kind}, {}", clean_line(other, 40)),
    };
    match &login.error {
        Some(error) => format!("{found}: {}", clean_line(error, 500)),
        None => found,
    }
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
    add("waits for", job.waiting_because.as_deref().map(|reason| clean_line(reason, 500)));
    add("goes on", job.waiting_until.map(render::time));
    add("retries", (job.retry_count > 0).then(|| job.retry_count.to_string()));
    add("cost", job.cost_usd.map(render::cost));
    add("duration", job.duration_ms.map(render::duration_ms));
    for (name, value) in facts {
        output.line(format!("{name:<10} {value}"))?;
    }
    Ok(())
}
