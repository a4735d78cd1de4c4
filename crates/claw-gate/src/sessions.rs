//! Sessions: signing in, staying in, signing out.

use std::{net::IpAddr, time::Duration};

use claw_core::{Actor, AuditAct, Coded as _, Origin, Secret, Timestamp};
use claw_store::{Precondition, StoreError};
use serde::{Deserialize, Serialize};

use crate::{
    EffectPlace, Gate, GateError, UserView,
    audit::{act, anonymous},
    gate::failure,
    password,
    people::{self, UserRecord},
    records::{Record, Stored},
    token::{self, TokenHash},
};

/// How long a session lasts from its sign-in on, used or not.
pub const SESSION_TTL: Duration = Duration::from_secs(24 * 60 * 60);

/// Most sessions of one person at a time; the oldest ends when another begins.
const SESSIONS_PER_USER: usize = 50;

/// The verb of a sign-in in the audit trail.
const LOGIN: &str = "auth.login";

/// Sessions looked at in one go when expired ones are removed.
const SWEEP_BATCH: u64 = 200;

/// A session as stored, under the hash of its cookie.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct SessionRecord {
    username: String,
    /// The account's own mark: a later account of the same name does not inherit the session.
    account: String,
    pub(crate) created_at: Timestamp,
    pub(crate) expires_at: Timestamp,
    /// Where the sign-in came from. Sessions of older versions do not know.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) client: Option<IpAddr>,
}

impl Record for SessionRecord {
    const KIND: &'static str = "session";

    fn sort_key(&self) -> String {
        // Soonest to expire first, digits aligned so that text order is time order.
        format!("{:020}", self.expires_at.as_millisecond().max(0))
    }

    fn owner(&self) -> String {
        people::owner_of(&self.username)
    }
}

impl SessionRecord {
    fn is_good_for(&self, user: &UserRecord, now: Timestamp) -> bool {
        self.account == user.account && self.expires_at > now
    }
}

impl Stored<SessionRecord> {
    /// Returns the name under which people see it.
    pub(crate) fn handle(&self) -> String {
        token::session_handle(&self.id)
    }
}

impl Gate {
    /// Signs a person in and returns the value of their session cookie, good for [`SESSION_TTL`]. Each sign-in makes
    /// a new session, so none can be planted beforehand; the one in `old`, which the browser still had, ends.
    ///
    /// # Errors
    ///
    /// [`GateError::InvalidLogin`], the same for an unknown name and a wrong password, and at the same price;
    /// [`GateError::RateLimited`] after too many failures of the account or the address, also for the right password;
    /// [`GateError::SetupRequired`] before set-up; [`GateError::Store`].
    pub async fn login(
        &self,
        username: &str,
        password: &Secret,
        client: IpAddr,
        old: Option<&Secret>,
    ) -> Result<(Secret, UserView), GateError> {
        self.require_set_up().await?;
        let refuse = |kind, error: GateError| {
            failure(kind);
            // The name is not noted: people type their password there by mistake.
            self.audit().denied(anonymous(LOGIN, client), error.code().as_str());
            error
        };
        let attempt =
            self.inner.limits.login(username, client).map_err(|wait| refuse("limited", wait.into()))?;
        let user = self.user(username).await?.map(|user| user.record);
        let sensible = password.expose().len() <= password::MAX_BYTES;
        let digest = user.as_ref().filter(|_| sensible).map(UserRecord::password);
        let right = self.inner.passwords.verify(password, digest).await?;
        let Some(user) = user.filter(|_| right) else {
            tracing::warn!(%client, "a sign-in failed");
            return Err(refuse("login", GateError::InvalidLogin));
        };
        attempt.succeeded();
        let actor = user.actor().coming_from(Origin { client: Some(client), request: None });
        let deed = act(&actor, LOGIN, user.target(), None);
        let cookie = self
            .record(deed, EffectPlace::Store, async {
                if let Some(old) = old {
                    self.remove_session(&TokenHash::of(old).hex()).await?;
                }
                self.make_room_for_session(&user).await?;
                self.new_session(&user, client).await
            })
            .await?;
        Ok((cookie, user.view()))
    }

    /// Ends a session. One that does not exist is as good as ended.
    ///
    /// # Errors
    ///
    /// [`GateError::Store`] if the store does not answer: the session may still be good.
    pub async fn logout(&self, cookie: &Secret) -> Result<(), GateError> {
        let id = TokenHash::of(cookie).hex();
        let Some(session) = self.inner.records.get::<SessionRecord>(&id).await? else { return Ok(()) };
        let owner = people::owner_of(&session.record.username);
        let deed = AuditAct {
            actor: owner.clone(),
            verb: "auth.logout".to_owned(),
            target: owner,
            ..AuditAct::default()
        };
        self.record(deed, EffectPlace::Store, self.remove_session(&id)).await
    }

