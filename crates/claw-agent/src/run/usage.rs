//! How much a folder takes on disk, while somebody hostile writes in it.

use std::{
    collections::HashSet,
    io,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
};

use rustix::{
    fs::{AtFlags, Dir, FileType, Mode, OFlags, ResolveFlags},
    io::Errno,
};

/// Bytes of one block in a file's state, whatever the file system's own blocks are (stat(2)).
const BLOCK_BYTES: u64 = 512;

/// Files with several names that are remembered, so that they count once. Those beyond count for each name.
const MAX_LINKED: usize = 1_000_000;

/// What a folder takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Usage {
    /// Bytes on disk: holes in a file take none, a file with several names takes its bytes once.
    pub(super) bytes: u64,
    /// Whether something could not be counted, because it lies deeper than a path can say.
    pub(super) is_too_deep: bool,
}

/// Adds up what `folder` takes, without following links, and stops once it is more than `enough`. Blocks.
///
/// # Errors
///
/// Fails if `folder` cannot be opened. What cannot be read in it, or is gone by then, is passed over.
pub(super) fn measure(folder: &Path, enough: u64) -> io::Result<Usage> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let top = rustix::fs::open(folder, flags, Mode::empty())?;
    let mut usage = Usage::default();
    let mut linked = HashSet::new();
    // Paths, not handles: a tree can have more levels than a process may have files open.
    let mut folders = vec![PathBuf::from(".")];
    while let Some(relative) = folders.pop() {
        let entries = match open_beneath(&top, &relative, flags).and_then(|folder| Dir::read_from(&folder)) {
            Ok(entries) => entries,
            Err(Errno::NAMETOOLONG) => {
                usage.is_too_deep = true;
                continue;
            }
            Err(_) => continue,
        };
        let Ok(here) = open_beneath(&top, &relative, flags) else { continue };
        for entry in entries {
            let Ok(entry) = entry else { break };
            let name = entry.file_name();
            if name == c"." || name == c".." {
                continue;
            }
            let Ok(state) = rustix::fs::statat(&here, name, AtFlags::SYMLINK_NOFOLLOW) else { continue };
            if FileType::from_raw_mode(state.st_mode) == FileType::Directory {
                let name: &std::ffi::OsStr = std::os::unix::ffi::OsStrExt::from_bytes(name.to_bytes());
                folders.push(relative.join(name));
            } else if state.st_nlink > 1
                && linked.len() < MAX_LINKED
                && !linked.insert((state.st_dev, state.st_ino))
            {
                continue;
            }
            usage.bytes += u64::try_from(state.st_blocks).unwrap_or(0) * BLOCK_BYTES;
            if usage.bytes > enough {
                return Ok(usage);
            }
        }
    }
    Ok(usage)
}

/// Opens a folder below `top`. No part of the path is followed if it is a link, also one that was a folder just now.
fn open_beneath(top: &OwnedFd, relative: &Path, flags: OFlags) -> Result<OwnedFd, Errno> {
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
    match rustix::fs::openat2(top, relative, flags, Mode::empty(), resolve) {
        // Before Linux 5.6, or kept away by a filter: a link could lead the count astray, to where it only counts.
        Err(Errno::NOSYS | Errno::PERM) => rustix::fs::openat(top, relative, flags, Mode::empty()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use std::{
        fs::{self, File},
        io::Write,
        os::unix::fs::symlink,
    };

    use super::*;

    fn write(path: &Path, bytes: usize) {
        let mut file = File::create(path).expect("created");
        file.write_all(&vec![b'x'; bytes]).expect("written");
        file.sync_all().expect("on disk, so that its blocks are known");
    }

    fn bytes(folder: &Path) -> u64 {
        measure(folder, u64::MAX).expect("measured").bytes
    }

    #[test]
    fn t27_what_lies_on_disk_counts_once_and_holes_and_links_do_not() {
        let folder = tempfile::tempdir().expect("a folder");
        let outside = tempfile::tempdir().expect("a folder");
        write(&outside.path().join("big"), 8 << 20);
        let empty = bytes(folder.path());
        fs::create_dir_all(folder.path().join("a/b")).expect("made");
        write(&folder.path().join("a/b/file"), 1 << 20);
        let plain = bytes(folder.path()) - empty;

        fs::hard_link(folder.path().join("a/b/file"), folder.path().join("again")).expect("linked");
        File::create(folder.path().join("sparse")).expect("created").set_len(1 << 40).expect("a hole");
        symlink(outside.path(), folder.path().join("link")).expect("linked");
        symlink("..", folder.path().join("a/up")).expect("linked");
        rustix::fs::mknodat(rustix::fs::CWD, folder.path().join("pipe"), FileType::Fifo, Mode::RUSR, 0)
            .expect("a pipe");
        let with_tricks = bytes(folder.path()) - empty;

        assert!((1 << 20..2 << 20).contains(&plain), "{plain}");
        assert!(with_tricks < plain + (1 << 16), "{with_tricks}");
        assert!(
            measure(folder.path(), 1 << 19).expect("measured").bytes > 1 << 19,
            "it stops when it is enough"
        );
        assert!(measure(&folder.path().join("link"), 1).is_err(), "not even the first one is followed");
    }

    #[test]
    fn t27_folders_deeper_than_a_path_are_noticed() {
        let folder = tempfile::tempdir().expect("a folder");
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        let mut here = rustix::fs::open(folder.path(), flags, Mode::empty()).expect("opened");
        let name = "d".repeat(250);
        for _ in 0..30 {
            rustix::fs::mkdirat(&here, name.as_str(), Mode::RWXU).expect("made");
            here = rustix::fs::openat(&here, name.as_str(), flags, Mode::empty()).expect("opened");
        }

        let usage = measure(folder.path(), u64::MAX).expect("measured");

        assert!(usage.is_too_deep);
    }

    #[test]
    fn t27_a_hundred_thousand_files_are_counted() {
        let folder = tempfile::tempdir().expect("a folder");
        for outer in 0..100 {
            let inner = folder.path().join(outer.to_string());
            fs::create_dir(&inner).expect("made");
            for file in 0..1000 {
                File::create(inner.join(file.to_string())).expect("created");
            }
        }
        write(&folder.path().join("99/last"), 1 << 20);

        assert!(bytes(folder.path()) >= 1 << 20);
    }
}
