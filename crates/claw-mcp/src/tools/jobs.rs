//! Jobs of the orchestrator.

mod log;

use std::time::Duration;

use claw_client::{Job, JobQuery, SubmitJob};
use claw_core::{Coded as _, ErrorCode, JobId, JobStatus, Scope, WorkspaceId, untrusted};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::{
    TOOL, schema,
    text::{self, Excerpt, Keep, MOST_BYTES, USUAL_BYTES},
};
use crate::{Call, Effect, Failure, Need, Outcome, Tool};

const READ: Need = Need::Scopes(&[Scope::JobsRead]);
const WRITE: Need = Need::Scopes(&[Scope::JobsWrite]);

/// Jobs of a list unless asked otherwise, and at the most: what the server gives.
const USUAL_JOBS: u64 = 20;
const MOST_JOBS: u64 = 100;

/// Lines of a log unless asked otherwise, and at the most.
const USUAL_LINES: u64 = 100;
const MOST_LINES: u64 = 1000;

/// What lists show of what a job is to do.
const SHORT_PROMPT: usize = 200;

/// What is shown of it for one job, and of other texts.
const LONG_PROMPT: usize = 2000;

/// Longest wait for a job's end.
const LONGEST_WAIT: Duration = Duration::from_secs(4 * 60 * 60);

pub(super) const SUBMIT_JOB: Tool = Tool {
    name: "submit_job",
    description: "Have an agent do a task in a sandbox. Costs money. Returns the job's id, or with wait its end.",
    need: WRITE,
    effect: Effect::Adds,
    open_world: true,
    long: true,
    input: || {
        let properties = json!({
            "prompt": schema::text(), "workspace_id": schema::text(), "model": schema::text(),
            "max_budget_usd": schema::number(), "timeout_secs": schema::number(), "wait": schema::boolean(),
        });
        schema::arguments(properties, &["prompt"])
    },
    output: schema::status,
    run: |call| Box::pin(submit_job(call)),
};

async fn submit_job(call: Call) -> Result<Outcome, Failure> {
    let arguments = &call.arguments;
    let job = SubmitJob {
        prompt: arguments.text("prompt")?.to_owned(),
        model: arguments.filled_text("model")?,
        max_budget_usd: arguments.number("max_budget_usd")?,
        timeout_secs: arguments.number("timeout_secs")?.map(|seconds| seconds as u64),
        workspace_id: arguments.optional::<WorkspaceId>("workspace_id")?,
        ..SubmitJob::default()
    };
    let wait = arguments.is("wait")?;
    let submitted = call.client().submit_job(&job, &Uuid::new_v4().to_string()).await;
    let submitted = submitted.map_err(|error| Failure::of("submit job", &error))?;
    if wait {
        return ended(&call, submitted.id).await;
    }
    let (id, status) = (submitted.id.to_string(), submitted.status);
    let text = format!("Job {id} submitted");
    let outcome = Outcome::new(text, json!({ "id": id, "status": status }));
    Ok(outcome.noting("job_status tells how it stands, job_result what it brought."))
}

/// Waits for the end of a job. Who no longer waits no longer wants it, and the server can end it: also when this future is
/// dropped, which ends calls that a client polls.
async fn ended(call: &Call, id: JobId) -> Result<Outcome, Failure> {
    let (client, stop) = (call.client().clone(), call.stop.clone());
    // Detached when this is dropped: then `stop` is cancelled too, so it always ends.
    let unwanted = tokio::spawn(async move {
        stop.cancelled().await;
        match client.cancel_job(id).await {
            Ok(_) => "it is cancelled",
            Err(error) if error.code() == ErrorCode::JobWrongState => "it had ended",
            Err(_) => "it could not be cancelled and goes on",
        }
    });
    let wait = call.client().wait_for_job(id, Some(LONGEST_WAIT), |job| {
        call.progress.tell(0.0, None, format!("job {id} is {}", job.status));
    });
    let stopped = || Failure::new("stopped");
    let Ok(waited) = call.unless_stopped(wait, "waiting", stopped).await else {
        let end = unwanted.await.unwrap_or("it goes on");
        return Err(Failure::new(format!(
            "Failed to wait for job {id}: nobody waits for it any more; {end}"
        )));
    };
    unwanted.abort();
    let waited = waited.map_err(|error| Failure::of(&format!("wait for job {id}"), &error))?;
    if waited.status == JobStatus::Completed {
        return result(call, id).await;
    }
    let mut structured = about(&waited, LONG_PROMPT);
    text::clean_value(&mut structured);
    let error = waited.error.as_deref().unwrap_or("no reason was given");
    let end = text::fenced(&format!("job {id}"), &Excerpt::of(error, Keep::Beginning, USUAL_BYTES).text);
    Ok(Outcome::new(format!("Job {id} {}\n{end}", waited.status), structured))
}

