//! A container as clients of the API describe it, read into what the policy judges.
//!
//! Clients of the homelab write variables and ports in two ways; both are read here. Members are known by their exact
//! names, and one that is not known is refused: what is not understood must not be passed on, nor passed over.

use std::{collections::BTreeMap, net::IpAddr, time::Duration};

use claw_core::ErrorCode;
use claw_docker::policy::{
    ContainerWish, MountWish, MountWishSource, PortWish, Protocol, RestartWish, strict,
};
use serde_json::{Map, Value};

use crate::{HomelabError, containers::ExecRequest};

/// Largest description in bytes.
pub const MAX_REQUEST_BYTES: usize = 256 * 1024;

/// Most entries of a list.
const MAX_ENTRIES: usize = 256;

type Result<T> = std::result::Result<T, HomelabError>;

/// Reads the description of a container.
///
/// # Errors
///
/// [`HomelabError::Invalid`] with what is wrong and where.
pub fn container_wish(body: &[u8]) -> Result<ContainerWish> {
    wish_of(object(body)?)
}

/// Reads one JSON object, with no member twice in any letter case.
pub(crate) fn object(body: &[u8]) -> Result<Map<String, Value>> {
    let value = strict::parse_json(body, MAX_REQUEST_BYTES)
        .map_err(|error| HomelabError::invalid(ErrorCode::InvalidRequest, format!("the body: {error}")))?;
    match value {
        Value::Object(members) => Ok(members),
        _ => Err(HomelabError::invalid(ErrorCode::InvalidRequest, "the body must be a JSON object")),
    }
}

/// Reads the description of a container.
pub(crate) fn wish_of(members: Map<String, Value>) -> Result<ContainerWish> {
    let mut wish = ContainerWish::default();
    let mut has_image = false;
    for (member, value) in members {
        // `null` says the same as leaving the member out.
        if value.is_null() {
            continue;
        }
        match member.as_str() {
            "image" => {
                wish.image = image(&value)?;
                has_image = true;
            }
            "name" => wish.name = container_name(&value)?,
            "env" => wish.environment = environment(value)?,
            "ports" => wish.ports = each(value, "ports", ErrorCode::InvalidPort, port)?,
            "volumes" => wish.mounts = each(value, "volumes", ErrorCode::InvalidRequest, mount)?,
            // Sent by old pages, and never read by anything.
            "attrs" => {}
            "command" => wish.command = Some(texts(value, "command")?),
            "entrypoint" => wish.entrypoint = Some(texts(value, "entrypoint")?),
            "user" => wish.user = Some(text(value, "user")?),
            "working_dir" => wish.working_dir = Some(text(value, "working_dir")?),
            "hostname" => wish.hostname = Some(text(value, "hostname")?),
            "restart" => wish.restart = restart(value)?,
            "labels" => wish.labels = pairs(value, "labels")?,
            "networks" => wish.networks = texts(value, "networks")?,
            "network_mode" => wish.network_mode = Some(text(value, "network_mode")?),
            "privileged" => wish.privileged = flag(&value, "privileged")?,
            "cap_add" => wish.cap_add = texts(value, "cap_add")?,
            "cap_drop" => wish.cap_drop = texts(value, "cap_drop")?,
            "security_opt" => wish.security_opt = texts(value, "security_opt")?,
            "sysctls" => wish.sysctls = pairs(value, "sysctls")?,
            "pid" => wish.pid = Some(text(value, "pid")?),
            "ipc" => wish.ipc = Some(text(value, "ipc")?),
            "uts" => wish.uts = Some(text(value, "uts")?),
            "userns" => wish.userns = Some(text(value, "userns")?),
            "cgroupns" => wish.cgroupns = Some(text(value, "cgroupns")?),
            "cgroup_parent" => wish.cgroup_parent = Some(text(value, "cgroup_parent")?),
            "runtime" => wish.runtime = Some(text(value, "runtime")?),
            "volumes_from" => wish.volumes_from = texts(value, "volumes_from")?,
            "group_add" => wish.group_add = texts(value, "group_add")?,
            "extra_hosts" => wish.extra_hosts = texts(value, "extra_hosts")?,
            "dns" => wish.dns = texts(value, "dns")?,
            "gpus" => wish.gpus = flag(&value, "gpus")?,
            "read_only" => wish.read_only = flag(&value, "read_only")?,
            "init" => wish.init = Some(flag(&value, "init")?),
            "tty" => wish.tty = flag(&value, "tty")?,
            "stdin" => wish.stdin = flag(&value, "stdin")?,
            "stop_signal" => wish.stop_signal = Some(text(value, "stop_signal")?),
            "shm_bytes" => wish.shm_bytes = Some(number(&value, "shm_bytes")?),
            "memory_bytes" => wish.memory_bytes = Some(number(&value, "memory_bytes")?),
            "cpus" => wish.cpus = Some(amount(&value, "cpus")?),
            "pids" => wish.pids = Some(small_number(&value, "pids")?),
            unknown => {
                let message = format!(
                    "`{}` is not a member of a container: the members are image, name, env, ports and volumes, and \
                     others that the API reference lists",
                    HomelabError::shown(unknown)
                );
                return Err(HomelabError::invalid(ErrorCode::InvalidRequest, message));
            }
        }
    }
    if has_image {
        Ok(wish)
    } else {
        Err(HomelabError::invalid(ErrorCode::InvalidImage, "`image` is missing: name the image to run"))
    }
}

