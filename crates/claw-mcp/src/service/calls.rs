//! Calls of tools: who may, on which host, now or as a task, with progress, until nobody wants them any more.

use std::{
    borrow::Cow,
    sync::{Arc, OnceLock},
    time::Duration,
};

use rmcp::{
    ErrorData, RoleServer,
    model::{
        CallToolRequestParams, CallToolResponse, CallToolResult, ContentBlock, CreateTaskResult, JsonObject,
        ProgressNotificationParam,
    },
    service::RequestContext,
    task_manager::TaskContext,
};
use serde_json::{Value, json};
use tokio::{sync::mpsc, time::timeout};
use tokio_util::sync::CancellationToken;

use super::{Shared, listing};
use crate::{
    Access, Arguments, Call, Failure, Host, Hosts, Need, Outcome, Owner, Progress, Tasks, Tool, tools,
};

/// How long a call whose client no longer wants it may take to end by itself.
const STOP_TIME: Duration = Duration::from_secs(2);

/// How long the last news of a call that ended may take to be sent.
const NEWS_TIME: Duration = Duration::from_secs(1);

/// How long a call is waited for before its client gets a handle.
const MOMENT: Duration = Duration::from_millis(200);

/// News of one call that wait to be sent. Of more, some are left out.
const NEWS: usize = 16;

/// How long a call waits for a host to tell whether it is back, and what its key permits by now.
const HOST_PATIENCE: Duration = Duration::from_secs(2);

/// Why a tool is not called.
enum Refused {
    /// As if there were no such tool, with what is missing if that helps.
    Unknown(ErrorData),
    /// In words for the model.
    Told(Failure),
}

/// Answers `tools/call`.
pub(super) async fn call<A: Access>(
    shared: &Shared<A>,
    request: CallToolRequestParams,
    context: RequestContext<RoleServer>,
) -> Result<CallToolResponse, ErrorData> {
    let hosts = shared.access.hosts(&context.extensions).await?;
    let mut arguments = request.arguments.unwrap_or_default();
    let (tool, host) = match choose(shared, &hosts, &request.name, &mut arguments).await {
        Ok(chosen) => chosen,
        Err(Refused::Unknown(error)) => return Err(error),
        Err(Refused::Told(failure)) => return Ok(result(Err(failure)).into()),
    };
    let call = Call {
        host,
        hosts,
        arguments: Arguments(arguments),
        progress: Progress::default(),
        stop: CancellationToken::new(),
    };
    let can_poll = || context.client_capabilities().is_some_and(|client| client.supports_tasks());
    if tool.long && can_poll() {
        return polled(&shared.tasks, &Owner::of(&context.extensions), call, tool, &context).await;
    }
    attended(call, tool, &context).await
}

/// Finds the tool and the host, in the order in which the contract has it.
async fn choose<A>(
    shared: &Shared<A>,
    hosts: &Arc<Hosts>,
    name: &str,
    arguments: &mut JsonObject,
) -> Result<(&'static Tool, Arc<Host>), Refused> {
    let Some(tool) = tools::find(name) else { return Err(unknown(name, "", None)) };
    if tool.need == Need::NamedHosts && !hosts.are_named() {
        return Err(unknown(name, "", None));
    }
    if !shared.offers(tool) {
        return Err(unknown(name, "it changes something, and this server only reads", None));
    }
    let Some(first) = hosts.iter().next() else { return Err(unknown(name, "there is no host", None)) };
    if !hosts.are_named() {
        let host = Arc::clone(first);
        require(tool, &host).await.map_err(|problem| problem.of_tool(name))?;
        return Ok((tool, host));
    }
    if tool.need == Need::NamedHosts {
        // What it tells of them is true now.
        hosts.refresh(HOST_PATIENCE).await;
        return Ok((tool, Arc::clone(first)));
    }
    let Some(Value::String(wanted)) = arguments.shift_remove("host") else {
        return Err(told("host parameter is required"));
    };
    let Some(host) = hosts.find(&wanted) else {
        let names: Vec<&str> = hosts.iter().map(|host| host.name()).collect();
        return Err(told(format!("unknown host: {wanted} (available: {})", names.join(", "))));
    };
    let host = Arc::clone(host);
    require(tool, &host).await.map_err(|problem| problem.of_host(&wanted))?;
    Ok((tool, host))
}

