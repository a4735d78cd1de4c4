//! People: accounts and what each role may do.

use claw_core::{Action, Actor, Principal, Role, Scope, Secret, Timestamp};
use claw_store::{Precondition, StoreError};
use serde::{Deserialize, Serialize};

use crate::{
    EffectPlace, Gate, GateError,
    audit::act,
    password::PasswordDigest,
    records::{Record, Stored},
    token,
};

/// Longest username.
pub(crate) const MAX_USERNAME_CHARS: usize = 64;

/// What a person who is not an administrator may do, all of it with what is theirs.
const USER_SCOPES: [Scope; 9] = [
    Scope::JobsRead,
    Scope::JobsWrite,
    Scope::WorkspacesRead,
    Scope::WorkspacesWrite,
    Scope::SkillsRead,
    Scope::SkillsWrite,
    Scope::SchedulesRead,
    Scope::SchedulesWrite,
    Scope::ChatUse,
];

/// A person as clients see them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserView {
    /// The name they sign in with.
    pub username: String,
    /// `admin` or `user`.
    pub role: Role,
}

/// A person as stored, under the username.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct UserRecord {
    /// New for each account, so that sessions of a deleted one do not fit a later one of the same name.
    pub(crate) account: String,
    pub(crate) username: String,
    password_hash: String,
    pub(crate) role: Role,
    pub(crate) created_at: Timestamp,
}

impl Record for UserRecord {
    const KIND: &'static str = "user";

    fn sort_key(&self) -> String {
        self.username.clone()
    }

    fn owner(&self) -> String {
        owner_of(&self.username)
    }
}

impl UserRecord {
    pub(crate) fn actor(&self) -> Actor {
        let scopes: &[Scope] = match self.role {
            Role::Admin => &[Scope::Admin],
            Role::User => &USER_SCOPES,
            // No account has this role; one that somehow had may do nothing.
            Role::Agent => &[],
        };
        Actor::new(Principal::User(self.username.clone()), self.username.clone(), scopes.iter().copied())
    }

    /// Tells whether they can give power to others.
    pub(crate) fn is_way_in(&self) -> bool {
        self.role == Role::Admin
    }

    pub(crate) fn password(&self) -> PasswordDigest {
        PasswordDigest::from_stored(self.password_hash.clone())
    }

    /// Names the account in the audit trail.
    pub(crate) fn target(&self) -> String {
        owner_of(&self.username)
    }

    /// Returns the account with another password. Its sessions are dead with that, since they name the old mark.
    pub(crate) fn with_password(self, digest: &PasswordDigest) -> Self {
        Self { account: token::new_account(), password_hash: digest.as_stored().to_owned(), ..self }
    }

    pub(crate) fn view(&self) -> UserView {
        UserView { username: self.username.clone(), role: self.role }
    }
}

/// The owner mark of what belongs to a person.
pub(crate) fn owner_of(username: &str) -> String {
    Principal::User(username.to_owned()).to_string()
}

impl Gate {
    /// Returns the person who is asking.
    ///
    /// # Errors
    ///
    /// [`GateError::NotAPerson`] for keys and the installation's token; [`GateError::InvalidKey`] if the account was
    /// deleted meanwhile.
    pub async fn me(&self, actor: &Actor) -> Result<UserView, GateError> {
        let Principal::User(username) = &actor.principal else { return Err(GateError::NotAPerson) };
        let user = self.user(username).await?.ok_or(GateError::InvalidKey)?;
        Ok(user.record.view())
    }

    /// Makes an account.
    ///
    /// # Errors
    ///
    /// [`GateError::ScopeMissing`] or [`GateError::AdminRequired`] for those who are not administrators;
    /// [`GateError::InvalidUsername`]; [`GateError::InvalidPassword`]; [`GateError::InvalidRole`];
    /// [`GateError::UserExists`].
    pub async fn create_user(
        &self,
        actor: &Actor,
        username: &str,
        password: &Secret,
        role: Role,
    ) -> Result<UserView, GateError> {
        let target = owner_of(username);
        let giver = self.permit_administrator(actor, Action::UsersManage, "user.create", &target).await?;
        // A person has no limit and no end, and may sign in and spend.
        giver
            .require_unlimited()
            .and_then(|()| giver.require_outlives(None))
            .map_err(|error| self.denied(actor, "user.create", &target, error))?;
        let user = self.new_user(username, password, role).await?;
        let deed = act(actor, "user.create", user.target(), Some(serde_json::json!({ "role": role })));
        self.record(deed, EffectPlace::Store, self.store_new_user(&user)).await?;
        tracing::info!(user.name = username, role = role.as_str(), by = %actor.principal, "a user was made");
        Ok(user.view())
    }

