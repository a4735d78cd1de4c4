//! What traces show of a job: its steps with its id, and nothing of what it says or does.
//!
//! A submit and each run begin at the top: they happen at different times and places, and belong together by the job's id
//! alone. The steps of a run stand below it. What is on the way of every submit is at debug level, which the log leaves
//! out unless asked, so that it costs nothing without a trace.

use claw_core::{ClaimedJob, Clock, JobId};
use tracing::{Span, debug_span, info_span};

/// The submit of a job, for the request that is being answered.
pub(crate) fn submit(job: JobId) -> Span {
    let span = debug_span!(parent: None, "submit", job.id = %job);
    span.follows_from(Span::current());
    span
}

/// One run of a job from its claim to its end.
pub(crate) fn run(claimed: &ClaimedJob, clock: &dyn Clock) -> Span {
    let ClaimedJob { job, token } = claimed;
    let waited_ms = clock.now().duration_since(job.created_at).as_millis();
    info_span!(parent: None, "job", job.id = %job.id, attempt = token, since_submit_ms = %waited_ms)
}

/// Making a working copy and a sandbox's place ready.
pub(crate) fn prepare(job: JobId) -> Span {
    debug_span!("prepare", job.id = %job)
}

/// The agent at work.
pub(crate) fn agent(job: JobId) -> Span {
    debug_span!("run", job.id = %job)
}

/// Keeping what the agent changed.
pub(crate) fn keep(job: JobId) -> Span {
    debug_span!("keep", job.id = %job)
}

/// Writing down how the job ended.
pub(crate) fn finish(job: JobId) -> Span {
    debug_span!("finish", job.id = %job)
}
