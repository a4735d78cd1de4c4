//! What a start does about the jobs and files of the one before it.

use claw_core::{Job, JobState, JobStatus, Lease};
use claw_store::{StreamName, fault};
use claw_workspace::WorkingCopy;

use super::{Worker, changes, keeper::RunEnder, outcome::SavedOutcome};
use crate::{HouseLine, JobsError};

impl Worker {
    /// Finishes jobs whose agent was done, and frees the others that a former start of this installation held.
    ///
    /// Its process is dead: it held the store's lock, and now we do. Its sandboxes may still run; they are swept
    /// before the first claim.
    pub(super) async fn recover(&self) -> Result<(), JobsError> {
        let former = format!("{}-", self.config.instance);
        for job in self.store.jobs.running().await? {
            let JobState::Running { lease: Lease { worker, token, .. }, .. } = &job.state else { continue };
            if !worker.as_str().starts_with(&former) {
                continue;
            }
            if let Some((saved, copy)) = self.saved_run(&job).await
                && saved.token == *token
            {
                tracing::info!(job.id = %job.id, "finishing a job whose agent was done before the restart");
                let (log, log_task) = self.log_writer(job.id);
                fault::point("recovery.adopted");
                self.keep_and_finish(&job, saved, Some(&copy), &log, &RunEnder::default()).await;
                drop(log);
                if let Ok(Err(error)) = log_task.await {
                    return Err(error.into());
                }
            }
        }
        let lapsed =
            self.store.jobs.lapse(&[former], self.config.retry.max_retries, self.clock.now()).await?;
        fault::point("recovery.lapsed");
        for lapsed in lapsed {
            let lost = vec![HouseLine::RunLost.to_bytes()];
            self.store.streams.append(&StreamName::job_log(lapsed.job.id), lost, self.clock.now()).await?;
            tracing::warn!(job.id = %lapsed.job.id, status = %lapsed.job.status(), "freed a job that was running when the server went away");
        }
        Ok(())
    }

    /// Returns the outcome of an earlier run of the job that was not finished, with its working copy.
    pub(super) async fn saved_run(&self, job: &Job) -> Option<(SavedOutcome, WorkingCopy)> {
        let copy = self.files.working_copy(job.id).await.ok().flatten()?;
        let saved = SavedOutcome::load(changes::folder(&copy)).await?;
        Some((saved, copy))
    }

    /// Removes working copies that no job needs any more. Those with a saved outcome of an open job stay, and those
    /// whose changes could not be kept, until their job is deleted.
    pub(super) async fn discard_leftovers(&self) -> Result<(), JobsError> {
        for id in self.files.leftover_jobs().await? {
            if let Some(job) = self.store.jobs.get(id).await? {
                // Whatever of ours was running has been freed by now: this one is another server's.
                if job.status() == JobStatus::Running {
                    continue;
                }
                let waits = !job.status().is_terminal() && self.saved_run(&job).await.is_some();
                let copy = self.files.working_copy(id).await.unwrap_or_default();
                let unkept = match &copy {
                    Some(copy) => changes::is_unkept(copy).await,
                    None => false,
                };
                if waits || unkept {
                    continue;
                }
            }
            tracing::info!(job.id = %id, "removing a working copy that a former start left behind");
            self.files.discard(id).await?;
            fault::point("recovery.discarded");
        }
        Ok(())
    }
}
