//! One message a line, over a pipe.

use std::{io, time::Duration};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use rmcp::{ServerHandler, model::ErrorCode};
use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncRead, AsyncWrite, AsyncWriteExt as _, BufReader},
    sync::mpsc,
    time::timeout,
};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

use super::{Read, Source, Wire, answer, error_text, read};

/// Longest line that is read: the longest message that HTTP takes, four times over.
const LONGEST_LINE: usize = 4 << 20;
/// Messages that wait to be written.
const OUTBOX: usize = 64;
/// How long what is left may take to be written at the end.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// Has `handler` answer the client behind these until it closes `reader`, takes no more, or `stop` is cancelled.
pub async fn talk<H, R, W>(handler: H, reader: R, writer: W, stop: CancellationToken)
where
    H: ServerHandler,
    R: AsyncRead + Send + Unpin + 'static,
    W: AsyncWrite + Send + Unpin + 'static,
{
    let (outbox, waiting) = mpsc::channel(OUTBOX);
    let gone = stop.child_token();
    let mut writing = AbortOnDropHandle::new(tokio::spawn({
        let gone = gone.clone();
        async move {
            if let Err(error) = write(waiting, writer).await {
                tracing::debug!(%error, "the client takes no more");
                gone.cancel();
            }
        }
    }));
    answer(handler, Wire::new(Lines::new(reader), outbox), gone).await;
    // The talk is over, and with it the outbox: what is in it is written. A panic was told where it happened.
    let _ended = timeout(LAST_WORDS, &mut writing).await;
}

async fn write(mut waiting: mpsc::Receiver<Bytes>, mut writer: impl AsyncWrite + Unpin) -> io::Result<()> {
    let (mut messages, mut text) = (Vec::new(), Vec::new());
    while waiting.recv_many(&mut messages, OUTBOX).await > 0 {
        for message in messages.drain(..) {
            text.extend_from_slice(&message);
            text.push(b'\n');
        }
        writer.write_all(&text).await?;
        writer.flush().await?;
        text.clear();
        // One long answer is no reason to keep its room.
        text.shrink_to(64 * 1024);
    }
    Ok(())
}

/// Messages, one a line.
struct Lines<R> {
    reader: BufReader<R>,
    line: Vec<u8>,
    /// The line is too long: the rest of it is passed over.
    too_long: bool,
}

impl<R: AsyncRead + Send + Unpin + 'static> Lines<R> {
    fn new(reader: R) -> Self {
        Self { reader: BufReader::with_capacity(16 * 1024, reader), line: Vec::new(), too_long: false }
    }

    /// Reads up to the end of the line, or of what there is. Nothing is lost when this is dropped: between taking bytes
    /// and keeping them nothing is awaited.
    async fn line(&mut self) -> io::Result<Option<Read>> {
        loop {
            let available = self.reader.fill_buf().await?;
            let end = available.iter().position(|byte| *byte == b'\n');
            let is_over = available.is_empty();
            let taken = end.map_or(available.len(), |end| end + 1);
            if !self.too_long {
                self.too_long = self.line.len() + taken > LONGEST_LINE;
                self.line.extend_from_slice(&available[..if self.too_long { 0 } else { taken }]);
            }
            self.reader.consume(taken);
            if end.is_none() && !is_over {
                continue;
            }
            if is_over && self.line.is_empty() && !self.too_long {
                return Ok(None);
            }
            let line = std::mem::take(&mut self.line);
            if std::mem::take(&mut self.too_long) {
                let message = format!("the message is longer than {LONGEST_LINE} bytes");
                return Ok(Some(Read::Refused(error_text(
                    Value::Null,
                    ErrorCode::INVALID_REQUEST,
                    &message,
                ))));
            }
            match line.trim_ascii() {
                [] => {}
                text => return Ok(Some(read(text))),
            }
        }
    }
}

impl<R: AsyncRead + Send + Unpin + 'static> Source for Lines<R> {
    fn next(&mut self) -> BoxFuture<'_, Option<Read>> {
        Box::pin(async {
            self.line().await.unwrap_or_else(|error| {
                tracing::warn!(%error, "the client cannot be read any more");
                None
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn lines(text: &'static [u8]) -> Vec<String> {
        let mut lines = Lines::new(text);
        let mut found = Vec::new();
        while let Some(line) = lines.next().await {
            found.push(match line {
                Read::Message(_) => "message".to_owned(),
                Read::Refused(answer) => String::from_utf8_lossy(&answer).into_owned(),
                Read::Nothing => "nothing".to_owned(),
            });
        }
        found
    }

    #[tokio::test]
    async fn lines_end_in_either_way_and_the_last_one_needs_no_end() {
        let text = b"\n{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\"}\r\n\r\n {\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\"}";

        assert_eq!(lines(text).await, ["message", "message"]);
    }

    #[tokio::test]
    async fn t32_a_line_without_end_is_refused_and_the_next_one_read() {
        let mut text = vec![b'x'; LONGEST_LINE + 7];
        text.extend_from_slice(b"\n{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\"}\n");

        let found = lines(text.leak()).await;

        assert_eq!(found.len(), 2, "{found:?}");
        assert!(found[0].contains("longer than"), "{found:?}");
        assert_eq!(found[1], "message");
    }
}
