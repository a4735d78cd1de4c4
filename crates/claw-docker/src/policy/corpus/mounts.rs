//! Mounts that reach beyond an app's own files.

use crate::policy::{ContainerWish, MountWishSource};

use super::Corpus;
use super::world::{APPS, bind, mount, volume, volume_with};

pub(super) fn mounts(corpus: &mut Corpus) {
    let with_bind = |wish: &mut ContainerWish, path: &str| wish.mounts.push(bind(path));
    let below = |paths: &[&str]| paths.iter().map(|path| format!("{APPS}/{path}")).collect::<Vec<_>>();

    corpus.each(
        "mounts.engine-socket",
        &[
            "/var/run/docker.sock",
            "/run/docker.sock",
            "//var//run/./docker.sock",
            "/var/run/docker.sock/",
            "/run/containerd/containerd.sock",
            "/run/containerd/containerd.sock.ttrpc",
            "/run/podman/podman.sock",
            "/run/user/1000/podman/podman.sock",
            "/run/user/1000/docker.sock",
            "/var/run/crio/crio.sock",
            "/var/run/cri-dockerd.sock",
            "/var/run/dockershim.sock",
            "/run/buildkit/buildkitd.sock",
            "/home/me/.docker/run/docker.sock",
            "/home/me/.wagmios/containers/link-to-socket",
            "/home/me/.wagmios/containers/link-to-containerd",
        ],
        with_bind,
    );
    corpus.each(
        "mounts.system",
        &[
            "/etc",
            "/etc/",
            "/etc/shadow",
            "/etc/cron.d",
            "/etc/systemd/system",
            "/etc/docker/daemon.json",
            "/proc",
            "/proc/1/root",
            "/proc/sys/kernel/core_pattern",
            "/proc/sysrq-trigger",
            "/sys",
            "/sys/fs/cgroup",
            "/sys/kernel/uevent_helper",
            "/dev",
            "/dev/mem",
            "/dev/sda",
            "/boot",
            "/usr",
            "/usr/local/bin",
            "/bin",
            "/sbin",
            "/lib",
            "/lib64",
            "/lib/modules",
            "/run",
            "/run/systemd",
            "/var/run",
            "/var/lib/docker",
            "/var/lib/docker/volumes",
            "/var/lib/docker/volumes/claw-data/_data",
            "/var/lib/containerd",
            "/var/lib/containers/storage",
            "/var/lib/kubelet/pods",
            "/var/spool/cron/crontabs",
            "/srv/docker",
            "/srv/docker/volumes/x/_data",
            "/srv",
        ],
        with_bind,
    );
    corpus.each(
        "mounts.outside-roots",
        &[
            "/opt",
            "/mnt",
            "/mnt/backup",
            "/media",
            "/tmp",
            "/srv/other",
            "/root",
            "/root/.ssh",
            "/home/you",
            "/home/me/documents",
            "/home/me/.ssh",
            "/home/me/.wagmios-other",
            "/home/me2/.wagmios/containers/a",
            "/HOME/me/.wagmios/containers/a",
            "/home/me/.wagmiosX/containers/a",
            "/hom\u{0435}/me/.wagmios/containers/a",
            "/host",
            "/hostfs",
            "/var/log",
            "/var/backups",
            "/ /home/me/.wagmios/containers/a",
        ],
        with_bind,
    );
    for path in below(&["link-to-home"]) {
        corpus.one("mounts.outside-roots", &path, |wish| with_bind(wish, &path));
    }
    // Where a link leads decides the rule as well.
    for (path, rule) in [
        ("link-to-etc", "mounts.outside-roots"),
        ("link-to-root", "mounts.own-folder"),
        ("link-to-own", "mounts.own-folder"),
    ] {
        corpus.one(rule, path, |wish| with_bind(wish, &format!("{APPS}/{path}")));
    }
    corpus.each(
        "mounts.own-folder",
        &[
            "/",
            "//",
            "/.",
            "/var",
            "/var/lib",
            "/home/me/.wagmios",
            "/home/me/.wagmios/",
            "/home/me/.wagmios/keys",
            "/home/me/.wagmios/./keys",
            "/home/me/.wagmios/containers2",
            "/home/me",
            "/home",
            "/var/lib/claw",
            "/var/lib/claw/claw.db",
        ],
        with_bind,
    );
    corpus.each(
        "mounts.whole-root",
        &[APPS, "/home/me/.wagmios/containers/", "/home/me/.wagmios//containers/."],
        with_bind,
    );
    corpus.each(
        "mounts.path",
        &[
            "",
            ".",
            "..",
            "./config",
            "config/../..",
            "../../etc",
            "~",
            "~/.ssh",
            "~root",
            "$HOME",
            "${HOME}/.ssh",
            "/home/me/.wagmios/containers/../../.ssh",
            "/home/me/.wagmios/containers/a/../../../../../etc",
            "/..",
            "/../etc",
            "C:\\",
            "\\etc",
            "file:///etc",
            " /etc",
            "\u{feff}/etc",
            "\u{2044}etc",
            "/home/me/.wagmios/containers/a\0/etc",
            "/home/me/.wagmios/containers/a\n",
            "/home/me/.wagmios/containers/\u{85}a",
            "/home/me/.wagmios/containers/a\r\n/etc:/etc",
        ],
        with_bind,
    );
    for path in below(&["dangling", "pipe", "app.sock", "sda"]) {
        corpus.one("mounts.special", &path, |wish| with_bind(wish, &path));
    }
    for path in below(&["vault", "vault/home", "vault/home/.env", "vault/home/compose.yaml", "link-to-vault"])
    {
        corpus.one("mounts.app-files", &path, |wish| with_bind(wish, &path));
        corpus.one("mounts.app-files", &format!("{path}, reading only"), |wish| {
            with_bind(wish, &path);
            wish.mounts[0].read_only = true;
        });
    }
    for path in below(&["unseen", "unseen/a"]) {
        corpus.one("mounts.unseen", &path, |wish| with_bind(wish, &path));
    }
    for path in below(&["jellyfin/config", "jellyfin/a/b/c", "deep", "deep/down"]) {
        corpus.one("mounts.nested", &path, |wish| with_bind(wish, &path));
    }
    corpus.one("mounts.nested", "two mounts of one container", |wish| {
        wish.mounts = vec![bind(&format!("{APPS}/a")), bind(&format!("{APPS}/a/b"))];
        wish.mounts[1].target = "/other".to_owned();
        wish.mounts[1].read_only = true;
    });
    corpus.one("mounts.nested", "reading only what another can replace", |wish| {
        with_bind(wish, &format!("{APPS}/jellyfin/link"));
        wish.mounts[0].read_only = true;
    });
    for path in ["/etc/localtime", "/etc/timezone", "//etc/./localtime"] {
        corpus.one("mounts.read-only", path, |wish| with_bind(wish, path));
    }
    corpus.under(
        "mounts.roots = [{ path = '/srv/books', read_only = true }]",
        "mounts.read-only",
        "a root for reading",
        |wish| {
            with_bind(wish, "/srv/books/a");
        },
    );
    corpus.under(
        "mounts.roots = [{ path = '/srv' }, { path = '/srv/books', read_only = true }]",
        "mounts.read-only",
        "a root for reading inside one for writing",
        |wish| with_bind(wish, "/srv/books/a"),
    );
    corpus.under("mounts.docker_socket = true", "mounts.engine-socket", "permitted, but by a link", |wish| {
        with_bind(wish, &format!("{APPS}/link-to-socket"));
    });
    corpus.under(
        "mounts.roots = [{ path = '/home/me/documents' }]",
        "mounts.own-folder",
        "a root beside ours",
        |wish| {
            with_bind(wish, "/home/me");
        },
    );
    corpus.under(
        "mounts.roots = [{ path = '/srv' }]",
        "mounts.system",
        "a root above the Engine's folder",
        |wish| {
            with_bind(wish, "/srv/docker/overlay2");
        },
    );
    corpus.under(
        "mounts.roots = [{ path = '/srv' }]",
        "mounts.system",
        "a root that holds the Engine's folder",
        |wish| {
            with_bind(wish, "/srv");
        },
    );
    for spelling in [
        "shared",
        "rshared",
        "slave",
        "rslave",
        "unbindable",
        "RSHARED",
        "z",
        "Z",
        "rprivate,shared",
        "cached",
    ] {
        corpus.one("mounts.propagation", spelling, |wish| {
            with_bind(wish, &format!("{APPS}/a"));
            wish.mounts[0].propagation = Some(spelling.to_owned());
        });
    }
    for from in ["jellyfin", "jellyfin:ro", "wagmios-backend", "container:abc", ""] {
        corpus.one("mounts.volumes-from", from, |wish| wish.volumes_from.push(from.to_owned()));
    }
}

