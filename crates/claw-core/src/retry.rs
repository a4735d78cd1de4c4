//! When a failed run is tried again.

use std::time::Duration;

use crate::FailureKind;

/// How often and how soon failed runs are tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryPolicy {
    /// Runs after the first one.
    pub max_retries: u32,
    /// Pause before the first retry; it doubles with each further one.
    pub base_delay: Duration,
    /// Longest pause.
    pub max_delay: Duration,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self { max_retries: 3, base_delay: Duration::from_secs(5), max_delay: Duration::from_secs(300) }
    }
}

/// What to do after a failed run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RetryDecision {
    /// Try again after this pause.
    After(Duration),
    /// The job has failed.
    GiveUp,
}

impl RetryPolicy {
    /// Decides what follows a run that failed with `kind` after `retry_count` earlier retries.
    ///
    /// `jitter` in 0.0..1.0 takes up to half of the pause away, so that jobs which failed together do not come back
    /// together.
    pub fn decide(&self, kind: FailureKind, retry_count: u32, jitter: f64) -> RetryDecision {
        if !kind.is_retryable() || retry_count >= self.max_retries {
            return RetryDecision::GiveUp;
        }
        let doubled = self.base_delay.saturating_mul(2u32.saturating_pow(retry_count)).min(self.max_delay);
        RetryDecision::After(doubled.mul_f64(1.0 - jitter.clamp(0.0, 1.0) / 2.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: RetryPolicy =
        RetryPolicy { max_retries: 3, base_delay: Duration::from_secs(2), max_delay: Duration::from_secs(6) };

    #[test]
    fn the_pause_doubles_up_to_its_limit_and_then_the_job_fails() {
        let pauses: Vec<_> = (0..4).map(|n| POLICY.decide(FailureKind::ModelUnavailable, n, 0.0)).collect();

        let secs = |n| RetryDecision::After(Duration::from_secs(n));
        assert_eq!(pauses, [secs(2), secs(4), secs(6), RetryDecision::GiveUp]);
    }

    #[test]
    fn what_cannot_heal_is_not_tried_again() {
        for kind in
            [FailureKind::ModelAuth, FailureKind::ModelRequest, FailureKind::Timeout, FailureKind::Budget]
        {
            assert_eq!(POLICY.decide(kind, 0, 0.0), RetryDecision::GiveUp, "{kind:?}");
        }
    }

    #[test]
    fn jitter_only_shortens_the_pause() {
        assert_eq!(POLICY.decide(FailureKind::Killed, 0, 1.0), RetryDecision::After(Duration::from_secs(1)));
    }
}
