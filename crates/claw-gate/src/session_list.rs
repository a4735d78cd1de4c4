//! Sessions as people see them, to find and end one that should not be there.

use std::net::IpAddr;

use claw_core::{Action, Actor, Principal, Resource, Timestamp};

use crate::{
    EffectPlace, Gate, GateError,
    audit::act,
    people::{UserRecord, owner_of},
    records::Stored,
    sessions::SessionRecord,
};

/// A session as people see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionView {
    /// Names it. Not the cookie, and of no use as one.
    pub id: String,
    /// Whose it is.
    pub username: String,
    /// When they signed in.
    pub created_at: Timestamp,
    /// When it ends by itself.
    pub expires_at: Timestamp,
    /// Where the sign-in came from, if that is known.
    pub client: Option<IpAddr>,
    /// Whether it is the one that asks.
    pub current: bool,
}

impl Gate {
    /// Returns the sessions of `username`, or one's own, the soonest to end first.
    ///
    /// # Errors
    ///
    /// [`GateError::ScopeMissing`] or [`GateError::AdminRequired`] for those of others without being administrator;
    /// [`GateError::NotAPerson`] for one's own without being a person; [`GateError::UserNotFound`].
    pub async fn list_sessions(
        &self,
        actor: &Actor,
        username: Option<&str>,
    ) -> Result<Vec<SessionView>, GateError> {
        let user = self.whose_sessions(actor, username, "session.list").await?;
        let sessions = self.open_sessions_of(&user).await?;
        let view = |session: Stored<SessionRecord>| {
            let id = session.handle();
            SessionView {
                current: actor.session.as_ref() == Some(&id),
                id,
                username: user.username.clone(),
                created_at: session.record.created_at,
                expires_at: session.record.expires_at,
                client: session.record.client,
            }
        };
        Ok(sessions.into_iter().map(view).collect())
    }

    /// Ends a session of `username`, or one's own, at once.
    ///
    /// # Errors
    ///
    /// As [`Gate::list_sessions`]; [`GateError::SessionNotFound`], also for a session of somebody else.
    pub async fn end_session(
        &self,
        actor: &Actor,
        username: Option<&str>,
        id: &str,
    ) -> Result<(), GateError> {
        let user = self.whose_sessions(actor, username, "session.end").await?;
        let sessions = self.open_sessions_of(&user).await?;
        let session =
            sessions.into_iter().find(|session| session.handle() == id).ok_or(GateError::SessionNotFound)?;
        let deed = act(actor, "session.end", format!("session:{id}"), None);
        self.record(deed, EffectPlace::Store, self.remove_session(&session.id)).await?;
        tracing::info!(user.name = user.username, by = %actor.principal, "a session was ended");
        Ok(())
    }

    async fn whose_sessions(
        &self,
        actor: &Actor,
        username: Option<&str>,
        verb: &str,
    ) -> Result<UserRecord, GateError> {
        let own = match &actor.principal {
            Principal::User(name) => Some(name.as_str()),
            Principal::Key(_) | Principal::Token | Principal::System => None,
        };
        let Some(username) = username.or(own) else { return Err(GateError::NotAPerson) };
        if own == Some(username) {
            self.permit(actor, Action::OwnAccount, &Resource::Any)?;
            self.standing(actor).await?;
        } else {
            self.permit_administrator(actor, Action::UsersManage, verb, &owner_of(username)).await?;
        }
        let user = self.user(username).await?;
        Ok(user.ok_or_else(|| GateError::UserNotFound(username.to_owned()))?.record)
    }
}
