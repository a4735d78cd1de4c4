//! Pulls of images: each goes on when whoever asked hangs up, and whoever asks for the same image joins it. It ends early
//! when all of them say that they no longer want it.

use std::{
    collections::{HashMap, VecDeque},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use claw_core::{Action, Actor, Coded as _, ErrorCode, Resource, Timestamp};
use claw_docker::{Docker, DockerError, Mirror, PullProgress};
use claw_gate::{Deed, EffectPlace, Gate};
use futures_util::StreamExt as _;
use serde_json::json;
use tokio::{
    sync::{Semaphore, watch},
    time::Instant,
};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::{Activity, Core, EventKind, EventStatus, HomelabError, NewEvent};

/// Images that are pulled at the same time. Further ones wait.
const AT_A_TIME: usize = 3;

/// Pulls that go on or wait. Further ones are refused.
const MOST: usize = 64;

/// Pulls that are over and still told of.
const REMEMBERED: usize = 100;

/// Longest time for one image.
const TIME_LIMIT: Duration = Duration::from_secs(2 * 3600);

/// Pause between two events that tell how far a pull is.
const TELL_EVERY: Duration = Duration::from_secs(3);

/// How a pull stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PullState {
    /// It waits, or goes on.
    Pulling {
        /// How much of what is known to be needed is here, in percent.
        percent: Option<u8>,
        /// The Engine's word for what it is doing.
        step: String,
    },
    /// The image is here.
    Pulled,
    /// It could not be got.
    Failed {
        /// What kind of failure it is.
        code: ErrorCode,
        /// Why.
        reason: String,
    },
}

/// A pull as callers see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PullView {
    /// Its id.
    pub id: String,
    /// The image, with its tag.
    pub image: String,
    /// When it was asked for.
    pub started_at: Timestamp,
    /// How it stands.
    pub state: PullState,
}

/// All pulls.
pub(crate) struct Pulls {
    // A std mutex: held for a look-up, never across an await.
    known: Arc<Mutex<Known>>,
    room: Arc<Semaphore>,
    stop: CancellationToken,
}

#[derive(Default)]
struct Known {
    running: HashMap<String, Arc<Pull>>,
    ended: VecDeque<Arc<Pull>>,
}

struct Pull {
    id: String,
    image: String,
    started_at: Timestamp,
    state: watch::Sender<PullState>,
    /// How many asked for it and still want it. Changed while [`Known`] is locked.
    wanted_by: AtomicUsize,
    unwanted: CancellationToken,
}

/// A pull that somebody waits for.
#[derive(Clone)]
pub(crate) struct PullHandle(Arc<Pull>);

impl PullHandle {
    pub(crate) fn view(&self) -> PullView {
        let Pull { id, image, started_at, state, .. } = &*self.0;
        PullView {
            id: id.clone(),
            image: image.clone(),
            started_at: *started_at,
            state: state.borrow().clone(),
        }
    }

    /// Waits for its end.
    pub(crate) async fn ended(&self) -> Result<(), HomelabError> {
        let mut state = self.0.state.subscribe();
        let ended = state.wait_for(|state| !matches!(state, PullState::Pulling { .. })).await;
        match ended.as_deref() {
            Ok(PullState::Failed { code, reason }) => Err(HomelabError::PullFailed {
                image: self.0.image.clone(),
                reason: reason.clone(),
                code: *code,
            }),
            Ok(PullState::Pulled | PullState::Pulling { .. }) => Ok(()),
            Err(_dropped) => Err(HomelabError::Stopping),
        }
    }
}

impl Pulls {
    pub(crate) fn new(stop: CancellationToken) -> Self {
        Self { known: Arc::default(), room: Arc::new(Semaphore::new(AT_A_TIME)), stop }
    }

