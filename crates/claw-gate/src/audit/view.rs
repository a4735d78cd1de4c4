//! The trail as people read it: each deed with its outcome, newest first.

use std::collections::HashMap;

use claw_core::{AuditAct, AuditEnd, AuditRecord, DeedId, Timestamp};
use claw_store::{StoreError, StreamName, Streams};

use super::trail::parse;

/// Entries of a page at the most.
const MAX_LIMIT: usize = 1_000;

/// Records looked at for one page at the most. A page may be short, and says where to go on.
const MAX_SCAN: u64 = 20_000;

/// Records after a page's beginning that are searched for outcomes of its deeds.
const OUTCOMES_AHEAD: u64 = 2_000;

/// Records read in one go.
const PAGE: u64 = 500;

/// Which entries to list. Every field that is set narrows the list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AuditFilter {
    /// From before this record on; the newest if unset.
    pub before: Option<u64>,
    /// Only records after this one.
    pub after: Option<u64>,
    /// Not older than this.
    pub since: Option<Timestamp>,
    /// Not newer than this.
    pub until: Option<Timestamp>,
    /// By this actor.
    pub actor: Option<String>,
    /// Whose verb begins so.
    pub verb: Option<String>,
    /// Whose target begins so.
    pub target: Option<String>,
    /// That ended so: the name of an [`AuditResult`].
    pub outcome: Option<String>,
    /// How many at the most.
    pub limit: usize,
}

/// How an entry ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AuditResult {
    /// It was done.
    Done,
    /// It failed with this error code.
    Failed(String),
    /// It was refused with this error code.
    Denied(String),
    /// Whoever asked went away before it was over.
    Abandoned,
    /// The server ended before it was over, or it is going on.
    Unknown,
    /// It is no deed: the house tells something.
    Note,
}

impl AuditResult {
    /// Returns its name.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Failed(_) => "failed",
            Self::Denied(_) => "denied",
            Self::Abandoned => "abandoned",
            Self::Unknown => "unknown",
            Self::Note => "note",
        }
    }

    /// Every name.
    pub const NAMES: [&'static str; 6] = ["done", "failed", "denied", "abandoned", "unknown", "note"];

    /// Returns the error code, if there is one.
    pub fn code(&self) -> Option<&str> {
        match self {
            Self::Failed(code) | Self::Denied(code) => Some(code),
            Self::Done | Self::Abandoned | Self::Unknown | Self::Note => None,
        }
    }
}

/// One entry.
#[derive(Clone, Debug, PartialEq)]
pub struct AuditView {
    /// Number of its record.
    pub seq: u64,
    /// When it was written.
    pub at: Timestamp,
    /// Who did what to what; for a note, its text is the verb's detail.
    pub act: AuditAct,
    /// How it went.
    pub result: AuditResult,
    /// When that was known.
    pub settled_at: Option<Timestamp>,
    /// Further refusals, or reads, of the same kind that have no entry of their own.
    pub more: u64,
}

/// One page of the trail.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AuditPage {
    /// The entries, newest first.
    pub items: Vec<AuditView>,
    /// Where to go on, as [`AuditFilter::before`]; `None` at the end.
    pub next: Option<u64>,
}

type Outcomes = HashMap<DeedId, (AuditEnd, Timestamp)>;

