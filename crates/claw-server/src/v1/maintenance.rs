//! Keeping the installation in good order.

use axum::extract::State;
use claw_jobs::GcReport;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    app::Server,
    error::ApiResult,
    extract::{Caller, Json, Query},
};

pub(super) fn routes() -> OpenApiRouter<Server> {
    OpenApiRouter::default().routes(routes!(collect_garbage))
}

/// How to remove what is old.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct GcQuery {
    /// Only tell what would be removed.
    #[serde(default)]
    dry_run: bool,
}

/// What was removed of one kind.
#[derive(Serialize, ToSchema)]
struct GcCountView {
    /// The kind: `jobs`, `log_lines`, `events`, `timeline_entries`, `audit_entries`, `working_copies`, `homes` or
    /// `store_bytes`.
    kind: &'static str,
    /// How many.
    removed: u64,
}

/// What was removed, or would be.
#[derive(Serialize, ToSchema)]
struct GcView {
    /// Whether nothing was removed, and the counts say what would be.
    dry_run: bool,
    /// Every kind once.
    items: Vec<GcCountView>,
}

impl From<GcReport> for GcView {
    fn from(GcReport { dry_run, counts }: GcReport) -> Self {
        let view =
            |count: claw_jobs::GcCount| GcCountView { kind: count.subject.as_str(), removed: count.removed };
        Self { dry_run, items: counts.into_iter().map(view).collect() }
    }
}

/// Remove what is old
///
/// For administrators. The server does so by itself every hour, by the settings below `retention`; this does it now.
#[utoipa::path(
    post, path = "/api/v1/maintenance/gc", tag = "settings",
    params(GcQuery),
    responses(
        (status = 200, description = "What was removed, or would be.", body = GcView),
        (status = 400, description = "`INVALID_REQUEST`: `dry_run` is neither true nor false."),
    ),
    extensions(("x-scope" = json!("admin"))),
)]
async fn collect_garbage(
    caller: Caller,
    State(server): State<Server>,
    Query(query): Query<GcQuery>,
) -> ApiResult<Json<GcView>> {
    Ok(Json(server.retention().gc(&caller, query.dry_run).await?.into()))
}
