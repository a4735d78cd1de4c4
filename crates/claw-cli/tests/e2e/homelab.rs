//! What whoever runs a homelab does on its machine: take over another server, ask the policy, look at the record.

use std::{fs, path::Path};

use claw_client::{Client, Credential};
use claw_testkit::{FakeApi, TempDir, TestServer};
use serde_json::{Value, json};

use crate::without_docker::server_without_docker;

/// A key of another server. What that server kept of it is the SHA-256 of the whole.
const KEY: &str = "wag_live_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
const HASH: &str = "a12df6ce0698b6b55e8ac7fdf1a8cd22aff718e18fe2d438cba3c2a4e7c099e9";

fn write(root: &Path, path: &str, content: &str) {
    let path = root.join(path);
    fs::create_dir_all(path.parent().expect("a folder")).expect("made");
    fs::write(path, content).expect("written");
}

fn old_server(root: &Path) {
    let key = json!({
        "id": "6f9c0f0e-5ad2-4f3e-9d5b-2f6f1c1c9a11", "key_prefix": &KEY[45..], "key_hash": HASH,
        "scopes": ["containers:read", "templates:read", "marketplace:read", "secrets:write"], "role": "agent",
        "label": "openclaw-agent", "created_at": "2026-03-20T12:00:00.12Z", "last_used_at": "2026-03-21T12:00:00Z",
    });
    write(root, "keys/6f9c0f0e-5ad2-4f3e-9d5b-2f6f1c1c9a11.json", &key.to_string());
    write(root, "templates/web.json", r#"{"name":"web","image":"nginx:1.27"}"#);
    let compose = "services:\n  media:\n    image: jellyfin/jellyfin:latest\n    ports:\n      - \"8096:8096\"\n    \
                   environment:\n      - TZ=Etc/UTC\n    volumes:\n      - ./media/config:/config\n    \
                   restart: unless-stopped\n";
    write(root, "containers/jellyfin/media/docker-compose.yml", compose);
}

async fn ask(server: &TestServer, path: &str) -> Value {
    // An error says that a provider is installed already, which serves as well.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let url = format!("{}{path}", server.url());
    let answer = reqwest::Client::new().get(url).header("X-API-Key", KEY).send().await.expect("an answer");
    assert_eq!(answer.status(), 200, "{path}");
    serde_json::from_str(&answer.text().await.expect("text")).expect("JSON")
}

#[tokio::test]
async fn keys_templates_and_apps_of_another_server_are_taken_over_once_and_its_keys_work_unchanged() {
    let (folder, model) = (TempDir::new(), FakeApi::start().await);
    let old = folder.path().join("old");
    old_server(&old);
    let old = old.to_str().expect("text");
    let mut server = server_without_docker(&folder, &model, &[]).await;

    let busy = server.claw(&["import", "wagmios", old]).await;
    assert_ne!(busy.status.code(), Some(0), "not under a server that runs");
    server.stop().await;
    let foreseen = server.claw_json(&["import", "wagmios", old, "--dry-run"]).await;
    let first = server.claw_json(&["import", "wagmios", old]).await;
    let second = server.claw_json(&["import", "wagmios", old]).await;

    let outcomes = |answer: &Value| -> Vec<(String, String)> {
        let text = |value: &Value| value.as_str().expect("text").to_owned();
        let items = answer["items"].as_array().expect("items").iter();
        items.map(|item| (text(&item["name"]), text(&item["outcome"]))).collect()
    };
    let all = |outcome: &str| -> Vec<(String, String)> {
        ["openclaw-agent", "web", "jellyfin/media"].map(|name| (name.to_owned(), outcome.to_owned())).into()
    };
    assert_eq!(outcomes(&foreseen), all("found"));
    assert_eq!(outcomes(&first), all("taken over"));
    assert_eq!(outcomes(&second), all("here already"));
    assert!(first["notes"].to_string().contains("secrets:write"), "{first:#}");

    server.start_again().await;
    let status = ask(&server, "/api/auth/status").await;
    assert_eq!(status["data"]["meta"]["id"], "6f9c0f0e-5ad2-4f3e-9d5b-2f6f1c1c9a11");
    assert_eq!(status["data"]["meta"]["created_at"], "2026-03-20T12:00:00Z");
    let template = ask(&server, "/api/containers/templates/web").await;
    assert_eq!(template["data"]["image"], "nginx:1.27");
    let installed = ask(&server, "/api/marketplace/installed").await;
    assert_eq!(installed["data"][0]["app_id"], "jellyfin");
    assert_eq!(installed["data"][0]["install_id"], "media");
    let compose = server.data_dir().join("containers/jellyfin/media/compose.yaml");
    assert!(fs::read_to_string(compose).expect("a file").contains("./media/config"));
    let trail = server.claw_json(&["audit", "list", "--actor", "system"]).await.to_string();
    for verb in ["key.import", "template.save", "app.adopt"] {
        assert!(trail.contains(verb), "{verb}: {trail}");
    }
    assert!(!trail.contains(HASH));
    // A11: it gets another secret like any other.
    let rotated = server.claw_json(&["key", "rotate", "openclaw-agent", "--grace", "0s"]).await;
    let client = Client::new(server.url().parse().expect("an address"), None).expect("a client");
    let with = |key: &str| client.with_credential(Some(Credential::new(key))).expect("a client");
    assert!(with(KEY).own_key().await.is_err());
    with(rotated["key"].as_str().expect("a key")).own_key().await.expect("the new one is good");
}

#[tokio::test]
async fn a13_an_import_that_would_lock_everybody_out_does_not_happen() {
    let folder = TempDir::new();
    old_server(&folder.path().join("old"));
    #[expect(clippy::disallowed_methods, reason = "the program under test, on a machine without a server")]
    let mut command = tokio::process::Command::new(crate::setting::CLAW);
    command
        .env_clear()
        .env("HOME", folder.path())
        .arg("import")
        .arg("wagmios")
        .arg(folder.path().join("old"));

    let output = command.output().await.expect("it runs");

    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(said.contains("none of the keys may manage keys") && said.contains("claw setup"), "{said}");
}

#[tokio::test]
async fn t1_t2_the_policy_says_which_rule_refuses_a_request_and_a_broken_one_stops_the_start() {
    let (folder, model) = (TempDir::new(), FakeApi::start().await);
    let mut server = server_without_docker(&folder, &model, &[]).await;
    let request = folder.path().join("request.json");
    let body = json!({
        "image": "nginx:1.27", "privileged": true, "volumes": [{ "host": "/etc", "container": "/x" }],
    });
    fs::write(&request, body.to_string()).expect("written");
    let request = request.to_str().expect("text");

    let refused = server.claw(&["--json", "policy", "explain", request]).await;

    assert_eq!(refused.status.code(), Some(1));
    let verdict: Value = serde_json::from_slice(&refused.stdout).expect("JSON");
    let refusals = verdict["verdicts"][0]["refusals"].as_array().expect("refusals");
    let rules: Vec<_> = refusals.iter().filter_map(|refusal| refusal["rule"].as_str()).collect();
    assert!(rules.contains(&"powers.privileged"), "{verdict:#}");
    assert!(rules.iter().any(|rule| rule.starts_with("mounts.")), "{verdict:#}");
    let plain = folder.path().join("plain.json");
    fs::write(&plain, r#"{"image":"nginx:1.27"}"#).expect("written");
    let plain = plain.to_str().expect("text");
    assert!(server.claw_ok(&["policy", "explain", plain]).await.contains("permitted"));
    let compose = folder.path().join("app.yaml");
    fs::write(&compose, "services:\n  web:\n    image: nginx:1.27\n    pid: host\n").expect("written");
    let refused = server.claw(&["policy", "explain", compose.to_str().expect("text")]).await;
    assert!(String::from_utf8_lossy(&refused.stdout).contains("web: refused"));

    // The sample is a policy that changes nothing; one that cannot be read stops the start.
    let sample = server.claw_ok(&["policy", "sample"]).await;
    let file = server.data_dir().join("policy.toml");
    fs::write(&file, &sample).expect("written");
    assert_eq!(server.claw_ok(&["policy", "show"]).await, sample);
    server.stop().await;
    server.start_again().await;
    fs::write(&file, "[mounts]\nrootz = []\n").expect("written");
    let broken = server.claw(&["policy", "show"]).await;
    let said = String::from_utf8_lossy(&broken.stderr).into_owned();
    assert_eq!(broken.status.code(), Some(64), "{said}");
    assert!(said.contains("policy.toml") && said.contains("rootz"), "{said}");
    server.stop().await;
    let start = server.claw(&["serve", "--listen", "127.0.0.1:0"]).await;
    assert_eq!(start.status.code(), Some(64), "it does not start with less of a policy than was meant");
}

#[tokio::test]
async fn t31_an_export_for_spreadsheets_holds_no_formulas_and_tells_reads_when_asked_to() {
    let (folder, model) = (TempDir::new(), FakeApi::start().await);
    let server = server_without_docker(&folder, &model, &[("CLAW_AUDIT_READS", "true")]).await;
    let label = "=HYPERLINK(\"http://evil\",\"x\")";
    let key = server.claw_ok(&["key", "create", "--scope", "jobs:read", "--label", label]).await;
    server.claw_ok(&["--api-key", key.trim(), "list"]).await;
    let file = folder.path().join("audit.csv");
    let path = file.to_str().expect("text");

    server.claw_ok(&["audit", "export", "--format", "csv", "--file", path]).await;

    let text = fs::read_to_string(&file).expect("a file");
    let lines: Vec<_> = text.lines().collect();
    assert!(lines[0].starts_with("\"number\",\"time\",\"actor\""), "{text}");
    let created = lines.iter().find(|line| line.contains("key.create")).expect("a line");
    assert!(created.contains("\"done\""), "{created}");
    let read = lines.iter().find(|line| line.contains("\"job.read\"")).expect("a line");
    assert!(read.contains(",\"'=HYPERLINK(\"\"http://evil\"\",\"\"x\"\")\","), "{read}");
    for cell in text.split("\",\"") {
        assert!(!cell.starts_with(['=', '+', '-', '@']), "{cell}");
    }
    let chosen = server.claw_ok(&["audit", "export", "--format", "csv", "--verb", "key."]).await;
    assert!(chosen.contains("key.create") && !chosen.contains("job.read"), "{chosen}");
    let records = server.claw(&["audit", "export", "--verb", "key."]).await;
    assert_eq!(records.status.code(), Some(64), "a chain with holes proves nothing");
}
