//! Variables in a file: `${NAME}`, `${NAME:-default}` and `$$`, from the given ones and from nowhere else.

use std::collections::BTreeMap;

use super::error::{ComposeError, quoted};

/// Largest value after variables were put in, in bytes.
const MAX_VALUE_BYTES: usize = 64 * 1024;

/// Puts `variables` into `text`. What comes out is a value: nothing looks into it for further variables.
pub(crate) fn interpolate(
    text: &str,
    line: usize,
    variables: &BTreeMap<String, String>,
) -> Result<String, ComposeError> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('$') {
        out.push_str(before);
        if let Some(after) = after.strip_prefix('$') {
            out.push('$');
            rest = after;
            continue;
        }
        let inside = after.strip_prefix('{').and_then(|after| after.split_once('}'));
        let Some((inside, after)) = inside else {
            let message = format!(
                "`{}`: write `${{NAME}}`, `${{NAME:-default}}`, or `$$` for a dollar sign",
                quoted(&rest[before.len()..])
            );
            return Err(ComposeError::new("", line, message));
        };
        let (name, default) = match inside.split_once(":-") {
            Some((name, default)) => (name, Some(default)),
            None => (inside, None),
        };
        if !is_variable_name(name) || default.is_some_and(|default| default.contains(['$', '{'])) {
            let message =
                format!("`${{{}}}`: only `${{NAME}}` and `${{NAME:-default}}` are taken", quoted(inside));
            return Err(ComposeError::new("", line, message));
        }
        let value = variables.get(name).map(String::as_str);
        match value.filter(|value| default.is_none() || !value.is_empty()).or(default) {
            Some(value) => out.push_str(value),
            None => {
                let message = format!("the variable `{name}` is not given");
                let error = ComposeError::new("", line, message);
                return Err(ComposeError { missing: Some(name.to_owned()), ..error });
            }
        }
        if out.len() > MAX_VALUE_BYTES {
            let message = format!("the value is longer than {MAX_VALUE_BYTES} bytes with its variables");
            return Err(ComposeError::new("", line, message));
        }
        rest = after;
    }
    out.push_str(rest);
    Ok(out)
}

/// Tells whether `name` can name an environment variable.
pub(crate) fn is_variable_name(name: &str) -> bool {
    name.len() <= 128
        && name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(text: &str) -> Result<String, String> {
        let variables = [("NAME", "web"), ("EMPTY", ""), ("TRICK", "${NAME} $$ `id` $(id)")];
        let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        interpolate(text, 1, &variables).map_err(|error| error.message)
    }

    #[test]
    fn given_variables_and_defaults_are_put_in() {
        for (text, expected) in [
            ("plain", "plain"),
            ("${NAME}", "web"),
            ("a-${NAME}-b-${NAME}", "a-web-b-web"),
            ("${NAME:-other}", "web"),
            ("${ABSENT:-other}", "other"),
            ("${EMPTY:-other}", "other"),
            ("${EMPTY}", ""),
            ("${ABSENT:-}", ""),
            ("100$$", "100$"),
            ("$${NAME}", "${NAME}"),
            ("$$$${NAME}", "$${NAME}"),
        ] {
            assert_eq!(put(text).as_deref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_comes_out_of_a_variable_is_not_looked_into_again() {
        assert_eq!(put("${TRICK}").as_deref(), Ok("${NAME} $$ `id` $(id)"));
    }

    #[test]
    fn t9_the_servers_own_environment_is_out_of_reach() {
        for text in ["${PATH}", "${HOME}", "${CLAW_API_TOKEN}", "${ANTHROPIC_API_KEY}"] {
            assert!(put(text).expect_err(text).contains("is not given"), "{text}");
        }
    }

    #[test]
    fn every_other_form_is_refused() {
        for text in [
            "$NAME",
            "${NAME",
            "${}",
            "${NAME-x}",
            "${NAME:?x}",
            "${NAME:+x}",
            "${NAME?x}",
            "${1A}",
            "${A B}",
            "${A:-${NAME}}",
            "$(id)",
            "$",
            "a$",
            "${!NAME}",
            "${NAME//a/b}",
            "${ NAME }",
            "${NAME:-$$}",
        ] {
            assert!(put(text).is_err(), "{text}");
        }
    }
}
