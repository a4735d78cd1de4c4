//! How the Claude Code CLI is called: arguments, standard input and the variables every run gets.

use std::path::Path;

use claw_core::{JobId, JobSource};
use serde_json::{Value, json};

use crate::text::one_line;

/// Makes the CLI ignore what the repository says: no hooks, no MCP servers, no permissions, no CLAUDE.md of the
/// working copy. In print mode the CLI asks nobody before it runs them.
pub const IGNORE_REPOSITORY_SETTINGS: [&str; 2] = ["--setting-sources=", "--strict-mcp-config"];

/// What every call begins with. The task comes in as a line of JSON, also where plain text would do: the CLI gives commands
/// in the background more time then, and a job must not depend on whether its CLI was started ahead.
const STREAMING: [&str; 4] = ["-p", "--input-format=stream-json", "--output-format=stream-json", "--verbose"];

/// What the CLI sees in place of the model API's key. The gateway replaces it.
pub const PLACEHOLDER_KEY: &str = "held-by-the-gateway";

/// Longest description of a workspace in the system text, in bytes. One argument may have 128 KiB.
const MAX_DESCRIPTION_BYTES: usize = 4_000;

/// One call of the CLI.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Invocation {
    /// What the agent is to do. Goes in over standard input, so length and a leading `-` do not matter.
    pub prompt: String,
    /// Model name or alias; `None` for the CLI's default.
    pub model: Option<String>,
    /// Most that this call may cost in US dollars. The CLI looks after each answer, so it overshoots by one.
    pub max_budget_usd: Option<f64>,
    /// Tools and patterns the agent may use; empty for all.
    pub allowed_tools: Vec<String>,
    /// Text added to the system prompt.
    pub append_system_prompt: Option<String>,
    /// Session to go on with.
    pub resume: Option<String>,
}

impl Invocation {
    /// Returns the arguments, without the program. Values are joined to their flag with `=`, so that none can be
    /// taken for a flag or swallow the next one.
    pub fn arguments(&self) -> Vec<String> {
        let mut arguments: Vec<String> = STREAMING.map(str::to_owned).into();
        if self.allowed_tools.is_empty() {
            arguments.push("--dangerously-skip-permissions".to_owned());
        } else {
            // Skipping permissions would make the list meaningless: everything runs then. This mode refuses
            // whatever is not listed, and the refusals are reported.
            arguments.push("--permission-mode=dontAsk".to_owned());
            arguments.push(format!("--allowedTools={}", self.allowed_tools.join(",")));
        }
        if let Some(model) = &self.model {
            arguments.push(format!("--model={model}"));
        }
        if let Some(usd) = self.max_budget_usd {
            arguments.push(format!("--max-budget-usd={usd}"));
        }
        if let Some(text) = &self.append_system_prompt {
            arguments.push(format!("--append-system-prompt={text}"));
            // Else the text is recorded with the session, and a later call's text is ignored.
            arguments.push("--system-prompt-snapshot=off".to_owned());
        }
        if let Some(session) = &self.resume {
            arguments.push(format!("--resume={session}"));
        }
        arguments
    }

    /// Returns what goes to standard input: the task, as a line.
    pub fn stdin(&self) -> Vec<u8> {
        line(&json!({"type": "user", "message": {"role": "user", "content": self.prompt}}))
    }
}

/// What a CLI is told that was started with [`waiting_arguments`]: requests to be answered, then the task.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct LateCall {
    /// Requests about the CLI itself. Each is answered by a line that names its id.
    pub(crate) requests: Vec<LateRequest>,
    /// The task, as a line.
    pub(crate) task: Vec<u8>,
}

/// One request to a CLI that waits.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct LateRequest {
    /// Names it in the answer.
    pub(crate) id: String,
    /// The request, as a line.
    pub(crate) line: Vec<u8>,
}

impl LateRequest {
    /// Returns a request that changes nothing, to see whether the CLI answers.
    pub(crate) fn probe() -> Self {
        Self::new(json!({"subtype": "get_settings"}))
    }

