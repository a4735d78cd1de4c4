//! What a job left in its work tree, compared with what it started from.
//!
//! The tree is walked by file descriptor, folder by folder. No link is followed, nothing but regular files is opened,
//! and no part of git sees the tree.

use std::{
    collections::{HashMap, HashSet},
    fmt,
    fs::File,
    io::{self, Read},
    os::fd::OwnedFd,
    path::Path,
};

use claw_core::{RepoPath, RepoPathError};
use rustix::fs::FileType;

use crate::{
    Limits, WorkspaceError, beneath,
    ignore_rules::{Entered, IgnoreRules},
    import::CommitWriter,
    limits::MAX_PATH_BYTES,
    object_id::{BlobHasher, ObjectId},
    objects::{TreeEntry, mode},
};

/// Reads of a file that is being written before it is left out.
const READ_ATTEMPTS: usize = 3;

/// Entries of [`Skipped`] that are returned one by one; the rest is counted.
const MAX_SKIPPED: usize = 200;

/// Files of a tree by path.
pub(crate) type Tree = HashMap<Vec<u8>, TreeEntry>;

/// Something of the work tree that was not kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Skipped {
    /// Path from the workspace's root, cut; bytes that are no UTF-8 are shown as U+FFFD.
    pub path: String,
    /// Why, as a phrase for people.
    pub why: &'static str,
}

impl fmt::Display for Skipped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.path, self.why)
    }
}

/// The differences between a work tree and the commit it came from.
#[derive(Debug, Default)]
pub(crate) struct Snapshot {
    pub(crate) changes: Vec<Change>,
    pub(crate) deletions: Vec<Vec<u8>>,
    pub(crate) skipped: Vec<Skipped>,
    pub(crate) skipped_count: usize,
}

/// A file that is new or not as it was.
#[derive(Debug)]
pub(crate) struct Change {
    path: Vec<u8>,
    mode: u32,
    content: Content,
}

#[derive(Debug)]
enum Content {
    /// An object that the repository has.
    Known(ObjectId),
    /// Where a link points to.
    Link(Vec<u8>),
    /// A file of this size in the work tree.
    File(u64),
}

impl Snapshot {
    /// Compares the work tree at `root` with `base`, the files of the commit it came from. `agent` holds the files of
    /// the agent's own last commit: they count as tracked too, and their objects need no second writing.
    pub(crate) fn take(
        root: &Path,
        base: Tree,
        agent: &Tree,
        limits: &Limits,
    ) -> Result<Self, WorkspaceError> {
        let folder = beneath::open_root(root).map_err(WorkspaceError::io("open", root))?;
        let device = rustix::fs::fstat(&folder)
            .map_err(|error| WorkspaceError::io("open", root)(error.into()))?
            .st_dev;
        let tracked = || base.iter().chain(agent);
        let mut folders = HashSet::new();
        for (path, _) in tracked() {
            for (slash, _) in path.iter().enumerate().filter(|(_, byte)| **byte == b'/') {
                if !folders.contains(&path[..slash]) {
                    folders.insert(path[..slash].to_vec());
                }
            }
        }
        let known = tracked()
            .filter(|(_, entry)| entry.mode != mode::REPOSITORY)
            .map(|(_, entry)| entry.id)
            .collect();
        let mut walk = Walk {
            limits,
            device,
            agent,
            folders,
            known,
            base: base.into_iter().map(|(path, entry)| (path, Base { entry, present: false })).collect(),
            rules: IgnoreRules::default(),
            former_folders: HashSet::new(),
            entries: 0,
            read_bytes: 0,
            new_bytes: 0,
            cut: false,
            found: Self::default(),
        };
        walk.folder(&folder, &mut Vec::new(), 0, false);
        Ok(walk.finish())
    }

    /// Tells whether the work tree is as it was.
    pub(crate) fn is_empty(&self) -> bool {
        self.changes.is_empty() && self.deletions.is_empty()
    }

    /// Writes the differences into a commit, reading the files from the work tree at `root`.
    pub(crate) fn write(&self, root: &Path, writer: &mut CommitWriter) -> Result<(), WorkspaceError> {
        let to_git = |error| WorkspaceError::io("write to", "git fast-import")(error);
        let root = beneath::open_root(root).map_err(WorkspaceError::io("open", root))?;
        // First, so that a folder which became a file does not take the file with it.
        for path in &self.deletions {
            writer.delete(path).map_err(to_git)?;
        }
        for change in &self.changes {
            match &change.content {
                Content::Known(id) => writer.put_known(&change.path, change.mode, *id).map_err(to_git)?,
                Content::Link(target) => writer.put(&change.path, change.mode, target).map_err(to_git)?,
                Content::File(size) => {
                    let changed = || WorkspaceError::WorkTreeChanged { path: shown(&change.path) };
                    let opened = beneath::open_parent(&root, &change.path)
                        .and_then(|(folder, name)| beneath::open_file(folder, name));
                    let (file, _) = opened.map_err(|_| changed())?;
                    writer.begin_content(&change.path, change.mode, *size).map_err(to_git)?;
                    if io::copy(&mut file.take(*size), writer).map_err(to_git)? != *size {
                        return Err(changed());
                    }
                    writer.end_content().map_err(to_git)?;
                }
            }
        }
        Ok(())
    }
}

