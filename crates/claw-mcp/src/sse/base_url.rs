//! The public address in front of the message endpoint.

use http::Uri;

/// Where clients send their messages: below a public address, or below the one they came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BaseUrl {
    url: String,
    path: String,
    host: Option<String>,
}

impl BaseUrl {
    /// Reads a public address. One that is not `http` or `https`, has no host or has a query counts as none, as it does
    /// in the original.
    pub fn read(text: &str) -> Self {
        let Ok(uri) = text.parse::<Uri>() else { return Self::default() };
        let is_web = matches!(uri.scheme_str(), Some("http" | "https"));
        let host = uri.host().filter(|host| !host.is_empty());
        if !is_web || host.is_none() || uri.query().is_some() || text.contains('#') {
            return Self::default();
        }
        let path = uri.path().trim_end_matches('/').to_owned();
        Self { url: text.trim_end_matches('/').to_owned(), path, host: host.map(str::to_owned) }
    }

    /// Returns the path that stands before `/sse` and `/message`.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Returns the public address's host, to which the server answers then.
    pub fn host(&self) -> Option<&str> {
        self.host.as_deref()
    }

    /// Returns where the messages of a session go.
    pub(super) fn endpoint(&self, session: &str) -> String {
        format!("{}/message?sessionId={session}", self.url)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_public_address_stands_before_the_endpoint_and_its_path_before_both_routes() {
        for (text, path, endpoint) in [
            ("", "", "/message?sessionId=x"),
            ("http://h:8080", "", "http://h:8080/message?sessionId=x"),
            ("http://h:8080/", "", "http://h:8080/message?sessionId=x"),
            ("https://h/pre", "/pre", "https://h/pre/message?sessionId=x"),
            ("https://h/pre/a//", "/pre/a", "https://h/pre/a/message?sessionId=x"),
        ] {
            let base = BaseUrl::read(text);

            assert_eq!((base.path(), base.endpoint("x").as_str()), (path, endpoint), "{text}");
        }
    }

    #[test]
    fn what_is_no_public_address_is_passed_over() {
        for text in
            ["h:8080", "/pre", "ftp://h", "http://", "http://h?a=b", "http://h/#a", "no url", "http:///pre"]
        {
            assert_eq!(BaseUrl::read(text), BaseUrl::default(), "{text}");
        }
    }
}
