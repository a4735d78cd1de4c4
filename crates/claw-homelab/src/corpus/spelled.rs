//! A wish as clients write it: JSON and compose files, in the different forms that say the same.

use std::collections::BTreeMap;

use claw_docker::policy::{
    ContainerWish, DeviceWish, HealthWish, LogWish, MountWish, MountWishSource, PortWish, RestartWish,
    corpus::world::plain,
};
use serde_json::{Map, Value, json};

/// How a client writes variables and ports in JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JsonForm {
    /// `env` as an object, ports as `{private, public, protocol}`.
    Promised,
    /// `env` as a list of `{key, value}`, ports as `{host, container}`.
    Written,
}

/// How a compose file writes what can be written in several ways.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum YamlForm {
    /// `"./a:/b:ro"`, `"8080:80"`, `A=1`.
    Short,
    /// `{type: bind, source: …}`, `{target: 80, …}`, `{A: 1}`.
    Long,
}

/// A document and what it says beyond a plain container.
#[derive(Clone, Debug)]
pub struct Doc {
    /// The document.
    pub text: String,
    /// The members that are not those of a plain container.
    pub members: Vec<&'static str>,
}

/// Collects members that differ from those of a plain container.
#[derive(Default)]
struct Members {
    all: Map<String, Value>,
    special: Vec<&'static str>,
}

impl Members {
    fn add(&mut self, name: &'static str, value: Value, is_plain: bool) {
        let is_nothing = match &value {
            Value::Null | Value::Bool(false) => true,
            Value::Array(items) => items.is_empty(),
            Value::Object(members) => members.is_empty(),
            _ => false,
        };
        // What says nothing is left out, unless nothing is what is special about it.
        if !is_nothing {
            self.all.insert(name.to_owned(), value);
        }
        if !is_plain {
            self.special.push(name);
        }
    }
}

/// Numbers that JSON has no word for, as clients write them all the same.
fn amount(cpus: f64) -> Value {
    if cpus.is_finite() { cpus.into() } else { format!("\u{1}{cpus}\u{1}").into() }
}

fn unmarked(json: &str) -> String {
    json.replace("\"\\u0001", "").replace("\\u0001\"", "").replace("inf", "1e999")
}

