//! The places that wait: which there should be, started in the background, replaced when unfit, and given to jobs.
//!
//! One place for each of the workspaces that had a job most recently, and for jobs without one, up to the count. What
//! is left of the count goes to jobs without a workspace.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use claw_core::WorkspaceId;
use tokio::sync::{Mutex as AsyncMutex, Notify};
use tokio_util::sync::CancellationToken;

use super::{DockerSandbox, place::Place};
use crate::{
    sandbox::SandboxError,
    warm::{WarmPlace, WarmSupply, WarmWanted},
};

/// How long no job may have begun or ended before a place is started. Starting one takes half a second of a processor,
/// which the job that has just begun needs more; and while jobs come one after another, the places would only be made
/// at their cost.
const QUIET: Duration = Duration::from_millis(300);

/// How often the places are looked at when nothing happens.
const LOOK_EVERY: Duration = Duration::from_secs(10);

/// Pause after a place could not be started; it doubles with each further failure.
const FIRST_PAUSE: Duration = Duration::from_secs(2);

/// Longest such pause.
const LAST_PAUSE: Duration = Duration::from_secs(120);

/// A CLI that ends so soon after it was ready would do so again.
const YOUNG: Duration = Duration::from_secs(30);

/// Workspaces whose last job is remembered.
const MAX_RECENT: usize = 64;

/// What a waiting CLI is taken to hold until one was measured: version 2.1.329 holds 160 MB.
const ASSUMED_MEMORY: u64 = 192 << 20;

/// How many places wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WarmConfig {
    /// Places at the most; 0 for none.
    pub count: usize,
    /// Bytes of memory that all of them may hold together while they wait.
    pub memory_bytes: u64,
    /// How long one waits before a new one takes its place.
    pub max_age: Duration,
}

impl WarmConfig {
    /// No place waits.
    pub const OFF: Self = Self { count: 0, memory_bytes: 0, max_age: Duration::from_secs(30 * 60) };
}

/// The places of one sandbox.
pub(super) struct Warm {
    config: WarmConfig,
    /// A std mutex: held for a few instructions, never across an await.
    state: Mutex<State>,
    changed: Notify,
    stop: CancellationToken,
    /// Held while a place is being started, which takes a HOME into use.
    starting: AsyncMutex<()>,
}

struct State {
    places: Vec<Place>,
    /// Whose jobs ran, the latest first; `None` for those without a workspace.
    recent: Vec<Option<WorkspaceId>>,
    /// The image's id, as last seen.
    image: Option<String>,
    quiet_from: Instant,
    memory_of_one: u64,
    failures: u32,
}

impl Warm {
    pub(super) fn new(config: WarmConfig) -> Self {
        let state = State {
            places: Vec::new(),
            recent: Vec::new(),
            image: None,
            quiet_from: Instant::now(),
            memory_of_one: ASSUMED_MEMORY,
            failures: 0,
        };
        Self {
            config,
            state: Mutex::new(state),
            changed: Notify::new(),
            stop: CancellationToken::new(),
            starting: AsyncMutex::default(),
        }
    }

