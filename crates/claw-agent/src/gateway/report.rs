//! What a run's traffic with the model API came to.

use std::time::Duration;

use claw_core::Usd;

/// What a run's traffic came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GatewayReport {
    /// Requests that were meant for the model API.
    pub requests: u64,
    /// Why the newest model request failed; `None` if it went well.
    pub last_error: Option<UpstreamError>,
    /// What the model's turns cost, charged or not.
    pub spent: Usd,
    /// Why a turn was refused for its cost, with the limit's name; `None` if none was.
    pub refused_for_budget: Option<String>,
}

/// Who made an error answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorOrigin {
    /// The model API.
    Upstream,
    /// The gateway; its message is a sentence for people.
    Gateway,
}

/// An error of the model API as the agent saw it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamError {
    /// Who made the answer.
    pub origin: ErrorOrigin,
    /// HTTP status; `None` for an answer that began well and broke off.
    pub status: Option<u16>,
    /// The API's word for it, such as `overloaded_error`.
    pub kind: String,
    /// What it said. Bounded; from upstream it is foreign text.
    pub message: String,
    /// For how long not to ask again.
    pub retry_after: Option<Duration>,
}

/// The kind of error that a used-up limit gives.
const BUDGET_KIND: &str = "invalid_request_error";

/// What the API says when the account has no money left. It is a 400 like any other.
const NO_CREDIT: &str = "credit balance is too low";

/// A rate limit that lasts longer than this is not waited for in a sandbox.
const LONG_PAUSE: Duration = Duration::from_secs(30);

impl UpstreamError {
    pub(crate) fn gateway(status: u16, kind: &str, message: String) -> Self {
        Self {
            origin: ErrorOrigin::Gateway,
            status: Some(status),
            kind: kind.to_owned(),
            message,
            retry_after: None,
        }
    }

    pub(crate) fn upstream(status: u16, kind: &str, message: String) -> Self {
        Self { origin: ErrorOrigin::Upstream, ..Self::gateway(status, kind, message) }
    }

    pub(crate) fn broken_answer(message: &str) -> Self {
        Self { status: None, ..Self::gateway(0, "broken_stream", message.to_owned()) }
    }

    /// A turn that a used-up limit does not let begin.
    pub(crate) fn budget(message: String) -> Self {
        Self::gateway(402, BUDGET_KIND, message)
    }

    /// Tells whether the account behind the credential has no money left.
    pub fn is_out_of_credit(&self) -> bool {
        let is_upstream = self.origin == ErrorOrigin::Upstream;
        is_upstream && self.status == Some(402) || self.message.to_ascii_lowercase().contains(NO_CREDIT)
    }

    /// Tells whether the same request would be refused again, so that the agent need not try.
    pub(crate) fn is_final(&self) -> bool {
        match self.status {
            Some(401..=404 | 413) => true,
            Some(429) => self.retry_after.is_some_and(|pause| pause > LONG_PAUSE),
            // Of others the CLI asks again with less.
            Some(400) => self.origin == ErrorOrigin::Gateway || self.is_out_of_credit(),
            _ => false,
        }
    }
}
