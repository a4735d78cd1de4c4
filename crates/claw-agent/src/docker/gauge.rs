//! Counts the containers that are there now, for the metrics.

const SANDBOXES: &str = "claw_sandboxes";

/// One container, counted until it is dropped.
pub(super) struct Counted {
    state: &'static str,
}

impl Counted {
    /// One at work for a job.
    pub(super) fn running() -> Self {
        Self::new("running")
    }

    /// One that waits for a job.
    pub(super) fn warm() -> Self {
        Self::new("warm")
    }

    fn new(state: &'static str) -> Self {
        metrics::gauge!(SANDBOXES, "state" => state).increment(1.0);
        Self { state }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        metrics::gauge!(SANDBOXES, "state" => self.state).decrement(1.0);
    }
}

/// Notes how long a job waited for its CLI: started for it, or told its task.
pub(super) fn started(kind: &'static str, after: std::time::Duration) {
    metrics::histogram!("claw_sandbox_start_seconds", "kind" => kind).record(after.as_secs_f64());
}
