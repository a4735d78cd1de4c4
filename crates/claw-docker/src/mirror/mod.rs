//! Containers and images as the Engine has them, answered from memory.
//!
//! One task follows the Engine's events and looks again at what they name. Events say only that something happened:
//! what is true is always asked for, so a repeated, late or reordered one does no harm. After any gap (the stream ends
//! or cannot be read, the Engine restarts or hangs) everything is asked for anew, and until that is done no list is
//! given out: callers wait for a while and then get the error.

mod follow;
mod pending;
mod snapshot;

use std::{fmt, sync::Arc, time::Duration};

use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use crate::{ContainerEntry, Docker, DockerError, ImageEntry, name};
use follow::{Ask, Follower, Look};
use snapshot::{Found, Snapshot};

/// Longest wait of a caller for the first look, or for a new one after a gap.
const SYNC_WAIT: Duration = Duration::from_secs(10);

/// Longest wait until the mirror has seen a change of our own.
const SETTLE_WAIT: Duration = Duration::from_secs(10);

/// Changes of our own that wait to be looked at.
const MAX_ASKS: usize = 256;

/// How often things are done.
#[derive(Clone, Copy, Debug)]
pub struct MirrorPace {
    /// Events of one container that come within this time are one look at it.
    pub gather: Duration,
    /// Shortest time between two rounds of looks, however much happens.
    pub rest: Duration,
    /// How often the Engine is asked whether it is there: one that hangs sends no events either.
    pub ping_every: Duration,
    /// Longest time for its answer.
    pub ping_limit: Duration,
    /// After so many of these questions, the list is compared: Engines drop events for readers they find too slow.
    pub pings_per_list: u32,
    /// First pause before the Engine is tried again; the next ones double.
    pub first_pause: Duration,
    /// Longest pause.
    pub longest_pause: Duration,
}

impl Default for MirrorPace {
    fn default() -> Self {
        Self {
            gather: Duration::from_millis(5),
            rest: Duration::from_millis(50),
            ping_every: Duration::from_secs(5),
            ping_limit: Duration::from_secs(10),
            pings_per_list: 12,
            first_pause: Duration::from_millis(100),
            longest_pause: Duration::from_secs(2),
        }
    }
}

/// Containers and images as the Engine has them. Clones are cheap and show the same.
#[derive(Clone)]
pub struct Mirror {
    docker: Docker,
    shown: Arc<Shown>,
    asks: mpsc::Sender<Ask>,
}

impl fmt::Debug for Mirror {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mirror")
            .field("docker", &self.docker)
            .field("shown", &self.shown)
            .finish_non_exhaustive()
    }
}

/// What is given out, by the task to the callers.
#[derive(Debug)]
struct Shown {
    view: watch::Sender<View>,
    changes: watch::Sender<u64>,
}

#[derive(Clone, Debug)]
enum View {
    /// Being looked at, for the first time or again.
    Syncing,
    /// Not to be seen, and why.
    Away(DockerError),
    Current(Arc<Snapshot>),
}

impl Shown {
    fn show(&self, view: View) {
        self.view.send_replace(view);
        self.changes.send_modify(|changes| *changes += 1);
    }
}

impl Mirror {
    /// Returns a mirror of the Engine, and the task that keeps it current until `stop`, for the caller to spawn.
    pub fn start(
        docker: Docker,
        stop: CancellationToken,
    ) -> (Self, impl Future<Output = ()> + Send + 'static) {
        Self::start_at(docker, stop, MirrorPace::default())
    }

    /// As [`Mirror::start`], at another pace.
    pub fn start_at(
        docker: Docker,
        stop: CancellationToken,
        pace: MirrorPace,
    ) -> (Self, impl Future<Output = ()> + Send + 'static) {
        let shown =
            Arc::new(Shown { view: watch::Sender::new(View::Syncing), changes: watch::Sender::new(0) });
        let (asks, asked) = mpsc::channel(MAX_ASKS);
        let follower = Follower::new(docker.clone(), Arc::clone(&shown), asked, pace);
        (Self { docker, shown, asks }, follower.run(stop))
    }

