//! Small named things as JSON, found by kind and id.

use async_trait::async_trait;
use serde_json::Value;

use crate::StoreError;

/// A document to write.
#[derive(Clone, Debug, PartialEq)]
pub struct NewDocument {
    /// What sort of thing it is, such as `user`.
    pub kind: &'static str,
    /// Its id inside the kind.
    pub id: String,
    /// What lists are ordered by, before the id.
    pub sort_key: String,
    /// Owner mark by which lists can be narrowed; empty for things of the installation.
    pub owner: String,
    /// Its content.
    pub value: Value,
}

/// A document as stored.
#[derive(Clone, Debug, PartialEq)]
pub struct Document {
    /// Its id inside the kind.
    pub id: String,
    /// Grows with each write, by one or more, and never comes back, not even after a delete; for
    /// [`Precondition::Version`].
    pub version: u64,
    /// Owner mark.
    pub owner: String,
    /// Its content.
    pub value: Value,
}

/// What must hold for a write to happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precondition {
    /// Nothing.
    None,
    /// No document of that id exists.
    Absent,
    /// The document exists in exactly this version.
    Version(u64),
}

/// Which documents of a kind to list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DocumentFilter {
    /// Only those with this owner mark.
    pub owner: Option<String>,
    /// How many to pass over.
    pub offset: u64,
    /// How many at the most.
    pub limit: u64,
}

/// One page of documents, ordered by sort key, then id.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DocumentPage {
    /// The documents.
    pub items: Vec<Document>,
    /// How many match in all.
    pub total: u64,
}

/// Small named things. A write is on disk when its call returns.
#[async_trait]
pub trait Documents: Send + Sync {
    /// Returns the document, or `None`.
    async fn get(&self, kind: &'static str, id: &str) -> Result<Option<Document>, StoreError>;

    /// Writes the document and returns its new version.
    ///
    /// # Errors
    ///
    /// [`StoreError::Conflict`] if the precondition does not hold; nothing is written then.
    async fn put(&self, document: NewDocument, precondition: Precondition) -> Result<u64, StoreError>;

    /// Deletes the document and tells whether it existed.
    ///
    /// # Errors
    ///
    /// [`StoreError::Conflict`] if the precondition does not hold.
    async fn delete(
        &self,
        kind: &'static str,
        id: &str,
        precondition: Precondition,
    ) -> Result<bool, StoreError>;

    /// Returns one page, read in one go.
    async fn list(&self, kind: &'static str, filter: DocumentFilter) -> Result<DocumentPage, StoreError>;

    /// Returns how many documents of the kind there are.
    async fn count(&self, kind: &'static str) -> Result<u64, StoreError>;
}
