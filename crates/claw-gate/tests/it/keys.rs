use std::sync::Arc;

use claw_core::{Coded as _, ErrorCode, KeyId, Role, Scope, Secret};
use claw_gate::{GateError, KeyMeta, parse_scopes};

use crate::house::{House, key_change, new_key, set};

fn id(meta: &KeyMeta) -> KeyId {
    meta.id.parse().expect("a key's id")
}

#[tokio::test]
async fn s31_a8_a_new_key_is_shown_once_and_described_without_it() {
    let house = House::new().await;
    let (_, admin) = house.admin_key().await;

    let (key, meta) = house
        .gate
        .create_key(&admin, new_key("  night agent ", set(&[Scope::JobsRead]), Role::Agent))
        .await
        .expect("a key");

    assert_eq!(meta.label, "night agent");
    assert_eq!(meta.role, Role::Agent);
    assert_eq!(meta.scopes, [Scope::JobsRead]);
    assert_eq!(meta.key_prefix, key.expose()[45..]);
    assert_eq!(meta.created_at.to_string(), "2026-03-20T12:00:00Z");
    assert_eq!(meta.last_used_at, meta.created_at);
    let list = house.gate.list_keys(&admin).await.expect("a list");
    assert_eq!(list.iter().map(|key| key.label.as_str()).collect::<Vec<_>>(), ["first", "night agent"]);
    assert_eq!(list[1], meta);
}

#[tokio::test]
async fn labels_are_checked_and_default_to_the_role() {
    let house = House::new().await;
    let (_, admin) = house.admin_key().await;

    let (_, meta) = house
        .gate
        .create_key(&admin, new_key(" ", set(&[Scope::JobsRead]), Role::Agent))
        .await
        .expect("a key");
    assert_eq!(meta.label, "agent");
    for label in ["a\nb", "\u{1b}[31m", &"x".repeat(101)] {
        let refused =
            house.gate.create_key(&admin, new_key(label, set(&[Scope::JobsRead]), Role::Agent)).await;
        assert!(matches!(refused, Err(GateError::InvalidLabel)), "{label:?}");
    }
}

#[test]
fn scopes_are_read_by_name_and_unknown_ones_are_refused() {
    assert_eq!(parse_scopes(&["jobs:read", "*"]).expect("scopes"), set(&[Scope::JobsRead, Scope::All]));
    let unknown = parse_scopes(&["jobs:read", "secrets:write"]).expect_err("a refusal");
    assert_eq!(unknown.code(), ErrorCode::UnknownScope);
    assert!(matches!(parse_scopes::<&str>(&[]), Err(GateError::ScopesRequired)));
}

#[tokio::test]
async fn a_key_needs_a_scope_and_a_role_that_goes_with_keys() {
    let house = House::new().await;
    let (_, admin) = house.admin_key().await;

    let none = house.gate.create_key(&admin, new_key("", set(&[]), Role::Agent)).await;
    assert!(matches!(none, Err(GateError::ScopesRequired)));
    let role = house.gate.create_key(&admin, new_key("", set(&[Scope::JobsRead]), Role::User)).await;
    assert_eq!(role.expect_err("a refusal").code(), ErrorCode::InvalidRole);
}

#[tokio::test]
async fn s20_keys_are_managed_by_administrators_with_the_scope_only() {
    let house = House::new().await;
    let (_, admin) = house.admin_key().await;
    let (_, other) = house.key(&admin, Role::Agent, &[Scope::JobsRead]).await;
    let without_scope = house.agent(&admin, &[Scope::JobsRead]).await;
    // Every scope there is, but not the role.
    let all_powerful_agent = house.agent(&admin, &[Scope::All]).await;
    let (_, person) = house.person(&admin, "ann", Role::User).await;

    for (actor, code) in [
        (&without_scope, ErrorCode::ScopeRequired),
        (&all_powerful_agent, ErrorCode::AdminRequired),
        (&person, ErrorCode::ScopeRequired),
    ] {
        let gate = &house.gate;
        let one = set(&[Scope::JobsRead]);
        let refusals = [
            gate.create_key(actor, new_key("", one.clone(), Role::Agent)).await.map(drop),
            gate.list_keys(actor).await.map(drop),
            gate.update_key(actor, id(&other), key_change(None, Some(one))).await.map(drop),
            gate.revoke_key(actor, id(&other)).await,
        ];
        for refusal in refusals {
            assert_eq!(refusal.expect_err("a refusal").code(), code, "{actor:?}");
        }
    }
    assert_eq!(house.gate.list_keys(&admin).await.expect("a list").len(), 4, "nothing was made or removed");
}

