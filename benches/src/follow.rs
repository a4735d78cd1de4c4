//! A client that watches a job's log.

use std::io;

use tokio::{io::AsyncReadExt as _, net::TcpStream};

use crate::{Outcome, client::Client};

/// A stream of events.
#[derive(Debug)]
pub(crate) struct Follower {
    stream: TcpStream,
    received: Vec<u8>,
    /// Bytes of the current chunk that are still to come, and whether its end is being read.
    chunk: usize,
    text: Vec<u8>,
    is_over: bool,
}

/// What comes over the stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    /// The data of an event.
    Data(Vec<u8>),
    /// The job has ended.
    End,
}

impl Follower {
    /// Follows the log of a job from its beginning.
    pub(crate) async fn log_of(client: Client<TcpStream>, job: &str) -> Outcome<Self> {
        let request = client.request("GET", &format!("/api/v1/jobs/{job}/logs/stream"), None);
        let (status, stream, received) = client.open(&request).await?;
        if status != 200 {
            return Err(format!("the log is not streamed: status {status}").into());
        }
        Ok(Self { stream, received, chunk: 0, text: Vec::new(), is_over: false })
    }

    /// Waits for more, and calls `see` with each event that came.
    pub(crate) async fn next(&mut self, mut see: impl FnMut(Seen)) -> io::Result<()> {
        if self.is_over {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if self.received.is_empty() {
            self.more().await?;
        }
        self.unchunk().await?;
        let mut done = 0;
        while let Some(length) = self.text[done..].windows(2).position(|two| two == b"\n\n") {
            let event = &self.text[done..done + length];
            done += length + 2;
            if event.starts_with(b"event: end") {
                see(Seen::End);
            } else if let Some(at) = event.windows(6).position(|six| six == b"data: ") {
                see(Seen::Data(event[at + 6..].to_vec()));
            }
        }
        self.text.drain(..done);
        Ok(())
    }

    /// Moves what has come of the chunks to the text.
    async fn unchunk(&mut self) -> io::Result<()> {
        while !self.received.is_empty() {
            if self.chunk > 2 {
                // The last two bytes of a chunk are its line end.
                let part = self.received.len().min(self.chunk - 2);
                self.text.extend(self.received.drain(..part));
                self.chunk -= part;
            } else if self.chunk > 0 {
                let part = self.received.len().min(self.chunk);
                self.received.drain(..part);
                self.chunk -= part;
            } else {
                let Some(end) = self.received.windows(2).position(|two| two == b"\r\n") else {
                    self.more().await?;
                    continue;
                };
                let line: Vec<u8> = self.received.drain(..end + 2).collect();
                let size = std::str::from_utf8(&line).ok();
                let size = size.and_then(|line| usize::from_str_radix(line.trim(), 16).ok());
                match size {
                    Some(0) => {
                        self.is_over = true;
                        self.received.clear();
                    }
                    None => return Err(io::Error::other("a chunk of the stream has no size")),
                    Some(size) => self.chunk = size + 2,
                }
            }
        }
        Ok(())
    }

    async fn more(&mut self) -> io::Result<()> {
        match self.stream.read_buf(&mut self.received).await? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }
}
