//! The judge's facts and verdicts on a real Engine.

use std::{collections::BTreeMap, os::unix::fs::symlink};

use claw_docker::{
    Docker,
    policy::{ContainerWish, Facts, Grants, MountWish, MountWishSource, Own, Policy, Refused},
};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::lab::{IMAGE, docker, outside, unique};

/// A folder of installed apps, and what was made outside of us; all of it is removed in the end.
struct Host {
    docker: Docker,
    folder: TempDir,
    containers: Vec<String>,
    volumes: Vec<String>,
    networks: Vec<String>,
}

impl Host {
    async fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::create_dir_all(folder.path().join("apps/web")).expect("made");
        Self {
            docker: docker().await,
            folder,
            containers: Vec::new(),
            volumes: Vec::new(),
            networks: Vec::new(),
        }
    }

    fn at(&self, path: &str) -> String {
        format!("{}/{path}", self.folder.path().canonicalize().expect("there").display())
    }

    fn own(&self) -> Own {
        // The names of tests begin like our own, so that what a broken one leaves behind is found.
        Own { apps_folder: Some(self.at("apps")), names: Vec::new(), ..Own::default() }
    }

    fn wish(&self, mounts: Vec<MountWish>) -> ContainerWish {
        ContainerWish { name: Some(unique("policy")), image: IMAGE.to_owned(), mounts, ..Default::default() }
    }

    async fn judge(&self, wish: &ContainerWish) -> Result<claw_docker::policy::Approved, Refused> {
        let policy = Policy::default();
        let wishes = [wish.clone()];
        let facts =
            Facts::gather(&self.docker, &policy, &wishes, &self.own()).await.expect("the Engine answers");
        policy.judge(wish, &facts, &Grants::default())
    }

    async fn rules(&self, wish: &ContainerWish) -> Vec<&'static str> {
        let refused = self.judge(wish).await.expect_err("refused");
        refused.refusals.iter().map(|refusal| refusal.rule).collect()
    }

    fn volume(&mut self, options: &[&str]) -> String {
        let name = unique("volume");
        outside(&[&["volume", "create"], options, &[&name]].concat());
        self.volumes.push(name.clone());
        name
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        for (kind, names) in
            [("container", &self.containers), ("volume", &self.volumes), ("network", &self.networks)]
        {
            for name in names {
                let arguments: &[&str] =
                    if kind == "container" { &[kind, "rm", "-fv", name] } else { &[kind, "rm", name] };
                // In a test that fails already, a second panic would hide why.
                let _ = std::panic::catch_unwind(|| outside(arguments));
            }
        }
    }
}

fn mounted(source: MountWishSource, target: &str) -> MountWish {
    MountWish { source, target: target.to_owned(), read_only: false, propagation: None }
}

fn bind(source: &str) -> MountWish {
    mounted(MountWishSource::Bind(source.to_owned()), "/data")
}

fn volume(name: &str) -> MountWish {
    mounted(
        MountWishSource::Volume { name: name.to_owned(), driver: None, options: BTreeMap::new() },
        "/data",
    )
}

fn inspect(id: &str) -> Value {
    let text = outside(&["container", "inspect", id]);
    serde_json::from_str::<Value>(&text).expect("JSON")[0].take()
}

#[tokio::test]
async fn t2_what_is_made_has_no_power_beyond_the_defaults() {
    let mut host = Host::new().await;
    let network = unique("network");
    outside(&["network", "create", &network]);
    host.networks.push(network.clone());
    let mut wish = host.wish(vec![bind(&host.at("apps/web"))]);
    wish.networks = vec!["bridge".to_owned(), network.clone()];
    wish.command = Some(vec!["true".to_owned()]);

    let approved = host.judge(&wish).await.expect("permitted");
    let labels = BTreeMap::from([("claw.by".to_owned(), "test".to_owned())]);
    let id = host.docker.make(&approved, labels).await.expect("made");
    host.containers.push(id.clone());

    let made = inspect(&id);
    let of = |field: &str| made["HostConfig"][field].clone();
    assert_eq!(of("Privileged"), json!(false));
    assert_eq!(of("CapAdd"), json!(null));
    assert_eq!(of("CapDrop"), json!(["AUDIT_WRITE", "MKNOD", "NET_RAW"]));
    assert_eq!(of("SecurityOpt"), json!(["no-new-privileges:true"]));
    assert_eq!(of("PidsLimit"), json!(4096));
    assert_eq!(of("LogConfig"), json!({"Type": "json-file", "Config": {"max-size": "10m", "max-file": "3"}}));
    assert_eq!((of("PidMode"), of("UTSMode"), of("UsernsMode")), (json!(""), json!(""), json!("")));
    assert_eq!((of("Binds"), of("VolumesFrom"), of("Devices")), (json!(null), json!(null), json!(null)));
    assert_eq!(made["Mounts"][0]["Source"], json!(host.at("apps/web")));
    assert_eq!(made["Config"]["Labels"]["claw.by"], json!("test"));
    let networks: Vec<_> =
        made["NetworkSettings"]["Networks"].as_object().expect("a map").keys().cloned().collect();
    assert_eq!(networks, ["bridge".to_owned(), network]);
}

