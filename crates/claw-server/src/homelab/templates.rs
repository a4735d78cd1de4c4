//! Templates.

use std::collections::BTreeMap;

use axum::{
    extract::State,
    response::{IntoResponse as _, Response},
};
use claw_core::Timestamp;
use claw_homelab::{Deployed, Homelab, marketplace::ServiceState};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    containers::ContainerView,
    view::{DoneView, Envelope},
};
use crate::{
    app::Server,
    error::ApiResult,
    extract::{Caller, Json, Name, Query, RawJson},
};

pub(super) fn routes() -> OpenApiRouter<Server> {
    OpenApiRouter::default()
        .routes(routes!(list_templates, save_template))
        .routes(routes!(get_template, delete_template))
        .routes(routes!(deploy_template))
}

/// List templates
///
/// As they were saved.
#[utoipa::path(
    get, path = "/api/containers/templates", tag = "templates",
    responses((status = 200, description = "The templates.", body = Envelope<Vec<Object>>)),
    extensions(("x-scope" = json!("templates:read"))),
)]
async fn list_templates(caller: Caller, State(homelab): State<Homelab>) -> ApiResult<Envelope<Vec<Value>>> {
    Ok(Envelope::of(homelab.templates.list(&caller).await?))
}

/// How to save.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct SaveQuery {
    /// Whether one of the same name is replaced.
    #[serde(default = "yes")]
    #[param(default = true)]
    overwrite: bool,
}

fn yes() -> bool {
    true
}

/// A template that was saved.
#[derive(Serialize, ToSchema)]
struct SavedView {
    /// Always `saved`.
    status: &'static str,
    /// Its name.
    name: String,
    /// Whether another one of that name was replaced.
    replaced: bool,
}

/// Save a template
///
/// Any JSON object with a `name`. One that describes a container can be deployed.
#[utoipa::path(
    post, path = "/api/containers/templates", tag = "templates",
    params(SaveQuery),
    request_body = Object,
    responses(
        (status = 200, description = "It is saved.", body = Envelope<SavedView>),
        (status = 400, description = "`INVALID_REQUEST`, `INVALID_TEMPLATE_NAME`"),
        (status = 409, description = "`CONFLICT`: there is one, and it was not to be replaced."),
        (status = 507, description = "`STORAGE_FULL`: as many as there may be."),
    ),
    extensions(("x-scope" = json!("templates:write"))),
)]
async fn save_template(
    caller: Caller,
    State(homelab): State<Homelab>,
    Query(SaveQuery { overwrite }): Query<SaveQuery>,
    RawJson(body): RawJson,
) -> ApiResult<Envelope<SavedView>> {
    let saved = homelab.templates.save(&caller, &body, !overwrite).await?;
    Ok(Envelope::of(SavedView { status: "saved", name: saved.name, replaced: saved.replaced }))
}

/// Get a template
#[utoipa::path(
    get, path = "/api/containers/templates/{name}", tag = "templates",
    params(("name" = String, Path, description = "Its name.")),
    responses(
        (status = 200, description = "The template as it was saved.", body = Envelope<Object>),
        (status = 404, description = "`NOT_FOUND`"),
    ),
    extensions(("x-scope" = json!("templates:read"))),
)]
async fn get_template(
    caller: Caller,
    State(homelab): State<Homelab>,
    Name(name): Name,
) -> ApiResult<Envelope<Value>> {
    Ok(Envelope::of(homelab.templates.get(&caller, &name).await?))
}

/// Delete a template
///
/// What was deployed from it stays.
#[utoipa::path(
    delete, path = "/api/containers/templates/{name}", tag = "templates",
    params(("name" = String, Path, description = "Its name.")),
    responses(
        (status = 200, description = "It is gone.", body = Envelope<DoneView>),
        (status = 404, description = "`NOT_FOUND`"),
    ),
    extensions(("x-scope" = json!("templates:write"))),
)]
async fn delete_template(
    caller: Caller,
    State(homelab): State<Homelab>,
    Name(name): Name,
) -> ApiResult<Envelope<DoneView>> {
    homelab.templates.delete(&caller, &name).await?;
    Ok(DoneView::of("deleted"))
}

