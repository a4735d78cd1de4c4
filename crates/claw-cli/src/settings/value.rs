//! The types that settings can have, and how each is read from text and from TOML.

use std::{
    net::{IpAddr, SocketAddr},
    num::NonZeroUsize,
    path::PathBuf,
    time::Duration,
};

use claw_core::{NetworkMode, Secret};

/// A type that a setting can have.
pub(crate) trait Value: Sized {
    /// What is expected, for error messages.
    const EXPECTED: &'static str;
    /// Whether the value must not be shown, nor given on the command line where other users can read it.
    const SECRET: bool = false;

    /// Reads a flag's or variable's text.
    fn from_text(text: &str) -> Option<Self>;

    /// Reads a value of the file.
    fn from_toml(value: &toml::Value) -> Option<Self> {
        value.as_str().and_then(Self::from_text)
    }
}

impl Value for String {
    const EXPECTED: &'static str = "a text";

    fn from_text(text: &str) -> Option<Self> {
        (!text.is_empty() && !text.chars().any(char::is_control)).then(|| text.to_owned())
    }
}

impl Value for Secret {
    const EXPECTED: &'static str = "a text without line breaks";
    const SECRET: bool = true;

    fn from_text(text: &str) -> Option<Self> {
        (!text.is_empty() && !text.chars().any(char::is_control)).then(|| Secret::new(text))
    }
}

impl Value for PathBuf {
    const EXPECTED: &'static str = "a path";

    fn from_text(text: &str) -> Option<Self> {
        (!text.is_empty() && !text.contains('\0')).then(|| PathBuf::from(text))
    }
}

impl Value for SocketAddr {
    const EXPECTED: &'static str =
        "an IP address and port such as `127.0.0.1:5179`, `0.0.0.0:5179` or `[::1]:5179`";

    fn from_text(text: &str) -> Option<Self> {
        // Not resolved: which of its addresses a name stands for is not for us to guess, except for this one.
        match text.strip_prefix("localhost:") {
            Some(port) => format!("127.0.0.1:{port}").parse().ok(),
            None => text.parse().ok(),
        }
    }
}

/// Reads whole numbers from text and from TOML integers.
fn integer<T: std::str::FromStr + TryFrom<i64>>(value: &toml::Value) -> Option<T> {
    match value {
        toml::Value::Integer(number) => T::try_from(*number).ok(),
        toml::Value::String(text) => text.parse().ok(),
        _ => None,
    }
}

/// How many jobs run at once.
impl Value for NonZeroUsize {
    const EXPECTED: &'static str = "a whole number from 1 to 256";

    fn from_text(text: &str) -> Option<Self> {
        text.parse().ok().filter(|number: &Self| number.get() <= 256)
    }

    fn from_toml(value: &toml::Value) -> Option<Self> {
        integer::<usize>(value).and_then(Self::new).filter(|number| number.get() <= 256)
    }
}

impl Value for u32 {
    const EXPECTED: &'static str = "a whole number";

    fn from_text(text: &str) -> Option<Self> {
        text.parse().ok()
    }

    fn from_toml(value: &toml::Value) -> Option<Self> {
        integer(value)
    }
}

/// A limit on processes. Fewer than the agent CLI itself needs would fail every job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PidsLimit(pub(crate) u32);

impl Value for PidsLimit {
    const EXPECTED: &'static str = "a whole number from 32 to 65536";

    fn from_text(text: &str) -> Option<Self> {
        text.parse().ok().filter(|number| (32..=65_536).contains(number)).map(Self)
    }

    fn from_toml(value: &toml::Value) -> Option<Self> {
        integer(value).filter(|number| (32..=65_536).contains(number)).map(Self)
    }
}

/// A time in whole seconds.
impl Value for Duration {
    const EXPECTED: &'static str = "a whole number of seconds from 1 to 86400";

    fn from_text(text: &str) -> Option<Self> {
        text.parse().ok().filter(|secs| (1..=86_400).contains(secs)).map(Duration::from_secs)
    }

    fn from_toml(value: &toml::Value) -> Option<Self> {
        integer(value).filter(|secs| (1..=86_400).contains(secs)).map(Duration::from_secs)
    }
}

fn number(value: &toml::Value) -> Option<f64> {
    match value {
        toml::Value::Float(number) => Some(*number),
        toml::Value::Integer(number) => Some(*number as f64),
        toml::Value::String(text) => text.parse().ok(),
        _ => None,
    }
}

/// CPU cores.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct CpuLimit(pub(crate) f64);

impl CpuLimit {
    fn new(cores: f64) -> Option<Self> {
        (0.1..=256.0).contains(&cores).then_some(Self(cores))
    }
}

