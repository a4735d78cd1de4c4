//! Keys that were made elsewhere: their hash is taken over, so that their holders notice nothing.

use std::collections::BTreeSet;

use claw_core::{Action, Actor, KeyId, Role, Scope, Timestamp};
use claw_store::{Precondition, StoreError};

use super::{KeyMeta, clean_label, record::KeyRecord, require_scopes, target};
use crate::{EffectPlace, Gate, GateError, audit::act, gate::whole_seconds};

/// A key of which only the hash is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForeignKey {
    /// Its id, kept if it is free; a new one if `None`.
    pub id: Option<KeyId>,
    /// The SHA-256 of the whole key in lower-case hexadecimal digits.
    pub hash: String,
    /// The last characters of the key.
    pub key_prefix: String,
    /// A name for people; the role's name if empty.
    pub label: String,
    /// What it may do.
    pub scopes: BTreeSet<Scope>,
    /// `admin` or `agent`.
    pub role: Role,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last used; the creation time if never.
    pub last_used_at: Timestamp,
}

/// What became of a key that was to be taken over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Imported {
    /// It is good from now on.
    New(KeyMeta),
    /// It was taken over before, and is left as it is.
    Known(KeyMeta),
}

impl Gate {
    /// Takes over a key by its hash. One that is known already stays as it is, whatever was changed about it since.
    ///
    /// # Errors
    ///
    /// [`GateError::InvalidKeyHash`]; otherwise as [`Gate::create_key`].
    pub async fn import_key(&self, actor: &Actor, foreign: ForeignKey) -> Result<Imported, GateError> {
        let giver = self.permit_administrator(actor, Action::KeysManage, "key.import", "").await?;
        let is_hash = foreign.hash.len() == 64
            && foreign.hash.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        if !is_hash {
            return Err(GateError::InvalidKeyHash);
        }
        if foreign.role == Role::User {
            return Err(GateError::InvalidRole {
                what: "key",
                role: foreign.role,
                expected: "`admin` or `agent`",
            });
        }
        require_scopes(&foreign.scopes)?;
        let label = clean_label(&foreign.label, foreign.role)?;
        if let Some(known) = self.key_by_secret(&foreign.hash).await? {
            return Ok(Imported::Known(self.meta(&known.record)));
        }
        let id = match foreign.id {
            Some(id) if self.key_by_id(id).await?.is_none() => id,
            Some(_) | None => KeyId::new(),
        };
        let tail: String = foreign.key_prefix.chars().filter(char::is_ascii_graphic).collect();
        let record = KeyRecord {
            id,
            // Never more of a key than its last characters, whatever is handed over.
            key_prefix: tail[tail.len().saturating_sub(8)..].to_owned(),
            label,
            role: foreign.role,
            scopes: foreign.scopes,
            created_at: whole_seconds(foreign.created_at),
            last_used_at: whole_seconds(foreign.last_used_at),
            max_usd_per_day: None,
            expires_at: None,
            secret: None,
            former: None,
        };
        let detail = serde_json::json!({
            "label": record.label, "role": record.role, "scopes": record.scopes,
        });
        let deed = act(actor, "key.import", target(id), Some(detail));
        let stored = self
            .record(deed, EffectPlace::Store, async {
                giver.require_held(&record.scopes)?;
                giver.require_unlimited()?;
                giver.require_outlives(None)?;
                match self.inner.records.put(&foreign.hash, &record, Precondition::Absent).await {
                    Ok(_) => Ok(true),
                    // Somebody else took it over in this moment.
                    Err(StoreError::Conflict { .. }) => Ok(false),
                    Err(error) => Err(GateError::from(error)),
                }
            })
            .await?;
        let meta = self.meta(&record);
        if !stored {
            return Ok(Imported::Known(meta));
        }
        tracing::info!(key.id = %id, role = record.role.as_str(), by = %actor.principal, "a key was taken over");
        Ok(Imported::New(meta))
    }
}
