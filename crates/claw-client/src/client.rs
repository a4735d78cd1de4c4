//! The client itself: one HTTP connection pool, one server, at most one credential.

use std::{
    fmt,
    sync::{Arc, Once},
    time::Duration,
};

use bytes::Bytes;
use claw_core::{ErrorCode, Secret};
use reqwest::{
    Method, Response, StatusCode,
    header::{HeaderMap, HeaderValue},
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::value::RawValue;
use tokio::time::timeout;

use crate::{Answer, ClientError, InProcess, ServerUrl, in_process};

/// Longest wait for a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest silence inside an answer, once it has begun. Event streams send a comment every 15 seconds.
const READ_TIMEOUT: Duration = Duration::from_secs(60);
/// Longest call that is not a stream. Creating a workspace runs git on the server.
const CALL_TIMEOUT: Duration = Duration::from_secs(120);
/// Largest JSON answer. A page of logs may hold many lines of several megabytes.
const MAX_ANSWER_BYTES: usize = 256 << 20;
/// Largest error body that is looked at.
const MAX_ERROR_BYTES: usize = 64 << 10;

/// What the client proves itself with: an API key or a bearer token.
#[derive(Clone, Debug)]
pub struct Credential(Secret);

impl Credential {
    /// The fixed beginning of API keys, by which they are told from tokens.
    const KEY_PREFIX: &str = "wag_";

    /// Wraps a key or token.
    pub fn new(text: impl Into<String>) -> Self {
        Self(Secret::new(text))
    }

    fn header(&self) -> Result<(&'static str, HeaderValue), ClientError> {
        let text = self.0.expose();
        let (name, value) = if text.starts_with(Self::KEY_PREFIX) {
            ("x-api-key", text.to_owned())
        } else {
            ("authorization", format!("Bearer {text}"))
        };
        let mut value = HeaderValue::try_from(value).map_err(|_| {
            ClientError::new(
                ErrorCode::InvalidKey,
                "the API key or token holds characters that cannot be sent; copy it again",
            )
        })?;
        value.set_sensitive(true);
        Ok((name, value))
    }
}

/// A client of one server. Cloning is cheap and shares the connections.
#[derive(Clone)]
pub struct Client {
    http: reqwest::Client,
    /// Who answers instead of a server at the other end of a connection.
    inside: Option<Arc<dyn InProcess>>,
    server: ServerUrl,
    credential: Option<(&'static str, HeaderValue)>,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("server", &self.server)
            .field("has_credential", &self.has_credential())
            .field("in_process", &self.inside.is_some())
            .finish()
    }
}

impl Client {
    /// Returns a client of `server`. Nothing is sent yet.
    ///
    /// # Errors
    ///
    /// Fails when the credential cannot be a header value, or when an `https` address is given and the system has no
    /// root certificates.
    pub fn new(server: ServerUrl, credential: Option<Credential>) -> Result<Self, ClientError> {
        install_crypto_provider();
        let mut builder = reqwest::Client::builder()
            .user_agent(concat!("claw-client/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(CONNECT_TIMEOUT)
            // A redirect would carry the API key to wherever it points.
            .redirect(reqwest::redirect::Policy::none());
        if server.is_loopback() {
            // A proxy cannot reach this machine's own loopback address.
            builder = builder.no_proxy();
        }
        if !server.is_https() {
            // Spares the reading of the system's certificates, and failing where there are none.
            builder = builder.tls_certs_only([]);
        }
        let http = builder.build().map_err(|error| ClientError::unreachable(&server, error))?;
        let credential = credential.map(|credential| credential.header()).transpose()?;
        Ok(Self { http, inside: None, server, credential })
    }

    /// Returns the same client with its requests answered by `inside`, in this process and without a connection.
    pub fn answered_by(&self, inside: Arc<dyn InProcess>) -> Self {
        Self { inside: Some(inside), ..self.clone() }
    }

    /// Returns the server's address.
    pub fn server(&self) -> &ServerUrl {
        &self.server
    }

    /// Returns the same client with another credential, or with none.
    ///
    /// # Errors
    ///
    /// Fails when the credential cannot be a header value.
    pub fn with_credential(&self, credential: Option<Credential>) -> Result<Self, ClientError> {
        let credential = credential.map(|credential| credential.header()).transpose()?;
        Ok(Self { credential, ..self.clone() })
    }

    /// Tells whether calls carry a credential.
    pub fn has_credential(&self) -> bool {
        self.credential.is_some()
    }

    pub(crate) fn call<'a>(&self, method: Method, path: impl IntoIterator<Item = &'a str>) -> Call<'_> {
        let url = self.server.route(path);
        let mut request = self.http.request(method, url);
        if let Some((name, value)) = &self.credential {
            request = request.header(*name, value.clone());
        }
        Call { client: self, request, missing: None, accepted: None, timeout: Some(CALL_TIMEOUT) }
    }

    pub(crate) fn get<'a>(&self, path: impl IntoIterator<Item = &'a str>) -> Call<'_> {
        self.call(Method::GET, path)
    }

    pub(crate) fn post<'a>(&self, path: impl IntoIterator<Item = &'a str>) -> Call<'_> {
        self.call(Method::POST, path)
    }
}

