//! Attempts to get more than an app may have. None passes, and each is refused by the rule that was meant for it.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use claw_core::{Coded, ErrorCode};
use claw_docker::policy::{
    ContainerWish, DeviceWish, Facts, Grants, HealthWish, LogWish, MountWishSource, NetworkWish, Policy,
    PortWish, Protocol, RULES, Refused, SocketGrant,
};

use super::world::{APPS, OWN_ID, bind, facts, mount, pairs, plain, texts, volume, volume_with};

/// One attempt.
struct Attempt {
    name: String,
    rule: &'static str,
    policy: &'static str,
    wish: ContainerWish,
}

/// Collects attempts.
#[derive(Default)]
struct Corpus {
    attempts: Vec<Attempt>,
}

impl Corpus {
    /// One attempt.
    fn one(&mut self, rule: &'static str, name: &str, change: impl FnOnce(&mut ContainerWish)) {
        self.under("", rule, name, change);
    }

    /// One attempt under a policy of its own.
    fn under(
        &mut self,
        policy: &'static str,
        rule: &'static str,
        name: &str,
        change: impl FnOnce(&mut ContainerWish),
    ) {
        let mut wish = plain();
        change(&mut wish);
        self.attempts.push(Attempt { name: format!("{rule}: {name}"), rule, policy, wish });
    }

    /// One attempt for each spelling.
    fn each(&mut self, rule: &'static str, spellings: &[&str], change: impl Fn(&mut ContainerWish, &str)) {
        for spelling in spellings {
            self.one(rule, spelling, |wish| change(wish, spelling));
        }
    }
}

