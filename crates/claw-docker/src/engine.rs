//! The Engine itself.

use std::time::Duration;

use claw_core::Timestamp;
use jiff::fmt::rfc2822;

use crate::{Docker, DockerError, request::Ask, wire};

/// Longest answer to the shortest question, in bytes: it is two letters and some headers.
const MAX_PING_BYTES: u64 = 64 << 10;

/// What an Engine says about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EngineInfo {
    /// Version of the Engine, such as `28.2.2`.
    pub server_version: String,
    /// Newest API version it speaks, such as `1.50`.
    pub api_version: String,
    /// Operating system it runs on.
    pub os: String,
    /// Processors it can give to containers.
    pub cpus: u32,
    /// Memory of its machine in bytes.
    pub memory_bytes: u64,
    /// Containers that run now.
    pub containers_running: u64,
}

/// What an Engine is, and where it keeps things.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EngineVersion {
    /// Version of the Engine, such as `28.2.2`.
    pub version: String,
    /// Newest API version it speaks, such as `1.50`: the one that is spoken with it.
    pub api_version: String,
    /// Operating system it runs on, as people name it.
    pub os: String,
    /// Processor it runs on, such as `amd64`.
    pub arch: String,
    /// Folder of its host that holds images, containers and volumes.
    pub root_dir: String,
    /// Processors it can give to containers.
    pub cpus: u32,
    /// Memory of its machine in bytes.
    pub memory_bytes: u64,
}

impl Docker {
    /// Returns what the Engine is.
    ///
    /// # Errors
    ///
    /// Returns [`DockerError::Unavailable`] when it does not answer.
    pub async fn engine_version(&self) -> Result<EngineVersion, DockerError> {
        let (version, info) = self.version_and_info().await?;
        Ok(EngineVersion {
            version: version.version,
            api_version: version.api_version,
            os: if info.operating_system.is_empty() { version.os } else { info.operating_system },
            arch: version.arch,
            root_dir: info.docker_root_dir,
            cpus: info.cpus,
            memory_bytes: info.mem_total,
        })
    }

    /// Returns what the Engine says about itself.
    ///
    /// # Errors
    ///
    /// Returns [`DockerError::Unavailable`] when it does not answer.
    pub async fn info(&self) -> Result<EngineInfo, DockerError> {
        let (version, info) = self.version_and_info().await?;
        Ok(EngineInfo {
            server_version: if info.server_version.is_empty() {
                version.version
            } else {
                info.server_version
            },
            api_version: version.api_version,
            os: info.operating_system,
            cpus: info.cpus,
            memory_bytes: info.mem_total,
            containers_running: info.containers_running,
        })
    }

    async fn version_and_info(&self) -> Result<(wire::Version, wire::Info), DockerError> {
        tokio::try_join!(self.ask(Ask::get("/version")), self.ask(Ask::get("/info")))
    }

    /// Asks whether the Engine is there, and returns what its clock shows, cut to seconds, if it says so.
    pub(crate) async fn clock(&self, limit: Duration) -> Result<Option<Timestamp>, DockerError> {
        let answer = self.bounded(limit, self.send(Ask::get("/_ping"), Some(MAX_PING_BYTES))).await?;
        let date = answer.headers().get(http::header::DATE).and_then(|date| date.to_str().ok());
        Ok(date.and_then(|date| rfc2822::parse(date).ok()).map(|date| date.timestamp()))
    }
}
