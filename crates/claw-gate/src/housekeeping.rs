//! What the gate does beside requests: writes down when keys were used and removes expired sessions.

use std::{error::Error, time::Duration};

use claw_store::{Precondition, StoreError};
use tokio_util::sync::CancellationToken;

use crate::{Gate, keys::KeyRecord};

/// How often it happens: a key's last use is written at most once in this time.
const INTERVAL: Duration = Duration::from_secs(60);

impl Gate {
    /// Keeps house until `stop`, and once more then; the audit trail is written up to then too. Whoever starts the server runs this as one of its tasks.
    pub async fn keep_house(&self, stop: CancellationToken) {
        while !stop.is_cancelled() {
            tokio::select! {
                () = stop.cancelled() => break,
                () = tokio::time::sleep(INTERVAL) => {}
            }
            // Not inside `select!`: a round that has begun is finished.
            self.tidy().await;
        }
        self.tidy().await;
        self.audit().flush().await;
    }

    /// Writes down when keys were used and removes expired sessions. Failures are logged and made good by the next
    /// round: neither decides about access.
    pub async fn tidy(&self) {
        if let Err(error) = self.write_last_used().await {
            tracing::warn!(error = &error as &dyn Error, "when keys were last used was not written down");
        }
        match self.sweep_sessions().await {
            Ok(0) => {}
            Ok(count) => tracing::debug!(count, "expired sessions were removed"),
            Err(error) => tracing::warn!(error = &error as &dyn Error, "expired sessions were not removed"),
        }
    }

    async fn write_last_used(&self) -> Result<(), StoreError> {
        for (id, used_at) in self.inner.last_used.pending() {
            // A revoked key is gone, and the version keeps this from bringing it back.
            let Some(mut key) = self.key_by_id(id).await? else {
                self.inner.last_used.forget(id);
                continue;
            };
            key.record.last_used_at = used_at.max(key.record.last_used_at);
            match self
                .inner
                .records
                .put::<KeyRecord>(&key.id, &key.record, Precondition::Version(key.version))
                .await
            {
                Ok(_) => self.inner.last_used.written(id, used_at),
                // Someone changed the key meanwhile: the next round writes on top of that.
                Err(StoreError::Conflict { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}
