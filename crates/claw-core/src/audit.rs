//! What the audit trail consists of.
//!
//! A mutation leaves two records: what somebody was about to do, written before the effect, and how that went. A record
//! may tell how several went. What was refused leaves one.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::DeedId;

/// Longest text of a field that others chose, in characters; the rest is cut.
pub const MAX_AUDIT_TEXT: usize = 200;

/// Most members of a list or object in the further facts; the rest is cut.
const MAX_MEMBERS: usize = 64;

/// Deepest nesting of the further facts; what is deeper is cut.
const MAX_DEPTH: usize = 4;

/// One record of the audit trail, as stored and exported. Fields are only ever added.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum AuditRecord {
    /// Somebody who may is about to do something.
    Intent {
        /// Names the intent for its outcome.
        id: DeedId,
        /// Who does what to what.
        #[serde(flatten)]
        act: AuditAct,
    },
    /// How things went that earlier records tell of.
    Outcomes {
        /// One for each.
        of: Vec<AuditOutcome>,
    },
    /// Somebody was refused.
    Denied {
        /// Who wanted to do what to what.
        #[serde(flatten)]
        act: AuditAct,
        /// The error code of the refusal.
        code: String,
        /// Further refusals of the same kind that no record of their own tells of.
        #[serde(default, skip_serializing_if = "is_zero")]
        more: u64,
    },
    /// Somebody read something, where reading is recorded too.
    Read {
        /// Who read what.
        #[serde(flatten)]
        act: AuditAct,
        /// Further reads of the same kind that no record of their own tells of.
        #[serde(default, skip_serializing_if = "is_zero")]
        more: u64,
    },
    /// The house tells something about the trail itself.
    Note {
        /// What.
        text: String,
        /// At a start: how many deeds of the former one have no outcome.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        unsettled: Option<u64>,
    },
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// Who does what to what.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct AuditAct {
    /// Mark of who acts, as [`crate::Principal`] writes it; empty for somebody unknown.
    pub actor: String,
    /// Their name for people.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub label: String,
    /// What is done, such as `job.submit`.
    pub verb: String,
    /// To what, such as `job:` and its id; empty for nothing in particular.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub target: String,
    /// Address they came from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client: Option<String>,
    /// The request, as answers name it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request: Option<String>,
    /// Further facts. Never a secret, never the text of a prompt or file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<Value>,
}

impl AuditAct {
    /// Returns the act with every text that others chose on one line of bounded length.
    #[must_use]
    pub fn tamed(self) -> Self {
        Self {
            actor: tame(self.actor),
            label: tame(self.label),
            verb: tame(self.verb),
            target: tame(self.target),
            client: self.client.map(tame),
            request: self.request.map(tame),
            detail: self.detail.map(|detail| tame_value(detail, MAX_DEPTH)),
        }
    }
}

/// Bounds the further facts: their texts as [`tame`] does, their members and their depth.
fn tame_value(value: Value, depth: usize) -> Value {
    match value {
        Value::String(text) => Value::String(tame(text)),
        Value::Array(_) | Value::Object(_) if depth == 0 => Value::String("…".to_owned()),
        Value::Array(members) => {
            members.into_iter().take(MAX_MEMBERS).map(|member| tame_value(member, depth - 1)).collect()
        }
        Value::Object(members) => members
            .into_iter()
            .take(MAX_MEMBERS)
            .map(|(name, member)| (tame(name), tame_value(member, depth - 1)))
            .collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) => value,
    }
}

/// Puts a text on one line: control characters and those that change the direction of text become `�`, and what is
/// beyond [`MAX_AUDIT_TEXT`] characters is cut.
fn tame(text: String) -> String {
    if text.len() <= MAX_AUDIT_TEXT && text.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
        // Nearly every text; this goes through it at a glance.
        return text;
    }
    let is_visible = |c: char| {
        !c.is_control()
            && !matches!(c, '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
    };
    let mut tamed: String =
        text.chars().take(MAX_AUDIT_TEXT).map(|c| if is_visible(c) { c } else { '\u{fffd}' }).collect();
    if text.chars().nth(MAX_AUDIT_TEXT).is_some() {
        tamed.push('…');
    }
    tamed
}

/// How something went.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditOutcome {
    /// The intent.
    pub intent: DeedId,
    /// When it was known.
    pub at: Timestamp,
    /// How.
    #[serde(flatten)]
    pub end: AuditEnd,
}

/// How something ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum AuditEnd {
    /// It was done.
    Done,
    /// It was tried and failed with this error code.
    Failed {
        /// The code.
        code: String,
    },
    /// Whoever asked went away before it was over: it may have been done or not.
    Abandoned,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn t31_no_text_can_break_its_line_or_grow_without_end() {
        let act = AuditAct {
            label: "a\n{\"kind\":\"note\"}\u{1b}[2J\u{202e}b".into(),
            target: "x".repeat(10_000),
            ..AuditAct::default()
        };

        let tamed = act.tamed();

        assert_eq!(tamed.label, "a�{\"kind\":\"note\"}�[2J�b");
        assert_eq!(tamed.target.chars().count(), MAX_AUDIT_TEXT + 1);
        let json = serde_json::to_string(&AuditRecord::Denied { act: tamed, code: "X".into(), more: 0 })
            .expect("a record is JSON");
        assert!(!json.contains('\n'));
    }

    #[test]
    fn t31_further_facts_are_bounded_in_text_members_and_depth() {
        let deep = (0..100).fold(Value::Null, |inner, _| serde_json::json!([inner]));
        let act = AuditAct {
            detail: Some(serde_json::json!({
                "label": "a\nb", "long": "x".repeat(10_000), "many": vec![1; 10_000], "deep": deep,
            })),
            ..AuditAct::default()
        };

        let detail = act.tamed().detail.expect("facts");

        assert_eq!(detail["label"], "a�b");
        assert_eq!(detail["many"].as_array().map(Vec::len), Some(MAX_MEMBERS));
        assert!(detail.to_string().len() < 1_000);
    }

    #[test]
    fn records_read_back_as_they_were_written() {
        let id = DeedId::new();
        let act = AuditAct { actor: "token".into(), verb: "job.submit".into(), ..AuditAct::default() };
        let outcome = AuditOutcome {
            intent: id,
            at: Timestamp::UNIX_EPOCH,
            end: AuditEnd::Failed { code: "CONFLICT".into() },
        };
        for record in [
            AuditRecord::Intent { id, act: act.clone() },
            AuditRecord::Outcomes { of: vec![outcome] },
            AuditRecord::Denied { act: act.clone(), code: "SCOPE_REQUIRED".into(), more: 7 },
            AuditRecord::Read { act, more: 3 },
            AuditRecord::Note { text: "x".into(), unsettled: Some(2) },
        ] {
            let json = serde_json::to_string(&record).expect("a record is JSON");
            assert_eq!(serde_json::from_str::<AuditRecord>(&json).expect("it reads back"), record, "{json}");
        }
    }
}
