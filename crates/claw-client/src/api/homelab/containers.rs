//! Containers.

use std::{collections::BTreeMap, time::Duration};

use claw_core::{ErrorCode, Timestamp};
use reqwest::Method;
use serde::{Deserialize, Serialize};

use super::part;
use crate::{Answer, Client, ClientError};

/// Longest creation of a container: its image may have to be pulled first. The server goes on after that.
pub(super) const CREATE_TIMEOUT: Duration = Duration::from_secs(30 * 60);

/// A container as lists show it.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Container {
    /// Full id.
    pub id: String,
    /// Name.
    pub name: String,
    /// Image, as it was named when the container was made.
    pub image: String,
    /// One word, such as `running` or `exited`.
    pub state: String,
    /// A line for people, such as `Up 2 hours`.
    pub status: String,
    /// When it was made.
    pub created: String,
    /// Its ports.
    pub ports: Vec<ContainerPort>,
    /// `starting`, `healthy` or `unhealthy`, if it has a health check.
    pub health: Option<String>,
}

/// A port of a container.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct ContainerPort {
    /// Port inside the container.
    pub private: u16,
    /// Port of the host, if it is published.
    pub public: Option<u16>,
    /// `tcp` or `udp`.
    pub protocol: String,
    /// Address of the host at which it is published.
    pub address: Option<String>,
}

/// What was done, in one word.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Done {
    /// Such as `started` or `deleted`.
    pub status: String,
}

/// A container to make. What is empty is not sent.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct NewContainer {
    /// The image; the server pulls it if it is not there.
    pub image: String,
    /// A name; Docker picks one if it is empty.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Variables.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
    /// Ports.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<NewPort>,
    /// Mounts.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub volumes: Vec<NewVolume>,
    /// Arguments of the image's entry point, or the program.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub command: Vec<String>,
    /// What becomes of it when it ends: `no`, `always`, `unless-stopped` or `on-failure`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub restart: Option<String>,
    /// A network to be in.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub networks: Vec<String>,
}

/// A port of a container to make.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct NewPort {
    /// Port inside the container.
    pub private: u16,
    /// Port of the host, to publish it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub public: Option<u16>,
    /// `tcp` or `udp`; `tcp` if it is empty.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub protocol: String,
}

/// A mount of a container to make.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct NewVolume {
    /// Named volume, or folder of the host.
    pub host: String,
    /// Place in the container.
    pub container: String,
    /// Whether writing is refused.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub read_only: bool,
}

/// Which part of a container's log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ContainerLogs {
    /// How many of the newest lines, 0 to 1000; 100 unless said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tail: Option<u32>,
    /// Not older than this.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// Not newer than this.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
    /// Whether each line begins with its time.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub timestamps: bool,
}

/// What a container uses now. All zero when it does not run.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct ContainerStats {
    /// Load of the processors in percent of one: 150 is one and a half.
    pub cpu_percent: f64,
    /// Bytes of memory in use.
    pub memory_bytes: u64,
    /// Bytes of memory it may use: its limit, or what the machine has.
    pub memory_limit_bytes: u64,
    /// Used memory in percent of that.
    pub memory_percent: f64,
    /// Bytes received from all networks.
    pub network_received_bytes: u64,
    /// Bytes sent to all networks.
    pub network_sent_bytes: u64,
    /// Bytes read from disks.
    pub disk_read_bytes: u64,
    /// Bytes written to disks.
    pub disk_written_bytes: u64,
    /// Processes and threads.
    pub pids: u64,
}

/// Containers are named by their name, their id, or its beginning.
impl Client {
    /// Lists all containers, running or not, the newest first. Needs `containers:read`.
    ///
    /// # Errors
    ///
    /// See [`ClientError`].
    pub async fn containers(&self) -> Result<Answer<Vec<Container>>, ClientError> {
        self.get(["api", "containers"]).data().await
    }

    /// Returns the newest lines that a container wrote. They are untrusted. Needs `containers:read`.
    ///
    /// # Errors
    ///
    /// See [`ClientError`]; [`ErrorCode::NotFound`].
    pub async fn container_logs(
        &self,
        container: &str,
        which: &ContainerLogs,
    ) -> Result<Answer<String>, ClientError> {
        self.of_container(Method::GET, container, "logs")?.query(which).data().await
    }

    /// Returns all that is told of a container; what looks like a secret is hidden. Needs `containers:read`.
    ///
    /// # Errors
    ///
    /// See [`ClientError`]; [`ErrorCode::NotFound`].
    pub async fn container_config(&self, container: &str) -> Result<Answer<serde_json::Value>, ClientError> {
        self.of_container(Method::GET, container, "config")?.data().await
    }

    /// Returns what a container uses now. Needs `containers:read`.
    ///
    /// # Errors
    ///
    /// See [`ClientError`]; [`ErrorCode::NotFound`].
    pub async fn container_stats(&self, container: &str) -> Result<Answer<ContainerStats>, ClientError> {
        self.of_container(Method::GET, container, "stats")?.data().await
    }

    /// Makes and starts a container. Its image is pulled if it is not there, so this may take long; the server goes on
    /// when the caller hangs up. Needs `containers:write`.
    ///
    /// # Errors
    ///
    /// See [`ClientError`]; [`ErrorCode::PolicyRefused`], [`ErrorCode::NameTaken`], [`ErrorCode::ImagePullFailed`].
    pub async fn create_container(&self, new: &NewContainer) -> Result<Answer<Container>, ClientError> {
        self.post(["api", "containers"]).within(CREATE_TIMEOUT).body(new).data().await
    }

    /// Starts a container. Needs `containers:write`.
    ///
    /// # Errors
    ///
    /// See [`ClientError`]; [`ErrorCode::NotFound`], [`ErrorCode::Protected`].
    pub async fn start_container(&self, container: &str) -> Result<Answer<Done>, ClientError> {
        self.of_container(Method::POST, container, "start")?.data().await
    }

    /// Stops a container. Needs `containers:write`.
    ///
    /// # Errors
    ///
    /// See [`ClientError`]; [`ErrorCode::NotFound`], [`ErrorCode::Protected`].
    pub async fn stop_container(&self, container: &str) -> Result<Answer<Done>, ClientError> {
        self.of_container(Method::POST, container, "stop")?.data().await
    }

    /// Stops and starts a container. Needs `containers:write`.
    ///
    /// # Errors
    ///
    /// See [`ClientError`]; [`ErrorCode::NotFound`], [`ErrorCode::Protected`].
    pub async fn restart_container(&self, container: &str) -> Result<Answer<Done>, ClientError> {
        self.of_container(Method::POST, container, "restart")?.data().await
    }

    /// Stops and removes a container; its volumes stay. Needs `containers:delete`.
    ///
    /// # Errors
    ///
    /// See [`ClientError`]; [`ErrorCode::NotFound`], [`ErrorCode::Protected`].
    pub async fn delete_container(&self, container: &str) -> Result<Answer<Done>, ClientError> {
        self.of_container(Method::DELETE, container, "delete")?.data().await
    }

    pub(super) fn of_container<'a>(
        &'a self,
        method: Method,
        container: &str,
        what: &str,
    ) -> Result<crate::client::Call<'a>, ClientError> {
        let container = part("a container", container)?;
        let call = self.call(method, ["api", "containers", container, what]);
        Ok(call.missing(ErrorCode::NotFound))
    }
}