    fn new(request: Value) -> Self {
        // Nobody but the CLI and we knows it, so nothing else that is printed passes for the answer.
        let id = format!("claw-{}", uuid::Uuid::new_v4().simple());
        let line = line(&json!({"type": "control_request", "request_id": id, "request": request}));
        Self { id, line }
    }
}

/// Returns the arguments of a CLI that is started before its task is known.
pub(crate) fn waiting_arguments() -> Vec<String> {
    let more = ["--dangerously-skip-permissions", "--system-prompt-snapshot=off"];
    STREAMING.iter().chain(&more).map(|argument| (*argument).to_owned()).collect()
}

impl Invocation {
    /// Tells whether a CLI that was started ahead can be told all of this later.
    pub fn can_come_late(&self) -> bool {
        // Without any text the CLI, started for it, would say what is missing; one that waits asks the model about it.
        self.max_budget_usd.is_none() && self.resume.is_none() && !self.prompt.trim().is_empty()
    }

    /// Returns what to tell a CLI that waits. `environment` holds variables for the agent's commands.
    pub(crate) fn late_call(&self, environment: &[(&str, &str)]) -> LateCall {
        let mut settings = json!({
            "env": environment.iter().map(|(name, value)| ((*name).to_owned(), json!(value))).collect::<serde_json::Map<_, _>>(),
        });
        // As a setting, since a request to change the model asks the API whether it exists.
        if let Some(model) = &self.model {
            settings["model"] = json!(model);
        }
        let mut requests = Vec::new();
        if !self.allowed_tools.is_empty() {
            settings["permissions"] = json!({"allow": self.allowed_tools});
            requests.push(LateRequest::new(json!({"subtype": "set_permission_mode", "mode": "dontAsk"})));
        }
        requests.push(LateRequest::new(json!({"subtype": "apply_flag_settings", "settings": settings})));
        requests.push(LateRequest::new(match &self.append_system_prompt {
            Some(text) => json!({"subtype": "initialize", "appendSystemPrompt": text}),
            None => json!({"subtype": "initialize"}),
        }));
        LateCall { requests, task: self.stdin() }
    }
}

fn line(message: &Value) -> Vec<u8> {
    let mut line = message.to_string().into_bytes();
    line.push(b'\n');
    line
}

/// Returns the variables by which the CLI reaches its model through the gateway's socket. None of them is a secret.
pub fn model_environment(socket: &Path) -> Vec<(String, String)> {
    [
        ("ANTHROPIC_UNIX_SOCKET", socket.to_string_lossy().as_ref()),
        // An http address, else the CLI speaks TLS on the socket.
        ("ANTHROPIC_BASE_URL", "http://localhost"),
        ("ANTHROPIC_API_KEY", PLACEHOLDER_KEY),
        // Alone enough for exactly one request per model turn and no other host.
        ("CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC", "1"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into()
}

/// What the agent is told about where it is.
#[derive(Clone, Copy, Debug)]
pub struct Situation<'a> {
    /// The job.
    pub job: JobId,
    /// Which door it came through.
    pub source: JobSource,
    /// The workspace it works in, if any.
    pub workspace: Option<WorkspaceBrief<'a>>,
}

/// A workspace as the agent is told about it.
#[derive(Clone, Copy, Debug)]
pub struct WorkspaceBrief<'a> {
    /// Its name.
    pub name: &'a str,
    /// What it is for; may be empty.
    pub description: &'a str,
}

