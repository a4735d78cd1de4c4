//! Why a run failed, as a kind to decide by and a sentence for people.

use claw_core::FailureKind;

use super::ResultEvent;
use crate::{
    gateway::{ErrorOrigin, UpstreamError},
    sandbox::Exit,
    text::one_line,
};

/// Longest piece of foreign text inside a sentence, in bytes.
const MAX_DETAIL_BYTES: usize = 600;

/// Why a run failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Decides whether trying again can help.
    pub kind: FailureKind,
    /// What happened and what to do, without a full stop.
    pub message: String,
}

impl Failure {
    pub(crate) fn new(kind: FailureKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }
}

/// Returns the failure for an error of the model API: its HTTP status, if it answered, and what it said.
pub fn api_failure(status: Option<u16>, detail: &str) -> Failure {
    let said = said(status, detail);
    let (kind, message) = match status {
        Some(401) => (
            FailureKind::ModelAuth,
            format!(
                "the model API refused the credential ({said}): check ANTHROPIC_API_KEY or log in again, then submit \
                 the job again"
            ),
        ),
        Some(403) => (
            FailureKind::ModelAuth,
            format!(
                "the model API does not allow this credential to do that ({said}): check the account and its \
                 permissions, then submit the job again"
            ),
        ),
        Some(404) => (
            FailureKind::ModelRequest,
            format!("the model API does not know what was asked for ({said}): check the job's model"),
        ),
        Some(413) => (
            FailureKind::ModelRequest,
            format!("the request to the model was too large ({said}): shorten the prompt or split the task"),
        ),
        Some(429) => (
            FailureKind::ModelUnavailable,
            format!("the model API limited the rate or the account's quota ({said}): try again later"),
        ),
        Some(529) => {
            (FailureKind::ModelUnavailable, format!("the model API is overloaded ({said}): try again later"))
        }
        Some(400..500) => (
            FailureKind::ModelRequest,
            format!("the model API refused the request ({said}): trying again will not help"),
        ),
        Some(_) => (FailureKind::ModelUnavailable, format!("the model API failed ({said}): try again later")),
        None => (
            FailureKind::ModelUnavailable,
            format!("the model API gave no usable answer ({said}): try again later"),
        ),
    };
    Failure { kind, message }
}

/// Returns the failure of a request that the gateway saw fail.
pub(crate) fn upstream_failure(error: &UpstreamError) -> Failure {
    match error.origin {
        // The gateway's own sentences already say what to do.
        ErrorOrigin::Gateway if matches!(error.status, Some(401 | 403)) => {
            Failure::new(FailureKind::ModelAuth, error.message.clone())
        }
        ErrorOrigin::Gateway if error.status == Some(402) => {
            Failure::new(FailureKind::Budget, error.message.clone())
        }
        ErrorOrigin::Gateway if matches!(error.status, Some(408 | 429)) => {
            Failure::new(FailureKind::ModelUnavailable, error.message.clone())
        }
        ErrorOrigin::Gateway if matches!(error.status, Some(400..500)) => {
            Failure::new(FailureKind::ModelRequest, error.message.clone())
        }
        ErrorOrigin::Gateway => Failure::new(FailureKind::ModelUnavailable, error.message.clone()),
        ErrorOrigin::Upstream if error.is_out_of_credit() => Failure::new(
            FailureKind::ModelAuth,
            format!(
                "the model API's account has no money left ({}): add some, then submit the job again",
                said(error.status, &error.message)
            ),
        ),
        ErrorOrigin::Upstream => api_failure(error.status, &error.message),
    }
}

/// What the CLI's error begins with when an answer of the model held nothing that it could use, such as after a
/// broken stream. What follows is meant for its makers.
const BROKEN_ANSWER: &str = "[ede_diagnostic]";

