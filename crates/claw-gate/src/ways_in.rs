//! The last way in for an administrator stays open.

use claw_core::Principal;

use crate::{Gate, GateError, keys::KeyRecord, people::UserRecord};

impl Gate {
    /// Checks that someone besides `leaving` can administer the installation. The caller holds the lock on ways in.
    ///
    /// # Errors
    ///
    /// [`GateError::LastWayIn`] if not.
    pub(crate) async fn require_other_way_in(&self, leaving: &Principal) -> Result<(), GateError> {
        // The configured token administers whatever else happens.
        if self.inner.api_token.is_some() {
            return Ok(());
        }
        let keys = self.inner.records.all::<KeyRecord>().await?;
        if keys.iter().any(|key| key.record.is_way_in() && key.record.actor().principal != *leaving) {
            return Ok(());
        }
        let users = self.inner.records.all::<UserRecord>().await?;
        if users.iter().any(|user| user.record.is_way_in() && user.record.actor().principal != *leaving) {
            return Ok(());
        }
        Err(GateError::LastWayIn)
    }
}
