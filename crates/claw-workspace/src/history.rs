//! The history of `main`.

use std::collections::HashSet;

use claw_core::{JobId, Timestamp, WorkspaceId};

use crate::{CommitId, WorkspaceError, Workspaces, git::Call, integrate, object_id::ObjectId};

/// The line of a commit message that names the job behind it.
pub(crate) const JOB_TRAILER: &str = "Claw-Job";

/// Commits that can be skipped: each is still read.
const MAX_SKIP: usize = 100_000;

/// Longest history that is returned at once.
const MAX_LIMIT: usize = 1000;

/// Most bytes of one answer. Subjects and names are the agent's, so they can be long.
const MAX_BYTES: usize = 64 << 20;

/// One commit of a workspace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommitInfo {
    /// The commit's name.
    pub hash: CommitId,
    /// First line of its message.
    pub message: String,
    /// When it was committed, as its committer says.
    pub date: Timestamp,
    /// Name of its author, as its committer says.
    pub author: String,
    /// The job whose changes it brought. Only commits that the house made have one: an agent cannot claim another job.
    pub job: Option<JobId>,
}

impl Workspaces {
    /// Returns commits of `main`, newest first, the agents' own among them.
    ///
    /// At most 1,000 are returned and at most 100,000 skipped.
    ///
    /// # Errors
    ///
    /// `NotFound` if the workspace has no repository.
    pub async fn history(
        &self,
        workspace: WorkspaceId,
        skip: usize,
        limit: usize,
    ) -> Result<Vec<CommitInfo>, WorkspaceError> {
        let head = self.head(workspace).await?;
        let (skip, limit) = (skip.min(MAX_SKIP), limit.min(MAX_LIMIT));
        // What is skipped is read too, to know which commits the house made.
        let format =
            format!("%H%x00%P%x00%ct%x00%an%x00%(trailers:key={JOB_TRAILER},valueonly,separator=%x2C)%x00%s");
        let call = Call::new(&self.shared.layout.repository(workspace), "log")
            .args(["-z", "--no-color", "--encoding=UTF-8", "--no-show-signature"])
            .arg(format!("--max-count={}", skip + limit))
            .arg(format!("--format=tformat:{format}"))
            .arg(head.to_string())
            .arg("--")
            .max_stdout(MAX_BYTES);
        let stdout = self.shared.git.run(call).await?.ok()?;
        let commits = parse_log(&stdout, head);
        let detail = || "a record of another form".to_owned();
        let commits = commits.ok_or_else(|| WorkspaceError::GitAnswer { what: "log", detail: detail() })?;
        Ok(commits.into_iter().skip(skip).collect())
    }
}

/// Reads records of six NUL-terminated fields.
fn parse_log(stdout: &[u8], head: CommitId) -> Option<Vec<CommitInfo>> {
    let fields: Vec<&[u8]> =
        stdout.strip_suffix(b"\0").unwrap_or_default().split(|byte| *byte == 0).collect();
    if stdout.is_empty() {
        return Some(Vec::new());
    }
    // Commits that the house made: the head of `main`, and from there every first parent. The second parent of a
    // merge is ours too if it is the job's commit; that of a job's commit is the agent's.
    let mut ours = HashSet::from([head]);
    let mut commits = Vec::new();
    for record in fields.chunks(6) {
        let &[hash, parents, date, author, jobs, subject] = record else { return None };
        let hash = CommitId(ObjectId::from_hex(hash)?);
        let message = String::from_utf8_lossy(subject).into_owned();
        let is_ours = ours.remove(&hash);
        if is_ours {
            let followed = if message.starts_with(integrate::MERGE_SUBJECT) { 2 } else { 1 };
            let parents = parents.split(|byte| *byte == b' ').take(followed);
            ours.extend(parents.filter_map(ObjectId::from_hex).map(CommitId));
        }
        let job = std::str::from_utf8(jobs).ok().and_then(|text| text.trim().parse().ok());
        let seconds = std::str::from_utf8(date).ok()?.parse().ok()?;
        commits.push(CommitInfo {
            hash,
            message,
            // The agent's clock can say anything.
            date: Timestamp::from_second(seconds).unwrap_or(Timestamp::UNIX_EPOCH),
            author: String::from_utf8_lossy(author).into_owned(),
            job: job.filter(|_| is_ours),
        });
    }
    Some(commits)
}