struct Base {
    entry: TreeEntry,
    present: bool,
}

struct Walk<'a> {
    limits: &'a Limits,
    device: u64,
    base: HashMap<Vec<u8>, Base>,
    agent: &'a Tree,
    /// Folders that hold tracked files.
    folders: HashSet<Vec<u8>>,
    known: HashSet<ObjectId>,
    rules: IgnoreRules,
    /// Folders that could not be looked into: what was in them stays.
    former_folders: HashSet<Vec<u8>>,
    entries: usize,
    read_bytes: u64,
    new_bytes: u64,
    /// The bound on entries was met: what was not seen may be there all the same.
    cut: bool,
    found: Snapshot,
}

impl Walk<'_> {
    /// Looks at everything in `folder`. In an ignored folder only tracked files count.
    fn folder(&mut self, folder: &OwnedFd, path: &mut Vec<u8>, depth: usize, ignored: bool) {
        let room = self.limits.max_entries.saturating_sub(self.entries);
        let (names, more) = match beneath::names(folder, room) {
            Ok(listed) => listed,
            Err(_) => return self.keep_former(path, "the folder cannot be read"),
        };
        self.entries += names.len();
        if !path.is_empty() {
            path.push(b'/');
        }
        let entered = if ignored { Entered::Nothing } else { self.rules.enter(folder, path) };
        let length = path.len();
        for name in &names {
            path.extend_from_slice(name);
            self.entry(folder, name, path, depth, ignored);
            path.truncate(length);
        }
        match entered {
            Entered::Rules => self.rules.leave(),
            Entered::Unusable => self.skip(path, "its .gitignore is too large to be used"),
            Entered::Nothing => {}
        }
        if more {
            self.cut = true;
            self.skip(path, "the work tree has too many files; some of this folder are left out");
        }
        if path.last() == Some(&b'/') {
            path.pop();
        }
    }

    fn entry(&mut self, folder: &OwnedFd, name: &[u8], path: &mut Vec<u8>, depth: usize, ignored: bool) {
        match String::from_utf8_lossy(name).parse::<RepoPath>() {
            Err(RepoPathError::GitFolder) if depth == 0 && name == b".git" => return,
            Err(RepoPathError::GitFolder) => return self.skip(path, "a folder of git's own is not kept"),
            Err(RepoPathError::BadPart) => return self.skip(path, "git refuses names with a backslash"),
            // Too long can only be the form with replaced bytes.
            Ok(_) | Err(RepoPathError::Empty | RepoPathError::TooLong | RepoPathError::Absolute) => {}
        }
        if path.len() > MAX_PATH_BYTES {
            return self.skip(path, "the path is too long");
        }
        let Ok(stat) = beneath::state(folder, name) else {
            return self.keep_former(path, "it cannot be read");
        };
        let kind = FileType::from_raw_mode(stat.st_mode);
        let is_folder = kind == FileType::Directory;
        let ignored = ignored || self.rules.is_ignored(path, is_folder);
        if ignored && !self.is_tracked(path, is_folder) {
            return;
        }
        match kind {
            FileType::Directory => self.inner_folder(folder, name, path, depth, ignored),
            FileType::RegularFile => self.file(folder, name, path),
            FileType::Symlink => self.link(folder, name, path),
            FileType::Fifo => self.skip(path, "a named pipe is not kept"),
            FileType::Socket => self.skip(path, "a socket is not kept"),
            FileType::CharacterDevice | FileType::BlockDevice => self.skip(path, "a device is not kept"),
            FileType::Unknown => self.skip(path, "what it is cannot be told"),
        }
    }

    fn is_tracked(&self, path: &[u8], is_folder: bool) -> bool {
        let is_file = self.base.contains_key(path) || self.agent.contains_key(path);
        is_file || is_folder && self.folders.contains(path)
    }

    fn inner_folder(
        &mut self,
        folder: &OwnedFd,
        name: &[u8],
        path: &mut Vec<u8>,
        depth: usize,
        ignored: bool,
    ) {
        // A submodule's folder: its commit stays as it is, unless files turn up here, which take its place.
        if let Some(base) = self.base.get_mut(path.as_slice())
            && base.entry.mode == mode::REPOSITORY
        {
            base.present = true;
        }
        if depth + 1 > self.limits.max_depth {
            return self.keep_former(path, "the folder lies too deep");
        }
        let opened = beneath::open_folder(folder, name)
            .and_then(|inner| Ok((rustix::fs::fstat(&inner)?.st_dev, inner)));
        match opened {
            Ok((device, inner)) if device == self.device => self.folder(&inner, path, depth + 1, ignored),
            Ok(_) => self.keep_former(path, "the folder is on another file system"),
            Err(_) => self.keep_former(path, "the folder cannot be read"),
        }
    }

    fn file(&mut self, folder: &OwnedFd, name: &[u8], path: &[u8]) {
        for _ in 0..READ_ATTEMPTS {
            let Ok((mut file, stat)) = beneath::open_file(folder, name) else {
                return self.keep_former(path, "it cannot be read");
            };
            let size = u64::try_from(stat.st_size).unwrap_or(u64::MAX);
            if size > self.limits.max_file_bytes {
                return self.keep_former(path, "the file is too large");
            }
            self.read_bytes = self.read_bytes.saturating_add(size);
            if self.read_bytes > self.limits.max_read_bytes {
                return self.keep_former(path, "the work tree is too large; the rest is not read");
            }
            match hash(&mut file, size) {
                Ok(Some(id)) => {
                    let mode = if stat.st_mode & 0o100 == 0 { mode::FILE } else { mode::EXECUTABLE };
                    return self.compare(path, mode, id, size, Content::File(size));
                }
                Ok(None) => {}
                Err(_) => return self.keep_former(path, "it cannot be read"),
            }
        }
        self.keep_former(path, "the file changed while it was read");
    }

    fn link(&mut self, folder: &OwnedFd, name: &[u8], path: &[u8]) {
        if is_modules_file(name) {
            return self.skip(path, "git refuses a link in place of .gitmodules");
        }
        match rustix::fs::readlinkat(folder, name, Vec::new()) {
            Ok(target) => {
                let target = target.into_bytes();
                let (id, size) = (ObjectId::of_blob(&target), target.len() as u64);
                self.compare(path, mode::LINK, id, size, Content::Link(target));
            }
            Err(_) => self.keep_former(path, "it cannot be read"),
        }
    }

    fn compare(&mut self, path: &[u8], mode: u32, id: ObjectId, size: u64, content: Content) {
        let base = self.base.get(path).map(|base| base.entry);
        if base != Some(TreeEntry { mode, id }) {
            let known = self.known.contains(&id);
            if !known && self.new_bytes.saturating_add(size) > self.limits.max_new_bytes {
                return self.keep_former(path, "the job's new files are too large together");
            }
            if !known {
                self.new_bytes += size;
            }
            let content = if known { Content::Known(id) } else { content };
            self.found.changes.push(Change { path: path.to_vec(), mode, content });
        }
        if let Some(base) = self.base.get_mut(path) {
            base.present = true;
        }
    }

    /// Leaves out something that cannot be kept by its nature. A tracked file in whose place it is counts as deleted.
    fn skip(&mut self, path: &[u8], why: &'static str) {
        self.found.skipped_count += 1;
        if self.found.skipped.len() < MAX_SKIPPED {
            self.found.skipped.push(Skipped { path: shown(path), why });
        }
    }

    /// Leaves out something that may be wanted: the workspace keeps what it had there.
    fn keep_former(&mut self, path: &[u8], why: &'static str) {
        self.skip(path, why);
        if let Some(base) = self.base.get_mut(path) {
            base.present = true;
        }
        self.former_folders.insert(path.to_vec());
    }

    fn finish(mut self) -> Snapshot {
        if self.cut {
            return self.found;
        }
        let is_former = |path: &[u8]| {
            let mut slashes = path.iter().enumerate().filter(|(_, byte)| **byte == b'/');
            self.former_folders.contains(&[][..])
                || slashes.any(|(slash, _)| self.former_folders.contains(&path[..slash]))
        };
        let gone = self.base.iter().filter(|(path, base)| !base.present && !is_former(path));
        self.found.deletions = gone.map(|(path, _)| path.clone()).collect();
        // The order of a hash map differs from run to run; the commands to git shall not.
        self.found.deletions.sort_unstable();
        self.found
    }
}

