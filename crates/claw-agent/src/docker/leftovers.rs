//! What a run leaves behind, and the promise that it goes away.

use std::sync::{Arc, Mutex, PoisonError};

use claw_docker::{Docker, DockerError};
use tokio::runtime::Handle;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// What could not be removed, such as while the Engine was away. It is removed when the Engine answers again; what is left
/// at the server's end, the next start sweeps.
#[derive(Clone, Default)]
pub(super) struct Unremoved(Arc<Mutex<Vec<Names>>>);

impl Unremoved {
    fn add(&self, names: Names) {
        self.with(|unremoved| unremoved.push(names));
    }

    /// Tries again in the background, if there is anything. Called when the Engine has just answered.
    pub(super) fn try_again(engine: &Engine) {
        let names = engine.unremoved.with(std::mem::take);
        if names.is_empty() {
            return;
        }
        let Engine { docker, tasks, unremoved } = engine.clone();
        tasks.spawn(async move {
            for names in names {
                match remove(&docker, &names).await {
                    Ok(()) => {
                        tracing::info!(container = names.container, "removed what a run had left behind")
                    }
                    Err(_) => unremoved.add(names),
                }
            }
        });
    }

    /// A std mutex: held for a move, never across an await.
    fn with<T>(&self, act: impl FnOnce(&mut Vec<Names>) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// What every run needs to come and go.
#[derive(Clone)]
pub(super) struct Engine {
    pub(super) docker: Docker,
    /// Everything that goes on in the background: starting, feeding, watching and removing runs.
    pub(super) tasks: TaskTracker,
    pub(super) unremoved: Unremoved,
}

/// The container and volume of one run. Dropping it removes them in the background.
pub(super) struct Leftovers {
    engine: Engine,
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
    pub(super) fn new(engine: &Engine, container: &str, volume: Option<String>) -> Self {
        Self {
            engine: engine.clone(),
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
        let (gone, Engine { docker, unremoved, .. }) = (self.gone.clone(), self.engine.clone());
        let removal = async move {
            let result = remove(&docker, &names).await;
            gone.cancel();
            if let Err(error) = &result {
                tracing::warn!(container = names.container, %error, "could not remove what a run left behind");
                unremoved.add(names);
            }
            result
        };
        Some(self.engine.tasks.spawn_on(removal, &self.runtime))
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
