//! What a run adds up to.

use std::collections::{BTreeSet, HashMap, VecDeque};

use serde_json::Value;

use super::{
    Denial, Event, ResultEvent,
    failure::{Failure, exit_failure, result_failure},
};
use crate::{gateway::UpstreamError, sandbox::Exit, text::cut};

/// Longest text put together from what the agent said, when its result has none.
pub const MAX_FALLBACK_BYTES: usize = 50_000;

/// Longest result text. More than any model says in one answer.
const MAX_RESULT_BYTES: usize = 2 * 1024 * 1024;

/// Most file names, open tool calls and refusals kept; a run that exceeds them is still judged.
const MAX_ENTRIES: usize = 1_000;

/// How much of the end of standard error is kept.
const MAX_STDERR_BYTES: usize = 500;

const CUT_NOTE: &str = "\n\n[cut here: the text was longer]";

/// Adds up a run from its events. Pure: no clock, no I/O; its memory is bounded whatever the agent does.
#[derive(Debug, Default)]
pub struct RunTally {
    session_id: Option<String>,
    last_result: Option<ResultEvent>,
    num_turns: Option<u64>,
    /// Cost of all results so far, as long as each one told its own.
    told_cost_usd: Option<f64>,
    every_result_told: bool,
    denials: Vec<Denial>,
    said: String,
    said_more: bool,
    open_writes: HashMap<String, String>,
    files_written: BTreeSet<String>,
    stderr: VecDeque<u8>,
    last_retry: Option<(Option<u16>, String)>,
}

/// What a run added up to.
#[derive(Clone, Debug, PartialEq)]
pub struct Verdict {
    /// The result text, or why there is no success.
    pub outcome: Result<String, Failure>,
    /// What the agent had said so far; empty when `outcome` has the text.
    pub partial_text: String,
    /// The session, for going on with it.
    pub session_id: Option<String>,
    /// Turns of the run.
    pub num_turns: Option<u64>,
    /// What this run cost in US dollars.
    pub cost_usd: Option<f64>,
    /// The CLI's own total, to be given to the next run of the session.
    pub session_total_cost_usd: Option<f64>,
    /// Tool calls that were refused.
    pub permission_denials: Vec<Denial>,
    /// Files that the agent's tools wrote, as the agent named them.
    pub files_written: Vec<String>,
}

impl RunTally {
    /// Counts an event.
    pub fn event(&mut self, event: &Event) {
        match event {
            Event::Init { session_id, .. } => self.session_id = session_id.clone().or(self.session_id.take()),
            Event::AssistantText { text, parent_tool_use_id: None } => self.say(text),
            Event::ToolUse { id, name, input } => self.tool_use(id, name, input),
            Event::ToolResult { tool_use_id, is_error, .. } => {
                if let Some(file) = self.open_writes.remove(tool_use_id)
                    && !is_error
                    && self.files_written.len() < MAX_ENTRIES
                {
                    self.files_written.insert(file);
                }
            }
            Event::ApiRetry { status, error, .. } => self.last_retry = Some((*status, error.clone())),
            Event::PermissionDenied(denial) => self.deny(denial),
            Event::Result(result) => self.result(result),
            // A sub-agent's text is for its caller, and the CLI's own text is no work of the agent.
            Event::AssistantText { .. }
            | Event::SyntheticText { .. }
            | Event::Thinking { .. }
            | Event::Other { .. } => {}
        }
    }

    /// Counts a line of standard error.
    pub fn stderr_line(&mut self, line: &[u8]) {
        let tail = &line[line.len().saturating_sub(MAX_STDERR_BYTES)..];
        self.stderr.extend(tail.iter().chain(b"\n"));
        let excess = self.stderr.len().saturating_sub(MAX_STDERR_BYTES);
        self.stderr.drain(..excess);
    }

    /// Returns the HTTP status and the CLI's word of the last failed try to reach the model, if any.
    pub fn last_retry(&self) -> Option<(Option<u16>, &str)> {
        self.last_retry.as_ref().map(|(status, error)| (*status, error.as_str()))
    }

