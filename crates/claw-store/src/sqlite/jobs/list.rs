//! Lists of jobs. Each page is read from the index that narrows it most; totals come from the kept counts.

use claw_core::{JobStatus, Priority};
use rusqlite::{Connection, ToSql, types::Value};

use super::{
    remembered::{Remembered, RememberedTotals},
    row, search,
    totals::{self, Dimension},
};
use crate::{
    JobFilter, JobPage, JobSort, StoreError,
    sqlite::error::{from_sql, to_sql},
};

/// A set of at most this many jobs is read whole and sorted or searched, rather than walked in another order.
const SMALL: u64 = 2_000;

/// Jobs that are looked at in order of priority before all that match are sorted instead.
const WALK: u64 = 4_096;

/// Returns one page with its total. The connection must stand in one snapshot.
pub(super) fn list(
    connection: &Connection,
    remembered: &RememberedTotals,
    filter: &JobFilter,
) -> Result<JobPage, StoreError> {
    let plan = Plan::new(connection, filter)?;
    let total = match plan.known_total {
        Some(total) => total,
        None if plan.is_small => plan.count(connection)?,
        None => plan.count_what_is_new(connection, remembered, filter)?,
    };
    let mut page = JobPage { items: Vec::new(), total };
    if filter.offset < total && filter.limit > 0 {
        let walked = plan.walk(connection, filter, total)?;
        for seq in walked.map_or_else(|| plan.page(connection, filter), Ok)? {
            page.items.push(row::at(connection, seq)?.job);
        }
    }
    Ok(page)
}

/// One condition on a column, with how many jobs meet it.
struct Condition {
    dimension: Dimension,
    total: u64,
    sql: &'static str,
    parameter: &'static str,
    value: String,
}

/// From where the rows are taken.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Driver {
    /// All jobs, in order of submit.
    Table,
    /// Jobs by state, in order of submit: those of each priority are, and are merged.
    Status,
    /// Jobs by state and priority.
    Priority,
    /// The index of this dimension.
    Dimension(Dimension),
    /// The search index and, behind its end, the table.
    Search,
}

struct Plan {
    driver: Driver,
    /// Jobs that come into question before a text is looked for.
    candidates: u64,
    /// `SELECT`s of `seq` and `priority` whose union is the answer, each of them in order already where it matters.
    legs: Vec<String>,
    parameters: Vec<(&'static str, Value)>,
    known_total: Option<u64>,
    /// Whether so few jobs come into question that counting them costs next to nothing.
    is_small: bool,
    /// All conditions, for jobs that are looked at one by one.
    conditions: String,
}

impl Plan {
    fn new(connection: &Connection, filter: &JobFilter) -> Result<Self, StoreError> {
        let conditions = conditions(connection, filter)?;
        let narrowest = conditions.iter().min_by_key(|condition| condition.total);
        let in_state = totals::total(connection, Dimension::All, "", filter.status)?;
        let candidates = narrowest.map_or(in_state, |condition| condition.total);
        let needle = filter.search.as_deref().filter(|text| !text.is_empty()).map(search::fold);
        let query = needle.as_deref().and_then(search::index_query);

        let driver = match (&query, filter.sort, narrowest) {
            (Some(_), ..) if candidates > SMALL => Driver::Search,
            // Few enough to sort, or all there is in this order anyway.
            (_, JobSort::Newest | JobSort::Oldest, Some(narrowest)) => Driver::Dimension(narrowest.dimension),
            (_, JobSort::Priority, Some(narrowest)) if candidates <= SMALL => {
                Driver::Dimension(narrowest.dimension)
            }
            (_, JobSort::Priority, _) => Driver::Priority,
            (_, JobSort::Newest | JobSort::Oldest, None) if filter.status.is_some() => Driver::Status,
            (_, JobSort::Newest | JobSort::Oldest, None) => Driver::Table,
        };
        let known_total = match (&needle, conditions.as_slice()) {
            (None, []) => Some(in_state),
            (None, [only]) => Some(only.total),
            (None, _) if candidates > SMALL => Some(totals::combined(connection, filter)?),
            // A text must be looked for, and few jobs are counted quickly.
            _ => None,
        };

        let mut plan = Self {
            driver,
            candidates,
            legs: Vec::new(),
            parameters: Vec::new(),
            known_total,
            is_small: candidates <= SMALL,
            conditions: in_state_condition(filter.status),
        };
        let mut residual = String::new();
        for condition in &conditions {
            plan.parameters.push((condition.parameter, Value::Text(condition.value.clone())));
            plan.conditions += condition.sql;
            if driver != Driver::Dimension(condition.dimension) {
                residual += condition.sql;
            }
        }
        if let Some(needle) = needle {
            plan.parameters.push((":needle", Value::Text(needle)));
            plan.conditions += CONTAINS;
            if driver != Driver::Search {
                residual += CONTAINS;
            }
        }
        if let (Driver::Search, Some(query)) = (driver, query) {
            plan.parameters.push((":query", Value::Text(query)));
            plan.parameters.push((":indexed", Value::Integer(search::indexed(connection)?)));
        }
        plan.legs = legs(driver, filter.status, &residual);
        Ok(plan)
    }

