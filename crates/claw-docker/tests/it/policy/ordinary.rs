//! What ordinary apps ask for, and what comes of it.

use std::time::Duration;

use claw_docker::policy::{
    ContainerWish, Facts, Grants, HealthWish, LogWish, MountWish, MountWishSource, PathFact, PathKind,
    Policy, PortWish, Protocol, Refused, RestartWish,
    corpus::world::{APPS, bind, facts, mount, pairs, plain, texts, volume},
};

fn judged_under(policy: &str, change: impl FnOnce(&mut ContainerWish)) -> ContainerWish {
    let policy = Policy::parse(policy).expect("readable");
    let mut wish = plain();
    change(&mut wish);
    let judge = |wish: &ContainerWish| match policy.judge(wish, &facts(wish), &Grants::default()) {
        Ok(approved) => approved.wish().clone(),
        Err(refused) => panic!("{refused}"),
    };
    let result = judge(&wish);
    assert_eq!(judge(&result), result, "judging the result again changes it");
    result
}

fn judged(change: impl FnOnce(&mut ContainerWish)) -> ContainerWish {
    judged_under("", change)
}

#[test]
fn a_container_that_asks_for_nothing_gets_the_safe_defaults() {
    let result = judged(|_| {});

    assert_eq!(
        result,
        ContainerWish {
            cap_drop: texts(&["AUDIT_WRITE", "MKNOD", "NET_RAW"]),
            security_opt: texts(&["no-new-privileges:true"]),
            network_mode: Some("bridge".to_owned()),
            pids: Some(4096),
            log: Some(LogWish {
                driver: Some("json-file".to_owned()),
                options: pairs(&[("max-file", "3"), ("max-size", "10m")]),
            }),
            ..plain()
        }
    );
}

#[test]
fn an_ordinary_app_is_made_as_it_was_asked_for() {
    let asked = ContainerWish {
        name: Some("jellyfin".to_owned()),
        image: "ghcr.io/jellyfin/jellyfin:10.10.7".to_owned(),
        command: Some(texts(&["--service"])),
        environment: vec![("JELLYFIN_PublishedServerUrl".to_owned(), "http://a\nb".to_owned())],
        ports: vec![
            PortWish { container: 8096, protocol: Protocol::Tcp, host: Some(8096), address: None },
            PortWish { container: 7359, protocol: Protocol::Udp, host: Some(7359), address: None },
            PortWish { container: 7359, protocol: Protocol::Tcp, host: Some(7359), address: None },
            PortWish {
                container: 443,
                protocol: Protocol::Tcp,
                host: Some(443),
                address: Some([127, 0, 0, 1].into()),
            },
            PortWish { container: 22, protocol: Protocol::Tcp, host: Some(0), address: None },
            PortWish { container: 22, protocol: Protocol::Udp, host: None, address: None },
        ],
        networks: texts(&["front", "back"]),
        restart: RestartWish::UnlessStopped,
        user: Some("1000:1000".to_owned()),
        working_dir: Some("/app".to_owned()),
        hostname: Some("media.lan".to_owned()),
        group_add: texts(&["video", "44"]),
        extra_hosts: texts(&["host.docker.internal:host-gateway", "nas=10.0.0.2", "six:[::1]"]),
        dns: texts(&["1.1.1.1", "2606:4700:4700::1111"]),
        labels: pairs(&[
            ("org.opencontainers.image.title", "ä thing\nof beauty"),
            ("homepage.group", "Media"),
        ]),
        healthcheck: Some(HealthWish {
            test: texts(&["CMD-SHELL", "curl -f http://localhost:8096 || exit 1"]),
            interval: Some(Duration::from_secs(30)),
            ..Default::default()
        }),
        read_only: true,
        init: Some(true),
        shm_bytes: Some(1 << 30),
        stop_grace: Some(Duration::from_secs(60)),
        stop_signal: Some("SIGRTMIN+3".to_owned()),
        memory_bytes: Some(4 << 30),
        cpus: Some(2.5),
        pids: Some(512),
        oom_score_adj: Some(500),
        ulimits: [("nofile".to_owned(), (65536, 1 << 20)), ("memlock".to_owned(), (-1, -1))].into(),
        log: Some(LogWish {
            driver: Some("local".to_owned()),
            options: pairs(&[("compress", "true"), ("max-file", "2"), ("max-size", "20m")]),
        }),
        ..plain()
    };

    let result = judged(|wish| *wish = asked.clone());

    assert_eq!(
        result,
        ContainerWish {
            cap_drop: texts(&["AUDIT_WRITE", "MKNOD", "NET_RAW"]),
            security_opt: texts(&["no-new-privileges:true"]),
            ..asked
        }
    );
}

