//! What the store knows of an install.

use std::{collections::BTreeMap, sync::Arc};

use claw_core::Timestamp;
use claw_docker::policy::Protocol;
use claw_store::{Document, DocumentFilter, Documents, NewDocument, Precondition, StoreError};
use serde::{Deserialize, Serialize};

use super::{AppSource, MarketplaceError};

/// Kind of the documents.
const KIND: &str = "app-install";

/// Kind of the documents that tell which files of values were left by an uninstall.
const LEFT: &str = "app-values-left";

/// Most installs.
pub(crate) const MAX_INSTALLS: u64 = 1_000;

/// An install.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Record {
    pub(crate) install_id: String,
    pub(crate) app_id: String,
    pub(crate) app_name: String,
    /// Version of the app at installation or at the last update.
    pub(crate) version: String,
    pub(crate) source: AppSource,
    /// Name of the main service's container.
    pub(crate) container_name: String,
    /// The main service.
    pub(crate) main: String,
    /// Every service's container by name, as last written or started.
    pub(crate) services: BTreeMap<String, String>,
    /// Where its ports are.
    pub(crate) ports: Vec<Published>,
    /// Names of variables that are not of the app, but were given at installation.
    pub(crate) extra: Vec<String>,
    /// Whoever made it.
    pub(crate) owner: String,
    pub(crate) created_at: Timestamp,
    pub(crate) updated_at: Timestamp,
    pub(crate) phase: Phase,
    /// What the compose file was when we wrote it, as a hash.
    pub(crate) written: String,
    /// Whether it was ever told to start.
    pub(crate) started: bool,
    /// Why what was tried last did not work.
    #[serde(default)]
    pub(crate) failure: Option<String>,
    /// What was begun with its containers, such as `started`, and is not known to have ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) begun: Option<String>,
    /// What an update makes of this record once the compose file is the newer one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) next: Option<Box<Record>>,
    /// Names of the passwords that were made up for it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) made_up: Vec<String>,
}

/// A port as people reach it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Published {
    /// The service.
    pub service: String,
    /// Port inside.
    pub container: u16,
    /// Port of the host; 0: the Engine picks one.
    pub host: u16,
    /// `tcp` or `udp`.
    pub protocol: String,
    /// Port of the host that the catalog has, if it was taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instead_of: Option<u16>,
}

impl Published {
    pub(crate) fn protocol(&self) -> Protocol {
        if self.protocol == "udp" { Protocol::Udp } else { Protocol::Tcp }
    }
}

/// How far an install is, for those who come after a crash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Phase {
    /// Its files are being written: creating it again finishes that.
    Writing,
    /// Its files are there.
    Ready,
    /// It is being removed: removing it again finishes that.
    Removing,
}

/// The records. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Records(Arc<dyn Documents>);

/// A record and the version it was read in.
#[derive(Clone, Debug)]
pub(crate) struct Versioned {
    pub(crate) record: Record,
    pub(crate) version: u64,
}

impl Records {
    pub(crate) fn new(documents: Arc<dyn Documents>) -> Self {
        Self(documents)
    }

    pub(crate) async fn get(&self, install: &str) -> Result<Option<Versioned>, MarketplaceError> {
        Ok(self.0.get(KIND, install).await?.map(read).transpose()?)
    }

    /// Every install, the oldest first.
    pub(crate) async fn all(&self) -> Result<Vec<Record>, MarketplaceError> {
        let filter = DocumentFilter { limit: MAX_INSTALLS, ..DocumentFilter::default() };
        let page = self.0.list(KIND, filter).await?;
        Ok(page
            .items
            .into_iter()
            .map(|document| read(document).map(|read| read.record))
            .collect::<Result<_, _>>()?)
    }

    pub(crate) async fn count(&self) -> Result<u64, MarketplaceError> {
        Ok(self.0.count(KIND).await?)
    }

    /// Writes a record: a new one if `version` is absent, or over the one that was read.
    pub(crate) async fn put(
        &self,
        record: &Record,
        version: Option<u64>,
    ) -> Result<Versioned, MarketplaceError> {
        let corrupt =
            |error: serde_json::Error| StoreError::Corrupt { what: KIND.into(), reason: error.to_string() };
        let document = NewDocument {
            kind: KIND,
            id: record.install_id.clone(),
            sort_key: record.created_at.to_string(),
            owner: record.owner.clone(),
            value: serde_json::to_value(record).map_err(corrupt)?,
        };
        let version =
            self.0.put(document, version.map_or(Precondition::Absent, Precondition::Version)).await?;
        Ok(Versioned { record: record.clone(), version })
    }

    /// Says that the file of values which an install leaves has this digest.
    pub(crate) async fn vouch(&self, record: &Record, digest: &str) -> Result<(), MarketplaceError> {
        let document = NewDocument {
            kind: LEFT,
            id: left_by(record),
            sort_key: String::new(),
            owner: record.owner.clone(),
            value: digest.into(),
        };
        Ok(self.0.put(document, Precondition::None).await.map(drop)?)
    }

    /// Tells whether an earlier install left a file of values with this digest.
    pub(crate) async fn is_vouched(&self, record: &Record, digest: &str) -> Result<bool, MarketplaceError> {
        Ok(self.0.get(LEFT, &left_by(record)).await?.is_some_and(|found| found.value == digest))
    }

    /// Forgets what an earlier install left.
    pub(crate) async fn forget_left(&self, record: &Record) -> Result<(), MarketplaceError> {
        Ok(self.0.delete(LEFT, &left_by(record), Precondition::None).await.map(drop)?)
    }

    pub(crate) async fn delete(&self, read: &Versioned) -> Result<(), MarketplaceError> {
        let precondition = Precondition::Version(read.version);
        Ok(self.0.delete(KIND, &read.record.install_id, precondition).await.map(drop)?)
    }
}

fn left_by(record: &Record) -> String {
    format!("{}/{}", record.app_id, record.install_id)
}

fn read(document: Document) -> Result<Versioned, StoreError> {
    let record = serde_json::from_value(document.value)
        .map_err(|error| StoreError::Corrupt { what: KIND.into(), reason: error.to_string() })?;
    Ok(Versioned { record, version: document.version })
}
