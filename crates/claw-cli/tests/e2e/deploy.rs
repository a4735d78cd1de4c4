//! The server's image, and the file that installs it: built and started for real.

use std::{
    path::Path,
    process::{Command, Output},
    time::Duration,
};

use claw_client::{Client, Credential};
use claw_core::Secret;
use claw_testkit::{TempDir, wait_until};
use serde_json::Value;

use crate::setting::CLAW;

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");

#[expect(clippy::disallowed_methods, reason = "Docker as a person would run it")]
fn command(program: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(arguments);
    command
}

fn run(command: &mut Command) -> String {
    let Output { status, stdout, stderr } = command.output().expect("it starts");
    let stdout = String::from_utf8_lossy(&stdout).into_owned();
    assert!(status.success(), "{command:?}: {stdout}{}", String::from_utf8_lossy(&stderr));
    stdout
}

fn docker(arguments: &[&str]) -> String {
    run(&mut command("docker", arguments))
}

/// An installation by the compose file, in a home folder of its own. Gone when dropped, also after a failure.
struct Installation {
    name: String,
    port: u16,
    home: TempDir,
}

impl Installation {
    fn new() -> Self {
        let name = format!("claw-test-{}", uuid::Uuid::new_v4().simple());
        // Free a moment ago; published on loopback alone.
        let port = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = port.local_addr().expect("an address").port();
        Self { name, port, home: TempDir::new() }
    }

    fn image(&self) -> String {
        format!("{}:test", self.name)
    }

    /// Runs the Compose that is there, as the shipped file tells people to.
    fn compose(&self, arguments: &[&str]) -> Command {
        let plugin = command("docker", &["compose", "version"]).output();
        let mut compose = match plugin.is_ok_and(|plugin| plugin.status.success()) {
            true => command("docker", &["compose"]),
            false => command("docker-compose", &[]),
        };
        let socket = std::fs::metadata("/var/run/docker.sock").expect("the Engine's socket");
        let group = std::os::unix::fs::MetadataExt::gid(&socket);
        compose
            .args(["-p", &self.name, "-f", &format!("{ROOT}/deploy/docker-compose.yml")])
            .args(arguments)
            .env("HOME", self.home.path())
            .envs([("CLAW_IMAGE", self.image()), ("CLAW_NAME", self.name.clone())])
            .envs([("CLAW_BIND", "127.0.0.1".to_owned()), ("CLAW_PORT", self.port.to_string())])
            .env("DOCKER_GID", group.to_string());
        compose
    }

    fn inspect(&self) -> Value {
        let found: Value = serde_json::from_str(&docker(&["inspect", &self.name])).expect("JSON");
        found[0].clone()
    }
}

impl Drop for Installation {
    fn drop(&mut self) {
        // Best effort: whatever failed is reported already.
        let _ = self.compose(&["down", "--volumes", "--timeout", "5"]).output();
        let _ = command("docker", &["image", "rm", "--force", &self.image()]).output();
    }
}

#[tokio::test]
async fn a10_b14_c8_the_shipped_file_alone_installs_a_server_without_root_that_reaches_docker() {
    let installation = Installation::new();
    run(&mut command(
        &format!("{ROOT}/images/build-server"),
        &["--tag", &installation.image(), "--binary", CLAW],
    ));

    run(&mut installation.compose(&["up", "-d"]));

    let found = installation.inspect();
    let host = &found["HostConfig"];
    assert_eq!(found["Config"]["User"], "1000:1000");
    assert_eq!((&host["ReadonlyRootfs"], &host["Privileged"]), (&true.into(), &false.into()));
    assert_eq!(host["CapDrop"], serde_json::json!(["ALL"]));
    assert_eq!(host["SecurityOpt"], serde_json::json!(["no-new-privileges:true"]));
    assert_eq!(host["RestartPolicy"]["Name"], "unless-stopped");
    let status = docker(&["exec", &installation.name, "cat", "/proc/1/status"]);
    let capabilities = status.lines().find_map(|line| line.strip_prefix("CapEff:")).expect("a line");
    assert_eq!(capabilities.trim().trim_start_matches('0'), "", "{status}");

    // What people do next: the token is in the log and in the data folder, and makes the first key.
    let folder = installation.home.path().join(".wagmios");
    let token_file = folder.join("data/setup-token");
    wait_until("the setup token is there", Duration::from_secs(20), async || token_file.exists()).await;
    let token = std::fs::read_to_string(&token_file).expect("the token");
    let server = format!("http://127.0.0.1:{}", installation.port).parse().expect("an address");
    let client = Client::new(server, None).expect("a client");
    wait_until("it answers", Duration::from_secs(20), async || client.health().await.is_ok()).await;
    assert!(docker(&["logs", &installation.name]).contains(token.trim()));
    let made = client.set_up(&Secret::new(token.trim()), "first", &["*"]).await.expect("a key");
    let client = client.with_credential(Some(Credential::new(made.key.expose()))).expect("a client");
    let engine = client.docker_status().await.expect("an answer");
    assert!(engine.available, "{:?}", engine.error);

    // The image brings what the server calls, and writes nowhere but where its data is.
    docker(&["exec", &installation.name, "docker-compose", "version"]);
    docker(&["exec", &installation.name, "git", "--version"]);
    let written = command("docker", &["exec", &installation.name, "touch", "/usr/local/bin/x"]).output();
    assert!(!written.expect("it starts").status.success());
    assert!(Path::new(&folder.join("containers")).is_dir());

    wait_until("the health check finds it well", Duration::from_secs(60), async || {
        installation.inspect()["State"]["Health"]["Status"] == "healthy"
    })
    .await;
    run(&mut installation.compose(&["stop"]));
    assert_eq!(installation.inspect()["State"]["ExitCode"], 0, "it ends in order");
}
