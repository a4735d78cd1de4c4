//! One service of a compose file.

use std::collections::{BTreeMap, BTreeSet};

use claw_docker::policy::{ContainerWish, DeviceWish, HealthWish, LogWish, RestartWish};

use super::{
    Condition, Service,
    cursor::{Cursor, Fields},
    error::{ComposeError, quoted},
    interpolate::is_variable_name,
    mounts, ports, values,
    yaml::Value,
};

/// Reads a service. `known` are the services of the file.
pub(crate) fn service(at: &Cursor<'_>, known: &BTreeSet<&str>) -> Result<Service, ComposeError> {
    let mut fields = at.fields()?;
    let mut wish = ContainerWish {
        name: fields.text("container_name")?,
        image: fields.text("image")?.unwrap_or_default(),
        command: fields.read("command", values::command)?,
        entrypoint: fields.read("entrypoint", values::command)?,
        environment: fields.read("environment", environment)?.unwrap_or_default(),
        ports: fields.read("ports", ports::ports)?.unwrap_or_default(),
        mounts: fields.read("volumes", mounts::mounts)?.unwrap_or_default(),
        networks: fields.read("networks", networks)?.unwrap_or_default(),
        network_mode: fields.text("network_mode")?,
        restart: fields.read("restart", restart)?.unwrap_or_default(),
        user: fields.text("user")?,
        working_dir: fields.text("working_dir")?,
        hostname: fields.text("hostname")?,
        privileged: fields.boolean("privileged")?,
        cap_add: fields.texts("cap_add")?,
        cap_drop: fields.texts("cap_drop")?,
        devices: fields.read("devices", devices)?.unwrap_or_default(),
        gpus: fields.read("gpus", gpus)?.unwrap_or_default(),
        security_opt: fields.texts("security_opt")?,
        sysctls: fields.read("sysctls", map)?.unwrap_or_default(),
        ulimits: fields.read("ulimits", ulimits)?.unwrap_or_default(),
        pid: fields.text("pid")?,
        ipc: fields.text("ipc")?,
        uts: fields.text("uts")?,
        userns: fields.text("userns_mode")?,
        cgroupns: fields.text("cgroup")?,
        cgroup_parent: fields.text("cgroup_parent")?,
        runtime: fields.text("runtime")?,
        volumes_from: fields.texts("volumes_from")?,
        group_add: fields.texts("group_add")?,
        extra_hosts: fields.read("extra_hosts", extra_hosts)?.unwrap_or_default(),
        dns: fields.read("dns", Cursor::one_or_texts)?.unwrap_or_default(),
        labels: fields.read("labels", map)?.unwrap_or_default(),
        healthcheck: fields.read("healthcheck", healthcheck)?.filter(|check| *check != HealthWish::default()),
        read_only: fields.boolean("read_only")?,
        init: fields.read("init", Cursor::boolean)?,
        shm_bytes: fields.read("shm_size", values::bytes)?,
        stop_grace: fields.read("stop_grace_period", values::duration)?,
        stop_signal: fields.text("stop_signal")?,
        memory_bytes: fields.read("mem_limit", values::bytes)?,
        cpus: fields.read("cpus", cpus)?,
        pids: fields.read("pids_limit", Cursor::number)?,
        oom_score_adj: fields.read("oom_score_adj", Cursor::number)?,
        tty: fields.boolean("tty")?,
        stdin: fields.boolean("stdin_open")?,
        log: fields.read("logging", logging)?.filter(|log| *log != LogWish::default()),
    };
    if let Some(tmpfs) = fields.read("tmpfs", mounts::tmpfs)? {
        wish.mounts.extend(tmpfs);
    }
    if let Some(deploy) = fields.take("deploy") {
        self::deploy(&deploy, &mut wish)?;
    }
    // Says what people may expect, and changes nothing.
    fields.read("expose", Cursor::texts)?;
    let depends_on = fields.read("depends_on", |at| depends_on(at, known))?.unwrap_or_default();
    fields.finish(why_not)?;
    if wish.image.is_empty() {
        return Err(at.error("`image` is missing"));
    }
    let mut targets = BTreeSet::new();
    if let Some(twice) = wish.mounts.iter().find(|mount| !targets.insert(mount.target.trim_end_matches('/')))
    {
        let message = format!("two mounts are at `{}`: keep one", quoted(&twice.target));
        return Err(at.error(message));
    }
    Ok(Service { wish, depends_on })
}

/// Why some of what Compose knows is not taken.
fn why_not(name: &str) -> Option<&'static str> {
    Some(match name {
        "build" => "images are not built here; name one in `image`",
        "extends" | "include" => "a file stands for itself; write the service out",
        "env_file" | "label_file" => "no further files are read; write the values out",
        "configs" | "secrets" => "no further files are read; mount a file below `./`, or use variables",
        "profiles" => "every service belongs to the app",
        "develop" | "post_start" | "pre_stop" | "provider" | "models" | "use_api_socket" => {
            "it has Compose itself run or read something"
        }
        "device_cgroup_rules" => "devices go by `devices`",
        "links" | "external_links" => "services of the app reach each other by their names",
        "memswap_limit" | "mem_swappiness" | "mem_reservation" => "memory goes by `mem_limit`",
        "scale" => "each service is one container",
        _ if name.starts_with("x-") => "extensions mean nothing here",
        _ => return None,
    })
}