impl Value for CpuLimit {
    const EXPECTED: &'static str = "a number of cores from 0.1 to 256";

    fn from_text(text: &str) -> Option<Self> {
        text.parse().ok().and_then(Self::new)
    }

    fn from_toml(value: &toml::Value) -> Option<Self> {
        number(value).and_then(Self::new)
    }
}

/// An amount in US dollars.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Dollars(pub(crate) f64);

impl Dollars {
    fn new(amount: f64) -> Option<Self> {
        (amount > 0.0 && amount <= 10_000.0).then_some(Self(amount))
    }
}

impl Value for Dollars {
    const EXPECTED: &'static str = "a positive amount in US dollars up to 10000";

    fn from_text(text: &str) -> Option<Self> {
        text.parse().ok().and_then(Self::new)
    }

    fn from_toml(value: &toml::Value) -> Option<Self> {
        number(value).and_then(Self::new)
    }
}

/// Reads a whole number with a unit, such as `4g`, as bytes.
fn bytes(text: &str) -> Option<u64> {
    let text = text.to_ascii_lowercase();
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let shift = match &text[digits..] {
        "" | "b" => 0,
        "k" | "kb" | "kib" => 10,
        "m" | "mb" | "mib" => 20,
        "g" | "gb" | "gib" => 30,
        "t" | "tb" | "tib" => 40,
        _ => return None,
    };
    text[..digits].parse::<u64>().ok()?.checked_mul(1 << shift)
}

/// A size of memory in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ByteSize(pub(crate) u64);

impl Value for ByteSize {
    const EXPECTED: &'static str = "a size from 64m to 1024g, such as `4g` or `512m`";

    fn from_text(text: &str) -> Option<Self> {
        bytes(text).filter(|bytes| (64 << 20..=1024 << 30).contains(bytes)).map(Self)
    }
}

/// A size on disk in bytes; 0 means that there is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DiskSize(u64);

impl DiskSize {
    fn new(bytes: u64) -> Option<Self> {
        // A few bytes are a forgotten unit.
        (bytes == 0 || (1 << 20..=1 << 50).contains(&bytes)).then_some(Self(bytes))
    }

    /// Returns the size in bytes, 0 for none.
    pub(crate) fn bytes(self) -> u64 {
        self.0
    }

    /// Returns the size in bytes if there is one.
    pub(crate) fn limit(self) -> Option<u64> {
        (self.0 > 0).then_some(self.0)
    }
}

impl Value for DiskSize {
    const EXPECTED: &'static str = "0, or a size from 1m to 1024t, such as `10g` or `500m`";

    fn from_text(text: &str) -> Option<Self> {
        bytes(text).and_then(Self::new)
    }

    fn from_toml(value: &toml::Value) -> Option<Self> {
        match value {
            toml::Value::String(text) => Self::from_text(text),
            other => integer(other).and_then(Self::new),
        }
    }
}

/// How many days something is kept; 0 for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct KeptDays(u32);

impl KeptDays {
    /// Returns after how many days it goes.
    pub(crate) fn limit(self) -> Option<u32> {
        (self.0 > 0).then_some(self.0)
    }
}

impl Value for KeptDays {
    const EXPECTED: &'static str = "a whole number of days from 0 (for ever) to 36500";

    fn from_text(text: &str) -> Option<Self> {
        text.parse().ok().filter(|days| *days <= 36_500).map(Self)
    }

    fn from_toml(value: &toml::Value) -> Option<Self> {
        integer(value).filter(|days| *days <= 36_500).map(Self)
    }
}

/// How many of something are kept; 0 for all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct KeptCount(u64);

impl KeptCount {
    /// Returns beyond how many the oldest go.
    pub(crate) fn limit(self) -> Option<u64> {
        (self.0 > 0).then_some(self.0)
    }
}

impl Value for KeptCount {
    const EXPECTED: &'static str = "a whole number, 0 for all";

    fn from_text(text: &str) -> Option<Self> {
        text.parse().ok().map(Self)
    }

    fn from_toml(value: &toml::Value) -> Option<Self> {
        integer(value).map(Self)
    }
}

/// How many containers wait for jobs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct WarmCount(pub(crate) usize);

impl Value for WarmCount {
    const EXPECTED: &'static str = "a whole number from 0 to 64";

    fn from_text(text: &str) -> Option<Self> {
        text.parse().ok().filter(|count| *count <= 64).map(Self)
    }

    fn from_toml(value: &toml::Value) -> Option<Self> {
        integer(value).filter(|count| *count <= 64).map(Self)
    }
}

impl Value for bool {
    const EXPECTED: &'static str = "`true` or `false`";

