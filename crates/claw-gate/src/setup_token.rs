//! The one-time setup token and the file that keeps it across restarts.

use std::{
    io,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
};

use claw_core::Secret;
use tokio::{
    fs::{self, File, OpenOptions},
    io::{AsyncReadExt as _, AsyncWriteExt as _},
};

use crate::{
    GateError,
    token::{self, TokenHash},
};

/// Only the server's own user may read it.
const MODE: u32 = 0o600;

/// More than a token is long.
const READ_LIMIT: u64 = 256;

/// The setup token: in a file as it is, in memory as a hash.
pub(crate) struct SetupToken {
    path: PathBuf,
    // A std mutex: held to copy 32 bytes, never across an await.
    hash: Mutex<Option<TokenHash>>,
}

impl SetupToken {
    pub(crate) fn in_folder(data_dir: &Path) -> Self {
        Self { path: data_dir.join("setup-token"), hash: Mutex::new(None) }
    }

    /// Returns the token that waits to be used, making one if there is none.
    pub(crate) async fn ready(&self) -> Result<Secret, GateError> {
        let token = match self.read().await.map_err(|source| self.failed(source))? {
            Some(token) => token,
            None => {
                let token = token::new_setup_token();
                self.write(&token).await.map_err(|source| self.failed(source))?;
                token
            }
        };
        *self.lock() = Some(TokenHash::of(&token));
        Ok(token)
    }

    /// Tells whether `token` is the one that waits. Constant time.
    pub(crate) fn matches(&self, token: &Secret) -> bool {
        let waiting = *self.lock();
        waiting.is_some_and(|hash| hash.matches(&TokenHash::of(token)))
    }

    /// Tells whether a token waits to be used.
    pub(crate) fn is_waiting(&self) -> bool {
        self.lock().is_some()
    }

    /// Makes the token useless.
    pub(crate) async fn discard(&self) {
        *self.lock() = None;
        match fs::remove_file(&self.path).await {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            // Harmless: set-up is done, so no token is ever asked for again.
            Err(error) => {
                tracing::warn!(%error, path = %self.path.display(), "the used setup token's file was not removed");
            }
        }
    }

    /// Reads the token of an earlier start. One that others could have read, or that is not whole, does not count.
    async fn read(&self) -> io::Result<Option<Secret>> {
        let file = match File::open(&self.path).await {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        if file.metadata().await?.permissions().mode() & 0o077 != 0 {
            tracing::warn!(path = %self.path.display(), "others could read the setup token: it is replaced");
            return Ok(None);
        }
        let mut bytes = Vec::new();
        file.take(READ_LIMIT).read_to_end(&mut bytes).await?;
        let text = String::from_utf8(bytes).unwrap_or_default();
        let text = text.trim();
        Ok(token::is_setup_token(text).then(|| Secret::new(text)))
    }

    /// Writes beside the file and renames, so that a crash leaves no half of a token.
    async fn write(&self, token: &Secret) -> io::Result<()> {
        let beside = self.path.with_extension("new");
        match fs::remove_file(&beside).await {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = OpenOptions::new().write(true).create_new(true).mode(MODE).open(&beside).await?;
        file.write_all(token.expose().as_bytes()).await?;
        file.write_all(b"\n").await?;
        file.sync_all().await?;
        fs::rename(&beside, &self.path).await
    }

    fn failed(&self, source: io::Error) -> GateError {
        GateError::SetupTokenFile { path: self.path.clone(), source }
    }

    fn lock(&self) -> MutexGuard<'_, Option<TokenHash>> {
        self.hash.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
