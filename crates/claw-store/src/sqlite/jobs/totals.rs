//! How many jobs there are, kept up to date with every step, so that no list ever counts by walking.

use std::collections::{BTreeSet, HashMap};

use claw_core::{Job, JobSource, JobStatus};
use rusqlite::{Connection, params, params_from_iter};

use crate::{
    JobCounts, JobFilter, StoreError,
    sqlite::{counters, error::from_sql},
};

/// By what jobs are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(in crate::sqlite) enum Dimension {
    All,
    Owner,
    Workspace,
    Source,
    Tag,
}

impl Dimension {
    fn as_str(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Owner => "owner",
            Self::Workspace => "workspace",
            Self::Source => "source",
            Self::Tag => "tag",
        }
    }
}

/// Counts the steps from state to state of all jobs, and the deletions.
const MOVED: &str = "jobs_moved";
const REMOVED: &str = "jobs_removed";

/// Changes of the counts, added up until they are written.
#[derive(Default)]
pub(in crate::sqlite) struct Counts {
    totals: HashMap<(Dimension, String, JobStatus), i64>,
    groups: HashMap<Group, i64>,
    counters: HashMap<&'static str, i64>,
}

#[derive(PartialEq, Eq, Hash)]
struct Group {
    tag: String,
    owner: String,
    workspace: String,
    source: &'static str,
    status: JobStatus,
}

impl Counts {
    /// Adds the changes of another write.
    pub(in crate::sqlite) fn add(&mut self, other: Self) {
        fn merge<K: Eq + std::hash::Hash>(into: &mut HashMap<K, i64>, from: HashMap<K, i64>) {
            from.into_iter().for_each(|(key, change)| *into.entry(key).or_default() += change);
        }
        merge(&mut self.totals, other.totals);
        merge(&mut self.groups, other.groups);
        merge(&mut self.counters, other.counters);
    }

    /// Writes the changes.
    pub(in crate::sqlite) fn write(self, connection: &Connection) -> Result<(), StoreError> {
        let mut change = connection.prepare_cached(
            "INSERT INTO job_totals (dimension, value, status, jobs) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT (dimension, value, status) DO UPDATE SET jobs = jobs + excluded.jobs",
        )?;
        // Owners, workspaces and tags come and go; their rows go with their last job.
        let mut forget = connection.prepare_cached(
            "DELETE FROM job_totals WHERE dimension = ?1 AND value = ?2 AND status = ?3 AND jobs = 0",
        )?;
        for ((dimension, value, status), jobs) in self.totals.into_iter().filter(|(_, jobs)| *jobs != 0) {
            let (dimension, status) = (dimension.as_str(), status.as_str());
            change.execute(params![dimension, value, status, jobs])?;
            if jobs < 0 {
                forget.execute(params![dimension, value, status])?;
            }
        }
        let mut change = connection.prepare_cached(
            "INSERT INTO job_groups (tag, owner, workspace, source, status, jobs) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
             ON CONFLICT (tag, owner, workspace, source, status) DO UPDATE SET jobs = jobs + excluded.jobs",
        )?;
        let mut forget = connection.prepare_cached(
            "DELETE FROM job_groups
             WHERE tag = ?1 AND owner = ?2 AND workspace = ?3 AND source = ?4 AND status = ?5 AND jobs = 0",
        )?;
        for (group, jobs) in self.groups.into_iter().filter(|(_, jobs)| *jobs != 0) {
            let Group { tag, owner, workspace, source, status } = group;
            let status = status.as_str();
            change.execute(params![tag, owner, workspace, source, status, jobs])?;
            if jobs < 0 {
                forget.execute(params![tag, owner, workspace, source, status])?;
            }
        }
        for (name, jobs) in self.counters {
            counters::add(connection, name, jobs)?;
        }
        Ok(())
    }

    /// Counts jobs of one kind.
    pub(in crate::sqlite) fn count(&mut self, kind: &Kind<'_>, status: JobStatus, change: i64) {
        let workspace = kind.workspace.map(|workspace| (Dimension::Workspace, workspace));
        let always = [(Dimension::All, ""), (Dimension::Owner, kind.owner), (Dimension::Source, kind.source)];
        let tags = kind.tags.iter().map(|tag| (Dimension::Tag, *tag));
        for (dimension, value) in always.into_iter().chain(workspace).chain(tags) {
            *self.totals.entry((dimension, value.to_owned(), status)).or_default() += change;
        }
        for tag in [""].iter().chain(&kind.tags) {
            let group = Group {
                tag: (*tag).to_owned(),
                owner: kind.owner.to_owned(),
                workspace: kind.workspace.unwrap_or_default().to_owned(),
                source: kind.source,
                status,
            };
            *self.groups.entry(group).or_default() += change;
        }
    }
}

