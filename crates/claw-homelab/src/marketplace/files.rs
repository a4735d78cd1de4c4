//! The files of an install: plain ones, for people to read and edit.
//!
//! Below the folder of all apps each install has `<app>/<install>/` with `compose.yaml`, `.env` (the values of its
//! variables, for its owner alone) and `README.md`; folders that the compose file mounts (`./config`) lie beside them.
//! Every write replaces a file in one step, so that a crash or a full disk leaves the old one or the new one.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read as _, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Component, Path, PathBuf},
};

use claw_store::fault;
use rustix::fs::OFlags;

use super::MarketplaceError;

/// The compose file of an install.
pub(crate) const COMPOSE: &str = "compose.yaml";

/// The values of its variables.
pub(crate) const VALUES: &str = ".env";

/// What people read first.
pub(crate) const README: &str = "README.md";

/// The compose file before an update replaced one that somebody had edited.
pub(crate) const BACKUP: &str = "compose.yaml.before-update";

/// Largest file that is read back.
const MAX_BYTES: u64 = 256 * 1024;

/// Everybody may read it; the owner writes.
pub(crate) const OPEN: u32 = 0o644;

/// For its owner alone.
pub(crate) const CLOSED: u32 = 0o600;

/// A folder of ours. Blocking: for `spawn_blocking`.
#[derive(Clone, Debug)]
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// Makes the folder with those above it.
    pub(crate) fn make(&self, mode: u32) -> Result<(), MarketplaceError> {
        let made = fs::DirBuilder::new().recursive(true).mode(mode).create(&self.0);
        made.map_err(|source| failed("made", &self.0, source))
    }

    /// Makes a folder inside for a mount to begin in. What is there stays. No symbolic link is followed.
    pub(crate) fn make_inside(&self, relative: &Path) -> Result<(), MarketplaceError> {
        let mut path = self.0.clone();
        for component in relative.components() {
            let Component::Normal(name) = component else { continue };
            path.push(name);
            match fs::DirBuilder::new().mode(0o755).create(&path) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                    let kind = fs::symlink_metadata(&path).map_err(|source| failed("read", &path, source))?;
                    if kind.is_symlink() {
                        let source = io::Error::other("it is a symbolic link");
                        return Err(failed("mounted", &path, source));
                    }
                    if !kind.is_dir() {
                        // A single file that somebody put there to be mounted.
                        return Ok(());
                    }
                }
                Err(source) => return Err(failed("made", &path, source)),
            }
        }
        Ok(())
    }

    /// Writes a file in one step. On disk when it returns.
    pub(crate) fn write(&self, name: &str, content: &str, mode: u32) -> Result<(), MarketplaceError> {
        let path = self.0.join(name);
        let fresh = self.fresh(name);
        let write = || -> io::Result<()> {
            // One that a crash left, or that somebody else put there and can read by another name.
            match fs::remove_file(&fresh) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&fresh)?;
            file.write_all(content.as_bytes())?;
            // Whatever the process takes from new files.
            file.set_permissions(std::os::unix::fs::PermissionsExt::from_mode(mode))?;
            file.sync_all()?;
            fault::point("app.file_written");
            fs::rename(&fresh, &path)?;
            File::open(&self.0)?.sync_all()
        };
        write().map_err(|source| {
            // Best effort: it is replaced by the next write in any case.
            let _ = fs::remove_file(&fresh);
            failed("written", &path, source)
        })
    }

    /// Reads a file; `None` if it is not there. No symbolic link is followed.
    pub(crate) fn read(&self, name: &str) -> Result<Option<String>, MarketplaceError> {
        self.read_up_to(name, MAX_BYTES)
    }

    /// Reads a file of at most `most` bytes.
    pub(crate) fn read_up_to(&self, name: &str, most: u64) -> Result<Option<String>, MarketplaceError> {
        let path = self.0.join(name);
        let mut options = OpenOptions::new();
        // Not blocking: a pipe in its place must not hold the reader.
        options.read(true).custom_flags((OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed());
        let file = match options.open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(failed("read", &path, source)),
        };
        let read = || -> io::Result<String> {
            let kind = file.metadata()?;
            if !kind.is_file() {
                return Err(io::Error::other("it is no file"));
            }
            if kind.len() > most {
                let reason = format!("it is larger than {most} bytes");
                return Err(io::Error::new(io::ErrorKind::FileTooLarge, reason));
            }
            let mut text = String::new();
            (&file).take(most).read_to_string(&mut text)?;
            Ok(text)
        };
        read().map(Some).map_err(|source| failed("read", &path, source))
    }

    /// Removes one file of the folder, and what a crash left of writing it. One that is not there is fine.
    pub(crate) fn remove_file(&self, name: &str) -> Result<(), MarketplaceError> {
        self.remove_fresh(name)?;
        let path = self.0.join(name);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed("removed", &path, error)),
            _ => Ok(()),
        }
    }

    /// Returns the names in the folder; none if it is not there.
    pub(crate) fn names(&self) -> Result<Vec<String>, MarketplaceError> {
        let entries = match fs::read_dir(&self.0) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(source) => return Err(failed("read", &self.0, source)),
        };
        Ok(entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect())
    }

    /// Where a file is written before it takes its place.
    fn fresh(&self, name: &str) -> PathBuf {
        self.0.join(format!(".{name}.new"))
    }

    /// Removes the folder with everything in it, and the one above it if nothing is left there. Links are removed, not
    /// followed.
    pub(crate) fn remove_all(&self) -> Result<(), MarketplaceError> {
        match fs::remove_dir_all(&self.0) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(failed("removed", &self.0, error));
            }
            _ => {}
        }
        if let Some(parent) = self.0.parent() {
            // Fails while other installs of the app are there.
            let _ = fs::remove_dir(parent);
        }
        Ok(())
    }
}

