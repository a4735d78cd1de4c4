//! How the model API and the login for it stand, for those who decide what to start.

use claw_core::Timestamp;

/// Whether the model API takes requests.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ModelState {
    /// Until when it takes none, by its own word; `None` if it does.
    pub paused_until: Option<Timestamp>,
    /// Why it takes none.
    pub reason: Option<String>,
}

/// How the credential for the model API stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoginState {
    /// The credential's kind in words, such as `API key`; `none` if there is none.
    pub kind: &'static str,
    /// Whether it can be used.
    pub status: LoginStatus,
    /// When it runs out, if it does.
    pub expires_at: Option<Timestamp>,
    /// When this server last renewed it.
    pub refreshed_at: Option<Timestamp>,
    /// When the token that renews it was first seen here. Such a token ends after some months.
    pub refresh_token_first_seen: Option<Timestamp>,
    /// What is wrong, for administrators: it may name files of this machine.
    pub error: Option<String>,
}

/// Whether a credential can be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoginStatus {
    /// It can.
    Valid,
    /// It can for less than an hour more.
    Expiring,
    /// It ran out.
    Expired,
    /// There is none.
    Missing,
    /// It is about to run out, or did, and could not be renewed.
    RefreshFailed,
}

impl LoginStatus {
    /// Returns the status in one word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Valid => "valid",
            Self::Expiring => "expiring",
            Self::Expired => "expired",
            Self::Missing => "missing",
            Self::RefreshFailed => "refresh_failed",
        }
    }
}
