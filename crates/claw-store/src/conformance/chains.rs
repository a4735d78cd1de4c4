//! Chained streams.

use tokio::task::JoinSet;

use super::setting::*;
use crate::{ChainHash, ChainPage, Store, StreamName, chain_hash};

/// Checks every hash of a page against the one before it, and returns the last.
fn verified(page: &ChainPage) -> ChainHash {
    let mut previous = page.before;
    for (seq, chained) in (page.after + 1..).zip(&page.records) {
        assert_eq!(chained.record.seq, seq, "numbers have no gap");
        let hash = chain_hash(previous, seq, chained.record.at, &chained.record.data);
        assert_eq!(hash, chained.hash, "record {seq} follows from the one before it");
        previous = hash;
    }
    previous
}

async fn append(store: &Store, text: &str, second: i64) -> u64 {
    let records = vec![text.as_bytes().to_vec()];
    store.streams.append_chained(&StreamName::audit(), records, at(second)).await.expect("appended")
}

async fn read(store: &Store, after: u64, limit: u64) -> ChainPage {
    store.streams.read_chained(&StreamName::audit(), after, limit).await.expect("readable")
}

/// Appenders at the same time make one chain.
pub async fn records_follow_from_each_other_under_concurrent_appenders(store: Store) {
    let mut tasks = JoinSet::new();
    for appender in 0..8 {
        let store = store.clone();
        tasks.spawn(async move {
            for number in 0..20 {
                append(&store, &format!("{appender}/{number}"), number).await;
            }
        });
    }
    tasks.join_all().await;

    let page = read(&store, 0, 1000).await;

    assert_eq!((page.after, page.before, page.records.len()), (0, ChainHash::START, 160));
    verified(&page);
}

/// A chain can be checked page by page.
pub async fn pages_of_a_chain_join(store: Store) {
    for number in 0..7 {
        append(&store, &number.to_string(), number).await;
    }

    let (first, second) = (read(&store, 0, 4).await, read(&store, 4, 4).await);
    let beyond = read(&store, 7, 4).await;

    assert_eq!(verified(&first), second.before);
    assert_eq!((second.records.len(), beyond.records.len()), (3, 0));
    assert_eq!(verified(&second), beyond.before);
}

/// What is left after a trim follows from what was trimmed.
pub async fn a_trimmed_chain_keeps_the_hash_before_its_first_record(store: Store) {
    for number in 0..6 {
        append(&store, &number.to_string(), number).await;
    }
    let whole = read(&store, 0, 10).await;

    let removed = store.streams.trim_before(&StreamName::audit(), at(3), 2).await.expect("trimmed");
    let left = read(&store, 0, 10).await;
    assert_eq!((removed, left.after, left.before), (2, 2, whole.records[1].hash));
    assert_eq!(verified(&left), whole.records[5].hash);

    store.streams.trim(&StreamName::audit(), 6).await.expect("trimmed");
    append(&store, "next", 9).await;
    let last = read(&store, 0, 10).await;
    assert_eq!((last.after, last.before), (6, whole.records[5].hash));
    verified(&last);
}

/// Only a beginning is removed, in bounded steps, whatever the clock did.
pub async fn old_records_go_from_the_beginning_only(store: Store) {
    for second in [0, 10, 5, 20] {
        append(&store, "x", second).await;
    }
    let trim = async |before: i64, limit: u64| {
        store.streams.trim_before(&StreamName::audit(), at(before), limit).await.expect("trimmed")
    };

    assert_eq!(trim(0, 10).await, 0);
    assert_eq!(trim(6, 10).await, 1, "the third is older than the second, which stays");
    assert_eq!(trim(20, 1).await, 1);
    assert_eq!(trim(20, 10).await, 1);
    assert_eq!(read(&store, 0, 10).await.after, 3);
}

/// Streams are found by the beginning of their name, with what they hold.
pub async fn streams_are_listed_by_name(store: Store) {
    for (name, count) in [("b/2", 2), ("b/1", 3), ("a/1", 1), ("b", 1)] {
        let records = vec![b"x".to_vec(); count];
        store.streams.append(&StreamName::stored(name), records, at(1)).await.expect("appended");
    }
    store.streams.trim(&StreamName::stored("b/1"), 1).await.expect("trimmed");

    let all = store.streams.streams("b/", None, 10).await.expect("listed");
    let rest = store.streams.streams("b/", Some("b/1"), 10).await.expect("listed");

    let seen: Vec<_> = all.iter().map(|info| (info.name.as_str(), info.records, info.last_seq)).collect();
    assert_eq!(seen, [("b/1", 2, 3), ("b/2", 2, 2)]);
    assert_eq!(all[0].oldest, Some(at(1)));
    assert_eq!(rest.len(), 1);
}
