//! Event streams that survive broken connections.

use std::{collections::VecDeque, time::Duration};

use claw_core::{Coded, ErrorCode};
use reqwest::{Response, StatusCode};

use crate::{Client, ClientError, ServerUrl, SseEvent, SseParser, client::next_chunk};

/// Largest single event: a log line may hold a tool's whole output.
const MAX_EVENT_BYTES: usize = 64 << 20;
/// Reconnects in a row without one event in between: with the pauses below about a minute and a half.
const MAX_RECONNECTS: u32 = 14;
/// First pause before a reconnect, unless the server asks for another.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
/// Longest pause before a reconnect.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// A stream of server-sent events that reconnects by itself and goes on after the last event it delivered.
#[derive(Debug)]
pub struct EventStream {
    client: Client,
    path: Vec<String>,
    missing: ErrorCode,
    last_event_id: Option<String>,
    connection: Option<Connection>,
    ready: VecDeque<SseEvent>,
    failures: u32,
    retry: Option<Duration>,
}

#[derive(Debug)]
struct Connection {
    response: Response,
    parser: SseParser,
}

impl EventStream {
    /// Connects. A first connection that fails is an error at once: the server may never have been there.
    pub(crate) async fn open(
        client: &Client,
        path: Vec<String>,
        missing: ErrorCode,
        last_event_id: Option<String>,
    ) -> Result<Self, ClientError> {
        let mut stream = Self {
            client: client.clone(),
            path,
            missing,
            last_event_id,
            connection: None,
            ready: VecDeque::new(),
            failures: 0,
            retry: None,
        };
        stream.connect().await?;
        Ok(stream)
    }

    /// Returns the next event, or `None` when the server said that there will be no more.
    ///
    /// Cancel safe: dropping the future loses no event.
    ///
    /// # Errors
    ///
    /// Fails when the server refuses the stream, or stays away over all reconnects.
    pub async fn next(&mut self) -> Result<Option<SseEvent>, ClientError> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                self.failures = 0;
                self.last_event_id.clone_from(&event.id);
                return Ok(Some(event));
            }
            let Some(connection) = &mut self.connection else {
                if !self.reconnect().await? {
                    return Ok(None);
                }
                continue;
            };
            match next_chunk(&mut connection.response, self.client.server()).await {
                Ok(Some(bytes)) => {
                    let ready = &mut self.ready;
                    connection
                        .parser
                        .push(&bytes, |event| ready.push_back(event))
                        .map_err(|error| ClientError::new(ErrorCode::UnexpectedAnswer, error.to_string()))?;
                    self.retry = connection.parser.retry().or(self.retry);
                }
                // A server that stops ends its streams properly; what was cut off comes again after a reconnect.
                Ok(None) | Err(_) => self.connection = None,
            }
        }
    }

    /// Connects again after a pause; `false` when the server wants no more connections.
    async fn reconnect(&mut self) -> Result<bool, ClientError> {
        loop {
            tokio::time::sleep(self.pause()).await;
            self.failures += 1;
            match self.connect().await {
                Ok(status) => return Ok(status != StatusCode::NO_CONTENT),
                Err(error) if error.is_transient() && self.failures < MAX_RECONNECTS => {
                    self.retry = error.retry_after().or(self.retry);
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn pause(&self) -> Duration {
        let first = self.retry.unwrap_or(FIRST_PAUSE);
        first.saturating_mul(2u32.saturating_pow(self.failures)).min(LONGEST_PAUSE)
    }

    async fn connect(&mut self) -> Result<StatusCode, ClientError> {
        let path = self.path.iter().map(String::as_str);
        let mut call =
            self.client.get(path).missing(self.missing).streaming().header("accept", "text/event-stream");
        if let Some(id) = self.last_event_id.as_deref().filter(|id| !id.is_empty()) {
            call = call.header("last-event-id", id);
        }
        let response = call.send().await?;
        let status = response.status();
        if status == StatusCode::NO_CONTENT {
            return Ok(status);
        }
        let content_type = response.headers().get(reqwest::header::CONTENT_TYPE);
        if !content_type.is_some_and(|value| value.as_bytes().starts_with(b"text/event-stream")) {
            let message =
                format!("{} answered no event stream; it may be an older version", self.client.server());
            return Err(ClientError::unexpected(status, message));
        }
        let mut parser = SseParser::new(MAX_EVENT_BYTES);
        parser.resume_after(self.last_event_id.clone());
        self.connection = Some(Connection { response, parser });
        Ok(status)
    }
}

/// One open event stream whose events do not matter: that it stays open says that the server is there, and that nothing
/// was changed about the credential.
#[derive(Debug)]
pub struct Attendance {
    response: Response,
    server: ServerUrl,
}

impl Attendance {
    /// Returns when the server ended the stream or is gone. Nothing is opened again.
    pub async fn ended(mut self) {
        while let Ok(Some(_event)) = next_chunk(&mut self.response, &self.server).await {}
    }
}

impl Client {
    /// Opens a stream of the changes of jobs, to learn from its end when something changed.
    ///
    /// # Errors
    ///
    /// See [`ClientError`]; [`ErrorCode::ScopeMissing`] without `jobs:read`, [`ErrorCode::RateLimited`] when as many
    /// streams are open as may be.
    pub async fn attend(&self) -> Result<Attendance, ClientError> {
        let call = self.get(["api", "v1", "events", "jobs"]).missing(ErrorCode::RouteNotFound);
        let response = call.streaming().header("accept", "text/event-stream").send().await?;
        Ok(Attendance { response, server: self.server().clone() })
    }
}

/// Tells whether an error only means that the server has no such stream.
pub(crate) fn is_unsupported(error: &ClientError) -> bool {
    matches!(
        error.code(),
        ErrorCode::RouteNotFound | ErrorCode::UnexpectedAnswer | ErrorCode::MethodNotAllowed
    )
}
