//! What the gate stores, typed: a thin layer over [`Documents`].

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use claw_store::{DocumentFilter, Documents, NewDocument, Precondition, StoreError};
use serde::{Serialize, de::DeserializeOwned};

/// Documents read in one go when all of a kind are needed.
const PAGE: u64 = 500;

/// A kind of thing that the gate stores.
pub(crate) trait Record: Serialize + DeserializeOwned + Send + Sync {
    /// The documents' kind.
    const KIND: &'static str;

    /// What lists are ordered by.
    fn sort_key(&self) -> String;

    /// The mark by which documents are found without knowing their id.
    fn owner(&self) -> String;
}

/// A record as it was read.
pub(crate) struct Stored<R> {
    /// The document's id.
    pub(crate) id: String,
    /// Its version, for a conditional write.
    pub(crate) version: u64,
    /// Its content.
    pub(crate) record: R,
}

/// The gate's documents.
#[derive(Clone)]
pub(crate) struct Records {
    documents: Arc<dyn Documents>,
    writes: Arc<AtomicU64>,
}

/// Counts a write when it is over, also if whoever waited for it went away.
struct Write<'a>(&'a AtomicU64);

impl Drop for Write<'_> {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::Release);
    }
}

impl Records {
    pub(crate) fn new(documents: Arc<dyn Documents>) -> Self {
        Self { documents, writes: Arc::default() }
    }

    /// Returns how many writes there were. What was read when there were fewer may be out of date.
    pub(crate) fn writes(&self) -> u64 {
        self.writes.load(Ordering::Acquire)
    }

    pub(crate) async fn get<R: Record>(&self, id: &str) -> Result<Option<Stored<R>>, StoreError> {
        self.documents.get(R::KIND, id).await?.map(read).transpose()
    }

    /// Returns the first record with this owner mark.
    pub(crate) async fn first_of<R: Record>(&self, owner: String) -> Result<Option<Stored<R>>, StoreError> {
        Ok(self.page(DocumentFilter { owner: Some(owner), offset: 0, limit: 1 }).await?.pop())
    }

    /// Returns up to `limit` records in order, those with this owner mark only if one is given.
    pub(crate) async fn first<R: Record>(
        &self,
        owner: Option<String>,
        limit: u64,
    ) -> Result<Vec<Stored<R>>, StoreError> {
        self.page(DocumentFilter { owner, offset: 0, limit }).await
    }

    /// Returns all records of the kind. Only for kinds that people make by hand, which stay few.
    pub(crate) async fn all<R: Record>(&self) -> Result<Vec<Stored<R>>, StoreError> {
        let mut all = Vec::new();
        loop {
            let page =
                self.page(DocumentFilter { owner: None, offset: all.len() as u64, limit: PAGE }).await?;
            let last = (page.len() as u64) < PAGE;
            all.extend(page);
            if last {
                return Ok(all);
            }
        }
    }

    pub(crate) async fn count<R: Record>(&self) -> Result<u64, StoreError> {
        self.documents.count(R::KIND).await
    }

    /// Writes the record and returns its new version.
    pub(crate) async fn put<R: Record>(
        &self,
        id: &str,
        record: &R,
        precondition: Precondition,
    ) -> Result<u64, StoreError> {
        let value = serde_json::to_value(record)
            .map_err(|error| StoreError::Corrupt { what: R::KIND.into(), reason: error.to_string() })?;
        let document = NewDocument {
            kind: R::KIND,
            id: id.to_owned(),
            sort_key: record.sort_key(),
            owner: record.owner(),
            value,
        };
        let _counted = Write(&self.writes);
        self.documents.put(document, precondition).await
    }

    /// Deletes the record and tells whether it existed.
    pub(crate) async fn delete<R: Record>(&self, id: &str) -> Result<bool, StoreError> {
        let _counted = Write(&self.writes);
        self.documents.delete(R::KIND, id, Precondition::None).await
    }

    /// Deletes the record if it is still in this version.
    pub(crate) async fn delete_version<R: Record>(&self, id: &str, version: u64) -> Result<bool, StoreError> {
        let _counted = Write(&self.writes);
        self.documents.delete(R::KIND, id, Precondition::Version(version)).await
    }

    async fn page<R: Record>(&self, filter: DocumentFilter) -> Result<Vec<Stored<R>>, StoreError> {
        self.documents.list(R::KIND, filter).await?.items.into_iter().map(read).collect()
    }
}

fn read<R: Record>(document: claw_store::Document) -> Result<Stored<R>, StoreError> {
    let record = serde_json::from_value(document.value)
        .map_err(|error| StoreError::Corrupt { what: R::KIND.into(), reason: error.to_string() })?;
    Ok(Stored { id: document.id, version: document.version, record })
}
