//! One request's exchange with the model API. It goes on when the agent goes away, since the API counts it all the same.

use std::{error::Error as _, sync::Arc, time::Duration};

use bytes::Bytes;
use hyper::{HeaderMap, Method, Response, StatusCode};
use reqwest::Url;
use tokio::{
    sync::{OwnedSemaphorePermit, oneshot},
    time::{Instant, timeout},
};

use super::{
    Shared,
    account::{Place, Refused},
    answer::{AnswerBody, ErrorAnswer, channel},
    bill::Bill,
    credential::Credential,
    headers::{downstream_headers, upstream_headers},
    pause,
    pump::{Pump, Side},
    report::UpstreamError,
    retry_after::pause_of,
    session::SessionState,
};

/// Longest wait for the text of an error answer.
const ERROR_TIME: Duration = Duration::from_secs(10);

/// What is asked of the model API.
#[derive(Debug)]
pub(super) struct Question {
    pub(super) method: Method,
    pub(super) url: Url,
    /// As the agent sent them.
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
    /// Counts the body among those that the run holds.
    pub(super) room: Option<OwnedSemaphorePermit>,
    /// How it is charged; `None` if it costs nothing.
    pub(super) bill: Option<Bill>,
}

pub(super) type Answered = Result<Response<AnswerBody>, UpstreamError>;

/// A question under way.
#[derive(Debug)]
pub(super) struct Turn {
    shared: Arc<Shared>,
    session: Arc<SessionState>,
    question: Question,
    /// Where the answer goes as soon as it begins.
    answer: oneshot::Sender<Answered>,
}

/// What came of asking.
enum Exchange {
    /// The beginning of an answer.
    Answer(reqwest::Response),
    /// The API said no.
    Error(Box<ErrorAnswer>),
    /// There is no answer.
    Failed(UpstreamError),
    /// There is none yet, and the API may count what it was asked all the same.
    Cut(UpstreamError),
    /// Nobody waits for it, and the API was not asked.
    GivenUp,
}

/// Asks the model API and returns the beginning of its answer.
pub(super) async fn ask(shared: &Arc<Shared>, session: &Arc<SessionState>, question: Question) -> Answered {
    let under_way = session.turn().await;
    let (answer, begins) = oneshot::channel();
    let turn = Turn { shared: shared.clone(), session: session.clone(), question, answer };
    session.spawn(async move {
        turn.run().await;
        drop(under_way);
    });
    begins.await.unwrap_or_else(|_| Err(closed()))
}

impl Turn {
    async fn run(mut self) {
        let place = match self.admit().await {
            Ok(place) => place,
            Err(error) => return self.fail(error),
        };
        match self.exchange().await {
            Exchange::Answer(response) => self.pass_on(response, place).await,
            Exchange::Error(error) => {
                self.note(&error.error);
                let headers = downstream_headers(&error.headers);
                // Nobody may wait for it any more.
                let _ = self.answer.send(Ok(error.passed_on(headers)));
            }
            Exchange::Failed(error) => self.fail(error),
            Exchange::Cut(error) => {
                if let Some(bill) = &mut self.question.bill {
                    bill.close_unanswered(&self.shared.prices, &self.session.account).await;
                }
                self.fail(error);
            }
            Exchange::GivenUp => {}
        }
    }

    /// Waits until the run's budget has room for the question.
    async fn admit(&mut self) -> Result<Option<Place>, UpstreamError> {
        let Some(bill) = &self.question.bill else { return Ok(None) };
        let (answer, stop) = (&mut self.answer, self.session.stop());
        let given_up = async {
            tokio::select! {
                () = answer.closed() => {}
                () = stop.cancelled() => {}
            }
        };
        match self.session.account.admit(bill.worst(), given_up).await {
            Ok(place) => Ok(Some(place)),
            Err(Refused::UsedUp(limit)) => {
                let message = format!("{limit} is used up: raise it or split the task");
                self.session.refuse_for_budget(&message);
                Err(UpstreamError::budget(message))
            }
            Err(Refused::Uncounted(error)) => {
                tracing::error!(%error, "a model turn does not begin: its cost could not be counted");
                let message = "the costs of the job cannot be counted now: try again later";
                Err(UpstreamError::gateway(503, "api_error", message.to_owned()))
            }
            Err(Refused::Busy) => {
                let message = "what is left of the budget is held by other requests: try again";
                Err(UpstreamError::gateway(503, "api_error", message.to_owned()))
            }
            Err(Refused::GivenUp) => Err(closed()),
        }
    }

