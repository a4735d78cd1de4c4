//! Where a setting's value comes from: flag before variable before file before default.

use std::{collections::BTreeMap, fmt};

use super::{environment::Environment, file::ConfigFile, value::Value};

/// One setting: its name, what it means, and where else it can be given.
#[derive(Debug)]
pub(crate) struct Setting {
    /// Its name in the file, with the section in front, such as `sandbox.memory`.
    pub(crate) key: &'static str,
    /// What it means, line by line.
    pub(crate) doc: &'static [&'static str],
    /// The variables that set it; the first one that is set wins.
    pub(crate) variables: &'static [&'static str],
    /// Its value when nobody sets it.
    pub(crate) initial: Initial,
    /// What values it takes.
    pub(crate) expected: &'static str,
    /// Whether its value must not be shown.
    pub(crate) is_secret: bool,
}

/// What a setting is without being set, as TOML.
#[derive(Debug)]
pub(crate) enum Initial {
    /// This value.
    Default(&'static str),
    /// Nothing; this is an example of a value.
    Example(&'static str),
}

/// Why the settings cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SettingsError {
    /// A value that the setting does not take.
    #[error("`{key}` (from {source_name}){shown} cannot be used: expected {expected}")]
    BadValue { key: &'static str, source_name: String, shown: Shown, expected: &'static str },
    /// A port variable that is no port.
    #[error("the variable {name} = `{text}` cannot be used: expected a port from 0 to 65535")]
    BadPort { name: &'static str, text: String },
    /// A name that no setting has.
    #[error("{source_name} sets `{key}`, which does not exist{suggestion}")]
    UnknownKey { key: String, source_name: String, suggestion: String },
    /// A secret where other users of the machine can read it.
    #[error(
        "`{key}` is a secret and cannot be given on the command line; use the variable {variable} or the file"
    )]
    SecretOnCommandLine { key: &'static str, variable: &'static str },
    /// Two settings that only work together.
    #[error("{0}")]
    Together(&'static str),
    /// A file that was named and cannot be read.
    #[error("cannot read the configuration file {path}: {source}")]
    Unreadable { path: String, source: std::io::Error },
    /// A file that is not TOML.
    #[error("{path} is not valid TOML: {message}")]
    NotToml { path: String, message: String },
}

/// A refused value; secrets show nothing.
#[derive(Debug)]
pub(crate) struct Shown(Option<String>);

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Some(text) => write!(f, " = `{}`", text.chars().take(100).collect::<String>()),
            None => Ok(()),
        }
    }
}

/// What the command line sets: each key with its text and the flag's name for messages.
#[derive(Debug, Default)]
pub(crate) struct Overrides(BTreeMap<&'static str, (String, String)>);

impl Overrides {
    /// Sets a key that has a flag of its own.
    pub(crate) fn set(&mut self, key: &'static str, flag: &str, text: Option<String>) {
        if let Some(text) = text {
            self.0.insert(key, (text, flag.to_owned()));
        }
    }

    /// Takes one `KEY=VALUE` of `--set`.
    pub(crate) fn set_any(&mut self, assignment: &str) -> Result<(), SettingsError> {
        let (key, text) = assignment.split_once('=').unwrap_or((assignment, ""));
        let key = key.trim();
        let setting = super::all().find(|setting| setting.key == key).ok_or_else(|| unknown(key, "--set"))?;
        if setting.is_secret {
            let variable = setting.variables.first().copied().unwrap_or("of the sample file");
            return Err(SettingsError::SecretOnCommandLine { key: setting.key, variable });
        }
        self.0.insert(setting.key, (text.trim().to_owned(), format!("--set {key}=…")));
        Ok(())
    }
}

/// Returns the error for a key that does not exist, with the nearest one that does.
pub(crate) fn unknown(key: &str, source_name: &str) -> SettingsError {
    let nearest = super::all().map(|setting| (distance(setting.key, key), setting.key)).min();
    let suggestion = match nearest {
        Some((distance, nearest)) if distance <= 3 => format!("; did you mean `{nearest}`?"),
        _ => "; `claw config sample` prints all settings".to_owned(),
    };
    SettingsError::UnknownKey {
        key: key.chars().take(100).collect(),
        source_name: source_name.to_owned(),
        suggestion,
    }
}

/// Returns how many letters must be added, removed or changed to make `b` of `a`.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().take(100).collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, a) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, b) in b.iter().enumerate() {
            let changed = diagonal + usize::from(a != *b);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

/// From which layer a value came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    Flag(String),
    Variable(&'static str),
    File(String),
    Default,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(flag) => write!(f, "the flag {flag}"),
            Self::Variable(name) => write!(f, "the variable {name}"),
            Self::File(path) => write!(f, "{path}"),
            Self::Default => f.write_str("the default"),
        }
    }
}

