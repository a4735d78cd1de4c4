//! Every tool against a whole server.

use claw_core::Scope;
use serde_json::json;

use crate::house::House;

#[tokio::test]
async fn any_key_may_see_what_it_may_do() {
    let house = House::new().await;
    let mut talk = house.tools(&[Scope::ContainersRead]).await;

    let answer = talk.call("check_scopes", json!({})).await.ok();

    assert_eq!(answer.json()["meta"]["scopes"], json!(["containers:read"]));
}
