//! Waiting for a job to end.

use std::time::{Duration, Instant};

use claw_core::{Coded, ErrorCode, JobId};
use tokio::time::{sleep, sleep_until};

use crate::{Answer, Client, ClientError, EventStream, Job, JobUpdate, events};

/// A look at the job without being told to, should an event be lost.
const SAFETY_NET: Duration = Duration::from_secs(15);
/// The same for servers without an event stream.
const POLL: Duration = Duration::from_secs(2);
/// How long a server may be away, for a restart or an upgrade, before the wait is given up.
const PATIENCE: Duration = Duration::from_secs(120);

impl Client {
    /// Waits until the job has ended and returns it. `on_change` sees the job at first and after each change.
    ///
    /// It wakes on the server's events and outlives a restart of the server.
    ///
    /// # Errors
    ///
    /// [`ErrorCode::WaitTimedOut`] after `limit`; otherwise what asking for the job fails with.
    pub async fn wait_for_job(
        &self,
        id: JobId,
        limit: Option<Duration>,
        mut on_change: impl FnMut(&Job),
    ) -> Result<Answer<Job>, ClientError> {
        let wait = self.wait_without_limit(id, &mut on_change);
        let Some(limit) = limit else {
            return wait.await;
        };
        tokio::time::timeout(limit, wait).await.unwrap_or_else(|_| {
            let message = format!("job {id} has not ended within {} s; it goes on", limit.as_secs());
            Err(ClientError::new(ErrorCode::WaitTimedOut, message))
        })
    }

    async fn wait_without_limit(
        &self,
        id: JobId,
        on_change: &mut impl FnMut(&Job),
    ) -> Result<Answer<Job>, ClientError> {
        // Listening begins before the first look, so that no change falls in between.
        let mut events = self.job_events_if_any().await?;
        let mut last_status = None;
        loop {
            let job = self.job_patiently(id).await?;
            if last_status.replace(job.status) != Some(job.status) {
                on_change(&job);
            }
            if job.status.is_terminal() {
                return Ok(job);
            }
            wait_for_sign(&mut events, id).await;
        }
    }

    /// Asks for the job; a server that is away is asked again for a while.
    async fn job_patiently(&self, id: JobId) -> Result<Answer<Job>, ClientError> {
        let give_up = Instant::now() + PATIENCE;
        loop {
            match self.job(id).await {
                Err(error) if error.is_transient() && Instant::now() < give_up => {
                    sleep(error.retry_after().unwrap_or(POLL).min(PATIENCE)).await;
                }
                outcome => return outcome,
            }
        }
    }

    async fn job_events_if_any(&self) -> Result<Option<EventStream>, ClientError> {
        match self.job_events().await {
            Ok(events) => Ok(Some(events)),
            Err(error) if events::is_unsupported(&error) || error.code() == ErrorCode::ScopeRequired => {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }
}

/// Returns when the job may have changed.
async fn wait_for_sign(events: &mut Option<EventStream>, id: JobId) {
    let Some(stream) = events else {
        return sleep(POLL).await;
    };
    let safety_net = sleep_until(tokio::time::Instant::now() + SAFETY_NET);
    tokio::pin!(safety_net);
    loop {
        tokio::select! {
            () = &mut safety_net => return,
            event = stream.next() => match event {
                // Events may have been missed while the connection was away.
                Ok(Some(event)) if event.event == "connected" => return,
                Ok(Some(event)) => {
                    if JobUpdate::parse(&event.data).is_some_and(|update| update.job_id == id) {
                        return;
                    }
                }
                // Without events the wait goes on by asking, and the next question shows what is wrong.
                Ok(None) | Err(_) => {
                    *events = None;
                    return sleep(POLL).await;
                }
            },
        }
    }
}
