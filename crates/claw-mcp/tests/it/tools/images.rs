//! Images, from a registry of the test's own.

use claw_core::Scope;
use serde_json::json;

use crate::{house::House, lab::until, registry::Registry};

#[tokio::test]
async fn d7_an_image_is_pulled_with_progress_listed_and_deleted() {
    let house = House::with_docker().await;
    let mut talk = house.tools(&[Scope::ImagesRead, Scope::ImagesWrite]).await;
    let mut registry = Registry::holding().await;

    let params = json!({
        "name": "pull_image", "arguments": { "image": registry.image }, "_meta": { "progressToken": "p" },
    });
    let id = talk.send("tools/call", params).await;
    registry.layer_is_asked_for().await;
    let news = talk.next().await;
    assert_eq!(
        (&news["method"], &news["params"]["progressToken"]),
        (&json!("notifications/progress"), &json!("p"))
    );
    registry.release();
    let answer = talk.answer(id).await;

    assert_eq!(answer["result"]["content"][0]["text"], format!("Image {} pulled", registry.image));
    let told: Vec<f64> =
        talk.notifications.iter().filter_map(|news| news["params"]["progress"].as_f64()).collect();
    assert!(told.is_sorted_by(|a, b| a < b), "{told:?}");
    let list = talk.call("list_images", json!({})).await.ok().json();
    let (repository, _) = registry.image.rsplit_once(':').expect("a tag");
    let image = list.as_array().expect("a list").iter().find(|image| image["repository"] == repository);
    let image = image.unwrap_or_else(|| panic!("{list}"));
    let members: Vec<&String> = image.as_object().expect("an object").keys().collect();
    assert_eq!(members, ["id", "repository", "tag", "size", "created"]);
    let deleted = talk.call("delete_image", json!({ "id": registry.image })).await.ok();
    assert_eq!(deleted.text(), format!("Image {} deleted", registry.image));
    let gone = talk.call("delete_image", json!({ "id": registry.image })).await;
    assert!(gone.failure().starts_with("Failed to delete image: HTTP 404: "), "{gone:?}");
}

#[tokio::test]
async fn a_pull_that_fails_says_why() {
    let house = House::with_docker().await;
    let mut talk = house.tools(&[Scope::ImagesWrite]).await;
    let registry = Registry::open().await;

    let missing = registry.image.replace(":1", ":2");
    let failed = talk.call("pull_image", json!({ "image": missing })).await;

    assert!(failed.failure().starts_with("Failed to pull image: "), "{failed:?}");
    let odd = talk.call("pull_image", json!({ "image": "a b" })).await;
    assert!(odd.failure().starts_with("Failed to pull image: HTTP 400: "), "{odd:?}");
}

#[tokio::test]
async fn d7_a_pull_that_nobody_waits_for_any_more_ends() {
    let house = House::with_docker().await;
    let mut talk = house.tools(&[Scope::ImagesRead, Scope::ImagesWrite]).await;
    let mut registry = Registry::holding().await;
    let params = json!({ "name": "pull_image", "arguments": { "image": registry.image } });
    let id = talk.send("tools/call", params).await;
    registry.layer_is_asked_for().await;

    talk.notify("notifications/cancelled", json!({ "requestId": id, "reason": "enough" })).await;

    let ended = async || {
        let pulls = house.get("/api/images/pulls").send().await.data();
        let pulls = pulls.as_array().expect("a list");
        pulls
            .iter()
            .any(|pull| pull["image"] == registry.image.as_str() && pull["reason"] == "it was cancelled")
    };
    until(ended).await;
    talk.call("check_scopes", json!({})).await.ok();
}
