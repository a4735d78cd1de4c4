use std::net::IpAddr;

use proptest::{prelude::*, sample::select};
use serde_json::{Value, json};

use super::*;
use crate::policy::{
    ContainerWish, Facts, Grants, NetworkFact, Own, PathFact, PathKind, Policy, Protocol, VolumeFact, path,
};

/// A text out of a list, mostly none.
fn word(words: &'static [&'static str]) -> impl Strategy<Value = Option<String>> {
    prop_oneof![15 => Just(None), 1 => select(words).prop_map(|word| Some(word.to_owned()))]
}

/// Few texts out of a list, mostly none.
fn words(words: &'static [&'static str]) -> impl Strategy<Value = Vec<String>> {
    prop_oneof![
        9 => Just(Vec::new()),
        1 => prop::collection::vec(select(words).prop_map(str::to_owned), 1..3),
    ]
}

fn mounts() -> impl Strategy<Value = Vec<MountWish>> {
    let binds = &[
        "/apps/a",
        "/apps/a/../../etc",
        "/apps//b/",
        "/apps/link",
        "/apps",
        "/etc",
        "/",
        "/run/docker.sock",
        "/data",
        "a",
        "/etc/localtime",
    ];
    let source = prop_oneof![
        3 => select(&["/apps/a", "/apps//b/", "/apps/c/./d"]).prop_map(|path| MountWishSource::Bind(path.to_owned())),
        1 => select(binds).prop_map(|path| MountWishSource::Bind(path.to_owned())),
        2 => (select(&["plain", "bound", "new", "claw-data", "/x"]), prop::bool::weighted(0.1)).prop_map(|(name, bound)| {
            let options = if bound { vec![("o", "bind"), ("device", "/")] } else { Vec::new() };
            MountWishSource::Volume {
                name: name.to_owned(),
                driver: None,
                options: options.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect(),
            }
        }),
        1 => Just(MountWishSource::Anonymous),
        1 => prop::option::of(0_u64..3 << 29).prop_map(|bytes| MountWishSource::Tmpfs { bytes }),
    ];
    let target = prop_oneof![
        9 => select(&["/data", "/config", "//x/", "/dev/shm"]),
        1 => select(&["/proc", "/", "data"]),
    ];
    let mount = (source, target, any::<bool>(), word(&["rprivate", "shared", "rslave"])).prop_map(
        |(source, target, read_only, propagation)| MountWish {
            source,
            target: target.to_owned(),
            read_only,
            propagation,
        },
    );
    prop_oneof![2 => Just(Vec::new()), 3 => prop::collection::vec(mount, 1..3)]
}

fn ports() -> impl Strategy<Value = Vec<PortWish>> {
    let port = (
        select(&[0_u16, 80, 80, 8080, 8081]),
        select(&[None, None, Some(0), Some(22), Some(80), Some(443), Some(5179), Some(8080)]),
        any::<bool>(),
    )
        .prop_map(|(container, host, local)| PortWish {
            container,
            protocol: Protocol::Tcp,
            host,
            address: local.then(|| IpAddr::from([127, 0, 0, 1])),
        });
    prop::collection::vec(port, 0..2)
}

prop_compose! {
    fn wishes()(
        name in word(&["web", "claw-job-1", "deadbeef"]),
        mounts in mounts(),
        ports in ports(),
        networks in words(&["front", "host", "none", "nowhere", "hidden-host", "container:x"]),
        network_mode in word(&["bridge", "none", "host", "front", "container:x"]),
        privileged in prop::bool::weighted(0.03),
        cap_add in words(&["CHOWN", "setuid", "SYS_ADMIN", "NET_RAW", "ALL"]),
        cap_drop in words(&["ALL", "all", "CHOWN", "CAP_KILL"]),
        devices in words(&["/dev/sda"]),
        gpus in prop::bool::weighted(0.03),
        security_opt in words(&["no-new-privileges", "no-new-privileges:false", "seccomp=unconfined"]),
        (pid, ipc, uts, userns, cgroupns) in (
            word(&["", "private", "host"]), word(&["", "private", "none", "host"]), word(&["", "host", "container:x"]),
            word(&["", "host"]), word(&["private", "host"])
        ),
        (cgroup_parent, runtime) in (word(&["", "/x"]), word(&["", "runc"])),
        volumes_from in prop_oneof![30 => Just(Vec::new()), 1 => Just(vec!["x".to_owned()])],
        (pids, memory_bytes, cpus, oom_score_adj) in (
            prop::option::of(0_u32..4200), prop::option::of(0_u64..1 << 32), prop::option::of(0.0_f64..8.0),
            prop::option::of(-20_i32..1000)
        ),
        label in word(&["app", "traefik.enable", "claw.app"]),
    ) -> ContainerWish {
        ContainerWish {
            name,
            image: "nginx:1".to_owned(),
            mounts,
            ports,
            networks,
            network_mode,
            privileged,
            cap_add,
            cap_drop,
            devices: devices.into_iter().map(|host| DeviceWish { host, container: None, permissions: None }).collect(),
            gpus,
            security_opt,
            pid,
            ipc,
            uts,
            userns,
            cgroupns,
            cgroup_parent,
            runtime,
            volumes_from,
            pids,
            memory_bytes,
            cpus,
            oom_score_adj,
            labels: label.into_iter().map(|key| (key, "x".to_owned())).collect(),
            ..Default::default()
        }
    }
}

