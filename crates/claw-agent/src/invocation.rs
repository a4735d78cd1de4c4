//! How the Claude Code CLI is called: arguments, standard input and the variables every run gets.

use std::path::Path;

use claw_core::{JobId, JobSource};

use crate::text::one_line;

/// Makes the CLI ignore what the repository says: no hooks, no MCP servers, no permissions, no CLAUDE.md of the
/// working copy. In print mode the CLI asks nobody before it runs them.
pub const IGNORE_REPOSITORY_SETTINGS: [&str; 2] = ["--setting-sources=", "--strict-mcp-config"];

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
        let mut arguments: Vec<String> =
            ["-p", "--output-format=stream-json", "--verbose"].map(str::to_owned).into();
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

    /// Returns what goes to standard input.
    pub fn stdin(&self) -> Vec<u8> {
        self.prompt.clone().into_bytes()
    }
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
            ["-p", "--output-format=stream-json", "--verbose", "--dangerously-skip-permissions"]
        );
        assert_eq!(invocation.stdin(), b"-p hello");
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
            invocation.arguments()[3..],
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
