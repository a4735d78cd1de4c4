//! Paths that begin with several slashes: clients append a path to an address that ends in one.

use axum::{
    Router,
    body::Body,
    extract::Request,
    http::{Uri, uri::PathAndQuery},
};
use tower::ServiceExt as _;

/// Returns the router, so that it takes `//api/x` for `/api/x`. A redirect would make another request of some.
pub(crate) fn forgiving(router: Router) -> Router {
    let inner = router.clone();
    // Only what has no route comes here, so that all others go the shorter way.
    router.fallback(move |request: Request<Body>| {
        let inner = inner.clone();
        async move {
            let Ok(response) = inner.oneshot(with_one_slash(request)).await;
            response
        }
    })
}

fn with_one_slash(mut request: Request<Body>) -> Request<Body> {
    let uri = request.uri();
    let Some(target) =
        uri.path_and_query().map(PathAndQuery::as_str).filter(|target| target.starts_with("//"))
    else {
        return request;
    };
    let target = format!("/{}", target.trim_start_matches('/'));
    let mut parts = uri.clone().into_parts();
    if let Ok(target) = target.parse() {
        parts.path_and_query = Some(target);
        if let Ok(uri) = Uri::from_parts(parts) {
            *request.uri_mut() = uri;
        }
    }
    request
}
