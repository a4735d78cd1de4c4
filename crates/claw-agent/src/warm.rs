//! Places that wait for a job: a sandbox already started, in which the CLI has done everything but its task.
//!
//! What a CLI reads at its start (the files of the working copy, its HOME, its limits) cannot be changed later, so a
//! place is made for a certain kind of job, [`WarmWanted`], and given only to a job that wants exactly that. It is used
//! once. Whoever runs jobs says what is wanted and makes the working copies, through [`WarmSupply`]; the sandbox starts
//! the places, replaces what is no longer fit, and ends them.

use std::{
    fmt,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

use async_trait::async_trait;
use claw_core::{JobId, NetworkMode, WorkspaceId};

use crate::{
    invocation::LateCall,
    run::RunDirectory,
    sandbox::{Limits, SandboxError, SandboxRun},
};

/// Everything about a job that must be known when its sandbox starts.
#[derive(Clone, Debug, PartialEq)]
pub struct WarmWanted {
    /// Whose files are in the working copy; `None` for an empty one.
    pub workspace: Option<WorkspaceId>,
    /// Which state of these files; `None` for an empty working copy.
    pub base: Option<String>,
    /// Whether the HOME is the workspace's. Otherwise it is new and ends with the run.
    pub keeps_home: bool,
    /// Variables beyond those that every run gets.
    pub environment: Vec<(String, String)>,
    /// What the run may use.
    pub limits: Limits,
    /// Which network it sees.
    pub network: NetworkMode,
}

/// A working copy for a place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WarmCopy {
    /// The folder to give to the sandbox.
    pub work_dir: PathBuf,
    /// What is in it, as in [`WarmWanted::base`].
    pub base: Option<String>,
}

/// Says what places should be like, and makes their working copies.
#[async_trait]
pub trait WarmSupply: Send + Sync {
    /// Returns the folder for the runs' private folders; the same for all.
    fn run_root(&self) -> PathBuf;

    /// Returns what a job of this workspace (or of none) would want now; `None` if no place should wait for one.
    ///
    /// # Errors
    ///
    /// Says why that cannot be known now.
    async fn wanted(&self, workspace: Option<WorkspaceId>) -> Result<Option<WarmWanted>, String>;

    /// Makes the working copy of a place; `place` is an id that no job has.
    ///
    /// # Errors
    ///
    /// Says why there is none. What was made of it is removed.
    async fn make(&self, place: JobId, workspace: Option<WorkspaceId>) -> Result<WarmCopy, String>;

    /// Removes the working copy of a place that no job took. Does nothing if there is none.
    async fn discard(&self, place: JobId);
}

/// A place that was taken out for one job. Dropping all clones before the job is begun ends and removes it.
#[derive(Clone)]
pub struct WarmPlace {
    id: JobId,
    /// A std mutex: held for a move, never across an await.
    taken: Arc<Mutex<Option<Taken>>>,
}

/// What a place consists of.
pub(crate) struct Taken {
    /// The private folder, mounted already.
    pub(crate) directory: RunDirectory,
    /// The sandbox.
    pub(crate) waiting: Box<dyn Waiting>,
}

/// A sandbox whose CLI waits for its task.
#[async_trait]
pub(crate) trait Waiting: Send {
    /// Tells the CLI its task. Dropping the future midway leaves nothing running.
    ///
    /// # Errors
    ///
    /// Fails if the CLI does not answer as it should. It has not been given the task then.
    async fn begin(
        self: Box<Self>,
        job: JobId,
        attempt: u64,
        call: LateCall,
    ) -> Result<Box<dyn SandboxRun>, SandboxError>;
}

impl WarmPlace {
    pub(crate) fn new(id: JobId, taken: Taken) -> Self {
        Self { id, taken: Arc::new(Mutex::new(Some(taken))) }
    }

    /// Returns the id under which [`WarmSupply::make`] made the working copy.
    pub fn id(&self) -> JobId {
        self.id
    }

    /// Takes the place, once.
    pub(crate) fn take(&self) -> Option<Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl fmt::Debug for WarmPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WarmPlace").field("id", &self.id).finish_non_exhaustive()
    }
}