/// Reads the description of a program to run in a container.
pub(crate) fn exec(body: &[u8]) -> Result<ExecRequest> {
    let mut request = ExecRequest::default();
    for (member, value) in object(body)? {
        // `null` says the same as leaving the member out.
        if value.is_null() {
            continue;
        }
        match member.as_str() {
            "command" => request.wish.command = texts(value, "command")?,
            "working_dir" => request.wish.working_dir = Some(text(value, "working_dir")?),
            "environment" => request.wish.environment = pairs(value, "environment")?.into_iter().collect(),
            "user" => request.wish.user = Some(text(value, "user")?),
            "timeout_seconds" => {
                request.time = Some(Duration::from_secs(number(&value, "timeout_seconds")?));
            }
            "max_bytes" => {
                request.bytes = Some(usize::try_from(number(&value, "max_bytes")?).unwrap_or(usize::MAX));
            }
            unknown => {
                let message = format!(
                    "`{}` is not a member of a program to run: the members are command, working_dir, environment, user, \
                     timeout_seconds and max_bytes",
                    HomelabError::shown(unknown)
                );
                return Err(HomelabError::invalid(ErrorCode::InvalidRequest, message));
            }
        }
    }
    request.bounded()
}

fn wrong(code: ErrorCode, member: &str, expected: &str) -> HomelabError {
    HomelabError::invalid(code, format!("`{member}` must be {expected}"))
}

fn text(value: Value, member: &str) -> Result<String> {
    match value {
        Value::String(text) if !text.contains('\0') => Ok(text),
        _ => Err(wrong(ErrorCode::InvalidRequest, member, "a text")),
    }
}

fn texts(value: Value, member: &str) -> Result<Vec<String>> {
    each(value, member, ErrorCode::InvalidRequest, |entry| text(entry, member))
}

fn flag(value: &Value, member: &str) -> Result<bool> {
    value.as_bool().ok_or_else(|| wrong(ErrorCode::InvalidRequest, member, "true or false"))
}

fn number(value: &Value, member: &str) -> Result<u64> {
    value.as_u64().ok_or_else(|| wrong(ErrorCode::InvalidRequest, member, "a whole number, 0 or more"))
}

fn small_number(value: &Value, member: &str) -> Result<u32> {
    let number = number(value, member)?;
    u32::try_from(number).map_err(|_too_large| wrong(ErrorCode::InvalidRequest, member, "below 2^32"))
}

