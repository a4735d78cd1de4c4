//! Tools of the suite.
#![expect(deprecated, reason = "the suite tries what older revisions know")]

use std::{sync::Arc, time::Duration};

use rmcp::{
    ErrorData, RoleServer,
    model::{
        CallToolRequestParams, CallToolResponse, CallToolResult, ClientCapabilities, ClientResult,
        ContentBlock, CreateMessageRequestParams, ElicitRequest, ElicitRequestParams, LoggingLevel,
        LoggingMessageNotificationParam, ProgressNotificationParam, ResourceContents, SamplingMessage,
        ServerRequest, Tool,
    },
    service::{RequestContext, ServiceError},
};
use serde_json::{Value, json};

use crate::{Change, House, inputs, long};

/// One red pixel.
pub(crate) const PNG: &str =
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR4nGP4z8DwHwAFAAH/iZk9HQAAAABJRU5ErkJggg==";

/// No sound at all.
const WAV: &str = "UklGRiQAAABXQVZFZm10IBAAAAABAAEAQB8AAIA+AAACABAAZGF0YQAAAAA=";

/// Between two steps that a client should see apart.
const STEP: Duration = Duration::from_millis(50);

/// Tools without arguments.
const PLAIN: [&str; 29] = [
    "confirm_delete",
    "failing_job",
    "multi_input",
    "protocol_error_job",
    "test_audio_content",
    "test_elicitation_sep1034_defaults",
    "test_elicitation_sep1330_enums",
    "test_embedded_resource",
    "test_error_handling",
    "test_image_content",
    "test_input_required_result_capabilities",
    "test_input_required_result_elicitation",
    "test_input_required_result_list_roots",
    "test_input_required_result_multi_round",
    "test_input_required_result_multiple_inputs",
    "test_input_required_result_request_state",
    "test_input_required_result_sampling",
    "test_input_required_result_tampered_state",
    "test_logging_tool",
    "test_missing_capability",
    "test_multiple_content_types",
    "test_reconnection",
    "test_simple_text",
    "test_streaming_elicitation",
    "test_tool_with_logging",
    "test_tool_with_progress",
    "test_tool_with_task",
    "test_trigger_prompt_change",
    "test_trigger_tool_change",
];

pub(crate) fn tools() -> Vec<Tool> {
    let tool = |name: &'static str, schema: Value| {
        let schema = schema.as_object().cloned().unwrap_or_default();
        Tool::new(name, "A fixture of the conformance suite", Arc::new(schema))
    };
    let taking = |name: &str, kind: &str| json!({"type": "object", "properties": {name: {"type": kind}}, "required": [name]});
    let mut tools: Vec<_> =
        PLAIN.iter().map(|name| tool(name, json!({"type": "object", "properties": {}}))).collect();
    tools.push(tool("greet", taking("name", "string")));
    tools.push(tool("slow_compute", taking("seconds", "number")));
    tools.push(tool("test_sampling", taking("prompt", "string")));
    tools.push(tool("test_elicitation", taking("message", "string")));
    let routed = json!({"type": "object", "properties": {"region": {"type": "string", "x-mcp-header": "Region"}},
        "required": ["region"]});
    tools.push(tool("test_custom_header", routed));
    tools.push(tool("json_schema_2020_12_tool", wide_schema()));
    tools.sort_by(|one, other| one.name.cmp(&other.name));
    tools
}

/// A schema with all words that must arrive as they are.
fn wide_schema() -> Value {
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "$defs": {"address": {"$anchor": "addressDef", "type": "object",
            "properties": {"street": {"type": "string"}, "city": {"type": "string"}}}},
        "properties": {
            "name": {"type": "string"},
            "address": {"$ref": "#/$defs/address"},
            "contactMethod": {"type": "string", "enum": ["phone", "email"]},
            "phone": {"type": "string"},
            "email": {"type": "string"},
        },
        "allOf": [{"anyOf": [{"required": ["phone"]}, {"required": ["email"]}]}],
        "if": {"properties": {"contactMethod": {"const": "phone"}}, "required": ["contactMethod"]},
        "then": {"required": ["phone"]},
        "else": {"required": ["email"]},
        "additionalProperties": false,
    })
}

