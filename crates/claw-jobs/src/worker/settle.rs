//! From a run's outcome to the end of its job: keep the changes, tell the store, all of it repeatable after a crash.

use std::time::Duration;

use claw_core::{FailureKind, IllegalTransition, Job, JobOutcome, RunUsage, WorkspaceEventKind};
use claw_store::{StoreError, fault};
use claw_workspace::{Kept, KeptAs, WorkingCopy, WorkspaceError};
use tracing::Instrument;

use super::{
    Worker, changes,
    dispatch::after,
    execute::Failure,
    keeper::RunEnder,
    outcome::{SavedEnd, SavedOutcome},
};
use crate::{HouseLine, logs::LogWriter, spans};

/// How often keeping the changes of a run is tried.
const KEEP_TRIES: u32 = 3;

/// Pause before the store or the workspace is asked again to take the outcome of a run.
const FINISH_AGAIN: Duration = Duration::from_secs(1);

impl Worker {
    /// Keeps what the run changed, if it is to be kept, and finishes the job. May be done again after a crash.
    pub(super) async fn keep_and_finish(
        &self,
        job: &Job,
        mut saved: SavedOutcome,
        copy: Option<&WorkingCopy>,
        log: &LogWriter,
        ender: &RunEnder,
    ) -> bool {
        let mut copy_is_needed = false;
        if let Some(copy) = copy.filter(|_| saved.keep) {
            match self.keep(copy).instrument(spans::keep(job.id)).await {
                Ok(kept) => {
                    fault::point("worker.kept");
                    if let Some(text) = changes::sentence(&kept) {
                        if matches!(kept.outcome, KeptAs::Conflict { .. }) {
                            self.note(job.spec.workspace_id, WorkspaceEventKind::JobConflict, job, &text)
                                .await;
                        }
                        log.house(HouseLine::Changes { text, commit: changes::commit(&kept) }).await;
                    }
                    if let SavedEnd::Completed { result } = &mut saved.end {
                        changes::tell(&kept, result);
                    }
                }
                Err(error) => {
                    // The result must not claim what did not happen, and the work must not be lost.
                    tracing::error!(job.id = %job.id, %error, "could not keep the job's changes");
                    changes::mark_unkept(copy, job.id).await;
                    copy_is_needed = true;
                    let place = copy.dir.display();
                    let error = format!(
                        "the changes could not be kept in the workspace ({error}); they are still in {place} on the server"
                    );
                    saved = self.failed(
                        job,
                        saved.token,
                        Failure { kind: FailureKind::Workspace, error },
                        saved.usage,
                    );
                }
            }
        }
        self.finish(job, saved, log, ender).await && !copy_is_needed
    }

    /// Keeps the changes, trying again what a full disk or a busy repository refused.
    async fn keep(&self, copy: &WorkingCopy) -> Result<Kept, WorkspaceError> {
        let mut tries = 1;
        loop {
            match self.files.keep(copy).await {
                Err(error) if tries < KEEP_TRIES => {
                    tracing::warn!(job.id = %copy.job, %error, "could not keep the job's changes, trying again");
                    tries += 1;
                    tokio::time::sleep(FINISH_AGAIN).await;
                }
                outcome => return outcome,
            }
        }
    }

    /// Gives the job back to the queue. Tells that nothing on disk is needed any more.
    pub(super) async fn release(
        &self,
        job: &Job,
        token: u64,
        usage: RunUsage,
        log: &LogWriter,
        ender: &RunEnder,
    ) -> bool {
        log.flush().await;
        ender.settle();
        let outcome = JobOutcome::Released;
        match self.store.jobs.finish(job.id, token, outcome, usage, self.clock.now()).await {
            Ok(_) => true,
            Err(error) => {
                tracing::warn!(job.id = %job.id, %error, "could not give the job back; its lease will lapse");
                true
            }
        }
    }

    /// Writes the last lines of the log, then the outcome. Tells whether the store has it, or has moved on.
    pub(super) async fn finish(
        &self,
        job: &Job,
        saved: SavedOutcome,
        log: &LogWriter,
        ender: &RunEnder,
    ) -> bool {
        let saved = self.redacted(saved);
        match &saved.end {
            SavedEnd::Completed { .. } => true,
            SavedEnd::Failed { error, retry_at, .. } => {
                log.house(HouseLine::RunFailed { error: error.clone(), retry_at: *retry_at }).await
            }
            SavedEnd::Postponed { error, until } => {
                log.house(HouseLine::RunFailed { error: error.clone(), retry_at: Some(*until) }).await
            }
            SavedEnd::Cancelled => log.house(HouseLine::RunCancelled).await,
        };
        // A reader that sees the job's end must find its whole log.
        log.flush().await;
        ender.settle();
        fault::point("worker.before_finish");
        let give_up_at = after(self.clock.now(), self.config.lease);
        loop {
            let now = self.clock.now();
            let outcome = saved.end.clone().into_outcome();
            let finish = self.store.jobs.finish(job.id, saved.token, outcome, saved.usage, now);
            match finish.instrument(spans::finish(job.id)).await {
                Ok(finished) => {
                    fault::point("worker.finished");
                    self.note_end(&finished, saved.usage.duration_ms).await;
                    return true;
                }
                Err(StoreError::Transition(IllegalTransition::LostLease) | StoreError::JobNotFound(_)) => {
                    tracing::warn!(job.id = %job.id, "the job has moved on: this run's outcome does not count");
                    return true;
                }
                Err(error) if now >= give_up_at => {
                    tracing::error!(job.id = %job.id, %error, "could not store the outcome; it stays beside the working copy");
                    return false;
                }
                Err(error) => {
                    tracing::warn!(job.id = %job.id, %error, "could not store the outcome, trying again");
                    tokio::time::sleep(FINISH_AGAIN).await;
                }
            }
        }
    }

    /// Takes known secrets out of everything in an outcome that is going to be shown.
    pub(super) fn redacted(&self, mut saved: SavedOutcome) -> SavedOutcome {
        let clean = |text: &mut String| {
            if let std::borrow::Cow::Owned(clean) = self.redactor.text(text) {
                *text = clean;
            }
        };
        match &mut saved.end {
            SavedEnd::Completed { result } => {
                clean(&mut result.text);
                result.note.as_mut().into_iter().for_each(clean);
                result.session_id.as_mut().into_iter().for_each(clean);
            }
            SavedEnd::Failed { error, .. } | SavedEnd::Postponed { error, .. } => clean(error),
            SavedEnd::Cancelled => {}
        }
        saved
    }
}
