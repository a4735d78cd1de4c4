//! The real Engine, its own command line, and containers that others made.

use std::{
    process::{Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
};

use claw_docker::Docker;
use claw_testkit::TempDir;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{UnixListener, UnixStream},
    sync::watch,
    task::{JoinHandle, JoinSet},
};

use crate::lab::{Lab, Options};

pub(crate) const IMAGE: &str = "debian:bookworm-slim";

#[expect(clippy::disallowed_methods, reason = "whoever runs the tests says where the Engine is")]
fn endpoint() -> String {
    std::env::var("DOCKER_HOST").unwrap_or_else(|_| claw_docker::DEFAULT_ENDPOINT.to_owned())
}

pub(crate) fn docker() -> Docker {
    Docker::connect(Some(&endpoint())).expect("DOCKER_HOST is usable")
}

/// A server over the real Engine.
pub(crate) async fn lab() -> Lab {
    lab_with(Options::default()).await
}

pub(crate) async fn lab_with(options: Options) -> Lab {
    let docker = docker();
    let image = docker.image(IMAGE).await.expect("these tests need a Docker Engine");
    assert!(image.is_some(), "these tests need the image {IMAGE}: run images/build-sandbox");
    Lab::with(Options { docker: options.docker.or(Some(docker)), ..options }).await
}

/// A name that no other test uses, now or in another run.
pub(crate) fn unique(what: &str) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let now = std::time::SystemTime::UNIX_EPOCH.elapsed().expect("after 1970").as_nanos();
    format!("claw-test-{what}-{now:x}-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

fn command(arguments: &[&str]) -> std::process::Output {
    #[expect(clippy::disallowed_methods, reason = "stands for everybody else who uses the Engine")]
    let ran =
        Command::new("docker").arg("--host").arg(endpoint()).args(arguments).stdin(Stdio::null()).output();
    ran.expect("these tests need Docker's command line")
}

/// Runs Docker's own command line: somebody who does not come through us.
pub(crate) fn outside(arguments: &[&str]) -> String {
    let ran = command(arguments);
    assert!(ran.status.success(), "docker {arguments:?}: {}", String::from_utf8_lossy(&ran.stderr));
    String::from_utf8_lossy(&ran.stdout).trim().to_owned()
}

/// A container's name; whatever is called so is removed in the end, also when the test fails.
pub(crate) struct Named(pub(crate) String);

impl Named {
    pub(crate) fn new(what: &str) -> Self {
        Self(unique(what))
    }
}

impl Drop for Named {
    fn drop(&mut self) {
        // It may be gone already.
        drop(command(&["rm", "--force", "--volumes", &self.0]));
    }
}

/// A container made by somebody else; removed in the end.
pub(crate) struct Outsider {
    pub(crate) id: String,
    pub(crate) name: String,
}

impl Outsider {
    /// Makes a container that waits, with further options of `docker create`.
    pub(crate) fn create(what: &str, options: &[&str]) -> Self {
        Self::with_script(what, options, "exec sleep 600")
    }

    pub(crate) fn with_script(what: &str, options: &[&str], script: &str) -> Self {
        let name = unique(what);
        let mut arguments = vec!["create", "--name", &name, "--init"];
        if !options.contains(&"--network") {
            arguments.extend(["--network", "none"]);
        }
        arguments.extend(options);
        arguments.extend([IMAGE, "bash", "-c", script]);
        let id = outside(&arguments);
        Self { id, name }
    }

    pub(crate) fn run(what: &str, options: &[&str]) -> Self {
        let made = Self::create(what, options);
        outside(&["start", &made.id]);
        made
    }

    /// Starts it where the machine lets anybody start such a one.
    pub(crate) fn try_to_start(&self) {
        drop(command(&["start", &self.id]));
    }

    /// The Engine's word for its state.
    pub(crate) fn state(&self) -> String {
        outside(&["inspect", "--format", "{{.State.Status}}", &self.id])
    }
}

impl Drop for Outsider {
    fn drop(&mut self) {
        drop(command(&["rm", "--force", "--volumes", &self.id]));
    }
}

/// Removes an image in the end.
pub(crate) struct Image(pub(crate) String);

impl Drop for Image {
    fn drop(&mut self) {
        drop(command(&["rmi", "--force", &self.0]));
    }
}

/// The Engine under another address, where requests with a word in them wait until they may go on.
pub(crate) struct Gatekeeper {
    folder: TempDir,
    /// How many came to the gate.
    pub(crate) came: watch::Receiver<usize>,
    open: watch::Sender<bool>,
    _doors: AbortOnDrop,
}

struct AbortOnDrop(JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Gatekeeper {
    pub(crate) fn before(word: &'static str) -> Self {
        let folder = TempDir::new();
        let listener = UnixListener::bind(folder.join("d.sock")).expect("bound");
        let (come, came) = watch::channel(0);
        let (open, opened) = watch::channel(false);
        let doors = tokio::spawn(async move {
            let mut calls = JoinSet::new();
            while let Ok((near, _)) = listener.accept().await {
                calls.spawn(pass(near, word, come.clone(), opened.clone()));
            }
        });
        Self { folder, came, open, _doors: AbortOnDrop(doors) }
    }

    pub(crate) fn docker(&self) -> Docker {
        Docker::connect(self.folder.join("d.sock").to_str()).expect("an address")
    }

    /// Lets everybody through from now on.
    pub(crate) fn open(&self) {
        self.open.send_replace(true);
    }
}

/// Passes one connection on.
async fn pass(
    near: UnixStream,
    word: &'static str,
    come: watch::Sender<usize>,
    mut opened: watch::Receiver<bool>,
) {
    let far = endpoint();
    let far = UnixStream::connect(far.trim_start_matches("unix://")).await.expect("an Engine at a socket");
    let ((mut near_read, mut near_write), (mut far_read, mut far_write)) =
        (near.into_split(), far.into_split());
    let answers = tokio::io::copy(&mut far_read, &mut near_write);
    let requests = async {
        let mut buffer = vec![0; 64 * 1024];
        while let Ok(count @ 1..) = near_read.read(&mut buffer).await {
            let bytes = &buffer[..count];
            if bytes.windows(word.len()).any(|part| part == word.as_bytes()) {
                come.send_modify(|count| *count += 1);
                // Whoever held the gate may be gone, with the test.
                let _ = opened.wait_for(|open| *open).await;
            }
            if far_write.write_all(bytes).await.is_err() {
                break;
            }
        }
    };
    // Whichever side hangs up, the call is over.
    tokio::select! {
        _ = answers => {}
        () = requests => {}
    }
}
