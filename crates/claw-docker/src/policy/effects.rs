//! What every field of the Engine's requests can bring about, and whether we send it.
//!
//! A request to the Engine has some two hundred fields, and new versions add more. Each is classified here; a test holds
//! this table against the types of the client library, so that a new field is not sent by accident but decided on.

/// Whether, and from where, a field is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    /// Set from this field of what was approved.
    FromWish(&'static str),
    /// Always set to this JSON value.
    Always(&'static str),
    /// Set in the sandboxes of jobs alone, to values of our own.
    Sandbox,
    /// Never set: the Engine's default holds.
    Never,
}

/// One object of a request, with all of its fields.
#[derive(Clone, Copy, Debug)]
pub struct RequestObject {
    /// Its name in the Engine's description.
    pub name: &'static str,
    /// Its fields.
    pub fields: &'static [(&'static str, Sent)],
}

use Sent::{Always, FromWish, Never, Sandbox};

/// Every object of the requests with which something is made or changed.
pub const EFFECTS: &[RequestObject] = &[
    RequestObject {
        name: "ContainerCreateBody",
        fields: &[
            ("Hostname", FromWish("hostname")),
            ("Domainname", Never),
            ("User", FromWish("user")),
            ("AttachStdin", Always("false")),
            ("AttachStdout", Always("false")),
            ("AttachStderr", Always("false")),
            ("ExposedPorts", FromWish("ports")),
            ("Tty", FromWish("tty")),
            ("OpenStdin", FromWish("stdin")),
            ("StdinOnce", Always("false")),
            ("Env", FromWish("environment")),
            ("Cmd", FromWish("command")),
            ("Healthcheck", FromWish("healthcheck")),
            ("ArgsEscaped", Never),
            ("Image", FromWish("image")),
            ("Volumes", Never),
            ("WorkingDir", FromWish("working_dir")),
            ("Entrypoint", FromWish("entrypoint")),
            ("NetworkDisabled", Never),
            ("MacAddress", Never),
            ("OnBuild", Never),
            ("Labels", FromWish("labels")),
            ("StopSignal", FromWish("stop_signal")),
            ("StopTimeout", FromWish("stop_grace")),
            ("Shell", Never),
            ("HostConfig", FromWish("")),
            ("NetworkingConfig", FromWish("networks")),
        ],
    },
    RequestObject {
        name: "HostConfig",
        fields: &[
            ("CpuShares", Never),
            ("Memory", FromWish("memory_bytes")),
            ("CgroupParent", Never),
            ("BlkioWeight", Never),
            ("BlkioWeightDevice", Never),
            ("BlkioDeviceReadBps", Never),
            ("BlkioDeviceWriteBps", Never),
            ("BlkioDeviceReadIOps", Never),
            ("BlkioDeviceWriteIOps", Never),
            ("CpuPeriod", Never),
            ("CpuQuota", Never),
            ("CpuRealtimePeriod", Never),
            ("CpuRealtimeRuntime", Never),
            ("CpusetCpus", Never),
            ("CpusetMems", Never),
            ("Devices", FromWish("devices")),
            ("DeviceCgroupRules", Never),
            ("DeviceRequests", FromWish("gpus")),
            ("KernelMemoryTCP", Never),
            ("MemoryReservation", Never),
            ("MemorySwap", Sandbox),
            ("MemorySwappiness", Never),
            ("NanoCpus", FromWish("cpus")),
            ("OomKillDisable", Never),
            ("Init", FromWish("init")),
            ("PidsLimit", FromWish("pids")),
            ("Ulimits", FromWish("ulimits")),
            ("CpuCount", Never),
            ("CpuPercent", Never),
            ("IOMaximumIOps", Never),
            ("IOMaximumBandwidth", Never),
            ("Binds", Never),
            ("ContainerIDFile", Never),
            ("LogConfig", FromWish("log")),
            ("NetworkMode", FromWish("network_mode")),
            ("PortBindings", FromWish("ports")),
            ("RestartPolicy", FromWish("restart")),
            ("AutoRemove", Always("false")),
            ("VolumeDriver", Never),
            ("VolumesFrom", Never),
            ("Mounts", FromWish("mounts")),
            ("ConsoleSize", Never),
            ("Annotations", Never),
            ("CapAdd", FromWish("cap_add")),
            ("CapDrop", FromWish("cap_drop")),
            ("CgroupnsMode", FromWish("cgroupns")),
            ("Dns", FromWish("dns")),
            ("DnsOptions", Never),
            ("DnsSearch", Never),
            ("ExtraHosts", FromWish("extra_hosts")),
            ("GroupAdd", FromWish("group_add")),
            ("IpcMode", FromWish("ipc")),
            ("Cgroup", Never),
            ("Links", Never),
            ("OomScoreAdj", FromWish("oom_score_adj")),
            ("PidMode", FromWish("pid")),
            ("Privileged", Always("false")),
            ("PublishAllPorts", Always("false")),
            ("ReadonlyRootfs", FromWish("read_only")),
            ("SecurityOpt", FromWish("security_opt")),
            ("StorageOpt", Never),
            ("Tmpfs", Sandbox),
            ("UTSMode", FromWish("uts")),
            ("UsernsMode", FromWish("userns")),
            ("ShmSize", FromWish("shm_bytes")),
            ("Sysctls", FromWish("sysctls")),
            ("Runtime", FromWish("runtime")),
            ("Isolation", Never),
            ("MaskedPaths", Never),
            ("ReadonlyPaths", Never),
        ],
    },
    RequestObject { name: "NetworkingConfig", fields: &[("EndpointsConfig", FromWish("networks"))] },
    RequestObject {
        name: "EndpointSettings",
        fields: &[
            ("IPAMConfig", Never),
            ("Links", Never),
            ("MacAddress", Never),
            ("Aliases", Never),
            ("DriverOpts", Never),
            ("GwPriority", Never),
            ("NetworkID", Never),
            ("EndpointID", Never),
            ("Gateway", Never),
            ("IPAddress", Never),
            ("IPPrefixLen", Never),
            ("IPv6Gateway", Never),
            ("GlobalIPv6Address", Never),
            ("GlobalIPv6PrefixLen", Never),
            ("DNSNames", Never),
        ],
    },
    RequestObject {
        name: "Mount",
        fields: &[
            ("Target", FromWish("mounts.target")),
            ("Source", FromWish("mounts.source")),
            ("Type", FromWish("mounts.source")),
            ("ReadOnly", FromWish("mounts.read_only")),
            ("Consistency", Never),
            ("BindOptions", FromWish("mounts.source")),
            ("VolumeOptions", Sandbox),
            ("ImageOptions", Never),
            ("TmpfsOptions", FromWish("mounts.source")),
        ],
    },
    RequestObject {
        name: "MountBindOptions",
        fields: &[
            ("Propagation", Always("\"rprivate\"")),
            ("NonRecursive", Sandbox),
            ("CreateMountpoint", FromWish("mounts.source")),
            ("ReadOnlyNonRecursive", Never),
            ("ReadOnlyForceRecursive", Never),
        ],
    },
    RequestObject {
        name: "MountVolumeOptions",
        fields: &[("NoCopy", Sandbox), ("Labels", Sandbox), ("DriverConfig", Never), ("Subpath", Never)],
    },
    RequestObject {
        name: "MountTmpfsOptions",
        fields: &[("SizeBytes", FromWish("mounts.source")), ("Mode", Never), ("Options", Never)],
    },
    RequestObject {
        name: "HealthConfig",
        fields: &[
            ("Test", FromWish("healthcheck.test")),
            ("Interval", FromWish("healthcheck.interval")),
            ("Timeout", FromWish("healthcheck.timeout")),
            ("Retries", FromWish("healthcheck.retries")),
            ("StartPeriod", FromWish("healthcheck.start_period")),
            ("StartInterval", Never),
        ],
    },
    RequestObject {
        name: "RestartPolicy",
        fields: &[("Name", FromWish("restart")), ("MaximumRetryCount", FromWish("restart"))],
    },
    RequestObject {
        name: "HostConfigLogConfig",
        fields: &[("Type", FromWish("log.driver")), ("Config", FromWish("log.options"))],
    },
    RequestObject {
        name: "PortBinding",
        fields: &[("HostIp", FromWish("ports.address")), ("HostPort", FromWish("ports.host"))],
    },
    RequestObject {
        name: "ResourcesUlimits",
        fields: &[
            ("Name", FromWish("ulimits")),
            ("Soft", FromWish("ulimits")),
            ("Hard", FromWish("ulimits")),
        ],
    },
    RequestObject {
        name: "DeviceMapping",
        fields: &[
            ("PathOnHost", FromWish("devices.host")),
            ("PathInContainer", FromWish("devices.container")),
            ("CgroupPermissions", FromWish("devices.permissions")),
        ],
    },
    RequestObject {
        name: "DeviceRequest",
        fields: &[
            ("Driver", Never),
            ("Count", Always("-1")),
            ("DeviceIDs", Never),
            ("Capabilities", Always("[[\"gpu\"]]")),
            ("Options", Never),
        ],
    },
    // A container joins its further networks by this before it starts.
    RequestObject {
        name: "NetworkConnectRequest",
        fields: &[("Container", FromWish("networks")), ("EndpointConfig", Never)],
    },
    // What exists is not changed in place: it is made anew, and judged as new.
    RequestObject {
        name: "ContainerUpdateBody",
        fields: &[
            ("CpuShares", Never),
            ("Memory", Never),
            ("CgroupParent", Never),
            ("BlkioWeight", Never),
            ("BlkioWeightDevice", Never),
            ("BlkioDeviceReadBps", Never),
            ("BlkioDeviceWriteBps", Never),
            ("BlkioDeviceReadIOps", Never),
            ("BlkioDeviceWriteIOps", Never),
            ("CpuPeriod", Never),
            ("CpuQuota", Never),
            ("CpuRealtimePeriod", Never),
            ("CpuRealtimeRuntime", Never),
            ("CpusetCpus", Never),
            ("CpusetMems", Never),
            ("Devices", Never),
            ("DeviceCgroupRules", Never),
            ("DeviceRequests", Never),
            ("KernelMemoryTCP", Never),
            ("MemoryReservation", Never),
            ("MemorySwap", Never),
            ("MemorySwappiness", Never),
            ("NanoCpus", Never),
            ("OomKillDisable", Never),
            ("Init", Never),
            ("PidsLimit", Never),
            ("Ulimits", Never),
            ("CpuCount", Never),
            ("CpuPercent", Never),
            ("IOMaximumIOps", Never),
            ("IOMaximumBandwidth", Never),
            ("RestartPolicy", Never),
        ],
    },
    // A program that is run in a container. It has what the container has, and never more.
    RequestObject {
        name: "ExecConfig",
        fields: &[
            ("AttachStdin", Always("false")),
            ("AttachStdout", Always("true")),
            ("AttachStderr", Always("true")),
            ("ConsoleSize", Never),
            ("DetachKeys", Never),
            ("Tty", Always("false")),
            ("Env", FromWish("environment")),
            ("Cmd", FromWish("command")),
            ("Privileged", Always("false")),
            ("User", FromWish("user")),
            ("WorkingDir", FromWish("working_dir")),
        ],
    },
    RequestObject {
        name: "ExecStartConfig",
        fields: &[("Detach", Always("false")), ("Tty", Always("false")), ("ConsoleSize", Never)],
    },
    // Volumes come into being by being mounted, and then have no options. Networks are made by compose, from
    // what was approved.
    RequestObject {
        name: "VolumeCreateRequest",
        fields: &[
            ("Name", Never),
            ("Driver", Never),
            ("DriverOpts", Never),
            ("Labels", Never),
            ("ClusterVolumeSpec", Never),
        ],
    },
    RequestObject {
        name: "NetworkCreateRequest",
        fields: &[
            ("Name", Never),
            ("Driver", Never),
            ("Scope", Never),
            ("Internal", Never),
            ("Attachable", Never),
            ("Ingress", Never),
            ("ConfigOnly", Never),
            ("ConfigFrom", Never),
            ("IPAM", Never),
            ("EnableIPv4", Never),
            ("EnableIPv6", Never),
            ("Options", Never),
            ("Labels", Never),
        ],
    },
    // No image is built from here.
    RequestObject {
        name: "BuildImageOptions",
        fields: &[
            ("dockerfile", Never),
            ("t", Never),
            ("extrahosts", Never),
            ("remote", Never),
            ("q", Never),
            ("nocache", Never),
            ("cachefrom", Never),
            ("pull", Never),
            ("rm", Never),
            ("forcerm", Never),
            ("memory", Never),
            ("memswap", Never),
            ("cpushares", Never),
            ("cpusetcpus", Never),
            ("cpuperiod", Never),
            ("cpuquota", Never),
            ("buildargs", Never),
            ("shmsize", Never),
            ("squash", Never),
            ("labels", Never),
            ("networkmode", Never),
            ("platform", Never),
            ("target", Never),
            ("outputs", Never),
            ("version", Never),
            ("session", Never),
        ],
    },
];

/// Returns what is said about a field, if it is in the table.
pub fn sent(object: &str, field: &str) -> Option<Sent> {
    let object = EFFECTS.iter().find(|known| known.name == object)?;
    object.fields.iter().find(|(name, _)| *name == field).map(|&(_, sent)| sent)
}

#[cfg(test)]
#[path = "effects_tests.rs"]
mod tests;
