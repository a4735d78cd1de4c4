//! Programs run inside of a container that runs.
//!
//! The Engine can begin a program in a container and tell how it ended, and knows no way to end one; see `end.rs` for
//! what is done about that.

mod end;

use std::{pin::pin, time::Duration};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::{
    Docker, DockerError, LogSource, lines::Pieces, logs::Decoder, name, policy::ApprovedExec, request::Ask,
};

/// Longest time that a program may be given.
pub const MAX_EXEC_TIME: Duration = Duration::from_secs(600);

/// Output beyond what is kept that is read and dropped before the program is ended.
const MOST_DROPPED: usize = 16 << 20;

/// Pauses between looks at a program that has closed its outputs, or holds them open after its end.
const FIRST_LOOK: Duration = Duration::from_millis(10);
const LONGEST_LOOK: Duration = Duration::from_secs(1);

/// Silence after which nothing more is expected from the outputs of a program that has ended: what it left running in the
/// background may hold them open for ever.
const LAST_WORDS: Duration = Duration::from_millis(200);

/// How long, and how much, a program may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExecLimits {
    /// Time until it is ended; [`MAX_EXEC_TIME`] at the most.
    pub time: Duration,
    /// Bytes of output that are kept, both outputs together.
    pub bytes: usize,
}

/// What a program came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Executed {
    /// How it ended.
    pub end: ExecEnd,
    /// The beginning of its standard output.
    pub stdout: Vec<u8>,
    /// The beginning of its standard error.
    pub stderr: Vec<u8>,
    /// Whether it wrote more than was kept.
    pub truncated: bool,
}

/// How a program ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExecEnd {
    /// By itself, with this exit code.
    Code(i64),
    /// It was to be ended from here.
    Ended {
        /// Why.
        why: ExecStop,
        /// Whether it could not be ended, and goes on.
        goes_on: bool,
    },
}

/// Why a program was to be ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExecStop {
    /// Its time was up.
    TimeUp,
    /// It wrote without end.
    Output,
    /// Nobody waits for it anymore.
    Unwanted,
}

/// The request with which a program is made: exactly what `policy::effects` says is sent.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct ExecConfig<'a> {
    attach_stdin: bool,
    attach_stdout: bool,
    attach_stderr: bool,
    tty: bool,
    privileged: bool,
    cmd: &'a [String],
    env: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    working_dir: Option<&'a str>,
}

/// The request with which it is started.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct ExecStartConfig {
    detach: bool,
    tty: bool,
}

const START: ExecStartConfig = ExecStartConfig { detach: false, tty: false };

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Made {
    id: String,
}

/// How a program stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Standing {
    running: bool,
    exit_code: Option<i64>,
    /// As the Engine's host counts.
    pid: i32,
}

impl<'a> ExecConfig<'a> {
    /// The mark is a variable that the program and all it starts inherit, by which they are found again.
    fn of(approved: &'a ApprovedExec, mark: &str) -> Self {
        let wish = approved.wish();
        let pairs = wish.environment.iter().map(|(name, value)| format!("{name}={value}"));
        Self {
            attach_stdin: false,
            attach_stdout: true,
            attach_stderr: true,
            tty: false,
            privileged: false,
            cmd: &wish.command,
            env: pairs.chain([mark.to_owned()]).collect(),
            user: wish.user.as_deref(),
            working_dir: wish.working_dir.as_deref(),
        }
    }
}

impl Docker {
    /// Runs a program in a container and waits for its end, at most as long as the limits say or until `unwanted` is there.
    /// Then it is ended, as far as that can be done.
    ///
    /// # Errors
    ///
    /// Returns [`DockerError::NotFound`] when the container is gone and [`DockerError::Conflict`] when it does not run. A
    /// program that cannot be started is no error: its exit code is 126 or 127, with the reason in its output.
    pub async fn exec(
        &self,
        approved: &ApprovedExec,
        limits: ExecLimits,
        unwanted: impl Future<Output = ()>,
    ) -> Result<Executed, DockerError> {
        let mark = end::mark();
        let exec = self.make_exec(approved.container(), &ExecConfig::of(approved, &mark)).await?;
        let deadline = Instant::now() + limits.time.min(MAX_EXEC_TIME);
        let mut run = Run { docker: self, exec: &exec, output: Output::new(limits.bytes) };
        let mut unwanted = pin!(unwanted);
        let stopped = tokio::select! {
            ended = run.until_end() => match ended? {
                Some(code) => Ok(code),
                None => Err(ExecStop::Output),
            },
            () = sleep_until(deadline) => Err(ExecStop::TimeUp),
            () = &mut unwanted => Err(ExecStop::Unwanted),
        };
        let Output { stdout, stderr, truncated, .. } = run.output;
        let end = match stopped {
            Ok(code) => ExecEnd::Code(code),
            Err(why) => ExecEnd::Ended { why, goes_on: !self.end_exec(approved, &exec, &mark).await },
        };
        Ok(Executed { end, stdout, stderr, truncated })
    }

