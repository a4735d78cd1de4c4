//! Full disks, crashes, an Engine that is away, and other people's catalogs.

use std::{
    collections::BTreeMap,
    os::unix::fs::PermissionsExt as _,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use claw_core::{Coded as _, ErrorCode, SystemClock};
use claw_homelab::{
    compose::Reader,
    marketplace::{
        AppSource, Catalog, ComposeVerb, Composer, ComposerConfig, ComposerError, InstallState, NewInstall,
        Remote, Which,
    },
};
use claw_store::{NewDocument, Precondition};
use claw_testkit::{DockerScope, SmallDisk, TempDir, wait_until};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};
use tokio_util::sync::CancellationToken;

use crate::market_lab::{Lab, PATIENCE, ann};

fn page(name: &str) -> NewInstall {
    NewInstall {
        app_id: "page".into(),
        custom_name: Some(name.to_owned()),
        environment: BTreeMap::from([("GREETING".to_owned(), "hello".to_owned())]),
        ..NewInstall::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_leaves_no_half_of_an_install_and_the_same_works_with_room() {
    let disk = SmallDisk::mount(1 << 20);
    let mut lab = Lab::with(TempDir::shared(), DockerScope::new(), Some(disk.path())).await;
    let name = lab.install("full");
    let filler = disk.fill(0);

    let error = lab.marketplace.create(&ann(), page(&name)).await.expect_err("no room");

    assert_eq!(error.code(), ErrorCode::StorageFull, "{error}");
    assert!(lab.marketplace.installed(&ann()).await.expect("a list").is_empty());
    drop(filler);
    let created = lab.marketplace.create(&ann(), page(&name)).await.expect("an install");
    assert_eq!(created.generated.len(), 1);
    let seen = lab.marketplace.status(&ann(), &Which::named(&name)).await.expect("it");
    assert_eq!(seen.state, InstallState::Created);
}

/// Writes what a crash would have left in the store.
async fn set_phase(lab: &Lab, install: &str, phase: &str) {
    let documents = &lab.store.documents;
    let mut found = documents.get("app-install", install).await.expect("a store").expect("a record");
    found.value["phase"] = phase.into();
    let document = NewDocument {
        kind: "app-install",
        id: found.id,
        sort_key: String::new(),
        owner: found.owner,
        value: found.value,
    };
    documents.put(document, Precondition::None).await.expect("a write");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_crash_leaves_is_told_and_finished_by_asking_again() {
    let mut lab = Lab::new().await;
    let name = lab.install("crash");
    let market = lab.marketplace.clone();
    let first = market.create(&ann(), page(&name)).await.expect("an install");
    let password = first.generated[0].1.clone();
    // As if it had ended between the name and the files.
    set_phase(&lab, &name, "writing").await;
    std::fs::remove_file(lab.app_folder(&name).join("compose.yaml")).expect("a file");

    let seen = market.status(&ann(), &Which::named(&name)).await.expect("it");
    assert_eq!(seen.state, InstallState::Incomplete);
    let error = market.start(&ann(), &Which::named(&name)).await.expect_err("no files");
    assert_eq!(error.code(), ErrorCode::ComposeNotFound);
    market.create(&ann(), page(&name)).await.expect("an install");
    let values = std::fs::read_to_string(lab.app_folder(&name).join(".env")).expect("values");
    assert!(values.contains(password.expose()));

    // As if it had ended while it was removed.
    set_phase(&lab, &name, "removing").await;
    assert_eq!(market.status(&ann(), &Which::named(&name)).await.expect("it").state, InstallState::Removing);
    assert_eq!(
        market.create(&ann(), page(&name)).await.expect_err("half of it is there").code(),
        ErrorCode::NameTaken
    );
    market.uninstall(&ann(), &Which::named(&name), true).await.expect("it is gone");
    assert!(!lab.app_folder(&name).exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn t12_values_are_for_their_owner_alone() {
    let mut lab = Lab::new().await;
    let name = lab.install("modes");
    lab.marketplace.create(&ann(), page(&name)).await.expect("an install");

    let mode = |file: &str| {
        let file = lab.app_folder(&name).join(file);
        std::fs::metadata(file).expect("a file").permissions().mode() & 0o777
    };

    assert_eq!((mode(".env"), mode("compose.yaml"), mode("README.md")), (0o600, 0o644, 0o644));
}

#[tokio::test]
async fn c5_a_catalog_that_hangs_holds_nobody_up() {
    let silent = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let folder = TempDir::new();
    let address = format!("http://{}/manifest.json", silent.local_addr().expect("an address"));
    let remote = Remote::new(&address, folder.join("cache"), Arc::new(SystemClock)).expect("a catalog");
    let catalog = Catalog::built_in().with_remote(remote);

    let refreshing = tokio::spawn({
        let catalog = catalog.clone();
        async move { catalog.refresh().await }
    });
    let (_open, _) = silent.accept().await.expect("a request");

    // The other side has the request and says nothing.
    assert!(catalog.list().iter().all(|app| app.source == AppSource::BuiltIn));
    refreshing.abort();
}

const MANIFEST: &str = r#"{"apps":[{"id":"other","name":"Other","description":"An app.","category":"Tests",
    "logo":"https://example.org/x.svg","defaultPort":8099,"verified":true,"popularity":3}]}"#;

const OTHER: &str = "---\nid: other\nenvironment:\n  - name: KEY\n    required: true\n---\n# Other\n\n```yaml\nservices:\n  \
                     other:\n    image: debian:bookworm-slim\n    privileged: true\n    ports: [\"8099:80\"]\n    \
                     environment: {KEY: \"${KEY}\"}\n```\n";

/// Serves a catalog and counts what was asked and what was answered with "nothing changed".
async fn serve(listener: TcpListener, asked: Arc<AtomicUsize>, unchanged: Arc<AtomicUsize>) {
    while let Ok((mut stream, _)) = listener.accept().await {
        let mut request = Vec::new();
        let mut buffer = [0; 1024];
        while !request.windows(4).any(|end| end == b"\r\n\r\n") {
            match stream.read(&mut buffer).await {
                Ok(count @ 1..) => request.extend_from_slice(&buffer[..count]),
                _ => break,
            }
        }
        let request = String::from_utf8_lossy(&request).to_ascii_lowercase();
        asked.fetch_add(1, Ordering::SeqCst);
        let body = match request.split(' ').nth(1) {
            Some("/catalog/manifest.json") => Some(MANIFEST),
            Some("/catalog/apps/other.md") => Some(OTHER),
            _ => None,
        };
        let answer = match body {
            None => "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".to_owned(),
            Some(_) if request.contains("if-none-match: \"v1\"") => {
                unchanged.fetch_add(1, Ordering::SeqCst);
                "HTTP/1.1 304 Not Modified\r\nConnection: close\r\n\r\n".to_owned()
            }
            Some(body) => format!(
                "HTTP/1.1 200 OK\r\nETag: \"v1\"\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
                body.len()
            ),
        };
        // A client that has gone away needs no answer.
        let _ = stream.write_all(answer.as_bytes()).await;
    }
}

#[tokio::test]
async fn c5_a5_another_catalog_is_read_once_kept_without_the_network_and_gets_no_exceptions() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = format!("http://{}/catalog/manifest.json", listener.local_addr().expect("an address"));
    let (asked, unchanged) = (Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default());
    let server = tokio::spawn(serve(listener, Arc::clone(&asked), Arc::clone(&unchanged)));
    let folder = TempDir::new();
    let catalog = || {
        let remote = Remote::new(&address, folder.join("cache"), Arc::new(SystemClock)).expect("a catalog");
        Catalog::built_in().with_remote(remote)
    };

    let first = catalog();
    first.refresh().await.expect("a list");
    first.refresh().await.expect("the list of before");
    assert_eq!(asked.load(Ordering::SeqCst), 1);
    let listed = first.list();
    let other = listed.iter().find(|app| app.about.id == "other").expect("the other app");
    assert_eq!((other.source, other.about.port), (AppSource::Remote, 8099));
    let app = first.find("other").await.expect("an app");
    assert!(app.compose.contains("privileged: true") && app.about.variables[0].required);
    assert_eq!(*app.grants, claw_docker::policy::Grants::default());

    // Another start asks only whether something changed.
    let second = catalog();
    second.refresh().await.expect("a list");
    assert_eq!(unchanged.load(Ordering::SeqCst), 1);
    assert!(second.list().iter().any(|app| app.about.id == "other"));

    // Without the network it is as it was.
    server.abort();
    let _ = server.await;
    let third = catalog();
    third.refresh().await.expect("the list of before");
    assert!(third.find("other").await.expect("an app").compose.contains("privileged"));
    assert_eq!(third.find("nothing").await.expect_err("no such app").code(), ErrorCode::AppNotFound);
}

#[test]
fn t13_only_addresses_of_manifests_are_catalogs() {
    for address in
        ["file:///etc/manifest.json", "ftp://x/manifest.json", "manifest.json", "https://x/other.json", ""]
    {
        assert!(Remote::new(address, "/nowhere", Arc::new(SystemClock)).is_err(), "{address}");
    }
}

/// A composer whose program is this script.
fn scripted(folder: &TempDir, name: &str, script: &str) -> Composer {
    let program = folder.write(format!("bin/{name}"), format!("#!/bin/bash\n{script}"));
    std::fs::set_permissions(program, std::fs::Permissions::from_mode(0o755)).expect("own file");
    Composer::new(ComposerConfig {
        path: format!("{}:/usr/bin:/bin", folder.join("bin").display()).into(),
        home: folder.join("home"),
        environment: vec![("DOCKER_HOST".to_owned(), "unix:///nowhere.sock".to_owned())],
        folder: folder.join("empty"),
    })
}

#[tokio::test]
async fn t9_t29_compose_gets_our_file_our_words_and_nothing_of_our_environment() {
    let folder = TempDir::new();
    let script = format!(
        "printf '%s\\n' \"$@\" >{0}/words; env | cut -d= -f1 | sort >{0}/names; pwd >{0}/place; cat >{0}/file; exit 0\n",
        folder.path().display()
    );
    let composer = scripted(&folder, "docker", &script);

    composer
        .run("claw-app-x", "services: {}\n", ComposeVerb::Up, &CancellationToken::new())
        .await
        .expect("a run");

    assert_eq!(composer.reader().await.expect("a program"), Reader::Plugin);
    let words = folder.read("words");
    assert!(words.starts_with("compose\n--project-name\nclaw-app-x\n--file\n-\n"), "{words}");
    assert!(words.ends_with("up\n--detach\n--no-build\n--remove-orphans\n--quiet-pull\n"), "{words}");
    assert_eq!(folder.read("file"), "services: {}\n");
    // What bash makes for itself stands beside what it was given.
    let names = folder.read("names");
    assert_eq!(names.lines().collect::<Vec<_>>(), ["DOCKER_HOST", "HOME", "PATH", "PWD", "SHLVL", "_"]);
    assert_eq!(folder.read("place").trim(), folder.join("empty").display().to_string());
}

#[tokio::test]
async fn t32_what_compose_says_is_bounded_and_its_reason_is_told() {
    let folder = TempDir::new();
    let script = "[ \"$1\" = version ] && exit 0\nfor i in {1..20000}; do echo \"line $i\"; done\nprintf '\\033[31mthe \
                  reason\\033[0m\\n' >&2; exit 1\n";
    let composer = scripted(&folder, "docker-compose", script);

    let run = composer.run("claw-app-x", "", ComposeVerb::Stop, &CancellationToken::new()).await;

    let Err(ComposerError::Failed { output }) = run else { panic!("it failed: {run:?}") };
    assert!(output.contains("the reason") && output.len() < 1000 && !output.contains('\u{1b}'), "{output}");
}

#[tokio::test]
async fn what_compose_began_ends_with_it_when_the_server_stops() {
    let folder = TempDir::new();
    let script = format!(
        "[ \"$1\" = version ] && exit 0\ntrap '' TERM\nsleep 600 &\necho $! >{0}/child.new; mv {0}/child.new {0}/child\nwait\n",
        folder.path().display()
    );
    let composer = scripted(&folder, "docker-compose", &script);
    let stop = CancellationToken::new();
    let run = tokio::spawn({
        let (composer, stop) = (composer.clone(), stop.clone());
        async move { composer.run("claw-app-x", "", ComposeVerb::Up, &stop).await }
    });
    wait_until("the child is there", PATIENCE, async || folder.join("child").exists()).await;

    stop.cancel();

    let ended = run.await.expect("no panic");
    assert!(matches!(ended, Err(ComposerError::Stopped)), "{ended:?}");
    let child = folder.read("child");
    let process = format!("/proc/{}/stat", child.trim());
    // A dead one may still wait for its parent to look.
    let gone = async || std::fs::read_to_string(&process).map_or(true, |stat| stat.contains(") Z "));
    wait_until("the child is gone", Duration::from_secs(20), gone).await;
}

#[tokio::test]
async fn without_any_compose_the_way_out_is_told() {
    let folder = TempDir::new();
    let composer = Composer::new(ComposerConfig {
        path: folder.join("nothing").into(),
        home: folder.join("home"),
        environment: Vec::new(),
        folder: folder.join("empty"),
    });

    let error = composer.name().await.expect_err("there is none");

    assert!(error.to_string().contains("install one of them"), "{error}");
}
