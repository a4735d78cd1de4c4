//! Pauses that the model API asks for: they hold for all runs, since it counts them together.
//!
//! When a pause is over, one request goes first. Only if that is not sent back too do the others follow.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use claw_core::{Clock, Timestamp};
use tokio::{sync::watch, time::Instant};

use super::state::ModelState;

/// Longest time that a request waits in the gateway for pauses to end. The CLI itself waits ten minutes for an answer to begin.
pub(super) const MAX_WAIT: Duration = Duration::from_secs(30);

/// Longest time by which a request that waited is held back further, so that not all go at the same moment.
const MAX_JITTER: Duration = Duration::from_millis(500);

/// How long the one that went first is waited for, before another one goes.
const PROBE_TIME: Duration = Duration::from_secs(10);

/// Tells when the model API may be asked.
pub(super) struct Pauses {
    clock: Arc<dyn Clock>,
    // A std mutex: held for a few instructions, never across an await.
    pause: Mutex<Option<Pause>>,
    /// What is told about it; also wakes those who wait.
    state: watch::Sender<ModelState>,
}

#[derive(Clone, Copy, Debug)]
struct Pause {
    until: Instant,
    told_until: Timestamp,
    /// When a request went to look whether the pause is over.
    probed_at: Option<Instant>,
}

/// The model API is not to be asked for so long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Paused {
    /// How much longer.
    pub(super) remaining: Duration,
    /// Why.
    pub(super) reason: String,
}

/// The leave to ask the model API once. Dropped without a word, it says nothing about the pause.
#[derive(Debug)]
pub(super) struct Leave<'a> {
    pauses: &'a Pauses,
    probes: bool,
}

enum Next<'a> {
    Go(Leave<'a>),
    Wait { until: Instant },
}

impl std::fmt::Debug for Pauses {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pauses").field("pause", &self.pause).finish_non_exhaustive()
    }
}

impl Pauses {
    pub(super) fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, pause: Mutex::new(None), state: watch::Sender::default() }
    }

    pub(super) fn state(&self) -> ModelState {
        let state = self.state.borrow().clone();
        let is_over = state.paused_until.is_none_or(|until| until <= self.clock.now());
        if is_over { ModelState::default() } else { state }
    }

    pub(super) fn subscribe(&self) -> watch::Receiver<ModelState> {
        self.state.subscribe()
    }

    /// Waits until the model API may be asked, not longer than until `deadline`.
    pub(super) async fn leave(&self, deadline: Instant) -> Result<Leave<'_>, Paused> {
        let mut changed = self.state.subscribe();
        let mut waited = false;
        loop {
            changed.mark_unchanged();
            let until = match self.next() {
                Next::Go(leave) => {
                    if waited && !leave.probes {
                        tokio::time::sleep(MAX_JITTER.mul_f64(rand::random::<f64>())).await;
                    }
                    return Ok(leave);
                }
                Next::Wait { until } if until > deadline => return Err(self.paused(until)),
                Next::Wait { until } => until,
            };
            waited = true;
            tokio::select! {
                // The sender lives as long as this.
                _ = changed.changed() => {}
                () = tokio::time::sleep_until(until) => {}
            }
            if Instant::now() > deadline {
                return Err(self.paused(deadline));
            }
        }
    }

    /// Notes that the model API asked to be left alone.
    pub(super) fn pause(&self, pause: Duration, reason: String) {
        let until = Instant::now() + pause;
        let now = self.clock.now();
        let told_until = now.saturating_add(pause).unwrap_or(now);
        let mut current = self.current();
        match &mut *current {
            // Answers of requests that went out together: the longest pause counts.
            Some(current) if current.until >= until => current.probed_at = None,
            _ => *current = Some(Pause { until, told_until, probed_at: None }),
        }
        let told_until = current.map_or(told_until, |pause| pause.told_until);
        drop(current);
        tracing::warn!(pause_secs = pause.as_secs(), "the model API takes no requests for a while: {reason}");
        self.state.send_replace(ModelState { paused_until: Some(told_until), reason: Some(reason) });
    }

    fn next(&self) -> Next<'_> {
        let mut current = self.current();
        match &mut *current {
            None => Next::Go(Leave { pauses: self, probes: false }),
            Some(pause) if pause.until > Instant::now() => Next::Wait { until: pause.until },
            Some(Pause { probed_at: Some(at), .. }) if at.elapsed() < PROBE_TIME => {
                Next::Wait { until: *at + PROBE_TIME }
            }
            Some(pause) => {
                pause.probed_at = Some(Instant::now());
                Next::Go(Leave { pauses: self, probes: true })
            }
        }
    }

    fn paused(&self, until: Instant) -> Paused {
        let remaining = until.saturating_duration_since(Instant::now()).max(Duration::from_secs(1));
        Paused { remaining, reason: self.state.borrow().reason.clone().unwrap_or_default() }
    }

    fn current(&self) -> std::sync::MutexGuard<'_, Option<Pause>> {
        self.pause.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Leave<'_> {
    /// Notes that the model API did answer: a pause that was being looked at is over.
    pub(super) fn answered(mut self) {
        if !std::mem::take(&mut self.probes) {
            return;
        }
        *self.pauses.current() = None;
        self.pauses.state.send_replace(ModelState::default());
    }
}

