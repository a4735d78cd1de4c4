//! A host that exists on paper alone.

use std::collections::{BTreeMap, BTreeSet};

use crate::policy::{
    ContainerWish, Facts, MountWish, MountWishSource, Mounted, NetworkFact, Own, PathFact, PathKind,
    VolumeFact,
};

/// Where the installed apps are.
pub const APPS: &str = "/home/me/.wagmios/containers";

/// Full id of the container the server runs in.
pub const OWN_ID: &str = "fade0123456789abcdef0123456789abcdef0123456789abcdef0123456789ab";

/// A wish that is permitted as it is.
pub fn plain() -> ContainerWish {
    ContainerWish { name: Some("web".to_owned()), image: "nginx:1.29".to_owned(), ..Default::default() }
}

/// Texts of ones that last for ever.
pub fn texts(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|&text| text.to_owned()).collect()
}

/// Names with values.
pub fn pairs(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|&(key, value)| (key.to_owned(), value.to_owned())).collect()
}

/// A mount that can be written.
pub fn mount(source: MountWishSource, target: &str) -> MountWish {
    MountWish { source, target: target.to_owned(), read_only: false, propagation: None }
}

/// A file or folder of the host, at `/data`.
pub fn bind(source: &str) -> MountWish {
    mount(MountWishSource::Bind(source.to_owned()), "/data")
}

/// A named volume, at `/data`.
pub fn volume(name: &str) -> MountWish {
    volume_with(name, None, &[])
}

/// A named volume with a driver and its options, at `/data`.
pub fn volume_with(name: &str, driver: Option<&str>, options: &[(&str, &str)]) -> MountWish {
    let driver = driver.map(str::to_owned);
    mount(MountWishSource::Volume { name: name.to_owned(), driver, options: pairs(options) }, "/data")
}

/// Where a path of the host leads, and to what.
fn on_the_host(path: &str) -> Option<PathFact> {
    let inner = |rest: &str| format!("{APPS}/{rest}");
    let (real, kind) = match path {
        _ if path == inner("link-to-etc") => ("/etc".to_owned(), PathKind::Folder),
        _ if path == inner("link-to-root") => ("/".to_owned(), PathKind::Folder),
        _ if path == inner("link-to-home") => ("/home/me/documents".to_owned(), PathKind::Folder),
        _ if path == inner("link-to-socket") => ("/run/docker.sock".to_owned(), PathKind::Socket),
        _ if path == inner("link-to-containerd") => {
            ("/run/containerd/containerd.sock".to_owned(), PathKind::Socket)
        }
        _ if path == inner("link-to-own") => ("/var/lib/claw/claw.db".to_owned(), PathKind::File),
        _ if path == inner("link-inside") => (inner("grafana"), PathKind::Folder),
        _ if path == inner("dangling") => (path.to_owned(), PathKind::Other),
        _ if path == inner("pipe") => (path.to_owned(), PathKind::Other),
        _ if path == inner("app.sock") => (path.to_owned(), PathKind::Socket),
        _ if path == inner("sda") => (path.to_owned(), PathKind::Device),
        _ if path == inner("new") => (path.to_owned(), PathKind::Missing),
        _ if path.starts_with(&inner("vault")) => (path.to_owned(), PathKind::AppFiles),
        _ if path == inner("link-to-vault") => (inner("vault"), PathKind::AppFiles),
        _ if path.starts_with(&inner("unseen")) => return None,
        "/srv/link-to-apps" => (inner("grafana"), PathKind::Folder),
        "/var/run/docker.sock" | "/run/docker.sock" => ("/run/docker.sock".to_owned(), PathKind::Socket),
        "/etc/localtime" => ("/usr/share/zoneinfo/Europe/Berlin".to_owned(), PathKind::File),
        "/lib/modules" => ("/usr/lib/modules".to_owned(), PathKind::Folder),
        _ => match path.strip_prefix("/var/run") {
            Some(rest) => (format!("/run{rest}"), PathKind::Folder),
            None => (path.to_owned(), PathKind::Folder),
        },
    };
    Some(PathFact { real, kind })
}

/// The volumes that exist, by name.
pub fn volumes(name: &str) -> Option<VolumeFact> {
    let local = |options: &[(&str, &str)]| VolumeFact {
        driver: "local".to_owned(),
        options: pairs(options),
        labels: BTreeMap::new(),
    };
    Some(match name {
        "plain" => local(&[]),
        "bound-root" => local(&[("type", "none"), ("o", "bind"), ("device", "/")]),
        "bound-apps" => local(&[("type", "none"), ("o", "rbind"), ("device", APPS)]),
        "disk" => local(&[("type", "ext4"), ("device", "/dev/sda1")]),
        "share" => local(&[("type", "nfs"), ("o", "addr=10.0.0.1"), ("device", ":/export")]),
        "cloud" => VolumeFact { driver: "rclone".to_owned(), ..Default::default() },
        "somebodys-home" => VolumeFact { labels: pairs(&[("claw.home", "w")]), ..local(&[]) },
        _ => return None,
    })
}

/// The networks that exist, by name.
pub fn networks(name: &str) -> Option<NetworkFact> {
    let driver = match name {
        "front" | "back" => "bridge",
        "lan" => "macvlan",
        "swarm" => "overlay",
        "host-by-another-name" => "host",
        "none-by-another-name" => "null",
        "clawmachine_default" => "bridge",
        _ => return None,
    };
    Some(NetworkFact { driver: driver.to_owned(), labels: BTreeMap::new() })
}

/// Names of all networks that exist.
pub const NETWORKS: [&str; 7] =
    ["back", "clawmachine_default", "front", "host-by-another-name", "lan", "none-by-another-name", "swarm"];

/// What containers have mounted of the host.
pub fn mounted() -> Vec<Mounted> {
    let of = |container: &str, folder: &str, read_only| Mounted {
        container: Some(container.to_owned()),
        source: format!("{APPS}/{folder}"),
        read_only,
    };
    vec![
        of("jellyfin", "jellyfin", false),
        of("jellyfin", "deep/down/media", true),
        of("reader", "shared", true),
    ]
}

/// What would be found out about a wish.
pub fn facts(wish: &ContainerWish) -> Facts {
    let sources = wish.mounts.iter().map(|mount| &mount.source);
    let binds = sources.clone().filter_map(|source| match source {
        // Looked up by its one spelling; what has none is not looked up.
        MountWishSource::Bind(source) if source.starts_with('/') && !source.contains("..") => {
            let parts: Vec<_> = source.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
            Some(format!("/{}", parts.join("/")))
        }
        _ => None,
    });
    let volume_names = sources.filter_map(|source| match source {
        MountWishSource::Volume { name, .. } if name != "not-looked-at" => Some(name.clone()),
        _ => None,
    });
    Facts {
        own: Own {
            container_id: Some(OWN_ID.to_owned()),
            folders: texts(&["/home/me/.wagmios", "/var/lib/claw"]),
            apps_folder: Some(APPS.to_owned()),
            ..Own::default()
        },
        protected: BTreeSet::from(["homelab".to_owned()]),
        paths: binds.filter_map(|path| on_the_host(&path).map(|fact| (path, fact))).collect(),
        volumes: volume_names.map(|name| (name.clone(), volumes(&name))).collect(),
        networks: wish
            .networks
            .iter()
            .chain(&wish.network_mode)
            .map(|name| (name.clone(), networks(name)))
            .collect(),
        mounted: mounted(),
        engine_folder: Some("/srv/docker".to_owned()),
        engine_socket: Some("/run/docker.sock".to_owned()),
    }
}
