//! What is measured about requests, and the two routes for those who watch the server: `/metrics` and `/ready`.

use std::time::Duration;

use axum::{
    extract::{FromRequestParts as _, MatchedPath, Request, State},
    http::{Method, StatusCode, header, request::Parts},
    response::{IntoResponse, Response},
};
use claw_core::{Action, ErrorCode, Resource};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    app::{MetricsAccess, Server},
    error::{ApiError, ApiResult},
    extract::{AfterSetup, Caller, Connection, Json},
};

/// What the text format of Prometheus is called.
const PROMETHEUS: &str = "text/plain; version=0.0.4; charset=utf-8";

pub(crate) fn routes() -> OpenApiRouter<Server> {
    OpenApiRouter::default().routes(routes!(get_metrics)).routes(routes!(get_ready))
}

/// Returns the pattern of the request's route, so that what clients put into paths makes no label.
pub(crate) fn route_of(request: &Request) -> String {
    request.extensions().get::<MatchedPath>().map_or("none", MatchedPath::as_str).to_owned()
}

/// Counts an answer.
pub(crate) fn answered(route: String, method: &Method, status: StatusCode, took: Duration) {
    let method = match *method {
        Method::GET => "GET",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::HEAD => "HEAD",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    };
    let class = match status.as_u16() / 100 {
        2 => "2xx",
        3 => "3xx",
        4 => "4xx",
        5 => "5xx",
        _ => "1xx",
    };
    metrics::histogram!("claw_http_seconds", "route" => route.clone()).record(took.as_secs_f64());
    metrics::counter!("claw_http_requests_total", "route" => route, "method" => method, "status_class" => class)
        .increment(1);
}

/// Something that is open, counted by a gauge until it is dropped.
pub(crate) struct Counted(&'static str);

impl Counted {
    /// Counts one more.
    pub(crate) fn new(gauge: &'static str) -> Self {
        metrics::gauge!(gauge).increment(1.0);
        Self(gauge)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        metrics::gauge!(self.0).decrement(1.0);
    }
}

/// Read the metrics
///
/// In the text format of Prometheus. By default programs on this machine may read them, and administrators from
/// anywhere; the setting `telemetry.metrics` changes that.
#[utoipa::path(
    get, path = "/metrics", tag = "status",
    responses(
        (status = 200, description = "The metrics.", body = String, content_type = "text/plain"),
        (status = 401, description = "`API_KEY_REQUIRED`, `INVALID_KEY`"),
        (status = 403, description = "`SCOPE_REQUIRED`: only administrators may read them from there."),
        (status = 404, description = "`ROUTE_NOT_FOUND`: the metrics are switched off."),
    ),
)]
async fn get_metrics(
    _after_setup: AfterSetup,
    State(server): State<Server>,
    request: Request,
) -> ApiResult<Response> {
    let (mut parts, _body) = request.into_parts();
    let admitted = match server.config().metrics {
        MetricsAccess::Nobody => {
            let message = "the metrics are switched off: see the setting `telemetry.metrics`";
            return Err(ApiError::new(ErrorCode::RouteNotFound, message));
        }
        MetricsAccess::Everyone => true,
        MetricsAccess::Local => is_local(&parts),
        MetricsAccess::Administrators => false,
    };
    if !admitted {
        let caller = Caller::from_request_parts(&mut parts, &server).await?;
        server.gate().permit(&caller, Action::ConfigRead, &Resource::Any)?;
    }
    Ok(([(header::CONTENT_TYPE, PROMETHEUS)], server.probes().metrics().await).into_response())
}

/// Tells whether a program on this machine asks, and not a page in its browser or a proxy for someone else.
fn is_local(parts: &Parts) -> bool {
    let through = ["origin", "sec-fetch-site", "x-forwarded-for", "forwarded", "via"];
    Connection::of(parts).client.is_loopback()
        && !through.iter().any(|name| parts.headers.contains_key(*name))
}

/// Whether new work is taken.
#[derive(Serialize, ToSchema)]
struct ReadyView {
    /// Whether it is.
    ready: bool,
    /// Why not, for programs on this machine and administrators.
    reasons: Vec<String>,
}

/// Tell whether new work is taken
///
/// Public, for load balancers and alerts: the store writes, jobs are claimed, and there is room on the disk. Why not is
/// told to programs on this machine and to administrators.
#[utoipa::path(
    get, path = "/ready", tag = "status",
    responses(
        (status = 200, description = "It is.", body = ReadyView),
        (status = 401, description = "`SETUP_REQUIRED`"),
        (status = 503, description = "It is not.", body = ReadyView),
    ),
)]
async fn get_ready(_after_setup: AfterSetup, State(server): State<Server>, request: Request) -> Response {
    let mut reasons = server.not_ready().await;
    let ready = reasons.is_empty();
    if !ready {
        let (mut parts, _body) = request.into_parts();
        let told = is_local(&parts)
            || match Caller::from_request_parts(&mut parts, &server).await {
                Ok(caller) => caller.is_admin(),
                Err(_) => false,
            };
        if !told {
            reasons.clear();
        }
    }
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(ReadyView { ready, reasons })).into_response()
}