#[test]
fn words_that_mean_the_default_are_taken_for_it() {
    let result = judged(|wish| {
        wish.name = Some(String::new());
        wish.network_mode = Some("default".to_owned());
        wish.pid = Some("private".to_owned());
        wish.ipc = Some(String::new());
        wish.uts = Some(String::new());
        wish.userns = Some(String::new());
        wish.cgroupns = Some("private".to_owned());
        wish.cgroup_parent = Some(String::new());
        wish.runtime = Some(String::new());
        wish.memory_bytes = Some(0);
        wish.cpus = Some(0.0);
        wish.pids = Some(0);
        wish.shm_bytes = Some(0);
        wish.log = Some(LogWish::default());
        wish.cap_drop = texts(&["net_raw", "CAP_MKNOD"]);
        wish.security_opt = texts(&["no-new-privileges", "no-new-privileges=true"]);
    });

    assert_eq!(result, ContainerWish { name: None, ..judged(|_| {}) });
    assert_eq!(judged(|wish| wish.networks = texts(&["bridge"])).network_mode.as_deref(), Some("bridge"));
    assert_eq!(
        judged(|wish| wish.network_mode = Some("none".to_owned())).network_mode.as_deref(),
        Some("none")
    );
    let named = judged(|wish| wish.network_mode = Some("front".to_owned()));
    assert_eq!((named.network_mode, named.networks), (None, texts(&["front"])));
    assert_eq!(judged(|wish| wish.ipc = Some("none".to_owned())).ipc.as_deref(), Some("none"));
}

#[test]
fn capabilities_every_container_has_may_be_named_and_all_may_be_dropped() {
    let named = judged(|wish| wish.cap_add = texts(&["CHOWN", "cap_setuid"]));
    assert_eq!((named.cap_add.len(), named.cap_drop), (0, texts(&["AUDIT_WRITE", "MKNOD", "NET_RAW"])));

    let few = judged(|wish| {
        wish.cap_drop = texts(&["all"]);
        wish.cap_add = texts(&["CHOWN", "SETUID"]);
    });
    assert_eq!((few.cap_add, few.cap_drop), (texts(&["CHOWN", "SETUID"]), texts(&["ALL"])));

    let fewer = judged(|wish| wish.cap_drop = texts(&["KILL", "SYS_ADMIN"]));
    assert_eq!(fewer.cap_drop, texts(&["AUDIT_WRITE", "KILL", "MKNOD", "NET_RAW", "SYS_ADMIN"]));

    let regained = judged(|wish| {
        wish.cap_drop = texts(&["KILL", "CHOWN"]);
        wish.cap_add = texts(&["CHOWN"]);
    });
    assert_eq!(
        (regained.cap_add.len(), regained.cap_drop),
        (0, texts(&["AUDIT_WRITE", "KILL", "MKNOD", "NET_RAW"]))
    );

    let more = judged_under("powers.capabilities = ['NET_RAW', 'NET_ADMIN']", |wish| {
        wish.cap_add = texts(&["NET_RAW", "NET_ADMIN"]);
    });
    assert_eq!(
        (more.cap_add, more.cap_drop),
        (texts(&["NET_ADMIN", "NET_RAW"]), texts(&["AUDIT_WRITE", "MKNOD"]))
    );
}

#[test]
fn t1_mounts_below_the_permitted_folders_are_made_by_their_real_path() {
    let source = |wish: ContainerWish| match &wish.mounts[0].source {
        MountWishSource::Bind(source) => source.clone(),
        other => panic!("{other:?}"),
    };
    let at = |path: &str| judged(|wish| wish.mounts = vec![bind(path)]);

    assert_eq!(source(at(&format!("{APPS}/grafana/data"))), format!("{APPS}/grafana/data"));
    assert_eq!(source(at(&format!("{APPS}//grafana/./data/"))), format!("{APPS}/grafana/data"));
    assert_eq!(source(at(&format!("{APPS}/link-inside"))), format!("{APPS}/grafana"));
    assert_eq!(source(at("/srv/link-to-apps")), format!("{APPS}/grafana"));
    assert_eq!(source(at(&format!("{APPS}/shared/a"))), format!("{APPS}/shared/a"));
    assert_eq!(source(at(&format!("{APPS}/jellyfin"))), format!("{APPS}/jellyfin"));
    let renewed = judged(|wish| {
        wish.name = Some("jellyfin".to_owned());
        wish.mounts = vec![bind(&format!("{APPS}/jellyfin/config"))];
    });
    assert_eq!(source(renewed), format!("{APPS}/jellyfin/config"));
    let clock = judged(|wish| wish.mounts = vec![MountWish { read_only: true, ..bind("/etc/localtime") }]);
    assert_eq!(source(clock), "/etc/localtime");
    let media = judged_under(
        "mounts.roots = [{ path = '/srv' }, { path = '/srv/media', read_only = true }]\nmounts.nested = true",
        |wish| {
            let at = |path: &str, target: &str, read_only| MountWish {
                target: target.to_owned(),
                read_only,
                ..bind(path)
            };
            wish.mounts = vec![
                at("/srv/other", "/a", false),
                at("/srv/media/films", "/b", true),
                at(&format!("{APPS}/jellyfin/x"), "/c", true),
            ];
        },
    );
    assert_eq!(media.mounts.len(), 3);
}

