//! What jobs may still spend: the budget of each, the daily limit of each key, and that of the installation.

use std::{collections::HashMap, fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use claw_agent::gateway::{Allowance, Meter, MeterError};
use claw_core::{Clock, Job, JobId, JobSpec, ModelUse, Timestamp, Usd, WorkspaceId};
use claw_gate::Gate;
use claw_store::{Charge, Spent, Store, StoreError};

use crate::{JobsError, Settings, worker::Wait};

/// How often a charge is tried that the store did not take. Then the run ends: what cannot be counted is not spent.
const CHARGE_TRIES: u32 = 5;

/// Pause before the second try; it doubles with each further one.
const CHARGE_AGAIN: Duration = Duration::from_millis(50);

const SECONDS_PER_DAY: i64 = 86_400;

/// Knows the limits and what was spent of them. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Purse {
    store: Store,
    gate: Gate,
    settings: Settings,
    clock: Arc<dyn Clock>,
}

/// The daily limits that are used up, with what to tell those who wait.
#[derive(Debug, Default)]
pub(crate) struct UsedUp {
    /// The installation's: no job begins.
    pub(crate) installation: Option<Wait>,
    /// Those of keys, by owner mark: their jobs do not begin.
    pub(crate) owners: HashMap<String, Wait>,
}

/// What is left of the limits of one job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Left {
    /// What the job may cost over all its runs, if that is limited, and what is left of it.
    pub(crate) budget: Option<(Usd, Usd)>,
    /// What is left of the tightest limit, and which one that is; `None` without any limit.
    pub(crate) tightest: Option<(Usd, String)>,
}

impl Left {
    /// Tells whether the job's own budget is used up.
    pub(crate) fn is_budget_used_up(&self) -> bool {
        self.budget.is_some_and(|(_, left)| left == Usd::ZERO)
    }

    /// Tells whether some limit is used up.
    pub(crate) fn is_used_up(&self) -> bool {
        self.tightest.as_ref().is_some_and(|(left, _)| *left == Usd::ZERO)
    }
}

impl Purse {
    pub(crate) fn new(store: Store, gate: Gate, settings: Settings, clock: Arc<dyn Clock>) -> Self {
        Self { store, gate, settings, clock }
    }

    /// Returns which daily limits are used up today.
    pub(crate) async fn used_up(&self) -> Result<UsedUp, JobsError> {
        let (settings, caps) = (self.settings.for_run().await?, self.gate.day_caps().await?);
        if settings.max_cost_per_day.is_none() && caps.is_empty() {
            return Ok(UsedUp::default());
        }
        let now = self.clock.now();
        let until = Some(next_day(now));
        let mut used_up = UsedUp::default();
        if let Some(cap) = settings.max_cost_per_day
            && self.store.jobs.spent(None, "", now).await?.installation_today >= cap
        {
            let reason = format!(
                "the installation's limit of {cap} a day is used up: jobs go on at 00:00 UTC, or when an \
                 administrator raises the setting `max_cost_per_day_usd`"
            );
            used_up.installation = Some(Wait { reason, until });
        }
        for (owner, cap) in caps {
            if self.store.jobs.spent(None, &owner, now).await?.owner_today >= cap {
                let reason = format!(
                    "the key's limit of {cap} a day is used up: its jobs go on at 00:00 UTC, or when an \
                     administrator raises the key's `max_usd_per_day`"
                );
                used_up.owners.insert(owner, Wait { reason, until });
            }
        }
        Ok(used_up)
    }

    /// Returns what is left for a job over all limits.
    pub(crate) async fn left(&self, job: JobId, owner: &str, spec: &JobSpec) -> Result<Left, JobsError> {
        let settings = self.settings.for_run().await?;
        let key_cap = self.gate.day_caps().await?.remove(owner);
        let spent = self.store.jobs.spent(Some(job), owner, self.clock.now()).await?;
        Ok(left(settings.budget(spec), key_cap, settings.max_cost_per_day, &spent))
    }

    /// Returns the meter of a job's run.
    pub(crate) fn meter(&self, job: &Job) -> JobMeter {
        // The prompt may be large and is no business of the meter.
        let spec = JobSpec { prompt: String::new(), ..job.spec.clone() };
        let (owner, workspace) = (job.owner.clone(), job.spec.workspace_id);
        JobMeter { purse: self.clone(), job: job.id, owner, workspace, spec }
    }
}

