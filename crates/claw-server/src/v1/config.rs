//! Settings that administrators may change while the server runs.

use std::collections::BTreeMap;

use axum::extract::State;
use claw_jobs::{SettingEntry, Settings};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    app::Server,
    error::ApiResult,
    extract::{Caller, Id, Json},
};

pub(super) fn routes() -> OpenApiRouter<Server> {
    OpenApiRouter::default()
        .routes(routes!(get_settings, put_settings))
        .routes(routes!(get_setting, put_setting))
}

/// How many settings a request named.
#[derive(Serialize, ToSchema)]
struct UpdatedView {
    /// How many.
    updated: usize,
}

/// A setting's new value.
#[derive(Deserialize, ToSchema)]
struct SettingBody {
    /// The value as text.
    value: String,
}

/// One setting.
#[derive(Serialize, ToSchema)]
struct SettingView {
    /// Its name.
    key: String,
    /// Its value as text; secrets read `***set***`.
    value: String,
}

impl From<SettingEntry> for SettingView {
    fn from(SettingEntry { key, value }: SettingEntry) -> Self {
        Self { key, value }
    }
}

/// Get all settings
#[utoipa::path(
    get, path = "/api/v1/config", tag = "settings",
    responses((status = 200, description = "Names and values; secrets read `***set***`.", body = BTreeMap<String, String>)),
    extensions(("x-scope" = json!("admin"))),
)]
async fn get_settings(
    caller: Caller,
    State(settings): State<Settings>,
) -> ApiResult<Json<BTreeMap<String, String>>> {
    let entries = settings.all(&caller).await?;
    Ok(Json(entries.into_iter().map(|entry| (entry.key, entry.value)).collect()))
}

/// Change settings
///
/// All of them or, if one is refused, none. What is left out stays as it is.
#[utoipa::path(
    put, path = "/api/v1/config", tag = "settings",
    request_body = BTreeMap<String, String>,
    responses(
        (status = 200, description = "They hold from the next run on.", body = UpdatedView),
        (status = 400, description = "`INVALID_REQUEST`: a setting does not take its value."),
        (status = 404, description = "`SETTING_NOT_FOUND`"),
        (status = 409, description = "`WORKSPACE_CONFLICT`: someone else changed settings at the same time."),
        (status = 422, description = "`INVALID_BODY`: a value is not text."),
    ),
    extensions(("x-scope" = json!("admin"))),
)]
async fn put_settings(
    caller: Caller,
    State(settings): State<Settings>,
    Json(body): Json<BTreeMap<String, String>>,
) -> ApiResult<Json<UpdatedView>> {
    let entries = body.into_iter().map(|(key, value)| SettingEntry { key, value }).collect();
    Ok(Json(UpdatedView { updated: settings.set(&caller, entries).await? }))
}

/// Get a setting
#[utoipa::path(
    get, path = "/api/v1/config/{key}", tag = "settings",
    params(("key" = String, Path, description = "The setting's name.")),
    responses(
        (status = 200, description = "The setting.", body = SettingView),
        (status = 404, description = "`SETTING_NOT_FOUND`"),
    ),
    extensions(("x-scope" = json!("admin"))),
)]
async fn get_setting(
    caller: Caller,
    State(settings): State<Settings>,
    Id(key): Id<String>,
) -> ApiResult<Json<SettingView>> {
    Ok(Json(settings.get(&caller, &key).await?.into()))
}

/// Change a setting
#[utoipa::path(
    put, path = "/api/v1/config/{key}", tag = "settings",
    params(("key" = String, Path, description = "The setting's name.")),
    request_body = SettingBody,
    responses(
        (status = 200, description = "It holds from the next run on.", body = SettingView),
        (status = 400, description = "`INVALID_REQUEST`: the setting does not take the value."),
        (status = 404, description = "`SETTING_NOT_FOUND`"),
        (status = 409, description = "`WORKSPACE_CONFLICT`: someone else changed settings at the same time."),
        (status = 422, description = "`INVALID_BODY`: the value is not text."),
    ),
    extensions(("x-scope" = json!("admin"))),
)]
async fn put_setting(
    caller: Caller,
    State(settings): State<Settings>,
    Id(key): Id<String>,
    Json(SettingBody { value }): Json<SettingBody>,
) -> ApiResult<Json<SettingView>> {
    let entry = SettingEntry { key, value };
    settings.set(&caller, vec![entry.clone()]).await?;
    Ok(Json(entry.into()))
}