/// What was deployed.
#[derive(Serialize, ToSchema)]
struct DeployedView<'a> {
    /// The container; of several, the main one.
    #[serde(flatten)]
    container: ContainerView<'a>,
    /// Of several services: their install, to be stopped, started and uninstalled like those of the marketplace.
    #[serde(skip_serializing_if = "Option::is_none")]
    install_id: Option<&'a str>,
    /// Of several services: all of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    services: Option<Vec<DeployedServiceView<'a>>>,
}

/// A service of what was deployed.
#[derive(Serialize, ToSchema)]
struct DeployedServiceView<'a> {
    /// Its name.
    name: &'a str,
    /// Name of its container.
    container_name: &'a str,
    /// Full id of its container.
    #[serde(skip_serializing_if = "Option::is_none")]
    container_id: Option<&'a str>,
    /// The Engine's word for how it is.
    state: &'a str,
}

impl<'a> DeployedView<'a> {
    fn of(deployed: &'a Deployed, now: Timestamp) -> Self {
        let Deployed { container, install } = deployed;
        let service = |service: &'a ServiceState| DeployedServiceView {
            name: &service.name,
            container_name: &service.container_name,
            container_id: service.container_id.as_deref(),
            state: &service.state,
        };
        Self {
            container: ContainerView::of(container, now),
            install_id: install.as_ref().map(|install| install.install_id.as_str()),
            services: install.as_ref().map(|install| install.services.iter().map(service).collect()),
        }
    }
}

/// How to deploy.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct DeployBody {
    /// Another name for the container than the template says; of several services, for their install.
    name: Option<String>,
    /// Values of the variables that its compose file names.
    #[serde(default)]
    variables: BTreeMap<String, String>,
}

/// Deploy a template
///
/// Makes and starts the container that it describes. Needs `containers:write` too, and the policy judges it like any other
/// container. The services of a compose file with several become an install, which `/api/marketplace/stop`, `start`,
/// `restart` and `uninstall` take by its `install_id`.
#[utoipa::path(
    post, path = "/api/containers/templates/{name}/deploy", tag = "templates",
    params(("name" = String, Path, description = "Its name.")),
    request_body = DeployBody,
    responses(
        (status = 200, description = "The container, which runs.", body = Envelope<DeployedView<'static>>),
        (status = 400, description = "`INVALID_REQUEST`: it describes no container; `INVALID_COMPOSE_FILE`, `VARIABLES_REQUIRED`, `INVALID_NAME`, `INVALID_IMAGE`, `INVALID_PORT`, `INVALID_ENV`, `INVALID_VOLUME_TARGET`"),
        (status = 403, description = "`SCOPE_REQUIRED`, `POLICY_REFUSED`, `BLOCKED_VOLUME`, `PROTECTED`, `ORIGIN_NOT_ALLOWED`"),
        (status = 404, description = "`NOT_FOUND`: there is no such template, or the registry has no such image."),
        (status = 409, description = "`NAME_TAKEN`, `CONFLICT`"),
        (status = 422, description = "`INVALID_BODY`: a field has the wrong type, or is unknown."),
        (status = 502, description = "`IMAGE_PULL_FAILED`; `COMPOSE_UP_FAILED`, with the reason."),
        (status = 503, description = "`DOCKER_ERROR`: the Docker Engine does not answer or refused; `STORE_UNAVAILABLE`"),
    ),
    extensions(("x-scope" = json!("templates:write"))),
)]
async fn deploy_template(
    caller: Caller,
    State(homelab): State<Homelab>,
    Name(template): Name,
    Json(DeployBody { name, variables }): Json<DeployBody>,
) -> ApiResult<Response> {
    let made = homelab.templates.deploy(&caller, &template, name.as_deref(), &variables).await?;
    Ok(Envelope::of(DeployedView::of(&made, homelab.now())).into_response())
}
