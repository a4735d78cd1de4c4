//! Finding out what is true on the host.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::{Path, PathBuf},
};

use futures_util::{StreamExt, TryStreamExt, stream};
use serde::Deserialize;

use super::{
    ContainerWish, Facts, MountWishSource, Mounted, NetworkFact, Own, PathFact, PathKind, Policy, VolumeFact,
    path,
};
use crate::{Docker, DockerError, name, request::Ask};

/// Most paths and volumes that are looked at for one request. What is beyond is not known, and so refused.
const MAX_LOOKUPS: usize = 1024;
/// How many volumes the Engine is asked for at a time.
const AT_A_TIME: usize = 8;

impl Facts {
    /// Finds out what is true about everything that `wishes` name: asks the Engine, and follows symbolic links where
    /// this program sees the host's files.
    ///
    /// # Errors
    ///
    /// Returns why the Engine could not be asked.
    pub async fn gather(
        docker: &Docker,
        policy: &Policy,
        wishes: &[ContainerWish],
        own: &Own,
    ) -> Result<Self, DockerError> {
        Self::gather_with(docker, policy, wishes, own, false).await
    }

    /// As [`Facts::gather`], and finds out what containers have mounted of the host although no wish mounts any of it.
    ///
    /// # Errors
    ///
    /// Returns why the Engine could not be asked.
    pub async fn gather_all(
        docker: &Docker,
        policy: &Policy,
        wishes: &[ContainerWish],
        own: &Own,
    ) -> Result<Self, DockerError> {
        Self::gather_with(docker, policy, wishes, own, true).await
    }

    async fn gather_with(
        docker: &Docker,
        policy: &Policy,
        wishes: &[ContainerWish],
        own: &Own,
        all: bool,
    ) -> Result<Self, DockerError> {
        let sources = || wishes.iter().flat_map(|wish| &wish.mounts).map(|mount| &mount.source);
        let binds = || {
            sources().filter_map(|source| match source {
                MountWishSource::Bind(source) => path::normal(source),
                _ => None,
            })
        };
        let any_bind = binds().next().is_some();
        let any_network = wishes.iter().any(|wish| wish.network_mode.is_some() || !wish.networks.is_empty());
        let (engine, networks, volumes, listed) = tokio::try_join!(
            docker.engine_version(),
            networks(docker, wishes, any_network),
            volumes(docker, sources()),
            listed(docker, all || any_bind || own.container_id.is_some()),
        )?;
        let engine_socket =
            docker.endpoint().strip_prefix("unix://").and_then(path::normal).map(|path| path.into_owned());
        // The Engine's folder is there where its files are ours: on the same host, and not from within a container.
        let sees_host =
            own.container_id.is_none() && engine_socket.is_some() && Path::new(&engine.root_dir).is_dir();

        let mut wanted: BTreeSet<String> = binds().map(|path| path.into_owned()).take(MAX_LOOKUPS).collect();
        let lasting = own.folders.iter().chain(&own.apps_folder).map(String::as_str);
        let roots = policy.rules.mounts.roots.iter().map(|root| root.path.as_str());
        wanted.extend(
            lasting
                .chain(roots)
                .chain([engine.root_dir.as_str()])
                .filter_map(path::normal)
                .map(|path| path.into_owned()),
        );
        let mounted = mounted(&listed);
        wanted.extend(mounted.iter().map(|mounted| mounted.source.clone()));
        let views = views(policy, own, engine_socket.is_some(), sees_host);
        // Following links reads the disk.
        let paths = tokio::task::spawn_blocking(move || {
            wanted
                .into_iter()
                .filter_map(|path| look(&views, &path).map(|fact| (path, fact)))
                .collect::<BTreeMap<_, _>>()
        })
        .await
        .unwrap_or_default();

        let real = |mounted: Mounted| match paths.get(&mounted.source) {
            Some(fact) => Mounted { source: fact.real.clone(), ..mounted },
            None => mounted,
        };
        Ok(Self {
            own: own.clone(),
            protected: protected(&listed, own),
            volumes,
            networks,
            mounted: mounted.into_iter().map(real).collect(),
            engine_folder: path::normal(&engine.root_dir).map(|path| path.into_owned()),
            engine_socket,
            paths,
        })
    }
}

