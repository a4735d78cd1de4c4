//! The local sandbox: the agent as a plain process on the host, for those who asked for it by name.
//!
//! It keeps the agent from what lies around by accident: the environment is built from nothing, HOME is its own, the
//! model's key stays with the gateway, and settings of the repository (hooks, MCP servers) are ignored. It does **not**
//! keep out an agent that means harm: the process has the server's user, files and network. Memory, CPU, process and
//! network limits of the run do not exist here.
//!
//! Every process of a run carries `CLAW_RUN={token}` in its environment, since the CLI puts commands into sessions of
//! their own and a process group therefore does not hold them all. The token is random and written down before the
//! process starts, so a later server finds what a killed one left, and never takes a reused process id for its own.

mod home;
mod process;
mod record;
mod run;

use std::{
    collections::HashSet,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Stdio,
    sync::Arc,
};

use async_trait::async_trait;
use claw_core::{JobId, WorkspaceId};
use tokio::process::Command;

use crate::{
    gateway::MAX_SOCKET_PATH_BYTES,
    invocation::{IGNORE_REPOSITORY_SETTINGS, model_environment},
    sandbox::{GATEWAY_SOCKET_NAME, Sandbox, SandboxError, SandboxKind, SandboxRun, SandboxSpec},
};

use home::Homes;
use record::{Record, Records};
use run::LocalRun;

/// Where the local sandbox finds and keeps things.
#[derive(Clone, Debug)]
pub struct LocalConfig {
    /// The Claude Code CLI: a path, or a name to be looked up in `path`.
    pub program: PathBuf,
    /// Our own data directory; HOMEs and records of runs go below it.
    pub data_dir: PathBuf,
    /// PATH of the run.
    pub path: String,
    /// LANG of the run.
    pub lang: String,
}

/// Runs the agent as a process on the host.
#[derive(Clone, Debug)]
pub struct LocalSandbox {
    config: Arc<LocalConfig>,
    homes: Homes,
    records: Records,
}

impl LocalSandbox {
    /// Returns the sandbox. Touches nothing yet.
    pub fn new(config: LocalConfig) -> Self {
        let homes = Homes::new(config.data_dir.join("homes"));
        let records = Records::new(config.data_dir.join("local-runs"));
        Self { config: Arc::new(config), homes, records }
    }

    fn program(&self) -> Result<PathBuf, SandboxError> {
        let program = &self.config.program;
        let found = if program.components().count() > 1 {
            is_executable(program).then(|| program.clone())
        } else {
            std::env::split_paths(&self.config.path)
                .map(|folder| folder.join(program))
                .find(|path| is_executable(path))
        };
        // Absolute, since the run starts in another folder than the server.
        found.and_then(|path| std::path::absolute(path).ok()).ok_or_else(|| SandboxError::NotReady {
            reason: format!(
                "the Claude Code CLI `{}` was not found: install it with `npm install -g @anthropic-ai/claude-code`, or \
                 use the docker sandbox",
                program.display()
            ),
        })
    }

    /// The one place where this crate starts a program: with an environment made from nothing.
    #[expect(clippy::disallowed_methods, reason = "this is the crate's locked-down function")]
    fn command(
        &self,
        spec: &SandboxSpec,
        record: &Record,
        home: &Path,
        socket: &Path,
    ) -> Result<Command, SandboxError> {
        let mut command = Command::new(self.program()?);
        command
            .args(&spec.arguments)
            .args(IGNORE_REPOSITORY_SETTINGS)
            .current_dir(current_dir(spec)?)
            .env_clear()
            .envs(spec.environment.iter().map(|(name, value)| (name, value)))
            .env("PATH", &self.config.path)
            .env("LANG", &self.config.lang)
            .env("HOME", home)
            .envs(model_environment(socket))
            .env(process::MARKER, &record.token)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true);
        if rustix::process::geteuid().is_root() {
            // The CLI refuses to skip permissions as root unless it is told that this is a sandbox.
            command.env("IS_SANDBOX", "1");
        }
        Ok(command)
    }
}

#[async_trait]
impl Sandbox for LocalSandbox {
    fn kind(&self) -> SandboxKind {
        SandboxKind::Local
    }

