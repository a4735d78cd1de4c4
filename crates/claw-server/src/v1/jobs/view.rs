//! Jobs as clients send and see them.

use claw_core::{
    Clock as _, Job, JobId, JobSource, JobSpec, JobState, JobStatus, OutputDest, Priority, SystemClock,
    Timestamp, WorkerId, WorkspaceId,
};
use claw_jobs::WorkerState;
use claw_store::{JobFilter, JobSort, StoredResult};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

use super::names::{OutputView, SourceName, StatusName};
use crate::{
    error::{ApiError, ApiResult},
    v1::{not_offered::NotOffered, paging::Page},
};

/// Jobs on a page, unless the query says otherwise.
const DEFAULT_LIMIT: u64 = 20;

/// A job to submit.
#[derive(Deserialize, ToSchema)]
pub(crate) struct SubmitBody {
    /// What the agent is to do.
    #[schema(example = "Write a haiku about lobsters to haiku.txt", min_length = 1)]
    prompt: String,
    /// Model name or alias; the agent's own choice if left out.
    model: Option<String>,
    /// Most that the job may cost in US dollars, over all its runs.
    max_budget_usd: Option<f64>,
    /// Tools the agent may use; all if left out.
    allowed_tools: Option<Vec<String>>,
    /// Labels for finding jobs again.
    tags: Option<Vec<String>>,
    /// 0 to 9, the highest first; larger numbers count as 9.
    #[schema(default = 5)]
    priority: Option<u8>,
    /// Wall time of one run in seconds.
    timeout_secs: Option<u64>,
    /// The workspace whose files the job sees; an empty folder if left out.
    #[schema(value_type = Option<uuid::Uuid>)]
    workspace_id: Option<WorkspaceId>,
    /// Folder inside the workspace where the agent starts.
    #[schema(default = ".")]
    working_dir: Option<String>,
    #[serde(default)]
    #[schema(ignore)]
    output_dest: Option<Value>,
    #[serde(default)]
    #[schema(ignore)]
    skill_ids: NotOffered,
    #[serde(default)]
    #[schema(ignore)]
    skill_tags: NotOffered,
    #[serde(default)]
    #[schema(ignore)]
    tool_ids: NotOffered,
    #[serde(default)]
    #[schema(ignore)]
    template_id: NotOffered,
}

impl SubmitBody {
    pub(crate) fn into_spec(self, source: JobSource) -> ApiResult<JobSpec> {
        self.skill_ids.refuse("skill_ids")?;
        self.skill_tags.refuse("skill_tags")?;
        self.tool_ids.refuse("tool_ids")?;
        self.template_id.refuse("template_id")?;
        if !self.output_dest.is_none_or(|output| output.is_null() || output["type"] == "redis") {
            return Err(ApiError::not_available("output_dest"));
        }
        Ok(JobSpec {
            prompt: self.prompt,
            model: self.model.filter(|model| !model.is_empty()),
            max_budget_usd: self.max_budget_usd,
            allowed_tools: self.allowed_tools,
            tags: self.tags.unwrap_or_default(),
            output_dest: OutputDest::Redis,
            source,
            priority: self.priority.map(Priority::from).unwrap_or_default(),
            timeout_secs: self.timeout_secs,
            workspace_id: self.workspace_id,
            working_dir: self.working_dir.filter(|dir| !matches!(dir.as_str(), "" | "." | "./")),
        })
    }
}

/// The receipt for a submitted job.
#[derive(Serialize, ToSchema)]
pub(crate) struct JobReceipt {
    /// The job.
    #[schema(value_type = uuid::Uuid)]
    id: JobId,
    /// Its state.
    status: StatusName,
    /// When it was submitted.
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
}

impl From<Job> for JobReceipt {
    fn from(job: Job) -> Self {
        Self { id: job.id, status: job.status().into(), created_at: job.created_at }
    }
}

/// The answer to a cancel.
#[derive(Serialize, ToSchema)]
pub(crate) struct CancelReceipt {
    /// The job.
    #[schema(value_type = uuid::Uuid)]
    id: JobId,
    /// Always `cancelled`: what the job is or is about to be.
    status: StatusName,
    /// What it is now.
    state: StatusName,
}

impl From<Job> for CancelReceipt {
    fn from(job: Job) -> Self {
        Self { id: job.id, status: StatusName::Cancelled, state: job.status().into() }
    }
}