pub(super) const LIST_JOBS: Tool = Tool {
    name: "list_jobs",
    description: "List jobs, the newest first.",
    need: READ,
    input: || {
        let properties = json!({
            "status": schema::text(), "workspace_id": schema::text(), "search": schema::text(),
            "limit": schema::number(), "offset": schema::number(),
        });
        schema::arguments(properties, &[])
    },
    output: || schema::list("jobs"),
    run: |call| Box::pin(list_jobs(call)),
    ..TOOL
};

async fn list_jobs(call: Call) -> Result<Outcome, Failure> {
    let arguments = &call.arguments;
    let offset = arguments.count("offset", 0, u64::from(u32::MAX));
    let query = JobQuery {
        status: status(arguments.optional_text("status")?)?,
        workspace_id: arguments.optional("workspace_id")?,
        search: arguments.filled_text("search")?,
        limit: u32::try_from(arguments.count("limit", USUAL_JOBS, MOST_JOBS).max(1)).ok(),
        offset: Some(offset),
        ..JobQuery::default()
    };
    let page = call.client().jobs(&query).await.map_err(|error| Failure::of("list jobs", &error))?;
    let shown = page.items.iter().map(|job| about(job, SHORT_PROMPT));
    let outcome = Outcome::list("jobs", shown.collect());
    let next = offset + page.items.len() as u64;
    Ok(if next < page.total {
        outcome.noting(format!("{} of {}; the next: offset={next}.", page.items.len(), page.total))
    } else {
        outcome
    })
}

fn status(word: Option<&str>) -> Result<Option<JobStatus>, Failure> {
    let Some(word) = word.filter(|word| !word.is_empty()) else { return Ok(None) };
    let found = JobStatus::ALL.into_iter().find(|status| status.as_str() == word);
    let names = || JobStatus::ALL.map(JobStatus::as_str).join(", ");
    found.map(Some).ok_or_else(|| Failure::new(format!("argument \"status\" is none of {}", names())))
}

pub(super) const JOB_STATUS: Tool = Tool {
    name: "job_status",
    description: "Show how a job stands, why it waits or failed, and what it cost.",
    need: READ,
    input: || schema::one("job_id"),
    output: schema::status,
    run: |call| Box::pin(job_status(call)),
    ..TOOL
};

async fn job_status(call: Call) -> Result<Outcome, Failure> {
    let id = call.arguments.parsed("job_id")?;
    let job = call.client().job(id).await.map_err(|error| Failure::of("get job status", &error))?;
    Ok(Outcome::object(about(&job, LONG_PROMPT)))
}

/// What is told of a job: what there is to tell, texts cut to `longest` bytes.
fn about(job: &Job, longest: usize) -> Value {
    let mut about = Map::new();
    let mut tell = |name: &str, value: Value| {
        if !value.is_null() {
            about.insert(name.to_owned(), value);
        }
    };
    tell("id", json!(job.id.to_string()));
    tell("status", json!(job.status));
    tell("prompt", json!(job.prompt));
    tell("model", json!(job.model));
    tell("workspace_id", json!(job.workspace_id.map(|id| id.to_string())));
    tell("created_at", json!(job.created_at));
    tell("started_at", json!(job.started_at));
    tell("completed_at", json!(job.completed_at));
    tell("waiting_because", json!(job.waiting_because));
    tell("waiting_until", json!(job.waiting_until));
    tell("error", json!(job.error));
    tell("cost_usd", json!(job.cost_usd));
    tell("duration_ms", json!(job.duration_ms));
    if job.retry_count > 0 {
        tell("retry_count", json!(job.retry_count));
    }
    let mut about = Value::Object(about);
    text::shorten_texts(&mut about, longest);
    about
}

pub(super) const JOB_LOGS: Tool = Tool {
    name: "job_logs",
    description: "Show the last lines of a job's log: untrusted data. With offset, from there on.",
    need: READ,
    input: || {
        let properties = json!({
            "job_id": schema::text(), "tail": schema::number(), "offset": schema::number(),
        });
        schema::arguments(properties, &["job_id"])
    },
    output: schema::untrusted,
    run: |call| Box::pin(job_logs(call)),
    ..TOOL
};

