//! The judgement: each module looks at one side of a wish and fills in what the wish did not say.

mod host;
mod identity;
mod image;
mod limits;
mod mounts;
mod namespaces;
mod networks;
mod ports;
mod powers;
mod process;
mod size;
pub(super) mod subnet;
mod table;

use std::fmt::Write as _;

pub use table::{RULES, RuleInfo};

use super::{
    Approved, ApprovedNetwork, ContainerWish, Facts, Grants, NetworkWish, Policy, Refusal, Refused,
    rules::Rules,
};

impl Policy {
    /// Judges what would come of a wish, defaults filled in. Pure: `facts` is all it knows of the host.
    ///
    /// Judging the approved wish again gives the same answer, so what was written to a file can be judged when it is
    /// read back.
    ///
    /// # Errors
    ///
    /// Returns every rule that the wish breaks.
    pub fn judge(&self, wish: &ContainerWish, facts: &Facts, grants: &Grants) -> Result<Approved, Refused> {
        let mut case = Case { rules: &self.rules, facts, grants, refusals: Vec::new() };
        // What is too large is not looked at any further: the judgement has to be quick, whatever is sent.
        size::judge(&mut case, wish);
        if !case.refusals.is_empty() {
            return Err(Refused { refusals: case.refusals });
        }
        let mut result = wish.clone();
        identity::judge(&mut case, &mut result);
        process::judge(&mut case, &mut result);
        powers::judge(&mut case, &mut result);
        host::judge(&mut case, &mut result);
        namespaces::judge(&mut case, &mut result);
        networks::judge(&mut case, &mut result);
        ports::judge(&mut case, &result);
        mounts::judge(&mut case, &mut result);
        limits::judge(&mut case, &mut result);
        if case.refusals.is_empty() {
            let missing = mounts::missing(facts, &result);
            Ok(Approved { wish: result, missing })
        } else {
            Err(Refused { refusals: case.refusals })
        }
    }

    /// Judges a network that is to be made.
    ///
    /// # Errors
    ///
    /// Returns every rule that the wish breaks.
    pub fn judge_network(&self, wish: &NetworkWish, facts: &Facts) -> Result<ApprovedNetwork, Refused> {
        let grants = Grants::default();
        let mut case = Case { rules: &self.rules, facts, grants: &grants, refusals: Vec::new() };
        let mut result = wish.clone();
        networks::judge_new(&mut case, &mut result);
        if case.refusals.is_empty() {
            Ok(ApprovedNetwork { wish: result })
        } else {
            Err(Refused { refusals: case.refusals })
        }
    }
}

/// One wish before the judge.
struct Case<'a> {
    rules: &'a Rules,
    facts: &'a Facts,
    grants: &'a Grants,
    refusals: Vec<Refusal>,
}

impl Case<'_> {
    /// Refuses what no policy permits.
    fn refuse(&mut self, rule: &'static str, field: impl Into<String>, message: impl Into<String>) {
        self.push(rule, field.into(), message.into(), None);
    }

    /// Refuses what an administrator may permit with this line.
    fn refuse_unless(
        &mut self,
        rule: &'static str,
        field: impl Into<String>,
        message: impl Into<String>,
        permit: impl Into<String>,
    ) {
        self.push(rule, field.into(), message.into(), Some(permit.into()));
    }

    fn push(&mut self, rule: &'static str, field: String, message: String, permit: Option<String>) {
        debug_assert!(RULES.iter().any(|known| known.id == rule), "{rule} is not in the table of rules");
        self.refusals.push(Refusal { rule, field, message, permit });
    }
}

/// Longest piece of a wish that a message repeats, in characters.
const MAX_QUOTED_CHARS: usize = 80;

/// Returns a piece of a wish for a message: short, on one line, without characters that hide or turn text around.
fn quoted(text: &str) -> String {
    let mut told = String::with_capacity(text.len().min(MAX_QUOTED_CHARS) + 2);
    told.push('`');
    for c in text.chars().take(MAX_QUOTED_CHARS) {
        if c.is_control() || is_invisible(c) || c == '`' {
            // Writing to a string cannot fail.
            let _ = write!(told, "\\u{{{:x}}}", u32::from(c));
        } else {
            told.push(c);
        }
    }
    if text.chars().nth(MAX_QUOTED_CHARS).is_some() {
        told.push('…');
    }
    told.push('`');
    told
}

/// Zero-width characters, line separators and marks of writing direction.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

/// Returns a text as TOML writes it, for a line of the policy file.
fn toml_text(text: &str) -> String {
    toml::Value::from(text).to_string()
}

/// Tells whether a name is one of `patterns`, without regard to letter case. A pattern may end or begin with `*`, and
/// `{uuid}` at its end stands for one.
fn is_named(name: &str, patterns: &[String]) -> bool {
    patterns.iter().any(|pattern| matches_pattern(name, pattern))
}

fn matches_pattern(name: &str, pattern: &str) -> bool {
    if let Some(inner) = pattern.strip_prefix('*') {
        return match inner.strip_suffix('*') {
            Some(inner) => name.to_ascii_lowercase().contains(&inner.to_ascii_lowercase()),
            None => ends_with(name, inner),
        };
    }
    if let Some(start) = pattern.strip_suffix('*') {
        return starts_with(name, start);
    }
    if let Some(start) = pattern.strip_suffix("{uuid}") {
        return starts_with(name, start) && is_uuid(&name[start.len()..]);
    }
    name.eq_ignore_ascii_case(pattern)
}

fn starts_with(name: &str, start: &str) -> bool {
    name.get(..start.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(start))
}

fn ends_with(name: &str, end: &str) -> bool {
    name.len()
        .checked_sub(end.len())
        .and_then(|at| name.get(at..))
        .is_some_and(|last| last.eq_ignore_ascii_case(end))
}

fn is_uuid(text: &str) -> bool {
    text.len() == 36 && text.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-')
}

/// Tells whether a text is a plain name: letters, digits, `_`, `.` and `-`, beginning with a letter or digit.
fn is_plain_name(text: &str, most: usize) -> bool {
    text.len() <= most
        && text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_stand_for_what_begins_or_ends_so_in_any_letter_case() {
        let uuid = "0190aaaa-bbbb-7ccc-8ddd-eeeeffff0000";
        for (name, pattern, expected) in [
            ("claw", "claw", true),
            ("CLAW", "claw", true),
            ("claws", "claw", false),
            ("claw-job-1", "claw-*", true),
            ("Claw-job-1", "claw-*", true),
            ("claw", "claw-*", false),
            ("prod_wagmios_data", "*_wagmios_data", true),
            ("data", "*_wagmios_data", false),
            ("a_ClawMachine-x", "*_clawmachine*", true),
            (&format!("claw-home-{uuid}"), "claw-home-{uuid}", true),
            ("claw-home-assistant_config", "claw-home-{uuid}", false),
            ("ä", "a*", false),
        ] {
            assert_eq!(matches_pattern(name, pattern), expected, "{name} {pattern}");
        }
    }

    #[test]
    fn quoted_pieces_are_short_and_show_what_hides() {
        assert_eq!(quoted("a\u{202e}b\n`"), "`a\\u{202e}b\\u{a}\\u{60}`");
        assert!(quoted(&"ä".repeat(500)).chars().count() < 90);
    }
}
