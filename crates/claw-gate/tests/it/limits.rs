use std::time::Duration;

use claw_core::{Coded as _, ErrorCode, Role, Scope, Secret};
use claw_gate::{Credential, GateError};

use crate::house::{House, PASSWORD, client, set};

#[tokio::test]
async fn t18_wrong_keys_of_one_address_are_limited_and_right_ones_still_enter() {
    let house = House::new().await;
    let (key, _) = house.admin_key().await;
    let wrong = || Credential::ApiKey(Secret::new("nonsense"));

    for _ in 0..10 {
        let refused = house.gate.authenticate(wrong(), client(7)).await;
        assert!(matches!(refused, Err(GateError::InvalidKey)));
    }
    let limited = house.gate.authenticate(wrong(), client(7)).await.expect_err("a refusal");
    assert_eq!(limited.code(), ErrorCode::RateLimited);
    assert_eq!(limited.retry_after(), Some(Duration::from_secs(60)));

    let right = Credential::ApiKey(key);
    house.gate.authenticate(right, client(7)).await.expect("a neighbor behind the same address");
    let elsewhere = house.gate.authenticate(wrong(), client(8)).await;
    assert!(matches!(elsewhere, Err(GateError::InvalidKey)));
    house.clock.advance(60);
    let later = house.gate.authenticate(wrong(), client(7)).await;
    assert!(matches!(later, Err(GateError::InvalidKey)));
}

#[tokio::test]
async fn t18_verification_and_set_up_count_against_the_same_limit() {
    let house = House::new().await;
    let token = house.setup_token().await;

    for round in 0..10 {
        let refused = if round % 2 == 0 {
            house.gate.verify(Secret::new("nonsense"), client(7)).await.map(drop)
        } else {
            let wrong = Secret::new("nonsense");
            house.gate.setup_with_key(&wrong, "", set(&[Scope::All]), client(7)).await.map(drop)
        };
        assert!(matches!(refused, Err(GateError::InvalidKey | GateError::InvalidSetupToken)));
    }

    let limited = house.gate.verify(Secret::new("nonsense"), client(7)).await;
    assert!(matches!(limited, Err(GateError::RateLimited(_))));
    house.gate.setup_with_key(&token, "", set(&[Scope::All]), client(7)).await.expect("the right token");
}

#[tokio::test]
async fn an_expired_cookie_is_always_told_that_it_has_expired() {
    let house = House::new().await;
    house.admin_key().await;

    for _ in 0..20 {
        let refused = house.enter_with(Credential::Session(Secret::new("expired"))).await;
        assert!(matches!(refused, Err(GateError::InvalidKey)));
    }
}

#[tokio::test]
async fn s29_t18_passwords_of_an_account_cannot_be_tried_without_end() {
    let house = House::new().await;
    let (_, admin) = house.admin_key().await;
    house.person(&admin, "ann", Role::User).await;
    let wrong = Secret::new("wrong password");

    for _ in 0..5 {
        let refused = house.gate.login("ann", &wrong, client(7), None).await;
        assert!(matches!(refused, Err(GateError::InvalidLogin)));
    }

    // Past the limit not even the right password is heard, or guessing could simply go on.
    let limited =
        house.gate.login("ann", &Secret::new(PASSWORD), client(7), None).await.expect_err("a refusal");
    assert_eq!(limited.code(), ErrorCode::RateLimited);
    assert!(limited.retry_after().is_some_and(|wait| wait <= Duration::from_secs(60)));
    house
        .gate
        .login("ann", &Secret::new(PASSWORD), client(8), None)
        .await
        .expect("the person, from elsewhere");
    house.clock.advance(60);
    house.gate.login("ann", &Secret::new(PASSWORD), client(7), None).await.expect("a session");
}

#[tokio::test]
async fn signing_in_well_is_not_limited() {
    let house = House::new().await;
    let (_, admin) = house.admin_key().await;
    house.person(&admin, "ann", Role::User).await;

    for _ in 0..12 {
        house.gate.login("ann", &Secret::new(PASSWORD), client(7), None).await.expect("a session");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn s29_t18_many_guesses_at_the_same_moment_do_not_slip_past_the_limit() {
    let house = House::new().await;
    let (_, admin) = house.admin_key().await;
    house.person(&admin, "ann", Role::User).await;

    let mut guesses = tokio::task::JoinSet::new();
    for _ in 0..40 {
        let gate = house.gate.clone();
        guesses
            .spawn(async move { gate.login("ann", &Secret::new("wrong password"), client(7), None).await });
    }
    let results = guesses.join_all().await;

    let heard = results.iter().filter(|result| matches!(result, Err(GateError::InvalidLogin))).count();
    assert_eq!(heard, 5);
}
