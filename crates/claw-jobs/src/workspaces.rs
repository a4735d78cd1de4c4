//! The use cases around workspaces: their records in the store, their files in `claw-workspace`.

use std::sync::Arc;

use claw_agent::sandbox::Sandbox;
use claw_core::{
    Action, Actor, Clock, Decision, NetworkMode, Persistence, RepoPath, Resource, Workspace, WorkspaceEvent,
    WorkspaceEventKind, WorkspaceId, WorkspaceName, WorkspaceSettingsError, decide,
};
use claw_gate::{Deed, EffectPlace, Gate, GateError};
use claw_store::{Document, DocumentFilter, NewDocument, Precondition, Store, StoreError};
use claw_workspace::{CommitInfo, Listing, Workspaces};
use serde_json::json;

use crate::{DiskGuard, JobService, JobsError, Settings, timeline};

pub(crate) const KIND: &str = "workspace";

/// Largest file that is read or written through the API, in bytes.
const MAX_FILE_BYTES: u64 = 32 * 1024 * 1024;

/// Entries of a file list at the most.
const MAX_LISTED_FILES: usize = 20_000;

const LIMIT_MIN_MEMORY: u64 = 64 * 1024 * 1024;
const LIMIT_MAX_MEMORY: u64 = 1024 * 1024 * 1024 * 1024;

/// Limits of a workspace's sandboxes; `None` takes the installation's.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct WorkspaceLimits {
    /// Memory in bytes.
    pub memory_limit_bytes: Option<u64>,
    /// CPU cores.
    pub cpu_limit: Option<f64>,
    /// Network.
    pub network_mode: Option<NetworkMode>,
}

impl WorkspaceLimits {
    fn check(&self) -> Result<(), WorkspaceSettingsError> {
        if let Some(bytes) = self.memory_limit_bytes
            && !(LIMIT_MIN_MEMORY..=LIMIT_MAX_MEMORY).contains(&bytes)
        {
            return Err(WorkspaceSettingsError::MemoryLimit(bytes.to_string()));
        }
        if let Some(cpus) = self.cpu_limit
            && !(0.1..=256.0).contains(&cpus)
        {
            return Err(WorkspaceSettingsError::CpuLimit(cpus.to_string()));
        }
        Ok(())
    }

    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// A workspace as someone asks for it.
#[derive(Clone, Debug, PartialEq)]
pub struct NewWorkspace {
    /// A name for people.
    pub name: WorkspaceName,
    /// What it is for.
    pub description: String,
    /// What becomes of a job's changes.
    pub persistence: Persistence,
    /// Instructions for the agent.
    pub claude_md: Option<String>,
    /// A remote repository, kept for reference.
    pub remote_url: Option<String>,
    /// Limits of its sandboxes.
    pub limits: WorkspaceLimits,
}

/// A change of a workspace's record. What is `None` in `remote_url` and `limits` stays as it is; the rest is replaced.
#[derive(Clone, Debug, PartialEq)]
pub struct WorkspaceChange {
    /// A name for people.
    pub name: WorkspaceName,
    /// What it is for.
    pub description: String,
    /// Instructions for the agent.
    pub claude_md: Option<String>,
    /// A remote repository, kept for reference.
    pub remote_url: Option<String>,
    /// Limits of its sandboxes.
    pub limits: WorkspaceLimits,
}

/// Create, change and read workspaces.
#[derive(Clone)]
pub struct WorkspaceService {
    store: Store,
    gate: Gate,
    files: Workspaces,
    settings: Settings,
    disk: DiskGuard,
    clock: Arc<dyn Clock>,
    sandbox: Option<Arc<dyn Sandbox>>,
}

impl WorkspaceService {
    /// Wires the service.
    pub fn new(
        store: Store,
        gate: Gate,
        files: Workspaces,
        settings: Settings,
        disk: DiskGuard,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self { store, gate, files, settings, disk, clock, sandbox: None }
    }

    /// Lets the service remove what `sandbox` keeps for a workspace (its HOME) together with the workspace's files.
    #[must_use]
    pub fn forgetting_in(self, sandbox: Arc<dyn Sandbox>) -> Self {
        Self { sandbox: Some(sandbox), ..self }
    }

