use std::os::unix::fs::PermissionsExt as _;

use claw_core::{Coded as _, ErrorCode, Principal, Role, Scope, Secret};
use claw_gate::{Credential, Gate, GateConfig, GateError, SetupState};
use claw_store::sqlite::{SqliteOptions, SqliteStore};

use crate::house::{House, PASSWORD, client, first_admin, set};

fn wrong_token() -> Secret {
    Secret::new("wag_setup_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=")
}

#[tokio::test]
async fn nothing_but_set_up_answers_before_set_up() {
    let house = House::new().await;
    let token = house.setup_token().await;

    for credential in [
        Credential::None,
        Credential::ApiKey(Secret::new("wag_live_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=")),
        Credential::Bearer(Secret::new("nonsense")),
        Credential::Bearer(token.clone()),
        Credential::Session(Secret::new("nonsense")),
    ] {
        let error = house.enter_with(credential.clone()).await.expect_err("a refusal");
        assert_eq!(error.code(), ErrorCode::SetupRequired, "{credential:?}");
    }
    let login = house.gate.login("admin", &Secret::new(PASSWORD), client(1), None).await;
    assert!(matches!(login, Err(GateError::SetupRequired)));
    let verify = house.gate.verify(token, client(1)).await;
    assert!(matches!(verify, Err(GateError::InvalidKey)));
    let state = house.gate.setup_state().await.expect("a state");
    assert!(state.required && state.token_available);
    assert_eq!((state.key_count, state.user_count), (0, 0));
}

#[tokio::test]
async fn the_setup_token_makes_the_first_key_with_the_scopes_asked_for() {
    let house = House::new().await;
    let token = house.setup_token().await;

    let scopes = set(&[Scope::ContainersRead, Scope::KeysWrite]);
    let (key, meta) =
        house.gate.setup_with_key(&token, "", scopes.clone(), client(1)).await.expect("a set-up");

    assert_eq!((meta.label.as_str(), meta.role), ("admin", Role::Admin));
    assert_eq!(house.enter(&key).await.expect("a good key").scopes, scopes);
    let state = house.gate.setup_state().await.expect("a state");
    assert!(!state.required && !state.token_available);
    assert_eq!(state.key_count, 1);
    assert!(!house.folder.path().join("setup-token").exists());
}

#[tokio::test]
async fn the_setup_token_makes_the_first_administrator() {
    let house = House::new().await;
    let token = house.setup_token().await;

    house.gate.setup_with_user(&token, "ann", &Secret::new(PASSWORD), client(1)).await.expect("a set-up");

    let (cookie, view) =
        house.gate.login("ann", &Secret::new(PASSWORD), client(1), None).await.expect("a session");
    assert_eq!(view.role, Role::Admin);
    let ann = house.enter_with(Credential::Session(cookie)).await.expect("a good session");
    assert!(ann.is_admin());
}

#[tokio::test]
async fn the_setup_token_works_once() {
    let house = House::new().await;
    let token = house.setup_token().await;
    let scopes = set(&[Scope::All]);
    house.gate.setup_with_key(&token, "", scopes.clone(), client(1)).await.expect("a set-up");

    let key = house.gate.setup_with_key(&token, "", scopes, client(1)).await;
    assert!(matches!(key, Err(GateError::AlreadySetup)));
    let user = house.gate.setup_with_user(&token, "ann", &Secret::new(PASSWORD), client(1)).await;
    assert!(matches!(user, Err(GateError::AlreadySetup)));
    // With a token that never was one, the answer is the same.
    let user = house.gate.setup_with_user(&wrong_token(), "ann", &Secret::new(PASSWORD), client(1)).await;
    assert!(matches!(user, Err(GateError::AlreadySetup)));
    assert_eq!(house.another_gate(None).start(None).await.expect("a start"), SetupState::Done);
}

