//! A project as a compose file of our own hand, which both generations of Compose read the same way.
//!
//! Text is quoted as JSON does it, which is the same text to every reader of YAML; dollar signs are doubled, so that
//! nothing is put in for them; and there is no `version`, which one generation wants and the other warns about.

use std::{
    collections::BTreeMap,
    fmt::{self, Write as _},
    time::Duration,
};

use claw_docker::policy::{
    ContainerWish, DeviceWish, HealthWish, MountWish, MountWishSource, PortWish, RestartWish,
};

use super::{Condition, NetworkSpec, Project, VolumeSpec};

/// Labels that each container gets beside its own.
pub type Labels = BTreeMap<String, String>;

/// Who reads the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reader {
    /// The plugin of the Docker CLI.
    Plugin,
    /// `docker-compose` of the first generation. It does not know `cgroup`: containers get the control-group namespace
    /// that the Engine gives by itself, a private one where the kernel has the second version of control groups.
    Standalone,
}

/// Writes a project. `labels` go on every container.
pub fn render(project: &Project, labels: &Labels, reader: Reader) -> String {
    let mut out = Writer { text: String::new(), reader };
    out.line(0, "services:");
    for (name, service) in &project.services {
        out.line(1, format_args!("{}:", text(name)));
        self::service(&mut out, &service.wish, labels);
        if !service.depends_on.is_empty() {
            out.line(2, "depends_on:");
            for (on, condition) in &service.depends_on {
                let condition = match condition {
                    Condition::Started => "service_started",
                    Condition::Healthy => "service_healthy",
                    Condition::Completed => "service_completed_successfully",
                };
                out.line(3, format_args!("{}:", text(on)));
                out.line(4, format_args!("condition: {condition}"));
            }
        }
    }
    if !project.networks.is_empty() {
        out.line(0, "networks:");
        for (name, spec) in &project.networks {
            network(&mut out, name, spec);
        }
    }
    if !project.volumes.is_empty() {
        out.line(0, "volumes:");
        for (name, spec) in &project.volumes {
            volume(&mut out, name, spec);
        }
    }
    out.text
}

struct Writer {
    text: String,
    reader: Reader,
}

impl Writer {
    fn line(&mut self, depth: usize, line: impl fmt::Display) {
        // Writing to a String cannot fail.
        let _ = writeln!(self.text, "{:1$}{line}", "", depth * 2);
    }

    fn value(&mut self, depth: usize, name: &str, value: Option<impl fmt::Display>) {
        if let Some(value) = value {
            self.line(depth, format_args!("{name}: {value}"));
        }
    }

    fn flag(&mut self, name: &str, value: bool) {
        if value {
            self.line(2, format_args!("{name}: true"));
        }
    }

    fn list(&mut self, name: &str, items: &[String]) {
        if !items.is_empty() {
            self.line(2, format_args!("{name}: {}", flow(items)));
        }
    }

    fn map<'a>(
        &mut self,
        depth: usize,
        name: &str,
        pairs: impl IntoIterator<Item = (&'a String, &'a String)>,
    ) {
        let mut pairs = pairs.into_iter().peekable();
        if pairs.peek().is_some() {
            self.line(depth, format_args!("{name}:"));
            for (key, value) in pairs {
                self.line(depth + 1, format_args!("{}: {}", quote(key), quote(value)));
            }
        }
    }
}

