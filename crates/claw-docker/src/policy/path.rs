//! Paths of the host, compared by text.
//!
//! Everything here is pure. Symbolic links are resolved when facts are gathered; what is compared here is the result.

use std::borrow::Cow;

/// Files of an installed app that say what it is made of, and with which passwords.
pub(super) const APP_FILES: [&str; 5] =
    [".env", "compose.yaml", "compose.yml", "docker-compose.yaml", "docker-compose.yml"];

/// Longest path the kernel takes.
const MAX_PATH_BYTES: usize = 4095;

/// Parts of a host that belong to the system and to the Engine: nothing in, at or above them may be mounted, unless the
/// administrator names a single file.
const SYSTEM: &[&str] = &[
    "/bin",
    "/boot",
    "/dev",
    "/etc",
    "/lib",
    "/lib32",
    "/lib64",
    "/libx32",
    "/proc",
    "/run",
    "/sbin",
    "/sys",
    "/usr",
    "/var/lib/containerd",
    "/var/lib/containers",
    "/var/lib/docker",
    "/var/lib/kubelet",
    "/var/run",
    "/var/spool/cron",
];

/// What the kernel shows as files.
const KERNELS: &[&str] = &["/dev", "/proc", "/sys"];

/// File names under which container engines listen.
const ENGINE_SOCKETS: &[&str] = &[
    "buildkitd.sock",
    "containerd.sock",
    "containerd.sock.ttrpc",
    "cri-dockerd.sock",
    "crio.sock",
    "docker.sock",
    "dockershim.sock",
    "podman.sock",
];

/// Returns an absolute path in its one spelling, or `None` when it is not absolute, climbs with `..`, or holds what no
/// path should.
pub(super) fn normal(path: &str) -> Option<Cow<'_, str>> {
    if !path.starts_with('/') || path.len() > MAX_PATH_BYTES || path.chars().any(char::is_control) {
        return None;
    }
    let parts = || path.split('/').filter(|part| !part.is_empty() && *part != ".");
    if parts().any(|part| part == "..") {
        return None;
    }
    let plain = path.len() > 1 && path[1..].split('/').all(|part| !part.is_empty() && part != ".");
    if plain || path == "/" {
        return Some(Cow::Borrowed(path));
    }
    let mut text = String::with_capacity(path.len());
    for part in parts() {
        text.push('/');
        text.push_str(part);
    }
    if text.is_empty() {
        text.push('/');
    }
    Some(Cow::Owned(text))
}

/// Tells whether a path is `root` or below it. Both are in their one spelling.
pub(super) fn is_beneath(path: &str, root: &str) -> bool {
    root == "/" || path.strip_prefix(root).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Tells whether a path is below `root` and not `root` itself.
pub(super) fn is_strictly_beneath(path: &str, root: &str) -> bool {
    path != root && is_beneath(path, root)
}

/// Returns the part of the system that a path is, holds or lies in.
pub(super) fn system_part(path: &str) -> Option<&'static str> {
    SYSTEM.iter().copied().find(|part| is_beneath(path, part) || is_beneath(part, path))
}

/// Tells whether a path is, holds or lies in what the kernel shows as files.
pub(super) fn is_kernels(path: &str) -> bool {
    KERNELS.iter().any(|part| is_beneath(path, part) || is_beneath(part, path))
}

/// Tells whether a path is named like the socket of a container engine.
pub(super) fn is_engine_socket(path: &str) -> bool {
    path.rsplit('/').next().is_some_and(|name| ENGINE_SOCKETS.contains(&name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_path_has_one_spelling() {
        for (given, one) in [
            ("/", "/"),
            ("//", "/"),
            ("/.", "/"),
            ("/./", "/"),
            ("/srv", "/srv"),
            ("/srv/", "/srv"),
            ("//srv//a", "/srv/a"),
            ("/srv/./a/.", "/srv/a"),
            ("/srv/...", "/srv/..."),
            ("/srv/a..b", "/srv/a..b"),
            ("/srv/ a", "/srv/ a"),
        ] {
            assert_eq!(normal(given).as_deref(), Some(one), "{given}");
        }
    }

    #[test]
    fn what_is_not_absolute_or_climbs_is_no_path() {
        for path in [
            "",
            "srv",
            "./srv",
            "~/srv",
            "..",
            "/..",
            "/srv/..",
            "/srv/../etc",
            "/srv\0",
            "/srv\n",
            "C:\\srv",
            " /srv",
        ] {
            assert_eq!(normal(path), None, "{path:?}");
        }
        assert_eq!(normal(&format!("/{}", "a/".repeat(3000))), None);
    }

    #[test]
    fn beneath_ends_at_a_slash() {
        assert!(is_beneath("/srv", "/srv") && is_beneath("/srv/a", "/srv") && is_beneath("/srv", "/"));
        assert!(!is_beneath("/srv2", "/srv") && !is_beneath("/", "/srv"));
        assert!(!is_strictly_beneath("/srv", "/srv") && is_strictly_beneath("/srv/a", "/srv"));
    }

    #[test]
    fn what_holds_a_part_of_the_system_is_system() {
        for path in
            ["/", "/etc", "/etc/passwd", "/var", "/var/lib", "/var/lib/docker/volumes", "/run/docker.sock"]
        {
            assert!(system_part(path).is_some(), "{path}");
        }
        for path in
            ["/srv", "/home/me", "/root/.wagmios/containers", "/var/lib/claw", "/etcetera", "/opt/etc"]
        {
            assert_eq!(system_part(path), None, "{path}");
        }
    }
}