/// Writes a wish as the body of a request. What the door has no member for is written as a member that a client might
/// try; `None` if the wish cannot be told from a permitted one there.
pub fn json(wish: &ContainerWish, form: JsonForm) -> Option<Doc> {
    let ContainerWish {
        name,
        image,
        command,
        entrypoint,
        environment,
        ports,
        mounts,
        networks,
        network_mode,
        restart,
        user,
        working_dir,
        hostname,
        privileged,
        cap_add,
        cap_drop,
        devices,
        gpus,
        security_opt,
        sysctls,
        ulimits,
        pid,
        ipc,
        uts,
        userns,
        cgroupns,
        cgroup_parent,
        runtime,
        volumes_from,
        group_add,
        extra_hosts,
        dns,
        labels,
        healthcheck,
        read_only,
        init,
        shm_bytes,
        stop_grace,
        stop_signal,
        memory_bytes,
        cpus,
        pids,
        oom_score_adj,
        tty,
        stdin,
        log,
    } = wish;
    let plain = plain();
    let mut members = Members::default();
    let mut add = |name, value: Value, is_plain: bool| members.add(name, value, is_plain);
    add("name", json!(name), *name == plain.name);
    add("image", json!(image), *image == plain.image);
    add("command", json!(command), *command == plain.command);
    add("entrypoint", json!(entrypoint), *entrypoint == plain.entrypoint);
    let pairs = || environment.iter().map(|(key, value)| json!({ "key": key, "value": value }));
    let names: BTreeMap<_, _> = environment.iter().cloned().collect();
    // An object cannot say a name twice and be JSON of one meaning.
    let env = if form == JsonForm::Promised && names.len() == environment.len() {
        json!(names)
    } else {
        pairs().collect()
    };
    add("env", env, environment.is_empty());
    add("ports", ports.iter().map(|port| json_port(port, form)).collect(), ports.is_empty());
    add("volumes", mounts.iter().map(json_mount).collect::<Option<Vec<_>>>()?.into(), mounts.is_empty());
    add("networks", json!(networks), networks.is_empty());
    add("network_mode", json!(network_mode), network_mode.is_none());
    add("restart", restart_text(*restart), *restart == plain.restart);
    add("user", json!(user), user.is_none());
    add("working_dir", json!(working_dir), working_dir.is_none());
    add("hostname", json!(hostname), hostname.is_none());
    add("privileged", json!(privileged), !privileged);
    add("cap_add", json!(cap_add), cap_add.is_empty());
    add("cap_drop", json!(cap_drop), cap_drop.is_empty());
    add("devices", devices.iter().map(device_text).collect(), devices.is_empty());
    add("gpus", json!(gpus), !gpus);
    add("security_opt", json!(security_opt), security_opt.is_empty());
    add("sysctls", json!(sysctls), sysctls.is_empty());
    add("ulimits", json!(ulimits), ulimits.is_empty());
    add("pid", json!(pid), pid.is_none());
    add("ipc", json!(ipc), ipc.is_none());
    add("uts", json!(uts), uts.is_none());
    add("userns", json!(userns), userns.is_none());
    add("cgroupns", json!(cgroupns), cgroupns.is_none());
    add("cgroup_parent", json!(cgroup_parent), cgroup_parent.is_none());
    add("runtime", json!(runtime), runtime.is_none());
    add("volumes_from", json!(volumes_from), volumes_from.is_empty());
    add("group_add", json!(group_add), group_add.is_empty());
    add("extra_hosts", json!(extra_hosts), extra_hosts.is_empty());
    add("dns", json!(dns), dns.is_empty());
    add("labels", json!(labels), labels.is_empty());
    add("healthcheck", healthcheck.as_ref().map_or(Value::Null, health), healthcheck.is_none());
    add("read_only", json!(read_only), !read_only);
    add("init", json!(init), init.is_none());
    add("shm_bytes", json!(shm_bytes), shm_bytes.is_none());
    add("stop_grace", json!(stop_grace.map(|grace| grace.as_secs())), stop_grace.is_none());
    add("stop_signal", json!(stop_signal), stop_signal.is_none());
    add("memory_bytes", json!(memory_bytes), memory_bytes.is_none());
    add("cpus", cpus.map_or(Value::Null, amount), cpus.is_none());
    add("pids", json!(pids), pids.is_none());
    add("oom_score_adj", json!(oom_score_adj), oom_score_adj.is_none());
    add("tty", json!(tty), !tty);
    add("stdin", json!(stdin), !stdin);
    add("log", log.as_ref().map_or(Value::Null, log_value), log.is_none());
    let Members { all, special } = members;
    Some(Doc { text: unmarked(&Value::Object(all).to_string()), members: special })
}

fn json_port(port: &PortWish, form: JsonForm) -> Value {
    let PortWish { container, protocol, host, address } = port;
    let mut entry = match form {
        JsonForm::Promised => json!({ "private": container, "protocol": protocol.as_str(), "public": host }),
        JsonForm::Written => json!({
            "container": format!("{container}/{}", protocol.as_str()),
            "host": host.unwrap_or_default().to_string(),
        }),
    };
    if let Some(address) = address {
        entry["address"] = address.to_string().into();
    }
    entry
}

fn json_mount(mount: &MountWish) -> Option<Value> {
    let MountWish { source, target, read_only, propagation } = mount;
    let mut entry = json!({ "container": target });
    match source {
        MountWishSource::Bind(path) => entry["host"] = json!(path),
        MountWishSource::Volume { name, driver, options } => {
            entry["host"] = json!(name);
            if let Some(driver) = driver {
                entry["driver"] = json!(driver);
            }
            if !options.is_empty() {
                entry["driver_opts"] = json!(options);
            }
        }
        // Any volume does for a place where nothing may be.
        MountWishSource::Anonymous => entry["host"] = json!("somewhere"),
        MountWishSource::Tmpfs { bytes } => entry["tmpfs"] = json!({ "size": bytes }),
    }
    if *read_only {
        entry["read_only"] = json!(true);
    }
    if let Some(propagation) = propagation {
        entry["propagation"] = json!(propagation);
    }
    Some(entry)
}

