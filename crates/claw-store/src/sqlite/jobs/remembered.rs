//! Totals of searches, remembered as long as they are true.
//!
//! A page is read from the end of an index and needs few rows, but its total needs every prompt that holds the text.
//! People look at one search again and again, page by page and refreshed, so its total is counted once; after that only
//! the jobs that are new are looked at. Deletions, and steps of jobs if the search is for a state, begin anew.

use std::sync::{Mutex, PoisonError};

use crate::JobFilter;

/// Totals that are kept. A few people look at a few searches.
const KEPT: usize = 64;

/// Bytes of a text whose total is kept at the most.
const LONGEST_TEXT: usize = 1024;

/// A total and what it is the total of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Remembered {
    pub(super) total: u64,
    /// Newest job that was looked at.
    pub(super) up_to: i64,
    /// How often jobs had changed then, see [`super::totals::changes`].
    pub(super) changes: i64,
}

/// The totals that the readers share, least recently used first.
#[derive(Default)]
pub(in crate::sqlite) struct RememberedTotals {
    // Held for a look at a short list only.
    kept: Mutex<Vec<(JobFilter, Remembered)>>,
}

impl RememberedTotals {
    /// Returns what is known of the filter's total.
    pub(super) fn get(&self, filter: &JobFilter) -> Option<Remembered> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let key = key(filter);
        let place = kept.iter().position(|(known, _)| *known == key)?;
        let entry = kept.remove(place);
        let remembered = entry.1;
        kept.push(entry);
        Some(remembered)
    }

    /// Keeps the filter's total.
    pub(super) fn keep(&self, filter: &JobFilter, remembered: Remembered) {
        if filter.search.as_ref().is_some_and(|text| text.len() > LONGEST_TEXT) {
            return;
        }
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let key = key(filter);
        kept.retain(|(known, _)| *known != key);
        if kept.len() >= KEPT {
            kept.remove(0);
        }
        kept.push((key, remembered));
    }
}

/// Returns the filter without what makes no difference to its total.
fn key(filter: &JobFilter) -> JobFilter {
    JobFilter { offset: 0, limit: 0, sort: crate::JobSort::default(), ..filter.clone() }
}
