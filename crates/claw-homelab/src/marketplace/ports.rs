//! Which ports of the host an app gets.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{Ipv4Addr, TcpListener, UdpSocket},
};

use claw_core::ErrorCode;
use claw_docker::policy::{PortWish, Protocol};

use super::{MarketplaceError, record::Published};
use crate::compose::Project;

/// How many ports after the wanted one are tried.
const TRIES: u16 = 500;

/// Ports of the host that somebody has.
pub(crate) type Taken = BTreeSet<(u16, Protocol)>;

/// Gives every published port of `project` a port of the host.
///
/// `wanted` says for ports inside which ports of the host they get. Those must be free; the catalog's own give way to
/// others when they are taken. TCP and UDP of one port stay together. `busy` asks the machine.
pub(crate) fn assign(
    project: &mut Project,
    main: &str,
    wanted: &BTreeMap<u16, u16>,
    mut taken: Taken,
    busy: impl Fn(u16, Protocol) -> bool,
) -> Result<Vec<Published>, MarketplaceError> {
    let invalid = |message: String| MarketplaceError::invalid(ErrorCode::InvalidPort, message);
    let owners = owners(project, main, wanted)?;
    let mut published = Vec::new();
    for (name, service) in &mut project.services {
        let mut groups: BTreeMap<(u16, u16), Vec<&mut PortWish>> = BTreeMap::new();
        for port in &mut service.wish.ports {
            if let Some(host) = port.host {
                groups.entry((port.container, host)).or_default().push(port);
            }
        }
        for ((container, host), ports) in groups {
            let protocols: BTreeSet<Protocol> = ports.iter().map(|port| port.protocol).collect();
            let is_taken = |port: u16, taken: &Taken| {
                protocols.iter().any(|&protocol| taken.contains(&(port, protocol)) || busy(port, protocol))
            };
            let asked = wanted.get(&container).filter(|_| owners.get(&container) == Some(name)).copied();
            let chosen = match asked {
                Some(port) if is_taken(port, &taken) => {
                    let message = format!(
                        "port {port} of the host is taken: choose another one, or leave it out to get a free one"
                    );
                    return Err(invalid(message));
                }
                Some(port) => port,
                None if host == 0 => 0,
                None if !is_taken(host, &taken) => host,
                None => candidates(host).find(|&port| !is_taken(port, &taken)).ok_or_else(|| {
                    invalid(format!(
                        "port {host} of the host is taken, and so are those after it: choose one"
                    ))
                })?,
            };
            for port in ports {
                port.host = Some(chosen);
                if chosen > 0 {
                    taken.insert((chosen, port.protocol));
                }
                published.push(Published {
                    service: name.clone(),
                    container,
                    host: chosen,
                    protocol: port.protocol.as_str().to_owned(),
                    instead_of: (asked.is_none() && chosen != host).then_some(host),
                });
            }
        }
    }
    Ok(published)
}

/// The published ports of a project that stay where the file has them.
pub(crate) fn as_written(project: &Project) -> Vec<Published> {
    let of = |(name, service): (&String, &crate::compose::Service)| {
        let published = service.wish.ports.iter().filter_map(|port| {
            Some(Published {
                service: name.clone(),
                container: port.container,
                host: port.host?,
                protocol: port.protocol.as_str().to_owned(),
                instead_of: None,
            })
        });
        published.collect::<Vec<_>>()
    };
    project.services.iter().flat_map(of).collect()
}

