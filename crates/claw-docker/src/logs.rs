//! What containers wrote to their outputs.

use std::{borrow::Cow, time::Duration};

use bytes::{Buf, Bytes, BytesMut};
use claw_core::Timestamp;
use futures_util::{StreamExt, stream, stream::BoxStream};

use crate::{Docker, DockerError, lines::Pieces, name, request::Ask};

/// Longest silence while a log that is not followed is read.
const PATIENCE: Duration = Duration::from_secs(30);

/// Length of the head of a frame: kind of output, three zeros, length of the content.
const HEAD_BYTES: usize = 8;

/// Which part of a log is wanted. The default is all of it, and no more than there is now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogsQuery {
    /// So many lines from its end.
    pub tail: Option<u32>,
    /// Not what was written before.
    pub since: Option<Timestamp>,
    /// Not what was written after.
    pub until: Option<Timestamp>,
    /// Begin each line with its moment (RFC 3339 in UTC, then a space).
    pub timestamps: bool,
    /// Go on until the container ends.
    pub follow: bool,
}

/// An output of a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogSource {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
    /// Both, for containers with a terminal.
    Terminal,
}

/// A piece of a log as it came: some lines, a line, or a part of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogChunk {
    /// Where it was written.
    pub source: LogSource,
    /// What was written. No character of UTF-8 is split between two pieces of one source.
    pub bytes: Bytes,
}

impl LogChunk {
    /// Returns it as text; what is no UTF-8 becomes U+FFFD.
    pub fn text(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.bytes)
    }
}

/// A log as text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogText {
    /// Both outputs in the order in which they came; what is no UTF-8 is U+FFFD.
    pub text: String,
    /// Whether there was more before it than was asked for at most.
    pub cut: bool,
}

impl Docker {
    /// Returns what a container wrote. Ends after the first error.
    ///
    /// The first item is [`DockerError::NotFound`] when there is no such container, and [`DockerError::Refused`] when
    /// the Engine keeps no log of it.
    pub fn logs(
        &self,
        container: &str,
        query: LogsQuery,
    ) -> BoxStream<'static, Result<LogChunk, DockerError>> {
        let (docker, container) = (self.clone(), container.to_owned());
        stream::once(async move { docker.log_pieces(&container, &query).await })
            .flat_map(|opened| match opened {
                Ok(log) => chunk_stream(log).boxed(),
                Err(error) => stream::once(async move { Err(error) }).boxed(),
            })
            .boxed()
    }

    /// Returns the end of what a container wrote, at most about `most` bytes of it. Never follows.
    ///
    /// # Errors
    ///
    /// As [`Docker::logs`].
    pub async fn log_text(
        &self,
        container: &str,
        query: LogsQuery,
        most: usize,
    ) -> Result<LogText, DockerError> {
        let mut log = self.logs(container, LogsQuery { follow: false, ..query });
        let mut read = LogText::default();
        while let Some(chunk) = log.next().await {
            read.text.push_str(&chunk?.text());
            if read.text.len() > most.saturating_mul(2) {
                read.keep_last(most);
            }
        }
        read.keep_last(most);
        Ok(read)
    }

    async fn log_pieces(&self, container: &str, query: &LogsQuery) -> Result<Log, DockerError> {
        // Only newer Engines tell with the log whether it comes in frames.
        let found = self.look(container).await?;
        let container = name::check_name("container", &found.id)?;
        let flag = |wanted: bool| if wanted { "1" } else { "0" };
        let ask = Ask::get(format!("/containers/{container}/logs"))
            .with("stdout", "1")
            .with("stderr", "1")
            .with("follow", flag(query.follow))
            .with("timestamps", flag(query.timestamps))
            .with("tail", query.tail.map_or_else(|| "all".to_owned(), |lines| lines.to_string()))
            .with_some("since", query.since.map(engine_time))
            .with_some("until", query.until.map(engine_time));
        let answer = self.open(ask).await?;
        let patience = (!query.follow).then_some(PATIENCE);
        let pieces = Pieces::new(self.clone(), answer.into_body(), patience);
        Ok(Log { pieces, decoder: Decoder::new(found.config.tty) })
    }
}

