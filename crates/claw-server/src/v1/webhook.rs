//! Submitting from systems that only know how to call one URL.

use axum::{extract::State, http::StatusCode};
use claw_core::{JobId, JobSource};
use claw_jobs::JobService;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::jobs::{self, StatusName, SubmitBody};
use crate::{
    app::Server,
    error::ApiResult,
    extract::{Caller, IdempotencyKey, Json},
};

pub(super) fn routes() -> OpenApiRouter<Server> {
    OpenApiRouter::default().routes(routes!(webhook_submit))
}

/// The receipt for a job that came through the webhook.
#[derive(Serialize, ToSchema)]
struct WebhookReceipt {
    /// The job.
    #[schema(value_type = uuid::Uuid)]
    job_id: JobId,
    /// Its state.
    status: StatusName,
}

/// Submit a job by webhook
///
/// As `POST /api/v1/jobs`, with the source `webhook` and another receipt.
#[utoipa::path(
    post, path = "/api/v1/webhook/submit", tag = "jobs",
    params(("Idempotency-Key" = Option<String>, Header, description = "A mark of your own, so that the request may be sent twice.")),
    request_body = SubmitBody,
    responses(
        (status = 202, description = "The job waits for a worker.", body = WebhookReceipt),
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
async fn webhook_submit(
    caller: Caller,
    State(service): State<JobService>,
    IdempotencyKey(key): IdempotencyKey,
    Json(body): Json<SubmitBody>,
) -> ApiResult<(StatusCode, Json<WebhookReceipt>)> {
    let job = jobs::submit(&service, &caller, body, JobSource::Webhook, key).await?.job;
    Ok((StatusCode::ACCEPTED, Json(WebhookReceipt { job_id: job.id, status: job.status().into() })))
}
