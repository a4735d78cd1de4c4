//! Sessions: rotated, listed, ended; and people who change their password.

use claw_core::{Action, Actor, Coded as _, ErrorCode, Role, Scope, Secret};
use claw_gate::{Credential, GateError, SessionView};

use crate::house::{House, PASSWORD, client, key_change, set};

const NEW: &str = "another good password";

async fn is_good(house: &House, cookie: &Secret) -> bool {
    match house.enter_with(Credential::Session(cookie.clone())).await {
        Ok(_) => true,
        Err(GateError::InvalidKey) => false,
        Err(error) => panic!("{error}"),
    }
}

async fn sign_in(house: &House, username: &str, old: Option<&Secret>) -> (Secret, Actor) {
    let signed_in = house.gate.login(username, &Secret::new(PASSWORD), client(2), old).await;
    let (cookie, _) = signed_in.expect("a session");
    let actor = house.enter_with(Credential::Session(cookie.clone())).await.expect("a good session");
    (cookie, actor)
}

#[tokio::test]
async fn t16_a_sign_in_ends_the_session_that_the_browser_had() {
    let house = House::new().await;
    let (_, admin) = house.admin_key().await;
    let (old, _) = house.person(&admin, "ann", Role::User).await;
    let (elsewhere, _) = sign_in(&house, "ann", None).await;

    let (new, _) = sign_in(&house, "ann", Some(&old)).await;

    assert_ne!(new, old);
    assert!(!is_good(&house, &old).await);
    assert!(is_good(&house, &new).await && is_good(&house, &elsewhere).await);
    // A cookie that somebody planted is no session, before and after.
    let planted = Secret::new("planted-planted-planted-planted-planted-pla");
    sign_in(&house, "ann", Some(&planted)).await;
    assert!(!is_good(&house, &planted).await);
}

#[tokio::test]
async fn t16_a_failed_sign_in_ends_nothing() {
    let house = House::new().await;
    let (_, admin) = house.admin_key().await;
    let (old, _) = house.person(&admin, "ann", Role::User).await;

    let refused = house.gate.login("ann", &Secret::new("wrong password"), client(2), Some(&old)).await;

    assert!(matches!(refused, Err(GateError::InvalidLogin)));
    assert!(is_good(&house, &old).await);
}

#[tokio::test]
async fn s31_t16_a_changed_password_ends_every_session_and_begins_a_new_one() {
    let house = House::new().await;
    let (_, admin) = house.admin_key().await;
    let (elsewhere, _) = house.person(&admin, "ann", Role::User).await;
    let (here, ann) = sign_in(&house, "ann", None).await;

    let cookie = house
        .gate
        .change_password(&ann, &Secret::new(PASSWORD), &Secret::new(NEW), client(2))
        .await
        .expect("a change");

    assert!(!is_good(&house, &elsewhere).await && !is_good(&house, &here).await);
    assert!(is_good(&house, &cookie).await);
    let old = house.gate.login("ann", &Secret::new(PASSWORD), client(2), None).await;
    assert!(matches!(old, Err(GateError::InvalidLogin)));
    house.gate.login("ann", &Secret::new(NEW), client(2), None).await.expect("a session");
    assert!(matches!(house.gate.still_valid(&ann, Action::JobsRead).await, Err(GateError::InvalidKey)));
}

#[tokio::test]
async fn s31_a_password_is_changed_with_the_old_one_only_and_guessing_it_is_limited() {
    let house = House::new().await;
    let (_, admin) = house.admin_key().await;
    let (cookie, ann) = house.person(&admin, "ann", Role::User).await;
    let gate = &house.gate;
    let (old, new) = (Secret::new(PASSWORD), Secret::new(NEW));

    let short = gate.change_password(&ann, &old, &Secret::new("short"), client(2)).await;
    assert_eq!(short.expect_err("a refusal").code(), ErrorCode::InvalidRequest);
    let program = gate.change_password(&admin, &old, &new, client(2)).await;
    assert!(matches!(program, Err(GateError::NotAPerson)));
    for _ in 0..5 {
        let wrong = gate.change_password(&ann, &Secret::new("wrong password"), &new, client(2)).await;
        assert!(matches!(wrong, Err(GateError::InvalidLogin)));
    }
    let limited = gate.change_password(&ann, &old, &new, client(2)).await;
    assert!(matches!(limited, Err(GateError::RateLimited(_))));
    assert!(is_good(&house, &cookie).await);
}

#[tokio::test]
async fn s31_an_administrator_resets_the_password_of_others_and_their_sessions_end() {
    let house = House::new().await;
    let (_, admin) = house.admin_key().await;
    let (cookie, _) = house.person(&admin, "ann", Role::User).await;
    let (root_cookie, root) = house.person(&admin, "root", Role::Admin).await;
    let gate = &house.gate;
    let new = Secret::new(NEW);

    gate.reset_password(&root, "ann", &new).await.expect("a reset");

    assert!(!is_good(&house, &cookie).await);
    gate.login("ann", &new, client(2), None).await.expect("a session");
    assert!(matches!(gate.reset_password(&root, "root", &new).await, Err(GateError::OwnPassword)));
    assert!(matches!(gate.reset_password(&root, "nobody", &new).await, Err(GateError::UserNotFound(_))));
    assert!(is_good(&house, &root_cookie).await);
}

