//! Workspaces as clients send and see them.

use std::collections::BTreeMap;

use claw_core::{
    JobId, NetworkMode, Persistence, Timestamp, Workspace, WorkspaceEvent, WorkspaceEventKind, WorkspaceId,
    WorkspaceSettingsError,
};
use claw_jobs::{JobsError, NewWorkspace, WorkspaceChange, WorkspaceLimits, format_size, parse_size};
use claw_workspace::CommitInfo;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::{
    error::{ApiError, ApiResult},
    v1::{not_offered::NotOffered, paging::Page},
};

/// Which part of a list to return.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct PageQuery {
    /// How many to return: 100 at the most.
    limit: Option<u64>,
    /// How many to pass over.
    offset: Option<u64>,
}

impl PageQuery {
    pub(super) fn page(&self, default_limit: u64) -> Page {
        Page::new(self.offset, self.limit, default_limit)
    }
}

/// What goes with a workspace.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct DeleteQuery {
    /// Whether the files are deleted too.
    #[serde(default)]
    pub(super) delete_files: bool,
}

/// What jobs see of a workspace's limits, as text.
struct Limits {
    memory_limit: Option<String>,
    cpu_limit: Option<f64>,
    network_mode: Option<String>,
}

impl Limits {
    fn parse(self) -> ApiResult<WorkspaceLimits> {
        let memory = self.memory_limit.filter(|text| !text.is_empty());
        let bytes = memory.map(|text| parse_size(&text).ok_or(WorkspaceSettingsError::MemoryLimit(text)));
        let network = self.network_mode.filter(|text| !text.is_empty());
        let network = network.map(|text| text.parse::<NetworkMode>());
        Ok(WorkspaceLimits {
            memory_limit_bytes: bytes.transpose().map_err(refused)?,
            cpu_limit: self.cpu_limit,
            network_mode: network.transpose().map_err(refused)?,
        })
    }
}

fn refused(error: WorkspaceSettingsError) -> ApiError {
    JobsError::from(error).into()
}

/// A workspace to create.
#[derive(Deserialize, ToSchema)]
pub(super) struct CreateBody {
    /// A name for people; it need not be unique.
    #[schema(example = "website", min_length = 1, max_length = 200)]
    name: String,
    /// What it is for.
    description: Option<String>,
    /// What becomes of a job's changes: `persistent` keeps them, `ephemeral` discards them.
    #[schema(default = "persistent")]
    persistence: Option<String>,
    /// Instructions for the agent, put beside the files and not committed.
    claude_md: Option<String>,
    /// A remote repository, kept for reference.
    remote_url: Option<String>,
    /// Memory limit of sandboxes.
    #[schema(example = "4g")]
    memory_limit: Option<String>,
    /// CPU limit of sandboxes in cores.
    #[schema(example = 2.0)]
    cpu_limit: Option<f64>,
    /// Network of sandboxes: `none` or `bridge`.
    network_mode: Option<String>,
    #[serde(default)]
    #[schema(ignore)]
    path: NotOffered,
    #[serde(default)]
    #[schema(ignore)]
    parent_workspace_id: NotOffered,
    #[serde(default)]
    #[schema(ignore)]
    parent_ref: NotOffered,
    #[serde(default)]
    #[schema(ignore)]
    base_image: NotOffered,
    #[serde(default)]
    #[schema(ignore)]
    credential_bindings: NotOffered,
    #[serde(default)]
    #[schema(ignore)]
    skill_ids: NotOffered,
    #[serde(default)]
    #[schema(ignore)]
    tool_ids: NotOffered,
}

impl CreateBody {
    pub(super) fn into_new(self) -> ApiResult<NewWorkspace> {
        self.path.refuse("path")?;
        self.parent_workspace_id.refuse("parent_workspace_id")?;
        self.parent_ref.refuse("parent_ref")?;
        self.base_image.refuse("base_image")?;
        self.credential_bindings.refuse("credential_bindings")?;
        self.skill_ids.refuse("skill_ids")?;
        self.tool_ids.refuse("tool_ids")?;
        let persistence = match self.persistence.as_deref() {
            None | Some("") => Persistence::default(),
            Some("snapshot") => {
                let message =
                    "`persistence` snapshot is not available in this version: use persistent or ephemeral";
                return Err(ApiError::invalid(message));
            }
            Some(name) => name.parse().map_err(refused)?,
        };
        let limits = Limits {
            memory_limit: self.memory_limit,
            cpu_limit: self.cpu_limit,
            network_mode: self.network_mode,
        };
        Ok(NewWorkspace {
            name: self.name.parse().map_err(refused)?,
            description: self.description.unwrap_or_default(),
            persistence,
            claude_md: self.claude_md,
            remote_url: self.remote_url,
            limits: limits.parse()?,
        })
    }
}

