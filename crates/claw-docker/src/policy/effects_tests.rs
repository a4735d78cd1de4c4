use std::{collections::BTreeMap, fmt, time::Duration};

use bollard::models;
use serde::{Deserialize, de};
use serde_json::Value;

use super::*;
use crate::{
    ContainerNetwork, SandboxContainer,
    policy::{
        ContainerWish, DeviceWish, Facts, Grants, HealthWish, LogWish, MountWish, MountWishSource,
        NetworkFact, Own, PathFact, PathKind, Policy, PortWish, Protocol, RestartWish,
    },
};

/// The names of a type's fields, as serde knows them.
fn fields_of<'de, T: Deserialize<'de> + fmt::Debug>() -> &'static [&'static str] {
    let mut fields: &[&str] = &[];
    let error = T::deserialize(Asked(&mut fields)).expect_err("nothing is there to read");
    assert!(!fields.is_empty(), "{error}");
    fields
}

struct Asked<'a>(&'a mut &'static [&'static str]);

impl<'de> de::Deserializer<'de> for Asked<'_> {
    type Error = de::value::Error;

    fn deserialize_any<V: de::Visitor<'de>>(self, _: V) -> Result<V::Value, Self::Error> {
        Err(de::Error::custom("a type that is no struct"))
    }

    fn deserialize_struct<V: de::Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        _: V,
    ) -> Result<V::Value, Self::Error> {
        *self.0 = fields;
        Err(de::Error::custom("that is all"))
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}

#[test]
fn t4_every_field_of_the_engines_requests_is_classified_and_no_other() {
    macro_rules! checked {
        ($($kind:ident),* $(,)?) => {
            vec![$((stringify!($kind), fields_of::<models::$kind>()),)*]
        };
    }
    let known: Vec<(&str, &[&str])> = checked!(
        ContainerCreateBody,
        HostConfig,
        NetworkingConfig,
        EndpointSettings,
        Mount,
        MountBindOptions,
        MountVolumeOptions,
        MountTmpfsOptions,
        HealthConfig,
        RestartPolicy,
        HostConfigLogConfig,
        PortBinding,
        ResourcesUlimits,
        DeviceMapping,
        DeviceRequest,
        NetworkConnectRequest,
        ContainerUpdateBody,
        ExecConfig,
        ExecStartConfig,
        VolumeCreateRequest,
        NetworkCreateRequest,
    );
    for (object, fields) in &known {
        for field in *fields {
            assert!(
                sent(object, field).is_some(),
                "{object}.{field} is not in the table: decide whether it is sent"
            );
        }
    }
    let names: Vec<_> = known.iter().map(|(name, _)| *name).chain(["BuildImageOptions"]).collect();
    for object in EFFECTS {
        assert!(names.contains(&object.name), "{} is not held against a type", object.name);
    }
    // Newer versions of the library dropped these; older Engines still read them.
    let gone = ["MacAddress", "KernelMemoryTCP"];
    for object in EFFECTS.iter().filter(|object| object.name != "BuildImageOptions") {
        let fields = known.iter().find(|(name, _)| *name == object.name).expect("checked above").1;
        for (field, _) in object.fields {
            assert!(fields.contains(field) || gone.contains(field), "{}.{field} does not exist", object.name);
        }
    }
}

#[test]
fn t4_every_option_of_a_build_is_classified() {
    // All fields by name, so that a new one does not compile.
    let options = bollard::query_parameters::BuildImageOptions {
        dockerfile: String::new(),
        t: Some(String::new()),
        extrahosts: Some(String::new()),
        remote: Some(String::new()),
        q: false,
        nocache: false,
        cachefrom: Some(Vec::new()),
        pull: Some(String::new()),
        rm: false,
        forcerm: false,
        memory: Some(0),
        memswap: Some(0),
        cpushares: Some(0),
        cpusetcpus: Some(String::new()),
        cpuperiod: Some(0),
        cpuquota: Some(0),
        buildargs: Some(Default::default()),
        shmsize: Some(0),
        squash: Some(false),
        labels: Some(Default::default()),
        networkmode: Some(String::new()),
        platform: String::new(),
        target: String::new(),
        version: Default::default(),
    };
    let written = serde_json::to_value(options).expect("JSON");

    for field in written.as_object().expect("an object").keys() {
        assert_eq!(sent("BuildImageOptions", field), Some(Never), "{field}");
    }
}