#[tokio::test]
async fn s31_people_see_and_end_their_own_sessions() {
    let house = House::new().await;
    let (_, admin) = house.admin_key().await;
    let (lost, _) = house.person(&admin, "ann", Role::User).await;
    house.clock.advance(1);
    let (here, ann) = sign_in(&house, "ann", None).await;
    let gate = &house.gate;

    let sessions = gate.list_sessions(&ann, None).await.expect("a list");
    let seen: Vec<_> = sessions.iter().map(|session| (session.current, session.client)).collect();
    assert_eq!(seen, [(false, Some(client(2))), (true, Some(client(2)))]);
    gate.end_session(&ann, None, &sessions[0].id).await.expect("an end");

    assert!(!is_good(&house, &lost).await && is_good(&house, &here).await);
    let again = gate.end_session(&ann, None, &sessions[0].id).await;
    assert!(matches!(again, Err(GateError::SessionNotFound)));
    let left = gate.list_sessions(&admin, Some("ann")).await.expect("an administrator's view");
    assert_eq!(left.len(), 1);
    gate.end_session(&admin, Some("ann"), &left[0].id).await.expect("an end");
    assert!(!is_good(&house, &here).await);
    assert!(matches!(gate.list_sessions(&admin, None).await, Err(GateError::NotAPerson)));
}

#[tokio::test]
async fn t20_the_name_of_a_session_is_long_bound_to_its_person_and_no_way_in() {
    let house = House::new().await;
    let (_, admin) = house.admin_key().await;
    let (cookie, ann) = house.person(&admin, "ann", Role::User).await;
    let (_, bob) = house.person(&admin, "bob", Role::User).await;
    let gate = &house.gate;
    let [SessionView { id, .. }] = &gate.list_sessions(&ann, None).await.expect("a list")[..] else {
        panic!("one session")
    };

    assert_eq!(id.len(), 32, "128 bits in hexadecimal");
    assert!(!is_good(&house, &Secret::new(id.as_str())).await);
    assert!(!cookie.expose().contains(id.as_str()));
    let (foreign, unknown) =
        (gate.end_session(&bob, None, id).await, gate.end_session(&bob, None, "0").await);
    let (foreign, unknown) = (foreign.expect_err("a refusal"), unknown.expect_err("a refusal"));
    assert_eq!((foreign.code(), foreign.to_string()), (unknown.code(), unknown.to_string()));
    assert_eq!(foreign.code().http_status(), 404);
    assert!(is_good(&house, &cookie).await);
}

#[tokio::test]
async fn s28_somebody_who_is_served_for_long_is_stopped_when_their_way_in_is_gone() {
    let house = House::new().await;
    let (_, admin) = house.admin_key().await;
    let gate = &house.gate;
    let (key, meta) = house.key(&admin, Role::Agent, &[Scope::JobsRead, Scope::ChatUse]).await;
    let agent = house.enter(&key).await.expect("a good key");
    let id = meta.id.parse().expect("an id");
    let (first, ann_first) = house.person(&admin, "ann", Role::User).await;
    let (second, ann_second) = sign_in(&house, "ann", None).await;
    let begin = |actor: &Actor| {
        let mut watch = gate.watch(actor, Action::JobsRead);
        tokio::spawn(async move { watch.ended().await })
    };

    let (lowered, one, other) = (begin(&agent), begin(&ann_first), begin(&ann_second));
    gate.still_valid(&agent, Action::JobsRead).await.expect("still permitted");
    gate.update_key(&admin, id, key_change(None, Some(set(&[Scope::ChatUse])))).await.expect("a change");
    assert!(matches!(lowered.await, Ok(GateError::ScopeMissing(Scope::JobsRead))));

    gate.logout(&first).await.expect("a sign-out");
    assert!(matches!(one.await, Ok(GateError::InvalidKey)));
    gate.still_valid(&ann_second, Action::JobsRead).await.expect("her other session goes on");
    assert!(is_good(&house, &second).await);

    gate.delete_user(&admin, "ann").await.expect("a deletion");
    assert!(matches!(other.await, Ok(GateError::InvalidKey)));
    gate.revoke_key(&admin, id).await.expect("a revocation");
    assert!(matches!(gate.still_valid(&agent, Action::OwnKey).await, Err(GateError::InvalidKey)));
}

#[tokio::test]
async fn s27_who_is_served_for_long_is_stopped_when_the_store_fails() {
    let house = House::new().await;
    let (_, admin) = house.admin_key().await;
    let agent = house.agent(&admin, &[Scope::JobsRead]).await;
    house.documents.set_broken(true);

    let stopped = house.gate.watch(&agent, Action::JobsRead).ended().await;

    assert!(matches!(stopped, GateError::Store(_)));
}
