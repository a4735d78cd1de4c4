//! What jobs have cost, by day, workspace, model or owner.

use claw_core::{Action, Actor, Resource};
use claw_gate::Gate;
use claw_store::{SpendingFilter, SpendingRow, Store};

use crate::JobsError;

/// Days that one question may cover.
const MAX_DAYS: i32 = 3_700;

/// Tells what was spent.
#[derive(Clone)]
pub struct SpendingService {
    store: Store,
    gate: Gate,
}

impl SpendingService {
    /// Wires the service.
    pub fn new(store: Store, gate: Gate) -> Self {
        Self { store, gate }
    }

    /// Returns what was spent, grouped. Administrators see everyone's, others their own whatever they ask for.
    ///
    /// # Errors
    ///
    /// [`JobsError::BadRange`] if the days are the wrong way round or too many.
    pub async fn spending(
        &self,
        actor: &Actor,
        mut filter: SpendingFilter,
    ) -> Result<Vec<SpendingRow>, JobsError> {
        self.gate.permit(actor, Action::SpendingRead, &Resource::Any)?;
        if filter.from > filter.to || (filter.to - filter.from).get_days() > MAX_DAYS {
            return Err(JobsError::BadRange { max_days: MAX_DAYS });
        }
        if let Some(owner) = actor.sees_only() {
            filter.owner = Some(owner);
        }
        Ok(self.store.jobs.spending(filter).await?)
    }
}
