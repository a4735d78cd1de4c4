use std::time::Instant;

use claw_core::{Action, Coded as _, ErrorCode, Principal, Resource, Role, Scope, Secret};
use claw_gate::{Credential, GateError, SESSION_TTL, UserView};

use crate::house::{House, PASSWORD, client, new_key, set};

fn view(username: &str, role: Role) -> UserView {
    UserView { username: username.into(), role }
}

#[tokio::test]
async fn s20_a_person_signs_in_and_works_as_themselves() {
    let house = House::new().await;
    let (_, admin) = house.admin_key().await;
    let made = house.gate.create_user(&admin, "ann", &Secret::new(PASSWORD), Role::User).await;
    assert_eq!(made.expect("a user"), view("ann", Role::User));

    let (cookie, who) =
        house.gate.login("ann", &Secret::new(PASSWORD), client(1), None).await.expect("a session");
    assert_eq!(who, view("ann", Role::User));
    let ann = house.enter_with(Credential::Session(cookie)).await.expect("a good session");

    assert_eq!(ann.principal, Principal::User("ann".into()));
    assert_eq!(house.gate.me(&ann).await.expect("oneself"), view("ann", Role::User));
    for (action, allowed) in [
        (Action::JobsWrite, true),
        (Action::WorkspacesWrite, true),
        (Action::KeysManage, false),
        (Action::UsersManage, false),
        (Action::ConfigRead, false),
    ] {
        assert_eq!(house.gate.permit(&ann, action, &Resource::Any).is_ok(), allowed, "{action:?}");
    }
    assert_eq!(
        ann.scopes,
        set(&[
            Scope::JobsRead,
            Scope::JobsWrite,
            Scope::WorkspacesRead,
            Scope::WorkspacesWrite,
            Scope::SkillsRead,
            Scope::SkillsWrite,
            Scope::SchedulesRead,
            Scope::SchedulesWrite,
            Scope::ChatUse,
        ])
    );
}

#[tokio::test]
async fn an_administrator_among_people_administers() {
    let house = House::new().await;
    let (_, admin) = house.admin_key().await;
    let (_, ann) = house.person(&admin, "ann", Role::Admin).await;

    assert_eq!(ann.scopes, set(&[Scope::Admin]));
    house.gate.create_user(&ann, "bob", &Secret::new(PASSWORD), Role::User).await.expect("a user");
    house.gate.create_key(&ann, new_key("", set(&[Scope::JobsRead]), Role::Agent)).await.expect("a key");
    let list = house.gate.list_users(&ann).await.expect("a list");
    assert_eq!(list, [view("ann", Role::Admin), view("bob", Role::User)], "people only, by name");
}

#[tokio::test]
async fn s29_t17_an_unknown_name_and_a_wrong_password_get_the_same_answer() {
    let house = House::new().await;
    let (_, admin) = house.admin_key().await;
    house.person(&admin, "ann", Role::User).await;

    let tries = [
        ("ann", "wrong password"),
        ("ann", ""),
        ("ann", &"p".repeat(5000)),
        ("Ann", PASSWORD),
        ("nobody", PASSWORD),
        ("", PASSWORD),
        ("../ann", PASSWORD),
        (&"n".repeat(5000), PASSWORD),
    ];
    for (username, password) in tries {
        let refused = house.gate.login(username, &Secret::new(password), client(9), None).await;
        let error = refused.expect_err("a refusal");
        assert_eq!(error.code(), ErrorCode::InvalidLogin, "{username}");
        assert_eq!(error.to_string(), GateError::InvalidLogin.to_string());
    }
}