fn service(out: &mut Writer, wish: &ContainerWish, labels: &Labels) {
    let some = |value: &Option<String>| value.as_deref().map(text);
    out.value(2, "image", Some(text(&wish.image)));
    out.value(2, "container_name", some(&wish.name));
    out.value(2, "entrypoint", wish.entrypoint.as_deref().map(flow));
    out.value(2, "command", wish.command.as_deref().map(flow));
    out.map(2, "environment", wish.environment.iter().map(|(name, value)| (name, value)));
    ports(out, &wish.ports);
    mounts(out, &wish.mounts);
    out.list("networks", &wish.networks);
    out.value(2, "network_mode", some(&wish.network_mode));
    out.value(2, "restart", restart(wish.restart));
    out.value(2, "user", wish.user.as_deref().map(quote));
    out.value(2, "working_dir", some(&wish.working_dir));
    out.value(2, "hostname", some(&wish.hostname));
    out.flag("privileged", wish.privileged);
    out.list("cap_add", &wish.cap_add);
    out.list("cap_drop", &wish.cap_drop);
    let device = |device: &DeviceWish| {
        let DeviceWish { host, container, permissions } = device;
        match (container, permissions) {
            (None, None) => host.clone(),
            (Some(container), None) => format!("{host}:{container}"),
            (container, Some(permissions)) => {
                format!("{host}:{}:{permissions}", container.as_deref().unwrap_or(host))
            }
        }
    };
    out.list("devices", &wish.devices.iter().map(device).collect::<Vec<_>>());
    out.list("security_opt", &wish.security_opt);
    out.map(2, "sysctls", &wish.sysctls);
    if !wish.ulimits.is_empty() {
        out.line(2, "ulimits:");
        for (name, (soft, hard)) in &wish.ulimits {
            out.line(3, format_args!("{}: {{soft: {soft}, hard: {hard}}}", quote(name)));
        }
    }
    out.value(2, "pid", some(&wish.pid));
    out.value(2, "ipc", some(&wish.ipc));
    out.value(2, "uts", some(&wish.uts));
    out.value(2, "userns_mode", some(&wish.userns));
    let cgroup = wish.cgroupns.clone().filter(|mode| out.reader == Reader::Plugin || mode != "private");
    out.value(2, "cgroup", some(&cgroup));
    out.value(2, "cgroup_parent", some(&wish.cgroup_parent));
    out.value(2, "runtime", some(&wish.runtime));
    out.list("volumes_from", &wish.volumes_from);
    out.list("group_add", &wish.group_add);
    out.list("extra_hosts", &wish.extra_hosts);
    out.list("dns", &wish.dns);
    out.map(2, "labels", wish.labels.iter().chain(labels));
    if let Some(check) = &wish.healthcheck {
        healthcheck(out, check);
    }
    out.flag("read_only", wish.read_only);
    out.value(2, "init", wish.init);
    out.value(2, "shm_size", wish.shm_bytes);
    out.value(2, "stop_grace_period", wish.stop_grace.map(duration));
    out.value(2, "stop_signal", some(&wish.stop_signal));
    out.value(2, "mem_limit", wish.memory_bytes);
    out.value(2, "cpus", wish.cpus);
    out.value(2, "pids_limit", wish.pids);
    out.value(2, "oom_score_adj", wish.oom_score_adj);
    out.flag("tty", wish.tty);
    out.flag("stdin_open", wish.stdin);
    if let Some(log) = &wish.log {
        out.line(2, "logging:");
        out.value(3, "driver", log.driver.as_deref().map(text));
        out.map(3, "options", &log.options);
    }
    if wish.gpus {
        out.line(2, "deploy:");
        out.line(3, "resources:");
        out.line(4, "reservations:");
        out.line(5, "devices:");
        out.line(6, "- {driver: nvidia, count: all, capabilities: [gpu]}");
    }
}

fn ports(out: &mut Writer, ports: &[PortWish]) {
    let published = ports.iter().filter_map(|port| Some((port, port.host?)));
    let line = |(port, host): (&PortWish, u16)| {
        let mut line = String::new();
        match port.address {
            Some(std::net::IpAddr::V6(address)) => line.push_str(&format!("[{address}]:")),
            Some(address) => line.push_str(&format!("{address}:")),
            None => {}
        }
        if host > 0 {
            line.push_str(&format!("{host}:"));
        } else if port.address.is_some() {
            line.push(':');
        }
        line.push_str(&format!("{}/{}", port.container, port.protocol.as_str()));
        line
    };
    out.list("ports", &published.map(line).collect::<Vec<_>>());
}