pub(super) fn volumes(corpus: &mut Corpus) {
    let with = |wish: &mut ContainerWish, name: &str| wish.mounts.push(volume(name));
    corpus.each("mounts.volume-options", &["bound-root", "bound-apps", "disk", "share"], with);
    corpus.each("mounts.volume-driver", &["cloud"], with);
    corpus.each("mounts.volume-unseen", &["not-looked-at"], with);
    corpus.each(
        "mounts.own-volume",
        &[
            "somebodys-home",
            "claw-data",
            "claw_data",
            "CLAW-DATA",
            "prod_claw-data",
            "clawmachine-data",
            "stack_clawmachine_data",
            "wagmios_data",
            "wagmios_wagmios_data",
            "claw-home-0190aaaa-bbbb-7ccc-8ddd-eeeeffff0000",
        ],
        with,
    );
    corpus.each(
        "mounts.volume-name",
        &[
            "",
            ".",
            "..",
            "a",
            "/etc",
            "/",
            "./a",
            "../a",
            "a/b",
            "a:b",
            "a b",
            "-v",
            "--driver",
            "_a",
            "a\0",
            "a\nb",
            "data,volume-driver=x",
            "ä",
            "type=bind,source=/",
        ],
        with,
    );
    let options: &[&[(&str, &str)]] = &[
        &[("type", "none"), ("o", "bind"), ("device", "/")],
        &[("type", "none"), ("o", "rbind"), ("device", "/etc")],
        &[("type", "none"), ("o", "rw,bind"), ("device", "/var/run/docker.sock")],
        &[("type", "bind"), ("device", "/")],
        &[("o", "bind"), ("device", APPS)],
        &[("O", "bind"), ("Device", "/")],
        &[("o", "BIND"), ("device", "/")],
        &[("o", " bind"), ("device", "/")],
        &[("type", "ext4"), ("device", "/dev/sda1")],
        &[("type", "btrfs"), ("device", "/dev/mapper/root")],
        &[("type", "overlay"), ("o", "lowerdir=/,upperdir=/tmp/u,workdir=/tmp/w"), ("device", "overlay")],
        &[("type", "proc"), ("device", "proc")],
        &[("type", "sysfs"), ("device", "sysfs")],
        &[("type", "cgroup"), ("device", "cgroup")],
        &[("type", "nfs"), ("o", "addr=10.0.0.1"), ("device", ":/")],
        &[("type", "cifs"), ("o", "username=a,password=b"), ("device", "//10.0.0.1/c$")],
        &[("type", "tmpfs"), ("device", "tmpfs"), ("o", "size=100g")],
        &[("mountpoint", "/")],
        &[("size", "100g")],
        &[("", "")],
    ];
    for options in options {
        for name in ["new-one", "plain"] {
            corpus.one("mounts.volume-options", &format!("{name} {options:?}"), |wish| {
                wish.mounts.push(volume_with(name, Some("local"), options));
            });
        }
    }
    for driver in ["local-persist", "rclone", "vieux/sshfs", "Local", "local ", "nfs", "convoy", "flocker"] {
        corpus.one("mounts.volume-driver", driver, |wish| {
            wish.mounts.push(volume_with("new-one", Some(driver), &[]))
        });
    }
    corpus.under(
        "mounts.volumes = ['new-one']",
        "mounts.volume-options",
        "a permitted name that does not exist yet",
        |wish| {
            wish.mounts.push(volume_with("new-one", None, &[("o", "bind"), ("device", "/")]));
        },
    );
    corpus.under("mounts.volumes = ['claw-data']", "mounts.own-volume", "ours, although named", |wish| {
        with(wish, "claw-data")
    });
}

