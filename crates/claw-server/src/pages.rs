//! The pages for people: how things stand (`/`) and the API reference (`/docs`).
//!
//! Both are rendered here, without a script. Until the dashboard comes they are all there is to see.

mod home;
mod html;
mod reference;

use axum::{
    Router,
    extract::State,
    http::{HeaderMap, HeaderValue, header},
    response::{Html, IntoResponse, Response},
    routing::get,
};
use utoipa::openapi::OpenApi;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{app::Server, v1::overview};

/// Pages load our style sheet and nothing else.
const PAGE_CSP: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
);

const STYLE: &str = include_str!("pages/app.css");
const ICON: &str = include_str!("pages/icon.svg");

/// The API's description, rendered once at start.
pub(crate) struct Reference {
    json: String,
    html: String,
}

impl Reference {
    pub(crate) fn new(document: &OpenApi) -> Self {
        // The document is plain data with text keys, which always serializes.
        let value = serde_json::to_value(document).unwrap_or_default();
        Self { json: value.to_string(), html: reference::page(&value) }
    }
}

/// The one route here that programs use.
pub(crate) fn described() -> OpenApiRouter<Server> {
    OpenApiRouter::default().routes(routes!(get_openapi))
}

/// The routes for people.
pub(crate) fn routes() -> Router<Server> {
    Router::new()
        .route("/", get(home))
        .route("/docs", get(docs))
        .route("/assets/app.css", get(style))
        .route("/assets/icon.svg", get(icon))
}

/// Get the OpenAPI document
///
/// Public, also before set-up.
#[utoipa::path(
    get, path = "/api/openapi.json", tag = "pages",
    responses((status = 200, description = "This document.", body = Object)),
)]
async fn get_openapi(State(server): State<Server>) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], server.reference().json.clone()).into_response()
}

async fn home(State(server): State<Server>, headers: HeaderMap) -> Response {
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or("localhost");
    let view = match server.gate().setup_state().await {
        Ok(state) if state.required => home::View::SetUp,
        Ok(_) => overview(&server).await.map_or(home::View::Unhealthy, home::View::Running),
        Err(_) => home::View::Unhealthy,
    };
    page(home::page(&view, host, &server.config().version))
}

async fn docs(State(server): State<Server>) -> Response {
    page(server.reference().html.clone())
}

async fn style() -> Response {
    asset("text/css; charset=utf-8", STYLE)
}

async fn icon() -> Response {
    asset("image/svg+xml", ICON)
}

fn page(html: String) -> Response {
    ([(header::CONTENT_SECURITY_POLICY, PAGE_CSP)], Html(html)).into_response()
}

fn asset(media_type: &'static str, content: &'static str) -> Response {
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static(media_type)),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-cache")),
    ];
    (headers, content).into_response()
}
