//! The ports of the host a container is published at.

use std::collections::BTreeSet;

use super::Case;
use crate::policy::ContainerWish;

/// Ports below this one belong to the host's own services.
const FIRST_FREE: u16 = 1024;

pub(super) fn judge(case: &mut Case<'_>, result: &ContainerWish) {
    let mut taken = BTreeSet::new();
    for (index, port) in result.ports.iter().enumerate() {
        let field = || format!("ports[{index}]");
        if port.container == 0 {
            case.refuse("ports.form", field(), "0 is no port of a container");
        }
        let Some(host) = port.host.filter(|&host| host != 0) else { continue };
        if !taken.insert((host, port.protocol, port.address)) {
            case.refuse("ports.form", field(), format!("port {host} of the host is asked for twice"));
        }
        if case.facts.own.ports.contains(&host) {
            case.refuse(
                "ports.own",
                field(),
                format!("ClawMachine itself listens on port {host} of the host"),
            );
        } else if host < FIRST_FREE && !case.rules.ports.low.contains(&host) {
            let mut low: Vec<_> = case.rules.ports.low.iter().map(u16::to_string).collect();
            low.push(host.to_string());
            let message = format!(
                "port {host} of the host is not permitted here: ports below {FIRST_FREE} belong to its own services"
            );
            case.refuse_unless("ports.low", field(), message, format!("ports.low = [{}]", low.join(", ")));
        }
    }
}
