//! An answer that comes in pieces, and one that is made of lines of JSON.

use std::time::Duration;

use bollard::errors::Error as ClientError;
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use serde::de::DeserializeOwned;

use crate::{Docker, DockerError};

/// Longest line, in bytes. An event with all labels of its container takes some kilobytes.
const MAX_LINE_BYTES: usize = 1 << 20;

/// The pieces of an answer as they come.
pub(crate) struct Pieces {
    docker: Docker,
    body: Incoming,
    /// Longest silence before the Engine counts as hanging.
    patience: Option<Duration>,
}

impl Pieces {
    pub(crate) fn new(docker: Docker, body: Incoming, patience: Option<Duration>) -> Self {
        Self { docker, body, patience }
    }

    /// Returns the next piece, or `None` at the end. Cancel safe.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, DockerError> {
        loop {
            let frame = self.body.frame();
            let frame = match self.patience {
                Some(patience) => tokio::time::timeout(patience, frame)
                    .await
                    .map_err(|_| DockerError::timed_out(self.docker.endpoint(), patience))?,
                None => frame.await,
            };
            let Some(frame) = frame else { return Ok(None) };
            let frame = frame.map_err(|error| self.docker.error(ClientError::from(error)))?;
            match frame.into_data() {
                Ok(data) if !data.is_empty() => return Ok(Some(data)),
                _ => {}
            }
        }
    }
}

/// The lines of an answer, each of them a JSON value.
pub(crate) struct Lines {
    pieces: Pieces,
    buffer: BytesMut,
    /// How far the buffer was searched for the end of a line.
    searched: usize,
    ended: bool,
}

impl Lines {
    pub(crate) fn new(pieces: Pieces) -> Self {
        Self { pieces, buffer: BytesMut::new(), searched: 0, ended: false }
    }

    /// Returns the next value, or `None` at the end. Cancel safe.
    pub(crate) async fn next<T: DeserializeOwned>(&mut self) -> Result<Option<T>, DockerError> {
        while let Some(line) = self.line().await? {
            if !line.trim_ascii().is_empty() {
                return serde_json::from_slice(&line)
                    .map(Some)
                    .map_err(|error| DockerError::unreadable(&error));
            }
        }
        Ok(None)
    }

    async fn line(&mut self) -> Result<Option<BytesMut>, DockerError> {
        loop {
            if let Some(at) = self.buffer[self.searched..].iter().position(|byte| *byte == b'\n') {
                let line = self.buffer.split_to(self.searched + at + 1);
                self.searched = 0;
                return Ok(Some(line));
            }
            self.searched = self.buffer.len();
            if self.searched > MAX_LINE_BYTES {
                let message = format!("a line of it is longer than {} MiB", MAX_LINE_BYTES >> 20);
                return Err(DockerError::Unreadable { message });
            }
            if self.ended {
                self.searched = 0;
                return Ok((!self.buffer.is_empty()).then(|| self.buffer.split()));
            }
            match self.pieces.next().await? {
                Some(piece) => self.buffer.extend_from_slice(&piece),
                None => self.ended = true,
            }
        }
    }
}