fn amount(value: &Value, member: &str) -> Result<f64> {
    let amount = value.as_f64().filter(|amount| amount.is_finite() && *amount >= 0.0);
    amount.ok_or_else(|| wrong(ErrorCode::InvalidRequest, member, "a number, 0 or more"))
}

/// Reads a list, entry by entry.
fn each<T>(
    value: Value,
    member: &str,
    code: ErrorCode,
    read: impl FnMut(Value) -> Result<T>,
) -> Result<Vec<T>> {
    match value {
        Value::Array(entries) if entries.len() <= MAX_ENTRIES => entries.into_iter().map(read).collect(),
        Value::Array(_) => Err(wrong(code, member, &format!("a list of at most {MAX_ENTRIES} entries"))),
        _ => Err(wrong(code, member, "a list")),
    }
}

fn pairs(value: Value, member: &str) -> Result<BTreeMap<String, String>> {
    match value {
        Value::Object(members) if members.len() <= MAX_ENTRIES => {
            members.into_iter().map(|(name, value)| Ok((name, scalar(value, member)?))).collect()
        }
        _ => Err(wrong(ErrorCode::InvalidRequest, member, "an object whose values are texts")),
    }
}

/// Reads a text; numbers, `true` and `false` are taken as they are written.
fn scalar(value: Value, member: &str) -> Result<String> {
    match value {
        Value::Number(number) => Ok(number.to_string()),
        Value::Bool(flag) => Ok(flag.to_string()),
        value => text(value, member),
    }
}

fn restart(value: Value) -> Result<RestartWish> {
    let text = text(value, "restart")?;
    let times = |text: &str| text.parse().ok().filter(|_| text.bytes().all(|byte| byte.is_ascii_digit()));
    let wish = match (text.as_str(), text.strip_prefix("on-failure:")) {
        ("no", _) => Some(RestartWish::No),
        ("always", _) => Some(RestartWish::Always),
        ("unless-stopped", _) => Some(RestartWish::UnlessStopped),
        ("on-failure", _) => Some(RestartWish::OnFailure(None)),
        (_, Some(count)) => times(count).map(|times| RestartWish::OnFailure(Some(times))),
        (_, None) => None,
    };
    wish.ok_or_else(|| {
        wrong(ErrorCode::InvalidRequest, "restart", "no, always, unless-stopped, on-failure or on-failure:N")
    })
}

fn image(value: &Value) -> Result<String> {
    let image = value.as_str().unwrap_or_default();
    check_image(image)?;
    Ok(image.to_owned())
}

/// Checks the form of a reference to an image.
pub(crate) fn check_image(image: &str) -> Result<()> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "._:@/+-".contains(c);
    let is_good = image.len() <= 255
        && image.starts_with(|c: char| c.is_ascii_alphanumeric())
        && image.chars().all(is_plain)
        && image.split('/').all(|part| !part.is_empty() && !part.starts_with('.'));
    if is_good {
        Ok(())
    } else {
        let message = format!(
            "`{}` is not an image: write it as repository:tag, such as `nginx:1.27`",
            HomelabError::shown(image)
        );
        Err(HomelabError::invalid(ErrorCode::InvalidImage, message))
    }
}

pub(crate) fn container_name(value: &Value) -> Result<Option<String>> {
    match value.as_str() {
        // Some clients send an empty one where the user gave none.
        Some("") => Ok(None),
        Some(name) if is_docker_name(name) => Ok(Some(name.to_owned())),
        name => {
            let message = format!(
                "`{}` is not a name for a container: letters, digits, `_`, `.` and `-`, the first a letter or digit",
                HomelabError::shown(name.unwrap_or_default())
            );
            Err(HomelabError::invalid(ErrorCode::InvalidName, message))
        }
    }
}

/// Tells whether Docker takes this as the name of a container or volume.
fn is_docker_name(name: &str) -> bool {
    name.len() <= 128
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || "_.-".contains(c))
}