async fn networks(
    docker: &Docker,
    wishes: &[ContainerWish],
    any: bool,
) -> Result<BTreeMap<String, Option<NetworkFact>>, DockerError> {
    if !any {
        return Ok(BTreeMap::new());
    }
    let found = docker.networks().await?;
    let named = wishes.iter().flat_map(|wish| wish.networks.iter().chain(&wish.network_mode));
    // By the whole name alone: the Engine would also take an id, or the beginning of one.
    Ok(named
        .map(|name| {
            let network = found.iter().find(|network| network.name == *name);
            let fact = network.map(|network| NetworkFact {
                driver: network.driver.clone(),
                labels: network.labels.clone(),
            });
            (name.clone(), fact)
        })
        .collect())
}

async fn volumes(
    docker: &Docker,
    sources: impl Iterator<Item = &MountWishSource>,
) -> Result<BTreeMap<String, Option<VolumeFact>>, DockerError> {
    let named: BTreeSet<String> = sources
        .filter_map(|source| match source {
            MountWishSource::Volume { name, .. } => name::check_name("volume", name).ok().map(str::to_owned),
            _ => None,
        })
        .take(MAX_LOOKUPS)
        .collect();
    stream::iter(named)
        .map(|name| async move {
            let found = docker.volume(&name).await?;
            let fact = found.map(|volume| VolumeFact {
                driver: volume.driver,
                options: volume.options,
                labels: volume.labels,
            });
            Ok::<_, DockerError>((name, fact))
        })
        .buffer_unordered(AT_A_TIME)
        .try_collect()
        .await
}

/// One container as the Engine lists it: what matters here.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Listed {
    #[serde(default)]
    id: String,
    #[serde(default)]
    names: Option<Vec<String>>,
    #[serde(default)]
    mounts: Option<Vec<ListedMount>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ListedMount {
    #[serde(default)]
    r#type: String,
    #[serde(default)]
    source: String,
    #[serde(default, rename = "RW")]
    writable: bool,
}

async fn listed(docker: &Docker, any: bool) -> Result<Vec<Listed>, DockerError> {
    if !any {
        return Ok(Vec::new());
    }
    docker.ask(Ask::get("/containers/json").with("all", "true")).await
}

fn first_name(listed: &Listed) -> Option<String> {
    let name = listed.names.as_ref()?.first()?;
    Some(name.trim_start_matches('/').to_owned())
}

fn protected(listed: &[Listed], own: &Own) -> BTreeSet<String> {
    let Some(id) = &own.container_id else { return BTreeSet::new() };
    listed.iter().filter(|listed| listed.id.starts_with(id.as_str())).filter_map(first_name).collect()
}

fn mounted(listed: &[Listed]) -> Vec<Mounted> {
    let mut all = Vec::new();
    for container in listed {
        for mount in container.mounts.iter().flatten().filter(|mount| mount.r#type == "bind") {
            if let Some(source) = path::normal(&mount.source) {
                let source = source.into_owned();
                all.push(Mounted { container: first_name(container), source, read_only: !mount.writable });
            }
        }
    }
    all
}

/// A part of the host's files, and where this program sees it.
#[derive(Debug)]
struct View {
    host: String,
    seen_at: PathBuf,
}

/// Returns what this program sees. The apps' folder is one it writes itself, so it is seen, and under the same path
/// unless another is told; of an Engine on another machine, nothing is seen but what is told.
fn views(policy: &Policy, own: &Own, is_local: bool, sees_host: bool) -> Vec<View> {
    let view = |host: &String, seen_at: &String| View { host: host.clone(), seen_at: PathBuf::from(seen_at) };
    let mut views: Vec<View> = policy
        .rules
        .mounts
        .roots
        .iter()
        .filter_map(|root| root.seen_at.as_ref().map(|seen_at| view(&root.path, seen_at)))
        .collect();
    if let Some(host) = &own.apps_folder
        && let Some(seen_at) =
            own.apps_folder_seen_at.as_ref().or_else(|| (is_local && !sees_host).then_some(host))
    {
        views.push(view(host, seen_at));
    }
    if sees_host {
        views.push(View { host: "/".to_owned(), seen_at: PathBuf::from("/") });
    }
    views
}

