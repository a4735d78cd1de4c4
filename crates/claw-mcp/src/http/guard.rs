//! Who may speak to a server that has no keys of its own: which host names, which web pages, which token.

use std::{
    collections::HashSet,
    net::{IpAddr, SocketAddr},
};

use claw_core::Secret;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, header, request::Parts};
use rmcp::model::ErrorCode;
use subtle::ConstantTimeEq as _;

use super::{HttpBody, message::refused};

const CORS_METHODS: HeaderValue = HeaderValue::from_static("GET, POST, DELETE");
const CORS_HEADERS: HeaderValue = HeaderValue::from_static(
    "content-type, accept, authorization, mcp-session-id, mcp-protocol-version, mcp-method, mcp-name, last-event-id",
);
const CORS_EXPOSED: HeaderValue = HeaderValue::from_static("mcp-session-id");

/// What a [`Guard`] lets pass.
#[derive(Clone, Debug)]
pub struct GuardConfig {
    /// Where the server listens.
    pub listen: SocketAddr,
    /// Names that it answers to besides loopback ones and its own address.
    pub hosts: Vec<String>,
    /// Origins such as `https://ui.example` whose pages may talk to it, besides its own.
    pub origins: Vec<String>,
    /// What requests must carry as bearer token, if anything.
    pub token: Option<Secret>,
}

/// Judges requests by their headers alone.
///
/// A page on the internet must not reach a server on this machine, neither by pointing its own name here (its `Host` is
/// refused) nor by sending requests across origins (its `Origin` is refused).
#[derive(Debug)]
pub struct Guard {
    names: HashSet<String>,
    /// An address is no name that an attacker could point at us, so where we listen on all of them each one passes.
    any_address: bool,
    origins: HashSet<String>,
    token: Option<Secret>,
}

impl Guard {
    /// Returns a guard.
    pub fn new(config: GuardConfig) -> Self {
        let mut names: HashSet<_> = config.hosts.iter().filter_map(|name| Some(split(name)?.0)).collect();
        names.insert("localhost".into());
        names.insert(config.listen.ip().to_string());
        let origins =
            config.origins.iter().map(|origin| origin.trim_end_matches('/').to_ascii_lowercase()).collect();
        Self { names, any_address: config.listen.ip().is_unspecified(), origins, token: config.token }
    }

    /// Judges a request.
    ///
    /// # Errors
    ///
    /// The answer to give: 403 for a host or origin that does not pass, 401 without the token. A page's question of what
    /// it may send is answered this way too.
    pub fn check(&self, request: &Parts) -> Result<(), Box<Response<HttpBody>>> {
        let host = self.check_host(request)?;
        self.check_origin(&request.headers, &host)?;
        if request.method == Method::OPTIONS {
            let mut response = refused(StatusCode::NO_CONTENT, ErrorCode(0), "", None);
            *response.body_mut() = HttpBody::default();
            response.headers_mut().remove(header::CONTENT_TYPE);
            self.allow(&request.headers, response.headers_mut());
            return Err(Box::new(response));
        }
        self.check_token(&request.headers)
    }

    /// Tells the browser of a configured origin that its page may read the answer.
    pub fn allow(&self, request: &HeaderMap, response: &mut HeaderMap) {
        response.append(header::VARY, HeaderValue::from_static("Origin"));
        let Some(origin) = request.get(header::ORIGIN) else { return };
        let is_configured =
            origin.to_str().is_ok_and(|origin| self.origins.contains(&origin.to_ascii_lowercase()));
        if is_configured {
            response.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
            response.insert(header::ACCESS_CONTROL_ALLOW_METHODS, CORS_METHODS);
            response.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, CORS_HEADERS);
            response.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, CORS_EXPOSED);
        }
    }

    fn check_host(&self, request: &Parts) -> Result<Authority, Box<Response<HttpBody>>> {
        let refuse =
            || forbidden("this server does not answer for this host: use its own address, or allow the name");
        let header = only(&request.headers, &header::HOST).map_err(|()| refuse())?;
        let target = request.uri.authority().map(|authority| authority.as_str());
        let mut host = None;
        for text in [header, target].into_iter().flatten() {
            let authority = split(text).filter(|(name, _)| self.is_allowed(name)).ok_or_else(refuse)?;
            host = Some(authority);
        }
        host.ok_or_else(refuse)
    }

    fn is_allowed(&self, name: &str) -> bool {
        self.names.contains(name)
            || name
                .parse::<IpAddr>()
                .is_ok_and(|address| self.any_address || address.to_canonical().is_loopback())
    }

    fn check_origin(&self, headers: &HeaderMap, host: &Authority) -> Result<(), Box<Response<HttpBody>>> {
        let refuse = || forbidden("a page of another origin may not talk to this server: allow its origin");
        let Some(origin) = only(headers, &header::ORIGIN).map_err(|()| refuse())? else { return Ok(()) };
        let is_own = || match origin.split_once("://") {
            Some(("http" | "https", authority)) => split(authority)
                .is_some_and(|own| without_default_port(own) == without_default_port(host.clone())),
            _ => false,
        };
        if self.origins.contains(&origin.to_ascii_lowercase()) || is_own() { Ok(()) } else { Err(refuse()) }
    }

    fn check_token(&self, headers: &HeaderMap) -> Result<(), Box<Response<HttpBody>>> {
        let Some(token) = &self.token else { return Ok(()) };
        let given = only(headers, &header::AUTHORIZATION).ok().flatten().unwrap_or_default();
        let given = match given.split_once(' ') {
            Some((scheme, given)) if scheme.eq_ignore_ascii_case("bearer") => given.trim(),
            _ => "",
        };
        if bool::from(given.as_bytes().ct_eq(token.expose().as_bytes())) {
            return Ok(());
        }
        let message = "this server wants its token: send `Authorization: Bearer <token>`";
        let mut response = refused(StatusCode::UNAUTHORIZED, ErrorCode::INVALID_REQUEST, message, None);
        let challenge = HeaderValue::from_static(r#"Bearer realm="clawmachine""#);
        response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
        Err(Box::new(response))
    }
}

