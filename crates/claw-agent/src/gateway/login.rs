//! The Claude login: a file that is read, and renewed before it runs out by one owner at a time.
//!
//! A renewal uses up the token that renews, and a used one may end the whole login. So there is one renewal at a time in this
//! process, and one among all processes that use the file, the Claude CLI included; whoever comes second takes what the first
//! one wrote. Nothing is asked for unless the answer can be kept.

mod file;
mod lock;
mod refresh;

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use claw_core::{Clock, Secret, Timestamp};
use reqwest::Url;
use tokio::{
    sync::Mutex as AsyncMutex,
    time::{Instant, timeout},
};
use tokio_util::task::TaskTracker;

use super::{
    credential::CredentialError,
    state::{LoginState, LoginStatus},
};
use file::{Login, Target};
pub use refresh::RefreshError;

/// A login that has less time left than this is renewed.
const RENEW_BEFORE: Duration = Duration::from_secs(3600);

/// A login that has less time left than this is not used while it is being renewed.
const HARDLY_VALID: Duration = Duration::from_secs(60);

/// Longest wait for a renewal where the old token still serves.
const PATIENCE: Duration = Duration::from_secs(3);

/// Pause after a renewal that failed; it doubles with each further one.
const FIRST_PAUSE: Duration = Duration::from_secs(60);
const MAX_PAUSE: Duration = Duration::from_secs(1800);

/// How long a renewed login is trusted though the model API refuses it: another renewal would not help.
const TRUSTED: Duration = Duration::from_secs(60);

/// The kind of credential that this gives.
pub(super) const KIND: &str = "Claude login";

/// The login in a file. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct LoginFile {
    shared: Arc<Shared>,
}

struct Shared {
    path: PathBuf,
    token_endpoint: Url,
    client: reqwest::Client,
    clock: Arc<dyn Clock>,
    /// The file as last read. Held while reading, so that many requests at once read it once.
    read: AsyncMutex<Option<Read>>,
    /// Held while renewing.
    renewing: AsyncMutex<()>,
    /// Renewals: they go on when nobody waits for them any more, since half of one would lose the login.
    tasks: TaskTracker,
    // A std mutex: held for a few instructions, never across an await.
    history: Mutex<History>,
}

#[derive(Clone)]
struct Read {
    stamp: file::Stamp,
    login: Login,
}

/// What happened with renewals.
#[derive(Debug, Default)]
struct History {
    refreshed_at: Option<(Timestamp, Instant)>,
    failure: Option<Failed>,
    /// The token that renews, as a mark, and when it was first seen.
    first_seen: Option<(Secret, Timestamp)>,
}

#[derive(Debug)]
struct Failed {
    error: RefreshError,
    /// With this token. Another one is worth another try at once.
    token: Option<Secret>,
    again_at: Instant,
    pause: Duration,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LoginFile").field("path", &self.path).finish_non_exhaustive()
    }
}

impl LoginFile {
    pub(super) fn new(
        path: PathBuf,
        token_endpoint: Url,
        client: reqwest::Client,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self {
            shared: Arc::new(Shared {
                path,
                token_endpoint,
                client,
                clock,
                read: AsyncMutex::default(),
                renewing: AsyncMutex::default(),
                tasks: TaskTracker::new(),
                history: Mutex::default(),
            }),
        }
    }

    /// Returns the token to use now, renewed if it is about to run out.
    pub(super) async fn token(&self) -> Result<Secret, CredentialError> {
        let shared = &self.shared;
        let login = shared.read().await?;
        let left = shared.left(&login);
        let wants_renewal = left.is_some_and(|left| left < RENEW_BEFORE) && shared.may_renew(&login);
        if !wants_renewal {
            return shared.usable(login);
        }
        if left.is_some_and(|left| left > HARDLY_VALID) && shared.renewing.try_lock().is_err() {
            // Somebody is at it, and the old token serves meanwhile.
            return shared.usable(login);
        }
        let renewal = self.renew(login.access_token, false);
        if left.is_some_and(|left| left > HARDLY_VALID) {
            // It goes on by itself.
            let _in_time = timeout(PATIENCE, renewal).await;
        } else {
            renewal.await;
        }
        shared.usable(shared.read().await?)
    }

    /// Returns another token than `refused`, which the model API refused; `None` if there is none.
    pub(super) async fn instead_of(&self, refused: &Secret) -> Option<Secret> {
        let login = self.shared.read().await.ok()?;
        if login.access_token == *refused {
            let trusted = self
                .shared
                .with(|history| history.refreshed_at.is_some_and(|(_, at)| at.elapsed() < TRUSTED));
            if trusted || !self.shared.may_renew(&login) {
                return None;
            }
            self.renew(refused.clone(), true).await;
        }
        let login = self.shared.read().await.ok()?;
        (login.access_token != *refused).then(|| self.shared.usable(login).ok()).flatten()
    }

    /// Renews the login unless somebody did since `known` was read. Goes on when nobody waits for it any more.
    async fn renew(&self, known: Secret, refused: bool) {
        let shared = self.shared.clone();
        let renewal = self.shared.tasks.spawn(async move {
            let _renewing = shared.renewing.lock().await;
            shared.renew(&known, refused).await;
        });
        if let Err(error) = renewal.await {
            tracing::error!(%error, "renewing the Claude login broke");
        }
    }