/// Writes a wish as a compose file with the one service `web`. `None` where the form has no words for it.
pub fn compose(wish: &ContainerWish, form: YamlForm) -> Option<Doc> {
    let ContainerWish {
        name,
        image,
        command,
        entrypoint,
        environment,
        ports,
        mounts,
        networks,
        network_mode,
        restart,
        user,
        working_dir,
        hostname,
        privileged,
        cap_add,
        cap_drop,
        devices,
        gpus,
        security_opt,
        sysctls,
        ulimits,
        pid,
        ipc,
        uts,
        userns,
        cgroupns,
        cgroup_parent,
        runtime,
        volumes_from,
        group_add,
        extra_hosts,
        dns,
        labels,
        healthcheck,
        read_only,
        init,
        shm_bytes,
        stop_grace,
        stop_signal,
        memory_bytes,
        cpus,
        pids,
        oom_score_adj,
        tty,
        stdin,
        log,
    } = wish;
    let plain = plain();
    let mut members = Members::default();
    let (mut volumes, mut listed) = (Map::new(), Map::new());
    let mut add = |name, value: Value, is_plain: bool| members.add(name, value, is_plain);
    add("container_name", json!(name), *name == plain.name);
    add("image", json!(image), *image == plain.image);
    add("command", json!(command), *command == plain.command);
    add("entrypoint", json!(entrypoint), *entrypoint == plain.entrypoint);
    add("environment", named(environment, form), environment.is_empty());
    let ports_of = ports.iter().map(|port| yaml_port(port, form)).collect::<Option<Vec<_>>>()?;
    add("ports", ports_of.into(), ports.is_empty());
    let mounts_of = mounts.iter().enumerate();
    let mounts_of: Option<Vec<_>> =
        mounts_of.map(|(index, mount)| yaml_mount(mount, index, form, &mut volumes)).collect();
    add("volumes", mounts_of?.into(), mounts.is_empty());
    let network = |(index, name): (usize, &String)| {
        let key = format!("n{index}");
        listed.insert(key.clone(), json!({ "external": true, "name": name }));
        Value::from(key)
    };
    let joined: Vec<Value> = networks.iter().enumerate().map(network).collect();
    add("networks", joined.into(), networks.is_empty());
    add("network_mode", json!(network_mode), network_mode.is_none());
    add("restart", restart_text(*restart), *restart == plain.restart);
    add("user", json!(user), user.is_none());
    add("working_dir", json!(working_dir), working_dir.is_none());
    add("hostname", json!(hostname), hostname.is_none());
    add("privileged", json!(privileged), !privileged);
    add("cap_add", json!(cap_add), cap_add.is_empty());
    add("cap_drop", json!(cap_drop), cap_drop.is_empty());
    add("devices", devices.iter().map(device_text).collect(), devices.is_empty());
    let processors = match form {
        YamlForm::Short => json!(gpus.then_some("all")),
        YamlForm::Long => Value::Null,
    };
    add("gpus", processors, !gpus);
    if *gpus && form == YamlForm::Long {
        let devices =
            json!({ "resources": { "reservations": { "devices": [{ "capabilities": ["gpu"] }] } } });
        add("deploy", devices, false);
    }
    add("security_opt", json!(security_opt), security_opt.is_empty());
    let parameters: Vec<_> = sysctls.clone().into_iter().collect();
    add("sysctls", named(&parameters, form), sysctls.is_empty());
    let limit = |(name, (soft, hard)): (&String, &(i64, i64))| match form {
        YamlForm::Short if soft == hard => (name.clone(), json!(soft)),
        _ => (name.clone(), json!({ "soft": soft, "hard": hard })),
    };
    add("ulimits", ulimits.iter().map(limit).collect::<Map<_, _>>().into(), ulimits.is_empty());
    add("pid", json!(pid), pid.is_none());
    add("ipc", json!(ipc), ipc.is_none());
    add("uts", json!(uts), uts.is_none());
    add("userns_mode", json!(userns), userns.is_none());
    add("cgroup", json!(cgroupns), cgroupns.is_none());
    add("cgroup_parent", json!(cgroup_parent), cgroup_parent.is_none());
    add("runtime", json!(runtime), runtime.is_none());
    add("volumes_from", json!(volumes_from), volumes_from.is_empty());
    add("group_add", json!(group_add), group_add.is_empty());
    add("extra_hosts", json!(extra_hosts), extra_hosts.is_empty());
    add("dns", json!(dns), dns.is_empty());
    let labels_of: Vec<_> = labels.clone().into_iter().collect();
    add("labels", named(&labels_of, form), labels.is_empty());
    add("healthcheck", healthcheck.as_ref().map_or(Value::Null, health), healthcheck.is_none());
    add("read_only", json!(read_only), !read_only);
    add("init", json!(init), init.is_none());
    add("shm_size", json!(shm_bytes), shm_bytes.is_none());
    add("stop_grace_period", json!(stop_grace.map(seconds)), stop_grace.is_none());
    add("stop_signal", json!(stop_signal), stop_signal.is_none());
    add("mem_limit", json!(memory_bytes), memory_bytes.is_none());
    add("cpus", json!(cpus.map(|cpus| cpus.to_string())), cpus.is_none());
    add("pids_limit", json!(pids), pids.is_none());
    add("oom_score_adj", json!(oom_score_adj), oom_score_adj.is_none());
    add("tty", json!(tty), !tty);
    add("stdin_open", json!(stdin), !stdin);
    add("logging", log.as_ref().map_or(Value::Null, log_value), log.is_none());
    let Members { all, special } = members;
    let mut file = json!({ "services": { "web": all } });
    for (name, listed) in [("networks", listed), ("volumes", volumes)] {
        if !listed.is_empty() {
            file[name] = listed.into();
        }
    }
    doubled(&mut file);
    // Flow collections of YAML are what JSON is.
    Some(Doc { text: file.to_string(), members: special })
}

