//! What containers use.

use axum::extract::State;
use claw_docker::ContainerStats;
use claw_homelab::Homelab;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::view::Envelope;
use crate::{
    app::Server,
    error::ApiResult,
    extract::{Caller, Name},
};

pub(super) fn routes() -> OpenApiRouter<Server> {
    OpenApiRouter::default().routes(routes!(get_container_stats))
}

/// What a container uses now.
#[derive(Serialize, ToSchema)]
struct StatsView {
    /// Load of the processors in percent of one: 150 is one and a half.
    cpu_percent: f64,
    /// Memory in use, without what the kernel could take back at once.
    memory_bytes: u64,
    /// Memory it may use: its limit, or what the machine has.
    memory_limit_bytes: u64,
    /// Used memory in percent of that.
    memory_percent: f64,
    /// Received from all networks.
    network_received_bytes: u64,
    /// Sent to all networks.
    network_sent_bytes: u64,
    /// Read from disks.
    disk_read_bytes: u64,
    /// Written to disks.
    disk_written_bytes: u64,
    /// Processes and threads.
    pids: u64,
}

impl From<ContainerStats> for StatsView {
    fn from(stats: ContainerStats) -> Self {
        Self {
            memory_percent: stats.memory_percent(),
            cpu_percent: stats.cpu_percent,
            memory_bytes: stats.memory_bytes,
            memory_limit_bytes: stats.memory_limit,
            network_received_bytes: stats.network_received,
            network_sent_bytes: stats.network_sent,
            disk_read_bytes: stats.disk_read,
            disk_written_bytes: stats.disk_written,
            pids: stats.pids,
        }
    }
}

/// Get what a container uses now
///
/// After a quarter of a second's look. All zero when it does not run.
#[utoipa::path(
    get, path = "/api/containers/{id}/stats", tag = "containers",
    params(("id" = String, Path, description = "Name, id, or the beginning of one.")),
    responses(
        (status = 200, description = "What it uses.", body = Envelope<StatsView>),
        (status = 404, description = "`NOT_FOUND`"),
        (status = 503, description = "`DOCKER_ERROR`: the Docker Engine does not answer or refused; `STORE_UNAVAILABLE`"),
    ),
    extensions(("x-scope" = json!("containers:read"))),
)]
async fn get_container_stats(
    caller: Caller,
    State(homelab): State<Homelab>,
    Name(container): Name,
) -> ApiResult<Envelope<StatsView>> {
    Ok(Envelope::of(homelab.containers.stats(&caller, &container).await?.into()))
}
