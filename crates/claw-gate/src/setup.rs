//! First set-up: how the first key or user comes to be, once.

use std::{collections::BTreeSet, net::IpAddr, sync::atomic::Ordering, time::Duration};

use claw_core::{Role, Scope, Secret, Timestamp};
use claw_store::{Precondition, StoreError};
use serde::{Deserialize, Serialize};

use crate::{
    EffectPlace, Gate, GateError, KeyMeta, UserView, audit::anonymous, keys::KeyRecord, people::UserRecord,
    records::Record,
};

/// How long a set-up that was begun keeps others out. It takes milliseconds; past this it has died on the way.
const MARKER_HOLDS: Duration = Duration::from_secs(10);

/// The one document of its kind.
const MARKER_ID: &str = "setup";

/// The administrator whom the configuration names (`CLAW_ADMIN_USER`, `CLAW_ADMIN_PASSWORD`).
#[derive(Clone, Debug)]
pub struct FirstAdmin {
    /// The name to sign in with.
    pub username: String,
    /// The password.
    pub password: Secret,
}

/// What a start found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SetupState {
    /// Someone can get in.
    Done,
    /// Nobody can yet: this token, used once, makes the first key or user. To be shown to whoever runs the server.
    Required {
        /// The setup token.
        token: Secret,
    },
}

/// How far set-up is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SetupStatus {
    /// Whether set-up has to be done before anything answers.
    pub required: bool,
    /// Whether a setup token waits to be used.
    pub token_available: bool,
    /// How many keys there are.
    pub key_count: u64,
    /// How many users there are.
    pub user_count: u64,
}

/// Whoever writes it does the set-up; nobody else can.
#[derive(Serialize, Deserialize)]
struct SetupMarker {
    begun_at: Timestamp,
}

impl Record for SetupMarker {
    const KIND: &'static str = "setup";

    fn sort_key(&self) -> String {
        String::new()
    }

    fn owner(&self) -> String {
        String::new()
    }
}

impl Gate {
    /// Gets ready: makes the administrator whom the configuration names if there are no users, and a setup token if
    /// nobody can get in. The token stays the same across restarts until it is used.
    ///
    /// # Errors
    ///
    /// [`GateError::InvalidUsername`] and [`GateError::InvalidPassword`] for a configured administrator that cannot
    /// be; [`GateError::SetupTokenFile`]; [`GateError::Store`].
    pub async fn start(&self, first_admin: Option<FirstAdmin>) -> Result<SetupState, GateError> {
        self.audit().begin().await?;
        if let Some(admin) = first_admin
            && self.inner.records.count::<UserRecord>().await? == 0
        {
            let user = self.new_user(&admin.username, &admin.password, Role::Admin).await?;
            match self.store_new_user(&user).await {
                Ok(()) => tracing::info!(user.name = user.username, "the configured administrator was made"),
                // Another server of the same installation was quicker.
                Err(GateError::UserExists(_)) => {}
                Err(error) => return Err(error),
            }
        }
        if self.is_set_up().await? {
            self.inner.setup_token.discard().await;
            Ok(SetupState::Done)
        } else {
            Ok(SetupState::Required { token: self.inner.setup_token.ready().await? })
        }
    }

    /// Tells how far set-up is. Needs no credential and tells no secret.
    ///
    /// # Errors
    ///
    /// [`GateError::Store`] if the store does not answer.
    pub async fn setup_state(&self) -> Result<SetupStatus, GateError> {
        let key_count = self.inner.records.count::<KeyRecord>().await?;
        let user_count = self.inner.records.count::<UserRecord>().await?;
        let required = self.inner.api_token.is_none() && key_count == 0 && user_count == 0;
        Ok(SetupStatus {
            required,
            token_available: required && self.inner.setup_token.is_waiting(),
            key_count,
            user_count,
        })
    }

