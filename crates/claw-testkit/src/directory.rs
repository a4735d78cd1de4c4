//! A temporary folder that is gone when the test ends.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

/// A temporary folder, removed with its content on drop. Its methods panic on failure, as a test wants it.
///
/// Its path is short, so that unix sockets inside stay within their 107 bytes.
#[derive(Debug)]
pub struct TempDir(tempfile::TempDir);

impl TempDir {
    /// Makes a new folder that only its owner can read.
    #[expect(clippy::new_without_default, reason = "a default value would hide that a folder is made")]
    pub fn new() -> Self {
        Self(tempfile::Builder::new().prefix("claw-").tempdir().expect("a temporary folder can be made"))
    }

    /// Makes a new folder that everybody can enter and write to, for the user inside a sandbox.
    pub fn shared() -> Self {
        let folder = Self::new();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o777)).expect("own folder");
        folder
    }

    /// Returns the folder's path.
    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// Returns the path of `name` inside the folder.
    pub fn join(&self, name: impl AsRef<Path>) -> PathBuf {
        self.path().join(name)
    }

    /// Writes a file, making the folders above it, and returns its path.
    pub fn write(&self, name: impl AsRef<Path>, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.join(name);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).expect("folders can be made in a temporary folder");
        }
        fs::write(&path, content).unwrap_or_else(|error| panic!("cannot write {}: {error}", path.display()));
        path
    }

    /// Makes a folder with those above it, and returns its path.
    pub fn folder(&self, name: impl AsRef<Path>) -> PathBuf {
        let path = self.join(name);
        fs::create_dir_all(&path).unwrap_or_else(|error| panic!("cannot make {}: {error}", path.display()));
        path
    }

    /// Returns the text of a file.
    pub fn read(&self, name: impl AsRef<Path>) -> String {
        let path = self.join(name);
        fs::read_to_string(&path).unwrap_or_else(|error| panic!("cannot read {}: {error}", path.display()))
    }
}
