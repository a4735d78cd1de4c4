use serde_json::json;

use super::*;
use crate::policy::{ExecWish, Facts, Grants, Policy, VolumeFact};

/// An ordinary container as Docker 28 describes it.
fn ordinary() -> Value {
    serde_json::from_str(include_str!("present_container.json")).expect("JSON")
}

/// The rules by which nothing is run in it.
fn broken(told: Value) -> Vec<(&'static str, String)> {
    // What cannot be read at all is not run in either.
    let Ok(present) = read(told, true) else { return vec![("unreadable", String::new())] };
    let existing = || Some(VolumeFact { driver: "local".to_owned(), ..VolumeFact::default() });
    let volumes = [("data".to_owned(), existing()), ("ab".repeat(32), existing())];
    let facts = Facts { volumes: volumes.into(), ..Facts::default() };
    let wish = ExecWish { command: vec!["true".to_owned()], ..ExecWish::default() };
    match Policy::default().judge_exec(&wish, &present, &facts, &Grants::default()) {
        Ok(approved) => {
            assert_eq!((approved.container(), approved.wish()), (&*"4f".repeat(32), &wish));
            Vec::new()
        }
        Err(refused) => refused.refusals.into_iter().map(|refusal| (refusal.rule, refusal.field)).collect(),
    }
}

/// The ordinary container with another setting.
fn with(field: &str, value: Value) -> Value {
    let mut told = ordinary();
    told["HostConfig"][field] = value;
    told
}

#[test]
fn programs_are_run_in_an_ordinary_container() {
    assert_eq!(broken(ordinary()), []);
    for (field, value) in [
        ("IpcMode", json!("shareable")),
        ("IpcMode", json!("none")),
        ("CapDrop", json!(["ALL"])),
        ("SecurityOpt", json!(["no-new-privileges"])),
        ("SecurityOpt", json!(["no-new-privileges:false"])),
        ("Runtime", json!("io.containerd.runc.v2")),
        ("Tmpfs", json!({ "/scratch": "size=1g" })),
        ("Annotations", json!({})),
        ("OomScoreAdj", json!(500)),
        ("PortBindings", json!({ "53/udp": [{ "HostIp": "::1", "HostPort": "53" }], "1/tcp": null })),
    ] {
        assert_eq!(broken(with(field, value.clone())), [], "{field}: {value}");
    }
}

#[test]
fn t2_t4_every_power_counts() {
    for (field, value, rule) in [
        ("Privileged", json!(true), "powers.privileged"),
        ("CapAdd", json!(["CAP_SYS_ADMIN"]), "powers.capabilities"),
        ("CapAdd", json!(["sys_ptrace"]), "powers.capabilities"),
        ("CapAdd", json!(["NOVEL"]), "powers.capability-unknown"),
        ("PidMode", json!("host"), "namespaces.host"),
        ("PidMode", json!("container:x"), "namespaces.foreign"),
        ("PidMode", json!("novel"), "namespaces.form"),
        ("IpcMode", json!("host"), "namespaces.host"),
        ("UTSMode", json!("host"), "namespaces.host"),
        ("UsernsMode", json!("host"), "namespaces.host"),
        ("CgroupnsMode", json!("host"), "namespaces.host"),
        ("NetworkMode", json!("host"), "namespaces.host"),
        ("NetworkMode", json!("container:4f"), "namespaces.foreign"),
        ("NetworkMode", json!("ns:/proc/1/ns/net"), "namespaces.foreign"),
        ("SecurityOpt", json!(["seccomp=unconfined"]), "powers.security-options"),
        ("SecurityOpt", json!(["apparmor=unconfined"]), "powers.security-options"),
        ("Devices", json!([{ "PathOnHost": "/dev/sda", "PathInContainer": "/dev/sda" }]), "powers.devices"),
        ("DeviceRequests", json!([{ "Driver": "", "Count": -1, "Capabilities": [["gpu"]] }]), "powers.gpus"),
        ("DeviceRequests", json!([{ "Driver": "cdi", "DeviceIDs": ["x"] }]), "exec.unknown-state"),
        ("DeviceCgroupRules", json!(["b *:* rwm"]), "exec.unknown-state"),
        ("Sysctls", json!({ "kernel.msgmax": "1" }), "powers.sysctls"),
        ("Ulimits", json!([{ "Name": "rtprio", "Soft": 1, "Hard": 1 }]), "powers.ulimits"),
        ("CgroupParent", json!("/system"), "powers.cgroup-parent"),
        ("Runtime", json!("novel"), "powers.runtime"),
        ("OomScoreAdj", json!(-1), "powers.oom-score"),
        ("OomKillDisable", json!(true), "exec.unknown-state"),
        ("CpuRealtimeRuntime", json!(1000), "exec.unknown-state"),
        ("Cgroup", json!("container:x"), "exec.unknown-state"),
        ("Annotations", json!({ "run.oci.keep_original_groups": "1" }), "exec.unknown-state"),
        ("MaskedPaths", json!([]), "exec.unknown-state"),
        ("MaskedPaths", json!(null), "exec.unknown-state"),
        ("MaskedPaths", json!(["/proc/acpi"]), "exec.unknown-state"),
        ("ReadonlyPaths", json!([]), "exec.unknown-state"),
        ("PortBindings", json!({ "80/tcp": [{ "HostIp": "", "HostPort": "977" }] }), "ports.low"),
        ("PortBindings", json!({ "80/sctp": [{ "HostIp": "", "HostPort": "8080" }] }), "exec.unknown-state"),
        ("Binds", json!(["data:/data", "/etc:/host"]), "exec.unknown-state"),
        ("Mounts", json!([{ "Type": "bind", "Source": "/etc", "Target": "/host" }]), "exec.unknown-state"),
        ("Tmpfs", json!({ "/proc/x": "" }), "mounts.target-system"),
    ] {
        let rules = broken(with(field, value.clone()));
        assert!(rules.iter().any(|(broken, _)| *broken == rule), "{field}: {value}: {rules:?}");
    }
}

