//! Running Compose: the plugin of the Docker CLI where there is one, `docker-compose` otherwise.
//!
//! The file goes over standard input, so that what runs is what was judged, whatever happens to files meanwhile, and no
//! secret is in an argument or in a file of its own.

use std::{
    collections::VecDeque,
    ffi::OsString,
    os::unix::process::ExitStatusExt as _,
    path::PathBuf,
    process::{ExitStatus, Stdio},
    sync::Arc,
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _},
    process::{Child, Command},
    sync::OnceCell,
};
use tokio_util::sync::CancellationToken;

use crate::compose::Reader;

/// How long images may take to come and containers to start.
const UP_LIMIT: Duration = Duration::from_secs(30 * 60);

/// How long anything else may take. Containers have their own grace time to stop.
const LIMIT: Duration = Duration::from_secs(5 * 60);

/// How long a program has to end after it was asked to.
const GRACE: Duration = Duration::from_secs(5);

/// How much of what a program says is kept: its end.
const OUTPUT_BYTES: usize = 16 * 1024;

/// Where and how Compose is run.
#[derive(Clone, Debug)]
pub struct ComposerConfig {
    /// Where programs are looked for.
    pub path: OsString,
    /// Home of the user whose registry logins and plugins are used.
    pub home: PathBuf,
    /// Further variables, such as `DOCKER_HOST` and `DOCKER_CERT_PATH`. Nothing else of the server's environment goes
    /// along.
    pub environment: Vec<(String, String)>,
    /// An empty folder of ours to run in, so that no stray file is taken for settings.
    pub folder: PathBuf,
}

/// Runs Compose. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Composer {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    config: ComposerConfig,
    program: OnceCell<&'static [&'static str]>,
    /// Whether those of a server before this one are gone.
    alone: OnceCell<()>,
}

/// What is to be done with a project.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ComposeVerb {
    /// Get the images, also those that are here.
    Pull,
    /// Make what is missing or changed. Nothing new starts.
    Create,
    /// Start everything that was made, as it is.
    Up,
    /// Stop.
    Stop,
    /// Restart what is there.
    Restart,
    /// Stop and remove containers and networks, and volumes if so said.
    Down {
        /// Whether the project's volumes go too.
        volumes: bool,
    },
}

/// Why Compose did not do it.
#[derive(Debug, thiserror::Error)]
pub enum ComposerError {
    /// Neither of the two programs is there.
    #[error("neither `docker compose` nor `docker-compose` can be run: install one of them")]
    Missing,
    /// It cannot be run.
    #[error("Compose cannot be run")]
    Run(#[source] std::io::Error),
    /// It took too long.
    #[error("Compose took longer than {} minutes: {output}", limit.as_secs() / 60)]
    Slow {
        /// The limit.
        limit: Duration,
        /// The end of what it said.
        output: String,
    },
    /// The server stops.
    #[error("the server stops: repeat this when it runs again")]
    Stopped,
    /// It said no.
    #[error("{output}")]
    Failed {
        /// The end of what it said.
        output: String,
    },
}

impl Composer {
    /// Returns a composer. Nothing is run yet.
    pub fn new(config: ComposerConfig) -> Self {
        let inner = Inner { config, program: OnceCell::new(), alone: OnceCell::new() };
        Self { inner: Arc::new(inner) }
    }

    /// Does something with the project that `file` describes and returns the end of what Compose said.
    ///
    /// Dropping the future ends the program: callers that must not leave things half done let a task of their own
    /// wait. Cancelling `stop` ends it too, after a grace time.
    ///
    /// # Errors
    ///
    /// As [`ComposerError`] tells.
    pub async fn run(
        &self,
        project: &str,
        file: &str,
        verb: ComposeVerb,
        stop: &CancellationToken,
    ) -> Result<String, ComposerError> {
        self.end_strays().await;
        let program = self.program().await?;
        let mut arguments = vec!["--project-name", project, "--file", "-", "--ansi", "never"];
        let limit = match verb {
            ComposeVerb::Pull | ComposeVerb::Create | ComposeVerb::Up => UP_LIMIT,
            _ => LIMIT,
        };
        arguments.extend_from_slice(match verb {
            ComposeVerb::Pull => &["pull", "--quiet"],
            ComposeVerb::Create => &["up", "--no-start", "--no-build", "--remove-orphans", "--quiet-pull"],
            ComposeVerb::Up => {
                &["up", "--detach", "--no-build", "--no-recreate", "--remove-orphans", "--quiet-pull"]
            }
            ComposeVerb::Stop => &["stop"],
            ComposeVerb::Restart => &["restart"],
            ComposeVerb::Down { volumes: false } => &["down", "--remove-orphans"],
            ComposeVerb::Down { volumes: true } => &["down", "--remove-orphans", "--volumes"],
        });
        let mut child = self.command(program, &arguments).spawn().map_err(ComposerError::Run)?;
        let (status, said) = talk(&mut child, file, limit, stop).await?;
        if status.success() {
            Ok(said.all())
        } else {
            Err(ComposerError::Failed { output: reason(status, &said) })
        }
    }

    /// Ends what a server that died left running, once.
    pub(crate) async fn end_strays(&self) {
        let end = || async {
            let folder = self.inner.config.folder.clone();
            let ended = tokio::task::spawn_blocking(move || super::strays::end(&folder)).await;
            if let Ok(count @ 1..) = ended {
                tracing::warn!(count, "processes of Compose that outlived an earlier server were ended");
            }
        };
        self.inner.alone.get_or_init(end).await;
    }

    /// Tells what is run, such as `docker compose`.
    ///
    /// # Errors
    ///
    /// [`ComposerError::Missing`] if there is nothing to run.
    pub async fn name(&self) -> Result<String, ComposerError> {
        Ok(self.program().await?.join(" "))
    }

