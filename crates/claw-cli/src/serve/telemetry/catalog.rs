//! Every metric of the server, with its meaning and, for distributions, its buckets. `docs/operations.md` has the same
//! list for people, and a test compares the two.

/// What a metric counts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Kind {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// How values are spread, over these bounds.
    Histogram(&'static [f64]),
}

/// One metric.
#[derive(Clone, Copy, Debug)]
pub(super) struct Metric {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    pub(super) about: &'static str,
}

/// Answers of the server and of its store.
const QUICK: &[f64] = &[0.0005, 0.001, 0.0025, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0];
/// From submit to claim: milliseconds when a worker is idle, hours when all are busy.
const WAITING: &[f64] = &[0.001, 0.005, 0.02, 0.1, 0.5, 1.0, 5.0, 30.0, 60.0, 300.0, 1800.0, 7200.0, 43200.0];
/// Runs of an agent.
const RUNS: &[f64] = &[1.0, 5.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1200.0, 1800.0, 3600.0, 7200.0];
/// Turns of the model.
const TURNS: &[f64] = &[0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0];
/// Starts of a sandbox.
const STARTS: &[f64] = &[0.005, 0.01, 0.025, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5, 1.0, 2.0, 5.0, 15.0];
/// Writes that share one transaction.
const BATCHES: &[f64] = &[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0];

const fn metric(name: &'static str, kind: Kind, about: &'static str) -> Metric {
    Metric { name, kind, about }
}

/// All of them.
pub(super) const METRICS: &[Metric] = &[
    metric("claw_jobs", Kind::Gauge, "Jobs by state."),
    metric("claw_queue_age_seconds", Kind::Gauge, "Age of the oldest job that waits."),
    metric("claw_job_claim_seconds", Kind::Histogram(WAITING), "From submit to the first claim."),
    metric("claw_job_run_seconds", Kind::Histogram(RUNS), "Runs of agents by outcome."),
    metric("claw_jobs_finished_total", Kind::Counter, "Jobs that ended, by outcome and kind of failure."),
    metric("claw_cost_usd_total", Kind::Counter, "US dollars spent at the model API, by model."),
    metric("claw_tokens_total", Kind::Counter, "Tokens by model and kind."),
    metric("claw_gateway_requests_total", Kind::Counter, "Requests to the model API by class of status."),
    metric("claw_gateway_turn_seconds", Kind::Histogram(TURNS), "Turns of the model."),
    metric("claw_gateway_paused", Kind::Gauge, "1 while the model API asks to wait, else 0."),
    metric(
        "claw_store_write_seconds",
        Kind::Histogram(QUICK),
        "Writes of the store, until they are on disk.",
    ),
    metric("claw_store_batch_writes", Kind::Histogram(BATCHES), "Writes that shared one transaction."),
    metric("claw_store_bytes", Kind::Gauge, "Size of the database."),
    metric("claw_sandbox_start_seconds", Kind::Histogram(STARTS), "Starts of sandboxes, warm and cold."),
    metric("claw_sandboxes", Kind::Gauge, "Sandboxes by state."),
    metric("claw_http_requests_total", Kind::Counter, "Requests by route, method and class of status."),
    metric("claw_http_seconds", Kind::Histogram(QUICK), "Time to answer by route."),
    metric("claw_http_connections", Kind::Gauge, "Open connections."),
    metric(
        "claw_http_refused_connections_total",
        Kind::Counter,
        "Connections closed at once: their party had too many open.",
    ),
    metric("claw_http_streams", Kind::Gauge, "Live streams that are followed."),
    metric("claw_audit_entries_total", Kind::Counter, "Entries of the audit trail by outcome."),
    metric("claw_auth_failures_total", Kind::Counter, "Refused credentials by kind."),
    metric("claw_disk_free_bytes", Kind::Gauge, "Free bytes on the disk of the data folder."),
    metric("claw_build_info", Kind::Gauge, "Always 1; the label tells the version."),
    metric("process_resident_memory_bytes", Kind::Gauge, "Memory that the server holds."),
    metric("process_cpu_seconds_total", Kind::Counter, "Processor time that the server took, whole seconds."),
    metric("process_open_fds", Kind::Gauge, "Open file descriptors."),
    metric("process_max_fds", Kind::Gauge, "Most file descriptors that may be open."),
    metric("process_threads", Kind::Gauge, "Threads."),
    metric("process_start_time_seconds", Kind::Gauge, "When the server started, in Unix time."),
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_are_unique_and_follow_the_conventions() {
        let names: BTreeSet<_> = METRICS.iter().map(|metric| metric.name).collect();
        assert_eq!(names.len(), METRICS.len());
        for metric in METRICS {
            assert_eq!(metric.kind == Kind::Counter, metric.name.ends_with("_total"), "{}", metric.name);
            if let Kind::Histogram(bounds) = metric.kind {
                assert!(bounds.is_sorted(), "{}", metric.name);
            }
        }
    }

    #[test]
    fn the_table_for_people_lists_exactly_these() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/operations.md");
        let document = std::fs::read_to_string(path).expect("the document");
        let rows = document.lines().filter_map(|line| line.strip_prefix("| `")?.split_once('`'));
        let listed: BTreeSet<_> = rows
            .map(|(name, _)| name.split('{').next().unwrap_or(name))
            .filter(|name| name.starts_with("claw_") || name.starts_with("process_"))
            .collect();

        assert_eq!(listed, METRICS.iter().map(|metric| metric.name).collect());
    }

    fn is_name(text: &str) -> bool {
        (text.starts_with("claw_") || text.starts_with("process_"))
            && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')
    }

    #[test]
    fn each_is_counted_somewhere_and_nothing_else_is() {
        let crates = std::path::Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
        let mut folders: Vec<_> = std::fs::read_dir(crates)
            .expect("the crates")
            .map(|entry| entry.expect("an entry").path().join("src"))
            .collect();
        let mut counted = BTreeSet::new();
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).into_iter().flatten() {
                let path = entry.expect("an entry").path();
                if path.is_dir() {
                    folders.push(path);
                } else if !path.ends_with("telemetry/catalog.rs") {
                    let source = std::fs::read_to_string(path).expect("a source file");
                    counted.extend(source.split('"').filter(|text| is_name(text)).map(str::to_owned));
                }
            }
        }
        // The cookie, a volume, and a name that somebody tries to get.
        for other in ["claw_session", "claw_data", "claw_x"] {
            counted.remove(other);
        }

        assert_eq!(counted, METRICS.iter().map(|metric| metric.name.to_owned()).collect());
    }
}