    /// Ends the session that is stored under this id.
    pub(crate) async fn remove_session(&self, id: &str) -> Result<(), GateError> {
        self.inner.records.delete::<SessionRecord>(id).await?;
        self.somebody_changed();
        Ok(())
    }

    pub(crate) async fn actor_by_session(&self, cookie: &Secret) -> Result<Option<Actor>, GateError> {
        let hash = TokenHash::of(cookie);
        let records = &self.inner.records;
        let Some(session) = records.get::<SessionRecord>(&hash.hex()).await? else { return Ok(None) };
        if !hash.matches_hex(&session.id) || session.record.expires_at <= self.inner.clock.now() {
            // An expired one is removed by the next sweep.
            return Ok(None);
        }
        let user = self.user(&session.record.username).await?;
        let user = user.filter(|user| user.record.account == session.record.account);
        Ok(user.map(|user| Actor { session: Some(session.handle()), ..user.record.actor() }))
    }

    /// Returns the sessions of a person that are good, the soonest to expire first.
    pub(crate) async fn open_sessions_of(
        &self,
        user: &UserRecord,
    ) -> Result<Vec<Stored<SessionRecord>>, StoreError> {
        let now = self.inner.clock.now();
        let mut sessions = self.sessions_of(&user.username).await?;
        sessions.retain(|session| session.record.is_good_for(user, now));
        Ok(sessions)
    }

    /// Removes the sessions of an account that is gone. They are dead already, because each request looks for the
    /// account, so what fails here is left to expire.
    pub(crate) async fn tidy_sessions_of(&self, username: &str) {
        self.tidy_sessions(username, |_| true).await;
    }

    /// Like [`Gate::tidy_sessions_of`], for the dead sessions of an account that is still there.
    pub(crate) async fn tidy_sessions_of_others(&self, user: &UserRecord) {
        self.tidy_sessions(&user.username, |session| session.account != user.account).await;
    }

    async fn tidy_sessions(&self, username: &str, is_dead: impl Fn(&SessionRecord) -> bool) {
        let tidied = async {
            for session in self.sessions_of(username).await? {
                if is_dead(&session.record) {
                    self.inner.records.delete::<SessionRecord>(&session.id).await?;
                }
            }
            Ok::<_, StoreError>(())
        };
        if let Err(error) = tidied.await {
            let error = &error as &dyn std::error::Error;
            tracing::warn!(error, "dead sessions of a user are left to expire");
        }
    }

    /// Removes sessions that have expired, and returns how many.
    pub(crate) async fn sweep_sessions(&self) -> Result<usize, StoreError> {
        let now = self.inner.clock.now();
        let mut removed = 0;
        loop {
            let sessions = self.inner.records.first::<SessionRecord>(None, SWEEP_BATCH).await?;
            let expired: Vec<_> =
                sessions.iter().filter(|session| session.record.expires_at <= now).collect();
            for session in &expired {
                self.inner.records.delete::<SessionRecord>(&session.id).await?;
            }
            removed += expired.len();
            // Sorted by expiry: a batch that was not expired throughout was the last.
            if expired.is_empty() || expired.len() < sessions.len() {
                return Ok(removed);
            }
        }
    }

    pub(crate) async fn new_session(&self, user: &UserRecord, client: IpAddr) -> Result<Secret, GateError> {
        let cookie = token::new_session();
        let now = self.inner.clock.now();
        let session = SessionRecord {
            username: user.username.clone(),
            account: user.account.clone(),
            created_at: now,
            expires_at: now.saturating_add(SESSION_TTL).unwrap_or(now),
            client: Some(client),
        };
        self.inner.records.put(&TokenHash::of(&cookie).hex(), &session, Precondition::Absent).await?;
        Ok(cookie)
    }

    async fn make_room_for_session(&self, user: &UserRecord) -> Result<(), StoreError> {
        let sessions = self.sessions_of(&user.username).await?;
        let surplus = (sessions.len() + 1).saturating_sub(SESSIONS_PER_USER);
        for session in sessions.iter().take(surplus) {
            self.inner.records.delete::<SessionRecord>(&session.id).await?;
        }
        Ok(())
    }

    async fn sessions_of(&self, username: &str) -> Result<Vec<Stored<SessionRecord>>, StoreError> {
        self.inner.records.first(Some(people::owner_of(username)), SWEEP_BATCH).await
    }
}