    /// Begins to pull an image, or joins the pull that goes on. Whether the actor may is for the caller to ask.
    pub(crate) fn begin(
        &self,
        core: &Core,
        actor: &Actor,
        action: Action,
        image: &str,
    ) -> Result<PullHandle, HomelabError> {
        let image = whole_name(image);
        let pull = {
            let mut known = lock(&self.known);
            if let Some(running) = known.running.get(&image) {
                running.wanted_by.fetch_add(1, Ordering::Relaxed);
                return Ok(PullHandle(Arc::clone(running)));
            }
            if known.running.len() >= MOST {
                return Err(HomelabError::TooManyPulls);
            }
            let waiting = PullState::Pulling { percent: None, step: "Waiting".to_owned() };
            let pull = Arc::new(Pull {
                id: Uuid::new_v4().simple().to_string(),
                image: image.clone(),
                started_at: core.clock.now(),
                state: watch::Sender::new(waiting),
                wanted_by: AtomicUsize::new(1),
                unwanted: CancellationToken::new(),
            });
            known.running.insert(image, Arc::clone(&pull));
            pull
        };
        let run = Run {
            pull: Arc::clone(&pull),
            known: Arc::clone(&self.known),
            docker: core.docker.clone(),
            mirror: core.mirror.clone(),
            gate: core.gate.clone(),
            activity: core.activity.clone(),
            actor: actor.clone(),
            action,
        };
        let (room, stop) = (Arc::clone(&self.room), self.stop.clone());
        core.work.begin(async move { run.run_through(&room, &stop).await });
        Ok(PullHandle(pull))
    }

    /// Says that one of those who asked for it no longer wants a pull. It ends if nobody does; what was asked for begins
    /// anew when somebody asks again.
    pub(crate) async fn give_up(&self, pull: &PullHandle) {
        {
            let mut known = lock(&self.known);
            let Some(running) = known.running.get(&pull.0.image).filter(|known| Arc::ptr_eq(known, &pull.0))
            else {
                return;
            };
            if running.wanted_by.fetch_sub(1, Ordering::Relaxed) > 1 {
                return;
            }
            known.running.remove(&pull.0.image);
            pull.0.unwanted.cancel();
        }
        // Its failure is its end.
        let _ended = pull.ended().await;
    }

    /// Returns a pull by its id.
    pub(crate) fn get(&self, id: &str) -> Option<PullHandle> {
        let known = lock(&self.known);
        let found = known.running.values().chain(&known.ended).find(|pull| pull.id == id);
        found.map(|pull| PullHandle(Arc::clone(pull)))
    }

    /// Returns all pulls that go on, and those that are over and still known, the newest first.
    pub(crate) fn all(&self) -> Vec<PullHandle> {
        let known = lock(&self.known);
        let mut all: Vec<_> =
            known.running.values().chain(&known.ended).map(|pull| PullHandle(Arc::clone(pull))).collect();
        all.sort_by_key(|handle| std::cmp::Reverse(handle.0.started_at));
        all
    }
}

fn lock(known: &Mutex<Known>) -> MutexGuard<'_, Known> {
    known.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Returns the name of an image in the one form by which equal ones are known.
pub(crate) fn whole_name(image: &str) -> String {
    let hub = ["docker.io/", "index.docker.io/"].iter().find_map(|hub| image.strip_prefix(hub));
    let image = hub.unwrap_or(image);
    let image = image.strip_prefix("library/").unwrap_or(image);
    let last = image.rsplit('/').next().unwrap_or(image);
    if image.contains('@') || last.contains(':') { image.to_owned() } else { format!("{image}:latest") }
}

/// One pull at work.
struct Run {
    pull: Arc<Pull>,
    known: Arc<Mutex<Known>>,
    docker: Docker,
    mirror: Mirror,
    gate: Gate,
    activity: Activity,
    actor: Actor,
    action: Action,
}

impl Run {
    async fn run_through(self, room: &Semaphore, stop: &CancellationToken) {
        let agent = self.activity.agent(&self.actor).await;
        let tell = |status, details: serde_json::Value| {
            self.activity.record(NewEvent {
                kind: EventKind::ImagePull,
                action: "pull".to_owned(),
                target: self.pull.image.clone(),
                status,
                agent: agent.clone(),
                actor: self.actor.owner(),
                details: Some(details),
                scope: None,
            });
        };
        tell(EventStatus::Pending, json!({ "pull_id": self.pull.id }));
        let deed = Deed {
            action: self.action,
            verb: "image.pull",
            resource: Resource::Any,
            target: format!("image:{}", self.pull.image),
            place: EffectPlace::Outside,
            detail: None,
        };
        let effect = async {
            let pulling = async {
                let _place = room.acquire().await;
                self.drain(&tell).await
            };
            tokio::select! {
                () = stop.cancelled() => Err(HomelabError::Stopping),
                () = self.pull.unwanted.cancelled() => {
                    Err(self.failed(ErrorCode::ImagePullFailed, "it was cancelled".to_owned()))
                }
                ended = tokio::time::timeout(TIME_LIMIT, pulling) => ended.unwrap_or_else(|_elapsed| {
                    Err(self.failed(ErrorCode::ImagePullFailed, "it took longer than two hours".to_owned()))
                }),
            }
        };
        match self.gate.perform(&self.actor, deed, effect).await {
            Ok(()) => {
                self.mirror.settled_images().await;
                tell(EventStatus::Success, json!({ "pull_id": self.pull.id }));
                self.end(PullState::Pulled);
            }
            Err(error) => {
                let code = error.code();
                let reason = match error {
                    HomelabError::PullFailed { reason, .. } => reason,
                    error => error.to_string(),
                };
                let details = json!({ "pull_id": self.pull.id, "details": reason, "code": code.as_str() });
                tell(EventStatus::Error, details);
                self.end(PullState::Failed { code, reason });
            }
        }
    }

