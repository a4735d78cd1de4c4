//! How things stand: the public overview.

use axum::{
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use claw_core::Actor;
use claw_jobs::JobsError;
use claw_store::JobCounts;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    app::Server,
    extract::{AfterSetup, Json},
};

pub(super) fn routes() -> OpenApiRouter<Server> {
    OpenApiRouter::default().routes(routes!(get_status))
}

/// Whether jobs run.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Health {
    /// They do.
    Healthy,
    /// They wait; `waiting_because` tells why.
    Degraded,
}

/// Jobs by state; ended ones over the life of the store.
#[derive(Serialize, ToSchema)]
pub(crate) struct QueueView {
    /// Waiting.
    pub(crate) pending: u64,
    /// Running.
    pub(crate) running: u64,
    /// Ended well.
    pub(crate) completed: u64,
    /// Ended badly.
    pub(crate) failed: u64,
    /// Ended by someone.
    pub(crate) cancelled: u64,
}

impl From<JobCounts> for QueueView {
    fn from(counts: JobCounts) -> Self {
        let JobCounts { pending, running, completed, failed, cancelled } = counts;
        Self { pending, running, completed, failed, cancelled }
    }
}

/// The installation at a glance.
#[derive(Serialize, ToSchema)]
pub(crate) struct StatusView {
    /// Whether jobs run.
    pub(crate) status: Health,
    /// Jobs by state.
    pub(crate) queue: QueueView,
    /// Whether the Docker Engine answers.
    pub(crate) docker_available: bool,
    /// Whether the sandbox's image is there.
    pub(crate) sandbox_image_ready: bool,
    /// Where jobs run: `docker` or `local`.
    pub(crate) execution_backend: &'static str,
    /// How many workers there are.
    pub(crate) worker_count: usize,
    /// Jobs that may run at the same time.
    pub(crate) capacity: usize,
    /// Jobs that run now.
    pub(crate) active: usize,
    /// Started sandboxes that wait for a job.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) sandboxes_waiting: Option<usize>,
    /// Why no job is started at present, with the way out.
    pub(crate) waiting_because: Option<String>,
    /// Version of the server.
    pub(crate) version: String,
}

/// Gathers the overview. Starts no process: the Engine is asked at most every two seconds.
pub(crate) async fn overview(server: &Server) -> Result<StatusView, JobsError> {
    let counts = server.jobs().counts(&Actor::system()).await?;
    let engine = server.probe().state().await;
    let worker = server.worker().snapshot();
    let status = if worker.waiting_because.is_some() { Health::Degraded } else { Health::Healthy };
    Ok(StatusView {
        status,
        queue: counts.into(),
        docker_available: engine.info.is_ok(),
        sandbox_image_ready: engine.image_ready,
        execution_backend: server.settings().backend().as_str(),
        worker_count: worker.capacity,
        capacity: worker.capacity,
        active: worker.active,
        sandboxes_waiting: server.probes().sandboxes_waiting(),
        waiting_because: worker.waiting_because,
        version: server.config().version.clone(),
    })
}

/// The store does not answer.
#[derive(Serialize, ToSchema)]
struct UnhealthyView {
    /// Always `unhealthy`.
    status: &'static str,
    /// What is wrong.
    error: &'static str,
}

/// Get the installation's state
///
/// Public. Counts only: what jobs there are is told to those who may see them.
#[utoipa::path(
    get, path = "/api/v1/status", tag = "status",
    responses(
        (status = 200, description = "How things stand.", body = StatusView),
        (status = 401, description = "`SETUP_REQUIRED`"),
        (status = 503, description = "The store does not answer.", body = UnhealthyView),
    ),
)]
async fn get_status(_after_setup: AfterSetup, State(server): State<Server>) -> Response {
    match overview(&server).await {
        Ok(view) => Json(view).into_response(),
        Err(error) => {
            tracing::warn!(%error, "the state cannot be told");
            let view = UnhealthyView { status: "unhealthy", error: "the store does not answer" };
            (StatusCode::SERVICE_UNAVAILABLE, Json(view)).into_response()
        }
    }
}
