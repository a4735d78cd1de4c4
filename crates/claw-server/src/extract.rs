//! What handlers take from a request. Every rejection is an [`ApiError`], so that it is shown in our shapes.

use std::{
    convert::Infallible,
    fmt::Display,
    net::{IpAddr, Ipv4Addr},
    ops::Deref,
    str::FromStr,
    sync::Arc,
    time::Duration,
};

use axum::{
    body::Bytes,
    extract::{
        FromRequest, FromRequestParts, RawPathParams, Request,
        rejection::{BytesRejection, FailedToBufferBody, JsonRejection},
    },
    http::{HeaderMap, HeaderName, HeaderValue, Method, header, request::Parts},
    response::{IntoResponse, Response},
};
use claw_core::{Actor, ErrorCode, Origin, RepoPath, Secret, WorkspaceId};
use claw_gate::{Credential, Gate, GateError};
use serde::{Serialize, de::DeserializeOwned};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    app::Server,
    error::{ApiError, ApiResult},
    feed::Seen,
    frame::RequestId,
    hosts::Provenance,
    serve::Place,
};

/// Name of the session cookie.
pub(crate) const SESSION_COOKIE: &str = "claw_session";

/// Its name where cookies are for TLS alone: browsers take a cookie of such a name from this very host only, so that
/// no neighboring site can plant one.
pub(crate) const SECURE_SESSION_COOKIE: &str = "__Host-claw_session";

const API_KEY: HeaderName = HeaderName::from_static("x-api-key");
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// Longest idempotency key.
const MAX_IDEMPOTENCY_KEY: usize = 255;

/// How long a small body may take to arrive, so that a slow sender does not hold a connection for ever.
pub(crate) const BODY_TIME: Duration = Duration::from_secs(60);

/// Bytes a second at which a body must arrive on the whole, if its length is known. Below it, a large body has no more
/// time than a small one.
const MIN_BODY_RATE: u64 = 64 * 1024;

/// Length of a body beyond which a sender's word buys no more time: what the largest route takes.
const MAX_TIMED_BYTES: u64 = 40 << 20;

/// Header by which scripts in pages tell that no plain form of another site sent their request.
const REQUESTED_WITH: HeaderName = HeaderName::from_static("x-requested-with");

/// Longest part of a parser's own words that is passed on.
const MAX_DETAIL_CHARS: usize = 300;

/// What a connection tells its requests.
#[derive(Clone, Debug)]
pub(crate) struct Connection {
    /// The client's address: the other side's, or what a trusted proxy says about it.
    pub(crate) client: IpAddr,
    /// Cancelled when the server stops.
    pub(crate) stop: CancellationToken,
    /// How long a small body may take.
    pub(crate) body_time: Duration,
    /// Where sockets count that a request turned into, so that the server waits for their end.
    pub(crate) sockets: TaskTracker,
    /// The connection's place among those that may be open, which a socket keeps.
    pub(crate) _place: Option<Arc<Place>>,
}

impl Connection {
    pub(crate) fn of(parts: &Parts) -> Self {
        parts.extensions.get().cloned().unwrap_or_else(|| Self {
            // Only in-process callers have no connection; they share one address.
            client: Ipv4Addr::UNSPECIFIED.into(),
            stop: CancellationToken::new(),
            body_time: BODY_TIME,
            sockets: TaskTracker::new(),
            _place: None,
        })
    }
}

impl<S: Sync> FromRequestParts<S> for Connection {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Infallible> {
        Ok(Self::of(parts))
    }
}

/// Whoever sent a request with a valid credential. Handlers that lack it in their signature are public.
#[derive(Clone)]
pub(crate) struct Caller {
    actor: Actor,
    credential: Credential,
    client: IpAddr,
}

impl Caller {
    /// Returns the session that the request came with, if it came with one.
    pub(crate) fn session(&self) -> Option<&Secret> {
        match &self.credential {
            Credential::Session(cookie) => Some(cookie),
            Credential::ApiKey(_) | Credential::Bearer(_) | Credential::None => None,
        }
    }

    /// Gives up the caller for what they came with, to be looked at anew.
    pub(crate) fn into_credential(self) -> Credential {
        self.credential
    }

    /// Returns whoever sent the request with this credential.
    pub(crate) async fn admit(credential: Credential, parts: &mut Parts, server: &Server) -> ApiResult<Self> {
        let client = Connection::of(parts).client;
        let actor = server.gate().authenticate(credential.clone(), client).await?;
        let request = parts.extensions.get().map(|RequestId(id)| id.to_string());
        let actor = actor.coming_from(Origin { client: Some(client), request });
        if matches!(credential, Credential::Session(_)) {
            check_same_origin(parts)?;
        }
        parts.extensions.insert(Known);
        if let Some(seen) = parts.extensions.get::<Seen>() {
            seen.note(&actor, &credential);
        }
        Ok(Self { actor, credential, client })
    }

