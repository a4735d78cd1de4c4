//! The gate itself: from a credential to an actor, and from an actor to a verdict.

use std::{
    net::IpAddr,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use claw_core::{
    Action, Actor, Clock, Coded as _, Decision, Origin, Principal, Resource, Role, Scope, Secret, Timestamp,
    decide,
};
use claw_store::Store;
use tokio::sync::watch;

use crate::{
    AuditTrail, GateError,
    audit::{act, anonymous},
    keys::{KeyRecord, LastUsed},
    limit::Limits,
    password::Passwords,
    people::UserRecord,
    recent::RecentKeys,
    records::Records,
    setup_token::SetupToken,
    standing::Standing,
    token::{self, TokenHash},
};

/// What the gate needs to know from the configuration.
#[derive(Clone, Debug)]
pub struct GateConfig {
    /// The installation's own token (`CLAW_API_TOKEN`): may do everything, good from the first start.
    pub api_token: Option<Secret>,
    /// The folder in which the setup token is kept until it is used.
    pub data_dir: PathBuf,
}

/// What a request came with.
#[derive(Clone, Debug)]
pub enum Credential {
    /// The value of `X-API-Key`: an API key or the installation's token.
    ApiKey(Secret),
    /// The value behind `Authorization: Bearer`: the same two.
    Bearer(Secret),
    /// The value of the session cookie.
    Session(Secret),
    /// Nothing.
    None,
}

/// Who is asking and may they. Cheap to clone; clones share everything.
#[derive(Clone)]
pub struct Gate {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) audit: AuditTrail,
    pub(crate) records: Records,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) started_at: Timestamp,
    pub(crate) api_token: Option<TokenHash>,
    pub(crate) setup_token: SetupToken,
    /// Set once a key or user was seen, which saves the look on each request. Never goes back: the last way in
    /// cannot be removed.
    pub(crate) set_up: AtomicBool,
    pub(crate) passwords: Passwords,
    pub(crate) limits: Limits,
    pub(crate) last_used: LastUsed,
    pub(crate) recent_keys: RecentKeys,
    /// Makes changes to who is an administrator one at a time, so that two of them cannot each leave the other as
    /// the last way in. Holds inside one server only.
    pub(crate) ways_in: tokio::sync::Mutex<()>,
    /// Counts how often somebody lost something they might be using.
    pub(crate) changes: watch::Sender<u64>,
}

