//! Looking back into the feed.

use claw_core::Timestamp;
use claw_store::{Store, StoreError, StreamName};

use super::event::{Event, EventKind, EventStatus};

/// Most events of one answer.
pub const MAX_EVENTS: usize = 500;

/// Records read in one go.
const PAGE: u64 = 500;

/// Which events to list. What is `None` matches every event.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ActivityFilter {
    /// Of this sort.
    pub kind: Option<EventKind>,
    /// By this key or person: the last characters of a key, a key's id, or a mark such as `user:ann`.
    pub key: Option<String>,
    /// Of this action, in any letter case.
    pub action: Option<String>,
    /// Whose target begins so.
    pub target: Option<String>,
    /// That went so.
    pub status: Option<EventStatus>,
    /// Not older than this.
    pub since: Option<Timestamp>,
    /// From before this place on.
    pub before: Option<u64>,
    /// From after this place on.
    pub after: Option<u64>,
    /// How many at the most; the newest count.
    pub limit: usize,
}

impl ActivityFilter {
    fn matches(&self, event: &Event) -> bool {
        let Self { kind, key, action, target, status, since: _, before: _, after: _, limit: _ } = self;
        kind.is_none_or(|kind| event.kind == kind)
            && status.is_none_or(|status| event.status == status)
            && action.as_ref().is_none_or(|action| event.action.eq_ignore_ascii_case(action))
            && target.as_ref().is_none_or(|target| event.target.starts_with(target.as_str()))
            && key.as_ref().is_none_or(|key| {
                event.agent == *key || event.actor == *key || event.actor.strip_prefix("key:") == Some(key)
            })
    }
}

/// What was found.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ActivityPage {
    /// The events, the oldest first.
    pub events: Vec<Event>,
    /// How many events are kept in all.
    pub total: u64,
    /// Place of the newest event ever.
    pub newest: u64,
}

/// Looks from the newest event backwards, at no more than `most` of them.
pub(super) async fn list(
    store: &Store,
    stream: &StreamName,
    filter: &ActivityFilter,
    most: u64,
) -> Result<ActivityPage, StoreError> {
    let info = store.streams.streams(stream.as_str(), None, 8).await?;
    let info = info.into_iter().find(|info| info.name == *stream);
    let (total, newest) = info.map_or((0, 0), |info| (info.records, info.last_seq));
    let limit = filter.limit.clamp(1, MAX_EVENTS);
    let mut before = filter.before.unwrap_or(u64::MAX).min(newest + 1);
    let (mut events, mut seen) = (Vec::new(), 0);
    'pages: while seen < most {
        let page = store.streams.read_back(stream, before, PAGE.min(most - seen)).await?;
        let Some(oldest) = page.last().map(|record| record.seq) else { break };
        seen += page.len() as u64;
        before = oldest;
        for record in page {
            let is_before = filter.since.is_some_and(|since| record.at < since);
            if is_before || filter.after.is_some_and(|after| record.seq <= after) {
                break 'pages;
            }
            if let Some(event) = Event::read(record.seq, &record.data)
                && filter.matches(&event)
            {
                events.push(event);
                if events.len() == limit {
                    break 'pages;
                }
            }
        }
    }
    events.reverse();
    Ok(ActivityPage { events, total, newest })
}
