//! The handle: where the Engine is, and how a call to it is made.

use std::{fmt, future::Future, path::Path, sync::Arc, sync::Mutex, time::Duration};

use bollard::{API_DEFAULT_VERSION, errors::Error as ClientError};

use crate::DockerError;

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
    endpoint: String,
    /// Made by the first call that finds the Engine's socket. A std mutex, since it is never held across an await.
    client: Mutex<Option<bollard::Docker>>,
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
        let endpoint = endpoint.unwrap_or(DEFAULT_ENDPOINT);
        let path = endpoint.strip_prefix("unix://").unwrap_or(endpoint);
        let endpoint = if Path::new(path).is_absolute() {
            format!("unix://{path}")
        } else if endpoint
            .strip_prefix("tcp://")
            .or_else(|| endpoint.strip_prefix("http://"))
            .is_some_and(is_host_and_port)
        {
            endpoint.to_owned()
        } else {
            return Err(DockerError::BadEndpoint { endpoint: endpoint.chars().take(200).collect() });
        };
        Ok(Self { shared: Arc::new(Shared { endpoint, client: Mutex::new(None) }) })
    }

    /// Returns the Engine's address.
    pub fn endpoint(&self) -> &str {
        &self.shared.endpoint
    }

    /// Makes one call within [`LIMIT`].
    pub(crate) async fn call<T, F>(
        &self,
        ask: impl FnOnce(bollard::Docker) -> F + Send,
    ) -> Result<T, DockerError>
    where
        F: Future<Output = Result<T, ClientError>> + Send,
    {
        let client = self.client()?;
        match tokio::time::timeout(LIMIT, ask(client)).await {
            Ok(answer) => answer.map_err(|error| self.error(error)),
            Err(_) => Err(DockerError::timed_out(self.endpoint(), LIMIT.as_secs())),
        }
    }

    pub(crate) fn client(&self) -> Result<bollard::Docker, DockerError> {
        let mut client = self.shared.client.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(client) = &*client {
            return Ok(client.clone());
        }
        let endpoint = self.endpoint();
        // Requests carry no API version, so the Engine answers in its own newest one; the version given here is not
        // sent. What we send has the same meaning in every version since 1.41.
        let made = if endpoint.starts_with("unix://") {
            bollard::Docker::connect_with_unix(endpoint, LIMIT.as_secs(), API_DEFAULT_VERSION)
        } else {
            bollard::Docker::connect_with_http(endpoint, LIMIT.as_secs(), API_DEFAULT_VERSION)
        };
        let made = made.map_err(|error| self.error(error))?;
        Ok(client.insert(made).clone())
    }

    pub(crate) fn error(&self, error: ClientError) -> DockerError {
        DockerError::from_client(error, self.endpoint())
    }
}

fn is_host_and_port(address: &str) -> bool {
    let address = address.trim_end_matches('/');
    !address.contains(['/', '@', '?', '#', ' '])
        && address
            .rsplit_once(':')
            .is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok_and(|port| port != 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usable_addresses_are_taken_without_asking_whether_anybody_listens() {
        for (given, kept) in [
            ("unix:///nowhere/docker.sock", "unix:///nowhere/docker.sock"),
            ("/nowhere/docker.sock", "unix:///nowhere/docker.sock"),
            ("tcp://127.0.0.1:2375", "tcp://127.0.0.1:2375"),
            ("tcp://[::1]:2375/", "tcp://[::1]:2375/"),
        ] {
            assert_eq!(Docker::connect(Some(given)).expect("usable").endpoint(), kept);
        }
    }

    #[test]
    fn other_addresses_are_refused_with_what_was_expected() {
        for given in [
            "",
            "docker.sock",
            "ssh://me@host",
            "https://host:2376",
            "tcp://host",
            "tcp://a@b:1",
            "npipe:////./x",
        ] {
            let error = Docker::connect(Some(given)).expect_err(given).to_string();
            assert!(error.contains("unix:///path"), "{error}");
        }
    }
}