#[tokio::test]
async fn t19_nobody_grants_a_scope_they_do_not_hold() {
    let house = House::new().await;
    let (_, admin) = house.admin_key().await;
    let (key, _) = house.key(&admin, Role::Admin, &[Scope::KeysWrite, Scope::JobsRead]).await;
    let manager = house.enter(&key).await.expect("a good key");
    let (_, person) = house.person(&admin, "ann", Role::Admin).await;

    for scope in [Scope::JobsWrite, Scope::Admin, Scope::All] {
        let refused =
            house.gate.create_key(&manager, new_key("", set(&[Scope::JobsRead, scope]), Role::Agent)).await;
        assert!(matches!(refused, Err(GateError::ScopeEscalation(refused)) if refused == scope), "{scope}");
    }
    house
        .gate
        .create_key(&manager, new_key("", set(&[Scope::JobsRead]), Role::Agent))
        .await
        .expect("what they hold");
    // An administrator holds every scope but the wildcard itself.
    house
        .gate
        .create_key(&person, new_key("", set(&[Scope::Admin]), Role::Agent))
        .await
        .expect("what they hold");
    let wildcard = house.gate.create_key(&person, new_key("", set(&[Scope::All]), Role::Agent)).await;
    assert!(matches!(wildcard, Err(GateError::ScopeEscalation(Scope::All))));
}

#[tokio::test]
async fn an_administrator_raises_and_lowers_a_key_with_effect_on_its_next_request() {
    let house = House::new().await;
    let (_, admin) = house.admin_key().await;
    let (key, meta) = house.key(&admin, Role::Agent, &[Scope::JobsRead]).await;

    let raised = house
        .gate
        .update_key(
            &admin,
            id(&meta),
            key_change(Some("renamed"), Some(set(&[Scope::JobsRead, Scope::JobsWrite]))),
        )
        .await
        .expect("a change");
    assert_eq!((raised.label.as_str(), &raised.id), ("renamed", &meta.id));
    assert!(house.enter(&key).await.expect("a good key").holds(Scope::JobsWrite));

    house
        .gate
        .update_key(&admin, id(&meta), key_change(None, Some(set(&[Scope::ChatUse]))))
        .await
        .expect("a change");
    let actor = house.enter(&key).await.expect("a good key");
    assert_eq!((actor.label.as_str(), actor.scopes), ("renamed", set(&[Scope::ChatUse])));
}

#[tokio::test]
async fn t19_raising_a_key_is_bounded_by_what_the_administrator_holds_but_keeps_what_the_key_has() {
    let house = House::new().await;
    let (_, admin) = house.admin_key().await;
    let (key, _) = house.key(&admin, Role::Admin, &[Scope::KeysWrite, Scope::JobsRead]).await;
    let manager = house.enter(&key).await.expect("a good key");
    let (_, agent) = house.key(&admin, Role::Agent, &[Scope::ChatUse]).await;
    let raise = |scopes: &[Scope]| {
        let (gate, manager, id, scopes) = (house.gate.clone(), manager.clone(), id(&agent), set(scopes));
        async move { gate.update_key(&manager, id, key_change(None, Some(scopes))).await }
    };

    let refused = raise(&[Scope::ChatUse, Scope::SkillsRead]).await;
    assert!(matches!(refused, Err(GateError::ScopeEscalation(Scope::SkillsRead))));
    assert!(matches!(raise(&[]).await, Err(GateError::ScopesRequired)));
    raise(&[Scope::ChatUse, Scope::JobsRead]).await.expect("a change within bounds");
    // Its own key cannot be raised in this way either.
    let own = manager.owner().trim_start_matches("key:").parse().expect("an id");
    let refused = house
        .gate
        .update_key(&manager, own, key_change(None, Some(set(&[Scope::KeysWrite, Scope::All]))))
        .await;
    assert!(matches!(refused, Err(GateError::ScopeEscalation(Scope::All))));
    let unknown = house.gate.update_key(&manager, KeyId::new(), key_change(Some("x"), None)).await;
    assert!(matches!(unknown, Err(GateError::KeyNotFound(_))));
}

