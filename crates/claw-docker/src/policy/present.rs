//! What a container is now, read as what one would have to ask for to get it.
//!
//! Somebody else may have made it, with anything the Engine can do. What is read here has a place in the closed model, or
//! is known to give no power. Everything else that the Engine tells and that is not empty counts against the container.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::{
    ContainerWish, DeviceWish, MountWish, MountWishSource, PortWish, Protocol, Refusal, capability, path,
};
use crate::{ContainerEntry, Docker, DockerError, Variable, name, request::Ask, wire};

/// A container as it is at one moment.
#[derive(Clone, Debug)]
pub struct Present {
    /// What lists show of it.
    pub entry: ContainerEntry,
    /// Whether its program is held by the freezer.
    pub paused: bool,
    /// Programs that are run in it besides its own.
    pub programs: usize,
    /// Variables, those of its image too.
    pub environment: Vec<Variable>,
    pub(super) wish: ContainerWish,
    /// What it has that cannot be judged.
    pub(super) unknown: Vec<Refusal>,
}

impl Present {
    /// Returns what one would have to ask for to get its powers. Limits, labels and the like are not in it.
    pub fn wish(&self) -> &ContainerWish {
        &self.wish
    }
}

/// Settings that give no power over the host, whatever their value.
const HARMLESS: &[&str] = &[
    "AutoRemove",
    "BlkioDeviceReadBps",
    "BlkioDeviceReadIOps",
    "BlkioDeviceWriteBps",
    "BlkioDeviceWriteIOps",
    "BlkioWeight",
    "BlkioWeightDevice",
    "CapDrop",
    "ConsoleSize",
    "ContainerIDFile",
    "CpuCount",
    "CpuPercent",
    "CpuPeriod",
    "CpuQuota",
    "CpuShares",
    "CpusetCpus",
    "CpusetMems",
    "Dns",
    "DnsOptions",
    "DnsSearch",
    "ExtraHosts",
    "IOMaximumBandwidth",
    "IOMaximumIOps",
    "Init",
    "KernelMemory",
    "KernelMemoryTCP",
    "Links",
    "LogConfig",
    "Memory",
    "MemoryReservation",
    "MemorySwap",
    "MemorySwappiness",
    "NanoCpus",
    "PidsLimit",
    "PublishAllPorts",
    "ReadonlyRootfs",
    "RestartPolicy",
    "ShmSize",
    "StorageOpt",
    "VolumeDriver",
    // What came of it stands among the mounts.
    "VolumesFrom",
];

/// Settings that the Engine has to tell: what it keeps to itself is not taken for nothing.
const REQUIRED: &[&str] = &[
    "CapAdd",
    "Devices",
    "IpcMode",
    "MaskedPaths",
    "NetworkMode",
    "PidMode",
    "Privileged",
    "ReadonlyPaths",
    "SecurityOpt",
    "UsernsMode",
];

