//! Keys that expire, and keys that get another secret.

use std::time::Duration;

use claw_core::{Action, Actor, Coded as _, ErrorCode, KeyId, Role, Scope, Secret, Timestamp};
use claw_gate::{Gate, GateError, KeyChange, KeyMeta, NewKey};

use crate::house::{House, new_key, set};

const HOUR: Duration = Duration::from_secs(3600);

fn id(meta: &KeyMeta) -> KeyId {
    meta.id.parse().expect("a key's id")
}

fn expiring(at: Timestamp, scopes: &[Scope], role: Role) -> NewKey {
    NewKey { expires_at: Some(at), ..new_key("for a while", set(scopes), role) }
}

fn until(end: Option<Timestamp>) -> KeyChange {
    KeyChange { expires_at: Some(end), ..KeyChange::default() }
}

/// What the trail tells of verbs that begin so, newest first.
async fn trail(gate: &Gate, verb: &str) -> Vec<(String, String, String)> {
    let filter = claw_gate::AuditFilter { verb: Some(verb.into()), limit: 100, ..Default::default() };
    let page = gate.audit_list(&Actor::system(), filter).await.expect("a page");
    let shown = |entry: claw_gate::AuditView| {
        let detail = entry.act.detail.map(|detail| detail.to_string()).unwrap_or_default();
        (entry.act.verb, entry.result.as_str().to_owned(), detail)
    };
    page.items.into_iter().map(shown).collect()
}

#[tokio::test]
async fn a11_a_key_opens_until_it_expires_and_not_a_second_longer() {
    let house = House::new().await;
    let (_, admin) = house.admin_key().await;
    let end = house.now() + HOUR;
    let new = expiring(end, &[Scope::JobsRead], Role::Agent);

    let (key, meta) = house.gate.create_key(&admin, new).await.expect("a key");

    assert_eq!(meta.expires_at, Some(end));
    house.clock.advance(3_599);
    house.enter(&key).await.expect("it is good");
    // Looked up a moment ago, which must not let it live longer.
    house.clock.advance(1);
    assert!(matches!(house.enter(&key).await, Err(GateError::InvalidKey)));
    let listed = house.gate.list_keys(&admin).await.expect("a list");
    assert_eq!(listed[1].expires_at, Some(end), "an expired key is still shown");
}

#[tokio::test]
async fn a11_whoever_is_served_for_long_with_a_key_that_expires_is_served_no_more() {
    let house = House::new().await;
    let (_, admin) = house.admin_key().await;
    let new = expiring(house.now() + HOUR, &[Scope::JobsRead], Role::Agent);
    let (key, _) = house.gate.create_key(&admin, new).await.expect("a key");
    let actor = house.enter(&key).await.expect("it is good");

    house.gate.still_valid(&actor, Action::JobsRead).await.expect("it is good");
    house.clock.advance(3_600);

    let over = house.gate.still_valid(&actor, Action::JobsRead).await;
    assert!(matches!(over, Err(GateError::InvalidKey)));
}

#[tokio::test]
async fn a11_an_administrator_moves_a_key_s_end_and_takes_it_away() {
    let house = House::new().await;
    let (_, admin) = house.admin_key().await;
    let new = expiring(house.now() + HOUR, &[Scope::JobsRead], Role::Agent);
    let (key, meta) = house.gate.create_key(&admin, new).await.expect("a key");

    house.clock.advance(7_200);
    assert!(house.enter(&key).await.is_err());
    let moved = house.gate.update_key(&admin, id(&meta), until(Some(house.now() + HOUR))).await;
    assert_eq!(moved.expect("a change").expires_at, Some(house.now() + HOUR));
    house.enter(&key).await.expect("it is good again");
    let stays = house.gate.update_key(&admin, id(&meta), until(None)).await.expect("a change");
    assert_eq!(stays.expires_at, None);

    let past = house.gate.update_key(&admin, id(&meta), until(Some(house.now()))).await;
    assert_eq!(past.expect_err("a refusal").code(), ErrorCode::InvalidRequest);
    let past = house.gate.create_key(&admin, expiring(house.now(), &[Scope::JobsRead], Role::Agent)).await;
    assert!(matches!(past, Err(GateError::InvalidExpiry(_))));
}