#[tokio::test]
async fn t19_a4_a_key_lowers_its_own_scopes_and_cannot_raise_them_again() {
    let house = House::new().await;
    let (_, admin) = house.admin_key().await;
    let agent = house.agent(&admin, &[Scope::JobsRead, Scope::JobsWrite]).await;

    let lowered = house.gate.lower_own_scopes(&agent, set(&[Scope::JobsRead])).await.expect("a change");
    assert_eq!(lowered.scopes, [Scope::JobsRead]);
    // The actor of the running request still names the former scopes: what counts is what the key holds now.
    let again = house.gate.lower_own_scopes(&agent, set(&[Scope::JobsWrite])).await;
    assert!(matches!(again, Err(GateError::ScopeEscalation(Scope::JobsWrite))));
    let none = house.gate.lower_own_scopes(&agent, set(&[])).await;
    assert!(matches!(none, Err(GateError::ScopesRequired)));
}

#[tokio::test]
async fn the_holder_of_the_wildcard_may_set_any_scopes_of_its_own_key() {
    let house = House::new().await;
    let (_, admin) = house.admin_key().await;
    let scopes = set(&[Scope::KeysWrite, Scope::ContainersDelete]);

    let meta = house.gate.lower_own_scopes(&admin, scopes).await.expect("a change");

    assert_eq!(meta.scopes, [Scope::ContainersDelete, Scope::KeysWrite]);
}

#[tokio::test]
async fn people_and_the_installation_token_have_a_description_but_no_key_to_lower() {
    let house = House::with_api_token("an-installation-token").await;
    let token = house.enter(&Secret::new("an-installation-token")).await.expect("the token");
    let (_, ann) = house.person(&token, "ann", Role::User).await;

    let meta = house.gate.own_key(&ann).await.expect("a description");
    assert_eq!((meta.id.as_str(), meta.label.as_str(), meta.role), ("user:ann", "ann", Role::User));
    assert_eq!(house.gate.own_key(&token).await.expect("a description").scopes, Scope::ALL);
    for actor in [&ann, &token] {
        let refused = house.gate.lower_own_scopes(actor, set(&[Scope::JobsRead])).await;
        assert!(matches!(refused, Err(GateError::NoOwnKey)));
    }
}

#[tokio::test]
async fn a_revoked_key_is_refused_at_once() {
    let house = House::new().await;
    let (_, admin) = house.admin_key().await;
    let (key, meta) = house.key(&admin, Role::Admin, &[Scope::KeysWrite]).await;
    let actor = house.enter(&key).await.expect("a good key");

    house.gate.revoke_key(&admin, id(&meta)).await.expect("a revocation");

    assert!(matches!(house.enter(&key).await, Err(GateError::InvalidKey)));
    // Nor does a request go on that had come in before.
    assert!(matches!(house.gate.list_keys(&actor).await, Err(GateError::InvalidKey)));
    assert!(matches!(house.gate.own_key(&actor).await, Err(GateError::InvalidKey)));
    let lower = house.gate.lower_own_scopes(&actor, set(&[Scope::KeysWrite])).await;
    assert!(matches!(lower, Err(GateError::InvalidKey)));
    let again = house.gate.revoke_key(&admin, id(&meta)).await.expect_err("a refusal");
    assert_eq!(again.code(), ErrorCode::RevokeFailed);
}

