//! What is mounted, and where.

use std::{borrow::Cow, collections::BTreeMap};

use super::{Case, is_named, is_plain_name, quoted, toml_text};
use crate::policy::{
    ContainerWish, Facts, MountWishSource, PathKind,
    facts::VolumeFact,
    path::{self, is_beneath, is_strictly_beneath},
};

/// Longest name of a volume, in bytes.
const MAX_VOLUME_NAME_BYTES: usize = 128;
/// Places in a container that show the kernel, or the container's own devices.
const SYSTEM_TARGETS: &[&str] = &["/proc", "/sys", "/dev"];
/// Ways of spreading that stay inside the container.
const PRIVATE: &[&str] = &["", "private", "rprivate"];

pub(super) fn judge(case: &mut Case<'_>, result: &mut ContainerWish) {
    for (index, from) in result.volumes_from.iter().enumerate() {
        let message = format!("the mounts of {} are not taken over: name each of them", quoted(from));
        case.refuse("mounts.volumes-from", format!("volumes_from[{index}]"), message);
    }
    let mut mounts = std::mem::take(&mut result.mounts);
    let mut targets: Vec<String> = Vec::with_capacity(mounts.len());
    let mut binds = Vec::new();
    for (index, mount) in mounts.iter_mut().enumerate() {
        if let Some(target) = judge_target(case, index, &mount.target, &targets) {
            targets.push(target.clone());
            mount.target = target;
        }
        let spreads = mount.propagation.take();
        if let Some(spreads) = spreads.filter(|spreads| !PRIVATE.contains(&spreads.as_str())) {
            let message = format!(
                "with the propagation {}, mounts could spread between host and container",
                quoted(&spreads)
            );
            case.refuse("mounts.propagation", format!("mounts[{index}].propagation"), message);
        }
        let field = format!("mounts[{index}].source");
        match &mut mount.source {
            MountWishSource::Bind(source) => {
                if let Some(real) = judge_bind(case, &field, source, mount.read_only) {
                    *source = real;
                    binds.push(index);
                }
            }
            MountWishSource::Volume { name, driver, options } => {
                driver.take_if(|driver| driver.is_empty() || driver == "local");
                judge_volume(case, &field, name, driver.as_deref(), options);
            }
            MountWishSource::Anonymous | MountWishSource::Tmpfs { .. } => {}
        }
    }
    result.mounts = mounts;
    for index in binds {
        judge_nesting(case, result, index);
    }
}

/// Returns the mounted folders of the host that are not there.
pub(super) fn missing(facts: &Facts, result: &ContainerWish) -> Vec<String> {
    let sources = result.mounts.iter().filter_map(|mount| match &mount.source {
        MountWishSource::Bind(source) => Some(source),
        _ => None,
    });
    // Judged by the name that was asked for, and here by the real one.
    let is_missing = |source: &&String| {
        facts.paths.values().any(|fact| fact.kind == PathKind::Missing && fact.real == **source)
    };
    sources.filter(is_missing).cloned().collect()
}

fn judge_target(case: &mut Case<'_>, index: usize, target: &str, others: &[String]) -> Option<String> {
    let field = format!("mounts[{index}].target");
    let normal = path::normal(target).filter(|normal| normal != "/").map(Cow::into_owned);
    let Some(normal) = normal else {
        let message =
            format!("{} is no place for a mount: expected an absolute path without `..`", quoted(target));
        case.refuse("mounts.target", field, message);
        return None;
    };
    // /dev/shm is the one place below /dev that is meant for files.
    let shows_kernel =
        SYSTEM_TARGETS.iter().any(|place| is_beneath(&normal, place)) && !is_beneath(&normal, "/dev/shm");
    if shows_kernel {
        let message = format!(
            "{} shows the kernel or the container's devices; nothing is mounted there",
            quoted(&normal)
        );
        case.refuse("mounts.target-system", field, message);
        return None;
    }
    if others.contains(&normal) {
        case.refuse("mounts.target", field, format!("two mounts have the place {}", quoted(&normal)));
        return None;
    }
    Some(normal)
}

