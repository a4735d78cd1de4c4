//! Asking for a renewed login.

use std::time::Duration;

use claw_core::{Coded, ErrorCode, Secret};
use reqwest::{StatusCode, Url};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::timeout;

use super::lock::RefreshLock;
use crate::text::one_line;

/// The Claude CLI's name at the place that renews logins. It is no secret.
const CLIENT_ID: &str = "9d1c250a-e61b-44d9-88ed-5944d1962f5e";

/// Longest wait for an answer.
const ANSWER_TIME: Duration = Duration::from_secs(30);

/// Pause before the one other try.
const TRY_AGAIN_AFTER: Duration = Duration::from_secs(5);

/// How long a login lasts if the answer does not say.
const USUAL_TIME: Duration = Duration::from_secs(86_400);

/// Longest time that is believed.
const MAX_TIME: Duration = Duration::from_secs(366 * 86_400);

/// Largest answer that is read.
const MAX_ANSWER_BYTES: usize = 64 * 1024;

/// A renewed login.
#[derive(Debug)]
pub(in crate::gateway) struct Renewed {
    pub(super) access_token: Secret,
    /// `None` if the old one stays.
    pub(super) refresh_token: Option<Secret>,
    pub(super) expires_in: Duration,
}

/// Why a login could not be renewed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RefreshError {
    /// The login has nothing to renew it with.
    #[error("the login holds no token to renew it with: log in again with `claude`")]
    NoToken,
    /// The file is not a login any more.
    #[error("the login file cannot be read any more: log in again with `claude`")]
    Unreadable,
    /// The file belongs to somebody else, so that it cannot be replaced.
    #[error(
        "the login file is not a plain file of the server's user: give it to that user, or log in as that user"
    )]
    NotOurs,
    /// The renewed login could not be kept.
    #[error("the login file cannot be replaced ({reason}): check the folder's permissions and space")]
    Write {
        /// Why.
        reason: String,
    },
    /// Another process renews it and does not finish.
    #[error("another process has been renewing the login for too long: it is tried again later")]
    Locked,
    /// The token that renews does not count any more.
    #[error("the login was refused ({reason}): log in again with `claude`")]
    Refused {
        /// What was said.
        reason: String,
    },
    /// There was no usable answer.
    #[error("no usable answer came ({reason}): it is tried again later")]
    Unavailable {
        /// Why.
        reason: String,
    },
}

impl Coded for RefreshError {
    fn code(&self) -> ErrorCode {
        ErrorCode::InvalidRequest
    }
}

impl RefreshError {
    pub(super) fn write(error: std::io::Error) -> Self {
        // The kind alone, since an error's text may name the file.
        Self::Write { reason: error.kind().to_string() }
    }
}

/// Asks for a renewed login, once more after a while if there is no answer.
pub(super) async fn ask(
    client: &reqwest::Client,
    endpoint: &Url,
    token: &Secret,
    lock: &RefreshLock,
) -> Result<Renewed, RefreshError> {
    match timeout(ANSWER_TIME, ask_once(client, endpoint, token)).await.unwrap_or_else(|_| Err(too_late())) {
        Err(RefreshError::Unavailable { .. }) => {}
        answered => return answered,
    }
    lock.keep_fresh();
    tokio::time::sleep(TRY_AGAIN_AFTER).await;
    timeout(ANSWER_TIME, ask_once(client, endpoint, token)).await.unwrap_or_else(|_| Err(too_late()))
}

async fn ask_once(client: &reqwest::Client, endpoint: &Url, token: &Secret) -> Result<Renewed, RefreshError> {
    let question =
        json!({"grant_type": "refresh_token", "refresh_token": token.expose(), "client_id": CLIENT_ID});
    let mut response = client.post(endpoint.clone()).json(&question).send().await.map_err(|error| {
        // Its text would hold the address alone, which the settings tell.
        let reason =
            if error.is_connect() { "the address cannot be reached" } else { "the connection ended" };
        unavailable(reason)
    })?;
    let status = response.status();
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|_| unavailable("the answer broke off"))? {
        if body.len() + chunk.len() > MAX_ANSWER_BYTES {
            return Err(unavailable("the answer is too large"));
        }
        body.extend_from_slice(&chunk);
    }
    read(status, &body)
}

fn read(status: StatusCode, body: &[u8]) -> Result<Renewed, RefreshError> {
    #[derive(Deserialize)]
    struct Answer {
        access_token: String,
        refresh_token: Option<String>,
        expires_in: Option<f64>,
    }
    if !status.is_success() {
        let reason = format!("{}{}", status.as_u16(), word(body));
        let refused = status.is_client_error() && !matches!(status.as_u16(), 408 | 429);
        return Err(if refused {
            RefreshError::Refused { reason }
        } else {
            RefreshError::Unavailable { reason }
        });
    }
    let answer: Answer =
        serde_json::from_slice(body).map_err(|_| unavailable("it is not the expected JSON"))?;
    let is_token = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic());
    if !is_token(&answer.access_token) {
        return Err(unavailable("it holds no token"));
    }
    let expires_in = answer.expires_in.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    Ok(Renewed {
        access_token: Secret::new(answer.access_token),
        refresh_token: answer.refresh_token.filter(|token| is_token(token)).map(Secret::new),
        expires_in: expires_in.unwrap_or(USUAL_TIME).min(MAX_TIME),
    })
}

/// The error's own word, such as `: invalid_grant`. Nothing else of an answer is shown, since it may repeat the token.
fn word(body: &[u8]) -> String {
    let value: Value = serde_json::from_slice(body).unwrap_or_default();
    let error = value.get("error");
    let word = error.and_then(|error| error.as_str().or_else(|| error.get("type")?.as_str()));
    let known =
        word.filter(|word| word.len() <= 40 && word.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'));
    known.map(|word| format!(": {}", one_line(word, 40))).unwrap_or_default()
}

fn unavailable(reason: &str) -> RefreshError {
    RefreshError::Unavailable { reason: reason.to_owned() }
}

fn too_late() -> RefreshError {
    unavailable("it did not come in time")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_read_with_their_gaps_filled() {
        let renewed =
            read(StatusCode::OK, br#"{"access_token":"a","token_type":"Bearer"}"#).expect("renewed");

        assert_eq!((renewed.access_token, renewed.refresh_token), (Secret::new("a"), None));
        assert_eq!(renewed.expires_in, USUAL_TIME);
        for broken in [&b"{}"[..], b"", br#"{"access_token":""}"#, br#"{"access_token":"a b"}"#, b"<html>"] {
            assert!(matches!(read(StatusCode::OK, broken), Err(RefreshError::Unavailable { .. })));
        }
    }

    #[test]
    fn refusals_are_told_from_outages_and_repeat_no_token() {
        let refused =
            read(StatusCode::BAD_REQUEST, br#"{"error":"invalid_grant","error_description":"rt-secret"}"#);
        let spoken = read(StatusCode::BAD_REQUEST, br#"{"error":"token rt-secret is gone"}"#);
        let outage = read(StatusCode::BAD_GATEWAY, b"<html>rt-secret");

        assert_eq!(
            refused.expect_err("refused"),
            RefreshError::Refused { reason: "400: invalid_grant".to_owned() }
        );
        assert_eq!(spoken.expect_err("refused"), RefreshError::Refused { reason: "400".to_owned() });
        assert_eq!(outage.expect_err("outage"), RefreshError::Unavailable { reason: "502".to_owned() });
    }
}
