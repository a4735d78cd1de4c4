//! Programs run in containers.

use std::{collections::BTreeMap, time::Duration};

use reqwest::Method;
use serde::{Deserialize, Serialize};

use crate::{Answer, Client, ClientError};

/// Longest run unless a request says otherwise; the server has the same.
const DEFAULT_TIMEOUT_SECONDS: u64 = 30;
/// What the server needs beyond a program's own time.
const MARGIN: Duration = Duration::from_secs(60);

/// A program to run in a container. What is not said is not sent.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct ExecRequest {
    /// The program and its arguments. No shell reads them.
    pub command: Vec<String>,
    /// Folder it starts in; the container's own unless said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub working_dir: Option<String>,
    /// Variables beside the container's own.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub environment: BTreeMap<String, String>,
    /// User it runs as; the container's own unless said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// After which it is ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout_seconds: Option<u64>,
    /// How much of its output is kept, both outputs together.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_bytes: Option<u64>,
}

/// What a program came to.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct ExecResult {
    /// Its exit code, if it ended by itself.
    pub exit_code: Option<i64>,
    /// What it wrote to its standard output. Untrusted.
    pub stdout: String,
    /// What it wrote to its standard error. Untrusted.
    pub stderr: String,
    /// Whether it wrote more than was kept.
    pub truncated: bool,
    /// Whether its time was up before it ended.
    pub timed_out: bool,
    /// Whether it could not be ended then, and goes on.
    pub left_running: bool,
}

impl Client {
    /// Runs a program in a running container and waits for its end. Needs `containers:exec`.
    ///
    /// # Errors
    ///
    /// See [`ClientError`]; [`claw_core::ErrorCode::NotFound`], [`claw_core::ErrorCode::Conflict`] when the container
    /// does not run, [`claw_core::ErrorCode::Protected`] and [`claw_core::ErrorCode::PolicyRefused`] when nobody may
    /// run anything in it.
    pub async fn exec(
        &self,
        container: &str,
        request: &ExecRequest,
    ) -> Result<Answer<ExecResult>, ClientError> {
        let timeout = Duration::from_secs(request.timeout_seconds.unwrap_or(DEFAULT_TIMEOUT_SECONDS));
        let call = self.of_container(Method::POST, container, "exec")?;
        call.within(timeout.saturating_add(MARGIN)).body(request).data().await
    }
}