/// Why a host's key does not permit a tool.
enum Missing {
    Scopes(Vec<&'static str>),
    Host(String),
}

/// Finds out whether the host's key permits the tool. Nobody is refused for what was known a while ago: the host may be
/// back, and the scope granted.
async fn require(tool: &Tool, host: &Host) -> Result<(), Missing> {
    if listing::permits(host, tool) {
        if !host.standing().is_up() {
            // The call tries it all the same.
            host.suspect();
        }
        return Ok(());
    }
    let standing = host.ask(HOST_PATIENCE).await;
    if let (Some(problem), None) = (standing.problem(), standing.meta()) {
        return Err(Missing::Host(problem.to_owned()));
    }
    let scopes = tool.need.scopes().iter();
    let missing: Vec<_> =
        scopes.filter(|scope| !standing.permits(**scope)).map(|scope| scope.as_str()).collect();
    if missing.is_empty() { Ok(()) } else { Err(Missing::Scopes(missing)) }
}

impl Missing {
    /// Where there is one host: the tool does not exist, and why.
    fn of_tool(self, name: &str) -> Refused {
        match self {
            Self::Scopes(scopes) => {
                let data = json!({"missingScopes": scopes, "grantedBy": GRANTED_BY});
                unknown(name, &wanting(&scopes), Some(data))
            }
            Self::Host(problem) => unknown(name, &problem, None),
        }
    }

