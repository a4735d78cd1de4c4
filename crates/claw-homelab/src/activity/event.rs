//! One thing that somebody did, as the feed tells it.

use claw_core::{AuditAct, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $word:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
        pub enum $name { $($(#[$variant_doc])* #[serde(rename = $word)] $variant,)* }

        impl $name {
            /// Every word that clients may send for it.
            pub const WORDS: &'static [&'static str] = &[$($word,)*];

            /// Returns the word that clients see.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word,)* }
            }

            /// Returns what `word` stands for.
            pub fn parse(word: &str) -> Option<Self> {
                match word { $($word => Some(Self::$variant),)* _ => None }
            }
        }
    };
}

words! {
    /// What sort of thing was done.
    EventKind {
        /// A request to the homelab's API.
        ApiCall = "api_call",
        /// Something was done to a container.
        ContainerAction = "container_action",
        /// An image was asked for.
        ImagePull = "image_pull",
        /// An image was removed.
        ImageDelete = "image_delete",
        /// Something was done to a template.
        TemplateAction = "template_action",
        /// Something was done to an app.
        AppAction = "app_action",
    }
}

words! {
    /// How it went.
    EventStatus {
        /// It was done.
        Success = "success",
        /// It failed or was refused.
        Error = "error",
        /// It goes on.
        Pending = "pending",
        /// A request was wrong or refused.
        ClientError = "client_error",
        /// A request failed on this side.
        ServerError = "server_error",
        /// Something else.
        Unknown = "unknown",
    }
}

/// One thing that somebody did.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// Its place in the feed; told by the store, not stored.
    #[serde(default, skip_serializing)]
    pub seq: u64,
    /// Sixteen hexadecimal digits that no other event has.
    pub id: String,
    /// When.
    pub timestamp: Timestamp,
    /// What sort of thing.
    #[serde(rename = "type")]
    pub kind: EventKind,
    /// What: an HTTP method, or a verb.
    pub action: String,
    /// To what: a path, a container's name, an image.
    pub target: String,
    /// How it went.
    pub status: EventStatus,
    /// Who, for people: the last characters of a key, or a name.
    pub agent: String,
    /// Who, exactly: a mark such as `key:` and its id; empty for strangers.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub actor: String,
    /// Further facts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub details: Option<Value>,
    /// The scope that was missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<String>,
}

/// An event in the making.
#[derive(Clone, Debug, PartialEq)]
pub struct NewEvent {
    /// What sort of thing.
    pub kind: EventKind,
    /// What.
    pub action: String,
    /// To what.
    pub target: String,
    /// How it went.
    pub status: EventStatus,
    /// Who, for people.
    pub agent: String,
    /// Who, exactly.
    pub actor: String,
    /// Further facts.
    pub details: Option<Value>,
    /// The scope that was missing.
    pub scope: Option<String>,
}

impl NewEvent {
    /// Makes it an event. What others chose stands on one line of bounded length, as in the audit trail, so that no text
    /// can pass for a line or a field of its own.
    pub(super) fn at(self, timestamp: Timestamp) -> Event {
        let Self { kind, action, target, status, agent, actor, details, scope } = self;
        let tamed =
            AuditAct { actor, label: agent, verb: action, target, detail: details, ..AuditAct::default() }
                .tamed();
        Event {
            seq: 0,
            id: format!("{:016x}", Uuid::new_v4().as_u64_pair().0),
            timestamp,
            kind,
            action: tamed.verb,
            target: tamed.target,
            status,
            agent: tamed.label,
            actor: tamed.actor,
            details: tamed.detail,
            scope,
        }
    }
}

impl Event {
    /// Reads a stored event; `None` for one of another version.
    pub(super) fn read(seq: u64, data: &[u8]) -> Option<Self> {
        let event: Self = serde_json::from_slice(data).ok()?;
        Some(Self { seq, ..event })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn t31_nothing_that_was_sent_can_forge_a_line() {
        let event = NewEvent {
            kind: EventKind::ApiCall,
            action: "GET\n{}".into(),
            target: format!("/api/x\r\n{{\"type\":\"key_action\"}}\u{1b}[2J\u{202e}{}", "y".repeat(10_000)),
            status: EventStatus::ClientError,
            agent: "a\nb".into(),
            actor: String::new(),
            details: Some(serde_json::json!({ "details": "c\nd", "deep": [[[[[[1]]]]]] })),
            scope: None,
        }
        .at(Timestamp::UNIX_EPOCH);

        let json = serde_json::to_string(&event).expect("an event is JSON");

        assert!(json.chars().all(|c| !c.is_control() && c != '\u{202e}'), "{json}");
        assert!(!json.contains("\\n") && !json.contains("\\r") && !json.contains("\\u001b"), "{json}");
        assert!(json.len() < 1000, "{json}");
        assert_eq!(Event::read(7, json.as_bytes()), Some(Event { seq: 7, ..event }));
    }

    #[test]
    fn words_parse_to_themselves() {
        for word in EventKind::WORDS {
            assert_eq!(EventKind::parse(word).map(EventKind::as_str), Some(*word));
        }
        for word in EventStatus::WORDS {
            assert_eq!(EventStatus::parse(word).map(EventStatus::as_str), Some(*word));
        }
        assert_eq!(EventKind::parse("API_CALL"), None);
    }
}
