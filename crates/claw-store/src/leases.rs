//! Leadership and execution locks that lapse by time.

use async_trait::async_trait;
use claw_core::Timestamp;

use crate::StoreError;

/// A lease that was granted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaseGrant {
    /// Grows with each change of holder, so that late writes of a former holder can be told apart.
    pub token: u64,
    /// When it lapses unless acquired again by the same holder.
    pub until: Timestamp,
}

/// Leadership and locks. Holders are told apart by name; the empty name is nobody's.
#[async_trait]
pub trait Leases: Send + Sync {
    /// Grants the lease if it is free, lapsed, or already `holder`'s (then it keeps its token and lasts until the
    /// new moment). `None`: someone else holds it.
    async fn acquire(
        &self,
        name: &str,
        holder: &str,
        until: Timestamp,
        now: Timestamp,
    ) -> Result<Option<LeaseGrant>, StoreError>;

    /// Gives the lease back if `token` is its newest. Tells whether it was.
    async fn release(&self, name: &str, token: u64) -> Result<bool, StoreError>;
}
