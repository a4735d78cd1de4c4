//! Joining a job's commit with a `main` that may have moved.

use std::{path::Path, path::PathBuf, sync::Arc};

use claw_core::{JobId, Timestamp, WorkspaceId};

use crate::{
    CommitId, KeptAs, WorkspaceError,
    git::{Call, Git, IDENTITY_NAME, Input},
    history::JOB_TRAILER,
    import::{self, Imported, NewCommit},
    object_id::ObjectId,
    refs::{self, RefChange},
    snapshot::Snapshot,
    workspaces::remove_stale_locks,
};

/// Attempts to move a reference before giving up. Only writers in other processes can make one fail.
const ATTEMPTS: usize = 5;

/// Names that are tried for a branch, when earlier runs of the same job took the first ones.
const MAX_NAMES: usize = 100;

/// Longest branch name of an agent that is kept as it is.
const MAX_BRANCH_NAME: usize = 150;

/// Most bytes of a list of paths in conflict, and most of them that are returned.
const MAX_CONFLICT_BYTES: usize = 16 << 20;
const MAX_CONFLICT_PATHS: usize = 200;

/// How the message of a commit begins that joins a job's commit with `main`.
pub(crate) const MERGE_SUBJECT: &str = "claw: merge job ";

/// Where a job's work goes.
pub(crate) struct Integration<'a> {
    pub(crate) git: &'a Git,
    pub(crate) repository: &'a Path,
    pub(crate) workspace: WorkspaceId,
    pub(crate) job: JobId,
    /// The time of every commit made here: equal for each attempt, so that equal work makes equal commits.
    pub(crate) date: Timestamp,
}

/// A job's work, to be made into one commit.
pub(crate) struct JobCommit {
    pub(crate) base: CommitId,
    /// The agent's last commit.
    pub(crate) agent: Option<CommitId>,
    /// The work tree.
    pub(crate) work: PathBuf,
    pub(crate) snapshot: Arc<Snapshot>,
}

enum MergedTree {
    Clean(ObjectId),
    Conflict(Vec<String>),
}

