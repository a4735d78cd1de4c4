//! Documents.

use serde_json::{Value, json};

use super::setting::soon;
use crate::{DocumentFilter, NewDocument, Precondition, Store, StoreError};

const KIND: &str = "thing";

fn document(id: &str, value: Value) -> NewDocument {
    NewDocument { kind: KIND, id: id.into(), sort_key: id.into(), owner: String::new(), value }
}

async fn put(store: &Store, id: &str, value: Value) -> u64 {
    store.documents.put(document(id, value), Precondition::None).await.expect("written")
}

async fn value(store: &Store, id: &str) -> Option<Value> {
    store.documents.get(KIND, id).await.expect("readable").map(|document| document.value)
}

fn is_conflict<T>(outcome: Result<T, StoreError>) -> bool {
    matches!(outcome, Err(StoreError::Conflict { kind, id }) if kind == KIND && id == "a")
}

async fn ids(store: &Store, filter: DocumentFilter) -> (Vec<String>, u64) {
    let page = store.documents.list(KIND, filter).await.expect("readable");
    (page.items.into_iter().map(|document| document.id).collect(), page.total)
}

/// What is written reads back, and each write has a larger version.
pub async fn a_document_reads_back_with_a_growing_version(store: Store) {
    let content = json!({ "name": "Zoë", "list": [1, 2.5, null], "deep": { "b": 1, "a": 2 } });
    let first = put(&store, "a", json!(1)).await;

    let second = put(&store, "a", content.clone()).await;

    assert!(second > first);
    let stored = store.documents.get(KIND, "a").await.expect("readable").expect("written");
    assert_eq!((stored.id.as_str(), stored.version, stored.value), ("a", second, content));
    assert_eq!(store.documents.get(KIND, "b").await.expect("readable"), None);
}

/// Read, change and write back: the slower of two is told.
pub async fn of_two_writers_with_one_version_one_wins(store: Store) {
    let version = put(&store, "a", json!(0)).await;
    let write = |number| store.documents.put(document("a", json!(number)), Precondition::Version(version));

    let (one, two) = soon("both writes", async { tokio::join!(write(1), write(2)) }).await;

    let winner = if one.is_ok() { 1 } else { 2 };
    assert_eq!(value(&store, "a").await, Some(json!(winner)));
    let loser = if winner == 1 { two } else { one };
    assert!(is_conflict(loser));
}

/// `Absent` never overwrites.
pub async fn absent_means_absent(store: Store) {
    let put = |value| store.documents.put(document("a", value), Precondition::Absent);

    put(json!(1)).await.expect("there was none");

    assert!(is_conflict(put(json!(2)).await));
    assert_eq!(value(&store, "a").await, Some(json!(1)));
    assert!(is_conflict(store.documents.delete(KIND, "a", Precondition::Absent).await));
}

/// A delete can be made to depend on what was read, too.
pub async fn a_delete_may_ask_for_a_version(store: Store) {
    let old = put(&store, "a", json!(1)).await;
    let new = put(&store, "a", json!(2)).await;
    let delete = |precondition| store.documents.delete(KIND, "a", precondition);

    assert!(is_conflict(delete(Precondition::Version(old)).await));
    assert!(delete(Precondition::Version(new)).await.expect("unchanged"));

    assert!(!delete(Precondition::None).await.expect("harmless"), "it is gone");
    assert!(is_conflict(delete(Precondition::Version(new)).await));
    assert_eq!(store.documents.count(KIND).await.expect("readable"), 0);
}

/// A version read before a delete does not fit the document that was made afterwards under the same id.
pub async fn a_version_does_not_come_back_after_a_delete(store: Store) {
    let old = put(&store, "a", json!(1)).await;
    store.documents.delete(KIND, "a", Precondition::None).await.expect("deleted");
    put(&store, "a", json!(2)).await;

    let late = store.documents.put(document("a", json!(3)), Precondition::Version(old)).await;

    assert!(is_conflict(late));
}

/// Lists are ordered by sort key, then id, and paged with the total.
pub async fn p3_pages_are_in_order_with_their_total(store: Store) {
    for (id, sort_key) in [("a", "2"), ("b", "1"), ("c", "2"), ("d", "1"), ("e", "0")] {
        let document = NewDocument { sort_key: sort_key.into(), ..document(id, json!(id)) };
        store.documents.put(document, Precondition::None).await.expect("written");
    }
    let page = |offset, limit| ids(&store, DocumentFilter { owner: None, offset, limit });

    assert_eq!(page(0, 10).await, (["e", "b", "d", "a", "c"].map(str::to_owned).to_vec(), 5));
    assert_eq!(page(1, 2).await, (["b", "d"].map(str::to_owned).to_vec(), 5));
    assert_eq!(page(5, 2).await, (vec![], 5));
    assert_eq!(page(0, 0).await, (vec![], 5));

    let moved = NewDocument { sort_key: "9".into(), ..document("e", json!("e")) };
    store.documents.put(moved, Precondition::None).await.expect("written");
    assert_eq!(page(4, 1).await, (vec!["e".to_owned()], 5), "a write may move it");
}

/// The owner mark narrows list and total.
pub async fn an_owner_narrows_the_list(store: Store) {
    for (id, owner) in [("a", "alice"), ("b", "bob"), ("c", "alice")] {
        let document = NewDocument { owner: owner.into(), ..document(id, json!(id)) };
        store.documents.put(document, Precondition::None).await.expect("written");
    }
    let of = |owner: &str| ids(&store, DocumentFilter { owner: Some(owner.into()), offset: 0, limit: 10 });

    assert_eq!(of("alice").await, (["a", "c"].map(str::to_owned).to_vec(), 2));
    assert_eq!(of("nobody").await, (vec![], 0));
    let stored = store.documents.get(KIND, "b").await.expect("readable").expect("written");
    assert_eq!(stored.owner, "bob");
}

/// The same id in two kinds is two documents.
pub async fn r26_kinds_do_not_mix(store: Store) {
    put(&store, "a", json!(1)).await;
    let other = NewDocument { kind: "other", ..document("a", json!(2)) };
    store.documents.put(other, Precondition::Absent).await.expect("another kind");

    store.documents.delete("other", "a", Precondition::None).await.expect("deleted");

    assert_eq!(value(&store, "a").await, Some(json!(1)));
    assert_eq!(store.documents.count("other").await.expect("readable"), 0);
    assert_eq!(store.documents.count(KIND).await.expect("readable"), 1);
}
