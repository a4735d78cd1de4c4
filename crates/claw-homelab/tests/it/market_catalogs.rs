//! Other people's catalogs: silent ones, changed ones, and ones that make no sense.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicUsize, Ordering},
};

use claw_core::{Coded as _, ErrorCode, SystemClock};
use claw_homelab::marketplace::{AppSource, Catalog, Remote};
use claw_testkit::TempDir;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};

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
async fn c5_another_catalog_is_read_once_kept_without_the_network_and_gets_no_exceptions() {
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

/// Answers each request with what is said now, and hangs up.
async fn answer_with(listener: TcpListener, answer: Arc<Mutex<Vec<u8>>>) {
    while let Ok((mut stream, _)) = listener.accept().await {
        let mut buffer = [0; 4096];
        // One read is a whole request of ours.
        let _ = stream.read(&mut buffer).await;
        let answer = answer.lock().expect("not poisoned").clone();
        // Whoever has heard enough hangs up first.
        let _ = stream.write_all(&answer).await;
    }
}

fn ok(body: impl AsRef<[u8]>) -> Vec<u8> {
    let head = format!(
        "HTTP/1.1 200 OK\r\nETag: \"odd\"\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.as_ref().len()
    );
    [head.as_bytes(), body.as_ref()].concat()
}

#[tokio::test]
async fn a_catalog_that_makes_no_sense_changes_nothing_and_is_not_kept() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = format!("http://{}/manifest.json", listener.local_addr().expect("an address"));
    let said = Arc::new(Mutex::new(ok(MANIFEST)));
    let server = tokio::spawn(answer_with(listener, Arc::clone(&said)));
    let folder = TempDir::new();
    // A new start each time, so that the list is asked for again.
    let catalog = |cache: &str| {
        let remote = Remote::new(&address, folder.join(cache), Arc::new(SystemClock)).expect("a catalog");
        Catalog::built_in().with_remote(remote)
    };
    catalog("before").refresh().await.expect("a list");
    let others = |catalog: &Catalog| -> Vec<String> {
        let others = catalog.list().into_iter().filter(|app| app.source == AppSource::Remote);
        others.map(|app| app.about.id.clone()).collect()
    };

    let deep = format!("{{\"apps\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000));
    let many = format!("{{\"apps\":[{}{{}}]}}", "{\"id\":\"a\"},".repeat(2_000));
    let garbage: [(&str, Vec<u8>); 14] = [
        ("a page", ok("<!DOCTYPE html><h1>Please sign in</h1>")),
        ("nothing", ok("")),
        ("an error of somebody", ok(r#"{"error":"moved"}"#)),
        ("another kind of list", ok(r#"[{"id":"other"}]"#)),
        ("apps that are none", ok(r#"{"apps":{"id":"other"}}"#)),
        ("entries that are none", ok(r#"{"apps":[1,null,"x",{"id":7},{"id":"../x"}]}"#)),
        ("bytes", ok([0xff, 0xfe, 0x00, 0x01])),
        ("no end of depth", ok(deep)),
        ("too many", ok(many)),
        ("too much", ok(vec![b' '; 3 << 20])),
        ("half of it", ok(MANIFEST)[..120].to_vec()),
        ("no HTTP", b"SSH-2.0-OpenSSH_9.2\r\n".to_vec()),
        (
            "another place",
            b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n".to_vec(),
        ),
        (
            "no change of what was never read",
            b"HTTP/1.1 304 Not Modified\r\nConnection: close\r\n\r\n".to_vec(),
        ),
    ];
    for (what, answer) in garbage {
        *said.lock().expect("not poisoned") = answer;
        // Who read it before shows what it was.
        let knows = catalog("before");
        knows.refresh().await.unwrap_or_else(|error| panic!("{what}: {error}"));
        assert_eq!(others(&knows), ["other"], "{what}");
        // Who did not says what is wrong, and shows ours.
        let fresh = catalog("never");
        let error = fresh.refresh().await.expect_err(what);
        assert_eq!(error.code(), ErrorCode::TemplateFetchFailed, "{what}: {error}");
        assert!(!fresh.list().is_empty() && others(&fresh).is_empty(), "{what}");
    }
    assert!(!folder.join("never").exists(), "nothing of it is kept");

    // An entry that makes no sense is that app's error, and the others are there.
    *said.lock().expect("not poisoned") =
        ok(r#"{"apps":[{"id":"other"},{"id":"odd","defaultPort":"x"},{"id":"third"}]}"#);
    let some = catalog("some");
    some.refresh().await.expect("a list");
    assert_eq!(others(&some), ["other", "third"]);
    *said.lock().expect("not poisoned") = ok("# No front matter, no app\n");
    let error = some.find("other").await.expect_err("no app");
    assert!(error.to_string().contains("`other`"), "{error}");
    server.abort();
}