    /// Where there are many: what is missing on the one that was chosen.
    fn of_host(self, host: &str) -> Refused {
        match self {
            Self::Scopes(scopes) => {
                let first = scopes.first().copied().unwrap_or_default();
                let text =
                    format!("host \"{host}\" does not have the \"{first}\" scope required for this tool");
                let mut failure = Failure::new(text);
                failure.note = Some(wanting(&scopes));
                Refused::Told(failure)
            }
            Self::Host(problem) => told(format!("host \"{host}\" cannot be used now: {problem}")),
        }
    }
}

/// Who can give a key more scopes.
const GRANTED_BY: &str = "an administrator of the server: `claw key update`, or PATCH /api/keys/{id}";

fn wanting(scopes: &[&str]) -> String {
    let names: Vec<_> = scopes.iter().map(|scope| format!("`{scope}`")).collect();
    let (noun, names) = (if names.len() == 1 { "scope" } else { "scopes" }, names.join(" and "));
    format!("the API key lacks the {noun} {names}, which can be granted by {GRANTED_BY}")
}

/// The words that older clients match on, and after them why.
fn unknown(name: &str, why: &str, data: Option<Value>) -> Refused {
    let mut message = format!("tool '{name}' not found: tool not found");
    if !why.is_empty() {
        message.push_str(&format!(": {why}"));
    }
    Refused::Unknown(ErrorData::invalid_params(Cow::Owned(message), data))
}

fn told(text: impl Into<String>) -> Refused {
    Refused::Told(Failure::new(text))
}

/// Does the work. Arguments that the tool does not know are named in the outcome: a model believes otherwise that what it
/// asked for was done, or looks in vain for what is missing.
async fn run(tool: &'static Tool, call: Call) -> Result<Outcome, Failure> {
    let unknown = call.arguments.unknown(&(tool.input)());
    let outcome = (tool.run)(call).await;
    if unknown.is_empty() {
        return outcome;
    }
    let note = format!("Left out, since this tool does not know it: {}.", unknown.join(", "));
    match outcome {
        Ok(outcome) => Ok(outcome.noting(note)),
        Err(failure) => Err(failure.noting(note)),
    }
}

/// Does the work while the client waits.
async fn attended(
    mut call: Call,
    tool: &'static Tool,
    context: &RequestContext<RoleServer>,
) -> Result<CallToolResponse, ErrorData> {
    let stop = call.stop.clone();
    // Whoever drops this drops the work, and tells what the work left behind.
    let _stopped = stop.clone().drop_guard();
    let (told, news) = match context.meta.get_progress_token() {
        None => (None, None),
        Some(token) => {
            let (tell, told) = mpsc::channel(NEWS);
            let news = move |done, total, message: String| {
                let news = ProgressNotificationParam::new(token.clone(), done).with_message(message);
                let news = match total {
                    Some(total) => news.with_total(total),
                    None => news,
                };
                // Of news that nobody can keep up with, the newest are left out.
                let _ = tell.try_send(news);
            };
            (Some(told), Some(Progress::to(news)))
        }
    };
    if let Some(news) = news {
        call.progress = news;
    }
    let telling = async {
        if let Some(mut told) = told {
            while let Some(news) = told.recv().await {
                if context.peer.notify_progress(news).await.is_err() {
                    return;
                }
            }
        }
    };
    tokio::pin!(telling);
    let mut told_all = false;
    let outcome = {
        let mut work = Box::pin(run(tool, call));
        loop {
            tokio::select! {
                outcome = &mut work => break outcome,
                () = &mut telling, if !told_all => told_all = true,
                () = context.ct.cancelled() => {
                    stop.cancel();
                    // Nobody waits for the answer, but the work may have something to end.
                    match timeout(STOP_TIME, &mut work).await {
                        Ok(outcome) => break outcome,
                        Err(_elapsed) => return Err(cancelled()),
                    }
                }
            }
        }
    };
    if !told_all {
        // A client that does not read its news gets its answer all the same.
        let _elapsed = timeout(NEWS_TIME, telling).await;
    }
    Ok(result(outcome).into())
}

/// Does the work while the client looks at it from time to time. What is done in a moment needs no second look.
async fn polled(
    tasks: &Tasks,
    owner: &Owner,
    mut call: Call,
    tool: &'static Tool,
    context: &RequestContext<RoleServer>,
) -> Result<CallToolResponse, ErrorData> {
    let as_task = Arc::new(OnceLock::<TaskContext>::new());
    let looked_at = Arc::clone(&as_task);
    call.progress = Progress::to(move |_done, _total, message| {
        if let Some(task) = looked_at.get() {
            task.set_status_message(message);
        }
    });
    let stopped = call.stop.clone().drop_guard();
    let mut work = Box::pin(async move {
        // Whoever drops the work tells it to end what it left behind.
        let _stopped = stopped;
        run(tool, call).await
    });
    tokio::select! {
        biased;
        outcome = &mut work => return Ok(result(outcome).into()),
        () = context.ct.cancelled() => return Err(cancelled()),
        () = tokio::time::sleep(MOMENT) => {}
    }
    if let Some(room) = tasks.enter(owner) {
        let task = room.begin(|task| {
            // Set once: here.
            let _ = as_task.set(task);
            async move { Ok(result(work.await)) }
        });
        return Ok(CreateTaskResult::new(task).into());
    }
    // No room for one more: this client waits for the end.
    tokio::select! {
        outcome = work => Ok(result(outcome).into()),
        () = context.ct.cancelled() => Err(cancelled()),
    }
}

fn cancelled() -> ErrorData {
    ErrorData::internal_error("cancelled", None)
}

fn result(outcome: Result<Outcome, Failure>) -> CallToolResult {
    let blocks = |text: String, note: Option<String>| {
        std::iter::once(text).chain(note).map(ContentBlock::text).collect::<Vec<_>>()
    };
    match outcome {
        Ok(outcome) => {
            let mut result = CallToolResult::success(blocks(outcome.text, outcome.note));
            result.structured_content = Some(outcome.structured);
            // The contract's form of success: absent, not `false`.
            result.is_error = None;
            result
        }
        Err(failure) => CallToolResult::error(blocks(failure.text, failure.note)),
    }
}
