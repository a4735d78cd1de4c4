//! What a run leaves behind, and the promise that it goes away.

use claw_docker::{Docker, DockerError};
use tokio::runtime::Handle;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// The container and volume of one run. Dropping it removes them in the background.
pub(super) struct Leftovers {
    docker: Docker,
    tasks: TaskTracker,
    runtime: Handle,
    /// `None` once somebody else has taken over the removal.
    names: Option<Names>,
    /// Tells the run's tasks that there is nothing left to watch.
    gone: CancellationToken,
}

struct Names {
    container: String,
    volume: Option<String>,
}

impl Leftovers {
    /// Returns the promise for what is about to be made. Must be called inside a runtime.
    pub(super) fn new(docker: &Docker, tasks: &TaskTracker, container: &str, volume: Option<String>) -> Self {
        Self {
            docker: docker.clone(),
            tasks: tasks.clone(),
            runtime: Handle::current(),
            names: Some(Names { container: container.to_owned(), volume }),
            gone: CancellationToken::new(),
        }
    }

    /// Says which container was made.
    pub(super) fn container_is(&mut self, id: &str) {
        if let Some(names) = &mut self.names {
            names.container = id.to_owned();
        }
    }

    /// Returns the token that is cancelled once everything is removed, or could not be.
    pub(super) fn gone(&self) -> CancellationToken {
        self.gone.clone()
    }

    /// Removes everything now. Goes on in the background when the future is dropped.
    pub(super) async fn remove(mut self) -> Result<(), DockerError> {
        match self.spawn_removal() {
            // An aborted task means that the runtime ends; the next start sweeps.
            Some(removal) => removal.await.unwrap_or(Ok(())),
            None => Ok(()),
        }
    }

    /// Forgets about it: nothing was made.
    pub(super) fn nothing_there(mut self) {
        self.names = None;
    }

    fn spawn_removal(&mut self) -> Option<tokio::task::JoinHandle<Result<(), DockerError>>> {
        let names = self.names.take()?;
        let (docker, gone) = (self.docker.clone(), self.gone.clone());
        let removal = async move {
            let result = remove(&docker, &names).await;
            gone.cancel();
            if let Err(error) = &result {
                tracing::warn!(container = names.container, %error, "could not remove what a run left behind");
            }
            result
        };
        Some(self.tasks.spawn_on(removal, &self.runtime))
    }
}

impl Drop for Leftovers {
    fn drop(&mut self) {
        drop(self.spawn_removal());
    }
}

async fn remove(docker: &Docker, names: &Names) -> Result<(), DockerError> {
    docker.remove_force(&names.container).await?;
    match &names.volume {
        Some(volume) => docker.remove_volume(volume).await,
        None => Ok(()),
    }
}
