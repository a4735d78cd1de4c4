//! A registry with one image, which can hold its layer back.

use std::{collections::HashMap, sync::Arc};

use sha2::{Digest as _, Sha256};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::{Semaphore, watch},
    task::{JoinHandle, JoinSet},
};

use super::engine::{Image, unique};

/// A registry; the Engine speaks plain HTTP with it, since it is on loopback.
pub(crate) struct Registry {
    /// The image that it has.
    pub(crate) image: String,
    /// Counts how often the manifest was asked for by its tag.
    asked: watch::Receiver<u64>,
    gate: Arc<Semaphore>,
    task: JoinHandle<()>,
    _image: Image,
}

type Files = HashMap<String, (&'static str, Vec<u8>)>;

impl Registry {
    /// Starts one that holds its layer back until [`Registry::release`].
    pub(crate) async fn holding() -> Self {
        Self::start(0).await
    }

    /// Starts one that gives everything away.
    pub(crate) async fn open() -> Self {
        Self::start(Semaphore::MAX_PERMITS).await
    }

    async fn start(permits: usize) -> Self {
        let name = unique("pull");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
        let image = format!("{}/{name}:1", listener.local_addr().expect("an address"));
        let (files, gate) = (Arc::new(files(&name)), Arc::new(Semaphore::new(permits)));
        let (count, asked) = watch::channel(0);
        let count = Arc::new(count);
        let served = Arc::clone(&gate);
        let task = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.expect("a caller");
                connections.spawn(serve(stream, Arc::clone(&files), Arc::clone(&served), Arc::clone(&count)));
            }
        });
        Self { _image: Image(image.clone()), image, asked, gate, task }
    }

    pub(crate) fn release(&self) {
        self.gate.add_permits(1000);
    }

    /// Waits until the layer was asked for.
    pub(crate) async fn layer_is_asked_for(&mut self) {
        self.asked.wait_for(|count| *count > 0).await.expect("the registry runs");
    }

    /// How often the layer was asked for.
    pub(crate) fn times_asked(&self) -> u64 {
        *self.asked.borrow()
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn digest(bytes: &[u8]) -> String {
    let hex: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}

const LAYER: &str = "application/vnd.docker.image.rootfs.diff.tar.gzip";
const MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";

/// Manifest, configuration and layer by the last part of their paths.
fn files(name: &str) -> Files {
    let layer = tar("claw-test", name.as_bytes());
    let arch = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };
    let config = serde_json::json!({
        "architecture": arch, "os": "linux", "created": "2026-01-02T03:04:05Z", "config": {},
        "rootfs": { "type": "layers", "diff_ids": [digest(&layer)] },
    });
    let config = config.to_string().into_bytes();
    let part = |kind: &str, bytes: &[u8]| serde_json::json!({ "mediaType": kind, "size": bytes.len(), "digest": digest(bytes) });
    let manifest = serde_json::json!({
        "schemaVersion": 2, "mediaType": MANIFEST,
        "config": part("application/vnd.docker.container.image.v1+json", &config),
        "layers": [part(LAYER, &layer)],
    });
    let manifest = manifest.to_string().into_bytes();
    Files::from([
        ("1".to_owned(), (MANIFEST, manifest.clone())),
        (digest(&manifest), (MANIFEST, manifest)),
        (digest(&config), ("application/octet-stream", config)),
        (digest(&layer), (LAYER, layer)),
    ])
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

async fn serve(
    mut stream: TcpStream,
    files: Arc<Files>,
    gate: Arc<Semaphore>,
    count: Arc<watch::Sender<u64>>,
) {
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
    let mut words = request.split(' ');
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let found = files.get(path.rsplit('/').next().unwrap_or_default());
    if found.is_some_and(|(kind, _)| *kind == LAYER) {
        count.send_modify(|count| *count += 1);
        let Ok(_place) = gate.acquire().await else { return };
    }
    let (status, kind, body) = match found {
        _ if path == "/v2/" => (200, "application/json", b"{}".as_slice()),
        Some((kind, bytes)) => (200, *kind, bytes.as_slice()),
        None => (
            404,
            "application/json",
            br#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"the shelf is empty"}]}"#.as_slice(),
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
