//! What others may know of a worker while it works.

use std::sync::{Arc, Mutex, PoisonError};

/// How things stand with the worker at a moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WorkerSnapshot {
    /// Jobs that may run at the same time.
    pub capacity: usize,
    /// Jobs that run now.
    pub active: usize,
    /// Why no job is claimed at present, with the way out; `None` if jobs are claimed.
    pub waiting_because: Option<String>,
}

/// A cheap handle on a worker's [`WorkerSnapshot`].
#[derive(Clone, Debug, Default)]
pub struct WorkerState(Arc<Mutex<WorkerSnapshot>>);

impl WorkerState {
    /// Returns how things stand.
    pub fn snapshot(&self) -> WorkerSnapshot {
        self.with(|snapshot| snapshot.clone())
    }

    pub(super) fn set_capacity(&self, capacity: usize) {
        self.with(|snapshot| snapshot.capacity = capacity);
    }

    pub(super) fn set_active(&self, active: usize) {
        self.with(|snapshot| snapshot.active = active);
    }

    /// Sets why no job is claimed and tells whether that is news.
    pub(super) fn set_waiting(&self, reason: Option<String>) -> bool {
        self.with(|snapshot| {
            let news = snapshot.waiting_because != reason;
            snapshot.waiting_because = reason;
            news
        })
    }

    /// A std mutex: held for a copy, never across an await.
    fn with<T>(&self, change: impl FnOnce(&mut WorkerSnapshot) -> T) -> T {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
