use claw_core::{Action, Coded as _, ErrorCode, KeyId, Principal, Resource, Role, Scope, Secret};
use claw_gate::{Credential, Gate, GateConfig, GateError, KeyChange, KeyMeta};

use crate::house::{House, client, set};

const TOKEN: &str = "an-installation-token-of-enough-length";

#[tokio::test]
async fn a2_a_key_enters_as_itself_with_its_scopes_through_either_header() {
    let house = House::new().await;
    let (_, admin) = house.admin_key().await;
    let (key, meta) = house.key(&admin, Role::Agent, &[Scope::JobsRead, Scope::ChatUse]).await;

    for credential in [Credential::ApiKey(key.clone()), Credential::Bearer(key)] {
        let actor = house.enter_with(credential).await.expect("a good key");

        assert_eq!(actor.principal, Principal::Key(meta.id.clone()));
        assert_eq!(actor.label, "another");
        assert_eq!(actor.scopes, set(&[Scope::JobsRead, Scope::ChatUse]));
    }
}

#[tokio::test]
async fn c3_c4_finding_a_key_costs_one_read_and_no_write() {
    let house = House::new().await;
    let (_, admin) = house.admin_key().await;
    let (key, _) = house.key(&admin, Role::Agent, &[Scope::JobsRead]).await;
    house.documents.take_calls();

    house.enter(&key).await.expect("a good key");

    assert_eq!(house.documents.take_calls(), (1, 0));
}

#[tokio::test]
async fn a_key_that_was_found_a_moment_ago_is_not_looked_up_again_unless_something_changed() {
    let house = House::new().await;
    let (_, admin) = house.admin_key().await;
    let (key, meta) = house.key(&admin, Role::Agent, &[Scope::JobsRead]).await;
    let (_, other) = house.key(&admin, Role::Agent, &[Scope::JobsRead]).await;
    let scopes = async || house.enter(&key).await.map(|actor| actor.scopes);
    tokio::time::pause();
    scopes().await.expect("a good key");
    house.documents.take_calls();

    for _ in 0..10 {
        scopes().await.expect("a good key");
    }
    assert_eq!(house.documents.take_calls(), (0, 0));

    let id = |meta: &KeyMeta| meta.id.parse::<KeyId>().expect("an id");
    let change = KeyChange { scopes: Some(set(&[Scope::JobsWrite])), ..KeyChange::default() };
    house.gate.update_key(&admin, id(&meta), change).await.expect("a change");
    assert_eq!(scopes().await.expect("a good key"), set(&[Scope::JobsWrite]), "at once");
    house.gate.revoke_key(&admin, id(&other)).await.expect("a revocation");
    assert_eq!(scopes().await.expect("a good key"), set(&[Scope::JobsWrite]));
    house.gate.revoke_key(&admin, id(&meta)).await.expect("a revocation");
    assert!(matches!(scopes().await, Err(GateError::InvalidKey)), "at once");
}

#[tokio::test]
async fn a_malformed_key_does_not_reach_the_store() {
    let house = House::new().await;
    house.admin_key().await;
    house.documents.take_calls();

    for wrong in ["x", "wag_live_short", "wag_setup_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="] {
        let refused = house.enter(&Secret::new(wrong)).await;
        assert!(matches!(refused, Err(GateError::InvalidKey)), "{wrong}");
    }

    assert_eq!(house.documents.take_calls(), (0, 0));
}

#[tokio::test]
async fn t17_every_wrong_credential_gets_the_same_answer() {
    let house = House::new().await;
    let (key, _) = house.admin_key().await;
    let mut other = key.expose().to_owned();
    let flipped = if other.as_bytes()[20] == b'A' { "B" } else { "A" };
    other.replace_range(20..21, flipped);

    let wrong = [
        Credential::ApiKey(Secret::new(other)),
        Credential::Bearer(Secret::new("nonsense")),
        Credential::Bearer(Secret::new(key.expose().trim_end_matches('='))),
        Credential::Session(Secret::new("nonsense")),
        // A key is not a session, and the stored hash of a key is not a key.
        Credential::Session(key),
    ];
    for credential in wrong {
        let error = house.enter_with(credential.clone()).await.expect_err("a refusal");
        assert_eq!(error.code(), ErrorCode::InvalidKey, "{credential:?}");
        assert_eq!(error.to_string(), GateError::InvalidKey.to_string());
    }
}