#[test]
fn t4_what_is_not_known_counts_and_so_does_what_is_not_told() {
    for value in [json!(true), json!(1), json!("x"), json!(["x"]), json!({ "x": 1 })] {
        let unknown = broken(with("FieldOfTheFuture", value));
        assert_eq!(unknown, [("exec.unknown-state", "FieldOfTheFuture".to_owned())]);
    }
    for value in [json!(null), json!(false), json!(0), json!(""), json!([]), json!({})] {
        assert_eq!(broken(with("FieldOfTheFuture", value)), []);
    }
    for field in REQUIRED {
        let mut told = ordinary();
        told["HostConfig"].as_object_mut().expect("an object").remove(*field).expect("it was there");
        let rules = broken(told);
        assert!(rules.contains(&("exec.unknown-state", (*field).to_owned())), "{field}: {rules:?}");
    }
    // Of another type than it ever had, every setting that is read is an unknown one.
    let settings = ordinary()["HostConfig"].as_object().expect("an object").clone();
    for field in settings.keys().filter(|field| !HARMLESS.contains(&field.as_str())) {
        let rules = broken(with(field, json!({ "a": [{ "b": 1.5 }] })));
        assert!(!rules.is_empty(), "{field}");
    }
    for member in ["HostConfig", "Mounts"] {
        let mut told = ordinary();
        told.as_object_mut().expect("an object").remove(member);
        assert!(!broken(told).is_empty(), "{member}");
    }
}

#[test]
fn t1_every_mount_counts_as_it_came_out() {
    let mount = |mount: Value| {
        let mut told = ordinary();
        told["Mounts"].as_array_mut().expect("a list").push(mount);
        broken(told).into_iter().map(|(rule, _)| rule).collect::<Vec<_>>()
    };
    let bind = |source: &str, propagation: &str| json!({ "Type": "bind", "Source": source, "Destination": "/x", "RW": false, "Propagation": propagation });

    assert_eq!(mount(bind("/etc", "rprivate")), ["mounts.system"]);
    assert_eq!(mount(bind("/srv/data", "rprivate")), ["mounts.outside-roots"]);
    assert!(mount(bind("/srv/data", "rshared")).contains(&"mounts.propagation"));
    assert_eq!(mount(bind("/run/docker.sock", "")), ["mounts.engine-socket"]);
    assert_eq!(mount(bind("/etc/localtime", "rprivate")), Vec::<&str>::new());
    let volume = json!({ "Type": "volume", "Name": "other", "Source": "/y", "Destination": "/x", "Driver": "local", "RW": true });
    assert_eq!(mount(volume), ["mounts.volume-unseen"]);
    for odd in
        [json!({ "Type": "image" }), json!({ "Type": "cluster", "RW": true }), json!("x"), bind("", "")]
    {
        assert!(!mount(odd.clone()).is_empty(), "{odd}");
    }
}

#[test]
fn t5_networks_are_those_it_is_in_and_not_the_one_that_was_asked_for() {
    let mut told = ordinary();
    told["NetworkSettings"]["Networks"]["clawmachine_default"] = json!({ "NetworkID": "2" });

    let rules = broken(told);

    assert!(rules.iter().any(|(rule, _)| *rule == "networks.own"), "{rules:?}");
}

#[test]
fn the_older_control_groups_have_one_namespace_for_all() {
    let present = read(with("CgroupnsMode", json!("host")), false).expect("readable");

    assert_eq!(present.wish().cgroupns, None);
}

#[test]
fn who_looks_at_it_sees_no_secret_and_whether_it_can_run_something() {
    let mut told = ordinary();
    told["State"]["Paused"] = json!(true);
    told["ExecIDs"] = json!(["a", "b"]);

    let present = read(told, true).expect("readable");

    assert_eq!((present.paused, present.programs, present.entry.name.as_str()), (true, 2, "web"));
    assert!(!format!("{present:?}").contains("hunter2"));
}