/// Puts a variable in the place of every text of a compose file, and returns their values.
pub fn with_variables(file: &Doc) -> Option<(Doc, BTreeMap<String, String>)> {
    let mut read: Value = serde_json::from_str(&file.text).ok()?;
    let mut values = BTreeMap::new();
    replaced(&mut read, &mut values);
    Some((Doc { text: read.to_string(), members: file.members.clone() }, values))
}

fn replaced(value: &mut Value, values: &mut BTreeMap<String, String>) {
    match value {
        Value::String(text) => {
            let name = format!("V{}", values.len());
            values.insert(name.clone(), text.replace("$$", "$"));
            *text = format!("${{{name}}}");
        }
        Value::Array(items) => items.iter_mut().for_each(|item| replaced(item, values)),
        Value::Object(members) => members.iter_mut().for_each(|(_, member)| replaced(member, values)),
        _ => {}
    }
}

/// A dollar sign of a compose file is written twice.
fn doubled(value: &mut Value) {
    match value {
        Value::String(text) => *text = text.replace('$', "$$"),
        Value::Array(items) => items.iter_mut().for_each(doubled),
        Value::Object(members) => members.iter_mut().for_each(|(_, member)| doubled(member)),
        _ => {}
    }
}

fn named(pairs: &[(String, String)], form: YamlForm) -> Value {
    let names: BTreeMap<_, _> = pairs.iter().cloned().collect();
    match form {
        YamlForm::Long if names.len() == pairs.len() => json!(names),
        _ => pairs.iter().map(|(name, value)| Value::from(format!("{name}={value}"))).collect(),
    }
}