    /// Tells whether the credential still lets in the same actor with the same scopes.
    pub(crate) async fn is_unchanged(&self, gate: &Gate) -> bool {
        // No answer from the store means no access.
        let now = gate.authenticate(self.credential.clone(), self.client).await;
        now.is_ok_and(|actor| actor.coming_from(self.actor.origin.clone()) == self.actor)
    }
}

impl Deref for Caller {
    type Target = Actor;

    fn deref(&self) -> &Actor {
        &self.actor
    }
}

impl FromRequestParts<Server> for Caller {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, server: &Server) -> ApiResult<Self> {
        let credential = credential(&parts.headers, server.config().secure_cookies)?;
        Self::admit(credential, parts, server).await
    }
}

/// Browsers add cookies to requests that other pages caused, so a change needs a page of ours behind it, or what no page
/// of another site can send without having asked first, which it is refused: another method than POST, a body of JSON, a
/// header of one's own. The latter is how programs change things that were given somebody's cookie.
fn check_same_origin(parts: &Parts) -> ApiResult<()> {
    match parts.extensions.get() {
        Some(Provenance::SameOrigin | Provenance::Configured(_)) => Ok(()),
        Some(Provenance::Unstated) | None if parts.method != Method::POST || is_no_form(&parts.headers) => {
            Ok(())
        }
        Some(Provenance::Unstated) | None => {
            let message = "a change with a session cookie needs an `Origin` or `Sec-Fetch-Site` header that names this \
                           server, a body of type `application/json`, or a header `X-Requested-With`";
            Err(ApiError::new(ErrorCode::OriginNotAllowed, message))
        }
    }
}

/// Tells whether a request cannot come from a plain form: browsers ask before they let another site's page send it.
fn is_no_form(headers: &HeaderMap) -> bool {
    headers.contains_key(REQUESTED_WITH) || headers.get(header::CONTENT_TYPE).is_some_and(is_json)
}

/// Marks requests that came with a valid credential.
#[derive(Clone)]
struct Known;

/// A public request, once set-up is done.
pub(crate) struct AfterSetup;

impl FromRequestParts<Server> for AfterSetup {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, server: &Server) -> ApiResult<Self> {
        let client = Connection::of(parts).client;
        match server.gate().authenticate(Credential::None, client).await {
            Ok(_) | Err(GateError::ApiKeyRequired) => Ok(Self),
            Err(error) => Err(error.into()),
        }
    }
}

/// What a public request may come with.
pub(crate) struct MaybeCredential(pub(crate) Credential);

impl FromRequestParts<Server> for MaybeCredential {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, server: &Server) -> ApiResult<Self> {
        Ok(Self(credential(&parts.headers, server.config().secure_cookies)?))
    }
}

/// Finds the credential: the key's own header first, then `Authorization`, then the cookie. What is there counts even
/// if it is wrong, so that a revoked key does not fall back to somebody's session.
pub(crate) fn credential(headers: &HeaderMap, secure_cookies: bool) -> ApiResult<Credential> {
    if let Some(key) = one_secret(headers, &API_KEY)? {
        return Ok(Credential::ApiKey(Secret::new(key)));
    }
    if let Some(value) = one_secret(headers, &header::AUTHORIZATION)? {
        let (scheme, token) = value.split_once(' ').unwrap_or((value, ""));
        // Another scheme is a proxy's affair.
        if scheme.eq_ignore_ascii_case("bearer") {
            return Ok(Credential::Bearer(Secret::new(token.trim())));
        }
    }
    let name = if secure_cookies { SECURE_SESSION_COOKIE } else { SESSION_COOKIE };
    let cookies = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut sessions = cookies
        .flat_map(|line| line.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .filter_map(|(found, value)| (found == name).then_some(value));
    Ok(match sessions.next() {
        Some(session) => Credential::Session(Secret::new(session)),
        None => Credential::None,
    })
}

fn one_secret<'a>(headers: &'a HeaderMap, name: &HeaderName) -> ApiResult<Option<&'a str>> {
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else { return Ok(None) };
    match (value.to_str(), values.next()) {
        (Ok(text), None) => Ok(Some(text)),
        _ => {
            Err(ApiError::new(ErrorCode::InvalidKey, format!("`{name}` must be sent once, as visible ASCII")))
        }
    }
}

/// A JSON body, in requests and responses.
pub(crate) struct Json<T>(pub(crate) T);

