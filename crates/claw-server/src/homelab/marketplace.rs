//! Apps: browsing, installing, and what becomes of them.

mod view;

use std::collections::BTreeMap;

use axum::{
    extract::State,
    http::{HeaderValue, header},
    response::{IntoResponse as _, Response},
};
use claw_core::ErrorCode;
use claw_homelab::{
    Homelab,
    marketplace::{MarketplaceError, NewInstall, Which},
};
use serde::Deserialize;
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

use self::view::{
    AppView, CreatedView, DetailsView, InstalledView, ManifestView, ProgressView, UninstalledView, UpdateView,
};
use super::view::Envelope;
use crate::{
    app::Server,
    error::{ApiError, ApiResult},
    extract::{Caller, Json, Name, Query},
};

pub(super) fn routes() -> OpenApiRouter<Server> {
    OpenApiRouter::default()
        .routes(routes!(list_apps))
        .routes(routes!(list_installed))
        .routes(routes!(create_app))
        .routes(routes!(start_app))
        .routes(routes!(stop_app))
        .routes(routes!(restart_app))
        .routes(routes!(update_app))
        .routes(routes!(uninstall_app))
        .routes(routes!(get_app))
        .routes(routes!(get_logo))
        .routes(routes!(get_app_status))
        .routes(routes!(get_logs))
}

impl From<MarketplaceError> for ApiError {
    fn from(error: MarketplaceError) -> Self {
        match error {
            MarketplaceError::Gate(error) => error.into(),
            error => Self::of(&error),
        }
    }
}

/// In which form to list.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct ListQuery {
    /// `manifest` for the object that the original answered.
    format: Option<String>,
}

/// List apps
///
/// The most popular first. Never waits for the network.
#[utoipa::path(
    get, path = "/api/marketplace", tag = "marketplace",
    params(ListQuery),
    responses(
        (status = 200, description = "The apps; with `format=manifest` inside an object.", body = Envelope<Vec<AppView>>),
        (status = 400, description = "`INVALID_REQUEST`"),
        (status = 403, description = "`SCOPE_REQUIRED`"),
    ),
    extensions(("x-scope" = json!("marketplace:read"))),
)]
async fn list_apps(
    caller: Caller,
    State(homelab): State<Homelab>,
    Query(ListQuery { format }): Query<ListQuery>,
) -> ApiResult<Response> {
    let apps = homelab.marketplace.catalog(&caller)?.iter().map(AppView::of).collect();
    match format.as_deref() {
        None | Some("list") => Ok(Envelope::of(apps).into_response()),
        Some("manifest") => Ok(Envelope::of(ManifestView::of(apps)).into_response()),
        Some(_) => Err(ApiError::invalid("`format` is list or manifest")),
    }
}

/// Describe an app
///
/// With its variables, ports and compose file.
#[utoipa::path(
    get, path = "/api/marketplace/{id}", tag = "marketplace",
    params(("id" = String, Path, description = "The app's id.")),
    responses(
        (status = 200, description = "The app.", body = Envelope<DetailsView>),
        (status = 403, description = "`SCOPE_REQUIRED`"),
        (status = 404, description = "`APP_NOT_FOUND`"),
        (status = 502, description = "`TEMPLATE_FETCH_FAILED`: the other catalog does not have the entry, or a broken one."),
    ),
    extensions(("x-scope" = json!("marketplace:read"))),
)]
async fn get_app(
    caller: Caller,
    State(homelab): State<Homelab>,
    Name(id): Name,
) -> ApiResult<Envelope<DetailsView>> {
    Ok(Envelope::of(DetailsView::of(&homelab.marketplace.app(&caller, &id).await?)))
}

/// Get an app's mark
///
/// An SVG that runs nothing and fetches nothing.
#[utoipa::path(
    get, path = "/api/marketplace/{id}/logo", tag = "marketplace",
    params(("id" = String, Path, description = "The app's id.")),
    responses(
        (status = 200, description = "The mark.", content_type = "image/svg+xml"),
        (status = 404, description = "`APP_NOT_FOUND`: there is no such app, or it has none."),
    ),
    extensions(("x-scope" = json!("any"))),
)]
async fn get_logo(_caller: Caller, State(homelab): State<Homelab>, Name(id): Name) -> ApiResult<Response> {
    let Some(logo) = homelab.marketplace.logo(&id) else {
        return Err(ApiError::new(ErrorCode::AppNotFound, "there is no mark of such an app"));
    };
    Ok(mark(&logo))
}