#[tokio::test]
async fn t1_links_sockets_and_folders_beside_the_apps_are_found_out() {
    let host = Host::new().await;
    symlink("/etc", host.at("apps/web/link")).expect("linked");
    symlink(host.at("apps"), host.at("way")).expect("linked");
    symlink("/run/docker.sock", host.at("apps/web/sock")).expect("linked");
    let _listener = std::os::unix::net::UnixListener::bind(host.at("apps/web/own.sock")).expect("listening");
    for (path, rule) in [
        ("apps/web/link", "mounts.outside-roots"),
        ("apps/web/link/shadow", "mounts.outside-roots"),
        ("apps/web/own.sock", "mounts.special"),
        ("apps", "mounts.whole-root"),
        ("way", "mounts.whole-root"),
        ("", "mounts.own-folder"),
        ("elsewhere", "mounts.outside-roots"),
    ] {
        let wish = host.wish(vec![bind(&host.at(path))]);
        assert_eq!(host.rules(&wish).await, [rule], "{path}");
    }
    for path in ["/var/run/docker.sock", &host.at("apps/web/sock")] {
        let rules = host.rules(&host.wish(vec![bind(path)])).await;
        assert!(rules == ["mounts.engine-socket"] || rules == ["mounts.outside-roots"], "{path}: {rules:?}");
    }
    assert_eq!(host.rules(&host.wish(vec![bind("/var/run/docker.sock")])).await, ["mounts.engine-socket"]);

    let through = host.judge(&host.wish(vec![bind(&host.at("way/web/new"))])).await.expect("permitted");
    assert_eq!(through.wish().mounts[0].source, MountWishSource::Bind(host.at("apps/web/new")));
    assert_eq!(through.missing_folders(), [host.at("apps/web/new")]);
}

#[tokio::test]
async fn t1_a_volume_that_is_a_bind_or_a_network_share_is_found_out() {
    let mut host = Host::new().await;
    let plain = host.volume(&[]);
    let bound = host.volume(&["-o", "type=none", "-o", "o=bind", "-o", "device=/"]);
    let share = host.volume(&["-o", "type=nfs", "-o", "o=addr=127.0.0.1", "-o", "device=:/"]);
    let home = host.volume(&["--label", "claw.home=w"]);

    assert!(host.judge(&host.wish(vec![volume(&plain)])).await.is_ok());
    assert!(host.judge(&host.wish(vec![volume(&unique("no-such-volume"))])).await.is_ok());
    assert_eq!(host.rules(&host.wish(vec![volume(&bound)])).await, ["mounts.volume-options"]);
    assert_eq!(host.rules(&host.wish(vec![volume(&share)])).await, ["mounts.volume-options"]);
    assert_eq!(host.rules(&host.wish(vec![volume(&home)])).await, ["mounts.own-volume"]);
}

#[tokio::test]
async fn t21_what_another_container_can_write_is_no_way_to_the_rest_of_the_host() {
    let mut host = Host::new().await;
    let first = host.judge(&host.wish(vec![bind(&host.at("apps/web"))])).await.expect("permitted");
    let id = host.docker.make(&first, BTreeMap::new()).await.expect("made");
    host.containers.push(id);
    std::fs::create_dir(host.at("apps/web/inner")).expect("made");

    assert_eq!(host.rules(&host.wish(vec![bind(&host.at("apps/web/inner"))])).await, ["mounts.nested"]);
    assert!(host.judge(&host.wish(vec![bind(&host.at("apps/web"))])).await.is_ok());
}

#[tokio::test]
async fn t8_the_hosts_network_is_not_joined_by_its_id_and_a_stranger_not_at_all() {
    let host = Host::new().await;
    let id = outside(&["network", "inspect", "--format", "{{.Id}}", "host"]);
    for (name, rule) in [
        (id.as_str(), "networks.unknown"),
        (&id[..12], "networks.unknown"),
        ("host", "namespaces.host"),
        ("no-such-network", "networks.unknown"),
    ] {
        let mut wish = host.wish(Vec::new());
        wish.network_mode = Some(name.to_owned());
        assert_eq!(host.rules(&wish).await, [rule], "{name}");
        wish.network_mode = None;
        wish.networks = vec![name.to_owned()];
        assert_eq!(host.rules(&wish).await, [rule], "{name}");
    }
}

#[tokio::test]
async fn without_an_engine_nothing_is_known_and_so_nothing_judged() {
    let nowhere = Docker::connect(Some("unix:///nowhere/docker.sock")).expect("an address");
    let wish = ContainerWish { image: IMAGE.to_owned(), ..Default::default() };

    let facts = Facts::gather(&nowhere, &Policy::default(), &[wish], &Own::default()).await;

    assert!(facts.expect_err("nobody answers").is_unavailable());
}
