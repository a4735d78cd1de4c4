//! The audit trail.

use claw_core::{Action, Actor, Coded, ErrorCode, Resource, Role, Scope, Secret};
use claw_gate::{
    AuditFilter, AuditResult, AuditView, Credential, Deed, EffectPlace, Gate, GateError, verify_export,
};
use claw_store::StreamName;
use futures_util::TryStreamExt;
use rusqlite::Connection;

use crate::house::{House, client, new_key, set};

fn deed(place: EffectPlace) -> Deed {
    Deed {
        action: Action::JobsWrite,
        verb: "job.submit",
        resource: Resource::Any,
        target: "job:1".into(),
        place,
        detail: None,
    }
}

async fn list(gate: &Gate, filter: AuditFilter) -> Vec<AuditView> {
    let filter = AuditFilter { limit: 100, ..filter };
    gate.audit_list(&Actor::system(), filter).await.expect("a page").items
}

fn seen(entries: &[AuditView]) -> Vec<(&str, &str)> {
    entries.iter().map(|entry| (entry.act.verb.as_str(), entry.result.as_str())).collect()
}

#[tokio::test]
async fn t31_what_is_done_fails_and_is_refused_is_on_record_with_who_and_what() {
    let house = House::new().await;
    let (_, admin) = house.admin_key().await;
    let agent = house.agent(&admin, &[Scope::JobsWrite]).await;
    let reader = house.agent(&admin, &[Scope::JobsRead]).await;
    let gate = &house.gate;

    for place in [EffectPlace::Store, EffectPlace::Outside] {
        gate.perform(&agent, deed(place), async { Ok::<_, GateError>(()) }).await.expect("done");
        let failed = gate.perform(&agent, deed(place), async { Err::<(), _>(GateError::InvalidLabel) }).await;
        assert!(matches!(failed, Err(GateError::InvalidLabel)));
    }
    let begun = std::sync::atomic::AtomicBool::new(false);
    let refused = gate
        .perform(&reader, deed(EffectPlace::Store), async {
            begun.store(true, std::sync::atomic::Ordering::SeqCst);
            Ok::<_, GateError>(())
        })
        .await;

    assert!(matches!(refused, Err(GateError::ScopeMissing(Scope::JobsWrite))));
    assert!(!begun.into_inner(), "what is refused is not begun");
    let entries = list(gate, AuditFilter { verb: Some("job.".into()), ..AuditFilter::default() }).await;
    assert_eq!(
        seen(&entries),
        [
            ("job.submit", "denied"),
            ("job.submit", "failed"),
            ("job.submit", "done"),
            ("job.submit", "failed"),
            ("job.submit", "done"),
        ]
    );
    assert_eq!((&entries[0].act.actor, entries[0].result.code()), (&reader.owner(), Some("SCOPE_REQUIRED")));
    assert_eq!((&entries[1].act.actor, entries[1].act.target.as_str()), (&agent.owner(), "job:1"));
    let keys = list(gate, AuditFilter { verb: Some("key.create".into()), ..AuditFilter::default() }).await;
    assert_eq!(keys.len(), 2);
    let denied = list(gate, AuditFilter { outcome: Some("denied".into()), ..AuditFilter::default() }).await;
    assert_eq!(denied.len(), 1);
}

#[tokio::test]
async fn t31_the_intent_is_on_disk_before_an_effect_outside() {
    let house = House::new().await;
    let streams = house.store.streams.clone();
    let before = streams.last_seq(&StreamName::audit()).await.expect("readable");

    let found = house
        .gate
        .perform(&Actor::system(), deed(EffectPlace::Outside), async {
            Ok::<_, GateError>(streams.read(&StreamName::audit(), before, 10).await?)
        })
        .await
        .expect("done");

    assert_eq!(found.len(), 1);
    assert!(String::from_utf8_lossy(&found[0].data).contains("\"kind\":\"intent\""));
}

#[tokio::test]
async fn t31_without_a_trail_nothing_happens() {
    let house = House::new().await;
    let full = house.gate_with_streams(house.closed_streams().await);

    let mut begun = false;
    let outside = full
        .perform(&Actor::system(), deed(EffectPlace::Outside), async {
            begun = true;
            Ok::<_, GateError>(())
        })
        .await;

    assert_eq!(outside.expect_err("refused").code(), ErrorCode::StoreUnavailable);
    assert!(!begun);
}

