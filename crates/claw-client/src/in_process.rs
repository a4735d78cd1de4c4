//! A server in the same process: requests and answers without a connection between them.

use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
pub use reqwest::Body;
use reqwest::{Request, Response, StatusCode};

/// Answers requests as a server would, in this process.
///
/// What the server knows of a connection (the address of who is asking) is for the implementation to add.
pub trait InProcess: Send + Sync {
    /// Answers one request. What goes wrong inside is an answer with a status of the 500s.
    fn answer(&self, request: http::Request<Bytes>) -> BoxFuture<'_, http::Response<Body>>;
}

/// Has `inside` answer, within the time that the request allows.
pub(crate) async fn answer(inside: &dyn InProcess, request: Request) -> Response {
    let limit = request.timeout().copied().unwrap_or(Duration::MAX);
    let (mut parts, body) = plain(request).into_parts();
    // A server sees the path and the query of a request; where it went is in `Host`.
    if let Some(authority) = parts.uri.authority().map(|authority| authority.as_str().to_owned()) {
        if let Ok(host) = http::HeaderValue::try_from(authority) {
            parts.headers.entry(http::header::HOST).or_insert(host);
        }
        let path = parts.uri.path_and_query().cloned();
        parts.uri = path.map(http::Uri::from).unwrap_or_default();
    }
    let answering = inside.answer(http::Request::from_parts(parts, body));
    match tokio::time::timeout(limit, answering).await {
        Ok(response) => Response::from(response),
        Err(_elapsed) => {
            let mut late = http::Response::new(Body::from("the server did not answer in time"));
            *late.status_mut() = StatusCode::GATEWAY_TIMEOUT;
            Response::from(late)
        }
    }
}

/// The request with its body as bytes. Bodies of this client are bytes always: it sends no streams.
fn plain(request: Request) -> http::Request<Bytes> {
    let body = request.body().and_then(Body::as_bytes).map(Bytes::copy_from_slice).unwrap_or_default();
    let mut out = http::Request::new(body);
    *out.method_mut() = request.method().clone();
    *out.headers_mut() = request.headers().clone();
    *out.uri_mut() = request.url().as_str().parse().unwrap_or_default();
    out
}
