//! API keys: made, found, changed and revoked.

mod import;
mod record;
mod rotate;

use std::{
    collections::{BTreeSet, HashMap},
    net::IpAddr,
};

use claw_core::{
    Action, Actor, KeyId, Principal, Resource, Role, Scope, Secret, Timestamp, Usd, expand_scopes,
};
use claw_store::{Precondition, StoreError};

use self::record::{FormerSecret, owner_of};
pub(crate) use self::record::{KeyRecord, LastUsed, SecretRecord};
pub use self::{
    import::{ForeignKey, Imported},
    rotate::{DEFAULT_GRACE, MAX_GRACE},
};
use crate::{
    Credential, EffectPlace, Gate, GateError,
    audit::act,
    people::UserRecord,
    records::{Record as _, Stored},
    token::{self, TokenHash},
};

/// Longest label.
pub(crate) const MAX_LABEL_CHARS: usize = 100;

/// How often a change is tried again when someone else wrote the same key meanwhile.
const CHANGE_ATTEMPTS: usize = 5;

/// A key as clients see it: everything but the key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyMeta {
    /// Its id, a UUID. For callers without a key of their own, `token` or `user:{name}`.
    pub id: String,
    /// The last 8 characters of the key, by which people tell keys apart; empty if there is no key.
    pub key_prefix: String,
    /// A name for people.
    pub label: String,
    /// `admin` or `agent`; `user` for people who are not administrators.
    pub role: Role,
    /// What it may do, with `*` and `admin` written out.
    pub scopes: Vec<Scope>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last used; the creation time if never.
    pub last_used_at: Timestamp,
    /// Most that its jobs may cost on one day (UTC); `None`: no limit of its own.
    pub max_usd_per_day: Option<Usd>,
    /// From then on it is refused; `None`: it does not expire.
    pub expires_at: Option<Timestamp>,
    /// Until when the secret it had before it was rotated is good, while that is so.
    pub former_until: Option<Timestamp>,
}

/// A key to make.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewKey {
    /// A name for people; the role's name if empty.
    pub label: String,
    /// What it may do.
    pub scopes: BTreeSet<Scope>,
    /// `admin` or `agent`.
    pub role: Role,
    /// Most that its jobs may cost on one day (UTC).
    pub max_usd_per_day: Option<Usd>,
    /// From then on it is refused; `None`: it does not expire.
    pub expires_at: Option<Timestamp>,
}

/// What to change about a key; what is `None` stays.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyChange {
    /// Another name.
    pub label: Option<String>,
    /// Other scopes.
    pub scopes: Option<BTreeSet<Scope>>,
    /// Another limit, or `Some(None)` for none.
    pub max_usd_per_day: Option<Option<Usd>>,
    /// Another end, or `Some(None)` for none.
    pub expires_at: Option<Option<Timestamp>>,
}

/// Reads scope names as clients send them.
///
/// # Errors
///
/// [`GateError::UnknownScope`]; [`GateError::ScopesRequired`] if there are none.
pub fn parse_scopes<S: AsRef<str>>(names: &[S]) -> Result<BTreeSet<Scope>, GateError> {
    let scopes = names.iter().map(|name| name.as_ref().parse::<Scope>()).collect::<Result<_, _>>()?;
    require_scopes(&scopes)?;
    Ok(scopes)
}

impl Gate {
    /// Makes a key and returns it; it cannot be shown again. An empty label becomes the role's name.
    ///
    /// # Errors
    ///
    /// [`GateError::ScopeMissing`] without `keys:write`; [`GateError::AdminRequired`]; [`GateError::ScopeEscalation`]
    /// for a scope that `actor` does not hold; [`GateError::CapEscalation`]; [`GateError::ExpiryEscalation`];
    /// [`GateError::ScopesRequired`]; [`GateError::InvalidRole`]; [`GateError::InvalidLabel`];
    /// [`GateError::InvalidExpiry`].
    pub async fn create_key(&self, actor: &Actor, new: NewKey) -> Result<(Secret, KeyMeta), GateError> {
        let giver = self.permit_administrator(actor, Action::KeysManage, "key.create", "").await?;
        let (key, record) = self.new_key(&new.label, new.scopes, new.role)?;
        self.require_ahead(new.expires_at)?;
        let record = KeyRecord { max_usd_per_day: new.max_usd_per_day, expires_at: new.expires_at, ..record };
        let detail = serde_json::json!({
            "label": record.label, "role": record.role, "scopes": record.scopes,
            "max_usd_per_day": record.max_usd_per_day.map(Usd::dollars), "expires_at": record.expires_at,
        });
        let deed = act(actor, "key.create", target(record.id), Some(detail));
        self.record(deed, EffectPlace::Store, async {
            giver.require_held(&record.scopes)?;
            giver.require_unlimited()?;
            giver.require_outlives(record.expires_at)?;
            self.store_new_key(&key, &record).await
        })
        .await?;
        tracing::info!(key.id = %record.id, role = record.role.as_str(), by = %actor.principal, "a key was made");
        Ok((key, self.meta(&record)))
    }