    fn count(&self, connection: &Connection) -> Result<u64, StoreError> {
        let sql = format!("SELECT count(*) FROM ({})", self.legs.join(" UNION ALL "));
        let mut statement = connection.prepare_cached(&sql)?;
        let total = statement.query_row(self.bound().as_slice(), |row| row.get(0))?;
        Ok(from_sql(total))
    }

    /// Counts a search whose total may be known up to some job.
    fn count_what_is_new(
        &self,
        connection: &Connection,
        totals: &RememberedTotals,
        filter: &JobFilter,
    ) -> Result<u64, StoreError> {
        let changes = totals::changes(connection, filter.status.is_some())?;
        let newest = search::newest(connection)?;
        let known = totals.get(filter).filter(|known| {
            // Another reader may have seen more than this snapshot holds.
            known.changes == changes && (0..=MOST_NEW).contains(&(newest - known.up_to))
        });
        let total = match known {
            Some(known) if known.up_to == newest => known.total,
            Some(known) => known.total + self.count_after(connection, known.up_to)?,
            None => self.count(connection)?,
        };
        totals.keep(filter, Remembered { total, up_to: newest, changes });
        Ok(total)
    }

    fn count_after(&self, connection: &Connection, seq: i64) -> Result<u64, StoreError> {
        let sql = format!("SELECT count(*) FROM jobs NOT INDEXED WHERE jobs.seq > :after{}", self.conditions);
        let mut statement = connection.prepare_cached(&sql)?;
        let mut bound = self.bound();
        bound.retain(|(name, _)| !INDEX_PARAMETERS.contains(name));
        bound.push((":after", &seq));
        Ok(from_sql(statement.query_row(bound.as_slice(), |row| row.get(0))?))
    }

