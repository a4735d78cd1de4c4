//! One request's way to the model API and back.

use std::{error::Error as _, sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper::{
    Method, Request, Response, StatusCode,
    body::{Body as _, Incoming},
    header::{self, HeaderName, HeaderValue},
};
use reqwest::Url;
use serde_json::json;
use tokio::{sync::OwnedSemaphorePermit, time::timeout};

use super::{
    Shared,
    body::{AnswerBody, Relay, Watch, full},
    credential::Credential,
    headers::{downstream_headers, upstream_headers},
    report::UpstreamError,
    request::{self, Refusal},
    route::Route,
    session::SessionState,
};

/// Tells the CLI's client library not to ask again. Without it a wrong key is tried eleven times, for three minutes.
const SHOULD_RETRY: HeaderName = HeaderName::from_static("x-should-retry");

/// Longest wait for the body of a request.
const BODY_TIME: Duration = Duration::from_secs(60);

/// Answers one request of the agent.
pub(super) async fn answer(
    shared: &Shared,
    session: &Arc<SessionState>,
    request: Request<Incoming>,
) -> Response<AnswerBody> {
    match Route::of(request.method(), request.uri()) {
        Route::Probe => Response::new(full("")),
        Route::Refused => {
            tracing::debug!(method = %request.method(), "the agent asked the model gateway for a route it does not pass on");
            refuse(UpstreamError::gateway(
                404,
                "not_found_error",
                "the model gateway does not pass this on".to_owned(),
            ))
        }
        route @ (Route::Message | Route::Lookup) => {
            session.count_request();
            match forward(shared, session, request, route).await {
                Ok(response) => response,
                Err(error) => {
                    if route == Route::Message {
                        session.set_last_error(Some(error.clone()));
                    }
                    refuse(error)
                }
            }
        }
    }
}

async fn forward(
    shared: &Shared,
    session: &Arc<SessionState>,
    request: Request<Incoming>,
    route: Route,
) -> Result<Response<AnswerBody>, UpstreamError> {
    let credential = shared
        .credentials
        .current()
        .await
        .map_err(|error| UpstreamError::gateway(401, "authentication_error", error.to_string()))?;
    let max_bytes = shared.config.max_request_bytes;
    if request.body().size_hint().lower() > max_bytes as u64 {
        return Err(too_large(max_bytes));
    }
    let headers = upstream_headers(request.headers(), &credential).ok_or_else(|| {
        let message = "the credential for the model API holds characters that cannot be sent: set it again";
        UpstreamError::gateway(401, "authentication_error", message.to_owned())
    })?;
    let url = upstream_url(&shared.config.upstream, request.uri());
    let mut upstream = shared.client.request(request.method().clone(), url).headers(headers);
    // What is asked for with GET has no body.
    let room = if request.method() == Method::POST {
        let collected = timeout(BODY_TIME, collect(session, request.into_body(), max_bytes)).await;
        let (body, room) = collected.map_err(|_| broke_off())??;
        request::check(&body).map_err(refusal)?;
        upstream = upstream.body(body);
        room
    } else {
        None
    };
    let answered = timeout(shared.config.answer_timeout, upstream.send()).await;
    drop(room);
    let response = match answered {
        Ok(Ok(response)) => response,
        Ok(Err(error)) => return Err(send_error(&error)),
        Err(_) => {
            return Err(UpstreamError::gateway(
                504,
                "api_error",
                "the model API did not answer in time: try again later".to_owned(),
            ));
        }
    };
    pass_back(shared, session, response, route, &credential).await
}

async fn pass_back(
    shared: &Shared,
    session: &Arc<SessionState>,
    response: reqwest::Response,
    route: Route,
    used: &Credential,
) -> Result<Response<AnswerBody>, UpstreamError> {
    let status = response.status();
    if status.is_redirection() || status.is_informational() {
        let message = format!(
            "the model API answered with {}, which is not followed: check its address",
            status.as_u16()
        );
        return Err(UpstreamError::gateway(502, "api_error", message));
    }
    if status == StatusCode::UNAUTHORIZED && shared.credentials.current().await.is_ok_and(|now| now != *used)
    {
        // The login was renewed between reading it and the answer: the same request will do now.
        return Err(UpstreamError::gateway(
            503,
            "api_error",
            "the login was renewed meanwhile: try again".to_owned(),
        ));
    }
    let watch = match route {
        Route::Message if status.is_success() => Watch::Message,
        Route::Message => Watch::Error(status.as_u16(), Vec::new()),
        Route::Lookup | Route::Probe | Route::Refused => Watch::Nothing,
    };
    let mut headers = downstream_headers(response.headers());
    if matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) {
        headers.insert(SHOULD_RETRY, HeaderValue::from_static("false"));
    }
    let body = reqwest::Body::from(response);
    let mut answer = Response::new(Relay::boxed(body, shared.config.idle_timeout, watch, session.clone()));
    *answer.status_mut() = status;
    *answer.headers_mut() = headers;
    Ok(answer)
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
            UpstreamError::gateway(429, "rate_limit_error", message.to_owned())
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
        Refusal::Malformed => "a request to the model is not JSON".to_owned(),
        Refusal::Reaches(what) => {
            format!(
                "the model gateway does not pass on requests that ask for {what}: do without, or do it inside"
            )
        }
    };
    UpstreamError::gateway(400, "invalid_request_error", message)
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

fn too_large(max_bytes: usize) -> UpstreamError {
    let message = format!(
        "a request to the model had more than {} MB: shorten the prompt or split the task",
        max_bytes >> 20
    );
    UpstreamError::gateway(413, "request_too_large", message)
}

/// An error answer in the API's own form.
fn refuse(error: UpstreamError) -> Response<AnswerBody> {
    let body = json!({"type": "error", "error": {"type": error.kind, "message": error.message}});
    let mut answer = Response::new(full(body.to_string()));
    let status = error.status.and_then(|status| StatusCode::from_u16(status).ok());
    *answer.status_mut() = status.unwrap_or(StatusCode::BAD_GATEWAY);
    answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if matches!(answer.status(), StatusCode::UNAUTHORIZED | StatusCode::PAYLOAD_TOO_LARGE) {
        answer.headers_mut().insert(SHOULD_RETRY, HeaderValue::from_static("false"));
    }
    answer
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
