//! The caller's own key.

use axum::extract::State;
use claw_gate::{Gate, parse_scopes};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::view::{Envelope, KeyView, ScopesBody};
use crate::{
    app::Server,
    error::ApiResult,
    extract::{Caller, Json},
};

pub(super) fn routes() -> OpenApiRouter<Server> {
    OpenApiRouter::default().routes(routes!(get_own_key)).routes(routes!(lower_own_scopes))
}

/// Get one's own key
#[utoipa::path(
    get, path = "/api/settings", tag = "keys",
    responses((status = 200, description = "What is told about the key that asks.", body = Envelope<KeyView>)),
    extensions(("x-scope" = json!("any"))),
)]
async fn get_own_key(caller: Caller, State(gate): State<Gate>) -> ApiResult<Envelope<KeyView>> {
    Ok(Envelope::of(gate.own_key(&caller).await?.into()))
}

/// Lower one's own scopes
///
/// Any key may give up scopes; only an administrator gives them back, with `PATCH /api/keys/{id}`.
#[utoipa::path(
    post, path = "/api/settings/scopes", tag = "keys",
    request_body = ScopesBody,
    responses(
        (status = 200, description = "The key as it is now.", body = Envelope<KeyView>),
        (status = 400, description = "`SCOPES_REQUIRED`, `UNKNOWN_SCOPE`, `INVALID_REQUEST`: not a key, `REVOKE_FAILED`: the last way in for an administrator."),
        (status = 403, description = "`SCOPE_ESCALATION`: a scope that the key does not hold."),
        (status = 422, description = "`INVALID_BODY`: a field has the wrong type."),
    ),
    extensions(("x-scope" = json!("any"))),
)]
async fn lower_own_scopes(
    caller: Caller,
    State(gate): State<Gate>,
    Json(body): Json<ScopesBody>,
) -> ApiResult<Envelope<KeyView>> {
    let scopes = parse_scopes(&body.scopes)?;
    Ok(Envelope::of(gate.lower_own_scopes(&caller, scopes).await?.into()))
}