fn environment(at: &Cursor<'_>) -> Result<Vec<(String, String)>, ComposeError> {
    let pairs = at.pairs(|at, name| {
        let message = format!(
            "`{}` has no value: values of the server's own environment are not passed on",
            quoted(name)
        );
        Err(at.error(message))
    })?;
    match pairs.iter().find(|(name, _)| !is_environment_name(name)) {
        Some((name, _)) => Err(at.error(format!("`{}` is no name for a variable", quoted(name)))),
        None => Ok(pairs),
    }
}

/// Some programs have dots and dashes in the names of theirs.
fn is_environment_name(name: &str) -> bool {
    is_variable_name(&name.replace(['.', '-'], "_"))
}

fn map(at: &Cursor<'_>) -> Result<BTreeMap<String, String>, ComposeError> {
    let pairs = at.pairs(|_, _| Ok(String::new()))?;
    match pairs.iter().find(|(name, _)| name.is_empty() || name.len() > 256) {
        Some(_) => Err(at.error("a name is missing, or too long")),
        None => Ok(pairs.into_iter().collect()),
    }
}

fn networks(at: &Cursor<'_>) -> Result<Vec<String>, ComposeError> {
    let Value::Map(_) = at.value() else { return at.texts() };
    let mut names = Vec::new();
    for (name, value) in at.members()? {
        let empty = value.is_null() || value.members().is_ok_and(|members| members.is_empty());
        if !empty {
            let message = "settings of a service in a network are not taken: write the network's name alone";
            return Err(value.error(message));
        }
        names.push(name.to_owned());
    }
    Ok(names)
}

fn restart(at: &Cursor<'_>) -> Result<RestartWish, ComposeError> {
    let text = at.words()?;
    let wish = match text.split_once(':') {
        None => match text {
            // `no` without quotes is `false` to some readers.
            "no" | "false" => Some(RestartWish::No),
            "always" => Some(RestartWish::Always),
            "unless-stopped" => Some(RestartWish::UnlessStopped),
            "on-failure" => Some(RestartWish::OnFailure(None)),
            _ => None,
        },
        Some(("on-failure", times)) => times.parse().ok().map(|times| RestartWish::OnFailure(Some(times))),
        Some(_) => None,
    };
    wish.ok_or_else(|| {
        let message = "expected no, always, unless-stopped, on-failure or on-failure:5";
        at.error(format!("`{}`: {message}", quoted(text)))
    })
}

fn devices(at: &Cursor<'_>) -> Result<Vec<DeviceWish>, ComposeError> {
    let device = |item: &Cursor<'_>| {
        let text = item.words()?;
        let parts: Vec<&str> = text.split(':').collect();
        let (host, container, permissions) = match parts[..] {
            [host] => (host, None, None),
            // What does not begin with a slash is permissions to some readers and a path to others.
            [host, container] if container.starts_with('/') => (host, Some(container), None),
            [host, container, permissions] => (host, Some(container), Some(permissions)),
            _ => return Err(item.error("expected /dev/name, or /dev/name:/dev/other:rw")),
        };
        let owned = |text: Option<&str>| text.map(str::to_owned);
        Ok(DeviceWish { host: host.to_owned(), container: owned(container), permissions: owned(permissions) })
    };
    at.list()?.iter().map(device).collect()
}

fn gpus(at: &Cursor<'_>) -> Result<bool, ComposeError> {
    match at.text()? {
        "all" => Ok(true),
        _ => Err(at.error("only `gpus: all` is taken")),
    }
}

fn cpus(at: &Cursor<'_>) -> Result<f64, ComposeError> {
    let cpus: f64 = at.number()?;
    if cpus.is_finite() && cpus > 0.0 {
        Ok(cpus)
    } else {
        Err(at.error("expected a number of cores above 0"))
    }
}

fn ulimits(at: &Cursor<'_>) -> Result<BTreeMap<String, (i64, i64)>, ComposeError> {
    let mut limits = BTreeMap::new();
    for (name, value) in at.members()? {
        let limit = match value.value() {
            Value::Map(_) => {
                let mut fields = value.fields()?;
                let soft = fields.read("soft", Cursor::number)?;
                let hard = fields.read("hard", Cursor::number)?;
                fields.finish(|_| None)?;
                soft.zip(hard).ok_or_else(|| value.error("`soft` and `hard` are both needed"))?
            }
            _ => (value.number()?, value.number()?),
        };
        limits.insert(name.to_owned(), limit);
    }
    Ok(limits)
}