/// Finds the service that each wanted port is meant for: the main one where several have it.
fn owners(
    project: &Project,
    main: &str,
    wanted: &BTreeMap<u16, u16>,
) -> Result<BTreeMap<u16, String>, MarketplaceError> {
    let mut owners = BTreeMap::new();
    for &container in wanted.keys() {
        let has = |name: &String| {
            let ports = &project.services[name].wish.ports;
            ports.iter().any(|port| port.container == container && port.host.is_some())
        };
        let mut having = project.services.keys().filter(|name| has(name));
        let owner = having.clone().find(|name| *name == main).or_else(|| having.next());
        let Some(owner) = owner else {
            let known: BTreeSet<u16> = project
                .services
                .values()
                .flat_map(|service| &service.wish.ports)
                .filter(|port| port.host.is_some())
                .map(|port| port.container)
                .collect();
            let known = known.iter().map(u16::to_string).collect::<Vec<_>>().join(", ");
            let message = format!("the app has no port {container}: its ports are {known}");
            return Err(MarketplaceError::invalid(ErrorCode::InvalidPort, message));
        };
        owners.insert(container, owner.clone());
    }
    Ok(owners)
}

/// The ports that are tried when one is taken: low ones move to where others may listen too.
fn candidates(port: u16) -> impl Iterator<Item = u16> {
    let first = if port < 1024 { 8000 + port } else { port.saturating_add(1) };
    (first..=first.saturating_add(TRIES)).filter(|port| *port >= 1024)
}

/// Tells whether a program of this machine has the port. Where that cannot be told, it is free.
pub(crate) fn is_busy(port: u16, protocol: Protocol) -> bool {
    let at = (Ipv4Addr::UNSPECIFIED, port);
    let failed = match protocol {
        Protocol::Tcp => TcpListener::bind(at).err(),
        Protocol::Udp => UdpSocket::bind(at).err(),
    };
    failed.is_some_and(|error| error.kind() == std::io::ErrorKind::AddrInUse)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compose;

    const FILE: &str = "services:\n  dns:\n    image: dns:1\n    ports: [\"53:53/tcp\", \"53:53/udp\", \"3000:80\"]\n  \
                        other:\n    image: other:1\n    ports: [\"3000:3000\", \"9000\"]\n";

    fn assigned(wanted: &[(u16, u16)], taken: &[(u16, Protocol)]) -> Result<Vec<(u16, u16, String)>, String> {
        let mut project = compose::parse(FILE, &BTreeMap::new()).expect("a file");
        let wanted = wanted.iter().copied().collect();
        let published = assign(&mut project, "dns", &wanted, taken.iter().copied().collect(), |_, _| false);
        let published = published.map_err(|error| error.to_string())?;
        let wishes = project.services.values().flat_map(|service| &service.wish.ports);
        assert_eq!(wishes.count(), published.len());
        Ok(published.into_iter().map(|port| (port.container, port.host, port.protocol)).collect())
    }

    fn row(container: u16, host: u16, protocol: &str) -> (u16, u16, String) {
        (container, host, protocol.to_owned())
    }

    #[test]
    fn b9_a_taken_port_moves_with_both_protocols_and_no_two_services_get_the_same() {
        let ports = assigned(&[], &[(53, Protocol::Udp)]).expect("free ports");

        assert_eq!(
            ports,
            [
                row(53, 8053, "tcp"),
                row(53, 8053, "udp"),
                row(80, 3000, "tcp"),
                row(3000, 3001, "tcp"),
                row(9000, 0, "tcp")
            ]
        );
    }

    #[test]
    fn b9_a_wanted_port_replaces_the_catalogs_one() {
        let ports = assigned(&[(80, 8081)], &[]).expect("free ports");

        assert_eq!(ports[2], row(80, 8081, "tcp"));
        assert_eq!(ports[3], row(3000, 3000, "tcp"));
    }

    #[test]
    fn a_wanted_port_that_is_taken_or_of_no_use_is_refused_with_what_to_do() {
        let taken = assigned(&[(80, 8081)], &[(8081, Protocol::Tcp)]).expect_err("taken");
        assert!(taken.contains("8081 of the host is taken"), "{taken}");
        let unknown = assigned(&[(81, 8081)], &[]).expect_err("no such port");
        assert!(unknown.contains("its ports are 53, 80, 3000, 9000"), "{unknown}");
    }
}