#[tokio::test]
async fn t19_nobody_who_expires_gives_anything_that_lasts_longer() {
    let house = House::new().await;
    let (_, admin) = house.admin_key().await;
    let end = house.now() + HOUR;
    let (key, meta) =
        house.gate.create_key(&admin, expiring(end, &[Scope::All], Role::Admin)).await.expect("a key");
    let passing = house.enter(&key).await.expect("it is good");
    let (_, other) = house.key(&admin, Role::Agent, &[Scope::JobsRead]).await;
    let gate = &house.gate;

    let refusals = [
        gate.create_key(&passing, new_key("", set(&[Scope::JobsRead]), Role::Agent)).await.map(drop),
        gate.create_key(&passing, expiring(end + HOUR, &[Scope::JobsRead], Role::Agent)).await.map(drop),
        gate.update_key(&passing, id(&meta), until(None)).await.map(drop),
        gate.update_key(&passing, id(&meta), until(Some(end + HOUR))).await.map(drop),
        gate.update_key(
            &passing,
            id(&other),
            KeyChange { scopes: Some(set(&[Scope::JobsWrite])), ..KeyChange::default() },
        )
        .await
        .map(drop),
        gate.rotate_key(&passing, id(&other), HOUR).await.map(drop),
        gate.create_user(&passing, "ann", &Secret::new("correct horse battery"), Role::User).await.map(drop),
    ];
    for (number, refusal) in refusals.into_iter().enumerate() {
        assert!(matches!(refusal, Err(GateError::ExpiryEscalation(at)) if at == end), "{number}");
    }
    gate.create_key(&passing, expiring(end, &[Scope::JobsRead], Role::Agent)).await.expect("not longer");
    gate.update_key(&passing, id(&other), until(Some(end))).await.expect("shorter is no gift");
}

#[tokio::test]
async fn a14_a_key_that_expires_is_no_way_in_that_is_left() {
    let house = House::new().await;
    let (_, admin) = house.admin_key().await;
    let own: KeyId = admin.owner().trim_start_matches("key:").parse().expect("an id");
    let new = expiring(house.now() + HOUR, &[Scope::All], Role::Admin);
    house.gate.create_key(&admin, new).await.expect("a key");

    let ends = house.gate.update_key(&admin, own, until(Some(house.now() + HOUR))).await;

    assert!(matches!(ends, Err(GateError::LastWayIn)));
}

#[tokio::test]
async fn a11_a_rotated_key_has_another_secret_and_the_former_one_is_good_for_the_grace_time() {
    let house = House::new().await;
    let (_, admin) = house.admin_key().await;
    let (old, before) = house.key(&admin, Role::Agent, &[Scope::JobsRead]).await;

    let (new, after) = house.gate.rotate_key(&admin, id(&before), HOUR).await.expect("another secret");

    assert_ne!(old, new);
    assert_eq!(after.key_prefix, new.expose()[45..]);
    assert_eq!(after.former_until, Some(house.now() + HOUR));
    let same = KeyMeta { key_prefix: before.key_prefix.clone(), former_until: None, ..after.clone() };
    assert_eq!(same, before, "everything else stays");
    let (by_old, by_new) = (house.enter(&old).await.expect("good"), house.enter(&new).await.expect("good"));
    assert_eq!((&by_old.principal, &by_old.scopes), (&by_new.principal, &by_new.scopes));

    house.clock.advance(3_600);
    assert!(matches!(house.enter(&old).await, Err(GateError::InvalidKey)));
    house.enter(&new).await.expect("good");
    let over = house.gate.still_valid(&by_old, Action::JobsRead).await;
    assert!(matches!(over, Err(GateError::InvalidKey)), "streams of the former secret end");
    house.gate.still_valid(&by_new, Action::JobsRead).await.expect("streams of the new one do not");
    assert_eq!(house.gate.list_keys(&admin).await.expect("a list")[1].former_until, None);
    // Over a restart too.
    let again = house.another_gate(None);
    again.start(None).await.expect("a start");
    let client = crate::house::client(3);
    again.authenticate(claw_gate::Credential::ApiKey(new), client).await.expect("good");
    assert!(again.authenticate(claw_gate::Credential::ApiKey(old), client).await.is_err());
}

