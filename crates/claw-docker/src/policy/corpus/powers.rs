//! Powers, and namespaces of somebody else.

use crate::policy::{ContainerWish, DeviceWish};

use super::Corpus;
use super::world::{pairs, texts};

pub(super) fn powers(corpus: &mut Corpus) {
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

pub(super) fn namespaces(corpus: &mut Corpus) {
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
