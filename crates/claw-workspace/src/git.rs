//! The one place that starts git.
//!
//! Every command gets a cleared environment and an explicit configuration that outranks any file. What is refused
//! here stays refused even for a repository whose own configuration says otherwise.

use std::{
    ffi::{OsStr, OsString},
    fmt,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use rustix::process::{Pid, Resource, Rlimit, Signal};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWriteExt},
    process::{Child, Command},
    sync::mpsc,
};

use crate::WorkspaceError;

/// The oldest git that has all that is used here: `merge-tree --write-tree` and `cat-file -z` came with 2.38, and
/// 2.39 is the oldest that is tested.
const OLDEST: GitVersion = GitVersion { major: 2, minor: 39 };
const OLDEST_TEXT: &str = "2.39";

/// Where git is looked for, and all that git itself sees as `PATH`.
const SEARCH_PATH: &str = "/usr/local/bin:/usr/bin:/bin:/opt/homebrew/bin";

/// Longest part of standard error that is kept for messages.
const MAX_STDERR: usize = 8 << 10;

/// Address space of a git process, so that a small pack which unfolds to gigabytes cannot take the machine's memory.
const MAX_ADDRESS_SPACE: u64 = 4 << 30;

/// The name and address of everything the house itself commits.
pub(crate) const IDENTITY_NAME: &str = "Claw Machine";
pub(crate) const IDENTITY_MAIL: &str = "claw@local";

/// Configuration of every command. It has the rank of the command line, above any file.
const CONFIG: &[(&str, &str)] = &[
    // Nothing runs on our behalf.
    ("core.hooksPath", "/dev/null"),
    ("core.fsmonitor", "false"),
    ("core.sshCommand", "false"),
    ("core.askPass", "false"),
    ("core.editor", "false"),
    ("core.pager", "cat"),
    ("credential.helper", ""),
    ("gpg.program", "false"),
    ("commit.gpgSign", "false"),
    ("log.showSignature", "false"),
    ("gc.auto", "0"),
    ("maintenance.auto", "false"),
    // No transport at all, not even of files: objects come in through `index-pack` and `fast-import`.
    ("protocol.allow", "never"),
    ("submodule.recurse", "false"),
    ("safe.directory", "*"),
    ("init.defaultBranch", "main"),
    // Content is bytes: no conversion, no attributes, no ignore files of the host.
    ("core.attributesFile", "/dev/null"),
    ("core.excludesFile", "/dev/null"),
    ("attr.tree", "4b825dc642cb6eb9a060e54bf8d69288fbee4904"),
    ("core.autocrlf", "false"),
    ("core.safecrlf", "false"),
    ("core.quotePath", "false"),
    ("core.precomposeUnicode", "false"),
    ("core.protectHFS", "true"),
    ("core.protectNTFS", "true"),
    // Derived data that a damaged repository could lie with, and that small repositories do not need.
    ("core.commitGraph", "false"),
    ("core.multiPackIndex", "false"),
    ("core.untrackedCache", "false"),
    ("repack.writeBitmaps", "false"),
    ("transfer.fsckObjects", "true"),
    // What was acknowledged is on disk; one flush for a batch of objects.
    ("core.fsync", "committed,reference"),
    ("core.fsyncMethod", "batch"),
    ("core.filesRefLockTimeout", "2000"),
    // Bounds on memory and time.
    ("core.bigFileThreshold", "16m"),
    ("core.packedGitWindowSize", "16m"),
    ("core.packedGitLimit", "256m"),
    ("pack.threads", "2"),
    // More than a hundred files are checked out by several processes: making files waits more than it computes.
    ("checkout.workers", "4"),
    ("pack.windowMemory", "64m"),
    ("merge.renameLimit", "1000"),
    ("merge.directoryRenames", "false"),
    ("merge.renames", "true"),
];

/// A version of git.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct GitVersion {
    /// First number.
    pub major: u32,
    /// Second number.
    pub minor: u32,
}

impl GitVersion {
    /// Reads the answer of `git --version`, such as `git version 2.39.5`.
    fn parse(text: &str) -> Option<Self> {
        let mut numbers = text.strip_prefix("git version ")?.split(['.', ' ', '\n']);
        Some(Self { major: numbers.next()?.parse().ok()?, minor: numbers.next()?.parse().ok()? })
    }
}

impl fmt::Display for GitVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

/// What a command reads on standard input.
pub(crate) enum Input {
    /// Nothing.
    Null,
    /// These bytes.
    Bytes(Vec<u8>),
    /// Pieces as they come, until the sender is dropped.
    Pieces(mpsc::Receiver<Vec<u8>>),
    /// A file or the output of another command.
    Handle(Stdio),
}

