//! One message as text.

use bytes::Bytes;
use rmcp::model::{ClientJsonRpcMessage, ErrorCode};
use serde_json::{Value, json};

/// What a text turned out to be.
#[derive(Debug)]
pub(crate) enum Read {
    /// A message of the protocol.
    Message(Box<ClientJsonRpcMessage>),
    /// None; this is the answer to it.
    Refused(Bytes),
    /// Nothing that wants an answer.
    Nothing,
}

/// Reads one message.
pub(crate) fn read(text: &[u8]) -> Read {
    let text = text.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(text);
    match serde_json::from_slice::<ClientJsonRpcMessage>(text) {
        Ok(message) => Read::Message(Box::new(message)),
        Err(_) => refused(text),
    }
}

/// Says what is wrong with a text that is no message.
fn refused(text: &[u8]) -> Read {
    let refuse = |id, code, message| Read::Refused(error_text(id, code, message));
    let members = match serde_json::from_slice(text) {
        Ok(Value::Object(members)) => members,
        Ok(Value::Array(_)) => return refuse(Value::Null, ErrorCode::PARSE_ERROR, "Failed to parse message"),
        Ok(_) => return refuse(Value::Null, ErrorCode::INVALID_REQUEST, "Invalid request"),
        Err(_) => return refuse(Value::Null, ErrorCode::PARSE_ERROR, "Parse error"),
    };
    let id = members.get("id").filter(|id| id.is_string() || id.is_i64()).cloned();
    if members.get("jsonrpc").and_then(Value::as_str) != Some("2.0") {
        let message = "Invalid JSON-RPC version";
        return refuse(id.unwrap_or_default(), ErrorCode::INVALID_REQUEST, message);
    }
    let is_notification = members.contains_key("method") && !members.contains_key("id");
    let is_answer = members.contains_key("result") || members.contains_key("error");
    if is_notification || is_answer {
        // Nobody waits for a word about it.
        return Read::Nothing;
    }
    refuse(id.unwrap_or_default(), ErrorCode::INVALID_REQUEST, "Invalid request")
}

/// Returns an error as a message.
pub(crate) fn error_text(id: Value, code: ErrorCode, message: &str) -> Bytes {
    let error = json!({"code": code.0, "message": message});
    json!({"jsonrpc": "2.0", "id": id, "error": error}).to_string().into()
}

#[cfg(test)]
mod tests {
    use rmcp::model::JsonRpcMessage;

    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &str) {
        let found = match read(text.as_bytes()) {
            Read::Message(message) => match *message {
                JsonRpcMessage::Request(request) => request.request.method().to_owned(),
                other => panic!("{other:?}"),
            },
            Read::Refused(answer) => String::from_utf8(answer.to_vec()).expect("text"),
            Read::Nothing => String::new(),
        };
        assert_eq!(found, expected, "{text}");
    }

    #[test]
    fn what_is_no_message_is_answered_as_the_original_does() {
        let parse_error = r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32700,"message":"Parse error"}}"#;
        for text in ["", "{", "nonsense", "{} {}", "\u{1}"] {
            check(text, parse_error);
        }
        check(
            r#"[{"jsonrpc":"2.0","id":1,"method":"ping"}]"#,
            r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32700,"message":"Failed to parse message"}}"#,
        );
        check(
            r#"{"jsonrpc":"1.0","id":"a","method":"ping"}"#,
            r#"{"jsonrpc":"2.0","id":"a","error":{"code":-32600,"message":"Invalid JSON-RPC version"}}"#,
        );
        for text in ["7", "null", r#"{"jsonrpc":"2.0"}"#, r#"{"jsonrpc":"2.0","id":[],"method":"ping"}"#] {
            let id = r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32600,"message":"Invalid request"}}"#;
            check(text, id);
        }
    }

    #[test]
    fn requests_are_read_those_of_unknown_methods_too() {
        check("\u{feff}{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\"}", "ping");
        check(r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"x"}}"#, "tools/call");
        check(r#"{"jsonrpc":"2.0","id":1,"method":"no/such","params":{"a":1}}"#, "no/such");
    }

    #[test]
    fn notifications_and_answers_that_nobody_knows_are_passed_over() {
        check(r#"{"jsonrpc":"2.0","method":7}"#, "");
        check(r#"{"jsonrpc":"2.0","id":[],"result":7}"#, "");
    }

    #[test]
    fn t32_nesting_without_end_is_no_more_than_a_parse_error() {
        let text = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"ping","params":{}"#, "[".repeat(100_000));
        check(&text, r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32700,"message":"Parse error"}}"#);
    }
}