impl Gate {
    /// Returns a gate over the store. [`Gate::start`] comes next.
    ///
    /// # Errors
    ///
    /// [`GateError::WeakApiToken`] if the installation's token is too short to be one.
    pub fn new(config: GateConfig, store: Store, clock: Arc<dyn Clock>) -> Result<Self, GateError> {
        let inner = Inner {
            audit: AuditTrail::new(store.streams, Arc::clone(&clock)),
            records: Records::new(store.documents),
            started_at: whole_seconds(clock.now()),
            api_token: config.api_token.as_ref().map(token::check_api_token).transpose()?,
            setup_token: SetupToken::in_folder(&config.data_dir),
            set_up: AtomicBool::new(false),
            passwords: Passwords::new(),
            limits: Limits::new(&clock),
            last_used: LastUsed::default(),
            recent_keys: RecentKeys::default(),
            ways_in: tokio::sync::Mutex::new(()),
            changes: watch::Sender::new(0),
            clock,
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Tells who is asking.
    ///
    /// `client` is the address that wrong credentials are counted against. A right one is let in even when its
    /// address has many failures, since many clients may share an address.
    ///
    /// # Errors
    ///
    /// [`GateError::SetupRequired`] before the first key or user exists, whatever was sent;
    /// [`GateError::ApiKeyRequired`] if nothing was sent; [`GateError::InvalidKey`] for anything unknown, revoked or
    /// expired; [`GateError::RateLimited`] instead of the latter after too many; [`GateError::Store`] if the store
    /// does not answer.
    pub async fn authenticate(&self, credential: Credential, client: IpAddr) -> Result<Actor, GateError> {
        let actor = self.identify(credential, client).await?;
        Ok(actor.coming_from(Origin { client: Some(client), request: None }))
    }

    async fn identify(&self, credential: Credential, client: IpAddr) -> Result<Actor, GateError> {
        match credential {
            Credential::ApiKey(secret) | Credential::Bearer(secret) if !secret.expose().is_empty() => {
                if self.is_api_token(&secret) {
                    return Ok(Actor::new(Principal::Token, "installation token", [Scope::All]));
                }
                self.require_set_up().await?;
                match self.actor_by_key(&secret).await? {
                    Some(actor) => Ok(actor),
                    None => Err(self.refused(client, GateError::InvalidKey)),
                }
            }
            Credential::Session(cookie) if !cookie.expose().is_empty() => {
                self.require_set_up().await?;
                // Not limited: browsers go on sending an expired cookie, and must learn that it has expired.
                self.actor_by_session(&cookie).await?.ok_or_else(|| {
                    failure("session");
                    GateError::InvalidKey
                })
            }
            Credential::ApiKey(_) | Credential::Bearer(_) | Credential::Session(_) | Credential::None => {
                self.require_set_up().await?;
                Err(GateError::ApiKeyRequired)
            }
        }
    }

    /// Tells whether `actor` may do `action` to `resource`. Every use case asks before it touches anything.
    ///
    /// # Errors
    ///
    /// [`GateError::ScopeMissing`]; [`GateError::NotTheirs`], which callers turn into their own "does not exist".
    pub fn permit(&self, actor: &Actor, action: Action, resource: &Resource) -> Result<(), GateError> {
        self.permit_for(actor, action, resource, action.verb(), "")
    }

    /// Like [`Gate::permit`], with the words for the audit trail.
    pub(crate) fn permit_for(
        &self,
        actor: &Actor,
        action: Action,
        resource: &Resource,
        verb: &str,
        target: &str,
    ) -> Result<(), GateError> {
        let error = match decide(actor, action, resource) {
            Decision::Allow => {
                if verb.ends_with(".read") || verb.ends_with(".list") {
                    self.audit().read(|| act(actor, verb, target.to_owned(), None));
                }
                return Ok(());
            }
            Decision::ScopeMissing(scope) => GateError::ScopeMissing(scope),
            Decision::NotTheirs => GateError::NotTheirs,
        };
        Err(self.denied(actor, verb, target, error))
    }

    /// Notes a denial. The one place that sees them all.
    pub(crate) fn denied(&self, actor: &Actor, verb: &str, target: &str, error: GateError) -> GateError {
        tracing::info!(principal = %actor.principal, verb, reason = %error, "denied");
        self.audit().denied(act(actor, verb, target.to_owned(), None), error.code().as_str());
        error
    }

    /// Returns the audit trail.
    pub fn audit(&self) -> &AuditTrail {
        &self.inner.audit
    }

    /// Like [`Gate::permit`] for what only administrators do: a key must have the role as well as the scope, so that
    /// an agent with every scope still cannot hand out power. Judges what they are now, which may be less than when
    /// their request began, and returns it.
    pub(crate) async fn permit_administrator(
        &self,
        actor: &Actor,
        action: Action,
        verb: &str,
        target: &str,
    ) -> Result<Standing, GateError> {
        self.permit_for(actor, action, &Resource::Any, verb, target)?;
        let standing = match self.standing(actor).await {
            Err(GateError::InvalidKey) => {
                return Err(self.denied(actor, verb, target, GateError::InvalidKey));
            }
            standing => standing?,
        };
        self.permit_for(&standing.actor, action, &Resource::Any, verb, target)?;
        if standing.role == Role::Admin {
            Ok(standing)
        } else {
            Err(self.denied(actor, verb, target, GateError::AdminRequired))
        }
    }

    /// Returns the error for a wrong credential, or for one too many of them.
    pub(crate) fn refused(&self, client: IpAddr, error: GateError) -> GateError {
        let (verb, kind) = match error {
            GateError::InvalidSetupToken => ("setup.token", "setup_token"),
            _ => ("auth.enter", "key"),
        };
        // Counted past the limit too: the trail counts like with like in two records a minute.
        self.audit().denied(anonymous(verb, client), error.code().as_str());
        match self.inner.limits.wrong_credential(client) {
            Ok(()) => {
                failure(kind);
                tracing::warn!(%client, reason = %error, "a credential was refused");
                error
            }
            // Not logged: the log must not grow with what a stranger sends.
            Err(wait) => {
                failure("limited");
                wait.into()
            }
        }
    }

    fn is_api_token(&self, secret: &Secret) -> bool {
        self.inner.api_token.is_some_and(|token| token.matches(&TokenHash::of(secret)))
    }

    /// Tells whether anyone can get in yet.
    pub(crate) async fn is_set_up(&self) -> Result<bool, GateError> {
        // Relaxed: nothing else is read on the strength of it.
        if self.inner.api_token.is_some() || self.inner.set_up.load(Ordering::Relaxed) {
            return Ok(true);
        }
        let records = &self.inner.records;
        let exists = records.count::<KeyRecord>().await? > 0 || records.count::<UserRecord>().await? > 0;
        if exists {
            self.inner.set_up.store(true, Ordering::Relaxed);
        }
        Ok(exists)
    }

    pub(crate) async fn require_set_up(&self) -> Result<(), GateError> {
        if self.is_set_up().await? { Ok(()) } else { Err(GateError::SetupRequired) }
    }

    pub(crate) fn now(&self) -> Timestamp {
        whole_seconds(self.inner.clock.now())
    }
}

/// Counts a failure to prove who one is.
pub(crate) fn failure(kind: &'static str) {
    metrics::counter!("claw_auth_failures_total", "kind" => kind).increment(1);
}

/// Cuts to whole seconds: what clients see of keys and users has no fractions.
pub(crate) fn whole_seconds(time: Timestamp) -> Timestamp {
    Timestamp::from_second(time.as_second()).unwrap_or(time)
}
