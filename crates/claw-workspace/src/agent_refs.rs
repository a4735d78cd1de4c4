//! The references of a clone that a sandbox could write, read as plain data.

use std::{collections::BTreeMap, os::fd::OwnedFd, path::Path};

use rustix::fs::FileType;

use crate::{
    beneath,
    object_id::{CommitId, ObjectId},
    refs::parse_packed,
};

const MAX_REFERENCE_BYTES: usize = 1024;
const MAX_PACKED_BYTES: usize = 8 << 20;
const MAX_REFERENCES: usize = 2000;
const MAX_DEPTH: usize = 12;

/// What the agent's git says about its commits.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct AgentRefs {
    /// The commit that is checked out.
    pub(crate) head: Option<CommitId>,
    /// All branches but the one that is checked out.
    pub(crate) branches: BTreeMap<Vec<u8>, CommitId>,
    /// What could not be read.
    pub(crate) notes: Vec<String>,
}

/// Opens a clone's `.git`, if it is a folder. A file or link in its place would lead elsewhere.
pub(crate) fn open_git_folder(work: &Path) -> Option<OwnedFd> {
    beneath::open_folder(beneath::open_root(work).ok()?, b".git").ok()
}

/// Reads the references of the clone at `work`. What is missing, malformed or no regular file holds nothing.
pub(crate) fn read(work: &Path) -> AgentRefs {
    let mut found = AgentRefs::default();
    let Some(git) = open_git_folder(work) else {
        found.notes.push("the agent's repository was removed or replaced; only files are kept".to_owned());
        return found;
    };
    let mut branches = BTreeMap::new();
    if let Ok(Some(packed)) = beneath::read_file(&git, b"packed-refs", MAX_PACKED_BYTES) {
        let heads =
            parse_packed(&packed).filter_map(|(id, name)| Some((name.strip_prefix(b"refs/heads/")?, id)));
        branches.extend(heads.take(MAX_REFERENCES).map(|(name, id)| (name.to_vec(), CommitId(id))));
    }
    if let Ok((refs, _)) = beneath::open_parent(&git, b"refs/heads/x") {
        read_loose(&refs, &mut Vec::new(), 0, &mut branches);
    }
    if branches.len() >= MAX_REFERENCES {
        found.notes.push(format!("the agent made more than {MAX_REFERENCES} branches; some are not kept"));
    }
    if let Ok(Some(head)) = beneath::read_file(&git, b"HEAD", MAX_REFERENCE_BYTES) {
        let head = head.trim_ascii();
        found.head = match head.strip_prefix(b"ref:").map(<[u8]>::trim_ascii) {
            Some(name) => name.strip_prefix(b"refs/heads/").and_then(|branch| branches.remove(branch)),
            None => ObjectId::from_hex(head).map(CommitId),
        };
    }
    found.branches = branches;
    found
}

/// Adds the branches that have a file of their own; these win over packed ones.
fn read_loose(folder: &OwnedFd, path: &mut Vec<u8>, depth: usize, found: &mut BTreeMap<Vec<u8>, CommitId>) {
    let Ok((names, _)) = beneath::names(folder, MAX_REFERENCES) else { return };
    for name in names {
        if found.len() >= MAX_REFERENCES {
            return;
        }
        let length = path.len();
        path.extend_from_slice(&name);
        match beneath::state(folder, &name).map(|stat| FileType::from_raw_mode(stat.st_mode)) {
            Ok(FileType::Directory) if depth < MAX_DEPTH => {
                path.push(b'/');
                if let Ok(inner) = beneath::open_folder(folder, &name) {
                    read_loose(&inner, path, depth + 1, found);
                }
            }
            Ok(FileType::RegularFile) => {
                let content = beneath::read_file(folder, &name, MAX_REFERENCE_BYTES);
                if let Ok(Some(content)) = content
                    && let Some(id) = ObjectId::from_hex(content.trim_ascii())
                {
                    found.insert(path.clone(), CommitId(id));
                }
            }
            _ => {}
        }
        path.truncate(length);
    }
}
