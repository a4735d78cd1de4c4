//! What a run came to.

use std::time::Duration;

use claw_core::{FailureKind, RunUsage};

use super::{Failure, GatewayReport, api_failure};
use crate::stream::{Denial, Verdict, upstream_failure};

/// How a run ended.
#[derive(Clone, Debug, PartialEq)]
pub enum RunEnd {
    /// The agent finished.
    Completed {
        /// Its closing text.
        text: String,
    },
    /// The run failed.
    Failed {
        /// Decides whether trying again can help.
        kind: FailureKind,
        /// What happened and what to do.
        message: String,
    },
    /// It was cancelled.
    Cancelled,
}

/// What a run came to. Cost, session and partial text are there however it ended.
#[derive(Clone, Debug, PartialEq)]
pub struct RunReport {
    /// How it ended.
    pub end: RunEnd,
    /// What it used.
    pub usage: RunUsage,
    /// The CLI's session, for going on with it.
    pub session_id: Option<String>,
    /// Turns the agent took.
    pub num_turns: Option<u64>,
    /// The CLI's own total, for the session's next run.
    pub session_total_cost_usd: Option<f64>,
    /// What the agent had said, if the run did not complete.
    pub partial_text: String,
    /// Tool calls that were refused.
    pub permission_denials: Vec<Denial>,
    /// Files that the agent's tools wrote, as the agent named them.
    pub files_written: Vec<String>,
    /// The traffic with the model API.
    pub traffic: GatewayReport,
}

impl RunReport {
    /// `outcome` is `Err` for a cancelled run.
    pub(super) fn new(
        outcome: Result<Result<String, Failure>, ()>,
        verdict: Verdict,
        traffic: GatewayReport,
        wall_time: Duration,
    ) -> Self {
        let end = match outcome {
            Ok(Ok(text)) => RunEnd::Completed { text },
            Ok(Err(Failure { kind, message })) => RunEnd::Failed { kind, message },
            Err(()) => RunEnd::Cancelled,
        };
        Self {
            end,
            usage: RunUsage {
                cost_usd: verdict.cost_usd,
                duration_ms: wall_time.as_millis().try_into().unwrap_or(u64::MAX),
            },
            session_id: verdict.session_id,
            num_turns: verdict.num_turns,
            session_total_cost_usd: verdict.session_total_cost_usd,
            partial_text: verdict.partial_text,
            permission_denials: verdict.permission_denials,
            files_written: verdict.files_written,
            traffic,
        }
    }
}

/// The failure of a run whose time was up, with what it was waiting for if that is known.
pub(super) fn timed_out(
    after: Duration,
    traffic: &GatewayReport,
    last_retry: Option<(Option<u16>, String)>,
) -> Failure {
    let waiting = match (&traffic.last_error, last_retry) {
        (Some(error), Some(_)) => format!("; at the end {}", upstream_failure(error).message),
        _ => String::new(),
    };
    let message = format!("the job's time of {} s was up{waiting}", after.as_secs_f64().ceil());
    Failure::new(FailureKind::Timeout, message)
}

/// The failure of a run that printed too much for a log.
pub(super) fn too_much_output(most: u64) -> Failure {
    let message = format!(
        "the job printed more than the {} MB that a log may have; have it write long output to files",
        most >> 20
    );
    Failure::new(FailureKind::Agent, message)
}

/// The failure of a run that we ended because the model API refused the credential.
pub(super) fn hopeless(traffic: &GatewayReport, last_retry: Option<(Option<u16>, String)>) -> Failure {
    match (&traffic.last_error, last_retry) {
        (Some(error), _) => upstream_failure(error),
        (None, Some((status, error))) => api_failure(status.or(Some(401)), &error),
        (None, None) => api_failure(Some(401), ""),
    }
}

/// The failure of a run that a used-up limit ended, whatever the agent made of it; else `failure`.
pub(super) fn or_budget(failure: Failure, traffic: &GatewayReport) -> Failure {
    match &traffic.refused_for_budget {
        Some(message) => Failure::new(FailureKind::Budget, message.clone()),
        None => failure,
    }
}