    fn with<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        act(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn is_on(&self) -> bool {
        self.config.count > 0
    }

    pub(super) fn waiting(&self) -> usize {
        self.with(|state| state.places.iter().filter(|place| place.is_alive()).count())
    }

    /// Notes which image runs would be started from now.
    pub(super) fn image_is(&self, id: &str) {
        let changed = self.with(|state| state.image.replace(id.to_owned()).as_deref() != Some(id));
        if changed {
            self.changed.notify_one();
        }
    }

    /// Notes that a job of `workspace` begins or ends.
    pub(super) fn touch(&self, workspace: Option<WorkspaceId>) {
        if self.is_on() {
            self.with(|state| state.touch(workspace));
            self.changed.notify_one();
        }
    }

    /// Takes out a place that is as wanted.
    pub(super) fn take(&self, wanted: &WarmWanted) -> Option<WarmPlace> {
        if !self.is_on() {
            return None;
        }
        let (place, _unfit) = self.with(|state| {
            state.touch(wanted.workspace);
            let image = state.image.clone();
            let fits = |place: &Place| {
                place.is_alive() && place.wanted == *wanted && Some(&place.image) == image.as_ref()
            };
            let place = state.places.iter().position(fits).map(|at| state.places.swap_remove(at));
            if place.is_some() {
                state.failures = 0;
            }
            // A workspace's HOME is the job's now, and its files are about to change.
            (place, state.remove_of(wanted.workspace.is_some().then_some(wanted.workspace)))
        });
        self.changed.notify_one();
        place?.into_warm()
    }

    /// Ends the places of a workspace, and waits until they are gone.
    pub(super) async fn forget(&self, workspace: WorkspaceId) -> Result<(), SandboxError> {
        let _not_now = self.starting.lock().await;
        let places = self.with(|state| {
            state.recent.retain(|recent| *recent != Some(workspace));
            state.remove_of(Some(Some(workspace)))
        });
        for place in places {
            place.end().await?;
        }
        Ok(())
    }

    /// Ends everything that waits, for good.
    pub(super) fn stop(&self) {
        self.stop.cancel();
    }

    /// Keeps places there until stopped.
    pub(super) async fn tend(sandbox: DockerSandbox, supply: Arc<dyn WarmSupply>) {
        let warm = &sandbox.shared.warm;
        while !warm.stop.is_cancelled() {
            let pause = warm.tend_once(&sandbox, &supply).await;
            tokio::select! {
                () = warm.stop.cancelled() => {}
                () = warm.changed.notified() => {}
                () = tokio::time::sleep(pause) => {}
            }
        }
        // Dropped outside of the lock, since a place ends by spawning tasks.
        drop(warm.with(|state| std::mem::take(&mut state.places)));
    }

    /// Removes what is unfit and starts at most one place. Returns when to look again.
    async fn tend_once(&self, sandbox: &DockerSandbox, supply: &Arc<dyn WarmSupply>) -> Duration {
        let (quiet_from, keys) = self.with(|state| (state.quiet_from, state.keys(self.config)));
        let until_quiet = quiet_from.saturating_duration_since(Instant::now());
        if !until_quiet.is_zero() {
            return until_quiet;
        }
        let mut targets = Vec::new();
        for key in keys {
            match supply.wanted(key).await {
                Ok(Some(wanted)) => targets.push(wanted),
                // Its jobs need none now. One for jobs without a workspace would be started to no use meanwhile.
                Ok(None) => {}
                Err(reason) => {
                    tracing::debug!(reason, "cannot tell what a place for jobs should be like");
                    return LOOK_EVERY;
                }
            }
        }
        let image = match sandbox.shared.engine.docker.image(&sandbox.shared.config.image).await {
            Ok(Some(image)) => image.id,
            // Whoever starts jobs says so; nothing can be started here.
            Ok(None) | Err(_) => return self.failed_once(),
        };
        self.with(|state| state.image = Some(image.clone()));
        let (missing, unfit) = self.with(|state| state.compare(targets, &image, self.config.max_age));
        let died_young = unfit.iter().any(|place| !place.is_alive() && place.since.elapsed() < YOUNG);
        drop(unfit);
        if died_young {
            return self.failed_once();
        }
        let Some(wanted) = missing else { return LOOK_EVERY };
        self.start_one(sandbox, supply, wanted, image).await
    }

    async fn start_one(
        &self,
        sandbox: &DockerSandbox,
        supply: &Arc<dyn WarmSupply>,
        wanted: WarmWanted,
        image: String,
    ) -> Duration {
        let _starting = self.starting.lock().await;
        if !self.with(|state| state.keys(self.config).contains(&wanted.workspace)) {
            // Forgotten while we waited.
            return Duration::ZERO;
        }
        match Place::start(sandbox, supply, wanted, image, &self.stop).await {
            Ok(place) => {
                let watcher = sandbox.clone();
                place.on_end(move || watcher.shared.warm.changed.notify_one());
                tracing::debug!(place = %place.id, "a sandbox waits for a job");
                self.with(|state| {
                    state.memory_of_one = place.memory.unwrap_or(state.memory_of_one).max(1);
                    state.places.push(place);
                });
                // Look at once whether another one is missing, or this one not wanted any more.
                Duration::ZERO
            }
            Err(_) if self.stop.is_cancelled() => Duration::ZERO,
            Err(reason) => {
                tracing::warn!(
                    reason,
                    "could not start a sandbox ahead of a job; jobs start their own meanwhile"
                );
                self.failed_once()
            }
        }
    }

    /// Counts a failure and says how long to wait after it.
    fn failed_once(&self) -> Duration {
        let failures = self.with(|state| {
            state.failures = state.failures.saturating_add(1);
            state.failures
        });
        let pause = FIRST_PAUSE.saturating_mul(1 << (failures - 1).min(16)).min(LAST_PAUSE);
        // A job that begins or ends meanwhile must not make it try again at once.
        self.with(|state| state.quiet_from = Instant::now() + pause);
        pause
    }
}

impl State {
    fn touch(&mut self, workspace: Option<WorkspaceId>) {
        self.recent.retain(|recent| *recent != workspace);
        self.recent.insert(0, workspace);
        self.recent.truncate(MAX_RECENT);
        self.quiet_from = self.quiet_from.max(Instant::now() + QUIET);
    }

