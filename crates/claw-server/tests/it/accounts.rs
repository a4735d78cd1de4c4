use axum::http::Method;
use claw_core::Scope;
use serde_json::json;

use crate::lab::Lab;

async fn lab_with_ann() -> Lab {
    let lab = Lab::new().await;
    let body = json!({ "username": "ann", "password": "correct horse" });
    let made = lab.post("/api/v1/auth/users", body).send().await.expect(201);
    assert_eq!(made, json!({ "username": "ann", "role": "user" }));
    lab
}

#[tokio::test]
async fn a_person_signs_in_is_known_and_signs_out() {
    let lab = lab_with_ann().await;
    let body = json!({ "username": "ann", "password": "correct horse" });

    let login = lab.post("/api/v1/auth/login", body).anonymous().send().await;
    assert_eq!(login.expect(200), json!({ "username": "ann", "role": "user" }));
    let cookie = login.header("set-cookie").split(';').next().expect("a cookie").to_owned();
    let me = async || lab.get("/api/v1/auth/me").anonymous().header("cookie", &cookie).send().await;
    let who = me().await.expect(200);
    assert_eq!(
        (&who["username"], &who["role"], &who["kind"]),
        (&json!("ann"), &json!("user"), &json!("user"))
    );

    let logout = lab.call(Method::POST, "/api/v1/auth/logout").anonymous().header("cookie", &cookie);
    let logout = logout.header("sec-fetch-site", "same-origin").send().await;
    assert_eq!(logout.expect(200), json!({ "ok": true }));
    assert!(logout.header("set-cookie").contains("Max-Age=0"));
    me().await.assert_error(401, "INVALID_KEY");
}

#[tokio::test]
async fn s29_t17_an_unknown_name_and_a_wrong_password_are_answered_alike() {
    let lab = lab_with_ann().await;
    let login = async |username: &str, password: &str| {
        let body = json!({ "username": username, "password": password });
        lab.post("/api/v1/auth/login", body).anonymous().send().await
    };

    let (unknown, wrong) = (login("bob", "correct horse").await, login("ann", "wrong horse").await);

    unknown.assert_error(401, "INVALID_LOGIN");
    assert_eq!(unknown.body, wrong.body);
    assert_eq!(wrong.header("set-cookie"), "");
}

#[tokio::test]
async fn who_am_i_answers_for_keys_too() {
    let lab = Lab::new().await;
    let agent = lab.key(&[Scope::JobsRead]).await;

    let who = lab.get("/api/v1/auth/me").key(&agent).send().await.expect(200);

    assert_eq!(
        who,
        json!({ "username": "test key", "role": "agent", "kind": "key", "scopes": ["jobs:read"] })
    );
    let root = lab.get("/api/v1/auth/me").send().await.expect(200);
    assert_eq!(root["role"], "admin");
    assert!(root["scopes"].as_array().is_some_and(|scopes| scopes.contains(&json!("jobs:write"))));
}

#[tokio::test]
async fn accounts_are_listed_checked_and_deleted() {
    let lab = lab_with_ann().await;
    let create = async |body| lab.post("/api/v1/auth/users", body).send().await;

    create(json!({ "username": "ann", "password": "another one" })).await.assert_error(409, "USER_EXISTS");
    create(json!({ "username": "", "password": "another one" })).await.assert_error(400, "INVALID_REQUEST");
    create(json!({ "username": "bob", "password": "short" })).await.assert_error(400, "INVALID_REQUEST");
    create(json!({ "username": "bob", "password": "long enough", "role": "root" }))
        .await
        .assert_error(400, "INVALID_ROLE");
    create(json!({ "username": "bob" })).await.assert_error(422, "INVALID_BODY");
    create(json!({ "username": "bob", "password": "long enough", "role": "admin" })).await.expect(201);
    let list = lab.get("/api/v1/auth/users").send().await.expect(200);
    let expected =
        json!({ "items": [{ "username": "ann", "role": "user" }, { "username": "bob", "role": "admin" }] });
    assert_eq!(list, expected);

    assert_eq!(lab.delete("/api/v1/auth/users/ann").send().await.expect(200), json!({ "ok": true }));
    lab.delete("/api/v1/auth/users/ann").send().await.assert_error(404, "USER_NOT_FOUND");
}
