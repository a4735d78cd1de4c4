//! What is told about how a job's changes were kept.

use std::path::Path;

use claw_core::{JobId, JobResult};
use claw_workspace::{Kept, KeptAs, WorkingCopy};

/// Beside a working copy whose changes could not be kept: it stays until the job is deleted.
const UNKEPT_MARK: &str = "changes-not-kept";

/// Skipped files that are named in the note of a result.
const NAMED_SKIPS: usize = 5;

/// Returns one sentence about the changes; `None` if there were none and nothing is worth telling.
pub(super) fn sentence(kept: &Kept) -> Option<String> {
    let files = match kept.changed_files {
        1 => "1 file".to_owned(),
        count => format!("{count} files"),
    };
    let own = match kept.agent_commits {
        0 => String::new(),
        1 => ", with 1 commit of the agent's own".to_owned(),
        count => format!(", with {count} commits of the agent's own"),
    };
    match &kept.outcome {
        KeptAs::Unchanged => None,
        KeptAs::Committed { commit } => Some(format!("changed {files}{own}: commit {commit}")),
        KeptAs::Merged { commit } => {
            Some(format!("changed {files}{own}: merged with edits made meanwhile, commit {commit}"))
        }
        KeptAs::Conflict { branch, paths, .. } => {
            let where_ = if paths.is_empty() { String::new() } else { format!(" in {}", paths.join(", ")) };
            Some(format!(
                "changed {files}{own}, but the workspace was edited meanwhile{where_}: \
                 the workspace stays as edited, and the job's side is on branch {branch}"
            ))
        }
    }
}

/// Returns the commit that holds the job's changes.
pub(super) fn commit(kept: &Kept) -> Option<String> {
    match &kept.outcome {
        KeptAs::Unchanged => None,
        KeptAs::Committed { commit } | KeptAs::Merged { commit } | KeptAs::Conflict { commit, .. } => {
            Some(commit.to_string())
        }
    }
}

/// Writes into the result what its reader should know about the changes.
pub(super) fn tell(kept: &Kept, result: &mut JobResult) {
    result.commit = commit(kept);
    let mut notes = Vec::new();
    if matches!(kept.outcome, KeptAs::Conflict { .. }) {
        notes.extend(sentence(kept));
    }
    if !kept.branches.is_empty() {
        notes.push(format!("branches of the agent are kept as {}", kept.branches.join(", ")));
    }
    if kept.skipped_count > 0 {
        let named: Vec<_> = kept.skipped.iter().take(NAMED_SKIPS).map(ToString::to_string).collect();
        notes.push(format!("{} files were not kept: {}", kept.skipped_count, named.join("; ")));
    }
    notes.extend(kept.notes.iter().cloned());
    result.note = (!notes.is_empty()).then(|| notes.join(". "));
}

/// Returns the private folder beside the working copy, which the sandbox never sees.
pub(super) fn folder(copy: &WorkingCopy) -> &Path {
    copy.dir.parent().unwrap_or(&copy.dir)
}

/// Marks a working copy as one that must stay, since its changes are nowhere else.
pub(super) async fn mark_unkept(copy: &WorkingCopy, job: JobId) {
    if let Err(error) = tokio::fs::write(folder(copy).join(UNKEPT_MARK), job.to_string()).await {
        tracing::error!(job.id = %job, %error, "could not mark a working copy as one to be left alone");
    }
}

/// Tells whether the working copy must stay.
pub(crate) async fn is_unkept(copy: &WorkingCopy) -> bool {
    tokio::fs::try_exists(folder(copy).join(UNKEPT_MARK)).await.unwrap_or(true)
}
