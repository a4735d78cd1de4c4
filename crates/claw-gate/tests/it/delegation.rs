//! Nobody gives others more than they hold themselves, by any way.

use claw_core::{Actor, Coded as _, ErrorCode, KeyId, Role, Scope, Secret, Usd};
use claw_gate::{GateError, KeyChange, KeyMeta, NewKey};

use crate::house::{House, PASSWORD, client, key_change, new_key, set};

const FIVE: Usd = Usd::from_nanos(5_000_000_000);
const SIX: Usd = Usd::from_nanos(6_000_000_000);

fn id(meta: &KeyMeta) -> KeyId {
    meta.id.parse().expect("an id")
}

fn cap(max_usd_per_day: Option<Usd>) -> KeyChange {
    KeyChange { max_usd_per_day: Some(max_usd_per_day), ..KeyChange::default() }
}

/// Makes a key that may manage everything and spend five dollars a day, and comes in with it.
async fn limited_admin(house: &House, by: &Actor) -> (KeyMeta, Actor) {
    let new = NewKey { max_usd_per_day: Some(FIVE), ..new_key("limited", set(&[Scope::All]), Role::Admin) };
    let (key, meta) = house.gate.create_key(by, new).await.expect("a key");
    let actor = house.enter(&key).await.expect("a good key");
    (meta, actor)
}

#[tokio::test]
async fn t19_a_key_with_a_limit_gives_nobody_the_means_to_spend() {
    let house = House::new().await;
    let (_, admin) = house.admin_key().await;
    let (own, limited) = limited_admin(&house, &admin).await;
    let (_, reader) = house.key(&admin, Role::Agent, &[Scope::JobsRead]).await;
    let (_, capped) = house.key(&admin, Role::Agent, &[Scope::JobsWrite]).await;
    house.gate.update_key(&admin, id(&capped), cap(Some(FIVE))).await.expect("a limit");
    house.person(&admin, "ann", Role::User).await;
    let gate = &house.gate;
    let same = NewKey { max_usd_per_day: Some(FIVE), ..new_key("", set(&[Scope::JobsWrite]), Role::Agent) };

    let refusals = [
        // Also with the same limit: many such keys together would have a larger one.
        gate.create_key(&limited, same).await.map(drop),
        gate.create_key(&limited, new_key("", set(&[Scope::JobsWrite]), Role::Agent)).await.map(drop),
        gate.update_key(&limited, id(&reader), key_change(None, Some(set(&[Scope::JobsWrite]))))
            .await
            .map(drop),
        gate.update_key(&limited, id(&capped), cap(Some(SIX))).await.map(drop),
        gate.update_key(&limited, id(&capped), cap(None)).await.map(drop),
        gate.update_key(&limited, id(&own), cap(None)).await.map(drop),
        gate.update_key(&limited, id(&own), cap(Some(SIX))).await.map(drop),
        gate.create_user(&limited, "eve", &Secret::new(PASSWORD), Role::User).await.map(drop),
        gate.reset_password(&limited, "ann", &Secret::new("another password")).await,
    ];

    for (position, refusal) in refusals.into_iter().enumerate() {
        let error = refusal.expect_err("a refusal");
        assert!(matches!(error, GateError::CapEscalation(FIVE)), "{position}: {error:?}");
        assert_eq!(error.code(), ErrorCode::ScopeEscalation);
    }
    let four = Usd::from_nanos(4_000_000_000);
    gate.update_key(&limited, id(&own), cap(Some(four))).await.expect("taking away is free");
    gate.update_key(&limited, id(&reader), key_change(None, Some(set(&[Scope::ChatUse]))))
        .await
        .expect_err("adds");
    gate.revoke_key(&limited, id(&reader)).await.expect("taking away is free");
    let caps = gate.day_caps().await.expect("the limits");
    assert_eq!(caps.get(&format!("key:{}", own.id)), Some(&four));
    assert_eq!(caps.get(&format!("key:{}", capped.id)), Some(&FIVE));
    assert_eq!(caps.len(), 2);
}

