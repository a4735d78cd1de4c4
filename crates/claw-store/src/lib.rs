//! The storage contract: five primitives through which everything durable goes, the engines that implement them,
//! and the one conformance suite that every engine passes.
//!
//! Nothing outside this crate knows SQL, table names or which engine runs. What must be atomic is one call here.

mod chain;
mod documents;
mod error;
pub mod fault;
mod jobs;
mod leases;
mod signals;
mod spending;
mod streams;
mod upkeep;

#[cfg(feature = "conformance")]
pub mod conformance;
pub mod sqlite;

use std::sync::Arc;

pub use chain::{ChainHash, ChainPage, ChainedRecord, chain_hash};
pub use documents::{Document, DocumentFilter, DocumentPage, Documents, NewDocument, Precondition};
pub use error::StoreError;
pub use jobs::{
    ClaimRequest, EndedRule, JobCounts, JobFilter, JobPage, JobSort, Jobs, LapsedJob, StoredResult,
    SubmitRequest, Submitted,
};
pub use leases::{LeaseGrant, Leases};
pub use signals::{SignalReceiver, Signals, Topic};
pub use spending::{Charge, MAX_SPENDING_ROWS, SpendingFilter, SpendingGroup, SpendingRow, Spent, day_of};
pub use streams::{Record, StreamInfo, StreamName, Streams, tail};
pub use upkeep::{StoreSize, Upkeep};

/// All five primitives of one engine, and its upkeep, as services hold them.
#[derive(Clone)]
pub struct Store {
    /// Small named things.
    pub documents: Arc<dyn Documents>,
    /// Jobs and their life.
    pub jobs: Arc<dyn Jobs>,
    /// Append-only records.
    pub streams: Arc<dyn Streams>,
    /// Leadership and locks.
    pub leases: Arc<dyn Leases>,
    /// Wake-ups.
    pub signals: Arc<dyn Signals>,
    /// Size, health, and giving space back.
    pub upkeep: Arc<dyn Upkeep>,
}
