//! Who runs what.

use axum::extract::State;
use claw_core::{Job, JobId, JobState, Timestamp, WorkerId, WorkspaceId};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    app::Server,
    error::ApiResult,
    extract::{Caller, Json},
};

pub(super) fn routes() -> OpenApiRouter<Server> {
    OpenApiRouter::default().routes(routes!(list_workers))
}

/// A worker and its job.
#[derive(Serialize, ToSchema)]
struct WorkerView {
    /// The worker.
    #[schema(value_type = String)]
    worker_id: WorkerId,
    /// Its job.
    #[schema(value_type = uuid::Uuid)]
    job_id: JobId,
    /// The job's workspace.
    #[schema(value_type = Option<uuid::Uuid>)]
    workspace_id: Option<WorkspaceId>,
    /// When the run began.
    #[schema(value_type = String, format = DateTime)]
    started_at: Timestamp,
}

impl WorkerView {
    fn of(job: Job) -> Option<Self> {
        let JobState::Running { started_at, lease, .. } = job.state else { return None };
        Some(Self {
            worker_id: lease.worker,
            job_id: job.id,
            workspace_id: job.spec.workspace_id,
            started_at,
        })
    }
}

/// The workers.
#[derive(Serialize, ToSchema)]
struct WorkerList {
    /// Those with a job that the caller may see.
    items: Vec<WorkerView>,
    /// Jobs that may run at the same time.
    capacity: usize,
    /// Jobs that run now.
    active: usize,
    /// Why no job is started at present, with the way out.
    waiting_because: Option<String>,
}

/// List workers
#[utoipa::path(
    get, path = "/api/v1/workers", tag = "status",
    responses((status = 200, description = "Who runs what.", body = WorkerList)),
    extensions(("x-scope" = json!("jobs:read"))),
)]
async fn list_workers(caller: Caller, State(server): State<Server>) -> ApiResult<Json<WorkerList>> {
    let items = server.jobs().running(&caller).await?.into_iter().filter_map(WorkerView::of).collect();
    let worker = server.worker().snapshot();
    Ok(Json(WorkerList {
        items,
        capacity: worker.capacity,
        active: worker.active,
        waiting_because: worker.waiting_because,
    }))
}
