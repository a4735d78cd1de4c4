//! What every sandbox does: take a working copy and a command, run the agent in it, and leave nothing behind.

use std::{collections::HashSet, path::PathBuf, sync::Arc, time::Duration};

use async_trait::async_trait;
use claw_core::{Coded, ErrorCode, JobId, NetworkMode, RepoPath, WorkspaceId};
use futures_util::future::BoxFuture;
use tokio::sync::mpsc;

use crate::warm::{WarmPlace, WarmSupply, WarmWanted};

/// The sandboxes there are. An unknown name is an error, never "run on the host".
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SandboxKind {
    /// A hardened container.
    Docker,
    /// A plain process on the host, for those who asked for it by name.
    Local,
}

impl SandboxKind {
    /// Returns the name used in settings.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Docker => "docker",
            Self::Local => "local",
        }
    }
}

/// What one run may use.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limits {
    /// Memory in bytes; no swap beyond it.
    pub memory_bytes: u64,
    /// CPU cores.
    pub cpus: f64,
    /// Processes and threads.
    pub pids: u32,
}

/// Everything a sandbox needs to know for one run.
#[derive(Clone, Debug)]
pub struct SandboxSpec {
    /// The job this run belongs to.
    pub job: JobId,
    /// The lease's token: tells the runs of one job apart.
    pub attempt: u64,
    /// The workspace, whose HOME is kept between jobs; `None` for a HOME that ends with the run.
    pub workspace: Option<WorkspaceId>,
    /// Host folder with the working copy. What is in it is hostile once the run has begun.
    pub work_dir: PathBuf,
    /// Folder inside the working copy where the agent starts; `None` for its top.
    pub current_dir: Option<RepoPath>,
    /// Host folder that holds the model gateway's socket, named [`GATEWAY_SOCKET_NAME`], and nothing else.
    pub socket_dir: PathBuf,
    /// Arguments for the agent CLI, without the program.
    pub arguments: Vec<String>,
    /// Variables beyond those that every run gets. No secrets.
    pub environment: Vec<(String, String)>,
    /// Written to the CLI's standard input, which is then closed.
    pub stdin: Vec<u8>,
    /// What it may use.
    pub limits: Limits,
    /// Which network it sees.
    pub network: NetworkMode,
}

/// Variable that names the job to the agent and its commands.
pub(crate) const JOB_VARIABLE: &str = "CLAW_JOB_ID";

/// File name of the model gateway's socket inside [`SandboxSpec::socket_dir`].
pub const GATEWAY_SOCKET_NAME: &str = "api.sock";

/// A piece of output. Lines come without their line end; one longer than [`MAX_LINE_BYTES`] is cut there and marked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// One line of standard output.
    Stdout {
        /// The line as written, which need not be UTF-8.
        line: Vec<u8>,
        /// Whether the rest of an overlong line was dropped.
        truncated: bool,
    },
    /// One line of standard error.
    Stderr {
        /// The line as written, which need not be UTF-8.
        line: Vec<u8>,
    },
}

/// Longest line of output in bytes. The CLI keeps tool output of tens of kilobytes in one line; several megabytes
/// still pass.
pub const MAX_LINE_BYTES: usize = 8 * 1024 * 1024;

/// How the agent's process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exit {
    /// Exit code; 128 + n after signal n.
    pub code: i64,
    /// Whether the kernel ended some process of the run for want of memory. Not a failure by itself.
    pub out_of_memory: bool,
}

/// What can go wrong with a sandbox.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// The sandbox cannot be used now; the text says what to do about it.
    #[error("{reason}")]
    NotReady {
        /// What is missing and how to mend it.
        reason: String,
    },
    /// The run could not be started.
    #[error("could not start the sandbox: {reason}")]
    Start {
        /// What happened.
        reason: String,
    },
    /// The run was lost while it ran, such as a container removed by hand.
    #[error("lost the sandbox: {reason}")]
    Lost {
        /// What happened.
        reason: String,
    },
    /// Something that a run left behind could not be removed.
    #[error("could not clean up after a run: {reason}")]
    Cleanup {
        /// What happened.
        reason: String,
    },
}

impl Coded for SandboxError {
    fn code(&self) -> ErrorCode {
        match self {
            Self::NotReady { .. } | Self::Start { .. } | Self::Lost { .. } | Self::Cleanup { .. } => {
                ErrorCode::DockerError
            }
        }
    }
}

/// A way to run the agent CLI apart from the host.
#[async_trait]
pub trait Sandbox: Send + Sync {
    /// Returns which kind this is.
    fn kind(&self) -> SandboxKind;

    /// Returns the user and group that must own the working copy, if the sandbox runs as another user than we do.
    fn owner(&self) -> Option<(u32, u32)>;

    /// Checks that runs can be started now. Quick: meant to be asked before every claim.
    ///
    /// # Errors
    ///
    /// Returns [`SandboxError::NotReady`] with what to do.
    async fn ready(&self) -> Result<(), SandboxError>;

    /// Starts the agent and returns once it runs. Dropping the future midway leaves nothing running.
    async fn start(&self, spec: SandboxSpec) -> Result<Box<dyn SandboxRun>, SandboxError>;

    /// Ends and removes every run that a former server start left behind, except those of `live` jobs.
    /// Returns how many were removed.
    async fn sweep(&self, live: &HashSet<JobId>) -> Result<usize, SandboxError>;

    /// Removes what is kept for a workspace between jobs (its HOME).
    async fn forget_workspace(&self, workspace: WorkspaceId) -> Result<(), SandboxError>;

    /// Begins to hold places ready for jobs, until the sandbox is settled. Called once, after a sweep.
    fn keep_warm(&self, _supply: Arc<dyn WarmSupply>) {}

    /// Takes out a place that is as wanted; `None` if there is none. Quick: whoever gets none starts a run as ever.
    fn reserve(&self, _wanted: &WarmWanted) -> Option<WarmPlace> {
        None
    }

    /// Says that a job of this workspace (or of none) has ended, so that the next one may find a place.
    fn job_ended(&self, _workspace: Option<WorkspaceId>) {}

    /// Returns the workspaces for which something is kept between jobs.
    async fn remembered_workspaces(&self) -> Result<Vec<WorkspaceId>, SandboxError>;
}

/// One run in progress.
#[async_trait]
pub trait SandboxRun: Send {
    /// Returns the run's output; `None` after the first call. The channel is bounded: a reader that does not read
    /// slows the agent down and loses nothing; only what it has not read when the run is stopped may be cut after
    /// some megabytes. It closes when both outputs have ended.
    fn take_output(&mut self) -> Option<mpsc::Receiver<Output>>;

    /// Ends the whole tree of processes: SIGTERM, up to `grace`, then SIGKILL. Returns when nothing runs any more.
    /// May be called at any time and more than once.
    async fn stop(&mut self, grace: Duration) -> Result<(), SandboxError>;

    /// Waits for the agent's process to end. Cancel safe: may be dropped and called again.
    async fn wait(&mut self) -> Result<Exit, SandboxError>;

    /// Returns where the run's HOME is on this machine, if that can be known. May be asked when the run has ended.
    fn home_dir(&self) -> BoxFuture<'static, Option<PathBuf>> {
        Box::pin(std::future::ready(None))
    }

    /// Tells whether the CLI was running before its task was known.
    fn is_warm(&self) -> bool {
        false
    }

    /// Removes what the run left behind: the container or process group, and a HOME that ends with the run.
    async fn remove(self: Box<Self>) -> Result<(), SandboxError>;
}