impl Drop for Leave<'_> {
    fn drop(&mut self) {
        if !self.probes {
            return;
        }
        let mut current = self.pauses.current();
        if let Some(pause) = &mut *current {
            pause.probed_at = None;
        }
        drop(current);
        // Another one may look now.
        self.pauses.state.send_modify(|_| {});
    }
}

#[cfg(test)]
mod tests {
    use claw_core::SystemClock;

    use super::*;

    fn pauses() -> Pauses {
        Pauses::new(Arc::new(SystemClock))
    }

    fn soon() -> Instant {
        Instant::now() + MAX_WAIT
    }

    #[tokio::test(start_paused = true)]
    async fn after_a_pause_one_goes_first_and_the_others_follow_its_success() {
        let pauses = pauses();
        pauses.pause(Duration::from_secs(5), "slow down".to_owned());
        let began = Instant::now();

        let first = pauses.leave(soon()).await.expect("short enough");
        let waited = began.elapsed();
        let mut second = std::pin::pin!(pauses.leave(soon()));
        let early = tokio::time::timeout(Duration::from_secs(1), &mut second).await;
        first.answered();
        let later = second.await;

        assert!(waited >= Duration::from_secs(5));
        assert!(early.is_err() && later.is_ok());
        assert_eq!(pauses.state(), ModelState::default());
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_went_first_and_said_nothing_lets_another_go_first() {
        let pauses = pauses();
        pauses.pause(Duration::from_secs(1), String::new());

        drop(pauses.leave(soon()).await.expect("short enough"));
        let second = pauses.leave(soon()).await.expect("short enough");

        assert!(second.probes);
    }

    #[tokio::test(start_paused = true)]
    async fn a_pause_longer_than_the_patience_is_said_at_once() {
        let pauses = pauses();
        pauses.pause(Duration::from_secs(600), "quota".to_owned());
        let began = Instant::now();

        let paused = pauses.leave(soon()).await.expect_err("too long");

        assert_eq!(began.elapsed(), Duration::ZERO);
        assert_eq!(paused, Paused { remaining: Duration::from_secs(600), reason: "quota".to_owned() });
        assert!(pauses.state().paused_until.is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn the_longest_of_several_pauses_counts() {
        let pauses = pauses();
        let began = Instant::now();

        pauses.pause(Duration::from_secs(9), String::new());
        pauses.pause(Duration::from_secs(2), String::new());
        let _leave = pauses.leave(soon()).await.expect("short enough");

        assert!(began.elapsed() >= Duration::from_secs(9));
    }
}
