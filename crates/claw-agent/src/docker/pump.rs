//! Carries a container's output to whoever reads it, line by line.

use std::collections::VecDeque;

use claw_docker::{Chunk, DockerError};
use futures_util::{Stream, StreamExt};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::{
    lines::{Line, LineSplitter},
    sandbox::{MAX_LINE_BYTES, Output},
};

/// Lines in the channel. Few, because each may have [`MAX_LINE_BYTES`].
const CHANNEL_LINES: usize = 8;

/// Output kept for a reader that is behind. When it is full, the agent has to wait.
const QUEUE_BYTES: usize = 8 * 1024 * 1024;

/// Output kept once the run ends. What comes beyond it is dropped: the Engine answers nothing about a container, not
/// even a kill, while it cannot get rid of the output of its ended program, so that all of it has to be taken.
const ENDING_QUEUE_BYTES: usize = 32 * 1024 * 1024;

/// Returns the reader's end and the task that feeds it. The task ends with the output, and reads no further once
/// `gone` is cancelled.
pub(super) fn pump<S>(
    chunks: S,
    ending: CancellationToken,
    gone: CancellationToken,
) -> (mpsc::Receiver<Output>, impl Future<Output = ()> + Send + 'static)
where
    S: Stream<Item = Result<Chunk, DockerError>> + Send + Unpin + 'static,
{
    let (sender, receiver) = mpsc::channel(CHANNEL_LINES);
    (receiver, carry(chunks, sender, ending, gone))
}

async fn carry<S>(
    mut chunks: S,
    sender: mpsc::Sender<Output>,
    ending: CancellationToken,
    gone: CancellationToken,
) where
    S: Stream<Item = Result<Chunk, DockerError>> + Send + Unpin,
{
    let mut queue = Queue::new();
    let mut ended = false;
    while !(ended && queue.is_empty()) {
        let is_ending = ending.is_cancelled();
        let room = is_ending || queue.bytes < QUEUE_BYTES;
        // All of these may be dropped at any await. In this order, so that what came is read before `gone` counts.
        tokio::select! {
            biased;
            permit = sender.reserve(), if !queue.is_empty() => match (permit, queue.pop()) {
                (Ok(permit), Some(output)) => permit.send(output),
                // Nobody reads any more: the agent must not wait for a reader that never comes.
                _ => return discard(chunks, gone).await,
            },
            chunk = chunks.next(), if !ended && room => match chunk {
                Some(Ok(chunk)) => queue.push(&chunk),
                // Whether that is the end of the run as well is for whoever waits for the container to say.
                Some(Err(_)) | None => { ended = true; queue.finish(); }
            },
            () = ending.cancelled(), if !is_ending => {}
            () = gone.cancelled(), if !ended => { ended = true; queue.finish(); }
        }
    }
}

async fn discard<S>(mut chunks: S, gone: CancellationToken)
where
    S: Stream<Item = Result<Chunk, DockerError>> + Send + Unpin,
{
    let rest = async { while let Some(Ok(_)) = chunks.next().await {} };
    gone.run_until_cancelled(rest).await;
}

struct Queue {
    outputs: VecDeque<Output>,
    bytes: usize,
    /// Whether output was dropped: nothing is taken after a gap.
    full: bool,
    stdout: LineSplitter,
    stderr: LineSplitter,
}

impl Queue {
    fn new() -> Self {
        Self {
            outputs: VecDeque::new(),
            bytes: 0,
            full: false,
            stdout: LineSplitter::new(MAX_LINE_BYTES),
            stderr: LineSplitter::new(MAX_LINE_BYTES),
        }
    }

    fn is_empty(&self) -> bool {
        self.outputs.is_empty()
    }

    fn push(&mut self, chunk: &Chunk) {
        self.full |= self.bytes >= ENDING_QUEUE_BYTES;
        match chunk {
            _ if self.full => {}
            Chunk::Stdout(bytes) => {
                for line in self.stdout.push(bytes) {
                    self.add(stdout(line));
                }
            }
            Chunk::Stderr(bytes) => {
                for line in self.stderr.push(bytes) {
                    self.add(stderr(line));
                }
            }
        }
    }

    /// Takes the last lines, which may have no line end.
    fn finish(&mut self) {
        if self.full {
            return;
        }
        if let Some(line) = self.stdout.finish() {
            self.add(stdout(line));
        }
        if let Some(line) = self.stderr.finish() {
            self.add(stderr(line));
        }
    }

    fn add(&mut self, output: Output) {
        self.bytes += size(&output);
        self.outputs.push_back(output);
    }

    fn pop(&mut self) -> Option<Output> {
        let output = self.outputs.pop_front()?;
        self.bytes -= size(&output);
        Some(output)
    }
}

fn stdout(line: Line) -> Output {
    Output::Stdout { line: line.bytes, truncated: line.truncated }
}

fn stderr(line: Line) -> Output {
    Output::Stderr { line: line.bytes }
}

/// What an output takes in memory. Empty lines take some as well.
fn size(output: &Output) -> usize {
    let (Output::Stdout { line, .. } | Output::Stderr { line }) = output;
    size_of::<Output>() + line.len()
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use futures_util::stream;

    use super::*;

    fn megabytes(count: usize) -> impl Iterator<Item = Result<Chunk, DockerError>> {
        let mut line = vec![b'x'; (1 << 20) - 1];
        line.push(b'\n');
        let line = Bytes::from(line);
        std::iter::repeat_with(move || Ok(Chunk::Stdout(line.clone()))).take(count)
    }

    #[tokio::test]
    async fn a_reader_that_does_not_read_holds_the_agent_up_until_the_run_ends() {
        let (ending, gone) = (CancellationToken::new(), CancellationToken::new());
        let (taken, mut taking) = mpsc::unbounded_channel();
        let chunks = stream::iter(megabytes(60)).inspect(move |_| taken.send(()).expect("counted"));
        let (mut reader, carrying) = pump(chunks, ending.clone(), gone);
        let carrying = tokio::spawn(carrying);

        // On one thread: whenever this task goes on, the other one cannot.
        for _ in 0..1000 {
            tokio::task::yield_now().await;
        }
        let before = std::iter::from_fn(|| taking.try_recv().ok()).count();
        ending.cancel();
        for _ in 0..1000 {
            tokio::task::yield_now().await;
        }
        let after = std::iter::from_fn(|| taking.try_recv().ok()).count();

        assert_eq!((before, after), (16, 44), "eight in the channel, eight waiting; then all the rest");
        let mut read = 0;
        while reader.recv().await.is_some() {
            read += 1;
        }
        assert_eq!(read, 40, "what is kept of it is bounded");
        carrying.await.expect("no panic");
    }

    #[tokio::test]
    async fn without_a_reader_the_output_is_thrown_away() {
        let (reader, carrying) =
            pump(stream::iter(megabytes(100)), CancellationToken::new(), CancellationToken::new());
        drop(reader);

        carrying.await;
    }

    #[tokio::test]
    async fn an_output_that_never_ends_is_left_when_the_container_is_gone() {
        let gone = CancellationToken::new();
        let chunks =
            stream::iter([Ok(Chunk::Stderr(Bytes::from_static(b"last words")))]).chain(stream::pending());
        gone.cancel();
        let (mut reader, carrying) = pump(chunks, CancellationToken::new(), gone);

        carrying.await;

        assert_eq!(reader.recv().await, Some(Output::Stderr { line: b"last words".to_vec() }));
        assert_eq!(reader.recv().await, None);
    }
}