impl LogText {
    fn keep_last(&mut self, most: usize) {
        if self.text.len() > most {
            let mut from = self.text.len() - most;
            while !self.text.is_char_boundary(from) {
                from += 1;
            }
            self.text.drain(..from);
            self.cut = true;
        }
    }
}

struct Log {
    pieces: Pieces,
    decoder: Decoder,
}

fn chunk_stream(log: Log) -> impl futures_util::Stream<Item = Result<LogChunk, DockerError>> + Send {
    stream::unfold(Some(log), |log| async {
        let mut log = log?;
        loop {
            match log.decoder.next() {
                Ok(Some(chunk)) => return Some((Ok(chunk), Some(log))),
                Ok(None) => {}
                Err(error) => return Some((Err(error), None)),
            }
            match log.pieces.next().await {
                Ok(Some(piece)) => log.decoder.push(&piece),
                Ok(None) => return log.decoder.rest().map(|chunk| (Ok(chunk), Some(log))),
                Err(error) => return Some((Err(error), None)),
            }
        }
    })
}

/// `1700000000.000000001`, which the Engine takes for moments.
fn engine_time(moment: Timestamp) -> String {
    format!("{}.{:09}", moment.as_second(), moment.subsec_nanosecond().max(0))
}

/// Takes frames apart as they come: what is in memory is what was read at once, however long a frame says it is.
pub(crate) struct Decoder {
    buffer: BytesMut,
    terminal: bool,
    /// The source of the frame that is being read, and how much of it is still to come.
    frame: Option<(LogSource, usize)>,
    /// The beginnings of characters whose ends have not come yet, of standard output (or the terminal) and error.
    split: [Bytes; 2],
}

impl Decoder {
    pub(crate) fn new(terminal: bool) -> Self {
        Self { buffer: BytesMut::new(), terminal, frame: None, split: [Bytes::new(), Bytes::new()] }
    }

    /// Takes in what came.
    pub(crate) fn push(&mut self, piece: &[u8]) {
        self.buffer.extend_from_slice(piece);
    }

    /// Returns the next piece of what came; `None` when more has to come first.
    pub(crate) fn next(&mut self) -> Result<Option<LogChunk>, DockerError> {
        loop {
            let (source, left) = match self.frame {
                _ if self.terminal => (LogSource::Terminal, usize::MAX),
                Some(frame) => frame,
                None if self.buffer.len() < HEAD_BYTES => return Ok(None),
                None => self.head()?,
            };
            let here = left.min(self.buffer.len());
            let content = self.buffer.split_to(here).freeze();
            self.frame = (left > here).then_some((source, left - here));
            let whole = self.joined(source, content);
            if !whole.is_empty() {
                return Ok(Some(LogChunk { source, bytes: whole }));
            }
            if self.buffer.is_empty() {
                return Ok(None);
            }
        }
    }

    fn head(&mut self) -> Result<(LogSource, usize), DockerError> {
        let head = self.buffer.split_to(HEAD_BYTES);
        let source = match head[..4] {
            [0 | 1, 0, 0, 0] => LogSource::Stdout,
            // The third is the Engine's own, for what went wrong with the log.
            [2 | 3, 0, 0, 0] => LogSource::Stderr,
            _ => {
                return Err(DockerError::Unreadable {
                    message: "its log is in no form that is known".to_owned(),
                });
            }
        };
        Ok((source, (&head[4..]).get_u32() as usize))
    }

    /// Puts the beginning of a character before its end, and holds one back that has no end yet.
    fn joined(&mut self, source: LogSource, content: Bytes) -> Bytes {
        let split = &mut self.split[usize::from(source == LogSource::Stderr)];
        let mut whole = if split.is_empty() {
            content
        } else if content.is_empty() {
            return content;
        } else {
            [std::mem::take(split), content].concat().into()
        };
        *split = whole.split_off(whole.len() - unfinished(&whole));
        whole
    }