    /// Makes a workspace: its repository first, then its record, so that a record never lacks a repository.
    ///
    /// # Errors
    ///
    /// [`JobsError::OverCeiling`] for limits beyond those of the installation; [`JobsError::StorageFull`].
    pub async fn create(&self, actor: &Actor, new: NewWorkspace) -> Result<Workspace, JobsError> {
        let action = Action::WorkspacesWrite;
        if decide(actor, action, &Resource::Any) == Decision::Allow {
            self.disk.check()?;
            self.check_limits(&new.limits).await?;
        }
        let now = self.clock.now();
        let workspace = Workspace {
            id: WorkspaceId::new(),
            owner: actor.owner(),
            name: new.name,
            description: new.description,
            persistence: new.persistence,
            claude_md: new.claude_md,
            remote_url: new.remote_url,
            memory_limit_bytes: new.limits.memory_limit_bytes,
            cpu_limit: new.limits.cpu_limit,
            network_mode: new.limits.network_mode,
            created_at: now,
            updated_at: now,
        };
        let deed = Deed {
            action,
            verb: "workspace.create",
            resource: Resource::Any,
            target: target(workspace.id),
            place: EffectPlace::Outside,
            detail: Some(json!({ "name": workspace.name.as_str() })),
        };
        self.gate.perform(actor, deed, self.make(&workspace)).await?;
        tracing::info!(workspace.id = %workspace.id, "workspace created");
        Ok(workspace)
    }

    async fn make(&self, workspace: &Workspace) -> Result<(), JobsError> {
        self.files.create(workspace.id, &[]).await?;
        if let Err(error) = self.put(workspace, Precondition::Absent).await {
            // The store's error is the one to tell; a repository without a record is found by nobody.
            if let Err(cleanup) = self.files.delete(workspace.id).await {
                tracing::warn!(workspace.id = %workspace.id, error = %cleanup, "could not remove an unused repository");
            }
            return Err(error);
        }
        self.note(workspace.id, WorkspaceEventKind::Initialized, None, "workspace created").await;
        Ok(())
    }

    /// Returns a page of the caller's workspaces by name, and how many there are.
    pub async fn list(
        &self,
        actor: &Actor,
        offset: u64,
        limit: u64,
    ) -> Result<(Vec<Workspace>, u64), JobsError> {
        self.gate.permit(actor, Action::WorkspacesRead, &Resource::Any)?;
        let filter = DocumentFilter { owner: actor.sees_only(), offset, limit };
        let page = self.store.documents.list(KIND, filter).await?;
        let items = page.items.iter().map(parse).collect::<Result<Vec<_>, _>>()?;
        Ok((items, page.total))
    }

    /// Returns one workspace.
    pub async fn get(&self, actor: &Actor, id: WorkspaceId) -> Result<Workspace, JobsError> {
        self.permitted(actor, Action::WorkspacesRead, id).await
    }

    /// Changes a workspace's record.
    ///
    /// # Errors
    ///
    /// [`JobsError::OverCeiling`] for new limits beyond those of the installation; [`JobsError::StorageFull`].
    pub async fn update(
        &self,
        actor: &Actor,
        id: WorkspaceId,
        change: WorkspaceChange,
    ) -> Result<Workspace, JobsError> {
        let mut changed = None;
        if let Some((mut workspace, version)) = self.reachable(actor, id).await? {
            self.disk.check()?;
            self.check_limits(&change.limits).await?;
            workspace.name = change.name;
            workspace.description = change.description;
            workspace.claude_md = change.claude_md;
            workspace.remote_url = change.remote_url.or(workspace.remote_url);
            workspace.memory_limit_bytes = change.limits.memory_limit_bytes.or(workspace.memory_limit_bytes);
            workspace.cpu_limit = change.limits.cpu_limit.or(workspace.cpu_limit);
            workspace.network_mode = change.limits.network_mode.or(workspace.network_mode);
            workspace.updated_at = self.clock.now();
            changed = Some((workspace, version));
        }
        self.perform(actor, id, "workspace.change", EffectPlace::Store, None, async {
            let (workspace, version) = changed.ok_or(JobsError::WorkspaceNotFound(id))?;
            self.put(&workspace, Precondition::Version(version)).await?;
            Ok(workspace)
        })
        .await
    }