#[tokio::test]
async fn t19_an_agent_cannot_touch_its_own_limit_or_scopes_upward() {
    let house = House::new().await;
    let (_, admin) = house.admin_key().await;
    let new = NewKey {
        max_usd_per_day: Some(FIVE),
        ..new_key("", set(&[Scope::JobsWrite, Scope::KeysWrite]), Role::Agent)
    };
    let (key, meta) = house.gate.create_key(&admin, new).await.expect("a key");
    let agent = house.enter(&key).await.expect("a good key");

    let raised = house.gate.update_key(&agent, id(&meta), cap(None)).await;
    let widened = house.gate.lower_own_scopes(&agent, set(&[Scope::JobsWrite, Scope::Admin])).await;

    assert!(matches!(raised, Err(GateError::AdminRequired)));
    assert!(matches!(widened, Err(GateError::ScopeEscalation(Scope::Admin))));
    let lowered = house.gate.lower_own_scopes(&agent, set(&[Scope::JobsWrite])).await.expect("a change");
    assert_eq!(lowered.max_usd_per_day, Some(FIVE), "lowering scopes keeps the limit");
    assert_eq!(house.gate.own_key(&agent).await.expect("its key").max_usd_per_day, Some(FIVE));
}

#[tokio::test]
async fn t19_who_was_lowered_while_a_request_is_under_way_gives_nothing_any_more() {
    let house = House::new().await;
    let (_, admin) = house.admin_key().await;
    let (key, meta) = house.key(&admin, Role::Admin, &[Scope::KeysWrite, Scope::JobsWrite]).await;
    let began = house.enter(&key).await.expect("a good key");
    let gate = &house.gate;

    let fewer = key_change(None, Some(set(&[Scope::KeysWrite])));
    gate.update_key(&admin, id(&meta), fewer).await.expect("a change");
    let given = gate.create_key(&began, new_key("", set(&[Scope::JobsWrite]), Role::Agent)).await;
    assert!(matches!(given, Err(GateError::ScopeEscalation(Scope::JobsWrite))));

    let none = key_change(None, Some(set(&[Scope::ChatUse])));
    gate.update_key(&admin, id(&meta), none).await.expect("a change");
    let listed = gate.list_keys(&began).await;
    assert!(matches!(listed, Err(GateError::ScopeMissing(Scope::KeysWrite))));

    gate.revoke_key(&admin, id(&meta)).await.expect("a revocation");
    let listed = gate.list_keys(&began).await;
    assert!(matches!(listed, Err(GateError::InvalidKey)));
}

#[tokio::test]
async fn t19_every_way_to_power_asks_for_the_power_that_it_gives() {
    let house = House::new().await;
    let (_, admin) = house.admin_key().await;
    let (key, _) = house.key(&admin, Role::Admin, &[Scope::KeysWrite, Scope::JobsRead]).await;
    let manager = house.enter(&key).await.expect("a good key");
    let (_, other) = house.key(&admin, Role::Agent, &[Scope::JobsRead]).await;
    house.person(&admin, "ann", Role::Admin).await;
    let (_, bob) = house.person(&admin, "bob", Role::User).await;
    let gate = &house.gate;
    let password = Secret::new("another password");

    for scope in Scope::ALL.iter().copied().filter(|scope| !manager.holds(*scope)) {
        let made = gate.create_key(&manager, new_key("", set(&[scope]), Role::Agent)).await;
        assert!(matches!(made, Err(GateError::ScopeEscalation(_))), "{scope}");
        let widened = key_change(None, Some(set(&[Scope::JobsRead, scope])));
        let widened = gate.update_key(&manager, id(&other), widened).await;
        assert!(matches!(widened, Err(GateError::ScopeEscalation(_))), "{scope}");
    }
    for actor in [&manager, &bob] {
        let refusals = [
            gate.create_user(actor, "eve", &password, Role::Admin).await.map(drop),
            gate.create_user(actor, "eve", &password, Role::User).await.map(drop),
            gate.reset_password(actor, "ann", &password).await,
            gate.end_session(actor, Some("ann"), "0").await,
            gate.list_sessions(actor, Some("ann")).await.map(drop),
        ];
        for refusal in refusals {
            assert!(matches!(refusal, Err(GateError::ScopeMissing(Scope::Admin))), "{refusal:?}");
        }
    }
    let own_key = gate.create_key(&bob, new_key("", set(&[Scope::JobsRead]), Role::Agent)).await;
    assert!(matches!(own_key, Err(GateError::ScopeMissing(Scope::KeysWrite))));
    gate.login("ann", &Secret::new(PASSWORD), client(1), None).await.expect("her password is as it was");
}