    /// Returns how the login stands.
    pub(super) async fn state(&self) -> LoginState {
        let read = self.shared.read().await;
        let history = self.shared.history();
        let failure = history.failure.as_ref().map(|failed| failed.error.to_string());
        let mut state = LoginState {
            kind: KIND,
            status: LoginStatus::Missing,
            expires_at: None,
            refreshed_at: history.refreshed_at.map(|(at, _)| at),
            refresh_token_first_seen: None,
            error: failure.clone(),
        };
        match read {
            Err(error @ CredentialError::Missing) => state.error = Some(error.to_string()),
            Err(error) => (state.status, state.error) = (LoginStatus::RefreshFailed, Some(error.to_string())),
            Ok(login) => {
                let left = self.shared.left(&login);
                state.expires_at = login.expires_at();
                state.refresh_token_first_seen = login.first_seen().or(history
                    .first_seen
                    .as_ref()
                    .filter(|(token, _)| login.refresh_token.as_ref() == Some(token))
                    .map(|(_, at)| *at));
                state.status = match left {
                    Some(left) if left < RENEW_BEFORE && failure.is_some() => LoginStatus::RefreshFailed,
                    Some(Duration::ZERO) => LoginStatus::Expired,
                    Some(left) if left < RENEW_BEFORE => LoginStatus::Expiring,
                    _ => LoginStatus::Valid,
                };
            }
        }
        state
    }

    /// Waits until no renewal is under way.
    pub(super) async fn settled(&self) {
        self.shared.tasks.close();
        self.shared.tasks.wait().await;
        self.shared.tasks.reopen();
    }
}

impl Shared {
    /// Reads the file if it changed.
    async fn read(&self) -> Result<Login, CredentialError> {
        let mut read = self.read.lock().await;
        let login = match file::read(&self.path, read.as_ref().map(|read| read.stamp)).await? {
            file::Found::Unchanged => read.as_ref().map(|read| read.login.clone()),
            file::Found::Login(stamp, login) => {
                *read = Some(Read { stamp, login: login.clone() });
                Some(login)
            }
        };
        let login = login.ok_or(CredentialError::Missing)?;
        if let Some(token) = &login.refresh_token {
            let now = self.clock.now();
            self.with(|history| match &history.first_seen {
                Some((seen, _)) if seen == token => {}
                _ => history.first_seen = Some((token.clone(), now)),
            });
        }
        Ok(login)
    }

    fn usable(&self, login: Login) -> Result<Secret, CredentialError> {
        if self.left(&login) != Some(Duration::ZERO) {
            return Ok(login.access_token);
        }
        match self.history().failure.as_ref() {
            Some(failed) => {
                Err(CredentialError::NotRenewed { path: self.path.clone(), source: failed.error.clone() })
            }
            None => Err(CredentialError::Expired { path: self.path.clone() }),
        }
    }

    /// Returns how long the login can be used; `None` if it does not run out.
    fn left(&self, login: &Login) -> Option<Duration> {
        let until = login.expires_at_ms?;
        let left = until.saturating_sub(self.clock.now().as_millisecond());
        Some(Duration::from_millis(left.try_into().unwrap_or_default()))
    }

    fn may_renew(&self, login: &Login) -> bool {
        let Some(token) = &login.refresh_token else { return false };
        self.with(|history| {
            history.failure.as_ref().is_none_or(|failed| {
                failed.token.as_ref() != Some(token) || failed.again_at <= Instant::now()
            })
        })
    }

    async fn renew(&self, known: &Secret, refused: bool) {
        let Ok(before) = self.read().await else { return };
        let due = refused || self.left(&before).is_some_and(|left| left < RENEW_BEFORE);
        if before.access_token != *known || !due || !self.may_renew(&before) {
            return;
        }
        match self.renew_in_file(known).await {
            // Somebody else did it.
            Ok(false) => self.with(|history| history.failure = None),
            Ok(true) => {
                let now = self.clock.now();
                self.with(|history| {
                    history.failure = None;
                    history.refreshed_at = Some((now, Instant::now()));
                });
                tracing::info!("renewed the Claude login");
            }
            Err(error) => {
                tracing::warn!(%error, "could not renew the Claude login in {}", self.path.display());
                self.with(|history| {
                    let pause =
                        history.failure.as_ref().map_or(FIRST_PAUSE, |f| (f.pause * 2).min(MAX_PAUSE));
                    let token = before.refresh_token.clone();
                    history.failure = Some(Failed { error, token, again_at: Instant::now() + pause, pause });
                });
            }
        }
    }

    /// Tells whether it was renewed here, rather than by somebody else meanwhile.
    async fn renew_in_file(&self, known: &Secret) -> Result<bool, RefreshError> {
        let target = Target::of(&self.path).await?;
        let lock = lock::RefreshLock::take(target.folder()).await?;
        // Whoever had the lock before may have renewed it.
        let document = target.read().await?;
        let login = document.login().ok_or(RefreshError::Unreadable)?;
        if login.access_token != *known {
            return Ok(false);
        }
        let token = login.refresh_token.as_ref().ok_or(RefreshError::NoToken)?;
        // Before the token is used up: what comes back must be kept.
        let draft = target.draft(&document).await?;
        let renewed = match refresh::ask(&self.client, &self.token_endpoint, token, &lock).await {
            Ok(renewed) => renewed,
            Err(error) => {
                // Somebody may have renewed it without the lock.
                let changed = target.read().await.ok().and_then(|document| document.login());
                return match changed {
                    Some(login) if login.access_token != *known => Ok(false),
                    _ => Err(error),
                };
            }
        };
        draft.commit(document.renewed(&renewed, self.clock.now())).await?;
        Ok(true)
    }

    fn with<T>(&self, act: impl FnOnce(&mut History) -> T) -> T {
        act(&mut self.history())
    }

    fn history(&self) -> std::sync::MutexGuard<'_, History> {
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns the folder of a path.
fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}
