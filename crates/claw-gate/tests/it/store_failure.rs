use claw_core::{Coded as _, ErrorCode, Role, Scope, Secret};
use claw_gate::{Credential, GateError};
use claw_store::{Documents as _, NewDocument, Precondition};

use crate::house::{House, PASSWORD, client, first_admin, set};

#[tokio::test]
async fn s27_without_the_store_nobody_enters() {
    let house = House::new().await;
    let (key, admin) = house.admin_key().await;
    let (cookie, _) = house.person(&admin, "ann", Role::User).await;
    let never_set_up = House::new().await;
    house.documents.set_broken(true);
    never_set_up.documents.set_broken(true);

    // Not the gate that let the key in a moment ago, and may do so for one more.
    let gate = &house.another_gate(None);
    let refusals = [
        gate.authenticate(Credential::ApiKey(key.clone()), client(1)).await.map(drop),
        house.enter_with(Credential::Session(cookie.clone())).await.map(drop),
        gate.login("ann", &Secret::new(PASSWORD), client(1), None).await.map(drop),
        gate.verify(key, client(1)).await.map(drop),
        gate.list_keys(&admin).await.map(drop),
        gate.own_key(&admin).await.map(drop),
        gate.logout(&cookie).await,
        gate.setup_state().await.map(drop),
        // A failing count of users must not be taken for "no users yet".
        never_set_up.enter_with(Credential::None).await.map(drop),
        never_set_up.enter(&Secret::new("nonsense")).await.map(drop),
        never_set_up.gate.start(None).await.map(drop),
        never_set_up.gate.start(first_admin("root", PASSWORD)).await.map(drop),
        never_set_up
            .gate
            .setup_with_key(&Secret::new("nonsense"), "", set(&[Scope::All]), client(1))
            .await
            .map(drop),
    ];
    for (position, refusal) in refusals.into_iter().enumerate() {
        let error = refusal.expect_err("a refusal");
        assert!(matches!(error, GateError::Store(_)), "{position}: {error:?}");
        assert_eq!(error.code(), ErrorCode::StoreUnavailable);
    }
}

#[tokio::test]
async fn s27_a_failing_store_does_not_count_as_a_wrong_key() {
    let house = House::new().await;
    let (key, _) = house.admin_key().await;
    let gate = house.another_gate(None);
    let enter = async |key: &str| gate.authenticate(Credential::ApiKey(Secret::new(key)), client(1)).await;
    house.documents.set_broken(true);
    for _ in 0..20 {
        assert!(matches!(enter(key.expose()).await, Err(GateError::Store(_))));
    }
    house.documents.set_broken(false);

    enter(key.expose()).await.expect("a good key");
    assert!(matches!(enter("nonsense").await, Err(GateError::InvalidKey)));
}

#[tokio::test]
async fn s27_a_key_that_cannot_be_read_back_lets_nobody_in() {
    let house = House::new().await;
    let (key, _) = house.admin_key().await;
    let page = house
        .documents
        .list("key", claw_store::DocumentFilter { owner: None, offset: 0, limit: 1 })
        .await
        .expect("a list");
    let stored = page.items.into_iter().next().expect("the key");
    let mut value = stored.value;
    // A scope of some later version.
    value["scopes"] = serde_json::json!(["jobs:teleport"]);
    let document =
        NewDocument { kind: "key", id: stored.id, sort_key: "0".into(), owner: stored.owner, value };
    house.documents.put(document, Precondition::None).await.expect("a change");

    let gate = house.another_gate(None);
    let error = gate.authenticate(Credential::ApiKey(key), client(1)).await.expect_err("a refusal");

    assert_eq!(error.code(), ErrorCode::Internal);
    assert!(!error.to_string().contains("teleport"), "details are for the log");
}
