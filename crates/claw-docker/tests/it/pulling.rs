//! Pulls by a real Engine from a registry that is ours, and misbehaves when told to.

use std::{collections::HashMap, sync::Arc};

use claw_docker::{DockerError, PullProgress};
use futures_util::{StreamExt, TryStreamExt};
use sha2::{Digest, Sha256};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::Notify,
    task::{JoinHandle, JoinSet},
    time::timeout,
};

use crate::lab::{PATIENCE, Wire, clean_up, docker, outside, unique};

/// What the registry does with the layer.
#[derive(Clone)]
enum Layer {
    Whole,
    Missing,
    Other,
    /// Told when asked for, and then nothing.
    Held(Arc<Notify>),
}

/// A registry with one image; the Engine speaks plain HTTP with it, since it is on loopback.
struct Registry {
    image: String,
    task: JoinHandle<()>,
}

impl Registry {
    async fn start(layer: Layer) -> Self {
        let name = unique("pull");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
        let image = format!("{}/{name}:1", listener.local_addr().expect("an address"));
        let files = files(&name, matches!(layer, Layer::Missing), matches!(layer, Layer::Other));
        let files = Arc::new(files);
        let task = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.expect("a caller");
                connections.spawn(serve(stream, Arc::clone(&files), layer.clone()));
            }
        });
        Self { image, task }
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        self.task.abort();
        clean_up(&["rmi", "--force", &self.image]);
    }
}

type Files = HashMap<String, (&'static str, Vec<u8>)>;

fn digest(bytes: &[u8]) -> String {
    let hex: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}

/// Manifest, configuration and layer by the last part of their paths.
fn files(name: &str, missing: bool, other: bool) -> Files {
    let layer = tar("claw-test", name.as_bytes());
    let arch = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };
    let config = serde_json::json!({
        "architecture": arch, "os": "linux", "created": "2026-01-02T03:04:05Z",
        "config": {"Labels": {"claw.test": name}, "Env": ["A=b"], "ExposedPorts": {"80/tcp": {}}, "Volumes": {"/data": {}}},
        "rootfs": {"type": "layers", "diff_ids": [digest(&layer)]},
    });
    let config = config.to_string().into_bytes();
    let part = |kind: &str, bytes: &[u8]| serde_json::json!({"mediaType": kind, "size": bytes.len(), "digest": digest(bytes)});
    const MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
    let manifest = serde_json::json!({
        "schemaVersion": 2, "mediaType": MANIFEST,
        "config": part("application/vnd.docker.container.image.v1+json", &config),
        "layers": [part("application/vnd.docker.image.rootfs.diff.tar.gzip", &layer)],
    });
    let manifest = manifest.to_string().into_bytes();
    let mut files = Files::from([
        ("1".to_owned(), (MANIFEST, manifest.clone())),
        (digest(&manifest), (MANIFEST, manifest)),
        (digest(&config), ("application/octet-stream", config)),
    ]);
    if !missing {
        let content = if other { tar("other", b"something else") } else { layer.clone() };
        files.insert(digest(&layer), ("application/octet-stream", content));
    }
    files
}

/// An archive with one file.
fn tar(name: &str, content: &[u8]) -> Vec<u8> {
    let mut head = [0_u8; 512];
    head[..name.len()].copy_from_slice(name.as_bytes());
    head[100..107].copy_from_slice(b"0000644");
    head[124..135].copy_from_slice(format!("{:011o}", content.len()).as_bytes());
    head[136..147].copy_from_slice(b"00000000000");
    head[148..156].copy_from_slice(b"        ");
    head[156] = b'0';
    head[257..265].copy_from_slice(b"ustar\x0000");
    let sum: u32 = head.iter().map(|byte| u32::from(*byte)).sum();
    head[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
    let mut archive = [&head[..], content].concat();
    archive.resize(archive.len().next_multiple_of(512) + 1024, 0);
    archive
}

async fn serve(mut stream: TcpStream, files: Arc<Files>, layer: Layer) {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        let Ok(byte) = stream.read_u8().await else { return };
        // The Engine tries TLS first.
        if request.is_empty() && byte == 0x16 {
            return;
        }
        request.push(byte);
    }
    let request = String::from_utf8_lossy(&request).into_owned();
    let path = request.split(' ').nth(1).unwrap_or_default();
    let (method, last) =
        (request.split(' ').next().unwrap_or_default(), path.rsplit('/').next().unwrap_or_default());
    let is_layer =
        path.contains("/blobs/") && files.get(last).is_none_or(|(_, bytes)| bytes.starts_with(b"claw-test"));
    if let (Layer::Held(asked), true) = (&layer, is_layer) {
        asked.notify_one();
        std::future::pending::<()>().await;
    }
    let none = (200, "application/json", b"{}".as_slice());
    let (status, kind, body) = match files.get(last) {
        _ if path == "/v2/" => none,
        Some((kind, bytes)) => (200, *kind, bytes.as_slice()),
        None if path.contains("/manifests/") => (
            404,
            "application/json",
            br#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"no such tag"}]}"#.as_slice(),
        ),
        None => (
            404,
            "application/json",
            br#"{"errors":[{"code":"BLOB_UNKNOWN","message":"the shelf is empty"}]}"#.as_slice(),
        ),
    };
    let head = format!(
        "HTTP/1.1 {status} X\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nConnection: close\r\n\
         Docker-Distribution-Api-Version: registry/2.0\r\nDocker-Content-Digest: {}\r\n\r\n",
        body.len(),
        digest(body)
    );
    let body = if method == "HEAD" { &[] } else { body };
    // The Engine may have hung up.
    let _ = stream.write_all(&[head.as_bytes(), body].concat()).await;
}

