//! What a job is to do.

use serde::{Deserialize, Serialize};

use crate::{RepoPath, WorkspaceId};

/// How urgent a job is: 0 to 9, the highest first. Larger numbers count as 9, as clients of old expect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(from = "u8", into = "u8")]
pub struct Priority(u8);

impl Priority {
    /// The number of the most urgent ones.
    pub const HIGHEST: u8 = 9;

    /// Returns the number, 0 to 9.
    pub fn get(self) -> u8 {
        self.0
    }
}

impl From<u8> for Priority {
    fn from(value: u8) -> Self {
        Self(value.min(Self::HIGHEST))
    }
}

impl From<Priority> for u8 {
    fn from(priority: Priority) -> Self {
        priority.0
    }
}

impl Default for Priority {
    fn default() -> Self {
        Self(5)
    }
}

/// Which door a job came through.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum JobSource {
    /// The command line.
    Cli,
    /// The REST API.
    #[default]
    Api,
    /// The webhook route.
    Webhook,
    /// A schedule.
    Cron,
    /// A file dropped into the watched folder.
    Filewatcher,
}

impl JobSource {
    /// Returns the name that clients and the store use.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Cli => "cli",
            Self::Api => "api",
            Self::Webhook => "webhook",
            Self::Cron => "cron",
            Self::Filewatcher => "filewatcher",
        }
    }

    /// Returns the source of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Cli, Self::Api, Self::Webhook, Self::Cron, Self::Filewatcher]
            .into_iter()
            .find(|s| s.as_str() == name)
    }
}

/// Where the result goes besides the store.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum OutputDest {
    /// Nowhere else: it is kept with the job. The name is the one that clients know.
    #[default]
    Redis,
}

/// What is wrong with a submitted job.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SpecError {
    /// Nothing to do.
    #[error("`prompt` is empty; say what the job is to do")]
    EmptyPrompt,
    /// More than the agent CLI accepts.
    #[error("`prompt` has {len} bytes; the limit is {} bytes", JobSpec::MAX_PROMPT_BYTES)]
    PromptTooLong {
        /// Its length in bytes.
        len: usize,
    },
    /// The budget is not a positive amount.
    #[error("`max_budget_usd` must be a positive amount up to 10000")]
    Budget,
    /// The timeout is zero or longer than a day.
    #[error("`timeout_secs` must be from 1 to 86400")]
    Timeout,
    /// A model name that could be taken for a flag or holds odd characters.
    #[error(
        "`model` must have 1 to 128 characters: letters, digits and `-_.:/[]@`, and begin with a letter or digit"
    )]
    Model,
    /// Too many tags, or one that is empty, too long or holds control characters.
    #[error("`tags` may hold 32 tags of 1 to 100 characters without control characters")]
    Tags,
    /// A tool pattern that could be taken for a flag or splits the list.
    #[error("`allowed_tools` may hold 100 patterns of 1 to 200 characters that do not begin with `-`")]
    AllowedTools,
    /// The folder is not inside the workspace.
    #[error("`working_dir` must be a folder inside the workspace, such as `.` or `src`")]
    WorkingDir,
}

/// What was asked for. Everything here was checked by [`JobSpec::check`] before it was stored.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct JobSpec {
    /// What the agent is to do.
    pub prompt: String,
    /// Model name or alias; `None` takes the CLI's default.
    pub model: Option<String>,
    /// Most that the job may cost in US dollars, over all its runs.
    pub max_budget_usd: Option<f64>,
    /// Tools the agent may use; `None` for all. So is an empty list: clients send one for a field left blank, and an agent
    /// without any tool is not what they mean by it.
    pub allowed_tools: Option<Vec<String>>,
    /// Labels for finding jobs again.
    #[serde(default)]
    pub tags: Vec<String>,
    /// Where the result goes.
    #[serde(default)]
    pub output_dest: OutputDest,
    /// Which door it came through.
    pub source: JobSource,
    /// How urgent it is.
    #[serde(default)]
    pub priority: Priority,
    /// Wall time of one run in seconds; `None` takes the installation's.
    pub timeout_secs: Option<u64>,
    /// The workspace whose files the job sees; `None` for an empty folder.
    pub workspace_id: Option<WorkspaceId>,
    /// Folder inside the workspace where the agent starts; `None` for the top.
    pub working_dir: Option<String>,
}