    /// Deletes a workspace's record, and its files if asked to. Jobs that ran in it stay.
    ///
    /// # Errors
    ///
    /// [`JobsError::WorkspaceBusy`] while jobs of it wait or run.
    pub async fn delete(&self, actor: &Actor, id: WorkspaceId, delete_files: bool) -> Result<(), JobsError> {
        let detail = Some(json!({ "files": delete_files }));
        self.perform(actor, id, "workspace.delete", EffectPlace::Outside, detail, async {
            let (_, version) = self.record(id).await?;
            let jobs = JobService::open_jobs(&self.store, id).await?;
            if jobs > 0 {
                return Err(JobsError::WorkspaceBusy { id, jobs });
            }
            self.store.documents.delete(KIND, &id.to_string(), Precondition::Version(version)).await?;
            if delete_files {
                self.files.delete(id).await?;
                if let Some(sandbox) = &self.sandbox
                    && let Err(error) = sandbox.forget_workspace(id).await
                {
                    // The workspace itself is gone; what is left holds no files of it and gets in nobody's way.
                    tracing::warn!(workspace.id = %id, %error, "could not remove the HOME of a deleted workspace");
                }
            }
            tracing::info!(workspace.id = %id, delete_files, "workspace deleted");
            Ok(())
        })
        .await
    }

    /// Returns the files and folders of the workspace.
    pub async fn files(&self, actor: &Actor, id: WorkspaceId) -> Result<Listing, JobsError> {
        self.permitted(actor, Action::WorkspacesRead, id).await?;
        Ok(self.files.list_files(id, MAX_LISTED_FILES).await?)
    }

    /// Returns a file's content.
    pub async fn read_file(
        &self,
        actor: &Actor,
        id: WorkspaceId,
        path: &RepoPath,
    ) -> Result<Vec<u8>, JobsError> {
        self.permitted(actor, Action::WorkspacesRead, id).await?;
        Ok(self.files.read_file(id, path, MAX_FILE_BYTES).await?)
    }

    /// Writes a file and commits it.
    ///
    /// # Errors
    ///
    /// [`JobsError::StorageFull`] while there is too little room.
    pub async fn write_file(
        &self,
        actor: &Actor,
        id: WorkspaceId,
        path: &RepoPath,
        content: &[u8],
    ) -> Result<(), JobsError> {
        let detail = Some(json!({ "path": path.to_string(), "bytes": content.len() }));
        self.perform(actor, id, "file.write", EffectPlace::Outside, detail, async {
            self.disk.check()?;
            self.files.write_file(id, path, content, &actor.owner()).await?;
            self.note(id, WorkspaceEventKind::FileModified, None, &format!("{path} written")).await;
            Ok(())
        })
        .await
    }

    /// Deletes a file or folder and commits that.
    ///
    /// # Errors
    ///
    /// [`JobsError::StorageFull`] while there is too little room: the history keeps what is deleted.
    pub async fn delete_file(
        &self,
        actor: &Actor,
        id: WorkspaceId,
        path: &RepoPath,
    ) -> Result<(), JobsError> {
        let detail = Some(json!({ "path": path.to_string() }));
        self.perform(actor, id, "file.delete", EffectPlace::Outside, detail, async {
            self.disk.check()?;
            self.files.delete_path(id, path, &actor.owner()).await?;
            self.note(id, WorkspaceEventKind::FileModified, None, &format!("{path} deleted")).await;
            Ok(())
        })
        .await
    }

    /// Returns commits, the newest first.
    pub async fn history(
        &self,
        actor: &Actor,
        id: WorkspaceId,
        offset: usize,
        limit: usize,
    ) -> Result<Vec<CommitInfo>, JobsError> {
        self.permitted(actor, Action::WorkspacesRead, id).await?;
        Ok(self.files.history(id, offset, limit).await?)
    }

    /// Returns timeline entries, the newest first, and how many there are.
    pub async fn events(
        &self,
        actor: &Actor,
        id: WorkspaceId,
        offset: u64,
        limit: u64,
    ) -> Result<(Vec<WorkspaceEvent>, u64), JobsError> {
        self.permitted(actor, Action::WorkspacesRead, id).await?;
        Ok(timeline::page(&self.store, id, offset, limit).await?)
    }

    /// Does something to one workspace, with an audit entry before and after.
    async fn perform<T: Send>(
        &self,
        actor: &Actor,
        id: WorkspaceId,
        verb: &'static str,
        place: EffectPlace,
        detail: Option<serde_json::Value>,
        effect: impl Future<Output = Result<T, JobsError>> + Send,
    ) -> Result<T, JobsError> {
        let action = Action::WorkspacesWrite;
        let resource = self.resource(actor, action, id).await?;
        let deed = Deed { action, verb, resource, target: target(id), place, detail };
        self.gate.perform(actor, deed, effect).await.map_err(|error| not_theirs(id, error))
    }

