//! The closed model of what can be asked for.

use std::{collections::BTreeMap, net::IpAddr, time::Duration};

/// Everything any door can express about one container. What has no field here cannot be asked for.
///
/// The fields that only ever weaken the isolation are here too, so that a door can hand on what it was asked and the
/// refusal can say which rule it broke.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ContainerWish {
    /// Name. Without one, the Engine picks one.
    pub name: Option<String>,
    /// Image reference.
    pub image: String,
    /// Arguments; replaces the image's own.
    pub command: Option<Vec<String>>,
    /// Program; replaces the image's own.
    pub entrypoint: Option<Vec<String>>,
    /// Variables beyond the image's own.
    pub environment: Vec<(String, String)>,
    /// Ports of the container, and where they are published.
    pub ports: Vec<PortWish>,
    /// What is mounted.
    pub mounts: Vec<MountWish>,
    /// Networks to join, by name. Not together with `network_mode`.
    pub networks: Vec<String>,
    /// Instead of networks: `bridge`, `none`, or the forms that are refused (`host`, `container:…`).
    pub network_mode: Option<String>,
    /// What happens when the program ends.
    pub restart: RestartWish,
    /// User and group inside, by name or number.
    pub user: Option<String>,
    /// Folder inside to start in.
    pub working_dir: Option<String>,
    /// Host name inside.
    pub hostname: Option<String>,
    /// All capabilities and devices at once.
    pub privileged: bool,
    /// Capabilities to add.
    pub cap_add: Vec<String>,
    /// Capabilities to drop.
    pub cap_drop: Vec<String>,
    /// Devices of the host.
    pub devices: Vec<DeviceWish>,
    /// All graphics processors.
    pub gpus: bool,
    /// Security options.
    pub security_opt: Vec<String>,
    /// Kernel parameters.
    pub sysctls: BTreeMap<String, String>,
    /// Process limits by name: soft and hard.
    pub ulimits: BTreeMap<String, (i64, i64)>,
    /// Process namespace.
    pub pid: Option<String>,
    /// Namespace of shared memory.
    pub ipc: Option<String>,
    /// Namespace of the host name.
    pub uts: Option<String>,
    /// User namespace.
    pub userns: Option<String>,
    /// Control-group namespace.
    pub cgroupns: Option<String>,
    /// Control group to be put under.
    pub cgroup_parent: Option<String>,
    /// OCI runtime.
    pub runtime: Option<String>,
    /// Containers whose mounts are taken over.
    pub volumes_from: Vec<String>,
    /// Further groups inside, by name or number.
    pub group_add: Vec<String>,
    /// Lines of the hosts file: `name:address`.
    pub extra_hosts: Vec<String>,
    /// Name servers.
    pub dns: Vec<String>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// How to tell whether it is healthy. Without one, the image's own.
    pub healthcheck: Option<HealthWish>,
    /// Whether the root file system cannot be written.
    pub read_only: bool,
    /// Whether an init process that reaps is put in front.
    pub init: Option<bool>,
    /// Size of `/dev/shm`.
    pub shm_bytes: Option<u64>,
    /// How long it may take to stop before it is killed.
    pub stop_grace: Option<Duration>,
    /// Signal that asks it to stop.
    pub stop_signal: Option<String>,
    /// Memory limit.
    pub memory_bytes: Option<u64>,
    /// Limit of processor cores.
    pub cpus: Option<f64>,
    /// Limit of processes and threads.
    pub pids: Option<u32>,
    /// Who goes first when memory runs short on the host: higher goes first.
    pub oom_score_adj: Option<i32>,
    /// Whether it has a terminal.
    pub tty: bool,
    /// Whether its standard input is kept open.
    pub stdin: bool,
    /// How its output is kept.
    pub log: Option<LogWish>,
}

/// One port of a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortWish {
    /// Port inside.
    pub container: u16,
    /// Its protocol.
    pub protocol: Protocol,
    /// Port of the host. `None`: not published; `Some(0)`: any free one.
    pub host: Option<u16>,
    /// Address of the host. `None`: all of them.
    pub address: Option<IpAddr>,
}

/// Protocol of a port.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    /// TCP.
    #[default]
    Tcp,
    /// UDP.
    Udp,
}

impl Protocol {
    /// Returns the protocol as Docker writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        }
    }
}

/// One mount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MountWish {
    /// What is mounted.
    pub source: MountWishSource,
    /// Where in the container, absolute.
    pub target: String,
    /// Whether writing is refused.
    pub read_only: bool,
    /// How mounts below it spread between host and container.
    pub propagation: Option<String>,
}

/// What can be mounted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MountWishSource {
    /// A file or folder of the Engine's host, absolute.
    Bind(String),
    /// A named volume, made when it does not exist.
    Volume {
        /// Its name.
        name: String,
        /// Its driver. `None`: the Engine's own.
        driver: Option<String>,
        /// Options of the driver.
        options: BTreeMap<String, String>,
    },
    /// A new volume without a name.
    Anonymous,
    /// A file system in memory.
    Tmpfs {
        /// Its size.
        bytes: Option<u64>,
    },
}

/// What happens when the program of a container ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RestartWish {
    /// Nothing.
    #[default]
    No,
    /// It is started again, also after the Engine was restarted.
    Always,
    /// It is started again unless somebody stopped it.
    UnlessStopped,
    /// It is started again when it failed, at most so often.
    OnFailure(Option<u32>),
}

/// One device of the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceWish {
    /// Path on the host.
    pub host: String,
    /// Path inside. `None`: the same.
    pub container: Option<String>,
    /// Any of `r`, `w` and `m`. `None`: all.
    pub permissions: Option<String>,
}

/// How to tell whether a container is healthy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HealthWish {
    /// `["NONE"]`, `["CMD", program, …]` or `["CMD-SHELL", line]`; empty: the image's own test.
    pub test: Vec<String>,
    /// Time between two tests.
    pub interval: Option<Duration>,
    /// Longest time for one test.
    pub timeout: Option<Duration>,
    /// Failures in a row that make it unhealthy.
    pub retries: Option<u32>,
    /// Time after the start in which failures do not count.
    pub start_period: Option<Duration>,
}

/// How the output of a container is kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogWish {
    /// The log driver. `None`: the default of the policy.
    pub driver: Option<String>,
    /// Its options.
    pub options: BTreeMap<String, String>,
}

/// A network that a compose project makes for itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NetworkWish {
    /// Its name.
    pub name: String,
    /// Its driver. `None`: `bridge`.
    pub driver: Option<String>,
    /// Options of the driver.
    pub options: BTreeMap<String, String>,
    /// Whether nothing outside can be reached from it.
    pub internal: bool,
    /// Whether containers get IPv6 addresses.
    pub ipv6: bool,
    /// Address ranges.
    pub subnets: Vec<String>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
}
