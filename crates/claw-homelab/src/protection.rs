//! What belongs to ClawMachine itself, so that nothing is done to it from here.
//!
//! A container of ours is known by its name and by the labels that we give. Whoever could rename one could get around the
//! name, so the full id of each that was ever seen is kept in the store, and protected whatever the container is called
//! by now.

use std::{
    collections::HashSet,
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use claw_docker::{ContainerEntry, Mirror, policy::Own};
use claw_store::{DocumentFilter, Documents, NewDocument, Precondition, StoreError};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::HomelabError;

/// Kind of the documents that keep the ids.
const KIND: &str = "own-container";

/// Labels that only our own containers carry. The policy lets nobody else ask for them.
const LABELS: [&str; 3] = ["claw.instance", "claw.job", "io.clawmachine.protected"];

/// Most ids that are kept.
const MAX_IDS: u64 = 10_000;

/// Pause before the Engine is asked again after it did not answer.
const RETRY: Duration = Duration::from_secs(5);

/// Knows what is ours. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Protection {
    own: Arc<Own>,
    documents: Arc<dyn Documents>,
    // A std lock: held for a look-up, never across an await.
    ids: Arc<RwLock<HashSet<String>>>,
}

impl Protection {
    pub(crate) fn new(own: Arc<Own>, documents: Arc<dyn Documents>) -> Self {
        Self { own, documents, ids: Arc::default() }
    }

    /// Refuses what is ours.
    ///
    /// # Errors
    ///
    /// [`HomelabError::Protected`]; [`HomelabError::Store`], since no answer means no permission.
    pub(crate) async fn check(&self, container: &ContainerEntry) -> Result<(), HomelabError> {
        let is_own = self.looks_own(container) || self.is_known(&container.id) || {
            // Another server of the same store may have seen it.
            self.documents.get(KIND, &container.id).await?.is_some()
        };
        if is_own {
            Err(HomelabError::Protected { what: "container", name: container.name.clone() })
        } else {
            Ok(())
        }
    }

    fn looks_own(&self, container: &ContainerEntry) -> bool {
        self.is_own_name(&container.name)
            || self.own.container_id.as_deref() == Some(container.id.as_str())
            || LABELS.iter().any(|label| container.labels.contains_key(*label))
    }

    /// Tells whether a container of this name is, or would pass for, one of ours.
    pub(crate) fn is_own_name(&self, name: &str) -> bool {
        let name = name.to_lowercase();
        self.own.names.iter().any(|pattern| {
            let pattern = pattern.to_lowercase();
            match pattern.strip_suffix('*') {
                Some(start) => name.starts_with(start),
                None => name == pattern,
            }
        })
    }

    fn is_known(&self, id: &str) -> bool {
        self.ids.read().unwrap_or_else(PoisonError::into_inner).contains(id)
    }

    /// Keeps the ids of our containers as they appear, until `stop`.
    pub(crate) async fn watch(self, mirror: Mirror, stop: CancellationToken) {
        let watch = async {
            let mut changed = mirror.changed();
            loop {
                match mirror.containers().await {
                    Ok(containers) => {
                        if let Err(error) = self.keep(&containers).await {
                            tracing::warn!(%error, "the ids of our own containers could not be written down");
                            tokio::time::sleep(RETRY).await;
                            continue;
                        }
                    }
                    Err(error) => {
                        tracing::debug!(%error, "our own containers cannot be looked for");
                        tokio::time::sleep(RETRY).await;
                        continue;
                    }
                }
                if changed.changed().await.is_err() {
                    return;
                }
            }
        };
        tokio::select! {
            () = stop.cancelled() => {}
            () = watch => {}
        }
    }

    /// Notes those of our containers that are new, and forgets those that are gone.
    async fn keep(&self, containers: &[ContainerEntry]) -> Result<(), StoreError> {
        if self.ids.read().unwrap_or_else(PoisonError::into_inner).is_empty() {
            let filter = DocumentFilter { limit: MAX_IDS, ..DocumentFilter::default() };
            let stored = self.documents.list(KIND, filter).await?;
            let mut ids = self.ids.write().unwrap_or_else(PoisonError::into_inner);
            ids.extend(stored.items.into_iter().map(|document| document.id));
        }
        for container in containers.iter().filter(|container| self.looks_own(container)) {
            if self.is_known(&container.id) {
                continue;
            }
            // Sandboxes come and go by the thousand, always carry their labels, and nobody can take those off.
            if !self.is_own_name(&container.name) {
                continue;
            }
            let document = NewDocument {
                kind: KIND,
                id: container.id.clone(),
                sort_key: String::new(),
                owner: String::new(),
                value: json!({ "name": container.name }),
            };
            self.documents.put(document, Precondition::None).await?;
            self.ids.write().unwrap_or_else(PoisonError::into_inner).insert(container.id.clone());
        }
        let alive: HashSet<_> = containers.iter().map(|container| container.id.as_str()).collect();
        let gone: Vec<_> = {
            let ids = self.ids.read().unwrap_or_else(PoisonError::into_inner);
            ids.iter().filter(|id| !alive.contains(id.as_str())).cloned().collect()
        };
        for id in gone {
            self.documents.delete(KIND, &id, Precondition::None).await?;
            self.ids.write().unwrap_or_else(PoisonError::into_inner).remove(&id);
        }
        Ok(())
    }
}