/// What is left of a folder that was to go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Left {
    /// Nothing.
    Nothing,
    /// What was to be kept.
    Data,
    /// What the users of containers made, and is theirs alone: the path where it begins.
    Others(String),
}

impl Left {
    /// What there is now.
    pub(crate) fn of(folder: &Folder) -> Self {
        if folder.path().exists() { Self::Data } else { Self::Nothing }
    }
}

impl Folder {
    /// Removes the folder as [`Folder::remove_all`] does, as far as we may, and tells what is left: what the users of
    /// containers made may be theirs alone.
    pub(crate) fn remove_what_we_may(&self) -> Result<Left, MarketplaceError> {
        let theirs = |error: &io::Error| {
            matches!(error.kind(), io::ErrorKind::PermissionDenied | io::ErrorKind::DirectoryNotEmpty)
        };
        let first = match self.remove_all() {
            Ok(()) => return Ok(Left::Nothing),
            Err(MarketplaceError::Files { source, .. }) if theirs(&source) => source,
            Err(error) => return Err(error),
        };
        // One that cannot be removed keeps nothing else.
        let mut left = None;
        for name in self.names()? {
            let path = self.0.join(&name);
            let is_folder = fs::symlink_metadata(&path).is_ok_and(|kind| kind.is_dir());
            let removed = if is_folder { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
            match removed {
                Err(error) if theirs(&error) => {
                    left.get_or_insert(name);
                }
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(failed("removed", &path, error));
                }
                _ => {}
            }
        }
        let Some(left) = left else { return self.remove_all().map(|()| Left::Nothing) };
        tracing::warn!(path = %self.0.display(), %first, "data of an app cannot be removed by this user");
        Ok(Left::Others(left))
    }

    /// Removes what a crash left of writing a file.
    pub(crate) fn remove_fresh(&self, name: &str) -> Result<(), MarketplaceError> {
        let path = self.fresh(name);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed("removed", &path, error)),
            _ => Ok(()),
        }
    }
}

pub(crate) fn failed(doing: &'static str, path: &Path, source: io::Error) -> MarketplaceError {
    MarketplaceError::Files { doing, path: path.display().to_string(), source }
}

/// Finds what a path that somebody gave means below `root`: the app and the install. Only the path is looked at; no file
/// is opened by it.
pub(crate) fn install_of_path(text: &str, roots: &[&Path]) -> Result<(String, String), MarketplaceError> {
    let forbidden = || MarketplaceError::PathForbidden { path: crate::compose::quoted(text) };
    let path = Path::new(text);
    let relative = if path.is_absolute() {
        roots.iter().find_map(|root| path.strip_prefix(root).ok()).ok_or_else(forbidden)?
    } else {
        path
    };
    let mut names = Vec::new();
    for component in relative.components() {
        match component {
            Component::Normal(name) => names.push(name.to_str().ok_or_else(forbidden)?),
            Component::CurDir => {}
            Component::ParentDir | Component::RootDir | Component::Prefix(_) => return Err(forbidden()),
        }
    }
    match names[..] {
        [app, install, "docker-compose.yml" | "compose.yaml" | "compose.yml"] => {
            Ok((app.to_owned(), install.to_owned()))
        }
        _ => Err(MarketplaceError::invalid(
            claw_core::ErrorCode::InvalidComposeFile,
            "`compose_path` names the compose.yaml of an install, as `create` answered it",
        )),
    }
}