#[tokio::test]
async fn a11_a_rotation_without_grace_ends_the_leaked_secret_and_its_streams_at_once() {
    let house = House::new().await;
    let (_, admin) = house.admin_key().await;
    let (old, meta) = house.key(&admin, Role::Agent, &[Scope::JobsRead]).await;
    let actor = house.enter(&old).await.expect("good");
    let mut watch = house.gate.watch(&actor, Action::JobsRead);

    let (new, after) = house.gate.rotate_key(&admin, id(&meta), Duration::ZERO).await.expect("a secret");

    assert!(matches!(watch.ended().await, GateError::InvalidKey));
    assert!(matches!(house.enter(&old).await, Err(GateError::InvalidKey)));
    house.enter(&new).await.expect("good");
    assert_eq!(after.former_until, None);
}

#[tokio::test]
async fn a11_of_many_rotations_only_the_last_two_secrets_are_good_and_none_after_revoking() {
    let house = House::new().await;
    let (_, admin) = house.admin_key().await;
    let (first, meta) = house.key(&admin, Role::Agent, &[Scope::JobsRead]).await;
    let mut secrets = vec![first];
    for _ in 0..4 {
        secrets.push(house.gate.rotate_key(&admin, id(&meta), HOUR).await.expect("a secret").0);
    }

    let mut good = Vec::new();
    for secret in &secrets {
        good.push(house.enter(secret).await.is_ok());
    }
    assert_eq!(good, [false, false, false, true, true]);
    let stored = house.store.documents.count("key_secret").await.expect("a count");
    assert!(stored <= 3, "what leads to forgotten secrets goes: {stored}");

    house.gate.revoke_key(&admin, id(&meta)).await.expect("revoked");
    for secret in &secrets {
        assert!(matches!(house.enter(secret).await, Err(GateError::InvalidKey)));
    }
    assert_eq!(house.store.documents.count("key_secret").await.expect("a count"), 0);
}

#[tokio::test]
async fn t19_whoever_rotates_a_key_gets_its_secret_and_must_hold_what_it_holds() {
    let house = House::new().await;
    let (_, admin) = house.admin_key().await;
    let (key, _) = house.key(&admin, Role::Admin, &[Scope::KeysWrite, Scope::JobsRead]).await;
    let manager = house.enter(&key).await.expect("good");
    let (strong, above) = house.key(&admin, Role::Agent, &[Scope::JobsRead, Scope::JobsWrite]).await;
    let (_, below) = house.key(&admin, Role::Agent, &[Scope::JobsRead]).await;
    let (own_key, own) = house.key(&admin, Role::Agent, &[Scope::All]).await;
    let agent = house.enter(&own_key).await.expect("good");

    let refused = house.gate.rotate_key(&manager, id(&above), HOUR).await;
    assert!(matches!(refused, Err(GateError::ScopeEscalation(Scope::JobsWrite))));
    house.enter(&strong).await.expect("nothing changed");
    house.gate.rotate_key(&manager, id(&below), HOUR).await.expect("what they hold");
    // A4, T19: an agent cannot do it at all, to its own key either.
    let refused = house.gate.rotate_key(&agent, id(&own), HOUR).await;
    assert_eq!(refused.expect_err("a refusal").code(), ErrorCode::AdminRequired);
    let long = house.gate.rotate_key(&admin, id(&below), claw_gate::MAX_GRACE + HOUR).await;
    assert!(matches!(long, Err(GateError::InvalidGrace)));
    let unknown = house.gate.rotate_key(&admin, KeyId::new(), HOUR).await;
    assert!(matches!(unknown, Err(GateError::KeyNotFound(_))));
}