/// Returns the failure that `result` tells of, or the exit code if the result itself was fine.
pub(super) fn result_failure(
    result: &ResultEvent,
    exit: Exit,
    upstream: Option<&UpstreamError>,
    stderr: &str,
) -> Failure {
    let reason = result.terminal_reason.as_deref().unwrap_or_default();
    let said = one_line(&result.errors.join("; "), MAX_DETAIL_BYTES);
    match (result.subtype.as_str(), reason) {
        ("error_max_budget_usd", _) | (_, "budget_exhausted") => {
            return Failure::new(
                FailureKind::Budget,
                "the job reached its budget: raise `max_budget_usd` or split the task",
            );
        }
        ("error_max_turns", _) | (_, "max_turns") => {
            return Failure::new(FailureKind::Agent, "the agent reached its limit of turns: split the task");
        }
        _ if !result.is_error => return exit_failure(exit, stderr),
        _ => {}
    }

    let text = result.text.as_deref().unwrap_or_default();
    if text.starts_with("Not logged in") || text.starts_with("Invalid API key") {
        return api_failure(Some(401), text);
    }
    if text.starts_with("Prompt is too long") {
        return api_failure(Some(413), text);
    }
    if reason == "api_error" || result.api_error_status.is_some() || text.contains("API Error") {
        // The gateway saw the answer itself; the CLI's words for it differ from version to version.
        return match upstream {
            Some(error) if result.api_error_status.is_none_or(|status| error.status == Some(status)) => {
                upstream_failure(error)
            }
            _ => api_failure(result.api_error_status, text),
        };
    }
    let said = if said.is_empty() { one_line(text, MAX_DETAIL_BYTES) } else { said };
    if said.starts_with(BROKEN_ANSWER) {
        return match upstream {
            Some(error) => upstream_failure(error),
            None => api_failure(None, "it ended early or could not be read"),
        };
    }
    Failure::new(FailureKind::Agent, format!("the agent ended with an error: {}", or_unknown(&said, stderr)))
}

/// Returns the failure of a run whose process ended without a result, or badly in spite of a good one.
pub(super) fn exit_failure(exit: Exit, stderr: &str) -> Failure {
    let memory = if exit.out_of_memory { ", and the sandbox ran out of memory: raise its limit" } else { "" };
    let told =
        if stderr.is_empty() { String::new() } else { format!(": {}", one_line(stderr, MAX_DETAIL_BYTES)) };
    match exit.code {
        134 | 137 => Failure::new(
            FailureKind::Killed,
            if exit.out_of_memory {
                "the agent was ended because the sandbox ran out of memory: raise its limit".to_owned()
            } else {
                format!(
                    "the agent was killed from outside or ran out of memory or processes (exit {})",
                    exit.code
                )
            },
        ),
        126 | 127 => Failure::new(
            FailureKind::Sandbox,
            format!("the agent CLI could not be started in the sandbox (exit {}){told}", exit.code),
        ),
        0 => Failure::new(
            FailureKind::Killed,
            format!("the agent was interrupted before it gave a result{memory}"),
        ),
        128.. => Failure::new(
            FailureKind::Killed,
            format!("the agent was ended by signal {} before it gave a result{memory}", exit.code - 128),
        ),
        code => Failure::new(
            FailureKind::Agent,
            format!("the agent CLI ended with exit code {code}{told}{memory}"),
        ),
    }
}

/// `401: invalid x-api-key`, without the words that the CLI puts around it.
fn said(status: Option<u16>, detail: &str) -> String {
    let mut detail = one_line(detail, MAX_DETAIL_BYTES);
    for prefix in ["Failed to authenticate. ", "API Error: "] {
        if let Some(rest) = detail.strip_prefix(prefix) {
            detail = rest.to_owned();
        }
    }
    let Some(status) = status else { return if detail.is_empty() { "no answer".to_owned() } else { detail } };
    let detail = detail.strip_prefix(&status.to_string()).unwrap_or(&detail).trim();
    if detail.is_empty() { status.to_string() } else { format!("{status}: {detail}") }
}

