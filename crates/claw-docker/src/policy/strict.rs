//! JSON without two meanings.
//!
//! Readers of JSON differ in which of two equal members counts, and some take `hostconfig` for `HostConfig`. What is
//! checked here must be what everybody else would read, so a document that could be read in two ways is refused.

use std::{cell::RefCell, collections::HashSet, fmt};

use claw_core::{Coded, ErrorCode};
use serde::de::{self, DeserializeSeed, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

/// Deepest nesting of lists and objects.
pub const MAX_DEPTH: usize = 32;

/// Largest whole number that every reader holds exactly (2^53).
const LARGEST_EXACT: f64 = 9_007_199_254_740_992.0;

/// Why a document is not read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StrictError {
    /// It is too large.
    #[error("the body is larger than {limit} bytes")]
    TooLarge {
        /// The limit.
        limit: usize,
    },
    /// A name appears twice in one object.
    #[error("the member `{name}` appears twice")]
    Twice {
        /// The name.
        name: String,
    },
    /// Two names in one object differ in letter case only.
    #[error("the members `{name}` and another differ in letter case only")]
    SameButForCase {
        /// The second of the names.
        name: String,
    },
    /// Lists and objects are nested too deeply.
    #[error("lists and objects are nested more than {MAX_DEPTH} deep")]
    TooDeep,
    /// A number that not every reader holds exactly.
    #[error("the number {number} is too large to be exact")]
    Number {
        /// The number, as it was understood.
        number: String,
    },
    /// It is no JSON.
    #[error("this is no JSON: {reason}")]
    NotJson {
        /// Where and why.
        reason: String,
    },
}

impl Coded for StrictError {
    fn code(&self) -> ErrorCode {
        match self {
            Self::TooLarge { .. } => ErrorCode::PayloadTooLarge,
            Self::Twice { .. }
            | Self::SameButForCase { .. }
            | Self::TooDeep
            | Self::Number { .. }
            | Self::NotJson { .. } => ErrorCode::InvalidRequest,
        }
    }
}

/// Reads one JSON document of at most `max_bytes`.
///
/// # Errors
///
/// Refuses what is no JSON and everything that could be read in two ways: a member that appears twice, members that
/// differ in letter case only, whole numbers beyond what a double holds, and deep nesting.
pub fn parse_json(bytes: &[u8], max_bytes: usize) -> Result<Value, StrictError> {
    if bytes.len() > max_bytes {
        return Err(StrictError::TooLarge { limit: max_bytes });
    }
    let found = RefCell::new(None);
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let value = Strict { depth: 0, found: &found }
        .deserialize(&mut reader)
        .and_then(|value| reader.end().map(|()| value));
    match (value, found.into_inner()) {
        (_, Some(error)) => Err(error),
        (Ok(value), None) => Ok(value),
        (Err(error), None) => Err(StrictError::NotJson { reason: error.to_string() }),
    }
}

/// Reads one value, and leaves in `found` why it refused.
#[derive(Clone, Copy)]
struct Strict<'a> {
    depth: usize,
    found: &'a RefCell<Option<StrictError>>,
}

impl Strict<'_> {
    fn refuse<E: de::Error>(self, error: StrictError) -> E {
        let text = error.to_string();
        *self.found.borrow_mut() = Some(error);
        E::custom(text)
    }

    fn deeper<E: de::Error>(self) -> Result<Self, E> {
        if self.depth == MAX_DEPTH {
            return Err(self.refuse(StrictError::TooDeep));
        }
        Ok(Self { depth: self.depth + 1, ..self })
    }
}

impl<'de> DeserializeSeed<'de> for Strict<'_> {
    type Value = Value;

    fn deserialize<D: de::Deserializer<'de>>(self, reader: D) -> Result<Value, D::Error> {
        reader.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Value, E> {
        if value.is_finite() && value.abs() < LARGEST_EXACT {
            return Ok(value.into());
        }
        Err(self.refuse(StrictError::Number { number: value.to_string().chars().take(40).collect() }))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let inner = self.deeper()?;
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(inner)? {
            list.push(item);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let inner = self.deeper()?;
        let mut object = Map::new();
        let mut folded = HashSet::new();
        while let Some(name) = members.next_key::<String>()? {
            if !folded.insert(fold(&name)) {
                let short = name.chars().take(64).map(|c| if c.is_control() { ' ' } else { c }).collect();
                return Err(self.refuse(if object.contains_key(&name) {
                    StrictError::Twice { name: short }
                } else {
                    StrictError::SameButForCase { name: short }
                }));
            }
            let value = members.next_value_seed(inner)?;
            object.insert(name, value);
        }
        Ok(Value::Object(object))
    }
}

