//! Where the server is.

use std::{fmt, net::IpAddr, str::FromStr};

use reqwest::Url;

/// Text that cannot be a server's address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a server address: {reason}; expected one such as http://127.0.0.1:5179")]
pub struct ServerUrlError {
    text: String,
    reason: &'static str,
}

/// A server's address: `http` or `https`, a host, and perhaps a port and a path in front of `/api`.
///
/// Written and compared in one form, without a slash at the end, so that it can key stored credentials.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServerUrl(Url);

impl ServerUrl {
    /// Tells whether the server is on this machine by its name or address.
    pub fn is_loopback(&self) -> bool {
        let host = self.0.host_str().unwrap_or_default();
        let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
        host == "localhost" || host.ends_with(".localhost") || address.is_ok_and(|a| a.is_loopback())
    }

    /// Tells whether requests are encrypted.
    pub fn is_https(&self) -> bool {
        self.0.scheme() == "https"
    }

    /// Returns the address of a route. Each of `segments` is one part of the path and is encoded as such.
    pub(crate) fn route<'a>(&self, segments: impl IntoIterator<Item = &'a str>) -> Url {
        let mut url = self.0.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(segments);
        }
        url
    }
}

impl FromStr for ServerUrl {
    type Err = ServerUrlError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = |reason| ServerUrlError { text: without_credentials(text), reason };
        let mut url = Url::parse(text.trim()).map_err(|_| error("it is not a URL"))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(error("it begins with neither http:// nor https://"));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(error("it holds a username or password"));
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err(error("it has a query or fragment"));
        }
        let path = url.path().trim_end_matches('/');
        // Addresses are often copied together with the API's own path.
        let path =
            path.strip_suffix("/api/v1").or_else(|| path.strip_suffix("/api")).unwrap_or(path).to_owned();
        url.set_path(&path);
        Ok(Self(url))
    }
}

/// An address may hold a password; it must not come back in an error.
fn without_credentials(text: &str) -> String {
    match text.rsplit_once('@') {
        Some((_, host)) => format!("…@{host}"),
        None => text.chars().take(200).collect(),
    }
}

impl fmt::Display for ServerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.as_str().trim_end_matches('/'))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> ServerUrl {
        text.parse().expect("a server address")
    }

    #[test]
    fn spellings_of_one_server_are_one_address() {
        for text in [
            "http://127.0.0.1:5179",
            "http://127.0.0.1:5179/",
            "HTTP://127.0.0.1:5179/api/v1",
            "http://127.0.0.1:5179/api/",
        ] {
            assert_eq!(url(text).to_string(), "http://127.0.0.1:5179", "{text}");
        }
        assert_eq!(url("https://home.example/claw/").to_string(), "https://home.example/claw");
    }

    #[test]
    fn what_is_not_a_server_address_is_refused_without_showing_passwords() {
        for text in ["", "127.0.0.1:5179", "ftp://x", "unix:///x", "http://", "http://x/?a=b", "http://x/#a"]
        {
            assert!(text.parse::<ServerUrl>().is_err(), "{text}");
        }
        let error =
            "http://me:hunter2@x".parse::<ServerUrl>().expect_err("credentials are refused").to_string();
        assert!(!error.contains("hunter2"), "{error}");
    }

    #[test]
    fn route_parts_are_encoded_and_keep_the_prefix() {
        let route = url("https://home.example/claw").route(["api", "v1", "files", "a b", "ü?#%2f"]);

        assert_eq!(route.as_str(), "https://home.example/claw/api/v1/files/a%20b/%C3%BC%3F%23%252f");
    }

    #[test]
    fn loopback_is_known_by_name_and_address() {
        for (text, expected) in [
            ("http://127.0.0.1:1", true),
            ("http://[::1]:1", true),
            ("http://localhost", true),
            ("http://127.0.0.1.example.org", false),
            ("http://192.168.0.1", false),
        ] {
            assert_eq!(url(text).is_loopback(), expected, "{text}");
        }
    }
}