    fn failed(&self, code: ErrorCode, reason: String) -> HomelabError {
        HomelabError::PullFailed { image: self.pull.image.clone(), reason, code }
    }

    /// Reads what the Engine says to its end: a failure may be its last word.
    async fn drain(
        &self,
        tell: &(impl Fn(EventStatus, serde_json::Value) + Send + Sync),
    ) -> Result<(), HomelabError> {
        let mut progress = self.docker.pull(&self.pull.image);
        let mut layers = Layers::default();
        let mut told = (Instant::now(), None);
        while let Some(step) = progress.next().await {
            let step = match step {
                Ok(step) => step,
                Err(DockerError::NotFound { message }) => {
                    return Err(self.failed(ErrorCode::NotFound, message));
                }
                Err(error @ DockerError::Unavailable { .. }) => {
                    return Err(self.failed(ErrorCode::DockerError, error.to_string()));
                }
                Err(error) => return Err(self.failed(ErrorCode::ImagePullFailed, error.to_string())),
            };
            layers.note(&step);
            let percent = layers.percent();
            self.pull.state.send_replace(PullState::Pulling { percent, step: step.status });
            if told.0.elapsed() >= TELL_EVERY && told.1 != percent {
                told = (Instant::now(), percent);
                tell(EventStatus::Pending, json!({ "pull_id": self.pull.id, "percent": percent }));
            }
        }
        Ok(())
    }

    fn end(&self, state: PullState) {
        let mut known = lock(&self.known);
        // There may be another one of it: this one may have been given up.
        if known.running.get(&self.pull.image).is_some_and(|running| Arc::ptr_eq(running, &self.pull)) {
            known.running.remove(&self.pull.image);
        }
        if known.ended.len() >= REMEMBERED {
            known.ended.pop_front();
        }
        known.ended.push_back(Arc::clone(&self.pull));
        drop(known);
        self.pull.state.send_replace(state);
    }
}

impl Drop for Run {
    /// Also when it panics: nobody waits for ever, and the image can be asked for again.
    fn drop(&mut self) {
        let goes_on = matches!(*self.pull.state.borrow(), PullState::Pulling { .. });
        if goes_on {
            self.end(PullState::Failed {
                code: ErrorCode::Internal,
                reason: "the pull ended unexpectedly".to_owned(),
            });
        }
    }
}

/// How far each layer is.
#[derive(Default)]
struct Layers(HashMap<String, (u64, u64)>);

/// Most layers that are counted; an image has no more than 127.
const MAX_LAYERS: usize = 256;

impl Layers {
    fn note(&mut self, step: &PullProgress) {
        let (Some(layer), Some(total)) = (&step.layer, step.total) else { return };
        if step.status == "Downloading" && (self.0.len() < MAX_LAYERS || self.0.contains_key(layer)) {
            self.0.insert(layer.clone(), (step.current.unwrap_or(0), total));
        } else if let Some((current, total)) = self.0.get_mut(layer) {
            *current = *total;
        }
    }

    fn percent(&self) -> Option<u8> {
        let total: u64 = self.0.values().map(|(_, total)| total).sum();
        let current: u64 = self.0.values().map(|(current, total)| (*current).min(*total)).sum();
        (total > 0).then(|| u8::try_from(u128::from(current) * 100 / u128::from(total)).unwrap_or(100))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_image_has_one_name() {
        for name in
            ["nginx", "nginx:latest", "library/nginx", "docker.io/library/nginx:latest", "docker.io/nginx"]
        {
            assert_eq!(whole_name(name), "nginx:latest", "{name}");
        }
        for name in ["localhost:5000/a/b:1", "ghcr.io/a/b@sha256:00", "nginx:1.27"] {
            assert_eq!(whole_name(name), name);
        }
        assert_eq!(whole_name("localhost:5000/a"), "localhost:5000/a:latest");
    }
}