    /// Finishes set-up with a first key, of role admin and with the scopes given. An empty label becomes `admin`.
    ///
    /// # Errors
    ///
    /// [`GateError::AlreadySetup`]; [`GateError::InvalidSetupToken`], or [`GateError::RateLimited`] after too many;
    /// [`GateError::ScopesRequired`] and [`GateError::InvalidLabel`], which leave the token good.
    pub async fn setup_with_key(
        &self,
        token: &Secret,
        label: &str,
        scopes: BTreeSet<Scope>,
        client: IpAddr,
    ) -> Result<(Secret, KeyMeta), GateError> {
        self.check_setup_token(token, client).await?;
        let (key, record) = self.new_key(label, scopes, Role::Admin)?;
        let deed = anonymous("setup.key", client);
        self.record(deed, EffectPlace::Store, self.set_up_once(self.store_new_key(&key, &record))).await?;
        tracing::info!(key.id = %record.id, "set-up is finished: the first key was made");
        Ok((key, self.meta(&record)))
    }

    /// Finishes set-up with a first administrator.
    ///
    /// # Errors
    ///
    /// [`GateError::AlreadySetup`]; [`GateError::InvalidSetupToken`], or [`GateError::RateLimited`] after too many;
    /// [`GateError::InvalidUsername`] and [`GateError::InvalidPassword`], which leave the token good.
    pub async fn setup_with_user(
        &self,
        token: &Secret,
        username: &str,
        password: &Secret,
        client: IpAddr,
    ) -> Result<UserView, GateError> {
        self.check_setup_token(token, client).await?;
        let user = self.new_user(username, password, Role::Admin).await?;
        let deed = anonymous("setup.user", client);
        self.record(deed, EffectPlace::Store, self.set_up_once(self.store_new_user(&user))).await?;
        tracing::info!(user.name = user.username, "set-up is finished: the first administrator was made");
        Ok(user.view())
    }

    async fn check_setup_token(&self, token: &Secret, client: IpAddr) -> Result<(), GateError> {
        if self.is_set_up().await? {
            return Err(GateError::AlreadySetup);
        }
        if self.inner.setup_token.matches(token) {
            Ok(())
        } else {
            Err(self.refused(client, GateError::InvalidSetupToken))
        }
    }

    /// Stores the first key or user, unless someone else did or is doing it.
    ///
    /// A marker comes first, written on condition that there is none: of several set-ups at once, in one server or
    /// several, one gets to write it. If that one dies before it has stored anything, the marker grows old and the
    /// next set-up takes it over.
    async fn set_up_once(
        &self,
        store: impl Future<Output = Result<(), GateError>> + Send,
    ) -> Result<(), GateError> {
        let records = &self.inner.records;
        let marker = SetupMarker { begun_at: self.inner.clock.now() };
        let precondition = match records.get::<SetupMarker>(MARKER_ID).await? {
            None => Precondition::Absent,
            Some(found) if self.has_died(&found.record) => Precondition::Version(found.version),
            Some(_) => return Err(GateError::AlreadySetup),
        };
        let version = match records.put(MARKER_ID, &marker, precondition).await {
            Ok(version) => version,
            Err(StoreError::Conflict { .. }) => return Err(GateError::AlreadySetup),
            Err(error) => return Err(error.into()),
        };
        // Looked at again: a set-up that held an older marker may have come to its end meanwhile.
        if self.is_set_up().await? {
            return Err(GateError::AlreadySetup);
        }
        if let Err(error) = store.await {
            // Nothing was stored, so the next try need not wait. If this fails too, it waits until the marker is old.
            if let Err(error) = records.delete_version::<SetupMarker>(MARKER_ID, version).await {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "set-up is blocked for some seconds"
                );
            }
            return Err(error);
        }
        self.inner.set_up.store(true, Ordering::Relaxed);
        self.inner.setup_token.discard().await;
        Ok(())
    }

    fn has_died(&self, marker: &SetupMarker) -> bool {
        let age = self.inner.clock.now().duration_since(marker.begun_at);
        // A marker from the future: the clock was set back, and it cannot be told how old it is.
        Duration::try_from(age).map_or(true, |age| age >= MARKER_HOLDS)
    }
}
