//! What is measured about requests, and the two routes for those who watch the server: `/metrics` and `/ready`.

use std::{
    collections::HashMap,
    sync::{Arc, OnceLock, PoisonError, RwLock},
    time::Duration,
};

use axum::{
    extract::{FromRequestParts as _, MatchedPath, Request, State},
    http::{Method, StatusCode, header, request::Parts},
    response::{IntoResponse, Response},
};
use claw_core::{Action, ErrorCode, Resource};
use metrics::{Counter, Histogram};
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
pub(crate) fn route_of(request: &Request) -> Option<MatchedPath> {
    request.extensions().get().cloned()
}

/// Methods that are told apart; the last stands for all others.
const METHODS: [&str; 8] = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "other"];

/// Classes of statuses.
const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

/// What is counted of one route.
struct RouteMeasures {
    seconds: Histogram,
    /// For each method and class that there was.
    requests: [[OnceLock<Counter>; CLASSES.len()]; METHODS.len()],
}

/// Counts answers. Holds on to the counters, since finding one by its labels costs more than counting.
#[derive(Default)]
pub(crate) struct Measures {
    // A std lock: held for a look-up, never across an await. As many routes as the router has, and one for none.
    routes: RwLock<HashMap<String, Arc<RouteMeasures>>>,
}

impl Measures {
    /// Counts an answer.
    pub(crate) fn answered(
        &self,
        route: Option<MatchedPath>,
        method: &Method,
        status: StatusCode,
        took: Duration,
    ) {
        let route = route.as_ref().map_or("none", MatchedPath::as_str);
        let measures = self.of(route);
        measures.seconds.record(took.as_secs_f64());
        let method = METHODS.iter().position(|known| *known == method.as_str()).unwrap_or(METHODS.len() - 1);
        let class = usize::from(status.as_u16() / 100).clamp(1, CLASSES.len()) - 1;
        let counter = measures.requests[method][class].get_or_init(|| {
            metrics::counter!(
                "claw_http_requests_total",
                "route" => route.to_owned(), "method" => METHODS[method], "status_class" => CLASSES[class],
            )
        });
        counter.increment(1);
    }

    fn of(&self, route: &str) -> Arc<RouteMeasures> {
        if let Some(known) = self.routes.read().unwrap_or_else(PoisonError::into_inner).get(route) {
            return Arc::clone(known);
        }
        let seconds = metrics::histogram!("claw_http_seconds", "route" => route.to_owned());
        let new = Arc::new(RouteMeasures { seconds, requests: Default::default() });
        let mut routes = self.routes.write().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(routes.entry(route.to_owned()).or_insert(new))
    }
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
