//! Workspaces: a git repository with the rules by which jobs use it.

use std::{fmt, str::FromStr};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::WorkspaceId;

/// What is wrong with a workspace's settings.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WorkspaceSettingsError {
    /// The name is empty, too long or holds control characters.
    #[error("a workspace name has 1 to 200 characters and no control characters")]
    Name,
    /// The persistence mode does not exist here.
    #[error("unknown persistence `{0}`; it is `persistent` or `ephemeral`")]
    Persistence(String),
    /// The network mode does not exist.
    #[error("unknown network mode `{0}`; it is `none` or `bridge`")]
    NetworkMode(String),
    /// The memory limit cannot be read or is out of range.
    #[error("memory limit `{0}` is not a size from 64m to 1024g, such as `4g`")]
    MemoryLimit(String),
    /// The CPU limit is out of range.
    #[error("cpu limit {0} is not between 0.1 and 256")]
    CpuLimit(String),
}

/// A name for people: 1 to 200 characters, no control characters, trimmed. Names need not be unique.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct WorkspaceName(String);

impl WorkspaceName {
    /// Returns the name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for WorkspaceName {
    type Err = WorkspaceSettingsError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = text.trim();
        if text.is_empty() || text.chars().count() > 200 || text.chars().any(char::is_control) {
            return Err(WorkspaceSettingsError::Name);
        }
        Ok(Self(text.to_owned()))
    }
}

impl<'de> Deserialize<'de> for WorkspaceName {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

impl fmt::Display for WorkspaceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What becomes of a job's changes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Persistence {
    /// Changes are committed and merged into the workspace.
    #[default]
    Persistent,
    /// Changes are discarded; the result text remains.
    Ephemeral,
}

impl Persistence {
    /// Returns the name clients use.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Persistent => "persistent",
            Self::Ephemeral => "ephemeral",
        }
    }

    /// Tells whether only one job may run in the workspace at a time, because its changes are kept.
    pub fn is_exclusive(self) -> bool {
        match self {
            Self::Persistent => true,
            Self::Ephemeral => false,
        }
    }
}

impl FromStr for Persistence {
    type Err = WorkspaceSettingsError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "persistent" => Ok(Self::Persistent),
            "ephemeral" => Ok(Self::Ephemeral),
            other => Err(WorkspaceSettingsError::Persistence(other.chars().take(64).collect())),
        }
    }
}

/// Which network a sandbox sees. Host networking and other containers' networks do not exist here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NetworkMode {
    /// None at all; the model API is reached through the gateway's socket.
    #[default]
    None,
    /// The Engine's bridge: the internet and whatever else the host routes.
    Bridge,
}

impl NetworkMode {
    /// Returns the name that clients and the Engine use.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Bridge => "bridge",
        }
    }
}

impl FromStr for NetworkMode {
    type Err = WorkspaceSettingsError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "none" => Ok(Self::None),
            "bridge" => Ok(Self::Bridge),
            other => Err(WorkspaceSettingsError::NetworkMode(other.chars().take(64).collect())),
        }
    }
}

/// A workspace as stored: its repository lives in `claw-workspace`, found by the id.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Workspace {
    /// Identifies the workspace and its repository.
    pub id: WorkspaceId,
    /// Who created it, as [`crate::Actor::owner`] writes it.
    pub owner: String,
    /// A name for people.
    pub name: WorkspaceName,
    /// What it is for.
    pub description: String,
    /// What becomes of a job's changes.
    pub persistence: Persistence,
    /// Instructions for the agent, put beside the working copy and not committed.
    pub claude_md: Option<String>,
    /// A remote repository, kept for reference.
    pub remote_url: Option<String>,
    /// Memory limit of sandboxes in bytes; `None` takes the installation's.
    pub memory_limit_bytes: Option<u64>,
    /// CPU limit of sandboxes in cores; `None` takes the installation's.
    pub cpu_limit: Option<f64>,
    /// Network of sandboxes; `None` takes the installation's.
    pub network_mode: Option<NetworkMode>,
    /// When it was created.
    pub created_at: Timestamp,
    /// When its settings last changed.
    pub updated_at: Timestamp,
}

/// One entry of a workspace's timeline.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkspaceEvent {
    /// When it happened.
    pub timestamp: Timestamp,
    /// What happened.
    pub event_type: WorkspaceEventKind,
    /// The job, commit or workspace it is about.
    pub related_id: Option<String>,
    /// One sentence for people.
    pub description: String,
}

/// What can happen to a workspace. The names are the ones dashboards already know; `job_conflict` is new.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WorkspaceEventKind {
    /// The workspace was created.
    Initialized,
    /// A job began.
    JobStarted,
    /// A job succeeded.
    JobCompleted,
    /// A run of a job failed or was cancelled.
    JobFailed,
    /// A job and an edit changed the same lines; the job's side is kept on a branch of its own.
    JobConflict,
    /// A file was written or deleted by a person or client.
    FileModified,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_trimmed_and_checked() {
        assert_eq!(
            "  My repo ".parse::<WorkspaceName>().map(|name| name.to_string()),
            Ok("My repo".to_owned())
        );
        for bad in ["", "   ", "a\nb", "a\u{1b}[0m", &"x".repeat(201)] {
            assert_eq!(bad.parse::<WorkspaceName>(), Err(WorkspaceSettingsError::Name), "{bad:?}");
        }
    }

    #[test]
    fn networks_of_the_host_or_of_other_containers_do_not_exist() {
        for mode in ["host", "container:redis", "", "Bridge", "default"] {
            assert!(mode.parse::<NetworkMode>().is_err(), "{mode}");
        }
    }
}
