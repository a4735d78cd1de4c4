//! Which headers pass, and how the credential gets in.

use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};

use super::credential::Credential;

/// Headers that belong to one connection (RFC 9110 section 7.6.1).
const HOP_BY_HOP: [&str; 9] = [
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Headers of a request that we set ourselves or that could pass for another credential or sender.
const NOT_UPSTREAM: [&str; 11] = [
    "x-api-key",
    "authorization",
    "cookie",
    "host",
    "content-length",
    "expect",
    "forwarded",
    "via",
    "x-real-ip",
    // Answers stay readable for us: error texts now, usage metering later.
    "accept-encoding",
    "x-should-retry",
];

/// Headers of an answer that are not the agent's business, or that we set ourselves.
const NOT_DOWNSTREAM: [&str; 6] = [
    "set-cookie",
    "content-length",
    "location",
    "alt-svc",
    "anthropic-organization-id",
    "strict-transport-security",
];

/// What the API wants to see along with a token of the Claude login.
const OAUTH_BETA: &str = "oauth-2025-04-20";

/// Returns the headers of the agent's request that go upstream, with the credential put in.
///
/// `None` if the credential holds characters that no header may have.
pub(super) fn upstream_headers(incoming: &HeaderMap, credential: &Credential) -> Option<HeaderMap> {
    let mut headers = passing(incoming, &NOT_UPSTREAM);
    headers.retain_names(|name| !name.starts_with("x-forwarded-"));
    let sensitive = |text: String| {
        let mut value = HeaderValue::try_from(text).ok()?;
        value.set_sensitive(true);
        Some(value)
    };
    match credential {
        Credential::ApiKey(key) => {
            headers.insert("x-api-key", sensitive(key.expose().to_owned())?);
        }
        Credential::Bearer(token) => {
            headers.insert(header::AUTHORIZATION, sensitive(format!("Bearer {}", token.expose()))?);
        }
        Credential::Oauth(token) => {
            headers.insert(header::AUTHORIZATION, sensitive(format!("Bearer {}", token.expose()))?);
            append_beta(&mut headers);
        }
    }
    Some(headers)
}

/// Returns the headers of the API's answer that go to the agent.
pub(super) fn downstream_headers(incoming: &HeaderMap) -> HeaderMap {
    passing(incoming, &NOT_DOWNSTREAM)
}

fn passing(incoming: &HeaderMap, stopped: &[&str]) -> HeaderMap {
    let named_by_connection: Vec<String> = incoming
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(',').map(|name| name.trim().to_ascii_lowercase()))
        .collect();
    let passes = |name: &HeaderName| {
        let name = name.as_str();
        !HOP_BY_HOP.contains(&name)
            && !stopped.contains(&name)
            && !named_by_connection.iter().any(|n| n == name)
    };
    incoming
        .iter()
        .filter(|(name, _)| passes(name))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect()
}

fn append_beta(headers: &mut HeaderMap) {
    let name = HeaderName::from_static("anthropic-beta");
    let mut betas: Vec<String> =
        headers.get_all(&name).iter().filter_map(|value| value.to_str().ok()).map(str::to_owned).collect();
    if !betas.iter().flat_map(|value| value.split(',')).any(|beta| beta.trim() == OAUTH_BETA) {
        betas.push(OAUTH_BETA.to_owned());
    }
    // Header values that were readable as text stay valid when joined.
    if let Ok(value) = HeaderValue::try_from(betas.join(",")) {
        headers.insert(name, value);
    }
}

trait RetainNames {
    fn retain_names(&mut self, keep: impl Fn(&str) -> bool);
}

impl RetainNames for HeaderMap {
    fn retain_names(&mut self, keep: impl Fn(&str) -> bool) {
        let dropped: Vec<HeaderName> = self.keys().filter(|name| !keep(name.as_str())).cloned().collect();
        for name in dropped {
            self.remove(name);
        }
    }
}

#[cfg(test)]
mod tests {
    use claw_core::Secret;

    use super::*;

    fn map(headers: &[(&'static str, &'static str)]) -> HeaderMap {
        let pairs = headers
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
        let mut map = HeaderMap::new();
        pairs.for_each(|(name, value)| {
            map.append(name, value);
        });
        map
    }

    #[test]
    fn only_the_gateways_credential_goes_upstream() {
        let incoming = map(&[
            ("x-api-key", "stolen"),
            ("authorization", "Bearer stolen"),
            ("cookie", "a=b"),
            ("proxy-authorization", "x"),
            ("connection", "keep-alive, X-Named"),
            ("x-named", "x"),
            ("x-forwarded-for", "x"),
            ("host", "localhost"),
            ("transfer-encoding", "chunked"),
            ("accept-encoding", "gzip"),
            ("anthropic-version", "2023-06-01"),
            ("x-app", "cli"),
        ]);

        let headers = upstream_headers(&incoming, &Credential::ApiKey(Secret::new("real")));

        let expected = map(&[("anthropic-version", "2023-06-01"), ("x-app", "cli"), ("x-api-key", "real")]);
        assert_eq!(headers, Some(expected));
    }

    #[test]
    fn a_login_token_goes_along_with_its_beta_once() {
        let token = Credential::Oauth(Secret::new("t"));
        let beta = |incoming: &[(&'static str, &'static str)]| {
            let headers = upstream_headers(&map(incoming), &token).expect("headers");
            headers["anthropic-beta"].to_str().expect("text").to_owned()
        };

        assert_eq!(beta(&[]), OAUTH_BETA);
        assert_eq!(
            beta(&[("anthropic-beta", "a,b"), ("anthropic-beta", "c")]),
            format!("a,b,c,{OAUTH_BETA}")
        );
        assert_eq!(beta(&[("anthropic-beta", "a, oauth-2025-04-20")]), "a, oauth-2025-04-20");
    }

    #[test]
    fn the_credential_is_marked_so_that_debug_output_hides_it() {
        for credential in [Credential::ApiKey(Secret::new("hush")), Credential::Bearer(Secret::new("hush"))] {
            let headers = upstream_headers(&HeaderMap::new(), &credential).expect("headers");

            assert!(!format!("{headers:?}").contains("hush"));
        }
    }

    #[test]
    fn a_credential_that_no_header_can_hold_is_refused() {
        assert_eq!(upstream_headers(&HeaderMap::new(), &Credential::ApiKey(Secret::new("a\nb"))), None);
    }

    #[test]
    fn cookies_and_the_organization_stay_on_this_side() {
        let incoming = map(&[
            ("set-cookie", "a"),
            ("anthropic-organization-id", "o"),
            ("connection", "close"),
            ("request-id", "r"),
            ("retry-after", "3"),
        ]);

        assert_eq!(downstream_headers(&incoming), map(&[("request-id", "r"), ("retry-after", "3")]));
    }
}
