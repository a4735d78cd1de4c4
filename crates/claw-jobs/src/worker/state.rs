//! What others may know of a worker while it works.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use claw_core::{Job, JobState, Timestamp};

/// Why something waits, and until when if that is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wait {
    /// The reason with the way out, as a sentence without a full stop.
    pub reason: String,
    /// When it goes on by itself.
    pub until: Option<Timestamp>,
}

/// How things stand with the worker at a moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WorkerSnapshot {
    /// Jobs that may run at the same time.
    pub capacity: usize,
    /// Jobs that run now.
    pub active: usize,
    /// Why no job is claimed at present, with the way out; `None` if jobs are claimed.
    pub waiting_because: Option<String>,
    /// When jobs are claimed again by themselves, if that is known.
    pub waiting_until: Option<Timestamp>,
}

/// A cheap handle on a worker's [`WorkerSnapshot`], and on why a job of its waits.
#[derive(Clone, Debug, Default)]
pub struct WorkerState(Arc<Mutex<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    snapshot: WorkerSnapshot,
    /// Owners whose jobs are passed over, with the reason.
    held: HashMap<String, Wait>,
}

impl WorkerState {
    /// Returns how things stand.
    pub fn snapshot(&self) -> WorkerSnapshot {
        self.with(|inner| inner.snapshot.clone())
    }

    /// Returns why a waiting job waits, as of the worker's last look; `None` if the job does not wait, or for its turn
    /// alone.
    pub fn why_waits(&self, job: &Job, now: Timestamp) -> Option<Wait> {
        let JobState::Pending { not_before, last_error } = &job.state else { return None };
        let backs_off = not_before.filter(|due| *due > now).map(|until| {
            let reason = match last_error {
                Some(error) => format!("the last run ended early and is tried again: {error}"),
                None => "it is not due yet".to_owned(),
            };
            Wait { reason, until: Some(until) }
        });
        self.with(|Inner { snapshot, held }| {
            let all =
                snapshot.waiting_because.clone().map(|reason| Wait { reason, until: snapshot.waiting_until });
            let full = || {
                let WorkerSnapshot { capacity, active, .. } = *snapshot;
                let reason = format!("all {capacity} places are taken by running jobs");
                (capacity > 0 && active >= capacity).then_some(Wait { reason, until: None })
            };
            all.or_else(|| held.get(&job.owner).cloned()).or(backs_off).or_else(full)
        })
    }

    pub(super) fn set_capacity(&self, capacity: usize) {
        self.with(|inner| inner.snapshot.capacity = capacity);
    }

    pub(super) fn run_began(&self) {
        self.with(|inner| inner.snapshot.active += 1);
    }

    pub(super) fn run_ended(&self) {
        self.with(|inner| inner.snapshot.active = inner.snapshot.active.saturating_sub(1));
    }

    /// Sets why no job is claimed and tells whether that is news.
    pub(super) fn set_waiting(&self, wait: Option<Wait>) -> bool {
        self.with(|Inner { snapshot, .. }| {
            let (reason, until) = wait.map(|wait| (wait.reason, wait.until)).unzip();
            let news = snapshot.waiting_because != reason;
            snapshot.waiting_because = reason;
            snapshot.waiting_until = until.flatten();
            news
        })
    }

    /// Sets whose jobs are passed over.
    pub(super) fn set_held(&self, held: HashMap<String, Wait>) {
        self.with(|inner| inner.held = held);
    }

    /// A std mutex: held for a copy, never across an await.
    fn with<T>(&self, change: impl FnOnce(&mut Inner) -> T) -> T {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use claw_core::{JobId, JobSource, JobSpec};

    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).expect("a time in range")
    }

    #[test]
    fn a_waiting_job_tells_the_reason_that_holds_it_longest_up_the_line() {
        let state = WorkerState::default();
        let mut job = Job::new(JobId::new(), "key:a".into(), JobSpec::new("x", JobSource::Api), at(0));
        let wait = |reason: &str, until: Option<i64>| Wait { reason: reason.into(), until: until.map(at) };

        assert_eq!(state.why_waits(&job, at(0)), None);
        state.set_capacity(1);
        state.run_began();
        assert_eq!(state.why_waits(&job, at(0)), Some(wait("all 1 places are taken by running jobs", None)));
        let error = Some("overloaded".to_owned());
        job.state = JobState::Pending { not_before: Some(at(9)), last_error: error };
        let backs_off = "the last run ended early and is tried again: overloaded";
        assert_eq!(state.why_waits(&job, at(0)), Some(wait(backs_off, Some(9))));
        state.set_held([("key:a".to_owned(), wait("the key's limit", Some(99)))].into());
        assert_eq!(state.why_waits(&job, at(0)), Some(wait("the key's limit", Some(99))));
        state.set_waiting(Some(wait("no Docker", None)));
        assert_eq!(state.why_waits(&job, at(0)), Some(wait("no Docker", None)));
    }

    #[test]
    fn a_job_that_has_ended_waits_for_nothing() {
        let state = WorkerState::default();
        state.set_waiting(Some(Wait { reason: "no Docker".into(), until: None }));
        let mut job = Job::new(JobId::new(), "token".into(), JobSpec::new("x", JobSource::Api), at(0));
        job.state = JobState::Cancelled { started_at: None, finished_at: at(1), by: "token".into() };

        assert_eq!(state.why_waits(&job, at(2)), None);
    }
}
