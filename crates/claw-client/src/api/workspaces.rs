//! Workspaces, their files and their history.

use claw_core::{ErrorCode, RepoPath, Timestamp, WorkspaceId};
use reqwest::Method;
use serde::{Deserialize, Serialize};

use super::v1;
use crate::{Answer, Client, ClientError, FileDownload};

/// A workspace to create. Fields left `None` take the server's defaults.
#[derive(Clone, Debug, Default, Serialize)]
pub struct NewWorkspace {
    /// A name for people.
    pub name: String,
    /// What it is for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// `persistent` or `ephemeral`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub persistence: Option<String>,
    /// Instructions for the agent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub claude_md: Option<String>,
    /// `none` or `bridge`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub network_mode: Option<String>,
    /// Memory limit of sandboxes, such as `4g`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_limit: Option<String>,
    /// CPU limit of sandboxes in cores.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_limit: Option<f64>,
}

/// A workspace as the server shows it.
#[derive(Clone, Debug, Deserialize)]
pub struct Workspace {
    /// The workspace.
    pub id: WorkspaceId,
    /// A name for people.
    pub name: String,
    /// What it is for.
    pub description: Option<String>,
    /// What becomes of jobs' changes.
    pub persistence: Option<String>,
    /// Network of sandboxes.
    pub network_mode: Option<String>,
    /// Memory limit of sandboxes.
    pub memory_limit: Option<String>,
    /// CPU limit of sandboxes in cores.
    pub cpu_limit: Option<f64>,
    /// When it was created.
    pub created_at: Option<Timestamp>,
    /// When its settings last changed.
    pub updated_at: Option<Timestamp>,
}

/// A page of workspaces.
#[derive(Clone, Debug, Deserialize)]
pub struct WorkspacePage {
    /// The workspaces.
    pub items: Vec<Workspace>,
    /// How many there are on all pages.
    #[serde(default)]
    pub total: u64,
}

/// A file or folder.
#[derive(Clone, Debug, Deserialize)]
pub struct FileEntry {
    /// Its path inside the workspace.
    pub path: String,
    /// Whether it is a folder.
    #[serde(default)]
    pub is_dir: bool,
    /// Its size in bytes.
    #[serde(default)]
    pub size: u64,
}

/// The files of a workspace.
#[derive(Clone, Debug, Deserialize)]
pub struct FileList {
    /// The files and folders.
    pub files: Vec<FileEntry>,
}

/// One commit.
#[derive(Clone, Debug, Deserialize)]
pub struct Commit {
    /// Its hash.
    pub hash: String,
    /// Its message.
    #[serde(default)]
    pub message: String,
    /// Its date, as the server writes it.
    #[serde(default)]
    pub date: String,
}

/// A workspace's last commits.
#[derive(Clone, Debug, Deserialize)]
pub struct History {
    /// The newest first.
    pub commits: Vec<Commit>,
}

/// One entry of a workspace's timeline.
#[derive(Clone, Debug, Deserialize)]
pub struct TimelineEntry {
    /// When it happened.
    pub timestamp: Option<Timestamp>,
    /// What happened.
    pub event_type: String,
    /// What it is about.
    pub related_id: Option<String>,
    /// One sentence for people.
    #[serde(default)]
    pub description: String,
}

/// A workspace's timeline.
#[derive(Clone, Debug, Deserialize)]
pub struct Timeline {
    /// The newest first.
    pub events: Vec<TimelineEntry>,
}

impl Client {
    /// Creates a workspace.
    ///
    /// # Errors
    ///
    /// See [`ClientError`].
    pub async fn create_workspace(&self, workspace: &NewWorkspace) -> Result<Answer<Workspace>, ClientError> {
        self.post(v1!["workspaces"]).body(workspace).json().await
    }

