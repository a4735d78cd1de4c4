//! The jobs that this worker runs, and what keeps them its own when the clock is set.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use claw_core::{JobId, Timestamp};
use claw_store::StoreError;

use super::{Worker, dispatch::after};

/// Jobs that run, with their leases' tokens, and when the clock was last looked at.
#[derive(Debug, Default)]
pub(super) struct Active(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    jobs: HashMap<JobId, u64>,
    /// The time of day, and the same moment on the clock that nobody sets.
    last_look: Option<(Timestamp, Instant)>,
}

impl Active {
    pub(super) fn add(&self, job: JobId, token: u64) {
        self.with(|inner| inner.jobs.insert(job, token));
    }

    /// Forgets the job, unless it runs under another lease by now.
    pub(super) fn remove(&self, job: JobId, token: u64) {
        self.with(|inner| {
            if inner.jobs.get(&job) == Some(&token) {
                inner.jobs.remove(&job);
            }
        });
    }

    /// Looks at the clock, and returns the jobs that run if it went forward by more than `tolerance` beyond the time
    /// that passed since the last look.
    fn after_jump(&self, now: Timestamp, tolerance: Duration) -> Vec<(JobId, u64)> {
        self.with(|inner| {
            let (then, instant) =
                inner.last_look.replace((now, Instant::now())).unwrap_or((now, Instant::now()));
            let passed = Duration::try_from(now.duration_since(then)).unwrap_or(Duration::ZERO);
            if passed <= instant.elapsed() + tolerance {
                return Vec::new();
            }
            inner.jobs.iter().map(|(job, token)| (*job, *token)).collect()
        })
    }

    /// A std mutex: held for a look, never across an await.
    fn with<T>(&self, change: impl FnOnce(&mut Inner) -> T) -> T {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Worker {
    /// Renews the leases of what runs here if the clock was set forward, or the machine slept: by the clock they have
    /// lapsed, and the claim at `now` that follows would give the jobs away while they run.
    pub(super) async fn outlive_clock_jump(&self, now: Timestamp) -> Result<(), StoreError> {
        for (job, token) in self.active.after_jump(now, self.config.lease / 3) {
            tracing::warn!(job.id = %job, "the clock went forward: renewing the lease");
            match self.store.jobs.renew(job, token, after(now, self.config.lease)).await {
                // One that has ended or was lost is no longer ours; its keeper sees to that.
                Ok(_) | Err(StoreError::Transition(_) | StoreError::JobNotFound(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_jump_forward_asks_for_renewals() {
        let active = Active::default();
        let job = JobId::new();
        active.add(job, 2);
        let tolerance = Duration::from_secs(5);
        let at = |second: i64| Timestamp::from_second(1_800_000_000 + second).expect("a time in range");

        assert_eq!(active.after_jump(at(0), tolerance), []);
        assert_eq!(active.after_jump(at(4), tolerance), []);
        assert_eq!(active.after_jump(at(3604), tolerance), [(job, 2)]);
        assert_eq!(active.after_jump(at(10), tolerance), [], "back again");
        active.remove(job, 1);
        assert_eq!(active.after_jump(at(100), tolerance), [(job, 2)], "another run was meant");
        active.remove(job, 2);
        assert_eq!(active.after_jump(at(9999), tolerance), []);
    }
}
