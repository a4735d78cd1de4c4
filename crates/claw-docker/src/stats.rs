//! What a container uses now.

use std::time::Duration;

use claw_core::Timestamp;

use crate::{Docker, DockerError, name, request::Ask, wire};

/// Between the two looks that tell the load of the processors. The Engine's own way takes one to two seconds.
const INTERVAL: Duration = Duration::from_millis(250);

/// What a container uses. All zero when it does not run.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ContainerStats {
    /// Load of the processors in percent of one: 150 is one and a half.
    pub cpu_percent: f64,
    /// Bytes of memory in use, without what the kernel could take back at once.
    pub memory_bytes: u64,
    /// Bytes of memory it may use: its limit, or what the machine has.
    pub memory_limit: u64,
    /// Bytes received from all networks.
    pub network_received: u64,
    /// Bytes sent to all networks.
    pub network_sent: u64,
    /// Bytes read from disks.
    pub disk_read: u64,
    /// Bytes written to disks.
    pub disk_written: u64,
    /// Processes and threads.
    pub pids: u64,
}

impl ContainerStats {
    /// Returns the share of its memory that is used, in percent; 0 without a limit.
    pub fn memory_percent(&self) -> f64 {
        if self.memory_limit == 0 { 0.0 } else { self.memory_bytes as f64 / self.memory_limit as f64 * 100.0 }
    }
}

impl Docker {
    /// Returns what a container uses now, after a quarter of a second's look.
    ///
    /// # Errors
    ///
    /// Returns [`DockerError::NotFound`] when there is no such container.
    pub async fn stats(&self, container: &str) -> Result<ContainerStats, DockerError> {
        let before = self.usage(container).await?;
        if wire::moment(&before.read).is_none() {
            return Ok(ContainerStats::default());
        }
        tokio::time::sleep(INTERVAL).await;
        Ok(ContainerStats::between(&before, &self.usage(container).await?))
    }

    /// Returns the bytes of memory that a running container uses now, without what the kernel could take back at once.
    ///
    /// # Errors
    ///
    /// Returns [`DockerError::NotFound`] when it is gone, and [`DockerError::Unreadable`] when the Engine does not know.
    pub async fn memory_used(&self, container: &str) -> Result<u64, DockerError> {
        let used = self.usage(container).await?.memory.used();
        used.ok_or_else(|| DockerError::Unreadable {
            message: "it tells no memory of the container".to_owned(),
        })
    }

    /// Asks once: otherwise the Engine measures for two seconds to tell the load of the processors.
    async fn usage(&self, container: &str) -> Result<wire::Stats, DockerError> {
        let container = name::check_name("container", container)?;
        let ask = Ask::get(format!("/containers/{container}/stats"));
        // Podman says nothing of what does not run.
        self.ask_if_any(ask.with("stream", "0").with("one-shot", "1")).await
    }
}

impl ContainerStats {
    fn between(before: &wire::Stats, now: &wire::Stats) -> Self {
        let memory = &now.memory;
        let disk = |op: &str| {
            let counts = now.disks.bytes.iter();
            counts.filter(|count| count.op.eq_ignore_ascii_case(op)).map(|count| count.value).sum()
        };
        Self {
            cpu_percent: cpu_percent(before, now),
            memory_bytes: memory.used().unwrap_or(0),
            memory_limit: memory.limit,
            network_received: now.networks.values().map(|network| network.received).sum(),
            network_sent: now.networks.values().map(|network| network.sent).sum(),
            disk_read: disk("read"),
            disk_written: disk("write"),
            pids: now.pids.current,
        }
    }
}

impl wire::MemoryStats {
    /// What is in use, without the files that were not looked at for a while: the kernel could take that back at once.
    pub(crate) fn used(&self) -> Option<u64> {
        let idle = self.details.inactive_file.or(self.details.total_inactive_file).unwrap_or(0);
        Some(self.usage?.saturating_sub(idle))
    }
}

/// Processor time used in the time between, both in nanoseconds.
fn cpu_percent(before: &wire::Stats, now: &wire::Stats) -> f64 {
    let nanoseconds = |stats: &wire::Stats| wire::moment(&stats.read).map(Timestamp::as_nanosecond);
    let (Some(from), Some(to)) = (nanoseconds(before), nanoseconds(now)) else { return 0.0 };
    if to <= from {
        return 0.0;
    }
    let used = |stats: &wire::Stats| stats.cpu.usage.total;
    used(now).saturating_sub(used(before)) as f64 / (to - from) as f64 * 100.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(json: serde_json::Value) -> wire::Stats {
        serde_json::from_value(json).expect("an answer")
    }

    #[test]
    fn the_load_is_processor_time_over_the_time_between() {
        let before = seen(serde_json::json!({
            "read": "2026-11-21T10:00:00Z", "cpu_stats": {"cpu_usage": {"total_usage": 1_000_000_000_u64}}}));
        let now = seen(serde_json::json!({
            "read": "2026-11-21T10:00:00.5Z", "cpu_stats": {"cpu_usage": {"total_usage": 1_750_000_000_u64}},
            "memory_stats": {"usage": 300, "limit": 1000, "stats": {"total_inactive_file": 100}},
            "networks": {"eth0": {"rx_bytes": 1, "tx_bytes": 2}, "eth1": {"rx_bytes": 10, "tx_bytes": 20}},
            "blkio_stats": {"io_service_bytes_recursive": [{"op": "Read", "value": 5}, {"op": "write", "value": 7}]},
            "pids_stats": {"current": 3}}));

        let stats = ContainerStats::between(&before, &now);

        let expected = ContainerStats {
            cpu_percent: 150.0,
            memory_bytes: 200,
            memory_limit: 1000,
            network_received: 11,
            network_sent: 22,
            disk_read: 5,
            disk_written: 7,
            pids: 3,
        };
        assert_eq!(stats, expected);
        assert_eq!(stats.memory_percent(), 20.0);
    }

    #[test]
    fn what_an_engine_leaves_out_counts_as_nothing() {
        let nothing =
            seen(serde_json::json!({"networks": null, "blkio_stats": {"io_service_bytes_recursive": null}}));

        let stats = ContainerStats::between(&nothing, &nothing);

        assert_eq!((stats.clone(), stats.memory_percent()), (ContainerStats::default(), 0.0));
    }
}
