//! An Engine that goes away, through a socket that can be cut.

use std::{
    collections::HashSet,
    path::{Path, PathBuf},
    time::Duration,
};

use claw_agent::{
    docker::{DockerSandbox, DockerSandboxConfig},
    sandbox::{Sandbox, SandboxError},
};
use claw_docker::Docker;
use tempfile::TempDir;
use tokio::{
    io::copy_bidirectional,
    net::{UnixListener, UnixStream},
    task::JoinHandle,
    time::timeout,
};
use tokio_util::sync::CancellationToken;

use crate::lab::{Lab, PATIENCE, engine, expect_line};

/// The Engine under another address, until it is cut.
pub(crate) struct Wire {
    folder: TempDir,
    cut: CancellationToken,
    serving: JoinHandle<()>,
}

impl Wire {
    pub(crate) fn to_the_engine() -> Self {
        Self::again(tempfile::tempdir().expect("a folder"))
    }

    /// Where one was cut before.
    pub(crate) fn again(folder: TempDir) -> Self {
        let listener = UnixListener::bind(folder.path().join("docker.sock")).expect("bound");
        let engine = PathBuf::from(engine().trim_start_matches("unix://"));
        let cut = CancellationToken::new();
        let serving = tokio::spawn(serve(listener, engine, cut.clone()));
        Self { folder, cut, serving }
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.folder.path().join("docker.sock")
    }

    /// Hangs up on everybody and takes no more calls. Returns where it was.
    pub(crate) async fn cut(self) -> TempDir {
        self.cut.cancel();
        self.serving.await.expect("no panic");
        std::fs::remove_file(self.folder.path().join("docker.sock")).expect("removed");
        self.folder
    }
}

async fn serve(listener: UnixListener, engine: PathBuf, cut: CancellationToken) {
    let calls = tokio_util::task::TaskTracker::new();
    while let Some(Ok((mut near, _))) = cut.run_until_cancelled(listener.accept()).await {
        let (cut, engine) = (cut.clone(), engine.clone());
        calls.spawn(async move {
            let mut far = UnixStream::connect(&engine).await.expect("the Engine listens on a unix socket");
            // Whether a side hung up or the wire was cut, the call is over.
            let _ = cut.run_until_cancelled(copy_bidirectional(&mut near, &mut far)).await;
        });
    }
    calls.close();
    calls.wait().await;
}

fn reason(error: &SandboxError) -> String {
    assert!(matches!(error, SandboxError::NotReady { .. }), "{error:?}");
    error.to_string()
}

#[tokio::test]
async fn a_run_whose_engine_goes_away_is_lost_at_once_and_swept_later() {
    let lab = Lab::new().await;
    let wire = Wire::to_the_engine();
    let sandbox = lab.sandbox_at(&wire.socket());
    let mut run = sandbox.start(lab.spec("echo ready; sleep 600")).await.expect("started");
    let mut output = run.take_output().expect("the first call");
    expect_line(&mut output, "ready").await;

    wire.cut().await;
    let error = timeout(Duration::from_secs(5), run.wait()).await.expect("no hang").expect_err("lost");
    let end = timeout(PATIENCE, output.recv()).await.expect("the output ends");
    let stop = timeout(Duration::from_secs(5), run.stop(Duration::ZERO)).await.expect("no hang");
    let remove = timeout(Duration::from_secs(5), run.remove()).await.expect("no hang");

    assert!(matches!(error, SandboxError::Lost { .. }), "{error:?}");
    assert_eq!(end, None);
    assert!(matches!(stop, Err(SandboxError::Lost { .. })), "{stop:?}");
    assert!(matches!(remove, Err(SandboxError::Cleanup { .. })), "{remove:?}");
    assert_eq!(lab.sandbox.sweep(&HashSet::new()).await.expect("swept"), 1);
    assert_eq!(lab.leftovers().await, [""; 0]);
}

#[tokio::test]
async fn readiness_says_how_to_start_docker_and_how_to_get_the_image() {
    let lab = Lab::new().await;
    let nowhere = lab.sandbox_at(Path::new("/nowhere/docker.sock"));
    let config =
        DockerSandboxConfig { image: "claw-no-such-image:1".into(), ..DockerSandboxConfig::new("test") };
    let imageless = DockerSandbox::new(lab.docker.clone(), config);

    lab.sandbox.ready().await.expect("Engine and image are there");
    let no_engine = reason(&nowhere.ready().await.expect_err("no Engine"));
    let no_image = reason(&imageless.ready().await.expect_err("no image"));
    let start_without_engine = reason(&nowhere.start(lab.spec("true")).await.err().expect("no Engine"));
    let start_without_image = reason(&imageless.start(lab.spec("true")).await.err().expect("no image"));

    for text in [&no_engine, &start_without_engine] {
        assert!(text.contains("/nowhere/docker.sock") && text.contains("systemctl start docker"), "{text}");
    }
    for text in [&no_image, &start_without_image] {
        assert!(text.contains("claw-no-such-image:1") && text.contains("images/build-sandbox"), "{text}");
    }
    for text in [no_engine, no_image] {
        assert!(text.contains("claw doctor"), "{text}");
    }
}

#[tokio::test]
async fn s33_p5_readiness_is_asked_once_for_many() {
    let wire = Wire::to_the_engine();
    let docker = Docker::connect(wire.socket().to_str()).expect("an absolute path");
    let sandbox = DockerSandbox::new(docker, DockerSandboxConfig::new("test"));
    sandbox.ready().await.expect("Engine and image are there");

    wire.cut().await;

    sandbox.ready().await.expect("the answer is fresh enough to be believed");
}
