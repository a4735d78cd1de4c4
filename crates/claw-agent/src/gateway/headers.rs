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

/// Headers of a request that go upstream. All others stay: some would pass for another credential or sender, and
/// proxies in front of the API take orders in headers of their own, such as to send the request, and with it our
/// credential, to another host.
const UPSTREAM: [&str; 10] = [
    "accept",
    "accept-language",
    "anthropic-beta",
    "anthropic-dangerous-direct-browser-access",
    "anthropic-version",
    "content-type",
    "idempotency-key",
    "user-agent",
    "x-app",
    "x-client-request-id",
];

/// How further headers of a request begin that go upstream: what the CLI and its client library say about themselves.
const UPSTREAM_PREFIXES: [&str; 2] = ["x-claude-code-", "x-stainless-"];

/// How betas begin that reach beyond the model: the API calls hosts that a request names, fetches pages, runs code, or
/// hands out files and skills of the whole organization.
const REFUSED_BETAS: [&str; 5] = ["mcp-client-", "web-fetch-", "code-execution-", "files-api-", "skills-"];

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
    let mut headers = passing(incoming, |name| {
        UPSTREAM.contains(&name) || UPSTREAM_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
    });
    set_betas(&mut headers, matches!(credential, Credential::Oauth(_)));
    let sensitive = |text: String| {
        let mut value = HeaderValue::try_from(text).ok()?;
        value.set_sensitive(true);
        Some(value)
    };
    match credential {
        Credential::ApiKey(key) => {
            headers.insert("x-api-key", sensitive(key.expose().to_owned())?);
        }
        Credential::Bearer(token) | Credential::Oauth(token) => {
            headers.insert(header::AUTHORIZATION, sensitive(format!("Bearer {}", token.expose()))?);
        }
    }
    Some(headers)
}

/// Returns the headers of the API's answer that go to the agent.
pub(super) fn downstream_headers(incoming: &HeaderMap) -> HeaderMap {
    passing(incoming, |name| !NOT_DOWNSTREAM.contains(&name))
}

fn passing(incoming: &HeaderMap, wanted: impl Fn(&str) -> bool) -> HeaderMap {
    let named_by_connection: Vec<String> = incoming
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(',').map(|name| name.trim().to_ascii_lowercase()))
        .collect();
    let passes = |name: &HeaderName| {
        let name = name.as_str();
        !HOP_BY_HOP.contains(&name) && wanted(name) && !named_by_connection.iter().any(|n| n == name)
    };
    incoming
        .iter()
        .filter(|(name, _)| passes(name))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect()
}

/// Joins the betas that were asked for into one header, without those that are refused and with that of logins.
fn set_betas(headers: &mut HeaderMap, is_login: bool) {
    let name = HeaderName::from_static("anthropic-beta");
    let lines: Vec<String> =
        headers.get_all(&name).iter().filter_map(|value| value.to_str().ok()).map(str::to_owned).collect();
    headers.remove(&name);
    let is_refused = |beta: &str| {
        let beta = beta.to_ascii_lowercase();
        REFUSED_BETAS.iter().any(|prefix| beta.starts_with(prefix))
    };
    let asked = lines.iter().flat_map(|line| line.split(',')).map(str::trim);
    let mut betas: Vec<&str> = asked.filter(|beta| !beta.is_empty() && !is_refused(beta)).collect();
    if is_login && !betas.contains(&OAUTH_BETA) {
        betas.push(OAUTH_BETA);
    }
    // Header values that were readable as text stay valid when joined.
    if !betas.is_empty()
        && let Ok(value) = HeaderValue::try_from(betas.join(","))
    {
        headers.insert(name, value);
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
    fn headers_that_steer_a_proxy_do_not_pass() {
        // A proxy in front of the API would obey them with our credential in its hands.
        let incoming = map(&[
            ("x-portkey-custom-host", "https://evil.example"),
            ("helicone-target-url", "https://evil.example"),
            ("x-original-url", "/v1/files"),
            ("x-http-method-override", "DELETE"),
            ("api-key", "x"),
            ("x-goog-api-key", "x"),
            ("true-client-ip", "127.0.0.1"),
            ("content-encoding", "gzip"),
            ("anthropic-workspace-id", "x"),
        ]);

        let headers = upstream_headers(&incoming, &Credential::ApiKey(Secret::new("real")));

        assert_eq!(headers, Some(map(&[("x-api-key", "real")])));
    }

    #[test]
    fn what_the_cli_sends_about_itself_and_its_request_passes() {
        let cli = [
            ("accept", "application/json"),
            ("content-type", "application/json"),
            ("user-agent", "claude-cli/2.1.329 (external, sdk-cli)"),
            ("x-app", "cli"),
            ("x-claude-code-session-id", "s"),
            ("x-stainless-lang", "js"),
            ("x-stainless-retry-count", "0"),
            ("anthropic-beta", "claude-code-20250219,effort-2025-11-24"),
            ("anthropic-dangerous-direct-browser-access", "true"),
            ("anthropic-version", "2023-06-01"),
        ];

        let headers = upstream_headers(&map(&cli), &Credential::Bearer(Secret::new("t"))).expect("headers");

        for (name, value) in cli {
            assert_eq!(headers.get(name).map(HeaderValue::as_bytes), Some(value.as_bytes()), "{name}");
        }
    }

    #[test]
    fn betas_that_reach_beyond_the_model_are_taken_out() {
        let token = Credential::ApiKey(Secret::new("k"));
        let beta = |incoming: &[(&'static str, &'static str)]| {
            let headers = upstream_headers(&map(incoming), &token).expect("headers");
            headers.get("anthropic-beta").map(|value| value.to_str().expect("text").to_owned())
        };

        assert_eq!(
            beta(&[
                ("anthropic-beta", "a, MCP-client-2025-11-20 ,files-api-2025-04-14"),
                ("anthropic-beta", "web-fetch-2025-09-10,skills-2025-10-02,code-execution-2025-08-25,b"),
            ]),
            Some("a,b".to_owned())
        );
        assert_eq!(beta(&[("anthropic-beta", "mcp-client-2025-04-04")]), None);
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
        assert_eq!(beta(&[("anthropic-beta", "a, oauth-2025-04-20")]), "a,oauth-2025-04-20");
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
