//! Who counts what model turns cost, and says how much more they may.

use std::fmt::Debug;

use async_trait::async_trait;
use claw_core::{Coded, ErrorCode, ModelUse, Usd};

/// Counts the costs of one run and knows its limits.
///
/// The gateway asks before each turn and charges twice for it: when the answer begins, and before the agent gets its end.
/// The sum of all charges is what the run cost.
#[async_trait]
pub trait Meter: Send + Sync + Debug {
    /// Returns what may still be spent.
    ///
    /// # Errors
    ///
    /// Fails if that cannot be known now. Then no turn begins.
    async fn allowance(&self) -> Result<Allowance, MeterError>;

    /// Counts what a turn, or a part of one, cost.
    ///
    /// # Errors
    ///
    /// Fails if it could not be counted. The gateway keeps it, lets no further turn begin, and charges again later.
    async fn charge(&self, used: ModelUse) -> Result<(), MeterError>;
}

/// What may still be spent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Allowance {
    /// What is left of the tightest limit; `None` without any.
    pub left: Option<Usd>,
    /// That limit, to be told when it is used up, such as `the job's budget of $5.00`.
    pub limit: String,
}

/// Why a meter cannot answer now.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the costs of the job cannot be counted now ({reason}): try again later")]
pub struct MeterError {
    reason: String,
}

impl MeterError {
    /// Returns an error with its reason, which the agent never sees.
    pub fn new(reason: impl Into<String>) -> Self {
        Self { reason: reason.into() }
    }
}

impl Coded for MeterError {
    fn code(&self) -> ErrorCode {
        ErrorCode::Internal
    }
}
