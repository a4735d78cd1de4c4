//! Jobs: submit, look, follow, cancel, delete.

use claw_core::{Coded, ErrorCode, JobId, JobStatus, Timestamp, WorkspaceId};
use reqwest::Method;
use serde::{Deserialize, Serialize};

use super::v1;
use crate::{Answer, Client, ClientError, EventStream};

/// How often a submit is sent again when the connection breaks. The idempotency key keeps it one job.
const SUBMIT_RETRIES: usize = 2;

/// What a job is to do. Fields left `None` take the server's defaults.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct SubmitJob {
    /// What the agent is to do.
    pub prompt: String,
    /// Model name or alias.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// 0 to 9, the highest first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub priority: Option<u8>,
    /// Labels for finding the job again.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// Most that the job may cost in US dollars.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_budget_usd: Option<f64>,
    /// Tools the agent may use.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allowed_tools: Option<Vec<String>>,
    /// Wall time of one run in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout_secs: Option<u64>,
    /// The workspace whose files the job sees.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub workspace_id: Option<WorkspaceId>,
    /// Folder inside the workspace where the agent starts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub working_dir: Option<String>,
}

impl SubmitJob {
    /// Returns a job that only says what to do.
    pub fn new(prompt: impl Into<String>) -> Self {
        Self { prompt: prompt.into(), ..Self::default() }
    }
}

/// The receipt for a submitted job.
#[derive(Clone, Debug, Deserialize)]
pub struct Submitted {
    /// The job.
    pub id: JobId,
    /// Its state.
    pub status: JobStatus,
    /// When it was accepted.
    pub created_at: Option<Timestamp>,
}

/// A job as the server shows it.
#[derive(Clone, Debug, Deserialize)]
pub struct Job {
    /// The job.
    pub id: JobId,
    /// Its state.
    pub status: JobStatus,
    /// What the agent is to do.
    #[serde(default)]
    pub prompt: String,
    /// Labels.
    #[serde(default)]
    pub tags: Vec<String>,
    /// Model name or alias.
    pub model: Option<String>,
    /// 0 to 9, the highest first.
    pub priority: Option<u8>,
    /// Which door it came through.
    pub source: Option<String>,
    /// Whose it is.
    pub owner: Option<String>,
    /// Its workspace.
    pub workspace_id: Option<WorkspaceId>,
    /// When it was submitted.
    pub created_at: Option<Timestamp>,
    /// When the last run began.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub completed_at: Option<Timestamp>,
    /// Who runs or ran it.
    pub worker_id: Option<String>,
    /// Why it failed, or why the run before failed.
    pub error: Option<String>,
    /// What it cost in US dollars.
    pub cost_usd: Option<f64>,
    /// Wall time in milliseconds.
    pub duration_ms: Option<u64>,
    /// Runs after the first one.
    #[serde(default)]
    pub retry_count: u32,
    /// Why it waits, if it waits for more than its turn.
    pub waiting_because: Option<String>,
    /// When it goes on by itself, if that is known.
    pub waiting_until: Option<Timestamp>,
}

/// What a finished job brought.
#[derive(Clone, Debug, Deserialize)]
pub struct JobResult {
    /// The job.
    pub job_id: JobId,
    /// The agent's closing text.
    #[serde(default)]
    pub result: String,
    /// What it cost in US dollars.
    pub cost_usd: Option<f64>,
    /// Wall time in milliseconds.
    pub duration_ms: Option<u64>,
    /// The agent CLI's session.
    pub session_id: Option<String>,
    /// Turns the agent took.
    pub num_turns: Option<u64>,
    /// The commit that holds the job's changes.
    pub commit: Option<String>,
    /// What became of the changes, when that needs saying.
    pub note: Option<String>,
    /// When the job ended.
    pub completed_at: Option<Timestamp>,
}

/// A part of a job's log.
#[derive(Clone, Debug, Deserialize)]
pub struct JobLog {
    /// Raw stream-json lines.
    pub lines: Vec<String>,
    /// Lines of the whole log.
    #[serde(default)]
    pub total: u64,
    /// How many lines come before these.
    #[serde(default)]
    pub offset: u64,
}

/// A page of jobs.
#[derive(Clone, Debug, Deserialize)]
pub struct JobPage {
    /// The jobs.
    pub items: Vec<Job>,
    /// How many there are on all pages.
    #[serde(default)]
    pub total: u64,
}

/// The order of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum JobSort {
    /// The newest first.
    Newest,
    /// The oldest first.
    Oldest,
    /// The most urgent first.
    Priority,
}

/// Which jobs to list.
#[derive(Clone, Debug, Default, Serialize)]
pub struct JobQuery {
    /// Only those in this state.
    pub status: Option<JobStatus>,
    /// Only those of this workspace.
    pub workspace_id: Option<WorkspaceId>,
    /// Only those with this label.
    pub tag: Option<String>,
    /// Only those that came through this door.
    pub source: Option<String>,
    /// Only those whose text holds this.
    pub search: Option<String>,
    /// In which order.
    pub sort: Option<JobSort>,
    /// At most so many.
    pub limit: Option<u32>,
    /// After so many.
    pub offset: Option<u64>,
}

/// The answer to a cancel.
#[derive(Clone, Debug, Deserialize)]
pub struct Cancelled {
    /// The job.
    pub id: JobId,
    /// What it is, or is about to be.
    pub status: JobStatus,
}

/// One change of a job, from the stream of job events.
#[derive(Clone, Debug, Deserialize)]
pub struct JobUpdate {
    /// The job.
    pub job_id: JobId,
    /// Its state after the change.
    pub status: JobStatus,
}

