//! The file that a login is kept in: read, and replaced as a whole.

use std::{
    io::{Seek, SeekFrom, Write},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    time::SystemTime,
};

use claw_core::{Secret, Timestamp};
use rustix::{
    fs::{CWD, Mode, OFlags},
    process::geteuid,
};
use serde_json::{Map, Value};
use tempfile::NamedTempFile;

use super::{
    folder_of,
    refresh::{RefreshError, Renewed},
};
use crate::gateway::credential::CredentialError;

/// Largest login file that is read. Real ones have less than 2 kB.
const MAX_BYTES: u64 = 1024 * 1024;

/// Room that is made sure of for what a renewal adds.
const ROOM_BYTES: usize = 16 * 1024;

/// What tells one state of the file from another.
pub(super) type Stamp = (SystemTime, u64, u64);

/// What matters of a login.
#[derive(Clone)]
pub(super) struct Login {
    pub(super) access_token: Secret,
    pub(super) refresh_token: Option<Secret>,
    pub(super) expires_at_ms: Option<i64>,
    first_seen_ms: Option<i64>,
}

pub(super) enum Found {
    Unchanged,
    Login(Stamp, Login),
}

impl Login {
    fn of(document: &Map<String, Value>) -> Option<Self> {
        let login = document.get("claudeAiOauth")?.as_object()?;
        let secret = |name: &str| login.get(name)?.as_str().filter(|text| !text.is_empty()).map(Secret::new);
        let number = |name: &str| login.get(name).and_then(Value::as_i64);
        Some(Self {
            access_token: secret("accessToken")?,
            refresh_token: secret("refreshToken"),
            expires_at_ms: number("expiresAt"),
            first_seen_ms: number("_refreshTokenFirstSeen"),
        })
    }

    pub(super) fn expires_at(&self) -> Option<Timestamp> {
        Timestamp::from_millisecond(self.expires_at_ms?).ok()
    }

    pub(super) fn first_seen(&self) -> Option<Timestamp> {
        Timestamp::from_millisecond(self.first_seen_ms?).ok()
    }
}

/// Reads the login, unless the file is as it was.
pub(super) async fn read(path: &Path, known: Option<Stamp>) -> Result<Found, CredentialError> {
    let unreadable = |reason| CredentialError::Unreadable { path: path.to_owned(), reason };
    let metadata = match tokio::fs::metadata(path).await {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Err(CredentialError::Missing),
        Err(_) => return Err(unreadable("no permission or a broken disk")),
    };
    let modified = metadata.modified().map_err(|_| unreadable("no time of change"))?;
    let stamp = (modified, metadata.len(), metadata.ino());
    if metadata.len() > MAX_BYTES || !metadata.is_file() {
        return Err(unreadable("not a login file"));
    }
    if known == Some(stamp) {
        return Ok(Found::Unchanged);
    }
    let bytes = tokio::fs::read(path).await.map_err(|_| unreadable("no permission or a broken disk"))?;
    let document: Map<String, Value> =
        serde_json::from_slice(&bytes).map_err(|_| unreadable("not a login file"))?;
    let login = Login::of(&document).ok_or_else(|| unreadable("not a login file"))?;
    Ok(Found::Login(stamp, login))
}

/// The file that a renewed login goes to. Where the login is a link, that is what the link leads to, and only if it is a
/// plain file that belongs to us: a link is never replaced, and nobody else's file is written.
pub(super) struct Target {
    path: PathBuf,
}

/// All that the file holds.
pub(super) struct Document(Map<String, Value>);

/// A file beside the target that has room for what will replace it.
pub(super) struct Draft {
    file: NamedTempFile,
    target: PathBuf,
}

impl Target {
    pub(super) async fn of(path: &Path) -> Result<Self, RefreshError> {
        let path = tokio::fs::canonicalize(path).await.map_err(RefreshError::write)?;
        let metadata = tokio::fs::symlink_metadata(&path).await.map_err(RefreshError::write)?;
        if !metadata.is_file() || metadata.uid() != geteuid().as_raw() {
            return Err(RefreshError::NotOurs);
        }
        Ok(Self { path })
    }

    pub(super) fn folder(&self) -> &Path {
        folder_of(&self.path)
    }

    pub(super) async fn read(&self) -> Result<Document, RefreshError> {
        let bytes = tokio::fs::read(&self.path).await.map_err(RefreshError::write)?;
        let read = bytes.len() as u64 <= MAX_BYTES;
        let document = read.then(|| serde_json::from_slice(&bytes).ok()).flatten();
        document.map(Document).ok_or(RefreshError::Unreadable)
    }

    /// Makes a file, readable by us alone, that is as large as the new one will be.
    pub(super) async fn draft(&self, document: &Document) -> Result<Draft, RefreshError> {
        let (folder, target) = (self.folder().to_owned(), self.path.clone());
        let bytes = document.bytes().len() + ROOM_BYTES;
        blocking(move || {
            let mut file =
                tempfile::Builder::new().prefix(".credentials-").suffix(".tmp").tempfile_in(folder)?;
            file.write_all(&vec![b' '; bytes])?;
            file.as_file().sync_all()?;
            Ok(Draft { file, target })
        })
        .await
    }
}

impl Draft {
    /// Puts the new content in the target's place, at once and durably.
    pub(super) async fn commit(mut self, document: Document) -> Result<(), RefreshError> {
        blocking(move || {
            let bytes = document.bytes();
            self.file.seek(SeekFrom::Start(0))?;
            self.file.write_all(&bytes)?;
            self.file.as_file().set_len(bytes.len() as u64)?;
            self.file.as_file().sync_all()?;
            self.file.persist(&self.target).map_err(|error| error.error)?;
            let folder = rustix::fs::openat(
                CWD,
                folder_of(&self.target),
                OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC,
                Mode::empty(),
            )?;
            Ok(rustix::fs::fsync(folder)?)
        })
        .await
    }
}

impl Document {
    pub(super) fn login(&self) -> Option<Login> {
        Login::of(&self.0)
    }

    /// Returns the document with the renewed login. All else stays as it was.
    pub(super) fn renewed(mut self, renewed: &Renewed, now: Timestamp) -> Self {
        let expires_at = now.as_millisecond().saturating_add_unsigned(renewed.expires_in.as_millis() as u64);
        if let Some(Value::Object(login)) = self.0.get_mut("claudeAiOauth") {
            login.insert("accessToken".to_owned(), renewed.access_token.expose().into());
            login.insert("expiresAt".to_owned(), expires_at.into());
            if let Some(token) = &renewed.refresh_token
                && login.get("refreshToken").and_then(Value::as_str) != Some(token.expose())
            {
                login.insert("refreshToken".to_owned(), token.expose().into());
                login.insert("_refreshTokenFirstSeen".to_owned(), now.as_millisecond().into());
            }
        }
        self
    }

    fn bytes(&self) -> Vec<u8> {
        // A map with text keys always becomes JSON.
        serde_json::to_vec(&self.0).unwrap_or_default()
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> std::io::Result<T> + Send + 'static,
) -> Result<T, RefreshError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done.map_err(RefreshError::write),
        Err(_) => Err(RefreshError::Write { reason: "it was interrupted".to_owned() }),
    }
}