    /// Returns all keys in order of creation.
    ///
    /// # Errors
    ///
    /// [`GateError::ScopeMissing`] without `keys:write`; [`GateError::AdminRequired`].
    pub async fn list_keys(&self, actor: &Actor) -> Result<Vec<KeyMeta>, GateError> {
        self.permit_administrator(actor, Action::KeysManage, "key.list", "").await?;
        let keys = self.inner.records.all::<KeyRecord>().await?;
        Ok(keys.iter().map(|key| self.meta(&key.record)).collect())
    }

    /// Changes a key's label, scopes, limit or end, up or down, with effect on its next request.
    ///
    /// # Errors
    ///
    /// As [`Gate::create_key`]; [`GateError::KeyNotFound`]; [`GateError::LastWayIn`] if nobody could manage keys
    /// afterwards.
    pub async fn update_key(
        &self,
        actor: &Actor,
        id: KeyId,
        change: KeyChange,
    ) -> Result<KeyMeta, GateError> {
        let target = target(id);
        let giver = self.permit_administrator(actor, Action::KeysManage, "key.change", &target).await?;
        if let Some(scopes) = &change.scopes {
            require_scopes(scopes)?;
        }
        self.require_ahead(change.expires_at.flatten())?;
        let detail = serde_json::json!({
            "label": change.label, "scopes": change.scopes,
            "max_usd_per_day": change.max_usd_per_day.map(|cap| cap.map(Usd::dollars)),
            "expires_at": change.expires_at,
        });
        let deed = act(actor, "key.change", target, Some(detail));
        let apply = |record: &mut KeyRecord| {
            if let Some(label) = &change.label {
                record.label = clean_label(label, record.role)?;
            }
            if let Some(scopes) = &change.scopes {
                // What the key has it may keep; what is added must be the actor's to give.
                giver.require_held(scopes.difference(&record.scopes))?;
                if !scopes.is_subset(&record.scopes) {
                    giver.require_unlimited()?;
                    giver.require_outlives(change.expires_at.unwrap_or(record.expires_at))?;
                }
                record.scopes.clone_from(scopes);
            }
            if let Some(cap) = change.max_usd_per_day {
                let widens = record.max_usd_per_day.is_some_and(|own| cap.is_none_or(|cap| cap > own));
                if widens {
                    giver.require_unlimited()?;
                }
                record.max_usd_per_day = cap;
            }
            if let Some(end) = change.expires_at {
                if record.expires_at.is_some_and(|own| end.is_none_or(|end| end > own)) {
                    giver.require_outlives(end)?;
                }
                record.expires_at = end;
            }
            Ok(())
        };
        let change_key = self.change_key(id, GateError::KeyNotFound(id), apply);
        let record = self.record(deed, EffectPlace::Store, change_key).await?;
        tracing::info!(key.id = %id, by = %actor.principal, "a key was changed");
        Ok(self.meta(&record))
    }

    /// Revokes a key: it is refused from its next request on.
    ///
    /// # Errors
    ///
    /// [`GateError::ScopeMissing`] without `keys:write`; [`GateError::AdminRequired`];
    /// [`GateError::CannotRevokeSelf`]; [`GateError::UnknownKeyToRevoke`]; [`GateError::LastWayIn`].
    pub async fn revoke_key(&self, actor: &Actor, id: KeyId) -> Result<(), GateError> {
        let target = target(id);
        self.permit_administrator(actor, Action::KeysManage, "key.revoke", &target).await?;
        let deed = act(actor, "key.revoke", target, None);
        self.record(deed, EffectPlace::Store, self.revoke(actor, id)).await?;
        tracing::info!(key.id = %id, by = %actor.principal, "a key was revoked");
        Ok(())
    }

