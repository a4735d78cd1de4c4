//! An Engine of a test's own, which may be killed. It has its own network namespace, so that it cannot touch the bridge
//! of the machine's; starting one takes root.

use std::{
    path::PathBuf,
    process::{Child, Command, Stdio},
};

use claw_testkit::{TempDir, wait_until};

use crate::market_lab::PATIENCE;

/// What its containers are made of.
const IMAGE: &str = "debian:bookworm-slim";

pub(crate) struct PrivateEngine {
    folder: TempDir,
    daemon: Option<Child>,
}

#[expect(clippy::disallowed_methods, reason = "the daemon and its client are the machine's own programs")]
fn command(program: &str) -> Command {
    Command::new(program)
}

impl PrivateEngine {
    /// Starts one that has the image which the apps of tests are made of.
    pub(crate) async fn start() -> Self {
        let mut engine = Self { folder: TempDir::new(), daemon: None };
        engine.run().await;
        let mut saved =
            command("docker").args(["save", IMAGE]).stdout(Stdio::piped()).spawn().expect("docker");
        let image = saved.stdout.take().expect("a pipe");
        let loaded = engine.docker().arg("load").stdin(image).output().expect("docker");
        assert!(saved.wait().expect("it ended").success() && loaded.status.success(), "{IMAGE} is not here");
        engine
    }

    /// Where it listens.
    pub(crate) fn socket(&self) -> PathBuf {
        self.folder.join("d.sock")
    }

    /// The names of all its containers.
    pub(crate) fn containers(&self) -> Vec<String> {
        let listed = self.docker().args(["ps", "--all", "--format", "{{.Names}}"]).output().expect("docker");
        assert!(listed.status.success(), "{}", String::from_utf8_lossy(&listed.stderr));
        let mut names: Vec<_> = String::from_utf8_lossy(&listed.stdout).lines().map(str::to_owned).collect();
        names.sort_unstable();
        names
    }

    /// Kills it like the lack of memory does, and starts it again.
    pub(crate) async fn restart(&mut self) {
        self.kill();
        self.run().await;
    }

    /// Kills it.
    pub(crate) fn kill(&mut self) {
        if let Some(mut daemon) = self.daemon.take() {
            daemon.kill().expect("a process of ours");
            daemon.wait().expect("it ended");
            // Its helper dies with it, but until somebody looks after the dead it would be taken for alive.
            let _ = std::fs::remove_file(self.folder.join("exec/containerd/containerd.pid"));
        }
    }

    /// Starts it again.
    pub(crate) async fn run(&mut self) {
        let log = std::fs::File::options().create(true).append(true).open(self.folder.join("log"));
        let log = log.expect("a log");
        let folder = self.folder.path().display();
        // The daemon takes the place of the program that makes the namespaces; mounts that it leaves go with theirs.
        let daemon = command("unshare")
            .args(["--net", "--mount", "dockerd"])
            .arg(format!("--data-root={folder}/data"))
            .arg(format!("--exec-root={folder}/exec"))
            .arg(format!("--host=unix://{folder}/d.sock"))
            .arg(format!("--pidfile={folder}/pid"))
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a log"))
            .stderr(log)
            .spawn()
            .expect("these tests need dockerd: run `scripts/test`, which installs it");
        self.daemon = Some(daemon);
        wait_until("the private Engine answers", PATIENCE, async || {
            self.docker().arg("version").output().is_ok_and(|version| version.status.success())
        })
        .await;
    }

    fn docker(&self) -> Command {
        let mut docker = command("docker");
        docker.arg("--host").arg(format!("unix://{}", self.socket().display())).stdin(Stdio::null());
        docker
    }
}

impl Drop for PrivateEngine {
    fn drop(&mut self) {
        // Best effort, also while a failure unwinds.
        if let Ok(listed) = self.docker().args(["ps", "--all", "--quiet"]).output() {
            for id in String::from_utf8_lossy(&listed.stdout).lines() {
                let _ = self.docker().args(["rm", "--force", "--volumes", id]).output();
            }
        }
        if let Some(mut daemon) = self.daemon.take() {
            let id = rustix::process::Pid::from_child(&daemon);
            // In order, so that it takes its mounts along.
            let _ = rustix::process::kill_process(id, rustix::process::Signal::TERM);
            let _ = daemon.wait();
        }
    }
}
