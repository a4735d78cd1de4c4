//! The Engine itself.

use crate::{Docker, DockerError};

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

impl Docker {
    /// Returns what the Engine says about itself.
    ///
    /// # Errors
    ///
    /// Returns [`DockerError::Unavailable`] when it does not answer.
    pub async fn info(&self) -> Result<EngineInfo, DockerError> {
        let info = self.call(|client| async move { client.info().await });
        let version = self.call(|client| async move { client.version().await });
        let (info, version) = tokio::try_join!(info, version)?;
        let count = |number: Option<i64>| number.and_then(|number| u64::try_from(number).ok()).unwrap_or(0);
        Ok(EngineInfo {
            server_version: info.server_version.unwrap_or_default(),
            api_version: version.api_version.unwrap_or_default(),
            os: info.operating_system.unwrap_or_default(),
            cpus: u32::try_from(count(info.ncpu)).unwrap_or(u32::MAX),
            memory_bytes: count(info.mem_total),
            containers_running: count(info.containers_running),
        })
    }
}
