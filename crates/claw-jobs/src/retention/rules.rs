//! How long things are kept.

use claw_core::Timestamp;
use jiff::SignedDuration;

/// How long things are kept; `None` for ever.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RetentionRules {
    /// Days that an ended job is kept, with its log and result.
    pub jobs_days: Option<u32>,
    /// Ended jobs that are kept at the most, the newest ones.
    pub jobs_count: Option<u64>,
    /// Days that the log of an ended job is kept.
    pub logs_days: Option<u32>,
    /// Days that job events are kept.
    pub events_days: Option<u32>,
    /// Days that audit entries are kept.
    pub audit_days: Option<u32>,
    /// Days that the entries of a workspace's timeline are kept.
    pub timeline_days: Option<u32>,
    /// Bytes that the store may have: beyond them the oldest ended jobs go, whatever their age.
    pub store_bytes: Option<u64>,
}

/// Returns the moment `days` before `now`.
pub(super) fn cutoff(now: Timestamp, days: u32) -> Timestamp {
    now.checked_sub(SignedDuration::from_hours(i64::from(days) * 24)).unwrap_or(Timestamp::MIN)
}
