//! Reading objects of a repository through one `git cat-file` process.

use std::{path::Path, time::Duration};

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};

use crate::{
    WorkspaceError,
    git::{Call, Git, Input, Running},
    object_id::ObjectId,
};

const WHAT: &str = "cat-file";

/// Largest tree object that is read to find one name in it: some 200,000 names in one folder.
const MAX_TREE_BYTES: u64 = 16 << 20;

/// File modes as git writes them.
pub(crate) mod mode {
    pub(crate) const FOLDER: u32 = 0o040_000;
    pub(crate) const FILE: u32 = 0o100_644;
    pub(crate) const EXECUTABLE: u32 = 0o100_755;
    pub(crate) const LINK: u32 = 0o120_000;
    /// The commit of another repository: a submodule.
    pub(crate) const REPOSITORY: u32 = 0o160_000;
}

/// What a tree says about one name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TreeEntry {
    pub(crate) mode: u32,
    pub(crate) id: ObjectId,
}

/// What an object is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ObjectKind {
    Tree,
    Blob,
    Commit,
    Tag,
}

/// An object's name, kind and size.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ObjectInfo {
    pub(crate) id: ObjectId,
    pub(crate) kind: ObjectKind,
    pub(crate) size: u64,
}

/// A running `git cat-file --batch-command`.
pub(crate) struct ObjectReader {
    running: Running,
    output: BufReader<tokio::process::ChildStdout>,
    timeout: Duration,
}

impl ObjectReader {
    /// Starts reading in `repository`.
    pub(crate) fn start(git: &Git, repository: &Path) -> Result<Self, WorkspaceError> {
        let mut call =
            Call::new(repository, WHAT).args(["--batch-command", "-z"]).input(Input::Bytes(Vec::new()));
        let mut running = git.spawn(&mut call)?;
        let output = running.child.stdout.take().ok_or(WorkspaceError::Interrupted)?;
        Ok(Self { running, output: BufReader::new(output), timeout: git.timeout() })
    }

    /// Returns what `name` (a hash, or `{commit}^{tree}`) is; `None` if there is no such object.
    pub(crate) async fn info(&mut self, name: &str) -> Result<Option<ObjectInfo>, WorkspaceError> {
        self.ask("info", name).await?;
        self.header().await
    }

    /// Returns the content of an object that [`Self::info`] has described.
    pub(crate) async fn content(&mut self, info: ObjectInfo) -> Result<Vec<u8>, WorkspaceError> {
        let name = info.id.to_string();
        self.ask("contents", &name).await?;
        let Some(info) = self.header().await? else {
            return Err(unreadable(format!("object {name} has gone")));
        };
        let mut content = Vec::new();
        let read = async {
            (&mut self.output).take(info.size).read_to_end(&mut content).await?;
            self.output.read_u8().await
        };
        timed(self.timeout, read).await?;
        Ok(content)
    }

    /// Returns what the tree `folder` (its hash, or `{commit}^{tree}`) says about `name`; `None` if either does not exist.
    pub(crate) async fn entry(
        &mut self,
        folder: &str,
        name: &str,
    ) -> Result<Option<TreeEntry>, WorkspaceError> {
        let Some(info) = self.info(folder).await?.filter(|info| info.kind == ObjectKind::Tree) else {
            return Ok(None);
        };
        if info.size > MAX_TREE_BYTES {
            return Err(unreadable(format!("folder with {} bytes of names", info.size)));
        }
        let tree = self.content(info).await?;
        find_in_tree(&tree, name.as_bytes())
    }

    async fn ask(&mut self, command: &str, name: &str) -> Result<(), WorkspaceError> {
        let line = format!("{command} {name}\0");
        let stdin = self.running.child.stdin.as_mut().ok_or(WorkspaceError::Interrupted)?;
        timed(self.timeout, stdin.write_all(line.as_bytes())).await
    }

    /// Reads `{hash} {kind} {size}` or `{name} missing`.
    async fn header(&mut self) -> Result<Option<ObjectInfo>, WorkspaceError> {
        let mut answer = Vec::new();
        if timed(self.timeout, self.output.read_until(b'\n', &mut answer)).await? == 0 {
            return Err(unreadable("it ended early".to_owned()));
        }
        match parse_header(&answer) {
            Some(info) => Ok(Some(info)),
            None if answer.ends_with(b" missing\n") => Ok(None),
            None => Err(unreadable(String::from_utf8_lossy(&answer).into_owned())),
        }
    }
}

fn unreadable(detail: String) -> WorkspaceError {
    WorkspaceError::GitAnswer { what: WHAT, detail }
}

async fn timed<T>(
    limit: Duration,
    work: impl Future<Output = std::io::Result<T>>,
) -> Result<T, WorkspaceError> {
    tokio::time::timeout(limit, work)
        .await
        .map_err(|_| WorkspaceError::GitTimeout { what: WHAT, seconds: limit.as_secs() })?
        .map_err(|error| unreadable(error.to_string()))
}

fn parse_header(line: &[u8]) -> Option<ObjectInfo> {
    let line = std::str::from_utf8(line).ok()?.strip_suffix('\n')?;
    let mut words = line.split(' ');
    let id = ObjectId::from_hex(words.next()?.as_bytes())?;
    let kind = match words.next()? {
        "tree" => ObjectKind::Tree,
        "blob" => ObjectKind::Blob,
        "commit" => ObjectKind::Commit,
        "tag" => ObjectKind::Tag,
        _ => return None,
    };
    let size = words.next()?.parse().ok()?;
    words.next().is_none().then_some(ObjectInfo { id, kind, size })
}

/// Finds a name in a tree object: entries of `{mode} {name}\0{20 bytes}`.
fn find_in_tree(tree: &[u8], wanted: &[u8]) -> Result<Option<TreeEntry>, WorkspaceError> {
    let mut rest = tree;
    while !rest.is_empty() {
        let (mode, name, id, after) = split_entry(rest).ok_or_else(|| unreadable("a broken tree".into()))?;
        if name == wanted {
            return Ok(Some(TreeEntry { mode, id }));
        }
        rest = after;
    }
    Ok(None)
}

fn split_entry(bytes: &[u8]) -> Option<(u32, &[u8], ObjectId, &[u8])> {
    let space = bytes.iter().position(|byte| *byte == b' ')?;
    let end = space + bytes[space..].iter().position(|byte| *byte == 0)?;
    let mode = u32::from_str_radix(std::str::from_utf8(&bytes[..space]).ok()?, 8).ok()?;
    let id = ObjectId::from_bytes(bytes.get(end + 1..end + 21)?)?;
    Some((mode, &bytes[space + 1..end], id, &bytes[end + 21..]))
}