fn environment(value: Value) -> Result<Vec<(String, String)>> {
    match value {
        Value::Object(members) if members.len() <= MAX_ENTRIES => {
            members.into_iter().map(|(name, value)| variable(name, value)).collect()
        }
        Value::Array(_) => each(value, "env", ErrorCode::InvalidEnv, |entry| {
            let Value::Object(mut members) = entry else {
                return Err(wrong(ErrorCode::InvalidEnv, "env", "an object, or a list of {key, value}"));
            };
            let (name, value) = (members.remove("key"), members.remove("value"));
            match (name, value, members.is_empty()) {
                (Some(Value::String(name)), value, true) => variable(name, value.unwrap_or_default()),
                _ => Err(wrong(ErrorCode::InvalidEnv, "env", "an object, or a list of {key, value}")),
            }
        }),
        _ => Err(wrong(ErrorCode::InvalidEnv, "env", "an object, or a list of {key, value}")),
    }
}

fn variable(name: String, value: Value) -> Result<(String, String)> {
    let is_name = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    let refused = |message: &str| {
        HomelabError::invalid(
            ErrorCode::InvalidEnv,
            format!("variable `{}`: {message}", HomelabError::shown(&name)),
        )
    };
    if !is_name || name.len() > 255 {
        return Err(refused("a name has letters, digits and `_`, the first no digit"));
    }
    let value = match value {
        Value::Null => String::new(),
        value => scalar(value, "env").map_err(|_no_text| refused("the value must be a text"))?,
    };
    if value.contains(['\0', '\r', '\n']) {
        return Err(refused("the value must be on one line"));
    }
    Ok((name, value))
}

/// Reads `{private, public, protocol}` with numbers, or `{host, container}` with texts.
fn port(entry: Value) -> Result<PortWish> {
    const FORMS: &str = "a list of {private, public, protocol} or of {host, container}";
    let refused = |expected: &str| wrong(ErrorCode::InvalidPort, "ports", expected);
    let Value::Object(mut members) = entry else { return Err(refused(FORMS)) };
    let address = match members.remove("address") {
        None | Some(Value::Null) => None,
        Some(address) => {
            let address = address.as_str().and_then(|text| text.parse::<IpAddr>().ok());
            Some(address.ok_or_else(|| refused("published at an IP address"))?)
        }
    };
    let wish = if members.contains_key("private") {
        let private = members.remove("private").and_then(|port| number_of_port(&port));
        let public = members.remove("public").unwrap_or_default();
        let protocol = members.remove("protocol").unwrap_or_default();
        let host = match public {
            Value::Null => None,
            // Some clients send 0 where the user gave none.
            Value::Number(ref number) if number.as_u64() == Some(0) => None,
            public => Some(number_of_port(&public).ok_or_else(|| refused("from 1 to 65535"))?),
        };
        PortWish {
            container: private.ok_or_else(|| refused("from 1 to 65535"))?,
            protocol: protocol_of(match &protocol {
                Value::Null => "",
                Value::String(text) => text,
                _ => "?",
            })
            .ok_or_else(|| refused("of protocol tcp or udp"))?,
            host,
            address,
        }
    } else {
        let side = |members: &mut Map<String, Value>, member: &str| match members.remove(member) {
            Some(Value::String(text)) => {
                let (port, protocol) = text.split_once('/').unwrap_or((&text, ""));
                let is_plain = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
                let port = port.parse::<u16>().ok().filter(|port| is_plain && *port != 0);
                let given = text.contains('/').then(|| protocol_of(protocol));
                port.map(|port| (port, given))
            }
            Some(value) => number_of_port(&value).map(|port| (port, None)),
            None => None,
        };
        let host = side(&mut members, "host").ok_or_else(|| refused(FORMS))?;
        let container = side(&mut members, "container").ok_or_else(|| refused(FORMS))?;
        let protocol = match (host.1, container.1) {
            (None, None) => Protocol::Tcp,
            (Some(Some(protocol)), None) | (None, Some(Some(protocol))) => protocol,
            (Some(Some(one)), Some(Some(other))) if one == other => one,
            _ => return Err(refused("of protocol tcp or udp, the same on both sides")),
        };
        PortWish { container: container.0, protocol, host: Some(host.0), address }
    };
    if members.is_empty() { Ok(wish) } else { Err(refused(FORMS)) }
}