/// Returns what is left of each limit, and of the tightest.
fn left(budget: Option<Usd>, key_cap: Option<Usd>, cap: Option<Usd>, spent: &Spent) -> Left {
    let limits = [
        (budget, spent.job, "the job's budget of"),
        (key_cap, spent.owner_today, "the key's limit for today (UTC) of"),
        (cap, spent.installation_today, "the installation's limit for today (UTC) of"),
    ];
    let tightest = limits
        .into_iter()
        .filter_map(|(limit, spent, name)| Some((limit?.saturating_sub(spent), format!("{name} {}", limit?))))
        // The first of equals: the one that lies nearest to the job.
        .min_by_key(|(left, _)| *left);
    Left { budget: budget.map(|budget| (budget, budget.saturating_sub(spent.job))), tightest }
}

/// Returns the next 00:00 UTC.
pub(crate) fn next_day(now: Timestamp) -> Timestamp {
    let day = now.as_second().div_euclid(SECONDS_PER_DAY) + 1;
    Timestamp::from_second(day.saturating_mul(SECONDS_PER_DAY)).unwrap_or(Timestamp::MAX)
}

/// Counts the costs of one job's run as they come, and says how much is left.
pub(crate) struct JobMeter {
    purse: Purse,
    job: JobId,
    owner: String,
    workspace: Option<WorkspaceId>,
    spec: JobSpec,
}

impl fmt::Debug for JobMeter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JobMeter").field("job", &self.job).finish_non_exhaustive()
    }
}

#[async_trait]
impl Meter for JobMeter {
    async fn allowance(&self) -> Result<Allowance, MeterError> {
        let left = self.purse.left(self.job, &self.owner, &self.spec).await;
        let left = left.map_err(|error| MeterError::new(error.to_string()))?;
        let (left, limit) = left.tightest.unzip();
        Ok(Allowance { left, limit: limit.unwrap_or_default() })
    }

    async fn charge(&self, used: ModelUse) -> Result<(), MeterError> {
        let charge = Charge { job: self.job, owner: self.owner.clone(), workspace: self.workspace, used };
        let mut pause = CHARGE_AGAIN;
        for _ in 1..CHARGE_TRIES {
            match self.try_charge(&charge).await {
                Ok(_) => return Ok(()),
                Err(error) => {
                    tracing::warn!(job.id = %self.job, %error, "could not count a cost, trying again");
                    tokio::time::sleep(pause).await;
                    pause *= 2;
                }
            }
        }
        match self.try_charge(&charge).await {
            Ok(_) => Ok(()),
            Err(error) => {
                let cost = charge.used.cost;
                tracing::error!(job.id = %self.job, %error, %cost, "a cost could not be counted: the run ends");
                Err(MeterError::new(error.to_string()))
            }
        }
    }
}

impl JobMeter {
    async fn try_charge(&self, charge: &Charge) -> Result<Spent, StoreError> {
        self.purse.store.jobs.charge(charge.clone(), self.purse.clock.now()).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn usd(dollars: f64) -> Usd {
        Usd::from_dollars(dollars).expect("an amount")
    }

    #[test]
    fn the_tightest_limit_counts_and_says_its_name() {
        let spent = Spent { job: usd(1.0), owner_today: usd(4.5), installation_today: usd(30.0) };

        let cases = [
            (Some(5.0), None, None, Some((4.0, "the job's budget of $5.00"))),
            (Some(5.0), Some(5.0), None, Some((0.5, "the key's limit for today (UTC) of $5.00"))),
            (None, Some(9.0), Some(20.0), Some((0.0, "the installation's limit for today (UTC) of $20.00"))),
            (Some(1.0), Some(4.0), Some(30.0), Some((0.0, "the job's budget of $1.00"))),
            (None, None, None, None),
        ];
        for (budget, key_cap, cap, expected) in cases {
            let left = left(budget.map(usd), key_cap.map(usd), cap.map(usd), &spent);

            let expected = expected.map(|(left, name)| (usd(left), name.to_owned()));
            assert_eq!(left.tightest, expected);
        }
    }

    #[test]
    fn a_day_ends_at_midnight_utc() {
        for (now, midnight) in [
            ("2026-11-21T07:00:00Z", "2026-11-22T00:00:00Z"),
            ("2026-12-31T23:59:59.999Z", "2027-01-01T00:00:00Z"),
            ("2026-11-21T00:00:00Z", "2026-11-22T00:00:00Z"),
        ] {
            let now = now.parse().expect("a time");
            assert_eq!(next_day(now), midnight.parse::<Timestamp>().expect("a time"));
        }
    }
}