#[tokio::test]
async fn an_image_is_pulled_with_its_progress() {
    let docker = docker().await;
    let registry = Registry::start(Layer::Whole).await;

    let steps: Vec<PullProgress> =
        timeout(PATIENCE, docker.pull(&registry.image).try_collect()).await.expect("ends").expect("pulled");
    let image = docker.inspect_image(&registry.image).await.expect("there");
    let listed = docker.images().await.expect("listed");
    let again = timeout(PATIENCE, docker.pull(&registry.image).try_collect::<Vec<_>>()).await.expect("ends");
    docker.remove_image(&registry.image).await.expect("removed");

    assert!(steps.iter().any(|step| step.status == "Pull complete" && step.layer.is_some()), "{steps:?}");
    assert!(steps.iter().any(|step| step.status.starts_with("Status: Downloaded newer image")), "{steps:?}");
    assert!(again.expect("pulled").iter().any(|step| step.status.contains("up to date")));
    assert_eq!(image.entry.tags, std::slice::from_ref(&registry.image));
    assert!(image.entry.digests[0].contains("@sha256:"), "{:?}", image.entry);
    assert_eq!(image.entry.created.to_string(), "2026-01-02T03:04:05Z");
    assert_eq!(
        (&image.ports[..], &image.volumes[..]),
        (&["80/tcp".to_owned()][..], &["/data".to_owned()][..])
    );
    assert!(listed.contains(&image.entry), "{listed:?}");
    assert!(docker.inspect_image(&registry.image).await.expect_err("removed").is_not_found());
}

#[tokio::test]
async fn b6_why_an_image_cannot_be_pulled_is_said_in_dockers_words() {
    let docker = docker().await;

    for (layer, tag, words) in [
        (Layer::Whole, "2", "not found"),
        (Layer::Missing, "1", "unknown blob"),
        (Layer::Other, "1", "verification failed"),
    ] {
        let registry = Registry::start(layer).await;
        let image = format!("{}:{tag}", registry.image.strip_suffix(":1").expect("its tag"));

        let pulled = timeout(PATIENCE, docker.pull(&image).try_collect::<Vec<_>>()).await.expect("ends");

        let error = pulled.expect_err(words);
        assert!(error.to_string().to_lowercase().contains(words), "{error}");
        assert!(matches!(error, DockerError::Refused { .. } | DockerError::NotFound { .. }), "{error:?}");
        assert!(docker.inspect_image(&image).await.expect_err("nothing is left").is_not_found());
    }
    let nobody = TcpListener::bind("127.0.0.1:0").await.expect("bound").local_addr().expect("an address");
    let error =
        docker.pull(&format!("{nobody}/nothing:1")).try_collect::<Vec<_>>().await.expect_err("nobody");
    assert!(error.to_string().contains("connection refused"), "{error}");
}

#[tokio::test]
async fn b4_a_pull_that_is_cut_in_the_middle_is_an_error_and_can_be_repeated() {
    let docker = docker().await;
    let asked = Arc::new(Notify::new());
    let held = Registry::start(Layer::Held(Arc::clone(&asked))).await;
    let wire = Wire::to_the_engine();
    let mut pull = wire.docker().pull(&held.image);

    let begun = timeout(PATIENCE, async {
        tokio::join!(asked.notified(), pull.next()).1.expect("a step").expect("a step");
    });
    begun.await.expect("the layer is asked for");
    wire.cut();
    let error = timeout(PATIENCE, pull.try_collect::<Vec<_>>()).await.expect("ends").expect_err("cut");

    assert!(error.is_unavailable(), "{error:?}");
    assert!(docker.inspect_image(&held.image).await.expect_err("nothing half is left").is_not_found());
    assert_eq!(outside(&["images", "--quiet", &held.image]), "");
}
