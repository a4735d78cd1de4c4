//! The policy and its file.

use std::{collections::BTreeSet, fmt};

use claw_core::{Coded, ErrorCode};
use serde::{Deserialize, Serialize};

use super::{capability, judge::subnet::Subnet, path};

/// What may be created on Docker.
///
/// The default permits what an ordinary app needs and nothing with which it could reach the host or other apps.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Policy {
    pub(super) rules: Rules,
}

/// Why a policy file cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("the policy cannot be used: {reason}")]
pub struct PolicyError {
    reason: String,
}

impl Coded for PolicyError {
    fn code(&self) -> ErrorCode {
        ErrorCode::InvalidRequest
    }
}

impl Policy {
    /// Reads a policy file. What it does not say stays as in the default.
    ///
    /// # Errors
    ///
    /// Returns the place and what was expected there: no TOML, a name that is not known, or a value that would permit
    /// what no policy permits.
    pub fn parse(toml: &str) -> Result<Self, PolicyError> {
        let rules: Rules = toml::from_str(toml)
            .map_err(|error| PolicyError { reason: error.to_string().trim_end().to_owned() })?;
        Ok(Self { rules: rules.checked().map_err(|reason| PolicyError { reason })? })
    }

    /// Returns a file that says what the default is, with comments.
    pub fn sample() -> &'static str {
        include_str!("sample.toml")
    }

    /// Returns this policy as a file, without comments.
    pub fn to_toml(&self) -> String {
        // The file's own types hold nothing that TOML cannot say.
        toml::to_string(&self.rules).unwrap_or_default()
    }
}

macro_rules! section {
    ($(#[$doc:meta])* $name:ident { $($field:ident: $kind:ty = $default:expr,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
        #[serde(default, deny_unknown_fields)]
        pub(super) struct $name { $(pub(super) $field: $kind,)* }

        impl Default for $name {
            fn default() -> Self {
                Self { $($field: $default,)* }
            }
        }
    };
}

/// The file. What each line means stands in the sample.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Rules {
    pub(super) images: Images,
    pub(super) mounts: Mounts,
    pub(super) ports: Ports,
    pub(super) networks: Networks,
    pub(super) namespaces: Namespaces,
    pub(super) powers: Powers,
    pub(super) labels: Labels,
    pub(super) limits: Limits,
    pub(super) log: Log,
}

section! {
    /// `[images]`
    Images { registries: Vec<String> = Vec::new(), }
}

section! {
    /// `[mounts]`
    Mounts {
        roots: Vec<Root> = Vec::new(),
        read_only_paths: Vec<String> = texts(&["/etc/localtime", "/etc/timezone"]),
        volumes: Vec<String> = Vec::new(),
        nested: bool = false,
        docker_socket: bool = false,
    }
}

section! {
    /// `[ports]`
    Ports { low: BTreeSet<u16> = BTreeSet::from([53, 80, 443, 853]), }
}

section! {
    /// `[networks]`
    Networks {
        drivers: Vec<String> = texts(&["bridge"]),
        subnets: Vec<Subnet> = Vec::new(),
    }
}

section! {
    /// `[namespaces]`
    Namespaces { host: Vec<Namespace> = Vec::new(), }
}

section! {
    /// `[powers]`
    Powers {
        capabilities: Vec<String> = Vec::new(),
        devices: Vec<String> = Vec::new(),
        gpus: bool = false,
        sysctls: Vec<String> = Vec::new(),
        runtimes: Vec<String> = Vec::new(),
        new_privileges: bool = false,
    }
}

section! {
    /// `[labels]`
    Labels { allowed: Vec<String> = Vec::new(), }
}

section! {
    /// `[limits]`
    Limits {
        pids: u32 = 4096,
        memory: Option<Bytes> = None,
        cpus: Option<f64> = None,
        shm: Bytes = Bytes(2 << 30),
        tmpfs: Bytes = Bytes(1 << 30),
    }
}

section! {
    /// `[log]`
    Log {
        drivers: Vec<String> = texts(&["json-file", "local", "none"]),
        max_size: Bytes = Bytes(10 << 20),
        max_files: u32 = 3,
        most: Bytes = Bytes(256 << 20),
    }
}

/// A folder below which files and folders may be mounted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Root {
    /// Where it is on the Engine's host.
    pub(super) path: String,
    /// Whether it may be mounted for reading only.
    #[serde(default)]
    pub(super) read_only: bool,
    /// Where this program sees it, if elsewhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) seen_at: Option<String>,
}

/// A namespace that can be shared with the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Namespace {
    Network,
    Pid,
    Ipc,
    Uts,
    User,
    Cgroup,
}

impl Namespace {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Network => "network",
            Self::Pid => "pid",
            Self::Ipc => "ipc",
            Self::Uts => "uts",
            Self::User => "user",
            Self::Cgroup => "cgroup",
        }
    }
}