    async fn revoke(&self, actor: &Actor, id: KeyId) -> Result<(), GateError> {
        if actor.principal == Principal::Key(id.to_string()) {
            return Err(GateError::CannotRevokeSelf);
        }
        let _one_at_a_time = self.inner.ways_in.lock().await;
        let key = self.key_by_id(id).await?.ok_or(GateError::UnknownKeyToRevoke(id))?;
        if key.record.is_way_in() {
            self.require_other_way_in(&key.record.actor().principal).await?;
        }
        if !self.inner.records.delete::<KeyRecord>(&key.id).await? {
            return Err(GateError::UnknownKeyToRevoke(id));
        }
        self.inner.last_used.forget(id);
        // They lead nowhere by now.
        self.forget_secrets(id).await?;
        self.somebody_changed();
        Ok(())
    }

    /// Returns the most that the jobs of each owner may cost on one day, for those who have such a limit.
    ///
    /// # Errors
    ///
    /// [`GateError::Store`] if the store does not answer.
    pub async fn day_caps(&self) -> Result<HashMap<String, Usd>, GateError> {
        let keys = self.inner.records.all::<KeyRecord>().await?;
        let cap = |key: Stored<KeyRecord>| Some((owner_of(key.record.id), key.record.max_usd_per_day?));
        Ok(keys.into_iter().filter_map(cap).collect())
    }

    /// Returns the caller's own key. People and the installation's token get the same description of themselves, so
    /// that clients need not care what they were given.
    ///
    /// # Errors
    ///
    /// [`GateError::InvalidKey`] if it was revoked meanwhile.
    pub async fn own_key(&self, actor: &Actor) -> Result<KeyMeta, GateError> {
        self.permit(actor, Action::OwnKey, &Resource::Any)?;
        let (role, created_at, last_used_at) = match &actor.principal {
            Principal::Key(_) => {
                let key = self.inner.records.first_of::<KeyRecord>(actor.owner()).await?;
                return Ok(self.meta(&key.ok_or(GateError::InvalidKey)?.record));
            }
            Principal::User(name) => {
                let user = self.inner.records.get::<UserRecord>(name).await?;
                let user = user.ok_or(GateError::InvalidKey)?.record;
                (user.role, user.created_at, self.now())
            }
            Principal::Token | Principal::System => (Role::Admin, self.inner.started_at, self.now()),
        };
        Ok(KeyMeta {
            max_usd_per_day: None,
            expires_at: None,
            former_until: None,
            id: actor.owner(),
            key_prefix: String::new(),
            label: actor.label.clone(),
            role,
            scopes: expand_scopes(&actor.scopes),
            created_at,
            last_used_at,
        })
    }

    /// Lowers the scopes of the caller's own key, which any key may do.
    ///
    /// # Errors
    ///
    /// [`GateError::ScopeEscalation`] for a scope the key does not hold; [`GateError::ScopesRequired`];
    /// [`GateError::LastWayIn`] if nobody could manage keys afterwards; [`GateError::NoOwnKey`] if the caller did not
    /// come with a key.
    pub async fn lower_own_scopes(
        &self,
        actor: &Actor,
        scopes: BTreeSet<Scope>,
    ) -> Result<KeyMeta, GateError> {
        self.permit(actor, Action::OwnKey, &Resource::Any)?;
        let Principal::Key(id) = &actor.principal else { return Err(GateError::NoOwnKey) };
        let id = id.parse::<KeyId>().map_err(|_not_ours| GateError::InvalidKey)?;
        require_scopes(&scopes)?;
        let detail = serde_json::json!({ "scopes": scopes });
        let deed = act(actor, "key.lower", target(id), Some(detail));
        let change = self.change_key(id, GateError::InvalidKey, |record| {
            // Against what the key holds now, which may be less than when the request began.
            let holder = record.actor();
            if let Some(scope) = scopes.iter().find(|scope| !holder.holds(**scope)) {
                return Err(GateError::ScopeEscalation(*scope));
            }
            record.scopes.clone_from(&scopes);
            Ok(())
        });
        let record = self.record(deed, EffectPlace::Store, change).await?;
        tracing::info!(key.id = %id, "a key lowered its own scopes");
        Ok(self.meta(&record))
    }