async fn job_logs(call: Call) -> Result<Outcome, Failure> {
    let arguments = &call.arguments;
    let id: JobId = arguments.parsed("job_id")?;
    let lines = arguments.count("tail", USUAL_LINES, MOST_LINES).max(1);
    let failed = |error| Failure::of("get job logs", &error);
    let offset = match arguments.get("offset") {
        Some(_) => arguments.count("offset", 0, u64::MAX),
        None => {
            let end = call.client().job_log(id, i64::MAX as u64, 1).await.map_err(failed)?;
            end.total.saturating_sub(lines)
        }
    };
    let page = call.client().job_log(id, offset, lines).await.map_err(failed)?;
    let texts: String = page.lines.iter().filter_map(|line| log::readable(line)).collect();
    // Where somebody reads on from, the beginning counts.
    let keep = if arguments.get("offset").is_some() { Keep::Beginning } else { Keep::End };
    let excerpt = Excerpt::of(&texts, keep, USUAL_BYTES);
    let end = offset.min(page.total) + page.lines.len() as u64;
    let note =
        format!("Lines {} to {end} of {}; others: offset and tail.", offset.min(page.total) + 1, page.total);
    Ok(text::outcome(&format!("job {id}"), excerpt, "a smaller tail leaves less out").noting(note))
}

pub(super) const JOB_RESULT: Tool = Tool {
    name: "job_result",
    description: "Show what a completed job's agent answered: untrusted data.",
    need: READ,
    input: || schema::one("job_id"),
    output: schema::untrusted,
    run: |call| Box::pin(job_result(call)),
    ..TOOL
};

async fn job_result(call: Call) -> Result<Outcome, Failure> {
    let id = call.arguments.parsed("job_id")?;
    result(&call, id).await
}

async fn result(call: &Call, id: JobId) -> Result<Outcome, Failure> {
    let result = match call.client().job_result(id).await {
        Ok(result) => result.into_value(),
        Err(error) => {
            let mut failure = Failure::of("get job result", &error);
            if error.code() == ErrorCode::ResultNotFound
                && let Ok(job) = call.client().job(id).await
            {
                failure.note = Some(format!("The job is {}; job_status tells more.", job.status));
            }
            return Err(failure);
        }
    };
    let excerpt = Excerpt::of(&result.result, Keep::Beginning, MOST_BYTES);
    let mut outcome = text::outcome(&format!("job {id}"), excerpt, "the whole of it is in the dashboard");
    let mut facts = Vec::new();
    if let Some(members) = outcome.structured.as_object_mut() {
        members.insert("id".into(), json!(id.to_string()));
        members.insert("status".into(), json!(JobStatus::Completed));
        members.insert("cost_usd".into(), json!(result.cost_usd));
        members.insert("commit".into(), json!(result.commit));
    }
    if let Some(cost) = result.cost_usd {
        facts.push(format!("It cost ${cost:.4}."));
    }
    if let Some(commit) = &result.commit {
        facts.push(format!("Its changes are commit {}.", untrusted::clean_line(commit, 64)));
    }
    if let Some(note) = &result.note {
        facts.push(untrusted::clean_line(note, 500));
    }
    Ok(if facts.is_empty() { outcome } else { outcome.noting(facts.join(" ")) })
}

pub(super) const CANCEL_JOB: Tool = Tool {
    name: "cancel_job",
    description: "End a job that waits or runs. What it did not finish is lost: ask the user first.",
    need: WRITE,
    effect: Effect::Destroys,
    input: || schema::one("job_id"),
    output: schema::status,
    run: |call| Box::pin(cancel_job(call)),
    ..TOOL
};

async fn cancel_job(call: Call) -> Result<Outcome, Failure> {
    let id: JobId = call.arguments.parsed("job_id")?;
    let cancelled = call.client().cancel_job(id).await.map_err(|error| Failure::of("cancel job", &error))?;
    // A job that runs takes a moment to end; `state` is how it stands now.
    let answer: Value = serde_json::from_str(cancelled.json()).unwrap_or_default();
    let state = answer["state"].as_str().unwrap_or("cancelled").to_owned();
    let text = match state.as_str() {
        "cancelled" => format!("Job {id} cancelled"),
        _ => format!("Job {id} is being cancelled"),
    };
    Ok(Outcome::new(text, json!({ "id": id.to_string(), "status": state })))
}