impl<T: DeserializeOwned> FromRequest<Server> for Json<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, server: &Server) -> ApiResult<Self> {
        let RawJson(body) = RawJson::from_request(request, server).await?;
        // Reading once more to say where it is wrong is for those that are.
        serde_json::from_slice(&body).map(Self).or_else(|_| match axum::Json::<T>::from_bytes(&body) {
            Ok(axum::Json(body)) => Ok(Self(body)),
            Err(rejection) => Err(bad_json(&rejection)),
        })
    }
}

/// A body that says it is JSON, byte for byte, for what must be read more strictly than others.
pub(crate) struct RawJson(pub(crate) Bytes);

impl FromRequest<Server> for RawJson {
    type Rejection = ApiError;

    async fn from_request(request: Request, server: &Server) -> ApiResult<Self> {
        if !request.headers().get(header::CONTENT_TYPE).is_some_and(is_json) {
            return Err(ApiError::new(
                ErrorCode::UnsupportedMediaType,
                "the body must be JSON, with `Content-Type: application/json`",
            ));
        }
        let time = body_time(&request);
        match tokio::time::timeout(time, Bytes::from_request(request, server)).await {
            Ok(Ok(body)) => Ok(Self(body)),
            Ok(Err(rejection)) => Err(bad_body(&rejection)),
            Err(_elapsed) => {
                Err(ApiError::invalid(format!("the body did not arrive within {} s", time.as_secs())))
            }
        }
    }
}

/// Tells whether the value of `Content-Type` says that the body is JSON.
fn is_json(value: &HeaderValue) -> bool {
    let essence = value.as_bytes().split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
    let Some((kind, subtype)) = essence.split_first_chunk::<12>() else { return false };
    kind.eq_ignore_ascii_case(b"application/")
        && (subtype.eq_ignore_ascii_case(b"json")
            || subtype.last_chunk::<5>().is_some_and(|end| end.eq_ignore_ascii_case(b"+json")))
}

/// Returns how long the request's body may take. Its length is what the sender says, so it buys time for those alone who
/// showed a credential.
fn body_time(request: &Request) -> Duration {
    let least = request.extensions().get::<Connection>().map_or(BODY_TIME, |connection| connection.body_time);
    if request.extensions().get::<Known>().is_none() {
        return least;
    }
    let length = request.headers().get(header::CONTENT_LENGTH);
    let length = length.and_then(|value| value.to_str().ok()?.parse::<u64>().ok()).unwrap_or(0);
    least + Duration::from_secs(length.min(MAX_TIMED_BYTES) / MIN_BODY_RATE)
}

impl<T: Serialize> IntoResponse for Json<T> {
    fn into_response(self) -> Response {
        axum::Json(self.0).into_response()
    }
}

fn bad_json(rejection: &JsonRejection) -> ApiError {
    match rejection {
        JsonRejection::JsonSyntaxError(error) => {
            ApiError::invalid(format!("the body is not JSON: {}", detail(&error.body_text())))
        }
        JsonRejection::JsonDataError(error) => {
            ApiError::new(ErrorCode::InvalidBody, detail(&error.body_text()))
        }
        _ => ApiError::invalid("the body cannot be read"),
    }
}

fn bad_body(rejection: &BytesRejection) -> ApiError {
    match rejection {
        BytesRejection::FailedToBufferBody(FailedToBufferBody::LengthLimitError(_)) => {
            ApiError::new(ErrorCode::PayloadTooLarge, "the body is larger than this route accepts")
        }
        _ => ApiError::invalid("the body cannot be read"),
    }
}

/// Cuts a parser's words to what helps: which field, and what was expected.
fn detail(text: &str) -> String {
    // "Failed to …: " is the framework's; what follows is the parser's.
    let text = text.split_once(": ").map_or(text, |(_, rest)| rest);
    text.chars().filter(|c| !c.is_control()).take(MAX_DETAIL_CHARS).collect()
}

/// The query string.
pub(crate) struct Query<T>(pub(crate) T);

impl<T: DeserializeOwned> FromRequestParts<Server> for Query<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, server: &Server) -> ApiResult<Self> {
        match axum::extract::Query::<T>::from_request_parts(parts, server).await {
            Ok(axum::extract::Query(query)) => Ok(Self(query)),
            Err(rejection) => Err(ApiError::invalid(format!("query: {}", detail(&rejection.body_text())))),
        }
    }
}

/// The one parameter of a path, as text.
pub(crate) struct Name(pub(crate) String);

impl FromRequestParts<Server> for Name {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, server: &Server) -> ApiResult<Self> {
        let parameters = path_parameters(parts, server).await?;
        Ok(Self(parameters.iter().next().map(|(_, value)| value.to_owned()).unwrap_or_default()))
    }
}

/// The one parameter of a path, as an id or a name.
pub(crate) struct Id<T>(pub(crate) T);

