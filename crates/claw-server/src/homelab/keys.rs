//! API keys of agents and administrators.

use std::time::Duration;

use axum::extract::State;
use claw_core::{ErrorCode, KeyId, Role, Timestamp, Usd};
use claw_gate::{DEFAULT_GRACE, Gate, KeyChange, NewKey, parse_scopes};
use serde::{Deserialize, Deserializer, Serialize};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::view::{Envelope, KeyView, NewKeyView};
use crate::{
    app::Server,
    error::{ApiError, ApiResult},
    extract::{Caller, Id, Json},
};

pub(super) fn routes() -> OpenApiRouter<Server> {
    OpenApiRouter::default()
        .routes(routes!(list_keys, create_key))
        .routes(routes!(update_key, revoke_key))
        .routes(routes!(rotate_key))
}

/// List keys
///
/// For administrators.
#[utoipa::path(
    get, path = "/api/keys", tag = "keys",
    responses(
        (status = 200, description = "All keys, the oldest first.", body = Envelope<Vec<KeyView>>),
        (status = 403, description = "`SCOPE_REQUIRED`, `ADMIN_REQUIRED`"),
    ),
    extensions(("x-scope" = json!("keys:write"))),
)]
async fn list_keys(caller: Caller, State(gate): State<Gate>) -> ApiResult<Envelope<Vec<KeyView>>> {
    let keys = gate.list_keys(&caller).await?;
    Ok(Envelope::of(keys.into_iter().map(KeyView::from).collect()))
}

/// A key to make.
#[derive(Deserialize, ToSchema)]
struct NewKeyBody {
    /// A name for people; the role's name if left out.
    label: Option<String>,
    /// At least one scope, each held by the caller too.
    #[serde(default)]
    #[schema(required, example = json!(["jobs:read", "jobs:write"]))]
    scopes: Vec<String>,
    /// `agent` or `admin`.
    #[schema(default = "agent")]
    role: Option<String>,
    /// Most US dollars that its jobs may cost on one day (UTC); no limit if left out.
    #[schema(minimum = 0)]
    max_usd_per_day: Option<f64>,
    /// From then on it is refused; it does not expire if left out.
    #[schema(value_type = Option<String>, format = DateTime)]
    expires_at: Option<Timestamp>,
}

fn amount(dollars: f64) -> ApiResult<Usd> {
    Usd::from_dollars(dollars).ok_or_else(|| {
        ApiError::new(ErrorCode::InvalidRequest, "`max_usd_per_day` is an amount of US dollars, 0 or more")
    })
}

/// Create a key
///
/// For administrators. Nobody grants what they do not hold.
#[utoipa::path(
    post, path = "/api/keys", tag = "keys",
    request_body = NewKeyBody,
    responses(
        (status = 200, description = "The key. It is not shown again.", body = Envelope<NewKeyView>),
        (status = 400, description = "`SCOPES_REQUIRED`, `UNKNOWN_SCOPE`, `INVALID_ROLE`, `INVALID_REQUEST`"),
        (status = 403, description = "`SCOPE_REQUIRED`, `ADMIN_REQUIRED`, `SCOPE_ESCALATION`"),
        (status = 422, description = "`INVALID_BODY`: a field has the wrong type."),
    ),
    extensions(("x-scope" = json!("keys:write"))),
)]
async fn create_key(
    caller: Caller,
    State(gate): State<Gate>,
    Json(body): Json<NewKeyBody>,
) -> ApiResult<Envelope<NewKeyView>> {
    let role = match body.role.as_deref() {
        None | Some("" | "agent") => Role::Agent,
        Some("admin") => Role::Admin,
        Some(_) => return Err(ApiError::new(ErrorCode::InvalidRole, "a key's `role` is agent or admin")),
    };
    let scopes = parse_scopes(&body.scopes)?;
    let new = NewKey {
        label: body.label.unwrap_or_default(),
        scopes,
        role,
        max_usd_per_day: body.max_usd_per_day.map(amount).transpose()?,
        expires_at: body.expires_at,
    };
    let made = gate.create_key(&caller, new).await?;
    Ok(Envelope::of(made.into()))
}

/// What to change of a key; what is left out stays.
#[derive(Deserialize, ToSchema)]
struct KeyChangeBody {
    /// A name for people.
    label: Option<String>,
    /// Scopes to hold from now on, more or fewer than before.
    scopes: Option<Vec<String>>,
    /// Most US dollars that its jobs may cost on one day (UTC); `null` takes the limit away.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<f64>, minimum = 0)]
    max_usd_per_day: Option<Option<f64>>,
    /// From then on it is refused; `null`: it does not expire.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<String>, format = DateTime)]
    expires_at: Option<Option<Timestamp>>,
}