/// By what jobs are told apart when they are counted, besides their state.
#[derive(PartialEq, Eq)]
pub(in crate::sqlite) struct Kind<'a> {
    pub(in crate::sqlite) owner: &'a str,
    pub(in crate::sqlite) workspace: Option<&'a str>,
    pub(in crate::sqlite) source: &'static str,
    /// Each once.
    pub(in crate::sqlite) tags: Vec<&'a str>,
}

fn count(counts: &mut Counts, job: &Job, changes: &[(JobStatus, i64)]) {
    let workspace = job.spec.workspace_id.map(|workspace| workspace.to_string());
    let kind = Kind {
        owner: &job.owner,
        workspace: workspace.as_deref(),
        source: job.spec.source.as_str(),
        tags: tags(job).into_iter().collect(),
    };
    changes.iter().for_each(|(status, change)| counts.count(&kind, *status, *change));
}

/// Counts a job that went from one state to another.
pub(super) fn moved(counts: &mut Counts, job: &Job, from: JobStatus) {
    count(counts, job, &[(from, -1), (job.status(), 1)]);
    for name in [MOVED].into_iter().chain(ended_counter(job.status())) {
        *counts.counters.entry(name).or_default() += 1;
    }
}

/// Forgets a deleted job; what it added to [`counts`] stays.
pub(super) fn removed(counts: &mut Counts, job: &Job) {
    count(counts, job, &[(job.status(), -1)]);
    *counts.counters.entry(REMOVED).or_default() += 1;
}

/// Returns a number that grows with every change after which a job may no longer be found where it was found before:
/// a deletion, and a step from state to state if `by_state`.
pub(super) fn changes(connection: &Connection, by_state: bool) -> Result<i64, StoreError> {
    let moved = if by_state { counters::get(connection, MOVED)? } else { 0 };
    Ok(counters::get(connection, REMOVED)? + moved)
}

/// Returns how many jobs have the value, in the state or in any.
pub(super) fn total(
    connection: &Connection,
    dimension: Dimension,
    value: &str,
    status: Option<JobStatus>,
) -> Result<u64, StoreError> {
    let mut statement = connection.prepare_cached(
        "SELECT coalesce(sum(jobs), 0) FROM job_totals
         WHERE dimension = ?1 AND value = ?2 AND (?3 IS NULL OR status = ?3)",
    )?;
    let status = status.map(JobStatus::as_str);
    Ok(from_sql(statement.query_row(params![dimension.as_str(), value, status], |row| row.get(0))?))
}

/// Returns how many jobs meet all conditions at once. Adds up the combinations that occur.
pub(super) fn combined(connection: &Connection, filter: &JobFilter) -> Result<u64, StoreError> {
    let workspace = filter.workspace.map(|workspace| workspace.to_string());
    let asked = [
        ("owner", filter.owner.as_deref()),
        ("workspace", workspace.as_deref()),
        ("source", filter.source.map(JobSource::as_str)),
        ("status", filter.status.map(JobStatus::as_str)),
    ];
    let mut sql = "SELECT coalesce(sum(jobs), 0) FROM job_groups WHERE tag = ?".to_owned();
    let mut values = vec![filter.tag.as_deref().unwrap_or_default()];
    for (column, value) in asked {
        if let Some(value) = value {
            sql += &format!(" AND {column} = ?");
            values.push(value);
        }
    }
    let mut statement = connection.prepare_cached(&sql)?;
    Ok(from_sql(statement.query_row(params_from_iter(values), |row| row.get(0))?))
}

/// Returns how many stored jobs have ended.
pub(super) fn ended(connection: &Connection) -> Result<u64, StoreError> {
    let stored = |status| total(connection, Dimension::All, "", Some(status));
    Ok(stored(JobStatus::Completed)? + stored(JobStatus::Failed)? + stored(JobStatus::Cancelled)?)
}

/// Returns the counts by state.
pub(super) fn counts(connection: &Connection) -> Result<JobCounts, StoreError> {
    let stored = |status| total(connection, Dimension::All, "", Some(status));
    let ever = |status| match ended_counter(status) {
        Some(name) => counters::get(connection, name).map(from_sql),
        None => Ok(0),
    };
    Ok(JobCounts {
        pending: stored(JobStatus::Pending)?,
        running: stored(JobStatus::Running)?,
        completed: ever(JobStatus::Completed)?,
        failed: ever(JobStatus::Failed)?,
        cancelled: ever(JobStatus::Cancelled)?,
    })
}

/// Returns the job's tags, each once.
pub(super) fn tags(job: &Job) -> BTreeSet<&str> {
    job.spec.tags.iter().map(String::as_str).collect()
}

fn ended_counter(status: JobStatus) -> Option<&'static str> {
    match status {
        JobStatus::Pending | JobStatus::Running => None,
        JobStatus::Completed => Some("ended_completed"),
        JobStatus::Failed => Some("ended_failed"),
        JobStatus::Cancelled => Some("ended_cancelled"),
    }
}
