//! Messages before the protocol reads them, and refusals in its words.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full};
use rmcp::model::{ErrorCode, RequestId};
use serde::Deserialize;
use serde_json::{Value, json};

use super::HttpBody;

/// What every message says of itself.
#[derive(Debug, Deserialize)]
pub(super) struct Envelope<'a> {
    #[serde(borrow, default)]
    jsonrpc: Option<std::borrow::Cow<'a, str>>,
    #[serde(borrow, default)]
    method: Option<std::borrow::Cow<'a, str>>,
    #[serde(default)]
    id: Option<Value>,
}

/// A message that goes no further.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    NoJson,
    Batch,
    NoMessage,
    OtherVersion(Option<RequestId>),
}

impl<'a> Envelope<'a> {
    pub(super) fn read(body: &'a [u8]) -> Result<Self, Refusal> {
        if body.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'[') {
            return Err(Refusal::Batch);
        }
        let envelope: Self = serde_json::from_slice(body).map_err(|error| match error.classify() {
            serde_json::error::Category::Data => Refusal::NoMessage,
            _ => Refusal::NoJson,
        })?;
        if envelope.jsonrpc.as_deref() != Some("2.0") {
            return Err(Refusal::OtherVersion(envelope.id()));
        }
        Ok(envelope)
    }

    pub(super) fn method(&self) -> Option<&str> {
        self.method.as_deref()
    }

    pub(super) fn id(&self) -> Option<RequestId> {
        match &self.id {
            Some(Value::String(text)) => Some(RequestId::String(text.as_str().into())),
            Some(Value::Number(number)) => number.as_i64().map(RequestId::Number),
            _ => None,
        }
    }
}

impl Refusal {
    pub(super) fn into_response(self) -> Response<HttpBody> {
        match self {
            Self::NoJson => refused(StatusCode::BAD_REQUEST, ErrorCode::PARSE_ERROR, "Parse error", None),
            Self::Batch => bad_request("messages are sent one at a time", None),
            Self::NoMessage => bad_request("this is no message of the protocol", None),
            Self::OtherVersion(id) => bad_request("Invalid JSON-RPC version", id),
        }
    }
}

/// An answer that says in JSON-RPC what was wrong with the request.
pub(super) fn refused(
    status: StatusCode,
    code: ErrorCode,
    message: impl Into<String>,
    id: Option<RequestId>,
) -> Response<HttpBody> {
    let body = json!({"jsonrpc": "2.0", "id": id, "error": {"code": code.0, "message": message.into()}});
    let mut response = Response::new(Full::new(Bytes::from(body.to_string())).boxed_unsync());
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

pub(super) fn bad_request(message: impl Into<String>, id: Option<RequestId>) -> Response<HttpBody> {
    refused(StatusCode::BAD_REQUEST, ErrorCode::INVALID_REQUEST, message, id)
}

/// Tells whether the body says that it is JSON.
pub(super) fn has_json_body(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    kind.split(';').next().is_some_and(|essence| essence.trim().eq_ignore_ascii_case("application/json"))
}

/// Tells whether the client takes both forms of an answer, as the protocol has it. Weights are for the protocol's own
/// look at them.
pub(super) fn accepts_the_protocol(headers: &HeaderMap) -> bool {
    let accepted: Vec<_> = headers
        .get_all(header::ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|entry| entry.split(';').next())
        .map(|essence| essence.trim().to_ascii_lowercase())
        .collect();
    ["application/json", "text/event-stream"].iter().all(|wanted| accepted.iter().any(|kind| kind == wanted))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_single_message_is_refused_before_the_protocol_reads_it() {
        let refusal = |body: &str| Envelope::read(body.as_bytes()).err();

        assert_eq!(refusal("{"), Some(Refusal::NoJson));
        assert_eq!(refusal(""), Some(Refusal::NoJson));
        assert_eq!(refusal(" [{}]"), Some(Refusal::Batch));
        assert_eq!(refusal("7"), Some(Refusal::NoMessage));
        assert_eq!(refusal(r#"{"id":1}"#), Some(Refusal::OtherVersion(Some(RequestId::Number(1)))));
        let other = r#"{"jsonrpc":"1.0","id":"a","method":"ping"}"#;
        assert_eq!(refusal(other), Some(Refusal::OtherVersion(Some(RequestId::String("a".into())))));
        let envelope = Envelope::read(br#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#).expect("a message");
        assert_eq!((envelope.method(), envelope.id()), (Some("ping"), Some(RequestId::Number(1))));
    }

    #[test]
    fn t32_a_deep_body_costs_no_more_than_its_bytes() {
        let deep = "[".repeat(100_000);
        assert_eq!(
            Envelope::read(format!(r#"{{"jsonrpc":"2.0","id":{deep}"#).as_bytes()).err(),
            Some(Refusal::NoJson)
        );
    }
}
