//! A homelab by commands alone: the real server over the real Engine.

use std::process::{Command, Stdio};

use claw_testkit::DockerScope;

use crate::setting::Setting;

const IMAGE: &str = "debian:bookworm-slim";

/// A container of this name, removed in the end. Names that begin with `claw-` are the server's own.
struct Named(String);

impl Drop for Named {
    fn drop(&mut self) {
        #[expect(clippy::disallowed_methods, reason = "cleans up from outside, also when the test fails")]
        let removed = Command::new("docker")
            .args(["rm", "--force", "--volumes", &self.0])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        // It may be gone already.
        drop(removed);
    }
}

#[tokio::test]
async fn a_container_is_made_looked_into_and_removed() {
    let setting = Setting::docker().await;
    let server = &setting.server;
    let name = Named(format!("test-claw-{}", DockerScope::new().id()));
    let script = "trap 'exit 0' TERM; echo ready $TZ; sleep 600 & wait";

    let create = ["containers", "create", "--name", &name.0, "-e", "TZ=Etc/UTC", IMAGE, "bash", "-c", script];
    assert_eq!(server.claw_ok(&create).await, format!("{} runs\n", name.0));
    assert!(server.claw_ok(&["containers", "list"]).await.contains(&name.0));
    let run = async |script: &str| server.claw(&["containers", "exec", &name.0, "bash", "-c", script]).await;
    let ran = run("echo out; echo err >&2; exit 3").await;
    assert_eq!(ran.status.code(), Some(3));
    assert_eq!(String::from_utf8_lossy(&ran.stdout), "out\n");
    assert!(String::from_utf8_lossy(&ran.stderr).starts_with("err\n"), "{ran:?}");
    let late = server.claw(&["containers", "exec", "--timeout", "1", &name.0, "sleep", "600"]).await;
    assert_eq!(late.status.code(), Some(4), "{late:?}");
    assert!(server.claw_ok(&["containers", "logs", &name.0]).await.contains("ready Etc/UTC"));
    assert!(server.claw_ok(&["containers", "stats", &name.0]).await.contains("processes"));

    server.claw_ok(&["containers", "stop", &name.0]).await;
    assert_eq!(run("true").await.status.code(), Some(3), "it does not run");
    server.claw_ok(&["containers", "start", &name.0]).await;
    server.claw_ok(&["containers", "delete", &name.0]).await;
    assert!(!server.claw_ok(&["containers", "list"]).await.contains(&name.0));
    assert!(server.claw_ok(&["images", "list"]).await.contains("bookworm-slim"));
    let refused = server.claw(&["containers", "create", "--volume", "/etc:/x", IMAGE]).await;
    assert_eq!(refused.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("mounts.system"), "{refused:?}");
    let trail = server.claw_ok(&["audit", "list", "--verb", "container.exec"]).await;
    assert!(trail.contains("container.exec") && !trail.contains("echo out"), "{trail}");
}

#[tokio::test]
async fn an_app_is_found_installed_and_uninstalled() {
    let setting = Setting::docker().await;
    let server = &setting.server;

    assert!(server.claw_ok(&["apps", "list", "--search", "uptime"]).await.contains("uptime-kuma"));
    assert!(server.claw_ok(&["apps", "show", "uptime-kuma"]).await.contains("image"));
    server.claw_ok(&["apps", "install", "uptime-kuma", "--name", "kuma"]).await;
    assert!(server.claw_ok(&["apps", "installed"]).await.contains("kuma"));
    assert!(server.claw_ok(&["apps", "status", "kuma"]).await.contains("status     created"));
    let data = server.data_dir().join("containers/uptime-kuma/kuma");
    assert!(data.join("compose.yaml").is_file());
    server.claw_ok(&["apps", "uninstall", "kuma", "--delete-data", "--yes"]).await;

    assert!(!data.exists());
    let gone = server.claw(&["apps", "status", "kuma"]).await;
    assert_eq!(gone.status.code(), Some(2));
}
