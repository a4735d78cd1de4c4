//! What a run leaves in logs, timelines and measures.

use claw_agent::{
    run::LineObserver,
    sandbox::Output,
    stream::{Event, may_claim_type},
};
use claw_core::{Job, JobState, WorkspaceEventKind, WorkspaceId};

use super::{
    Worker,
    keeper::{EndReason, RunEnder},
};
use crate::{
    HouseLine, gauges,
    logs::{HOUSE_TYPE, LogWriter},
    timeline,
};

impl Worker {
    /// Tells of how a run ended, as the store has it.
    pub(super) async fn note_end(&self, job: &Job, run_ms: u64) {
        let workspace = job.spec.workspace_id;
        let outcome = match &job.state {
            JobState::Completed { .. } => {
                let seconds = job.usage.duration_ms / 1000;
                let cost = job.usage.cost_usd.map(|usd| format!(", {usd:.4} US dollars")).unwrap_or_default();
                let text = format!("job completed in {seconds} s{cost}");
                tracing::info!(job.id = %job.id, duration_ms = job.usage.duration_ms, "job completed");
                self.note(workspace, WorkspaceEventKind::JobCompleted, job, &text).await;
                "completed"
            }
            JobState::Failed { error, .. } => {
                tracing::warn!(job.id = %job.id, error, "job failed");
                self.note(workspace, WorkspaceEventKind::JobFailed, job, &format!("job failed: {error}"))
                    .await;
                "failed"
            }
            JobState::Pending { last_error: Some(error), .. } => {
                tracing::info!(job.id = %job.id, error, retry_count = job.retry_count, "job will be tried again");
                self.note(workspace, WorkspaceEventKind::JobFailed, job, &format!("run failed: {error}"))
                    .await;
                "retried"
            }
            JobState::Cancelled { by, .. } => {
                tracing::info!(job.id = %job.id, by, "job cancelled");
                self.note(workspace, WorkspaceEventKind::JobFailed, job, "job cancelled").await;
                "cancelled"
            }
            JobState::Pending { last_error: None, .. } | JobState::Running { .. } => "released",
        };
        gauges::run_ended(outcome, run_ms as f64 / 1000.0);
        gauges::job_finished(job);
    }

    /// Writes to the workspace's timeline. What it tells of has happened already, so a failure is only logged.
    pub(super) async fn note(
        &self,
        workspace: Option<WorkspaceId>,
        kind: WorkspaceEventKind,
        job: &Job,
        text: &str,
    ) {
        let Some(workspace) = workspace else { return };
        let related = Some(job.id.to_string());
        let text = self.redactor.text(text);
        if let Err(error) =
            timeline::record(&self.store, workspace, kind, related, &text, self.clock.now()).await
        {
            tracing::warn!(workspace.id = %workspace, %error, "could not write to the workspace's timeline");
        }
    }
}

/// Puts what the agent says into the job's log.
pub(super) struct LogObserver<'a> {
    pub(super) log: LogWriter,
    pub(super) ender: &'a RunEnder,
}

impl LineObserver for LogObserver<'_> {
    async fn line(&mut self, output: &Output, _: &[Event]) {
        let stored = match output {
            // What the house says in a log must be the house's, whatever parser reads it.
            Output::Stdout { line, .. } if may_claim_type(line, HOUSE_TYPE) => {
                self.log
                    .house(HouseLine::Pretended { text: String::from_utf8_lossy(line).into_owned() })
                    .await
            }
            Output::Stdout { line, .. } => self.log.line(line.clone()).await,
            Output::Stderr { line } => {
                self.log.house(HouseLine::Stderr { text: String::from_utf8_lossy(line).into_owned() }).await
            }
        };
        if !stored {
            // The store refused a line. A run whose log has holes must not pass for whole: let it be run again.
            self.ender.end(EndReason::LeaseLost);
        }
    }
}