    /// Returns all people, by name.
    ///
    /// # Errors
    ///
    /// [`GateError::ScopeMissing`] or [`GateError::AdminRequired`] for those who are not administrators.
    pub async fn list_users(&self, actor: &Actor) -> Result<Vec<UserView>, GateError> {
        self.permit_administrator(actor, Action::UsersManage, "user.list", "").await?;
        let users = self.inner.records.all::<UserRecord>().await?;
        Ok(users.iter().map(|user| user.record.view()).collect())
    }

    /// Deletes an account. Its sessions end at once.
    ///
    /// # Errors
    ///
    /// [`GateError::ScopeMissing`] or [`GateError::AdminRequired`] for those who are not administrators;
    /// [`GateError::CannotDeleteSelf`]; [`GateError::UserNotFound`]; [`GateError::LastWayIn`].
    pub async fn delete_user(&self, actor: &Actor, username: &str) -> Result<(), GateError> {
        let target = owner_of(username);
        self.permit_administrator(actor, Action::UsersManage, "user.delete", &target).await?;
        let deed = act(actor, "user.delete", target, None);
        self.record(deed, EffectPlace::Store, self.remove_user(actor, username)).await
    }

    async fn remove_user(&self, actor: &Actor, username: &str) -> Result<(), GateError> {
        if actor.principal == Principal::User(username.to_owned()) {
            return Err(GateError::CannotDeleteSelf);
        }
        let missing = || GateError::UserNotFound(username.to_owned());
        {
            let _one_at_a_time = self.inner.ways_in.lock().await;
            let user = self.user(username).await?.ok_or_else(missing)?;
            if user.record.is_way_in() {
                self.require_other_way_in(&user.record.actor().principal).await?;
            }
            if !self.inner.records.delete::<UserRecord>(&user.id).await? {
                return Err(missing());
            }
        }
        self.somebody_changed();
        tracing::info!(user.name = username, by = %actor.principal, "a user was deleted");
        self.tidy_sessions_of(username).await;
        Ok(())
    }

    /// Makes an account without storing it.
    pub(crate) async fn new_user(
        &self,
        username: &str,
        password: &Secret,
        role: Role,
    ) -> Result<UserRecord, GateError> {
        match role {
            Role::Admin | Role::User => {}
            Role::Agent => {
                return Err(GateError::InvalidRole { what: "user", role, expected: "`admin` or `user`" });
            }
        }
        if !is_username(username) {
            return Err(GateError::InvalidUsername);
        }
        let digest = self.inner.passwords.hash(password).await?;
        Ok(UserRecord {
            account: token::new_account(),
            username: username.to_owned(),
            password_hash: digest.as_stored().to_owned(),
            role,
            created_at: self.now(),
        })
    }

    pub(crate) async fn store_new_user(&self, user: &UserRecord) -> Result<(), GateError> {
        match self.inner.records.put(&user.username, user, Precondition::Absent).await {
            Err(StoreError::Conflict { .. }) => Err(GateError::UserExists(user.username.clone())),
            Err(error) => Err(error.into()),
            Ok(_) => Ok(()),
        }
    }

    /// Returns the account; `None` also for what cannot be a username.
    pub(crate) async fn user(&self, username: &str) -> Result<Option<Stored<UserRecord>>, StoreError> {
        if is_username(username) { self.inner.records.get(username).await } else { Ok(None) }
    }
}

/// Letters, digits, `.`, `_` and `-`; not only dots, which URLs give a meaning of their own.
fn is_username(text: &str) -> bool {
    (1..=MAX_USERNAME_CHARS).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
        && text.bytes().any(|byte| byte != b'.')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usernames_are_short_plain_and_not_only_dots() {
        for good in ["a", "ann", "Ann-1_x.y", "-", &"a".repeat(64)] {
            assert!(is_username(good), "{good}");
        }
        for bad in ["", ".", "..", "a b", "a/b", "a:b", "ä", "a\n", "a\0", &"a".repeat(65)] {
            assert!(!is_username(bad), "{bad}");
        }
    }
}