fn mounts(corpus: &mut Corpus) {
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

fn volumes(corpus: &mut Corpus) {
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

fn targets(corpus: &mut Corpus) {
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

fn powers(corpus: &mut Corpus) {
    corpus.one("powers.privileged", "privileged", |wish| wish.privileged = true);
    corpus.each(
        "powers.capabilities",
        &[
            "ALL",
            "all",
            "CAP_ALL",
            "Cap_All",
            "SYS_ADMIN",
            "sys_admin",
            "CAP_SYS_ADMIN",
            "cap_sys_admin",
            "SYS_MODULE",
            "SYS_RAWIO",
            "SYS_PTRACE",
            "SYS_BOOT",
            "SYS_TIME",
            "SYS_NICE",
            "SYS_RESOURCE",
            "DAC_READ_SEARCH",
            "NET_ADMIN",
            "NET_RAW",
            "MKNOD",
            "AUDIT_WRITE",
            "BPF",
            "PERFMON",
            "SYSLOG",
            "MAC_ADMIN",
            "MAC_OVERRIDE",
            "CHECKPOINT_RESTORE",
            "IPC_LOCK",
            "LINUX_IMMUTABLE",
        ],
        |wish, name| wish.cap_add.push(name.to_owned()),
    );
    corpus.each(
        "powers.capability-unknown",
        &["", "ADMIN", "SYS_ADMIN ", "*", "CAP_CAP_SYS_ADMIN", "ＡLL", "0x15"],
        |wish, name| {
            wish.cap_add.push(name.to_owned());
        },
    );
    corpus.one("powers.capabilities", "dropped and added again", |wish| {
        wish.cap_drop = texts(&["ALL"]);
        wish.cap_add = texts(&["SYS_ADMIN"]);
    });
    corpus.one("powers.capability-unknown", "a drop that drops nothing", |wish| {
        wish.cap_drop = texts(&["EVERYTHING"])
    });
    corpus.each(
        "powers.security-options",
        &[
            "seccomp=unconfined",
            "seccomp:unconfined",
            "seccomp=/etc/profile.json",
            "seccomp={\"defaultAction\":\"SCMP_ACT_ALLOW\"}",
            "SECCOMP=unconfined",
            "apparmor=unconfined",
            "apparmor:unconfined",
            "apparmor=",
            "label=disable",
            "label:disable",
            "label=type:container_runtime_t",
            "systempaths=unconfined",
            "no-new-privileges:false",
            "no-new-privileges=false",
            "no-new-privileges=0",
            "No-New-Privileges:false",
            "no-new-privileges:true,seccomp=unconfined",
            "mask=/none",
            "unmask=ALL",
            "proc-opts=hidepid=0",
            "credentialspec=file://x",
            "writable-cgroups=true",
            "unconfined",
            "",
        ],
        |wish, option| wish.security_opt.push(option.to_owned()),
    );
    corpus.each(
        "powers.devices",
        &[
            "/dev/sda",
            "/dev/mem",
            "/dev/kmsg",
            "/dev/kvm",
            "/dev/fuse",
            "/dev/net/tun",
            "/dev/dri/renderD128",
            "//dev//sda",
            "/dev/../dev/sda",
            "/dev",
            "/",
            "/etc",
            "sda",
            "vendor.com/device=all",
            "nvidia.com/gpu=all",
            "",
        ],
        |wish, device| {
            wish.devices.push(DeviceWish { host: device.to_owned(), container: None, permissions: None });
        },
    );
    let dri = "powers.devices = ['/dev/dri']";
    for (host, container, permissions) in [
        ("/dev/dri/../sda", None, None),
        ("/dev/dri2", None, None),
        ("/dev/dri", Some("/etc/passwd"), None),
        ("/dev/dri", Some("/dev/../etc"), None),
        ("/dev/dri", Some("/dev"), None),
        ("/dev/dri", None, Some("")),
        ("/dev/dri", None, Some("rwx")),
        ("/dev/dri", None, Some("rwmrwm")),
    ] {
        corpus.under(dri, "powers.devices", &format!("{host} {container:?} {permissions:?}"), |wish| {
            wish.devices.push(DeviceWish {
                host: host.to_owned(),
                container: container.map(str::to_owned),
                permissions: permissions.map(str::to_owned),
            });
        });
    }
    corpus.one("powers.gpus", "gpus", |wish| wish.gpus = true);
    corpus.each(
        "powers.sysctls",
        &[
            "kernel.core_pattern",
            "kernel.modprobe",
            "kernel.panic",
            "kernel.shmmax",
            "kernel.msgmax",
            "vm.overcommit_memory",
            "vm.swappiness",
            "fs.file-max",
            "fs.suid_dumpable",
            "fs.mqueue.msg_max",
            "net.ipv4.ip_forward",
            "net/ipv4/ip_forward",
            "net.ipv4.conf.all.route_localnet",
            "net.core.somaxconn",
            "net..core",
            "NET.ipv4.ip_forward",
            "",
            "net.ipv4.ip_forward\n",
        ],
        |wish, name| {
            wish.sysctls.insert(name.to_owned(), "1".to_owned());
        },
    );
    corpus.under(
        "namespaces.host = ['network']\npowers.sysctls = ['net.core.somaxconn']",
        "powers.sysctls",
        "the host's own",
        |wish| {
            wish.network_mode = Some("host".to_owned());
            wish.sysctls = pairs(&[("net.core.somaxconn", "1")]);
        },
    );
    corpus.each("powers.cgroup-parent", &["/", "system.slice", "/docker", "../..", " "], |wish, parent| {
        wish.cgroup_parent = Some(parent.to_owned());
    });
    corpus.each(
        "powers.runtime",
        &["runc", "nvidia", "io.containerd.runc.v2", "/bin/sh", "sysbox-runc", "kata", "RUNSC"],
        |wish, runtime| {
            wish.runtime = Some(runtime.to_owned());
        },
    );
    for score in [-1, -1000, i32::MIN, 1001, i32::MAX] {
        corpus.one("powers.oom-score", &score.to_string(), |wish| wish.oom_score_adj = Some(score));
    }
    for (name, limits) in [
        ("rtprio", (99, 99)),
        ("nice", (40, 40)),
        ("rttime", (-1, -1)),
        ("NOFILE", (1, 1)),
        ("", (1, 1)),
        ("nofile", (-1, -1)),
        ("nofile", (1, i64::MAX)),
        ("nofile", (1024, 1 << 21)),
        ("nproc", (10, 5)),
        ("nproc", (-1, 5)),
        ("core", (-2, 0)),
        ("memlock", (0, i64::MIN)),
    ] {
        corpus.one("powers.ulimits", &format!("{name} {limits:?}"), |wish| {
            wish.ulimits.insert(name.to_owned(), limits);
        });
    }
}

fn namespaces(corpus: &mut Corpus) {
    type Set = fn(&mut ContainerWish, String);
    let all: &[(&str, Set)] = &[
        ("pid", |wish, word| wish.pid = Some(word)),
        ("ipc", |wish, word| wish.ipc = Some(word)),
        ("uts", |wish, word| wish.uts = Some(word)),
        ("userns", |wish, word| wish.userns = Some(word)),
        ("cgroupns", |wish, word| wish.cgroupns = Some(word)),
        ("network", |wish, word| wish.network_mode = Some(word)),
    ];
    for (namespace, set) in all {
        corpus.one("namespaces.host", namespace, |wish| set(wish, "host".to_owned()));
        for word in
            ["container:jellyfin", "container:", "Container:x", "service:db", "ns:/proc/1/ns/net", "pod:x"]
        {
            corpus
                .one("namespaces.foreign", &format!("{namespace} {word}"), |wish| set(wish, word.to_owned()));
        }
    }
    for (namespace, set) in all.iter().filter(|(namespace, _)| *namespace != "network") {
        for word in [
            "HOST",
            "host ",
            " host",
            "Host",
            "shareable",
            "keep-id",
            "auto",
            "nomap",
            "/proc/1/ns/pid",
            "\0host",
        ] {
            corpus
                .one("namespaces.form", &format!("{namespace} {word:?}"), |wish| set(wish, word.to_owned()));
        }
    }
    corpus.one("namespaces.form", "userns private", |wish| wish.userns = Some("private".to_owned()));
    corpus.one("namespaces.host", "host among the networks", |wish| wish.networks = texts(&["host"]));
    corpus.each("namespaces.host", &["host-by-another-name", "none-by-another-name"], |wish, name| {
        wish.networks = texts(&[name])
    });
    corpus.one("namespaces.host", "as a mode, by another name", |wish| {
        wish.network_mode = Some("host-by-another-name".to_owned())
    });
    corpus.each("namespaces.foreign", &["container:jellyfin", "service:db"], |wish, name| {
        wish.networks = texts(&[name])
    });
    corpus.each(
        "networks.form",
        &[
            "HOST",
            "Host",
            "host ",
            " host",
            "none",
            "slirp4netns",
            "pasta",
            "private",
            "slirp4netns:port",
            "a b",
            "-net",
            "a/b",
            "../a",
            "ho\u{200b}st",
        ],
        |wish, name| wish.networks = texts(&[name]),
    );
    corpus.each(
        "networks.form",
        &["HOST", "host\n", "slirp4netns:x", "pasta:-a", "bridge:ip=10.0.0.1"],
        |wish, name| {
            wish.network_mode = Some(name.to_owned());
        },
    );
    corpus.each("networks.unknown", &["nowhere", "3f2a9c1d", "host2"], |wish, name| {
        wish.networks = texts(&[name])
    });
    corpus.each("networks.own", &["clawmachine_default", "ClawMachine_default"], |wish, name| {
        wish.networks = texts(&[name])
    });
    corpus.each("networks.driver", &["lan", "swarm"], |wish, name| wish.networks = texts(&[name]));
    corpus.one("networks.mode", "both", |wish| {
        wish.networks = texts(&["front"]);
        wish.network_mode = Some("bridge".to_owned());
    });
    corpus.under("namespaces.host = ['network']", "networks.mode", "the host's and another", |wish| {
        wish.networks = texts(&["front", "host"]);
    });
}

fn identity(corpus: &mut Corpus) {
    let named = |wish: &mut ContainerWish, name: &str| wish.name = Some(name.to_owned());
    corpus.each(
        "name.protected",
        &[
            "claw",
            "Claw",
            "claw-job-1",
            "CLAW-JOB-1",
            "claw-warm-x",
            "claw_x",
            "clawmachine",
            "ClawMachine",
            "clawmachine-server",
            "wagmios-backend",
            "wagmios-frontend",
            "WAGMIOS-BACKEND",
            "openclaw-mcp",
            "homelab",
            "HomeLab",
        ],
        named,
    );
    corpus.each(
        "name.form",
        &[
            "a",
            "/web",
            "-web",
            "--privileged",
            ".web",
            "_web",
            "we b",
            "web/1",
            "../web",
            "web?x=1",
            "web#1",
            "web%2f",
            "web\0",
            "web\n",
            "wеb",
            "we\u{200b}b",
            "web:1",
            "web@host",
        ],
        named,
    );
    corpus.each(
        "name.like-id",
        &["deadbeef", "0123456789ab", "DEADBEEFCAFE", OWN_ID, "fade", "FADE01"],
        named,
    );
    corpus.each(
        "image.form",
        &[
            "",
            "-nginx",
            "nginx latest",
            "../nginx",
            "nginx/../x",
            "nginx?x",
            "nginx\n",
            "nginx@sha256:00",
            "nginx@latest",
            "a@b@c",
            "nginx//x",
            "/nginx",
            "ngіnx",
            "nginx;rm",
        ],
        |wish, image| wish.image = image.to_owned(),
    );
    let only = "images.registries = ['ghcr.io/home', 'docker.io/library']";
    for image in [
        "quay.io/evil:1",
        "ghcr.io/homer/x",
        "ghcr.io/other/home/x",
        "GHCR.IO/other",
        "evil/nginx",
        "docker.io/evil/nginx",
        "index.docker.io/evil/nginx",
        "localhost:5000/library/nginx",
        "localhost/library/nginx",
        "ghcr.io:443/home/x",
        "ghcr.io.evil.com/home/x",
        "127.0.0.1/home/x",
        "library/nginx/evil.io",
    ] {
        // The last one is an official image's folder only in name.
        if image != "library/nginx/evil.io" {
            corpus.under(only, "image.registry", image, |wish| wish.image = image.to_owned());
        }
    }
    for image in [&format!("sha256:{OWN_ID}"), "deadbeef", "cafe", OWN_ID] {
        corpus.under(only, "image.by-id", image, |wish| wish.image = image.to_owned());
    }
    corpus.each("hostname.form", &["", "-a", "a b", "a\nb", "a/b", "a..b", "ä"], |wish, name| {
        wish.hostname = Some(name.to_owned())
    });
    corpus.each(
        "labels.reserved",
        &[
            "claw.app",
            "claw.instance",
            "CLAW.instance",
            "clawmachine.owner",
            "wagmios.protected",
            "Wagmios",
            "io.clawmachine.x",
            "com.docker.compose.project",
            "com.docker.compose.service",
            "COM.DOCKER.COMPOSE.PROJECT",
            "com.docker.stack.namespace",
            "com.docker.swarm.service.id",
            "desktop.docker.io/binds/0/Source",
            "io.podman.annotations.privileged",
            "traefik.enable",
            "Traefik.HTTP.Routers.x.rule",
            "caddy",
            "caddy_0.reverse_proxy",
            "com.centurylinklabs.watchtower.enable",
            "com.centurylinklabs.watchtower.lifecycle.pre-update",
            "watchtower.enable",
            "io.portainer.accesscontrol.public",
            "ofelia.job-local.x.command",
            "docker-volume-backup.archive-pre",
            "com.github.nginx-proxy.nginx",
            "wud.watch",
            "diun.enable",
            "sablier.enable",
            "kuma.x.http.name",
            "swarm.cronjob.enable",
            "docker-socket-proxy.allow.get",
            "tsdproxy.enable",
        ],
        |wish, key| {
            wish.labels.insert(key.to_owned(), "true".to_owned());
        },
    );
    corpus.each(
        "labels.form",
        &["", " ", " claw.app", "claw.app ", "\u{200b}claw.app", "a\nb", "a\0", "ä", "a\tb"],
        |wish, key| {
            wish.labels.insert(key.to_owned(), "true".to_owned());
        },
    );
    corpus.one("labels.form", "a value with a zero byte", |wish| wish.labels = pairs(&[("a", "b\0")]));
}

fn process(corpus: &mut Corpus) {
    corpus.each("environment.form", &["", "A B", "A=B", "1A", "-e", "Ä", "A\0", "A\n"], |wish, key| {
        wish.environment.push((key.to_owned(), "x".to_owned()));
    });
    corpus.one("environment.form", "a value with a zero byte", |wish| {
        wish.environment.push(("A".to_owned(), "b\0c".to_owned()))
    });
    corpus.one("environment.twice", "twice", |wish| {
        wish.environment = vec![("A".to_owned(), "1".to_owned()), ("A".to_owned(), "2".to_owned())];
    });
    corpus.one("process.text", "command", |wish| wish.command = Some(texts(&["a", "b\0"])));
    corpus.one("process.text", "entrypoint", |wish| wish.entrypoint = Some(texts(&["\0"])));
    corpus.each(
        "process.user",
        &["", ":", "root:", ":0", "a:b:c", "-1", "a b", "0\0", "ä"],
        |wish, user| wish.user = Some(user.to_owned()),
    );
    corpus
        .each("process.user", &["", "-1", "docker:x", "a b"], |wish, group| wish.group_add = texts(&[group]));
    corpus.each(
        "process.working-dir",
        &[
            "",
            "app",
            "./app",
            "/app/..",
            "/proc/self/fd/7",
            "/proc/self/fd/8/../../..",
            "//proc/self/fd/7",
            "/sys/fs/cgroup",
            "/app\0",
        ],
        |wish, folder| wish.working_dir = Some(folder.to_owned()),
    );
    corpus.each(
        "process.stop",
        &["", "SIG KILL", "9;", "SIGKILL\0", "-9", "SIGAVERYLONGSIGNAL"],
        |wish, signal| {
            wish.stop_signal = Some(signal.to_owned());
        },
    );
    corpus.one("process.stop", "an hour", |wish| wish.stop_grace = Some(Duration::from_secs(3600)));
    for test in [
        &["CMD"][..],
        &["CMD-SHELL"],
        &["CMD-SHELL", "a", "b"],
        &["NONE", "x"],
        &["cmd", "true"],
        &["sh"],
        &[""],
        &["CMD", "a\0"],
    ] {
        corpus.one("process.health", &format!("{test:?}"), |wish| {
            wish.healthcheck = Some(HealthWish { test: texts(test), ..Default::default() });
        });
    }
    for interval in [Duration::from_nanos(1), Duration::from_millis(999), Duration::from_secs(1 << 40)] {
        corpus.one("process.health", &format!("{interval:?}"), |wish| {
            wish.healthcheck = Some(HealthWish { interval: Some(interval), ..Default::default() });
        });
    }
    corpus.one("process.health", "retries", |wish| {
        wish.healthcheck = Some(HealthWish { retries: Some(u32::MAX), ..Default::default() });
    });
    corpus.each(
        "hosts.form",
        &[
            "",
            "a",
            "a:",
            ":1.2.3.4",
            "a:b",
            "a:1.2.3.4\n5.6.7.8 b",
            "a b:1.2.3.4",
            "a:host-gateway2",
            "a:1.2.3",
        ],
        |wish, line| {
            wish.extra_hosts = texts(&[line]);
        },
    );
    corpus.each(
        "dns.form",
        &["", "dns.example", "1.2.3", "1.2.3.4:53", "1.2.3.4\noptions debug", "0x7f.1"],
        |wish, server| {
            wish.dns = texts(&[server]);
        },
    );
    corpus.one("wish.size", "a thousand variables", |wish| {
        wish.environment = (0..1000).map(|number| (format!("A{number}"), String::new())).collect();
    });
    corpus.one("wish.size", "a megabyte", |wish| {
        wish.environment = vec![("A".to_owned(), "x".repeat(1 << 20))]
    });
    corpus.one("wish.size", "a megabyte of labels", |wish| {
        wish.labels.insert("a".to_owned(), "x".repeat(1 << 20));
    });
    corpus.one("wish.size", "a megabyte of arguments", |wish| wish.command = Some(vec!["x".repeat(1 << 20)]));
    corpus.one("wish.size", "a thousand mounts", |wish| {
        wish.mounts =
            (0..1000).map(|number| mount(MountWishSource::Anonymous, &format!("/{number}"))).collect();
    });
}

fn ports_and_limits(corpus: &mut Corpus) {
    let port = |container, host| PortWish { container, protocol: Protocol::Tcp, host, address: None };
    corpus.one("ports.form", "0 inside", |wish| wish.ports.push(port(0, Some(8080))));
    corpus.one("ports.form", "twice", |wish| wish.ports = vec![port(80, Some(8080)), port(81, Some(8080))]);
    corpus.one("ports.own", "ours", |wish| wish.ports.push(port(80, Some(5179))));
    corpus.one("ports.own", "ours, by udp", |wish| {
        wish.ports.push(PortWish { protocol: Protocol::Udp, ..port(80, Some(5179)) });
    });
    corpus.one("ports.own", "ours, at another address", |wish| {
        wish.ports.push(PortWish { address: Some([127, 0, 0, 2].into()), ..port(80, Some(5179)) });
    });
    for host in [1, 22, 25, 67, 111, 139, 389, 445, 514, 631, 1023] {
        corpus.one("ports.low", &host.to_string(), |wish| wish.ports.push(port(80, Some(host))));
    }
    for memory in [1, (6 << 20) - 1, u64::MAX] {
        corpus.one("limits.memory", &memory.to_string(), |wish| wish.memory_bytes = Some(memory));
    }
    corpus.under("limits.memory = '1g'", "limits.memory", "more than there is", |wish| {
        wish.memory_bytes = Some((1 << 30) + 1)
    });
    for cpus in [-1.0, f64::NAN, f64::INFINITY, 1e300, 1e-9, -0.001] {
        corpus.one("limits.cpus", &cpus.to_string(), |wish| wish.cpus = Some(cpus));
    }
    corpus.under("limits.cpus = 2.0", "limits.cpus", "more than there are", |wish| wish.cpus = Some(2.5));
    for pids in [4097, 1 << 20, u32::MAX] {
        corpus.one("limits.pids", &pids.to_string(), |wish| wish.pids = Some(pids));
    }
    for shm in [(2 << 30) + 1, u64::MAX] {
        corpus.one("limits.shm", &shm.to_string(), |wish| wish.shm_bytes = Some(shm));
    }
    let log = |driver: Option<&str>, options: &[(&str, &str)]| {
        Some(LogWish { driver: driver.map(str::to_owned), options: pairs(options) })
    };
    for driver in [
        "syslog",
        "gelf",
        "fluentd",
        "awslogs",
        "splunk",
        "journald",
        "JSON-FILE",
        "json-file ",
        "/bin/sh",
        "loki",
    ] {
        corpus.one("log.driver", driver, |wish| wish.log = log(Some(driver), &[]));
    }
    for options in [
        ("syslog-address", "unixgram:///var/run/docker.sock"),
        ("gelf-address", "udp://10.0.0.1:1"),
        ("max-size", "-1"),
        ("max-size", "0"),
        ("max-size", "unlimited"),
        ("max-size", ""),
        ("max-file", "0"),
        ("max-file", "-1"),
        ("max-file", "99999999999999999999"),
        ("compress", "maybe"),
        ("labels", "claw.app"),
        ("env", "PASSWORD"),
        ("tag", "{{.ImageID}}"),
        ("Max-Size", "1m"),
        ("mode", "non-blocking"),
    ] {
        corpus.one("log.options", &format!("{options:?}"), |wish| wish.log = log(None, &[options]));
    }
    corpus.one("log.options", "options of a driver without files", |wish| {
        wish.log = log(Some("none"), &[("max-size", "1m")])
    });
    for options in [
        &[("max-size", "1g")][..],
        &[("max-file", "4000000000")],
        &[("max-size", "100m"), ("max-file", "3")],
        &[("max-size", "16777215t")],
    ] {
        corpus.one("log.size", &format!("{options:?}"), |wish| wish.log = log(None, options));
    }
}

fn corpus() -> Vec<Attempt> {
    let mut corpus = Corpus::default();
    mounts(&mut corpus);
    volumes(&mut corpus);
    targets(&mut corpus);
    powers(&mut corpus);
    namespaces(&mut corpus);
    identity(&mut corpus);
    process(&mut corpus);
    ports_and_limits(&mut corpus);
    corpus.attempts
}

/// Everything that can be permitted.
fn most_generous() -> Policy {
    Policy::parse(
        "mounts = { nested = true, docker_socket = true, volumes = ['bound-root', 'bound-apps', 'disk', 'share', 'cloud'], \
           roots = [{ path = '/opt' }, { path = '/mnt' }, { path = '/media' }, { path = '/tmp' }, { path = '/srv' }, \
           { path = '/root' }, { path = '/home' }, { path = '/host' }, { path = '/var/log' }] }\n\
         ports.low = [1, 22, 25, 53, 67, 80, 111, 139, 389, 443, 445, 514, 631, 853, 1023]\n\
         networks = { drivers = ['bridge', 'macvlan', 'overlay', 'host', 'null'], subnets = ['0.0.0.0/0', '::/0'] }\n\
         namespaces.host = ['network', 'pid', 'ipc', 'uts', 'user', 'cgroup']\n\
         powers = { capabilities = ['NET_ADMIN', 'NET_RAW', 'MKNOD', 'AUDIT_WRITE', 'SYS_PTRACE', 'SYS_TIME', 'SYS_NICE', \
           'SYS_RESOURCE', 'IPC_LOCK', 'LINUX_IMMUTABLE'], devices = ['/dev/sda', '/dev/dri', '/dev/net/tun', '/dev/kvm'], \
           gpus = true, sysctls = ['net.ipv4.ip_forward', 'kernel.core_pattern', 'vm.swappiness'], runtimes = ['runsc'], \
           new_privileges = true }\n\
         labels.allowed = ['traefik', 'caddy', 'claw', 'com.docker', 'wagmios', 'io.podman']\n\
         limits = { pids = 4294967295, shm = '1000t', tmpfs = '1000t' }\n\
         log = { drivers = ['json-file', 'local', 'none', 'syslog'], most = '1000t' }",
    )
    .expect("readable")
}

fn verdict(policy: &Policy, wish: &ContainerWish) -> Result<ContainerWish, Refused> {
    policy.judge(wish, &facts(wish), &Grants::default()).map(|approved| approved.wish().clone())
}

#[test]
fn t1_t2_t3_t7_t8_no_attempt_passes_and_each_is_refused_by_its_rule() {
    let corpus = corpus();
    assert!(corpus.len() >= 200, "{} attempts", corpus.len());
    let mut wrong = Vec::new();
    for attempt in &corpus {
        let policy = Policy::parse(attempt.policy).expect("readable");
        match verdict(&policy, &attempt.wish) {
            Ok(_) => wrong.push(format!("{} passes", attempt.name)),
            Err(refused) => {
                let rules: BTreeSet<_> = refused.refusals.iter().map(|refusal| refusal.rule).collect();
                if rules != BTreeSet::from([attempt.rule]) {
                    wrong.push(format!("{} is refused by {rules:?}: {refused}", attempt.name));
                }
            }
        }
    }

    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), corpus.len(), wrong.join("\n"));
}

#[test]
fn every_rule_is_the_one_that_refuses_some_attempt() {
    let tried: BTreeSet<_> = corpus().iter().map(|attempt| attempt.rule).chain(NETWORK_RULES).collect();

    for rule in RULES {
        assert!(tried.contains(rule.id), "nobody tries {}", rule.id);
    }
}

#[test]
fn the_line_that_a_refusal_names_permits_what_was_refused() {
    let mut lines = 0;
    for attempt in corpus() {
        let policy = Policy::parse(attempt.policy).expect("readable");
        let Err(refused) = verdict(&policy, &attempt.wish) else { panic!("{} passes", attempt.name) };
        for refusal in refused.refusals {
            let Some(permit) = refusal.permit else { continue };
            let permitting =
                Policy::parse(&permit).unwrap_or_else(|error| panic!("{}: {permit}: {error}", attempt.name));
            let still =
                verdict(&permitting, &attempt.wish).err().map(|refused| refused.refusals).unwrap_or_default();
            let still = still.iter().find(|other| other.rule == refusal.rule && other.field == refusal.field);
            assert!(still.is_none(), "{}: {permit}: {still:?}", attempt.name);
            lines += 1;
        }
    }

    assert!(lines > 60, "{lines}");
}

#[test]
fn what_no_line_permits_stays_refused_under_the_most_generous_policy() {
    let generous = most_generous();
    for attempt in corpus().into_iter().filter(|attempt| attempt.policy.is_empty()) {
        let Err(refused) = verdict(&Policy::default(), &attempt.wish) else {
            panic!("{} passes", attempt.name)
        };
        // A path may be refused for another reason once the folder around it is permitted.
        let never = refused.refusals.iter().any(|refusal| refusal.permit.is_none());
        if never {
            let passes = verdict(&generous, &attempt.wish).is_ok();
            assert!(!passes || attempt.name.contains("link-to-"), "{} passes", attempt.name);
        }
    }
}

#[test]
fn refusals_have_the_code_of_what_was_refused() {
    for attempt in corpus() {
        let policy = Policy::parse(attempt.policy).expect("readable");
        let Err(refused) = verdict(&policy, &attempt.wish) else { panic!("{} passes", attempt.name) };
        let expected = match attempt.rule {
            rule if rule.starts_with("mounts.") => ErrorCode::BlockedVolume,
            "name.protected" => ErrorCode::Protected,
            _ => ErrorCode::PolicyRefused,
        };
        assert_eq!(refused.code(), expected, "{}", attempt.name);
    }
    let mut both = plain();
    both.privileged = true;
    both.mounts.push(bind("/etc"));
    let refused = verdict(&Policy::default(), &both).expect_err("refused");
    assert_eq!(refused.code(), ErrorCode::PolicyRefused);
    assert_eq!(refused.refusals.len(), 2);
}

#[test]
fn t11_no_refusal_repeats_what_could_forge_a_line() {
    for attempt in corpus() {
        let policy = Policy::parse(attempt.policy).expect("readable");
        let Err(refused) = verdict(&policy, &attempt.wish) else { panic!("{} passes", attempt.name) };
        let text = refused.to_string();
        assert!(
            !text.chars().any(|c| c.is_control()
                || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{feff}')),
            "{text:?}"
        );
        assert!(text.len() < 4096, "{}: {} bytes", attempt.name, text.len());
        for refusal in &refused.refusals {
            assert!(!refusal.field.chars().any(char::is_control), "{refusal:?}");
            assert!(
                refusal.permit.as_ref().is_none_or(|permit| !permit.chars().any(char::is_control)),
                "{refusal:?}"
            );
        }
    }
}

const NETWORK_RULES: [&str; 6] = [
    "networks.form",
    "networks.own",
    "networks.driver",
    "networks.options",
    "networks.subnet",
    "labels.reserved",
];

#[test]
fn t3_networks_that_reach_the_host_are_not_made() {
    let network = |change: &dyn Fn(&mut NetworkWish)| {
        let mut wish = NetworkWish { name: "shop_default".to_owned(), ..Default::default() };
        change(&mut wish);
        wish
    };
    let facts = Facts { own: claw_docker::policy::Own::default(), ..Default::default() };
    let policy = Policy::default();
    let plain = policy.judge_network(&network(&|_| {}), &facts).expect("permitted");
    assert_eq!(plain.wish().driver.as_deref(), Some("bridge"));

    let mut attempts: Vec<(&str, NetworkWish)> = Vec::new();
    for name in ["", "host", "Host", "none", "bridge", "default", "container:x", "a/b", "-a"] {
        attempts.push(("networks.form", network(&|wish| wish.name = name.to_owned())));
    }
    for name in ["clawmachine", "ClawMachine_default"] {
        attempts.push(("networks.own", network(&|wish| wish.name = name.to_owned())));
    }
    for driver in ["host", "null", "macvlan", "ipvlan", "overlay", "weave", "Bridge"] {
        let rule = "networks.driver";
        attempts.push((rule, network(&|wish| wish.driver = Some(driver.to_owned()))));
    }
    for (key, value) in [
        ("com.docker.network.bridge.name", "docker0"),
        ("com.docker.network.bridge.host_binding_ipv4", "0.0.0.0"),
        ("com.docker.network.bridge.gateway_mode_ipv4", "routed"),
        ("com.docker.network.bridge.trusted_host_interfaces", "eth0"),
        ("com.docker.network.driver.mtu", "0"),
        ("com.docker.network.driver.mtu", "-1"),
        ("parent", "eth0"),
        ("encrypted", ""),
    ] {
        attempts.push(("networks.options", network(&|wish| wish.options = pairs(&[(key, value)]))));
    }
    for subnet in ["0.0.0.0/0", "192.168.1.0/24", "8.8.8.0/24", "10.0.0.0/8", "::/0", "x", "10.0.0.0"] {
        attempts.push(("networks.subnet", network(&|wish| wish.subnets = texts(&[subnet]))));
    }
    attempts.push((
        "labels.reserved",
        network(&|wish| wish.labels = pairs(&[("com.docker.compose.network", "x")])),
    ));
    for (rule, wish) in &attempts {
        let refused = policy.judge_network(wish, &facts).expect_err(rule);
        let rules: Vec<_> = refused.refusals.iter().map(|refusal| refusal.rule).collect();
        assert_eq!(rules, [*rule], "{wish:?}");
        for permit in refused.refusals.iter().filter_map(|refusal| refusal.permit.as_deref()) {
            let permitting = Policy::parse(permit).expect(permit);
            assert!(permitting.judge_network(wish, &facts).is_ok(), "{permit}");
        }
    }
    let permitting = Policy::parse("networks.subnets = ['172.28.0.0/14']").expect("readable");
    let inside = network(&|wish| wish.subnets = texts(&["172.29.1.0/24"]));
    assert!(permitting.judge_network(&inside, &facts).is_ok());
    let outside = network(&|wish| wish.subnets = texts(&["172.27.0.0/16"]));
    assert!(permitting.judge_network(&outside, &facts).is_err());
}

#[test]
fn t2_grants_widen_what_they_name_and_nothing_beside_it() {
    let policy = Policy::default();
    let grants = Grants {
        cap_add: texts(&["NET_ADMIN", "SYS_ADMIN"]),
        devices: texts(&["/dev/net/tun"]),
        sysctls: pairs(&[("net.ipv4.conf.all.src_valid_mark", "1")]),
        host_network: true,
        docker_socket: Some(SocketGrant::ReadOnly),
        host_paths_read_only: texts(&["/lib/modules"]),
        reason: Some("a tunnel".to_owned()),
    };
    let judge = |change: &dyn Fn(&mut ContainerWish)| {
        let mut wish = plain();
        change(&mut wish);
        let with = policy.judge(&wish, &facts(&wish), &grants);
        let without = policy.judge(&wish, &facts(&wish), &Grants::default());
        assert!(without.is_err(), "{wish:?}");
        with.map_err(|refused| refused.refusals.iter().map(|refusal| refusal.rule).collect::<Vec<_>>())
    };
    let device = |host: &str| DeviceWish { host: host.to_owned(), container: None, permissions: None };
    let reading = |path: &str, read_only| {
        let mut mount = bind(path);
        mount.read_only = read_only;
        mount
    };
    let sysctl =
        |value: &str| BTreeMap::from([("net.ipv4.conf.all.src_valid_mark".to_owned(), value.to_owned())]);

    assert!(judge(&|wish| wish.cap_add = texts(&["CAP_NET_ADMIN"])).is_ok());
    assert!(judge(&|wish| wish.devices = vec![device("/dev/net/tun")]).is_ok());
    assert!(judge(&|wish| wish.sysctls = sysctl("1")).is_ok());
    assert!(judge(&|wish| wish.network_mode = Some("host".to_owned())).is_ok());
    assert!(judge(&|wish| wish.mounts = vec![reading("/var/run/docker.sock", true)]).is_ok());
    assert!(judge(&|wish| wish.mounts = vec![reading("/lib/modules", true)]).is_ok());

    let refused =
        |change: &dyn Fn(&mut ContainerWish), rule: &str| assert_eq!(judge(change).expect_err(rule), [rule]);
    refused(&|wish| wish.cap_add = texts(&["NET_RAW"]), "powers.capabilities");
    refused(&|wish| wish.cap_add = texts(&["SYS_ADMIN"]), "powers.capabilities");
    refused(&|wish| wish.devices = vec![device("/dev/net/tun2")], "powers.devices");
    refused(&|wish| wish.devices = vec![device("/dev/net")], "powers.devices");
    refused(&|wish| wish.sysctls = sysctl("0"), "powers.sysctls");
    refused(&|wish| wish.pid = Some("host".to_owned()), "namespaces.host");
    refused(&|wish| wish.mounts = vec![reading("/var/run/docker.sock", false)], "mounts.engine-socket");
    refused(
        &|wish| wish.mounts = vec![reading("/run/containerd/containerd.sock", true)],
        "mounts.engine-socket",
    );
    refused(&|wish| wish.mounts = vec![reading("/lib/modules", false)], "mounts.read-only");
    refused(&|wish| wish.mounts = vec![reading("/lib/modules/6.1", true)], "mounts.system");
    refused(&|wish| wish.mounts = vec![reading("/lib", true)], "mounts.system");
    refused(&|wish| wish.privileged = true, "powers.privileged");
}