/// A workspace's new settings.
#[derive(Deserialize, ToSchema)]
pub(super) struct ChangeBody {
    /// A name for people; it need not be unique.
    #[schema(example = "website", min_length = 1, max_length = 200)]
    name: String,
    /// What it is for; empty if left out.
    description: Option<String>,
    /// Instructions for the agent; none if left out.
    claude_md: Option<String>,
    /// A remote repository, kept for reference; stays if left out.
    remote_url: Option<String>,
    /// Memory limit of sandboxes; stays if left out.
    #[schema(example = "4g")]
    memory_limit: Option<String>,
    /// CPU limit of sandboxes in cores; stays if left out.
    cpu_limit: Option<f64>,
    /// Network of sandboxes, `none` or `bridge`; stays if left out.
    network_mode: Option<String>,
    #[serde(default)]
    #[schema(ignore)]
    base_image: NotOffered,
    #[serde(default)]
    #[schema(ignore)]
    credential_bindings: NotOffered,
    #[serde(default)]
    #[schema(ignore)]
    skill_ids: NotOffered,
    #[serde(default)]
    #[schema(ignore)]
    tool_ids: NotOffered,
}

impl ChangeBody {
    pub(super) fn into_change(self) -> ApiResult<WorkspaceChange> {
        self.base_image.refuse("base_image")?;
        self.credential_bindings.refuse("credential_bindings")?;
        self.skill_ids.refuse("skill_ids")?;
        self.tool_ids.refuse("tool_ids")?;
        let limits = Limits {
            memory_limit: self.memory_limit,
            cpu_limit: self.cpu_limit,
            network_mode: self.network_mode,
        };
        Ok(WorkspaceChange {
            name: self.name.parse().map_err(refused)?,
            description: self.description.unwrap_or_default(),
            claude_md: self.claude_md,
            remote_url: self.remote_url,
            limits: limits.parse()?,
        })
    }
}

/// A workspace.
#[derive(Serialize, ToSchema)]
pub(super) struct WorkspaceView {
    /// Identifies the workspace.
    #[schema(value_type = uuid::Uuid)]
    id: WorkspaceId,
    /// A name for people.
    name: String,
    /// What it is for.
    description: String,
    /// Always null in this version.
    #[schema(value_type = Option<String>)]
    path: Option<()>,
    /// Always empty in this version.
    skill_ids: [String; 0],
    /// Always empty in this version.
    tool_ids: [String; 0],
    /// Always empty in this version.
    credential_bindings: BTreeMap<String, String>,
    /// Instructions for the agent.
    claude_md: Option<String>,
    /// What becomes of a job's changes.
    persistence: &'static str,
    /// A remote repository, kept for reference.
    remote_url: Option<String>,
    /// Always null in this version.
    #[schema(value_type = Option<String>)]
    base_image: Option<()>,
    /// Memory limit of sandboxes; null for the installation's.
    memory_limit: Option<String>,
    /// CPU limit of sandboxes in cores; null for the installation's.
    cpu_limit: Option<f64>,
    /// Network of sandboxes; null for the installation's.
    network_mode: Option<&'static str>,
    /// Always null in this version.
    #[schema(value_type = Option<uuid::Uuid>)]
    parent_workspace_id: Option<()>,
    /// Always null in this version.
    #[schema(value_type = Option<String>)]
    parent_ref: Option<()>,
    /// When it was created.
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    /// When its settings last changed.
    #[schema(value_type = String, format = DateTime)]
    updated_at: Timestamp,
    /// Who created it.
    owner: String,
}