/// A number of bytes, written as `512m` or `2g`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(super) struct Bytes(pub(super) u64);

impl Bytes {
    /// Reads a whole number with one of the letters `b`, `k`, `m`, `g` and `t`, or none, as Docker does.
    pub(super) fn read(text: &str) -> Option<u64> {
        let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
        let shift = match text[digits.len()..].to_ascii_lowercase().as_str() {
            "" | "b" => 0,
            "k" | "kb" | "kib" => 10,
            "m" | "mb" | "mib" => 20,
            "g" | "gb" | "gib" => 30,
            "t" | "tb" | "tib" => 40,
            _ => return None,
        };
        if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        digits.parse::<u64>().ok()?.checked_mul(1 << shift)
    }
}

impl TryFrom<String> for Bytes {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        Self::read(&text)
            .map(Self)
            .ok_or_else(|| format!("`{text}` is no size: expected one such as 512m or 2g"))
    }
}

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (mut value, mut unit) = (self.0, "b");
        for next in ["k", "m", "g", "t"] {
            if value == 0 || !value.is_multiple_of(1024) {
                break;
            }
            (value, unit) = (value / 1024, next);
        }
        write!(f, "{value}{unit}")
    }
}

impl From<Bytes> for String {
    fn from(bytes: Bytes) -> Self {
        bytes.to_string()
    }
}

impl Rules {
    /// Brings names into their one spelling, and refuses what no policy permits.
    fn checked(mut self) -> Result<Self, String> {
        for registry in &mut self.images.registries {
            let plain = registry.trim_end_matches('/').to_ascii_lowercase();
            if plain.is_empty() || plain.contains([' ', '@', '*']) || plain.contains("//") {
                return Err(format!(
                    "images.registries: `{registry}` is no registry: expected one such as ghcr.io or docker.io/library"
                ));
            }
            *registry = plain;
        }
        for root in &mut self.mounts.roots {
            root.path = root_path(&root.path)?;
            if let Some(seen_at) = &mut root.seen_at {
                *seen_at = absolute("mounts.roots: seen_at", seen_at)?;
            }
        }
        for path in &mut self.mounts.read_only_paths {
            *path = absolute("mounts.read_only_paths", path)?;
            if path::is_kernels(path) || path::is_engine_socket(path) {
                return Err(format!("mounts.read_only_paths: no policy permits `{path}`"));
            }
        }
        for capability in &mut self.powers.capabilities {
            let name = capability::normal(capability);
            if capability::is_too_much(&name) {
                return Err(format!(
                    "powers.capabilities: {name} amounts to the whole host; no policy permits it"
                ));
            }
            if !capability::is_known(&name) {
                return Err(format!("powers.capabilities: there is no capability `{capability}`"));
            }
            *capability = name;
        }
        for device in &mut self.powers.devices {
            *device = absolute("powers.devices", device)?;
            if device == "/dev" || !path::is_beneath(device, "/dev") {
                return Err(format!("powers.devices: `{device}` is no device: expected a path below /dev"));
            }
        }
        if let Some(cpus) = self.limits.cpus
            && !(cpus.is_finite() && cpus > 0.0)
        {
            return Err("limits.cpus: expected a number above 0".to_owned());
        }
        if self.limits.pids == 0 {
            return Err("limits.pids: expected a number above 0".to_owned());
        }
        if self.log.max_files == 0 || self.log.max_size.0 == 0 {
            return Err("log: expected max_size and max_files above 0".to_owned());
        }
        if self.log.max_size.0.saturating_mul(u64::from(self.log.max_files)) > self.log.most.0 {
            return Err("log: max_size times max_files is more than most".to_owned());
        }
        if self.log.drivers.is_empty() {
            return Err("log.drivers: expected at least one".to_owned());
        }
        Ok(self)
    }
}

fn absolute(place: &str, path: &str) -> Result<String, String> {
    path::normal(path)
        .map(std::borrow::Cow::into_owned)
        .ok_or_else(|| format!("{place}: `{path}` is no absolute path without `..`"))
}

/// Below a root, everything may be mounted, so a root may neither be, hold nor lie in what belongs to the system.
fn root_path(path: &str) -> Result<String, String> {
    let path = absolute("mounts.roots", path)?;
    match path::system_part(&path) {
        Some(part) => Err(format!(
            "mounts.roots: `{path}` would give away `{part}` of the host; choose a folder of its own, or name single \
             files in mounts.read_only_paths"
        )),
        None => Ok(path),
    }
}

