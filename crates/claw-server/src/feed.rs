//! Requests in the homelab's dialect, told to the activity feed.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use axum::{
    extract::Request,
    http::{Method, StatusCode},
    response::Response,
};
use claw_core::{Actor, ErrorCode};
use claw_gate::Credential;
use claw_homelab::{ApiCall, INVALID_KEY, UNAUTHENTICATED};

use crate::{
    app::Server,
    error::{ApiError, Dialect},
};

/// Characters at the end of a key by which people tell keys apart.
const TAIL_CHARS: usize = 8;

/// What pages and agents ask for all the time, and that tells nothing about what anybody does.
const UNTOLD_READS: [&str; 7] = [
    "/api/metrics/summary",
    "/api/auth/status",
    "/api/system/info",
    "/api/system/metrics",
    "/api/containers",
    "/api/marketplace",
    "/api/openapi.json",
];

/// Who sent a request, once that is known.
#[derive(Clone, Default)]
pub(crate) struct Seen(Arc<OnceLock<Who>>);

struct Who {
    agent: String,
    actor: String,
}

impl Seen {
    pub(crate) fn note(&self, actor: &Actor, credential: &Credential) {
        let owner = actor.owner();
        let agent = match credential {
            Credential::ApiKey(key) | Credential::Bearer(key) if owner.starts_with("key:") => {
                let key = key.expose();
                let start = key.char_indices().rev().nth(TAIL_CHARS - 1).map_or(0, |(at, _)| at);
                key[start..].to_owned()
            }
            _ => owner.clone(),
        };
        // The first one counts; there is no second one.
        let _ = self.0.set(Who { agent, actor: owner });
    }
}

/// A request that will be told of.
pub(crate) struct Told {
    seen: Seen,
    method: Method,
    path: String,
}

/// Begins to tell of a request, if it is one that is told of.
pub(crate) fn begin(request: &mut Request, dialect: Dialect) -> Option<Told> {
    let (method, path) = (request.method(), request.uri().path());
    let is_untold = dialect == Dialect::Plain
        || method == Method::OPTIONS
        || (matches!(*method, Method::GET | Method::HEAD) && UNTOLD_READS.contains(&path));
    if is_untold {
        return None;
    }
    let told = Told { seen: Seen::default(), method: method.clone(), path: path.to_owned() };
    request.extensions_mut().insert(told.seen.clone());
    Some(told)
}

impl Told {
    /// Tells of the request. `response` is not rendered yet.
    pub(crate) fn end(self, server: &Server, response: &Response, took: Duration) {
        let error = response.extensions().get::<ApiError>();
        let code = error.map(ApiError::code);
        let (agent, actor) = match self.seen.0.get() {
            Some(who) => (who.agent.clone(), who.actor.clone()),
            None if response.status() == StatusCode::UNAUTHORIZED && code == Some(ErrorCode::InvalidKey) => {
                (INVALID_KEY.to_owned(), String::new())
            }
            None => (UNAUTHENTICATED.to_owned(), String::new()),
        };
        server.homelab().activity.api_call(ApiCall {
            agent,
            actor,
            method: self.method.to_string(),
            path: self.path,
            status_code: response.status().as_u16(),
            took,
            code: code.map(|code| code.as_str().to_owned()),
            scope: error.and_then(ApiError::missing_scope),
        });
    }
}

#[cfg(test)]
mod tests {
    use axum::body::Body;

    use super::*;

    #[test]
    fn what_is_asked_for_all_the_time_is_not_told_but_what_changes_something_is() {
        let is_told = |method: Method, path: &str| {
            let mut request =
                Request::builder().method(method).uri(path).body(Body::empty()).expect("a request");
            let dialect = Dialect::of(path);
            begin(&mut request, dialect).is_some()
        };

        for path in UNTOLD_READS {
            assert!(!is_told(Method::GET, path), "{path}");
            assert!(is_told(Method::POST, path), "{path}");
            assert!(!is_told(Method::OPTIONS, path), "{path}");
        }
        assert!(!is_told(Method::GET, "/health"));
        assert!(!is_told(Method::POST, "/api/v1/jobs"));
        assert!(is_told(Method::GET, "/api/containers/x/logs"));
        assert!(is_told(Method::DELETE, "/api/containers/x/delete"));
        assert!(!is_told(Method::OPTIONS, "/api/containers/x/delete"));
    }
}
