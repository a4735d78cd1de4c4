//! Traces, sent to a collector by OTLP over HTTP: what spans say of themselves, and no text of logs or jobs.

use opentelemetry::{KeyValue, trace::TracerProvider};
use opentelemetry_otlp::{SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::{
    Resource,
    trace::{SdkTracerProvider, Tracer},
};
use tracing::{Level, Subscriber};
use tracing_subscriber::{Layer, filter::FilterFn, registry::LookupSpan};

use super::{
    collector::Collector,
    job_traces::{JobIds, JobTraces},
};
use crate::error::CliError;

/// Beginning of the names of what is traced: our own crates, and not the client that sends the traces.
const OURS: &str = "claw";

/// Gathers spans and sends them in the background, a few seconds' worth at a time. What a slow collector does not take
/// is dropped.
pub(super) struct Traces {
    provider: SdkTracerProvider,
    tracer: Tracer,
}

impl Traces {
    /// Prepares sending to `endpoint`, the collector's address without `/v1/traces`. Must be called on the runtime.
    pub(super) fn new(endpoint: &str) -> Result<Self, CliError> {
        let exporter = SpanExporter::builder()
            .with_http()
            .with_http_client(Collector::new()?)
            .with_endpoint(format!("{endpoint}/v1/traces"))
            .build()
            .map_err(|error| CliError::usage(format!("cannot send traces to `{endpoint}`: {error}")))?;
        let resource = Resource::builder()
            .with_service_name("clawmachine")
            .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
            .build();
        let provider = SdkTracerProvider::builder()
            .with_id_generator(JobIds::default())
            .with_resource(resource)
            .with_batch_exporter(exporter)
            .build();
        let tracer = provider.tracer("claw");
        Ok(Self { provider, tracer })
    }

    /// Returns what takes in the spans.
    pub(super) fn layer<S>(&self) -> impl Layer<S> + Send + Sync + use<S>
    where
        S: Subscriber + for<'a> LookupSpan<'a> + Send + Sync,
    {
        let spans = FilterFn::new(|metadata| {
            metadata.is_span() && *metadata.level() <= Level::DEBUG && metadata.target().starts_with(OURS)
        });
        let telemetry = tracing_opentelemetry::layer()
            .with_tracer(self.tracer.clone())
            .with_location(false)
            .with_threads(false)
            .with_target(false)
            .with_tracked_inactivity(false);
        JobTraces.and_then(telemetry).with_filter(spans)
    }

    /// Sends what is left, within the time that the exporter takes at the most.
    pub(super) async fn close(self) {
        // Waits for the sending thread, which needs this runtime to go on.
        let closed = tokio::task::spawn_blocking(move || self.provider.shutdown()).await;
        match closed {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "the last traces may not have been sent"),
            Err(error) => tracing::warn!(%error, "the sending of traces ended badly"),
        }
    }
}
