//! The loop that claims jobs and hands them to slots.

use std::{collections::HashSet, sync::Arc, time::Duration};

use claw_agent::run::sweep_run_directories;
use claw_core::{ClaimedJob, Timestamp};
use claw_store::{ClaimRequest, Topic};
use jiff::SignedDuration;
use tokio::sync::Semaphore;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::Worker;
use crate::JobsError;

/// How long the loop sleeps without a signal at the most. A safety net: signals may be lost.
const SAFETY: Duration = Duration::from_secs(10);

/// How long the loop waits before it asks again for a sandbox that is not ready, or a store that does not answer.
const RECHECK: Duration = Duration::from_secs(2);

enum Next {
    Claimed(Box<ClaimedJob>),
    Idle,
    NotReady(String),
}

impl Worker {
    pub(super) async fn dispatch(
        self: Arc<Self>,
        stop: CancellationToken,
        stop_runs: CancellationToken,
        runs: TaskTracker,
    ) {
        let slots = Arc::new(Semaphore::new(self.config.capacity));
        let mut claims = 0;
        let mut swept = false;
        self.state.set_capacity(self.config.capacity);
        loop {
            let slot = tokio::select! {
                () = stop.cancelled() => return,
                slot = Arc::clone(&slots).acquire_owned() => slot,
            };
            // The semaphore is never closed.
            let Ok(slot) = slot else { return };
            // Subscribed before the claim, so that a submit between the two wakes us.
            let mut wake = self.store.signals.subscribe(Topic::JobsWaiting);
            // Not inside `select!`: a dropped claim would leave a leased job that nobody runs.
            let pause = match self.next(claims, &mut swept).await {
                Ok(Next::Claimed(claimed)) => {
                    claims += 1;
                    self.note_waiting(None);
                    let worker = Arc::clone(&self);
                    let stop_runs = stop_runs.child_token();
                    let state_slots = Arc::clone(&slots);
                    self.state.set_active(self.config.capacity - slots.available_permits());
                    runs.spawn(async move {
                        worker.run_supervised(*claimed, stop_runs).await;
                        drop(slot);
                        worker.state.set_active(worker.config.capacity - state_slots.available_permits());
                    });
                    continue;
                }
                Ok(Next::Idle) => {
                    self.note_waiting(None);
                    self.until_due().await
                }
                Ok(Next::NotReady(reason)) => {
                    self.note_waiting(Some(reason));
                    RECHECK
                }
                Err(error) => {
                    self.note_waiting(Some(error.to_string()));
                    RECHECK
                }
            };
            drop(slot);
            tokio::select! {
                () = stop.cancelled() => return,
                () = wake.changed(), if pause != RECHECK => {}
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    /// Claims the next job if the sandbox can take one. Leftovers of a former start go first: a run that still
    /// holds a job's files must be gone before the job is run again.
    async fn next(&self, claims: usize, swept: &mut bool) -> Result<Next, JobsError> {
        if let Err(error) = self.sandbox.ready().await {
            return Ok(Next::NotReady(error.to_string()));
        }
        if !*swept {
            match self.sandbox.sweep(&HashSet::new()).await {
                Ok(0) => {}
                Ok(removed) => tracing::info!(removed, "removed sandboxes that a former start left behind"),
                Err(error) => return Ok(Next::NotReady(error.to_string())),
            }
            if let Err(error) = sweep_run_directories(&self.config.run_root, &HashSet::new()) {
                tracing::warn!(%error, "could not remove folders of former runs");
            }
            self.discard_leftovers().await?;
            *swept = true;
        }
        let now = self.clock.now();
        let request = ClaimRequest {
            worker: self.worker_id(claims),
            lease_until: after(now, self.config.lease),
            max_retries: self.config.retry.max_retries,
        };
        Ok(match self.store.jobs.claim(request, now).await? {
            Some(claimed) => Next::Claimed(Box::new(claimed)),
            None => Next::Idle,
        })
    }

    async fn until_due(&self) -> Duration {
        let now = self.clock.now();
        match self.store.jobs.next_due(now).await {
            Ok(Some(due)) => {
                Duration::try_from(due.duration_since(now)).unwrap_or(Duration::ZERO).min(SAFETY)
            }
            Ok(None) => SAFETY,
            Err(error) => {
                tracing::warn!(%error, "could not ask when the next job is due");
                RECHECK
            }
        }
    }

    fn note_waiting(&self, reason: Option<String>) {
        let text = reason.clone();
        if self.state.set_waiting(reason) {
            match text {
                Some(reason) => tracing::warn!(reason, "no jobs are claimed for now"),
                None => tracing::info!("jobs are claimed again"),
            }
        }
    }
}

/// Returns the moment `duration` after `now`.
pub(super) fn after(now: Timestamp, duration: Duration) -> Timestamp {
    SignedDuration::try_from(duration)
        .ok()
        .and_then(|duration| now.checked_add(duration).ok())
        .unwrap_or(Timestamp::MAX)
}