#[test]
fn t1_the_apps_folder_may_be_a_volume_of_the_engine_and_what_is_ours_below_it_stays_ours() {
    let judge = |path: &str, change: &dyn Fn(&mut Facts)| {
        let mut wish = plain();
        wish.mounts = vec![bind(path)];
        let mut facts = facts(&wish);
        change(&mut facts);
        let rules =
            |refused: Refused| refused.refusals.iter().map(|refusal| refusal.rule).collect::<Vec<_>>();
        Policy::default().judge(&wish, &facts, &Grants::default()).map(drop).map_err(rules)
    };
    let in_engine = |facts: &mut Facts| facts.engine_folder = Some("/home/me/.wagmios".to_owned());
    let below = |facts: &mut Facts| facts.own.folders.push(format!("{APPS}/secrets"));
    let linked = |facts: &mut Facts| {
        let fact = PathFact { real: "/mnt/disk/claw".to_owned(), kind: PathKind::Folder };
        facts.own.folders.push("/opt/claw".to_owned());
        facts.paths.insert("/opt/claw".to_owned(), fact);
    };

    assert_eq!(judge(&format!("{APPS}/web"), &in_engine), Ok(()));
    assert_eq!(judge(&format!("{APPS}/web"), &below), Ok(()));
    // Whatever an app keeps in a folder of its own, that folder is the app's.
    assert_eq!(judge(&format!("{APPS}/vault/home/config"), &below), Ok(()));
    assert_eq!(judge(&format!("{APPS}/secrets/a"), &below), Err(vec!["mounts.own-folder"]));
    assert_eq!(judge("/mnt/disk/claw/claw.db", &linked), Err(vec!["mounts.own-folder"]));
    assert_eq!(judge("/mnt/disk", &linked), Err(vec!["mounts.own-folder"]));
}

#[test]
fn volumes_and_memory_are_free_to_mount() {
    let result = judged(|wish| {
        wish.mounts = vec![
            volume("plain"),
            MountWish { target: "/b".to_owned(), ..volume("new-one") },
            mount(MountWishSource::Anonymous, "/c/"),
            mount(MountWishSource::Tmpfs { bytes: None }, "/dev/shm"),
            mount(MountWishSource::Tmpfs { bytes: Some(1 << 20) }, "/e"),
        ];
    });

    assert_eq!(result.mounts[2].target, "/c");
    assert_eq!(result.mounts[3].source, MountWishSource::Tmpfs { bytes: Some(1 << 30) });
    assert_eq!(result.mounts[4].source, MountWishSource::Tmpfs { bytes: Some(1 << 20) });
    let home = judged(|wish| wish.mounts = vec![volume("claw-home-assistant_config")]);
    assert_eq!(home.mounts.len(), 1);
    let share = judged_under("mounts.volumes = ['share']", |wish| wish.mounts = vec![volume("share")]);
    assert_eq!(share.mounts.len(), 1);
}

#[test]
fn ceilings_of_the_policy_are_what_a_container_gets_that_asks_for_none() {
    let result = judged_under(
        "limits = { memory = '2g', cpus = 1.5, pids = 100 }\nlog = { max_size = '1m', max_files = 2 }",
        |_| {},
    );

    assert_eq!((result.memory_bytes, result.cpus, result.pids), (Some(2 << 30), Some(1.5), Some(100)));
    assert_eq!(result.log.expect("filled in").options, pairs(&[("max-file", "2"), ("max-size", "1m")]));
}

#[test]
fn t10_images_of_permitted_registries_pass_however_they_are_written() {
    for image in [
        "nginx",
        "nginx:1.29",
        "library/nginx",
        "docker.io/nginx",
        "docker.io/library/nginx:latest",
        "index.docker.io/library/nginx",
        "DOCKER.IO/library/nginx",
        "ghcr.io/home/assistant:1",
        "GHCR.IO/home/assistant",
        "ghcr.io/home/a@sha256:00000000000000000000000000000000000000000000000000000000000000ff",
    ] {
        let result = judged_under("images.registries = ['ghcr.io/home/', 'docker.io/library']", |wish| {
            wish.image = image.to_owned()
        });
        assert_eq!(result.image, image);
    }
    assert_eq!(judged(|wish| wish.image = "deadbeef".to_owned()).image, "deadbeef");
    assert_eq!(judged(|wish| wish.image = "localhost:5000/a/b:1".to_owned()).image, "localhost:5000/a/b:1");
}