impl Integration<'_> {
    /// Commits a job's work and brings it into `main`, or onto a branch if the two do not go together.
    pub(crate) async fn integrate(&self, commit: &JobCommit) -> Result<KeptAs, WorkspaceError> {
        for _ in 0..ATTEMPTS {
            // Straight onto `main` if it is where the job left it: one process. Else beside it first.
            let direct = self.main()? == commit.base;
            match self.write(commit, direct).await {
                Ok(Imported::Done(id)) if direct => return Ok(KeptAs::Committed { commit: id }),
                Ok(Imported::Done(id) | Imported::Overtaken(id)) => return self.merge(id).await,
                Err(error) if refs::is_locked(&error) => remove_stale_locks(self.repository).await?,
                Err(error) => return Err(error),
            }
        }
        Err(WorkspaceError::Contended(self.workspace))
    }

    /// Keeps branches of the agent and returns their names here.
    pub(crate) async fn keep_branches(
        &self,
        branches: &[(Vec<u8>, CommitId)],
    ) -> Result<Vec<String>, WorkspaceError> {
        let mut names = Vec::new();
        for (name, commit) in branches {
            let plain = format!("branch-{}", &commit.to_string()[..12]);
            let wanted = safe_branch_name(name).unwrap_or(&plain);
            // A name can be impossible beside others (`a` and `a/b`); the plain one never is.
            let kept = match self.create_branch(&format!("job-{}/{wanted}", self.job), *commit).await {
                Err(WorkspaceError::Git { .. }) if wanted != plain => {
                    self.create_branch(&format!("job-{}/{plain}", self.job), *commit).await?
                }
                result => result?,
            };
            names.push(kept);
        }
        Ok(names)
    }

    fn main(&self) -> Result<CommitId, WorkspaceError> {
        refs::read(self.repository, refs::MAIN)?.ok_or(WorkspaceError::NotFound(self.workspace))
    }

    /// Where a job's commit is kept while it is being merged.
    fn own_reference(&self) -> String {
        format!("refs/claw/jobs/{}", self.job)
    }

    async fn write(&self, commit: &JobCommit, direct: bool) -> Result<Imported, WorkspaceError> {
        let head = NewCommit {
            reference: if direct { refs::MAIN.to_owned() } else { self.own_reference() },
            parent: Some(commit.base),
            merged: commit.agent,
            author: IDENTITY_NAME.to_owned(),
            date: self.date,
            message: format!("claw: post-job {job}\n\n{JOB_TRAILER}: {job}\n", job = self.job),
            force: !direct,
        };
        let (work, snapshot) = (commit.work.clone(), Arc::clone(&commit.snapshot));
        import::commit(self.git, self.repository, head, move |writer| snapshot.write(&work, writer)).await
    }

    /// Joins the job's commit with `main`.
    async fn merge(&self, commit: CommitId) -> Result<KeptAs, WorkspaceError> {
        for _ in 0..ATTEMPTS {
            let main = self.main()?;
            let own = refs::read(self.repository, &self.own_reference())?;
            let drop_own = own.map(|old| RefChange::Delete { name: self.own_reference(), old });
            let (outcome, change) = if self.is_ancestor(commit, main).await? {
                (KeptAs::Committed { commit }, None)
            } else {
                match self.merge_tree(main, commit).await? {
                    MergedTree::Clean(tree) => {
                        let merge = self.commit_merge(tree, main, commit).await?;
                        let change = RefChange::Move { name: refs::MAIN.to_owned(), new: merge, old: main };
                        (KeptAs::Merged { commit: merge }, Some(change))
                    }
                    MergedTree::Conflict(paths) => {
                        let branch = self.create_branch(&format!("conflict-{}", self.job), commit).await?;
                        (KeptAs::Conflict { branch, commit, paths }, None)
                    }
                }
            };
            let changes: Vec<_> = change.into_iter().chain(drop_own).collect();
            if changes.is_empty() {
                return Ok(outcome);
            }
            match refs::update(self.git, self.repository, &changes).await {
                Ok(true) => return Ok(outcome),
                Ok(false) => {}
                Err(error) if refs::is_locked(&error) => remove_stale_locks(self.repository).await?,
                Err(error) => return Err(error),
            }
        }
        Err(WorkspaceError::Contended(self.workspace))
    }

    async fn is_ancestor(&self, commit: CommitId, of: CommitId) -> Result<bool, WorkspaceError> {
        let call = Call::new(self.repository, "merge-base").args([
            "--is-ancestor",
            &commit.to_string(),
            &of.to_string(),
        ]);
        let output = self.git.run(call).await?;
        match output.status {
            0 => Ok(true),
            1 => Ok(false),
            _ => Err(output.failure()),
        }
    }

    /// Merges in the repository itself: no work tree, no attributes, no merge drivers.
    async fn merge_tree(&self, main: CommitId, commit: CommitId) -> Result<MergedTree, WorkspaceError> {
        let call = Call::new(self.repository, "merge-tree")
            .args(["--write-tree", "-z", "--name-only", "--no-messages"])
            .args([main.to_string(), commit.to_string()])
            .max_stdout(MAX_CONFLICT_BYTES);
        let output = match self.git.run(call).await {
            Ok(output) => output,
            // Too hard to merge is a conflict too: the job's side gets its branch.
            Err(WorkspaceError::GitTimeout { .. } | WorkspaceError::GitAnswer { .. }) => {
                return Ok(MergedTree::Conflict(Vec::new()));
            }
            Err(error) => return Err(error),
        };
        let mut records = output.stdout.split(|byte| *byte == 0).filter(|record| !record.is_empty());
        match (output.status, records.next().and_then(ObjectId::from_hex)) {
            (0, Some(tree)) => Ok(MergedTree::Clean(tree)),
            (1, _) => {
                let shown = |path: &[u8]| String::from_utf8_lossy(path).into_owned();
                Ok(MergedTree::Conflict(records.take(MAX_CONFLICT_PATHS).map(shown).collect()))
            }
            _ => {
                let error = output.failure();
                tracing::warn!(job.id = %self.job, %error, "could not merge a job's commit; it gets a branch");
                Ok(MergedTree::Conflict(Vec::new()))
            }
        }
    }

    async fn commit_merge(
        &self,
        tree: ObjectId,
        main: CommitId,
        commit: CommitId,
    ) -> Result<CommitId, WorkspaceError> {
        let message = format!("{MERGE_SUBJECT}{job}\n\n{JOB_TRAILER}: {job}\n", job = self.job);
        let date = format!("{} +0000", self.date.as_second());
        let call = Call::new(self.repository, "commit-tree")
            .args(["-p", &main.to_string(), "-p", &commit.to_string(), &tree.to_string()])
            .env("GIT_AUTHOR_DATE", &date)
            .env("GIT_COMMITTER_DATE", &date)
            .input(Input::Bytes(message.into_bytes()));
        let stdout = self.git.run(call).await?.ok()?;
        let text = String::from_utf8_lossy(&stdout);
        text.trim()
            .parse()
            .map_err(|_| WorkspaceError::GitAnswer { what: "commit-tree", detail: text.into_owned() })
    }

    /// Makes the branch `claw/{name}`, or finds it at `commit`; another name if an earlier run of the job took it.
    async fn create_branch(&self, name: &str, commit: CommitId) -> Result<String, WorkspaceError> {
        for number in 1..=MAX_NAMES {
            let branch = if number == 1 { format!("claw/{name}") } else { format!("claw/{name}-{number}") };
            let reference = format!("refs/heads/{branch}");
            match refs::read(self.repository, &reference)? {
                Some(found) if found == commit => return Ok(branch),
                Some(_) => continue,
                None => {}
            }
            let create = [RefChange::Create { name: reference, new: commit }];
            if refs::update(self.git, self.repository, &create).await? {
                return Ok(branch);
            }
        }
        Err(WorkspaceError::Contended(self.workspace))
    }
}

/// Returns an agent's branch name if it may be part of one of ours: a narrow form of git's own rules.
fn safe_branch_name(name: &[u8]) -> Option<&str> {
    let name = std::str::from_utf8(name).ok().filter(|name| name.len() <= MAX_BRANCH_NAME)?;
    let part_is_safe = |part: &str| {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        !part.is_empty()
            && part.chars().all(plain)
            && !part.starts_with(['.', '-'])
            && !part.ends_with('.')
            && !part.ends_with(".lock")
            && !part.contains("..")
    };
    name.split('/').all(part_is_safe).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn branch_names_that_could_be_anything_else_are_replaced() {
        for name in ["feature", "fix/issue-12", "v1.2_x"] {
            assert_eq!(safe_branch_name(name.as_bytes()), Some(name));
        }
        for name in [
            "", "-f", "a..b", "a/../b", "a//b", "/a", "a/", ".a", "a.lock", "a b", "a\nb", "a~1", "a:b",
            "@{u}",
        ] {
            assert_eq!(safe_branch_name(name.as_bytes()), None, "{name}");
        }
        assert_eq!(safe_branch_name(b"\xff"), None);
    }
}
