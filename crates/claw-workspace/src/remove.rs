//! Removing trees that somebody hostile has built.

use std::{fs, io, os::fd::OwnedFd, path::Path};

use rustix::{
    fs::{AtFlags, Mode},
    io::Errno,
};

use crate::beneath;

/// Names read at a time, so that a folder with millions of files needs no memory to match.
const BATCH: usize = 4096;

/// Levels that are walked down, each with an open folder. What lies deeper is moved up first.
const MAX_OPEN: usize = 32;

/// Removes the folder `path` with everything in it. Does nothing if there is no such folder.
///
/// Links are removed, never followed; folders that are closed are opened up; depth does not matter, because a folder
/// that lies too deep is moved up to `path` itself, so that only so many are ever open.
pub(crate) fn remove_tree(path: &Path) -> io::Result<()> {
    let root = match beneath::open_root(path) {
        Ok(root) => root,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        // A closed folder, or a file or link in its place.
        Err(_) => match fs::symlink_metadata(path)?.is_dir() {
            true => open_closed(path)?,
            false => return fs::remove_file(path),
        },
    };
    Removal { root: &root, moved: 0 }.empty(&root, 0)?;
    fs::remove_dir(path)
}

fn open_closed(path: &Path) -> io::Result<OwnedFd> {
    let parent = beneath::open_root(path.parent().unwrap_or(Path::new("/")))?;
    let name = path.file_name().ok_or(Errno::INVAL)?;
    beneath::open_folder(&parent, std::os::unix::ffi::OsStrExt::as_bytes(name))
}

struct Removal<'a> {
    root: &'a OwnedFd,
    /// Folders that were moved up, for names that differ.
    moved: u64,
}

impl Removal<'_> {
    /// Removes everything in `folder`, which lies `depth` levels below the root.
    fn empty(&mut self, folder: &OwnedFd, depth: usize) -> io::Result<()> {
        loop {
            // Read anew until nothing is left: in the root, folders that were moved up turn up later.
            let (names, more) = beneath::names(folder, BATCH)?;
            if names.is_empty() && !more {
                return Ok(());
            }
            for name in &names {
                self.remove(folder, name, depth)?;
            }
        }
    }

    fn remove(&mut self, folder: &OwnedFd, name: &[u8], depth: usize) -> io::Result<()> {
        match rustix::fs::unlinkat(folder, name, AtFlags::empty()) {
            // A folder: Linux says the former, POSIX the latter.
            Err(Errno::ISDIR | Errno::PERM) => {}
            result => return Ok(result?),
        }
        let inner = beneath::open_folder(folder, name)?;
        // Removing needs other rights than reading: a folder may be readable and still closed to us. If this fails,
        // what follows does too, and says so.
        let _ = rustix::fs::fchmod(&inner, Mode::RWXU);
        if depth >= MAX_OPEN {
            return self.move_up(folder, name);
        }
        self.empty(&inner, depth + 1)?;
        Ok(rustix::fs::unlinkat(folder, name, AtFlags::REMOVEDIR)?)
    }

    fn move_up(&mut self, folder: &OwnedFd, name: &[u8]) -> io::Result<()> {
        loop {
            self.moved += 1;
            match rustix::fs::renameat(folder, name, self.root, format!(".removed-{}", self.moved)) {
                // The tree holds a name like ours.
                Err(Errno::NOTEMPTY | Errno::EXIST | Errno::NOTDIR | Errno::ISDIR) => {}
                result => return Ok(result?),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    #[test]
    fn a_tree_deeper_than_any_path_or_descriptor_limit_is_removed() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let top = folder.path().join("top");
        fs::create_dir(&top).expect("a folder");
        let mut current = beneath::open_root(&top).expect("the folder");
        for _ in 0..5000 {
            rustix::fs::mkdirat(&current, "d", rustix::fs::Mode::RWXU).expect("a folder inside");
            current = beneath::open_folder(&current, b"d").expect("the folder inside");
        }

        remove_tree(&top).expect("removal");

        assert!(!top.exists());
    }

    #[test]
    fn links_are_removed_and_what_they_point_to_stays() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let (top, outside) = (folder.path().join("top"), folder.path().join("outside"));
        fs::create_dir_all(top.join("a/b")).expect("folders");
        fs::create_dir(&outside).expect("a folder");
        fs::write(outside.join("precious"), "x").expect("a file");
        symlink(&outside, top.join("a/b/link")).expect("a link");
        symlink(&outside, top.join("link")).expect("a link");

        remove_tree(&top).expect("removal");

        assert!(!top.exists());
        assert!(outside.join("precious").exists());
    }

    #[test]
    fn closed_folders_and_our_own_names_are_no_obstacle() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let top = folder.path().join("top");
        fs::create_dir_all(top.join("a/b/c")).expect("folders");
        fs::create_dir_all(top.join(".removed-1/x/y")).expect("folders");
        fs::create_dir_all(top.join("zz/".repeat(MAX_OPEN * 2 + 5))).expect("folders");
        fs::write(top.join("a/b/c/file"), "x").expect("a file");
        for path in ["a/b/c", "a/b", "a"] {
            fs::set_permissions(top.join(path), fs::Permissions::from_mode(0o0)).expect("closing");
        }

        remove_tree(&top).expect("removal");

        assert!(!top.exists());
    }

    #[test]
    fn removing_what_is_not_there_is_done_at_once() {
        let folder = tempfile::tempdir().expect("a temporary folder");

        remove_tree(&folder.path().join("nothing")).expect("nothing to do");
    }
}
