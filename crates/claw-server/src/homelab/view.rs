//! Keys as clients see them, and the envelope around everything.

use axum::response::{IntoResponse, Response};
use claw_core::{Scope, Secret, Timestamp, Usd};
use claw_gate::KeyMeta;
use serde::{Deserialize, Serialize, Serializer};
use utoipa::ToSchema;

/// A success.
#[derive(Serialize, ToSchema)]
pub(super) struct Envelope<T> {
    /// Always true.
    success: bool,
    /// The answer.
    data: T,
    /// Always null.
    #[schema(value_type = Option<Object>)]
    error: Option<()>,
}

impl<T> Envelope<T> {
    pub(super) fn of(data: T) -> Self {
        Self { success: true, data, error: None }
    }
}

impl<T: Serialize> IntoResponse for Envelope<T> {
    fn into_response(self) -> Response {
        axum::Json(self).into_response()
    }
}

/// Something was done.
#[derive(Serialize, ToSchema)]
pub(super) struct DoneView {
    /// What was done, in one word.
    #[schema(example = "started")]
    status: &'static str,
}

impl DoneView {
    pub(super) fn of(status: &'static str) -> Envelope<Self> {
        Envelope::of(Self { status })
    }
}

/// What is told about a key. It is not the key.
#[derive(Serialize, ToSchema)]
pub(super) struct KeyView {
    /// Identifies the key; for callers without one, `token` or `user:{name}`.
    id: String,
    /// The last characters of the key, by which people tell keys apart.
    key_prefix: String,
    /// What it may do, with `*` and `admin` written out.
    #[schema(value_type = Vec<String>)]
    scopes: Vec<Scope>,
    /// When it was made.
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    /// When it was last used; the creation time if never.
    #[schema(value_type = String, format = DateTime)]
    last_used_at: Timestamp,
    /// A name for people.
    label: String,
    /// `admin` or `agent`.
    role: &'static str,
    /// Most US dollars that its jobs may cost on one day (UTC); left out if there is no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    max_usd_per_day: Option<f64>,
    /// From then on it is refused; left out if it does not expire.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    expires_at: Option<Timestamp>,
    /// Until when the key that this one was before its rotation is good; left out when it is not.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    former_until: Option<Timestamp>,
}

impl From<KeyMeta> for KeyView {
    fn from(meta: KeyMeta) -> Self {
        let KeyMeta {
            id,
            key_prefix,
            label,
            role,
            scopes,
            created_at,
            last_used_at,
            max_usd_per_day,
            expires_at,
            former_until,
        } = meta;
        let key_prefix = if key_prefix.is_empty() { key_prefix } else { format!("{key_prefix}...") };
        let max_usd_per_day = max_usd_per_day.map(Usd::dollars);
        Self {
            id,
            key_prefix,
            scopes,
            created_at,
            last_used_at,
            label,
            role: role.as_str(),
            max_usd_per_day,
            expires_at,
            former_until,
        }
    }
}

/// A key that was just made.
#[derive(Serialize, ToSchema)]
pub(super) struct NewKeyView {
    /// The key itself. This is the only time it is shown.
    #[serde(serialize_with = "shown_once")]
    #[schema(value_type = String)]
    key: Secret,
    /// What is told about it later.
    meta: KeyView,
}

impl From<(Secret, KeyMeta)> for NewKeyView {
    fn from((key, meta): (Secret, KeyMeta)) -> Self {
        Self { key, meta: meta.into() }
    }
}

fn shown_once<S: Serializer>(key: &Secret, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(key.expose())
}

/// Scopes to hold from now on.
#[derive(Deserialize, ToSchema)]
pub(super) struct ScopesBody {
    /// At least one scope.
    #[serde(default)]
    #[schema(required, example = json!(["jobs:read"]))]
    pub(super) scopes: Vec<String>,
}