fn texts(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|&text| text.to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sample_says_the_default() {
        assert_eq!(Policy::parse(Policy::sample()).expect("readable"), Policy::default());
    }

    #[test]
    fn the_sample_names_every_line_there_is() {
        let mut all = Policy::default();
        all.rules.limits.memory = Some(Bytes(8 << 30));
        all.rules.limits.cpus = Some(4.0);
        let uncommented = Policy::sample().replace("# memory =", "memory =").replace("# cpus =", "cpus =");

        assert_eq!(Policy::parse(&uncommented).expect("readable"), all);
        let sample: toml::Table = uncommented.parse().expect("TOML");
        let written: toml::Table = all.to_toml().parse().expect("TOML");
        for (section, lines) in &written {
            for line in lines.as_table().expect("a section").keys() {
                assert!(
                    sample[section].as_table().expect("a section").contains_key(line),
                    "{section}.{line}"
                );
            }
        }
    }

    #[test]
    fn a_policy_is_written_and_read_again() {
        let policy = Policy::parse(
            "mounts.roots = [{ path = '/srv/media/', seen_at = '/host/media' }]\npowers.capabilities = ['cap_net_admin']\n\
             limits.memory = '1536m'\nnamespaces.host = ['network', 'pid']\nnetworks.subnets = ['172.28.0.0/14']",
        )
        .expect("readable");

        assert_eq!(Policy::parse(&policy.to_toml()).expect("readable"), policy);
        assert_eq!(policy.rules.mounts.roots[0].path, "/srv/media");
        assert_eq!(policy.rules.powers.capabilities, ["NET_ADMIN"]);
    }

    #[test]
    fn what_is_not_understood_or_never_permitted_is_refused_with_its_place() {
        for (file, told) in [
            ("mount.roots = []", "unknown field `mount`"),
            ("[mounts]\nrots = []", "unknown field `rots`"),
            ("mounts.roots = [{ path = '/srv', readonly = true }]", "unknown field `readonly`"),
            ("mounts.roots = ['/srv']", "invalid type"),
            ("powers.privileged = true", "unknown field `privileged`"),
            ("powers.gpus = 'yes'", "expected a boolean"),
            ("[powers]\ngpus = true\ngpus = false", "duplicate key"),
            ("limits.shm = '2x'", "such as 512m"),
            ("limits.shm = '-1g'", "such as 512m"),
            ("limits.shm = '99999999t'", "such as 512m"),
            ("limits.cpus = 0", "limits.cpus"),
            ("limits.cpus = nan", "limits.cpus"),
            ("limits.pids = 0", "limits.pids"),
            ("limits.pids = -1", "limits"),
            ("mounts.roots = [{ path = 'srv' }]", "absolute path"),
            ("mounts.roots = [{ path = '/srv/../etc' }]", "absolute path"),
            ("mounts.roots = [{ path = '/' }]", "would give away"),
            ("mounts.roots = [{ path = '/var' }]", "would give away"),
            ("mounts.roots = [{ path = '/var/lib/docker/volumes' }]", "would give away"),
            ("mounts.roots = [{ path = '/etc/nginx' }]", "would give away"),
            ("mounts.roots = [{ path = '//run/' }]", "would give away"),
            ("mounts.read_only_paths = ['/proc/kcore']", "no policy permits"),
            ("mounts.read_only_paths = ['/var/run/docker.sock']", "no policy permits"),
            ("mounts.read_only_paths = ['/']", "no policy permits"),
            ("powers.capabilities = ['ALL']", "no policy permits"),
            ("powers.capabilities = ['CAP_SYS_ADMIN']", "no policy permits"),
            ("powers.capabilities = ['NET_ADMINS']", "no capability"),
            ("powers.devices = ['/dev']", "below /dev"),
            ("powers.devices = ['/etc/passwd']", "below /dev"),
            ("namespaces.host = ['all']", "unknown variant"),
            ("networks.subnets = ['172.28.0.0/99']", "no address range"),
            ("images.registries = ['']", "no registry"),
            ("images.registries = ['*']", "no registry"),
            ("log.drivers = []", "at least one"),
            ("log.max_files = 0", "above 0"),
            ("log.most = '1m'", "more than most"),
            ("ports.low = [70000]", "ports"),
        ] {
            let error = Policy::parse(file).expect_err(file).to_string();
            assert!(error.contains(told), "{file}: {error}");
        }
    }

    #[test]
    fn sizes_are_written_as_they_are_read() {
        for text in ["1g", "1536m", "10k", "7b", "0b", "2t"] {
            let bytes = Bytes::try_from(text.to_owned()).expect(text);
            assert_eq!(bytes.to_string(), text);
        }
        assert_eq!(Bytes::read("64MB"), Some(64 << 20));
        assert_eq!(Bytes::read("64"), Some(64));
        for text in ["", "m", "1.5g", "1 g", "+1g", "１g", "18446744073709551616", "1gg"] {
            assert_eq!(Bytes::read(text), None, "{text}");
        }
    }
}
