//! What is said on the command line about a container or an app: variables, ports, mounts.

use std::collections::BTreeMap;

use claw_client::homelab::{NewPort, NewVolume};

use crate::{context::Context, error::CliError};

/// A variable: `NAME=VALUE`, or `NAME` for the value it has here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Variable {
    name: String,
    value: Option<String>,
}

/// Reads a variable.
pub(crate) fn variable(text: &str) -> Result<Variable, String> {
    let (name, value) = match text.split_once('=') {
        Some((name, value)) => (name, Some(value.to_owned())),
        None => (text, None),
    };
    if name.is_empty() || name.contains(char::is_whitespace) {
        return Err("expected NAME=VALUE, or NAME for the value it has in this shell".to_owned());
    }
    Ok(Variable { name: name.to_owned(), value })
}

/// Returns variables with their values.
pub(crate) fn variables(
    given: Vec<Variable>,
    context: &Context,
) -> Result<BTreeMap<String, String>, CliError> {
    let mut variables = BTreeMap::new();
    for Variable { name, value } in given {
        let value = match value {
            Some(value) => value,
            None => match context.environment.get(&name) {
                Some(value) => value.to_owned(),
                None => {
                    let message = format!("the variable `{name}` has no value in this shell");
                    return Err(CliError::usage(message).with_hint(format!("give it one: -e {name}=VALUE")));
                }
            },
        };
        if variables.insert(name.clone(), value).is_some() {
            return Err(CliError::usage(format!("the variable `{name}` is given twice")));
        }
    }
    Ok(variables)
}

/// Reads a port: `CONTAINER`, or `HOST:CONTAINER` to publish it, either with `/udp`.
pub(crate) fn port(text: &str) -> Result<NewPort, String> {
    let expected = || "expected HOST:CONTAINER, such as 8080:80 or 5353:53/udp".to_owned();
    let (ports, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    if !matches!(protocol, "tcp" | "udp") {
        return Err(expected());
    }
    let number = |text: &str| text.parse::<u16>().ok().filter(|port| *port > 0).ok_or_else(expected);
    let (public, private) = match ports.split_once(':') {
        Some((public, private)) => (Some(number(public)?), number(private)?),
        None => (None, number(ports)?),
    };
    Ok(NewPort { private, public, protocol: protocol.to_owned() })
}

/// Reads a port of the host and one of a container: `HOST:CONTAINER`.
pub(crate) fn published(text: &str) -> Result<(u16, u16), String> {
    let expected = || "expected HOST:CONTAINER, such as 8097:8096".to_owned();
    let (host, container) = text.split_once(':').ok_or_else(expected)?;
    let number = |text: &str| text.parse::<u16>().ok().filter(|port| *port > 0).ok_or_else(expected);
    Ok((number(host)?, number(container)?))
}

/// Reads a mount: `SOURCE:PLACE`, with `:ro` for reading only.
pub(crate) fn volume(text: &str) -> Result<NewVolume, String> {
    let expected =
        || "expected VOLUME:PLACE or /FOLDER:PLACE, such as data:/data or /srv/media:/media:ro".to_owned();
    let mut parts = text.split(':');
    let (host, container) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let read_only = match parts.next() {
        None | Some("rw") => false,
        Some("ro") => true,
        Some(_) => return Err(expected()),
    };
    if host.is_empty() || !container.starts_with('/') || parts.next().is_some() {
        return Err(expected());
    }
    Ok(NewVolume { host: host.to_owned(), container: container.to_owned(), read_only })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_and_mounts_are_read_as_docker_writes_them() {
        let new = |private, public, protocol: &str| NewPort { private, public, protocol: protocol.into() };
        assert_eq!(port("80"), Ok(new(80, None, "tcp")));
        assert_eq!(port("8080:80"), Ok(new(80, Some(8080), "tcp")));
        assert_eq!(port("53:53/udp"), Ok(new(53, Some(53), "udp")));
        for text in ["", "0", "80:", ":80", "80/sctp", "70000", "1:2:3", "http"] {
            assert!(port(text).is_err(), "{text}");
        }
        let mount = |host: &str, container: &str, read_only| NewVolume {
            host: host.into(),
            container: container.into(),
            read_only,
        };
        assert_eq!(volume("data:/data"), Ok(mount("data", "/data", false)));
        assert_eq!(volume("/srv/a:/a:ro"), Ok(mount("/srv/a", "/a", true)));
        for text in ["", "data", "data:", ":/data", "data:data", "a:/b:xx", "a:/b:ro:z"] {
            assert!(volume(text).is_err(), "{text}");
        }
        assert_eq!(published("8097:8096"), Ok((8097, 8096)));
        assert!(published("8097").is_err() && published("0:1").is_err());
    }

    #[test]
    fn variables_have_a_name() {
        assert!(variable("A=b=c").is_ok_and(|variable| variable.value.as_deref() == Some("b=c")));
        assert!(variable("A").is_ok_and(|variable| variable.value.is_none()));
        assert!(variable("=b").is_err() && variable("").is_err() && variable("A B=c").is_err());
    }
}
