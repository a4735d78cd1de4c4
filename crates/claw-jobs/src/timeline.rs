//! A workspace's timeline.

use claw_core::{Timestamp, WorkspaceEvent, WorkspaceEventKind, WorkspaceId};
use claw_store::{Store, StoreError, StreamName};

/// Entries kept of one timeline.
const KEPT_EVENTS: u64 = 1000;

/// Characters of one description.
const DESCRIPTION_CHARS: usize = 300;

/// Appends one entry and trims the oldest ones now and then.
pub(crate) async fn record(
    store: &Store,
    workspace: WorkspaceId,
    event_type: WorkspaceEventKind,
    related_id: Option<String>,
    description: &str,
    now: Timestamp,
) -> Result<(), StoreError> {
    let event = WorkspaceEvent { timestamp: now, event_type, related_id, description: shorten(description) };
    let data = serde_json::to_vec(&event)
        .map_err(|error| StoreError::Corrupt { what: "workspace event".into(), reason: error.to_string() })?;
    let stream = StreamName::workspace_events(workspace);
    let last = store.streams.append(&stream, vec![data], now).await?;
    if last > KEPT_EVENTS && last.is_multiple_of(100) {
        store.streams.trim(&stream, last - KEPT_EVENTS).await?;
    }
    Ok(())
}

/// Returns the newest entries first, and how many there are.
pub(crate) async fn page(
    store: &Store,
    workspace: WorkspaceId,
    offset: u64,
    limit: u64,
) -> Result<(Vec<WorkspaceEvent>, u64), StoreError> {
    let stream = StreamName::workspace_events(workspace);
    let last = store.streams.last_seq(&stream).await?;
    let before = (last + 1).saturating_sub(offset);
    let records = store.streams.read_back(&stream, before, limit).await?;
    let mut events = Vec::with_capacity(records.len());
    for record in records {
        let event = serde_json::from_slice(&record.data).map_err(|error| StoreError::Corrupt {
            what: "workspace event".into(),
            reason: error.to_string(),
        })?;
        events.push(event);
    }
    // Old entries go by age as well as by number, so the total is what there is from the oldest on.
    let oldest = store.streams.read(&stream, 0, 1).await?.first().map_or(last + 1, |record| record.seq);
    Ok((events, (last + 1).saturating_sub(oldest)))
}

/// Returns the text on one line without control characters, cut to a length for lists.
pub(crate) fn shorten(text: &str) -> String {
    let mut line: String =
        text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(DESCRIPTION_CHARS + 1).collect();
    if line.chars().count() > DESCRIPTION_CHARS {
        line.pop();
        line.push('…');
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r11_descriptions_are_cut_between_characters_and_lose_escape_sequences() {
        assert_eq!(shorten("a\u{1b}[31m\nb"), "a [31m b");
        assert_eq!(shorten(&"ü".repeat(1000)).chars().count(), DESCRIPTION_CHARS + 1);
    }
}
