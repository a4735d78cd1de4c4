//! One request's way through the gateway: what it may ask for, and what it holds.

use std::{sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper::{
    Method, Request, Response,
    body::{Body as _, Incoming},
};
use reqwest::Url;
use tokio::{sync::OwnedSemaphorePermit, time::timeout};

use super::{
    Shared,
    answer::{AnswerBody, full, refuse},
    bill::Bill,
    report::UpstreamError,
    request::{self, Refusal},
    route::Route,
    session::SessionState,
    turn::{self, Answered, Question},
};

/// Longest wait for the body of a request.
const BODY_TIME: Duration = Duration::from_secs(60);

/// Answers one request of the agent.
pub(super) async fn answer(
    shared: &Arc<Shared>,
    session: &Arc<SessionState>,
    request: Request<Incoming>,
) -> Response<AnswerBody> {
    let answer = match Route::of(request.method(), request.uri()) {
        Route::Probe => return Response::new(full("")),
        Route::Refused => {
            tracing::debug!(method = %request.method(), "the agent asked the model gateway for a route it does not pass on");
            let message = "the model gateway does not pass this on";
            return refuse(&UpstreamError::gateway(404, "not_found_error", message.to_owned()));
        }
        route @ (Route::Message | Route::Lookup) => {
            session.count_request();
            forward(shared, session, request, route).await.unwrap_or_else(|error| refuse(&error))
        }
    };
    let class = match answer.status().as_u16() / 100 {
        2 => "2xx",
        4 => "4xx",
        _ => "5xx",
    };
    metrics::counter!("claw_gateway_requests_total", "status_class" => class).increment(1);
    answer
}

async fn forward(
    shared: &Arc<Shared>,
    session: &Arc<SessionState>,
    request: Request<Incoming>,
    route: Route,
) -> Answered {
    let question = match question(shared, session, request, route).await {
        Ok(question) => question,
        Err(error) => {
            if route == Route::Message {
                session.set_last_error(Some(error.clone()));
            }
            return Err(error);
        }
    };
    turn::ask(shared, session, question).await
}

/// Takes a request in and looks at what it asks for.
async fn question(
    shared: &Shared,
    session: &SessionState,
    request: Request<Incoming>,
    route: Route,
) -> Result<Question, UpstreamError> {
    let max_bytes = shared.config.max_request_bytes;
    if request.body().size_hint().lower() > max_bytes as u64 {
        return Err(too_large(max_bytes));
    }
    let (parts, body) = request.into_parts();
    let url = upstream_url(&shared.config.upstream, &parts.uri);
    let mut question = Question {
        method: parts.method,
        url,
        headers: parts.headers,
        body: Bytes::new(),
        room: None,
        bill: None,
    };
    // What is asked for with GET has no body.
    if question.method == Method::POST {
        let collected = timeout(BODY_TIME, collect(session, body, max_bytes)).await;
        (question.body, question.room) = collected.map_err(|_| broke_off())??;
        request::check(&question.body).map_err(refusal)?;
    }
    if route == Route::Message {
        let facts = request::facts(&question.body).map_err(refusal)?;
        question.bill = Some(Bill::new(facts, question.body.len(), &shared.prices));
    }
    Ok(question)
}

/// Joins the upstream's address with path and query of the request. Scheme, host and user of the request are ignored.
fn upstream_url(upstream: &Url, uri: &hyper::Uri) -> Url {
    let mut url = upstream.clone();
    url.set_path(&format!("{}{}", upstream.path().trim_end_matches('/'), uri.path()));
    url.set_query(uri.query());
    url
}

/// Takes in a request's body, with the room that it holds.
async fn collect(
    session: &SessionState,
    body: Incoming,
    max_bytes: usize,
) -> Result<(Bytes, Option<OwnedSemaphorePermit>), UpstreamError> {
    let mut body = Limited::new(body, max_bytes);
    let mut bytes = BytesMut::new();
    let mut room: Option<OwnedSemaphorePermit> = None;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| match error.is::<LengthLimitError>() {
            true => too_large(max_bytes),
            false => broke_off(),
        })?;
        let Ok(data) = frame.into_data() else { continue };
        let more = session.body_room(data.len()).ok_or_else(|| {
            let message = "too many large requests to the model at once: try again";
            UpstreamError::gateway(503, "api_error", message.to_owned())
        })?;
        match &mut room {
            Some(room) => room.merge(more),
            None => room = Some(more),
        }
        bytes.extend_from_slice(&data);
    }
    Ok((bytes.freeze(), room))
}

fn broke_off() -> UpstreamError {
    let message = "a request to the model did not arrive as a whole: try again";
    UpstreamError::gateway(408, "api_error", message.to_owned())
}

fn refusal(refusal: Refusal) -> UpstreamError {
    let message = match refusal {
        Refusal::Malformed => "a request to the model is not JSON, or says something twice".to_owned(),
        Refusal::Reaches(what) => {
            format!(
                "the model gateway does not pass on requests that ask for {what}: do without, or do it inside"
            )
        }
    };
    UpstreamError::gateway(400, "invalid_request_error", message)
}

fn too_large(max_bytes: usize) -> UpstreamError {
    let message = format!(
        "a request to the model had more than {} MB: shorten the prompt or split the task",
        max_bytes >> 20
    );
    UpstreamError::gateway(413, "request_too_large", message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn path_and_query_are_joined_to_the_upstream_and_nothing_else_is() {
        let check = |upstream: &str, uri: &str, expected: &str| {
            let url = upstream_url(&upstream.parse().expect("a URL"), &uri.parse().expect("a URI"));
            assert_eq!(url.as_str(), expected);
        };

        check("https://api.example", "/v1/messages?beta=true", "https://api.example/v1/messages?beta=true");
        check("https://proxy.example/a/", "/v1/messages", "https://proxy.example/a/v1/messages");
        check(
            "https://api.example",
            "http://evil@other.example:1/v1/models",
            "https://api.example/v1/models",
        );
    }
}
