//! Bringing back what a job left in its working copy.

use std::{path::Path, sync::Arc};

use crate::{
    CommitId, Skipped, WorkingCopy, WorkspaceError, Workspaces, agent_refs,
    checkout::Record,
    git::Call,
    integrate::{Integration, JobCommit},
    object_id::ObjectId,
    objects::TreeEntry,
    quarantine::{AgentWork, Quarantine},
    snapshot::{Snapshot, Tree},
    workspaces::blocking,
};

/// Most bytes of a tree's listing: some two million files.
const MAX_TREE_BYTES: usize = 256 << 20;

/// What became of a job's changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeptAs {
    /// The job changed nothing.
    Unchanged,
    /// `main` points to the job's commit, or it did and has moved on.
    Committed {
        /// The job's commit.
        commit: CommitId,
    },
    /// `main` had moved during the job, and both sides went together.
    Merged {
        /// The commit that joins them.
        commit: CommitId,
    },
    /// `main` had moved during the job, and the two sides do not go together. `main` stays, the job's side has a branch.
    Conflict {
        /// The branch, such as `claw/conflict-019a…`.
        branch: String,
        /// The job's commit, to which the branch points.
        commit: CommitId,
        /// Files that both sides changed; empty if git could not tell.
        paths: Vec<String>,
    },
}

/// The outcome of [`Workspaces::keep`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// What became of the changes.
    pub outcome: KeptAs,
    /// How many files were added, changed or deleted.
    pub changed_files: usize,
    /// How many commits of the agent itself are kept before the job's.
    pub agent_commits: usize,
    /// Further branches of the agent, under the names they are kept as.
    pub branches: Vec<String>,
    /// What of the work tree was not kept, at most 200.
    pub skipped: Vec<Skipped>,
    /// How many were not kept in all.
    pub skipped_count: usize,
    /// What else a person should know, as sentences without a full stop.
    pub notes: Vec<String>,
}

impl Workspaces {
    /// Brings what a job left back into its workspace: its files, and the commits its agent made.
    ///
    /// Call when all processes of the sandbox have ended. Nothing is lost when `main` has moved meanwhile: both sides are
    /// merged, or the job's side gets a branch. A second call, after a crash, finds what the first one did and does it
    /// once. A job without a workspace keeps nothing.
    ///
    /// # Errors
    ///
    /// `NoWorkingCopy` if the job has none; `NotFound` if the workspace has gone; `Contended` if other writers were
    /// faster each time. The working copy is still there after an error, and the call can be repeated.
    pub async fn keep(&self, copy: &WorkingCopy) -> Result<Kept, WorkspaceError> {
        let job = copy.job;
        let mut record = self.record(job).await?.ok_or(WorkspaceError::NoWorkingCopy(job))?;
        let (Some(workspace), Some(base)) = (record.workspace, record.base) else {
            return Ok(report(AgentWork::default(), Vec::new(), &Snapshot::default()));
        };
        let date = record.kept_at.unwrap_or_else(|| self.shared.clock.now());
        if record.kept_at.is_none() {
            record.kept_at = Some(date);
            self.store_record(&record).await?;
        }
        let shared = &self.shared;
        let repository = shared.layout.repository(workspace);
        self.head(workspace).await?;
        let work = shared.layout.work(job);

        let agent = self.agent_work(&repository, &work, &record, base).await?;
        let base_tree = self.tree(&repository, base).await?;
        let agent_tree = match agent.head {
            Some(head) => self.tree(&repository, head).await?,
            None => Tree::new(),
        };
        let (root, limits) = (work.clone(), shared.limits);
        let snapshot = blocking(move || Snapshot::take(&root, base_tree, &agent_tree, &limits)).await?;

        let _writer = shared.writer(workspace).await;
        let integration = Integration { git: &shared.git, repository: &repository, workspace, job, date };
        let branches = integration.keep_branches(&agent.branches).await?;
        let head = agent.head;
        let mut kept = report(agent, branches, &snapshot);
        if head.is_some() || !snapshot.is_empty() {
            let commit = JobCommit { base, agent: head, work, snapshot: Arc::new(snapshot) };
            kept.outcome = integration.integrate(&commit).await?;
            shared.maintain(&repository).await;
        }
        Ok(kept)
    }

    /// Takes in the commits that the agent made.
    async fn agent_work(
        &self,
        repository: &Path,
        work: &Path,
        record: &Record,
        base: CommitId,
    ) -> Result<AgentWork, WorkspaceError> {
        let root = work.to_owned();
        let refs = blocking(move || Ok(agent_refs::read(&root))).await?;
        let folder = self.shared.layout.quarantine(record.job);
        let (git, limits, packs) = (&self.shared.git, &self.shared.limits, record.packs.as_slice());
        Quarantine { git, limits, repository, work, folder: &folder, base, packs }.take_in(refs).await
    }

    /// Returns the files of a commit.
    async fn tree(&self, repository: &Path, commit: CommitId) -> Result<Tree, WorkspaceError> {
        let call = Call::new(repository, "ls-tree")
            .args(["-r", "-z", "--full-tree"])
            .arg(commit.to_string())
            .max_stdout(MAX_TREE_BYTES);
        let stdout = self.shared.git.run(call).await?.ok()?;
        let records = stdout.split(|byte| *byte == 0).filter(|record| !record.is_empty());
        let detail = || "a line of another form".to_owned();
        records
            .map(parse_tree_record)
            .collect::<Option<Tree>>()
            .ok_or_else(|| WorkspaceError::GitAnswer { what: "ls-tree", detail: detail() })
    }
}

fn report(agent: AgentWork, branches: Vec<String>, snapshot: &Snapshot) -> Kept {
    Kept {
        outcome: KeptAs::Unchanged,
        changed_files: snapshot.changes.len() + snapshot.deletions.len(),
        agent_commits: agent.commits,
        branches,
        skipped: snapshot.skipped.clone(),
        skipped_count: snapshot.skipped_count,
        notes: agent.notes,
    }
}

/// Reads `{mode} {kind} {hash}\t{path}`.
fn parse_tree_record(record: &[u8]) -> Option<(Vec<u8>, TreeEntry)> {
    let tab = record.iter().position(|byte| *byte == b'\t')?;
    let mut words = std::str::from_utf8(&record[..tab]).ok()?.split(' ');
    let mode = u32::from_str_radix(words.next()?, 8).ok()?;
    let id = ObjectId::from_hex(words.nth(1)?.as_bytes())?;
    Some((record[tab + 1..].to_vec(), TreeEntry { mode, id }))
}
