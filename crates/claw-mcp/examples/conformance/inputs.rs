//! Fixtures that ask the client for something and go on when it answers (SEP-2322).

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use rmcp::{
    ErrorData, RoleServer,
    model::{
        CallToolRequestParams, CallToolResponse, CallToolResult, ContentBlock, InputRequest,
        InputRequiredResult, InputResponses,
    },
    service::RequestContext,
};
use serde_json::{Value, json};
use uuid::Uuid;

/// What is remembered of calls that wait for input. Clients hold the name of their state, which nobody can guess or
/// change into another one.
#[derive(Default)]
pub(crate) struct States(Mutex<HashMap<String, String>>);

/// Most states that are remembered.
const MOST_STATES: usize = 1000;

impl States {
    fn keep(&self, content: &str) -> String {
        let name = Uuid::new_v4().to_string();
        let mut states = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if states.len() >= MOST_STATES {
            states.clear();
        }
        states.insert(name.clone(), content.to_owned());
        name
    }

    fn take(&self, name: Option<&str>) -> Result<String, ErrorData> {
        let mut states = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        name.and_then(|name| states.remove(name))
            .ok_or_else(|| ErrorData::invalid_params("there is no such request state", None))
    }
}

type Question = (&'static str, Value);

/// A question with one field in its form.
pub(crate) fn elicit(key: &'static str, message: &str, field: &str, kind: &str) -> Question {
    let schema = json!({"type": "object", "properties": {field: {"type": kind}}, "required": [field]});
    (key, json!({"method": "elicitation/create", "params": {"message": message, "requestedSchema": schema}}))
}

fn sample(key: &'static str, text: &str, most: u32) -> Question {
    let messages = json!([{"role": "user", "content": {"type": "text", "text": text}}]);
    (key, json!({"method": "sampling/createMessage", "params": {"messages": messages, "maxTokens": most}}))
}

fn roots(key: &'static str) -> Question {
    (key, json!({"method": "roots/list", "params": {}}))
}

/// Asks the client.
pub(crate) fn required(
    questions: impl IntoIterator<Item = Question>,
    state: Option<String>,
) -> Result<InputRequiredResult, ErrorData> {
    let requests = questions
        .into_iter()
        .map(|(key, question)| Ok((key.to_owned(), serde_json::from_value::<InputRequest>(question)?)))
        .collect::<Result<_, serde_json::Error>>()
        .map_err(|error| ErrorData::internal_error(error.to_string(), None))?;
    Ok(InputRequiredResult::new(Some(requests), state))
}

/// A field of a form that the client filled in.
pub(crate) fn field<'a>(given: &'a InputResponses, key: &str, field: &str) -> Option<&'a Value> {
    let answer = given.get(key)?;
    (answer.get("action")? == "accept").then(|| answer.get("content")?.get(field)).flatten()
}

fn text(text: impl Into<String>) -> CallToolResponse {
    CallToolResult::success(vec![ContentBlock::text(text)]).into()
}

/// Calls a fixture whose name begins with `test_input_required_result_`.
pub(crate) fn call(
    states: &States,
    request: &CallToolRequestParams,
    context: &RequestContext<RoleServer>,
) -> Result<Option<CallToolResponse>, ErrorData> {
    let nothing = InputResponses::new();
    let given = request.input_responses.as_ref().unwrap_or(&nothing);
    let state = request.request_state.as_deref();
    let Some(kind) = request.name.strip_prefix("test_input_required_result_") else { return Ok(None) };
    let answer = match kind {
        "elicitation" => match field(given, "user_name", "name").and_then(Value::as_str) {
            Some(name) => text(format!("Hello, {name}!")),
            None => required([elicit("user_name", "What is your name?", "name", "string")], None)?.into(),
        },
        "sampling" => match given.get("capital_question").and_then(|answer| answer.get("content")) {
            Some(content) => text(content["text"].as_str().unwrap_or("no text")),
            None => {
                required([sample("capital_question", "What is the capital of France?", 100)], None)?.into()
            }
        },
        "list_roots" => match given.get("client_roots").and_then(|answer| answer.get("roots")) {
            Some(roots) => text(format!("The roots are {roots}")),
            None => required([roots("client_roots")], None)?.into(),
        },
        "request_state" | "tampered_state" => {
            if state.is_none() && given.is_empty() {
                let question = elicit("confirm", "Please confirm", "ok", "boolean");
                required([question], Some(states.keep("confirm")))?.into()
            } else {
                states.take(state)?;
                text("state-ok")
            }
        }
        "multiple_inputs" => {
            if ["user_name", "greeting", "client_roots"].iter().all(|key| given.contains_key(*key)) {
                states.take(state)?;
                text("All of it is there")
            } else {
                let questions = [
                    elicit("user_name", "What is your name?", "name", "string"),
                    sample("greeting", "Generate a greeting", 50),
                    roots("client_roots"),
                ];
                required(questions, Some(states.keep("multiple")))?.into()
            }
        }
        "multi_round" => multi_round(states, given, state)?,
        "capabilities" => {
            let client = context.client_capabilities().unwrap_or_default();
            let mut questions = Vec::new();
            if client.elicitation.is_some() {
                questions.push(elicit("user_name", "What is your name?", "name", "string"));
            }
            if client.sampling.is_some() {
                questions.push(sample("greeting", "Generate a greeting", 50));
            }
            if questions.is_empty() { text("Nothing to ask") } else { required(questions, None)?.into() }
        }
        _ => return Ok(None),
    };
    Ok(Some(answer))
}

fn multi_round(
    states: &States,
    given: &InputResponses,
    state: Option<&str>,
) -> Result<CallToolResponse, ErrorData> {
    if let Some(color) = field(given, "step2", "color") {
        let name = states.take(state)?;
        return Ok(text(format!("{name} likes {color}")));
    }
    if let Some(name) = field(given, "step1", "name") {
        states.take(state)?;
        let question = elicit("step2", "Step 2: What is your favorite color?", "color", "string");
        return Ok(required([question], Some(states.keep(&name.to_string())))?.into());
    }
    let question = elicit("step1", "Step 1: What is your name?", "name", "string");
    Ok(required([question], Some(states.keep("step1")))?.into())
}