#[tokio::test]
async fn a_key_cannot_revoke_itself() {
    let house = House::new().await;
    let (key, admin) = house.admin_key().await;
    let own = id(&house.gate.own_key(&admin).await.expect("a key"));

    let refused = house.gate.revoke_key(&admin, own).await.expect_err("a refusal");

    assert_eq!(refused.code(), ErrorCode::CannotRevokeSelf);
    house.enter(&key).await.expect("still a good key");
}

#[tokio::test]
async fn the_last_way_in_cannot_be_lowered_away() {
    let house = House::new().await;
    let (_, admin) = house.admin_key().await;
    let own = id(&house.gate.own_key(&admin).await.expect("a key"));
    house.agent(&admin, &[Scope::All]).await;

    let lowered = house.gate.lower_own_scopes(&admin, set(&[Scope::JobsRead])).await;
    assert!(matches!(lowered, Err(GateError::LastWayIn)), "an agent's key is no way in, whatever its scopes");
    let updated = house.gate.update_key(&admin, own, key_change(None, Some(set(&[Scope::JobsRead])))).await;
    assert!(matches!(updated, Err(GateError::LastWayIn)));

    house.person(&admin, "ann", Role::Admin).await;
    house.gate.lower_own_scopes(&admin, set(&[Scope::JobsRead])).await.expect("a person can still come in");
}

#[tokio::test]
async fn an_installation_token_is_a_way_in() {
    let token = "an-installation-token";
    let house = House::with_api_token(token).await;
    let admin = house.enter(&Secret::new(token)).await.expect("the token");
    let (_, meta) = house.key(&admin, Role::Admin, &[Scope::All]).await;

    house.gate.revoke_key(&admin, id(&meta)).await.expect("the token remains");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_administrators_who_revoke_each_other_leave_one() {
    for _ in 0..10 {
        let house = Arc::new(House::new().await);
        let (_, first) = house.admin_key().await;
        let first_id = id(&house.gate.own_key(&first).await.expect("a key"));
        let (key, second) = house.key(&first, Role::Admin, &[Scope::All]).await;
        let second_actor = house.enter(&key).await.expect("a good key");

        let (gate, other_gate) = (house.gate.clone(), house.gate.clone());
        let second_id = id(&second);
        let (one, other) = tokio::join!(
            tokio::spawn(async move { gate.revoke_key(&first, second_id).await }),
            tokio::spawn(async move { other_gate.revoke_key(&second_actor, first_id).await }),
        );

        let results = [one.expect("no panic"), other.expect("no panic")];
        assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1, "{results:?}");
        assert_eq!(house.gate.setup_state().await.expect("a state").key_count, 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn changes_of_one_key_at_the_same_time_do_not_overwrite_each_other() {
    let house = House::new().await;
    let (_, admin) = house.admin_key().await;
    let (_, meta) = house.key(&admin, Role::Agent, &[Scope::JobsRead]).await;
    // Two servers, so that not even the lock inside one keeps them apart.
    let gates = [house.gate.clone(), house.another_gate(None)];

    let mut changes = tokio::task::JoinSet::new();
    for round in 0..8 {
        let (gate, admin, key) = (gates[round % 2].clone(), admin.clone(), id(&meta));
        changes.spawn(async move {
            if round == 0 {
                gate.update_key(&admin, key, key_change(None, Some(set(&[Scope::ChatUse])))).await
            } else {
                gate.update_key(&admin, key, key_change(Some(&format!("label {round}")), None)).await
            }
        });
    }
    for change in changes.join_all().await {
        change.expect("a change");
    }

    let list = house.gate.list_keys(&admin).await.expect("a list");
    assert_eq!(list[1].scopes, [Scope::ChatUse], "no rename brought the former scopes back");
    assert!(list[1].label.starts_with("label "));
}