/// Letter case as the widest reader sees it: through upper to lower case, which also makes `ſ` an `s` and the Kelvin
/// sign a `k`.
fn fold(name: &str) -> String {
    if name.is_ascii() {
        return name.to_ascii_lowercase();
    }
    name.to_uppercase().to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: usize = 1 << 16;

    fn refused(text: &str) -> StrictError {
        parse_json(text.as_bytes(), LIMIT).expect_err(text)
    }

    #[test]
    fn plain_documents_are_read_as_they_are() {
        let text = r#" {"b": [1, -2, 2.5, 1e3, 18446744073709551615], "a": {"B": null, "c": true}, "ä": "\u00e9\n", "": ""} "#;

        let value = parse_json(text.as_bytes(), LIMIT).expect("JSON");

        assert_eq!(value, serde_json::from_str::<Value>(text).expect("JSON"));
        let names: Vec<_> = value.as_object().expect("an object").keys().map(String::as_str).collect();
        assert_eq!(names, ["b", "a", "ä", ""]);
        assert_eq!(parse_json(b"\"text\"", LIMIT), Ok(Value::from("text")));
    }

    #[test]
    fn t6_a_member_that_appears_twice_is_refused_at_any_depth() {
        for text in [
            r#"{"image":"a","image":"b"}"#,
            r#"{"image":"a","image":"a"}"#,
            r#"{"image":"a","\u0069mage":"b"}"#,
            r#"{"a":[{"b":{"c":1,"c":2}}]}"#,
            r#"{"":1,"":2}"#,
        ] {
            assert!(matches!(refused(text), StrictError::Twice { .. }), "{text}");
        }
    }

    #[test]
    fn t6_members_that_differ_in_letter_case_only_are_refused() {
        for text in [
            r#"{"HostConfig":{},"hostconfig":{"Privileged":true}}"#,
            r#"{"privileged":false,"Privileged":true}"#,
            r#"{"a":[{"Binds":[],"bINDS":["/:/host"]}]}"#,
            // Go folds these two as well: the long s and the Kelvin sign.
            r#"{"sysctls":{},"ſysctls":{}}"#,
            r#"{"networkmode":"none","networK-mode":1,"networkMode":"host"}"#,
            r#"{"links":[],"lin\u212as":[]}"#,
            r#"{"ä":1,"Ä":2}"#,
        ] {
            assert!(matches!(refused(text), StrictError::SameButForCase { .. }), "{text}");
        }
    }

    #[test]
    fn t32_size_and_depth_are_bounded() {
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert!(parse_json(nested(MAX_DEPTH).as_bytes(), LIMIT).is_ok());
        assert_eq!(refused(&nested(MAX_DEPTH + 1)), StrictError::TooDeep);
        assert_eq!(refused(&nested(20_000)), StrictError::TooDeep);
        assert_eq!(refused(&r#"{"a":"#.repeat(5000)), StrictError::TooDeep);
        assert!(parse_json(b"[1]", 3).is_ok());
        assert_eq!(parse_json(b"[1] ", 3), Err(StrictError::TooLarge { limit: 3 }));
        assert_eq!(StrictError::TooLarge { limit: 3 }.code(), ErrorCode::PayloadTooLarge);
    }

    #[test]
    fn t6_numbers_that_readers_would_round_are_refused() {
        for text in
            ["18446744073709551616", "-9223372036854775809", "1e20", "1e308", "-1e17", "9007199254740993.0"]
        {
            assert!(matches!(refused(text), StrictError::Number { .. }), "{text}");
        }
        for text in ["1e400", "-1e999"] {
            assert!(
                matches!(refused(text), StrictError::NotJson { .. } | StrictError::Number { .. }),
                "{text}"
            );
        }
        assert_eq!(parse_json(b"9007199254740993", LIMIT), Ok(Value::from(9_007_199_254_740_993_u64)));
    }

    #[test]
    fn what_is_no_json_is_refused_and_never_repaired() {
        let bad: [&[u8]; 18] = [
            b"",
            b" ",
            b"{",
            b"{}{}",
            b"{} x",
            b"{\"a\":1,}",
            b"[1,]",
            b"{a:1}",
            b"{'a':1}",
            b"{\"a\":01}",
            b"NaN",
            b"Infinity",
            b"// x\n{}",
            b"\xef\xbb\xbf{}",
            b"{\"a\":\"\xff\"}",
            b"{\"\xc3\":1}",
            b"\"\\ud800\"",
            b"\"a\nb\"",
        ];
        for text in bad {
            let error = parse_json(text, LIMIT).expect_err(&String::from_utf8_lossy(text));
            assert!(matches!(error, StrictError::NotJson { .. }), "{text:?}: {error}");
            assert_eq!(error.code(), ErrorCode::InvalidRequest);
        }
        assert!(
            parse_json("{}".encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<_>>().as_slice(), LIMIT)
                .is_err()
        );
    }

    #[test]
    fn refusals_repeat_no_control_characters_of_a_name() {
        let text = refused("{\"a\\n\\u0000\":1,\"a\\n\\u0000\":2}").to_string();

        assert_eq!(text, "the member `a  ` appears twice");
    }
}