fn text(text: impl Into<String>) -> CallToolResult {
    CallToolResult::success(vec![ContentBlock::text(text)])
}

pub(crate) async fn call(
    house: &House,
    request: CallToolRequestParams,
    context: RequestContext<RoleServer>,
) -> Result<CallToolResponse, ErrorData> {
    if let Some(answer) = inputs::call(&house.states, &request, &context)? {
        return Ok(answer);
    }
    if let Some(answer) = long::call(house, &request, &context).await? {
        return Ok(answer);
    }
    let given = |name: &str| {
        let value = request.arguments.as_ref().and_then(|arguments| arguments.get(name)?.as_str());
        value.ok_or_else(|| ErrorData::invalid_params(format!("argument {name} is missing"), None))
    };
    let result = match &*request.name {
        "test_simple_text" => text("This is a simple text response for testing."),
        "test_reconnection" => text("The stream was not closed"),
        "test_custom_header" => text(format!("The region is {}", given("region")?)),
        "greet" => text(format!("Hello, {}!", given("name")?)),
        "test_image_content" => CallToolResult::success(vec![ContentBlock::image(PNG, "image/png")]),
        "test_audio_content" => CallToolResult::success(vec![ContentBlock::audio(WAV, "audio/wav")]),
        "test_embedded_resource" => {
            let resource =
                ResourceContents::text("This is an embedded resource content.", "test://embedded-resource");
            CallToolResult::success(vec![ContentBlock::resource(resource)])
        }
        "test_multiple_content_types" => {
            let resource =
                ResourceContents::text(r#"{"test":"data","value":123}"#, "test://mixed-content-resource");
            CallToolResult::success(vec![
                ContentBlock::text("Multiple content types test:"),
                ContentBlock::image(PNG, "image/png"),
                ContentBlock::resource(resource.with_mime_type("application/json")),
            ])
        }
        "test_error_handling" => CallToolResult::error(vec![ContentBlock::text(
            "This tool intentionally returns an error for testing",
        )]),
        "test_tool_with_logging" => {
            for message in ["Tool execution started", "Tool processing data", "Tool execution completed"] {
                log(&context, message).await?;
                tokio::time::sleep(STEP).await;
            }
            text("Logged three times")
        }
        "test_logging_tool" => {
            if context.meta.log_level().is_some() {
                log(&context, "Asked to log").await?;
            }
            text("Logged if asked to")
        }
        "test_tool_with_progress" => {
            for done in [0.0, 50.0, 100.0] {
                if let Some(token) = context.meta.get_progress_token() {
                    let progress = ProgressNotificationParam::new(token, done).with_total(100.0);
                    context.peer.notify_progress(progress).await.map_err(unsent)?;
                }
                tokio::time::sleep(STEP).await;
            }
            text("Progress told")
        }
        "test_sampling" => sample(&context, given("prompt")?).await?,
        "test_elicitation" => {
            let schema = json!({"type": "object", "required": ["username", "email"], "properties": {
                "username": {"type": "string", "description": "User's response"},
                "email": {"type": "string", "description": "User's email address"}}});
            elicit(&context, given("message")?, schema, "User response").await?
        }
        "test_elicitation_sep1034_defaults" => {
            elicit(&context, "Everything has a default", defaults(), "Elicitation completed").await?
        }
        "test_elicitation_sep1330_enums" => {
            elicit(&context, "Choose", choices(), "Elicitation completed").await?
        }
        "test_missing_capability" => {
            let client = context.client_capabilities().unwrap_or_default();
            if client.sampling.is_none() {
                let needed = ClientCapabilities::builder().enable_sampling().build();
                return Err(ErrorData::missing_required_client_capability(needed));
            }
            text("The client can sample")
        }
        "test_streaming_elicitation" => {
            let question = inputs::elicit("answer", "Anything?", "anything", "string");
            return Ok(inputs::required([question], None)?.into());
        }
        "test_trigger_tool_change" => change(house, Change::Tools),
        "test_trigger_prompt_change" => change(house, Change::Prompts),
        "json_schema_2020_12_tool" => text("The schema is what matters"),
        other => return Err(ErrorData::invalid_params(format!("there is no tool {other}"), None)),
    };
    Ok(result.into())
}

fn change(house: &House, change: Change) -> CallToolResult {
    // Nobody listens, which is as good.
    let _ = house.changes.send(change);
    text("Changed")
}

async fn log(context: &RequestContext<RoleServer>, message: &str) -> Result<(), ErrorData> {
    let message = LoggingMessageNotificationParam::new(LoggingLevel::Info, json!(message));
    context.peer.notify_logging_message(message).await.map_err(unsent)
}

async fn sample(context: &RequestContext<RoleServer>, prompt: &str) -> Result<CallToolResult, ErrorData> {
    let request = CreateMessageRequestParams::new(vec![SamplingMessage::user_text(prompt)], 100);
    let answer = context.peer.create_message(request).await.map_err(unsent)?;
    let said = answer.message.content.first().and_then(|content| Some(content.as_text()?.text.clone()));
    Ok(text(format!("LLM response: {}", said.unwrap_or_default())))
}

async fn elicit(
    context: &RequestContext<RoleServer>,
    message: &str,
    schema: Value,
    said: &str,
) -> Result<CallToolResult, ErrorData> {
    let params = json!({"mode": "form", "message": message, "requestedSchema": schema});
    let params: ElicitRequestParams =
        serde_json::from_value(params).map_err(|error| ErrorData::internal_error(error.to_string(), None))?;
    let question = ServerRequest::ElicitRequest(ElicitRequest::new(params));
    let ClientResult::ElicitResult(answer) = context.peer.send_request(question).await.map_err(unsent)?
    else {
        return Err(ErrorData::internal_error("the client answered something else", None));
    };
    let action = serde_json::to_value(&answer.action).unwrap_or_default();
    let content = answer.content.unwrap_or_default();
    Ok(text(format!("{said}: action={}, content={content}", action.as_str().unwrap_or_default())))
}

fn defaults() -> Value {
    json!({"type": "object", "properties": {
        "name": {"type": "string", "description": "User's name", "default": "John Doe"},
        "age": {"type": "integer", "description": "User's age", "default": 30},
        "score": {"type": "number", "description": "User's score", "default": 95.5},
        "status": {"type": "string", "enum": ["active", "inactive", "pending"], "default": "active"},
        "verified": {"type": "boolean", "description": "Whether it is verified", "default": true}}})
}

fn choices() -> Value {
    let three = ["option1", "option2", "option3"];
    let titled = |titles: [&str; 3]| {
        let values = ["value1", "value2", "value3"].into_iter().zip(titles);
        values.map(|(value, title)| json!({"const": value, "title": title})).collect::<Vec<_>>()
    };
    json!({"type": "object", "properties": {
        "untitledSingle": {"type": "string", "enum": three},
        "titledSingle": {"type": "string", "oneOf": titled(["First Option", "Second Option", "Third Option"])},
        "legacyEnum": {"type": "string", "enum": ["opt1", "opt2", "opt3"],
            "enumNames": ["Option One", "Option Two", "Option Three"]},
        "untitledMulti": {"type": "array", "items": {"type": "string", "enum": three}},
        "titledMulti": {"type": "array",
            "items": {"anyOf": titled(["First Choice", "Second Choice", "Third Choice"])}}}})
}

fn unsent(error: ServiceError) -> ErrorData {
    ErrorData::internal_error(error.to_string(), None)
}