pub(super) fn targets(corpus: &mut Corpus) {
    let at = |wish: &mut ContainerWish, target: &str| {
        wish.mounts.push(mount(MountWishSource::Anonymous, target));
    };
    corpus.each(
        "mounts.target",
        &[
            "",
            "/",
            "//",
            "/.",
            "data",
            "./data",
            "../data",
            "/data/..",
            "/data/../../proc",
            "~/data",
            "/da\0ta",
            "/data\n",
            "C:\\data",
            "$HOME",
        ],
        at,
    );
    corpus.each(
        "mounts.target-system",
        &[
            "/proc",
            "/proc/",
            "//proc",
            "/./proc",
            "/proc/self/attr",
            "/proc/sys",
            "/sys",
            "/sys/fs/cgroup",
            "/dev",
            "/dev/",
            "/dev/pts",
            "/dev/mqueue",
            "/dev/shm2",
        ],
        at,
    );
    for target in ["/proc", "/sys", "/dev"] {
        corpus.one("mounts.target-system", &format!("tmpfs at {target}"), |wish| {
            wish.mounts.push(mount(MountWishSource::Tmpfs { bytes: Some(1) }, target));
        });
    }
    corpus.one("mounts.target", "two at one place", |wish| {
        at(wish, "/data");
        at(wish, "//data/.");
    });
    for bytes in [(1 << 30) + 1, 1 << 40, u64::MAX] {
        corpus.one("limits.tmpfs", &bytes.to_string(), |wish| {
            wish.mounts.push(mount(MountWishSource::Tmpfs { bytes: Some(bytes) }, "/data"));
        });
    }
}
