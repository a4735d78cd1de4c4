//! The handle: where the Engine is, and how a call to it is made.

use std::{fmt, future::Future, path::Path, sync::Arc, time::Duration};

use bollard::{API_DEFAULT_VERSION, BollardRequest, errors::Error as ClientError};

use crate::{DockerError, endpoint::Endpoint, transport};

/// Where an Engine listens unless somebody said otherwise.
pub const DEFAULT_ENDPOINT: &str = "unix:///var/run/docker.sock";

/// Longest time for one ordinary call. Engines under load take seconds for what usually takes milliseconds.
pub(crate) const LIMIT: Duration = Duration::from_secs(30);

/// A cheap handle to one Engine.
///
/// Nothing is opened before the first call, and every call opens its own connection: the handle outlives restarts of
/// the Engine, and holding one says nothing about the Engine being there.
#[derive(Clone)]
pub struct Docker {
    shared: Arc<Shared>,
}

struct Shared {
    endpoint: Arc<Endpoint>,
    /// For answers that are read as a whole: they are bounded.
    whole: bollard::Docker,
    /// For streams that last as long as the container they belong to.
    endless: bollard::Docker,
}

impl fmt::Debug for Docker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Docker").field("endpoint", &self.shared.endpoint).finish_non_exhaustive()
    }
}

impl Docker {
    /// Returns a handle to the Engine at `endpoint`, or at [`DEFAULT_ENDPOINT`]: `unix:///path`, a plain absolute
    /// path, or `tcp://host:port` without TLS. Callers that honor `DOCKER_HOST` pass its value.
    ///
    /// # Errors
    ///
    /// Returns [`DockerError::BadEndpoint`] for any other address; never because the Engine does not answer.
    pub fn connect(endpoint: Option<&str>) -> Result<Self, DockerError> {
        Self::connect_with(endpoint, None)
    }

    /// As [`Docker::connect`]; with a folder that holds `ca.pem`, `cert.pem` and `key.pem` (what `DOCKER_CERT_PATH`
    /// names), `tcp://` and `https://` addresses are spoken to over TLS. Unix sockets take no notice of it.
    ///
    /// # Errors
    ///
    /// As [`Docker::connect`], and [`DockerError::BadCertificate`] for files that are absent or unreadable.
    pub fn connect_with(endpoint: Option<&str>, certificates: Option<&Path>) -> Result<Self, DockerError> {
        let endpoint = Arc::new(Endpoint::parse(endpoint.unwrap_or(DEFAULT_ENDPOINT), certificates)?);
        let whole = client(&endpoint, Some(transport::MAX_ANSWER_BYTES))?;
        let endless = client(&endpoint, None)?;
        Ok(Self { shared: Arc::new(Shared { endpoint, whole, endless }) })
    }

    /// Returns the Engine's address.
    pub fn endpoint(&self) -> &str {
        self.shared.endpoint.shown()
    }

    pub(crate) fn way(&self) -> Arc<Endpoint> {
        Arc::clone(&self.shared.endpoint)
    }

    /// Makes one call within [`LIMIT`].
    pub(crate) async fn call<T, F>(
        &self,
        ask: impl FnOnce(bollard::Docker) -> F + Send,
    ) -> Result<T, DockerError>
    where
        F: Future<Output = Result<T, ClientError>> + Send,
    {
        self.within(LIMIT, ask(self.shared.whole.clone())).await
    }

    /// Makes one call of which something lasts: begun within [`LIMIT`], and then without bounds.
    pub(crate) async fn begin<T, F>(
        &self,
        ask: impl FnOnce(bollard::Docker) -> F + Send,
    ) -> Result<T, DockerError>
    where
        F: Future<Output = Result<T, ClientError>> + Send,
    {
        self.within(LIMIT, ask(self.shared.endless.clone())).await
    }

    async fn within<T>(
        &self,
        limit: Duration,
        call: impl Future<Output = Result<T, ClientError>> + Send,
    ) -> Result<T, DockerError> {
        self.bounded(limit, async { call.await.map_err(|error| self.error(error)) }).await
    }

    pub(crate) fn error(&self, error: ClientError) -> DockerError {
        DockerError::from_client(error, self.endpoint())
    }
}

/// The time limit of each call is ours, and counts the reading of the answer too.
const CLIENT_LIMIT: u64 = 24 * 60 * 60;

fn client(endpoint: &Arc<Endpoint>, most: Option<u64>) -> Result<bollard::Docker, DockerError> {
    let way = Arc::clone(endpoint);
    let transport = move |request: BollardRequest| transport::send(Arc::clone(&way), request, most);
    // Requests carry no API version, so the Engine answers in its own newest one; the version given here is not
    // sent. What we send has the same meaning in every version since 1.41.
    bollard::Docker::connect_with_custom_transport(
        transport,
        Some("http://docker"),
        CLIENT_LIMIT,
        API_DEFAULT_VERSION,
    )
    .map_err(|error| DockerError::from_client(error, endpoint.shown()))
}
