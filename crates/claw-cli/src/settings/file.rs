//! The configuration file: where it is looked for, and that it sets nothing which does not exist.

use std::{
    io,
    path::{Path, PathBuf},
};

use super::{
    environment::Environment,
    layers::{SettingsError, unknown},
};

/// The file's name.
const FILE_NAME: &str = "clawmachine.toml";

/// A configuration file whose keys all exist.
#[derive(Debug)]
pub(crate) struct ConfigFile {
    pub(crate) path: PathBuf,
    table: toml::Table,
}

impl ConfigFile {
    /// Loads the file named by the flag or by `CLAW_CONFIG`, which must exist, or the first one found in the working
    /// folder, the user's configuration folder and `/etc/clawmachine`.
    pub(crate) fn find(
        named: Option<&Path>,
        environment: &Environment,
        working_dir: &Path,
    ) -> Result<Option<Self>, SettingsError> {
        if let Some(path) = named.or(environment.get("CLAW_CONFIG").map(Path::new)) {
            let path = environment.expand(path);
            let text = std::fs::read_to_string(&path)
                .map_err(|source| SettingsError::Unreadable { path: path.display().to_string(), source })?;
            return Self::parse(path, &text).map(Some);
        }
        let folders =
            [Some(working_dir.to_owned()), environment.config_dir(), Some("/etc/clawmachine".into())];
        for path in folders.into_iter().flatten().map(|folder| folder.join(FILE_NAME)) {
            match std::fs::read_to_string(&path) {
                Ok(text) => return Self::parse(path, &text).map(Some),
                Err(error)
                    if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {}
                // One that is there and cannot be read was meant to be used.
                Err(source) => {
                    return Err(SettingsError::Unreadable { path: path.display().to_string(), source });
                }
            }
        }
        Ok(None)
    }

    /// Parses `text`.
    pub(crate) fn parse(path: PathBuf, text: &str) -> Result<Self, SettingsError> {
        let table: toml::Table = text.parse().map_err(|error: toml::de::Error| {
            // The message's own excerpt of the file could show a secret.
            let line = error.span().map_or(0, |span| text[..span.start].matches('\n').count() + 1);
            let message = format!("{} in line {line}", error.message());
            SettingsError::NotToml { path: path.display().to_string(), message }
        })?;
        let file = Self { path, table };
        file.check_keys()?;
        Ok(file)
    }

    /// Returns the value of a key such as `sandbox.memory`.
    pub(crate) fn get(&self, key: &str) -> Option<&toml::Value> {
        match key.split_once('.') {
            Some((section, name)) => self.table.get(section)?.get(name),
            None => self.table.get(key),
        }
    }

    fn check_keys(&self) -> Result<(), SettingsError> {
        let source_name = self.path.display().to_string();
        let check = |key: String| match super::all().any(|setting| setting.key == key) {
            true => Ok(()),
            false => Err(unknown(&key, &source_name)),
        };
        for (name, value) in &self.table {
            match value {
                toml::Value::Table(section) if super::is_section(name) => {
                    section.keys().try_for_each(|key| check(format!("{name}.{key}")))?;
                }
                _ => check(name.clone())?,
            }
        }
        Ok(())
    }
}
