//! Logs of jobs: by the page, and live.

use axum::{extract::State, response::Response};
use claw_core::{Action, JobId};
use claw_jobs::{JobService, LogItem, LogPage};
use futures_util::StreamExt as _;
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    app::Server,
    error::ApiResult,
    extract::{Caller, Connection, Id, Json, LastEventId, Query},
    sse::{self, Event},
};

/// Lines on a page, unless the query says otherwise.
const DEFAULT_LIMIT: u64 = 500;

pub(super) fn routes() -> OpenApiRouter<Server> {
    OpenApiRouter::default().routes(routes!(get_job_log)).routes(routes!(follow_job_log))
}

/// Which part of a log to return.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct LogQuery {
    /// How many lines to pass over.
    offset: Option<u64>,
    /// How many to return: 500 if left out, 0 for as many as a page holds, which is 10,000.
    limit: Option<u64>,
}

/// A part of a job's log.
#[derive(Serialize, ToSchema)]
struct LogView {
    /// The job.
    #[schema(value_type = uuid::Uuid)]
    job_id: JobId,
    /// The lines as the agent wrote them: stream-json, with lines of type `claw` of the house's own.
    lines: Vec<String>,
    /// How many lines the log has in all.
    total: u64,
    /// How many were passed over.
    offset: u64,
}

/// Get a job's log
#[utoipa::path(
    get, path = "/api/v1/jobs/{id}/logs", tag = "jobs",
    params(("id" = String, Path, description = "The job's id."), LogQuery),
    responses(
        (status = 200, description = "Lines of the log.", body = LogView),
        (status = 400, description = "`INVALID_REQUEST`: not an id, or not a number."),
        (status = 404, description = "`JOB_NOT_FOUND`"),
    ),
    extensions(("x-scope" = json!("jobs:read"))),
)]
async fn get_job_log(
    caller: Caller,
    State(jobs): State<JobService>,
    Id(id): Id<JobId>,
    Query(query): Query<LogQuery>,
) -> ApiResult<Json<LogView>> {
    let offset = query.offset.unwrap_or(0).min(i64::MAX as u64);
    let LogPage { lines, total, offset } =
        jobs.logs(&caller, id, offset, query.limit.unwrap_or(DEFAULT_LIMIT)).await?;
    Ok(Json(LogView { job_id: id, lines, total, offset }))
}

/// Where to go on.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct ResumeQuery {
    /// As the header `Last-Event-ID`, for clients that cannot set it.
    pub(super) last_event_id: Option<u64>,
}

/// Follow a job's log
///
/// Server-sent events: `log` with the line's number as its id and the raw line as its data, then, when the job has
/// ended and every line was sent, `end` with `{"job_id":…,"status":…}`.
#[utoipa::path(
    get, path = "/api/v1/jobs/{id}/logs/stream", tag = "jobs",
    params(
        ("id" = String, Path, description = "The job's id."),
        ("Last-Event-ID" = Option<u64>, Header, description = "Number of the last line seen: the stream goes on after it."),
        ResumeQuery,
    ),
    responses(
        (status = 200, description = "Events until the job has ended.", body = String, content_type = "text/event-stream"),
        (status = 400, description = "`INVALID_REQUEST`: not an id, or not a number."),
        (status = 404, description = "`JOB_NOT_FOUND`"),
    ),
    extensions(("x-scope" = json!("jobs:read"))),
)]
async fn follow_job_log(
    caller: Caller,
    connection: Connection,
    State(server): State<Server>,
    Id(id): Id<JobId>,
    last: LastEventId,
    Query(query): Query<ResumeQuery>,
) -> ApiResult<Response> {
    let after = last.or(query.last_event_id).unwrap_or(0).min(i64::MAX as u64);
    let items = server.jobs().follow_logs(&caller, id, after).await?;
    let events = items.map(move |item| {
        Ok(match item? {
            LogItem::Line { seq, text } => Event { name: "log", id: Some(seq), data: text },
            LogItem::End { status } => {
                let data = json!({ "job_id": id, "status": status }).to_string();
                Event { name: "end", id: None, data }
            }
        })
    });
    sse::respond(&server, connection, caller, Action::JobsRead, events)
}
