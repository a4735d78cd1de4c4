//! The file browser: files of `main`, read from and written to the bare repository itself.

use std::sync::Arc;

use claw_core::{RepoPath, WorkspaceId};

use crate::{
    CommitId, WorkspaceError, Workspaces,
    git::Call,
    import::{self, CommitWriter, Imported, NewCommit},
    limits::MAX_PATH_BYTES,
    object_id::ObjectId,
    objects::{ObjectReader, TreeEntry, mode},
    refs,
    workspaces::remove_stale_locks,
};

/// Attempts to move `main` before giving up. Only writers in other processes can make one fail.
const ATTEMPTS: usize = 5;

/// Most bytes of one listing.
const MAX_LISTING_BYTES: usize = 256 << 20;

const MESSAGE: &str = "claw: file browser update";

/// What a path of a workspace is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EntryKind {
    /// A file.
    File,
    /// A folder.
    Folder,
    /// A symbolic link. Its content is where it points to; it is never followed.
    Link,
    /// A reference to a commit of another repository (a submodule). It has no content here.
    Repository,
}

impl EntryKind {
    fn of(mode: u32) -> Self {
        match mode {
            mode::FOLDER => Self::Folder,
            mode::LINK => Self::Link,
            mode::REPOSITORY => Self::Repository,
            _ => Self::File,
        }
    }
}

/// One file or folder of a workspace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileEntry {
    /// Path from the workspace's root. Bytes that are no UTF-8 are shown as U+FFFD.
    pub path: String,
    /// What it is.
    pub kind: EntryKind,
    /// Size in bytes; 0 for what has none.
    pub size: u64,
}

impl FileEntry {
    /// Tells whether it is a folder.
    pub fn is_dir(&self) -> bool {
        self.kind == EntryKind::Folder
    }
}

/// The files and folders of a workspace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listing {
    /// Entries in git's order: each folder comes before what is in it.
    pub files: Vec<FileEntry>,
    /// Whether there are more than were asked for.
    pub truncated: bool,
}

impl Workspaces {
    /// Returns the files and folders of a workspace, at most `limit` of them.
    ///
    /// # Errors
    ///
    /// `NotFound` if the workspace has no repository.
    pub async fn list_files(&self, workspace: WorkspaceId, limit: usize) -> Result<Listing, WorkspaceError> {
        let head = self.head(workspace).await?;
        let call = Call::new(&self.shared.layout.repository(workspace), "ls-tree")
            .args(["-r", "-t", "-l", "-z", "--full-tree"])
            .arg(head.to_string())
            .max_stdout(MAX_LISTING_BYTES)
            .max_records(limit.saturating_add(1));
        let stdout = self.shared.git.run(call).await?.ok()?;
        let mut records = stdout.split(|byte| *byte == 0).filter(|record| !record.is_empty());
        let files = records.by_ref().take(limit).map(parse_entry).collect::<Option<Vec<_>>>();
        let detail = || "a line of another form".to_owned();
        let files = files.ok_or_else(|| WorkspaceError::GitAnswer { what: "ls-tree", detail: detail() })?;
        Ok(Listing { files, truncated: records.next().is_some() })
    }

    /// Returns the content of a file.
    ///
    /// # Errors
    ///
    /// `FileNotFound`, `IsFolder`, `IsLink`, or `FileTooLarge` beyond `max_bytes`; `NotFound` if the workspace has no
    /// repository.
    pub async fn read_file(
        &self,
        workspace: WorkspaceId,
        path: &RepoPath,
        max_bytes: u64,
    ) -> Result<Vec<u8>, WorkspaceError> {
        let head = self.head(workspace).await?;
        let mut reader = ObjectReader::start(&self.shared.git, &self.shared.layout.repository(workspace))?;
        let name = || path.to_string();
        let entry = find(&mut reader, head, path).await?;
        let entry = entry.ok_or_else(|| WorkspaceError::FileNotFound { path: name() })?;
        match EntryKind::of(entry.mode) {
            EntryKind::File => {}
            EntryKind::Folder => return Err(WorkspaceError::IsFolder { path: name() }),
            EntryKind::Link | EntryKind::Repository => return Err(WorkspaceError::IsLink { path: name() }),
        }
        let info = reader.info(&entry.id.to_string()).await?;
        let info = info.ok_or_else(|| WorkspaceError::FileNotFound { path: name() })?;
        if info.size > max_bytes {
            let (size_bytes, limit_bytes) = (info.size, max_bytes);
            return Err(WorkspaceError::FileTooLarge { path: name(), size_bytes, limit_bytes });
        }
        reader.content(info).await
    }

