//! Holds a job's lease while it runs, and notices when the run must end.

use std::{sync::OnceLock, time::Duration};

use claw_core::{IllegalTransition, JobId, JobState};
use claw_store::{StoreError, Topic};
use tokio_util::sync::CancellationToken;

use super::{Worker, dispatch::after};

/// Pause before a renewal is tried again that the store did not answer.
const RENEW_AGAIN: Duration = Duration::from_secs(1);

/// Why a run ends before the agent is done. The first reason stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum EndReason {
    /// Someone asked for it.
    Cancel,
    /// Another worker may have the job by now, or nobody knows: nothing of this run counts.
    LeaseLost,
    /// The server is stopping.
    Shutdown,
}

/// Ends one run, once, with its reason.
#[derive(Debug, Default)]
pub(super) struct RunEnder {
    token: CancellationToken,
    reason: OnceLock<EndReason>,
    settled: CancellationToken,
}

impl RunEnder {
    pub(super) fn end(&self, reason: EndReason) {
        self.reason.get_or_init(|| reason);
        self.token.cancel();
    }

    pub(super) fn reason(&self) -> Option<EndReason> {
        self.reason.get().copied()
    }

    pub(super) fn token(&self) -> CancellationToken {
        self.token.clone()
    }

    /// Says that the run is about to be finished, so that the lease need not be kept any more.
    pub(super) fn settle(&self) {
        self.settled.cancel();
    }
}

impl Worker {
    /// Renews the lease until the run is settled, and ends the run when it must end. The first renewal happens at
    /// once, so that a cancel request from before this call is seen.
    pub(super) async fn keep_lease(
        &self,
        job: JobId,
        token: u64,
        stop_runs: CancellationToken,
        ender: &RunEnder,
    ) {
        let mut cancel = self.store.signals.subscribe(Topic::Cancel(job));
        let mut held_until = after(self.clock.now(), self.config.lease);
        loop {
            let now = self.clock.now();
            let until = after(now, self.config.lease);
            let pause = match self.store.jobs.renew(job, token, until).await {
                Ok(renewed) => {
                    held_until = until;
                    if matches!(renewed.state, JobState::Running { cancel_requested_by: Some(_), .. }) {
                        ender.end(EndReason::Cancel);
                    }
                    self.config.lease / 3
                }
                Err(StoreError::Transition(IllegalTransition::LostLease) | StoreError::JobNotFound(_)) => {
                    if !ender.settled.is_cancelled() {
                        tracing::warn!(job.id = %job, "lost the lease: this run no longer counts");
                        ender.end(EndReason::LeaseLost);
                    }
                    return;
                }
                Err(error) if now >= held_until => {
                    tracing::error!(job.id = %job, %error, "could not renew the lease in time");
                    return ender.end(EndReason::LeaseLost);
                }
                Err(error) => {
                    tracing::warn!(job.id = %job, %error, "could not renew the lease, trying again");
                    RENEW_AGAIN
                }
            };
            tokio::select! {
                () = ender.settled.cancelled() => return,
                () = tokio::time::sleep(pause) => {}
                () = cancel.changed() => {}
                () = stop_runs.cancelled(), if ender.reason().is_none() => ender.end(EndReason::Shutdown),
            }
        }
    }
}
