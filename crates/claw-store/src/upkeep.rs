//! How an engine is kept in good order.

use async_trait::async_trait;

use crate::StoreError;

/// How large a store is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StoreSize {
    /// Bytes of the store on disk, without its log.
    pub bytes: u64,
    /// Bytes of those that hold nothing and are used again before it grows.
    pub free_bytes: u64,
    /// Bytes of the log of recent writes.
    pub log_bytes: u64,
}

/// Looking after a store.
#[async_trait]
pub trait Upkeep: Send + Sync {
    /// Returns how large the store is.
    async fn size(&self) -> Result<StoreSize, StoreError>;

    /// Gives up to `max_bytes` of what holds nothing back to the file system, and returns how much that was. A small
    /// step: other writes wait for it.
    async fn give_back(&self, max_bytes: u64) -> Result<u64, StoreError>;

    /// Tells whether reads and writes are answered. Writes nothing.
    async fn health(&self) -> Result<(), StoreError>;
}