/// A job.
#[derive(Serialize, ToSchema)]
pub(crate) struct JobView {
    /// Identifies the job.
    #[schema(value_type = uuid::Uuid)]
    id: JobId,
    /// Its state.
    status: StatusName,
    /// What the agent is to do.
    prompt: String,
    /// Always empty in this version.
    skill_ids: [String; 0],
    /// Always empty in this version.
    skill_tags: [String; 0],
    /// Always empty in this version.
    tool_ids: [String; 0],
    /// Labels.
    tags: Vec<String>,
    /// Folder inside the workspace where the agent starts.
    working_dir: String,
    /// Model name or alias.
    model: Option<String>,
    /// Most that the job may cost in US dollars.
    max_budget_usd: Option<f64>,
    /// Tools the agent may use; null for all.
    allowed_tools: Option<Vec<String>>,
    /// Where the result goes.
    output_dest: OutputView,
    /// Which door it came through.
    source: SourceName,
    /// 0 to 9, the highest first.
    priority: u8,
    /// When it was submitted.
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    /// When the last run began.
    #[schema(value_type = Option<String>, format = DateTime)]
    started_at: Option<Timestamp>,
    /// When it ended.
    #[schema(value_type = Option<String>, format = DateTime)]
    completed_at: Option<Timestamp>,
    /// Who runs or ran it.
    #[schema(value_type = Option<String>)]
    worker_id: Option<WorkerId>,
    /// Why it failed, or why the run before failed.
    error: Option<String>,
    /// What all its runs cost in US dollars.
    cost_usd: Option<f64>,
    /// Wall time of all its runs in milliseconds.
    duration_ms: Option<u64>,
    /// Runs that failed and were or will be tried again.
    retry_count: u32,
    /// Wall time of one run in seconds.
    timeout_secs: Option<u64>,
    /// Its workspace.
    #[schema(value_type = Option<uuid::Uuid>)]
    workspace_id: Option<WorkspaceId>,
    /// Always null in this version.
    #[schema(value_type = Option<uuid::Uuid>)]
    cron_id: Option<()>,
    /// Always null in this version.
    #[schema(value_type = Option<uuid::Uuid>)]
    template_id: Option<()>,
    /// Always null in this version.
    #[schema(value_type = Option<uuid::Uuid>)]
    pipeline_run_id: Option<()>,
    /// Always null in this version.
    #[schema(value_type = Option<u32>)]
    pipeline_step: Option<()>,
    /// Always null in this version.
    #[schema(value_type = Option<Object>)]
    skill_snapshot: Option<()>,
    /// Always null in this version.
    #[schema(value_type = Option<String>)]
    assembled_prompt: Option<()>,
    /// Who submitted it.
    owner: String,
    /// Whether someone asked for it to end.
    cancel_requested: bool,
    /// When it is tried again, while it waits for that.
    #[schema(value_type = Option<String>, format = DateTime)]
    not_before: Option<Timestamp>,
    /// Why it waits, with the way out, if it waits for more than its turn.
    #[serde(skip_serializing_if = "Option::is_none")]
    waiting_because: Option<String>,
    /// When it goes on by itself, if that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    waiting_until: Option<Timestamp>,
}

impl JobView {
    /// Shows a job, with the reason why it waits.
    pub(crate) fn of(job: Job, worker: &WorkerState) -> Self {
        let (because, until) =
            worker.why_waits(&job, SystemClock.now()).map(|wait| (wait.reason, wait.until)).unzip();
        Self { waiting_because: because, waiting_until: until.flatten(), ..Self::from(job) }
    }
}

/// What only some states have.
#[derive(Default)]
struct StateFields {
    started_at: Option<Timestamp>,
    completed_at: Option<Timestamp>,
    worker_id: Option<WorkerId>,
    error: Option<String>,
    cancel_requested: bool,
    not_before: Option<Timestamp>,
}

impl From<JobState> for StateFields {
    fn from(state: JobState) -> Self {
        match state {
            JobState::Pending { not_before, last_error } => {
                Self { not_before, error: last_error, ..Self::default() }
            }
            JobState::Running { started_at, lease, cancel_requested_by } => Self {
                started_at: Some(started_at),
                worker_id: Some(lease.worker),
                cancel_requested: cancel_requested_by.is_some(),
                ..Self::default()
            },
            JobState::Completed { started_at, finished_at, worker } => Self {
                started_at: Some(started_at),
                completed_at: Some(finished_at),
                worker_id: Some(worker),
                ..Self::default()
            },
            JobState::Failed { started_at, finished_at, worker, kind: _, error } => Self {
                started_at: Some(started_at),
                completed_at: Some(finished_at),
                worker_id: Some(worker),
                error: Some(error),
                ..Self::default()
            },
            JobState::Cancelled { started_at, finished_at, by: _ } => Self {
                started_at,
                completed_at: Some(finished_at),
                cancel_requested: true,
                ..Self::default()
            },
        }
    }
}

