//! Logos of apps, by the path of older clients.

use axum::{extract::State, response::Response};
use claw_core::ErrorCode;
use claw_homelab::Homelab;
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::marketplace::mark;
use crate::{
    app::Server,
    error::{ApiError, ApiResult},
    extract::{Caller, Query},
};

/// What the name of a picture ends in.
const KINDS: [&str; 5] = ["png", "jpg", "jpeg", "webp", "svg"];

pub(super) fn routes() -> OpenApiRouter<Server> {
    OpenApiRouter::default().routes(routes!(get_proxy_image))
}

/// Which picture.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct ImageQuery {
    /// `logos/` and an app's id, with `.svg`.
    #[param(required, example = "logos/jellyfin.svg")]
    path: Option<String>,
}

/// Get the logo of an app, by the path of older clients
#[utoipa::path(
    get, path = "/api/proxy-image", tag = "marketplace",
    params(ImageQuery),
    responses(
        (status = 200, description = "The picture.", content_type = "image/svg+xml", body = String),
        (status = 400, description = "`INVALID_REQUEST`: no path; `INVALID_IMAGE`: no picture; `INVALID_PATH`"),
        (status = 404, description = "`NOT_FOUND`"),
    ),
    extensions(("x-scope" = json!("any"))),
)]
async fn get_proxy_image(
    _caller: Caller,
    State(homelab): State<Homelab>,
    Query(ImageQuery { path }): Query<ImageQuery>,
) -> ApiResult<Response> {
    let path = path.filter(|path| !path.is_empty());
    let path = path.ok_or_else(|| {
        ApiError::invalid("`path` is missing: name the picture, such as `logos/jellyfin.svg`")
    })?;
    let file = path.strip_prefix("logos/").unwrap_or(&path);
    let Some((id, kind)) = file.rsplit_once('.').filter(|(_, kind)| KINDS.contains(kind)) else {
        let message = format!("`path` must end in one of {}", KINDS.join(", "));
        return Err(ApiError::new(ErrorCode::InvalidImage, message));
    };
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_".contains(c);
    if id.is_empty() || !id.chars().all(is_plain) {
        return Err(ApiError::new(ErrorCode::InvalidPath, "`path` must be a file right below `logos/`"));
    }
    let picture = homelab.marketplace.logo(id).filter(|_| kind == "svg");
    picture
        .map(|picture| mark(&picture))
        .ok_or_else(|| ApiError::new(ErrorCode::NotFound, format!("there is no logo `{id}.{kind}`")))
}
