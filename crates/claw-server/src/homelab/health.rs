//! Whether the server answers at all.

use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{app::Server, extract::Json};

pub(super) fn routes() -> OpenApiRouter<Server> {
    OpenApiRouter::default().routes(routes!(get_health))
}

/// The server answers.
#[derive(Serialize, ToSchema)]
struct HealthView {
    /// Always `ok`.
    status: &'static str,
}

/// Tell that the server answers
///
/// Public, also before set-up, for health checks. `/api/v1/status` tells more.
#[utoipa::path(
    get, path = "/health", tag = "status",
    responses((status = 200, description = "The server answers.", body = HealthView)),
)]
async fn get_health() -> Json<HealthView> {
    Json(HealthView { status: "ok" })
}
