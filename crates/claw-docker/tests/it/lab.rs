//! What the tests share: the real Engine, its own command line, and things that are in the way.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Arc,
    time::Duration,
};

use claw_docker::{Docker, LogsQuery};
use futures_util::StreamExt;
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional},
    net::{UnixListener, UnixStream},
    sync::watch,
    task::{JoinHandle, JoinSet},
};

pub(crate) const IMAGE: &str = "claw-sandbox:latest";

/// Longest wait for anything a test expects to happen.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

#[expect(clippy::disallowed_methods, reason = "whoever runs the tests says where the Engine is")]
pub(crate) fn endpoint() -> String {
    std::env::var("DOCKER_HOST").unwrap_or_else(|_| claw_docker::DEFAULT_ENDPOINT.to_owned())
}

pub(crate) async fn docker() -> Docker {
    let docker = Docker::connect(Some(&endpoint())).expect("DOCKER_HOST is usable");
    let image = docker.image(IMAGE).await.expect("these tests need a Docker Engine");
    assert!(image.is_some(), "these tests need the image {IMAGE}: run images/build-sandbox");
    docker
}

pub(crate) fn at(socket: &Path) -> Docker {
    Docker::connect(Some(socket.to_str().expect("a plain path"))).expect("an absolute path is an address")
}

/// A name that no other test uses, now or in another run.
pub(crate) fn unique(what: &str) -> String {
    use std::sync::atomic::{AtomicU32, Ordering};
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let now = std::time::SystemTime::UNIX_EPOCH.elapsed().expect("after 1970").as_nanos();
    format!("claw-test-{what}-{now:x}-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

/// Runs Docker's own command line: somebody who does not come through us.
pub(crate) fn outside(arguments: &[&str]) -> String {
    #[expect(
        clippy::disallowed_methods,
        reason = "the command line stands for everybody else who uses the Engine"
    )]
    let ran =
        Command::new("docker").arg("--host").arg(endpoint()).args(arguments).stdin(Stdio::null()).output();
    let ran = ran.expect("these tests need Docker's command line");
    assert!(ran.status.success(), "docker {arguments:?}: {}", String::from_utf8_lossy(&ran.stderr));
    String::from_utf8_lossy(&ran.stdout).trim().to_owned()
}

/// A container made by somebody else; removed in the end.
pub(crate) struct Outsider {
    pub(crate) id: String,
    pub(crate) name: String,
}

impl Outsider {
    /// Makes a container that runs a script, with further options of `docker create`.
    pub(crate) fn create(what: &str, options: &[&str], script: &str) -> Self {
        let name = unique(what);
        let mut arguments = vec!["create", "--name", &name, "--entrypoint", "bash"];
        if !options.contains(&"--network") {
            arguments.extend(["--network", "none"]);
        }
        arguments.extend(options);
        arguments.extend([IMAGE, "-c", script]);
        let id = outside(&arguments);
        Self { id, name }
    }

    /// Waits until its script has written something: a signal before its `trap` would not be heard.
    pub(crate) async fn ready(&self, docker: &Docker) {
        let mut log = docker.logs(&self.id, LogsQuery { follow: true, ..Default::default() });
        let first = tokio::time::timeout(PATIENCE, log.next()).await.expect("it says that it is ready");
        first.expect("it runs").expect("a log");
    }

    /// As [`Outsider::create`], and starts it.
    pub(crate) fn run(what: &str, options: &[&str], script: &str) -> Self {
        let made = Self::create(what, options, script);
        outside(&["start", &made.id]);
        made
    }
}

impl Drop for Outsider {
    fn drop(&mut self) {
        clean_up(&["rm", "--force", "--volumes", &self.id]);
    }
}

/// What else a test makes, with the arguments that remove it; removed in the end.
pub(crate) struct Leftover<'a>(pub(crate) [&'a str; 3]);

impl Drop for Leftover<'_> {
    fn drop(&mut self) {
        clean_up(&self.0);
    }
}

