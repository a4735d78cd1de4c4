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
