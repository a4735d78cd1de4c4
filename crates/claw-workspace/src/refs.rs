//! Reading and moving references of our own repositories.

use std::{fs, io, path::Path};

use crate::{
    WorkspaceError,
    git::{Call, Git, Input},
    object_id::{CommitId, ObjectId},
};

/// The workspace's one main line.
pub(crate) const MAIN: &str = "refs/heads/main";

/// Reads a reference of one of our own repositories without starting git; `None` if there is none.
///
/// We write these repositories ourselves, in git's files format, so the value is in a file of its own or in
/// `packed-refs`. Never used for a repository that a sandbox could write.
pub(crate) fn read(repository: &Path, name: &str) -> Result<Option<CommitId>, WorkspaceError> {
    let path = repository.join(name);
    match fs::read_to_string(&path) {
        Ok(text) => {
            return match ObjectId::from_hex(text.trim_end().as_bytes()) {
                Some(id) => Ok(Some(CommitId(id))),
                None => Err(WorkspaceError::GitAnswer { what: "reference", detail: name.to_owned() }),
            };
        }
        Err(error) if is_absent(&error) => {}
        Err(error) => return Err(WorkspaceError::io("read", path)(error)),
    }
    let packed = repository.join("packed-refs");
    match fs::read(&packed) {
        Ok(bytes) => {
            Ok(parse_packed(&bytes).find(|(_, found)| *found == name.as_bytes()).map(|(id, _)| CommitId(id)))
        }
        Err(error) if is_absent(&error) => Ok(None),
        Err(error) => Err(WorkspaceError::io("read", packed)(error)),
    }
}

fn is_absent(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory | io::ErrorKind::IsADirectory
    )
}

/// Returns the references that a `packed-refs` file holds; lines that are none are left out.
pub(crate) fn parse_packed(bytes: &[u8]) -> impl Iterator<Item = (ObjectId, &[u8])> {
    bytes.split(|byte| *byte == b'\n').filter_map(|line| {
        let (id, name) = line.split_at_checked(40)?;
        Some((ObjectId::from_hex(id)?, name.strip_prefix(b" ")?))
    })
}

/// One step of a transaction on references.
#[derive(Debug)]
pub(crate) enum RefChange {
    /// Moves `name` from `old` to `new`; fails if it is elsewhere.
    Move { name: String, new: CommitId, old: CommitId },
    /// Makes `name`; fails if it exists.
    Create { name: String, new: CommitId },
    /// Removes `name`; fails if it is not at `old`.
    Delete { name: String, old: CommitId },
}

/// Applies all changes or none. `Ok(false)`: a reference was not where a change expects it.
pub(crate) async fn update(
    git: &Git,
    repository: &Path,
    changes: &[RefChange],
) -> Result<bool, WorkspaceError> {
    let mut lines = String::new();
    for change in changes {
        lines += &match change {
            RefChange::Move { name, new, old } => format!("update {name} {new} {old}\n"),
            RefChange::Create { name, new } => format!("create {name} {new}\n"),
            RefChange::Delete { name, old } => format!("delete {name} {old}\n"),
        };
    }
    let call = Call::new(repository, "update-ref")
        .args(["--stdin", "--no-deref"])
        .input(Input::Bytes(lines.into_bytes()));
    let output = git.run(call).await?;
    if output.status == 0 {
        return Ok(true);
    }
    if output.stderr.contains("but expected") || output.stderr.contains("already exists") {
        return Ok(false);
    }
    Err(output.failure())
}

/// Tells whether a command failed because another process holds, or a killed one left, the lock of a reference.
pub(crate) fn is_locked(error: &WorkspaceError) -> bool {
    matches!(error, WorkspaceError::Git { detail, .. } if detail.contains(".lock'"))
}
