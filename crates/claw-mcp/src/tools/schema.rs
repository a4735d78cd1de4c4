//! JSON Schemas of arguments and results. Every byte of them is read by a model at each start, so they are terse.

use serde_json::{Value, json};

/// Arguments: an object with these properties.
pub(super) fn arguments(properties: Value, required: &[&str]) -> Value {
    json!({ "type": "object", "properties": properties, "required": required })
}

/// No arguments.
pub(super) fn nothing() -> Value {
    arguments(json!({}), &[])
}

/// One text that must be there.
pub(super) fn one(name: &str) -> Value {
    arguments(json!({ name: text() }), &[name])
}

/// A text.
pub(super) fn text() -> Value {
    json!({ "type": "string" })
}

/// A number.
pub(super) fn number() -> Value {
    json!({ "type": "number" })
}

/// Yes or no.
pub(super) fn boolean() -> Value {
    json!({ "type": "boolean" })
}

/// An object.
pub(super) fn object() -> Value {
    json!({ "type": "object" })
}

/// An object whose members are texts.
pub(super) fn texts_by_name() -> Value {
    json!({ "type": "object", "additionalProperties": text() })
}

/// A list of texts.
pub(super) fn texts() -> Value {
    json!({ "type": "array", "items": text() })
}

/// A result that holds a list under this name.
pub(super) fn list(name: &str) -> Value {
    json!({ "type": "object", "properties": { name: { "type": "array" } } })
}

/// A result in which these members are texts; there may be more.
pub(super) fn texts_named(names: &[&str]) -> Value {
    let properties: serde_json::Map<_, _> = names.iter().map(|name| ((*name).to_owned(), text())).collect();
    json!({ "type": "object", "properties": properties })
}

/// A result that says what came of it.
pub(super) fn status() -> Value {
    texts_named(&["status"])
}

/// A result that is text of others.
pub(super) fn untrusted() -> Value {
    texts_named(&["text"])
}