#[tokio::test]
async fn t31_who_goes_away_in_the_middle_leaves_a_deed_that_reads_abandoned() {
    let house = House::new().await;
    let (begun, wait) = tokio::sync::oneshot::channel();
    {
        let actor = Actor::system();
        let mut perform = std::pin::pin!(house.gate.perform(&actor, deed(EffectPlace::Outside), async {
            let _ = begun.send(());
            std::future::pending::<Result<(), GateError>>().await
        }));
        tokio::select! {
            _ = &mut perform => panic!("it never ends"),
            begun = wait => begun.expect("it begins"),
        }
    }

    let entries = list(&house.gate, AuditFilter::default()).await;

    assert_eq!(seen(&entries)[0], ("job.submit", "abandoned"));
}

#[tokio::test]
async fn t31_a_deed_cut_off_by_a_crash_reads_unknown_and_the_next_start_says_so() {
    let house = House::new().await;
    // What a crash leaves: an intent and nothing after it.
    let record = r#"{"kind":"intent","id":"01890a5d-ac96-774b-bcce-b302099a8057","actor":"token","verb":"job.submit"}"#;
    let records = vec![record.as_bytes().to_vec()];
    let streams = &house.store.streams;
    streams.append_chained(&StreamName::audit(), records, house.now()).await.expect("appended");

    let next = house.another_gate(None);
    next.start(None).await.expect("a start");
    next.start(None).await.expect("told once");

    let entries = list(&next, AuditFilter::default()).await;
    assert_eq!(seen(&entries), [("audit.note", "note"), ("job.submit", "unknown")]);
    assert!(entries[0].act.detail.as_ref().is_some_and(|text| text.to_string().contains("1 deeds")));
}

#[tokio::test]
async fn t31_any_change_of_the_trail_shows() {
    let house = House::new().await;
    let (_, admin) = house.admin_key().await;
    for n in 0..8 {
        let new = new_key(&format!("key {n}"), set(&[Scope::JobsRead]), Role::Agent);
        house.gate.create_key(&admin, new).await.expect("a key");
    }
    let whole = house.gate.audit_verify(&Actor::system()).await.expect("verified");
    assert_eq!((whole.first, whole.broken_at), (1, None));
    let export = export(&house.gate).await;
    let offline = verify_export(export.as_bytes()).expect("an export");
    assert_eq!(offline, whole);

    let path = house.folder.path().join("claw.db");
    for (what, change) in [
        (
            "a byte",
            "UPDATE audit_records SET data = CAST(replace(CAST(data AS TEXT), 'kind', 'kine') AS BLOB) WHERE seq = 6",
        ),
        ("a moment", "UPDATE audit_records SET at = at + 1 WHERE seq = 4"),
        ("a gap", "DELETE FROM audit_records WHERE seq = 5"),
        (
            "two swapped",
            "UPDATE audit_records SET data = (SELECT data FROM audit_records r WHERE r.seq = 13 - audit_records.seq) WHERE seq IN (6, 7)",
        ),
        ("a cut tail", "DELETE FROM audit_records WHERE seq >= 8"),
        ("a cut head", "DELETE FROM audit_records WHERE seq <= 3"),
        (
            "an inserted one",
            "INSERT INTO audit_records (stream_id, seq, at, data, hash) SELECT stream_id, seq + 1, at, data, hash
             FROM audit_records WHERE seq = (SELECT max(last_seq) FROM streams WHERE name = 'audit')",
        ),
    ] {
        let copy = house.folder.path().join(format!("{what}.db"));
        let source = Connection::open(&path).expect("a database");
        source.execute("VACUUM INTO ?1", [copy.to_string_lossy()]).expect("a copy");
        let audit = "stream_id = (SELECT id FROM streams WHERE name = 'audit')";
        let change = change.replace("WHERE seq", &format!("WHERE {audit} AND seq"));
        let change = change.replace("r WHERE r.seq", "r WHERE r.stream_id = audit_records.stream_id AND r.seq");
        Connection::open(&copy).expect("a copy").execute(&change, []).expect(what);

        let tampered = house.gate_on_copy(&copy);
        let found = tampered.audit_verify(&Actor::system()).await;
        assert!(found.as_ref().map_or(true, |found| found.broken_at.is_some()), "{what}: {found:?}");
        // What is left is still shown.
        assert!(!list(&tampered, AuditFilter::default()).await.is_empty(), "{what}");
    }
    let changed = export.replace("key 2", "key 7");
    assert!(verify_export(changed.as_bytes()).expect("an export").broken_at.is_some());
    assert!(verify_export(&b"{}"[..]).is_err());
}

