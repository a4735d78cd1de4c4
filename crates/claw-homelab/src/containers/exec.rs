//! Running programs in containers.

use std::{sync::Arc, time::Duration};

use claw_core::{Action, Actor, Decision, ErrorCode, Resource, decide};
use claw_docker::{
    ExecEnd, ExecLimits, ExecStop, Executed, MAX_EXEC_TIME,
    policy::{ApprovedExec, ExecWish, Facts, Grants, Present},
};
use claw_gate::{Deed, EffectPlace};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::{Containers, Result, logs::plain};
use crate::{Core, HomelabError, masking, request};

/// Time of a program unless asked otherwise.
const DEFAULT_TIME: Duration = Duration::from_secs(30);

/// Bytes that are kept of its output unless asked otherwise, and at the most.
const DEFAULT_BYTES: usize = 64 << 10;
const MAX_BYTES: usize = 1 << 20;

/// Most programs that are run at a time, in all containers together.
pub(crate) const MAX_AT_A_TIME: usize = 16;

/// Most programs besides its own that may run in a container, those that could not be ended counted.
const MAX_IN_ONE: usize = 16;

/// Longest piece of a program's name that is written down, in characters.
const MAX_PROGRAM_CHARS: usize = 64;

/// A program to run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ExecRequest {
    pub(crate) wish: ExecWish,
    pub(crate) time: Option<Duration>,
    pub(crate) bytes: Option<usize>,
}

/// What a program came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExecOutcome {
    /// Its exit code, if it ended by itself.
    pub exit_code: Option<i64>,
    /// The beginning of its standard output, as text that steers no terminal.
    pub stdout: String,
    /// The same of its standard error.
    pub stderr: String,
    /// Whether it wrote more than was kept.
    pub truncated: bool,
    /// Whether its time was up.
    pub timed_out: bool,
    /// Whether it could not be ended then, and goes on.
    pub left_running: bool,
}

impl Containers {
    /// Runs a program in a container and waits for its end. The description is JSON: `command`, and if wanted
    /// `working_dir`, `environment`, `user`, `timeout_seconds` and `max_bytes`. When the caller hangs up, or the server
    /// stops, the program is ended.
    ///
    /// # Errors
    ///
    /// The gate's refusal; [`HomelabError::Invalid`]; [`HomelabError::ContainerNotFound`]; [`HomelabError::Protected`];
    /// [`HomelabError::NotRunning`]; [`HomelabError::ExecRefused`] in a container that the policy would not let anybody
    /// make; [`HomelabError::TooManyPrograms`]; [`HomelabError::Docker`].
    pub async fn exec(&self, actor: &Actor, container: &str, body: &[u8]) -> Result<ExecOutcome> {
        let may_ask = decide(actor, Action::ContainersExec, &Resource::Any) == Decision::Allow;
        // Those who may not are told that, whatever they sent.
        let request = if may_ask { request::exec(body)? } else { ExecRequest::default() };
        let (core, actor, asked) = (Arc::clone(&self.core), actor.clone(), container.to_owned());
        // Dropped together with whoever waits.
        let unwanted = core.stop.child_token();
        let _caller = unwanted.clone().drop_guard();
        let work = async move { Box::pin(core.exec(&actor, &asked, request, unwanted)).await };
        self.core.work.to_its_end(work).await
    }
}

impl Core {
    async fn exec(
        &self,
        actor: &Actor,
        asked: &str,
        request: ExecRequest,
        unwanted: CancellationToken,
    ) -> Result<ExecOutcome> {
        let deed = |target: String, detail| Deed {
            action: Action::ContainersExec,
            verb: "container.exec",
            resource: Resource::Any,
            target,
            place: EffectPlace::Outside,
            detail,
        };
        if decide(actor, Action::ContainersExec, &Resource::Any) != Decision::Allow {
            // Refused on the record, and without a word about whether there is such a container.
            let nothing = std::future::ready(Err(HomelabError::Stopping));
            return self.gate.perform(actor, deed(format!("container:{asked}"), None), nothing).await;
        }
        let container = self.find(asked).await?;
        let ExecWish { command, user, .. } = &request.wish;
        // Arguments and variables may hold passwords, and the trail is kept for long.
        let mut detail = json!({
            "name": container.name,
            "program": program(command),
            "arguments": command.len().saturating_sub(1),
        });
        if let Some(user) = user {
            detail["user"] = HomelabError::shown(user).into();
        }
        let deed = deed(format!("container:{}", container.id), Some(detail));
        let effect = Box::pin(self.judge_and_run(actor, &container.id, request, unwanted));
        let done = self.gate.perform(actor, deed, effect).await;
        self.tell(actor, "exec", asked, Some(&container.id), done.as_ref().err()).await;
        done
    }

