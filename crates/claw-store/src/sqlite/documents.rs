//! Documents in one table.

use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::{
    Engine, counters,
    error::{corrupt, from_sql, to_sql},
};
use crate::{Document, DocumentFilter, DocumentPage, Documents, NewDocument, Precondition, StoreError};

const GET: &str = "SELECT id, version, owner, value FROM documents WHERE kind = ?1 AND id = ?2";

const PUT: &str =
    "INSERT INTO documents (kind, id, version, sort_key, owner, value) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
    ON CONFLICT (kind, id) DO UPDATE SET version = excluded.version, sort_key = excluded.sort_key,
        owner = excluded.owner, value = excluded.value";

const LIST: &str = "SELECT id, version, owner, value FROM documents INDEXED BY documents_sorted
    WHERE kind = ?1 ORDER BY sort_key, id LIMIT ?2 OFFSET ?3";

const LIST_OWNED: &str = "SELECT id, version, owner, value FROM documents INDEXED BY documents_owned
    WHERE kind = ?1 AND owner = ?4 ORDER BY sort_key, id LIMIT ?2 OFFSET ?3";

#[async_trait]
impl Documents for Engine {
    async fn get(&self, kind: &'static str, id: &str) -> Result<Option<Document>, StoreError> {
        let id = id.to_owned();
        self.readers
            .read(move |connection| {
                let mut statement = connection.prepare_cached(GET)?;
                let found = statement.query_row(params![kind, id], columns).optional()?;
                found.map(document).transpose()
            })
            .await
    }

    async fn put(&self, document: NewDocument, precondition: Precondition) -> Result<u64, StoreError> {
        self.writer
            .write(move |step| {
                check(step.connection, document.kind, &document.id, precondition)?;
                let version = counters::next(step.connection, "document_version")?;
                step.connection.prepare_cached(PUT)?.execute(params![
                    document.kind,
                    document.id,
                    version,
                    document.sort_key,
                    document.owner,
                    document.value.to_string()
                ])?;
                Ok(from_sql(version))
            })
            .await
    }

    async fn delete(
        &self,
        kind: &'static str,
        id: &str,
        precondition: Precondition,
    ) -> Result<bool, StoreError> {
        let id = id.to_owned();
        self.writer
            .write(move |step| {
                check(step.connection, kind, &id, precondition)?;
                let mut statement =
                    step.connection.prepare_cached("DELETE FROM documents WHERE kind = ?1 AND id = ?2")?;
                Ok(statement.execute(params![kind, id])? > 0)
            })
            .await
    }

    async fn list(&self, kind: &'static str, filter: DocumentFilter) -> Result<DocumentPage, StoreError> {
        self.readers
            .read(move |connection| {
                let (limit, offset) = (to_sql(filter.limit), to_sql(filter.offset));
                let rows: Vec<_> = match &filter.owner {
                    Some(owner) => connection
                        .prepare_cached(LIST_OWNED)?
                        .query_map(params![kind, limit, offset, owner], columns)?
                        .collect::<Result<_, _>>()?,
                    None => connection
                        .prepare_cached(LIST)?
                        .query_map(params![kind, limit, offset], columns)?
                        .collect::<Result<_, _>>()?,
                };
                let total = count(connection, kind, filter.owner.as_deref())?;
                Ok(DocumentPage { items: rows.into_iter().map(document).collect::<Result<_, _>>()?, total })
            })
            .await
    }

    async fn count(&self, kind: &'static str) -> Result<u64, StoreError> {
        self.readers.read(move |connection| count(connection, kind, None)).await
    }
}

fn check(
    connection: &Connection,
    kind: &'static str,
    id: &str,
    precondition: Precondition,
) -> Result<(), StoreError> {
    let expected = match precondition {
        Precondition::None => return Ok(()),
        Precondition::Absent => None,
        Precondition::Version(version) => Some(to_sql(version)),
    };
    let stored: Option<i64> = connection
        .prepare_cached("SELECT version FROM documents WHERE kind = ?1 AND id = ?2")?
        .query_row(params![kind, id], |row| row.get(0))
        .optional()?;
    if stored == expected {
        Ok(())
    } else {
        Err(StoreError::Conflict { kind: kind.to_owned(), id: id.to_owned() })
    }
}

fn count(connection: &Connection, kind: &str, owner: Option<&str>) -> Result<u64, StoreError> {
    let total: i64 = match owner {
        Some(owner) => connection
            .prepare_cached("SELECT count(*) FROM documents WHERE kind = ?1 AND owner = ?2")?
            .query_row(params![kind, owner], |row| row.get(0))?,
        None => connection
            .prepare_cached("SELECT count(*) FROM documents WHERE kind = ?1")?
            .query_row(params![kind], |row| row.get(0))?,
    };
    Ok(from_sql(total))
}

type Columns = (String, i64, String, String);

fn columns(row: &Row<'_>) -> rusqlite::Result<Columns> {
    Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
}

fn document((id, version, owner, value): Columns) -> Result<Document, StoreError> {
    let value = serde_json::from_str(&value).map_err(|error| corrupt(&format!("document `{id}`"), error))?;
    Ok(Document { id, version: from_sql(version), owner, value })
}