/// Makes *ring* the process's TLS implementation, once. A program that chose another one before keeps it.
fn install_crypto_provider() {
    static INSTALL: Once = Once::new();
    INSTALL.call_once(|| {
        // The error says that one is installed already, which is what is wanted.
        let _ = rustls::crypto::ring::default_provider().install_default();
    });
}

/// One request being put together.
pub(crate) struct Call<'a> {
    client: &'a Client,
    request: reqwest::RequestBuilder,
    missing: Option<ErrorCode>,
    accepted: Option<StatusCode>,
    timeout: Option<Duration>,
}

impl Call<'_> {
    pub(crate) fn query(mut self, query: &impl Serialize) -> Self {
        self.request = self.request.query(query);
        self
    }

    pub(crate) fn body(mut self, body: &impl Serialize) -> Self {
        self.request = self.request.json(body);
        self
    }

    pub(crate) fn header(mut self, name: &'static str, value: &str) -> Self {
        self.request = self.request.header(name, value);
        self
    }

    /// Names the code of a 404 that comes without one, as older servers send it.
    pub(crate) fn missing(mut self, code: ErrorCode) -> Self {
        self.missing = Some(code);
        self
    }

    /// Takes an answer with this status like one of the 200s.
    pub(crate) fn accept(mut self, status: StatusCode) -> Self {
        self.accepted = Some(status);
        self
    }

    /// Lets the answer take any time, as long as something of it keeps coming.
    pub(crate) fn streaming(mut self) -> Self {
        self.timeout = None;
        self
    }

    /// Lets the whole call take this long: the server answers when the work is done.
    pub(crate) fn within(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Sends the request and returns an answer of the 200s.
    pub(crate) async fn send(self) -> Result<Response, ClientError> {
        let server = &self.client.server;
        let request = match self.timeout {
            Some(timeout) => self.request.timeout(timeout),
            None => self.request,
        };
        let sent = match &self.client.inside {
            None => request.send().await,
            Some(inside) => match request.build() {
                Ok(request) => Ok(in_process::answer(inside.as_ref(), request).await),
                Err(error) => Err(error),
            },
        };
        let response = sent.map_err(|error| ClientError::unreachable(server, error))?;
        let status = response.status();
        if status.is_success() || self.accepted == Some(status) {
            return Ok(response);
        }
        if status.is_redirection() {
            let target = response.headers().get(reqwest::header::LOCATION).and_then(|v| v.to_str().ok());
            let message = format!(
                "{server} redirects to {}; give that server's address with --api-url",
                target.unwrap_or("another address")
            );
            return Err(ClientError::unexpected(status, message));
        }
        let headers = response.headers().clone();
        let fallback = self.missing.filter(|_| status == reqwest::StatusCode::NOT_FOUND);
        // A body that breaks off or is too long says no more than the status does.
        let body = read_all(response, MAX_ERROR_BYTES, server).await.unwrap_or_default();
        Err(ClientError::refused(status, &headers, &body, fallback))
    }

    /// Sends the request and drops what comes back.
    pub(crate) async fn done(self) -> Result<(), ClientError> {
        self.send().await.map(drop)
    }

    /// Sends the request and decodes the JSON that comes back.
    pub(crate) async fn json<T: DeserializeOwned>(self) -> Result<Answer<T>, ClientError> {
        let server = self.client.server.clone();
        let response = self.send().await?;
        let status = response.status();
        let body = read_all(response, MAX_ANSWER_BYTES, &server).await?;
        serde_json::from_slice::<Box<RawValue>>(&body).and_then(Answer::decode).map_err(|error| {
            let message = format!(
                "{server} answered what this client does not understand ({error}); is it a ClawMachine server of \
                 this version?"
            );
            ClientError::unexpected(status, message)
        })
    }

    /// Sends the request and decodes the `data` of the homelab's envelope.
    pub(crate) async fn data<T: DeserializeOwned>(self) -> Result<Answer<T>, ClientError> {
        #[derive(serde::Deserialize)]
        struct Envelope {
            #[serde(default = "yes")]
            success: bool,
            data: Box<RawValue>,
        }
        let server = self.client.server.clone();
        let answer = self.json::<Envelope>().await?;
        if !answer.success {
            // Other servers of this dialect may refuse so.
            return Err(ClientError::refused(
                StatusCode::OK,
                &HeaderMap::new(),
                answer.json().as_bytes(),
                None,
            ));
        }
        let envelope = answer.into_value();
        Answer::decode(envelope.data).map_err(|error| {
            let message = format!("{server} answered data that this client does not understand ({error})");
            ClientError::new(ErrorCode::UnexpectedAnswer, message)
        })
    }
}