/// Answers with an app's mark, so that no browser runs anything in it.
pub(super) fn mark(logo: &[u8]) -> Response {
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("image/svg+xml")),
        (
            header::CONTENT_SECURITY_POLICY,
            HeaderValue::from_static("default-src 'none'; style-src 'unsafe-inline'; sandbox"),
        ),
        (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
        (header::CACHE_CONTROL, HeaderValue::from_static("private, max-age=3600")),
    ];
    (headers, logo.to_vec()).into_response()
}

/// An app to install.
#[derive(Deserialize, ToSchema)]
struct CreateBody {
    /// The app's id.
    #[serde(default)]
    #[schema(required, example = "jellyfin")]
    app_id: String,
    /// A name for the install; from `container_name`, or the app's id, if left out.
    custom_name: Option<String>,
    /// Name of the main container; the install's id if left out.
    container_name: Option<String>,
    /// Values of variables: the app's own, and others for its main service.
    #[serde(default)]
    environment: Option<BTreeMap<String, String>>,
    /// Ports of the containers by ports of the host, as `{"8097": 8096}`. They replace the app's own.
    #[serde(default)]
    #[schema(value_type = Option<Object>)]
    ports: Option<BTreeMap<String, Value>>,
    /// Not supported: leave it out.
    #[serde(default)]
    volumes: Option<Value>,
}

/// Install an app
///
/// Writes its files; nothing is started. Ports that are taken are replaced by free ones, and the answer says so.
/// Passwords that are made up are in the answer once.
#[utoipa::path(
    post, path = "/api/marketplace/create", tag = "marketplace",
    request_body = CreateBody,
    responses(
        (status = 200, description = "It is installed.", body = Envelope<CreatedView>),
        (status = 400, description = "`APP_ID_REQUIRED`, `INVALID_APP_ID`, `INVALID_CUSTOM_NAME`, `INVALID_CONTAINER_NAME`, `INVALID_ENV`, `INVALID_PORT`, `VOLUME_OVERRIDES_UNSUPPORTED`, `INVALID_COMPOSE_FILE`; `VARIABLES_REQUIRED` names what is missing."),
        (status = 403, description = "`SCOPE_REQUIRED`, `POLICY_REFUSED`, `BLOCKED_VOLUME`, `PROTECTED`"),
        (status = 404, description = "`APP_NOT_FOUND`"),
        (status = 409, description = "`NAME_TAKEN`, `CONFLICT`"),
        (status = 507, description = "`STORAGE_FULL`"),
    ),
    extensions(("x-scope" = json!("marketplace:write"))),
)]
async fn create_app(
    caller: Caller,
    State(homelab): State<Homelab>,
    Json(body): Json<CreateBody>,
) -> ApiResult<Envelope<CreatedView>> {
    let said = |text: Option<String>| text.filter(|text| !text.trim().is_empty());
    let overrides = body.volumes.is_some_and(|volumes| match volumes {
        Value::Null => false,
        Value::Object(members) => !members.is_empty(),
        Value::Array(items) => !items.is_empty(),
        _ => true,
    });
    if overrides {
        let message = "`volumes` cannot be chosen: leave it out, and edit the compose file afterwards";
        return Err(ApiError::new(ErrorCode::VolumeOverridesUnsupported, message));
    }
    let new = NewInstall {
        app_id: body.app_id.trim().to_owned(),
        custom_name: said(body.custom_name),
        container_name: said(body.container_name),
        environment: body.environment.unwrap_or_default(),
        ports: ports(body.ports.unwrap_or_default())?,
    };
    Ok(Envelope::of(homelab.marketplace.create(&caller, new).await?.into()))
}

