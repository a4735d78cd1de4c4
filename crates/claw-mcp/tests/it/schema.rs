//! The part of JSON Schema that tools use, and no more: another word in a schema fails the test.

use serde_json::Value;

/// Checks that `value` is what `schema` says.
pub(crate) fn assert_fits(schema: &Value, value: &Value, place: &str) {
    let members = schema.as_object().unwrap_or_else(|| panic!("{place}: no schema: {schema}"));
    for (word, said) in members {
        match word.as_str() {
            "type" => {
                let fits = match said.as_str().expect("one type") {
                    "object" => value.is_object(),
                    "array" => value.is_array(),
                    "string" => value.is_string(),
                    "number" => value.is_number(),
                    "boolean" => value.is_boolean(),
                    other => panic!("{place}: unknown type {other}"),
                };
                assert!(fits, "{place}: {value} is no {said}");
            }
            "properties" => {
                for (name, schema) in said.as_object().expect("schemas by name") {
                    let inner = value.get(name);
                    let inner = inner.unwrap_or_else(|| panic!("{place}: {name} is missing in {value}"));
                    assert_fits(schema, inner, &format!("{place}.{name}"));
                }
            }
            other => panic!("{place}: unknown word {other}"),
        }
    }
}
