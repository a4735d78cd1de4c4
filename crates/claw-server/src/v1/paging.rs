//! Pages of lists.

/// Entries of a page at the most.
const MAX_LIMIT: u64 = 100;

/// Largest offset: what engines can count to.
const MAX_OFFSET: u64 = i64::MAX as u64;

/// A part of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Page {
    /// How many entries to pass over.
    pub(crate) offset: u64,
    /// How many to return at the most.
    pub(crate) limit: u64,
}

impl Page {
    /// Reads what was asked for. More than a page may hold counts as a full page.
    pub(crate) fn new(offset: Option<u64>, limit: Option<u64>, default_limit: u64) -> Self {
        Self {
            offset: offset.unwrap_or(0).min(MAX_OFFSET),
            limit: limit.unwrap_or(default_limit).min(MAX_LIMIT),
        }
    }
}
