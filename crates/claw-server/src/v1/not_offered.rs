//! Fields that mean nothing here yet.

use serde::{Deserialize, Deserializer};
use serde_json::Value;

use crate::error::{ApiError, ApiResult};

/// A field that clients of other versions send. Empty is fine; anything else must not be dropped in silence.
#[derive(Default)]
pub(crate) struct NotOffered(bool);

impl NotOffered {
    /// Refuses what the field holds, if anything.
    pub(crate) fn refuse(&self, field: &str) -> ApiResult<()> {
        if self.0 { Err(ApiError::not_available(field)) } else { Ok(()) }
    }
}

impl<'de> Deserialize<'de> for NotOffered {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let holds_something = match Value::deserialize(deserializer)? {
            Value::Null => false,
            Value::String(text) => !text.is_empty(),
            Value::Array(items) => !items.is_empty(),
            Value::Object(fields) => !fields.is_empty(),
            Value::Bool(_) | Value::Number(_) => true,
        };
        Ok(Self(holds_something))
    }
}
