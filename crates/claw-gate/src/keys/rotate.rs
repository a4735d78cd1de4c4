//! Another secret for the same key.

use std::time::Duration;

use claw_core::{Action, Actor, KeyId, Principal, Secret};
use claw_store::{Precondition, StoreError};

use super::{
    FormerSecret, KeyMeta, SecretRecord,
    record::{KeyRecord, owner_of},
    target,
};
use crate::{
    EffectPlace, Gate, GateError,
    audit::act,
    token::{self, TokenHash},
};

/// Longest time that a rotated key's former secret stays good: a leaked secret must come to its end.
pub const MAX_GRACE: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// How long it stays good unless asked otherwise.
pub const DEFAULT_GRACE: Duration = Duration::from_secs(24 * 60 * 60);

/// Secrets of one key that are looked at when those which lead nowhere are removed.
const SECRETS: u64 = 100;

impl Gate {
    /// Gives a key another secret and returns it; it cannot be shown again. Everything else about the key stays. The
    /// former secret is good for `grace` longer, and the one before that no more.
    ///
    /// Whoever rotates a key holds its secret then, so they must hold what it holds.
    ///
    /// # Errors
    ///
    /// [`GateError::ScopeMissing`] without `keys:write`; [`GateError::AdminRequired`]; [`GateError::ScopeEscalation`],
    /// [`GateError::CapEscalation`] and [`GateError::ExpiryEscalation`] for a key that may more than `actor`;
    /// [`GateError::InvalidGrace`]; [`GateError::KeyNotFound`].
    pub async fn rotate_key(
        &self,
        actor: &Actor,
        id: KeyId,
        grace: Duration,
    ) -> Result<(Secret, KeyMeta), GateError> {
        let target = target(id);
        let giver = self.permit_administrator(actor, Action::KeysManage, "key.rotate", &target).await?;
        if grace > MAX_GRACE {
            return Err(GateError::InvalidGrace);
        }
        let detail = serde_json::json!({ "grace_seconds": grace.as_secs() });
        let deed = act(actor, "key.rotate", target, Some(detail));
        let secret = token::new_key();
        let hash = TokenHash::of(&secret).hex();
        let is_own = actor.principal == Principal::Key(id.to_string());
        let now = self.now();
        let until = now.saturating_add(grace).unwrap_or(now);
        let effect = async {
            let key = self.key_by_id(id).await?.ok_or(GateError::KeyNotFound(id))?;
            self.sweep_secrets(&key.record, &key.id).await?;
            // First what leads to the key, which changes nothing by itself; then the key in one step.
            let leads = SecretRecord { key: id, document: key.id.clone(), made_at: now };
            self.inner.records.put(&hash, &leads, Precondition::Absent).await?;
            let document = key.id;
            let record = self
                .change_key(id, GateError::KeyNotFound(id), |record| {
                    if !is_own {
                        giver.require_held(&record.scopes)?;
                        giver.require_unlimited()?;
                        giver.require_outlives(record.expires_at)?;
                    }
                    let former = record.secret.replace(hash.clone()).unwrap_or_else(|| document.clone());
                    record.former = (!grace.is_zero()).then_some(FormerSecret { hash: former, until });
                    record.key_prefix = token::key_tail(&secret);
                    Ok(())
                })
                .await;
            if record.is_err() {
                // It leads nowhere; if this fails too, the next rotation removes it.
                let _ = self.inner.records.delete::<SecretRecord>(&hash).await;
            }
            record
        };
        let record = self.record(deed, EffectPlace::Store, effect).await?;
        tracing::info!(key.id = %id, by = %actor.principal, grace = grace.as_secs(), "a key was rotated");
        Ok((secret, self.meta(&record)))
    }

    /// Removes what leads to the key from secrets that it no longer knows.
    async fn sweep_secrets(&self, key: &KeyRecord, document: &str) -> Result<(), StoreError> {
        let known = |hash: &str| {
            key.secret.as_deref() == Some(hash)
                || hash == document
                || key.former.as_ref().is_some_and(|former| former.hash == hash)
        };
        let records = &self.inner.records;
        for secret in records.first::<SecretRecord>(Some(owner_of(key.id)), SECRETS).await? {
            if !known(&secret.id) {
                records.delete::<SecretRecord>(&secret.id).await?;
            }
        }
        Ok(())
    }

    /// Removes everything that leads to a key which is gone.
    pub(super) async fn forget_secrets(&self, id: KeyId) -> Result<(), StoreError> {
        let records = &self.inner.records;
        for secret in records.first::<SecretRecord>(Some(owner_of(id)), SECRETS).await? {
            records.delete::<SecretRecord>(&secret.id).await?;
        }
        Ok(())
    }
}
