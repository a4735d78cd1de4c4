//! Keys that were made by another server.

use claw_core::{Coded as _, ErrorCode, KeyId, Role, Scope, Secret};
use claw_gate::{ForeignKey, GateError, Imported};

use crate::house::{House, set};

/// A key of another server, and the SHA-256 of it as `sha256sum` prints it.
const KEY: &str = "wag_live_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
const HASH: &str = "a12df6ce0698b6b55e8ac7fdf1a8cd22aff718e18fe2d438cba3c2a4e7c099e9";

fn foreign(house: &House) -> ForeignKey {
    ForeignKey {
        id: Some("6f9c0f0e-5ad2-4f3e-9d5b-2f6f1c1c9a11".parse().expect("an id")),
        hash: HASH.into(),
        key_prefix: KEY[45..].into(),
        label: "openclaw-agent".into(),
        scopes: set(&[Scope::ContainersRead]),
        role: Role::Agent,
        created_at: house.now(),
        last_used_at: house.now(),
    }
}

fn meta(imported: Imported) -> claw_gate::KeyMeta {
    match imported {
        Imported::New(meta) => meta,
        Imported::Known(meta) => panic!("known: {meta:?}"),
    }
}

#[tokio::test]
async fn a_key_of_another_server_opens_unchanged_once_its_hash_is_taken_over() {
    let house = House::new().await;
    let (_, admin) = house.admin_key().await;
    let key = Secret::new(KEY);
    assert!(house.enter(&key).await.is_err());

    let meta = meta(house.gate.import_key(&admin, foreign(&house)).await.expect("a key"));

    let actor = house.enter(&key).await.expect("it is good");
    assert_eq!(actor.owner(), "key:6f9c0f0e-5ad2-4f3e-9d5b-2f6f1c1c9a11");
    assert_eq!(actor.scopes, set(&[Scope::ContainersRead]));
    assert_eq!(meta.label, "openclaw-agent");
    assert_eq!(meta.key_prefix, &KEY[45..]);
    let told = house.gate.verify(key, crate::house::client(4)).await.expect("it is good");
    assert_eq!(told.id, meta.id);
}

#[tokio::test]
async fn taking_a_key_over_again_changes_nothing_whatever_happened_to_it_since() {
    let house = House::new().await;
    let (_, admin) = house.admin_key().await;
    let key = Secret::new(KEY);
    let id: KeyId =
        meta(house.gate.import_key(&admin, foreign(&house)).await.expect("a key")).id.parse().expect("an id");
    let scopes = Some(set(&[Scope::ImagesRead]));
    let change = claw_gate::KeyChange { scopes, ..claw_gate::KeyChange::default() };
    house.gate.update_key(&admin, id, change).await.expect("a change");

    let again = house.gate.import_key(&admin, foreign(&house)).await.expect("an answer");

    assert!(matches!(&again, Imported::Known(meta) if meta.scopes == [Scope::ImagesRead]), "{again:?}");
    assert_eq!(house.enter(&key).await.expect("good").scopes, set(&[Scope::ImagesRead]));
    // A rotated one too: its former hash must not open again.
    let (_, rotated) = house.gate.rotate_key(&admin, id, std::time::Duration::ZERO).await.expect("a secret");
    let again = house.gate.import_key(&admin, foreign(&house)).await.expect("an answer");
    assert!(matches!(&again, Imported::Known(meta) if meta.id == rotated.id));
    assert!(matches!(house.enter(&key).await, Err(GateError::InvalidKey)));
    assert_eq!(house.gate.list_keys(&admin).await.expect("a list").len(), 2);
}

#[tokio::test]
async fn an_id_that_is_taken_is_replaced_and_imported_keys_are_listed_by_creation() {
    let house = House::new().await;
    let (_, admin) = house.admin_key().await;
    house.gate.import_key(&admin, foreign(&house)).await.expect("a key");
    let older = ForeignKey {
        hash: "0".repeat(64),
        created_at: "2025-01-01T00:00:00Z".parse().expect("a time"),
        label: "older".into(),
        ..foreign(&house)
    };

    let second = meta(house.gate.import_key(&admin, older).await.expect("a key"));

    assert_ne!(second.id, "6f9c0f0e-5ad2-4f3e-9d5b-2f6f1c1c9a11");
    let third = ForeignKey {
        id: Some("00000000-5ad2-4f3e-9d5b-2f6f1c1c9a11".parse().expect("an id")),
        hash: "1".repeat(64),
        created_at: "2025-01-01T00:00:00Z".parse().expect("a time"),
        label: "oldest".into(),
        ..foreign(&house)
    };
    house.gate.import_key(&admin, third).await.expect("a key");
    let listed = house.gate.list_keys(&admin).await.expect("a list");
    assert_eq!(listed[0].label, "oldest");
}

#[tokio::test]
async fn t19_keys_are_taken_over_by_administrators_within_what_they_hold() {
    let house = House::new().await;
    let (_, admin) = house.admin_key().await;
    let agent = house.agent(&admin, &[Scope::All]).await;
    let (key, _) = house.key(&admin, Role::Admin, &[Scope::KeysWrite]).await;
    let manager = house.enter(&key).await.expect("good");

    let refused = house.gate.import_key(&agent, foreign(&house)).await;
    assert_eq!(refused.expect_err("a refusal").code(), ErrorCode::AdminRequired);
    let refused = house.gate.import_key(&manager, foreign(&house)).await;
    assert!(matches!(refused, Err(GateError::ScopeEscalation(Scope::ContainersRead))));
}

#[tokio::test]
async fn what_is_no_hash_or_no_key_is_refused() {
    let house = House::new().await;
    let (_, admin) = house.admin_key().await;
    for hash in ["", "abc", &HASH.to_uppercase(), &format!("{HASH}0"), &HASH.replace('a', "g"), KEY] {
        let refused =
            house.gate.import_key(&admin, ForeignKey { hash: hash.to_owned(), ..foreign(&house) }).await;
        assert!(matches!(refused, Err(GateError::InvalidKeyHash)), "{hash}");
    }
    let none = ForeignKey { scopes: set(&[]), ..foreign(&house) };
    assert!(matches!(house.gate.import_key(&admin, none).await, Err(GateError::ScopesRequired)));
    let person = ForeignKey { role: Role::User, ..foreign(&house) };
    assert!(matches!(house.gate.import_key(&admin, person).await, Err(GateError::InvalidRole { .. })));
    let label = ForeignKey { label: "a\nb".into(), ..foreign(&house) };
    assert!(matches!(house.gate.import_key(&admin, label).await, Err(GateError::InvalidLabel)));
    // A whole key where its tail belongs shows no more of it than a tail would.
    let tail = ForeignKey { key_prefix: format!("é{KEY}"), ..foreign(&house) };
    assert_eq!(meta(house.gate.import_key(&admin, tail).await.expect("a key")).key_prefix, &KEY[45..]);
}