/// Judges a path of the host, and returns how it is named to the Engine: without symbolic links, so that what was
/// judged is what is mounted.
fn judge_bind(case: &mut Case<'_>, field: &str, source: &str, read_only: bool) -> Option<String> {
    let Some(asked) = path::normal(source) else {
        let message = format!("{} is no absolute path without `..`", quoted(source));
        case.refuse("mounts.path", field, message);
        return None;
    };
    let fact = case.facts.paths.get(asked.as_ref());
    let real = fact.map_or(asked.as_ref(), |fact| fact.real.as_str());

    if let Some(permitted) = judge_engine_socket(case, field, &asked, real, read_only) {
        return permitted;
    }
    if let Some(own) = own_part(case, real) {
        let rule = if own == real
            && case.facts.own.apps_folder.as_deref().is_some_and(|apps| resolved(case, apps) == real)
        {
            "mounts.whole-root"
        } else {
            "mounts.own-folder"
        };
        case.refuse(rule, field, format!("{} is, or holds, data of ClawMachine itself", quoted(&asked)));
        return None;
    }
    if is_engines(case, real) {
        case.refuse("mounts.system", field, format!("{} belongs to the Engine", quoted(&asked)));
        return None;
    }
    let Some(root) = root_of(case, real) else {
        return judge_outside(case, field, &asked, real, fact.is_some(), read_only);
    };
    let Some(fact) = fact else {
        let message = format!("{} cannot be looked at from here, so it may lead anywhere", quoted(&asked));
        case.refuse("mounts.unseen", field, message);
        return None;
    };
    match fact.kind {
        PathKind::AppFiles if is_app(case, real) => {
            let message =
                format!("{} is, or holds, the compose file and passwords of an app", quoted(&asked));
            case.refuse("mounts.app-files", field, message);
            return None;
        }
        PathKind::Missing | PathKind::Folder | PathKind::File | PathKind::AppFiles => {}
        PathKind::Socket | PathKind::Device | PathKind::Other => {
            case.refuse("mounts.special", field, format!("{} is neither file nor folder", quoted(&asked)));
            return None;
        }
    }
    if root.read_only && !read_only {
        let message = format!("{} may be mounted for reading only", quoted(&asked));
        let permit = format!("mounts.roots = [{{ path = {} }}]", toml_text(root.path));
        case.refuse_unless("mounts.read-only", field, message, permit);
        return None;
    }
    Some(fact.real.clone())
}

/// Tells whether a path is where the files of apps lie: `<apps>/<app>/<install>/`. What an app has put deeper is its own.
fn is_app(case: &Case<'_>, real: &str) -> bool {
    let Some(apps) = case.facts.own.apps_folder.as_deref().map(|apps| resolved(case, apps)) else {
        return false;
    };
    let inner = real.strip_prefix(apps).unwrap_or_default().trim_start_matches('/');
    match inner.split('/').collect::<Vec<_>>().as_slice() {
        [""] => false,
        [_] | [_, _] => true,
        [_, _, file] => path::APP_FILES.contains(file),
        _ => false,
    }
}

/// Tells whether a path is, holds or lies in the Engine's folder. The apps' folder may be a volume of ours, and so lie
/// in there too.
fn is_engines(case: &Case<'_>, real: &str) -> bool {
    let Some(folder) = case.facts.engine_folder.as_deref().map(|folder| resolved(case, folder)) else {
        return false;
    };
    let apps = case.facts.own.apps_folder.as_deref().map(|apps| resolved(case, apps));
    let is_apps =
        apps.is_some_and(|apps| is_strictly_beneath(apps, folder) && is_strictly_beneath(real, apps));
    !is_apps && (is_beneath(real, folder) || is_beneath(folder, real))
}