#[tokio::test]
async fn a1_nothing_sent_and_something_wrong_are_told_apart() {
    let house = House::new().await;
    house.admin_key().await;

    let empty = || Secret::new("");
    for credential in [
        Credential::None,
        Credential::ApiKey(empty()),
        Credential::Bearer(empty()),
        Credential::Session(empty()),
    ] {
        let error = house.enter_with(credential).await.expect_err("a refusal");
        assert_eq!(error.code(), ErrorCode::ApiKeyRequired);
    }
}

#[tokio::test]
async fn the_installation_token_may_do_everything_from_the_first_start() {
    let house = House::with_api_token(TOKEN).await;

    for credential in [Credential::Bearer(Secret::new(TOKEN)), Credential::ApiKey(Secret::new(TOKEN))] {
        let actor = house.enter_with(credential).await.expect("the token");
        assert_eq!(actor.principal, Principal::Token);
        for scope in Scope::ALL {
            assert!(actor.holds(*scope), "{scope}");
        }
    }
    let almost = Secret::new(&TOKEN[..TOKEN.len() - 1]);
    assert!(matches!(house.enter(&almost).await, Err(GateError::InvalidKey)));
    assert!(matches!(house.enter_with(Credential::None).await, Err(GateError::ApiKeyRequired)));
    // A session cookie with the token's text is no session.
    let cookie = Credential::Session(Secret::new(TOKEN));
    assert!(matches!(house.enter_with(cookie).await, Err(GateError::InvalidKey)));
}

#[tokio::test]
async fn a_weak_installation_token_stops_the_start_with_a_way_out() {
    let house = House::new().await;
    let config = GateConfig {
        api_token: Some(Secret::new("fifteen-letters")),
        data_dir: house.folder.path().to_owned(),
    };

    let refused = Gate::new(config, house.store.clone(), house.clock.clone());

    let error = refused.err().expect("a refusal");
    assert!(matches!(error, GateError::WeakApiToken));
    let text = error.to_string();
    assert!(text.contains("CLAW_API_TOKEN") && text.contains("openssl rand"), "{text}");
    assert!(!text.contains("fifteen-letters"));
}

#[tokio::test]
async fn s20_the_gate_permits_by_scope_and_owner() {
    let house = House::new().await;
    let (_, admin) = house.admin_key().await;
    let agent = house.agent(&admin, &[Scope::JobsRead]).await;
    let own = Resource::Owned { owner: agent.owner() };
    let foreign = Resource::Owned { owner: "user:someone".into() };

    house.gate.permit(&agent, Action::JobsRead, &own).expect("one's own");
    assert!(matches!(house.gate.permit(&agent, Action::JobsRead, &foreign), Err(GateError::NotTheirs)));
    let missing = house.gate.permit(&agent, Action::JobsWrite, &own).expect_err("a refusal");
    assert_eq!(missing.code(), ErrorCode::ScopeRequired);
    assert_eq!(missing.to_string(), "jobs:write scope required");
    house.gate.permit(&admin, Action::JobsWrite, &foreign).expect("an administrator");
}

#[tokio::test]
async fn verify_describes_the_key_to_whoever_holds_it() {
    let house = House::with_api_token(TOKEN).await;
    let admin = house.enter(&Secret::new(TOKEN)).await.expect("the token");
    let (key, meta) = house.key(&admin, Role::Agent, &[Scope::All]).await;

    let verified = house.gate.verify(key, client(4)).await.expect("a good key");
    assert_eq!(verified, meta);
    assert_eq!(verified.scopes, Scope::ALL, "clients compare names, so the wildcard is written out");
    let token = house.gate.verify(Secret::new(TOKEN), client(4)).await.expect("the token");
    assert_eq!((token.id.as_str(), token.role), ("token", Role::Admin));
    for wrong in ["", "nonsense"] {
        let refused = house.gate.verify(Secret::new(wrong), client(4)).await;
        assert!(matches!(refused, Err(GateError::InvalidKey)), "{wrong}");
    }
}
