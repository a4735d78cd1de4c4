//! Spending: one row a day, owner, workspace and model, kept up to date with every charge.

use claw_core::{JobId, ModelUse, RunUsage, Timestamp, TokenUsage, Usd};
use jiff::civil::Date;
use rusqlite::{Connection, Row, params};

use super::row;
use crate::sqlite::{
    error::{from_sql, to_sql},
    writer::Step,
};
use crate::{
    Charge, MAX_SPENDING_ROWS, SpendingFilter, SpendingGroup, SpendingRow, Spent, StoreError, day_of,
};

/// The row that counts runs, which belong to no model.
const NO_MODEL: &str = "";

/// Adds a charge to the job and to the day, and returns what was spent then.
pub(super) fn charge(step: &mut Step<'_>, charge: &Charge, now: Timestamp) -> Result<Spent, StoreError> {
    let connection = step.connection;
    if let Some(mut stored) = row::find(connection, charge.job)? {
        let before = cost_of(&stored.job);
        stored.job.usage.cost_usd = Some(before.saturating_add(charge.used.cost).dollars());
        connection
            .prepare_cached("UPDATE jobs SET progress = ?2 WHERE seq = ?1")?
            .execute(params![stored.seq, row::progress(&stored.job)?])?;
    }
    let workspace = charge.workspace.map(|id| id.to_string()).unwrap_or_default();
    add(connection, day_of(now), &charge.owner, &workspace, 0, &charge.used)?;
    spent(connection, Some(charge.job), &charge.owner, now)
}

/// Counts a run that ended, with what it cost beyond what was charged.
pub(super) fn ran(
    connection: &Connection,
    job: &claw_core::Job,
    usage: RunUsage,
    now: Timestamp,
) -> Result<(), StoreError> {
    let workspace = job.spec.workspace_id.map(|id| id.to_string()).unwrap_or_default();
    let used = ModelUse {
        model: NO_MODEL.to_owned(),
        tokens: TokenUsage::default(),
        turns: 0,
        cost: usage.cost_usd.and_then(Usd::from_dollars).unwrap_or_default(),
    };
    add(connection, day_of(now), &job.owner, &workspace, 1, &used)
}

/// Returns what was spent on the job and on the day of `now`.
pub(super) fn spent(
    connection: &Connection,
    job: Option<JobId>,
    owner: &str,
    now: Timestamp,
) -> Result<Spent, StoreError> {
    let job = match job {
        Some(id) => row::find(connection, id)?.map(|stored| cost_of(&stored.job)).unwrap_or_default(),
        None => Usd::ZERO,
    };
    let mut statement = connection.prepare_cached(
        "SELECT coalesce(sum(cost), 0) FROM spending WHERE day = ?1 AND (?2 IS NULL OR owner = ?2)",
    )?;
    let day = number_of(day_of(now));
    let mut sum = |owner: Option<&str>| -> Result<Usd, StoreError> {
        Ok(Usd::from_nanos(from_sql(statement.query_row(params![day, owner], |row| row.get(0))?)))
    };
    Ok(Spent { job, owner_today: sum(Some(owner))?, installation_today: sum(None)? })
}

/// Sums up.
pub(super) fn rows(connection: &Connection, filter: &SpendingFilter) -> Result<Vec<SpendingRow>, StoreError> {
    let (key, order) = match filter.group {
        SpendingGroup::Day => ("day", "day"),
        SpendingGroup::Workspace => ("workspace", "sum(cost) DESC, workspace"),
        SpendingGroup::Model => ("model", "sum(cost) DESC, model"),
        SpendingGroup::Owner => ("owner", "sum(cost) DESC, owner"),
    };
    // The counts of runs have no model; what they cost, because nobody metered it, still counts.
    let only = match filter.group {
        SpendingGroup::Model => " AND (model <> '' OR cost > 0)",
        SpendingGroup::Day | SpendingGroup::Workspace | SpendingGroup::Owner => "",
    };
    let mut statement = connection.prepare_cached(&format!(
        "SELECT {key}, sum(runs), sum(turns), sum(input), sum(output), sum(cache_write_5m), sum(cache_write_1h),
            sum(cache_read), sum(cost)
         FROM spending WHERE day BETWEEN ?1 AND ?2 AND (?3 IS NULL OR owner = ?3){only}
         GROUP BY {key} ORDER BY {order} LIMIT {MAX_SPENDING_ROWS}"
    ))?;
    let (from, to) = (number_of(filter.from), number_of(filter.to));
    let by_day = filter.group == SpendingGroup::Day;
    let rows = statement.query_map(params![from, to, filter.owner], |row| read(row, by_day))?;
    let mut rows = rows.collect::<Result<Vec<_>, _>>()?;
    if filter.group == SpendingGroup::Model {
        rows.iter_mut().for_each(|row| row.runs = 0);
    }
    Ok(rows)
}

fn read(row: &Row<'_>, by_day: bool) -> rusqlite::Result<SpendingRow> {
    let key = if by_day { date_of(row.get(0)?).to_string() } else { row.get(0)? };
    let number = |column: usize| row.get(column).map(from_sql);
    Ok(SpendingRow {
        key,
        runs: number(1)?,
        turns: number(2)?,
        tokens: TokenUsage {
            input: number(3)?,
            output: number(4)?,
            cache_write_5m: number(5)?,
            cache_write_1h: number(6)?,
            cache_read: number(7)?,
        },
        cost: Usd::from_nanos(number(8)?),
    })
}

fn add(
    connection: &Connection,
    day: Date,
    owner: &str,
    workspace: &str,
    runs: i64,
    used: &ModelUse,
) -> Result<(), StoreError> {
    connection
        .prepare_cached(
            "INSERT INTO spending (day, owner, workspace, model, runs, turns, input, output, cache_write_5m,
                cache_write_1h, cache_read, cost)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)
             ON CONFLICT (day, owner, workspace, model) DO UPDATE SET
                runs = runs + excluded.runs, turns = turns + excluded.turns, input = input + excluded.input,
                output = output + excluded.output, cache_write_5m = cache_write_5m + excluded.cache_write_5m,
                cache_write_1h = cache_write_1h + excluded.cache_write_1h,
                cache_read = cache_read + excluded.cache_read, cost = cost + excluded.cost",
        )?
        .execute(params![
            number_of(day),
            owner,
            workspace,
            used.model,
            runs,
            to_sql(used.turns),
            to_sql(used.tokens.input),
            to_sql(used.tokens.output),
            to_sql(used.tokens.cache_write_5m),
            to_sql(used.tokens.cache_write_1h),
            to_sql(used.tokens.cache_read),
            to_sql(used.cost.nanos()),
        ])?;
    Ok(())
}

fn cost_of(job: &claw_core::Job) -> Usd {
    job.usage.cost_usd.and_then(Usd::from_dollars).unwrap_or_default()
}

const FIRST_DAY: Date = Date::constant(1970, 1, 1);

/// Returns the day as days since 1970.
fn number_of(day: Date) -> i64 {
    // Dates of jiff lie within 10,000 years, so that the difference in days always exists.
    FIRST_DAY.until(day).map_or(0, |span| i64::from(span.get_days()))
}

fn date_of(number: i64) -> Date {
    i32::try_from(number)
        .ok()
        .and_then(|days| FIRST_DAY.checked_add(jiff::Span::new().try_days(days).ok()?).ok())
        .unwrap_or(FIRST_DAY)
}
