//! What people and programs who watch over the server see: metrics, readiness, audit, spending, the model login.

use claw_core::{Actor, ModelUse, Role, Scope, Secret, TokenUsage, Usd};
use claw_gate::verify_export;
use claw_server::MetricsAccess;
use claw_store::Charge;
use serde_json::json;

use crate::lab::{Lab, Options, now};

#[tokio::test]
async fn metrics_are_for_whom_the_configuration_says() {
    for (access, anonymous, agent) in [
        (MetricsAccess::Everyone, 200, 200),
        (MetricsAccess::Local, 401, 403),
        (MetricsAccess::Administrators, 401, 403),
        (MetricsAccess::Nobody, 404, 404),
    ] {
        let lab = Lab::with(Options { metrics: access, ..Options::default() }).await;
        let key = lab.key(&[Scope::JobsRead]).await;

        assert_eq!(lab.get("/metrics").anonymous().send().await.status, anonymous, "{access:?}");
        assert_eq!(lab.get("/metrics").key(&key).send().await.status, agent, "{access:?}");
        let admin = lab.get("/metrics").send().await;
        if access == MetricsAccess::Nobody {
            admin.assert_error(404, "ROUTE_NOT_FOUND");
        } else {
            assert_eq!((admin.status.as_u16(), admin.text().as_str()), (200, "claw_up 1\n"));
            assert!(admin.header("content-type").starts_with("text/plain; version=0.0.4"));
        }
    }
}

#[tokio::test]
async fn readiness_tells_everybody_whether_and_administrators_why() {
    let ready = Lab::new().await.get("/ready").anonymous().send().await;
    assert_eq!(ready.expect(200), json!({ "ready": true, "reasons": [] }));

    let not_ready = vec!["the disk is full".to_owned()];
    let lab = Lab::with(Options { not_ready, ..Options::default() }).await;
    assert_eq!(
        lab.get("/ready").anonymous().send().await.expect(503),
        json!({ "ready": false, "reasons": [] })
    );
    let key = lab.key(&[Scope::JobsRead]).await;
    assert_eq!(lab.get("/ready").key(&key).send().await.expect(503)["reasons"], json!([]));
    assert_eq!(lab.get("/ready").send().await.expect(503)["reasons"], json!(["the disk is full"]));
}

#[tokio::test]
async fn what_was_done_and_refused_is_listed_exported_and_verified() {
    let lab = Lab::new().await;
    let job = lab.job("do it").await;
    let reader = lab.key(&[Scope::JobsRead]).await;
    lab.post("/api/v1/jobs", json!({ "prompt": "x" }))
        .key(&reader)
        .send()
        .await
        .assert_error(403, "SCOPE_REQUIRED");

    let page = lab.get("/api/v1/audit?verb=job.submit").send().await.expect(200);

    let [denied, done] = &page["items"].as_array().expect("entries")[..] else { panic!("{page}") };
    assert_eq!((&denied["outcome"], &denied["code"]), (&json!("denied"), &json!("SCOPE_REQUIRED")));
    assert_eq!((&done["outcome"], &done["target"]), (&json!("done"), &json!(format!("job:{job}"))));
    assert!(done["request_id"].is_string() && done["client"].is_string(), "{done}");
    assert_eq!(page["next"], json!(null));
    let verified = lab.get("/api/v1/audit/verify").send().await.expect(200);
    assert_eq!(verified["ok"], json!(true), "{verified}");
    let export = lab.get("/api/v1/audit/export").send().await;
    assert_eq!(export.header("content-type"), "application/x-ndjson");
    let offline = verify_export(export.body.as_slice()).expect("an export");
    assert_eq!(
        (offline.broken_at, offline.last >= verified["last"].as_u64().expect("a number")),
        (None, true)
    );
    lab.get("/api/v1/audit?outcome=good").send().await.assert_error(400, "INVALID_REQUEST");
    assert!(!export.text().contains("do it"), "no prompt is in the trail");
}

#[tokio::test]
async fn spending_is_summed_up_for_whom_it_concerns() {
    let lab = Lab::new().await;
    let owner = lab.get("/api/v1/jobs").send().await;
    assert_eq!(owner.status, 200);
    let charge = |owner: &str, dollars: f64| Charge {
        job: claw_core::JobId::new(),
        owner: owner.into(),
        workspace: None,
        used: ModelUse {
            model: "claude".into(),
            tokens: TokenUsage { input: 10, output: 5, ..TokenUsage::default() },
            turns: 1,
            cost: Usd::from_dollars(dollars).expect("an amount"),
        },
    };
    lab.store.jobs.charge(charge("key:somebody", 1.5), now()).await.expect("charged");
    lab.store.jobs.charge(charge("user:ann", 0.25), now()).await.expect("charged");

    let by_key = lab.get("/api/v1/spending?group_by=key").send().await.expect(200);
    assert_eq!(by_key["total_usd"], json!(1.75));
    assert_eq!(by_key["items"][0]["key"], json!("key:somebody"));
    let by_day = lab.get("/api/v1/spending").send().await.expect(200);
    assert_eq!(
        (by_day["items"].as_array().map(Vec::len), &by_day["items"][0]["turns"]),
        (Some(1), &json!(2))
    );
    let stranger = lab.key(&[Scope::JobsRead]).await;
    let own = lab.get("/api/v1/spending?owner=user:ann").key(&stranger).send().await.expect(200);
    assert_eq!(own["total_usd"], json!(0.0), "others see their own, whatever they ask for");
    lab.get("/api/v1/spending?from=2026-02-30").send().await.assert_error(400, "INVALID_REQUEST");
    lab.get("/api/v1/spending?from=2026-02-02&to=2026-02-01")
        .send()
        .await
        .assert_error(400, "INVALID_REQUEST");
    lab.get("/api/v1/spending?group_by=mood").send().await.assert_error(400, "INVALID_REQUEST");
}