fn yaml_port(port: &PortWish, form: YamlForm) -> Option<Value> {
    let PortWish { container, protocol, host, address } = port;
    Some(match form {
        YamlForm::Short => {
            let address = address.map(|address| format!("{address}:")).unwrap_or_default();
            let host = host.map(|host| format!("{host}:")).unwrap_or_default();
            format!("{address}{host}{container}/{}", protocol.as_str()).into()
        }
        YamlForm::Long => {
            let mut entry = json!({ "target": container, "protocol": protocol.as_str() });
            if let Some(host) = host {
                entry["published"] = json!(host);
            }
            if let Some(address) = address {
                entry["host_ip"] = json!(address);
            }
            entry
        }
    })
}

fn yaml_mount(
    mount: &MountWish,
    index: usize,
    form: YamlForm,
    volumes: &mut Map<String, Value>,
) -> Option<Value> {
    let MountWish { source, target, read_only, propagation } = mount;
    let (kind, source) = match source {
        MountWishSource::Bind(path) => ("bind", Some(path.clone())),
        MountWishSource::Volume { name, driver, options } => {
            let key = format!("v{index}");
            let spec = if driver.is_none() && options.is_empty() {
                json!({ "external": true, "name": name })
            } else {
                json!({ "driver": driver.as_deref().unwrap_or("local"), "driver_opts": options })
            };
            volumes.insert(key.clone(), spec);
            ("volume", Some(key))
        }
        MountWishSource::Anonymous => ("volume", None),
        MountWishSource::Tmpfs { bytes } => {
            let size = bytes.map(|bytes| json!({ "size": bytes }));
            let mut entry = json!({ "type": "tmpfs", "target": target });
            if let Some(size) = size {
                entry["tmpfs"] = size;
            }
            return (form == YamlForm::Long).then_some(entry);
        }
    };
    if form == YamlForm::Short {
        let speaks = |text: &str| !text.is_empty() && !text.contains(':');
        let is_path = |path: &str| kind != "bind" || path.starts_with(['/', '.', '~']);
        if source.as_deref().is_some_and(|source| !speaks(source) || !is_path(source)) || !speaks(target) {
            return None;
        }
        let source = source.map(|source| format!("{source}:")).unwrap_or_default();
        let mut options: Vec<&str> = read_only.then_some("ro").into_iter().collect();
        options.extend(propagation.as_deref());
        let options = if options.is_empty() { String::new() } else { format!(":{}", options.join(",")) };
        return Some(format!("{source}{target}{options}").into());
    }
    let mut entry = json!({ "type": kind, "target": target, "read_only": read_only });
    if let Some(source) = source {
        entry["source"] = json!(source);
    }
    if let Some(propagation) = propagation {
        entry["bind"] = json!({ "propagation": propagation });
    }
    Some(entry)
}

fn device_text(device: &DeviceWish) -> String {
    let DeviceWish { host, container, permissions } = device;
    match (container, permissions) {
        (None, None) => host.clone(),
        (Some(container), None) => format!("{host}:{container}"),
        (container, Some(permissions)) => {
            format!("{host}:{}:{permissions}", container.as_deref().unwrap_or(host))
        }
    }
}

fn restart_text(restart: RestartWish) -> Value {
    match restart {
        RestartWish::No => Value::Null,
        RestartWish::Always => "always".into(),
        RestartWish::UnlessStopped => "unless-stopped".into(),
        RestartWish::OnFailure(None) => "on-failure".into(),
        RestartWish::OnFailure(Some(times)) => format!("on-failure:{times}").into(),
    }
}

fn health(check: &HealthWish) -> Value {
    let HealthWish { test, interval, timeout, retries, start_period } = check;
    let mut members = Map::new();
    if !test.is_empty() {
        members.insert("test".to_owned(), json!(test));
    }
    for (name, time) in [("interval", interval), ("timeout", timeout), ("start_period", start_period)] {
        members.extend(time.map(|time| (name.to_owned(), seconds(time).into())));
    }
    members.extend(retries.map(|retries| ("retries".to_owned(), json!(retries))));
    members.into()
}

fn seconds(time: std::time::Duration) -> String {
    format!("{}s", time.as_secs_f64())
}

fn log_value(log: &LogWish) -> Value {
    let LogWish { driver, options } = log;
    let mut value = json!({ "options": options });
    if let Some(driver) = driver {
        value["driver"] = json!(driver);
    }
    value
}