async fn export(gate: &Gate) -> String {
    let lines = gate.audit_export(&Actor::system(), 0).await.expect("an export");
    lines.try_collect::<Vec<_>>().await.expect("readable").concat()
}

#[tokio::test]
async fn t31_what_is_left_after_retention_can_be_verified() {
    let house = House::new().await;
    let (_, admin) = house.admin_key().await;
    for _ in 0..5 {
        house.agent(&admin, &[Scope::JobsRead]).await;
    }
    house.gate.audit().flush().await;
    house.clock.advance(1_000);

    let removed = house.gate.audit().trim_before(house.now(), 4).await.expect("trimmed");

    let left = house.gate.audit_verify(&Actor::system()).await.expect("verified");
    assert_eq!((removed, left.first, left.broken_at), (4, 5, None));
    let entries = list(&house.gate, AuditFilter::default()).await;
    assert_eq!(entries[0].act.verb, "audit.note");
}

#[tokio::test]
async fn t31_bad_credentials_and_sign_ins_are_on_record_and_secrets_are_not() {
    let house = House::new().await;
    let (_, admin) = house.admin_key().await;
    house.person(&admin, "ann", Role::User).await;
    let wrong = Secret::new("wag_live_0123456789012345678901234567890123456789012=");
    assert!(house.enter(&wrong).await.is_err());
    assert!(house.gate.login("ann", &Secret::new("not her password"), client(9), None).await.is_err());
    assert!(house.enter_with(Credential::Bearer(wrong.clone())).await.is_err());

    let denied =
        list(&house.gate, AuditFilter { outcome: Some("denied".into()), ..AuditFilter::default() }).await;

    let verbs: Vec<_> = denied.iter().map(|entry| entry.act.verb.as_str()).collect();
    assert!(verbs.contains(&"auth.enter") && verbs.contains(&"auth.login"), "{verbs:?}");
    let all = export(&house.gate).await;
    for secret in [wrong.expose(), "not her password", crate::house::PASSWORD] {
        assert!(!all.contains(secret), "{secret}");
    }
}

#[tokio::test]
async fn the_trail_is_for_administrators() {
    let house = House::new().await;
    let (_, admin) = house.admin_key().await;
    let agent = house.agent(&admin, &[Scope::JobsRead]).await;

    let list = house.gate.audit_list(&agent, AuditFilter::default()).await;
    let verify = house.gate.audit_verify(&agent).await;

    assert!(matches!(list, Err(GateError::ScopeMissing(Scope::Admin))));
    assert!(matches!(verify, Err(GateError::ScopeMissing(Scope::Admin))));
}

#[tokio::test]
async fn pages_of_the_trail_join_and_know_outcomes_that_came_later() {
    let house = House::new().await;
    for n in 0..12 {
        let deed = Deed { target: format!("job:{n}"), ..deed(EffectPlace::Store) };
        house.gate.perform(&Actor::system(), deed, async { Ok::<_, GateError>(()) }).await.expect("done");
    }
    let mut targets = Vec::new();
    let mut before = None;
    loop {
        let filter = AuditFilter { before, limit: 5, ..AuditFilter::default() };
        let page = house.gate.audit_list(&Actor::system(), filter).await.expect("a page");
        targets.extend(page.items.iter().map(|entry| (entry.act.target.clone(), entry.result.clone())));
        before = page.next;
        if before.is_none() {
            break;
        }
    }

    let expected: Vec<_> = (0..12).rev().map(|n| (format!("job:{n}"), AuditResult::Done)).collect();
    assert_eq!(targets, expected);
}