/// A wish that asks for something of everything, under a policy that permits it.
fn everything() -> (Policy, Facts, ContainerWish) {
    let policy = Policy::parse(
        "mounts.roots = [{ path = '/srv' }]\nnetworks.drivers = ['bridge', 'overlay']\n\
         namespaces.host = ['pid', 'ipc', 'uts', 'user', 'cgroup']\n\
         powers = { capabilities = ['NET_ADMIN'], devices = ['/dev/dri'], gpus = true, sysctls = ['net.core.somaxconn'], \
         runtimes = ['runsc'] }",
    )
    .expect("readable");
    let texts = |texts: &[&str]| texts.iter().map(|&text| text.to_owned()).collect::<Vec<_>>();
    let pairs = |pairs: &[(&str, &str)]| {
        pairs.iter().map(|&(key, value)| (key.to_owned(), value.to_owned())).collect::<BTreeMap<_, _>>()
    };
    let mount = |source, target: &str| MountWish {
        source,
        target: target.to_owned(),
        read_only: false,
        propagation: None,
    };
    let network = || Some(NetworkFact { driver: "overlay".to_owned(), ..Default::default() });
    let facts = Facts {
        own: Own::default(),
        paths: BTreeMap::from([(
            "/srv/new".to_owned(),
            PathFact { real: "/srv/new".to_owned(), kind: PathKind::Missing },
        )]),
        volumes: BTreeMap::from([("data".to_owned(), None)]),
        networks: BTreeMap::from([("front".to_owned(), network()), ("back".to_owned(), network())]),
        ..Default::default()
    };
    let wish = ContainerWish {
        name: Some("app".to_owned()),
        image: "app:1".to_owned(),
        command: Some(texts(&["serve"])),
        entrypoint: Some(texts(&["/app"])),
        environment: vec![("A".to_owned(), "b".to_owned())],
        ports: vec![PortWish {
            container: 80,
            protocol: Protocol::Udp,
            host: Some(8080),
            address: Some([127, 0, 0, 1].into()),
        }],
        mounts: vec![
            mount(MountWishSource::Bind("/srv/new".to_owned()), "/a"),
            mount(
                MountWishSource::Volume { name: "data".to_owned(), driver: None, options: BTreeMap::new() },
                "/b",
            ),
            mount(MountWishSource::Anonymous, "/c"),
            mount(MountWishSource::Tmpfs { bytes: Some(1 << 20) }, "/d"),
        ],
        networks: texts(&["front", "back"]),
        network_mode: None,
        restart: RestartWish::OnFailure(Some(3)),
        user: Some("1000:1000".to_owned()),
        working_dir: Some("/app".to_owned()),
        hostname: Some("app".to_owned()),
        privileged: false,
        cap_add: texts(&["NET_ADMIN"]),
        cap_drop: texts(&["CHOWN"]),
        devices: vec![DeviceWish { host: "/dev/dri".to_owned(), container: None, permissions: None }],
        gpus: true,
        security_opt: texts(&["no-new-privileges"]),
        sysctls: pairs(&[("net.core.somaxconn", "1024")]),
        ulimits: BTreeMap::from([("nofile".to_owned(), (1024, 2048))]),
        pid: Some("host".to_owned()),
        ipc: Some("host".to_owned()),
        uts: Some("host".to_owned()),
        userns: Some("host".to_owned()),
        cgroupns: Some("host".to_owned()),
        cgroup_parent: None,
        runtime: Some("runsc".to_owned()),
        volumes_from: Vec::new(),
        group_add: texts(&["video"]),
        extra_hosts: texts(&["host.docker.internal:host-gateway"]),
        dns: texts(&["9.9.9.9"]),
        labels: pairs(&[("app.kind", "test")]),
        healthcheck: Some(HealthWish {
            test: texts(&["CMD", "true"]),
            interval: Some(Duration::from_secs(30)),
            timeout: Some(Duration::from_secs(3)),
            retries: Some(3),
            start_period: Some(Duration::from_secs(9)),
        }),
        read_only: true,
        init: Some(true),
        shm_bytes: Some(64 << 20),
        stop_grace: Some(Duration::from_secs(20)),
        stop_signal: Some("SIGINT".to_owned()),
        memory_bytes: Some(256 << 20),
        cpus: Some(1.5),
        pids: Some(100),
        oom_score_adj: Some(200),
        tty: true,
        stdin: true,
        log: Some(LogWish { driver: None, options: pairs(&[("max-size", "1m")]) }),
    };
    (policy, facts, wish)
}