#[tokio::test]
async fn a_wrong_setup_token_is_refused_and_a_mistake_beside_it_does_not_use_it_up() {
    let house = House::new().await;
    let token = house.setup_token().await;
    let gate = &house.gate;

    for wrong in [wrong_token(), Secret::new(""), Secret::new(format!("{} ", token.expose()))] {
        let refused = gate.setup_with_key(&wrong, "", set(&[Scope::All]), client(1)).await;
        assert!(matches!(refused, Err(GateError::InvalidSetupToken)));
    }
    let scopes = gate.setup_with_key(&token, "", set(&[]), client(1)).await;
    assert!(matches!(scopes, Err(GateError::ScopesRequired)));
    let username = gate.setup_with_user(&token, "a b", &Secret::new(PASSWORD), client(1)).await;
    assert!(matches!(username, Err(GateError::InvalidUsername)));
    let password = gate.setup_with_user(&token, "ann", &Secret::new("short"), client(1)).await;
    assert!(matches!(password, Err(GateError::InvalidPassword)));

    gate.setup_with_key(&token, "", set(&[Scope::All]), client(1)).await.expect("the token is still good");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_several_set_ups_at_once_one_wins() {
    for _ in 0..10 {
        let house = House::new().await;
        let token = house.setup_token().await;
        // A second server over the same store and folder.
        let other = house.another_gate(None);
        assert_eq!(other.start(None).await.expect("a start"), SetupState::Required { token: token.clone() });

        let mut attempts = tokio::task::JoinSet::new();
        for round in 0..6 {
            let gate = if round % 2 == 0 { house.gate.clone() } else { other.clone() };
            let token = token.clone();
            attempts.spawn(async move {
                if round < 4 {
                    gate.setup_with_key(&token, "", set(&[Scope::All]), client(1)).await.map(drop)
                } else {
                    gate.setup_with_user(&token, "ann", &Secret::new(PASSWORD), client(1)).await.map(drop)
                }
            });
        }
        let results = attempts.join_all().await;

        assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1, "{results:?}");
        for error in results.iter().filter_map(|result| result.as_ref().err()) {
            assert!(matches!(error, GateError::AlreadySetup), "{error:?}");
        }
        let state = house.gate.setup_state().await.expect("a state");
        assert_eq!(state.key_count + state.user_count, 1);
    }
}

#[tokio::test]
async fn the_setup_token_stays_the_same_across_restarts() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut tokens = Vec::new();
    for _ in 0..2 {
        let store =
            SqliteStore::open(&folder.path().join("claw.db"), SqliteOptions::default()).expect("a store");
        let config = GateConfig { api_token: None, data_dir: folder.path().to_owned() };
        let clock = std::sync::Arc::new(claw_core::SystemClock);
        let gate = Gate::new(config, store.store(), clock).expect("a gate");
        let SetupState::Required { token } = gate.start(None).await.expect("a start") else {
            panic!("set-up is done");
        };
        tokens.push((gate.clone(), token));
        store.close().await;
    }

    assert_eq!(tokens[0].1, tokens[1].1);
    assert_eq!(tokens[0].1.expose().len(), 54);
    assert!(tokens[0].1.expose().starts_with("wag_setup_"));
}

#[tokio::test]
async fn the_setup_token_file_is_for_its_owner_only_and_replaced_if_others_could_read_it() {
    let house = House::new().await;
    let token = house.setup_token().await;
    let path = house.folder.path().join("setup-token");
    let mode = || std::fs::metadata(&path).expect("a file").permissions().mode() & 0o777;
    assert_eq!(mode(), 0o600);

    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).expect("a change of mode");
    let replaced = house.setup_token().await;
    assert_ne!(token, replaced);
    assert_eq!(mode(), 0o600);
    let refused = house.gate.setup_with_key(&token, "", set(&[Scope::All]), client(1)).await;
    assert!(matches!(refused, Err(GateError::InvalidSetupToken)));

    for damaged in ["", "wag_setup_half", &"x".repeat(100_000)] {
        std::fs::write(&path, damaged).expect("a damaged file");
        assert!(house.setup_token().await.expose().starts_with("wag_setup_"));
    }
}

#[tokio::test]
async fn a_setup_token_file_that_cannot_be_written_stops_the_start_and_names_it() {
    let house = House::new().await;
    let config = GateConfig { api_token: None, data_dir: house.folder.path().join("missing") };
    let gate = Gate::new(config, house.store.clone(), house.clock.clone()).expect("a gate");

    let error = gate.start(None).await.expect_err("a refusal");

    assert!(matches!(error, GateError::SetupTokenFile { .. }));
    assert!(error.to_string().contains("missing/setup-token"), "{error}");
}