    /// Returns all containers, newest first.
    ///
    /// From memory. Only at first and after a gap callers wait, for ten seconds at most. Cancel safe.
    ///
    /// # Errors
    ///
    /// Returns [`DockerError::Unavailable`] or [`DockerError::Unreadable`] while the Engine cannot be followed.
    pub async fn containers(&self) -> Result<Arc<[ContainerEntry]>, DockerError> {
        Ok(Arc::clone(&self.snapshot().await?.containers))
    }

    /// Returns all images, newest first.
    ///
    /// # Errors
    ///
    /// As [`Mirror::containers`].
    pub async fn images(&self) -> Result<Arc<[ImageEntry]>, DockerError> {
        Ok(Arc::clone(&self.snapshot().await?.images))
    }

    /// Returns the container of a full id, else of a name, else of an id that begins so (at least four digits of it):
    /// Docker's own order. What memory does not have is asked for, so that one made just now is found.
    ///
    /// # Errors
    ///
    /// Returns [`DockerError::Conflict`] when several ids begin so, otherwise as [`Mirror::containers`].
    pub async fn find(&self, id_prefix_or_name: &str) -> Result<Option<ContainerEntry>, DockerError> {
        let Ok(wanted) = name::check_name("container", id_prefix_or_name) else { return Ok(None) };
        match self.snapshot().await?.find(wanted) {
            Found::One(entry) => Ok(Some(entry.clone())),
            Found::Several => Err(DockerError::Conflict {
                message: format!("the ids of several containers begin with `{wanted}`: give more of it"),
            }),
            Found::None => self.ask_for(wanted).await,
        }
    }

    async fn ask_for(&self, wanted: &str) -> Result<Option<ContainerEntry>, DockerError> {
        match self.docker.look(wanted).await {
            Ok(mut found) => {
                let entry = ContainerEntry::from_inspect(&mut found);
                // The Engine takes shorter beginnings of ids too.
                Ok(snapshot::names(&entry, wanted).then_some(entry))
            }
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Returns a counter that moves with every change of what the mirror shows, also to and from an error.
    pub fn changed(&self) -> watch::Receiver<u64> {
        self.shown.changes.subscribe()
    }

    /// Returns once the mirror shows the container of the full id `id` as it is now, or no longer; for callers that have
    /// just changed it. Waits for ten seconds at most, and not at all while the Engine cannot be followed.
    pub async fn settled(&self, id: &str) {
        self.look(Look::Container(id.to_owned())).await;
    }

    /// As [`Mirror::settled`], for callers that have pulled or removed an image.
    pub async fn settled_images(&self) {
        self.look(Look::Images).await;
    }

    async fn look(&self, look: Look) {
        if matches!(*self.shown.view.borrow(), View::Away(_)) {
            return;
        }
        let (reply, seen) = oneshot::channel();
        let ask = Ask { look, reply };
        let settled = async {
            if self.asks.send(ask).await.is_ok() {
                // An error: the task has ended or given up, and callers of lists will be told.
                let _ = seen.await;
            }
        };
        if tokio::time::timeout(SETTLE_WAIT, settled).await.is_err() {
            tracing::warn!(
                "the mirror of the Docker Engine has not seen a change within {} s",
                SETTLE_WAIT.as_secs()
            );
        }
    }

    async fn snapshot(&self) -> Result<Arc<Snapshot>, DockerError> {
        let known = |view: &View| match view {
            View::Syncing => None,
            View::Away(error) => Some(Err(error.clone())),
            View::Current(snapshot) => Some(Ok(Arc::clone(snapshot))),
        };
        if let Some(known) = known(&self.shown.view.borrow()) {
            return known;
        }
        let mut view = self.shown.view.subscribe();
        let waited = tokio::time::timeout(SYNC_WAIT, view.wait_for(|view| known(view).is_some())).await;
        match waited {
            // The sender is ours, so there is always a value.
            Ok(Ok(view)) => known(&view).unwrap_or_else(|| Err(self.late())),
            Ok(Err(_)) | Err(_) => Err(self.late()),
        }
    }

    fn late(&self) -> DockerError {
        DockerError::timed_out(self.docker.endpoint(), SYNC_WAIT)
    }
}
