//! Which host names this server answers to, and which browser pages may talk to it.
//!
//! A page on the internet must not reach a server on this machine: neither by pointing its own name at 127.0.0.1
//! (DNS rebinding: refused by the `Host` check) nor by sending requests across origins (refused by the `Origin` and
//! `Sec-Fetch-Site` checks). Both hold on every route.

use std::{collections::HashSet, net::IpAddr, net::SocketAddr};

use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, header, request::Parts};
use claw_core::ErrorCode;

use crate::error::ApiError;

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
const SEC_FETCH_MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");

/// Where a request comes from, as far as a browser tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Provenance {
    /// Nothing was told: a program, or a person who follows a link.
    Unstated,
    /// One of this server's own pages.
    SameOrigin,
    /// A page of a configured origin.
    Configured(HeaderValue),
}

/// The names and origins that pass.
#[derive(Clone, Debug)]
pub(crate) struct HostPolicy {
    names: HashSet<String>,
    /// An address is no name that an attacker could point at us, so where we listen on all of them each one passes.
    any_address: bool,
    origins: HashSet<String>,
}

impl HostPolicy {
    pub(crate) fn new(listen: SocketAddr, allowed_hosts: &[String], cors_origins: &[String]) -> Self {
        let mut names: HashSet<_> = allowed_hosts
            .iter()
            .filter_map(|name| Authority::parse(name))
            .map(|authority| authority.host)
            .collect();
        names.insert("localhost".into());
        names.insert(listen.ip().to_string());
        let origins =
            cors_origins.iter().map(|origin| origin.trim_end_matches('/').to_ascii_lowercase()).collect();
        Self { names, any_address: listen.ip().is_unspecified(), origins }
    }

    /// Judges a request by its headers.
    pub(crate) fn check(&self, parts: &Parts) -> Result<Provenance, ApiError> {
        let host = self.check_host(parts)?;
        self.check_origin(parts, &host)
    }

    fn check_host(&self, parts: &Parts) -> Result<Authority, ApiError> {
        let refused = |name: &str| {
            let name: String = name.chars().filter(|c| !c.is_control()).take(100).collect();
            let message = format!(
                "this server does not answer for host `{name}`: use its own address, or add the name to its allowed hosts"
            );
            ApiError::new(ErrorCode::HostNotAllowed, message)
        };
        let header = only(&parts.headers, &header::HOST).map_err(|()| refused("(several)"))?;
        let target = parts.uri.authority().map(|authority| authority.as_str());
        let mut host = None;
        for text in [header, target].into_iter().flatten() {
            let authority = Authority::parse(text).ok_or_else(|| refused(text))?;
            if !self.is_allowed(&authority.host) {
                return Err(refused(text));
            }
            host = Some(authority);
        }
        host.ok_or_else(|| refused(""))
    }

    fn is_allowed(&self, host: &str) -> bool {
        if self.names.contains(host) {
            return true;
        }
        host.parse::<IpAddr>().is_ok_and(|address| self.any_address || address.to_canonical().is_loopback())
    }

    fn check_origin(&self, parts: &Parts, host: &Authority) -> Result<Provenance, ApiError> {
        let refused = || {
            let message = "a page of another origin may not send this request: open the server's own page, or add the \
                           origin to its CORS origins";
            ApiError::new(ErrorCode::OriginNotAllowed, message)
        };
        let origin = only(&parts.headers, &header::ORIGIN).map_err(|()| refused())?;
        let site = only(&parts.headers, &SEC_FETCH_SITE).map_err(|()| refused())?;
        let from_elsewhere = matches!(site, Some("cross-site" | "same-site"));
        if let Some(origin) = origin {
            if self.origins.contains(&origin.to_ascii_lowercase()) {
                let value = HeaderValue::from_str(origin).map_err(|_| refused())?;
                return Ok(Provenance::Configured(value));
            }
            let own =
                Authority::of_origin(origin).is_some_and(|origin| origin == host.without_default_port());
            return if own && !from_elsewhere { Ok(Provenance::SameOrigin) } else { Err(refused()) };
        }
        if from_elsewhere {
            // A link on another page that a person follows.
            let mode = parts.headers.get(SEC_FETCH_MODE).map(HeaderValue::as_bytes);
            let follows_link =
                mode == Some(b"navigate") && matches!(parts.method, Method::GET | Method::HEAD);
            return if follows_link { Ok(Provenance::Unstated) } else { Err(refused()) };
        }
        match site {
            Some("same-origin" | "none") => Ok(Provenance::SameOrigin),
            Some(_) | None => Ok(Provenance::Unstated),
        }
    }
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

/// A host with an optional port; IPv6 addresses without brackets.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Authority {
    host: String,
    port: Option<u16>,
}

impl Authority {
    fn parse(text: &str) -> Option<Self> {
        let (host, port) = if let Some(rest) = text.strip_prefix('[') {
            let (address, rest) = rest.split_once(']')?;
            let address = address.parse::<std::net::Ipv6Addr>().ok()?.to_string();
            let port = if rest.is_empty() { None } else { Some(rest.strip_prefix(':')?) };
            (address, port)
        } else {
            match text.split_once(':') {
                Some((host, port)) => (host.to_ascii_lowercase(), Some(port)),
                None => (text.to_ascii_lowercase(), None),
            }
        };
        let port = match port {
            Some(port) => Some(port.parse().ok()?),
            None => None,
        };
        let is_host = |c: char| c.is_ascii_alphanumeric() || "-_.:".contains(c);
        (!host.is_empty() && host.chars().all(is_host)).then_some(Self { host, port })
    }

