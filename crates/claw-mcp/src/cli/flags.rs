//! Flags as programs in Go have them: one dash or two, `-flag value` or `-flag=value`, and what is no flag ends them.

use std::collections::HashMap;

/// How a flag takes its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The last one counts.
    Text,
    /// Each one counts.
    List,
    /// On, unless it is told otherwise.
    Switch,
}

/// A flag, as data.
#[derive(Debug)]
pub(crate) struct Flag {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    pub(crate) default: &'static str,
    help: &'static str,
}

const fn text(name: &'static str, default: &'static str, help: &'static str) -> Flag {
    Flag { name, kind: Kind::Text, default, help }
}

const fn list(name: &'static str, help: &'static str) -> Flag {
    Flag { name, kind: Kind::List, default: "", help }
}

const fn switch(name: &'static str, help: &'static str) -> Flag {
    Flag { name, kind: Kind::Switch, default: "", help }
}

/// Every flag, in the order of their names.
pub(crate) const FLAGS: [Flag; 13] = [
    list(
        "allow-host",
        "host name to answer to over HTTP, besides loopback names and the own address (repeat for more)",
    ),
    list("allow-origin", "origin whose web pages may use the server over HTTP (repeat for more)"),
    text("api-key", "", "API key (or WAGMIOS_API_KEY)"),
    text("api-key-file", "", "file that holds the API key (or WAGMIOS_API_KEY_FILE)"),
    text("api-url", "", "URL of the server (or WAGMIOS_API_URL)"),
    text(
        "config",
        "",
        "JSON file with many hosts; the flags and variables of one host are not looked at then",
    ),
    text("http-addr", "127.0.0.1:8080", "address to listen on with -transport http"),
    switch("read-only", "offer no tool that changes anything"),
    text(
        "sse-addr",
        ":8080",
        "address to listen on with -transport sse; without a host, loopback unless there is a token",
    ),
    text("sse-base-url", "", "public URL in front of the message endpoint of SSE"),
    text(
        "token-file",
        "",
        "file with the token that HTTP clients must send (or CLAWMACHINE_TOKEN); needed off loopback",
    ),
    text("transport", "stdio", "stdio, http or sse"),
    switch("version", "print the version and exit"),
];

/// What was found on a command line.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Found {
    Help,
    Values(Values),
}

/// The flags that were given.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Values(HashMap<&'static str, Vec<String>>);

impl Values {
    /// Returns a text, or its default. Empty is as good as not given.
    pub(crate) fn text(&self, name: &str) -> &str {
        let default = FLAGS.iter().find(|flag| flag.name == name).map_or("", |flag| flag.default);
        self.given(name).unwrap_or(default)
    }

    /// Returns a text, if one was given.
    pub(crate) fn given(&self, name: &str) -> Option<&str> {
        self.list(name).last().map(String::as_str)
    }

    /// Returns every value that was given.
    pub(crate) fn list(&self, name: &str) -> &[String] {
        self.0.get(name).map_or(&[], Vec::as_slice)
    }

    /// Tells whether a switch is on.
    pub(crate) fn is_on(&self, name: &str) -> bool {
        self.given(name).is_some_and(is_true)
    }
}

/// Reads a command line without the program's name.
///
/// # Errors
///
/// The words of Go's flag package.
pub(crate) fn read(arguments: &[String]) -> Result<Found, String> {
    let mut values = Values::default();
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        let Some(name) = argument.strip_prefix('-').filter(|name| !name.is_empty()) else { break };
        let name = name.strip_prefix('-').unwrap_or(name);
        if name.is_empty() {
            break;
        }
        if name.starts_with(['-', '=']) {
            return Err(format!("bad flag syntax: {argument}"));
        }
        let (name, value) = match name.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (name, None),
        };
        let Some(flag) = FLAGS.iter().find(|flag| flag.name == name) else {
            if matches!(name, "h" | "help") {
                return Ok(Found::Help);
            }
            return Err(format!("flag provided but not defined: -{name}"));
        };
        let value = match (flag.kind, value) {
            (Kind::Switch, None) => "true".to_owned(),
            (Kind::Switch, Some(value)) if !is_true(&value) && !is_false(&value) => {
                return Err(format!("invalid boolean value {value:?} for -{name}: parse error"));
            }
            (_, Some(value)) => value,
            (_, None) => rest.next().cloned().ok_or_else(|| format!("flag needs an argument: -{name}"))?,
        };
        values.0.entry(flag.name).or_default().push(value);
    }
    Ok(Found::Values(values))
}