    /// Tells whose key this is, for whoever holds it. The installation's token counts as a key.
    ///
    /// # Errors
    ///
    /// [`GateError::InvalidKey`], also before set-up; [`GateError::RateLimited`] after too many; [`GateError::Store`].
    pub async fn verify(&self, key: Secret, client: IpAddr) -> Result<KeyMeta, GateError> {
        match self.authenticate(Credential::ApiKey(key), client).await {
            Ok(actor) => self.own_key(&actor).await,
            Err(GateError::SetupRequired | GateError::ApiKeyRequired) => {
                Err(self.refused(client, GateError::InvalidKey))
            }
            Err(error) => Err(error),
        }
    }

    /// Makes a key without storing it.
    pub(crate) fn new_key(
        &self,
        label: &str,
        scopes: BTreeSet<Scope>,
        role: Role,
    ) -> Result<(Secret, KeyRecord), GateError> {
        match role {
            Role::Admin | Role::Agent => {}
            Role::User => {
                return Err(GateError::InvalidRole { what: "key", role, expected: "`admin` or `agent`" });
            }
        }
        require_scopes(&scopes)?;
        let key = token::new_key();
        let now = self.now();
        let record = KeyRecord {
            id: KeyId::new(),
            key_prefix: token::key_tail(&key),
            label: clean_label(label, role)?,
            role,
            scopes,
            created_at: now,
            last_used_at: now,
            max_usd_per_day: None,
            expires_at: None,
            secret: None,
            former: None,
        };
        Ok((key, record))
    }

    pub(crate) async fn store_new_key(&self, key: &Secret, record: &KeyRecord) -> Result<(), GateError> {
        let hash = TokenHash::of(key).hex();
        self.inner.records.put(&hash, record, Precondition::Absent).await?;
        Ok(())
    }

    /// Reads, changes and writes back a key, again if someone else wrote it in between.
    async fn change_key(
        &self,
        id: KeyId,
        missing: GateError,
        change: impl Fn(&mut KeyRecord) -> Result<(), GateError> + Send,
    ) -> Result<KeyRecord, GateError> {
        let _one_at_a_time = self.inner.ways_in.lock().await;
        for _ in 0..CHANGE_ATTEMPTS {
            let Some(key) = self.key_by_id(id).await? else { return Err(missing) };
            let mut record = key.record.clone();
            change(&mut record)?;
            if key.record.is_way_in() && !record.is_way_in() {
                self.require_other_way_in(&record.actor().principal).await?;
            }
            match self.inner.records.put(&key.id, &record, Precondition::Version(key.version)).await {
                Ok(_) => {
                    self.somebody_changed();
                    return Ok(record);
                }
                Err(StoreError::Conflict { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        // Never the document's id, which is the key's hash.
        Err(StoreError::Conflict { kind: KeyRecord::KIND.into(), id: id.to_string() }.into())
    }

    pub(crate) fn meta(&self, record: &KeyRecord) -> KeyMeta {
        let noted = self.inner.last_used.of(record.id);
        KeyMeta {
            id: record.id.to_string(),
            key_prefix: record.key_prefix.clone(),
            label: record.label.clone(),
            role: record.role,
            scopes: expand_scopes(&record.scopes),
            created_at: record.created_at,
            last_used_at: noted.map_or(record.last_used_at, |noted| noted.max(record.last_used_at)),
            max_usd_per_day: record.max_usd_per_day,
            expires_at: record.expires_at,
            former_until: record
                .former
                .as_ref()
                .map(|former| former.until)
                .filter(|until| *until > self.now()),
        }
    }

    /// Checks that a key would not have expired before it was made.
    fn require_ahead(&self, end: Option<Timestamp>) -> Result<(), GateError> {
        match end {
            Some(end) if end <= self.inner.clock.now() => Err(GateError::InvalidExpiry(end)),
            Some(_) | None => Ok(()),
        }
    }
}

/// Names a key in the audit trail.
fn target(id: KeyId) -> String {
    format!("key:{id}")
}

fn require_scopes(scopes: &BTreeSet<Scope>) -> Result<(), GateError> {
    if scopes.is_empty() { Err(GateError::ScopesRequired) } else { Ok(()) }
}

/// Checks a label; an empty one becomes the role's name.
fn clean_label(label: &str, role: Role) -> Result<String, GateError> {
    let label = label.trim();
    if label.chars().count() > MAX_LABEL_CHARS || label.chars().any(char::is_control) {
        return Err(GateError::InvalidLabel);
    }
    Ok(if label.is_empty() { role.as_str().to_owned() } else { label.to_owned() })
}
