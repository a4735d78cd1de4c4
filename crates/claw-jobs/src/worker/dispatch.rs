//! The loop that claims jobs and hands them to slots.

use std::{collections::HashSet, sync::Arc, time::Duration};

use claw_agent::run::sweep_run_directories;
use claw_core::{ClaimedJob, Timestamp};
use claw_store::{ClaimRequest, Topic, fault};
use jiff::SignedDuration;
use tokio::sync::Semaphore;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::Instrument;

use super::{Wait, Worker};
use crate::{JobsError, gauges, spans};

/// How long the loop sleeps without a signal at the most. A safety net: signals may be lost.
const SAFETY: Duration = Duration::from_secs(10);

/// How long the loop waits before it asks again for a sandbox that is not ready, or a store that does not answer.
const RECHECK: Duration = Duration::from_secs(2);

enum Next {
    Claimed(Box<ClaimedJob>),
    /// Nothing is due, or only jobs of owners who have spent their share.
    Idle {
        some_held: bool,
    },
    /// Nothing can be claimed. Look again when something changes, and after `recheck` anyway.
    Held {
        wait: Wait,
        recheck: Duration,
    },
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
        let (mut settings, mut model) = (self.settings.changes(), self.gateway.model_changed());
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
            settings.mark_unchanged();
            model.mark_unchanged();
            // Not inside `select!`: a dropped claim would leave a leased job that nobody runs.
            let (pause, wakes_for_jobs) = match self.next(claims, &mut swept).await {
                Ok(Next::Claimed(claimed)) => {
                    claims += 1;
                    self.note_waiting(None);
                    gauges::job_claimed(&claimed.job, self.clock.as_ref());
                    fault::point("worker.claimed");
                    let worker = Arc::clone(&self);
                    let stop_runs = stop_runs.child_token();
                    self.state.run_began();
                    let span = spans::run(&claimed, self.clock.as_ref());
                    let run = async move {
                        worker.run_supervised(*claimed, stop_runs).await;
                        drop(slot);
                        worker.state.run_ended();
                    };
                    runs.spawn(run.instrument(span));
                    continue;
                }
                Ok(Next::Idle { some_held }) => {
                    self.note_waiting(None);
                    let pause = self.until_due().await;
                    // The next one due may be one that is held, and due already.
                    (if some_held { pause.max(RECHECK) } else { pause }, true)
                }
                Ok(Next::Held { wait, recheck }) => {
                    self.note_waiting(Some(wait));
                    (recheck, false)
                }
                Err(error) => {
                    self.note_waiting(Some(Wait { reason: error.to_string(), until: None }));
                    (RECHECK, false)
                }
            };
            drop(slot);
            tokio::select! {
                () = stop.cancelled() => return,
                () = wake.changed(), if wakes_for_jobs => {}
                Ok(()) = settings.changed() => {}
                Ok(()) = model.changed() => {}
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    /// Claims the next job if it could run. Leftovers of a former start go first: a run that still holds a job's files
    /// must be gone before the job is run again.
    async fn next(self: &Arc<Self>, claims: usize, swept: &mut bool) -> Result<Next, JobsError> {
        if let Some(held) = self.held_by_machine().await {
            return Ok(held);
        }
        if !*swept {
            match self.sandbox.sweep(&HashSet::new()).await {
                Ok(0) => {}
                Ok(removed) => tracing::info!(removed, "removed sandboxes that a former start left behind"),
                Err(error) => return Ok(not_ready(error.to_string())),
            }
            if let Err(error) = sweep_run_directories(&self.config.run_root, &HashSet::new()) {
                tracing::warn!(%error, "could not remove folders of former runs");
            }
            self.discard_leftovers().await?;
            *swept = true;
            // Not before: the sweep would take them for leftovers.
            self.sandbox.keep_warm(Arc::<Self>::clone(self));
        }
        let used_up = self.purse.used_up().await?;
        let skip_owners: Vec<_> = used_up.owners.keys().cloned().collect();
        self.state.set_held(used_up.owners);
        if let Some(wait) = used_up.installation {
            let recheck = self.until(wait.until, SAFETY);
            return Ok(Next::Held { wait, recheck });
        }
        let some_held = !skip_owners.is_empty();
        let now = self.clock.now();
        self.outlive_clock_jump(now).await?;
        let request = ClaimRequest {
            worker: self.worker_id(claims),
            lease_until: after(now, self.config.lease),
            max_retries: self.config.retry.max_retries,
            skip_owners,
        };
        Ok(match self.store.jobs.claim(request, now).await? {
            Some(claimed) => {
                self.active.add(claimed.job.id, claimed.token);
                Next::Claimed(Box::new(claimed))
            }
            None => Next::Idle { some_held },
        })
    }

    /// Tells what keeps every job from running: a full disk, the sandbox, the model API.
    async fn held_by_machine(&self) -> Option<Next> {
        if let Err(full) = self.disk.check() {
            return Some(not_ready(full.to_string()));
        }
        if let Err(error) = self.sandbox.ready().await {
            return Some(not_ready(error.to_string()));
        }
        let model = self.gateway.model_state();
        let until = model.paused_until.filter(|until| *until > self.clock.now())?;
        let because = model.reason.map(|reason| format!(" ({reason})")).unwrap_or_default();
        let reason =
            format!("the model API takes no requests for now{because}: jobs go on at {}", clock_time(until));
        let recheck = self.until(Some(until), SAFETY);
        Some(Next::Held {
            wait: Wait { reason: self.redactor.text(&reason).into_owned(), until: Some(until) },
            recheck,
        })
    }

    async fn until_due(&self) -> Duration {
        let now = self.clock.now();
        match self.store.jobs.next_due(now).await {
            Ok(due) => self.until(due, SAFETY),
            Err(error) => {
                tracing::warn!(%error, "could not ask when the next job is due");
                RECHECK
            }
        }
    }

    /// Returns how long it is until `moment`, and `most` at the most: the clock may be set meanwhile.
    fn until(&self, moment: Option<Timestamp>, most: Duration) -> Duration {
        let Some(moment) = moment else { return most };
        Duration::try_from(moment.duration_since(self.clock.now())).unwrap_or(Duration::ZERO).min(most)
    }

    fn note_waiting(&self, wait: Option<Wait>) {
        let text = wait.as_ref().map(|wait| wait.reason.clone());
        if self.state.set_waiting(wait) {
            match text {
                Some(reason) => tracing::warn!(reason, "no jobs are claimed for now"),
                None => tracing::info!("jobs are claimed again"),
            }
        }
    }
}

fn not_ready(reason: String) -> Next {
    Next::Held { wait: Wait { reason, until: None }, recheck: RECHECK }
}

/// Writes a moment as people read it, in UTC and to the second.
pub(super) fn clock_time(moment: Timestamp) -> String {
    let moment = Timestamp::from_second(moment.as_second()).unwrap_or(moment);
    moment.to_string().replacen('T', " ", 1).replacen('Z', " UTC", 1)
}

/// Returns the moment `duration` after `now`.
pub(super) fn after(now: Timestamp, duration: Duration) -> Timestamp {
    SignedDuration::try_from(duration)
        .ok()
        .and_then(|duration| now.checked_add(duration).ok())
        .unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_written_for_people() {
        let moment = "2026-11-21T07:31:05.123456Z".parse().expect("a time");

        assert_eq!(clock_time(moment), "2026-11-21 07:31:05 UTC");
    }
}