fn is_true(text: &str) -> bool {
    matches!(text, "1" | "t" | "T" | "true" | "TRUE" | "True")
}

fn is_false(text: &str) -> bool {
    matches!(text, "0" | "f" | "F" | "false" | "FALSE" | "False")
}

/// Returns the usage.
pub(crate) fn usage(program: &str) -> String {
    let mut usage = format!("Usage of {program}:\n");
    for Flag { name, kind, default, help } in &FLAGS {
        let value = if *kind == Kind::Switch { "" } else { " string" };
        let default = if default.is_empty() { String::new() } else { format!(" (default {default:?})") };
        usage.push_str(&format!("  -{name}{value}\n    \t{help}{default}\n"));
    }
    usage.push_str(&format!(
        "\n{program} config <client> prints what to write into a client's configuration.\n"
    ));
    usage
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(line: &str) -> Result<Found, String> {
        read(&line.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
    }

    #[track_caller]
    fn values(line: &str) -> Values {
        match found(line) {
            Ok(Found::Values(values)) => values,
            other => panic!("{line}: {other:?}"),
        }
    }

    #[test]
    fn one_dash_or_two_and_both_forms_of_a_value_mean_the_same() {
        for line in ["-api-url http://h", "--api-url http://h", "-api-url=http://h", "--api-url=http://h"] {
            assert_eq!(values(line).text("api-url"), "http://h", "{line}");
        }
        assert_eq!(values("-api-key a=b=c").text("api-key"), "a=b=c");
        assert_eq!(values("-api-key=a=b").text("api-key"), "a=b");
        assert_eq!(values("-api-key -version").text("api-key"), "-version", "a value may look like a flag");
    }

    #[test]
    fn the_last_text_counts_and_every_entry_of_a_list() {
        let values = values("-transport sse -transport http -allow-host a -allow-host b");

        assert_eq!(values.text("transport"), "http");
        assert_eq!(values.list("allow-host"), ["a", "b"]);
        assert_eq!(values.text("http-addr"), "127.0.0.1:8080");
    }

    #[test]
    fn what_is_no_flag_ends_them() {
        for line in ["serve -version", "-- -version", "- -version"] {
            assert_eq!(values(line), Values::default(), "{line}");
        }
        assert!(!values("-read-only false -version").is_on("version"), "a switch takes no word after it");
    }

    #[test]
    fn switches_take_what_go_takes_for_true_and_false() {
        for (line, expected) in [
            ("-version", true),
            ("-version=true", true),
            ("-version=T", true),
            ("-version=1", true),
            ("-version=false", false),
            ("-version=0", false),
            ("", false),
        ] {
            assert_eq!(values(line).is_on("version"), expected, "{line}");
        }
    }

    #[test]
    fn mistakes_are_told_in_the_words_of_go() {
        for (line, expected) in [
            ("-nonsense", "flag provided but not defined: -nonsense"),
            ("--nonsense=1", "flag provided but not defined: -nonsense"),
            ("-api-url", "flag needs an argument: -api-url"),
            ("---api-url x", "bad flag syntax: ---api-url"),
            ("-=x", "bad flag syntax: -=x"),
            ("-version=maybe", "invalid boolean value \"maybe\" for -version: parse error"),
        ] {
            assert_eq!(found(line), Err(expected.to_owned()), "{line}");
        }
        for line in ["-h", "--help", "-help", "-api-url x -h"] {
            assert_eq!(found(line), Ok(Found::Help), "{line}");
        }
    }

    #[test]
    fn the_usage_names_every_flag_in_order() {
        let usage = usage("clawmachine");

        assert!(FLAGS.is_sorted_by_key(|flag| flag.name));
        assert!(usage.starts_with("Usage of clawmachine:\n  -allow-host string\n    \t"), "{usage}");
        assert!(
            usage.contains("  -transport string\n    \tstdio, http or sse (default \"stdio\")\n"),
            "{usage}"
        );
        assert!(usage.contains("  -version\n    \t"), "{usage}");
    }
}