#[tokio::test]
async fn s31_a_limit_on_what_a_key_may_spend_is_set_shown_and_taken_away() {
    let lab = Lab::new().await;
    let made = lab
        .post("/api/keys", json!({ "scopes": ["jobs:write"], "max_usd_per_day": 2.5 }))
        .send()
        .await
        .data();
    assert_eq!(made["meta"]["max_usd_per_day"], json!(2.5));
    let path = format!("/api/keys/{}", made["meta"]["id"].as_str().expect("an id"));
    let patch = |body| lab.call(axum::http::Method::PATCH, &path).json(&body);

    let kept = patch(json!({ "label": "renamed" })).send().await.data();
    assert_eq!(kept["max_usd_per_day"], json!(2.5));
    let gone = patch(json!({ "max_usd_per_day": null })).send().await.data();
    assert_eq!(gone.get("max_usd_per_day"), None);
    patch(json!({ "max_usd_per_day": -1.0 })).send().await.assert_enveloped(400, "INVALID_REQUEST");
}

#[tokio::test]
async fn the_model_login_is_told_as_clients_know_it_and_its_faults_to_administrators_alone() {
    let lab = Lab::new().await;

    let public = lab.get("/api/v1/auth/oauth-status").anonymous().send().await.expect(200);
    let admin = lab.get("/api/v1/auth/oauth-status").send().await.expect(200);

    assert_eq!(
        public,
        json!({ "status": "expired", "expires_at": 1_767_225_600_000_i64, "refresh_token_age_days": 0 })
    );
    assert_eq!(
        (&admin["state"], &admin["error"]),
        (&json!("refresh_failed"), &json!("/root/.claude cannot be written"))
    );
}

#[tokio::test]
async fn s31_people_change_passwords_and_end_sessions() {
    let lab = Lab::new().await;
    let password = Secret::new("correct horse");
    lab.gate.create_user(&Actor::system(), "ann", &password, Role::User).await.expect("a user is made");
    let sign_in = async |password: &str| {
        let body = json!({ "username": "ann", "password": password });
        let answer = lab.post("/api/v1/auth/login", body).anonymous().send().await;
        answer.header("set-cookie").split(';').next().unwrap_or_default().to_owned()
    };
    let (phone, desk) = (sign_in("correct horse").await, sign_in("correct horse").await);
    let me = async |cookie: &str| {
        lab.get("/api/v1/auth/me").anonymous().header("cookie", cookie).send().await.status.as_u16()
    };
    let own = |call: crate::lab::Call, cookie: &str| {
        call.anonymous().header("cookie", cookie).header("sec-fetch-site", "same-origin")
    };

    let sessions = own(lab.get("/api/v1/auth/sessions"), &desk).send().await.expect(200);
    let sessions = sessions["items"].as_array().expect("sessions");
    assert_eq!(sessions.len(), 2);
    let other = sessions.iter().find(|session| session["current"] == json!(false)).expect("the other");
    let path = format!("/api/v1/auth/sessions/{}", other["id"].as_str().expect("an id"));
    own(lab.delete(&path), &desk).send().await.expect(200);
    assert_eq!((me(&phone).await, me(&desk).await), (401, 200));

    let change = json!({ "old_password": "wrong horse", "new_password": "battery staple" });
    own(lab.post("/api/v1/auth/password", change), &desk).send().await.assert_error(401, "INVALID_LOGIN");
    let change = json!({ "old_password": "correct horse", "new_password": "battery staple" });
    let changed = own(lab.post("/api/v1/auth/password", change), &desk).send().await;
    let fresh = changed.header("set-cookie").split(';').next().expect("a cookie").to_owned();
    assert_eq!((changed.status.as_u16(), me(&desk).await, me(&fresh).await), (200, 401, 200));
    assert_eq!(sign_in("correct horse").await, "");
    assert_ne!(sign_in("battery staple").await, "");
}

#[tokio::test]
async fn what_is_old_is_removed_when_an_administrator_asks() {
    let lab = Lab::new().await;
    let agent = lab.key(&[Scope::JobsWrite]).await;

    let report = lab.post("/api/v1/maintenance/gc?dry_run=true", json!({})).send().await.expect(200);

    assert_eq!(report["dry_run"], json!(true));
    assert_eq!(report["items"].as_array().map(Vec::len), Some(8));
    lab.post("/api/v1/maintenance/gc", json!({}))
        .key(&agent)
        .send()
        .await
        .assert_error(403, "SCOPE_REQUIRED");
    lab.post("/api/v1/maintenance/gc?dry_run=maybe", json!({}))
        .send()
        .await
        .assert_error(400, "INVALID_REQUEST");
}
