//! The policy and its file.

use claw_core::{Coded, ErrorCode};

/// What may be created on Docker.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Policy;

/// Why a policy file cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("the policy file cannot be used: {reason}")]
pub struct PolicyError {
    reason: String,
}

impl Coded for PolicyError {
    fn code(&self) -> ErrorCode {
        ErrorCode::InvalidRequest
    }
}

impl Policy {
    /// Reads a policy file. What it does not say stays as in the default.
    ///
    /// # Errors
    ///
    /// Returns the place and what was expected there.
    pub fn parse(_toml: &str) -> Result<Self, PolicyError> {
        Ok(Self)
    }

    /// Returns a file that says what the default is, with comments.
    pub fn sample() -> &'static str {
        ""
    }
}
