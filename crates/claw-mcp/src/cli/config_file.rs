//! The file of many hosts: `{"instances": {"<name>": {"url": "…", "key": "…", "label": "…"}}}`.
//!
//! Read as Go reads it: members in any letter case, unknown ones passed over, `null` as good as absent, the last of
//! several counts. The hosts keep the order of the file.

use claw_core::Secret;
use serde_json::{Map, Value};

/// A host as the file has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Instance {
    pub(crate) name: String,
    pub(crate) url: String,
    pub(crate) label: String,
    pub(crate) key: KeySource,
}

/// Where a host's key is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum KeySource {
    /// In the file itself.
    Here(Secret),
    /// In a file of its own.
    File(String),
    /// In a variable of the environment.
    Variable(String),
}

/// Reads the file's text.
///
/// # Errors
///
/// What is wrong, after the words of the original.
pub(crate) fn read(text: &str) -> Result<Vec<Instance>, String> {
    let parse = |problem: String| format!("parse config file: {problem}");
    let file: Value = serde_json::from_str(text.trim_start_matches('\u{feff}'))
        .map_err(|error| parse(error.to_string()))?;
    let file = object(&file, "the file").map_err(parse)?;
    let instances = match member(&file, "instances") {
        Some(instances) => object(instances, "instances").map_err(parse)?,
        None => Map::new(),
    };
    if instances.is_empty() {
        return Err("no instances defined in config".into());
    }
    instances.iter().map(|(name, members)| instance(name, members).map_err(parse)).collect()
}

fn instance(name: &str, members: &Value) -> Result<Instance, String> {
    let members = object(members, &format!("instances.{name}"))?;
    let text = |wanted: &str| match member(&members, wanted) {
        None => Ok(String::new()),
        Some(Value::String(text)) => Ok(text.clone()),
        Some(_) => Err(format!("instances.{name}.{wanted} is not a string")),
    };
    let sources = [
        (text("key")?, (|key| KeySource::Here(Secret::new(key))) as fn(String) -> KeySource),
        (text("key_file")?, KeySource::File),
        (text("key_env")?, KeySource::Variable),
    ];
    let mut given =
        sources.into_iter().filter(|(text, _)| !text.is_empty()).map(|(text, source)| source(text));
    let key = given.next().unwrap_or(KeySource::Here(Secret::new("")));
    if given.next().is_some() {
        return Err(format!("instances.{name} has more than one of key, key_file and key_env"));
    }
    Ok(Instance { name: name.to_owned(), url: text("url")?, label: text("label")?, key })
}

fn object(value: &Value, what: &str) -> Result<Map<String, Value>, String> {
    match value {
        Value::Object(members) => Ok(members.clone()),
        Value::Null => Ok(Map::new()),
        _ => Err(format!("{what} is not an object")),
    }
}

fn member<'a>(members: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    let found = members.iter().filter(|(key, _)| key.eq_ignore_ascii_case(name));
    found.map(|(_, value)| value).rfind(|value| !value.is_null())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn here(key: &str) -> KeySource {
        KeySource::Here(Secret::new(key))
    }

    #[test]
    fn d10_hosts_keep_the_order_of_the_file_and_members_are_known_in_any_letter_case() {
        let text = r#"{"version": 1, "Instances": {
            "zeta": {"URL": "http://z", "Key": "k1", "color": "red"},
            "alpha": {"url": "http://a", "label": "A", "key": "old", "KEY": "new"},
            "mid": {"url": "http://m", "key": null, "key_file": "/run/key"},
            "env": {"url": "http://e", "Key_Env": "THE_KEY"}
        }}"#;

        let found = read(text).expect("it can be read");

        let found: Vec<_> = found
            .iter()
            .map(|i| (i.name.as_str(), i.url.as_str(), i.label.as_str(), i.key.clone()))
            .collect();
        let expected = [
            ("zeta", "http://z", "", here("k1")),
            ("alpha", "http://a", "A", here("new")),
            ("mid", "http://m", "", KeySource::File("/run/key".into())),
            ("env", "http://e", "", KeySource::Variable("THE_KEY".into())),
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn what_cannot_be_read_is_told_in_the_words_of_the_original() {
        for text in ["{}", r#"{"instances":{}}"#, r#"{"instances":null}"#, "null"] {
            assert_eq!(read(text), Err("no instances defined in config".into()), "{text}");
        }
        for text in ["", "{", "[]", r#"{"instances":[]}"#, r#"{"instances":{"a":{"url":7}}}"#] {
            let problem = read(text).expect_err("no file of hosts");
            assert!(problem.starts_with("parse config file: "), "{text}: {problem}");
        }
    }

    #[test]
    fn d14_a_key_has_one_source_and_is_not_part_of_what_is_said() {
        let text = r#"{"instances":{"a":{"url":"http://a","key":"wag_live_x","key_env":"X"}}}"#;

        let problem = read(text).expect_err("two sources");

        assert!(problem.contains("more than one of key, key_file and key_env"), "{problem}");
        assert!(!problem.contains("wag_live_x"), "{problem}");
    }
}
