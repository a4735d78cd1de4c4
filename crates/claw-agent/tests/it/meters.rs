//! Meters for tests.

use async_trait::async_trait;
use claw_agent::gateway::{Allowance, Meter, MeterError};
use claw_core::ModelUse;

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
