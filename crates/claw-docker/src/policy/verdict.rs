//! The answers of the judge.

use std::fmt;

use claw_core::{Coded, ErrorCode};

use super::{ContainerWish, NetworkWish};

/// A wish the policy permits, with everything filled in that it did not say. Only the judge makes one.
#[derive(Clone, Debug, PartialEq)]
pub struct Approved {
    pub(super) wish: ContainerWish,
    /// Folders of the host that are mounted and not there yet.
    pub(super) missing: Vec<String>,
}

impl Approved {
    /// Returns what will be made: the wish with its defaults filled in and each path without symbolic links.
    pub fn wish(&self) -> &ContainerWish {
        &self.wish
    }

    /// Returns the folders of the host that are mounted and were not there when the facts were gathered.
    pub fn missing_folders(&self) -> &[String] {
        &self.missing
    }
}

/// A network the policy permits. Only the judge makes one.
#[derive(Clone, Debug, PartialEq)]
pub struct ApprovedNetwork {
    pub(super) wish: NetworkWish,
}

impl ApprovedNetwork {
    /// Returns what will be made.
    pub fn wish(&self) -> &NetworkWish {
        &self.wish
    }
}

/// A wish the policy does not permit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Every rule it breaks, at least one.
    pub refusals: Vec<Refusal>,
}

/// One rule that a wish breaks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The rule, such as `mounts.outside-roots`.
    pub rule: &'static str,
    /// The part of the wish, such as `mounts[0].source`.
    pub field: String,
    /// Why, in a sentence.
    pub message: String,
    /// The line of the policy file with which an administrator would permit it, where there is one.
    pub permit: Option<String>,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.message, self.rule)
    }
}

/// Most refusals that the text of a [`Refused`] repeats.
const MOST_TOLD: usize = 5;

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the policy does not permit this: ")?;
        for (index, refusal) in self.refusals.iter().take(MOST_TOLD).enumerate() {
            if index > 0 {
                f.write_str("; ")?;
            }
            refusal.fmt(f)?;
        }
        match self.refusals.len().saturating_sub(MOST_TOLD) {
            0 => Ok(()),
            more => write!(f, "; and {more} more"),
        }
    }
}

impl std::error::Error for Refused {}

impl Coded for Refused {
    fn code(&self) -> ErrorCode {
        let all = |prefix: &str| self.refusals.iter().all(|refusal| refusal.rule.starts_with(prefix));
        if all("name.protected") {
            ErrorCode::Protected
        } else if all("mounts.") {
            ErrorCode::BlockedVolume
        } else {
            ErrorCode::PolicyRefused
        }
    }
}