    /// Reads `scheme://host[:port]`, leaving out the scheme's own port.
    fn of_origin(origin: &str) -> Option<Self> {
        let (scheme, rest) = origin.split_once("://")?;
        let authority = Self::parse(rest)?;
        match scheme {
            "http" | "https" => Some(authority.without_default_port()),
            _ => None,
        }
    }

    /// Behind a proxy we do not know the scheme that the browser used, so the ports of both are left out.
    fn without_default_port(&self) -> Self {
        Self { host: self.host.clone(), port: self.port.filter(|port| !matches!(port, 80 | 443)) }
    }
}

#[cfg(test)]
mod tests {
    use axum::http::Request;

    use super::*;

    fn policy(listen: &str) -> HostPolicy {
        let listen = listen.parse().expect("an address");
        HostPolicy::new(listen, &["claw.example".into()], &["https://ui.example".into()])
    }

    fn judge(listen: &str, method: Method, headers: &[(&str, &str)]) -> Result<Provenance, ErrorCode> {
        let mut request = Request::builder().method(method).uri("/api/v1/jobs");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let (parts, ()) = request.body(()).expect("a request").into_parts();
        policy(listen).check(&parts).map_err(|error| error.code())
    }

    #[test]
    fn loopback_the_listen_address_and_configured_names_pass_on_any_port() {
        for host in [
            "localhost",
            "LocalHost:5179",
            "127.0.0.1:5179",
            "127.8.9.1",
            "[::1]:80",
            "192.0.2.7:5179",
            "claw.example",
            "CLAW.example:443",
        ] {
            let verdict = judge("192.0.2.7:5179", Method::GET, &[("host", host)]);
            assert_eq!(verdict, Ok(Provenance::Unstated), "{host}");
        }
    }

    #[test]
    fn any_other_host_is_refused() {
        for host in [
            "",
            "evil.example",
            "localhost.evil.example",
            "claw.example.evil",
            "192.0.2.8",
            "localhost:x",
            "a@localhost",
            "localhost/",
            "[::1",
            "0.0.0.0",
        ] {
            let verdict = judge("192.0.2.7:5179", Method::GET, &[("host", host)]);
            assert_eq!(verdict, Err(ErrorCode::HostNotAllowed), "{host}");
        }
        assert_eq!(judge("127.0.0.1:1", Method::GET, &[]), Err(ErrorCode::HostNotAllowed));
        let twice = [("host", "localhost"), ("host", "evil.example")];
        assert_eq!(judge("127.0.0.1:1", Method::GET, &twice), Err(ErrorCode::HostNotAllowed));
    }

    #[test]
    fn a_server_on_all_addresses_answers_to_addresses_but_not_to_foreign_names() {
        assert_eq!(
            judge("0.0.0.0:5179", Method::GET, &[("host", "192.0.2.8:5179")]),
            Ok(Provenance::Unstated)
        );
        let named = judge("0.0.0.0:5179", Method::GET, &[("host", "evil.example")]);
        assert_eq!(named, Err(ErrorCode::HostNotAllowed));
    }

    #[test]
    fn only_own_pages_and_configured_origins_may_send_requests() {
        let host = ("host", "localhost:5179");
        let check = |headers: &[(&str, &str)]| {
            let mut all = vec![host];
            all.extend_from_slice(headers);
            judge("127.0.0.1:5179", Method::POST, &all)
        };
        let refused = Err(ErrorCode::OriginNotAllowed);

        assert_eq!(check(&[("origin", "http://localhost:5179")]), Ok(Provenance::SameOrigin));
        assert_eq!(check(&[("sec-fetch-site", "same-origin")]), Ok(Provenance::SameOrigin));
        let configured = Ok(Provenance::Configured(HeaderValue::from_static("https://ui.example")));
        assert_eq!(check(&[("origin", "https://ui.example"), ("sec-fetch-site", "cross-site")]), configured);
        for origin in [
            "null",
            "",
            "http://localhost:3000",
            "http://localhost",
            "https://evil.example",
            "file://",
            "localhost:5179",
        ] {
            assert_eq!(check(&[("origin", origin)]), refused, "{origin}");
        }
        for site in ["cross-site", "same-site"] {
            assert_eq!(check(&[("sec-fetch-site", site)]), refused, "{site}");
            assert_eq!(check(&[("sec-fetch-site", site), ("sec-fetch-mode", "navigate")]), refused, "{site}");
        }
    }

    #[test]
    fn a_link_on_another_page_may_be_followed() {
        let headers =
            [("host", "localhost"), ("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "navigate")];

        assert_eq!(judge("127.0.0.1:5179", Method::GET, &headers), Ok(Provenance::Unstated));
    }

    #[test]
    fn behind_a_proxy_the_default_ports_of_both_schemes_are_the_same_origin() {
        for origin in ["https://claw.example", "http://claw.example:80"] {
            let headers = [("host", "claw.example"), ("origin", origin)];
            assert_eq!(judge("127.0.0.1:1", Method::POST, &headers), Ok(Provenance::SameOrigin), "{origin}");
        }
    }
}
