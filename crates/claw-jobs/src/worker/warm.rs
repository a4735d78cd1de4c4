//! Sandboxes that wait for jobs: what they should be like, their working copies, and which job takes one.

use std::{
    collections::HashMap,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

use async_trait::async_trait;
use claw_agent::warm::{WarmCopy, WarmPlace, WarmSupply, WarmWanted};
use claw_core::{Job, JobId, Persistence, Workspace, WorkspaceId};
use claw_workspace::{WorkingCopy, WorkspaceError};

use super::{Worker, execute::run_environment};
use crate::{JobsError, settings::RunSettings};

/// How many jobs of each workspace run here.
#[derive(Clone, Debug, Default)]
pub(super) struct Busy(Arc<Mutex<HashMap<WorkspaceId, usize>>>);

/// One of these jobs, until it is dropped.
pub(super) struct BusyWorkspace {
    busy: Busy,
    workspace: Option<WorkspaceId>,
}

impl Busy {
    pub(super) fn begin(&self, workspace: Option<WorkspaceId>) -> BusyWorkspace {
        if let Some(workspace) = workspace {
            self.with(|busy| *busy.entry(workspace).or_default() += 1);
        }
        BusyWorkspace { busy: self.clone(), workspace }
    }

    fn has(&self, workspace: WorkspaceId) -> bool {
        self.with(|busy| busy.contains_key(&workspace))
    }

    /// A std mutex: held for a look, never across an await.
    fn with<T>(&self, act: impl FnOnce(&mut HashMap<WorkspaceId, usize>) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Drop for BusyWorkspace {
    fn drop(&mut self) {
        let Some(workspace) = self.workspace else { return };
        self.busy.with(|busy| {
            let jobs = busy.get(&workspace).copied().unwrap_or(0);
            match jobs {
                0 | 1 => busy.remove(&workspace),
                more => busy.insert(workspace, more - 1),
            }
        });
    }
}

impl Worker {
    /// Takes a sandbox that waits for just such a job, with its working copy; `None` to make both.
    pub(super) async fn reserve(
        &self,
        job: &Job,
        workspace: Option<&Workspace>,
        settings: &RunSettings,
    ) -> Option<(WarmPlace, WorkingCopy)> {
        // The folder to start in is decided when the CLI starts.
        if job.spec.working_dir.is_some() {
            return None;
        }
        let base = self.base(workspace.map(|workspace| workspace.id)).await.ok()?;
        let place = self.sandbox.reserve(&wanted(workspace, settings, base))?;
        match self.files.hand_over(place.id(), job.id).await {
            Ok(copy) => Some((place, copy)),
            Err(error) => {
                tracing::warn!(job.id = %job.id, %error, "could not take over the working copy of a waiting sandbox");
                None
            }
        }
    }

    /// Returns the state of a workspace's files.
    async fn base(&self, workspace: Option<WorkspaceId>) -> Result<Option<String>, WorkspaceError> {
        match workspace {
            Some(workspace) => Ok(Some(self.files.head(workspace).await?.to_string())),
            None => Ok(None),
        }
    }

    async fn wanted_now(&self, workspace: Option<WorkspaceId>) -> Result<WarmWanted, JobsError> {
        let settings = self.settings.for_run().await?;
        let workspace = match workspace {
            Some(id) => Some(self.workspace(id).await?),
            None => None,
        };
        let base = self.base(workspace.as_ref().map(|workspace| workspace.id)).await?;
        Ok(wanted(workspace.as_ref(), &settings, base))
    }
}

/// Returns what must be known when the sandbox of a job starts.
fn wanted(workspace: Option<&Workspace>, settings: &RunSettings, base: Option<String>) -> WarmWanted {
    let (limits, network) = settings.within(workspace);
    WarmWanted {
        workspace: workspace.map(|workspace| workspace.id),
        base,
        keeps_home: workspace.is_some_and(|workspace| workspace.persistence == Persistence::Persistent),
        environment: run_environment(),
        limits,
        network,
    }
}

#[async_trait]
impl WarmSupply for Worker {
    fn run_root(&self) -> PathBuf {
        self.config.run_root.clone()
    }

    async fn wanted(&self, workspace: Option<WorkspaceId>) -> Result<Option<WarmWanted>, String> {
        // While a job of the workspace runs, its HOME is in use, and its files are about to change.
        if workspace.is_some_and(|workspace| self.busy.has(workspace)) || self.disk.check().is_err() {
            return Ok(None);
        }
        match self.wanted_now(workspace).await {
            Ok(wanted) => Ok(Some(wanted)),
            // It was deleted.
            Err(JobsError::WorkspaceNotFound(_) | JobsError::Workspace(WorkspaceError::NotFound(_))) => {
                Ok(None)
            }
            Err(error) => Err(error.to_string()),
        }
    }

    async fn make(&self, place: JobId, workspace: Option<WorkspaceId>) -> Result<WarmCopy, String> {
        let owner = self.sandbox.owner();
        let copy = match workspace {
            Some(workspace) => self.files.checkout(workspace, place, owner).await,
            None => self.files.checkout_empty(place, owner).await,
        };
        let copy = copy.map_err(|error| error.to_string())?;
        Ok(WarmCopy { work_dir: copy.dir, base: copy.base.map(|base| base.to_string()) })
    }

    async fn discard(&self, place: JobId) {
        if let Err(error) = self.files.discard(place).await {
            tracing::warn!(%error, "could not remove the working copy of a sandbox that waited; the next start tries again");
        }
    }
}
