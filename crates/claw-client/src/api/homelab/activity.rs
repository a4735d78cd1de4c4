//! What everybody does.

use claw_core::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{Answer, Client, ClientError};

/// Which events to list. What is not said matches every event.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct ActivityQuery {
    /// How many of the newest, 1 to 500; 100 unless said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
    /// Of this sort, such as `api_call` or `container_action`.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// By this key or person: the last characters of a key, its id, or a mark such as `user:ann`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Of this action, such as `stop` or `DELETE`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub action: Option<String>,
    /// Whose target begins so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// That went so: `success`, `error`, `pending`, `client_error`, `server_error` or `unknown`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outcome: Option<String>,
    /// Not older than this.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// Only from before this place in the feed: `seq` of the oldest event of the page before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before: Option<u64>,
    /// Only from after this place in the feed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<u64>,
}

/// One thing that somebody did.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct ActivityEvent {
    /// Its place in the feed.
    pub seq: u64,
    /// Identifies it.
    pub id: String,
    /// When.
    pub timestamp: String,
    /// What sort of thing.
    #[serde(rename = "type")]
    pub kind: String,
    /// An HTTP method, or a verb.
    pub action: String,
    /// A path, a container's name, an image.
    pub target: String,
    /// How it went.
    pub status: String,
    /// Who, for people.
    pub agent: String,
    /// Who, exactly, such as `key:` and its id; empty for strangers.
    pub actor: String,
    /// Further facts.
    pub details: Option<serde_json::Value>,
    /// The scope that was missing.
    pub scope: Option<String>,
}

/// What everybody did.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct ActivityPage {
    /// The newest events that match, the oldest first.
    pub events: Vec<ActivityEvent>,
    /// How many events are kept in all.
    pub total: u64,
    /// Place of the newest event ever.
    pub newest: u64,
}

impl Client {
    /// Lists what everybody did. Needs `system:read`.
    ///
    /// # Errors
    ///
    /// See [`ClientError`].
    pub async fn activity(&self, which: &ActivityQuery) -> Result<Answer<ActivityPage>, ClientError> {
        self.get(["api", "activity"]).query(which).data().await
    }
}