/// Returns the text for [`Invocation::append_system_prompt`]: one line.
pub fn system_text(situation: Situation<'_>) -> String {
    let mut parts = Vec::new();
    if let Some(workspace) = situation.workspace {
        parts.push(format!("You are working in the workspace \"{}\".", one_line(workspace.name, 400)));
        let description = one_line(workspace.description, MAX_DESCRIPTION_BYTES);
        if !description.is_empty() {
            parts.push(format!("What it is for: {description}"));
        }
        parts.push(
            "The current directory is managed with git: your changes to files are kept. Do not explore the files \
             if the task does not need them."
                .to_owned(),
        );
    }
    parts.push(format!("This is job {}, submitted through {}.", situation.job, situation.source.as_str()));
    parts.push(
        "Nobody can answer questions while you work. End with a short summary: what you did, what you found, and \
         which files you changed."
            .to_owned(),
    );
    parts.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_call_skips_permissions_and_names_nothing_else() {
        let invocation = Invocation { prompt: "-p hello".into(), ..Invocation::default() };

        assert_eq!(
            invocation.arguments(),
            [
                "-p",
                "--input-format=stream-json",
                "--output-format=stream-json",
                "--verbose",
                "--dangerously-skip-permissions"
            ]
        );
        assert_eq!(
            String::from_utf8(invocation.stdin()).expect("text"),
            "{\"type\":\"user\",\"message\":{\"role\":\"user\",\"content\":\"-p hello\"}}\n"
        );
    }

    #[test]
    fn every_value_is_one_argument_with_its_flag() {
        let invocation = Invocation {
            prompt: "x".into(),
            model: Some("haiku".into()),
            max_budget_usd: Some(5.0),
            allowed_tools: vec!["Bash(git *)".into(), "Write".into()],
            append_system_prompt: Some("--resume".into()),
            resume: Some("--model".into()),
        };

        assert_eq!(
            invocation.arguments()[4..],
            [
                "--permission-mode=dontAsk",
                "--allowedTools=Bash(git *),Write",
                "--model=haiku",
                "--max-budget-usd=5",
                "--append-system-prompt=--resume",
                "--system-prompt-snapshot=off",
                "--resume=--model",
            ]
        );
    }

    #[test]
    fn what_comes_late_is_the_same_call_in_requests() {
        let invocation = Invocation {
            prompt: "/do\nit \u{2028}".into(),
            model: Some("haiku".into()),
            allowed_tools: vec!["Bash(git *)".into()],
            append_system_prompt: Some("text".into()),
            ..Invocation::default()
        };

        let call = invocation.late_call(&[("CLAW_JOB_ID", "j")]);

        let parse = |line: &[u8]| serde_json::from_slice::<Value>(line).expect("JSON");
        let requests: Vec<_> = call.requests.iter().map(|request| parse(&request.line)).collect();
        assert_eq!(
            requests.iter().map(|request| request["request"].clone()).collect::<Vec<_>>(),
            [
                json!({"subtype": "set_permission_mode", "mode": "dontAsk"}),
                json!({"subtype": "apply_flag_settings", "settings":
                    {"env": {"CLAW_JOB_ID": "j"}, "model": "haiku", "permissions": {"allow": ["Bash(git *)"]}}}),
                json!({"subtype": "initialize", "appendSystemPrompt": "text"}),
            ]
        );
        assert!(requests.iter().zip(&call.requests).all(|(line, request)| line["request_id"] == request.id));
        assert_eq!(parse(&call.task)["message"]["content"], invocation.prompt);
        assert_eq!(call.task.iter().filter(|byte| **byte == b'\n').count(), 1, "one line");
    }

    #[test]
    fn what_must_be_known_at_the_start_cannot_come_late() {
        let plain = Invocation { prompt: "x".into(), ..Invocation::default() };

        assert!(plain.can_come_late());
        assert!(!Invocation { resume: Some("s".into()), ..plain.clone() }.can_come_late());
        assert!(!Invocation { max_budget_usd: Some(1.0), ..plain.clone() }.can_come_late());
        assert!(!Invocation { prompt: " \n".into(), ..plain }.can_come_late());
    }

    #[test]
    fn the_system_text_is_one_line_that_names_workspace_and_job() {
        let job = JobId::new();
        let workspace = WorkspaceBrief { name: "site", description: "the\ncompany site" };
        let text = system_text(Situation { job, source: JobSource::Cron, workspace: Some(workspace) });

        assert!(
            text.starts_with(
                "You are working in the workspace \"site\". What it is for: the company site The"
            )
        );
        assert!(text.contains(&format!("This is job {job}, submitted through cron.")));
        assert!(text.contains("summary") && !text.contains('\n'));
    }

    #[test]
    fn without_a_workspace_nothing_is_said_about_git() {
        let text = system_text(Situation { job: JobId::new(), source: JobSource::Api, workspace: None });

        assert!(text.starts_with("This is job") && !text.contains("git"));
    }
}