/// All layers, the highest first.
pub(crate) struct Layers<'a> {
    pub(crate) flags: &'a Overrides,
    pub(crate) environment: &'a Environment,
    pub(crate) file: Option<&'a ConfigFile>,
}

impl Layers<'_> {
    /// Returns a setting that has a default.
    pub(crate) fn required<T: Value>(&self, setting: &'static Setting) -> Result<T, SettingsError> {
        if let Some(value) = self.optional(setting)? {
            return Ok(value);
        }
        let Initial::Default(text) = setting.initial else {
            return Err(bad_value(setting, &Source::Default, None));
        };
        parse_literal(text)
            .and_then(|value| T::from_toml(&value))
            .ok_or_else(|| bad_value(setting, &Source::Default, Some(text.to_owned())))
    }

    /// Returns a setting if some layer above the defaults sets it.
    pub(crate) fn optional<T: Value>(&self, setting: &'static Setting) -> Result<Option<T>, SettingsError> {
        let source = self.source(setting);
        let (value, shown) = match &source {
            Source::Flag(_) => {
                let text = self.flags.0.get(setting.key).map(|(text, _)| text.as_str()).unwrap_or_default();
                (T::from_text(text), text.to_owned())
            }
            Source::Variable(name) => {
                let text = self.environment.get(name).unwrap_or_default();
                (T::from_text(text), text.to_owned())
            }
            Source::File(_) => match self.file.and_then(|file| file.get(setting.key)) {
                Some(value) => (T::from_toml(value), value.to_string()),
                None => return Ok(None),
            },
            Source::Default => return Ok(None),
        };
        value.map(Some).ok_or_else(|| bad_value(setting, &source, Some(shown)))
    }

    /// Returns the layer that decides about a setting.
    pub(crate) fn source(&self, setting: &Setting) -> Source {
        if let Some((_, flag)) = self.flags.0.get(setting.key) {
            return Source::Flag(flag.clone());
        }
        if let Some(name) =
            setting.variables.iter().copied().find(|name| self.environment.get(name).is_some())
        {
            return Source::Variable(name);
        }
        match self.file {
            Some(file) if file.get(setting.key).is_some() => Source::File(file.path.display().to_string()),
            _ => Source::Default,
        }
    }
}

fn bad_value(setting: &'static Setting, source: &Source, shown: Option<String>) -> SettingsError {
    SettingsError::BadValue {
        key: setting.key,
        source_name: source.to_string(),
        shown: Shown(shown.filter(|_| !setting.is_secret)),
        expected: setting.expected,
    }
}

/// Reads one TOML value.
pub(crate) fn parse_literal(text: &str) -> Option<toml::Value> {
    let mut table: toml::Table = format!("value = {text}").parse().ok()?;
    table.remove("value")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distance_counts_changed_letters() {
        for (a, b, expected) in
            [("", "", 0), ("abc", "abc", 0), ("abc", "axc", 1), ("memory", "memry", 1), ("a", "", 1)]
        {
            assert_eq!(distance(a, b), expected, "{a} {b}");
        }
    }
}
