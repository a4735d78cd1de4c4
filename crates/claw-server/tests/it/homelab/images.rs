//! Images: pulls that go on by themselves, and names that are encoded.

use claw_core::Scope;
use serde_json::{Value, json};

use super::{
    engine::{IMAGE, Image, Named, lab, outside, unique},
    registry::Registry,
};
use crate::lab::{Lab, until};

fn encoded(image: &str) -> String {
    format!("/api/images/{}", image.replace('/', "%2F"))
}

async fn has(lab: &Lab, image: &str) -> bool {
    let (repository, tag) = image.rsplit_once(':').expect("a tag");
    let images = lab.get("/api/images").send().await.data();
    let images = images.as_array().expect("a list");
    images.iter().any(|image| image["repository"] == repository && image["tag"] == tag)
}

#[tokio::test]
async fn b4_m15_a_pull_goes_on_when_the_caller_hangs_up_and_the_next_one_joins_it() {
    let lab = lab().await;
    let mut registry = Registry::holding().await;
    let body = json!({ "image": registry.image });

    let mut first = Box::pin(lab.post("/api/images/pull", body.clone()).send());
    tokio::select! {
        answer = &mut first => panic!("it cannot be over: {}", answer.text()),
        () = registry.layer_is_asked_for() => {}
    }
    drop(first);
    let started = lab.post("/api/images/pull?wait=false", body.clone()).send().await;
    let started = started.expect(202)["data"].clone();
    assert_eq!((&started["status"], &started["image"]), (&json!("pulling"), &json!(registry.image)));
    let status = format!("/api/images/pulls/{}", started["pull_id"].as_str().expect("an id"));
    assert_eq!(lab.get(&status).send().await.data()["status"], "pulling");
    let mut second = Box::pin(lab.post("/api/containers/pull", body).send());
    assert!(futures_util::future::poll_immediate(&mut second).await.is_none());
    registry.release();
    let pulled = second.await.data();

    assert_eq!((&pulled["status"], &pulled["image"]), (&json!("pulled"), &json!(registry.image)));
    assert_eq!(registry.times_asked(), 1, "the second joined the first");
    assert_eq!(lab.get(&status).send().await.data()["status"], "pulled");
    assert!(has(&lab, &registry.image).await);
    let events = lab.get("/api/activity?type=image_pull").send().await.data();
    let statuses: Vec<_> =
        events["events"].as_array().expect("events").iter().map(|event| &event["status"]).collect();
    assert_eq!(statuses, ["pending", "success"]);
    let summary = lab.get("/api/metrics/summary").send().await.data();
    assert_eq!(summary["pulls_last_24h"], 1);
}

#[tokio::test]
async fn b5_a_container_whose_image_is_not_here_is_made_all_the_same_and_its_id_is_an_id() {
    let lab = lab().await;
    let registry = Registry::open().await;
    let name = Named::new("implied");

    // The image holds one file and nothing that could run, so that it cannot be started: the Engine says so.
    let body = json!({ "image": registry.image, "name": name.0, "command": ["/nothing"] });
    let answer = lab.post("/api/containers", body).send().await;

    answer.assert_enveloped(503, "DOCKER_ERROR");
    assert!(has(&lab, &registry.image).await, "it was pulled: {}", answer.text());
}

#[tokio::test]
async fn b6_an_image_that_the_registry_does_not_have_is_not_found_and_told_of() {
    let lab = lab().await;
    let registry = Registry::open().await;
    let image = registry.image.replace(":1", ":2");
    let image = format!("{}:2", image.rsplit_once(':').expect("a tag").0);

    let answer = lab.post("/api/images/pull", json!({ "image": image })).send().await;

    answer.assert_enveloped(404, "NOT_FOUND");
    assert!(answer.body.len() <= 512);
    let events = lab.get("/api/activity?type=image_pull&outcome=error").send().await.data();
    assert_eq!(events["events"][0]["target"], image);
    assert!(events["events"][0]["details"]["details"].is_string(), "{events}");
    let unreachable = json!({ "image": "127.0.0.1:1/nothing:1" });
    lab.post("/api/images/pull", unreachable).send().await.assert_enveloped(502, "IMAGE_PULL_FAILED");
}