#[tokio::test]
async fn a11_an_administrator_rotates_their_own_key_and_the_last_way_in_stays_open() {
    let house = House::new().await;
    let (old, admin) = house.admin_key().await;
    let own: KeyId = admin.owner().trim_start_matches("key:").parse().expect("an id");

    let (new, _) = house.gate.rotate_key(&admin, own, Duration::ZERO).await.expect("a secret");

    assert!(house.enter(&old).await.is_err());
    let admin = house.enter(&new).await.expect("good");
    house.gate.list_keys(&admin).await.expect("an administrator");
}

#[tokio::test]
async fn a11_expiry_and_rotation_are_in_the_trail_without_secrets() {
    let house = House::new().await;
    let (_, admin) = house.admin_key().await;
    let new = expiring(house.now() + HOUR, &[Scope::JobsRead], Role::Agent);
    let (old, meta) = house.gate.create_key(&admin, new).await.expect("a key");
    let (new, _) = house.gate.rotate_key(&admin, id(&meta), HOUR).await.expect("a secret");
    house.gate.update_key(&admin, id(&meta), until(None)).await.expect("a change");

    let shown = trail(&house.gate, "key.").await;

    let verbs: Vec<_> = shown.iter().map(|(verb, result, _)| (verb.as_str(), result.as_str())).collect();
    assert_eq!(verbs, [("key.change", "done"), ("key.rotate", "done"), ("key.create", "done")]);
    assert!(shown[2].2.contains("2026-03-20T13:00:00Z"), "{shown:?}");
    assert!(shown[1].2.contains("3600"), "{shown:?}");
    let text = format!("{shown:?}");
    for secret in [&old, &new] {
        assert!(!text.contains(&secret.expose()[9..]), "{text}");
    }
}

#[tokio::test]
async fn a13_a_rotation_that_the_store_refuses_leaves_the_key_as_it_was() {
    let house = House::new().await;
    let (_, admin) = house.admin_key().await;
    let (key, meta) = house.key(&admin, Role::Agent, &[Scope::JobsRead]).await;
    for kind in ["key_secret", "key"] {
        house.documents.refuse_writes_of(Some(kind));
        house.gate.rotate_key(&admin, id(&meta), Duration::ZERO).await.expect_err("a failure");
        house.documents.refuse_writes_of(None);

        house.enter(&key).await.expect("the secret is good");
        assert_eq!(house.store.documents.count("key_secret").await.expect("a count"), 0, "{kind}");
    }
}

#[tokio::test]
async fn reading_is_recorded_only_when_the_setting_says_so_and_many_reads_in_few_records() {
    let house = House::new().await;
    let (_, admin) = house.admin_key().await;
    let agent = house.agent(&admin, &[Scope::JobsRead]).await;
    let read = || house.gate.permit(&agent, Action::JobsRead, &claw_core::Resource::Any).expect("permitted");
    read();
    assert!(trail(&house.gate, "job.").await.is_empty());

    house.gate.audit().record_reads(true);
    for _ in 0..50 {
        read();
    }
    house.gate.permit(&agent, Action::OwnKey, &claw_core::Resource::Any).expect("permitted");
    house.gate.list_keys(&admin).await.expect("a list");

    let filter = claw_gate::AuditFilter { limit: 100, ..Default::default() };
    let page = house.gate.audit_list(&admin, filter).await.expect("a page");
    let reads: Vec<_> = page.items.iter().filter(|entry| entry.act.verb == "job.read").collect();
    assert_eq!(reads.len(), 2, "{reads:?}");
    assert_eq!(reads.iter().map(|entry| entry.more + 1).sum::<u64>(), 50);
    assert!(reads.iter().all(|entry| entry.result.as_str() == "done" && entry.act.actor == agent.owner()));
    assert!(page.items.iter().any(|entry| entry.act.verb == "key.list"));
    assert!(page.items.iter().all(|entry| entry.act.verb != "key.own"));
    assert_eq!(house.gate.audit_verify(&admin).await.expect("a check").broken_at, None);
}
