//! A foreign folder, read by descriptor.

use std::{
    fs::File,
    io::{self, Read as _},
    os::fd::OwnedFd,
    path::Path,
};

use rustix::{
    fs::{Dir, FileType, Mode, OFlags, openat},
    io::Errno,
};

/// Most names of one folder that are held, whatever is wanted of them.
const MOST_NAMES: usize = 10_000;

/// An open folder.
pub(super) struct Folder {
    fd: OwnedFd,
    path: String,
}

/// What is in a folder.
pub(super) struct Names {
    /// In order.
    pub(super) names: Vec<String>,
    /// Whether there are more than were wanted.
    pub(super) more: bool,
}

impl Folder {
    /// Opens the folder that somebody named; that one may be a link of theirs.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = openat(rustix::fs::CWD, path, flags, Mode::empty())?;
        Ok(Self { fd, path: path.display().to_string() })
    }

    /// Returns its path, for people.
    pub(super) fn path(&self) -> &str {
        &self.path
    }

    /// Returns the path of something in it, for people.
    pub(super) fn shown(&self, name: &str) -> String {
        format!("{}/{name}", self.path)
    }

    /// Opens a folder in it; `None` if there is nothing of that name.
    pub(super) fn inside(&self, name: &str) -> io::Result<Option<Self>> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        match openat(&self.fd, plain(name)?, flags, Mode::empty()) {
            Ok(fd) => Ok(Some(Self { fd, path: self.shown(name) })),
            Err(Errno::NOENT) => Ok(None),
            Err(Errno::NOTDIR | Errno::LOOP) => Err(io::Error::other("it is not a folder, or a link to one")),
            Err(error) => Err(error.into()),
        }
    }

    /// Returns the names in it.
    pub(super) fn names(&self, most: usize) -> io::Result<Names> {
        let mut names = Vec::new();
        let mut more = false;
        for entry in Dir::read_from(&self.fd)? {
            let entry = entry?;
            // Names that are no text are nothing that a server wrote.
            let Ok(name) = entry.file_name().to_str() else { continue };
            if matches!(name, "." | "..") {
                continue;
            }
            if names.len() == MOST_NAMES {
                more = true;
                break;
            }
            names.push(name.to_owned());
        }
        names.sort_unstable();
        more |= names.len() > most;
        names.truncate(most);
        Ok(Names { names, more })
    }

    /// Reads a plain file of up to `most` bytes; `None` if there is nothing of that name.
    pub(super) fn read(&self, name: &str, most: u64) -> io::Result<Option<Vec<u8>>> {
        // Not blocking: a pipe in its place must not hold the reader.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let fd = match openat(&self.fd, plain(name)?, flags, Mode::empty()) {
            Ok(fd) => fd,
            Err(Errno::NOENT) => return Ok(None),
            Err(Errno::LOOP) => return Err(io::Error::other("it is a symbolic link")),
            Err(error) => return Err(error.into()),
        };
        let status = rustix::fs::fstat(&fd)?;
        if FileType::from_raw_mode(status.st_mode) != FileType::RegularFile {
            return Err(io::Error::other("it is not a plain file"));
        }
        let mut bytes = Vec::new();
        File::from(fd).take(most + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > most {
            return Err(io::Error::other(format!("it has more than {most} bytes")));
        }
        Ok(Some(bytes))
    }

    /// Tells whether something of that name is there.
    pub(super) fn has(&self, name: &str) -> bool {
        rustix::fs::statat(&self.fd, name, rustix::fs::AtFlags::SYMLINK_NOFOLLOW).is_ok()
    }
}

/// A name is one step and leads nowhere else.
fn plain(name: &str) -> io::Result<&str> {
    if name.is_empty() || matches!(name, "." | "..") || name.contains(['/', '\0']) {
        return Err(io::Error::other("it is not a name"));
    }
    Ok(name)
}
