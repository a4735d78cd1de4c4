//! The process's environment, read once. No other place of the program reads it.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

/// The environment variables at start, or a test's stand-in for them.
#[derive(Clone, Default)]
pub(crate) struct Environment(BTreeMap<String, String>);

impl Environment {
    /// Reads the process's variables. What is not UTF-8 is kept in a readable form, so that its value is refused by
    /// whoever parses it and not taken for absent.
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the environment")]
    pub(crate) fn capture() -> Self {
        let text = |os: std::ffi::OsString| os.to_string_lossy().into_owned();
        Self(std::env::vars_os().map(|(name, value)| (text(name), text(value))).collect())
    }

    /// Returns a variable's value. An empty one counts as unset: compose files write `NAME=${NAME:-}`.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// Returns the user's home folder.
    pub(crate) fn home(&self) -> Option<PathBuf> {
        self.get("HOME").map(PathBuf::from)
    }

    /// Returns the folder for this program's own configuration: `$XDG_CONFIG_HOME/clawmachine` or
    /// `~/.config/clawmachine`.
    pub(crate) fn config_dir(&self) -> Option<PathBuf> {
        // The specification of XDG says to ignore relative paths.
        let xdg = self.get("XDG_CONFIG_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
        let base = xdg.or_else(|| self.home().map(|home| home.join(".config")))?;
        Some(base.join("clawmachine"))
    }

    /// Replaces a leading `~` by the home folder and makes the path absolute.
    pub(crate) fn expand(&self, path: &Path) -> PathBuf {
        let expanded = match (path.strip_prefix("~"), self.home()) {
            (Ok(rest), Some(home)) => home.join(rest),
            _ => path.to_owned(),
        };
        // Fails only for an empty path or without a working folder; the path as given then shows in the next error.
        std::path::absolute(&expanded).unwrap_or(expanded)
    }
}

#[cfg(test)]
impl Environment {
    pub(crate) fn insert(&mut self, name: &str, value: &str) {
        self.0.insert(name.to_owned(), value.to_owned());
    }
}

#[cfg(test)]
impl<const N: usize> From<[(&str, &str); N]> for Environment {
    fn from(pairs: [(&str, &str); N]) -> Self {
        Self(pairs.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tilde_is_the_home_folder_and_only_at_the_beginning() {
        let environment = Environment::from([("HOME", "/home/me")]);

        assert_eq!(environment.expand(Path::new("~/.claw")), Path::new("/home/me/.claw"));
        assert_eq!(environment.expand(Path::new("/a/~/b")), Path::new("/a/~/b"));
        assert!(environment.expand(Path::new("data")).is_absolute());
    }

    #[test]
    fn an_empty_variable_is_unset() {
        let environment =
            Environment::from([("CLAW_API_TOKEN", ""), ("HOME", "/h"), ("XDG_CONFIG_HOME", "rel")]);

        assert_eq!(environment.get("CLAW_API_TOKEN"), None);
        assert_eq!(environment.config_dir(), Some("/h/.config/clawmachine".into()));
    }
}
