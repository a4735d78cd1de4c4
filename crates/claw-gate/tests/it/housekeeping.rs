use claw_core::{KeyId, Role, Scope, Secret};
use claw_gate::{Credential, GateError};
use claw_store::Documents as _;
use tokio_util::sync::CancellationToken;

use crate::house::{House, PASSWORD, client};

#[tokio::test]
async fn the_last_use_of_a_key_is_seen_at_once_and_written_down_later() {
    let house = House::new().await;
    let (_, admin) = house.admin_key().await;
    let (key, meta) = house.key(&admin, Role::Agent, &[Scope::JobsRead]).await;
    house.clock.advance(90);
    house.documents.take_calls();
    for _ in 0..5 {
        house.enter(&key).await.expect("a good key");
    }
    assert_eq!(house.documents.take_calls().1, 0, "using a key writes nothing");

    let used_at = |keys: Vec<claw_gate::KeyMeta>| {
        keys.into_iter().find(|key| key.id == meta.id).expect("the key").last_used_at
    };
    assert_eq!(used_at(house.gate.list_keys(&admin).await.expect("a list")), house.now());
    let restarted = house.another_gate(None);
    assert_eq!(used_at(restarted.list_keys(&admin).await.expect("a list")), meta.created_at);

    house.gate.tidy().await;
    assert_eq!(used_at(restarted.list_keys(&admin).await.expect("a list")), house.now());
    house.documents.take_calls();
    house.gate.tidy().await;
    assert_eq!(house.documents.take_calls().1, 0, "nothing new, nothing written");
}

#[tokio::test]
async fn writing_down_a_last_use_does_not_bring_a_revoked_key_back() {
    let house = House::new().await;
    let (_, admin) = house.admin_key().await;
    let (key, meta) = house.key(&admin, Role::Agent, &[Scope::JobsRead]).await;
    house.clock.advance(90);
    house.enter(&key).await.expect("a good key");
    // By another server, so that this one still has a use to write down.
    let id: KeyId = meta.id.parse().expect("an id");
    house.another_gate(None).revoke_key(&admin, id).await.expect("a revocation");

    house.gate.tidy().await;

    assert!(matches!(house.enter(&key).await, Err(GateError::InvalidKey)));
}

#[tokio::test]
async fn expired_sessions_are_removed_and_good_ones_kept() {
    let house = House::new().await;
    let (_, admin) = house.admin_key().await;
    house.person(&admin, "ann", Role::User).await;
    house.person(&admin, "bob", Role::User).await;
    house.clock.advance(24 * 60 * 60 - 1);
    let (fresh, _) =
        house.gate.login("ann", &Secret::new(PASSWORD), client(1), None).await.expect("a session");
    house.clock.advance(1);

    house.gate.tidy().await;

    assert_eq!(house.documents.count("session").await.expect("a count"), 1);
    house.enter_with(Credential::Session(fresh)).await.expect("a good session");
}

#[tokio::test]
async fn keeping_house_ends_when_told_to_and_loses_nothing() {
    let house = House::new().await;
    let (key, admin) = house.admin_key().await;
    house.clock.advance(90);
    house.enter(&key).await.expect("a good key");
    let stop = CancellationToken::new();
    stop.cancel();

    house.gate.keep_house(stop).await;

    let restarted = house.another_gate(None);
    assert_eq!(restarted.own_key(&admin).await.expect("a key").last_used_at, house.now());
}

#[tokio::test]
async fn a_round_of_housekeeping_that_fails_is_made_good_by_the_next() {
    let house = House::new().await;
    let (key, admin) = house.admin_key().await;
    house.clock.advance(90);
    house.enter(&key).await.expect("a good key");
    house.documents.set_broken(true);
    house.gate.tidy().await;
    house.documents.set_broken(false);

    house.gate.tidy().await;
    let restarted = house.another_gate(None);
    let meta = restarted.own_key(&admin).await.expect("a key");
    assert_eq!(meta.last_used_at, house.now(), "the next round makes good what the failed one missed");
}
