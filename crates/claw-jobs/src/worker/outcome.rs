//! How a run ended, kept beside its working copy until the job is finished.
//!
//! Written once the agent is gone and before its changes are kept. A server that dies in between finds it at the
//! next start and goes on from there instead of running the job, and paying for it, a second time.

use std::{io, path::Path};

use claw_core::{FailureKind, JobOutcome, JobResult, RunUsage, Timestamp};
use serde::{Deserialize, Serialize};
use tokio::io::AsyncWriteExt;

const FILE: &str = "outcome.json";

/// Bytes of an outcome file at the most: a result text with room for escapes.
const MAX_BYTES: u64 = 64 * 1024 * 1024;

/// How a run ended, with the lease under which it ran.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct SavedOutcome {
    pub(super) token: u64,
    pub(super) end: SavedEnd,
    pub(super) usage: RunUsage,
    /// Whether the changes in the working copy are to be kept.
    pub(super) keep: bool,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "end", rename_all = "snake_case")]
pub(super) enum SavedEnd {
    Completed { result: JobResult },
    Failed { kind: FailureKind, error: String, retry_at: Option<Timestamp> },
    Postponed { error: String, until: Timestamp },
    Cancelled,
}

impl SavedEnd {
    pub(super) fn into_outcome(self) -> JobOutcome {
        match self {
            Self::Completed { result } => JobOutcome::Completed { result },
            Self::Failed { kind, error, retry_at } => JobOutcome::Failed { kind, error, retry_at },
            Self::Postponed { error, until } => JobOutcome::Postponed { error, until },
            Self::Cancelled => JobOutcome::Cancelled,
        }
    }
}

impl SavedOutcome {
    /// Writes the outcome to `folder`, durably and whole or not at all.
    pub(super) async fn save(&self, folder: &Path) -> io::Result<()> {
        let (temporary, path) = (folder.join("outcome.json.new"), folder.join(FILE));
        let mut file = tokio::fs::File::create(&temporary).await?;
        file.write_all(&serde_json::to_vec(self)?).await?;
        file.sync_all().await?;
        tokio::fs::rename(&temporary, &path).await?;
        tokio::fs::File::open(folder).await?.sync_all().await
    }

    /// Returns the outcome saved in `folder`, or `None` if there is none that can be read.
    pub(super) async fn load(folder: &Path) -> Option<Self> {
        let path = folder.join(FILE);
        let size = tokio::fs::metadata(&path).await.ok()?.len();
        if size > MAX_BYTES {
            return None;
        }
        match serde_json::from_slice(&tokio::fs::read(&path).await.ok()?) {
            Ok(saved) => Some(saved),
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "ignoring an outcome file that cannot be read");
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_outcome_survives_a_round_trip_and_garbage_is_ignored() {
        let folder = tempfile::tempdir().expect("a temp folder");
        let saved = SavedOutcome {
            token: 3,
            end: SavedEnd::Failed { kind: FailureKind::Killed, error: "killed".into(), retry_at: None },
            usage: RunUsage { cost_usd: Some(0.25), duration_ms: 5 },
            keep: true,
        };

        assert_eq!(SavedOutcome::load(folder.path()).await, None);
        saved.save(folder.path()).await.expect("saved");
        assert_eq!(SavedOutcome::load(folder.path()).await, Some(saved));

        std::fs::write(folder.path().join(FILE), "{").expect("written");
        assert_eq!(SavedOutcome::load(folder.path()).await, None);
    }
}
