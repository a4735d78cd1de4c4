//! Holds a run so that it cannot be forgotten.

use std::{path::PathBuf, time::Duration};

use futures_util::future::BoxFuture;
use tokio::{sync::mpsc, time::timeout};

use crate::sandbox::{Exit, Output, SandboxError, SandboxRun};

/// Longest wait for a sandbox to end and remove a run; what takes longer is left to the next sweep.
const CLEAN_UP: Duration = Duration::from_secs(30);

/// A run that is ended and removed even if the future that holds it is dropped or panics.
pub(super) struct RunGuard {
    run: Option<Box<dyn SandboxRun>>,
}

impl RunGuard {
    pub(super) fn new(run: Box<dyn SandboxRun>) -> Self {
        Self { run: Some(run) }
    }

    pub(super) fn take_output(&mut self) -> Option<mpsc::Receiver<Output>> {
        self.run.as_mut()?.take_output()
    }

    pub(super) fn home_dir(&self) -> BoxFuture<'static, Option<PathBuf>> {
        match &self.run {
            Some(run) => run.home_dir(),
            None => Box::pin(std::future::ready(None)),
        }
    }

    pub(super) async fn wait(&mut self) -> Result<Exit, SandboxError> {
        match &mut self.run {
            Some(run) => run.wait().await,
            None => std::future::pending().await,
        }
    }

    /// Ends the run's processes. A sandbox that fails here is asked again by `remove` and by the next sweep.
    pub(super) async fn stop(&mut self, grace: Duration) {
        let Some(run) = &mut self.run else { return };
        match timeout(CLEAN_UP + grace, run.stop(grace)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "could not stop a run"),
            Err(_) => tracing::warn!("a sandbox takes too long to stop a run"),
        }
    }

    /// Removes what the run left behind.
    pub(super) async fn remove(mut self) {
        if let Some(run) = self.run.take() {
            remove(run).await;
        }
    }
}

impl Drop for RunGuard {
    fn drop(&mut self) {
        let Some(mut run) = self.run.take() else { return };
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        // Whoever held the run is gone, so this task has no owner; it is bounded by its timeouts.
        runtime.spawn(async move {
            if !matches!(timeout(CLEAN_UP, run.stop(Duration::ZERO)).await, Ok(Ok(()))) {
                tracing::warn!("could not stop a run that was given up");
            }
            remove(run).await;
        });
    }
}

async fn remove(run: Box<dyn SandboxRun>) {
    match timeout(CLEAN_UP, run.remove()).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => {
            tracing::warn!(%error, "could not remove a run; the next start's sweep will try again")
        }
        Err(_) => {
            tracing::warn!("a sandbox takes too long to remove a run; the next start's sweep will try again")
        }
    }
}
