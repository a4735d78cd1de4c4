//! Changes of jobs as they happen.

use axum::{extract::State, response::Response};
use claw_core::{Action, JobId, JobStatus, Timestamp, WorkerId};
use claw_jobs::NumberedEvent;
use futures_util::{StreamExt as _, stream};
use serde::Serialize;
use serde_json::json;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{jobs::StatusName, logs::ResumeQuery};
use crate::{
    app::Server,
    error::{ApiError, ApiResult},
    extract::{Caller, Connection, LastEventId, Query},
    sse::{self, Event},
};

pub(super) fn routes() -> OpenApiRouter<Server> {
    OpenApiRouter::default().routes(routes!(follow_job_events))
}

/// One change of a job.
#[derive(Serialize, ToSchema)]
struct JobUpdate {
    /// Always `job_update`.
    r#type: &'static str,
    /// The job.
    #[schema(value_type = uuid::Uuid)]
    job_id: JobId,
    /// Its state after the change.
    status: StatusName,
    /// Who runs it, while it runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    worker_id: Option<WorkerId>,
    /// When it changed.
    #[schema(value_type = String, format = DateTime)]
    timestamp: Timestamp,
}

impl From<NumberedEvent> for Event {
    fn from(NumberedEvent { seq, event }: NumberedEvent) -> Self {
        let worker_id = event.worker_id.filter(|_| event.status == JobStatus::Running);
        let update = JobUpdate {
            r#type: "job_update",
            job_id: event.job_id,
            status: event.status.into(),
            worker_id,
            timestamp: event.timestamp,
        };
        Event { name: "job_update", id: Some(seq), data: json!(update).to_string() }
    }
}

/// Follow changes of jobs
///
/// Server-sent events: `connected` at first, then `job_update` for each change of a job that the caller may see, from
/// now on or from after `Last-Event-ID` on.
#[utoipa::path(
    get, path = "/api/v1/events/jobs", tag = "jobs",
    params(
        ("Last-Event-ID" = Option<u64>, Header, description = "Id of the last event seen: the stream goes on after it."),
        ResumeQuery,
    ),
    responses(
        (status = 200, description = "Events without end; their data is a `JobUpdate`.", body = JobUpdate, content_type = "text/event-stream"),
        (status = 400, description = "`INVALID_REQUEST`: not a number."),
    ),
    extensions(("x-scope" = json!("jobs:read"))),
)]
async fn follow_job_events(
    caller: Caller,
    connection: Connection,
    State(server): State<Server>,
    last: LastEventId,
    Query(query): Query<ResumeQuery>,
) -> ApiResult<Response> {
    let newest = server.jobs().newest_event(&caller).await?;
    // Ids from before the store was replaced would wait for events that are long past.
    let after = last.or(query.last_event_id).unwrap_or(newest).min(newest);
    let changes = server.jobs().events(&caller, Some(after)).await?;
    let data = json!({ "status": "connected" }).to_string();
    // The greeting carries the place too, so that a client which saw nothing else misses nothing either.
    let greeting = Event { name: "connected", id: Some(after), data };
    let events = changes.map(|change| change.map(Event::from).map_err(ApiError::from));
    sse::respond(&server, connection, caller, Action::JobsRead, stream::iter([Ok(greeting)]).chain(events))
}