fn extra_hosts(at: &Cursor<'_>) -> Result<Vec<String>, ComposeError> {
    match at.value() {
        Value::Map(_) => {
            let line = |(name, value): (&str, Cursor<'_>)| Ok(format!("{name}:{}", value.words()?));
            at.members()?.into_iter().map(line).collect()
        }
        // Newer files write an equals sign.
        _ => Ok(at.texts()?.into_iter().map(|line| line.replacen('=', ":", 1)).collect()),
    }
}

fn healthcheck(at: &Cursor<'_>) -> Result<HealthWish, ComposeError> {
    let mut fields = at.fields()?;
    let test = fields.read("test", |at| match at.value() {
        Value::Scalar(line) => Ok(vec!["CMD-SHELL".to_owned(), line.clone()]),
        _ => match at.texts()? {
            test if matches!(test.first().map(String::as_str), Some("NONE" | "CMD" | "CMD-SHELL")) => {
                Ok(test)
            }
            _ => Err(at.error("the list begins with CMD, CMD-SHELL or NONE")),
        },
    })?;
    let disabled = fields.boolean("disable")?;
    let wish = HealthWish {
        test: if disabled { vec!["NONE".to_owned()] } else { test.unwrap_or_default() },
        interval: fields.read("interval", values::duration)?,
        timeout: fields.read("timeout", values::duration)?,
        retries: fields.read("retries", Cursor::number)?,
        start_period: fields.read("start_period", values::duration)?,
    };
    fields.finish(|name| {
        (name == "start_interval").then_some("not every Compose knows it; `interval` holds from the start on")
    })?;
    Ok(wish)
}

fn logging(at: &Cursor<'_>) -> Result<LogWish, ComposeError> {
    let mut fields = at.fields()?;
    let wish =
        LogWish { driver: fields.text("driver")?, options: fields.read("options", map)?.unwrap_or_default() };
    fields.finish(|_| None)?;
    Ok(wish)
}

/// `deploy`, of which only limits and graphics processors mean something on one host.
fn deploy(at: &Cursor<'_>, wish: &mut ContainerWish) -> Result<(), ComposeError> {
    let mut deploy = at.fields()?;
    if let Some(resources) = deploy.take("resources") {
        let mut resources = resources.fields()?;
        if let Some(limits) = resources.take("limits") {
            let mut fields = limits.fields()?;
            once(&limits, &mut wish.memory_bytes, fields.read("memory", values::bytes)?)?;
            once(&limits, &mut wish.cpus, fields.read("cpus", cpus)?)?;
            once(&limits, &mut wish.pids, fields.read("pids", Cursor::number)?)?;
            fields.finish(|_| None)?;
        }
        if let Some(reservations) = resources.take("reservations") {
            let mut fields = reservations.fields()?;
            if let Some(devices) = fields.take("devices") {
                for device in devices.list()? {
                    processors(&device, device.fields()?)?;
                    wish.gpus = true;
                }
            }
            fields.finish(|_| None)?;
        }
        resources.finish(|_| None)?;
    }
    deploy.finish(|_| Some("each service is one container on this host"))
}

fn once<T>(at: &Cursor<'_>, place: &mut Option<T>, value: Option<T>) -> Result<(), ComposeError> {
    if place.is_some() && value.is_some() {
        return Err(at.error("a limit stands both here and beside `image`: keep one"));
    }
    *place = place.take().or(value);
    Ok(())
}

fn processors(at: &Cursor<'_>, mut fields: Fields<'_>) -> Result<(), ComposeError> {
    fields.read("driver", |at| match at.words()? {
        "nvidia" => Ok(()),
        _ => Err(at.error("only the driver nvidia is taken")),
    })?;
    fields.read("count", |at| match at.words()? {
        "all" => Ok(()),
        text => text.parse::<u32>().map(drop).map_err(|_| at.error("expected a number, or all")),
    })?;
    let capabilities = fields.texts("capabilities")?;
    fields.finish(|_| None)?;
    if capabilities.iter().any(|capability| capability == "gpu") {
        Ok(())
    } else {
        Err(at.error("only graphics processors can be asked for: `capabilities: [gpu]`"))
    }
}

fn depends_on(at: &Cursor<'_>, known: &BTreeSet<&str>) -> Result<BTreeMap<String, Condition>, ComposeError> {
    let mut found = BTreeMap::new();
    let mut add = |at: &Cursor<'_>, name: &str, condition| {
        if !known.contains(name) {
            return Err(at.error(format!("there is no service `{}`", quoted(name))));
        }
        found.insert(name.to_owned(), condition);
        Ok(())
    };
    if let Value::Map(_) = at.value() {
        for (name, value) in at.members()? {
            let mut fields = value.fields()?;
            let condition = fields.read("condition", |at| match at.words()? {
                "service_started" => Ok(Condition::Started),
                "service_healthy" => Ok(Condition::Healthy),
                "service_completed_successfully" => Ok(Condition::Completed),
                _ => {
                    Err(at
                        .error("expected service_started, service_healthy or service_completed_successfully"))
                }
            })?;
            // Both say what holds anyway, or nearly.
            fields.boolean("restart")?;
            fields.boolean("required")?;
            fields.finish(|_| None)?;
            add(&value, name, condition.unwrap_or(Condition::Started))?;
        }
    } else {
        for item in at.list()? {
            add(&item, item.words()?, Condition::Started)?;
        }
    }
    Ok(found)
}
