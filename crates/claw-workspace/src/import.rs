//! Writing a commit through one `git fast-import` process: blobs, trees, commit and reference in one step.

use std::{io::Write, path::Path};

use claw_core::Timestamp;
use tokio::sync::mpsc;

use crate::{
    WorkspaceError,
    git::{Call, Git, IDENTITY_MAIL, IDENTITY_NAME, Input, quote},
    object_id::{CommitId, ObjectId},
    refs,
};

const WHAT: &str = "fast-import";

/// Size of the pieces that go to git.
const PIECE_BYTES: usize = 256 << 10;

/// Pieces that may wait for git: together with the size above, the memory that a commit needs here.
const PIECES_WAITING: usize = 8;

/// The head of a commit that is to be written.
#[derive(Clone, Debug)]
pub(crate) struct NewCommit {
    /// The reference that will point to it.
    pub(crate) reference: String,
    /// First parent; `None` for the first commit of a repository.
    pub(crate) parent: Option<CommitId>,
    /// Second parent.
    pub(crate) merged: Option<CommitId>,
    /// Name of the author. The committer is always the house.
    pub(crate) author: String,
    /// When.
    pub(crate) date: Timestamp,
    /// The whole message.
    pub(crate) message: String,
    /// Moves the reference wherever it was before. For references that belong to one job alone.
    pub(crate) force: bool,
}

/// What became of a commit that was to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Imported {
    /// The reference points to it.
    Done(CommitId),
    /// The commit exists, but the reference had moved to where the commit does not follow from.
    Overtaken(CommitId),
}

/// Writes the commands of one commit. The caller adds changes and then calls [`CommitWriter::finish`].
pub(crate) struct CommitWriter {
    buffer: Vec<u8>,
    pieces: mpsc::Sender<Vec<u8>>,
}

impl CommitWriter {
    fn begin(commit: &NewCommit, pieces: mpsc::Sender<Vec<u8>>) -> Self {
        let mut buffer = Vec::with_capacity(PIECE_BYTES + 4096);
        let seconds = commit.date.as_second();
        let author = author_name(&commit.author);
        let head = format!(
            "commit {}\nmark :1\nauthor {author} <{IDENTITY_MAIL}> {seconds} +0000\n\
             committer {IDENTITY_NAME} <{IDENTITY_MAIL}> {seconds} +0000\ndata {}\n{}\n",
            commit.reference,
            commit.message.len(),
            commit.message,
        );
        buffer.extend_from_slice(head.as_bytes());
        for (word, parent) in [("from", commit.parent), ("merge", commit.merged)] {
            if let Some(parent) = parent {
                buffer.extend_from_slice(format!("{word} {parent}\n").as_bytes());
            }
        }
        Self { buffer, pieces }
    }

    /// Removes a file, or a folder with all in it.
    pub(crate) fn delete(&mut self, path: &[u8]) -> std::io::Result<()> {
        self.write_all(b"D ")?;
        self.write_all(&quote(path))?;
        self.write_all(b"\n")
    }

    /// Puts an object that the repository has at `path`.
    pub(crate) fn put_known(&mut self, path: &[u8], mode: u32, id: ObjectId) -> std::io::Result<()> {
        self.write_all(format!("M {mode:06o} {id} ").as_bytes())?;
        self.write_all(&quote(path))?;
        self.write_all(b"\n")
    }

    /// Announces content of exactly `size` bytes at `path`; the caller writes it and then calls [`Self::end_content`].
    pub(crate) fn begin_content(&mut self, path: &[u8], mode: u32, size: u64) -> std::io::Result<()> {
        self.write_all(format!("M {mode:06o} inline ").as_bytes())?;
        self.write_all(&quote(path))?;
        self.write_all(format!("\ndata {size}\n").as_bytes())
    }

    /// Ends what [`Self::begin_content`] began.
    pub(crate) fn end_content(&mut self) -> std::io::Result<()> {
        self.write_all(b"\n")
    }

