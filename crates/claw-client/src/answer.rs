//! An answer of the server, both as a type and as the JSON it came in.

use std::ops::Deref;

use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

/// A decoded answer that keeps the server's own JSON beside it.
///
/// Programs that pass answers on (`claw --json`) print [`Answer::json`], so that fields which this client does not
/// know are not lost on the way. Everything else reads the value through `Deref`.
#[derive(Clone, Debug)]
pub struct Answer<T> {
    value: T,
    json: Box<RawValue>,
}

impl<T: DeserializeOwned> Answer<T> {
    /// Decodes `json`.
    pub(crate) fn decode(json: Box<RawValue>) -> Result<Self, serde_json::Error> {
        Ok(Self { value: serde_json::from_str(json.get())?, json })
    }
}

impl<T> Answer<T> {
    /// Returns the JSON as the server sent it.
    pub fn json(&self) -> &str {
        self.json.get()
    }

    /// Returns the decoded value alone.
    pub fn into_value(self) -> T {
        self.value
    }
}

impl<T> Deref for Answer<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}