/// What every version of Docker hides in an ordinary container. Whoever may see it can read or harm the host.
const MASKED: &[&str] = &["/proc/kcore", "/proc/keys", "/proc/timer_list", "/sys/firmware"];
/// What it makes read-only.
const READ_ONLY: &[&str] = &["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/// Runtimes that isolate as Docker's own does.
const ORDINARY_RUNTIMES: &[&str] = &["", "crun", "io.containerd.runc.v2", "runc"];

impl Docker {
    /// Returns what a container is now.
    ///
    /// # Errors
    ///
    /// Returns [`DockerError::NotFound`] when there is none of that id or name.
    pub async fn present(&self, container: &str) -> Result<Present, DockerError> {
        let container = name::check_name("container", container)?;
        let ask = Ask::get(format!("/containers/{container}/json"));
        let (told, info) =
            tokio::try_join!(self.ask::<Value>(ask), self.ask::<wire::Info>(Ask::get("/info")))?;
        read(told, info.cgroup_version == "2")
    }
}

fn read(told: Value, has_cgroups_2: bool) -> Result<Present, DockerError> {
    let mut reading = Reading { has_cgroups_2, ..Reading::default() };
    reading.container(&told);
    let mut found: wire::Inspect =
        serde_json::from_value(told).map_err(|error| DockerError::unreadable(&error))?;
    if found.id.is_empty() {
        return Err(DockerError::Unreadable { message: "it describes a container without an id".to_owned() });
    }
    let entry = ContainerEntry::from_inspect(&mut found);
    // Its own mounts do not lie one in the other by themselves.
    reading.wish.name = Some(entry.name.clone());
    Ok(Present {
        entry,
        paused: reading.paused,
        programs: reading.programs,
        environment: found.config.env.into_iter().map(Variable::from_pair).collect(),
        wish: reading.wish,
        unknown: reading.unknown,
    })
}

#[derive(Default)]
struct Reading {
    has_cgroups_2: bool,
    wish: ContainerWish,
    unknown: Vec<Refusal>,
    paused: bool,
    programs: usize,
}

impl Reading {
    fn refuse(&mut self, field: &str, message: String) {
        self.unknown.push(Refusal {
            rule: "exec.unknown-state",
            field: field.to_owned(),
            message,
            permit: None,
        });
    }

    fn odd(&mut self, field: &str) {
        let message = format!("nobody here knows what its setting `{field}` lets it do");
        self.refuse(field, message);
    }

    fn container(&mut self, told: &Value) {
        self.paused = told["State"]["Paused"] == true;
        self.programs = told["ExecIDs"].as_array().map_or(0, Vec::len);
        if !matches!(&told["Platform"], Value::Null) && told["Platform"] != "linux" {
            self.odd("Platform");
        }
        if told["AppArmorProfile"] == "unconfined" {
            self.wish.security_opt.push("apparmor=unconfined".to_owned());
        }
        let Some(settings) = told["HostConfig"].as_object() else {
            return self.odd("HostConfig");
        };
        for field in REQUIRED {
            if !settings.contains_key(*field) {
                self.refuse(field, format!("the Engine does not tell its setting `{field}`"));
            }
        }
        for (field, value) in settings {
            if self.setting(field, value).is_none() {
                self.odd(field);
            }
        }
        self.networks(settings, &told["NetworkSettings"]["Networks"]);
        self.mounts(settings, told);
    }

    /// Reads one setting; `None` for one whose effect is not known.
    fn setting(&mut self, field: &str, value: &Value) -> Option<()> {
        let wish = &mut self.wish;
        match field {
            "Privileged" => wish.privileged = value.as_bool()?,
            "CapAdd" => wish.cap_add = texts(value)?.iter().map(|name| capability::normal(name)).collect(),
            "SecurityOpt" => {
                // Whoever chooses the user of a program needs no program that changes it.
                let counts = |option: &String| !option.starts_with("no-new-privileges");
                wish.security_opt.extend(texts(value)?.into_iter().filter(counts));
            }
            "Devices" => wish.devices = entries(value)?.iter().map(device).collect::<Option<_>>()?,
            "DeviceRequests" => {
                for request in entries(value)? {
                    let is_gpu = matches!(request["Driver"].as_str(), None | Some("" | "nvidia"));
                    is_gpu.then_some(())?;
                    wish.gpus = true;
                }
            }
            "Sysctls" => {
                for (name, value) in members(value)? {
                    wish.sysctls.insert(name, value.as_str()?.to_owned());
                }
            }
            "Ulimits" => {
                for limit in entries(value)? {
                    let limits = (limit["Soft"].as_i64()?, limit["Hard"].as_i64()?);
                    wish.ulimits.insert(limit["Name"].as_str()?.to_owned(), limits);
                }
            }
            "GroupAdd" => wish.group_add = texts(value)?,
            "PidMode" => wish.pid = some_text(value)?,
            "UTSMode" => wish.uts = some_text(value)?,
            "UsernsMode" => wish.userns = some_text(value)?,
            // Others may join it; it joins nobody.
            "IpcMode" => wish.ipc = some_text(value)?.filter(|mode| mode != "shareable"),
            // With the older control groups this is what everybody gets.
            "CgroupnsMode" => {
                let has_cgroups_2 = self.has_cgroups_2;
                wish.cgroupns = some_text(value)?.filter(|mode| has_cgroups_2 || mode != "host");
            }
            "CgroupParent" => wish.cgroup_parent = some_text(value)?,
            "Runtime" => {
                let is_special = |runtime: &String| !ORDINARY_RUNTIMES.contains(&runtime.as_str());
                wish.runtime = some_text(value)?.filter(is_special);
            }
            "OomScoreAdj" => wish.oom_score_adj = Some(i32::try_from(value.as_i64()?).ok()?),
            "PortBindings" => wish.ports = ports(value)?,
            "MaskedPaths" => return holds(value, MASKED),
            "ReadonlyPaths" => return holds(value, READ_ONLY),
            "Isolation" if value == "default" => {}
            // Read together with what came of them.
            "Binds" | "Mounts" | "NetworkMode" | "Tmpfs" => {}
            _ if HARMLESS.contains(&field) => {}
            _ => return is_empty(value).then_some(()),
        }
        Some(())
    }

    fn networks(&mut self, settings: &Map<String, Value>, joined: &Value) {
        match settings.get("NetworkMode").and_then(Value::as_str) {
            Some(mode) if mode == "host" || mode == "none" || mode.contains(':') => {
                self.wish.network_mode = Some(mode.to_owned());
            }
            _ => match members(joined) {
                Some(joined) => self.wish.networks = joined.into_iter().map(|(name, _)| name).collect(),
                None => self.odd("NetworkSettings"),
            },
        }
        if self.wish.networks.is_empty() && self.wish.network_mode.is_none() {
            self.wish.network_mode = Some("none".to_owned());
        }
    }

    fn mounts(&mut self, settings: &Map<String, Value>, told: &Value) {
        let Some(mounts) = told["Mounts"].as_array() else { return self.odd("Mounts") };
        let mut there = BTreeSet::new();
        for mount in mounts {
            let Some(mount) = mount_of(mount) else {
                self.odd("Mounts");
                continue;
            };
            there.extend(path::normal(&mount.target).map(String::from));
            self.wish.mounts.push(mount);
        }
        let Some(in_memory) = members(settings.get("Tmpfs").unwrap_or(&Value::Null)) else {
            return self.odd("Tmpfs");
        };
        for (target, _) in in_memory {
            let normal = path::normal(&target).map(String::from);
            if normal.is_some_and(|target| there.insert(target)) {
                let source = MountWishSource::Tmpfs { bytes: None };
                self.wish.mounts.push(MountWish { source, target, read_only: false, propagation: None });
            }
        }
        // What was asked for has to be among what came of it.
        let (binds, asked) = (settings.get("Binds"), settings.get("Mounts"));
        let targets = asked_targets(binds, asked, &told["Config"]["Volumes"]);
        let is_there = |target: &String| path::normal(target).is_some_and(|target| there.contains(&*target));
        if !targets.is_some_and(|targets| targets.iter().all(is_there)) {
            self.odd("Mounts");
        }
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(flag) => !flag,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(members) => members.is_empty(),
    }
}

/// Reads a list, of which null is an empty one.
fn entries(value: &Value) -> Option<&[Value]> {
    if value.is_null() { Some(&[]) } else { value.as_array().map(Vec::as_slice) }
}

fn members(value: &Value) -> Option<Vec<(String, &Value)>> {
    match value {
        Value::Null => Some(Vec::new()),
        Value::Object(members) => Some(members.iter().map(|(name, value)| (name.clone(), value)).collect()),
        _ => None,
    }
}

fn texts(value: &Value) -> Option<Vec<String>> {
    entries(value)?.iter().map(|text| text.as_str().map(str::to_owned)).collect()
}

/// Reads a text; `Some(None)` for an empty one.
fn some_text(value: &Value) -> Option<Option<String>> {
    match value {
        Value::Null => Some(None),
        Value::String(text) => Some(Some(text.clone()).filter(|text| !text.is_empty())),
        _ => None,
    }
}

fn holds(value: &Value, needed: &[&str]) -> Option<()> {
    let paths = texts(value)?;
    needed.iter().all(|path| paths.iter().any(|has| has == path)).then_some(())
}

fn device(value: &Value) -> Option<DeviceWish> {
    Some(DeviceWish {
        host: value["PathOnHost"].as_str()?.to_owned(),
        container: some_text(&value["PathInContainer"])?,
        permissions: some_text(&value["CgroupPermissions"])?,
    })
}

/// `{"80/tcp": [{"HostIp": "", "HostPort": "8080"}]}`
fn ports(value: &Value) -> Option<Vec<PortWish>> {
    let mut ports = Vec::new();
    for (port, bindings) in members(value)? {
        let (container, protocol) = port.split_once('/').unwrap_or((&port, "tcp"));
        let protocol = match protocol {
            "tcp" => Protocol::Tcp,
            "udp" => Protocol::Udp,
            _ => return None,
        };
        let container = container.parse().ok()?;
        for binding in entries(bindings)? {
            let host = some_text(&binding["HostPort"])?.unwrap_or_else(|| "0".to_owned());
            let address = some_text(&binding["HostIp"])?.map(|address| address.parse()).transpose().ok()?;
            ports.push(PortWish { container, protocol, host: Some(host.parse().ok()?), address });
        }
    }
    Some(ports)
}

fn mount_of(value: &Value) -> Option<MountWish> {
    let text = |member: &str| some_text(&value[member]).map(Option::unwrap_or_default);
    let source = match value["Type"].as_str()? {
        "bind" => MountWishSource::Bind(text("Source")?),
        "volume" => MountWishSource::Volume {
            name: text("Name")?,
            driver: some_text(&value["Driver"])?,
            // Those of the volume itself are among the facts.
            options: BTreeMap::new(),
        },
        "tmpfs" => MountWishSource::Tmpfs { bytes: None },
        _ => return None,
    };
    Some(MountWish {
        source,
        target: text("Destination")?,
        read_only: !value["RW"].as_bool()?,
        propagation: some_text(&value["Propagation"])?,
    })
}

/// Returns the places for which mounts were asked for.
fn asked_targets(binds: Option<&Value>, mounts: Option<&Value>, volumes: &Value) -> Option<Vec<String>> {
    let mut targets = Vec::new();
    for bind in texts(binds.unwrap_or(&Value::Null))? {
        // `source:target[:options]`, or a target alone.
        let mut parts = bind.split(':');
        let first = parts.next()?;
        targets.push(parts.next().unwrap_or(first).to_owned());
    }
    for mount in entries(mounts.unwrap_or(&Value::Null))? {
        targets.push(mount["Target"].as_str()?.to_owned());
    }
    targets.extend(members(volumes)?.into_iter().map(|(target, _)| target));
    Some(targets)
}

#[cfg(test)]
#[path = "present_tests.rs"]
mod tests;
