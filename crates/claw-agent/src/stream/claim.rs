//! Whether a line could pass for a line of another kind.
//!
//! Parsers differ: in which of two fields of one name counts, in whether the case of names matters, in what may stand around a
//! value, in encodings, and in how much of broken text they take. A line that only some of them read as a claim is a claim.

use std::{borrow::Cow, fmt};

use serde::{
    Deserializer,
    de::{Error, IgnoredAny, MapAccess, Visitor},
};
use serde_json::Value;

/// Tells whether some common JSON parser may read `line` as an object, or as one of several values, whose `type` is `kind`.
///
/// Of whole and plain JSON that is known exactly. Of anything else it is presumed as soon as the words are there, in any
/// spelling, with a brace.
pub fn may_claim_type(line: &[u8], kind: &str) -> bool {
    let plain = std::str::from_utf8(line).ok().and_then(|text| {
        let mut json = serde_json::Deserializer::from_str(text);
        let claims = json.deserialize_any(Claims { kind }).ok()?;
        json.end().ok().map(|()| claims)
    });
    plain.unwrap_or_else(|| has_the_words(line, kind))
}

/// Looks through the fields of an object, all of one name included.
struct Claims<'a> {
    kind: &'a str,
}

impl<'de> Visitor<'de> for Claims<'_> {
    type Value = bool;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a line of JSON")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<bool, A::Error> {
        let mut claims = false;
        while let Some(name) = map.next_key::<Cow<'de, str>>()? {
            if as_c_text(&name).eq_ignore_ascii_case("type") {
                let value: Value = map.next_value()?;
                claims |= value.as_str().is_some_and(|value| as_c_text(value) == self.kind);
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(claims)
    }

    // A list or a plain value is no object, whatever is in it; but the rest of the line must be looked at as well, which the
    // other way of looking does.
    fn visit_str<E: Error>(self, _: &str) -> Result<bool, E> {
        Ok(false)
    }
}

/// Returns what a parser that ends text at a NUL reads.
fn as_c_text(text: &str) -> &str {
    text.split('\0').next().unwrap_or_default()
}

/// Tells whether the words are there: escapes are undone, and all else that is no letter or digit is passed over.
fn has_the_words(line: &[u8], kind: &str) -> bool {
    // Without what is no text, as some readers do, and so that other encodings look like this one.
    let text: String =
        line.iter().filter(|byte| byte.is_ascii() && **byte != 0).map(|byte| char::from(*byte)).collect();
    let has_brace = text.contains('{') || text.contains("7b") || text.contains("7B");
    let words = letters(&undo_escapes(&text));
    has_brace && words.contains("type") && words.contains(&letters(kind))
}

fn letters(text: &str) -> String {
    text.chars().filter(char::is_ascii_alphanumeric).map(|letter| letter.to_ascii_lowercase()).collect()
}

/// Undoes `\uXXXX`, `\u{X}` and `\xXX`, and drops the backslash of others.
fn undo_escapes(text: &str) -> String {
    let mut undone = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        undone.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        let (digits, skipped) = match rest.as_bytes() {
            [b'u', b'{', ..] => (rest[2..].find('}').unwrap_or(0).min(6), 2),
            [b'u' | b'U', ..] => (4, 1),
            [b'x' | b'X', ..] => (2, 1),
            _ => continue,
        };
        let code =
            rest.get(skipped..skipped + digits).and_then(|digits| u32::from_str_radix(digits, 16).ok());
        if let Some(letter) = code.and_then(char::from_u32) {
            undone.push(letter);
            rest = &rest[skipped + digits..];
        }
    }
    undone.push_str(rest);
    undone
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn claims(line: impl AsRef<[u8]>) -> bool {
        may_claim_type(line.as_ref(), "claw")
    }

    #[test]
    fn what_any_parser_may_read_as_a_claim_is_one() {
        for line in [
            r#"{"type":"claw"}"#,
            r#"{"type":"claw","type":"assistant"}"#,
            r#"{"type":"assistant","type":"claw"}"#,
            r#"{"\u0074ype":"cla\u0077"}"#,
            r#"{"Type":"claw"}"#,
            r#"{"type\u0000x":"claw\u0000x"}"#,
            r#"{"type":"claw"} trailing"#,
            r#"{"type":"claw"}{"type":"user"}"#,
            r#"null {"type":"claw"}"#,
            "\u{feff}{\"type\":\"claw\"}",
            r#"{"type":"claw","x":NaN}"#,
            r#"{"type":"claw",}"#,
            r#"{type:'claw'}"#,
            r#"/* */ {"type":"claw"}"#,
            r#"{"type":"claw","x":"\ud800"}"#,
            r#"{"type":"\x63law"}"#,
            r#"{"type":"\u{63}law","x":1,}"#,
            r#"{"type":"claw"#,
            "{\"type\":\"claw\"}\0junk",
            "{'type':'cl\\\u{2028}aw'}",
        ] {
            assert!(claims(line), "{line}");
        }
        assert!(claims(b"{\"type\":\"cl\xffaw\"}"));
        assert!(claims(b"{\"type\":\"claw\",\"x\":\"\xff\"}"));
        let wide: Vec<u8> = r#"{"type":"claw"}"#.encode_utf16().flat_map(u16::to_le_bytes).collect();
        assert!(claims(wide));
        assert!(claims(format!(r#"{{"x":{}1{},"type":"claw"}}"#, "[".repeat(500), "]".repeat(500))));
    }

    #[test]
    fn what_no_parser_reads_as_a_claim_is_none() {
        for line in [
            r#"{"type":"assistant","text":"claw"}"#,
            r#"{"type":"user","x":{"type":"claw"}}"#,
            r#"{"text":"{\"type\":\"claw\"}","type":"user"}"#,
            r#""{\"type\":\"claw\"}""#,
            "type claw",
            "plain text",
            "",
            r#"{"type":["claw"]}"#,
        ] {
            assert!(!claims(line), "{line}");
        }
    }

    proptest! {
        #![proptest_config(crate::fuzz::cases())]

        #[test]
        fn fuzz_lines_that_serde_reads_as_a_claim_are_claims(
            before in "[ -~]{0,6}", after in "[ -~]{0,6}", spaces in "[ \t]{0,3}", name in "(t|\\\\u0074)(y|Y)pe",
        ) {
            let line = format!("{spaces}{{\"{name}\"{spaces}:\"claw\"}}{after}");
            prop_assert!(claims(&line));
            let line = format!("{{\"x\":{},\"type\":\"claw\",\"y\":{}}}", json!(before), json!(after));
            prop_assert!(claims(line));
        }

        #[test]
        fn fuzz_any_bytes_are_judged(line in prop::collection::vec(any::<u8>(), 0..200)) {
            let has_brace = line.iter().any(|byte| b"{7".contains(byte));
            prop_assert!(has_brace || !claims(&line));
        }
    }
}
