//! What jobs cost, summed up as it is spent.

use claw_core::{JobId, ModelUse, Timestamp, TokenUsage, Usd, WorkspaceId};
use jiff::{civil::Date, tz::TimeZone};

/// Something that was spent on behalf of a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Charge {
    /// The job.
    pub job: JobId,
    /// Owner mark of who submitted it.
    pub owner: String,
    /// The workspace it works in.
    pub workspace: Option<WorkspaceId>,
    /// What was used.
    pub used: ModelUse,
}

/// What was spent so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Spent {
    /// On the job, over all its runs.
    pub job: Usd,
    /// By the owner on this day (UTC).
    pub owner_today: Usd,
    /// By everyone on this day (UTC).
    pub installation_today: Usd,
}

/// By what spending is summed up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpendingGroup {
    /// One row a day (UTC), in order; the key is the date.
    Day,
    /// One row a workspace, dearest first; the key is its id, empty for jobs without one.
    Workspace,
    /// One row a model, dearest first; the key is the model's name as the API gave it.
    Model,
    /// One row an owner, dearest first; the key is the owner mark.
    Owner,
}

/// Which spending to sum up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpendingFilter {
    /// First day (UTC).
    pub from: Date,
    /// Last day (UTC), included.
    pub to: Date,
    /// Of this owner only.
    pub owner: Option<String>,
    /// By what.
    pub group: SpendingGroup,
}

/// A sum.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpendingRow {
    /// What it is the sum of: see [`SpendingGroup`].
    pub key: String,
    /// Runs of jobs that ended. Runs belong to no model: 0 when grouped by it.
    pub runs: u64,
    /// Model turns.
    pub turns: u64,
    /// Tokens.
    pub tokens: TokenUsage,
    /// Cost.
    pub cost: Usd,
}

/// Rows of one answer at the most; those that cost least are left out.
pub const MAX_SPENDING_ROWS: u64 = 10_000;

/// Returns the day (UTC) that a moment lies in, by which spending is summed up.
pub fn day_of(moment: Timestamp) -> Date {
    moment.to_zoned(TimeZone::UTC).date()
}
