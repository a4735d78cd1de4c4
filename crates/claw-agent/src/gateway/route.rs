//! The few things an agent may ask of the model API.

use hyper::{Method, Uri};

/// What becomes of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Route {
    /// A request to the model: passed on.
    Message,
    /// Another harmless request: passed on.
    Lookup,
    /// The CLI looks whether anybody is there; the gateway answers that itself.
    Probe,
    /// Everything else a credential could do, such as files, batches and administration.
    Refused,
}

impl Route {
    /// Decides by method and exact path. The path is not decoded first, so no other spelling of a path gets through.
    pub(super) fn of(method: &Method, uri: &Uri) -> Self {
        match (method.as_str(), uri.path()) {
            ("POST", "/v1/messages") => Self::Message,
            ("POST", "/v1/messages/count_tokens") | ("GET", "/v1/models") => Self::Lookup,
            ("GET", path) if path.strip_prefix("/v1/models/").is_some_and(is_model_id) => Self::Lookup,
            ("HEAD", "/" | "/api/hello") => Self::Probe,
            _ => Self::Refused,
        }
    }
}

fn is_model_id(text: &str) -> bool {
    (1..=128).contains(&text.len())
        && text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "-_.:@".contains(c))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(method: Method, uri: &str, expected: Route) {
        assert_eq!(Route::of(&method, &uri.parse().expect("a URI")), expected, "{method} {uri}");
    }

    #[test]
    fn only_messages_models_and_probes_pass() {
        check(Method::POST, "/v1/messages?beta=true", Route::Message);
        check(Method::POST, "http://elsewhere/v1/messages", Route::Message);
        check(Method::POST, "/v1/messages/count_tokens", Route::Lookup);
        check(Method::GET, "/v1/models", Route::Lookup);
        check(Method::GET, "/v1/models/claude-opus-5-5", Route::Lookup);
        check(Method::HEAD, "/", Route::Probe);
        check(Method::HEAD, "/api/hello", Route::Probe);
    }

    #[test]
    fn other_routes_methods_and_spellings_are_refused() {
        for uri in [
            "/v1/files",
            "/v1/messages/batches",
            "/v1/organizations/me",
            "/api/oauth/profile",
            "/",
            "/v1/messages/",
        ] {
            check(Method::GET, uri, Route::Refused);
            check(Method::POST, uri, Route::Refused);
        }
        for uri in [
            "/v1/models/",
            "/v1/models/..",
            "/v1/models/a/b",
            "/v1/models/%2e%2e",
            "//v1/models",
            "/v1/../v1/models",
        ] {
            check(Method::GET, uri, Route::Refused);
        }
        check(Method::GET, "/v1/messages", Route::Refused);
        check(Method::PUT, "/v1/messages", Route::Refused);
        check(Method::DELETE, "/v1/models/x", Route::Refused);
        check(Method::CONNECT, "example.org:443", Route::Refused);
    }

    proptest! {
        #![proptest_config(crate::fuzz::cases())]

        #[test]
        fn fuzz_only_exact_paths_pass(method in "GET|POST|HEAD|PUT", path in "(/|/v1|/messages|/models|/count_tokens|[ -~]{0,4}){0,4}") {
            let (Ok(method), Ok(uri)) = (method.parse::<Method>(), path.parse::<Uri>()) else { return Ok(()) };
            let plain = path.split(['?', '#']).next().unwrap_or_default();
            match Route::of(&method, &uri) {
                Route::Message => prop_assert!(method == Method::POST && uri.path() == "/v1/messages"),
                Route::Lookup if method == Method::POST => prop_assert_eq!(uri.path(), "/v1/messages/count_tokens"),
                Route::Lookup => prop_assert!(plain.ends_with(uri.path()) && uri.path().starts_with("/v1/models")),
                Route::Probe => prop_assert!(method == Method::HEAD),
                Route::Refused => {}
            }
        }
    }
}
