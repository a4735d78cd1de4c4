//! What is old goes: ended jobs, their logs, events, timelines, audit entries, and files that nobody needs any more.
//!
//! Everything happens in small steps with pauses between them, so that requests do not wait. A round that is cut short
//! has done what it has done, and the next one goes on: each step looks at what there is. What waits or runs is never
//! touched.

mod report;
mod rules;
mod steps;

use std::{sync::Arc, time::Duration};

use claw_agent::sandbox::Sandbox;
use claw_core::{Action, Actor, Clock, Resource, Timestamp};
use claw_gate::{Deed, EffectPlace, Gate};
use claw_store::Store;
use claw_workspace::Workspaces;
use tokio_util::sync::CancellationToken;

use crate::JobsError;

pub use report::{GcCount, GcReport, GcSubject};
pub use rules::RetentionRules;

use steps::Round;

/// How often a round is made.
const INTERVAL: Duration = Duration::from_secs(3600);

/// How long after a start the first round is made: a server that has just come up has better things to do.
const FIRST: Duration = Duration::from_secs(60);

/// Keeps the data folder from growing for ever. Cheap to clone; clones make one round at a time.
#[derive(Clone)]
pub struct Retention {
    store: Store,
    gate: Gate,
    files: Workspaces,
    sandbox: Arc<dyn Sandbox>,
    rules: RetentionRules,
    clock: Arc<dyn Clock>,
    started_at: Timestamp,
    one_round: Arc<tokio::sync::Mutex<()>>,
}

impl Retention {
    /// Wires the part.
    pub fn new(
        store: Store,
        gate: Gate,
        files: Workspaces,
        sandbox: Arc<dyn Sandbox>,
        rules: RetentionRules,
        clock: Arc<dyn Clock>,
    ) -> Self {
        // Whole milliseconds, which is what ids tell of the time they were made.
        let started_at = Timestamp::from_millisecond(clock.now().as_millisecond()).unwrap_or(Timestamp::MIN);
        let one_round = Arc::default();
        Self { store, gate, files, sandbox, rules, clock, started_at, one_round }
    }

    /// Makes a round every hour until `stop`. Whoever starts the server runs this as one of its tasks.
    pub async fn run(&self, stop: CancellationToken) {
        let mut pause = FIRST;
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(pause) => {}
            }
            pause = INTERVAL;
            let round = self.round(false);
            tokio::select! {
                // A round may be dropped at any step.
                () = stop.cancelled() => return,
                report = round => match report {
                    Ok(report) if report.is_empty() => {}
                    Ok(report) => tracing::info!(%report, "removed what was old"),
                    Err(error) => tracing::warn!(%error, "could not remove what is old; the next round goes on"),
                },
            }
        }
    }

    /// Makes a round now, or only tells what one would remove. For administrators.
    ///
    /// # Errors
    ///
    /// Fails at the first step that fails; what was removed before stays removed.
    pub async fn gc(&self, actor: &Actor, dry_run: bool) -> Result<GcReport, JobsError> {
        if dry_run {
            self.gate.permit(actor, Action::Maintain, &Resource::Any)?;
            return self.round(true).await;
        }
        let deed = Deed {
            action: Action::Maintain,
            verb: "house.gc",
            resource: Resource::Any,
            target: String::new(),
            place: EffectPlace::Outside,
            detail: None,
        };
        self.gate.perform(actor, deed, self.round(false)).await
    }

    async fn round(&self, dry_run: bool) -> Result<GcReport, JobsError> {
        let _one = self.one_round.lock().await;
        Round::new(self, dry_run).make().await
    }
}
