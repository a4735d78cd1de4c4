//! Keys as they are stored, and how one is found by its secret.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Mutex, MutexGuard, PoisonError},
};

use claw_core::{Actor, KeyId, Principal, Role, Scope, Secret, Timestamp, Usd};
use claw_store::StoreError;
use serde::{Deserialize, Serialize};

use crate::{
    Gate,
    records::{Record, Stored},
    token::{self, TokenHash},
};

/// A key as stored, under the hash of its first secret: finding one that was never rotated is one indexed read. What
/// it says about secrets is the truth; a [`SecretRecord`] only leads to it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct KeyRecord {
    pub(crate) id: KeyId,
    pub(crate) key_prefix: String,
    pub(crate) label: String,
    pub(crate) role: Role,
    pub(crate) scopes: BTreeSet<Scope>,
    pub(crate) created_at: Timestamp,
    pub(crate) last_used_at: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) max_usd_per_day: Option<Usd>,
    /// From then on it opens nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) expires_at: Option<Timestamp>,
    /// Hash of its secret, once that is no longer the first one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) secret: Option<String>,
    /// The secret before that, while it is good.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) former: Option<FormerSecret>,
}

/// The secret that a key had before it was rotated.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct FormerSecret {
    /// Its hash.
    pub(crate) hash: String,
    /// From then on it opens nothing.
    pub(crate) until: Timestamp,
}

impl Record for KeyRecord {
    const KIND: &'static str = "key";

    fn sort_key(&self) -> String {
        let id = self.id.to_string();
        // Version 7 ids sort by creation. Imported ones have a random id, and are filed as if they had such a one.
        if id.as_bytes().get(14) == Some(&b'7') {
            return id;
        }
        let milliseconds = format!("{:012x}", self.created_at.as_millisecond().max(0));
        let (high, low) = milliseconds.split_at(8);
        format!("{high}-{low}-{id}")
    }

    fn owner(&self) -> String {
        owner_of(self.id)
    }
}

impl KeyRecord {
    pub(crate) fn actor(&self) -> Actor {
        Actor::new(Principal::Key(self.id.to_string()), self.label.clone(), self.scopes.iter().copied())
    }

    /// Tells whether its holder can give power to others, for good: one that expires leaves nobody behind.
    pub(crate) fn is_way_in(&self) -> bool {
        self.role == Role::Admin && self.expires_at.is_none() && self.actor().holds(Scope::KeysWrite)
    }

    /// Tells whether it expired.
    pub(crate) fn has_expired(&self, now: Timestamp) -> bool {
        self.expires_at.is_some_and(|end| end <= now)
    }

    /// Returns until when it opens to the secret with this hash; `None` if it does not at all. `document` is the id
    /// under which it is stored.
    fn opens_until(&self, document: &str, secret: TokenHash) -> Option<Timestamp> {
        let end = self.expires_at.unwrap_or(Timestamp::MAX);
        if secret.matches_hex(self.secret.as_deref().unwrap_or(document)) {
            return Some(end);
        }
        let former = self.former.as_ref().filter(|former| secret.matches_hex(&former.hash))?;
        Some(former.until.min(end))
    }

    /// Tells whether it opens now to the secret with this handle, as [`Actor::session`] names it.
    pub(crate) fn still_opens_to(&self, document: &str, handle: &str, now: Timestamp) -> bool {
        let is = |hash: &str| token::session_handle(hash) == handle;
        is(self.secret.as_deref().unwrap_or(document))
            || self.former.as_ref().is_some_and(|former| now < former.until && is(&former.hash))
    }
}

/// Leads from the hash of a secret, which is its id, to the key it is a secret of. One whose key does not know the
/// secret leads nowhere.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct SecretRecord {
    /// The key.
    pub(crate) key: KeyId,
    /// The id under which it is stored.
    pub(crate) document: String,
    /// When it was made.
    pub(crate) made_at: Timestamp,
}

impl Record for SecretRecord {
    const KIND: &'static str = "key_secret";

    fn sort_key(&self) -> String {
        self.made_at.to_string()
    }

    fn owner(&self) -> String {
        owner_of(self.key)
    }
}

/// The owner mark under which a key's record is filed: its own, so that it is found by its id in one indexed read.
pub(crate) fn owner_of(id: KeyId) -> String {
    Principal::Key(id.to_string()).to_string()
}

/// When keys were used, until the next time it is written down.
#[derive(Default)]
pub(crate) struct LastUsed {
    // A std mutex: held for a map look-up, never across an await. Holds valid keys only, so it is bounded by them.
    times: Mutex<HashMap<KeyId, Timestamp>>,
}

impl LastUsed {
    fn note(&self, key: KeyId, now: Timestamp) {
        self.lock().insert(key, now);
    }

    pub(crate) fn of(&self, key: KeyId) -> Option<Timestamp> {
        self.lock().get(&key).copied()
    }

    pub(crate) fn forget(&self, key: KeyId) {
        self.lock().remove(&key);
    }

    /// Returns what is not written down yet.
    pub(crate) fn pending(&self) -> HashMap<KeyId, Timestamp> {
        self.lock().clone()
    }

    /// Notes that this use is written down; a later one is not.
    pub(crate) fn written(&self, key: KeyId, used_at: Timestamp) {
        let mut times = self.lock();
        if times.get(&key) == Some(&used_at) {
            times.remove(&key);
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<KeyId, Timestamp>> {
        self.times.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Gate {
    /// Returns whoever holds the key with this secret.
    pub(crate) async fn actor_by_key(&self, key: &Secret) -> Result<Option<Actor>, StoreError> {
        if !token::is_key(key) {
            return Ok(None);
        }
        let hash = TokenHash::of(key);
        let now = self.inner.clock.now();
        // Before the look at the store, so that what is read beside a change does not count after it.
        let writes = self.inner.records.writes();
        if let Some((id, actor)) = self.inner.recent_keys.get(&hash, writes, now) {
            self.inner.last_used.note(id, self.now());
            return Ok(Some(actor));
        }
        let Some(found) = self.key_by_secret(&hash.hex()).await? else { return Ok(None) };
        // The look-up is by a hash that a stranger cannot steer; comparing again keeps this true whatever the
        // engine's idea of equal ids is, and the record alone says which secrets it opens to.
        let Some(until) = found.record.opens_until(&found.id, hash).filter(|until| now < *until) else {
            return Ok(None);
        };
        let id = found.record.id;
        let actor = Actor { session: Some(token::session_handle(&hash.hex())), ..found.record.actor() };
        self.inner.last_used.note(id, self.now());
        self.inner.recent_keys.note(hash, writes, until, id, actor.clone());
        Ok(Some(actor))
    }

    /// Returns the key to which a secret's hash leads, whether it opens to it or not.
    pub(crate) async fn key_by_secret(&self, hash: &str) -> Result<Option<Stored<KeyRecord>>, StoreError> {
        let records = &self.inner.records;
        if let Some(found) = records.get::<KeyRecord>(hash).await? {
            return Ok(Some(found));
        }
        match records.get::<SecretRecord>(hash).await? {
            Some(leads) => records.get::<KeyRecord>(&leads.record.document).await,
            None => Ok(None),
        }
    }

    pub(crate) async fn key_by_id(&self, id: KeyId) -> Result<Option<Stored<KeyRecord>>, StoreError> {
        self.inner.records.first_of::<KeyRecord>(owner_of(id)).await
    }
}