/// Judges what is not below a folder of the policy: single files that are named, or nothing.
fn judge_outside(
    case: &mut Case<'_>,
    field: &str,
    asked: &str,
    real: &str,
    is_seen: bool,
    read_only: bool,
) -> Option<String> {
    let named =
        |list: &[String]| list.iter().any(|path| path::normal(path).is_some_and(|path| path == asked));
    if named(&case.rules.mounts.read_only_paths) || named(&case.grants.host_paths_read_only) {
        if read_only {
            // By the name that was reviewed, so that judging the result again finds it. What it leads to is the host's.
            return Some(asked.to_owned());
        }
        case.refuse("mounts.read-only", field, format!("{} may be mounted for reading only", quoted(asked)));
        return None;
    }
    if !is_seen && root_of(case, asked).is_some() {
        case.refuse("mounts.unseen", field, format!("{} cannot be looked at from here", quoted(asked)));
    } else if asked != real && root_of(case, asked).is_some() {
        let message = format!("{} leads out of the permitted folders by a symbolic link", quoted(asked));
        case.refuse("mounts.outside-roots", field, message);
    } else if path::system_part(real).is_some() || path::system_part(asked).is_some() {
        case.refuse(
            "mounts.system",
            field,
            format!("{} belongs to the host's system, or holds a part of it", quoted(asked)),
        );
    } else {
        let message = format!("{} is not below a folder that may be mounted", quoted(asked));
        let permit = format!("mounts.roots = [{{ path = {} }}]", toml_text(asked));
        case.refuse_unless("mounts.outside-roots", field, message, permit);
    }
    None
}

/// Judges the socket of an engine. `None`: it is none; `Some(None)`: refused.
fn judge_engine_socket(
    case: &mut Case<'_>,
    field: &str,
    asked: &str,
    real: &str,
    read_only: bool,
) -> Option<Option<String>> {
    let is_ours = |path: &str| {
        matches!(path, "/var/run/docker.sock" | "/run/docker.sock")
            || case.facts.engine_socket.as_deref() == Some(path)
    };
    if !(is_ours(asked) || is_ours(real) || path::is_engine_socket(asked) || path::is_engine_socket(real)) {
        return None;
    }
    let is_ours = is_ours(asked);
    let is_permitted = case.rules.mounts.docker_socket || case.grants.docker_socket.is_some() && read_only;
    if is_ours && is_permitted {
        return Some(Some(asked.to_owned()));
    }
    let message = format!("whoever has {} commands the whole host", quoted(asked));
    if is_ours {
        case.refuse_unless("mounts.engine-socket", field, message, "mounts.docker_socket = true");
    } else {
        case.refuse("mounts.engine-socket", field, message);
    }
    Some(None)
}

/// One folder below which files and folders may be mounted.
struct FoundRoot<'a> {
    path: &'a str,
    read_only: bool,
}

/// Returns the folder of the policy that a path lies in; the innermost one, since it may be stricter.
fn root_of<'a>(case: &Case<'a>, real: &str) -> Option<FoundRoot<'a>> {
    let apps = case.facts.own.apps_folder.as_deref().map(|path| FoundRoot { path, read_only: false });
    let named =
        case.rules.mounts.roots.iter().map(|root| FoundRoot { path: &root.path, read_only: root.read_only });
    apps.into_iter()
        .chain(named)
        .filter(|root| is_beneath(real, resolved(case, root.path)))
        .max_by_key(|root| resolved(case, root.path).len())
}

/// Returns a folder of ours that a path is, holds or lies in. Below the folder of the apps is nobody's.
fn own_part<'a>(case: &Case<'a>, real: &str) -> Option<&'a str> {
    let own = &case.facts.own;
    let apps = own.apps_folder.as_deref().map(|path| resolved(case, path));
    let holds_ours = |folder: &&str| is_beneath(folder, real) || is_beneath(real, folder);
    if let Some(apps) = apps {
        if is_beneath(apps, real) {
            return Some(apps);
        }
        if is_strictly_beneath(real, apps) {
            // Our own data may lie below the apps' folder only by mistake; then it is still ours.
            return own
                .folders
                .iter()
                .map(|path| resolved(case, path))
                .find(|folder| is_strictly_beneath(folder, apps) && holds_ours(folder));
        }
    }
    own.folders.iter().map(|path| resolved(case, path)).find(holds_ours)
}

