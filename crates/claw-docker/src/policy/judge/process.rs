//! What runs inside, and as whom.

use std::{collections::HashSet, net::IpAddr, time::Duration};

use super::{Case, is_plain_name, quoted};
use crate::policy::{ContainerWish, HealthWish, path};

/// Longest time a container may take to stop.
const MAX_GRACE: Duration = Duration::from_secs(600);
/// Shortest time between two health checks.
pub(super) const MIN_HEALTH_PACE: Duration = Duration::from_secs(1);
/// Longest time a health check can be told.
const MAX_HEALTH_TIME: Duration = Duration::from_secs(24 * 3600);
/// Most failures before a container counts as unhealthy.
const MAX_HEALTH_RETRIES: u32 = 1000;

pub(super) fn judge(case: &mut Case<'_>, result: &mut ContainerWish) {
    judge_environment(case, &result.environment);
    judge_arguments(case, result);
    judge_user(case, result);
    judge_stop(case, result);
    if let Some(health) = &result.healthcheck {
        judge_health(case, health);
    }
    judge_addresses(case, result);
}

fn judge_environment(case: &mut Case<'_>, environment: &[(String, String)]) {
    let mut seen = HashSet::with_capacity(environment.len());
    for (key, value) in environment {
        let is_key = key.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
            && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-'));
        if !is_key || value.contains('\0') {
            let message = format!(
                "{} is no variable: expected a plain name and a value without zero bytes",
                quoted(key)
            );
            case.refuse("environment.form", format!("environment[{}]", quoted(key)), message);
        }
        if !seen.insert(key.as_str()) {
            case.refuse(
                "environment.twice",
                format!("environment[{}]", quoted(key)),
                format!("the variable {} is set twice", quoted(key)),
            );
        }
    }
}

fn judge_arguments(case: &mut Case<'_>, result: &ContainerWish) {
    for (field, list) in [("command", &result.command), ("entrypoint", &result.entrypoint)] {
        if list.iter().flatten().any(|argument| argument.contains('\0')) {
            case.refuse("process.text", field, "an argument holds a zero byte");
        }
    }
}

fn judge_user(case: &mut Case<'_>, result: &mut ContainerWish) {
    if let Some(user) = &result.user {
        let parts = user.split(':').count();
        if parts > 2
            || !user
                .split(':')
                .all(|part| is_plain_name(part, 64) || part.starts_with('_') && is_plain_name(&part[1..], 63))
        {
            case.refuse(
                "process.user",
                "user",
                format!("{} is no user: expected a name or number, or two with a colon", quoted(user)),
            );
        }
    }
    for (index, group) in result.group_add.iter().enumerate() {
        if !is_plain_name(group, 64) {
            case.refuse(
                "process.user",
                format!("group_add[{index}]"),
                format!("{} is no group", quoted(group)),
            );
        }
    }
    let Some(folder) = &result.working_dir else { return };
    match path::normal(folder) {
        // A folder below /proc can be a door out of the container while it is being set up (CVE-2024-21626).
        Some(folder) if path::is_beneath(&folder, "/proc") || path::is_beneath(&folder, "/sys") => {
            let message = format!("{} belongs to the kernel; nothing starts there", quoted(&folder));
            case.refuse("process.working-dir", "working_dir", message);
        }
        Some(folder) => {
            let folder = folder.into_owned();
            result.working_dir = Some(folder);
        }
        None => {
            let message = format!("{} is no absolute path without `..`", quoted(folder));
            case.refuse("process.working-dir", "working_dir", message);
        }
    }
}

fn judge_stop(case: &mut Case<'_>, result: &ContainerWish) {
    if let Some(signal) = &result.stop_signal
        && !(is_plain_name(&signal.replace('+', "-"), 16))
    {
        case.refuse("process.stop", "stop_signal", format!("{} is no signal", quoted(signal)));
    }
    if result.stop_grace.is_some_and(|grace| grace > MAX_GRACE) {
        case.refuse("process.stop", "stop_grace", "stopping may take ten minutes at most");
    }
}

fn judge_health(case: &mut Case<'_>, health: &HealthWish) {
    let is_test = match health.test.first().map(String::as_str) {
        None => true,
        Some("NONE") => health.test.len() == 1,
        Some("CMD") => health.test.len() > 1,
        Some("CMD-SHELL") => health.test.len() == 2,
        Some(_) => false,
    };
    if !is_test || health.test.iter().any(|part| part.contains('\0')) {
        let message = "a health check is `NONE`, `CMD` with a program, or `CMD-SHELL` with one line";
        case.refuse("process.health", "healthcheck.test", message);
    }
    let interval = health.interval.unwrap_or_default();
    if !interval.is_zero() && interval < MIN_HEALTH_PACE {
        case.refuse("process.health", "healthcheck.interval", "a health check runs once a second at most");
    }
    let times = [health.interval, health.timeout, health.start_period];
    if times.into_iter().flatten().any(|time| time > MAX_HEALTH_TIME)
        || health.retries.is_some_and(|retries| retries > MAX_HEALTH_RETRIES)
    {
        case.refuse(
            "process.health",
            "healthcheck",
            "the times of a health check are a day at most, its retries 1000",
        );
    }
}

fn judge_addresses(case: &mut Case<'_>, result: &ContainerWish) {
    for (index, line) in result.extra_hosts.iter().enumerate() {
        let parts = line.split_once('=').or_else(|| line.split_once(':'));
        let is_line = parts.is_some_and(|(name, address)| {
            is_plain_name(name, 253)
                && (address == "host-gateway" || address.trim_matches(['[', ']']).parse::<IpAddr>().is_ok())
        });
        if !is_line {
            let message = format!("{} is no line of a hosts file: expected name:address", quoted(line));
            case.refuse("hosts.form", format!("extra_hosts[{index}]"), message);
        }
    }
    for (index, server) in result.dns.iter().enumerate() {
        if server.parse::<IpAddr>().is_err() {
            case.refuse("dns.form", format!("dns[{index}]"), format!("{} is no address", quoted(server)));
        }
    }
}