/// Reads one page.
pub(super) async fn page(streams: &dyn Streams, filter: AuditFilter) -> Result<AuditPage, StoreError> {
    let stream = StreamName::audit();
    let limit = filter.limit.clamp(1, MAX_LIMIT);
    let mut outcomes = Outcomes::new();
    if let Some(before) = filter.before {
        for record in streams.read(&stream, before.saturating_sub(1), OUTCOMES_AHEAD).await? {
            if let Ok(record) = parse(&record) {
                note_outcomes(record, &mut outcomes);
            }
        }
    }
    let (mut before, mut scanned) = (filter.before.unwrap_or(u64::MAX), 0);
    let mut page = AuditPage::default();
    loop {
        let records = streams.read_back(&stream, before, PAGE).await?;
        let Some(oldest) = records.last().map(|record| record.seq) else { return Ok(page) };
        // The clock may have been set back, so that one old record does not mean that those before it are old too; a
        // whole page of them does.
        if filter.since.is_some_and(|since| records.iter().all(|record| record.at < since)) {
            return Ok(page);
        }
        for record in &records {
            if filter.after.is_some_and(|after| record.seq <= after) {
                return Ok(page);
            }
            let entry = match parse(record) {
                Ok(known) => entry(record.seq, record.at, known, &mut outcomes),
                Err(error) => Some(unreadable(record.seq, record.at, &error)),
            };
            if let Some(entry) = entry.filter(|entry| matches(&filter, entry)) {
                page.items.push(entry);
                if page.items.len() == limit {
                    page.next = (record.seq > 1).then_some(record.seq);
                    return Ok(page);
                }
            }
        }
        scanned += records.len() as u64;
        if scanned >= MAX_SCAN {
            page.next = (oldest > 1).then_some(oldest);
            return Ok(page);
        }
        before = oldest;
    }
}

fn note_outcomes(record: AuditRecord, outcomes: &mut Outcomes) {
    if let AuditRecord::Outcomes { of } = record {
        outcomes.extend(of.into_iter().map(|outcome| (outcome.intent, (outcome.end, outcome.at))));
    }
}

fn entry(seq: u64, at: Timestamp, record: AuditRecord, outcomes: &mut Outcomes) -> Option<AuditView> {
    match record {
        AuditRecord::Outcomes { .. } => {
            note_outcomes(record, outcomes);
            None
        }
        AuditRecord::Intent { id, act } => {
            let (result, settled_at) = match outcomes.remove(&id) {
                Some((AuditEnd::Done, at)) => (AuditResult::Done, Some(at)),
                Some((AuditEnd::Failed { code }, at)) => (AuditResult::Failed(code), Some(at)),
                Some((AuditEnd::Abandoned, at)) => (AuditResult::Abandoned, Some(at)),
                None => (AuditResult::Unknown, None),
            };
            Some(AuditView { seq, at, act, result, settled_at, more: 0 })
        }
        AuditRecord::Denied { act, code, more } => {
            Some(AuditView { seq, at, act, result: AuditResult::Denied(code), settled_at: Some(at), more })
        }
        AuditRecord::Read { act, more } => {
            Some(AuditView { seq, at, act, result: AuditResult::Done, settled_at: Some(at), more })
        }
        AuditRecord::Note { text, unsettled: _ } => {
            let act = AuditAct {
                actor: "system".to_owned(),
                verb: "audit.note".to_owned(),
                detail: Some(text.into()),
                ..AuditAct::default()
            };
            Some(AuditView { seq, at, act, result: AuditResult::Note, settled_at: Some(at), more: 0 })
        }
    }
}

/// Shows a record that somebody changed, or a newer version wrote.
fn unreadable(seq: u64, at: Timestamp, error: &StoreError) -> AuditView {
    let act = AuditAct {
        actor: "system".to_owned(),
        verb: "audit.unreadable".to_owned(),
        detail: Some(error.to_string().into()),
        ..AuditAct::default()
    };
    AuditView { seq, at, act: act.tamed(), result: AuditResult::Unknown, settled_at: None, more: 0 }
}

fn matches(filter: &AuditFilter, entry: &AuditView) -> bool {
    let begins =
        |wanted: &Option<String>, text: &str| wanted.as_deref().is_none_or(|begin| text.starts_with(begin));
    filter.since.is_none_or(|since| entry.at >= since)
        && filter.until.is_none_or(|until| entry.at <= until)
        && filter.actor.as_deref().is_none_or(|actor| entry.act.actor == actor)
        && begins(&filter.verb, &entry.act.verb)
        && begins(&filter.target, &entry.act.target)
        && filter.outcome.as_deref().is_none_or(|outcome| entry.result.as_str() == outcome)
}
