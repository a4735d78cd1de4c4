//! Requests whose answers are read with our own types and bounds.
//!
//! The client library's types name every member of an answer and every word a member may hold, so one new word of a
//! newer Engine, or one of Podman's own, makes a whole list unreadable. Ours read what is used and skip the rest.

use std::{fmt::Write as _, time::Duration};

use bollard::{BollardRequest, body_full, errors::Error as ClientError};
use bytes::{Bytes, BytesMut};
use http::{Method, StatusCode, header::CONTENT_TYPE};
use http_body_util::BodyExt;
use hyper::{Response, body::Incoming};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::{Serialize, de::DeserializeOwned};

use crate::{Docker, DockerError, connection::LIMIT, transport};

/// Longest text of an error that is read, in bytes; less is shown.
const MAX_ERROR_BYTES: usize = 64 << 10;

/// A request: method, path and query. Names in the path were checked before they came here.
pub(crate) struct Ask {
    method: Method,
    target: String,
    body: Bytes,
}

impl Ask {
    pub(crate) fn get(path: impl Into<String>) -> Self {
        Self::new(Method::GET, path)
    }

    pub(crate) fn post(path: impl Into<String>) -> Self {
        Self::new(Method::POST, path)
    }

    pub(crate) fn delete(path: impl Into<String>) -> Self {
        Self::new(Method::DELETE, path)
    }

    fn new(method: Method, path: impl Into<String>) -> Self {
        Self { method, target: path.into(), body: Bytes::new() }
    }

    /// Adds a pair to the query.
    pub(crate) fn with(mut self, name: &str, value: impl AsRef<str>) -> Self {
        self.target.push(if self.target.contains('?') { '&' } else { '?' });
        let value = utf8_percent_encode(value.as_ref(), NON_ALPHANUMERIC);
        // Writing to a string cannot fail.
        let _ = write!(self.target, "{name}={value}");
        self
    }

    /// Sends this as JSON.
    pub(crate) fn json(mut self, body: &impl Serialize) -> Self {
        // What is sent so has texts, flags and lists alone, which can always be written.
        self.body = serde_json::to_vec(body).unwrap_or_default().into();
        self
    }

    /// Adds a pair when there is a value.
    pub(crate) fn with_some(self, name: &str, value: Option<impl AsRef<str>>) -> Self {
        match value {
            Some(value) => self.with(name, value),
            None => self,
        }
    }
}

/// Returns a filter for lists, as the Engine reads it: `{"label":["key=value"]}`.
pub(crate) fn filters(name: &str, values: &[String]) -> String {
    serde_json::json!({ name: values }).to_string()
}

fn parsed<T: DeserializeOwned>(body: &[u8]) -> Result<T, DockerError> {
    serde_json::from_slice(body).map_err(|error| DockerError::unreadable(&error))
}

impl Docker {
    /// Asks for JSON.
    pub(crate) async fn ask<T: DeserializeOwned>(&self, ask: Ask) -> Result<T, DockerError> {
        self.bounded(LIMIT, async {
            let answer = self.send(ask, Some(transport::MAX_ANSWER_BYTES)).await?;
            let body = self.whole(answer.into_body(), usize::MAX).await?;
            parsed(&body)
        })
        .await
    }

    /// As [`Docker::ask`]; an empty answer is the type's default.
    pub(crate) async fn ask_if_any<T: DeserializeOwned + Default>(&self, ask: Ask) -> Result<T, DockerError> {
        self.bounded(LIMIT, async {
            let answer = self.send(ask, Some(transport::MAX_ANSWER_BYTES)).await?;
            let body = self.whole(answer.into_body(), usize::MAX).await?;
            if body.is_empty() { Ok(T::default()) } else { parsed(&body) }
        })
        .await
    }

    /// Asks for something to be done, and waits until it is.
    pub(crate) async fn tell(&self, ask: Ask, limit: Duration) -> Result<(), DockerError> {
        self.bounded(limit, async {
            let answer = self.send(ask, Some(transport::MAX_ANSWER_BYTES)).await?;
            self.whole(answer.into_body(), usize::MAX).await.map(drop)
        })
        .await
    }

    /// Asks for a stream, and returns once it has begun.
    pub(crate) async fn open(&self, ask: Ask) -> Result<Response<Incoming>, DockerError> {
        self.bounded(LIMIT, self.send(ask, None)).await
    }

    pub(crate) async fn bounded<T>(
        &self,
        limit: Duration,
        work: impl Future<Output = Result<T, DockerError>> + Send,
    ) -> Result<T, DockerError> {
        match tokio::time::timeout(limit, work).await {
            Ok(done) => done,
            Err(_) => Err(DockerError::timed_out(self.endpoint(), limit)),
        }
    }

    /// Sends a request and returns the answer to it if the Engine did what was asked.
    pub(crate) async fn send(&self, ask: Ask, most: Option<u64>) -> Result<Response<Incoming>, DockerError> {
        let path = ask.target.split('?').next().unwrap_or_default().to_owned();
        let built = BollardRequest::new(body_full(ask.body));
        let (mut parts, body) = built.into_parts();
        parts.method = ask.method;
        parts.uri = ask.target.parse().map_err(|_| DockerError::BadName {
            kind: "thing",
            name: ask.target.chars().take(64).collect(),
        })?;
        parts.headers.insert(CONTENT_TYPE, http::HeaderValue::from_static("application/json"));
        let sent = transport::send(self.way(), BollardRequest::from_parts(parts, body), most).await;
        let answer = sent.map_err(|error| self.error(error))?;
        let status = answer.status();
        if status.is_success() || status == StatusCode::NOT_MODIFIED {
            return Ok(answer);
        }
        let body = self.whole(answer.into_body(), MAX_ERROR_BYTES).await.unwrap_or_default();
        Err(DockerError::from_answer(status.as_u16(), &body, &path))
    }

    /// Reads a body, at most `most` bytes of it.
    async fn whole(&self, mut body: Incoming, most: usize) -> Result<Bytes, DockerError> {
        let mut read = BytesMut::new();
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| self.error(ClientError::from(error)))?;
            if let Ok(data) = frame.into_data() {
                read.extend_from_slice(&data);
            }
            if read.len() >= most {
                read.truncate(most);
                break;
            }
        }
        Ok(read.freeze())
    }
}