/// Returns the name that git gives to the file's content; `None` if the file is no longer of this size.
fn hash(file: &mut File, size: u64) -> io::Result<Option<ObjectId>> {
    let mut hasher = BlobHasher::new(size);
    let mut piece = vec![0; usize::try_from(size.min(128 << 10)).unwrap_or(0) + 1];
    let mut total = 0;
    loop {
        let read = file.read(&mut piece)?;
        if read == 0 {
            return Ok((total == size).then(|| hasher.finish()));
        }
        total += read as u64;
        if total > size {
            return Ok(None);
        }
        hasher.update(&piece[..read]);
    }
}

/// Tells whether some file system takes `name` for `.gitmodules`. Git refuses to check out a link of that name.
fn is_modules_file(name: &[u8]) -> bool {
    let name = String::from_utf8_lossy(name).to_lowercase();
    let visible: String = name.chars().filter(|c| c.is_ascii()).collect();
    // What follows a colon is a stream of the file for NTFS, and for git's check.
    let file = visible.split(':').next().unwrap_or_default();
    file.trim_end_matches(['.', ' ']) == ".gitmodules"
        || visible.starts_with("gitmod~")
        || visible.starts_with("gi7eb")
}

fn shown(path: &[u8]) -> String {
    String::from_utf8_lossy(path).chars().take(512).collect()
}