#[tokio::test]
async fn s29_t17_an_unknown_name_costs_as_much_time_as_a_wrong_password() {
    let house = House::new().await;
    let (_, admin) = house.admin_key().await;
    house.person(&admin, "ann", Role::User).await;
    let mut quickest = Vec::new();
    for (username, address) in [("ann", 20), ("nobody", 30)] {
        let mut times = Vec::new();
        // The shortest of a few tries, since the machine is shared.
        for round in 0..4 {
            let begun = Instant::now();
            let refused = house
                .gate
                .login(username, &Secret::new("wrong password"), client(address + round), None)
                .await;
            times.push(begun.elapsed());
            assert!(matches!(refused, Err(GateError::InvalidLogin)));
        }
        quickest.extend(times.into_iter().min());
    }

    // Hashing takes hundreds of times as long as a look into the store. A missing hash could not pass for one, and a
    // busy machine does not make one hash fifty times as slow as another.
    assert!(quickest[1] * 50 > quickest[0], "{quickest:?}");
    assert!(quickest[0] * 50 > quickest[1], "{quickest:?}");
}

#[tokio::test]
async fn t16_each_sign_in_makes_a_new_session() {
    let house = House::new().await;
    let (_, admin) = house.admin_key().await;
    let (first, _) = house.person(&admin, "ann", Role::User).await;
    let (second, _) =
        house.gate.login("ann", &Secret::new(PASSWORD), client(1), None).await.expect("a session");
    assert_ne!(first, second);

    house.gate.logout(&first).await.expect("a sign-out");

    assert!(matches!(house.enter_with(Credential::Session(first.clone())).await, Err(GateError::InvalidKey)));
    house.enter_with(Credential::Session(second)).await.expect("the other session");
    house.gate.logout(&first).await.expect("signing out twice is harmless");
}

#[tokio::test]
async fn a_session_ends_24_hours_after_its_sign_in_however_much_it_is_used() {
    let house = House::new().await;
    let (_, admin) = house.admin_key().await;
    let (cookie, _) = house.person(&admin, "ann", Role::User).await;
    let ttl = i64::try_from(SESSION_TTL.as_secs()).expect("seconds");

    house.clock.advance(ttl - 1);
    house.enter_with(Credential::Session(cookie.clone())).await.expect("a good session");
    house.clock.advance(1);

    assert!(matches!(house.enter_with(Credential::Session(cookie)).await, Err(GateError::InvalidKey)));
}

#[tokio::test]
async fn s28_the_sessions_of_a_deleted_user_are_dead_and_stay_dead_for_a_namesake() {
    let house = House::new().await;
    let (_, admin) = house.admin_key().await;
    let (cookie, ann) = house.person(&admin, "ann", Role::Admin).await;
    // Even when they could not be removed.
    house.documents.refuse_writes_of(Some("session"));
    house.gate.delete_user(&admin, "ann").await.expect("a deletion");
    house.documents.refuse_writes_of(None);

    assert!(matches!(
        house.enter_with(Credential::Session(cookie.clone())).await,
        Err(GateError::InvalidKey)
    ));
    assert!(matches!(house.gate.me(&ann).await, Err(GateError::InvalidKey)));
    assert!(matches!(house.gate.list_users(&ann).await, Err(GateError::InvalidKey)));

    house
        .gate
        .create_user(&admin, "ann", &Secret::new("another password"), Role::Admin)
        .await
        .expect("a user");
    assert!(matches!(house.enter_with(Credential::Session(cookie)).await, Err(GateError::InvalidKey)));
}

#[tokio::test]
async fn the_fiftieth_session_is_kept_and_the_oldest_makes_room_for_the_next() {
    let house = House::new().await;
    let (_, admin) = house.admin_key().await;
    let (oldest, _) = house.person(&admin, "ann", Role::User).await;
    let mut newest = oldest.clone();
    for _ in 0..49 {
        house.clock.advance(1);
        newest = house.gate.login("ann", &Secret::new(PASSWORD), client(1), None).await.expect("a session").0;
    }
    house.enter_with(Credential::Session(oldest.clone())).await.expect("the first of fifty");

    house.clock.advance(1);
    house.gate.login("ann", &Secret::new(PASSWORD), client(1), None).await.expect("a session");

    assert!(matches!(house.enter_with(Credential::Session(oldest)).await, Err(GateError::InvalidKey)));
    house.enter_with(Credential::Session(newest)).await.expect("a good session");
}