fn facts(wish: &ContainerWish) -> Facts {
    let mut facts = Facts {
        own: Own {
            apps_folder: Some("/apps".to_owned()),
            folders: vec!["/data".to_owned()],
            ..Own::default()
        },
        volumes: BTreeMap::from([
            ("plain".to_owned(), Some(VolumeFact::default())),
            (
                "bound".to_owned(),
                Some(VolumeFact {
                    options: BTreeMap::from([("o".to_owned(), "bind".to_owned())]),
                    ..Default::default()
                }),
            ),
            ("new".to_owned(), None),
            ("claw-data".to_owned(), None),
        ]),
        networks: [("front", "bridge"), ("hidden-host", "host")]
            .map(|(name, driver)| {
                (name.to_owned(), Some(NetworkFact { driver: driver.to_owned(), ..Default::default() }))
            })
            .into(),
        ..Default::default()
    };
    for mount in &wish.mounts {
        if let MountWishSource::Bind(source) = &mount.source
            && let Some(asked) = path::normal(source)
        {
            let real = if asked == "/apps/link" { "/etc".to_owned() } else { asked.clone().into_owned() };
            facts.paths.insert(asked.into_owned(), PathFact { real, kind: PathKind::Folder });
        }
    }
    facts
}

/// What must hold of every request under the default policy.
fn is_harmless(request: &Value) -> Result<(), TestCaseError> {
    let host = &request["HostConfig"];
    prop_assert_eq!(&host["Privileged"], &json!(false));
    prop_assert_eq!(&host["PublishAllPorts"], &json!(false));
    prop_assert_eq!(&host["SecurityOpt"], &json!(["no-new-privileges:true"]));
    for absent in [
        "Binds",
        "VolumesFrom",
        "Devices",
        "DeviceRequests",
        "DeviceCgroupRules",
        "Sysctls",
        "CgroupParent",
        "Runtime",
        "PidMode",
        "UTSMode",
        "UsernsMode",
        "MaskedPaths",
        "ReadonlyPaths",
        "VolumeDriver",
        "Links",
        "Cgroup",
    ] {
        prop_assert!(host.get(absent).is_none(), "{}", absent);
    }
    let texts = |value: &Value| -> Vec<String> {
        value.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
    };
    let (added, dropped) = (texts(&host["CapAdd"]), texts(&host["CapDrop"]));
    if dropped == ["ALL"] {
        prop_assert!(added.iter().all(|name| ["CHOWN", "SETUID"].contains(&name.as_str())), "{:?}", added);
    } else {
        prop_assert!(added.is_empty(), "{:?}", added);
        for name in ["AUDIT_WRITE", "MKNOD", "NET_RAW"] {
            prop_assert!(dropped.iter().any(|dropped| dropped == name), "{:?}", dropped);
        }
    }
    prop_assert!(["private", "none"].contains(&host["IpcMode"].as_str().unwrap_or_default()));
    prop_assert_eq!(&host["CgroupnsMode"], &json!("private"));
    let mode = host["NetworkMode"].as_str().unwrap_or_default();
    prop_assert!(["bridge", "none", "front"].contains(&mode), "{}", mode);
    prop_assert!((1..=4096).contains(&host["PidsLimit"].as_i64().unwrap_or_default()));
    prop_assert!(host.get("OomScoreAdj").is_none_or(|score| score.as_i64() >= Some(0)));
    prop_assert_eq!(&host["LogConfig"]["Type"], &json!("json-file"));
    for mount in host["Mounts"].as_array().into_iter().flatten() {
        let source = mount["Source"].as_str().unwrap_or_default();
        prop_assert!(mount.get("VolumeOptions").is_none());
        match mount["Type"].as_str() {
            Some("bind") => {
                let reads_clock = source == "/etc/localtime" && mount["ReadOnly"] == true;
                let is_apps = path::is_strictly_beneath(source, "/apps") && !source.contains("..");
                prop_assert!(reads_clock || is_apps && source != "/apps/link", "{}", source);
                prop_assert_eq!(&mount["BindOptions"]["Propagation"], &json!("rprivate"));
            }
            Some("volume") => prop_assert!(["", "plain", "new"].contains(&source), "{}", source),
            Some("tmpfs") => {
                prop_assert!(
                    mount["TmpfsOptions"]["SizeBytes"]
                        .as_u64()
                        .is_some_and(|bytes| (1..=1 << 30).contains(&bytes))
                );
            }
            other => prop_assert!(false, "{:?}", other),
        }
        let target = mount["Target"].as_str().unwrap_or_default();
        prop_assert!(target != "/" && target != "/proc", "{}", target);
    }
    for ports in host["PortBindings"].as_object().into_iter().flat_map(|map| map.values()) {
        for port in ports.as_array().into_iter().flatten() {
            prop_assert!(!["22", "5179"].contains(&port["HostPort"].as_str().unwrap_or_default()));
        }
    }
    let labels = request["Labels"].as_object();
    prop_assert!(labels.is_none_or(|labels| labels.keys().all(|key| key == "app")));
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn t2_whatever_is_approved_is_sent_without_power_over_the_host(wish in wishes()) {
        let facts = facts(&wish);
        if let Ok(approved) = Policy::default().judge(&wish, &facts, &Grants::default()) {
            let request = serde_json::to_value(approved.into_request(BTreeMap::new())).expect("JSON");
            is_harmless(&request)?;
        }
    }

    #[test]
    fn t5_judging_what_was_approved_gives_the_same_verdict_and_request(wish in wishes()) {
        let mut before = facts(&wish);
        if let Ok(approved) = Policy::default().judge(&wish, &before, &Grants::default()) {
            let renewed = approved.wish().clone();
            before.paths.extend(facts(&renewed).paths);
            let again = Policy::default().judge(&renewed, &before, &Grants::default()).expect("approved again");
            prop_assert_eq!(again.wish(), &renewed);
            let request = |approved: Approved| serde_json::to_value(approved.into_request(BTreeMap::new())).expect("JSON");
            prop_assert_eq!(request(again), request(approved));
        }
    }
}

