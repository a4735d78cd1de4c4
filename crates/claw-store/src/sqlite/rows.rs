//! Many rows by one statement: what a statement costs besides its rows is paid once.

use rusqlite::{CachedStatement, Connection, ToSql};

/// Rows that one statement inserts. Any number is made up of these, so that a few statements, which stay in memory, serve
/// all.
const PORTIONS: [usize; 4] = [16, 4, 2, 1];

/// Takes the values of a row, in the order of its columns.
pub(super) struct Values<'a, 'c> {
    statement: &'a mut CachedStatement<'c>,
    bound: usize,
}

impl Values<'_, '_> {
    /// Gives the next column its value.
    pub(super) fn add(&mut self, value: impl ToSql) -> rusqlite::Result<()> {
        self.bound += 1;
        self.statement.raw_bind_parameter(self.bound, value)
    }
}

/// Inserts `rows` into a table, given as `name (columns)`. A row that the table refuses fails them all, and leaves those
/// before it: the caller must undo its transaction then.
pub(super) fn insert<R>(
    connection: &Connection,
    table: &str,
    rows: &[R],
    bind: impl Fn(&R, &mut Values<'_, '_>) -> rusqlite::Result<()>,
) -> rusqlite::Result<()> {
    let columns = table.matches(',').count() + 1;
    let row = format!("(?{})", ", ?".repeat(columns - 1));
    let mut rest = rows;
    for portion in PORTIONS {
        if rest.len() < portion {
            continue;
        }
        // Without `OR FAIL` SQLite would remember every page as it was, to undo this statement alone.
        let more = format!(", {row}").repeat(portion - 1);
        let mut statement =
            connection.prepare_cached(&format!("INSERT OR FAIL INTO {table} VALUES {row}{more}"))?;
        while let Some((now, later)) = rest.split_at_checked(portion) {
            let mut values = Values { statement: &mut statement, bound: 0 };
            now.iter().try_for_each(|row| bind(row, &mut values))?;
            statement.raw_execute()?;
            rest = later;
        }
    }
    Ok(())
}
