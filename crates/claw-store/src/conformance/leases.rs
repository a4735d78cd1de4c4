//! Leases.

use tokio::task::JoinSet;

use super::setting::at;
use crate::{LeaseGrant, Store};

async fn acquire(store: &Store, holder: &str, until: i64, now: i64) -> Option<LeaseGrant> {
    store.leases.acquire("leader", holder, at(until), at(now)).await.expect("answered")
}

/// While one holds it nobody else gets it, and other names are other leases.
pub async fn a_lease_has_one_holder(store: Store) {
    let grant = acquire(&store, "a", 10, 0).await.expect("free");

    assert_eq!(grant.until, at(10));
    assert_eq!(acquire(&store, "b", 20, 9).await, None);
    let other = store.leases.acquire("other", "b", at(10), at(0)).await.expect("answered");
    assert!(other.is_some());
}

/// Sixteen ask at the same moment, one gets it.
pub async fn of_sixteen_that_ask_one_gets_it(store: Store) {
    let mut tasks = JoinSet::new();
    for number in 0..16 {
        let store = store.clone();
        tasks.spawn(async move { acquire(&store, &format!("holder {number}"), 10, 0).await });
    }

    let grants = tasks.join_all().await;

    assert_eq!(grants.iter().flatten().count(), 1);
}

/// Whoever comes later has the larger token.
pub async fn the_token_grows_with_each_change_of_holder(store: Store) {
    let mut last = 0;
    for (round, holder) in (0..).zip(["a", "b", "a", "c"]) {
        let grant = acquire(&store, holder, round * 10 + 10, round * 10).await.expect("lapsed");

        assert!(grant.token > last, "{holder}");
        last = grant.token;
        if holder == "b" {
            assert!(store.leases.release("leader", last).await.expect("answered"));
        }
    }
}

/// Acquiring again prolongs.
pub async fn the_same_holder_keeps_its_token(store: Store) {
    let first = acquire(&store, "a", 10, 0).await.expect("free");

    let second = acquire(&store, "a", 20, 5).await.expect("its own");

    assert_eq!(second, LeaseGrant { token: first.token, until: at(20) });
    assert_eq!(acquire(&store, "b", 30, 15).await, None);
}

/// A holder that does not come back loses it.
pub async fn a_lapsed_lease_is_free(store: Store) {
    acquire(&store, "a", 10, 0).await.expect("free");

    assert!(acquire(&store, "b", 20, 10).await.is_some());
    assert_eq!(acquire(&store, "a", 20, 10).await, None, "the former holder asks like everyone");
}

/// Giving back takes the newest token; a former holder's does nothing.
pub async fn only_the_newest_token_gives_a_lease_back(store: Store) {
    let old = acquire(&store, "a", 10, 0).await.expect("free");
    let new = acquire(&store, "b", 20, 10).await.expect("lapsed");

    assert!(!store.leases.release("leader", old.token).await.expect("answered"));
    assert_eq!(acquire(&store, "c", 20, 11).await, None, "it is still held");
    assert!(store.leases.release("leader", new.token).await.expect("answered"));
    assert!(!store.leases.release("leader", new.token).await.expect("answered"), "once");

    let next = acquire(&store, "b", 20, 11).await.expect("free");
    assert!(next.token > new.token, "even for the one who gave it back");
}