fn or_unknown(said: &str, stderr: &str) -> String {
    match (said.is_empty(), stderr.is_empty()) {
        (false, _) => said.to_owned(),
        (true, false) => one_line(stderr, MAX_DETAIL_BYTES),
        (true, true) => "it did not say which".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FINE: Exit = Exit { code: 0, out_of_memory: false };

    fn check(status: u16, detail: &str, kind: FailureKind, beginning: &str) {
        let failure = api_failure(Some(status), detail);

        assert_eq!(failure.kind, kind, "{status}");
        assert!(failure.message.starts_with(beginning), "{}", failure.message);
    }

    #[test]
    fn api_errors_read_well_and_say_what_helps() {
        check(
            401,
            "Failed to authenticate. API Error: 401 invalid x-api-key",
            FailureKind::ModelAuth,
            "the model API refused the credential (401: invalid x-api-key): check ANTHROPIC_API_KEY or log in again",
        );
        check(
            403,
            "",
            FailureKind::ModelAuth,
            "the model API does not allow this credential to do that (403): ",
        );
        check(
            400,
            "API Error: 400 bad",
            FailureKind::ModelRequest,
            "the model API refused the request (400: bad)",
        );
        check(
            404,
            "model: x",
            FailureKind::ModelRequest,
            "the model API does not know what was asked for (404: model: x)",
        );
        check(413, "", FailureKind::ModelRequest, "the request to the model was too large");
        check(
            429,
            "slow down",
            FailureKind::ModelUnavailable,
            "the model API limited the rate or the account's quota",
        );
        check(
            500,
            "boom",
            FailureKind::ModelUnavailable,
            "the model API failed (500: boom): try again later",
        );
        check(529, "", FailureKind::ModelUnavailable, "the model API is overloaded (529): try again later");
    }

    #[test]
    fn the_gateways_own_sentence_is_used_as_it_is() {
        let error = UpstreamError::gateway(401, "authentication_error", "no credential: set one".into());

        assert_eq!(upstream_failure(&error), Failure::new(FailureKind::ModelAuth, "no credential: set one"));
    }

    #[test]
    fn what_the_gateway_saw_beats_the_clis_words_for_the_same_answer() {
        let result = ResultEvent {
            is_error: true,
            text: Some("There's an issue with the selected model".into()),
            terminal_reason: Some("api_error".into()),
            api_error_status: Some(404),
            ..ResultEvent::default()
        };
        let seen = UpstreamError::upstream(404, "not_found_error", "model: nope".into());
        let other = UpstreamError::upstream(500, "api_error", "earlier".into());

        assert!(result_failure(&result, FINE, Some(&seen), "").message.contains("(404: model: nope)"));
        assert!(result_failure(&result, FINE, Some(&other), "").message.contains("(404: There's an issue"));
    }

    #[test]
    fn an_answer_that_broke_off_is_the_models_failure_and_reads_like_one() {
        let result = ResultEvent {
            subtype: "error_during_execution".into(),
            is_error: true,
            errors: vec!["[ede_diagnostic] result_type=assistant stop_reason=end_turn".into()],
            ..ResultEvent::default()
        };

        let failure = result_failure(&result, FINE, None, "");

        assert_eq!(failure.kind, FailureKind::ModelUnavailable);
        assert_eq!(
            failure.message,
            "the model API gave no usable answer (it ended early or could not be read): try again later"
        );
    }

    #[test]
    fn ends_without_a_result_are_told_apart_by_exit_code() {
        let failure = |code, out_of_memory, stderr: &str| exit_failure(Exit { code, out_of_memory }, stderr);

        assert_eq!(failure(0, false, "").kind, FailureKind::Killed);
        assert_eq!(
            failure(137, true, "").message,
            "the agent was ended because the sandbox ran out of memory: raise its limit"
        );
        assert_eq!(
            failure(143, false, "").message,
            "the agent was ended by signal 15 before it gave a result"
        );
        assert_eq!(failure(127, false, "not found").kind, FailureKind::Sandbox);
        assert_eq!(
            failure(1, false, "error: unknown option\n\u{1b}[1m--x").message,
            "the agent CLI ended with exit code 1: error: unknown option --x"
        );
    }
}
