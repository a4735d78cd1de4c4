//! The credential for the model API.

use axum::{
    extract::{FromRequestParts as _, Request, State},
    http::request::Parts,
};
use claw_core::{Clock as _, SystemClock};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    app::{ModelLogin, Server},
    error::ApiResult,
    extract::{AfterSetup, Caller, Json},
};

pub(super) fn routes() -> OpenApiRouter<Server> {
    OpenApiRouter::default().routes(routes!(get_login))
}

/// How the credential for the model API stands.
#[derive(Serialize, ToSchema)]
struct LoginView {
    /// `valid`, `expired` or `missing`.
    status: &'static str,
    /// When it runs out, in milliseconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<i64>,
    /// How long the token that renews it has been in use. Such a token ends after some months.
    #[serde(skip_serializing_if = "Option::is_none")]
    refresh_token_age_days: Option<i64>,
    /// For administrators: its kind, such as `API key` or `Claude login`.
    #[serde(skip_serializing_if = "Option::is_none")]
    kind: Option<String>,
    /// For administrators: `valid`, `expiring`, `expired`, `missing` or `refresh_failed`.
    #[serde(skip_serializing_if = "Option::is_none")]
    state: Option<&'static str>,
    /// For administrators: when it was last renewed here, in milliseconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    refreshed_at: Option<i64>,
    /// For administrators: what is wrong and how to mend it.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

impl LoginView {
    fn of(login: ModelLogin, to_administrator: bool) -> Self {
        let status = match login.status {
            "valid" | "expiring" => "valid",
            "missing" => "missing",
            _ => "expired",
        };
        let age =
            login.refresh_token_first_seen.map(|seen| SystemClock.now().duration_since(seen).as_hours() / 24);
        let told = |text: Option<String>| text.filter(|_| to_administrator);
        Self {
            status,
            expires_at: login.expires_at.map(|at| at.as_millisecond()),
            refresh_token_age_days: age,
            kind: told(Some(login.kind)),
            state: to_administrator.then_some(login.status),
            refreshed_at: login.refreshed_at.filter(|_| to_administrator).map(|at| at.as_millisecond()),
            error: told(login.error),
        }
    }
}

/// Tell how the model login stands
///
/// Public once set-up is done. Administrators are told what is wrong, too.
#[utoipa::path(
    get, path = "/api/v1/auth/oauth-status", tag = "status",
    responses(
        (status = 200, description = "How it stands.", body = LoginView),
        (status = 401, description = "`SETUP_REQUIRED`"),
    ),
)]
async fn get_login(
    _after_setup: AfterSetup,
    State(server): State<Server>,
    request: Request,
) -> ApiResult<Json<LoginView>> {
    let (mut parts, _body): (Parts, _) = request.into_parts();
    let caller = Caller::from_request_parts(&mut parts, &server).await;
    let is_admin = caller.is_ok_and(|caller| caller.is_admin());
    Ok(Json(LoginView::of(server.model_login().await, is_admin)))
}