impl<T> FromRequestParts<Server> for Id<T>
where
    T: FromStr<Err: Display>,
{
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, server: &Server) -> ApiResult<Self> {
        let parameters = path_parameters(parts, server).await?;
        let text = parameters.iter().next().map(|(_, value)| value).unwrap_or_default();
        text.parse().map(Self).map_err(|error: T::Err| ApiError::invalid(error.to_string()))
    }
}

/// A workspace and the path of a file in it.
pub(crate) struct FileId {
    pub(crate) workspace: WorkspaceId,
    pub(crate) path: RepoPath,
}

impl FromRequestParts<Server> for FileId {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, server: &Server) -> ApiResult<Self> {
        let parameters = path_parameters(parts, server).await?;
        let mut values = parameters.iter().map(|(_, value)| value);
        let workspace = values.next().unwrap_or_default().parse::<WorkspaceId>();
        let workspace = workspace.map_err(|error| ApiError::invalid(error.to_string()))?;
        let path = values.next().unwrap_or_default().parse::<RepoPath>();
        let path = path.map_err(|error| ApiError::new(ErrorCode::PathNotAllowed, error.to_string()))?;
        Ok(Self { workspace, path })
    }
}

async fn path_parameters(parts: &mut Parts, server: &Server) -> ApiResult<RawPathParams> {
    RawPathParams::from_request_parts(parts, server)
        .await
        .map_err(|_| ApiError::invalid("the path is not UTF-8"))
}

/// The last event that a reconnecting client saw.
pub(crate) struct LastEventId(pub(crate) Option<u64>);

impl LastEventId {
    /// Takes the query's value where the header is missing: browsers cannot set the header on a first connection.
    pub(crate) fn or(self, query: Option<u64>) -> Option<u64> {
        self.0.or(query)
    }
}

impl<S: Sync> FromRequestParts<S> for LastEventId {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> ApiResult<Self> {
        match parts.headers.get(LAST_EVENT_ID).map(|value| value.to_str().unwrap_or("?").trim()) {
            None | Some("") => Ok(Self(None)),
            Some(text) => match text.parse() {
                Ok(id) => Ok(Self(Some(id))),
                Err(_) => Err(ApiError::invalid("`Last-Event-ID` must be the id of an event of this stream")),
            },
        }
    }
}

/// The caller's own mark of a request that may be sent twice.
pub(crate) struct IdempotencyKey(pub(crate) Option<String>);

impl<S: Sync> FromRequestParts<S> for IdempotencyKey {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> ApiResult<Self> {
        let Some(value) = parts.headers.get(IDEMPOTENCY_KEY) else { return Ok(Self(None)) };
        match value.to_str() {
            Ok(text) if !text.is_empty() && text.len() <= MAX_IDEMPOTENCY_KEY => {
                Ok(Self(Some(text.to_owned())))
            }
            _ => {
                let message = format!(
                    "`Idempotency-Key` must have 1 to {MAX_IDEMPOTENCY_KEY} visible ASCII characters"
                );
                Err(ApiError::invalid(message))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(headers: &[(&'static str, &'static str)]) -> String {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, value.parse().expect("a header value"));
        }
        match credential(&map, false) {
            Ok(Credential::ApiKey(secret)) => format!("key {}", secret.expose()),
            Ok(Credential::Bearer(secret)) => format!("bearer {}", secret.expose()),
            Ok(Credential::Session(secret)) => format!("session {}", secret.expose()),
            Ok(Credential::None) => "none".into(),
            Err(error) => error.code().to_string(),
        }
    }

    #[test]
    fn a_credential_is_found_in_each_of_its_places() {
        for (headers, expected) in [
            (&[][..], "none"),
            (&[("x-api-key", "k")], "key k"),
            (&[("authorization", "Bearer t")], "bearer t"),
            (&[("authorization", "bEARER  t ")], "bearer t"),
            (&[("cookie", "a=b; claw_session=s; c=d")], "session s"),
            (&[("cookie", "a=b"), ("cookie", "claw_session=s")], "session s"),
            (&[("cookie", "xclaw_session=s; claw_session")], "none"),
            (&[("authorization", "Basic dXNlcg=="), ("cookie", "claw_session=s")], "session s"),
            (&[("x-api-key", "k"), ("authorization", "Bearer t"), ("cookie", "claw_session=s")], "key k"),
            (&[("x-api-key", ""), ("cookie", "claw_session=s")], "key "),
            (&[("x-api-key", "k"), ("x-api-key", "k")], "INVALID_KEY"),
            (&[("authorization", "Bearer")], "bearer "),
        ] {
            assert_eq!(found(headers), expected, "{headers:?}");
        }
    }
}