impl From<Workspace> for WorkspaceView {
    fn from(workspace: Workspace) -> Self {
        Self {
            id: workspace.id,
            name: workspace.name.to_string(),
            description: workspace.description,
            path: None,
            skill_ids: [],
            tool_ids: [],
            credential_bindings: BTreeMap::new(),
            claude_md: workspace.claude_md,
            persistence: workspace.persistence.as_str(),
            remote_url: workspace.remote_url,
            base_image: None,
            memory_limit: workspace.memory_limit_bytes.map(format_size),
            cpu_limit: workspace.cpu_limit,
            network_mode: workspace.network_mode.map(NetworkMode::as_str),
            parent_workspace_id: None,
            parent_ref: None,
            created_at: workspace.created_at,
            updated_at: workspace.updated_at,
            owner: workspace.owner,
        }
    }
}

/// A workspace with what is looked up for it.
#[derive(Serialize, ToSchema)]
pub(super) struct WorkspaceDetail {
    #[serde(flatten)]
    workspace: WorkspaceView,
    /// Always null in this version.
    #[schema(value_type = Option<String>)]
    parent_name: Option<()>,
    /// Always 0 in this version.
    child_count: u64,
    /// Always empty in this version.
    skill_names: [String; 0],
}

impl From<Workspace> for WorkspaceDetail {
    fn from(workspace: Workspace) -> Self {
        Self { workspace: workspace.into(), parent_name: None, child_count: 0, skill_names: [] }
    }
}

/// A page of workspaces.
#[derive(Serialize, ToSchema)]
pub(super) struct WorkspaceList {
    /// The workspaces.
    pub(super) items: Vec<WorkspaceView>,
    /// How many there are in all.
    pub(super) total: u64,
    /// How many were passed over.
    pub(super) offset: u64,
    /// How many a page holds at the most.
    pub(super) limit: u64,
}

/// One commit.
#[derive(Serialize, ToSchema)]
pub(super) struct CommitView {
    /// Its name.
    hash: String,
    /// First line of its message.
    message: String,
    /// When it was committed.
    #[schema(value_type = String, format = DateTime)]
    date: Timestamp,
    /// Who wrote it.
    author: String,
    /// The job whose changes it holds.
    #[schema(value_type = Option<uuid::Uuid>)]
    job_id: Option<JobId>,
}

impl From<CommitInfo> for CommitView {
    fn from(commit: CommitInfo) -> Self {
        let CommitInfo { hash, message, date, author, job } = commit;
        Self { hash: hash.to_string(), message, date, author, job_id: job }
    }
}

/// A workspace's commits.
#[derive(Serialize, ToSchema)]
pub(super) struct HistoryView {
    /// The newest first.
    pub(super) commits: Vec<CommitView>,
}

/// What can happen to a workspace.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum TimelineKind {
    /// It was created.
    Initialized,
    /// A job began.
    JobStarted,
    /// A job succeeded.
    JobCompleted,
    /// A run of a job failed or was cancelled.
    JobFailed,
    /// A job and an edit changed the same lines.
    JobConflict,
    /// A file was written or deleted.
    FileModified,
}

impl From<WorkspaceEventKind> for TimelineKind {
    fn from(kind: WorkspaceEventKind) -> Self {
        match kind {
            WorkspaceEventKind::Initialized => Self::Initialized,
            WorkspaceEventKind::JobStarted => Self::JobStarted,
            WorkspaceEventKind::JobCompleted => Self::JobCompleted,
            WorkspaceEventKind::JobFailed => Self::JobFailed,
            WorkspaceEventKind::JobConflict => Self::JobConflict,
            WorkspaceEventKind::FileModified => Self::FileModified,
        }
    }
}

/// One entry of a timeline.
#[derive(Serialize, ToSchema)]
pub(super) struct TimelineEntry {
    /// When it happened.
    #[schema(value_type = String, format = DateTime)]
    timestamp: Timestamp,
    /// What happened.
    event_type: TimelineKind,
    /// The job, commit or workspace it is about.
    related_id: Option<String>,
    /// One sentence for people.
    description: String,
}

impl From<WorkspaceEvent> for TimelineEntry {
    fn from(event: WorkspaceEvent) -> Self {
        let WorkspaceEvent { timestamp, event_type, related_id, description } = event;
        Self { timestamp, event_type: event_type.into(), related_id, description }
    }
}

/// A page of a timeline.
#[derive(Serialize, ToSchema)]
pub(super) struct TimelineView {
    /// The newest first.
    pub(super) events: Vec<TimelineEntry>,
    /// How many there are in all.
    pub(super) total: u64,
    /// How many a page holds at the most.
    pub(super) limit: u64,
    /// How many were passed over.
    pub(super) offset: u64,
}
