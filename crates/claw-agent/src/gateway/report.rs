//! What a run's traffic with the model API came to.

use claw_core::Usd;

/// What a run's traffic came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GatewayReport {
    /// Requests that were meant for the model API.
    pub requests: u64,
    /// Why the newest model request failed; `None` if it went well.
    pub last_error: Option<UpstreamError>,
    /// What it cost.
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
}

impl UpstreamError {
    pub(crate) fn gateway(status: u16, kind: &str, message: String) -> Self {
        Self { origin: ErrorOrigin::Gateway, status: Some(status), kind: kind.to_owned(), message }
    }

    pub(crate) fn upstream(status: u16, kind: &str, message: String) -> Self {
        Self { origin: ErrorOrigin::Upstream, status: Some(status), kind: kind.to_owned(), message }
    }

    pub(crate) fn broken_answer(message: &str) -> Self {
        Self {
            origin: ErrorOrigin::Gateway,
            status: None,
            kind: "broken_stream".to_owned(),
            message: message.to_owned(),
        }
    }
}