    /// Tells how files must be written for what is run.
    ///
    /// # Errors
    ///
    /// [`ComposerError::Missing`] if there is nothing to run.
    pub async fn reader(&self) -> Result<Reader, ComposerError> {
        Ok(if self.program().await?.len() > 1 { Reader::Plugin } else { Reader::Standalone })
    }

    async fn program(&self) -> Result<&'static [&'static str], ComposerError> {
        const PROGRAMS: [&[&str]; 2] = [&["docker", "compose"], &["docker-compose"]];
        let find = || async {
            tokio::fs::create_dir_all(&self.inner.config.folder).await.map_err(ComposerError::Run)?;
            for program in PROGRAMS {
                let mut command = self.command(program, &["version"]);
                let Ok(mut child) = command.spawn() else { continue };
                let never = CancellationToken::new();
                if let Ok((status, _)) = talk(&mut child, "", Duration::from_secs(30), &never).await
                    && status.success()
                {
                    return Ok(program);
                }
            }
            Err(ComposerError::Missing)
        };
        self.inner.program.get_or_try_init(find).await.copied()
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "the one place that runs Compose, with a cleared environment"
    )]
    fn command(&self, program: &[&str], arguments: &[&str]) -> Command {
        let ComposerConfig { path, home, environment, folder } = &self.inner.config;
        let mut command = Command::new(program[0]);
        command
            .args(&program[1..])
            .args(arguments)
            .env_clear()
            .env("PATH", path)
            .env("HOME", home)
            .envs(environment.iter().map(|(name, value)| (name, value)))
            .current_dir(folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // A group of its own, so that its helpers end with it.
            .process_group(0)
            .kill_on_drop(true);
        command
    }
}

/// Feeds a program, listens to it, and waits for its end.
async fn talk(
    child: &mut Child,
    input: &str,
    limit: Duration,
    stop: &CancellationToken,
) -> Result<(ExitStatus, Said), ComposerError> {
    let group = Group(child.id().and_then(|id| Pid::from_raw(id.cast_signed())));
    let stdin = child.stdin.take();
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let (out, err) = (Tail::default(), Tail::default());
    let work = async {
        let feed = async {
            if let Some(mut stdin) = stdin {
                // A program that ends without reading tells why by itself.
                let _ = stdin.write_all(input.as_bytes()).await;
            }
        };
        tokio::join!(feed, out.listen(stdout), err.listen(stderr));
        child.wait().await
    };
    let ended = tokio::select! {
        ended = tokio::time::timeout(limit, work) => Some(ended),
        () = stop.cancelled() => None,
    };
    let said = || Said { out: out.text(), err: err.text() };
    match ended {
        Some(Ok(Ok(status))) => {
            group.forget();
            Ok((status, said()))
        }
        Some(Ok(Err(error))) => Err(ComposerError::Run(error)),
        Some(Err(_)) => {
            group.end(child).await;
            Err(ComposerError::Slow { limit, output: said().all() })
        }
        None => {
            group.end(child).await;
            Err(ComposerError::Stopped)
        }
    }
}

/// What a program said. Its two streams are apart: which of two lines came first is not known, and what goes wrong is
/// told on one of them.
struct Said {
    out: String,
    err: String,
}

impl Said {
    fn all(&self) -> String {
        format!("{}{}", self.out, self.err)
    }
}

/// The end of a stream.
#[derive(Default)]
struct Tail(std::sync::Mutex<VecDeque<u8>>);

impl Tail {
    async fn listen(&self, stream: Option<impl AsyncRead + Unpin>) {
        let Some(mut stream) = stream else { return };
        let mut buffer = [0; 4096];
        while let Ok(count @ 1..) = stream.read(&mut buffer).await {
            let mut end = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            end.extend(&buffer[..count]);
            let over = end.len().saturating_sub(OUTPUT_BYTES / 2);
            end.drain(..over);
        }
    }

    fn text(&self) -> String {
        let end = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let bytes: Vec<u8> = end.iter().copied().collect();
        readable(&String::from_utf8_lossy(&bytes))
    }
}

/// The processes of a program. They end with the value.
struct Group(Option<Pid>);

impl Group {
    fn signal(&self, signal: Signal) {
        if let Some(group) = self.0 {
            // Fails when all of it has ended, which is what is wanted.
            let _ = kill_process_group(group, signal);
        }
    }

    async fn end(self, child: &mut Child) {
        self.signal(Signal::TERM);
        // The rest of it, if there is any, ends with the value.
        let _ = tokio::time::timeout(GRACE, child.wait()).await;
    }

    /// The program has ended by itself: its number may be somebody else's by now.
    fn forget(mut self) {
        self.0 = None;
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
    }
}

/// Without what only terminals understand.
fn readable(text: &str) -> String {
    text.replace('\r', "\n").chars().filter(|c| !c.is_control() || matches!(c, '\n' | '\t')).collect()
}

/// The last lines of what a failed program said, which tell why.
fn reason(status: ExitStatus, said: &Said) -> String {
    let output = if said.err.trim().is_empty() { &said.out } else { &said.err };
    let lines: Vec<&str> = output.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let last = lines.len().saturating_sub(6);
    let mut reason = lines[last..].join("; ");
    match status.signal() {
        Some(signal) if reason.is_empty() => reason = format!("Compose was killed (signal {signal})"),
        Some(signal) => reason = format!("Compose was killed (signal {signal}) after it said: {reason}"),
        None if reason.is_empty() => reason.push_str("Compose failed and does not tell why"),
        None => {}
    }
    // Errors are short: some clients show the first 512 bytes.
    if let Some((cut, _)) = reason.char_indices().nth(400) {
        reason.truncate(cut);
        reason.push('…');
    }
    reason
}