    /// Puts `content` at `path`.
    pub(crate) fn put(&mut self, path: &[u8], mode: u32, content: &[u8]) -> std::io::Result<()> {
        self.begin_content(path, mode, content.len() as u64)?;
        self.write_all(content)?;
        self.end_content()
    }

    /// Completes the commit. Without this call git takes the commands for cut short and writes nothing.
    pub(crate) fn finish(mut self) -> std::io::Result<()> {
        self.write_all(b"\nget-mark :1\ndone\n")?;
        self.flush()
    }
}

impl Write for CommitWriter {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() >= PIECE_BYTES {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        let piece = std::mem::replace(&mut self.buffer, Vec::with_capacity(PIECE_BYTES));
        self.pieces.blocking_send(piece).map_err(|_| std::io::Error::from(std::io::ErrorKind::BrokenPipe))
    }
}

/// Writes a commit whose changes `changes` writes on a thread of its own.
pub(crate) async fn commit<F>(
    git: &Git,
    repository: &Path,
    commit: NewCommit,
    changes: F,
) -> Result<Imported, WorkspaceError>
where
    F: FnOnce(&mut CommitWriter) -> Result<(), WorkspaceError> + Send + 'static,
{
    let (pieces, receiver) = mpsc::channel(PIECES_WAITING);
    let mut writer = CommitWriter::begin(&commit, pieces);
    let written = tokio::task::spawn_blocking(move || {
        changes(&mut writer)?;
        writer.finish().map_err(WorkspaceError::io("write to", "git fast-import"))
    });
    let mut call = Call::new(repository, WHAT)
        .args(["--quiet", "--done", "--date-format=raw"])
        .input(Input::Pieces(receiver));
    if commit.force {
        call = call.arg("--force");
    }
    let output = git.run(call).await;
    let written = written.await.map_err(|_| WorkspaceError::Interrupted)?;
    let output = output?;
    if output.status != 0 {
        remove_crash_reports(repository);
        let moved = refs::read(repository, &commit.reference)? != commit.parent;
        return match parse_mark(&output.stdout) {
            Some(id) if moved && output.status == 1 => Ok(Imported::Overtaken(id)),
            // What failed on our side names the cause better than git, which only saw its input end.
            _ => Err(match written {
                Err(error) if !is_broken_pipe(&error) => error,
                _ => output.failure(),
            }),
        };
    }
    written?;
    let detail = || String::from_utf8_lossy(&output.stdout).into_owned();
    let id = parse_mark(&output.stdout)
        .ok_or_else(|| WorkspaceError::GitAnswer { what: WHAT, detail: detail() })?;
    Ok(Imported::Done(id))
}

fn is_broken_pipe(error: &WorkspaceError) -> bool {
    matches!(error, WorkspaceError::Io { source, .. } if source.kind() == std::io::ErrorKind::BrokenPipe)
}

fn parse_mark(stdout: &[u8]) -> Option<CommitId> {
    ObjectId::from_hex(stdout.trim_ascii_end()).map(CommitId)
}

/// `fast-import` writes a report into the repository when it fails; its content is in the error already.
fn remove_crash_reports(repository: &Path) {
    let Ok(entries) = std::fs::read_dir(repository) else { return };
    for entry in entries.flatten() {
        if entry.file_name().as_encoded_bytes().starts_with(b"fast_import_crash_") {
            // Left over, it only takes up room.
            let _ = std::fs::remove_file(entry.path());
        }
    }
}

/// Makes a name that git's commit format can hold.
fn author_name(name: &str) -> String {
    let name: String =
        name.chars().filter(|c| !c.is_control() && !matches!(c, '<' | '>')).take(100).collect();
    match name.trim() {
        "" => IDENTITY_NAME.to_owned(),
        name => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_author_cannot_write_into_other_parts_of_a_commit() {
        assert_eq!(author_name("user:ann"), "user:ann");
        assert_eq!(author_name("x <a@b> 1\ncommitter y"), "x a@b 1committer y");
        assert_eq!(author_name(" \n"), IDENTITY_NAME);
    }
}
