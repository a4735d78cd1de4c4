//! What changes between the verdict and the start: the image behind a name, a folder that becomes a link, and another
//! container that is judged at the same moment.

use std::path::Path;

use claw_docker::policy::corpus::world::APPS;
use serde_json::{Value, json};

use super::{
    doors::{Catalogs, Door},
    lab,
    paper::Host,
};
use crate::lab::Lab;

async fn lab_over(host: &Host) -> Lab {
    let catalogs = Catalogs::new(&[] as &[(Door, _)]).await;
    lab(host, host.own(), "", &catalogs).await
}

/// What the Engine was told, without ids.
fn told(host: &Host) -> Vec<&'static str> {
    let short = |line: String| {
        ["POST /containers/create", "DELETE", "POST"]
            .into_iter()
            .find(|start| line.contains(start))
            .unwrap_or("?")
    };
    host.told().into_iter().map(short).collect()
}

const CREATE: &str = "POST /containers/create";
const REMOVE: &str = "DELETE";
const START: &str = "POST";

fn labels(pairs: Value) -> Value {
    json!({ "Labels": pairs })
}

#[tokio::test]
async fn t10_t21_a_container_is_started_only_if_it_was_made_from_the_image_that_was_judged() {
    let host = Host::new();
    let lab = lab_over(&host).await;
    let create = async |name: &str| {
        lab.post("/api/containers", json!({ "image": "nginx:1.29", "name": name })).send().await
    };

    // The name leads to another image once: what was made of it goes, and is made anew of what it leads to now.
    host.moving_images(vec![labels(json!({})), labels(json!({ "a": "b" }))]);
    let made = create("once").await.data();
    assert_eq!(told(&host), [CREATE, REMOVE, CREATE, START]);
    assert_eq!((&made["name"], &made["image"]), (&json!("once"), &json!("nginx:1.29")));

    // The other image is one that nobody may run.
    host.moving_images(vec![labels(json!({})), labels(json!({ "claw.instance": "x" }))]);
    let refused = create("evil").await;
    assert!(refused.text().contains("(image.labels)"), "{}", refused.text());
    refused.assert_enveloped(403, "POLICY_REFUSED");
    assert_eq!(told(&host), [CREATE, REMOVE]);

    // It never comes to rest.
    host.moving_images((0..10).map(|number| labels(json!({ "number": number.to_string() }))).collect());
    create("restless").await.assert_enveloped(409, "CONFLICT");
    assert_eq!(told(&host), [CREATE, REMOVE, CREATE, REMOVE, CREATE, REMOVE]);
}

#[tokio::test]
async fn t10_t7_what_an_image_says_to_others_is_taken_back() {
    let host = Host::new();
    let lab = lab_over(&host).await;
    let image = json!({
        "Labels": { "com.docker.compose.project": "claw-app-jellyfin", "traefik.enable": "true", "title": "x" },
        "Healthcheck": { "Test": ["CMD", "true"], "Interval": 1_000_000 },
        "Env": ["LD_PRELOAD=/x.so"], "User": "root", "Volumes": { "/data": {} }, "ExposedPorts": { "22/tcp": {} },
    });
    host.moving_images(vec![image]);

    let body = json!({ "image": "nginx:1.29", "name": "web", "labels": { "mine": "1" } });
    lab.post("/api/containers", body).send().await.data();

    let [made] = &host.made()[..] else { panic!("one container") };
    assert_eq!(
        made["Labels"],
        json!({ "com.docker.compose.project": "", "traefik.enable": "", "mine": "1" })
    );
    assert_eq!(made["Healthcheck"]["Interval"], json!(1_000_000_000));
    assert_eq!(made["HostConfig"]["PublishAllPorts"], json!(false));
    assert_eq!(made["Env"], Value::Null);

    host.told();
    host.moving_images(vec![json!({ "WorkingDir": "/proc/self/fd/8" })]);
    let refused = lab.post("/api/containers", json!({ "image": "nginx:1.29", "name": "leaky" })).send().await;
    assert!(refused.text().contains("(image.working-dir)"), "{}", refused.text());
    let chosen = json!({ "image": "nginx:1.29", "name": "leaky", "working_dir": "/app" });
    lab.post("/api/containers", chosen).send().await.data();
    assert_eq!(told(&host), [CREATE, START]);
}