/// As [`outside`], also when the test has failed; what is to be removed may be gone already.
pub(crate) fn clean_up(arguments: &[&str]) {
    #[expect(
        clippy::disallowed_methods,
        reason = "the command line stands for everybody else who uses the Engine"
    )]
    let ran =
        Command::new("docker").arg("--host").arg(endpoint()).args(arguments).stdin(Stdio::null()).output();
    drop(ran);
}

/// A socket in front of the Engine that can be cut.
pub(crate) struct Wire {
    folder: TempDir,
    cut: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Wire {
    pub(crate) fn to_the_engine() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let socket = folder.path().join("docker.sock");
        let listener = UnixListener::bind(&socket).expect("bound");
        let (cut, is_cut) = watch::channel(false);
        let task = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (mut caller, _) = listener.accept().await.expect("a caller");
                let mut is_cut = is_cut.clone();
                connections.spawn(async move {
                    if *is_cut.borrow() {
                        return;
                    }
                    let path = endpoint().trim_start_matches("unix://").to_owned();
                    let mut engine = UnixStream::connect(path).await.expect("an Engine at a socket");
                    tokio::select! {
                        _ = copy_bidirectional(&mut caller, &mut engine) => {}
                        _ = is_cut.wait_for(|cut| *cut) => {}
                    }
                });
            }
        });
        Self { folder, cut, task }
    }

    pub(crate) fn docker(&self) -> Docker {
        at(&self.folder.path().join("docker.sock"))
    }

    /// Ends all connections, and every new one at once.
    pub(crate) fn cut(&self) {
        self.cut.send_replace(true);
    }

    pub(crate) fn mend(&self) {
        self.cut.send_replace(false);
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A socket at which something else than an Engine listens.
pub(crate) struct Fake {
    folder: TempDir,
    task: JoinHandle<()>,
}

impl Fake {
    /// Answers each connection's one request: `GET /path?query`, and the stream to write the answer to.
    pub(crate) fn start<F, A>(answer: F) -> Self
    where
        F: Fn(String, UnixStream) -> A + Send + Sync + 'static,
        A: Future<Output = std::io::Result<()>> + Send + 'static,
    {
        let folder = tempfile::tempdir().expect("a folder");
        let listener = UnixListener::bind(folder.path().join("docker.sock")).expect("bound");
        let answer = Arc::new(answer);
        let task = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (mut stream, _) = listener.accept().await.expect("a caller");
                let answer = Arc::clone(&answer);
                connections.spawn(async move {
                    let request = head(&mut stream).await;
                    let line = request.lines().next().unwrap_or_default();
                    let line = line.trim_end_matches(" HTTP/1.1").to_owned();
                    // Who asked may have hung up.
                    let _ = answer(line, stream).await;
                });
            }
        });
        Self { folder, task }
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.folder.path().join("docker.sock")
    }

    pub(crate) fn docker(&self) -> Docker {
        at(&self.socket())
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Reads the head of a request.
pub(crate) async fn head(stream: &mut (impl AsyncReadExt + Unpin)) -> String {
    let mut read = Vec::new();
    let mut buffer = [0; 1024];
    while !read.windows(4).any(|window| window == b"\r\n\r\n") {
        let count = stream.read(&mut buffer).await.expect("a request");
        assert!(count > 0, "the client hung up");
        read.extend_from_slice(&buffer[..count]);
    }
    String::from_utf8(read).expect("requests are text")
}

/// Writes a whole answer.
pub(crate) async fn answer(
    stream: &mut (impl AsyncWriteExt + Unpin),
    status: &str,
    body: &[u8],
) -> std::io::Result<()> {
    let head = format!(
        "HTTP/1.1 {status}\r\nDate: Sat, 21 Nov 2026 10:00:00 GMT\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(body).await
}

/// Begins an answer that goes on until the connection ends.
pub(crate) async fn begin(stream: &mut (impl AsyncWriteExt + Unpin)) -> std::io::Result<()> {
    stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n").await
}