impl JobUpdate {
    /// Reads an event's data; `None` for other kinds of events.
    pub fn parse(data: &str) -> Option<Self> {
        serde_json::from_str(data).ok()
    }
}

/// What a followed log brings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogEvent {
    /// One more line.
    Line {
        /// Its number, 1 for the first.
        sequence: u64,
        /// The raw stream-json line.
        line: String,
    },
    /// The job has ended and all its lines were sent.
    End {
        /// How it ended.
        status: JobStatus,
    },
}

/// A job's log as it grows. Each line comes once, also over broken connections.
#[derive(Debug)]
pub struct LogFollower {
    stream: EventStream,
    last: u64,
}

impl LogFollower {
    /// Returns the next line, the end, or `None` when the stream ended without one.
    ///
    /// # Errors
    ///
    /// Fails when the server refuses, stays away or sends what is no log.
    pub async fn next(&mut self) -> Result<Option<LogEvent>, ClientError> {
        #[derive(Deserialize)]
        struct End {
            status: JobStatus,
        }
        while let Some(event) = self.stream.next().await? {
            match event.event.as_str() {
                "log" => {
                    let sequence =
                        event.id.as_deref().and_then(|id| id.parse().ok()).unwrap_or(self.last + 1);
                    if sequence > self.last {
                        self.last = sequence;
                        return Ok(Some(LogEvent::Line { sequence, line: event.data }));
                    }
                }
                "end" => {
                    let end: End = serde_json::from_str(&event.data).map_err(|_| {
                        ClientError::new(
                            ErrorCode::UnexpectedAnswer,
                            "the log's end does not say how the job ended",
                        )
                    })?;
                    return Ok(Some(LogEvent::End { status: end.status }));
                }
                _ => {}
            }
        }
        Ok(None)
    }
}

impl Client {
    /// Submits a job. The same `idempotency_key` again gives the same job, so a broken connection is tried again.
    ///
    /// # Errors
    ///
    /// See [`ClientError`].
    pub async fn submit_job(
        &self,
        job: &SubmitJob,
        idempotency_key: &str,
    ) -> Result<Answer<Submitted>, ClientError> {
        let mut retries = SUBMIT_RETRIES;
        loop {
            let call = self.post(v1!["jobs"]).header("idempotency-key", idempotency_key).body(job);
            match call.json().await {
                // Not reached at all: saying so at once helps more than trying again.
                Err(error)
                    if error.code() == ErrorCode::ServerUnreachable && !error.is_connect() && retries > 0 =>
                {
                    retries -= 1;
                }
                outcome => return outcome,
            }
        }
    }

    /// Lists jobs.
    ///
    /// # Errors
    ///
    /// See [`ClientError`].
    pub async fn jobs(&self, query: &JobQuery) -> Result<Answer<JobPage>, ClientError> {
        self.get(v1!["jobs"]).query(query).json().await
    }

    /// Returns one job.
    ///
    /// # Errors
    ///
    /// See [`ClientError`].
    pub async fn job(&self, id: JobId) -> Result<Answer<Job>, ClientError> {
        self.get(v1!["jobs", &id.to_string()]).missing(ErrorCode::JobNotFound).json().await
    }

    /// Returns what a completed job brought.
    ///
    /// # Errors
    ///
    /// See [`ClientError`]; [`ErrorCode::ResultNotFound`] when there is none (yet).
    pub async fn job_result(&self, id: JobId) -> Result<Answer<JobResult>, ClientError> {
        self.get(v1!["jobs", &id.to_string(), "result"]).missing(ErrorCode::ResultNotFound).json().await
    }

    /// Returns up to `limit` log lines after the first `offset`.
    ///
    /// # Errors
    ///
    /// See [`ClientError`].
    pub async fn job_log(&self, id: JobId, offset: u64, limit: u64) -> Result<Answer<JobLog>, ClientError> {
        self.get(v1!["jobs", &id.to_string(), "logs"])
            .query(&[("offset", offset), ("limit", limit)])
            .missing(ErrorCode::JobNotFound)
            .json()
            .await
    }

    /// Follows a job's log from after line `after` (0 for the beginning) until the job has ended.
    ///
    /// # Errors
    ///
    /// See [`ClientError`].
    pub async fn follow_log(&self, id: JobId, after: u64) -> Result<LogFollower, ClientError> {
        let path = v1!["jobs", &id.to_string(), "logs", "stream"].map(str::to_owned).to_vec();
        let last_event_id = (after > 0).then(|| after.to_string());
        let stream = EventStream::open(self, path, ErrorCode::JobNotFound, last_event_id).await?;
        Ok(LogFollower { stream, last: after })
    }

    /// Follows the changes of all jobs that this credential may see.
    ///
    /// # Errors
    ///
    /// See [`ClientError`].
    pub async fn job_events(&self) -> Result<EventStream, ClientError> {
        let path = v1!["events", "jobs"].map(str::to_owned).to_vec();
        EventStream::open(self, path, ErrorCode::RouteNotFound, None).await
    }

    /// Asks for a job to end.
    ///
    /// # Errors
    ///
    /// See [`ClientError`]; [`ErrorCode::JobWrongState`] when it has ended already.
    pub async fn cancel_job(&self, id: JobId) -> Result<Answer<Cancelled>, ClientError> {
        self.post(v1!["jobs", &id.to_string(), "cancel"]).missing(ErrorCode::JobNotFound).json().await
    }

    /// Deletes a job that has ended, with its log and result.
    ///
    /// # Errors
    ///
    /// See [`ClientError`]; [`ErrorCode::JobWrongState`] while it waits or runs.
    pub async fn delete_job(&self, id: JobId) -> Result<(), ClientError> {
        self.call(Method::DELETE, v1!["jobs", &id.to_string()]).missing(ErrorCode::JobNotFound).done().await
    }
}
