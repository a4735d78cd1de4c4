//! The machine, its Engine, and what goes on in numbers.

use axum::extract::State;
use claw_core::Timestamp;
use claw_homelab::{Homelab, Metrics, Summary, SystemInfo};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::view::Envelope;
use crate::{app::Server, error::ApiResult, extract::Caller};

pub(super) fn routes() -> OpenApiRouter<Server> {
    OpenApiRouter::default()
        .routes(routes!(get_system_info))
        .routes(routes!(get_system_metrics))
        .routes(routes!(get_metrics_summary))
}

/// What the Engine is.
#[derive(Serialize, ToSchema)]
struct SystemInfoView {
    /// Folder of the host in which it keeps everything.
    docker_root: String,
    /// Its version.
    docker_version: String,
    /// Version of its API that is spoken.
    api_version: String,
    /// Operating system.
    os: String,
    /// Processor.
    arch: String,
    /// Processors.
    cpus: u32,
    /// Memory in bytes.
    memory_bytes: u64,
}

impl From<SystemInfo> for SystemInfoView {
    fn from(info: SystemInfo) -> Self {
        Self {
            docker_root: info.root_dir,
            docker_version: info.version,
            api_version: info.api_version,
            os: info.os,
            arch: info.arch,
            cpus: info.cpus,
            memory_bytes: info.memory_bytes,
        }
    }
}

/// Get what the Docker Engine is
#[utoipa::path(
    get, path = "/api/system/info", tag = "system",
    responses(
        (status = 200, description = "What it is.", body = Envelope<SystemInfoView>),
        (status = 503, description = "`DOCKER_ERROR`: the Docker Engine does not answer; `STORE_UNAVAILABLE`"),
    ),
    extensions(("x-scope" = json!("any"))),
)]
async fn get_system_info(
    caller: Caller,
    State(homelab): State<Homelab>,
) -> ApiResult<Envelope<SystemInfoView>> {
    Ok(Envelope::of(homelab.system.info(&caller).await?.into()))
}

/// How busy the machine is, in the two ways in which clients read it.
#[derive(Serialize, ToSchema)]
struct SystemMetricsView {
    /// Load of the processors.
    cpu: CpuView,
    /// Memory.
    memory: MemoryView,
    /// Disk of the Engine's folder.
    disk: DiskView,
    /// Seconds since the machine was started.
    uptime: f64,
    /// The time now.
    #[serde(rename = "currentTime")]
    #[schema(value_type = String, format = DateTime)]
    current_time: Timestamp,
    /// Load of the processors in percent.
    cpu_percent: f64,
    /// Used memory in percent.
    memory_percent: f64,
    /// Used disk in percent.
    disk_percent: f64,
    /// Containers, running or not.
    containers: usize,
    /// Images.
    images: usize,
}

/// Load of the processors.
#[derive(Serialize, ToSchema)]
struct CpuView {
    /// In percent.
    usage: f64,
}

/// Memory.
#[derive(Serialize, ToSchema)]
struct MemoryView {
    /// In bytes.
    total: u64,
    /// In use, in bytes.
    used: u64,
    /// In use, in percent.
    #[serde(rename = "usagePercent")]
    usage_percent: f64,
}

/// A disk.
#[derive(Serialize, ToSchema)]
struct DiskView {
    /// In bytes.
    total: u64,
    /// In use, in bytes.
    used: u64,
}

impl From<Metrics> for SystemMetricsView {
    fn from(metrics: Metrics) -> Self {
        let (memory_percent, disk_percent) = (metrics.memory_percent(), metrics.disk_percent());
        let Metrics { cpu_percent, memory_total, memory_used, disk_total, disk_used, .. } = metrics;
        Self {
            cpu: CpuView { usage: cpu_percent },
            memory: MemoryView { total: memory_total, used: memory_used, usage_percent: memory_percent },
            disk: DiskView { total: disk_total, used: disk_used },
            uptime: metrics.uptime_secs,
            current_time: metrics.now,
            cpu_percent,
            memory_percent,
            disk_percent,
            containers: metrics.containers,
            images: metrics.images,
        }
    }
}

/// Get how busy the machine is
#[utoipa::path(
    get, path = "/api/system/metrics", tag = "system",
    responses(
        (status = 200, description = "How busy it is.", body = Envelope<SystemMetricsView>),
        (status = 503, description = "`DOCKER_ERROR`: the Docker Engine does not answer; `STORE_UNAVAILABLE`"),
    ),
    extensions(("x-scope" = json!("any"))),
)]
async fn get_system_metrics(
    caller: Caller,
    State(homelab): State<Homelab>,
) -> ApiResult<Envelope<SystemMetricsView>> {
    Ok(Envelope::of(homelab.system.metrics(&caller).await?.into()))
}

/// What goes on, in numbers.
#[derive(Serialize, ToSchema)]
struct SummaryView {
    /// Requests of the last 24 hours, those that are asked all the time left out.
    requests_last_24h: u64,
    /// The same for each hour, the oldest first, this hour last.
    requests_by_hour: [u64; 24],
    /// Containers.
    container_counts: ContainerCountsView,
    /// Seconds since this server was started.
    uptime_seconds: u64,
    /// Images pulled in the last 24 hours.
    pulls_last_24h: u64,
}

/// How many containers there are.
#[derive(Serialize, ToSchema)]
struct ContainerCountsView {
    /// All.
    total: usize,
    /// Those that run.
    running: usize,
    /// Those that do not.
    stopped: usize,
}

impl From<Summary> for SummaryView {
    fn from(Summary { activity, containers, running, uptime }: Summary) -> Self {
        Self {
            requests_last_24h: activity.requests_by_hour.iter().sum(),
            requests_by_hour: activity.requests_by_hour,
            container_counts: ContainerCountsView {
                total: containers,
                running,
                stopped: containers.saturating_sub(running),
            },
            uptime_seconds: uptime.as_secs(),
            pulls_last_24h: activity.pulls,
        }
    }
}

/// Get what goes on, in numbers
#[utoipa::path(
    get, path = "/api/metrics/summary", tag = "activity",
    responses(
        (status = 200, description = "The numbers.", body = Envelope<SummaryView>),
        (status = 503, description = "`DOCKER_ERROR`: the Docker Engine does not answer; `STORE_UNAVAILABLE`"),
    ),
    extensions(("x-scope" = json!("system:read"))),
)]
async fn get_metrics_summary(
    caller: Caller,
    State(homelab): State<Homelab>,
) -> ApiResult<Envelope<SummaryView>> {
    Ok(Envelope::of(homelab.system.summary(&caller).await?.into()))
}