impl JobSpec {
    /// Longest prompt in bytes. The agent CLI itself gives up at about 9 MB.
    pub const MAX_PROMPT_BYTES: usize = 1_500_000;

    /// Returns a job that only says what to do.
    pub fn new(prompt: impl Into<String>, source: JobSource) -> Self {
        Self {
            prompt: prompt.into(),
            model: None,
            max_budget_usd: None,
            allowed_tools: None,
            tags: Vec::new(),
            output_dest: OutputDest::Redis,
            source,
            priority: Priority::default(),
            timeout_secs: None,
            workspace_id: None,
            working_dir: None,
        }
    }

    /// Checks everything that can be judged without asking the store.
    ///
    /// # Errors
    ///
    /// Returns the first field that cannot be accepted.
    pub fn check(&self) -> Result<(), SpecError> {
        if self.prompt.trim().is_empty() {
            return Err(SpecError::EmptyPrompt);
        }
        if self.prompt.len() > Self::MAX_PROMPT_BYTES {
            return Err(SpecError::PromptTooLong { len: self.prompt.len() });
        }
        if self.max_budget_usd.is_some_and(|usd| !(usd > 0.0 && usd <= 10_000.0)) {
            return Err(SpecError::Budget);
        }
        if self.timeout_secs.is_some_and(|secs| !(1..=86_400).contains(&secs)) {
            return Err(SpecError::Timeout);
        }
        if self.model.as_deref().is_some_and(|model| !is_model_name(model)) {
            return Err(SpecError::Model);
        }
        let tag_ok = |tag: &String| {
            !tag.is_empty() && tag.chars().count() <= 100 && !tag.chars().any(char::is_control)
        };
        if self.tags.len() > 32 || !self.tags.iter().all(tag_ok) {
            return Err(SpecError::Tags);
        }
        let pattern_ok = |tool: &String| {
            !tool.is_empty()
                && tool.len() <= 200
                && !tool.starts_with('-')
                && !tool.chars().any(char::is_control)
        };
        if self.allowed_tools.as_ref().is_some_and(|tools| tools.len() > 100 || !tools.iter().all(pattern_ok))
        {
            return Err(SpecError::AllowedTools);
        }
        if self.working_dir.as_deref().is_some_and(|dir| dir.parse::<RepoPath>().is_err()) {
            return Err(SpecError::WorkingDir);
        }
        Ok(())
    }
}

fn is_model_name(name: &str) -> bool {
    name.len() <= 128
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || "-_.:/[]@".contains(c))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s6_specs_with_hostile_fields_are_refused() {
        let spec = |change: fn(&mut JobSpec)| {
            let mut spec = JobSpec::new("do it", JobSource::Api);
            change(&mut spec);
            spec.check()
        };
        assert_eq!(spec(|_| ()), Ok(()));
        assert_eq!(spec(|s| s.prompt = " \n".into()), Err(SpecError::EmptyPrompt));
        assert_eq!(spec(|s| s.max_budget_usd = Some(0.0)), Err(SpecError::Budget));
        assert_eq!(spec(|s| s.max_budget_usd = Some(f64::NAN)), Err(SpecError::Budget));
        assert_eq!(spec(|s| s.timeout_secs = Some(0)), Err(SpecError::Timeout));
        assert_eq!(spec(|s| s.model = Some("--dangerously".into())), Err(SpecError::Model));
        assert_eq!(spec(|s| s.model = Some("opus\n".into())), Err(SpecError::Model));
        assert_eq!(
            spec(|s| s.allowed_tools = Some(vec!["--mcp-config".into()])),
            Err(SpecError::AllowedTools)
        );
        assert_eq!(spec(|s| s.working_dir = Some("../..".into())), Err(SpecError::WorkingDir));
        assert_eq!(spec(|s| s.working_dir = Some("/var/run".into())), Err(SpecError::WorkingDir));
        assert_eq!(spec(|s| s.tags = vec!["a\u{1b}]52;c;x".into()]), Err(SpecError::Tags));
    }
}