#[tokio::test]
async fn accounts_are_checked_when_they_are_made() {
    let house = House::new().await;
    let (_, admin) = house.admin_key().await;
    house.person(&admin, "ann", Role::User).await;
    let long = "n".repeat(65);
    let cases = [
        ("ann", PASSWORD, Role::User, ErrorCode::UserExists),
        ("", PASSWORD, Role::User, ErrorCode::InvalidRequest),
        ("a b", PASSWORD, Role::User, ErrorCode::InvalidRequest),
        ("..", PASSWORD, Role::User, ErrorCode::InvalidRequest),
        (&long, PASSWORD, Role::User, ErrorCode::InvalidRequest),
        ("bob", "7 bytes", Role::User, ErrorCode::InvalidRequest),
        ("bob", "", Role::User, ErrorCode::InvalidRequest),
        ("bob", PASSWORD, Role::Agent, ErrorCode::InvalidRole),
    ];
    for (username, password, role, code) in cases {
        let refused = house.gate.create_user(&admin, username, &Secret::new(password), role).await;
        assert_eq!(refused.expect_err("a refusal").code(), code, "{username} {password}");
    }
    assert_eq!(house.gate.list_users(&admin).await.expect("a list").len(), 1);
}

#[tokio::test]
async fn s20_only_administrators_manage_people() {
    let house = House::new().await;
    let (_, admin) = house.admin_key().await;
    let (_, ann) = house.person(&admin, "ann", Role::User).await;
    let agent = house.agent(&admin, &[Scope::All]).await;

    for (actor, code) in [(&ann, ErrorCode::ScopeRequired), (&agent, ErrorCode::AdminRequired)] {
        let password = Secret::new(PASSWORD);
        let refusals = [
            house.gate.create_user(actor, "eve", &password, Role::Admin).await.map(drop),
            house.gate.list_users(actor).await.map(drop),
            house.gate.delete_user(actor, "ann").await,
        ];
        for refusal in refusals {
            assert_eq!(refusal.expect_err("a refusal").code(), code, "{actor:?}");
        }
    }
}

#[tokio::test]
async fn r25_nobody_deletes_themselves_or_someone_who_is_not_there() {
    let house = House::new().await;
    let (_, admin) = house.admin_key().await;
    let (_, ann) = house.person(&admin, "ann", Role::Admin).await;

    let own = house.gate.delete_user(&ann, "ann").await.expect_err("a refusal");
    assert_eq!(own.code(), ErrorCode::CannotDeleteSelf);
    for username in ["bob", "..", &"n".repeat(5000)] {
        let unknown = house.gate.delete_user(&ann, username).await.expect_err("a refusal");
        assert_eq!(unknown.code(), ErrorCode::UserNotFound);
        assert!(unknown.to_string().len() < 100, "a long name is cut");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_administrators_who_delete_each_other_leave_one() {
    let house = House::new().await;
    let token = house.setup_token().await;
    house.gate.setup_with_user(&token, "ann", &Secret::new(PASSWORD), client(1)).await.expect("a set-up");
    let (cookie, _) =
        house.gate.login("ann", &Secret::new(PASSWORD), client(1), None).await.expect("a session");
    let ann = house.enter_with(Credential::Session(cookie)).await.expect("a good session");
    let (_, bob) = house.person(&ann, "bob", Role::Admin).await;

    let (gate, other_gate) = (house.gate.clone(), house.gate.clone());
    let (one, other) = tokio::join!(
        tokio::spawn(async move { gate.delete_user(&ann, "bob").await }),
        tokio::spawn(async move { other_gate.delete_user(&bob, "ann").await }),
    );

    let results = [one.expect("no panic"), other.expect("no panic")];
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1, "{results:?}");
    assert_eq!(house.gate.setup_state().await.expect("a state").user_count, 1);
}

#[tokio::test]
async fn programs_are_not_people() {
    let house = House::new().await;
    let (_, admin) = house.admin_key().await;

    let refused = house.gate.me(&admin).await.expect_err("a refusal");

    assert_eq!(refused.code().http_status(), 401);
}
