//! Sizes, durations and command lines as compose files write them.

use std::time::Duration;

use super::{cursor::Cursor, error::ComposeError, error::quoted};

/// Reads a number of bytes such as `512m`, `1gb` or `1048576`.
pub(crate) fn bytes(at: &Cursor<'_>) -> Result<u64, ComposeError> {
    let text = at.words()?;
    let wrong = || at.error(format!("`{}` is no size such as 512m or 2g", quoted(text)));
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let shift = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" => 0,
        "k" | "kb" => 10,
        "m" | "mb" => 20,
        "g" | "gb" => 30,
        "t" | "tb" => 40,
        _ => return Err(wrong()),
    };
    if let Ok(whole) = number.parse::<u64>() {
        return whole.checked_mul(1 << shift).ok_or_else(wrong);
    }
    let parts: f64 = number.parse().map_err(|_| wrong())?;
    let size = parts * (1_u64 << shift) as f64;
    // 2^53: below it every whole number of bytes has a value of its own.
    if size.is_finite() && size <= 9_007_199_254_740_992.0 { Ok(size as u64) } else { Err(wrong()) }
}

/// Reads a duration such as `90s`, `1m30s` or `1.5s`.
pub(crate) fn duration(at: &Cursor<'_>) -> Result<Duration, ComposeError> {
    let text = at.words()?;
    let wrong = || at.error(format!("`{}` is no duration such as 30s or 1m30s", quoted(text)));
    let mut total = Duration::ZERO;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(wrong)?;
        let (number, after) = rest.split_at(digits);
        let letters = after.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(after.len());
        let (unit, after) = after.split_at(letters);
        let seconds = match unit {
            "us" => 1e-6,
            "ms" => 1e-3,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            _ => return Err(wrong()),
        };
        let number: f64 = number.parse().map_err(|_| wrong())?;
        let part = Duration::try_from_secs_f64(number * seconds).map_err(|_| wrong())?;
        total = total.checked_add(part).ok_or_else(wrong)?;
        rest = after;
    }
    Ok(total)
}

/// Reads a command: a list of arguments, or a line that is split as a shell would split it. No shell runs it.
pub(crate) fn command(at: &Cursor<'_>) -> Result<Vec<String>, ComposeError> {
    match at.value() {
        super::yaml::Value::Scalar(line) => {
            split(line).ok_or_else(|| at.error("a quotation mark is not closed in the command"))
        }
        _ => at.texts(),
    }
}

/// Splits a command line at blanks, with quotation marks and backslashes as in a POSIX shell.
fn split(line: &str) -> Option<Vec<String>> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        match c {
            ' ' | '\t' | '\n' => words.extend(word.take()),
            '\'' => {
                let word = word.get_or_insert_default();
                loop {
                    match chars.next()? {
                        '\'' => break,
                        c => word.push(c),
                    }
                }
            }
            '"' => {
                let word = word.get_or_insert_default();
                loop {
                    match chars.next()? {
                        '"' => break,
                        '\\' => match chars.next()? {
                            c @ ('"' | '\\' | '$' | '`') => word.push(c),
                            '\n' => {}
                            c => word.extend(['\\', c]),
                        },
                        c => word.push(c),
                    }
                }
            }
            '\\' => match chars.next()? {
                '\n' => {}
                c => word.get_or_insert_default().push(c),
            },
            c => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    Some(words)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compose::yaml::{Node, Value};

    fn read<T>(text: &str, read: impl Fn(&Cursor<'_>) -> Result<T, ComposeError>) -> Option<T> {
        let node = Node { line: 1, value: Value::Scalar(text.to_owned()) };
        read(&Cursor::root(&node)).ok()
    }

    #[test]
    fn sizes_are_read() {
        for (text, expected) in [
            ("1024", Some(1024)),
            ("512m", Some(512 << 20)),
            ("1gb", Some(1 << 30)),
            ("1.5g", Some(3 << 29)),
            ("2 GB", Some(2 << 30)),
            ("64K", Some(65536)),
            ("-1", None),
            ("1x", None),
            ("", None),
            ("99999999999t", None),
            ("1e9", None),
            ("..", None),
        ] {
            assert_eq!(read(text, bytes), expected, "{text}");
        }
    }

    #[test]
    fn durations_are_read() {
        for (text, expected) in [
            ("30s", Some(Duration::from_secs(30))),
            ("1m30s", Some(Duration::from_secs(90))),
            ("1.5s", Some(Duration::from_millis(1500))),
            ("100ms", Some(Duration::from_millis(100))),
            ("2h", Some(Duration::from_secs(7200))),
            ("30", None),
            ("s", None),
            ("-5s", None),
            ("1d", None),
            ("99999999999999999999h", None),
        ] {
            assert_eq!(read(text, duration), expected, "{text}");
        }
    }

    #[test]
    fn commands_are_split_without_a_shell() {
        for (line, expected) in [
            ("serve --port 80", &["serve", "--port", "80"][..]),
            ("a 'b c' \"d e\" f\\ g", &["a", "b c", "d e", "f g"]),
            ("sh -c 'echo $HOME; id'", &["sh", "-c", "echo $HOME; id"]),
            ("a '' b", &["a", "", "b"]),
            ("a\"b\"'c'", &["abc"]),
            ("\"a\\\"b\\n\"", &["a\"b\\n"]),
            ("  ", &[]),
            ("a | b > c && d `id`", &["a", "|", "b", ">", "c", "&&", "d", "`id`"]),
        ] {
            assert_eq!(
                split(line).as_deref(),
                Some(expected.iter().map(|w| (*w).to_owned()).collect::<Vec<_>>()).as_deref(),
                "{line}"
            );
        }
        assert_eq!(split("a 'b"), None);
        assert_eq!(split("a \\"), None);
    }
}
