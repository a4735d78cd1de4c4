//! Canaries: no secret is found where it must not be.

use std::{error::Error, path::Path};

use claw_core::{Role, Scope, Secret};
use claw_gate::{Credential, SetupState};

use crate::house::{House, PASSWORD, client, set};

fn contains(folder: &Path, needle: &str) -> bool {
    std::fs::read_dir(folder).expect("a folder").any(|entry| {
        let bytes = std::fs::read(entry.expect("an entry").path()).expect("a file");
        bytes.windows(needle.len()).any(|window| window == needle.as_bytes())
    })
}

#[tokio::test]
async fn t33_no_secret_is_in_the_store_s_files() {
    let house = House::new().await;
    let setup_token = house.setup_token().await;
    let (key, admin) = house.admin_key().await;
    let (cookie, ann) = house.person(&admin, "ann", Role::User).await;
    let (old, new) = (Secret::new(PASSWORD), Secret::new("her next password"));
    let next = house.gate.change_password(&ann, &old, &new, client(1)).await.expect("a change");
    // What somebody tried who was refused is in no trail either.
    let (wrong, guess) = (Secret::new(key.expose().replace("wag_live_", "wag_live_0")), "a guessed password");
    assert!(house.enter(&wrong).await.is_err());
    assert!(house.gate.login("ann", &Secret::new(guess), client(1), None).await.is_err());
    assert!(house.gate.login(guess, &Secret::new("x"), client(1), None).await.is_err());
    house.gate.tidy().await;
    house.gate.audit().flush().await;

    let folder = house.folder.path();
    assert!(contains(folder, "\"first\""), "the search finds what is there");
    let secrets = [
        key.expose(),
        &key.expose()[9..45],
        cookie.expose(),
        next.expose(),
        setup_token.expose(),
        PASSWORD,
        new.expose(),
        wrong.expose(),
        guess,
    ];
    for secret in secrets {
        assert!(!contains(folder, secret));
    }
}

#[tokio::test]
async fn no_secret_is_in_debug_output_or_errors() {
    let house = House::new().await;
    let token = house.setup_token().await;
    let state = SetupState::Required { token: token.clone() };
    assert!(!format!("{state:?}").contains(token.expose()));
    let (key, admin) = house.admin_key().await;
    let (_, meta) = house.key(&admin, Role::Agent, &[Scope::JobsRead]).await;
    assert!(!format!("{meta:?}").contains(&key.expose()[..45]));

    let canary = "canary-canary-canary";
    for credential in
        [Credential::ApiKey, Credential::Bearer, Credential::Session].map(|kind| kind(Secret::new(canary)))
    {
        assert!(!format!("{credential:?}").contains(canary));
    }
    let errors = [
        house.enter(&Secret::new(canary)).await.err(),
        house.gate.login("ann", &Secret::new(canary), client(1), None).await.err(),
        house.gate.create_user(&admin, "a b", &Secret::new(canary), Role::User).await.err(),
        house.gate.setup_with_key(&Secret::new(canary), "", set(&[Scope::All]), client(1)).await.err(),
    ];
    for error in errors {
        let error = error.expect("a refusal");
        assert!(!format!("{error:?} {error} {:?}", error.source()).contains(canary));
    }
}
