//! The marketplace as clients of the original and of its skill use it.

use claw_core::Scope;
use serde_json::{Value, json};

use super::engine::{lab, unique};
use crate::lab::Lab;

#[tokio::test]
async fn m16_m17_apps_are_a_list_with_port_and_default_port_and_the_manifest_is_there_too() {
    let lab = Lab::new().await;
    let key = lab.key(&[Scope::MarketplaceRead]).await;

    let apps = lab.get("/api/marketplace").key(&key).send().await.data();

    let jellyfin =
        apps.as_array().expect("a list").iter().find(|app| app["id"] == "jellyfin").expect("Jellyfin");
    assert_eq!((&jellyfin["port"], &jellyfin["defaultPort"]), (&json!(8096), &json!(8096)));
    for member in ["name", "description", "category", "logo"] {
        assert!(jellyfin[member].as_str().is_some_and(|text| !text.is_empty()), "{member}");
    }
    let manifest = lab.get("/api/marketplace?format=manifest").key(&key).send().await.data();
    assert_eq!(manifest["apps"], apps);
    assert!(manifest["version"].is_string() && manifest["updated"].is_string());
    lab.get("/api/marketplace?format=x").key(&key).send().await.assert_enveloped(400, "INVALID_REQUEST");
}

#[tokio::test]
async fn m18_an_app_has_flat_and_nested_members_side_by_side() {
    let lab = Lab::new().await;

    let app = lab.get("/api/marketplace/jellyfin").send().await.data();

    assert_eq!(
        (&app["id"], &app["port"], &app["meta"]["defaultPort"]),
        (&json!("jellyfin"), &json!(8096), &json!(8096))
    );
    assert_eq!(app["template"]["ports"], json!([7359, 8096]));
    assert!(app["template"]["image"].as_str().is_some_and(|image| image.starts_with("jellyfin/jellyfin:")));
    assert!(app["raw_markdown"].as_str().is_some_and(|text| text.contains("services:")));
    lab.get("/api/marketplace/nothing").send().await.assert_enveloped(404, "APP_NOT_FOUND");

    let logo = lab.get("/api/marketplace/jellyfin/logo").send().await;
    assert_eq!(logo.header("content-type"), "image/svg+xml");
    assert!(logo.header("content-security-policy").contains("sandbox"));
    assert!(logo.text().starts_with("<svg"));
}

#[tokio::test]
async fn b2_m19_m20_the_example_of_every_document_is_installed_as_the_original_client_asks() {
    let lab = lab().await;
    let key = lab.key(&[Scope::MarketplaceRead, Scope::MarketplaceWrite]).await;
    let name = unique("jellyfin").replace("claw-test", "test");
    let body = json!({
        "app_id": "jellyfin",
        "container_name": name,
        "environment": { "JELLYFIN_PublishedServerUrl": "http://media.example" },
        "ports": { "28096": 8096, "27359": 7359 },
    });

    let created = lab.post("/api/marketplace/create", body).key(&key).send().await.data();

    assert_eq!(
        (&created["app_id"], &created["app_name"], &created["status"]),
        (&json!("jellyfin"), &json!("Jellyfin"), &json!("created"))
    );
    assert_eq!(created["container_name"], json!(name));
    assert!(
        created["compose"]
            .as_str()
            .is_some_and(|text| text.contains("28096:8096/tcp") && text.contains("27359:7359/udp"))
    );
    let folder = created["install_dir"].as_str().expect("a folder");
    assert!(created["compose_path"].as_str().is_some_and(|path| path.starts_with(folder)));

    let installed = lab.get("/api/marketplace/installed").key(&key).send().await.data();
    let [install] = installed.as_array().expect("a list").as_slice() else { panic!("{installed}") };
    for (member, expected) in [
        ("app_id", json!("jellyfin")),
        ("app_name", json!("Jellyfin")),
        ("container_name", json!(name)),
        ("status", json!("created")),
        ("install_dir", created["install_dir"].clone()),
        ("path", created["install_dir"].clone()),
        ("compose_path", created["compose_path"].clone()),
    ] {
        assert_eq!(install[member], expected, "{member}");
    }
    assert!(install["versions"].is_array() && install["created_at"].is_string());
    assert_eq!(lab.get(&format!("/api/marketplace/{name}/status")).key(&key).send().await.data(), *install);

    // The original took any path here.
    let start =
        json!({ "container_name": name, "app_id": "jellyfin", "compose_path": "/etc/docker-compose.yml" });
    lab.post("/api/marketplace/start", start).key(&key).send().await.assert_enveloped(403, "PATH_FORBIDDEN");

    let gone = lab.post("/api/marketplace/uninstall", json!({ "container_name": name, "delete_data": true }));
    assert_eq!(gone.key(&key).send().await.data()["status"], "uninstalled");
    assert_eq!(lab.get("/api/marketplace/installed").key(&key).send().await.data(), json!([]));
}

#[tokio::test]
async fn b9_refusals_have_the_codes_of_the_contract() {
    let lab = lab().await;
    let create = |body: Value| lab.post("/api/marketplace/create", body);
    for (body, status, code) in [
        (json!({}), 400, "APP_ID_REQUIRED"),
        (json!({ "app_id": "../jellyfin" }), 400, "INVALID_APP_ID"),
        (json!({ "app_id": "nothing" }), 404, "APP_NOT_FOUND"),
        (json!({ "app_id": "jellyfin", "custom_name": "a/b" }), 400, "INVALID_CUSTOM_NAME"),
        (json!({ "app_id": "jellyfin", "container_name": "-v" }), 400, "INVALID_CONTAINER_NAME"),
        (json!({ "app_id": "jellyfin", "container_name": "wagmios-backend" }), 403, "PROTECTED"),
        (json!({ "app_id": "jellyfin", "volumes": { "/": "/host" } }), 400, "VOLUME_OVERRIDES_UNSUPPORTED"),
        (json!({ "app_id": "jellyfin", "ports": { "x": 8096 } }), 400, "INVALID_PORT"),
        (json!({ "app_id": "jellyfin", "ports": { "8099": 1 } }), 400, "INVALID_PORT"),
        (json!({ "app_id": "jellyfin", "environment": { "A-B": "1" } }), 400, "INVALID_ENV"),
        (json!({ "app_id": "minecraft" }), 400, "VARIABLES_REQUIRED"),
    ] {
        create(body).send().await.assert_enveloped(status, code);
    }
    for verb in ["start", "stop", "restart", "update", "uninstall"] {
        let path = format!("/api/marketplace/{verb}");
        lab.post(&path, json!({})).send().await.assert_enveloped(400, "CONTAINER_NAME_REQUIRED");
        let odd = json!({ "container_name": "a b" });
        lab.post(&path, odd).send().await.assert_enveloped(400, "INVALID_CONTAINER_NAME");
        let unknown = json!({ "container_name": "nothing" });
        lab.post(&path, unknown).send().await.assert_enveloped(404, "COMPOSE_NOT_FOUND");
    }
    assert_eq!(lab.get("/api/marketplace/installed").send().await.data(), json!([]));
}