/// Returns a folder of the host without symbolic links, as far as that is known.
fn resolved<'a>(case: &Case<'a>, path: &'a str) -> &'a str {
    case.facts.paths.get(path).map_or(path, |fact| fact.real.as_str())
}

/// Refuses what lies below a folder that another container can write, and the other way around: a symbolic link put
/// in its place would be followed, as the Engine does at every start, to anywhere on the host.
fn judge_nesting(case: &mut Case<'_>, result: &ContainerWish, index: usize) {
    if case.rules.mounts.nested {
        return;
    }
    let mount = &result.mounts[index];
    let MountWishSource::Bind(source) = &mount.source else { return };
    if root_of(case, source).is_none() {
        return;
    }
    let same = |container: Option<&str>| container.is_some() && container == result.name.as_deref();
    let others = case.facts.mounted.iter().filter(|other| !same(other.container.as_deref()));
    let of_others = others.map(|other| (other.source.as_str(), other.read_only));
    let of_its_own = result.mounts.iter().filter_map(|other| match &other.source {
        MountWishSource::Bind(source) => Some((source.as_str(), other.read_only)),
        _ => None,
    });
    let clash = of_others.chain(of_its_own).find(|&(other, other_read_only)| {
        is_strictly_beneath(source, other) && !other_read_only
            || is_strictly_beneath(other, source) && !mount.read_only
    });
    if let Some((other, _)) = clash {
        let message = format!(
            "{} and {} lie one in the other, and what writes in the outer one could put a link in the place of the inner",
            quoted(source),
            quoted(other)
        );
        case.refuse_unless(
            "mounts.nested",
            format!("mounts[{index}].source"),
            message,
            "mounts.nested = true",
        );
    }
}

fn judge_volume(
    case: &mut Case<'_>,
    field: &str,
    name: &str,
    driver: Option<&str>,
    options: &BTreeMap<String, String>,
) {
    if name.len() < 2 || !is_plain_name(name, MAX_VOLUME_NAME_BYTES) {
        case.refuse("mounts.volume-name", field, format!("{} is no name of a volume", quoted(name)));
        return;
    }
    let existing = match case.facts.volumes.get(name) {
        Some(existing) => existing.as_ref(),
        None => {
            case.refuse(
                "mounts.volume-unseen",
                field,
                format!("the volume {} could not be looked at", quoted(name)),
            );
            return;
        }
    };
    if is_named(name, &case.facts.own.volumes) || existing.is_some_and(|volume| is_ours(case, volume)) {
        case.refuse("mounts.own-volume", field, format!("the volume {} is ClawMachine's own", quoted(name)));
        return;
    }
    let is_named_by_policy =
        existing.is_some() && case.rules.mounts.volumes.iter().any(|named| named == name);
    if !is_named_by_policy && let Some(existing) = existing {
        judge_volume_kind(case, field, name, &existing.driver, &existing.options, true);
    }
    judge_volume_kind(case, field, name, driver.unwrap_or("local"), options, false);
}

/// A volume of the Engine's own driver without options is a folder that the Engine made. Everything else leads
/// somewhere: `o=bind` to any folder of the host, `type=ext4` to its disks, `type=nfs` to the network.
fn judge_volume_kind(
    case: &mut Case<'_>,
    field: &str,
    name: &str,
    driver: &str,
    options: &BTreeMap<String, String>,
    exists: bool,
) {
    let permit = exists.then(|| format!("mounts.volumes = [{}]", toml_text(name)));
    if !matches!(driver, "" | "local") {
        let message = format!("the volume {} is of the driver {}", quoted(name), quoted(driver));
        case.push("mounts.volume-driver", field.to_owned(), message, permit);
    } else if !options.is_empty() {
        let message = format!("the volume {} leads elsewhere by the options of its driver", quoted(name));
        case.push("mounts.volume-options", field.to_owned(), message, permit);
    }
}

fn is_ours(case: &Case<'_>, volume: &VolumeFact) -> bool {
    let own = &case.facts.own;
    volume.labels.keys().any(|key| own.volume_labels.contains(key))
}