    /// For whose jobs places should wait now.
    fn keys(&self, config: WarmConfig) -> Vec<Option<WorkspaceId>> {
        let room = usize::try_from(config.memory_bytes / self.memory_of_one).unwrap_or(usize::MAX);
        let count = config.count.min(room);
        let mut keys = self.recent.clone();
        keys.resize(keys.len().max(count), None);
        keys.truncate(count);
        keys
    }

    /// Removes the places of a workspace; `None` removes nothing.
    fn remove_of(&mut self, workspace: Option<Option<WorkspaceId>>) -> Vec<Place> {
        let Some(workspace) = workspace else { return Vec::new() };
        self.places.extract_if(.., |place| place.wanted.workspace == workspace).collect()
    }

    /// Compares what there is with what should be. Returns the first that is missing, and those that must go.
    fn compare(
        &mut self,
        mut targets: Vec<WarmWanted>,
        image: &str,
        max_age: Duration,
    ) -> (Option<WarmWanted>, Vec<Place>) {
        let unfit = self
            .places
            .extract_if(.., |place| {
                let is_fit = place.is_alive() && place.image == image && place.since.elapsed() < max_age;
                let at = targets.iter().position(|wanted| is_fit && *wanted == place.wanted);
                at.map(|at| targets.remove(at)).is_none()
            })
            .collect();
        (targets.into_iter().next(), unfit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(recent: &[Option<WorkspaceId>]) -> State {
        let warm = Warm::new(WarmConfig::OFF);
        let mut state = warm.state.into_inner().expect("not poisoned");
        for workspace in recent {
            state.touch(*workspace);
        }
        state
    }

    fn config(count: usize, memory_bytes: u64) -> WarmConfig {
        WarmConfig { count, memory_bytes, ..WarmConfig::OFF }
    }

    #[test]
    fn the_latest_workspaces_come_first_and_the_rest_goes_to_jobs_without_one() {
        let (a, b) = (Some(WorkspaceId::new()), Some(WorkspaceId::new()));

        assert_eq!(state(&[]).keys(config(2, u64::MAX)), [None, None]);
        assert_eq!(state(&[a, b, a]).keys(config(1, u64::MAX)), [a]);
        assert_eq!(state(&[a, None, b]).keys(config(4, u64::MAX)), [b, None, a, None]);
        assert_eq!(state(&[a]).keys(config(0, u64::MAX)), []);
    }

    #[test]
    fn together_they_hold_no_more_memory_than_given() {
        assert_eq!(state(&[]).keys(config(5, ASSUMED_MEMORY * 2 + 1)).len(), 2);
        assert_eq!(state(&[]).keys(config(5, ASSUMED_MEMORY - 1)).len(), 0);
    }

    #[test]
    fn only_so_many_workspaces_are_remembered() {
        let many: Vec<_> = (0..2 * MAX_RECENT).map(|_| Some(WorkspaceId::new())).collect();

        assert_eq!(state(&many).recent.len(), MAX_RECENT);
    }

    #[tokio::test]
    async fn failures_make_the_pauses_longer_up_to_a_bound() {
        let warm = Warm::new(WarmConfig::OFF);

        let pauses: Vec<_> = (0..40).map(|_| warm.failed_once()).collect();

        assert_eq!(pauses[..3], [FIRST_PAUSE, FIRST_PAUSE * 2, FIRST_PAUSE * 4]);
        assert_eq!(pauses[39], LAST_PAUSE);
    }
}