fn forbidden(message: &str) -> Box<Response<HttpBody>> {
    Box::new(refused(StatusCode::FORBIDDEN, ErrorCode::INVALID_REQUEST, message, None))
}

/// Returns a header's only value as text; an error if it was sent twice or is no text.
fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a str>, ()> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(value), None) => value.to_str().map(Some).map_err(|_| ()),
        (Some(_), Some(_)) => Err(()),
    }
}

/// A host, an IPv6 address without its brackets, and the port if there is one.
type Authority = (String, Option<u16>);

fn split(text: &str) -> Option<Authority> {
    let (host, rest) = match text.strip_prefix('[') {
        Some(rest) => {
            let (address, rest) = rest.split_once(']')?;
            (address.parse::<std::net::Ipv6Addr>().ok()?.to_string(), rest)
        }
        None => {
            let end = text.find(':').unwrap_or(text.len());
            (text[..end].to_ascii_lowercase(), &text[end..])
        }
    };
    let port = match rest {
        "" => None,
        rest => Some(rest.strip_prefix(':')?.parse().ok()?),
    };
    let is_host = |c: char| c.is_ascii_alphanumeric() || "-_.:".contains(c);
    (!host.is_empty() && host.chars().all(is_host)).then_some((host, port))
}

/// Behind a proxy we do not know the scheme that the browser used, so the ports of both are left out.
fn without_default_port((host, port): Authority) -> Authority {
    (host, port.filter(|port| !matches!(port, 80 | 443)))
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn judge(config: impl FnOnce(&mut GuardConfig), headers: &[(&str, &str)]) -> u16 {
        let mut given = GuardConfig {
            listen: "127.0.0.1:8080".parse().expect("an address"),
            hosts: Vec::new(),
            origins: Vec::new(),
            token: None,
        };
        config(&mut given);
        let mut request = Request::builder().method(Method::POST).uri("/mcp");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let (parts, ()) = request.body(()).expect("a request").into_parts();
        Guard::new(given).check(&parts).map_or_else(|refusal| refusal.status().as_u16(), |()| 200)
    }

    #[test]
    fn t14_only_own_names_and_configured_ones_are_answered() {
        for host in ["localhost", "LOCALHOST:9", "127.0.0.1:8080", "127.8.9.1", "[::1]:80", "mcp.example:1"] {
            assert_eq!(
                judge(|given| given.hosts.push("mcp.example".into()), &[("host", host)]),
                200,
                "{host}"
            );
        }
        for host in
            ["", "evil.example", "localhost.evil.example", "192.0.2.1", "localhost:x", "[::1", "a@localhost"]
        {
            assert_eq!(judge(|_| {}, &[("host", host)]), 403, "{host}");
        }
        assert_eq!(judge(|_| {}, &[]), 403);
        assert_eq!(judge(|_| {}, &[("host", "localhost"), ("host", "localhost")]), 403);
        let everywhere = |given: &mut GuardConfig| given.listen = "0.0.0.0:1".parse().expect("an address");
        assert_eq!(judge(everywhere, &[("host", "192.0.2.1:1")]), 200);
        assert_eq!(judge(everywhere, &[("host", "evil.example")]), 403);
    }

    #[test]
    fn d1_pages_of_other_origins_are_refused() {
        let check = |origin: &str| {
            let allow = |given: &mut GuardConfig| given.origins.push("https://ui.example".into());
            judge(allow, &[("host", "localhost:8080"), ("origin", origin)])
        };
        assert_eq!(check("http://localhost:8080"), 200);
        assert_eq!(check("https://ui.example"), 200);
        for origin in
            ["null", "", "http://localhost:3000", "https://evil.example", "file://", "localhost:8080"]
        {
            assert_eq!(check(origin), 403, "{origin}");
        }
    }

    #[test]
    fn d1_where_there_is_a_token_nothing_is_answered_without_it() {
        let check = |authorization: &[&str]| {
            let mut headers = vec![("host", "localhost")];
            headers.extend(authorization.iter().map(|value| ("authorization", *value)));
            judge(|given| given.token = Some(Secret::new("s3cret")), &headers)
        };
        assert_eq!(check(&["Bearer s3cret"]), 200);
        assert_eq!(check(&["bearer s3cret"]), 200);
        for wrong in [
            &[][..],
            &["Bearer"],
            &["Bearer s3cre"],
            &["Basic s3cret"],
            &["s3cret"],
            &["Bearer s3cret", "Bearer s3cret"],
        ] {
            assert_eq!(check(wrong), 401, "{wrong:?}");
        }
    }
}
