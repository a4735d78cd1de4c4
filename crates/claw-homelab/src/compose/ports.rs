//! Ports, in the short and the long form.

use std::net::IpAddr;

use claw_docker::policy::{PortWish, Protocol};

use super::{
    cursor::Cursor,
    error::{ComposeError, quoted},
    yaml::Value,
};

/// Most ports of one service, ranges written out.
const MAX_PORTS: usize = 256;

/// Reads `ports`.
pub(crate) fn ports(at: &Cursor<'_>) -> Result<Vec<PortWish>, ComposeError> {
    let mut ports = Vec::new();
    for item in at.list()? {
        let found = match item.value() {
            Value::Map(_) => long(&item)?,
            _ => short(&item)?,
        };
        ports.extend(found);
        if ports.len() > MAX_PORTS {
            return Err(item.error(format!("more than {MAX_PORTS} ports")));
        }
    }
    Ok(ports)
}

/// `[[address:]host:]container[/protocol]`, where both numbers may be ranges of the same length.
fn short(at: &Cursor<'_>) -> Result<Vec<PortWish>, ComposeError> {
    let text = at.words()?;
    let wrong = || {
        at.error(format!(
            "`{}` is no port such as \"8080:80\", \"127.0.0.1:8080:80\" or \"53:53/udp\"",
            quoted(text)
        ))
    };
    let (rest, protocol) = match text.split_once('/') {
        Some((rest, protocol)) => (rest, parse_protocol(protocol).ok_or_else(wrong)?),
        None => (text, Protocol::Tcp),
    };
    let (rest, container) = rest.rsplit_once(':').map_or((None, rest), |(rest, last)| (Some(rest), last));
    let (address, host) = match rest {
        None => (None, ""),
        Some(rest) if rest.starts_with('[') => {
            let (address, host) = rest[1..].split_once(']').ok_or_else(wrong)?;
            (Some(address), host.strip_prefix(':').ok_or_else(wrong)?)
        }
        Some(rest) => rest.rsplit_once(':').map_or((None, rest), |(address, host)| (Some(address), host)),
    };
    let address = address.map(|text| text.parse::<IpAddr>().map_err(|_| wrong())).transpose()?;
    if rest.is_some() && host.is_empty() && address.is_none() {
        return Err(wrong());
    }
    let container = range(container).ok_or_else(wrong)?;
    let host = if host.is_empty() { None } else { Some(range(host).ok_or_else(wrong)?) };
    pair(container, host, protocol, address).ok_or_else(wrong)
}

fn long(at: &Cursor<'_>) -> Result<Vec<PortWish>, ComposeError> {
    let mut fields = at.fields()?;
    let target = fields.read("target", |at| {
        range(at.words()?).filter(|(first, last)| first == last).ok_or_else(|| at.error("this is no port"))
    })?;
    let published =
        fields.read("published", |at| range(at.words()?).ok_or_else(|| at.error("this is no port")))?;
    let address = fields
        .read("host_ip", |at| at.words()?.parse::<IpAddr>().map_err(|_| at.error("this is no address")))?;
    let protocol = fields.read("protocol", |at| {
        parse_protocol(at.words()?).ok_or_else(|| at.error("the protocol is tcp or udp"))
    })?;
    fields.read("mode", |at| match at.words()? {
        // Both publish the port on this host outside of a swarm.
        "host" | "ingress" => Ok(()),
        _ => Err(at.error("the mode is host or ingress")),
    })?;
    fields.finish(|_| None)?;
    let target = target.ok_or_else(|| at.error("`target` is missing: the port inside the container"))?;
    pair(target, published, protocol.unwrap_or_default(), address)
        .ok_or_else(|| at.error("`published` is one port"))
}

/// The protocol by its name.
fn parse_protocol(text: &str) -> Option<Protocol> {
    match text {
        "tcp" | "TCP" => Some(Protocol::Tcp),
        "udp" | "UDP" => Some(Protocol::Udp),
        _ => None,
    }
}

fn number(text: &str) -> Option<u16> {
    let plain = (1..=5).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|port| plain && *port > 0)
}

fn range(text: &str) -> Option<(u16, u16)> {
    let (first, last) = match text.split_once('-') {
        Some((first, last)) => (number(first)?, number(last)?),
        None => (number(text)?, number(text)?),
    };
    (first <= last && usize::from(last - first) < MAX_PORTS).then_some((first, last))
}

fn pair(
    container: (u16, u16),
    host: Option<(u16, u16)>,
    protocol: Protocol,
    address: Option<IpAddr>,
) -> Option<Vec<PortWish>> {
    if host.is_some_and(|host| host.1 - host.0 != container.1 - container.0) {
        return None;
    }
    let wish = |port: u16| PortWish {
        container: port,
        protocol,
        // Without one the Engine picks a free one.
        host: Some(host.map_or(0, |host| host.0 + (port - container.0))),
        address,
    };
    Some((container.0..=container.1).map(wish).collect())
}
