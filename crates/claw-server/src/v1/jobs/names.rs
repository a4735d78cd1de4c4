//! The words for a job's state, source and output.

use claw_core::{JobSource, JobStatus, OutputDest};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A job's state.
#[derive(Clone, Copy, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum StatusName {
    /// Waits for a worker.
    Pending,
    /// A worker has it.
    Running,
    /// Ended well.
    Completed,
    /// Ended badly.
    Failed,
    /// Was ended by someone.
    Cancelled,
}

impl From<JobStatus> for StatusName {
    fn from(status: JobStatus) -> Self {
        match status {
            JobStatus::Pending => Self::Pending,
            JobStatus::Running => Self::Running,
            JobStatus::Completed => Self::Completed,
            JobStatus::Failed => Self::Failed,
            JobStatus::Cancelled => Self::Cancelled,
        }
    }
}

impl From<StatusName> for JobStatus {
    fn from(name: StatusName) -> Self {
        match name {
            StatusName::Pending => Self::Pending,
            StatusName::Running => Self::Running,
            StatusName::Completed => Self::Completed,
            StatusName::Failed => Self::Failed,
            StatusName::Cancelled => Self::Cancelled,
        }
    }
}

/// Which door a job came through.
#[derive(Clone, Copy, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum SourceName {
    /// The command line.
    Cli,
    /// The REST API.
    Api,
    /// The webhook route.
    Webhook,
    /// A schedule.
    Cron,
    /// A file in the watched folder.
    Filewatcher,
}

impl From<JobSource> for SourceName {
    fn from(source: JobSource) -> Self {
        match source {
            JobSource::Cli => Self::Cli,
            JobSource::Api => Self::Api,
            JobSource::Webhook => Self::Webhook,
            JobSource::Cron => Self::Cron,
            JobSource::Filewatcher => Self::Filewatcher,
        }
    }
}

impl From<SourceName> for JobSource {
    fn from(name: SourceName) -> Self {
        match name {
            SourceName::Cli => Self::Cli,
            SourceName::Api => Self::Api,
            SourceName::Webhook => Self::Webhook,
            SourceName::Cron => Self::Cron,
            SourceName::Filewatcher => Self::Filewatcher,
        }
    }
}

/// Where a result goes besides the store.
#[derive(Clone, Default, Serialize, ToSchema)]
#[serde(tag = "type", rename_all = "lowercase")]
pub(crate) enum OutputView {
    /// Nowhere else: it is kept with the job.
    #[default]
    Redis,
}

impl From<OutputDest> for OutputView {
    fn from(output: OutputDest) -> Self {
        match output {
            OutputDest::Redis => Self::Redis,
        }
    }
}