/// One run of git.
pub(crate) struct Call {
    /// The command's name, for messages.
    pub(crate) what: &'static str,
    args: Vec<OsString>,
    env: Vec<(&'static str, OsString)>,
    input: Input,
    max_stdout: usize,
    max_records: usize,
    timeout: Option<Duration>,
}

impl Call {
    /// Starts the description of a command; `repository` is its git folder.
    pub(crate) fn new(repository: &Path, what: &'static str) -> Self {
        Self::bare(what).git_dir(repository)
    }

    fn bare(what: &'static str) -> Self {
        Self {
            what,
            args: Vec::new(),
            env: Vec::new(),
            input: Input::Null,
            max_stdout: 1 << 20,
            max_records: usize::MAX,
            timeout: None,
        }
    }

    fn git_dir(self, repository: &Path) -> Self {
        self.env("GIT_DIR", repository)
    }

    /// Adds an argument.
    pub(crate) fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.args.push(arg.as_ref().to_owned());
        self
    }

    /// Adds arguments.
    pub(crate) fn args<A: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = A>) -> Self {
        self.args.extend(args.into_iter().map(|arg| arg.as_ref().to_owned()));
        self
    }

    /// Sets a variable.
    pub(crate) fn env(mut self, name: &'static str, value: impl AsRef<OsStr>) -> Self {
        self.env.push((name, value.as_ref().to_owned()));
        self
    }

    /// Writes objects to `objects` and reads them also from the repository's own store.
    pub(crate) fn quarantined(self, repository: &Path, objects: &Path) -> Self {
        let own = quoted_list_item(&repository.join("objects"));
        self.env("GIT_OBJECT_DIRECTORY", objects).env("GIT_ALTERNATE_OBJECT_DIRECTORIES", own)
    }

    /// Feeds standard input.
    pub(crate) fn input(mut self, input: Input) -> Self {
        self.input = input;
        self
    }

    /// Sets how many bytes of output are accepted; more is an error.
    pub(crate) fn max_stdout(mut self, bytes: usize) -> Self {
        self.max_stdout = bytes;
        self
    }

    /// Ends the command once it has written this many NUL-terminated records.
    pub(crate) fn max_records(mut self, records: usize) -> Self {
        self.max_records = records;
        self
    }
}

/// What a command left.
pub(crate) struct Output {
    what: &'static str,
    /// Exit status, -1 if it was killed.
    pub(crate) status: i32,
    /// Standard output.
    pub(crate) stdout: Vec<u8>,
    /// Beginning of standard error.
    pub(crate) stderr: String,
}

impl Output {
    /// Returns standard output, or the failure if the status is not zero.
    pub(crate) fn ok(self) -> Result<Vec<u8>, WorkspaceError> {
        if self.status == 0 { Ok(self.stdout) } else { Err(self.failure()) }
    }

    /// Turns the output into the error that it stands for.
    pub(crate) fn failure(self) -> WorkspaceError {
        WorkspaceError::Git { what: self.what, status: self.status, detail: self.stderr.trim().to_owned() }
    }
}

/// A git program that has been checked.
#[derive(Clone, Debug)]
pub(crate) struct Git {
    program: PathBuf,
    version: GitVersion,
    timeout: Duration,
}

impl Git {
    /// Finds git, or takes the given program, and checks its version.
    pub(crate) async fn find(program: Option<PathBuf>, timeout: Duration) -> Result<Self, WorkspaceError> {
        let missing = || WorkspaceError::GitMissing { searched: SEARCH_PATH.to_owned() };
        let candidate = |folder: &str| Path::new(folder).join("git");
        let program = program
            .or_else(|| SEARCH_PATH.split(':').map(candidate).find(|path| path.is_file()))
            .ok_or_else(missing)?;
        let mut git = Self { program, version: OLDEST, timeout };
        let output = match git.run(Call::bare("--version")).await {
            Err(WorkspaceError::Io { .. }) => return Err(missing()),
            output => String::from_utf8_lossy(&output?.ok()?).into_owned(),
        };
        git.version = GitVersion::parse(&output)
            .filter(|version| *version >= OLDEST)
            .ok_or(WorkspaceError::GitTooOld { found: output.trim().to_owned(), needed: OLDEST_TEXT })?;
        Ok(git)
    }

    pub(crate) fn version(&self) -> GitVersion {
        self.version
    }

    pub(crate) fn timeout(&self) -> Duration {
        self.timeout
    }

