//! How much can be asked for.

use super::Case;
use crate::policy::ContainerWish;

/// Most entries of one list.
const MAX_ENTRIES: usize = 512;
/// Most bytes of all texts together.
const MAX_BYTES: usize = 256 << 10;

pub(super) fn judge(case: &mut Case<'_>, wish: &ContainerWish) {
    let lists = [
        ("environment", wish.environment.len()),
        ("ports", wish.ports.len()),
        ("mounts", wish.mounts.len()),
        ("networks", wish.networks.len()),
        ("command", wish.command.as_ref().map_or(0, Vec::len)),
        ("entrypoint", wish.entrypoint.as_ref().map_or(0, Vec::len)),
        ("cap_add", wish.cap_add.len()),
        ("cap_drop", wish.cap_drop.len()),
        ("devices", wish.devices.len()),
        ("security_opt", wish.security_opt.len()),
        ("sysctls", wish.sysctls.len()),
        ("ulimits", wish.ulimits.len()),
        ("volumes_from", wish.volumes_from.len()),
        ("group_add", wish.group_add.len()),
        ("extra_hosts", wish.extra_hosts.len()),
        ("dns", wish.dns.len()),
        ("labels", wish.labels.len()),
        ("healthcheck.test", wish.healthcheck.as_ref().map_or(0, |health| health.test.len())),
    ];
    for (field, entries) in lists {
        if entries > MAX_ENTRIES {
            case.refuse(
                "wish.size",
                field,
                format!("{entries} entries are more than the {MAX_ENTRIES} that are read"),
            );
        }
    }
    let bytes: usize = wish.environment.iter().map(|(key, value)| key.len() + value.len()).sum::<usize>()
        + wish.labels.iter().map(|(key, value)| key.len() + value.len()).sum::<usize>()
        + lists_bytes(wish);
    if bytes > MAX_BYTES {
        case.refuse(
            "wish.size",
            "",
            format!("{bytes} bytes of text are more than the {MAX_BYTES} that are read"),
        );
    }
}

fn lists_bytes(wish: &ContainerWish) -> usize {
    let lists: [&[String]; 9] = [
        wish.command.as_deref().unwrap_or_default(),
        wish.entrypoint.as_deref().unwrap_or_default(),
        wish.healthcheck.as_ref().map(|health| health.test.as_slice()).unwrap_or_default(),
        &wish.networks,
        &wish.cap_add,
        &wish.security_opt,
        &wish.extra_hosts,
        &wish.dns,
        &wish.group_add,
    ];
    lists.iter().flat_map(|list| list.iter()).map(String::len).sum()
}
