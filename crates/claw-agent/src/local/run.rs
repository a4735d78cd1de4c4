//! One run in progress.

use std::{os::unix::process::ExitStatusExt, path::PathBuf, time::Duration};

use async_trait::async_trait;
use futures_util::future::BoxFuture;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWriteExt},
    process::Child,
    sync::mpsc,
    task::JoinSet,
};

use super::{ShortSocket, home::Home, process, record::RecordFile};
use crate::{
    lines::LineSplitter,
    sandbox::{Exit, MAX_LINE_BYTES, Output, SandboxError, SandboxRun},
};

/// Lines between the agent and whoever reads them. Few, because one may have megabytes.
const OUTPUT_LINES: usize = 32;

/// Longest line of standard error.
const MAX_STDERR_LINE_BYTES: usize = 64 * 1024;

/// Bytes read at once.
const CHUNK_BYTES: usize = 64 * 1024;

/// A run of the local sandbox. Dropping it kills what is left of it.
#[derive(Debug)]
pub(super) struct LocalRun {
    child: Child,
    output: Option<mpsc::Receiver<Output>>,
    /// Reads both outputs and writes standard input; ends with the run.
    _pumps: JoinSet<()>,
    record: RecordFile,
    home: Home,
    _socket: ShortSocket,
    ended: bool,
}

impl LocalRun {
    pub(super) fn new(
        mut child: Child,
        stdin: Vec<u8>,
        record: RecordFile,
        home: Home,
        socket: ShortSocket,
    ) -> Self {
        let (sender, output) = mpsc::channel(OUTPUT_LINES);
        let mut pumps = JoinSet::new();
        if let Some(mut pipe) = child.stdin.take() {
            pumps.spawn(async move {
                // A CLI that does not read to the end says why on standard error.
                let _ = pipe.write_all(&stdin).await;
            });
        }
        if let Some(pipe) = child.stdout.take() {
            let stdout =
                |line: crate::lines::Line| Output::Stdout { line: line.bytes, truncated: line.truncated };
            pumps.spawn(pump(pipe, MAX_LINE_BYTES, stdout, sender.clone()));
        }
        if let Some(pipe) = child.stderr.take() {
            let stderr = |line: crate::lines::Line| Output::Stderr { line: line.bytes };
            pumps.spawn(pump(pipe, MAX_STDERR_LINE_BYTES, stderr, sender));
        }
        Self { child, output: Some(output), _pumps: pumps, record, home, _socket: socket, ended: false }
    }

    /// The process that was started, which is its group's name too. `None` once it was reaped: the number may mean
    /// another process from then on.
    fn leader(&self) -> Option<i32> {
        self.child.id().map(u32::cast_signed)
    }
}

#[async_trait]
impl SandboxRun for LocalRun {
    fn take_output(&mut self) -> Option<mpsc::Receiver<Output>> {
        self.output.take()
    }

    async fn stop(&mut self, grace: Duration) -> Result<(), SandboxError> {
        let leader = self.leader();
        // Reaped at the same time; what `wait` returns is kept for the next call.
        let (ended, _) =
            tokio::join!(process::end_all(self.record.token(), leader, grace), self.child.wait());
        ended?;
        self.ended = true;
        Ok(())
    }

    async fn wait(&mut self) -> Result<Exit, SandboxError> {
        let status = self
            .child
            .wait()
            .await
            .map_err(|error| SandboxError::Lost { reason: format!("cannot wait: {error}") })?;
        let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(-1);
        Ok(Exit { code: code.into(), out_of_memory: false })
    }

    fn home_dir(&self) -> BoxFuture<'static, Option<PathBuf>> {
        Box::pin(std::future::ready(Some(self.home.path().to_owned())))
    }

    async fn remove(mut self: Box<Self>) -> Result<(), SandboxError> {
        if !self.ended {
            self.stop(Duration::ZERO).await?;
        }
        let lost = |error: std::io::Error| SandboxError::Lost { reason: format!("cannot clean up: {error}") };
        self.home.finish().map_err(lost)?;
        self.record.remove().map_err(lost)
    }
}

impl Drop for LocalRun {
    fn drop(&mut self) {
        if !self.ended {
            process::kill_now(self.record.token(), self.leader());
            // The record stays: the next sweep makes sure that nothing survived.
        }
    }
}

async fn pump(
    mut pipe: impl AsyncRead + Unpin,
    max_line_bytes: usize,
    output: impl Fn(crate::lines::Line) -> Output,
    sender: mpsc::Sender<Output>,
) {
    let mut splitter = LineSplitter::new(max_line_bytes);
    let mut chunk = vec![0; CHUNK_BYTES];
    // A reader that went away ends the pump; so does an error, which a pipe only has when it is gone.
    while let Ok(count @ 1..) = pipe.read(&mut chunk).await {
        for line in splitter.push(&chunk[..count]) {
            if sender.send(output(line)).await.is_err() {
                return;
            }
        }
    }
    if let Some(line) = splitter.finish() {
        let _ = sender.send(output(line)).await;
    }
}
