//! Fixtures whose calls clients poll (SEP-2663).

use std::{future::Future, time::Duration};

use claw_mcp::Owner;
use rmcp::{
    ErrorData, RoleServer,
    model::{
        CallToolRequestParams, CallToolResponse, CallToolResult, ClientCapabilities, ContentBlock,
        CreateTaskResult, InputRequest,
    },
    service::RequestContext,
    task_manager::{TaskContext, TaskExit},
};
use serde_json::Value;

use crate::{House, inputs};

type Done = Result<CallToolResult, ErrorData>;

fn done(text: impl Into<String>) -> Done {
    Ok(CallToolResult::success(vec![ContentBlock::text(text)]))
}

async fn compute(seconds: f64) -> Done {
    tokio::time::sleep(Duration::from_secs_f64(seconds.clamp(0.0, 600.0))).await;
    done(format!("Computed for {seconds} s"))
}

async fn fail() -> Done {
    tokio::time::sleep(Duration::from_secs(1)).await;
    Ok(CallToolResult::error(vec![ContentBlock::text("The job failed, as it always does")]))
}

async fn break_down() -> Done {
    Err(ErrorData::internal_error("the job broke down", None))
}

/// Asks through the task for a form with one field.
async fn ask(
    task: &TaskContext,
    key: &'static str,
    message: &str,
    field: &str,
    kind: &str,
) -> Result<Value, ErrorData> {
    let (_, question) = inputs::elicit(key, message, field, kind);
    let question: InputRequest = serde_json::from_value(question)
        .map_err(|error| ErrorData::internal_error(error.to_string(), None))?;
    let answer = task.request_input(format!("{key}-{}", task.task_id()), question).await;
    answer.map_err(|exit| match exit {
        TaskExit::Error(error) => error,
        TaskExit::Cancelled => ErrorData::internal_error("nobody answered", None),
    })
}

async fn confirm(task: TaskContext) -> Done {
    let answer = ask(&task, "confirm", "Delete it?", "confirm", "boolean").await?;
    done(format!("Answered: {answer}"))
}

async fn two_questions(task: TaskContext) -> Done {
    let (name, color) = tokio::join!(
        ask(&task, "name", "What is your name?", "name", "string"),
        ask(&task, "color", "What is your favorite color?", "color", "string"),
    );
    done(format!("Answered: {} and {}", name?, color?))
}

/// Calls a fixture of this file, if there is one of that name.
pub(crate) async fn call(
    house: &House,
    request: &CallToolRequestParams,
    context: &RequestContext<RoleServer>,
) -> Result<Option<CallToolResponse>, ErrorData> {
    let can_poll = context.client_capabilities().is_some_and(|client| client.supports_tasks());
    let require_polling = || {
        let needed = ClientCapabilities::builder().enable_tasks().build();
        if can_poll { Ok(()) } else { Err(ErrorData::missing_required_client_capability(needed)) }
    };
    let number = |name: &str| request.arguments.as_ref().and_then(|given| given.get(name)?.as_f64());
    let answer = match &*request.name {
        "slow_compute" => {
            let seconds = number("seconds").unwrap_or(1.0);
            if !can_poll {
                return Ok(Some(compute(seconds).await?.into()));
            }
            begin(house, move |_| compute(seconds))
        }
        "failing_job" => {
            require_polling()?;
            begin(house, |_| fail())
        }
        "protocol_error_job" => {
            require_polling()?;
            begin(house, |_| break_down())
        }
        "confirm_delete" | "multi_input" if !can_poll => Ok(done("Nobody to ask")?.into()),
        "confirm_delete" => begin(house, confirm),
        "multi_input" => begin(house, two_questions),
        "test_tool_with_task" => {
            require_polling()?;
            let given = request.input_responses.as_ref();
            match given.and_then(|given| inputs::field(given, "user_name", "name")?.as_str()) {
                Some(name) => {
                    let name = name.to_owned();
                    begin(house, |_| async move { done(format!("Hello, {name}!")) })
                }
                None => {
                    let question = inputs::elicit("user_name", "What is your name?", "name", "string");
                    Ok(inputs::required([question], Some("asked".to_owned()))?.into())
                }
            }
        }
        _ => return Ok(None),
    };
    answer.map(Some)
}

fn begin<F>(house: &House, work: impl FnOnce(TaskContext) -> F) -> Result<CallToolResponse, ErrorData>
where
    F: Future<Output = Done> + Send + 'static,
{
    let room = house.tasks.enter(&Owner::default());
    let room = room.ok_or_else(|| ErrorData::internal_error("too many calls run", None))?;
    Ok(CreateTaskResult::new(room.begin(work)).into())
}