    async fn make_exec(&self, container: &str, config: &ExecConfig<'_>) -> Result<String, DockerError> {
        let container = name::check_name("container", container)?;
        let made: Made = self.ask(Ask::post(format!("/containers/{container}/exec")).json(config)).await?;
        // It goes into the path of the requests that follow.
        name::check_name("program", &made.id)?;
        Ok(made.id)
    }

    async fn standing(&self, exec: &str) -> Result<Standing, DockerError> {
        self.ask(Ask::get(format!("/exec/{exec}/json"))).await
    }
}

/// A program that runs.
struct Run<'a> {
    docker: &'a Docker,
    exec: &'a str,
    output: Output,
}

impl Run<'_> {
    /// Returns its exit code, or `None` when it writes without end.
    async fn until_end(&mut self) -> Result<Option<i64>, DockerError> {
        let ask = Ask::post(format!("/exec/{}/start", self.exec)).json(&START);
        let answer = self.docker.open(ask).await?;
        let mut pieces = Pieces::new(self.docker.clone(), answer.into_body(), None);
        let mut decoder = Decoder::new(false);
        let mut pause = FIRST_LOOK;
        let mut is_open = true;
        loop {
            let look = sleep(pause);
            tokio::select! {
                piece = pieces.next(), if is_open => match piece? {
                    Some(piece) => {
                        self.output.take(&mut decoder, piece)?;
                        if self.output.dropped > MOST_DROPPED {
                            return Ok(None);
                        }
                        // Whoever writes, runs.
                        continue;
                    }
                    None => {
                        is_open = false;
                        pause = FIRST_LOOK;
                    }
                },
                () = look => pause = (pause * 2).min(LONGEST_LOOK),
            }
            let standing = self.docker.standing(self.exec).await?;
            if let (false, Some(code)) = (standing.running, standing.exit_code) {
                while is_open
                    && let Ok(Ok(Some(piece))) = timeout(LAST_WORDS, pieces.next()).await
                    && self.output.dropped <= MOST_DROPPED
                {
                    self.output.take(&mut decoder, piece)?;
                }
                self.output.end(&mut decoder);
                return Ok(Some(code));
            }
        }
    }
}

/// What is kept of a program's output.
struct Output {
    stdout: Vec<u8>,
    stderr: Vec<u8>,
    left: usize,
    truncated: bool,
    dropped: usize,
}

impl Output {
    fn new(most: usize) -> Self {
        Self { stdout: Vec::new(), stderr: Vec::new(), left: most, truncated: false, dropped: 0 }
    }

    fn take(&mut self, decoder: &mut Decoder, piece: Bytes) -> Result<(), DockerError> {
        decoder.push(&piece);
        while let Some(chunk) = decoder.next()? {
            self.keep(chunk.source, &chunk.bytes);
        }
        Ok(())
    }

    fn end(&mut self, decoder: &mut Decoder) {
        while let Some(chunk) = decoder.rest() {
            self.keep(chunk.source, &chunk.bytes);
        }
    }

    fn keep(&mut self, source: LogSource, bytes: &[u8]) {
        let kept = bytes.len().min(self.left);
        self.left -= kept;
        if kept < bytes.len() {
            // Nothing that came later is kept either: a hole in the middle would tell lies.
            self.left = 0;
            self.truncated = true;
            self.dropped += bytes.len() - kept;
        }
        let output = match source {
            LogSource::Stderr => &mut self.stderr,
            LogSource::Stdout | LogSource::Terminal => &mut self.stdout,
        };
        output.extend_from_slice(&bytes[..kept]);
    }
}

/// Requests that ask for something of everything, to be held against the table of effects.
#[cfg(test)]
pub(crate) fn requests() -> [(&'static str, serde_json::Value); 2] {
    let config = ExecConfig {
        attach_stdin: false,
        attach_stdout: true,
        attach_stderr: true,
        tty: false,
        privileged: false,
        cmd: &["true".to_owned()],
        env: vec!["A=b".to_owned()],
        user: Some("nobody"),
        working_dir: Some("/"),
    };
    [
        ("ExecConfig", serde_json::to_value(config).expect("JSON")),
        ("ExecStartConfig", serde_json::to_value(START).expect("JSON")),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_beginning_is_kept_of_both_outputs_together() {
        let mut output = Output::new(5);

        output.keep(LogSource::Stdout, b"abc");
        output.keep(LogSource::Stderr, b"defg");
        output.keep(LogSource::Stdout, b"h");

        assert_eq!((&*output.stdout, &*output.stderr), (&b"abc"[..], &b"de"[..]));
        assert_eq!((output.truncated, output.dropped), (true, 3));
    }

    #[test]
    fn exactly_as_much_as_is_kept_is_not_cut() {
        let mut output = Output::new(3);

        output.keep(LogSource::Stdout, b"abc");

        assert!(!output.truncated);
    }
}