    /// Builds the locked-down command: the only place in this crate where a process is described.
    #[expect(clippy::disallowed_methods, reason = "this is the crate's one locked-down function")]
    fn command(&self, call: &Call) -> Command {
        let mut command = Command::new(&self.program);
        command
            .env_clear()
            .env("PATH", SEARCH_PATH)
            .env("HOME", "/nonexistent")
            .env("LC_ALL", "C")
            .env("TZ", "UTC")
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_CONFIG_SYSTEM", "/dev/null")
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_ATTR_NOSYSTEM", "1")
            .env("GIT_TERMINAL_PROMPT", "0")
            .env("GIT_ASKPASS", "false")
            .env("GIT_OPTIONAL_LOCKS", "0")
            .env("GIT_LITERAL_PATHSPECS", "1")
            .env("GIT_NO_REPLACE_OBJECTS", "1")
            .env("GIT_NO_LAZY_FETCH", "1")
            .env("GIT_PROTOCOL_FROM_USER", "0")
            .env("GIT_CONFIG_COUNT", CONFIG.len().to_string())
            .env("GIT_AUTHOR_NAME", IDENTITY_NAME)
            .env("GIT_AUTHOR_EMAIL", IDENTITY_MAIL)
            .env("GIT_COMMITTER_NAME", IDENTITY_NAME)
            .env("GIT_COMMITTER_EMAIL", IDENTITY_MAIL)
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // A group of its own: ctrl-c on our terminal must not end git halfway, and a timeout must end its children.
            .process_group(0)
            .kill_on_drop(true);
        for (index, (key, value)) in CONFIG.iter().enumerate() {
            command.env(format!("GIT_CONFIG_KEY_{index}"), key);
            command.env(format!("GIT_CONFIG_VALUE_{index}"), value);
        }
        command.arg(call.what).args(&call.args);
        command.envs(call.env.iter().map(|(name, value)| (name, value)));
        command
    }

    /// Starts a command whose input and output the caller handles.
    pub(crate) fn spawn(&self, call: &mut Call) -> Result<Running, WorkspaceError> {
        let mut command = self.command(call);
        match std::mem::replace(&mut call.input, Input::Null) {
            Input::Null => {}
            Input::Handle(handle) => {
                command.stdin(handle);
            }
            piped @ (Input::Bytes(_) | Input::Pieces(_)) => {
                call.input = piped;
                command.stdin(Stdio::piped());
            }
        }
        let child = command.spawn().map_err(WorkspaceError::io("run", &self.program))?;
        let group = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        if let Some(pid) = group {
            let limit = Rlimit { current: Some(MAX_ADDRESS_SPACE), maximum: Some(MAX_ADDRESS_SPACE) };
            // The process may have ended already; then there is nothing to bound.
            let _ = rustix::process::prlimit(Some(pid), Resource::As, limit);
        }
        Ok(Running { child, group })
    }

    /// Runs a command to its end, within its bounds.
    pub(crate) async fn run(&self, mut call: Call) -> Result<Output, WorkspaceError> {
        let mut running = self.spawn(&mut call)?;
        let limit = call.timeout.unwrap_or(self.timeout);
        match tokio::time::timeout(limit, running.finish(&mut call)).await {
            Ok(output) => output,
            Err(_) => Err(WorkspaceError::GitTimeout { what: call.what, seconds: limit.as_secs() }),
        }
    }

    /// Runs `first` with its output as the input of `second`. Both have to succeed.
    pub(crate) async fn pipe(&self, mut first: Call, second: Call) -> Result<Vec<u8>, WorkspaceError> {
        let mut writer = self.spawn(&mut first)?;
        let stdout = writer.child.stdout.take().ok_or(WorkspaceError::Interrupted)?;
        let handle: Stdio = stdout.try_into().map_err(WorkspaceError::io("connect", &self.program))?;
        let limit = self.timeout;
        let both =
            async { tokio::join!(writer.finish(&mut first), self.run(second.input(Input::Handle(handle)))) };
        let (first_output, second_output) = tokio::time::timeout(limit, both)
            .await
            .map_err(|_| WorkspaceError::GitTimeout { what: "pack-objects", seconds: limit.as_secs() })?;
        first_output?.ok()?;
        second_output?.ok()
    }
}

/// A git process; dropping it before its end kills its whole group.
pub(crate) struct Running {
    pub(crate) child: Child,
    group: Option<Pid>,
}