    /// Writes a file, makes its folders as needed, and commits it as `who`. A file that exists keeps its mode.
    ///
    /// Content that is there already makes no commit: the current one is returned.
    ///
    /// # Errors
    ///
    /// `IsFolder` or `IsLink` if that is what the path names; `NotAFolder` if it lies below a file; `Contended` if
    /// other writers were faster each time; `NotFound` if the workspace has no repository.
    pub async fn write_file(
        &self,
        workspace: WorkspaceId,
        path: &RepoPath,
        content: &[u8],
        who: &str,
    ) -> Result<CommitId, WorkspaceError> {
        check_length(path)?;
        self.edit(
            workspace,
            who,
            &Edit::Write { path, id: ObjectId::of_blob(content), content: content.into() },
        )
        .await
    }

    /// Deletes a file, or a folder with all in it, and commits that as `who`.
    ///
    /// # Errors
    ///
    /// `FileNotFound` if the path names nothing; `Contended` if other writers were faster each time; `NotFound` if the
    /// workspace has no repository.
    pub async fn delete_path(
        &self,
        workspace: WorkspaceId,
        path: &RepoPath,
        who: &str,
    ) -> Result<CommitId, WorkspaceError> {
        self.edit(workspace, who, &Edit::Delete { path }).await
    }

    /// Commits an edit at the current head, again if another process moved `main` meanwhile.
    async fn edit(
        &self,
        workspace: WorkspaceId,
        who: &str,
        edit: &Edit<'_>,
    ) -> Result<CommitId, WorkspaceError> {
        let repository = self.shared.layout.repository(workspace);
        let _writer = self.shared.writer(workspace).await;
        for _ in 0..ATTEMPTS {
            let head = self.head(workspace).await?;
            let mut reader = ObjectReader::start(&self.shared.git, &repository)?;
            let Some(step) = edit.step(&mut reader, head).await? else { return Ok(head) };
            let commit = NewCommit {
                reference: refs::MAIN.to_owned(),
                parent: Some(head),
                merged: None,
                author: who.to_owned(),
                date: self.shared.clock.now(),
                message: MESSAGE.to_owned(),
                force: false,
            };
            let changes = move |writer: &mut CommitWriter| {
                step.write(writer).map_err(WorkspaceError::io("write to", "git fast-import"))
            };
            match import::commit(&self.shared.git, &repository, commit, changes).await {
                Ok(Imported::Done(id)) => {
                    self.shared.maintain(&repository).await;
                    return Ok(id);
                }
                Ok(Imported::Overtaken(_)) => {}
                Err(error) if refs::is_locked(&error) => remove_stale_locks(&repository).await?,
                Err(error) => return Err(error),
            }
        }
        Err(WorkspaceError::Contended(workspace))
    }
}

/// Fails if no working copy could hold the path.
pub(crate) fn check_length(path: &RepoPath) -> Result<(), WorkspaceError> {
    match path.as_str().len() {
        ..=MAX_PATH_BYTES => Ok(()),
        _ => Err(WorkspaceError::PathTooLong { limit_bytes: MAX_PATH_BYTES }),
    }
}