    fn owner(&self) -> Option<(u32, u32)> {
        None
    }

    async fn ready(&self) -> Result<(), SandboxError> {
        self.program().map(|_| ())
    }

    async fn start(&self, spec: SandboxSpec) -> Result<Box<dyn SandboxRun>, SandboxError> {
        let record = Record::new(spec.job, spec.attempt);
        let home =
            self.homes.prepare(spec.workspace, &record.token).map_err(start_error("the HOME folder"))?;
        let socket = ShortSocket::new(&spec.socket_dir).map_err(start_error("the gateway's socket"))?;
        let mut command = self.command(&spec, &record, home.path(), socket.path())?;
        // Before the process exists: a server killed right after the start finds it by the token.
        let record = self.records.write(record).map_err(start_error("the record of the run"))?;
        let child = command.spawn().map_err(|error| {
            if let Err(error) = record.remove() {
                tracing::warn!(%error, "could not remove the record of a run that did not start");
            }
            start_error("the Claude Code CLI")(error)
        })?;
        Ok(Box::new(LocalRun::new(child, spec.stdin, record, home, socket)))
    }

    async fn sweep(&self, live: &HashSet<JobId>) -> Result<usize, SandboxError> {
        let lost = |error: std::io::Error| SandboxError::Lost {
            reason: format!("cannot read the records of runs: {error}"),
        };
        let mut swept = 0;
        for record in self.records.read_all().map_err(lost)? {
            if live.contains(&record.job()) {
                continue;
            }
            process::end_all(record.token(), None, std::time::Duration::ZERO).await?;
            self.homes.forget_run(record.token()).map_err(lost)?;
            record.remove().map_err(lost)?;
            swept += 1;
        }
        Ok(swept)
    }

    async fn forget_workspace(&self, workspace: WorkspaceId) -> Result<(), SandboxError> {
        self.homes.forget_workspace(workspace).map_err(|error| SandboxError::Lost {
            reason: format!("cannot remove the HOME of workspace {workspace}: {error}"),
        })
    }

    async fn remembered_workspaces(&self) -> Result<Vec<WorkspaceId>, SandboxError> {
        self.homes.workspaces().map_err(|error| SandboxError::Lost {
            reason: format!("cannot read the HOME folders of workspaces: {error}"),
        })
    }
}

/// The gateway's socket under a path short enough for a socket address.
#[derive(Debug)]
struct ShortSocket {
    path: PathBuf,
    /// Holds a link to the socket's folder, if its own path is too long.
    _link: Option<tempfile::TempDir>,
}

impl ShortSocket {
    fn new(folder: &Path) -> std::io::Result<Self> {
        let path = folder.join(GATEWAY_SOCKET_NAME);
        if path.as_os_str().len() <= MAX_SOCKET_PATH_BYTES {
            return Ok(Self { path, _link: None });
        }
        let link = tempfile::Builder::new().prefix("claw-").tempdir()?;
        std::os::unix::fs::symlink(std::path::absolute(folder)?, link.path().join("s"))?;
        Ok(Self { path: link.path().join("s").join(GATEWAY_SOCKET_NAME), _link: Some(link) })
    }

    fn path(&self) -> &Path {
        &self.path
    }
}

/// The folder where the agent starts. A link in the working copy must not lead it elsewhere.
fn current_dir(spec: &SandboxSpec) -> Result<PathBuf, SandboxError> {
    let error = start_error("the working copy's folder");
    let top = spec.work_dir.canonicalize().map_err(&error)?;
    let Some(relative) = &spec.current_dir else { return Ok(top) };
    let folder = top.join(relative.as_str()).canonicalize().map_err(&error)?;
    if !folder.starts_with(&top) || !folder.is_dir() {
        return Err(SandboxError::Start { reason: format!("`{relative}` is not a folder of the workspace") });
    }
    Ok(folder)
}

fn start_error(what: &'static str) -> impl Fn(std::io::Error) -> SandboxError {
    move |error| SandboxError::Start { reason: format!("{what}: {error}") }
}

fn is_executable(path: &Path) -> bool {
    path.metadata().is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
}