#[tokio::test]
async fn a_pull_ends_when_all_who_asked_for_it_no_longer_want_it() {
    let lab = lab().await;
    let mut registry = Registry::holding().await;
    let begin = || lab.post("/api/images/pull?wait=false", json!({ "image": registry.image }));
    let first = begin().send().await.expect(202)["data"]["pull_id"].as_str().expect("an id").to_owned();
    let second = begin().send().await.expect(202)["data"]["pull_id"].clone();
    assert_eq!(second, first.as_str(), "one pull for both");
    registry.layer_is_asked_for().await;
    let cancel = || lab.delete(&format!("/api/images/pulls/{first}"));

    let goes_on = cancel().send().await.data();
    assert_eq!(goes_on["status"], "pulling", "the other one still waits");
    let ended = cancel().send().await.data();
    assert_eq!((&ended["status"], &ended["reason"]), (&json!("failed"), &json!("it was cancelled")));

    assert_eq!(cancel().send().await.data(), ended, "an end stays an end");
    let key = lab.key(&[Scope::ImagesRead]).await;
    cancel().key(&key).send().await.assert_enveloped(403, "SCOPE_REQUIRED");
    lab.delete("/api/images/pulls/nothing").send().await.assert_enveloped(404, "NOT_FOUND");
    registry.release();
    let again = lab.post("/api/images/pull", json!({ "image": registry.image })).send().await.data();
    assert_eq!(again["status"], "pulled", "who asks again gets it");
}

#[tokio::test]
async fn what_is_no_image_is_refused() {
    let lab = lab().await;

    for image in ["", "-v", "a b", "../x", "a?b", "--help", "a\nb"] {
        let answer = lab.post("/api/images/pull", json!({ "image": image })).send().await;
        answer.assert_enveloped(400, "INVALID_IMAGE");
    }
    for body in
        [json!({}), json!({ "image": 7 }), json!({ "image": "a", "tag": "b" }), json!({ "Image": "a" })]
    {
        lab.post("/api/images/pull", body).send().await.assert_enveloped(422, "INVALID_BODY");
    }
}

#[tokio::test]
async fn b16_m14_an_image_is_deleted_by_its_encoded_name_and_one_in_use_stays() {
    let lab = lab().await;
    let image = Image(format!("{}/team/app:1", unique("delete")));
    outside(&["tag", IMAGE, &image.0]);
    until(async || has(&lab, &image.0).await).await;

    let deleted = lab.delete(&encoded(&image.0)).send().await.data();

    assert_eq!(deleted, json!({ "status": "deleted" }));
    assert!(!has(&lab, &image.0).await);
    lab.delete(&encoded(&image.0)).send().await.assert_enveloped(404, "NOT_FOUND");
    lab.delete(&encoded("claw-sandbox:latest")).send().await.assert_enveloped(403, "PROTECTED");
    for odd in ["%2e%2e", "-f", "a%3Fforce=1", "%00"] {
        lab.delete(&format!("/api/images/{odd}")).send().await.assert_enveloped(404, "NOT_FOUND");
    }
}

#[tokio::test]
async fn t10_nobody_pulls_another_image_over_the_one_that_jobs_run_in() {
    let lab = lab().await;
    for image in [
        "claw-sandbox:latest",
        "claw-sandbox",
        "docker.io/library/claw-sandbox",
        "library/claw-sandbox:latest",
    ] {
        let answer = lab.post("/api/images/pull", json!({ "image": image })).send().await;
        answer.assert_enveloped(403, "PROTECTED");
    }
}

#[tokio::test]
async fn an_image_that_a_container_uses_is_in_the_way() {
    let lab = lab().await;
    let registry = Registry::open().await;
    lab.post("/api/images/pull", json!({ "image": registry.image })).send().await.data();
    let name = Named::new("user");
    outside(&["create", "--name", &name.0, &registry.image, "/nothing"]);

    let answer = lab.delete(&encoded(&registry.image)).send().await;

    answer.assert_enveloped(409, "CONFLICT");
    assert!(answer.text().contains("container"), "Docker's reason: {}", answer.text());
}

#[tokio::test]
async fn m13_sizes_are_numbers_of_bytes_and_no_name_differs_in_letter_case_only() {
    let lab = lab().await;

    let images = lab.get("/api/images").send().await.data();

    let image = images.as_array().expect("a list").iter().find(|image| image["repository"] == "debian");
    let image = image.expect("the image of these tests").as_object().expect("an object");
    assert!(image["size"].is_u64() && image["created"].is_string() && image["id"].is_string());
    assert!(image["size_human"].as_str().is_some_and(|size| size.ends_with("MB")), "{image:?}");
    let lower: std::collections::BTreeSet<_> = image.keys().map(|name| name.to_lowercase()).collect();
    assert_eq!(lower.len(), image.len());
    assert!(image.keys().all(|name| name.chars().all(|c| c.is_ascii_lowercase() || c == '_')));
    assert_eq!(image.get("Size"), None::<&Value>);
}