    fn from_text(text: &str) -> Option<Self> {
        match text {
            "true" | "1" => Some(true),
            "false" | "0" => Some(false),
            _ => None,
        }
    }

    fn from_toml(value: &toml::Value) -> Option<Self> {
        value.as_bool()
    }
}

/// Who may read the metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MetricsAccess {
    /// Programs on this machine, and administrators.
    Local,
    /// Everybody.
    On,
    /// Administrators.
    Admin,
    /// Nobody.
    Off,
}

impl Value for MetricsAccess {
    const EXPECTED: &'static str = "`local`, `on`, `admin` or `off`";

    fn from_text(text: &str) -> Option<Self> {
        match text {
            "local" => Some(Self::Local),
            "on" => Some(Self::On),
            "admin" => Some(Self::Admin),
            "off" => Some(Self::Off),
            _ => None,
        }
    }
}

impl Value for NetworkMode {
    const EXPECTED: &'static str = "`none` or `bridge`";

    fn from_text(text: &str) -> Option<Self> {
        text.parse().ok()
    }
}

/// Where jobs run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ExecutionBackend {
    /// Each in a container of its own.
    Docker,
    /// As a process of this machine, without a sandbox.
    Local,
}

impl Value for ExecutionBackend {
    const EXPECTED: &'static str = "`docker` or `local`";

    fn from_text(text: &str) -> Option<Self> {
        match text {
            "docker" => Some(Self::Docker),
            "local" => Some(Self::Local),
            _ => None,
        }
    }
}

/// How log lines are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

impl Value for LogFormat {
    const EXPECTED: &'static str = "`text` or `json`";

    fn from_text(text: &str) -> Option<Self> {
        match text {
            "text" => Some(Self::Text),
            "json" => Some(Self::Json),
            _ => None,
        }
    }
}

/// An `http` or `https` address without a slash at its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HttpUrl(pub(crate) String);

impl Value for HttpUrl {
    const EXPECTED: &'static str =
        "an address that begins with http:// or https://, without a user or password";

    fn from_text(text: &str) -> Option<Self> {
        let (_, rest) = text.split_once("://").filter(|(scheme, _)| matches!(*scheme, "http" | "https"))?;
        let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
        let plain = !text.chars().any(|c| c.is_whitespace() || c.is_control());
        (plain && !host.is_empty() && !host.contains('@'))
            .then(|| Self(text.trim_end_matches('/').to_owned()))
    }
}

/// Reads a list: items between commas in text, an array of texts in TOML.
fn list(value: &toml::Value) -> Option<Vec<String>> {
    match value {
        toml::Value::Array(items) => items.iter().map(|item| item.as_str().map(str::to_owned)).collect(),
        toml::Value::String(text) => Some(split(text)),
        _ => None,
    }
}

fn split(text: &str) -> Vec<String> {
    text.split(',').map(str::trim).filter(|item| !item.is_empty()).map(str::to_owned).collect()
}

/// Web origins, such as `https://claw.example.org`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Origins(pub(crate) Vec<String>);

impl Origins {
    fn new(items: Vec<String>) -> Option<Self> {
        let is_origin = |item: &String| {
            let host = item.strip_prefix("https://").or_else(|| item.strip_prefix("http://"));
            host.is_some_and(|host| !host.is_empty() && !host.contains(['/', '@', '*', '?', '#']))
        };
        items.iter().all(is_origin).then_some(Self(items))
    }
}

impl Value for Origins {
    const EXPECTED: &'static str =
        "origins such as `https://claw.example.org`, each with scheme and host, without path and without `*`";

    fn from_text(text: &str) -> Option<Self> {
        Self::new(split(text))
    }

    fn from_toml(value: &toml::Value) -> Option<Self> {
        list(value).and_then(Self::new)
    }
}

/// Host names, such as `claw.example.org`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct HostNames(pub(crate) Vec<String>);

impl HostNames {
    fn new(items: Vec<String>) -> Option<Self> {
        let is_host = |item: &String| !item.is_empty() && !item.contains(['/', '@', '*', '?', '#', ' ']);
        items.iter().all(is_host).then_some(Self(items))
    }
}

impl Value for HostNames {
    const EXPECTED: &'static str = "host names such as `claw.example.org`, without scheme, path and `*`";

    fn from_text(text: &str) -> Option<Self> {
        Self::new(split(text))
    }

    fn from_toml(value: &toml::Value) -> Option<Self> {
        list(value).and_then(Self::new)
    }
}

/// Addresses and networks, such as `10.0.0.0/8`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Networks(pub(crate) Vec<(IpAddr, u8)>);

