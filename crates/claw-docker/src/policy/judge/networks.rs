//! The networks a container joins, and those that are made.

use std::collections::HashSet;

use super::{Case, host, identity, is_named, is_plain_name, namespaces, quoted, subnet::Subnet, toml_text};
use crate::policy::{ContainerWish, NetworkWish, rules::Namespace};

/// Longest name of a network, in bytes.
const MAX_NAME_BYTES: usize = 128;
/// What the Engine and its command line take for something else than a network of that name.
const WORDS: &[&str] = &["bridge", "default", "host", "nat", "none", "pasta", "private", "slirp4netns"];
/// Options of a new network that have no effect outside of it.
const OPTIONS: &[&str] = &["com.docker.network.driver.mtu"];

pub(super) fn judge(case: &mut Case<'_>, result: &mut ContainerWish) {
    let mut seen = HashSet::new();
    result.networks.retain(|name| seen.insert(name.clone()));
    if result.network_mode.as_deref() == Some("") {
        result.network_mode = None;
    }
    let Some(mode) = result.network_mode.take() else {
        for (index, name) in result.networks.iter().enumerate() {
            let shares = judge_joined(case, name, format!("networks[{index}]"));
            if shares && result.networks.len() > 1 {
                case.refuse("networks.mode", "networks", "who is in the host's network joins no other");
            }
        }
        match result.networks.as_slice() {
            [] => result.network_mode = Some("bridge".to_owned()),
            [only] if matches!(only.as_str(), "host" | "bridge" | "default") => {
                let mode = if only == "host" { "host" } else { "bridge" };
                result.network_mode = Some(mode.to_owned());
                result.networks.clear();
            }
            _ => {}
        }
        return;
    };
    if !result.networks.is_empty() {
        case.refuse("networks.mode", "network_mode", "name either networks or one network mode");
    }
    match mode.as_str() {
        "bridge" | "default" => result.network_mode = Some("bridge".to_owned()),
        "none" => result.network_mode = Some(mode),
        _ => {
            judge_joined(case, &mode, "network_mode".to_owned());
            if mode == "host" { result.network_mode = Some(mode) } else { result.networks = vec![mode] }
        }
    }
}

/// Judges one network that is joined, and tells whether it is the host's.
fn judge_joined(case: &mut Case<'_>, name: &str, field: String) -> bool {
    match name {
        "bridge" | "default" => return false,
        "host" => {
            if !host::may_share(case, Namespace::Network) {
                host::refuse_shared(case, Namespace::Network, field);
            }
            return true;
        }
        _ => {}
    }
    if namespaces::is_foreign(name) {
        case.refuse(
            "namespaces.foreign",
            field,
            format!("{} is the network namespace of another container", quoted(name)),
        );
        return false;
    }
    if !is_plain_name(name, MAX_NAME_BYTES) || is_word(name) {
        case.refuse("networks.form", field, format!("{} is no name of a network", quoted(name)));
        return false;
    }
    let own = is_named(name, &case.facts.own.networks);
    match case.facts.networks.get(name) {
        _ if own => {
            case.refuse("networks.own", field, format!("the network {} is ClawMachine's own", quoted(name)));
        }
        None | Some(None) => {
            case.refuse("networks.unknown", field, format!("there is no network {}", quoted(name)));
        }
        Some(Some(fact)) => judge_driver(case, &fact.driver, field),
    }
    false
}

/// Tells whether Docker gives the name a meaning of its own.
fn is_word(name: &str) -> bool {
    WORDS.iter().any(|word| name.eq_ignore_ascii_case(word))
}

fn judge_driver(case: &mut Case<'_>, driver: &str, field: String) {
    if matches!(driver, "host" | "null") {
        // The host's own is joined as `host`, and not under another name.
        case.refuse(
            "namespaces.host",
            field,
            format!("this network is one of the driver {}", quoted(driver)),
        );
    } else if !case.rules.networks.drivers.iter().any(|named| named == driver) {
        let mut drivers: Vec<_> = case.rules.networks.drivers.iter().map(|named| toml_text(named)).collect();
        drivers.push(toml_text(driver));
        let message = format!("networks of the driver {} are not permitted here", quoted(driver));
        case.refuse_unless(
            "networks.driver",
            field,
            message,
            format!("networks.drivers = [{}]", drivers.join(", ")),
        );
    }
}

/// Judges a network that is to be made.
pub(super) fn judge_new(case: &mut Case<'_>, result: &mut NetworkWish) {
    if !is_plain_name(&result.name, MAX_NAME_BYTES) || is_word(&result.name) {
        case.refuse("networks.form", "name", format!("{} is no name for a network", quoted(&result.name)));
    }
    if is_named(&result.name, &case.facts.own.networks) {
        case.refuse(
            "networks.own",
            "name",
            format!("the network {} is ClawMachine's own", quoted(&result.name)),
        );
    }
    let driver =
        result.driver.take().filter(|driver| !driver.is_empty()).unwrap_or_else(|| "bridge".to_owned());
    if driver == "bridge" {
        // Always permitted: without it there is no network to make.
    } else if matches!(driver.as_str(), "host" | "null") {
        case.refuse(
            "networks.driver",
            "driver",
            format!("nobody makes a network of the driver {}", quoted(&driver)),
        );
    } else {
        judge_driver(case, &driver, "driver".to_owned());
    }
    result.driver = Some(driver);
    for (name, value) in &result.options {
        let is_size = OPTIONS.contains(&name.as_str()) && value.parse::<u16>().is_ok_and(|size| size >= 576);
        if !is_size {
            let message = format!("the option {} of a network could reach the host", quoted(name));
            case.refuse("networks.options", format!("options[{}]", quoted(name)), message);
        }
    }
    for (index, text) in result.subnets.iter().enumerate() {
        let field = format!("subnets[{index}]");
        let Some(subnet) = Subnet::read(text) else {
            case.refuse("networks.subnet", field, format!("{} is no address range", quoted(text)));
            continue;
        };
        if !case.rules.networks.subnets.iter().any(|permitted| permitted.holds(&subnet)) {
            let message =
                format!("the address range {} could be one of the host's own networks", quoted(text));
            case.refuse_unless(
                "networks.subnet",
                field,
                message,
                format!("networks.subnets = [{}]", toml_text(text)),
            );
        }
    }
    for (key, value) in &result.labels {
        identity::judge_label(case, key, value);
    }
}