/// Turns ports of containers by ports of the host into the other way round.
fn ports(given: BTreeMap<String, Value>) -> ApiResult<BTreeMap<u16, u16>> {
    let mut ports = BTreeMap::new();
    for (host, container) in given {
        let container = match &container {
            Value::Number(number) => number.as_u64().and_then(|number| u16::try_from(number).ok()),
            // Some write both as text.
            Value::String(text) => text.parse().ok(),
            _ => None,
        };
        let pair =
            host.parse::<u16>().ok().zip(container).filter(|(host, container)| *host > 0 && *container > 0);
        let Some((host, container)) = pair else {
            let message = "`ports` has ports of containers by ports of the host, as {\"8097\": 8096}";
            return Err(ApiError::new(ErrorCode::InvalidPort, message));
        };
        if ports.insert(container, host).is_some() {
            let message = format!("port {container} of the container is asked for twice");
            return Err(ApiError::new(ErrorCode::InvalidPort, message));
        }
    }
    Ok(ports)
}

/// An install, by any of the things that clients know it by.
#[derive(Deserialize, ToSchema)]
struct WhichBody {
    /// Name of its main container, or its id.
    container_name: Option<String>,
    /// Its app: the newest install of it, if nothing else is said.
    app_id: Option<String>,
    /// Its compose file, as `create` answered it.
    compose_path: Option<String>,
    /// Its id.
    install_id: Option<String>,
}

impl WhichBody {
    fn which(self) -> Which {
        let said = |text: Option<String>| text.filter(|text| !text.is_empty());
        Which {
            name: said(self.install_id).or(said(self.container_name)),
            app_id: said(self.app_id),
            compose_path: said(self.compose_path),
        }
    }
}

/// Start an app
///
/// Reads its compose file as it is now, gets images, makes and starts containers. Answers after 25 seconds at most:
/// `starting` then says that it goes on.
#[utoipa::path(
    post, path = "/api/marketplace/start", tag = "marketplace",
    request_body = WhichBody,
    responses(
        (status = 200, description = "It is started, or being started.", body = Envelope<ProgressView>),
        (status = 400, description = "`CONTAINER_NAME_REQUIRED`, `INVALID_CONTAINER_NAME`, `INVALID_COMPOSE_FILE`, `INVALID_ENV`"),
        (status = 403, description = "`SCOPE_REQUIRED`, `PATH_FORBIDDEN`, `POLICY_REFUSED`, `BLOCKED_VOLUME`, `PROTECTED`"),
        (status = 404, description = "`COMPOSE_NOT_FOUND`"),
        (status = 409, description = "`CONFLICT`: something else is being done with it; `NAME_TAKEN`"),
        (status = 502, description = "`COMPOSE_UP_FAILED`, with the reason."),
    ),
    extensions(("x-scope" = json!("marketplace:write"))),
)]
async fn start_app(
    caller: Caller,
    State(homelab): State<Homelab>,
    Json(body): Json<WhichBody>,
) -> ApiResult<Envelope<ProgressView>> {
    let progress = homelab.marketplace.start(&caller, &body.which()).await?;
    Ok(Envelope::of(ProgressView::of(progress, "started", "starting")))
}

/// Stop an app
#[utoipa::path(
    post, path = "/api/marketplace/stop", tag = "marketplace",
    request_body = WhichBody,
    responses(
        (status = 200, description = "It is stopped, or being stopped.", body = Envelope<ProgressView>),
        (status = 400, description = "`CONTAINER_NAME_REQUIRED`, `INVALID_CONTAINER_NAME`"),
        (status = 403, description = "`SCOPE_REQUIRED`, `PATH_FORBIDDEN`"),
        (status = 404, description = "`COMPOSE_NOT_FOUND`"),
        (status = 409, description = "`CONFLICT`"),
        (status = 502, description = "`COMPOSE_UP_FAILED`, with the reason."),
    ),
    extensions(("x-scope" = json!("marketplace:write"))),
)]
async fn stop_app(
    caller: Caller,
    State(homelab): State<Homelab>,
    Json(body): Json<WhichBody>,
) -> ApiResult<Envelope<ProgressView>> {
    let progress = homelab.marketplace.stop(&caller, &body.which()).await?;
    Ok(Envelope::of(ProgressView::of(progress, "stopped", "stopping")))
}