    /// What is left when the log ends within a character.
    pub(crate) fn rest(&mut self) -> Option<LogChunk> {
        let sources =
            [if self.terminal { LogSource::Terminal } else { LogSource::Stdout }, LogSource::Stderr];
        sources.into_iter().zip(&mut self.split).find_map(|(source, split)| {
            let bytes = std::mem::take(split);
            (!bytes.is_empty()).then_some(LogChunk { source, bytes })
        })
    }
}

/// Returns how many bytes at the end may be the beginning of a character, at most three.
fn unfinished(bytes: &[u8]) -> usize {
    for back in 1..=bytes.len().min(3) {
        let needed = match bytes[bytes.len() - back] {
            0xc2..=0xdf => 2,
            0xe0..=0xef => 3,
            0xf0..=0xf4 => 4,
            // Somewhere inside a character: its first byte is further ahead.
            0x80..=0xbf => continue,
            _ => return 0,
        };
        return if back < needed { back } else { 0 };
    }
    0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, content: &[u8]) -> Vec<u8> {
        let length = u32::try_from(content.len()).expect("a short frame").to_be_bytes();
        [&[kind, 0, 0, 0], &length[..], content].concat()
    }

    /// Decodes what comes in pieces of `size` bytes, and joins what came of each source.
    fn decoded(bytes: &[u8], size: usize, terminal: bool) -> (Vec<u8>, Vec<u8>) {
        let mut decoder = Decoder::new(terminal);
        let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
        let mut keep = |chunk: LogChunk| match chunk.source {
            LogSource::Stderr => stderr.extend_from_slice(&chunk.bytes),
            _ => stdout.extend_from_slice(&chunk.bytes),
        };
        for piece in bytes.chunks(size) {
            decoder.buffer.extend_from_slice(piece);
            while let Some(chunk) = decoder.next().expect("a log") {
                keep(chunk);
            }
        }
        while let Some(chunk) = decoder.rest() {
            keep(chunk);
        }
        (stdout, stderr)
    }

    #[test]
    fn frames_are_taken_apart_wherever_the_pieces_end() {
        let log = [frame(1, b"one\n"), frame(2, b"bad\n"), frame(1, b""), frame(1, b"two\n")].concat();

        for size in 1..=log.len() {
            assert_eq!(decoded(&log, size, false), (b"one\ntwo\n".to_vec(), b"bad\n".to_vec()), "{size}");
        }
        assert_eq!(decoded(&log, 7, true).0, log, "a terminal's log has no frames");
    }

    #[test]
    fn no_character_is_split_between_pieces_and_other_bytes_pass() {
        let text = "héllo — 🦀\n".as_bytes();
        let log =
            [frame(1, &text[..text.len() - 3]), frame(2, b"\xff\xe2\x82"), frame(1, &text[text.len() - 3..])];

        for size in 1..=20 {
            let mut decoder = Decoder::new(false);
            let mut shown = String::new();
            for piece in log.concat().chunks(size) {
                decoder.buffer.extend_from_slice(piece);
                while let Some(chunk) = decoder.next().expect("a log") {
                    if chunk.source == LogSource::Stdout {
                        shown.push_str(&chunk.text());
                    }
                }
            }
            assert_eq!(shown.as_bytes(), text, "{size}");
            assert_eq!(decoded(&log.concat(), size, false).1, b"\xff\xe2\x82", "{size}");
        }
    }

    #[test]
    fn t32_a_frame_that_says_it_is_huge_takes_no_memory() {
        let mut decoder = Decoder::new(false);
        decoder.buffer.extend_from_slice(&[1, 0, 0, 0, 0xff, 0xff, 0xff, 0xff]);
        for _ in 0..1000 {
            decoder.buffer.extend_from_slice(&[b'x'; 1000]);
            let chunk = decoder.next().expect("a log").expect("what has come");
            assert_eq!(chunk.bytes.len(), 1000);
            assert!(decoder.buffer.is_empty());
        }
    }

    #[test]
    fn what_is_no_log_is_an_error() {
        let mut decoder = Decoder::new(false);
        decoder.buffer.extend_from_slice(b"HTTP/1.1 200 OK");

        assert!(matches!(decoder.next(), Err(DockerError::Unreadable { .. })));
    }
}
