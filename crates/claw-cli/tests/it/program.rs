//! Running the program under test as a user would.

use std::{path::Path, process::Stdio, time::Duration};

use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    process::Command,
};

/// No command here takes this long.
const LIMIT: Duration = Duration::from_secs(60);

/// One run of `claw`: no environment but what is given, a home folder of its own, output into pipes.
pub(crate) struct Claw {
    command: Command,
    stdin: Option<String>,
}

/// What a run left.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Claw {
    pub(crate) fn new(home: &Path, arguments: &[&str]) -> Self {
        #[expect(
            clippy::disallowed_methods,
            reason = "the program under test, started as a user would start it"
        )]
        let mut command = Command::new(env!("CARGO_BIN_EXE_claw"));
        command.args(arguments).env_clear().env("HOME", home).current_dir(home).kill_on_drop(true);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        Self { command, stdin: None }
    }

    pub(crate) fn env(mut self, name: &str, value: impl AsRef<std::ffi::OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    pub(crate) fn stdin(mut self, text: &str) -> Self {
        self.stdin = Some(text.to_owned());
        self
    }

    pub(crate) async fn run(mut self) -> Ran {
        self.command.stdin(if self.stdin.is_some() { Stdio::piped() } else { Stdio::null() });
        let mut child = self.command.spawn().expect("claw starts");
        if let Some(text) = self.stdin {
            let mut stdin = child.stdin.take().expect("a pipe");
            stdin.write_all(text.as_bytes()).await.expect("claw reads its input");
        }
        let output =
            tokio::time::timeout(LIMIT, child.wait_with_output()).await.expect("claw ends").expect("it ran");
        Ran {
            code: output.status.code().expect("claw was not killed"),
            stdout: String::from_utf8(output.stdout).expect("output is UTF-8"),
            stderr: String::from_utf8(output.stderr).expect("output is UTF-8"),
        }
    }
}

impl Claw {
    /// Runs it until it has written `text` to standard error, and then presses Ctrl-C.
    pub(crate) async fn interrupted_after(mut self, text: &str) -> Ran {
        let mut child = self.command.stdin(Stdio::null()).spawn().expect("claw starts");
        let mut stderr = BufReader::new(child.stderr.take().expect("a pipe"));
        let rest = async {
            let mut said = String::new();
            while !said.contains(text) {
                assert!(
                    stderr.read_line(&mut said).await.expect("text") > 0,
                    "it never said `{text}`: {said}"
                );
            }
            let pid = i32::try_from(child.id().expect("it runs")).expect("a process id");
            let pid = rustix::process::Pid::from_raw(pid).expect("a process id");
            rustix::process::kill_process(pid, rustix::process::Signal::INT).expect("signaled");
            stderr.read_to_string(&mut said).await.expect("text");
            (child.wait_with_output().await.expect("it ran"), said)
        };
        let (output, stderr) = tokio::time::timeout(LIMIT, rest).await.expect("claw ends");
        let code = output.status.code().expect("claw was not killed");
        Ran { code, stdout: String::from_utf8(output.stdout).expect("output is UTF-8"), stderr }
    }
}

impl Ran {
    /// Returns standard output of a run that succeeded.
    pub(crate) fn ok(self) -> String {
        assert_eq!(self.code, 0, "{self:?}");
        self.stdout
    }

    /// Returns the one JSON value that a run which succeeded printed.
    pub(crate) fn json(self) -> Value {
        let text = self.ok();
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
    }

    /// Asserts how a run failed, and returns what it said.
    pub(crate) fn failed(self, code: i32) -> String {
        assert_eq!(self.code, code, "{self:?}");
        self.stderr
    }
}
