//! Meters for tests.

use std::sync::Mutex;

use async_trait::async_trait;
use claw_agent::gateway::{Allowance, Meter, MeterError};
use claw_core::{ModelUse, Usd};

/// Limits nothing and counts nothing.
#[derive(Debug)]
pub(crate) struct Unmetered;

#[async_trait]
impl Meter for Unmetered {
    async fn allowance(&self) -> Result<Allowance, MeterError> {
        Ok(Allowance { left: None, limit: String::new() })
    }

    async fn charge(&self, _: ModelUse) -> Result<(), MeterError> {
        Ok(())
    }
}

/// Holds a budget, as a job's meter does, and remembers every charge.
#[derive(Debug)]
pub(crate) struct Budget {
    budget: Option<Usd>,
    state: Mutex<BudgetState>,
}

#[derive(Debug, Default)]
struct BudgetState {
    charges: Vec<ModelUse>,
    broken: bool,
}

impl Budget {
    pub(crate) fn of(dollars: f64) -> Self {
        Self { budget: Usd::from_dollars(dollars), state: Mutex::default() }
    }

    pub(crate) fn unlimited() -> Self {
        Self { budget: None, state: Mutex::default() }
    }

    pub(crate) fn charges(&self) -> Vec<ModelUse> {
        self.state.lock().unwrap().charges.clone()
    }

    /// Sum of all charges.
    pub(crate) fn spent(&self) -> Usd {
        self.charges().iter().map(|used| used.cost).sum()
    }

    /// Makes every charge fail, or work again.
    pub(crate) fn break_charging(&self, broken: bool) {
        self.state.lock().unwrap().broken = broken;
    }
}

#[async_trait]
impl Meter for Budget {
    async fn allowance(&self) -> Result<Allowance, MeterError> {
        let limit = format!("the job's budget of {}", self.budget.unwrap_or_default());
        Ok(Allowance { left: self.budget.map(|budget| budget.saturating_sub(self.spent())), limit })
    }

    async fn charge(&self, used: ModelUse) -> Result<(), MeterError> {
        let mut state = self.state.lock().unwrap();
        if state.broken {
            return Err(MeterError::new("the store is away"));
        }
        state.charges.push(used);
        Ok(())
    }
}