#[tokio::test]
async fn a_set_up_that_failed_on_the_way_can_be_done_again_at_once() {
    let house = House::new().await;
    let token = house.setup_token().await;
    let scopes = set(&[Scope::All]);

    house.documents.refuse_writes_of(Some("key"));
    let failed = house.gate.setup_with_key(&token, "", scopes.clone(), client(1)).await;
    assert!(matches!(failed, Err(GateError::Store(_))));
    house.documents.refuse_writes_of(None);
    house.gate.setup_with_key(&token, "", scopes, client(1)).await.expect("a set-up");
}

#[tokio::test]
async fn a_set_up_marker_left_by_a_crash_holds_for_seconds_only() {
    use claw_store::{Documents as _, NewDocument, Precondition};

    let house = House::new().await;
    let token = house.setup_token().await;
    let marker = NewDocument {
        kind: "setup",
        id: "setup".into(),
        sort_key: String::new(),
        owner: String::new(),
        value: serde_json::json!({ "begun_at": house.now() }),
    };
    house.documents.put(marker, Precondition::Absent).await.expect("a marker");

    let early = house.gate.setup_with_key(&token, "", set(&[Scope::All]), client(1)).await;
    assert!(matches!(early, Err(GateError::AlreadySetup)));
    house.clock.advance(10);
    house.gate.setup_with_key(&token, "", set(&[Scope::All]), client(1)).await.expect("a set-up");
}

#[tokio::test]
async fn with_an_installation_token_no_set_up_is_needed_or_possible() {
    let token = "an-installation-token";
    let house = House::with_api_token(token).await;

    let state = house.gate.setup_state().await.expect("a state");
    assert!(!state.required && !state.token_available);
    assert!(!house.folder.path().join("setup-token").exists());
    let setup = house.gate.setup_with_key(&wrong_token(), "", set(&[Scope::All]), client(1)).await;
    assert!(matches!(setup, Err(GateError::AlreadySetup)));
}

#[tokio::test]
async fn a_setup_token_that_was_never_used_is_removed_once_there_is_another_way_in() {
    let house = House::new().await;
    let token = house.setup_token().await;

    let with_token = house.another_gate(Some("an-installation-token"));
    assert_eq!(with_token.start(None).await.expect("a start"), SetupState::Done);

    assert!(!house.folder.path().join("setup-token").exists());
    // When the installation's token is taken away again, a new setup token is made.
    assert_ne!(house.setup_token().await, token);
}

#[tokio::test]
async fn the_configured_administrator_is_made_at_the_first_start_only() {
    let house = House::new().await;
    let gate = house.another_gate(None);

    assert_eq!(gate.start(first_admin("root", PASSWORD)).await.expect("a start"), SetupState::Done);
    let (cookie, view) =
        gate.login("root", &Secret::new(PASSWORD), client(1), None).await.expect("a session");
    assert_eq!(view.role, Role::Admin);
    let root = house.enter_with(Credential::Session(cookie)).await.expect("a good session");
    assert_eq!(root.principal, Principal::User("root".into()));

    // A changed password or name in the configuration changes nothing later on.
    let later = house.another_gate(None);
    later.start(first_admin("root", "another password")).await.expect("a start");
    later.start(first_admin("second", PASSWORD)).await.expect("a start");
    assert_eq!(later.setup_state().await.expect("a state").user_count, 1);
    let changed = later.login("root", &Secret::new("another password"), client(1), None).await;
    assert!(matches!(changed, Err(GateError::InvalidLogin)));
}

#[tokio::test]
async fn a_configured_administrator_that_cannot_be_stops_the_start() {
    let house = House::new().await;

    let name = house.gate.start(first_admin("a b", PASSWORD)).await;
    assert!(matches!(name, Err(GateError::InvalidUsername)));
    let password = house.gate.start(first_admin("root", "short")).await;
    assert!(matches!(password, Err(GateError::InvalidPassword)));
}