/// One effect, however it is asked for, has one verdict and one request.
#[test]
fn t5_spellings_of_one_effect_end_in_one_request() {
    type Change = fn(&mut ContainerWish);
    let plain: Change = |_| {};
    let groups: &[&[Change]] = &[
        &[
            plain,
            |wish| wish.network_mode = Some("bridge".to_owned()),
            |wish| wish.network_mode = Some("default".to_owned()),
            |wish| wish.networks = vec!["bridge".to_owned()],
            |wish| wish.pid = Some("private".to_owned()),
            |wish| wish.ipc = Some("private".to_owned()),
            |wish| wish.cgroupns = Some(String::new()),
            |wish| wish.cap_add = vec!["cap_chown".to_owned()],
            |wish| wish.cap_drop = vec!["NET_RAW".to_owned(), "CAP_MKNOD".to_owned()],
            |wish| wish.security_opt = vec!["no-new-privileges".to_owned()],
            |wish| wish.pids = Some(0),
            |wish| wish.pids = Some(4096),
            |wish| wish.memory_bytes = Some(0),
            |wish| wish.log = Some(LogWish::default()),
            |wish| {
                let options = BTreeMap::from([("max-size".to_owned(), "10240k".to_owned())]);
                wish.log = Some(LogWish { driver: Some("json-file".to_owned()), options });
            },
            |wish| wish.runtime = Some(String::new()),
        ],
        &[
            |wish| wish.networks = vec!["front".to_owned()],
            |wish| wish.networks = vec!["front".to_owned(), "front".to_owned()],
            |wish| wish.network_mode = Some("front".to_owned()),
        ],
        &[
            |wish| wish.mounts = vec![bind_at("/apps/a", "/data")],
            |wish| wish.mounts = vec![bind_at("/apps//a/", "/data/")],
            |wish| wish.mounts = vec![bind_at("/./apps/a/.", "//data")],
            |wish| {
                wish.mounts = vec![MountWish {
                    propagation: Some("rprivate".to_owned()),
                    ..bind_at("/apps/a", "/data")
                }];
            },
        ],
        &[
            |wish| wish.cap_drop = vec!["ALL".to_owned()],
            |wish| wish.cap_drop = vec!["all".to_owned(), "CHOWN".to_owned()],
            |wish| wish.cap_drop = vec!["CAP_ALL".to_owned()],
        ],
    ];
    for (group, changes) in groups.iter().enumerate() {
        let request = |change: &Change| {
            let mut wish = ContainerWish { image: "nginx:1".to_owned(), ..Default::default() };
            change(&mut wish);
            let approved =
                Policy::default().judge(&wish, &facts(&wish), &Grants::default()).expect("permitted");
            serde_json::to_value(approved.into_request(BTreeMap::new())).expect("JSON")
        };
        let first = request(&changes[0]);
        for (index, change) in changes.iter().enumerate() {
            assert_eq!(request(change), first, "group {group}, spelling {index}");
        }
    }
}

fn bind_at(source: &str, target: &str) -> MountWish {
    MountWish {
        source: MountWishSource::Bind(source.to_owned()),
        target: target.to_owned(),
        read_only: false,
        propagation: None,
    }
}

#[test]
fn t7_labels_of_ours_win_over_those_of_the_wish() {
    let wish = ContainerWish {
        image: "nginx:1".to_owned(),
        labels: BTreeMap::from([("a".to_owned(), "theirs".to_owned())]),
        ..Default::default()
    };
    let approved = Policy::default().judge(&wish, &facts(&wish), &Grants::default()).expect("permitted");

    let request = approved.into_request(BTreeMap::from([("a".to_owned(), "ours".to_owned())]));

    assert_eq!(request.labels.expect("there")["a"], "ours");
}
