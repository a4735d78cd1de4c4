//! The way to a collector: HTTP through the client that the rest of the program uses.

use std::{fmt, time::Duration};

use async_trait::async_trait;
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response, ResponseBodyTooLarge};
use reqwest::redirect::Policy;
use tokio::runtime::Handle;

use crate::error::CliError;

/// Longest wait for a collector's answer.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Largest answer of a collector that is read, in bytes.
const MAX_ANSWER: usize = 64 * 1024;

/// Sends requests on the server's runtime. Traces are put together on a thread of their own, which has none.
pub(super) struct Collector {
    http: reqwest::Client,
    runtime: Handle,
}

impl Collector {
    /// Prepares the client. Must be called on the runtime.
    pub(super) fn new() -> Result<Self, CliError> {
        // The error says that one is installed already, which is what is wanted.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder()
            .timeout(TIMEOUT)
            // A collector that moved is a mistake in the settings; nothing is told to whoever it names.
            .redirect(Policy::none())
            .build()
            .map_err(|error| {
                CliError::internal(format!("cannot prepare the way to the collector: {error}"))
            })?;
        Ok(Self { http, runtime: Handle::current() })
    }
}

impl fmt::Debug for Collector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Collector").finish_non_exhaustive()
    }
}

#[async_trait]
impl HttpClient for Collector {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let http = self.http.clone();
        self.runtime.spawn(async move { send(http, request).await }).await?
    }
}

async fn send(http: reqwest::Client, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
    let mut answer = http.execute(request.try_into()?).await?;
    let mut body = Vec::new();
    while let Some(chunk) = answer.chunk().await? {
        if body.len() + chunk.len() > MAX_ANSWER {
            return Err(ResponseBodyTooLarge::new().into());
        }
        body.extend_from_slice(&chunk);
    }
    let mut response = Response::new(Bytes::from(body));
    *response.status_mut() = answer.status();
    *response.headers_mut() = std::mem::take(answer.headers_mut());
    Ok(response)
}
