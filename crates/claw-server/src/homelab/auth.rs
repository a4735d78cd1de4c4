//! First set-up with a key, and what a key is good for.

use axum::extract::{DefaultBodyLimit, State};
use claw_core::{Scope, Secret};
use claw_gate::{Credential, Gate, GateError, KeyMeta, parse_scopes};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::{
    router::{OpenApiRouter, UtoipaMethodRouterExt as _},
    routes,
};

use super::view::{Envelope, KeyView, NewKeyView};
use crate::{
    app::{MAX_PUBLIC_BODY_BYTES, Server},
    error::ApiResult,
    extract::{AfterSetup, Connection, Json, MaybeCredential},
};

pub(super) fn routes() -> OpenApiRouter<Server> {
    OpenApiRouter::default()
        .routes(routes!(get_auth_status))
        .routes(routes!(set_up_key).layer(DefaultBodyLimit::max(MAX_PUBLIC_BODY_BYTES)))
        .routes(routes!(verify_key).layer(DefaultBodyLimit::max(MAX_PUBLIC_BODY_BYTES)))
}

/// Whether set-up was done, and what the caller's key is.
#[derive(Serialize, ToSchema)]
struct AuthStatusView {
    /// Someone can get in.
    has_key: bool,
    /// Nobody can get in yet.
    wizard_required: bool,
    /// The same as `wizard_required`.
    setup_required: bool,
    /// How many keys there are.
    key_count: u64,
    /// Whether a setup token waits to be used; only before set-up.
    #[serde(skip_serializing_if = "Option::is_none")]
    setup_token_available: Option<bool>,
    /// The key that asked, if one did.
    #[serde(skip_serializing_if = "Option::is_none")]
    meta: Option<KeyView>,
}

/// Get how far set-up is
///
/// Public, also before set-up. With a key, `meta` tells what it may do.
#[utoipa::path(
    get, path = "/api/auth/status", tag = "keys",
    responses(
        (status = 200, description = "How far set-up is.", body = Envelope<AuthStatusView>),
        (status = 401, description = "`INVALID_KEY`: a key was sent, and it is wrong."),
        (status = 429, description = "`RATE_LIMITED`: too many wrong keys; see `Retry-After`."),
    ),
)]
async fn get_auth_status(
    connection: Connection,
    MaybeCredential(credential): MaybeCredential,
    State(gate): State<Gate>,
) -> ApiResult<Envelope<AuthStatusView>> {
    let state = gate.setup_state().await?;
    let is_session = matches!(credential, Credential::Session(_));
    let meta = match gate.authenticate(credential, connection.client).await {
        Ok(actor) => Some(gate.own_key(&actor).await?.into()),
        Err(GateError::ApiKeyRequired | GateError::SetupRequired) => None,
        // Browsers go on sending a session that is over.
        Err(GateError::InvalidKey) if is_session => None,
        Err(error) => return Err(error.into()),
    };
    Ok(Envelope::of(AuthStatusView {
        has_key: !state.required,
        wizard_required: state.required,
        setup_required: state.required,
        key_count: state.key_count,
        setup_token_available: state.required.then_some(state.token_available),
        meta,
    }))
}

/// The setup token and the first key.
#[derive(Deserialize, ToSchema)]
struct SetupBody {
    /// The token that the server printed when it started.
    #[serde(default)]
    #[schema(required, format = Password)]
    setup_token: String,
    /// At least one scope; `*` for all.
    #[serde(default)]
    #[schema(required, example = json!(["*"]))]
    scopes: Vec<String>,
    /// A name for people.
    #[schema(default = "admin")]
    label: Option<String>,
}

/// Finish set-up with a first key
///
/// Its role is admin. `POST /api/v1/auth/setup` finishes it with a first person instead.
#[utoipa::path(
    post, path = "/api/auth/setup", tag = "keys",
    request_body = SetupBody,
    responses(
        (status = 200, description = "Set-up is finished. The key is not shown again.", body = Envelope<NewKeyView>),
        (status = 400, description = "`SCOPES_REQUIRED`, `UNKNOWN_SCOPE`, `INVALID_REQUEST`; the token stays good."),
        (status = 403, description = "`INVALID_SETUP_TOKEN`"),
        (status = 409, description = "`ALREADY_SETUP`"),
        (status = 422, description = "`INVALID_BODY`: a field has the wrong type."),
        (status = 429, description = "`RATE_LIMITED`: too many wrong tokens; see `Retry-After`."),
    ),
)]
async fn set_up_key(
    connection: Connection,
    State(gate): State<Gate>,
    Json(body): Json<SetupBody>,
) -> ApiResult<Envelope<NewKeyView>> {
    if !gate.setup_state().await?.required {
        return Err(GateError::AlreadySetup.into());
    }
    let scopes = parse_scopes(&body.scopes)?;
    let token = Secret::new(body.setup_token);
    let made =
        gate.setup_with_key(&token, &body.label.unwrap_or_default(), scopes, connection.client).await?;
    Ok(Envelope::of(made.into()))
}

/// A key to verify.
#[derive(Deserialize, ToSchema)]
struct VerifyBody {
    /// The key.
    #[schema(format = Password)]
    key: String,
}

/// A key that is good.
#[derive(Serialize, ToSchema)]
struct VerifiedView {
    /// Always true.
    valid: bool,
    /// Identifies the key.
    key_id: String,
    /// A name for people.
    key_label: String,
    /// `admin` or `agent`.
    role: &'static str,
    /// What it may do, with `*` and `admin` written out.
    #[schema(value_type = Vec<String>)]
    scopes: Vec<Scope>,
}

/// Verify a key
#[utoipa::path(
    post, path = "/api/auth/verify", tag = "keys",
    request_body = VerifyBody,
    responses(
        (status = 200, description = "The key is good.", body = Envelope<VerifiedView>),
        (status = 401, description = "`INVALID_KEY`, `SETUP_REQUIRED`"),
        (status = 422, description = "`INVALID_BODY`: `key` is missing or no text."),
        (status = 429, description = "`RATE_LIMITED`: too many wrong keys; see `Retry-After`."),
    ),
)]
async fn verify_key(
    _after_setup: AfterSetup,
    connection: Connection,
    State(gate): State<Gate>,
    Json(body): Json<VerifyBody>,
) -> ApiResult<Envelope<VerifiedView>> {
    let KeyMeta { id, label, role, scopes, .. } =
        gate.verify(Secret::new(body.key), connection.client).await?;
    Ok(Envelope::of(VerifiedView { valid: true, key_id: id, key_label: label, role: role.as_str(), scopes }))
}