/// Looks at a path of the host through the view that shows the most of it, or returns nothing when none shows it.
fn look(views: &[View], host: &str) -> Option<PathFact> {
    let view =
        views.iter().filter(|view| path::is_beneath(host, &view.host)).max_by_key(|view| view.host.len())?;
    let inner = host[view.host.len()..].trim_start_matches('/');
    let seen_root = view.seen_at.canonicalize().ok()?;
    let (real, kind) = resolve(&if inner.is_empty() { seen_root.clone() } else { seen_root.join(inner) })?;
    match real.strip_prefix(&seen_root) {
        Ok(rest) => {
            let real = Path::new(&view.host).join(rest);
            Some(PathFact { real: real.to_str()?.trim_end_matches('/').to_owned(), kind }).map(|mut fact| {
                if fact.real.is_empty() {
                    fact.real.push('/');
                }
                fact
            })
        }
        // It leads out of what is seen: nobody knows where to.
        Err(_) => Some(PathFact { real: host.to_owned(), kind: PathKind::Other }),
    }
}

/// Follows every symbolic link of a path, of which the last parts may not be there yet.
fn resolve(path: &Path) -> Option<(PathBuf, PathKind)> {
    match path.canonicalize() {
        Ok(real) => {
            let kind = match kind_of(&fs::symlink_metadata(&real).ok()?) {
                PathKind::Folder if holds_app_files(&real) => PathKind::AppFiles,
                PathKind::File if real.file_name().is_some_and(is_app_file) => PathKind::AppFiles,
                kind => kind,
            };
            Some((real, kind))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            if fs::symlink_metadata(path).is_ok() {
                // A link that leads nowhere, yet.
                return Some((path.to_owned(), PathKind::Other));
            }
            let (parent, kind) = resolve(path.parent()?)?;
            let kind = match kind {
                PathKind::Folder | PathKind::AppFiles | PathKind::Missing => PathKind::Missing,
                PathKind::File | PathKind::Socket | PathKind::Device | PathKind::Other => PathKind::Other,
            };
            Some((parent.join(path.file_name()?), kind))
        }
        Err(_) => None,
    }
}

/// Folders that are looked into for such files. One with more is taken for one that has them.
const MOST_FOLDERS: usize = 1_000;

fn is_app_file(name: &std::ffi::OsStr) -> bool {
    path::APP_FILES.iter().any(|file| name == *file)
}

/// Tells whether a folder, or one directly in it, has files of an installed app.
fn holds_app_files(folder: &Path) -> bool {
    let has =
        |folder: &Path| path::APP_FILES.iter().any(|file| fs::symlink_metadata(folder.join(file)).is_ok());
    if has(folder) {
        return true;
    }
    // What cannot be read is decided by where it is.
    let Ok(entries) = fs::read_dir(folder) else { return false };
    for (number, entry) in entries.flatten().enumerate() {
        if number == MOST_FOLDERS || entry.file_type().is_ok_and(|kind| kind.is_dir()) && has(&entry.path()) {
            return true;
        }
    }
    false
}