fn mounts(out: &mut Writer, mounts: &[MountWish]) {
    if mounts.is_empty() {
        return;
    }
    out.line(2, "volumes:");
    for mount in mounts {
        let (kind, source) = match &mount.source {
            MountWishSource::Bind(source) => ("bind", Some(source)),
            MountWishSource::Volume { name, .. } => ("volume", Some(name)),
            MountWishSource::Anonymous => ("volume", None),
            MountWishSource::Tmpfs { .. } => ("tmpfs", None),
        };
        out.line(3, format_args!("- type: {kind}"));
        out.value(4, "source", source.map(|source| text(source)));
        out.value(4, "target", Some(text(&mount.target)));
        out.value(4, "read_only", mount.read_only.then_some(true));
        if let Some(propagation) = &mount.propagation {
            out.line(4, format_args!("bind: {{propagation: {}}}", quote(propagation)));
        }
        if let MountWishSource::Tmpfs { bytes: Some(bytes) } = &mount.source {
            out.line(4, format_args!("tmpfs: {{size: {bytes}}}"));
        }
    }
}

fn restart(wish: RestartWish) -> Option<String> {
    match wish {
        RestartWish::No => None,
        RestartWish::Always => Some("always".to_owned()),
        RestartWish::UnlessStopped => Some("unless-stopped".to_owned()),
        RestartWish::OnFailure(None) => Some("on-failure".to_owned()),
        RestartWish::OnFailure(Some(times)) => Some(quote(&format!("on-failure:{times}"))),
    }
}

fn healthcheck(out: &mut Writer, check: &HealthWish) {
    let HealthWish { test, interval, timeout, retries, start_period } = check;
    out.line(2, "healthcheck:");
    if !test.is_empty() {
        out.line(3, format_args!("test: {}", flow(test)));
    }
    out.value(3, "interval", interval.map(duration));
    out.value(3, "timeout", timeout.map(duration));
    out.value(3, "retries", *retries);
    out.value(3, "start_period", start_period.map(duration));
}

fn network(out: &mut Writer, name: &str, spec: &NetworkSpec) {
    out.line(1, format_args!("{}:", text(name)));
    let NetworkSpec { name, internal, external } = spec;
    if *external {
        out.line(2, "external: true");
    } else {
        out.line(2, "driver: bridge");
    }
    out.value(2, "name", name.as_deref().map(text));
    if *internal && !*external {
        out.line(2, "internal: true");
    }
}

fn volume(out: &mut Writer, name: &str, spec: &VolumeSpec) {
    let VolumeSpec { name: real, driver, options, external } = spec;
    if real.is_none() && driver.is_none() && options.is_empty() && !external {
        out.line(1, format_args!("{}: {{}}", text(name)));
        return;
    }
    out.line(1, format_args!("{}:", text(name)));
    out.value(2, "name", real.as_deref().map(text));
    if *external {
        out.line(2, "external: true");
    } else {
        out.value(2, "driver", driver.as_deref().map(text));
        out.map(2, "driver_opts", options);
    }
}

fn duration(duration: Duration) -> String {
    let micros = duration.as_micros();
    if micros.is_multiple_of(1_000_000) {
        format!("{}s", micros / 1_000_000)
    } else if micros.is_multiple_of(1_000) {
        format!("{}ms", micros / 1_000)
    } else {
        format!("{micros}us")
    }
}

fn flow(items: &[String]) -> String {
    format!("[{}]", items.iter().map(|item| quote(item)).collect::<Vec<_>>().join(", "))
}

/// Plain where every reader takes it for this very text, quoted otherwise.
fn text(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-' | '/');
    let word = !matches!(
        text.to_ascii_lowercase().as_str(),
        "y" | "n" | "yes" | "no" | "on" | "off" | "true" | "false" | "null"
    );
    if word && text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '/') && text.chars().all(plain) {
        text.to_owned()
    } else {
        quote(text)
    }
}

fn quote(text: &str) -> String {
    serde_json::Value::String(text.replace('$', "$$")).to_string()
}
