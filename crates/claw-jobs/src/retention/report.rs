//! What a round removed.

use std::fmt;

/// A kind of thing that a round looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum GcSubject {
    /// Ended jobs with their logs and results.
    Jobs,
    /// Lines of job logs.
    LogLines,
    /// Job events.
    Events,
    /// Entries of workspaces' timelines.
    TimelineEntries,
    /// Audit entries.
    AuditEntries,
    /// Working copies of jobs that are gone.
    WorkingCopies,
    /// HOME folders of workspaces that are gone.
    Homes,
    /// Bytes that the store gave back to the disk.
    StoreBytes,
}

impl GcSubject {
    /// Every subject, in the order of a round.
    pub const ALL: [Self; 8] = [
        Self::Jobs,
        Self::LogLines,
        Self::Events,
        Self::TimelineEntries,
        Self::AuditEntries,
        Self::WorkingCopies,
        Self::Homes,
        Self::StoreBytes,
    ];

    /// Returns the name that clients see.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Jobs => "jobs",
            Self::LogLines => "log_lines",
            Self::Events => "events",
            Self::TimelineEntries => "timeline_entries",
            Self::AuditEntries => "audit_entries",
            Self::WorkingCopies => "working_copies",
            Self::Homes => "homes",
            Self::StoreBytes => "store_bytes",
        }
    }
}

/// How much of one kind was removed, or would be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GcCount {
    /// Which kind.
    pub subject: GcSubject,
    /// How many.
    pub removed: u64,
}

/// What a round removed, or would remove.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GcReport {
    /// Whether nothing was removed, and the counts say what would be.
    pub dry_run: bool,
    /// Every kind once, in the order of a round.
    pub counts: Vec<GcCount>,
}

impl GcReport {
    pub(super) fn new(dry_run: bool) -> Self {
        let counts = GcSubject::ALL.map(|subject| GcCount { subject, removed: 0 });
        Self { dry_run, counts: counts.into() }
    }

    pub(super) fn add(&mut self, subject: GcSubject, removed: u64) {
        for count in self.counts.iter_mut().filter(|count| count.subject == subject) {
            count.removed += removed;
        }
    }

    /// Returns how many of a kind were removed.
    pub fn removed(&self, subject: GcSubject) -> u64 {
        self.counts.iter().filter(|count| count.subject == subject).map(|count| count.removed).sum()
    }

    /// Tells whether there was nothing to remove.
    pub fn is_empty(&self) -> bool {
        self.counts.iter().all(|count| count.removed == 0)
    }
}

impl fmt::Display for GcReport {
    /// Writes `12 jobs, 300 log_lines`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return f.write_str("nothing");
        }
        let some = self.counts.iter().filter(|count| count.removed > 0);
        let parts: Vec<_> =
            some.map(|count| format!("{} {}", count.removed, count.subject.as_str())).collect();
        f.write_str(&parts.join(", "))
    }
}
