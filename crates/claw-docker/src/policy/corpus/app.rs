//! Names, images, labels, processes, ports and limits.

use std::time::Duration;

use crate::policy::{ContainerWish, HealthWish, LogWish, MountWishSource, PortWish, Protocol};

use super::Corpus;
use super::world::{OWN_ID, mount, pairs, texts};

pub(super) fn identity(corpus: &mut Corpus) {
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

pub(super) fn process(corpus: &mut Corpus) {
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

pub(super) fn ports_and_limits(corpus: &mut Corpus) {
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