#[tokio::test]
async fn t1_t21_a_link_that_is_put_in_the_place_of_a_folder_is_not_mounted() {
    let host = Host::new();
    let lab = lab_over(&host).await;
    let folder = host.moved(&format!("{APPS}/fresh/data"));
    let planted = folder.clone();
    host.meanwhile(move || {
        let place = Path::new(&planted);
        std::fs::remove_dir(place).expect("it was made");
        std::os::unix::fs::symlink("/etc", place).expect("linked");
    });

    let body =
        json!({ "image": "nginx:1.29", "name": "web", "volumes": [{ "host": folder, "container": "/x" }] });
    let refused = lab.post("/api/containers", body).send().await;

    assert!(refused.text().contains("(mounts.outside-roots)"), "{}", refused.text());
    refused.assert_enveloped(403, "BLOCKED_VOLUME");
    assert_eq!(told(&host), [CREATE, REMOVE]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t1_t21_of_two_mounts_one_in_the_other_that_are_asked_for_at_once_only_one_is_made() {
    let host = Host::new();
    let lab = lab_over(&host).await;
    let create = async |name: String, folder: String| {
        let folder = host.moved(&format!("{APPS}/{folder}"));
        let volumes = json!([{ "host": folder, "container": "/x" }]);
        let body = json!({ "image": "nginx:1.29", "name": name, "volumes": volumes });
        lab.post("/api/containers", body).send().await
    };
    for number in 0..8 {
        let outer = create(format!("outer-{number}"), format!("race-{number}"));
        let inner = create(format!("inner-{number}"), format!("race-{number}/inner"));

        let (outer, inner) = tokio::join!(outer, inner);

        let refused =
            [&outer, &inner].into_iter().filter(|answer| answer.text().contains("(mounts.nested)")).count();
        assert_eq!(refused, 1, "{} {}", outer.text(), inner.text());
    }
}

#[tokio::test]
async fn t12_a3_an_app_is_not_installed_where_a_container_would_see_its_passwords() {
    let host = Host::new();
    let lab = lab_over(&host).await;
    let place = host.moved(&format!("{APPS}/plain"));
    let body =
        json!({ "image": "nginx:1.29", "name": "spy", "volumes": [{ "host": place, "container": "/x" }] });
    lab.post("/api/containers", body).send().await.data();
    let install = async || lab.post("/api/marketplace/create", json!({ "app_id": "plain" })).send().await;

    let refused = install().await;

    assert!(refused.text().contains("`spy`"), "{}", refused.text());
    refused.assert_enveloped(403, "BLOCKED_VOLUME");
    assert!(std::fs::read_dir(&place).expect("the spy's folder").next().is_none());
    // What it left when it went is not followed either.
    let elsewhere = host.moved("/home/me/documents");
    std::os::unix::fs::symlink(&elsewhere, Path::new(&place).join("plain")).expect("linked");
    let spy = lab.get("/api/containers/spy/config").send().await.data();
    lab.delete(&format!("/api/containers/{}/delete", spy["id"].as_str().expect("an id"))).send().await.data();
    assert!(!install().await.status.is_success());
    assert!(std::fs::read_dir(&elsewhere).expect("a folder").next().is_none());
    // Nor is a file of another name for the one that is written.
    let folder = Path::new(&place).join("plain");
    std::fs::remove_file(&folder).expect("removed");
    std::fs::create_dir(&folder).expect("made");
    let known = Path::new(&place).join("known");
    std::fs::write(&known, "").expect("written");
    std::fs::hard_link(&known, folder.join("..env.new")).expect("linked");
    std::fs::hard_link(&known, folder.join(".compose.yaml.new")).expect("linked");
    install().await.data();
    assert_eq!(std::fs::read_to_string(&known).expect("readable"), "");
}

#[tokio::test]
async fn t12_an_app_takes_no_passwords_that_a_container_left_in_its_place() {
    let host = Host::new();
    let lab = lab_over(&host).await;
    let folder = host.moved(&format!("{APPS}/plain/plain"));
    std::fs::create_dir_all(&folder).expect("made");
    std::fs::write(Path::new(&folder).join(".env"), "PASSWORD=known\n").expect("written");
    let install = async || lab.post("/api/marketplace/create", json!({ "app_id": "plain" })).send().await;

    install().await.assert_enveloped(409, "CONFLICT");

    std::fs::remove_file(Path::new(&folder).join(".env")).expect("removed");
    install().await.data();
    // What an uninstall leaves is taken, as long as it is what was left.
    let uninstall =
        async || lab.post("/api/marketplace/uninstall", json!({ "app_id": "plain" })).send().await.data();
    uninstall().await;
    install().await.data();
    uninstall().await;
    std::fs::write(Path::new(&folder).join(".env"), "PASSWORD=known\n").expect("written");
    install().await.assert_enveloped(409, "CONFLICT");
}
