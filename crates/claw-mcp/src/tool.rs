//! What a tool is: data, and one function that calls the REST API.

use std::sync::Arc;

use claw_client::{Client, ClientError};
use claw_core::Scope;
use futures_util::future::BoxFuture;
use rmcp::model::JsonObject;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use crate::{Host, Hosts};

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
    /// Something is added or started; what was there stays.
    Adds,
    /// A state is set; doing it twice is doing it once.
    Sets,
    /// Something may be lost.
    Destroys,
}

/// A tool, as data.
#[derive(Clone, Copy, Debug)]
pub struct Tool {
    /// Its name in the protocol.
    pub name: &'static str,
    /// A name for people.
    pub title: &'static str,
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

/// Progress of a call, for those who asked for it.
#[derive(Clone, Default)]
pub struct Progress {
    tell: Option<Arc<dyn Fn(f64, Option<f64>, String) + Send + Sync>>,
}

impl std::fmt::Debug for Progress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Progress").field("wanted", &self.tell.is_some()).finish()
    }
}

impl Progress {
    /// Returns a progress that goes to `tell`: how much is done, of how much if that is known, and a sentence.
    pub fn to(tell: impl Fn(f64, Option<f64>, String) + Send + Sync + 'static) -> Self {
        Self { tell: Some(Arc::new(tell)) }
    }

    /// Tells how far it is. Each call must tell more than the one before.
    pub fn tell(&self, done: f64, total: Option<f64>, message: impl Into<String>) {
        if let Some(tell) = &self.tell {
            tell(done, total, message.into());
        }
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
}

/// The arguments of a call.
#[derive(Clone, Debug, Default)]
pub struct Arguments(pub JsonObject);

impl Arguments {
    /// Returns a string that must be there.
    ///
    /// # Errors
    ///
    /// The texts of the original: `required argument "x" not found`, `argument "x" is not a string`.
    pub fn text(&self, name: &str) -> Result<&str, Failure> {
        self.optional_text(name)?
            .ok_or_else(|| Failure::new(format!("required argument \"{name}\" not found")))
    }

    /// Returns a string that may be absent or `null`.
    ///
    /// # Errors
    ///
    /// `argument "x" is not a string`.
    pub fn optional_text(&self, name: &str) -> Result<Option<&str>, Failure> {
        match self.0.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(Failure::new(format!("argument \"{name}\" is not a string"))),
        }
    }
}

/// What a call gave.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// For the model and for clients that know no structured results.
    pub text: String,
    /// The same as data; fits the tool's output schema.
    pub structured: Value,
    /// What the model should know beside the text, which is a contract with older clients and stays as it is: where the
    /// text comes from, what was left out of it. A content block of its own, the last one.
    pub note: Option<String>,
}

impl Outcome {
    /// Returns an outcome that needs no note.
    pub fn new(text: impl Into<String>, structured: Value) -> Self {
        Self { text: text.into(), structured, note: None }
    }
}

/// A call that failed, in words for the model: a tool result with `isError`, not a protocol error.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct Failure {
    /// What went wrong, in the words that older clients know.
    pub text: String,
    /// What to do, if there is more to say. A content block of its own, the last one.
    pub note: Option<String>,
}

impl Failure {
    /// Returns a failure with this text.
    pub fn new(text: impl Into<String>) -> Self {
        Self { text: text.into(), note: None }
    }

    /// A call of the REST API that failed: `Failed to <verb phrase>: <cause>`.
    pub fn of(verb_phrase: &str, error: &ClientError) -> Self {
        Self::new(format!("Failed to {verb_phrase}: {error}"))
    }
}