fn yes() -> bool {
    true
}

/// Returns the next bytes of an answer, or `None` at its end. Cancel safe.
pub(crate) async fn next_chunk(
    response: &mut Response,
    server: &ServerUrl,
) -> Result<Option<Bytes>, ClientError> {
    match timeout(READ_TIMEOUT, response.chunk()).await {
        Ok(chunk) => chunk.map_err(|error| ClientError::unreachable(server, error)),
        Err(_) => Err(ClientError::silent(server)),
    }
}

async fn read_all(mut response: Response, limit: usize, server: &ServerUrl) -> Result<Vec<u8>, ClientError> {
    let mut body = Vec::new();
    while let Some(chunk) = next_chunk(&mut response, server).await? {
        if body.len() + chunk.len() > limit {
            let message = format!("the answer of {server} is larger than {} MiB", limit >> 20);
            return Err(ClientError::unexpected(response.status(), message));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// A file's bytes as they arrive.
#[derive(Debug)]
pub struct FileDownload {
    pub(crate) response: Response,
    pub(crate) server: ServerUrl,
}

impl FileDownload {
    /// Returns the next bytes, or `None` at the end.
    ///
    /// # Errors
    ///
    /// Fails when the connection breaks.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, ClientError> {
        next_chunk(&mut self.response, &self.server).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_and_tokens_go_into_their_own_headers_and_are_not_shown() {
        for (text, name, value) in [
            ("wag_live_abc", "x-api-key", "wag_live_abc"),
            ("some-token", "authorization", "Bearer some-token"),
        ] {
            let client =
                Client::new("http://127.0.0.1:1".parse().expect("an address"), Some(Credential::new(text)))
                    .expect("a client");

            let (header, sent) = client.credential.clone().expect("a credential");
            assert_eq!((header, sent.to_str().expect("text")), (name, value));
            assert!(!format!("{client:?}").contains(text), "{client:?}");
        }
    }

    #[test]
    fn a_credential_with_a_line_break_is_refused_before_anything_is_sent() {
        let error =
            Client::new("http://127.0.0.1:1".parse().expect("an address"), Some(Credential::new("a\nb")))
                .expect_err("it cannot be sent");

        assert!(error.message().contains("copy it again"), "{error}");
    }
}
