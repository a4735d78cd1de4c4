//! Opening files below a folder that somebody hostile has written, without following a link.

use std::{fs::File, io, io::Read, os::fd::OwnedFd, path::Path};

use rustix::{
    fd::AsFd,
    fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat},
    io::Errno,
};

const FOLDER: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
/// `NONBLOCK`, so that a FIFO which takes a file's place does not stop us in `open`.
const FILE: OFlags = OFlags::RDONLY
    .union(OFlags::NOFOLLOW)
    .union(OFlags::NONBLOCK)
    .union(OFlags::NOCTTY)
    .union(OFlags::CLOEXEC);

/// Opens a folder by path; its last part must not be a link.
pub(crate) fn open_root(path: &Path) -> io::Result<OwnedFd> {
    Ok(rustix::fs::open(path, FOLDER, Mode::empty())?)
}

/// Opens the folder `name` inside `parent`. A folder that its owner closed to itself is opened up first.
pub(crate) fn open_folder(parent: impl AsFd, name: &[u8]) -> io::Result<OwnedFd> {
    match rustix::fs::openat(&parent, name, FOLDER, Mode::empty()) {
        Err(Errno::ACCESS) => {
            open_up(&parent, name, OFlags::DIRECTORY)?;
            Ok(rustix::fs::openat(parent, name, FOLDER, Mode::empty())?)
        }
        result => Ok(result?),
    }
}

/// Opens the regular file `name` inside `parent` and returns it with its state. Anything else is an error.
pub(crate) fn open_file(parent: impl AsFd, name: &[u8]) -> io::Result<(File, Stat)> {
    let open = || rustix::fs::openat(&parent, name, FILE, Mode::empty());
    let file = match open() {
        Err(Errno::ACCESS) => {
            open_up(&parent, name, OFlags::empty())?;
            open()?
        }
        result => result?,
    };
    let stat = rustix::fs::fstat(&file)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(io::Error::from(Errno::INVAL));
    }
    Ok((File::from(file), stat))
}

/// Reads the regular file `name` inside `parent`; `None` if it is larger than `max` bytes.
pub(crate) fn read_file(parent: impl AsFd, name: &[u8], max: usize) -> io::Result<Option<Vec<u8>>> {
    let (file, _) = open_file(parent, name)?;
    let mut bytes = Vec::new();
    file.take(max as u64 + 1).read_to_end(&mut bytes)?;
    Ok((bytes.len() <= max).then_some(bytes))
}

/// Returns the state of `name` inside `folder` itself, not of what it may point to.
pub(crate) fn state(folder: impl AsFd, name: &[u8]) -> io::Result<Stat> {
    Ok(rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW)?)
}

/// Returns the names in a folder in order, at most `max` of them; the flag tells whether there are more.
pub(crate) fn names(folder: impl AsFd, max: usize) -> io::Result<(Vec<Vec<u8>>, bool)> {
    let mut names = Vec::new();
    for entry in Dir::read_from(folder)? {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if name == b"." || name == b".." {
            continue;
        }
        if names.len() == max {
            return Ok((names, true));
        }
        names.push(name.to_vec());
    }
    names.sort_unstable();
    Ok((names, false))
}

/// Opens the folder that holds the last part of `path` below `root`, one part at a time.
pub(crate) fn open_parent(root: impl AsFd, path: &[u8]) -> io::Result<(OwnedFd, &[u8])> {
    let mut folder = root.as_fd().try_clone_to_owned()?;
    let mut rest = path;
    while let Some(slash) = rest.iter().position(|byte| *byte == b'/') {
        folder = open_folder(&folder, &rest[..slash])?;
        rest = &rest[slash + 1..];
    }
    Ok((folder, rest))
}

/// Gives the owner, which is us, access to what a job closed to everybody.
///
/// Goes through an `O_PATH` descriptor, since `chmod` by name would follow a link.
fn open_up(parent: impl AsFd, name: &[u8], kind: OFlags) -> io::Result<()> {
    use std::os::fd::AsRawFd;
    let handle = rustix::fs::openat(
        parent,
        name,
        OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC | kind,
        Mode::empty(),
    )?;
    let stat = rustix::fs::fstat(&handle)?;
    if FileType::from_raw_mode(stat.st_mode) == FileType::Symlink {
        return Err(io::Error::from(Errno::LOOP));
    }
    // The other bits stay: the owner's execute bit of a file is part of what is kept.
    let needed = if kind.contains(OFlags::DIRECTORY) { Mode::RWXU } else { Mode::RUSR };
    let mode = Mode::from_raw_mode(stat.st_mode & 0o7777) | needed;
    Ok(rustix::fs::chmod(format!("/proc/self/fd/{}", handle.as_raw_fd()), mode)?)
}
