//! Who made which container.
//!
//! Kept in our store under the container's full id, and not in a label of the container, which anybody with access to
//! the Engine could write.

use std::{collections::HashSet, sync::Arc};

use claw_core::{Actor, Timestamp};
use claw_docker::ContainerEntry;
use claw_store::{DocumentFilter, Documents, NewDocument, Precondition, StoreError};
use serde::{Deserialize, Serialize};

/// Kind of the documents.
const KIND: &str = "container-creator";

/// Records looked at when those of removed containers are cleared away.
const SWEPT: u64 = 2000;

/// How long a record is kept although no container of its id is seen: it may be just being made.
const NEW_SECS: i64 = 3600;

/// Who made a container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Creator {
    /// Their mark, such as `key:` and its id.
    pub actor: String,
    /// Their name for people.
    pub label: String,
    /// How it was made: `create`, or the template's name.
    pub by: String,
    /// When.
    pub at: Timestamp,
}

/// The records. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Creators {
    documents: Arc<dyn Documents>,
}

impl Creators {
    pub(crate) fn new(documents: Arc<dyn Documents>) -> Self {
        Self { documents }
    }

    pub(crate) async fn note(
        &self,
        id: &str,
        actor: &Actor,
        by: &str,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let creator =
            Creator { actor: actor.owner(), label: actor.label.clone(), by: by.to_owned(), at: now };
        let document = NewDocument {
            kind: KIND,
            id: id.to_owned(),
            sort_key: String::new(),
            owner: creator.actor.clone(),
            value: serde_json::to_value(&creator)
                .map_err(|error| StoreError::Corrupt { what: KIND.to_owned(), reason: error.to_string() })?,
        };
        self.documents.put(document, Precondition::None).await.map(drop)
    }

    pub(crate) async fn of(&self, id: &str) -> Result<Option<Creator>, StoreError> {
        let found = self.documents.get(KIND, id).await?;
        // A record of another version tells nobody.
        Ok(found.and_then(|document| serde_json::from_value(document.value).ok()))
    }

    pub(crate) async fn forget(&self, id: &str) -> Result<(), StoreError> {
        self.documents.delete(KIND, id, Precondition::None).await.map(drop)
    }

    /// Clears away records of containers that somebody removed in another way.
    pub(crate) async fn sweep(
        &self,
        containers: &[ContainerEntry],
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let alive: HashSet<_> = containers.iter().map(|container| container.id.as_str()).collect();
        let filter = DocumentFilter { limit: SWEPT, ..DocumentFilter::default() };
        for document in self.documents.list(KIND, filter).await?.items {
            let is_new = serde_json::from_value::<Creator>(document.value)
                .is_ok_and(|creator| now.as_second() - creator.at.as_second() < NEW_SECS);
            if !is_new && !alive.contains(document.id.as_str()) {
                self.forget(&document.id).await?;
            }
        }
        Ok(())
    }
}