/// What somebody wants to change.
enum Edit<'a> {
    Write { path: &'a RepoPath, id: ObjectId, content: Arc<[u8]> },
    Delete { path: &'a RepoPath },
}

/// What to change in the tree of one commit.
enum Step {
    Put { path: String, mode: u32, content: Arc<[u8]> },
    Delete { path: String },
}

impl Edit<'_> {
    /// Finds what to do at `head`; `None` if all is as wanted.
    async fn step(&self, reader: &mut ObjectReader, head: CommitId) -> Result<Option<Step>, WorkspaceError> {
        match self {
            Self::Write { path, id, content } => {
                let mode = match find(reader, head, path).await? {
                    Some(TreeEntry { mode, id: present }) => match EntryKind::of(mode) {
                        EntryKind::File if present == *id => return Ok(None),
                        EntryKind::File => mode,
                        EntryKind::Folder => return Err(WorkspaceError::IsFolder { path: path.to_string() }),
                        EntryKind::Link | EntryKind::Repository => {
                            return Err(WorkspaceError::IsLink { path: path.to_string() });
                        }
                    },
                    None => {
                        check_ancestors(reader, head, path).await?;
                        mode::FILE
                    }
                };
                Ok(Some(Step::Put { path: path.to_string(), mode, content: Arc::clone(content) }))
            }
            Self::Delete { path } => match find(reader, head, path).await? {
                Some(_) => Ok(Some(Step::Delete { path: path.to_string() })),
                None => Err(WorkspaceError::FileNotFound { path: path.to_string() }),
            },
        }
    }
}

impl Step {
    fn write(&self, writer: &mut CommitWriter) -> std::io::Result<()> {
        match self {
            Self::Put { path, mode, content } => writer.put(path.as_bytes(), *mode, content),
            Self::Delete { path } => writer.delete(path.as_bytes()),
        }
    }
}

/// Returns what the tree of `head` says about `path`.
///
/// Folder by folder: `{head}:{path}` means something else to git for some names, such as one that ends like
/// `git describe`.
async fn find(
    reader: &mut ObjectReader,
    head: CommitId,
    path: &RepoPath,
) -> Result<Option<TreeEntry>, WorkspaceError> {
    let mut folder = root_of(head);
    let (folders, name) = path.as_str().rsplit_once('/').unwrap_or(("", path.as_str()));
    for part in folders.split('/').filter(|part| !part.is_empty()) {
        match reader.entry(&folder, part).await? {
            Some(entry) if EntryKind::of(entry.mode) == EntryKind::Folder => folder = entry.id.to_string(),
            Some(_) | None => return Ok(None),
        }
    }
    reader.entry(&folder, name).await
}

/// Fails if a part of `path` before its last exists and is not a folder.
async fn check_ancestors(
    reader: &mut ObjectReader,
    head: CommitId,
    path: &RepoPath,
) -> Result<(), WorkspaceError> {
    let mut folder = root_of(head);
    let (folders, _) = path.as_str().rsplit_once('/').unwrap_or_default();
    for part in folders.split('/').filter(|part| !part.is_empty()) {
        match reader.entry(&folder, part).await? {
            Some(entry) if EntryKind::of(entry.mode) == EntryKind::Folder => folder = entry.id.to_string(),
            Some(_) => return Err(WorkspaceError::NotAFolder { path: path.to_string() }),
            None => return Ok(()),
        }
    }
    Ok(())
}

fn root_of(head: CommitId) -> String {
    format!("{head}^{{tree}}")
}

/// Reads `{mode} {kind} {hash} {size, padded}\t{path}`.
fn parse_entry(record: &[u8]) -> Option<FileEntry> {
    let tab = record.iter().position(|byte| *byte == b'\t')?;
    let mut words = std::str::from_utf8(&record[..tab]).ok()?.split_ascii_whitespace();
    let kind = EntryKind::of(u32::from_str_radix(words.next()?, 8).ok()?);
    let size = words.nth(2)?.parse().unwrap_or(0);
    Some(FileEntry { path: String::from_utf8_lossy(&record[tab + 1..]).into_owned(), kind, size })
}