#[tokio::test]
async fn t31_t32_a_stranger_cannot_fill_the_trail() {
    let house = House::new().await;
    house.admin_key().await;
    house.gate.audit().flush().await;
    let before = house.store.streams.last_seq(&StreamName::audit()).await.expect("readable");

    for _ in 0..500 {
        assert!(house.enter(&Secret::new("nonsense")).await.is_err());
    }

    let filter = AuditFilter { verb: Some("auth.enter".into()), ..AuditFilter::default() };
    let entries = list(&house.gate, filter).await;
    let counted: u64 = entries.iter().map(|entry| entry.more + 1).sum();
    assert_eq!(counted, 500, "also past the limit on wrong keys");
    let records = house.store.streams.last_seq(&StreamName::audit()).await.expect("readable") - before;
    assert!(records <= 3, "{records}");
}

#[tokio::test]
async fn t31_a_clock_set_back_changes_neither_the_order_nor_what_is_found() {
    let house = House::new().await;
    let began = house.now();
    for n in 0..3 {
        let deed = Deed { target: format!("job:{n}"), ..deed(EffectPlace::Store) };
        house.gate.perform(&Actor::system(), deed, async { Ok::<_, GateError>(()) }).await.expect("done");
        house.clock.advance(if n == 0 { -7_200 } else { 7_300 });
    }

    let all = list(&house.gate, AuditFilter::default()).await;
    let targets: Vec<_> = all.iter().map(|entry| entry.act.target.as_str()).collect();
    assert_eq!(targets, ["job:2", "job:1", "job:0"]);
    let since = list(&house.gate, AuditFilter { since: Some(began), ..AuditFilter::default() }).await;
    let targets: Vec<_> = since.iter().map(|entry| entry.act.target.as_str()).collect();
    assert_eq!(targets, ["job:2", "job:0"], "one from the past does not hide those before it");
    let whole = house.gate.audit_verify(&Actor::system()).await.expect("verified");
    assert_eq!(whole.broken_at, None);
    let after = AuditFilter { after: Some(all[1].seq), ..AuditFilter::default() };
    assert_eq!(list(&house.gate, after).await.len(), 1);
}

#[tokio::test]
async fn t31_a_record_that_cannot_be_read_is_shown_as_such() {
    let house = House::new().await;
    let records = vec![b"{\"kind\":\"of a later version\"}".to_vec(), b"not JSON\n".to_vec()];
    house.store.streams.append_chained(&StreamName::audit(), records, house.now()).await.expect("appended");

    let entries = list(&house.gate, AuditFilter::default()).await;

    assert_eq!(seen(&entries), [("audit.unreadable", "unknown"), ("audit.unreadable", "unknown")]);
}

#[tokio::test]
async fn t31_passwords_and_sessions_are_on_record() {
    let house = House::new().await;
    let (_, admin) = house.admin_key().await;
    let (cookie, ann) = house.person(&admin, "ann", Role::User).await;
    let (old, new) = (Secret::new(crate::house::PASSWORD), Secret::new("another password"));
    let gate = &house.gate;

    gate.logout(&cookie).await.expect("a sign-out");
    assert!(gate.change_password(&ann, &old, &new, client(1)).await.is_err(), "the session is over");
    let (cookie, _) = gate.login("ann", &old, client(1), None).await.expect("a session");
    let ann = house.enter_with(Credential::Session(cookie)).await.expect("a good session");
    gate.change_password(&ann, &old, &new, client(1)).await.expect("a change");
    gate.reset_password(&admin, "ann", &old).await.expect("a reset");

    let entries = list(gate, AuditFilter::default()).await;
    let seen: Vec<_> = entries
        .iter()
        .map(|entry| (entry.act.actor.as_str(), entry.act.verb.as_str(), entry.result.as_str()))
        .take(5)
        .collect();
    assert_eq!(
        seen,
        [
            (admin.owner().as_str(), "user.password", "done"),
            ("user:ann", "user.password", "done"),
            ("user:ann", "auth.login", "done"),
            ("user:ann", "auth.logout", "done"),
            ("user:ann", "auth.login", "done"),
        ]
    );
    assert_eq!(entries[1].act.client.as_deref(), Some("192.0.2.3"));
}