/// Restart an app
///
/// With what its files say now.
#[utoipa::path(
    post, path = "/api/marketplace/restart", tag = "marketplace",
    request_body = WhichBody,
    responses(
        (status = 200, description = "It is restarted, or being restarted.", body = Envelope<ProgressView>),
        (status = 400, description = "`CONTAINER_NAME_REQUIRED`, `INVALID_CONTAINER_NAME`, `INVALID_COMPOSE_FILE`, `INVALID_ENV`"),
        (status = 403, description = "`SCOPE_REQUIRED`, `PATH_FORBIDDEN`, `POLICY_REFUSED`, `BLOCKED_VOLUME`, `PROTECTED`"),
        (status = 404, description = "`COMPOSE_NOT_FOUND`"),
        (status = 409, description = "`CONFLICT`, `NAME_TAKEN`"),
        (status = 502, description = "`COMPOSE_UP_FAILED`, with the reason."),
    ),
    extensions(("x-scope" = json!("marketplace:write"))),
)]
async fn restart_app(
    caller: Caller,
    State(homelab): State<Homelab>,
    Json(body): Json<WhichBody>,
) -> ApiResult<Envelope<ProgressView>> {
    let progress = homelab.marketplace.restart(&caller, &body.which()).await?;
    Ok(Envelope::of(ProgressView::of(progress, "restarted", "restarting")))
}

/// An install to update.
#[derive(Deserialize, ToSchema)]
struct UpdateBody {
    /// Name of its main container, or its id.
    container_name: Option<String>,
    /// Its app: the newest install of it, if nothing else is said.
    app_id: Option<String>,
    /// Its compose file.
    compose_path: Option<String>,
    /// Its id.
    install_id: Option<String>,
    /// Values of variables that change, or that the newer version needs.
    #[serde(default)]
    environment: Option<BTreeMap<String, String>>,
    /// Whether a compose file that somebody edited is replaced. A copy is kept.
    #[serde(default)]
    replace_edited: bool,
}

/// Update an app
///
/// To the versions of its images that the catalog has. Data and values stay.
#[utoipa::path(
    post, path = "/api/marketplace/update", tag = "marketplace",
    request_body = UpdateBody,
    responses(
        (status = 200, description = "It is up to date.", body = Envelope<UpdateView>),
        (status = 400, description = "`CONTAINER_NAME_REQUIRED`, `INVALID_CONTAINER_NAME`, `INVALID_ENV`, `VARIABLES_REQUIRED`"),
        (status = 403, description = "`SCOPE_REQUIRED`, `PATH_FORBIDDEN`, `POLICY_REFUSED`, `BLOCKED_VOLUME`"),
        (status = 404, description = "`COMPOSE_NOT_FOUND`, `APP_NOT_FOUND`: the catalog no longer has it."),
        (status = 409, description = "`CONFLICT`: somebody edited the compose file, or something else is being done."),
        (status = 502, description = "`COMPOSE_UP_FAILED`, `TEMPLATE_FETCH_FAILED`"),
    ),
    extensions(("x-scope" = json!("marketplace:write"))),
)]
async fn update_app(
    caller: Caller,
    State(homelab): State<Homelab>,
    Json(body): Json<UpdateBody>,
) -> ApiResult<Envelope<UpdateView>> {
    let UpdateBody { container_name, app_id, compose_path, install_id, environment, replace_edited } = body;
    let which = WhichBody { container_name, app_id, compose_path, install_id }.which();
    let environment = environment.unwrap_or_default();
    let update = homelab.marketplace.update(&caller, &which, environment, replace_edited).await?;
    Ok(Envelope::of(update.into()))
}

/// An install to remove.
#[derive(Deserialize, ToSchema)]
struct UninstallBody {
    /// Name of its main container, or its id.
    container_name: Option<String>,
    /// Its app: the newest install of it, if nothing else is said.
    app_id: Option<String>,
    /// Its compose file.
    compose_path: Option<String>,
    /// Its id.
    install_id: Option<String>,
    /// Whether its data goes too: its folder and its volumes.
    #[serde(default)]
    delete_data: bool,
}

