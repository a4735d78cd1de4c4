//! The state of the installation.

use claw_core::{JobId, Timestamp, WorkspaceId};
use reqwest::StatusCode;
use serde::Deserialize;

use super::v1;
use crate::{Answer, Client, ClientError};

/// How many jobs are in which state.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default)]
pub struct QueueCounts {
    /// Waiting.
    pub pending: u64,
    /// Running.
    pub running: u64,
    /// Ended well.
    pub completed: u64,
    /// Ended badly.
    pub failed: u64,
}

/// The installation at a glance.
#[derive(Clone, Debug, Deserialize)]
pub struct Status {
    /// `healthy`, or what is wrong.
    pub status: String,
    /// The jobs.
    #[serde(default)]
    pub queue: QueueCounts,
    /// Whether the Docker Engine answers.
    pub docker_available: Option<bool>,
    /// Whether the image that jobs run in is there.
    pub sandbox_image_ready: Option<bool>,
    /// `docker` or `local`.
    pub execution_backend: Option<String>,
    /// Workers that are alive.
    pub worker_count: Option<u64>,
    /// How many jobs can run at once.
    pub capacity: Option<u64>,
    /// How many do.
    pub active: Option<u64>,
    /// Started sandboxes that wait for a job.
    pub sandboxes_waiting: Option<u64>,
    /// Why no job is claimed at present, with the way out.
    pub waiting_because: Option<String>,
    /// The server's version.
    pub version: Option<String>,
}

/// Whether new work is taken.
#[derive(Clone, Debug, Deserialize)]
pub struct Readiness {
    /// It is.
    pub ready: bool,
    /// Why not, as far as the caller is told.
    #[serde(default)]
    pub reasons: Vec<String>,
}

/// A setting of the installation.
#[derive(Clone, Debug, Deserialize)]
pub struct Setting {
    /// Its name.
    pub key: String,
    /// Its value as text; `***set***` for a secret that is set.
    pub value: String,
}

/// One worker and what it does.
#[derive(Clone, Debug, Deserialize)]
pub struct Worker {
    /// The worker.
    pub worker_id: String,
    /// Its job.
    pub job_id: Option<JobId>,
    /// The job's workspace.
    pub workspace_id: Option<WorkspaceId>,
    /// Since when.
    pub started_at: Option<Timestamp>,
}

/// The workers.
#[derive(Clone, Debug, Deserialize)]
pub struct Workers {
    /// Those that are busy.
    pub items: Vec<Worker>,
    /// How many jobs can run at once.
    #[serde(default)]
    pub capacity: u64,
    /// How many do.
    #[serde(default)]
    pub active: u64,
}

/// What the server knows of its Docker Engine.
#[derive(Clone, Debug, Deserialize)]
pub struct DockerStatus {
    /// It answers.
    pub available: bool,
    /// Its version.
    pub server_version: Option<String>,
    /// Why it does not answer.
    pub error: Option<String>,
}

impl Client {
    /// Returns the installation at a glance.
    ///
    /// # Errors
    ///
    /// See [`ClientError`].
    pub async fn status(&self) -> Result<Answer<Status>, ClientError> {
        self.get(v1!["status"]).json().await
    }

    /// Returns whether new work is taken.
    ///
    /// # Errors
    ///
    /// See [`ClientError`].
    pub async fn readiness(&self) -> Result<Answer<Readiness>, ClientError> {
        self.get(["ready"]).accept(StatusCode::SERVICE_UNAVAILABLE).json().await
    }

    /// Returns the workers.
    ///
    /// # Errors
    ///
    /// See [`ClientError`].
    pub async fn workers(&self) -> Result<Answer<Workers>, ClientError> {
        self.get(v1!["workers"]).json().await
    }

    /// Returns what the server knows of its Docker Engine.
    ///
    /// # Errors
    ///
    /// See [`ClientError`].
    pub async fn docker_status(&self) -> Result<Answer<DockerStatus>, ClientError> {
        self.get(v1!["docker", "status"]).json().await
    }

    /// Returns a setting.
    ///
    /// # Errors
    ///
    /// See [`ClientError`].
    pub async fn setting(&self, key: &str) -> Result<Answer<Setting>, ClientError> {
        self.get(v1!["config", key]).json().await
    }

    /// Asks whether the server is there. Needs no credential.
    ///
    /// # Errors
    ///
    /// See [`ClientError`].
    pub async fn health(&self) -> Result<(), ClientError> {
        self.get(["health"]).done().await
    }
}