    /// Looks for a text that many jobs have in order of priority, so that not all that match need be sorted. `None` where that
    /// does not pay, or the jobs that come first have the text too seldom.
    fn walk(
        &self,
        connection: &Connection,
        filter: &JobFilter,
        total: u64,
    ) -> Result<Option<Vec<i64>>, StoreError> {
        let wanted = filter.offset.saturating_add(filter.limit);
        let expected = wanted.saturating_mul(self.candidates) / total.max(1);
        let pays = self.driver == Driver::Search
            && filter.sort == JobSort::Priority
            && wanted <= total
            && expected <= WALK / 2;
        if !pays {
            return Ok(None);
        }
        let legs = legs(Driver::Priority, filter.status, "").join(" UNION ALL ");
        let mut in_order =
            connection.prepare_cached(&format!("{legs} ORDER BY priority DESC, seq LIMIT {WALK}"))?;
        let meets = format!("SELECT count(*) FROM jobs NOT INDEXED WHERE jobs.seq = :seq{}", self.conditions);
        let mut meets = connection.prepare_cached(&meets)?;
        let mut bound = self.bound();
        bound.retain(|(name, _)| !INDEX_PARAMETERS.contains(name));

        let (mut to_skip, mut found) = (filter.offset, Vec::new());
        let mut rows = in_order.query([])?;
        while let Some(row) = rows.next()? {
            let seq: i64 = row.get(0)?;
            let mut bound = bound.clone();
            bound.push((":seq", &seq));
            if meets.query_row(bound.as_slice(), |row| row.get::<_, i64>(0))? == 0 {
                continue;
            }
            if to_skip > 0 {
                to_skip -= 1;
                continue;
            }
            found.push(seq);
            if found.len() as u64 == filter.limit {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    fn page(&self, connection: &Connection, filter: &JobFilter) -> Result<Vec<i64>, StoreError> {
        let order = match filter.sort {
            JobSort::Newest => "seq DESC",
            JobSort::Oldest => "seq",
            JobSort::Priority => "priority DESC, seq",
        };
        let legs = self.legs.join(" UNION ALL ");
        let sql = format!("{legs} ORDER BY {order} LIMIT :limit OFFSET :offset");
        let (limit, offset) = (to_sql(filter.limit), to_sql(filter.offset));
        let mut bound = self.bound();
        bound.push((":limit", &limit));
        bound.push((":offset", &offset));
        let mut statement = connection.prepare_cached(&sql)?;
        let found = statement.query_map(bound.as_slice(), |row| row.get(0))?;
        Ok(found.collect::<Result<_, _>>()?)
    }

    fn bound(&self) -> Vec<(&'static str, &dyn ToSql)> {
        self.parameters.iter().map(|(name, value)| (*name, value as &dyn ToSql)).collect()
    }
}

/// New jobs that are looked at one by one; of more the total is counted anew.
const MOST_NEW: i64 = 4_096;

/// Parameters that only the search index takes.
const INDEX_PARAMETERS: [&str; 2] = [":query", ":indexed"];

const CONTAINS: &str =
    " AND contains_text((SELECT prompt FROM job_specs WHERE job_specs.seq = jobs.seq), :needle)";

fn conditions(connection: &Connection, filter: &JobFilter) -> Result<Vec<Condition>, StoreError> {
    let asked = [
        (Dimension::Owner, filter.owner.clone(), ":owner", " AND jobs.owner = :owner"),
        (
            Dimension::Workspace,
            filter.workspace.map(|workspace| workspace.to_string()),
            ":workspace",
            " AND jobs.workspace = :workspace",
        ),
        (
            Dimension::Source,
            filter.source.map(|source| source.as_str().to_owned()),
            ":source",
            " AND jobs.source = :source",
        ),
        (
            Dimension::Tag,
            filter.tag.clone(),
            ":tag",
            " AND EXISTS (SELECT 1 FROM job_tags WHERE job_tags.tag = :tag AND job_tags.seq = jobs.seq)",
        ),
    ];
    let mut conditions = Vec::new();
    for (dimension, value, parameter, sql) in asked {
        if let Some(value) = value {
            let total = totals::total(connection, dimension, &value, filter.status)?;
            conditions.push(Condition { dimension, total, sql, parameter, value });
        }
    }
    Ok(conditions)
}

fn in_state_condition(status: Option<JobStatus>) -> String {
    status.map(|state| format!(" AND jobs.status = '{state}'")).unwrap_or_default()
}

/// Returns the `SELECT`s. An index by state gives one range per state, each in order, which SQLite merges while it
/// reads; so one index serves the lists of one state and of all.
fn legs(driver: Driver, status: Option<JobStatus>, residual: &str) -> Vec<String> {
    let by_state = |index: &str, condition: &str| {
        let states = JobStatus::ALL.into_iter().filter(|state| status.is_none_or(|wanted| wanted == *state));
        states
            .map(|state| {
                format!(
                    "SELECT jobs.seq AS seq, jobs.priority AS priority FROM jobs INDEXED BY {index}
                     WHERE jobs.status = '{state}'{condition}{residual}"
                )
            })
            .collect()
    };
    let in_state = in_state_condition(status);
    match driver {
        // Without other conditions the prompts alone are read, in the order in which they lie in the file.
        Driver::Table if residual == CONTAINS => vec![
            "SELECT job_specs.seq AS seq,
                 (SELECT jobs.priority FROM jobs WHERE jobs.seq = job_specs.seq) AS priority
             FROM job_specs WHERE contains_text(job_specs.prompt, :needle)"
                .to_owned(),
        ],
        Driver::Table => vec![format!(
            "SELECT jobs.seq AS seq, jobs.priority AS priority FROM jobs NOT INDEXED WHERE TRUE{residual}"
        )],
        Driver::Status => (0..=Priority::HIGHEST)
            .flat_map(|priority| by_state("jobs_by_priority", &format!(" AND jobs.priority = {priority}")))
            .collect(),
        Driver::Priority => by_state("jobs_by_priority", ""),
        Driver::Dimension(Dimension::All) => by_state("jobs_by_priority", ""),
        Driver::Dimension(Dimension::Owner) => by_state("jobs_by_owner", " AND jobs.owner = :owner"),
        Driver::Dimension(Dimension::Workspace) => {
            by_state("jobs_by_workspace", " AND jobs.workspace = :workspace")
        }
        Driver::Dimension(Dimension::Source) => by_state("jobs_by_source", " AND jobs.source = :source"),
        Driver::Dimension(Dimension::Tag) => vec![format!(
            "SELECT job_tags.seq AS seq, jobs.priority AS priority
             FROM job_tags CROSS JOIN jobs ON jobs.seq = job_tags.seq WHERE job_tags.tag = :tag{in_state}{residual}"
        )],
        Driver::Search => vec![
            // Without other conditions the rows need not be looked at to be counted.
            if in_state.is_empty() && residual.is_empty() {
                "SELECT job_search.rowid AS seq,
                     (SELECT jobs.priority FROM jobs WHERE jobs.seq = job_search.rowid) AS priority
                 FROM job_search WHERE job_search MATCH :query"
                    .to_owned()
            } else {
                format!(
                    "SELECT job_search.rowid AS seq, jobs.priority AS priority
                     FROM job_search CROSS JOIN jobs ON jobs.seq = job_search.rowid
                     WHERE job_search MATCH :query{in_state}{residual}"
                )
            },
            format!(
                "SELECT jobs.seq AS seq, jobs.priority AS priority FROM jobs NOT INDEXED
                 WHERE jobs.seq > :indexed{in_state}{residual}{CONTAINS}"
            ),
        ],
    }
}