/// Uninstall an app
///
/// Its containers go. Its data stays unless `delete_data` says otherwise.
#[utoipa::path(
    post, path = "/api/marketplace/uninstall", tag = "marketplace",
    request_body = UninstallBody,
    responses(
        (status = 200, description = "It is gone.", body = Envelope<UninstalledView>),
        (status = 400, description = "`CONTAINER_NAME_REQUIRED`, `INVALID_CONTAINER_NAME`"),
        (status = 403, description = "`SCOPE_REQUIRED`, `PATH_FORBIDDEN`"),
        (status = 404, description = "`COMPOSE_NOT_FOUND`"),
        (status = 409, description = "`CONFLICT`"),
        (status = 502, description = "`COMPOSE_UP_FAILED`, with the reason."),
    ),
    extensions(("x-scope" = json!("marketplace:write"))),
)]
async fn uninstall_app(
    caller: Caller,
    State(homelab): State<Homelab>,
    Json(body): Json<UninstallBody>,
) -> ApiResult<Envelope<UninstalledView>> {
    let UninstallBody { container_name, app_id, compose_path, install_id, delete_data } = body;
    let which = WhichBody { container_name, app_id, compose_path, install_id }.which();
    Ok(Envelope::of(homelab.marketplace.uninstall(&caller, &which, delete_data).await?.into()))
}

/// List installed apps
///
/// The oldest first.
#[utoipa::path(
    get, path = "/api/marketplace/installed", tag = "marketplace",
    responses(
        (status = 200, description = "The installs.", body = Envelope<Vec<InstalledView>>),
        (status = 403, description = "`SCOPE_REQUIRED`"),
    ),
    extensions(("x-scope" = json!("marketplace:read"))),
)]
async fn list_installed(
    caller: Caller,
    State(homelab): State<Homelab>,
) -> ApiResult<Envelope<Vec<InstalledView>>> {
    let installed = homelab.marketplace.installed(&caller).await?;
    Ok(Envelope::of(installed.into_iter().map(InstalledView::from).collect()))
}

/// Get the state of an installed app
#[utoipa::path(
    get, path = "/api/marketplace/{id}/status", tag = "marketplace",
    params(("id" = String, Path, description = "The install's id, or the name of its main container.")),
    responses(
        (status = 200, description = "The install.", body = Envelope<InstalledView>),
        (status = 400, description = "`INVALID_CONTAINER_NAME`"),
        (status = 403, description = "`SCOPE_REQUIRED`"),
        (status = 404, description = "`COMPOSE_NOT_FOUND`"),
    ),
    extensions(("x-scope" = json!("marketplace:read"))),
)]
async fn get_app_status(
    caller: Caller,
    State(homelab): State<Homelab>,
    Name(id): Name,
) -> ApiResult<Envelope<InstalledView>> {
    Ok(Envelope::of(homelab.marketplace.status(&caller, &Which::named(id)).await?.into()))
}

/// Which part of a log.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct LogsQuery {
    /// The service; the main one if left out.
    service: Option<String>,
    /// How many of the last lines.
    #[serde(default = "last_lines")]
    #[param(default = 100, minimum = 1, maximum = 10000)]
    tail: u32,
}

fn last_lines() -> u32 {
    100
}

/// Read the log of an installed app
#[utoipa::path(
    get, path = "/api/marketplace/{id}/logs", tag = "marketplace",
    params(("id" = String, Path, description = "The install's id, or the name of its main container."), LogsQuery),
    responses(
        (status = 200, description = "The end of what the service wrote.", body = Envelope<String>),
        (status = 400, description = "`INVALID_CONTAINER_NAME`, `INVALID_TAIL`"),
        (status = 403, description = "`SCOPE_REQUIRED`"),
        (status = 404, description = "`COMPOSE_NOT_FOUND`: there is no such install or service, or it was never started."),
        (status = 503, description = "`DOCKER_ERROR`"),
    ),
    extensions(("x-scope" = json!("marketplace:read"))),
)]
async fn get_logs(
    caller: Caller,
    State(homelab): State<Homelab>,
    Name(id): Name,
    Query(LogsQuery { service, tail }): Query<LogsQuery>,
) -> ApiResult<Envelope<String>> {
    if !(1..=10_000).contains(&tail) {
        return Err(ApiError::new(ErrorCode::InvalidTail, "`tail` is a number of lines from 1 to 10000"));
    }
    let which = Which::named(id);
    Ok(Envelope::of(homelab.marketplace.logs(&caller, &which, service.as_deref(), Some(tail)).await?))
}