fn kind_of(metadata: &fs::Metadata) -> PathKind {
    use std::os::unix::fs::FileTypeExt as _;
    let kind = metadata.file_type();
    if kind.is_dir() {
        PathKind::Folder
    } else if kind.is_file() {
        PathKind::File
    } else if kind.is_socket() {
        PathKind::Socket
    } else if kind.is_block_device() || kind.is_char_device() {
        PathKind::Device
    } else {
        PathKind::Other
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::{fs::symlink, net::UnixListener};

    use super::*;

    fn host() -> Vec<View> {
        vec![View { host: "/".to_owned(), seen_at: PathBuf::from("/") }]
    }

    #[test]
    fn t1_links_are_followed_to_where_they_lead_and_parts_that_are_missing_are_kept() {
        let folder = tempfile::tempdir().expect("a folder");
        let root = folder.path().canonicalize().expect("there");
        let at = |path: &str| format!("{}/{path}", root.display());
        fs::create_dir_all(at("apps/jellyfin")).expect("made");
        fs::create_dir_all(at("apps/vault/home/config")).expect("made");
        fs::write(at("apps/vault/home/.env"), "").expect("written");
        fs::write(at("apps/file"), "").expect("written");
        symlink("/etc", at("apps/link")).expect("linked");
        symlink("jellyfin", at("apps/inside")).expect("linked");
        symlink("nowhere/at/all", at("apps/dangling")).expect("linked");
        symlink("loop", at("apps/loop")).expect("linked");
        let _socket = UnixListener::bind(at("apps/socket")).expect("listening");

        for (asked, real, kind) in [
            ("apps/jellyfin", at("apps/jellyfin"), PathKind::Folder),
            ("apps/file", at("apps/file"), PathKind::File),
            ("apps/vault", at("apps/vault"), PathKind::AppFiles),
            ("apps/vault/home", at("apps/vault/home"), PathKind::AppFiles),
            ("apps/vault/home/.env", at("apps/vault/home/.env"), PathKind::AppFiles),
            ("apps/vault/home/config", at("apps/vault/home/config"), PathKind::Folder),
            ("apps/link", "/etc".to_owned(), PathKind::Folder),
            ("apps/link/passwd", "/etc/passwd".to_owned(), PathKind::File),
            ("apps/link/no-such/a", "/etc/no-such/a".to_owned(), PathKind::Missing),
            ("apps/inside/config", at("apps/jellyfin/config"), PathKind::Missing),
            ("apps/new/config", at("apps/new/config"), PathKind::Missing),
            ("apps/dangling", at("apps/dangling"), PathKind::Other),
            ("apps/dangling/a", at("apps/dangling/a"), PathKind::Other),
            ("apps/socket", at("apps/socket"), PathKind::Socket),
        ] {
            assert_eq!(look(&host(), &at(asked)), Some(PathFact { real, kind }), "{asked}");
        }
        for unseen in ["apps/loop", "apps/file/below"] {
            assert_eq!(look(&host(), &at(unseen)), None, "{unseen}");
        }
        assert_eq!(look(&host(), "/"), Some(PathFact { real: "/".to_owned(), kind: PathKind::Folder }));
        assert_eq!(look(&host(), "/dev/null").map(|fact| fact.kind), Some(PathKind::Device));
    }

    #[test]
    fn t1_nothing_is_seen_of_another_machine_but_what_is_told() {
        let policy =
            Policy::parse("mounts.roots = [{ path = '/srv/a' }, { path = '/srv/b', seen_at = '/mnt/b' }]");
        let policy = policy.expect("readable");
        let own = |seen_at: Option<&str>| Own {
            apps_folder: Some("/apps".to_owned()),
            apps_folder_seen_at: seen_at.map(str::to_owned),
            ..Own::default()
        };
        let hosts = |own: &Own, is_local, sees_host| {
            views(&policy, own, is_local, sees_host)
                .into_iter()
                .map(|view| (view.host, view.seen_at.display().to_string()))
                .collect::<Vec<_>>()
        };
        let pair = |host: &str, seen_at: &str| (host.to_owned(), seen_at.to_owned());

        assert_eq!(hosts(&own(None), false, false), [pair("/srv/b", "/mnt/b")]);
        assert_eq!(hosts(&own(Some("/x")), false, false), [pair("/srv/b", "/mnt/b"), pair("/apps", "/x")]);
        assert_eq!(hosts(&own(None), true, false), [pair("/srv/b", "/mnt/b"), pair("/apps", "/apps")]);
        assert_eq!(hosts(&own(None), true, true), [pair("/srv/b", "/mnt/b"), pair("/", "/")]);
    }

    #[test]
    fn t1_through_another_folder_only_what_lies_in_it_is_known() {
        let folder = tempfile::tempdir().expect("a folder");
        let root = folder.path().canonicalize().expect("there");
        fs::create_dir_all(root.join("apps/a")).expect("made");
        symlink("a", root.join("apps/inside")).expect("linked");
        symlink("/etc", root.join("apps/outside")).expect("linked");
        symlink(root.join("apps"), root.join("seen")).expect("linked");
        let views = vec![View { host: "/home/me/apps".to_owned(), seen_at: root.join("seen") }];

        let look = |path: &str| look(&views, path).map(|fact| (fact.real, fact.kind));

        assert_eq!(look("/home/me/apps"), Some(("/home/me/apps".to_owned(), PathKind::Folder)));
        assert_eq!(look("/home/me/apps/inside"), Some(("/home/me/apps/a".to_owned(), PathKind::Folder)));
        assert_eq!(look("/home/me/apps/new"), Some(("/home/me/apps/new".to_owned(), PathKind::Missing)));
        assert_eq!(look("/home/me/apps/outside").map(|(_, kind)| kind), Some(PathKind::Other));
        assert_eq!(look("/home/me/appsandmore"), None);
        assert_eq!(look("/etc"), None);
    }
}