    async fn judge_and_run(
        &self,
        actor: &Actor,
        id: &str,
        request: ExecRequest,
        unwanted: CancellationToken,
    ) -> Result<ExecOutcome> {
        let Ok(_room) = self.execs.try_acquire() else {
            return Err(HomelabError::TooManyPrograms);
        };
        // By the id, and as it is now: names change hands.
        let present = self.docker.present(id).await?;
        self.protection.check(&present.entry).await?;
        let approved = Box::pin(self.judge_exec(actor, &request.wish, &present)).await?;
        if !present.entry.is_running() || present.paused {
            return Err(HomelabError::NotRunning(present.entry.name));
        }
        if present.programs >= MAX_IN_ONE {
            return Err(HomelabError::TooManyPrograms);
        }
        let limits = ExecLimits {
            time: request.time.unwrap_or(DEFAULT_TIME),
            bytes: request.bytes.unwrap_or(DEFAULT_BYTES),
        };
        let executed = Box::pin(self.docker.exec(&approved, limits, unwanted.cancelled())).await?;
        Ok(outcome(&present, executed))
    }

    /// Asks the policy about the container as it is. What a reviewed app has beyond the policy counts for administrators
    /// alone: the app was reviewed, and not what others run in it.
    async fn judge_exec(&self, actor: &Actor, wish: &ExecWish, present: &Present) -> Result<ApprovedExec> {
        let wishes = [present.wish().clone()];
        let facts = Facts::gather(&self.docker, &self.policy, &wishes, &self.own).await?;
        let grants = match actor.is_admin() {
            true => self.marketplace.grants_of(&present.entry).await,
            false => Arc::new(Grants::default()),
        };
        let approved = self.policy.judge_exec(wish, present, &facts, &grants);
        approved
            .map_err(|refused| HomelabError::ExecRefused { container: present.entry.name.clone(), refused })
    }
}

/// The name of a program, for those who read the trail.
fn program(command: &[String]) -> String {
    let program = command.first().map_or("", |program| program.rsplit('/').next().unwrap_or_default());
    program.chars().take(MAX_PROGRAM_CHARS).collect()
}

/// Values of the container's variables that look like secrets are hidden, as in its log. This is no wall: whoever runs
/// programs in a container can read what is in it.
fn outcome(present: &Present, executed: Executed) -> ExecOutcome {
    let environment = present.environment.iter().map(|variable| (&*variable.name, &*variable.value));
    let secrets = masking::secret_values(environment);
    let text = |bytes: &[u8]| plain(&masking::hide(String::from_utf8_lossy(bytes).into_owned(), &secrets));
    let (exit_code, why, left_running) = match executed.end {
        ExecEnd::Code(code) => (Some(code), None, false),
        ExecEnd::Ended { why, goes_on } => (None, Some(why), goes_on),
    };
    ExecOutcome {
        exit_code,
        stdout: text(&executed.stdout),
        stderr: text(&executed.stderr),
        truncated: executed.truncated,
        timed_out: why == Some(ExecStop::TimeUp),
        left_running,
    }
}

impl ExecRequest {
    /// Checks what was asked for beside the program.
    pub(crate) fn bounded(self) -> Result<Self> {
        let invalid = |message: String| Err(HomelabError::invalid(ErrorCode::InvalidRequest, message));
        if self.wish.command.first().is_none_or(|program| program.is_empty()) {
            return invalid("`command` is missing: name the program, and its arguments after it".to_owned());
        }
        if self.time.is_some_and(|time| time.is_zero() || time > MAX_EXEC_TIME) {
            return invalid(format!("`timeout_seconds` is a number from 1 to {}", MAX_EXEC_TIME.as_secs()));
        }
        if self.bytes.is_some_and(|bytes| bytes > MAX_BYTES) {
            return invalid(format!("`max_bytes` is a number from 0 to {MAX_BYTES}"));
        }
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_trail_gets_the_name_of_a_program_and_not_its_path_or_arguments() {
        for (command, name) in [
            (&["/usr/bin/curl", "-u", "ann:hunter2"][..], "curl"),
            (&["sh", "-c", "echo hunter2"], "sh"),
            (&["/"], ""),
            (&[], ""),
        ] {
            let command: Vec<_> = command.iter().map(|&word| word.to_owned()).collect();
            assert_eq!(program(&command), name);
        }
        assert_eq!(program(&["ä".repeat(500)]).chars().count(), 64);
    }
}
