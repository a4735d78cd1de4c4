//! Identifiers. Each kind is its own type, and parsing is the only way in from outside.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Text that was given as an id and is not one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a {kind} id: expected a UUID such as 019a5b7e-6f2d-7c3b-9d5e-0f4a1b2c3d4e")]
pub struct ParseIdError {
    /// What the id was meant to name, such as `job`.
    pub kind: &'static str,
    /// The text as given, cut to 64 characters.
    pub text: String,
}

macro_rules! uuid_id {
    ($(#[$doc:meta])* $name:ident, $kind:literal) => {
        $(#[$doc])*
        /// Text form: a hyphenated lower-case UUID; ids made here are version 7, so they sort by creation time.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Uuid);

        impl $name {
            /// Returns a new id that sorts after those made before it by this process.
            #[expect(clippy::new_without_default, reason = "a default id would hide that each call differs")]
            #[expect(clippy::disallowed_methods, reason = "the one place that makes ids")]
            pub fn new() -> Self {
                Self(Uuid::now_v7())
            }

            /// Returns the id as a plain UUID.
            pub fn as_uuid(self) -> Uuid {
                self.0
            }

            /// Returns the last 12 hexadecimal digits: random, and short enough for socket paths and names.
            pub fn short(self) -> String {
                let text = self.0.simple().to_string();
                text[20..].to_owned()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.hyphenated().fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = ParseIdError;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                let error = || ParseIdError { kind: $kind, text: text.chars().take(64).collect() };
                // Only the hyphenated form, so that one id has one spelling in paths, labels and logs.
                if text.len() != 36 {
                    return Err(error());
                }
                Uuid::try_parse(text).map(Self).map_err(|_| error())
            }
        }
    };
}

uuid_id!(
    /// Identifies one job.
    JobId, "job"
);
uuid_id!(
    /// Identifies one deed in the audit trail.
    DeedId, "deed"
);
uuid_id!(
    /// Identifies one workspace.
    WorkspaceId, "workspace"
);
uuid_id!(
    /// Identifies one API key; it is not the key and grants nothing.
    KeyId, "key"
);

/// Identifies one worker slot of one server start: `{host}-{random}-{slot}`.
///
/// The random part is new at every start, so a restarted process never takes the leases of its predecessor for its own.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct WorkerId(String);

impl WorkerId {
    /// Returns the id of slot `slot` of a server start named by `host` and `boot`.
    pub fn new(host: &str, boot: &str, slot: usize) -> Self {
        Self(format!("{host}-{boot}-{slot}"))
    }

    /// Returns the text form.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<String> for WorkerId {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl fmt::Display for WorkerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_sort_by_creation_and_round_trip() {
        let (first, second) = (JobId::new(), JobId::new());

        assert!(first < second);
        assert_eq!(first.to_string().parse(), Ok(first));
    }

    #[test]
    fn other_spellings_of_a_uuid_are_refused() {
        let id = JobId::new().as_uuid();
        for text in [
            id.simple().to_string(),
            id.braced().to_string(),
            id.urn().to_string(),
            "../etc".into(),
            String::new(),
        ] {
            assert!(text.parse::<JobId>().is_err(), "{text}");
        }
    }

    #[test]
    fn an_upper_case_id_is_read_as_the_same_id() {
        let id = WorkspaceId::new();

        assert_eq!(id.to_string().to_uppercase().parse(), Ok(id));
    }
}
