//! Streams and the live tail.

use std::{collections::BTreeMap, pin::pin};

use claw_core::WorkspaceId;
use futures_util::StreamExt;
use tokio::task::JoinSet;

use super::setting::*;
use crate::{Record, Store, StreamName, tail};

fn name() -> StreamName {
    StreamName::workspace_events(WorkspaceId::new())
}

fn texts(records: &[Record]) -> Vec<&str> {
    records.iter().map(|record| std::str::from_utf8(&record.data).expect("the tests write text")).collect()
}

fn lines(lines: &[&str]) -> Vec<Vec<u8>> {
    lines.iter().map(|line| line.as_bytes().to_vec()).collect()
}

async fn append(store: &Store, stream: &StreamName, texts: &[&str]) -> u64 {
    store.streams.append(stream, lines(texts), at(0)).await.expect("appended")
}

async fn read(store: &Store, stream: &StreamName, after: u64, limit: u64) -> Vec<Record> {
    store.streams.read(stream, after, limit).await.expect("readable")
}

/// Starts appenders that each write `count` records, two at a time: `{appender}/{number}`.
fn appenders(store: &Store, stream: &StreamName, appenders: usize, count: usize) -> JoinSet<()> {
    let mut tasks = JoinSet::new();
    for appender in 0..appenders {
        let (store, stream) = (store.clone(), stream.clone());
        tasks.spawn(async move {
            for number in (0..count).step_by(2) {
                let batch = [number, number + 1].map(|number| format!("{appender}/{number}").into_bytes());
                store.streams.append(&stream, batch.to_vec(), at(0)).await.expect("appended");
            }
        });
    }
    tasks
}

/// Checks that every record of every appender is there once, and each appender's in its order.
fn assert_complete(records: &[Record], appenders: usize, count: usize) {
    assert_gapless(records, 1);
    assert_eq!(records.len(), appenders * count);
    let mut next: BTreeMap<&str, usize> = BTreeMap::new();
    for text in texts(records) {
        let (appender, number) = text.split_once('/').expect("the tests write it so");
        let next = next.entry(appender).or_default();
        assert_eq!(number, next.to_string(), "appender {appender}");
        *next += 1;
    }
}

/// Eight appenders at once leave neither gap nor double.
pub async fn numbers_are_gapless_under_concurrent_appenders(store: Store) {
    let stream = name();

    appenders(&store, &stream, 8, 40).join_all().await;

    assert_complete(&read(&store, &stream, 0, 1_000).await, 8, 40);
    assert_eq!(store.streams.last_seq(&stream).await.expect("readable"), 320);
}

/// The records of one call follow each other, and the call returns the number of the last.
pub async fn a_batch_stays_together(store: Store) {
    let stream = name();

    assert_eq!(append(&store, &stream, &["a", "b", "c"]).await, 3);
    assert_eq!(append(&store, &stream, &["d"]).await, 4);

    let records = read(&store, &stream, 0, 10).await;
    assert_eq!(texts(&records), ["a", "b", "c", "d"]);
    assert!(records.iter().all(|record| record.at == at(0)));
    assert_eq!(texts(&read(&store, &stream, 1, 2).await), ["b", "c"], "after a number, up to a limit");
    assert_eq!(read(&store, &stream, 4, 10).await, []);
}

/// A tail that starts in the middle of the writing sees everything once and in order.
pub async fn a_tail_neither_misses_nor_doubles_while_four_append(store: Store) {
    let stream = name();
    let (count, writers) = (200, 4);
    let tasks = appenders(&store, &stream, writers, count);

    let followed = tail(store.streams.clone(), store.signals.clone(), stream.clone(), 0);
    let records: Vec<_> = soon(
        "the tail's last record",
        followed.take(count * writers).map(|record| record.expect("readable")).collect(),
    )
    .await;

    tasks.join_all().await;
    assert_complete(&records, writers, count);
    assert_eq!(records, read(&store, &stream, 0, 10_000).await);
}

/// A reader that comes back goes on where it was.
pub async fn a_tail_starts_where_it_is_told(store: Store) {
    let stream = name();
    append(&store, &stream, &["a", "b"]).await;
    let mut followed = pin!(tail(store.streams.clone(), store.signals.clone(), stream.clone(), 1));

    let stored = soon("the stored record", followed.next()).await.expect("endless").expect("readable");
    append(&store, &stream, &["c"]).await;
    let live = soon("the new record", followed.next()).await.expect("endless").expect("readable");

    assert_eq!(texts(&[stored, live]), ["b", "c"]);
}

/// Trimming frees room; it does not renumber.
pub async fn numbers_go_on_after_a_trim(store: Store) {
    let stream = name();
    append(&store, &stream, &["a", "b", "c"]).await;

    store.streams.trim(&stream, 2).await.expect("trimmed");

    assert_eq!(texts(&read(&store, &stream, 0, 10).await), ["c"]);
    store.streams.trim(&stream, 3).await.expect("trimmed");
    assert_eq!(read(&store, &stream, 0, 10).await, []);
    assert_eq!(store.streams.last_seq(&stream).await.expect("readable"), 3);
    assert_eq!(append(&store, &stream, &["d"]).await, 4);
}

/// The end of a stream can be read without its beginning.
pub async fn reading_back_returns_the_newest_first(store: Store) {
    let stream = name();
    append(&store, &stream, &["a", "b", "c", "d"]).await;

    let back = |before, limit| store.streams.read_back(&stream, before, limit);

    assert_eq!(texts(&back(u64::MAX, 2).await.expect("readable")), ["d", "c"]);
    assert_eq!(texts(&back(3, 9).await.expect("readable")), ["b", "a"]);
    assert_eq!(back(1, 9).await.expect("readable"), []);
}

/// An append of nothing tells the current number.
pub async fn appending_nothing_changes_nothing(store: Store) {
    let stream = name();

    assert_eq!(append(&store, &stream, &[]).await, 0);
    append(&store, &stream, &["a"]).await;
    assert_eq!(append(&store, &stream, &[]).await, 1);

    assert_eq!(read(&store, &stream, 0, 10).await.len(), 1);
}

/// Each stream has numbers and records of its own.
pub async fn streams_do_not_mix(store: Store) {
    let (one, other) = (name(), StreamName::workspace_events(WorkspaceId::new()));
    append(&store, &one, &["a", "b"]).await;

    assert_eq!(append(&store, &other, &["c"]).await, 1);
    store.streams.trim(&one, 9).await.expect("trimmed");

    assert_eq!(texts(&read(&store, &other, 0, 10).await), ["c"]);
    assert_eq!(read(&store, &name(), 0, 10).await, []);
}
