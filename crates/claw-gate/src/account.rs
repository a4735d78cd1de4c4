//! Passwords of people who have an account: changed by themselves, reset by an administrator.

use std::net::IpAddr;

use claw_core::{Action, Actor, Principal, Resource, Secret};
use claw_store::Precondition;

use crate::{
    EffectPlace, Gate, GateError,
    audit::act,
    gate::failure,
    password,
    people::{UserRecord, owner_of},
    records::Stored,
};

/// The verb of both in the audit trail.
const VERB: &str = "user.password";

impl Gate {
    /// Changes one's own password and returns the cookie of a new session. All sessions from before end, this one too:
    /// whoever knows the old password may hold one of them.
    ///
    /// # Errors
    ///
    /// [`GateError::NotAPerson`] for keys and the installation's token; [`GateError::InvalidLogin`] if `old` is wrong,
    /// which counts like a failed sign-in; [`GateError::RateLimited`]; [`GateError::InvalidPassword`] if `new` cannot be
    /// one; [`GateError::InvalidKey`] if the account or session is gone.
    pub async fn change_password(
        &self,
        actor: &Actor,
        old: &Secret,
        new: &Secret,
        client: IpAddr,
    ) -> Result<Secret, GateError> {
        self.permit(actor, Action::OwnAccount, &Resource::Any)?;
        let Principal::User(username) = &actor.principal else { return Err(GateError::NotAPerson) };
        let target = owner_of(username);
        self.standing(actor).await?;
        let user = self.user(username).await?.ok_or(GateError::InvalidKey)?;
        let attempt = match self.inner.limits.login(username, client) {
            Ok(attempt) => attempt,
            Err(wait) => {
                failure("limited");
                return Err(self.denied(actor, VERB, &target, wait.into()));
            }
        };
        let sensible = old.expose().len() <= password::MAX_BYTES;
        let digest = sensible.then(|| user.record.password());
        if !self.inner.passwords.verify(old, digest).await? {
            failure("password");
            return Err(self.denied(actor, VERB, &target, GateError::InvalidLogin));
        }
        attempt.succeeded();
        let changed = self.with_new_password(&user, new).await?;
        let deed = act(actor, VERB, target, None);
        let cookie = self
            .record(deed, EffectPlace::Store, async {
                self.store_password(&user, &changed).await?;
                self.new_session(&changed, client).await
            })
            .await?;
        self.tidy_sessions_of_others(&changed).await;
        tracing::info!(user.name = username, "a user changed their password");
        Ok(cookie)
    }

    /// Gives somebody else another password. All their sessions end.
    ///
    /// # Errors
    ///
    /// [`GateError::ScopeMissing`] or [`GateError::AdminRequired`] for those who are not administrators;
    /// [`GateError::CapEscalation`] and [`GateError::ExpiryEscalation`] for a key with a limit; [`GateError::OwnPassword`]; [`GateError::UserNotFound`];
    /// [`GateError::InvalidPassword`].
    pub async fn reset_password(&self, actor: &Actor, username: &str, new: &Secret) -> Result<(), GateError> {
        let target = owner_of(username);
        let giver = self.permit_administrator(actor, Action::UsersManage, VERB, &target).await?;
        giver
            .require_unlimited()
            .and_then(|()| giver.require_outlives(None))
            .map_err(|error| self.denied(actor, VERB, &target, error))?;
        if actor.principal == Principal::User(username.to_owned()) {
            return Err(GateError::OwnPassword);
        }
        let user = self.user(username).await?.ok_or_else(|| GateError::UserNotFound(username.to_owned()))?;
        let changed = self.with_new_password(&user, new).await?;
        let deed = act(actor, VERB, target, None);
        self.record(deed, EffectPlace::Store, self.store_password(&user, &changed)).await?;
        self.tidy_sessions_of_others(&changed).await;
        tracing::info!(user.name = username, by = %actor.principal, "a user's password was reset");
        Ok(())
    }

    async fn with_new_password(
        &self,
        user: &Stored<UserRecord>,
        new: &Secret,
    ) -> Result<UserRecord, GateError> {
        let digest = self.inner.passwords.hash(new).await?;
        Ok(user.record.clone().with_password(&digest))
    }

    /// Writes the account, unless it was changed or deleted meanwhile.
    async fn store_password(
        &self,
        before: &Stored<UserRecord>,
        changed: &UserRecord,
    ) -> Result<(), GateError> {
        self.inner.records.put(&before.id, changed, Precondition::Version(before.version)).await?;
        self.somebody_changed();
        Ok(())
    }
}
