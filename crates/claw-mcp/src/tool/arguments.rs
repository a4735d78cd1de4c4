//! The arguments of a call, and what is wrong with them in the words of the original.

use std::{collections::BTreeMap, fmt::Display, str::FromStr};

use claw_core::untrusted;
use rmcp::model::JsonObject;
use serde_json::Value;

use crate::Failure;

/// Unknown arguments that are told, and how much of a name.
const MOST_UNKNOWN: usize = 8;
const NAME_WIDTH: usize = 64;

/// The arguments of a call. An argument that is `null` counts as absent.
#[derive(Clone, Debug, Default)]
pub struct Arguments(pub JsonObject);

impl Arguments {
    /// Returns an argument that is there.
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name).filter(|value| !value.is_null())
    }

    /// Returns the names that a tool with this schema does not know, as they can be shown: the first few of them.
    pub(crate) fn unknown(&self, schema: &Value) -> Vec<String> {
        let unknown = self.0.keys().filter(|name| schema["properties"].get(name.as_str()).is_none());
        unknown.take(MOST_UNKNOWN).map(|name| untrusted::clean_line(name, NAME_WIDTH)).collect()
    }

    /// Returns a string that must be there.
    ///
    /// # Errors
    ///
    /// The texts of the original: `required argument "x" not found`, `argument "x" is not a string`.
    pub fn text(&self, name: &str) -> Result<&str, Failure> {
        self.optional_text(name)?.ok_or_else(|| missing(name))
    }

    /// Returns a string that may be absent.
    ///
    /// # Errors
    ///
    /// `argument "x" is not a string`.
    pub fn optional_text(&self, name: &str) -> Result<Option<&str>, Failure> {
        match self.get(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(wrong(name, "a string")),
        }
    }

    /// Returns a string that says something, if there is one.
    ///
    /// # Errors
    ///
    /// `argument "x" is not a string`.
    pub fn filled_text(&self, name: &str) -> Result<Option<String>, Failure> {
        Ok(self.optional_text(name)?.filter(|text| !text.is_empty()).map(str::to_owned))
    }

    /// Returns something that has a text form and must be there.
    ///
    /// # Errors
    ///
    /// Those of [`Arguments::text`], and what is wrong with the text.
    pub fn parsed<T: FromStr<Err: Display>>(&self, name: &str) -> Result<T, Failure> {
        self.text(name)?
            .parse()
            .map_err(|error| Failure::new(format!("argument \"{name}\" is not good: {error}")))
    }

    /// Returns something that has a text form and may be absent.
    ///
    /// # Errors
    ///
    /// Those of [`Arguments::optional_text`], and what is wrong with the text.
    pub fn optional<T: FromStr<Err: Display>>(&self, name: &str) -> Result<Option<T>, Failure> {
        self.filled_text(name)?.map(|_| self.parsed(name)).transpose()
    }

    /// Returns whether something is wished; it is not when nothing is said.
    ///
    /// # Errors
    ///
    /// `argument "x" is not a boolean`.
    pub fn is(&self, name: &str) -> Result<bool, Failure> {
        match self.get(name) {
            None => Ok(false),
            Some(Value::Bool(is)) => Ok(*is),
            Some(_) => Err(wrong(name, "a boolean")),
        }
    }

    /// Returns a number, cut to a whole one and to what is allowed; `usual` for whatever is no number, as the original.
    pub fn count(&self, name: &str, usual: u64, most: u64) -> u64 {
        match self.get(name).and_then(Value::as_f64) {
            // Casts saturate, so that no number is too large.
            Some(number) if number >= 0.0 => (number as u64).min(most),
            _ => usual.min(most),
        }
    }

    /// Returns a number that may be absent.
    ///
    /// # Errors
    ///
    /// `argument "x" is not a number`.
    pub fn number(&self, name: &str) -> Result<Option<f64>, Failure> {
        match self.get(name) {
            None => Ok(None),
            Some(value) => value.as_f64().map(Some).ok_or_else(|| wrong(name, "a number")),
        }
    }

    /// Returns a list of strings; an empty one when it is absent.
    ///
    /// # Errors
    ///
    /// `argument "x" is not an array of strings`.
    pub fn texts(&self, name: &str) -> Result<Vec<String>, Failure> {
        let text = |value: &Value| value.as_str().map(str::to_owned);
        match self.get(name) {
            None => Ok(Vec::new()),
            Some(Value::Array(values)) => {
                let texts: Option<Vec<_>> = values.iter().map(text).collect();
                texts.ok_or_else(|| wrong(name, "an array of strings"))
            }
            Some(_) => Err(wrong(name, "an array of strings")),
        }
    }

    /// Returns named values. Numbers and booleans, which models write for what looks like one, count as their text.
    ///
    /// # Errors
    ///
    /// `argument "x" is not an object`, and the name of a value that is a list or an object: the original dropped it
    /// without a word.
    pub fn variables(&self, name: &str) -> Result<BTreeMap<String, String>, Failure> {
        let values = match self.get(name) {
            None => return Ok(BTreeMap::new()),
            Some(Value::Object(values)) => values,
            Some(_) => return Err(wrong(name, "an object")),
        };
        let mut variables = BTreeMap::new();
        for (key, value) in values {
            let text = match value {
                Value::Null => continue,
                Value::String(text) => text.clone(),
                Value::Bool(_) | Value::Number(_) => value.to_string(),
                Value::Array(_) | Value::Object(_) => {
                    return Err(wrong(&format!("{name}.{key}"), "a string"));
                }
            };
            variables.insert(key.clone(), text);
        }
        Ok(variables)
    }
}

