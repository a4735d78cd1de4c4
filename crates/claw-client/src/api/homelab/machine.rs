//! The machine and its Engine.

use serde::Deserialize;

use crate::{Answer, Client, ClientError};

/// What the Docker Engine is.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct SystemInfo {
    /// Its version.
    pub docker_version: String,
    /// Version of its API that is spoken.
    pub api_version: String,
    /// Operating system.
    pub os: String,
    /// Processor.
    pub arch: String,
    /// Folder of the host in which it keeps everything.
    pub docker_root: String,
    /// Processors.
    pub cpus: u32,
    /// Memory in bytes.
    pub memory_bytes: u64,
}

/// How busy the machine is.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct SystemMetrics {
    /// Load of the processors in percent.
    pub cpu_percent: f64,
    /// Used memory in percent.
    pub memory_percent: f64,
    /// Used disk in percent.
    pub disk_percent: f64,
    /// Containers, running or not.
    pub containers: u64,
    /// Images.
    pub images: u64,
    /// Seconds since the machine was started.
    pub uptime: f64,
}

/// What goes on, in numbers.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct MetricsSummary {
    /// Requests of the last 24 hours.
    pub requests_last_24h: u64,
    /// The same for each hour, the oldest first, this hour last.
    pub requests_by_hour: Vec<u64>,
    /// How many containers there are.
    pub container_counts: ContainerCounts,
    /// Seconds since the server was started.
    pub uptime_seconds: u64,
    /// Images pulled in the last 24 hours.
    pub pulls_last_24h: u64,
}

/// How many containers there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct ContainerCounts {
    /// All.
    pub total: u64,
    /// Those that run.
    pub running: u64,
    /// Those that do not.
    pub stopped: u64,
}

impl Client {
    /// Returns what the Docker Engine is. Needs any key.
    ///
    /// # Errors
    ///
    /// See [`ClientError`].
    pub async fn system_info(&self) -> Result<Answer<SystemInfo>, ClientError> {
        self.get(["api", "system", "info"]).data().await
    }

    /// Returns how busy the machine is. Needs any key.
    ///
    /// # Errors
    ///
    /// See [`ClientError`].
    pub async fn system_metrics(&self) -> Result<Answer<SystemMetrics>, ClientError> {
        self.get(["api", "system", "metrics"]).data().await
    }

    /// Returns what goes on, in numbers. Needs `system:read`.
    ///
    /// # Errors
    ///
    /// See [`ClientError`].
    pub async fn metrics_summary(&self) -> Result<Answer<MetricsSummary>, ClientError> {
        self.get(["api", "metrics", "summary"]).data().await
    }
}