fn number_of_port(value: &Value) -> Option<u16> {
    let number = match value {
        Value::Number(number) => number.as_u64()?,
        _ => return None,
    };
    u16::try_from(number).ok().filter(|port| *port != 0)
}

fn protocol_of(text: &str) -> Option<Protocol> {
    match text {
        "" | "tcp" => Some(Protocol::Tcp),
        "udp" => Some(Protocol::Udp),
        _ => None,
    }
}

/// Reads `{host, container}`: a folder or a named volume, and where it is seen in the container.
fn mount(entry: Value) -> Result<MountWish> {
    const FORM: &str = "a list of {host, container}";
    let refused = || wrong(ErrorCode::InvalidRequest, "volumes", FORM);
    let Value::Object(mut members) = entry else { return Err(refused()) };
    let (Some(Value::String(host)), Some(Value::String(target))) =
        (members.remove("host"), members.remove("container"))
    else {
        return Err(refused());
    };
    let read_only = match members.remove("read_only") {
        None | Some(Value::Null) => false,
        Some(value) => value.as_bool().ok_or_else(refused)?,
    };
    if !members.is_empty() {
        return Err(refused());
    }
    let is_target = target.starts_with('/')
        && target.len() <= 4096
        && !target.contains(':')
        && !target.chars().any(char::is_control)
        && !target.split('/').any(|part| part == "..");
    if !is_target {
        let message = format!(
            "`{}` is no place in a container: write an absolute path without `..`",
            HomelabError::shown(&target)
        );
        return Err(HomelabError::invalid(ErrorCode::InvalidVolumeTarget, message));
    }
    if host.is_empty() || host.chars().any(char::is_control) {
        return Err(refused());
    }
    let source = if host.contains('/') || !is_docker_name(&host) {
        MountWishSource::Bind(host)
    } else {
        MountWishSource::Volume { name: host, driver: None, options: BTreeMap::new() }
    };
    Ok(MountWish { source, target, read_only, propagation: None })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: &str) -> Result<ContainerWish> {
        container_wish(body.as_bytes())
    }

    fn code(body: &str) -> &'static str {
        use claw_core::Coded as _;
        match read(body) {
            Ok(_) => "read",
            Err(error) => error.code().as_str(),
        }
    }

    #[test]
    fn m11_both_forms_of_variables_and_ports_come_to_the_same() {
        let promised = r#"{"image":"nginx:1","name":"web","env":{"A":"1","b":"x y"},
            "ports":[{"private":80,"public":8080,"protocol":"tcp"},{"private":53,"public":53,"protocol":"udp"}],
            "volumes":[{"host":"data","container":"/data"}]}"#;
        let written = r#"{"image":"nginx:1","name":"web","env":[{"key":"A","value":"1"},{"key":"b","value":"x y"}],
            "ports":[{"host":"8080","container":"80"},{"host":"53/udp","container":"53/udp"}],
            "volumes":[{"host":"data","container":"/data"}],"attrs":{"privileged":true}}"#;

        assert_eq!(read(promised).expect("read"), read(written).expect("read"));
    }

    #[test]
    fn m11_what_the_go_client_leaves_empty_is_as_if_left_out() {
        let sent = r#"{"image":"nginx","name":"","env":null,"ports":[{"private":80,"protocol":""},
            {"private":81,"public":0,"protocol":""}],"volumes":null}"#;

        let wish = read(sent).expect("read");

        assert_eq!((wish.name, wish.environment.len(), wish.mounts.len()), (None, 0, 0));
        assert!(wish.ports.iter().all(|port| port.host.is_none() && port.protocol == Protocol::Tcp));
    }

    #[test]
    fn what_is_wrong_has_its_code() {
        for (body, expected) in [
            ("", "INVALID_REQUEST"),
            ("[]", "INVALID_REQUEST"),
            ("{}", "INVALID_IMAGE"),
            (r#"{"image":""}"#, "INVALID_IMAGE"),
            (r#"{"image":"-v"}"#, "INVALID_IMAGE"),
            (r#"{"image":"a b"}"#, "INVALID_IMAGE"),
            (r#"{"image":"../x"}"#, "INVALID_IMAGE"),
            (r#"{"image":"a/../x"}"#, "INVALID_IMAGE"),
            (r#"{"image":7}"#, "INVALID_IMAGE"),
            (r#"{"image":"a","name":"--help"}"#, "INVALID_NAME"),
            (r#"{"image":"a","name":"a/b"}"#, "INVALID_NAME"),
            (r#"{"image":"a","name":7}"#, "INVALID_NAME"),
            (r#"{"image":"a","env":{"A=B":"1"}}"#, "INVALID_ENV"),
            (r#"{"image":"a","env":{"A":"1\n2"}}"#, "INVALID_ENV"),
            (r#"{"image":"a","env":{"A":[]}}"#, "INVALID_ENV"),
            (r#"{"image":"a","env":["A=1"]}"#, "INVALID_ENV"),
            (r#"{"image":"a","env":[{"key":"A","value":"1","x":1}]}"#, "INVALID_ENV"),
            (r#"{"image":"a","ports":{"80":80}}"#, "INVALID_PORT"),
            (r#"{"image":"a","ports":[{"private":0}]}"#, "INVALID_PORT"),
            (r#"{"image":"a","ports":[{"private":80,"public":70000}]}"#, "INVALID_PORT"),
            (r#"{"image":"a","ports":[{"private":80,"protocol":"sctp"}]}"#, "INVALID_PORT"),
            (r#"{"image":"a","ports":[{"private":80,"host":"80"}]}"#, "INVALID_PORT"),
            (r#"{"image":"a","ports":[{"host":"+80","container":"80"}]}"#, "INVALID_PORT"),
            (r#"{"image":"a","ports":[{"host":"80/tcp","container":"80/udp"}]}"#, "INVALID_PORT"),
            (r#"{"image":"a","ports":[{"host":"127.0.0.1:80","container":"80"}]}"#, "INVALID_PORT"),
            (r#"{"image":"a","volumes":[{"host":"x","container":"data"}]}"#, "INVALID_VOLUME_TARGET"),
            (r#"{"image":"a","volumes":[{"host":"x","container":"/a/../b"}]}"#, "INVALID_VOLUME_TARGET"),
            (r#"{"image":"a","volumes":[{"host":"x","container":"/a:rw"}]}"#, "INVALID_VOLUME_TARGET"),
            (r#"{"image":"a","volumes":["/etc:/etc"]}"#, "INVALID_REQUEST"),
            (r#"{"image":"a","volumes":[{"host":"","container":"/a"}]}"#, "INVALID_REQUEST"),
            (r#"{"image":"a","image":"b"}"#, "INVALID_REQUEST"),
            (r#"{"image":"a","Image":"b"}"#, "INVALID_REQUEST"),
            (r#"{"image":"a","HostConfig":{}}"#, "INVALID_REQUEST"),
            (r#"{"image":"a","Privileged":true}"#, "INVALID_REQUEST"),
            (r#"{"Image":"a"}"#, "INVALID_REQUEST"),
            (r#"{"image":"a","restart":"sometimes"}"#, "INVALID_REQUEST"),
            (r#"{"image":"a"} {}"#, "INVALID_REQUEST"),
        ] {
            assert_eq!(code(body), expected, "{body}");
        }
    }

    #[test]
    fn t6_a_host_that_is_no_name_is_judged_as_a_path() {
        for host in ["/etc", "./data", "../x", "..", "a:b", "~", "a/b"] {
            let body = serde_json::json!({ "image": "a", "volumes": [{ "host": host, "container": "/x" }] });
            let wish = read(&body.to_string()).expect("read");
            assert!(matches!(wish.mounts[0].source, MountWishSource::Bind(_)), "{host}");
        }
    }
}
