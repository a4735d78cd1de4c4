//! What a container can reach of the host: devices, kernel parameters, runtimes, process limits.

use super::{Case, quoted, toml_text};
use crate::policy::{ContainerWish, DeviceWish, path, rules::Namespace};

/// Most files one process may have open.
const MAX_OPEN_FILES: i64 = 1 << 20;

/// Process limits that concern the container alone. The others reach into the host's scheduling.
const ULIMITS: &[&str] = &[
    "as",
    "core",
    "cpu",
    "data",
    "fsize",
    "locks",
    "memlock",
    "msgqueue",
    "nofile",
    "nproc",
    "rss",
    "sigpending",
    "stack",
];

/// Kernel parameters that have a value of their own in every container.
const NAMESPACED: &[&str] = &["fs.mqueue.", "kernel.msg", "kernel.sem", "kernel.shm", "net."];

pub(super) fn judge(case: &mut Case<'_>, result: &mut ContainerWish) {
    for (index, device) in result.devices.iter_mut().enumerate() {
        judge_device(case, index, device);
    }
    if result.gpus && !case.rules.powers.gpus {
        let message = "graphics processors of the host are not permitted here";
        case.refuse_unless("powers.gpus", "gpus", message, "powers.gpus = true");
    }
    judge_sysctls(case, result);
    judge_cgroup_and_runtime(case, result);
    judge_ulimits(case, result);
    if let Some(score) = result.oom_score_adj
        && !(0..=1000).contains(&score)
    {
        let message = "a container may go first when memory runs short, 0 to 1000, and is never spared";
        case.refuse("powers.oom-score", "oom_score_adj", message);
    }
}

fn judge_device(case: &mut Case<'_>, index: usize, device: &mut DeviceWish) {
    let field = format!("devices[{index}]");
    let Some(host) = path::normal(&device.host).map(std::borrow::Cow::into_owned) else {
        let message = format!("{} is no absolute path of a device", quoted(&device.host));
        case.refuse("powers.devices", field, message);
        return;
    };
    let listed = |listed: &String| path::is_beneath(&host, listed);
    if !(case.rules.powers.devices.iter().any(listed) || case.grants.devices.contains(&host)) {
        let message = format!("the device {} is not permitted here", quoted(&host));
        if path::is_strictly_beneath(&host, "/dev") {
            case.refuse_unless(
                "powers.devices",
                field,
                message,
                format!("powers.devices = [{}]", toml_text(&host)),
            );
        } else {
            case.refuse("powers.devices", field, message);
        }
        return;
    }
    let inside = device.container.get_or_insert_with(|| host.clone());
    match path::normal(inside).map(std::borrow::Cow::into_owned) {
        Some(inside) if path::is_strictly_beneath(&inside, "/dev") => device.container = Some(inside),
        _ => {
            let message = format!("{} is no place for a device: expected a path below /dev", quoted(inside));
            case.refuse("powers.devices", format!("{field}.container"), message);
        }
    }
    let permissions = device.permissions.get_or_insert_with(|| "rwm".to_owned());
    if permissions.is_empty()
        || permissions.len() > 3
        || !permissions.bytes().all(|byte| b"rwm".contains(&byte))
    {
        let message =
            format!("{} is no permission for a device: expected some of `rwm`", quoted(permissions));
        case.refuse("powers.devices", format!("{field}.permissions"), message);
    }
    device.host = host;
}

fn judge_sysctls(case: &mut Case<'_>, result: &ContainerWish) {
    for (name, value) in &result.sysctls {
        let field = || format!("sysctls[{}]", quoted(name));
        let is_plain = !name.is_empty()
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'))
            && !name.contains("..");
        if !is_plain
            || value.chars().any(char::is_control)
            || !NAMESPACED.iter().any(|start| name.starts_with(start))
        {
            let message = format!("the kernel parameter {} is one of the whole host", quoted(name));
            case.refuse("powers.sysctls", field(), message);
            continue;
        }
        if case.rules.powers.sysctls.contains(name) || case.grants.sysctls.get(name) == Some(value) {
            continue;
        }
        let message = format!("the kernel parameter {} is not permitted here", quoted(name));
        case.refuse_unless(
            "powers.sysctls",
            field(),
            message,
            format!("powers.sysctls = [{}]", toml_text(name)),
        );
    }
    // In the host's network namespace these are the host's own.
    let uses_hosts =
        result.network_mode.as_deref() == Some("host") || result.networks.iter().any(|name| name == "host");
    if uses_hosts && result.sysctls.keys().any(|name| name.starts_with("net.")) {
        case.refuse(
            "powers.sysctls",
            "sysctls",
            "parameters of the network, in the network of the host, are the host's own",
        );
    }
}

fn judge_cgroup_and_runtime(case: &mut Case<'_>, result: &mut ContainerWish) {
    match result.cgroup_parent.as_deref() {
        None => {}
        Some("") => result.cgroup_parent = None,
        Some(_) => case.refuse(
            "powers.cgroup-parent",
            "cgroup_parent",
            "limits could be left by choosing the control group",
        ),
    }
    match result.runtime.as_deref() {
        None => {}
        Some("") => result.runtime = None,
        Some(runtime) if case.rules.powers.runtimes.iter().any(|named| named == runtime) => {}
        Some(runtime) => {
            let message = format!("the runtime {} is not permitted here", quoted(runtime));
            let permit = format!("powers.runtimes = [{}]", toml_text(runtime));
            case.refuse_unless("powers.runtime", "runtime", message, permit);
        }
    }
}

fn judge_ulimits(case: &mut Case<'_>, result: &ContainerWish) {
    for (name, &(soft, hard)) in &result.ulimits {
        let field = || format!("ulimits[{}]", quoted(name));
        if !ULIMITS.contains(&name.as_str()) {
            let message = format!(
                "the process limit {} is not permitted: it reaches beyond the container",
                quoted(name)
            );
            case.refuse("powers.ulimits", field(), message);
            continue;
        }
        let endless = |value: i64| if value == -1 { i64::MAX } else { value };
        if soft < -1 || hard < -1 || endless(soft) > endless(hard) {
            case.refuse(
                "powers.ulimits",
                field(),
                "a soft limit is no larger than the hard one, and none is below -1",
            );
        } else if name == "nofile" && endless(hard) > MAX_OPEN_FILES {
            case.refuse(
                "powers.ulimits",
                field(),
                format!("a process may have {MAX_OPEN_FILES} files open at most"),
            );
        }
    }
}

/// Tells whether the policy, or a grant, shares a namespace of the host.
pub(super) fn may_share(case: &Case<'_>, namespace: Namespace) -> bool {
    case.rules.namespaces.host.contains(&namespace)
        || namespace == Namespace::Network && case.grants.host_network
}

/// Refuses a namespace of the host.
pub(super) fn refuse_shared(case: &mut Case<'_>, namespace: Namespace, field: impl Into<String>) {
    let namespace = namespace.as_str();
    let message = format!("the {namespace} namespace of the host is not shared here");
    case.refuse_unless("namespaces.host", field, message, format!("namespaces.host = [\"{namespace}\"]"));
}
