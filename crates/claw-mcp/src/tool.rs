//! What a tool is: data, and one function that calls the REST API.

mod arguments;
mod outcome;

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use claw_client::Client;
use claw_core::Scope;
use futures_util::future::BoxFuture;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use crate::{Host, Hosts};

pub use arguments::Arguments;
pub(crate) use arguments::{kind, missing};
pub(crate) use outcome::pretty;
pub use outcome::{Failure, Outcome};

/// What a caller must hold for a tool to exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// Any key that the host knows.
    AnyKey,
    /// All of these scopes; never none.
    Scopes(&'static [Scope]),
    /// Nothing, but there must be named hosts; the tool takes no `host` argument.
    NamedHosts,
}

impl Need {
    /// Returns the scopes that a key must hold.
    pub fn scopes(self) -> &'static [Scope] {
        match self {
            Self::Scopes(scopes) => scopes,
            Self::AnyKey | Self::NamedHosts => &[],
        }
    }
}

/// What calling a tool does to the world; the source of its annotations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Nothing changes.
    Reads,
    /// Something is added each time; what was there stays.
    Adds,
    /// A state is set; doing it twice is doing it once, and nothing is lost.
    Sets,
    /// Something is lost or ends; doing it twice is doing it once.
    Destroys,
    /// Something may be lost or is interrupted, each time anew.
    Disturbs,
}

impl Effect {
    /// Tells whether nothing changes.
    pub fn is_read_only(self) -> bool {
        self == Self::Reads
    }

    /// Tells whether something may be lost or interrupted.
    pub fn is_destructive(self) -> bool {
        matches!(self, Self::Destroys | Self::Disturbs)
    }

    /// Tells whether doing it twice is doing it once.
    pub fn is_idempotent(self) -> bool {
        matches!(self, Self::Reads | Self::Sets | Self::Destroys)
    }
}

/// A tool, as data.
#[derive(Clone, Copy, Debug)]
pub struct Tool {
    /// Its name in the protocol.
    pub name: &'static str,
    /// What it does, for the model. Short: all of them together are read at every start.
    pub description: &'static str,
    /// What the key must hold.
    pub need: Need,
    /// What a call does.
    pub effect: Effect,
    /// It reaches beyond the host: registries, the model API.
    pub open_world: bool,
    /// It may take minutes: clients that can poll get a handle at once.
    pub long: bool,
    /// JSON Schema of the arguments: an object without the `host` property.
    pub input: fn() -> Value,
    /// JSON Schema of the structured result: an object.
    pub output: fn() -> Value,
    /// Does the work.
    pub run: fn(Call) -> BoxFuture<'static, Result<Outcome, Failure>>,
}

/// Between two signs of life of work that does not say how far it is. Clients give up a call that is silent for a minute.
const SIGN_EVERY: Duration = Duration::from_secs(5);

/// How much a sign of life is more than the one before, which it must be.
const SMALL_STEP: f64 = 0.001;

/// Tells how far a call is: how much is done, of how much if that is known, and a sentence.
type Tell = dyn Fn(f64, Option<f64>, String) + Send + Sync;

/// Progress of a call, for those who asked for it.
#[derive(Clone, Default)]
pub struct Progress {
    tell: Option<Arc<Tell>>,
    last: Arc<Mutex<Told>>,
}

/// What was told last.
#[derive(Default)]
struct Told {
    done: f64,
    total: Option<f64>,
    message: String,
}

impl std::fmt::Debug for Progress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Progress").field("wanted", &self.tell.is_some()).finish()
    }
}

impl Progress {
    /// Returns a progress that goes to `tell`: how much is done, of how much if that is known, and a sentence.
    pub fn to(tell: impl Fn(f64, Option<f64>, String) + Send + Sync + 'static) -> Self {
        Self { tell: Some(Arc::new(tell)), last: Arc::default() }
    }

    /// Tells whether somebody listens.
    pub fn is_wanted(&self) -> bool {
        self.tell.is_some()
    }

    /// Tells how far it is. What is told only grows, as the protocol asks: less than before counts as a little more.
    pub fn tell(&self, done: f64, total: Option<f64>, message: impl Into<String>) {
        let Some(tell) = &self.tell else { return };
        // Held while telling, so that what is told arrives in its order.
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        *last = Told { done: done.max(last.done + SMALL_STEP), total, message: message.into() };
        tell(last.done, last.total, last.message.clone());
    }

    /// Tells that it goes on, with the words of the last time, or `first` if nothing was told yet.
    pub fn goes_on(&self, first: &str) {
        let (total, message) = {
            let last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
            (last.total, last.message.clone())
        };
        self.tell(0.0, total, if message.is_empty() { first.to_owned() } else { message });
    }
}

/// One call of a tool.
#[derive(Clone, Debug)]
pub struct Call {
    /// The host that the caller chose, and may use.
    pub host: Arc<Host>,
    /// All hosts, for tools about hosts themselves.
    pub hosts: Arc<Hosts>,
    /// The arguments, without `host`.
    pub arguments: Arguments,
    /// Where progress goes.
    pub progress: Progress,
    /// Cancelled when the caller no longer wants the result.
    pub stop: CancellationToken,
}

impl Call {
    /// Returns the client of the chosen host.
    pub fn client(&self) -> &Client {
        self.host.client()
    }

    /// Does long work with signs of life, until the caller no longer wants it.
    ///
    /// # Errors
    ///
    /// `stopped` when the caller no longer wants it: what becomes of the work then.
    pub(crate) async fn unless_stopped<T>(
        &self,
        work: impl Future<Output = T>,
        sign: &str,
        stopped: impl FnOnce() -> Failure,
    ) -> Result<T, Failure> {
        tokio::pin!(work);
        let mut signs = tokio::time::interval(SIGN_EVERY);
        loop {
            tokio::select! {
                biased;
                () = self.stop.cancelled() => return Err(stopped()),
                done = &mut work => return Ok(done),
                _ = signs.tick() => self.progress.goes_on(sign),
            }
        }
    }
}