/// Calls `see` for every field of a request, with the name of the object it is in.
fn walk(object: &'static str, value: &Value, see: &mut impl FnMut(&'static str, &str, &Value)) {
    for (field, value) in value.as_object().expect("an object") {
        see(object, field, value);
        let (inner, values): (&str, Vec<&Value>) = match (object, field.as_str()) {
            (_, "HostConfig") => ("HostConfig", vec![value]),
            (_, "NetworkingConfig") => ("NetworkingConfig", vec![value]),
            (_, "EndpointsConfig") => {
                ("EndpointSettings", value.as_object().expect("a map").values().collect())
            }
            (_, "Healthcheck") => ("HealthConfig", vec![value]),
            (_, "RestartPolicy") => ("RestartPolicy", vec![value]),
            (_, "LogConfig") => ("HostConfigLogConfig", vec![value]),
            (_, "Mounts") => ("Mount", value.as_array().expect("a list").iter().collect()),
            (_, "BindOptions") => ("MountBindOptions", vec![value]),
            (_, "VolumeOptions") => ("MountVolumeOptions", vec![value]),
            (_, "TmpfsOptions") => ("MountTmpfsOptions", vec![value]),
            (_, "Ulimits") => ("ResourcesUlimits", value.as_array().expect("a list").iter().collect()),
            (_, "Devices") => ("DeviceMapping", value.as_array().expect("a list").iter().collect()),
            (_, "DeviceRequests") => ("DeviceRequest", value.as_array().expect("a list").iter().collect()),
            (_, "PortBindings") => (
                "PortBinding",
                value
                    .as_object()
                    .expect("a map")
                    .values()
                    .flat_map(|list| list.as_array().expect("a list"))
                    .collect(),
            ),
            _ => continue,
        };
        for value in values {
            walk(inner, value, see);
        }
    }
}

#[test]
fn t6_a_wish_for_everything_sends_exactly_what_the_table_says() {
    let (policy, facts, wish) = everything();
    let approved = policy.judge(&wish, &facts, &Grants::default()).expect("permitted");
    assert_eq!(approved.further_networks(), ["back"]);
    let labels = BTreeMap::from([("claw.by".to_owned(), "us".to_owned())]);
    let request = serde_json::to_value(approved.into_request(labels)).expect("JSON");

    let mut seen = Vec::new();
    walk("ContainerCreateBody", &request, &mut |object, field, value| {
        match sent(object, field) {
            Some(FromWish(_)) => {}
            Some(Always(expected)) => {
                let expected: Value = serde_json::from_str(expected).expect("JSON");
                assert_eq!(*value, expected, "{object}.{field}");
            }
            other => panic!("{object}.{field} is sent, and classified as {other:?}"),
        }
        seen.push((object, field.to_owned()));
    });
    for object in EFFECTS {
        // Requests of their own.
        if matches!(object.name, "NetworkConnectRequest" | "ExecConfig" | "ExecStartConfig") {
            continue;
        }
        for (field, kind) in object.fields {
            let is_sent = seen.iter().any(|(name, sent)| *name == object.name && sent == field);
            assert_eq!(is_sent, matches!(kind, FromWish(_) | Always(_)), "{}.{field}", object.name);
        }
    }
    let expected: Value = serde_json::from_str(include_str!("effects_request.json")).expect("JSON");
    assert_eq!(request, expected, "{request:#}");
}

#[test]
fn t2_a_sandbox_sends_nothing_that_the_table_does_not_know() {
    let sandbox = SandboxContainer {
        name: "claw-job-1".to_owned(),
        image: "claw-sandbox".to_owned(),
        user: (10001, 10001),
        program: vec!["bash".to_owned()],
        arguments: vec!["-c".to_owned()],
        environment: vec![("A".to_owned(), "b".to_owned())],
        labels: BTreeMap::new(),
        working_dir: "/".to_owned(),
        network: ContainerNetwork::None,
        memory_bytes: 1 << 30,
        cpus: 1.0,
        pids: 64,
        tmp_bytes: 1 << 20,
        mounts: vec![
            crate::Mount {
                source: crate::MountSource::HostFolder("/srv".to_owned()),
                target: "/a".to_owned(),
                read_only: false,
            },
            crate::Mount {
                source: crate::MountSource::Volume { name: "home".to_owned(), labels: BTreeMap::new() },
                target: "/b".to_owned(),
                read_only: false,
            },
        ],
        runtime: Some("runsc".to_owned()),
    };
    let request = serde_json::to_value(sandbox.into_request()).expect("JSON");

    walk("ContainerCreateBody", &request, &mut |object, field, _| {
        assert!(!matches!(sent(object, field), None | Some(Never)), "{object}.{field}");
    });
    assert_eq!(request["HostConfig"]["Privileged"], false);
    assert_eq!(request["HostConfig"]["CapDrop"], serde_json::json!(["ALL"]));
    assert!(request["HostConfig"].get("CapAdd").is_none());
}

#[test]
fn t4_a_program_in_a_container_sends_exactly_what_the_table_says() {
    for (object, request) in crate::exec::requests() {
        let mut sent_fields: Vec<_> = Vec::new();
        for (field, value) in request.as_object().expect("an object") {
            match sent(object, field) {
                Some(FromWish(_)) => {}
                Some(Always(expected)) => assert_eq!(value.to_string(), expected, "{object}.{field}"),
                other => panic!("{object}.{field} is sent, and classified as {other:?}"),
            }
            sent_fields.push(field.as_str());
        }
        let known = EFFECTS.iter().find(|known| known.name == object).expect("in the table");
        for (field, kind) in known.fields {
            let is_sent = sent_fields.contains(field);
            assert_eq!(is_sent, matches!(kind, FromWish(_) | Always(_)), "{object}.{field}");
        }
    }
}
