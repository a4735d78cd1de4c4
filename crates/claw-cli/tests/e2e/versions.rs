//! Data of an earlier version, and of a later one.
//!
//! For each release there is an archive of a small data folder that its own binary made. It is made, and never made
//! anew once it is released, by
//!
//! ```text
//! MAKE_DATA_ARCHIVE=1 cargo test -p claw-cli --test e2e t35_data_of_every
//! ```

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use claw_testkit::{FakeApi, TEST_TOKEN, TempDir, TestServer};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;

use crate::setting::{CLAW, REAL_KEY, Setting, prompt};

/// Set to make the archive of this version.
const MAKE: &str = "MAKE_DATA_ARCHIVE";

const PASSWORD: &str = "correct horse battery staple";

fn archives() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data")
}

#[expect(clippy::disallowed_methods, reason = "the system's own program packs and unpacks")]
fn tar(arguments: &[&str]) {
    let output = Command::new("tar").args(arguments).output().expect("these tests need tar");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// A server over a data folder, on a machine without Docker.
async fn serve(folder: &TempDir, model: &FakeApi) -> TestServer {
    let nowhere = format!("unix://{}", folder.join("no-docker.sock").display());
    let variables = [
        ("DOCKER_HOST", nowhere.as_str()),
        ("ANTHROPIC_BASE_URL", model.base_url()),
        ("ANTHROPIC_API_KEY", REAL_KEY),
    ];
    TestServer::start(Path::new(CLAW), &folder.join("data"), &variables).await
}

async fn ask(server: &TestServer, method: reqwest::Method, path: &str, body: Value) -> Value {
    // An error says that a provider is installed already, which serves as well.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let request = reqwest::Client::new().request(method, format!("{}{path}", server.url()));
    let answer = request.header("X-API-Key", TEST_TOKEN).json(&body).send().await.expect("an answer");
    let (status, text) = (answer.status(), answer.text().await.expect("text"));
    assert!(status.is_success(), "{path}: {text}");
    serde_json::from_str(&text).expect("JSON")
}

/// Makes the archive of this version: a bit of everything that is kept.
async fn make() {
    let mut setting = Setting::docker().await;
    let key = setting.server.claw_json(&["key", "create", "--label", "kept", "--scope", "jobs:read"]).await;
    let mut user = setting.server.client();
    user.args(["user", "create", "ann", "--role", "user"]).stdin(Stdio::piped());
    let mut user = user.spawn().expect("it starts");
    let mut stdin = user.stdin.take().expect("a pipe");
    stdin.write_all(PASSWORD.as_bytes()).await.expect("written");
    drop(stdin);
    assert!(user.wait().await.expect("it ended").success());
    setting.workspace("kept").await;
    let script = json!([
        {"tool": "Write", "input": {"file_path": "/workspace/hello.md", "content": "hello of before\n"}},
        {"text": "done before"},
    ]);
    let done = setting.submit(script, &["--workspace", "kept"]).await;
    assert_eq!(setting.ended(&done).await["status"], "completed");
    let template = json!({ "name": "kept", "image": "debian:bookworm-slim" });
    ask(&setting.server, reqwest::Method::POST, "/api/containers/templates", template).await;
    let app = json!({ "app_id": "grafana", "custom_name": "kept-app" });
    ask(&setting.server, reqwest::Method::POST, "/api/marketplace/create", app).await;
    setting.server.stop().await;

    // One that waits, since there is no Docker any more.
    let mut server = serve(&setting.folder, &setting.model).await;
    let waits = server.claw_json(&["submit", &prompt(&json!([{"text": "later"}]))]).await;
    server.stop().await;
    let expected = json!({ "key": key["key"], "done": done, "waits": waits["id"] });
    setting.folder.write("expected.json", expected.to_string());
    fs::create_dir_all(archives()).expect("made");
    let archive = archives().join(format!("data-{}.tar.gz", env!("CARGO_PKG_VERSION")));
    let (from, to) = (setting.folder.path().display().to_string(), archive.display().to_string());
    let leave_out = ["--exclude=*.log", "--exclude=data/run", "--exclude=hooks", "--exclude=*.lock"];
    tar(&[
        &["--create", "--gzip", "--file", &to, "--directory", &from],
        &leave_out[..],
        &["data", "expected.json"],
    ]
    .concat());
}

fn unpacked(archive: &Path) -> (TempDir, Value) {
    let folder = TempDir::new();
    let to = folder.path().display().to_string();
    tar(&[
        "--extract",
        "--gzip",
        "--no-same-owner",
        "--file",
        &archive.display().to_string(),
        "--directory",
        &to,
    ]);
    let expected = serde_json::from_str(&folder.read("expected.json")).expect("JSON");
    (folder, expected)
}

fn every_archive() -> Vec<PathBuf> {
    let entries = fs::read_dir(archives()).expect("archives").map(|entry| entry.expect("an entry").path());
    let mut archives: Vec<_> = entries.collect();
    archives.sort();
    assert!(!archives.is_empty(), "there is one of each release");
    archives
}

#[tokio::test]
#[expect(clippy::disallowed_methods, reason = "whoever makes a release says so with a variable")]
async fn t35_data_of_every_earlier_version_is_opened_with_everything_in_it() {
    if std::env::var_os(MAKE).is_some() {
        make().await;
    }
    for archive in every_archive() {
        let (folder, expected) = unpacked(&archive);
        let model = FakeApi::start().await;
        let mut server = serve(&folder, &model).await;
        let text = |name: &str| expected[name].as_str().expect("text").to_owned();

        // Keys and people.
        let mut with_key = server.client();
        with_key.env("CLAW_API_KEY", text("key")).env_remove("CLAW_API_TOKEN").args(["key", "show"]);
        let shown = with_key.output().await.expect("it runs");
        assert!(shown.status.success(), "{archive:?}: {}", String::from_utf8_lossy(&shown.stderr));
        let people = server.claw_ok(&["user", "list"]).await;
        assert!(people.contains("ann"), "{people}");
        let sign_in = json!({ "username": "ann", "password": PASSWORD });
        ask(&server, reqwest::Method::POST, "/api/v1/auth/login", sign_in).await;
        // Jobs with what they brought and cost, and one that waits.
        assert_eq!(server.claw_json(&["status", &text("done")]).await["status"], "completed");
        assert!(server.claw_ok(&["result", &text("done")]).await.contains("done before"));
        assert!(!server.claw_ok(&["logs", &text("done")]).await.is_empty());
        assert_eq!(server.claw_json(&["status", &text("waits")]).await["status"], "pending");
        assert!(server.claw_ok(&["costs"]).await.contains('$'));
        // Workspaces with their files and history.
        assert_eq!(server.claw_ok(&["workspace", "cat", "kept", "hello.md"]).await.trim(), "hello of before");
        let history = server.claw_ok(&["workspace", "history", "kept"]).await;
        assert!(!history.trim().is_empty());
        // The homelab: templates, apps with their files, what was done.
        let get = reqwest::Method::GET;
        let template = ask(&server, get.clone(), "/api/containers/templates/kept", Value::Null).await;
        assert_eq!(template["data"]["image"], "debian:bookworm-slim");
        let apps = ask(&server, get.clone(), "/api/marketplace/installed", Value::Null).await;
        assert_eq!(
            (&apps["data"][0]["install_id"], &apps["data"][0]["app_id"]),
            (&json!("kept-app"), &json!("grafana"))
        );
        let files = folder.join("data/containers/grafana/kept-app");
        assert!(files.join("compose.yaml").exists() && files.join(".env").exists());
        let feed = ask(&server, get, "/api/activity", Value::Null).await;
        assert!(feed.to_string().contains("app.create"), "{feed:#}");
        // And the record is whole.
        server.claw_ok(&["audit", "verify"]).await;
        // It goes on from there.
        let more = server.claw_json(&["submit", "more"]).await;
        assert!(more["id"].is_string());
        server.stop().await;
    }
}

/// Every file below a folder, with its content.
fn content(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut content = BTreeMap::new();
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            content.extend(self::content(&path));
        } else {
            content.insert(path.clone(), fs::read(&path).expect("a file"));
        }
    }
    content
}

