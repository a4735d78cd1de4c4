//! Size, health, and giving space back.

use async_trait::async_trait;
use rusqlite::Connection;

use super::{
    Engine,
    error::{from_sql, to_sql},
};
use crate::{StoreError, StoreSize, Upkeep};

#[async_trait]
impl Upkeep for Engine {
    async fn size(&self) -> Result<StoreSize, StoreError> {
        let size = self.readers.read(size).await?;
        metrics::gauge!("claw_store_bytes").set((size.bytes + size.log_bytes) as f64);
        Ok(size)
    }

    async fn give_back(&self, max_bytes: u64) -> Result<u64, StoreError> {
        self.writer
            .write(move |step| {
                let connection = step.connection;
                let before = pages(connection, "page_count")?;
                let page_bytes = pages(connection, "page_size")?.max(1);
                let wanted = max_bytes.div_ceil(page_bytes);
                let mut statement =
                    connection.prepare(&format!("PRAGMA incremental_vacuum({})", to_sql(wanted)))?;
                let mut rows = statement.query([])?;
                // Each row is a page that was moved or freed.
                while rows.next()?.is_some() {}
                Ok(before.saturating_sub(pages(connection, "page_count")?) * page_bytes)
            })
            .await
    }

    async fn health(&self) -> Result<(), StoreError> {
        self.writer.write(|_step| Ok(())).await?;
        self.readers.read(|connection| pages(connection, "schema_version").map(drop)).await
    }
}

fn size(connection: &Connection) -> Result<StoreSize, StoreError> {
    let page_bytes = pages(connection, "page_size")?;
    let log = connection.path().map(|path| format!("{path}-wal"));
    // No log: nothing was written since the last start.
    let log_bytes = log.and_then(|log| std::fs::metadata(log).ok()).map_or(0, |log| log.len());
    Ok(StoreSize {
        bytes: pages(connection, "page_count")? * page_bytes,
        free_bytes: pages(connection, "freelist_count")? * page_bytes,
        log_bytes,
    })
}

fn pages(connection: &Connection, pragma: &str) -> Result<u64, StoreError> {
    Ok(connection.pragma_query_value(None, pragma, |row| row.get(0)).map(from_sql)?)
}