impl Networks {
    fn new(items: Vec<String>) -> Option<Self> {
        items.iter().map(|item| network(item)).collect::<Option<_>>().map(Self)
    }
}

fn network(text: &str) -> Option<(IpAddr, u8)> {
    let (address, length) = match text.split_once('/') {
        Some((address, length)) => (address, Some(length)),
        None => (text, None),
    };
    let address: IpAddr = address.parse().ok()?;
    let longest = if address.is_ipv4() { 32 } else { 128 };
    let length = match length {
        // Everybody is no proxy.
        Some(length) => length.parse().ok().filter(|length| (1..=longest).contains(length))?,
        None => longest,
    };
    Some((address, length))
}

impl Value for Networks {
    const EXPECTED: &'static str = "IP addresses or networks such as `10.0.0.1` or `fd00::/8`";

    fn from_text(text: &str) -> Option<Self> {
        Self::new(split(text))
    }

    fn from_toml(value: &toml::Value) -> Option<Self> {
        list(value).and_then(Self::new)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_with_their_unit_and_within_their_range() {
        for (text, expected) in [
            ("4g", Some(4 << 30)),
            ("512M", Some(512 << 20)),
            ("1GiB", Some(1 << 30)),
            ("67108864", Some(64 << 20)),
            ("63m", None),
            ("1025g", None),
            ("4 g", None),
            ("g", None),
            ("-4g", None),
            ("99999999999999999999g", None),
        ] {
            assert_eq!(ByteSize::from_text(text).map(|size| size.0), expected, "{text}");
        }
    }

    #[test]
    fn a_size_on_disk_may_be_none_and_a_forgotten_unit_is_refused() {
        for (text, expected) in [("0", Some(0)), ("10g", Some(10 << 30)), ("2t", Some(2 << 40)), ("10", None)]
        {
            assert_eq!(DiskSize::from_text(text).map(DiskSize::bytes), expected, "{text}");
        }
        assert_eq!(DiskSize::from_toml(&toml::Value::Integer(0)).and_then(DiskSize::limit), None);
    }

    #[test]
    fn what_is_kept_for_ever_has_no_limit() {
        assert_eq!(KeptDays::from_text("0").map(KeptDays::limit), Some(None));
        assert_eq!(KeptDays::from_text("7").map(KeptDays::limit), Some(Some(7)));
        assert_eq!(KeptDays::from_text("-1"), None);
        assert_eq!(KeptCount::from_toml(&toml::Value::Integer(5)).map(KeptCount::limit), Some(Some(5)));
    }

    #[test]
    fn networks_have_a_length_that_fits_their_kind() {
        let address = |text: &str| text.parse::<IpAddr>().expect(text);
        let networks = Networks::from_text("10.0.0.0/8, ::1").expect("two").0;
        assert_eq!(networks, [(address("10.0.0.0"), 8), (address("::1"), 128)]);
        for text in ["proxy.example.org", "10.0.0.0/33", "10.0.0.0/-1", "0.0.0.0/0", "10.0.0/8"] {
            assert_eq!(Networks::from_text(text), None, "{text}");
        }
    }

    #[test]
    fn an_unknown_backend_is_an_error_and_never_the_host() {
        for text in ["", "Docker", "host", "none", "podman"] {
            assert_eq!(ExecutionBackend::from_text(text), None, "{text}");
        }
    }

    #[test]
    fn a_wildcard_is_neither_an_origin_nor_a_host() {
        for text in ["*", "https://*", "https://a.example/path", "a.example"] {
            assert_eq!(Origins::from_text(text), None, "{text}");
        }
        assert_eq!(Origins::from_text("https://a, http://b:1 ,").map(|list| list.0.len()), Some(2));
        assert_eq!(HostNames::from_text("*.example.org"), None);
    }

    #[test]
    fn numbers_that_are_not_numbers_are_refused() {
        assert_eq!(CpuLimit::from_text("NaN"), None);
        assert_eq!(Dollars::from_text("inf"), None);
        assert_eq!(Dollars::from_toml(&toml::Value::Integer(5)), Some(Dollars(5.0)));
        assert_eq!(NonZeroUsize::from_text("0"), None);
        assert_eq!(Duration::from_toml(&toml::Value::Integer(-1)), None);
    }

    #[test]
    fn an_address_is_an_ip_address_and_a_port() {
        assert_eq!(SocketAddr::from_text("localhost:80").map(|a| a.to_string()), Some("127.0.0.1:80".into()));
        for text in ["5179", "127.0.0.1", "example.org:80", "localhost:x", "127.0.0.1:99999"] {
            assert_eq!(SocketAddr::from_text(text), None, "{text}");
        }
    }
}