#[tokio::test]
async fn t35_data_of_a_newer_version_is_refused_and_not_touched() {
    for archive in every_archive() {
        let (folder, _) = unpacked(&archive);
        // Where SQLite keeps the number that a program gives its schema.
        let store = folder.join("data/claw.db");
        let mut bytes = fs::read(&store).expect("the store");
        bytes[60..64].copy_from_slice(&9_999_u32.to_be_bytes());
        fs::write(&store, bytes).expect("written");
        let before = content(&folder.join("data"));
        #[expect(clippy::disallowed_methods, reason = "the program under test, which is to end by itself")]
        let mut command = tokio::process::Command::new(CLAW);
        command.env_clear().env("HOME", folder.path()).env("CLAW_DATA_DIR", folder.join("data"));
        command.args(["serve", "--listen", "127.0.0.1:0"]);

        let output = command.output().await.expect("it runs");

        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success(), "{said}");
        assert!(said.contains("start the newer version again or restore a backup"), "{said}");
        let after = content(&folder.join("data"));
        let changed = after.iter().filter(|(path, bytes)| before.get(*path) != Some(*bytes));
        // The lock, which keeps a second server out, is made before anybody looks.
        let changed: Vec<_> =
            changed.map(|(path, _)| path).filter(|path| !path.ends_with("claw.db.lock")).collect();
        assert!(changed.is_empty() && before.keys().all(|path| after.contains_key(path)), "{changed:?}");
    }
}