    /// Asks, again after a pause that the API wants, and again with a renewed login.
    async fn exchange(&mut self) -> Exchange {
        let (shared, stop) = (self.shared.clone(), self.session.stop());
        // A renewal of the login goes on without us.
        let current = tokio::select! {
            biased;
            () = stop.cancelled() => return Exchange::GivenUp,
            () = self.answer.closed() => return Exchange::GivenUp,
            current = shared.credentials.current() => current,
        };
        let mut credential = match current {
            Ok(credential) => credential,
            Err(error) => {
                tracing::error!(%error, "there is no credential for the model API");
                return Exchange::Failed(UpstreamError::gateway(
                    401,
                    "authentication_error",
                    error.for_users(),
                ));
            }
        };
        let deadline = Instant::now() + pause::MAX_WAIT;
        let mut renewed = false;
        loop {
            let leave = tokio::select! {
                biased;
                () = stop.cancelled() => return Exchange::GivenUp,
                () = self.answer.closed() => return Exchange::GivenUp,
                leave = shared.pauses.leave(deadline) => leave,
            };
            let leave = match leave {
                Ok(leave) => leave,
                Err(paused) => return Exchange::Failed(rate_limited(&paused)),
            };
            let sent = match self.request(&credential) {
                Ok(request) => tokio::select! {
                    biased;
                    () = stop.cancelled() => return Exchange::Cut(closed()),
                    sent = timeout(shared.config.answer_timeout, request.send()) => sent,
                },
                Err(error) => return Exchange::Failed(error),
            };
            let response = match sent {
                Ok(Ok(response)) => response,
                Ok(Err(error)) => return Exchange::Failed(send_error(&error)),
                Err(_) => return Exchange::Cut(too_late()),
            };
            let status = response.status();
            if status.is_success() {
                leave.answered();
                return Exchange::Answer(response);
            }
            if status.is_redirection() || status.is_informational() {
                leave.answered();
                return Exchange::Failed(redirected(status));
            }
            let Some(mut error) = stop.run_until_cancelled(ErrorAnswer::read(response, ERROR_TIME)).await
            else {
                return Exchange::GivenUp;
            };
            if let Some(pause) = wanted_pause(&error, shared.clock.now()) {
                error.error.retry_after = Some(pause);
                shared.pauses.pause(pause, reason(&error.error));
                drop(leave);
                if Instant::now() + pause < deadline {
                    continue;
                }
            } else {
                leave.answered();
            }
            if status == StatusCode::UNAUTHORIZED
                && !std::mem::replace(&mut renewed, true)
                && let Some(other) =
                    stop.run_until_cancelled(shared.credentials.instead_of(&credential)).await.flatten()
            {
                credential = other;
                continue;
            }
            return Exchange::Error(Box::new(error));
        }
    }

    fn request(&self, credential: &Credential) -> Result<reqwest::RequestBuilder, UpstreamError> {
        let Question { method, url, headers, body, .. } = &self.question;
        let headers = upstream_headers(headers, credential).ok_or_else(|| {
            let message =
                "the credential for the model API holds characters that cannot be sent: set it again";
            UpstreamError::gateway(401, "authentication_error", message.to_owned())
        })?;
        let request = self.shared.client.request(method.clone(), url.clone()).headers(headers);
        // What is asked for with GET has no body.
        Ok(if *method == Method::GET { request } else { request.body(body.clone()) })
    }

    async fn pass_on(self, response: reqwest::Response, place: Option<Place>) {
        let Self { shared, session, mut question, answer } = self;
        // The body has arrived upstream.
        drop(question.room.take());
        let (pieces, body) = channel();
        let mut begins = Response::new(body);
        *begins.status_mut() = response.status();
        *begins.headers_mut() = downstream_headers(response.headers());
        // If nobody waits for it, the pieces will find nobody either.
        let _ = answer.send(Ok(begins));
        let pump = Pump { shared, session, side: Side::new(pieces), place, bill: question.bill };
        pump.run(response).await;
    }

    fn fail(self, error: UpstreamError) {
        self.note(&error);
        // Nobody may wait for it any more.
        let _ = self.answer.send(Err(error));
    }

    /// Remembers why a model request failed.
    fn note(&self, error: &UpstreamError) {
        if self.question.bill.is_some() {
            self.session.set_last_error(Some(error.clone()));
        }
    }
}

/// Returns for how long the API wants to be left alone, if that is why it said no.
fn wanted_pause(error: &ErrorAnswer, now: claw_core::Timestamp) -> Option<Duration> {
    matches!(error.status.as_u16(), 429 | 529).then(|| pause_of(&error.headers, now)).flatten()
}

fn reason(error: &UpstreamError) -> String {
    let status = error.status.unwrap_or_default();
    if error.message.is_empty() { status.to_string() } else { format!("{status}: {}", error.message) }
}

fn rate_limited(paused: &pause::Paused) -> UpstreamError {
    let seconds = paused.remaining.as_secs();
    let message = format!("the model API takes no requests for {seconds} s more ({})", paused.reason);
    let mut error = UpstreamError::gateway(429, "rate_limit_error", message);
    error.retry_after = Some(paused.remaining);
    error
}

fn closed() -> UpstreamError {
    UpstreamError::gateway(503, "api_error", "the model gateway was closed".to_owned())
}

fn too_late() -> UpstreamError {
    let message = "the model API did not answer in time: try again later";
    UpstreamError::gateway(504, "api_error", message.to_owned())
}

fn redirected(status: StatusCode) -> UpstreamError {
    let message =
        format!("the model API answered with {}, which is not followed: check its address", status.as_u16());
    UpstreamError::gateway(502, "api_error", message)
}

/// Names what kept a request from being answered. Addresses and the credential are in none of these sentences.
fn send_error(error: &reqwest::Error) -> UpstreamError {
    let mut cause = error.source();
    while let Some(inner) = cause.and_then(|cause| cause.source()) {
        cause = Some(inner);
    }
    let innermost = cause.map(|cause| format!(" ({cause})")).unwrap_or_default();
    let message = if error.is_connect() {
        format!("could not reach the model API{innermost}: check the server's network, then try again")
    } else {
        format!("the model API ended the connection without an answer{innermost}: try again later")
    };
    UpstreamError::gateway(502, "api_error", message)
}
