//! The Docker Engine that sandboxes run on.

use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    app::Server,
    extract::{Caller, Json},
    probe::EngineState,
};

pub(super) fn routes() -> OpenApiRouter<Server> {
    OpenApiRouter::default().routes(routes!(get_docker_status))
}

/// How things stand with the Engine.
#[derive(Serialize, ToSchema)]
struct DockerStatusView {
    /// Whether it answers.
    available: bool,
    /// Its version.
    #[serde(skip_serializing_if = "Option::is_none")]
    server_version: Option<String>,
    /// The system it runs on.
    #[serde(skip_serializing_if = "Option::is_none")]
    os: Option<String>,
    /// Containers that run now.
    #[serde(skip_serializing_if = "Option::is_none")]
    containers_running: Option<u64>,
    /// Why it does not answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

impl From<&EngineState> for DockerStatusView {
    fn from(state: &EngineState) -> Self {
        match &state.info {
            Ok(info) => Self {
                available: true,
                server_version: Some(info.server_version.clone()),
                os: Some(info.os.clone()),
                containers_running: Some(info.containers_running),
                error: None,
            },
            Err(reason) => Self {
                available: false,
                server_version: None,
                os: None,
                containers_running: None,
                error: Some(reason.clone()),
            },
        }
    }
}

/// Get the Docker Engine's state
#[utoipa::path(
    get, path = "/api/v1/docker/status", tag = "status",
    responses((status = 200, description = "How things stand, also when the Engine does not answer.", body = DockerStatusView)),
    extensions(("x-scope" = json!("any"))),
)]
async fn get_docker_status(_caller: Caller, State(server): State<Server>) -> Json<DockerStatusView> {
    Json(DockerStatusView::from(&*server.probe().state().await))
}