    /// Returns what to ask the gate about. Without the scope that is nothing in particular, so that a key without it
    /// cannot ask which workspaces exist.
    pub(crate) async fn resource(
        &self,
        actor: &Actor,
        action: Action,
        id: WorkspaceId,
    ) -> Result<Resource, JobsError> {
        match decide(actor, action, &Resource::Any) {
            Decision::Allow => Ok(Resource::Owned { owner: self.record(id).await?.0.owner }),
            Decision::ScopeMissing(_) | Decision::NotTheirs => Ok(Resource::Any),
        }
    }

    /// Returns the workspace with its version if the caller may change it; `None` if the gate is going to refuse.
    async fn reachable(&self, actor: &Actor, id: WorkspaceId) -> Result<Option<(Workspace, u64)>, JobsError> {
        let action = Action::WorkspacesWrite;
        let resource = self.resource(actor, action, id).await?;
        match decide(actor, action, &resource) {
            Decision::Allow => Ok(Some(self.record(id).await?)),
            Decision::ScopeMissing(_) | Decision::NotTheirs => Ok(None),
        }
    }

    /// Returns the workspace if the caller may do `action` to it.
    pub(crate) async fn permitted(
        &self,
        actor: &Actor,
        action: Action,
        id: WorkspaceId,
    ) -> Result<Workspace, JobsError> {
        // The scope comes first, so that a key without it cannot ask which workspaces exist.
        self.gate.permit(actor, action, &Resource::Any)?;
        let (workspace, _) = self.record(id).await?;
        let resource = Resource::Owned { owner: workspace.owner.clone() };
        self.gate.permit(actor, action, &resource).map_err(|error| not_theirs(id, error.into()))?;
        Ok(workspace)
    }

    async fn record(&self, id: WorkspaceId) -> Result<(Workspace, u64), JobsError> {
        let document = self.store.documents.get(KIND, &id.to_string()).await?;
        let document = document.ok_or(JobsError::WorkspaceNotFound(id))?;
        Ok((parse(&document)?, document.version))
    }

    async fn check_limits(&self, limits: &WorkspaceLimits) -> Result<(), JobsError> {
        limits.check()?;
        if !limits.is_default() {
            self.settings.for_run().await?.check_limits(limits)?;
        }
        Ok(())
    }

    pub(crate) fn repositories(&self) -> &Workspaces {
        &self.files
    }

    pub(crate) fn settings(&self) -> &Settings {
        &self.settings
    }

    pub(crate) fn disk(&self) -> &DiskGuard {
        &self.disk
    }

    async fn put(&self, workspace: &Workspace, precondition: Precondition) -> Result<(), JobsError> {
        let value = serde_json::to_value(workspace)
            .map_err(|error| StoreError::Corrupt { what: "workspace".into(), reason: error.to_string() })?;
        let document = NewDocument {
            kind: KIND,
            id: workspace.id.to_string(),
            sort_key: workspace.name.as_str().to_lowercase(),
            owner: workspace.owner.clone(),
            value,
        };
        self.store.documents.put(document, precondition).await?;
        Ok(())
    }

    /// Writes to the timeline. What it tells of has happened already, so a failure is only logged.
    async fn note(&self, id: WorkspaceId, kind: WorkspaceEventKind, related: Option<String>, text: &str) {
        if let Err(error) = timeline::record(&self.store, id, kind, related, text, self.clock.now()).await {
            tracing::warn!(workspace.id = %id, error = %error, "could not write to the workspace's timeline");
        }
    }
}

pub(crate) fn parse(document: &Document) -> Result<Workspace, StoreError> {
    serde_json::from_value(document.value.clone()).map_err(|error| StoreError::Corrupt {
        what: format!("workspace {}", document.id),
        reason: error.to_string(),
    })
}

fn target(id: WorkspaceId) -> String {
    format!("workspace:{id}")
}

/// What belongs to someone else does not exist.
pub(crate) fn not_theirs(id: WorkspaceId, error: JobsError) -> JobsError {
    match error {
        JobsError::Gate(GateError::NotTheirs) => JobsError::WorkspaceNotFound(id),
        error => error,
    }
}
