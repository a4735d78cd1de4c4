//! Leases in one table. A lease that was given back keeps its row, so that its token goes on growing.

use async_trait::async_trait;
use claw_core::Timestamp;
use rusqlite::{OptionalExtension, params};

use super::{
    Engine,
    error::{from_sql, nanoseconds, to_sql},
};
use crate::{LeaseGrant, Leases, StoreError};

/// Takes the lease if nobody, nobody any more, or the same holder has it; returns nothing otherwise.
const ACQUIRE: &str = "INSERT INTO leases (name, holder, token, until) VALUES (?1, ?2, 1, ?3)
    ON CONFLICT (name) DO UPDATE SET
        token = token + (holder <> excluded.holder),
        holder = excluded.holder,
        until = excluded.until
    WHERE holder = excluded.holder OR until <= ?4
    RETURNING token";

/// No real holder has the empty name; the next holder therefore gets a new token.
const RELEASE: &str =
    "UPDATE leases SET holder = '', until = ?3 WHERE name = ?1 AND token = ?2 AND holder <> ''";

#[async_trait]
impl Leases for Engine {
    async fn acquire(
        &self,
        name: &str,
        holder: &str,
        until: Timestamp,
        now: Timestamp,
    ) -> Result<Option<LeaseGrant>, StoreError> {
        let (name, holder) = (name.to_owned(), holder.to_owned());
        self.writer
            .write(move |step| {
                let token: Option<i64> = step
                    .connection
                    .prepare_cached(ACQUIRE)?
                    .query_row(params![name, holder, nanoseconds(until), nanoseconds(now)], |row| row.get(0))
                    .optional()?;
                Ok(token.map(|token| LeaseGrant { token: from_sql(token), until }))
            })
            .await
    }

    async fn release(&self, name: &str, token: u64) -> Result<bool, StoreError> {
        let name = name.to_owned();
        self.writer
            .write(move |step| {
                let mut statement = step.connection.prepare_cached(RELEASE)?;
                Ok(statement.execute(params![name, to_sql(token), i64::MIN])? > 0)
            })
            .await
    }
}
