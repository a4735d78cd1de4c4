//! What happens around every request: a request id, the host and origin checks, CORS, security headers, the shape of
//! errors.

use std::{
    panic::AssertUnwindSafe,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use axum::{
    extract::{Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use claw_core::ErrorCode;
use futures_util::FutureExt as _;
use tracing::Instrument as _;
use uuid::Uuid;

use crate::{
    app::Server,
    error::{self, ApiError, Dialect},
    extract::Connection,
    feed,
    hosts::Provenance,
    measures,
};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");

const CORS_METHODS: HeaderValue = HeaderValue::from_static("GET, POST, PUT, PATCH, DELETE");
const CORS_HEADERS: HeaderValue = HeaderValue::from_static(
    "content-type, accept, authorization, x-api-key, idempotency-key, last-event-id, mcp-session-id, \
     mcp-protocol-version, mcp-method, mcp-name",
);
const CORS_EXPOSED: HeaderValue = HeaderValue::from_static("x-request-id, retry-after, mcp-session-id");
const CORS_MAX_AGE: HeaderValue = HeaderValue::from_static("600");

/// Headers that every answer gets, and that the connection adds, so that room is made for them once.
const ADDED_HEADERS: usize = 10;

/// Longest target of a request: a path in a workspace with every byte percent-encoded, and a query.
const MAX_TARGET_BYTES: usize = 16 * 1024;

/// Nothing of ours may be framed or load anything, unless a page says what it needs.
const STRICT_CSP: HeaderValue = HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'");

/// Names the request in answers, logs and the audit trail.
#[derive(Clone)]
pub(crate) struct RequestId(pub(crate) Arc<str>);

/// Makes names for requests: no secrets, only different each time, also after a restart.
pub(crate) struct RequestIds {
    start: u64,
    next: AtomicU64,
}

impl RequestIds {
    pub(crate) fn new() -> Self {
        Self { start: Uuid::new_v4().as_u64_pair().0, next: AtomicU64::new(0) }
    }

    fn next(&self) -> RequestId {
        // Relaxed: the number alone counts, nothing is read on the strength of it.
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let mut name = [0; 32];
        Uuid::from_u64_pair(self.start, number).simple().encode_lower(&mut name);
        RequestId(std::str::from_utf8(&name).unwrap_or_default().into())
    }
}

/// Handles one request.
pub(crate) async fn around(State(server): State<Server>, mut request: Request, next: Next) -> Response {
    let id = server.request_ids().next();
    request.extensions_mut().insert(id.clone());
    let route = measures::route_of(&request);
    let method = request.method().clone();
    let dialect = Dialect::of(request.uri().path());
    let span = tracing::info_span!(
        "request",
        request.id = &*id.0,
        method = request.method().as_str(),
        path = request.uri().path(),
    );
    let told = feed::begin(&mut request, dialect);
    async {
        let started = tokio::time::Instant::now();
        let response = checked(&server, request, next).await;
        let took = started.elapsed();
        if let Some(told) = told {
            told.end(&server, &response, took);
        }
        let mut response = error::render(dialect, response);
        add_headers(response.headers_mut(), &id);
        log(response.status(), took);
        server.measures().answered(route, &method, response.status(), took);
        response
    }
    .instrument(span)
    .await
}

async fn checked(server: &Server, request: Request, next: Next) -> Response {
    let (mut parts, body) = request.into_parts();
    if let Some(connection) = parts.extensions.get_mut::<Connection>() {
        connection.client = server.proxies().client(connection.client, &parts.headers);
    }
    if parts.uri.path().len() + parts.uri.query().map_or(0, str::len) > MAX_TARGET_BYTES {
        let message = format!("the address of the request is longer than {MAX_TARGET_BYTES} bytes");
        return ApiError::invalid(message).into_response();
    }
    let provenance = match server.hosts().check(&parts) {
        Ok(provenance) => provenance,
        Err(error) => return error.into_response(),
    };
    let origin = match &provenance {
        Provenance::Configured(origin) => Some(origin.clone()),
        Provenance::Unstated | Provenance::SameOrigin => None,
    };
    let mut response = if parts.method == Method::OPTIONS {
        // Asked what is possible, nothing is done: neither with nor without a credential.
        StatusCode::NO_CONTENT.into_response()
    } else {
        parts.extensions.insert(provenance);
        let run = next.run(Request::from_parts(parts, body));
        // A handler that panics must cost one request and tell as much as any other failure.
        AssertUnwindSafe(run).catch_unwind().await.unwrap_or_else(|_panic| {
            tracing::error!("a handler panicked");
            ApiError::new(ErrorCode::Internal, "something broke on the server; its log tells what")
                .into_response()
        })
    };
    add_cors(response.headers_mut(), origin);
    response
}

fn add_cors(headers: &mut HeaderMap, origin: Option<HeaderValue>) {
    headers.append(header::VARY, HeaderValue::from_static("Origin"));
    let Some(origin) = origin else { return };
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    headers.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
    headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, CORS_METHODS);
    headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, CORS_HEADERS);
    headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, CORS_EXPOSED);
    headers.insert(header::ACCESS_CONTROL_MAX_AGE, CORS_MAX_AGE);
    headers.insert(RESOURCE_POLICY, HeaderValue::from_static("cross-origin"));
}

fn add_headers(headers: &mut HeaderMap, id: &RequestId) {
    headers.reserve(ADDED_HEADERS);
    let mut or_insert = |name: HeaderName, value: HeaderValue| {
        headers.entry(name).or_insert(value);
    };
    or_insert(header::CONTENT_SECURITY_POLICY, STRICT_CSP);
    or_insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    or_insert(header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    or_insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    or_insert(RESOURCE_POLICY, HeaderValue::from_static("same-origin"));
    or_insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    // Hexadecimal digits always make a header value.
    if let Ok(id) = HeaderValue::from_str(&id.0) {
        or_insert(REQUEST_ID, id);
    }
}

fn log(status: StatusCode, took: Duration) {
    let (status, took_ms) = (status.as_u16(), took.as_millis());
    if status >= 500 {
        tracing::warn!(status, took_ms, "answered");
    } else {
        tracing::debug!(status, took_ms, "answered");
    }
}
