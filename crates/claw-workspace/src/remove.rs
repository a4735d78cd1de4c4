//! Removing trees that somebody hostile has built.

use std::{fs, io, os::fd::OwnedFd, path::Path};

use rustix::{
    fs::{AtFlags, FileType},
    io::Errno,
};

use crate::beneath;

/// Names read at a time, so that a folder with millions of files needs no memory to match.
const BATCH: usize = 4096;

/// Removes the folder `path` with everything in it. Does nothing if there is no such folder.
///
/// Links are removed, never followed; folders that are closed are opened up; depth does not matter, because a folder
/// that is not empty is first moved up to `path` itself, so that no more than two folders are ever open.
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
    let mut moved: u64 = 0;
    loop {
        let (names, more) = beneath::names(&root, BATCH)?;
        for name in &names {
            remove_entry(&root, name, &mut moved)?;
        }
        if names.is_empty() && !more {
            break;
        }
    }
    fs::remove_dir(path)
}

fn open_closed(path: &Path) -> io::Result<OwnedFd> {
    let parent = beneath::open_root(path.parent().unwrap_or(Path::new("/")))?;
    let name = path.file_name().ok_or(Errno::INVAL)?;
    beneath::open_folder(&parent, std::os::unix::ffi::OsStrExt::as_bytes(name))
}

/// Removes `name` from `root`; folders inside it are moved to `root`, to be met again.
fn remove_entry(root: &OwnedFd, name: &[u8], moved: &mut u64) -> io::Result<()> {
    if FileType::from_raw_mode(beneath::state(root, name)?.st_mode) != FileType::Directory {
        return Ok(rustix::fs::unlinkat(root, name, AtFlags::empty())?);
    }
    if rustix::fs::unlinkat(root, name, AtFlags::REMOVEDIR).is_ok() {
        return Ok(());
    }
    let folder = beneath::open_folder(root, name)?;
    // Reading needs other rights than removing: a folder may be readable and still closed to us.
    let _ = rustix::fs::fchmod(&folder, rustix::fs::Mode::RWXU);
    loop {
        let (names, more) = beneath::names(&folder, BATCH)?;
        for inner in &names {
            empty_one(root, &folder, inner, moved)?;
        }
        if names.is_empty() && !more {
            break;
        }
    }
    Ok(rustix::fs::unlinkat(root, name, AtFlags::REMOVEDIR)?)
}

fn empty_one(root: &OwnedFd, folder: &OwnedFd, name: &[u8], moved: &mut u64) -> io::Result<()> {
    if FileType::from_raw_mode(beneath::state(folder, name)?.st_mode) != FileType::Directory {
        return Ok(rustix::fs::unlinkat(folder, name, AtFlags::empty())?);
    }
    if rustix::fs::unlinkat(folder, name, AtFlags::REMOVEDIR).is_ok() {
        return Ok(());
    }
    // Moving a folder rewrites its `..`, which needs the right to write into it.
    let inner = beneath::open_folder(folder, name)?;
    let _ = rustix::fs::fchmod(&inner, rustix::fs::Mode::RWXU);
    loop {
        *moved += 1;
        let target = format!(".removed-{moved}");
        match rustix::fs::renameat(folder, name, root, target.as_str()) {
            // The tree holds a name like ours.
            Err(Errno::NOTEMPTY | Errno::EXIST | Errno::NOTDIR | Errno::ISDIR) => {}
            result => return Ok(result?),
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
