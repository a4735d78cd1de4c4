//! Podman in Docker's place: a service of a test's own, in its own namespaces and folders.

use std::process::{Child, Command, Stdio};

use claw_homelab::marketplace::{InstallState, NewInstall, Which};
use claw_testkit::{TempDir, wait_until};

use crate::market_lab::{Compose, PATIENCE, Place, ann};

/// What its containers are made of.
const IMAGE: &str = "debian:bookworm-slim";

struct Podman {
    folder: TempDir,
    service: Child,
}

#[expect(
    clippy::disallowed_methods,
    reason = "the service and Docker's client are the machine's own programs"
)]
fn command(program: &str) -> Command {
    Command::new(program)
}

impl Podman {
    async fn start() -> Self {
        let folder = TempDir::new();
        // It gives containers limits that it may not give when it may not raise its own, as in a container.
        let limit = |resource| rustix::process::getrlimit(resource).current.unwrap_or(u64::MAX);
        let files = limit(rustix::process::Resource::Nofile).min(1024);
        let processes = limit(rustix::process::Resource::Nproc).min(32_768);
        let settings = format!(
            "[containers]\ndefault_ulimits = [\"nofile={files}:{files}\", \"nproc={processes}:{processes}\"]\n"
        );
        let settings = folder.write("containers.conf", settings);
        let at = |name: &str| folder.join(name).display().to_string();
        let log = std::fs::File::create(folder.join("log")).expect("a log");
        let service = command("unshare")
            .args(["--net", "--mount", "podman", "--root", &at("root"), "--runroot", &at("run")])
            .args(["--tmpdir", &at("tmp"), "--network-config-dir", &at("net")])
            .args(["--cgroup-manager", "cgroupfs", "--events-backend", "file", "--storage-driver", "overlay"])
            .args(["system", "service", "--time", "0", &format!("unix://{}", at("p.sock"))])
            .env("CONTAINERS_CONF", settings)
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a log"))
            .stderr(log)
            .spawn()
            .expect("this test needs podman: run `scripts/test`, which installs it");
        let podman = Self { folder, service };
        wait_until("Podman answers", PATIENCE, async || {
            podman.docker(&["version"]).output().is_ok_and(|version| version.status.success())
        })
        .await;
        let mut saved =
            command("docker").args(["save", IMAGE]).stdout(Stdio::piped()).spawn().expect("docker");
        let image = saved.stdout.take().expect("a pipe");
        let loaded = podman.docker(&["load"]).stdin(image).output().expect("docker");
        assert!(saved.wait().expect("it ended").success() && loaded.status.success(), "{IMAGE} is not here");
        podman
    }

    fn docker(&self, arguments: &[&str]) -> Command {
        let mut docker = command("docker");
        docker.arg("--host").arg(format!("unix://{}", self.folder.join("p.sock").display()));
        docker.args(arguments).stdin(Stdio::null());
        docker
    }

    fn run(&self, arguments: &[&str]) -> String {
        let output = self.docker(arguments).output().expect("docker");
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }
}

impl Drop for Podman {
    fn drop(&mut self) {
        // Best effort, also while a failure unwinds.
        if let Ok(listed) = self.docker(&["ps", "--all", "--quiet"]).output() {
            for id in String::from_utf8_lossy(&listed.stdout).lines() {
                let _ = self.docker(&["rm", "--force", "--volumes", id]).output();
            }
        }
        let id = rustix::process::Pid::from_child(&self.service);
        let _ = rustix::process::kill_process(id, rustix::process::Signal::TERM);
        let _ = self.service.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn podmans_socket_serves_as_an_engine() {
    let podman = Podman::start().await;
    let folder = TempDir::shared();
    let place = Place {
        engine: Some(podman.folder.join("p.sock")),
        compose: Compose::Plugin,
        ..Place::at(folder.path())
    };
    let catalog = place.catalog().join("page");
    std::fs::write(catalog.join("compose.yaml"), APP).expect("written");
    let house = place.open().await;
    let market = house.homelab.marketplace.clone();
    let which = Which::named("podman");
    let new = NewInstall {
        app_id: "page".into(),
        custom_name: Some("podman".into()),
        environment: [("GREETING".to_owned(), "hello".to_owned())].into(),
        ..NewInstall::default()
    };

    market.create(&ann(), new).await.expect("an install");
    let started = market.start(&ann(), &which).await.expect("a start").installed;

    assert_eq!((started.state, started.failure), (InstallState::Running, None));
    wait_until("its log is there", PATIENCE, async || {
        market.logs(&ann(), &which, None, None).await.is_ok_and(|log| log.contains("hello of page"))
    })
    .await;
    // What others do behind our back is seen.
    podman.run(&["stop", "--time", "1", "podman"]);
    wait_until("the end is seen", PATIENCE, async || {
        market.status(&ann(), &which).await.expect("it").state == InstallState::Stopped
    })
    .await;
    let started = market.start(&ann(), &which).await.expect("a start").installed;
    assert_eq!(started.state, InstallState::Running);
    let gone = market.uninstall(&ann(), &which, true).await.expect("it is gone");
    assert_eq!((gone.data_kept_in, podman.run(&["ps", "--all", "--quiet"])), (None, String::new()));
    assert_eq!(podman.run(&["volume", "ls", "--quiet"]), "");
    house.end().await;
}

/// Without a network, for which this service would need a namespace set up as on a whole machine.
const APP: &str = "services:\n  page:\n    image: debian:bookworm-slim\n    network_mode: none\n    command: [bash, -c, \
                   'echo $$GREETING of page; trap \"exit 0\" TERM; while :; do sleep 0.1; done']\n    environment:\n      \
                   GREETING: ${GREETING}\n      PASSWORD: ${PAGE_PASSWORD}\n    volumes: [\"./page:/page\", \
                   \"data:/data\"]\n    stop_grace_period: 2s\nvolumes:\n  data:\n";
