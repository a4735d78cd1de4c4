//! The tables in which the records of streams lie.

use crate::StreamName;

/// Which table holds the records of a stream.
///
/// The two streams that every job appends to have a table each, with their numbers as its keys: so a new record comes last,
/// which fills page after page and moves nothing. Between the records of other streams it would split pages in halves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Table {
    Shared,
    JobEvents,
    Audit,
}

impl Table {
    pub(super) fn of(stream: &StreamName) -> Self {
        match stream.as_str() {
            StreamName::JOB_EVENTS => Self::JobEvents,
            StreamName::AUDIT => Self::Audit,
            _ => Self::Shared,
        }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Shared => "records",
            Self::JobEvents => "job_event_records",
            Self::Audit => "audit_records",
        }
    }
}
