//! What the server tells about itself: its log, its metrics and, if a collector is configured, its traces.

mod catalog;
mod collector;
mod job_traces;
mod logging;
mod metrics;
mod process;
mod traces;

use tokio_util::sync::CancellationToken;
use tracing_subscriber::{layer::SubscriberExt, util::SubscriberInitExt};

use self::{metrics::Metrics, traces::Traces};
use crate::{
    error::CliError,
    settings::{LogSettings, TelemetrySettings},
};

pub(super) use self::metrics::Scrape;

/// Everything that is told, for the whole process.
pub(super) struct Telemetry {
    metrics: Metrics,
    traces: Option<Traces>,
}

impl Telemetry {
    /// Starts logging, counting and, if an endpoint is set, tracing. Without one, nothing of it is there: no span is
    /// kept and nothing is sent.
    pub(super) fn start(log: &LogSettings, settings: &TelemetrySettings) -> Result<Self, CliError> {
        let traces = settings.otlp_endpoint.as_ref().map(|endpoint| Traces::new(&endpoint.0)).transpose()?;
        tracing_subscriber::registry()
            .with(logging::layer(log)?)
            .with(traces.as_ref().map(Traces::layer))
            .try_init()
            .map_err(|error| CliError::internal(format!("cannot start logging: {error}")))?;
        if let Some(endpoint) = &settings.otlp_endpoint {
            tracing::info!(endpoint = endpoint.0, "sending traces");
        }
        Ok(Self { metrics: Metrics::start()?, traces })
    }

    /// Returns what writes the metrics down.
    pub(super) fn scrape(&self) -> Scrape {
        self.metrics.scrape()
    }

    /// Keeps the metrics small until `stop`, also when nobody asks for them.
    pub(super) fn keep(&self, stop: CancellationToken) -> impl Future<Output = ()> + Send + use<> {
        self.metrics.scrape().keep_small(stop)
    }

    /// Sends what has not been sent yet.
    pub(super) async fn close(self) {
        if let Some(traces) = self.traces {
            traces.close().await;
        }
    }
}
