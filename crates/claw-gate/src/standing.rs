//! What somebody is right now, which may be less than when their request began.

use std::time::Duration;

use claw_core::{Action, Actor, Decision, Principal, Resource, Role, Scope, Timestamp, Usd, decide};
use tokio::sync::watch;

use crate::{Gate, GateError, keys::KeyRecord, people::UserRecord};

/// How often somebody who is served for long is looked at without a sign that something changed: sessions expire.
const LOOK_AGAIN: Duration = Duration::from_secs(30);

/// Somebody as the store has them now.
#[derive(Debug)]
pub(crate) struct Standing {
    /// Who, with the scopes they hold now.
    pub(crate) actor: Actor,
    /// What they are to the installation.
    pub(crate) role: Role,
    /// Most that their jobs may cost on one day.
    cap: Option<Usd>,
    /// When they are refused from.
    end: Option<Timestamp>,
}

impl Standing {
    /// Nobody gives what they do not hold.
    pub(crate) fn require_held<'a>(
        &self,
        scopes: impl IntoIterator<Item = &'a Scope>,
    ) -> Result<(), GateError> {
        match scopes.into_iter().find(|scope| !self.actor.holds(**scope)) {
            Some(scope) => Err(GateError::ScopeEscalation(*scope)),
            None => Ok(()),
        }
    }

    /// Nobody with a limit gives others the means to spend: each of them would have a limit of their own, or none, so
    /// that together they could spend more than the giver.
    pub(crate) fn require_unlimited(&self) -> Result<(), GateError> {
        self.cap.map_or(Ok(()), |cap| Err(GateError::CapEscalation(cap)))
    }

    /// Nobody who expires gives power that lasts longer than their own.
    pub(crate) fn require_outlives(&self, end: Option<Timestamp>) -> Result<(), GateError> {
        match self.end {
            Some(own) if end.is_none_or(|end| end > own) => Err(GateError::ExpiryEscalation(own)),
            Some(_) | None => Ok(()),
        }
    }
}

/// Watches over somebody who is served for long, such as by a stream of events.
pub struct Watch {
    gate: Gate,
    actor: Actor,
    action: Action,
    changes: watch::Receiver<u64>,
}

impl Gate {
    /// Tells whether `actor`, who was let in some time ago, would still be let in and permitted `action`: the key or
    /// session still exists, and holds the scope.
    ///
    /// # Errors
    ///
    /// [`GateError::InvalidKey`] if the key was revoked, the account deleted, or the session ended;
    /// [`GateError::ScopeMissing`] if the scope is gone; [`GateError::Store`] if the store does not answer, which is no
    /// permission.
    pub async fn still_valid(&self, actor: &Actor, action: Action) -> Result<(), GateError> {
        let standing = self.standing(actor).await?;
        // Looked at again and again, which is no further reading to be told of.
        match decide(&standing.actor, action, &Resource::Any) {
            Decision::Allow => Ok(()),
            _ => self.permit(&standing.actor, action, &Resource::Any),
        }
    }

    /// Begins to watch over `actor`, who was permitted `action`.
    pub fn watch(&self, actor: &Actor, action: Action) -> Watch {
        let changes = self.inner.changes.subscribe();
        Watch { gate: self.clone(), actor: actor.clone(), action, changes }
    }

    /// Returns what changes each time somebody may do something else than before, whoever it is: a key was changed or
    /// revoked, a person signed out.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.inner.changes.subscribe()
    }

    /// Looks up what somebody is now.
    ///
    /// # Errors
    ///
    /// [`GateError::InvalidKey`] if they would not be let in any more; [`GateError::Store`].
    pub(crate) async fn standing(&self, actor: &Actor) -> Result<Standing, GateError> {
        let (now, role, cap, end) = match &actor.principal {
            Principal::Key(id) => {
                let key = self.inner.records.first_of::<KeyRecord>(actor.owner()).await?;
                let key = key.filter(|key| key.record.id.to_string() == *id).ok_or(GateError::InvalidKey)?;
                let at = self.inner.clock.now();
                let opens = |handle: &String| key.record.still_opens_to(&key.id, handle, at);
                if key.record.has_expired(at) || !actor.session.as_ref().is_none_or(opens) {
                    return Err(GateError::InvalidKey);
                }
                (key.record.actor(), key.record.role, key.record.max_usd_per_day, key.record.expires_at)
            }
            Principal::User(name) => {
                let user = self.user(name).await?.ok_or(GateError::InvalidKey)?.record;
                if let Some(session) = &actor.session {
                    self.require_session(&user, session).await?;
                }
                (user.actor(), user.role, None, None)
            }
            Principal::Token | Principal::System => (actor.clone(), Role::Admin, None, None),
        };
        let actor = Actor { session: actor.session.clone(), origin: actor.origin.clone(), ..now };
        Ok(Standing { actor, role, cap, end })
    }

    async fn require_session(&self, user: &UserRecord, handle: &str) -> Result<(), GateError> {
        let sessions = self.open_sessions_of(user).await?;
        if sessions.iter().any(|session| session.handle() == handle) {
            Ok(())
        } else {
            Err(GateError::InvalidKey)
        }
    }

    /// Has everybody who is watched over looked at again. For whenever somebody may do less than before.
    pub(crate) fn somebody_changed(&self) {
        self.inner.changes.send_modify(|count| *count = count.wrapping_add(1));
    }
}

impl Watch {
    /// Returns when they may no longer go on, with the reason. May be dropped at any time and called again.
    pub async fn ended(&mut self) -> GateError {
        loop {
            // Before the look, so that a change during it is not missed.
            self.changes.mark_unchanged();
            if let Err(error) = self.gate.still_valid(&self.actor, self.action).await {
                return error;
            }
            // Elapsed is as good as a change: both mean "look again". The sender lives as long as the gate we hold.
            let _ = tokio::time::timeout(LOOK_AGAIN, self.changes.changed()).await;
        }
    }
}
