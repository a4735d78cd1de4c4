//! The one exit point for text that may hold a secret of ours.
//!
//! No secret enters a sandbox, so none should come out of one. This is the second line: whatever an agent, git or the
//! model API said goes through here before it is kept where people read it.

use std::{
    borrow::Cow,
    fmt,
    sync::{Arc, PoisonError, RwLock},
};

use aho_corasick::{AhoCorasick, MatchKind};
use claw_core::Secret;

/// What stands in the place of a secret. Harmless inside JSON.
pub const REDACTED: &str = "[redacted]";

/// Shorter values are no secrets but words: taking them out would ruin every text.
const MIN_SECRET_BYTES: usize = 8;

/// Secrets remembered at the most, the newest ones. A login's tokens change every few hours.
const MAX_SECRETS: usize = 64;

/// Takes known secrets out of texts. Cheap to clone; clones share what they know.
#[derive(Clone, Default)]
pub struct Redactor(Arc<RwLock<Known>>);

#[derive(Default)]
struct Known {
    secrets: Vec<Secret>,
    /// `None` as long as there is nothing to look for.
    finder: Option<AhoCorasick>,
}

impl fmt::Debug for Redactor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Redactor")
    }
}

impl Redactor {
    /// Returns a redactor that knows these secrets.
    pub fn new(secrets: impl IntoIterator<Item = Secret>) -> Self {
        let redactor = Self::default();
        for secret in secrets {
            redactor.learn(secret);
        }
        redactor
    }

    /// Remembers one more secret, such as a token that was refreshed. Earlier ones stay known: they may still be good.
    pub fn learn(&self, secret: Secret) {
        // A std lock: held for a short computation, never across an await.
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let is_known = known.secrets.iter().any(|other| other.expose() == secret.expose());
        if is_known || secret.expose().len() < MIN_SECRET_BYTES {
            return;
        }
        if known.secrets.len() == MAX_SECRETS {
            known.secrets.remove(0);
        }
        known.secrets.push(secret);
        let forms = known.secrets.iter().flat_map(forms);
        match AhoCorasick::builder().match_kind(MatchKind::LeftmostLongest).build(forms) {
            Ok(finder) => known.finder = Some(finder),
            // Only for patterns beyond every size that a secret has.
            Err(error) => tracing::error!(%error, "could not prepare the removal of secrets from texts"),
        }
    }

    /// Returns the text without the secrets.
    pub fn text<'a>(&self, text: &'a str) -> Cow<'a, str> {
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let Some(finder) = known.finder.as_ref().filter(|finder| finder.is_match(text)) else {
            return Cow::Borrowed(text);
        };
        let mut clean = String::with_capacity(text.len());
        finder.replace_all_with(text, &mut clean, |_, _, clean| {
            clean.push_str(REDACTED);
            true
        });
        Cow::Owned(clean)
    }

    /// Returns the line without the secrets. It need not be UTF-8.
    pub fn bytes(&self, line: Vec<u8>) -> Vec<u8> {
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let Some(finder) = known.finder.as_ref().filter(|finder| finder.is_match(&line)) else {
            return line;
        };
        let mut clean = Vec::with_capacity(line.len());
        finder.replace_all_with_bytes(&line, &mut clean, |_, _, clean| {
            clean.extend_from_slice(REDACTED.as_bytes());
            true
        });
        clean
    }
}

/// Returns how a secret may be written: as it is, and inside a JSON string, once and twice over, as agents write what
/// their tools printed.
fn forms(secret: &Secret) -> Vec<String> {
    let plain = secret.expose().to_owned();
    let once = inside_json(&plain);
    let twice = inside_json(&once);
    let mut forms = vec![plain, once, twice];
    forms.dedup();
    forms
}

fn inside_json(text: &str) -> String {
    let quoted = serde_json::Value::from(text).to_string();
    quoted[1..quoted.len() - 1].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn t12_known_secrets_are_taken_out_however_they_are_written() {
        let redactor = Redactor::new([Secret::new("sk-ant-canary-1"), Secret::new(r#"pass"word\1"#)]);

        for (text, clean) in [
            ("nothing to see", "nothing to see"),
            ("x-api-key: sk-ant-canary-1, again sk-ant-canary-1", "x-api-key: [redacted], again [redacted]"),
            (r#"{"text":"pass\"word\\1"}"#, r#"{"text":"[redacted]"}"#),
            (r#"{"text":"{\"a\":\"pass\\\"word\\\\1\"}"}"#, r#"{"text":"{\"a\":\"[redacted]\"}"}"#),
        ] {
            assert_eq!(redactor.text(text), clean);
            assert_eq!(redactor.bytes(text.as_bytes().to_vec()), clean.as_bytes());
        }
        let line = b"\xff\xfesk-ant-canary-1\xff".to_vec();
        assert_eq!(redactor.bytes(line), b"\xff\xfe[redacted]\xff");
    }

    #[test]
    fn t12_a_refreshed_token_is_taken_out_beside_the_one_before_it() {
        let redactor = Redactor::new([Secret::new("first-token")]);
        let shared = redactor.clone();

        shared.learn(Secret::new("second-token"));

        assert_eq!(redactor.text("first-token second-token"), "[redacted] [redacted]");
    }

    #[test]
    fn words_are_no_secrets() {
        let redactor = Redactor::new([Secret::new("admin"), Secret::new("")]);

        assert_eq!(redactor.text("the admin"), "the admin");
    }
}