pub(crate) fn missing(name: &str) -> Failure {
    Failure::new(format!("required argument \"{name}\" not found"))
}

fn wrong(name: &str, what: &str) -> Failure {
    Failure::new(format!("argument \"{name}\" is not {what}"))
}

/// Returns the word for what sort of JSON a value is.
pub(crate) fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn arguments(value: Value) -> Arguments {
        let Value::Object(members) = value else { panic!("an object") };
        Arguments(members)
    }

    #[test]
    fn what_is_wrong_is_told_in_the_words_of_the_original() {
        let arguments = arguments(json!({ "id": 3, "none": null, "env": { "A": [1] }, "list": ["a", 1] }));
        let told = |failure: Failure| failure.text;

        assert_eq!(told(arguments.text("x").expect_err("absent")), "required argument \"x\" not found");
        assert_eq!(told(arguments.text("none").expect_err("null")), "required argument \"none\" not found");
        assert_eq!(told(arguments.text("id").expect_err("a number")), "argument \"id\" is not a string");
        assert_eq!(told(arguments.is("id").expect_err("a number")), "argument \"id\" is not a boolean");
        let variables = arguments.variables("env").expect_err("a list in it");
        assert_eq!(told(variables), "argument \"env.A\" is not a string");
        let texts = arguments.texts("list").expect_err("a number in it");
        assert_eq!(told(texts), "argument \"list\" is not an array of strings");
    }

    #[test]
    fn counts_are_cut_and_what_is_no_number_is_the_usual() {
        for (given, expected) in [
            (json!(7), 7),
            (json!(7.9), 7),
            (json!(1e30), 1000),
            (json!("7"), 100),
            (json!(-1), 100),
            (json!(null), 100),
            (json!(0), 0),
        ] {
            assert_eq!(arguments(json!({ "tail": given })).count("tail", 100, 1000), expected, "{given}");
        }
    }

    #[test]
    fn d4_variables_that_look_like_numbers_are_kept() {
        let arguments = arguments(json!({ "env": { "PORT": 80, "DEBUG": true, "NONE": null, "TZ": "UTC" } }));

        let variables = arguments.variables("env").expect("variables");

        let expected = [("DEBUG", "true"), ("PORT", "80"), ("TZ", "UTC")];
        assert_eq!(variables, expected.map(|(name, value)| (name.to_owned(), value.to_owned())).into());
    }
}