impl Running {
    async fn finish(&mut self, call: &mut Call) -> Result<Output, WorkspaceError> {
        let input = std::mem::replace(&mut call.input, Input::Null);
        let stdin = self.child.stdin.take();
        let feed = async move {
            let Some(mut stdin) = stdin else { return };
            // A command that ends before it has read everything says why on standard error.
            match input {
                Input::Bytes(bytes) => {
                    let _ = stdin.write_all(&bytes).await;
                }
                Input::Pieces(mut pieces) => {
                    while let Some(piece) = pieces.recv().await {
                        if stdin.write_all(&piece).await.is_err() {
                            break;
                        }
                    }
                }
                Input::Null | Input::Handle(_) => {}
            }
        };
        let stdout = self.child.stdout.take();
        let stderr = self.child.stderr.take();
        let (what, max_stdout, max_records) = (call.what, call.max_stdout, call.max_records);
        let read = read_output(stdout, max_stdout, max_records);
        let ((), stdout, stderr) = tokio::join!(feed, read, read_start(stderr));
        let io = |source| WorkspaceError::Io { what: "read the output of", path: "git".into(), source };
        let (stdout, complete) = stdout.map_err(io)?;
        if stdout.len() > max_stdout {
            return Err(WorkspaceError::GitAnswer { what, detail: format!("more than {max_stdout} bytes") });
        }
        if !complete {
            self.kill();
        }
        let status = self.child.wait().await.map_err(io)?;
        self.group = None;
        let status = if complete { status.code().unwrap_or(-1) } else { 0 };
        Ok(Output { what, status, stdout, stderr })
    }

    fn kill(&mut self) {
        if let Some(group) = self.group.take() {
            // It may have ended by itself.
            let _ = rustix::process::kill_process_group(group, Signal::KILL);
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Reads up to `max` bytes and one more, or up to `max_records` NULs; the flag tells whether the end was reached.
async fn read_output(
    stream: Option<impl AsyncRead + Unpin>,
    max: usize,
    max_records: usize,
) -> std::io::Result<(Vec<u8>, bool)> {
    let mut bytes = Vec::new();
    let Some(mut stream) = stream else { return Ok((bytes, true)) };
    let mut records = 0;
    let mut piece = vec![0; 64 << 10];
    loop {
        let read = stream.read(&mut piece).await?;
        if read == 0 {
            return Ok((bytes, true));
        }
        bytes.extend_from_slice(&piece[..read]);
        if max_records != usize::MAX {
            records += piece[..read].iter().filter(|byte| **byte == 0).count();
        }
        if bytes.len() > max || records >= max_records {
            return Ok((bytes, false));
        }
    }
}

/// Reads everything and keeps the beginning, so that a talkative command does not block.
async fn read_start(stream: Option<impl AsyncRead + Unpin>) -> String {
    let mut kept = Vec::new();
    let Some(mut stream) = stream else { return String::new() };
    let mut piece = vec![0; 4 << 10];
    while let Ok(read @ 1..) = stream.read(&mut piece).await {
        let room = MAX_STDERR.saturating_sub(kept.len());
        kept.extend_from_slice(&piece[..read.min(room)]);
    }
    String::from_utf8_lossy(&kept).into_owned()
}

/// Quotes a path for a `:`-separated list of git's, where a quoted item may hold colons.
fn quoted_list_item(path: &Path) -> OsString {
    use std::os::unix::ffi::{OsStrExt, OsStringExt};
    OsString::from_vec(quote(path.as_os_str().as_bytes()))
}

/// Quotes a path the way git's C-style unquoting reads it back, byte for byte.
pub(crate) fn quote(path: &[u8]) -> Vec<u8> {
    let mut quoted = Vec::with_capacity(path.len() + 2);
    quoted.push(b'"');
    for byte in path {
        match byte {
            b'"' | b'\\' => quoted.extend_from_slice(&[b'\\', *byte]),
            b'\n' => quoted.extend_from_slice(b"\\n"),
            _ => quoted.push(*byte),
        }
    }
    quoted.push(b'"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_of_all_builders_are_read() {
        let version = |text| GitVersion::parse(text).map(|version| version.to_string());
        assert_eq!(version("git version 2.39.5\n").as_deref(), Some("2.39"));
        assert_eq!(version("git version 2.47.3 (Apple Git-140)\n").as_deref(), Some("2.47"));
        assert_eq!(version("git version 2.50.GIT\n").as_deref(), Some("2.50"));
        assert_eq!(version("hub version 1.0"), None);
    }

    #[test]
    fn newer_minor_versions_are_not_compared_as_text() {
        assert!(GitVersion { major: 2, minor: 100 } > OLDEST);
        assert!(GitVersion { major: 2, minor: 4 } < OLDEST);
    }

    #[test]
    fn quoting_keeps_every_byte_but_escapes_what_git_reads() {
        assert_eq!(quote(b"a b"), b"\"a b\"");
        assert_eq!(quote(b"a\"\\\n\xff"), b"\"a\\\"\\\\\\n\xff\"");
    }
}
