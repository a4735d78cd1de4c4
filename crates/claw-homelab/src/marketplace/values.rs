//! The values of an install's variables, in a file like those that Compose reads beside a compose file.

use std::{collections::BTreeMap, fmt::Write as _};

use claw_core::ErrorCode;

use super::MarketplaceError;
use crate::compose::is_variable_name;

/// Characters of a password. Nothing that shells, addresses or connection strings take for something else, and no two
/// that look alike.
const ALPHABET: &[u8; 53] = b"abcdefghijkmnpqrstuvwxyzACDEFGHJKLMNPQRTUVWXYZ2346789";

/// Length of a made-up password: 32 of 53 different characters are 183 bits, and some programs want exactly so many.
const PASSWORD_CHARS: usize = 32;

/// Writes values, one a line.
pub(crate) fn write(values: &BTreeMap<String, String>) -> String {
    let mut text = String::from("# Values of this app's variables. Restart the app after a change.\n");
    for (name, value) in values {
        let plain = |c: char| c.is_ascii_alphanumeric() || "_-./:@%+,=".contains(c);
        if value.chars().all(plain) {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "{name}={value}");
        } else {
            let mut quoted = String::with_capacity(value.len() + 2);
            for c in value.chars() {
                if matches!(c, '"' | '\\' | '$') {
                    quoted.push('\\');
                }
                quoted.push(c);
            }
            let _ = writeln!(text, "{name}=\"{quoted}\"");
        }
    }
    text
}

/// Reads what [`write`] wrote, or what somebody made of it.
pub(crate) fn read(text: &str) -> Result<BTreeMap<String, String>, MarketplaceError> {
    let mut values = BTreeMap::new();
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let wrong = |what: &str| {
            let message = format!(".env, line {}: {what}", index + 1);
            MarketplaceError::invalid(ErrorCode::InvalidEnv, message)
        };
        let (name, value) = line.split_once('=').ok_or_else(|| wrong("expected NAME=value"))?;
        let name = name.trim();
        if !is_variable_name(name) {
            return Err(wrong("this is no name for a variable"));
        }
        let value = value.trim();
        let value = if let Some(inner) = value.strip_prefix('"') {
            unquote(inner).ok_or_else(|| wrong("the quotation mark is not closed at the end of the line"))?
        } else if let Some(inner) = value.strip_prefix('\'') {
            let inner = inner.strip_suffix('\'').filter(|inner| !inner.contains('\''));
            inner.ok_or_else(|| wrong("the quotation mark is not closed at the end of the line"))?.to_owned()
        } else {
            value.to_owned()
        };
        check_value(name, &value)?;
        values.insert(name.to_owned(), value);
    }
    Ok(values)
}

fn unquote(inner: &str) -> Option<String> {
    let mut value = String::with_capacity(inner.len());
    let mut chars = inner.chars();
    loop {
        match chars.next()? {
            '"' => return chars.next().is_none().then_some(value),
            '\\' => match chars.next()? {
                c @ ('"' | '\\' | '$') => value.push(c),
                c => value.extend(['\\', c]),
            },
            c => value.push(c),
        }
    }
}

/// Checks a name and a value that somebody gave.
pub(crate) fn check(name: &str, value: &str) -> Result<(), MarketplaceError> {
    if !is_variable_name(name) {
        let message = format!(
            "`{}` is no name for a variable: letters, digits and `_`, and no digit first",
            crate::compose::quoted(name)
        );
        return Err(MarketplaceError::invalid(ErrorCode::InvalidEnv, message));
    }
    check_value(name, value)
}

fn check_value(name: &str, value: &str) -> Result<(), MarketplaceError> {
    if value.len() > 8192 || value.chars().any(char::is_control) {
        let message =
            format!("the value of `{name}` is one line of at most 8192 bytes without control characters");
        return Err(MarketplaceError::invalid(ErrorCode::InvalidEnv, message));
    }
    Ok(())
}

/// Makes up a password.
pub(crate) fn password() -> String {
    let mut password = String::with_capacity(PASSWORD_CHARS);
    while password.len() < PASSWORD_CHARS {
        let mut bytes = [0_u8; 64];
        rand::fill(&mut bytes);
        for byte in bytes {
            // Only the first 4 × 53 values, so that every character is as likely as the others.
            let even = usize::from(byte) < 256 - 256 % ALPHABET.len();
            if even && password.len() < PASSWORD_CHARS {
                password.push(char::from(ALPHABET[usize::from(byte) % ALPHABET.len()]));
            }
        }
    }
    password
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        let values: BTreeMap<String, String> = [
            ("A", "plain"),
            ("B", "two words"),
            ("C", "a\"b\\c$d'e`f"),
            ("D", ""),
            ("E", "#no comment"),
            ("F", "${A} $(id)"),
            ("G", " blanks around "),
            ("H", "ünïcode"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into();

        assert_eq!(read(&write(&values)).expect("own file"), values);
    }

    #[test]
    fn a_file_edited_by_people_is_read() {
        let text = "# mine\n\n A = one\nB='two words'\nC=\"x\"\n";

        let values = read(text).expect("a file");

        assert_eq!(values["A"], "one");
        assert_eq!(values["B"], "two words");
        assert_eq!(values["C"], "x");
        for wrong in ["no equals", "1A=x", "A=\"open", "A='open", "A=\"x\" y", "A B=c", "A=\u{1b}[31m"] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn made_up_passwords_are_long_and_never_the_same() {
        let (one, other) = (password(), password());

        assert_eq!(one.len(), PASSWORD_CHARS);
        assert_ne!(one, other);
        assert!(one.chars().all(|c| c.is_ascii_alphanumeric()));
    }
}
