//! Metrics in the form that Prometheus reads. Any crate counts with the macros of `metrics`; here is where it comes
//! together.

use std::{sync::OnceLock, time::Duration};

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tokio_util::sync::CancellationToken;

use super::{
    catalog::{Kind, METRICS},
    process,
};
use crate::error::CliError;

/// How often counted values are put into their buckets. Until then each takes a few bytes.
const UPKEEP: Duration = Duration::from_secs(5);

/// The metrics of this process.
pub(super) struct Metrics(Scrape);

/// Writes the metrics down. A cheap handle.
#[derive(Clone)]
pub(in crate::serve) struct Scrape(PrometheusHandle);

impl Metrics {
    /// Starts counting for the whole process.
    pub(super) fn start() -> Result<Self, CliError> {
        // A process has one recorder. Tests that start a second server in one process share it.
        static HANDLE: OnceLock<PrometheusHandle> = OnceLock::new();
        if let Some(handle) = HANDLE.get() {
            return Ok(Self(Scrape(handle.clone())));
        }
        let recorder = builder()?.build_recorder();
        let handle = HANDLE.get_or_init(|| recorder.handle()).clone();
        metrics::set_global_recorder(recorder)
            .map_err(|error| CliError::internal(format!("cannot start counting: {error}")))?;
        describe();
        metrics::gauge!("claw_build_info", "version" => env!("CARGO_PKG_VERSION")).set(1.0);
        Ok(Self(Scrape(handle)))
    }

    /// Returns what writes the metrics down.
    pub(super) fn scrape(&self) -> Scrape {
        self.0.clone()
    }
}

impl Scrape {
    /// Returns all metrics as they are now, in Prometheus' text format.
    pub(in crate::serve) fn render(&self) -> String {
        process::measure();
        // Dollars have fractions, so they are counted by a gauge: the counters of `metrics` are whole numbers.
        self.0.render().replacen("# TYPE claw_cost_usd_total gauge", "# TYPE claw_cost_usd_total counter", 1)
    }

    /// Puts what was counted into its buckets every few seconds until `stop`.
    pub(super) async fn keep_small(self, stop: CancellationToken) {
        let mut ticks = tokio::time::interval(UPKEEP);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = ticks.tick() => self.0.run_upkeep(),
            }
        }
    }
}

fn builder() -> Result<PrometheusBuilder, CliError> {
    let mut builder = PrometheusBuilder::new();
    for metric in METRICS {
        if let Kind::Histogram(bounds) = metric.kind {
            let matcher = Matcher::Full(metric.name.to_owned());
            builder = builder
                .set_buckets_for_metric(matcher, bounds)
                .map_err(|error| CliError::internal(format!("cannot start counting: {error}")))?;
        }
    }
    Ok(builder)
}

fn describe() {
    for metric in METRICS {
        match metric.kind {
            Kind::Counter => metrics::describe_counter!(metric.name, metric.about),
            Kind::Gauge => metrics::describe_gauge!(metric.name, metric.about),
            Kind::Histogram(_) => metrics::describe_histogram!(metric.name, metric.about),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distributions_have_buckets_and_the_process_is_measured() {
        let metrics = Metrics::start().expect("started");
        metrics::histogram!("claw_job_claim_seconds").record(0.004);
        metrics::gauge!("claw_cost_usd_total", "model" => "opus").increment(0.25);

        let text = metrics.scrape().render();

        assert!(text.contains("claw_job_claim_seconds_bucket{le=\"0.005\"} 1"), "{text}");
        assert!(text.contains("# HELP claw_job_claim_seconds From submit"), "{text}");
        assert!(text.contains("claw_build_info{version="), "{text}");
        assert!(
            text.contains("# TYPE claw_cost_usd_total counter\nclaw_cost_usd_total{model=\"opus\"} 0.25"),
            "{text}"
        );
        for name in ["process_resident_memory_bytes", "process_open_fds", "process_start_time_seconds"] {
            let value = text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse::<f64>().ok());
            assert!(value.is_some_and(|value| value > 0.0), "{name}: {text}");
        }
    }
}
