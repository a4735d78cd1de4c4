//! Jobs: submit, list, look, result, cancel, delete.

mod names;
mod view;

use axum::{
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use claw_core::{JobId, JobSource};
use claw_jobs::{JobService, NewJob};
use claw_store::Submitted;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    app::Server,
    error::ApiResult,
    extract::{Caller, Id, IdempotencyKey, Json, Query},
};

pub(super) use names::StatusName;
pub(super) use view::SubmitBody;
use view::{CancelReceipt, JobList, JobListQuery, JobReceipt, JobResultView, JobView};

pub(super) fn routes() -> OpenApiRouter<Server> {
    OpenApiRouter::default()
        .routes(routes!(list_jobs, submit_job))
        .routes(routes!(get_job, delete_job))
        .routes(routes!(get_job_result))
        .routes(routes!(cancel_job))
}

/// Submit a job
///
/// The job survives a crash from the moment of the answer. A second submit with the same `Idempotency-Key` and body
/// returns the first job.
#[utoipa::path(
    post, path = "/api/v1/jobs", tag = "jobs",
    params(("Idempotency-Key" = Option<String>, Header, description = "A mark of your own, so that the request may be sent twice.")),
    request_body = SubmitBody,
    responses(
        (status = 201, description = "The job waits for a worker.", body = JobReceipt),
        (status = 200, description = "The first job with this idempotency key.", body = JobReceipt),
        (status = 400, description = "`INVALID_REQUEST`: a field has a value that is not allowed."),
        (status = 404, description = "`WORKSPACE_NOT_FOUND`"),
        (status = 409, description = "`IDEMPOTENCY_MISMATCH`: the key came with another body before."),
        (status = 413, description = "`PAYLOAD_TOO_LARGE`"),
        (status = 415, description = "`UNSUPPORTED_MEDIA_TYPE`"),
        (status = 422, description = "`INVALID_BODY`: a field is missing or has the wrong type."),
        (status = 507, description = "`STORAGE_FULL`: the disk is nearly full; try again when there is room."),
    ),
    extensions(("x-scope" = json!("jobs:write"))),
)]
async fn submit_job(
    caller: Caller,
    State(jobs): State<JobService>,
    IdempotencyKey(key): IdempotencyKey,
    Json(body): Json<SubmitBody>,
) -> ApiResult<(StatusCode, Json<JobReceipt>)> {
    let Submitted { job, created } = submit(&jobs, &caller, body, JobSource::Api, key).await?;
    let status = if created { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, Json(job.into())))
}

/// Submits what a body asks for. Shared with the webhook route.
pub(super) async fn submit(
    jobs: &JobService,
    caller: &Caller,
    body: SubmitBody,
    source: JobSource,
    idempotency_key: Option<String>,
) -> ApiResult<Submitted> {
    let spec = body.into_spec(source)?;
    Ok(jobs.submit(caller, NewJob { spec, idempotency_key }).await?)
}

/// List jobs
///
/// The newest first, unless `sort` says otherwise. Only jobs that the caller may see.
#[utoipa::path(
    get, path = "/api/v1/jobs", tag = "jobs",
    params(JobListQuery),
    responses(
        (status = 200, description = "A page of jobs, and how many match in all.", body = JobList),
        (status = 400, description = "`INVALID_REQUEST`: the query has a value that is not allowed."),
    ),
    extensions(("x-scope" = json!("jobs:read"))),
)]
async fn list_jobs(
    caller: Caller,
    State(server): State<Server>,
    Query(query): Query<JobListQuery>,
) -> ApiResult<Json<JobList>> {
    let filter = query.into_filter()?;
    let (offset, limit) = (filter.offset, filter.limit);
    let page = server.jobs().list(&caller, filter).await?;
    let items = page.items.into_iter().map(|job| JobView::of(job, server.worker())).collect();
    Ok(Json(JobList { items, total: page.total, offset, limit }))
}

/// Get a job
#[utoipa::path(
    get, path = "/api/v1/jobs/{id}", tag = "jobs",
    params(("id" = String, Path, description = "The job's id.")),
    responses(
        (status = 200, description = "The job.", body = JobView),
        (status = 400, description = "`INVALID_REQUEST`: not an id."),
        (status = 404, description = "`JOB_NOT_FOUND`"),
    ),
    extensions(("x-scope" = json!("jobs:read"))),
)]
async fn get_job(
    caller: Caller,
    State(server): State<Server>,
    Id(id): Id<JobId>,
) -> ApiResult<Json<JobView>> {
    Ok(Json(JobView::of(server.jobs().get(&caller, id).await?, server.worker())))
}

/// Get a job's result
#[utoipa::path(
    get, path = "/api/v1/jobs/{id}/result", tag = "jobs",
    params(("id" = String, Path, description = "The job's id.")),
    responses(
        (status = 200, description = "What the job brought.", body = JobResultView),
        (status = 400, description = "`INVALID_REQUEST`: not an id."),
        (status = 404, description = "`JOB_NOT_FOUND`, or `RESULT_NOT_FOUND`: the job has no result, or none yet."),
    ),
    extensions(("x-scope" = json!("jobs:read"))),
)]
async fn get_job_result(
    caller: Caller,
    State(jobs): State<JobService>,
    Id(id): Id<JobId>,
) -> ApiResult<Json<JobResultView>> {
    let (job, result) = jobs.result(&caller, id).await?;
    Ok(Json(JobResultView::new(&job, result)))
}

/// Cancel a job
///
/// A waiting job is cancelled at once. A running one is asked to end; `state` tells how it stands.
#[utoipa::path(
    post, path = "/api/v1/jobs/{id}/cancel", tag = "jobs",
    params(("id" = String, Path, description = "The job's id.")),
    responses(
        (status = 200, description = "The job is cancelled or about to be.", body = CancelReceipt),
        (status = 400, description = "`INVALID_REQUEST`: not an id."),
        (status = 404, description = "`JOB_NOT_FOUND`"),
        (status = 409, description = "`JOB_WRONG_STATE`: the job has ended."),
    ),
    extensions(("x-scope" = json!("jobs:write"))),
)]
async fn cancel_job(
    caller: Caller,
    State(jobs): State<JobService>,
    Id(id): Id<JobId>,
) -> ApiResult<Json<CancelReceipt>> {
    Ok(Json(jobs.cancel(&caller, id).await?.into()))
}

/// Delete a job
///
/// Its log and result go with it.
#[utoipa::path(
    delete, path = "/api/v1/jobs/{id}", tag = "jobs",
    params(("id" = String, Path, description = "The job's id.")),
    responses(
        (status = 204, description = "The job is gone."),
        (status = 400, description = "`INVALID_REQUEST`: not an id."),
        (status = 404, description = "`JOB_NOT_FOUND`"),
        (status = 409, description = "`JOB_WRONG_STATE`: the job waits or runs; cancel it first."),
    ),
    extensions(("x-scope" = json!("jobs:write"))),
)]
async fn delete_job(
    caller: Caller,
    State(jobs): State<JobService>,
    Id(id): Id<JobId>,
) -> ApiResult<Response> {
    jobs.delete(&caller, id).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}