    /// Lists workspaces by name.
    ///
    /// # Errors
    ///
    /// See [`ClientError`].
    pub async fn workspaces(&self, offset: u64, limit: u64) -> Result<Answer<WorkspacePage>, ClientError> {
        self.get(v1!["workspaces"]).query(&[("offset", offset), ("limit", limit)]).json().await
    }

    /// Returns one workspace.
    ///
    /// # Errors
    ///
    /// See [`ClientError`].
    pub async fn workspace(&self, id: WorkspaceId) -> Result<Answer<Workspace>, ClientError> {
        self.get(v1!["workspaces", &id.to_string()]).missing(ErrorCode::WorkspaceNotFound).json().await
    }

    /// Deletes a workspace; with `delete_files` its repository too.
    ///
    /// # Errors
    ///
    /// See [`ClientError`]; [`ErrorCode::WorkspaceBusy`] while a job waits or runs in it.
    pub async fn delete_workspace(&self, id: WorkspaceId, delete_files: bool) -> Result<(), ClientError> {
        self.call(Method::DELETE, v1!["workspaces", &id.to_string()])
            .query(&[("delete_files", delete_files)])
            .missing(ErrorCode::WorkspaceNotFound)
            .done()
            .await
    }

    /// Lists a workspace's files.
    ///
    /// # Errors
    ///
    /// See [`ClientError`].
    pub async fn files(&self, id: WorkspaceId) -> Result<Answer<FileList>, ClientError> {
        self.get(v1!["workspaces", &id.to_string(), "files"])
            .missing(ErrorCode::WorkspaceNotFound)
            .json()
            .await
    }

    /// Reads a file's bytes.
    ///
    /// # Errors
    ///
    /// See [`ClientError`].
    pub async fn read_file(&self, id: WorkspaceId, path: &RepoPath) -> Result<FileDownload, ClientError> {
        let call = self.call(Method::GET, file_route(&id.to_string(), path)).query(&[("raw", true)]);
        let response = call.missing(ErrorCode::FileNotFound).streaming().send().await?;
        Ok(FileDownload { response, server: self.server().clone() })
    }

    /// Writes a text file; folders above it are made.
    ///
    /// # Errors
    ///
    /// See [`ClientError`].
    pub async fn write_file(
        &self,
        id: WorkspaceId,
        path: &RepoPath,
        content: &str,
    ) -> Result<(), ClientError> {
        #[derive(Serialize)]
        struct Body<'a> {
            content: &'a str,
        }
        let call = self.call(Method::PUT, file_route(&id.to_string(), path)).body(&Body { content });
        call.missing(ErrorCode::WorkspaceNotFound).done().await
    }

    /// Deletes a file, or a folder with all it holds.
    ///
    /// # Errors
    ///
    /// See [`ClientError`].
    pub async fn delete_file(&self, id: WorkspaceId, path: &RepoPath) -> Result<(), ClientError> {
        let call = self.call(Method::DELETE, file_route(&id.to_string(), path));
        call.missing(ErrorCode::FileNotFound).done().await
    }

    /// Returns a workspace's last commits.
    ///
    /// # Errors
    ///
    /// See [`ClientError`].
    pub async fn history(&self, id: WorkspaceId) -> Result<Answer<History>, ClientError> {
        let call = self.get(v1!["workspaces", &id.to_string(), "history"]);
        call.missing(ErrorCode::WorkspaceNotFound).json().await
    }

    /// Returns the newest entries of a workspace's timeline.
    ///
    /// # Errors
    ///
    /// See [`ClientError`].
    pub async fn timeline(&self, id: WorkspaceId, limit: u64) -> Result<Answer<Timeline>, ClientError> {
        let call = self.get(v1!["workspaces", &id.to_string(), "events"]).query(&[("limit", limit)]);
        call.missing(ErrorCode::WorkspaceNotFound).json().await
    }
}

fn file_route<'a>(id: &'a str, path: &'a RepoPath) -> impl Iterator<Item = &'a str> {
    v1!["workspaces", id, "files"].into_iter().chain(path.as_str().split('/'))
}