impl From<Job> for JobView {
    fn from(job: Job) -> Self {
        let status = job.status().into();
        let Job {
            id,
            owner,
            spec,
            state,
            created_at,
            retry_count,
            lease_count: _,
            usage,
            postponed_since: _,
        } = job;
        let StateFields { started_at, completed_at, worker_id, error, cancel_requested, not_before } =
            state.into();
        Self {
            id,
            status,
            prompt: spec.prompt,
            skill_ids: [],
            skill_tags: [],
            tool_ids: [],
            tags: spec.tags,
            working_dir: spec.working_dir.unwrap_or_else(|| ".".into()),
            model: spec.model,
            max_budget_usd: spec.max_budget_usd,
            allowed_tools: spec.allowed_tools,
            output_dest: spec.output_dest.into(),
            source: spec.source.into(),
            priority: spec.priority.get(),
            created_at,
            started_at,
            completed_at,
            worker_id,
            error,
            cost_usd: usage.cost_usd,
            duration_ms: (usage.duration_ms > 0).then_some(usage.duration_ms),
            retry_count,
            timeout_secs: spec.timeout_secs,
            workspace_id: spec.workspace_id,
            cron_id: None,
            template_id: None,
            pipeline_run_id: None,
            pipeline_step: None,
            skill_snapshot: None,
            assembled_prompt: None,
            owner,
            cancel_requested,
            not_before,
            waiting_because: None,
            waiting_until: None,
        }
    }
}

/// A page of jobs.
#[derive(Serialize, ToSchema)]
pub(crate) struct JobList {
    /// The jobs.
    pub(crate) items: Vec<JobView>,
    /// How many match in all.
    pub(crate) total: u64,
    /// How many were passed over.
    pub(crate) offset: u64,
    /// How many a page holds at the most.
    pub(crate) limit: u64,
}

/// Order of a list.
#[derive(Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum SortName {
    /// Newest first.
    Newest,
    /// Oldest first.
    Oldest,
    /// Most urgent first.
    Priority,
}

/// Which jobs to list.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct JobListQuery {
    /// Only those in this state.
    #[param(inline)]
    status: Option<StatusName>,
    /// Only those of this workspace.
    workspace_id: Option<String>,
    /// Only those with this label.
    tag: Option<String>,
    /// Only those that came through this door.
    #[param(inline)]
    source: Option<SourceName>,
    /// Only those whose prompt holds this text.
    search: Option<String>,
    /// Order: `newest` if left out.
    #[param(inline)]
    sort: Option<SortName>,
    /// How many to return: 20 if left out, 100 at the most.
    limit: Option<u64>,
    /// How many to pass over.
    offset: Option<u64>,
}

impl JobListQuery {
    pub(crate) fn into_filter(self) -> ApiResult<JobFilter> {
        let page = Page::new(self.offset, self.limit, DEFAULT_LIMIT);
        let workspace =
            self.workspace_id.filter(|id| !id.is_empty()).map(|id| id.parse::<WorkspaceId>()).transpose();
        let not_empty = |text: &String| !text.is_empty();
        Ok(JobFilter {
            status: self.status.map(JobStatus::from),
            workspace: workspace.map_err(|error| ApiError::invalid(error.to_string()))?,
            tag: self.tag.filter(not_empty),
            source: self.source.map(JobSource::from),
            search: self.search.filter(not_empty),
            owner: None,
            sort: match self.sort {
                None | Some(SortName::Newest) => JobSort::Newest,
                Some(SortName::Oldest) => JobSort::Oldest,
                Some(SortName::Priority) => JobSort::Priority,
            },
            offset: page.offset,
            limit: page.limit,
        })
    }
}

/// What a completed job brought.
#[derive(Serialize, ToSchema)]
pub(crate) struct JobResultView {
    /// The job.
    #[schema(value_type = uuid::Uuid)]
    job_id: JobId,
    /// The agent's closing text.
    result: String,
    /// What all its runs cost in US dollars.
    cost_usd: Option<f64>,
    /// Wall time of all its runs in milliseconds.
    duration_ms: Option<u64>,
    /// The model that was asked for.
    model: Option<String>,
    /// The agent CLI's session.
    session_id: Option<String>,
    /// Turns the agent took.
    num_turns: Option<u64>,
    /// The commit that holds the job's changes.
    commit: Option<String>,
    /// What became of the changes, when that needs saying.
    note: Option<String>,
    /// When the job ended.
    #[schema(value_type = String, format = DateTime)]
    completed_at: Timestamp,
}

impl JobResultView {
    pub(crate) fn new(job: &Job, StoredResult { result, finished_at }: StoredResult) -> Self {
        Self {
            job_id: job.id,
            result: result.text,
            cost_usd: job.usage.cost_usd,
            duration_ms: (job.usage.duration_ms > 0).then_some(job.usage.duration_ms),
            model: job.spec.model.clone(),
            session_id: result.session_id,
            num_turns: result.num_turns,
            commit: result.commit,
            note: result.note,
            completed_at: finished_at,
        }
    }
}
