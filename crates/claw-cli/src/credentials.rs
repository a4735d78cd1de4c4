//! Keys that `claw setup` stored, one for each server, readable by their owner alone.

use std::{
    collections::BTreeMap,
    fs::{self, OpenOptions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use claw_core::{ErrorCode, Secret};
use serde::{Deserialize, Serialize};

use crate::error::CliError;

/// One stored key.
#[derive(Clone, Debug)]
pub(crate) struct StoredKey {
    pub(crate) key: Secret,
    /// Its id on the server, for finding it in `claw key list`.
    pub(crate) id: String,
    /// Name of the installation, if its data folder was at hand. Finds the key again when the address changes.
    pub(crate) instance: Option<String>,
}

/// `~/.config/clawmachine/credentials.toml`.
#[derive(Clone, Debug)]
pub(crate) struct CredentialFile {
    path: PathBuf,
}

#[derive(Default, Deserialize, Serialize)]
struct Stored {
    #[serde(default)]
    servers: BTreeMap<String, StoredServer>,
}

#[derive(Deserialize, Serialize)]
struct StoredServer {
    key: String,
    #[serde(default)]
    id: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    instance: Option<String>,
}

impl CredentialFile {
    pub(crate) fn in_folder(folder: &Path) -> Self {
        Self { path: folder.join("credentials.toml") }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the keys by server address. A file that others can read is refused, as ssh does.
    pub(crate) fn load(&self) -> Result<BTreeMap<String, StoredKey>, CliError> {
        let path = self.path.display();
        let metadata = match fs::metadata(&self.path) {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
            Err(error) => return Err(self.error("read", &error)),
        };
        if metadata.mode() & 0o077 != 0 {
            let message = format!("{path} can be read by other users, so its keys are not used");
            return Err(
                CliError::new(ErrorCode::InvalidKey, message).with_hint(format!("run `chmod 600 {path}`"))
            );
        }
        let text = fs::read_to_string(&self.path).map_err(|error| self.error("read", &error))?;
        // The parser's message would show the line, and with it a key.
        let stored: Stored = toml::from_str(&text).map_err(|_| {
            CliError::new(ErrorCode::InvalidKey, format!("{path} is damaged"))
                .with_hint("delete it and set CLAW_API_KEY, or make a new key on the server")
        })?;
        let entries = stored.servers.into_iter();
        Ok(entries
            .map(|(url, entry)| {
                (url, StoredKey { key: Secret::new(entry.key), id: entry.id, instance: entry.instance })
            })
            .collect())
    }

    /// Replaces the file in one step, so that a crash leaves the old one or the new one.
    pub(crate) fn save(&self, keys: &BTreeMap<String, StoredKey>) -> Result<(), CliError> {
        self.try_save(keys).map_err(|error| self.error("write", &error))
    }

    fn try_save(&self, keys: &BTreeMap<String, StoredKey>) -> io::Result<()> {
        let servers = keys
            .iter()
            .map(|(url, stored)| {
                let StoredKey { key, id, instance } = stored.clone();
                (url.clone(), StoredServer { key: key.expose().to_owned(), id, instance })
            })
            .collect();
        let text = toml::to_string(&Stored { servers }).map_err(io::Error::other)?;
        if let Some(folder) = self.path.parent() {
            fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        }
        let temporary = self.path.with_extension(format!("{}.tmp", std::process::id()));
        let outcome = (|| {
            let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
            file.write_all(b"# API keys of ClawMachine servers, stored by `claw setup`.\n")?;
            file.write_all(text.as_bytes())?;
            file.sync_all()?;
            fs::rename(&temporary, &self.path)
        })();
        if outcome.is_err() {
            // What made writing fail may make this fail too; the first error is the one to show.
            let _ = fs::remove_file(&temporary);
        }
        outcome
    }

    fn error(&self, action: &str, error: &io::Error) -> CliError {
        CliError::new(ErrorCode::Internal, format!("cannot {action} {}: {error}", self.path.display()))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn file() -> (tempfile::TempDir, CredentialFile) {
        let folder = tempfile::tempdir().expect("a folder");
        let file = CredentialFile::in_folder(&folder.path().join("config/clawmachine"));
        (folder, file)
    }

    fn one_key() -> BTreeMap<String, StoredKey> {
        let key = StoredKey {
            key: Secret::new("wag_live_x"),
            id: "1".into(),
            instance: Some("0123456789ab".into()),
        };
        BTreeMap::from([("http://127.0.0.1:5179".to_owned(), key)])
    }

    #[test]
    fn what_was_stored_is_found_again_and_belongs_to_its_owner_alone() {
        let (_folder, file) = file();

        file.save(&one_key()).expect("stored");

        let loaded = file.load().expect("loaded");
        assert_eq!(loaded["http://127.0.0.1:5179"].key, Secret::new("wag_live_x"));
        assert_eq!(fs::metadata(file.path()).expect("a file").mode() & 0o777, 0o600);
        let folder = file.path().parent().expect("a folder");
        assert_eq!(fs::metadata(folder).expect("a folder").mode() & 0o777, 0o700);
        assert_eq!(fs::read_dir(folder).expect("a folder").count(), 1, "no temporary file is left");
    }

    #[test]
    fn a_file_that_others_can_read_is_refused_with_the_way_to_mend_it() {
        let (_folder, file) = file();
        file.save(&one_key()).expect("stored");
        fs::set_permissions(file.path(), fs::Permissions::from_mode(0o644)).expect("changed");

        let error = file.load().expect_err("refused");

        assert!(error.hint().is_some_and(|hint| hint.contains("chmod 600")), "{error:?}");
    }

    #[test]
    fn a_damaged_file_does_not_show_its_keys() {
        let (_folder, file) = file();
        file.save(&BTreeMap::new()).expect("stored");
        fs::write(file.path(), "[servers]\nx = { key = \"wag_live_secret\" bad").expect("written");

        let error = file.load().expect_err("refused");

        assert!(!format!("{error:?}").contains("wag_live_secret"), "{error:?}");
    }

    #[test]
    fn no_file_means_no_keys() {
        let (_folder, file) = file();

        assert!(file.load().expect("nothing").is_empty());
    }
}
