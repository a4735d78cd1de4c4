//! A sandbox of its own for every test: its own instance, its own folders.

use std::{
    collections::{HashMap, HashSet},
    os::unix::fs::{PermissionsExt, chown},
    path::Path,
    time::Duration,
};

use claw_agent::{
    docker::{DEFAULT_IMAGE, DockerSandbox, DockerSandboxConfig},
    sandbox::{Exit, Limits, Output, Sandbox, SandboxRun, SandboxSpec},
};
use claw_core::{JobId, NetworkMode};
use claw_docker::Docker;
use tempfile::TempDir;
use tokio::{sync::mpsc, time::timeout};

/// Longest wait for anything a test expects to happen.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) struct Lab {
    pub(crate) docker: Docker,
    pub(crate) sandbox: DockerSandbox,
    pub(crate) instance: String,
    pub(crate) work_dir: TempDir,
    pub(crate) socket_dir: TempDir,
}

/// What a run that ended by itself said.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) exit: Exit,
    pub(crate) stdout: Vec<String>,
    pub(crate) stderr: Vec<String>,
}

impl Lab {
    pub(crate) async fn new() -> Self {
        let docker = Docker::connect(Some(&engine())).expect("DOCKER_HOST is usable");
        let image = docker.image(DEFAULT_IMAGE).await.expect("these tests need a Docker Engine");
        assert!(image.is_some(), "these tests need the image {DEFAULT_IMAGE}: run images/build-sandbox");

        let instance = format!("test-{}", JobId::new());
        let sandbox = DockerSandbox::new(docker.clone(), config(&instance));
        let work_dir = tempfile::tempdir().expect("a folder");
        if let Some((user, group)) = sandbox.owner() {
            chown(work_dir.path(), Some(user), Some(group)).expect("root may give folders away");
        }
        let socket_dir = tempfile::tempdir().expect("a folder");
        std::fs::set_permissions(socket_dir.path(), PermissionsExt::from_mode(0o755)).expect("ours");
        Self { docker, sandbox, instance, work_dir, socket_dir }
    }

    /// A sandbox of the same instance on another connection.
    pub(crate) fn sandbox_at(&self, endpoint: &Path) -> DockerSandbox {
        let docker = Docker::connect(endpoint.to_str()).expect("an absolute path");
        DockerSandbox::new(docker, config(&self.instance))
    }

    /// A run of `script` by bash, with moderate limits, nothing to read, and a HOME of its own.
    pub(crate) fn spec(&self, script: &str) -> SandboxSpec {
        SandboxSpec {
            job: JobId::new(),
            attempt: 1,
            workspace: None,
            work_dir: self.work_dir.path().to_owned(),
            current_dir: None,
            socket_dir: self.socket_dir.path().to_owned(),
            arguments: vec![script.to_owned()],
            environment: Vec::new(),
            stdin: Vec::new(),
            limits: Limits { memory_bytes: 256 << 20, cpus: 1.0, pids: 64 },
            network: NetworkMode::None,
        }
    }

    pub(crate) async fn start(&self, spec: SandboxSpec) -> Box<dyn SandboxRun> {
        self.sandbox.start(spec).await.expect("started")
    }

    /// Runs to the end and removes what is left.
    pub(crate) async fn run(&self, spec: SandboxSpec) -> Said {
        let mut run = self.start(spec).await;
        let mut output = run.take_output().expect("the first call");
        let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
        while let Some(piece) = timeout(PATIENCE, output.recv()).await.expect("the output ends") {
            match piece {
                Output::Stdout { line, .. } => stdout.push(String::from_utf8(line).expect("text")),
                Output::Stderr { line } => stderr.push(String::from_utf8(line).expect("text")),
            }
        }
        let exit = timeout(PATIENCE, run.wait()).await.expect("the run ends").expect("not lost");
        run.remove().await.expect("removed");
        Said { exit, stdout, stderr }
    }

    /// Runs `script`, which must succeed, and returns its lines.
    pub(crate) async fn lines(&self, script: &str) -> Vec<String> {
        let said = self.run(self.spec(script)).await;
        assert_eq!(said.exit.code, 0, "{said:?}");
        said.stdout
    }

    /// Names of the containers and volumes that this lab's instance has now.
    pub(crate) async fn leftovers(&self) -> Vec<String> {
        let label = [("claw.instance", self.instance.as_str())];
        let containers = self.docker.containers_with_label(label[0].0, label[0].1).await.expect("listed");
        let volumes = self.docker.volumes_with_labels(&label).await.expect("listed");
        let mut names: Vec<_> = containers.into_iter().map(|container| container.name).collect();
        names.extend(volumes.into_iter().map(|(name, _): (String, HashMap<_, _>)| name));
        names.sort();
        names
    }
}

/// A failed test ends without its clean-up; this one needs no runtime of the test's.
impl Drop for Lab {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            return;
        }
        let instance = std::mem::take(&mut self.instance);
        let sweeping = std::thread::spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            let docker = Docker::connect(Some(&engine())).expect("as above");
            let sandbox = DockerSandbox::new(docker, config(&instance));
            // The test has failed already; what cannot be removed is for its reader to see.
            drop(runtime.block_on(sandbox.sweep(&HashSet::new())));
        });
        drop(sweeping.join());
    }
}

/// Where the Engine is.
#[expect(clippy::disallowed_methods, reason = "whoever runs the tests says where the Engine is")]
pub(crate) fn engine() -> String {
    std::env::var("DOCKER_HOST").unwrap_or_else(|_| claw_docker::DEFAULT_ENDPOINT.to_owned())
}

fn config(instance: &str) -> DockerSandboxConfig {
    let program = ["bash", "-c"].map(str::to_owned).to_vec();
    DockerSandboxConfig { program, ..DockerSandboxConfig::new(instance) }
}

/// Waits for a line of standard output.
pub(crate) async fn expect_line(output: &mut mpsc::Receiver<Output>, wanted: &str) {
    loop {
        let piece =
            timeout(PATIENCE, output.recv()).await.expect("a line in time").expect("a line before the end");
        if matches!(&piece, Output::Stdout { line, .. } if line == wanted.as_bytes()) {
            return;
        }
    }
}