/// Tells `null` from a field that is not there.
fn present<'de, D, T>(deserializer: D) -> Result<Option<Option<T>>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    Option::deserialize(deserializer).map(Some)
}

/// Change a key
///
/// For administrators. The key itself stays the same; the change holds from its next request on.
#[utoipa::path(
    patch, path = "/api/keys/{id}", tag = "keys",
    params(("id" = String, Path, description = "The key's id.")),
    request_body = KeyChangeBody,
    responses(
        (status = 200, description = "The key as it is now.", body = Envelope<KeyView>),
        (status = 400, description = "`SCOPES_REQUIRED`, `UNKNOWN_SCOPE`, `INVALID_REQUEST`, `REVOKE_FAILED`: the last way in for an administrator."),
        (status = 403, description = "`SCOPE_REQUIRED`, `ADMIN_REQUIRED`, `SCOPE_ESCALATION`"),
        (status = 404, description = "`KEY_NOT_FOUND`"),
        (status = 422, description = "`INVALID_BODY`: a field has the wrong type."),
    ),
    extensions(("x-scope" = json!("keys:write"))),
)]
async fn update_key(
    caller: Caller,
    State(gate): State<Gate>,
    Id(id): Id<KeyId>,
    Json(body): Json<KeyChangeBody>,
) -> ApiResult<Envelope<KeyView>> {
    let scopes = body.scopes.map(|scopes| parse_scopes(&scopes)).transpose()?;
    let max_usd_per_day = match body.max_usd_per_day {
        Some(Some(dollars)) => Some(Some(amount(dollars)?)),
        Some(None) => Some(None),
        None => None,
    };
    let change = KeyChange { label: body.label, scopes, max_usd_per_day, expires_at: body.expires_at };
    let meta = gate.update_key(&caller, id, change).await?;
    Ok(Envelope::of(meta.into()))
}

/// How to rotate a key.
#[derive(Default, Deserialize, ToSchema)]
struct RotationBody {
    /// For so many seconds the former key stays good too, up to 30 days; 0 ends it at once.
    #[schema(default = 86_400, maximum = 2_592_000)]
    grace_seconds: Option<u64>,
}

/// Rotate a key
///
/// For administrators who hold what the key holds. Its id, scopes and everything else stay; the answer shows the new
/// key, once. The former one stays good for the time given, so that its holder can change over; the one before that
/// ends now.
#[utoipa::path(
    post, path = "/api/keys/{id}/rotate", tag = "keys",
    params(("id" = String, Path, description = "The key's id.")),
    request_body = RotationBody,
    responses(
        (status = 200, description = "The new key. It is not shown again.", body = Envelope<NewKeyView>),
        (status = 400, description = "`INVALID_REQUEST`: not an id, or too long a time."),
        (status = 403, description = "`SCOPE_REQUIRED`, `ADMIN_REQUIRED`, `SCOPE_ESCALATION`"),
        (status = 404, description = "`KEY_NOT_FOUND`"),
        (status = 422, description = "`INVALID_BODY`: a field has the wrong type."),
    ),
    extensions(("x-scope" = json!("keys:write"))),
)]
async fn rotate_key(
    caller: Caller,
    State(gate): State<Gate>,
    Id(id): Id<KeyId>,
    Json(body): Json<RotationBody>,
) -> ApiResult<Envelope<NewKeyView>> {
    let grace = body.grace_seconds.map_or(DEFAULT_GRACE, Duration::from_secs);
    Ok(Envelope::of(gate.rotate_key(&caller, id, grace).await?.into()))
}

/// A key that is no longer good.
#[derive(Serialize, ToSchema)]
struct RevokedView {
    /// Always `revoked`.
    status: &'static str,
    /// The key.
    #[schema(value_type = uuid::Uuid)]
    id: KeyId,
}

/// Revoke a key
///
/// For administrators. The key is refused from its next request on.
#[utoipa::path(
    delete, path = "/api/keys/{id}", tag = "keys",
    params(("id" = String, Path, description = "The key's id.")),
    responses(
        (status = 200, description = "The key is no longer good.", body = Envelope<RevokedView>),
        (status = 400, description = "`REVOKE_FAILED`: there is no such key, or it is the last way in for an administrator; `INVALID_REQUEST`: not an id."),
        (status = 403, description = "`SCOPE_REQUIRED`, `ADMIN_REQUIRED`, `CANNOT_REVOKE_SELF`"),
    ),
    extensions(("x-scope" = json!("keys:write"))),
)]
async fn revoke_key(
    caller: Caller,
    State(gate): State<Gate>,
    Id(id): Id<KeyId>,
) -> ApiResult<Envelope<RevokedView>> {
    gate.revoke_key(&caller, id).await?;
    Ok(Envelope::of(RevokedView { status: "revoked", id }))
}
