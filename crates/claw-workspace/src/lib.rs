//! Git-backed workspaces: repositories, working copies, history, files.
//!
//! Each workspace is one bare repository, the only source of truth. A job works in a clone of its own; afterwards
//! [`Workspaces::keep`] brings what it left back into the repository and [`Workspaces::discard`] removes the clone.
//! There is no second long-lived clone: the file browser reads and writes the bare repository itself.
//!
//! This crate knows git and the file system. It must not know HTTP, the store, Docker or who is asking.
//!
//! # Layout on disk
//!
//! ```text
//! {data_dir}/
//!   repos/{workspace}.git    bare repository; written by this crate alone, never seen by a sandbox
//!   jobs/{job}/              0700, private to us
//!     meta.json              what this working copy is; written last, so a half-made copy is never kept
//!     work/                  the clone: the only folder that a sandbox sees
//!     quarantine/            objects copied from the sandbox's `.git` while they are being checked
//! ```
//!
//! References of a workspace's repository:
//!
//! | reference | holds |
//! |---|---|
//! | `refs/heads/main` | the workspace; moved only by compare-and-swap |
//! | `refs/heads/claw/conflict-{job}` | a job's commit that could not be merged into `main` |
//! | `refs/heads/claw/job-{job}/{branch}` | a branch that the agent made beside its main line |
//! | `refs/claw/jobs/{job}` | a job's commit while it is being merged |
//! | `refs/tags/claw/base`, `refs/heads/claw/snapshot-{job}` | reserved for snapshot mode: where its jobs start and what they leave |
//!
//! A fork will be a repository of its own with its own copy of the objects. Repositories never borrow objects from
//! one another (no `alternates`), so that deleting one cannot break another and no content leaks between owners.
//!
//! # Hostile working copies
//!
//! What a sandbox could write is data, never configuration. No git process started here has a git folder, index,
//! configuration, hook, attribute file or work tree in `jobs/{job}/work` after the sandbox has started:
//!
//! - `git.rs` builds every command: cleared environment, no system or global configuration, every transport refused.
//! - `agent_refs.rs` reads the agent's references as text; `quarantine.rs` copies loose objects and packs into a store
//!   of our own, indexes packs anew and lets `index-pack --strict` judge what enters the repository.
//! - `snapshot.rs` walks the work tree by file descriptor, follows no link, and hashes the files itself; what changed
//!   goes through `git fast-import` on the bare repository, so that no filter or attribute has a say.
//!
//! All processes of the sandbox must have ended before [`Workspaces::keep`] is called.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use claw_core::{JobId, WorkspaceId};
//! use claw_workspace::{KeptAs, Workspaces};
//!
//! let data_dir = tempfile::tempdir()?;
//! let workspaces = Workspaces::open(data_dir.path()).await?;
//! let (workspace, job) = (WorkspaceId::new(), JobId::new());
//! workspaces.create(workspace, &[]).await?;
//!
//! let copy = workspaces.checkout(workspace, job, None).await?;
//! std::fs::write(copy.dir.join("answer.txt"), "42\n")?;
//! let kept = workspaces.keep(&copy).await?;
//! workspaces.discard(job).await?;
//!
//! assert!(matches!(kept.outcome, KeptAs::Committed { .. }));
//! assert_eq!(workspaces.read_file(workspace, &"answer.txt".parse()?, 100).await?, b"42\n");
//! # Ok(()) }
//! ```

mod agent_refs;
mod beneath;
mod checkout;
mod error;
mod files;
mod git;
mod history;
mod ignore_rules;
mod import;
mod integrate;
mod keep;
mod layout;
mod limits;
mod object_id;
mod objects;
mod quarantine;
mod refs;
mod remove;
mod snapshot;
mod workspaces;

pub use checkout::WorkingCopy;
pub use error::WorkspaceError;
pub use files::{EntryKind, FileEntry, Listing};
pub use git::GitVersion;
pub use history::CommitInfo;
pub use keep::{Kept, KeptAs};
pub use limits::Limits;
pub use object_id::CommitId;
pub use snapshot::Skipped;
pub use workspaces::{Settings, Workspaces};