    /// Judges the run. Success needs exit code 0, a result, and one that is no error.
    ///
    /// `exit` is `None` for a run that we ended ourselves; its failure then is for the caller to name.
    /// `previous_total_usd` is [`Verdict::session_total_cost_usd`] of the session's run before this one.
    pub fn verdict(
        mut self,
        exit: Option<Exit>,
        upstream: Option<&UpstreamError>,
        previous_total_usd: Option<f64>,
    ) -> Verdict {
        let cost_usd = self.cost(previous_total_usd);
        let stderr = String::from_utf8_lossy(self.stderr.make_contiguous()).trim().to_owned();
        let exit = exit.unwrap_or(Exit { code: 143, out_of_memory: false });
        let outcome = match &self.last_result {
            Some(result) if exit.code == 0 && !result.is_error => Ok(self.result_text(result)),
            Some(result) => Err(result_failure(result, exit, upstream, &stderr)),
            None => Err(exit_failure(exit, &stderr)),
        };
        let partial_text = if outcome.is_ok() { String::new() } else { self.fallback_text() };
        Verdict {
            outcome,
            partial_text,
            num_turns: self.num_turns,
            cost_usd,
            session_total_cost_usd: self.last_result.and_then(|result| result.total_cost_usd),
            session_id: self.session_id,
            permission_denials: self.denials,
            files_written: self.files_written.into_iter().collect(),
        }
    }

    /// What this run cost. Newer CLIs tell it with each result; else the total is of the session or of the process,
    /// which shows in whether it fell.
    fn cost(&self, previous_total_usd: Option<f64>) -> Option<f64> {
        let result = self.last_result.as_ref()?;
        if self.every_result_told {
            return self.told_cost_usd;
        }
        let total = result.total_cost_usd?;
        match previous_total_usd {
            Some(previous) if previous <= total => Some(total - previous),
            _ => Some(total),
        }
    }

    fn result(&mut self, result: &ResultEvent) {
        self.session_id = result.session_id.clone().or(self.session_id.take());
        self.every_result_told = (self.last_result.is_none() || self.every_result_told)
            && result.cost_since_last_result_usd.is_some();
        if let Some(usd) = result.cost_since_last_result_usd {
            self.told_cost_usd = Some(self.told_cost_usd.unwrap_or_default() + usd);
        }
        if let Some(turns) = result.num_turns {
            self.num_turns = Some(self.num_turns.unwrap_or_default().saturating_add(turns));
        }
        for denial in &result.permission_denials {
            self.deny(denial);
        }
        self.last_result = Some(result.clone());
    }

    /// Refusals come as events and again with the result.
    fn deny(&mut self, denial: &Denial) {
        if self.denials.len() < MAX_ENTRIES && !self.denials.contains(denial) {
            self.denials.push(denial.clone());
        }
    }

    fn tool_use(&mut self, id: &str, name: &str, input: &Value) {
        let field = match name {
            "Write" | "Edit" | "MultiEdit" => "file_path",
            "NotebookEdit" => "notebook_path",
            _ => return,
        };
        if let Some(file) = input.get(field).and_then(Value::as_str)
            && self.open_writes.len() < MAX_ENTRIES
        {
            self.open_writes.insert(id.to_owned(), cut(file, 4_096).to_owned());
        }
    }

    fn say(&mut self, text: &str) {
        let text = text.trim();
        if text.is_empty() {
            return;
        }
        if !self.said.is_empty() {
            self.said.push_str("\n\n");
        }
        let room = MAX_FALLBACK_BYTES.saturating_sub(self.said.len());
        self.said_more |= text.len() > room;
        self.said.push_str(cut(text, room));
    }

    fn result_text(&self, result: &ResultEvent) -> String {
        match result.text.as_deref() {
            Some(text) if !text.trim().is_empty() => bounded(text.to_owned(), MAX_RESULT_BYTES, false),
            _ => self.fallback_text(),
        }
    }

    /// Everything the agent said, and the files it wrote.
    fn fallback_text(&self) -> String {
        let mut text = self.said.clone();
        if !self.files_written.is_empty() && !self.said_more {
            let separator = if text.is_empty() { "" } else { "\n\n" };
            text.push_str(separator);
            text.push_str("Files written:");
            for file in &self.files_written {
                text.push_str("\n- ");
                text.push_str(file);
            }
        }
        bounded(text, MAX_FALLBACK_BYTES, self.said_more)
    }
}

/// Cuts `text` so that it fits `max_bytes` together with the note that says so.
fn bounded(mut text: String, max_bytes: usize, already_cut: bool) -> String {
    if already_cut || text.len() > max_bytes {
        text.truncate(text.floor_char_boundary(max_bytes - CUT_NOTE.len()));
        text.push_str(CUT_NOTE);
    }
    text
}

#[cfg(test)]
mod tests;
