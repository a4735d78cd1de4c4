//! What is read of the Engine's answers.
//!
//! Every member may be absent or null: older Engines, newer ones and Podman leave out different ones.

use std::{collections::BTreeMap, fmt};

use claw_core::Timestamp;
use serde::{
    Deserialize, Deserializer,
    de::{IgnoredAny, SeqAccess, Visitor},
};

/// Defines types that are read from JSON objects: the member's name there, the field's here, and its type.
macro_rules! objects {
    ($($(#[$doc:meta])* $name:ident { $($(#[$note:meta])* $member:literal $field:ident: $type:ty,)* })*) => {$(
        $(#[$doc])*
        #[derive(Default, Deserialize)]
        #[serde(default)]
        pub(crate) struct $name {
            $($(#[$note])* #[serde(rename = $member, deserialize_with = "nullable")] pub(crate) $field: $type,)*
        }
    )*};
}

/// A set of names, written as an object of empty objects.
pub(crate) type Names = BTreeMap<String, IgnoredAny>;

/// `{"80/tcp": [{"HostIp": "0.0.0.0", "HostPort": "8080"}], "443/tcp": null}`
pub(crate) type Ports = BTreeMap<String, Option<Vec<Binding>>>;

objects! {
    /// A container in a list.
    Summary {
        "Id" id: String,
        "Names" names: Vec<String>,
        "Image" image: String,
        "State" state: String,
        "Created" created: i64,
        "Labels" labels: BTreeMap<String, String>,
        "Ports" ports: Vec<SummaryPort>,
        "NetworkSettings" network_settings: SummaryNetworks,
    }
    SummaryPort {
        "IP" address: String,
        "PrivatePort" private_port: u16,
        "PublicPort" public_port: u16,
        "Type" protocol: String,
    }
    SummaryNetworks { "Networks" networks: Names, }

    /// A container that is looked into.
    Inspect {
        "Id" id: String,
        "Name" name: String,
        "Created" created: String,
        /// Id of the image; its name is in the configuration.
        "Image" image: String,
        "RestartCount" restart_count: u64,
        "State" state: State,
        "Config" config: Config,
        "HostConfig" host_config: HostConfig,
        "NetworkSettings" network_settings: NetworkSettings,
        "Mounts" mounts: Vec<Mount>,
    }
    State {
        "Status" status: String,
        "ExitCode" exit_code: i64,
        "OOMKilled" out_of_memory: bool,
        "Error" error: String,
        "StartedAt" started_at: String,
        "FinishedAt" finished_at: String,
        "Health" health: Health,
    }
    Health { "Status" status: String, }
    /// Of a container, or of an image.
    Config {
        "Image" image: String,
        "Cmd" cmd: Words,
        "Entrypoint" entrypoint: Words,
        "Env" env: Vec<String>,
        "Labels" labels: BTreeMap<String, String>,
        "WorkingDir" working_dir: String,
        "User" user: String,
        "Hostname" hostname: String,
        "Tty" tty: bool,
        "ExposedPorts" exposed_ports: Names,
        "Volumes" volumes: Names,
        "Healthcheck" healthcheck: Healthcheck,
    }
    Healthcheck { "Interval" interval: i64, }
    HostConfig {
        "NetworkMode" network_mode: String,
        "RestartPolicy" restart_policy: RestartPolicy,
        "PortBindings" port_bindings: Ports,
        "Privileged" privileged: bool,
        "ReadonlyRootfs" readonly_rootfs: bool,
        "CapAdd" cap_add: Vec<String>,
        "Memory" memory: i64,
        "NanoCpus" nano_cpus: i64,
        "PidsLimit" pids_limit: i64,
    }
    RestartPolicy { "Name" name: String, }
    Binding {
        "HostIp" host_ip: String,
        "HostPort" host_port: String,
    }
    NetworkSettings {
        "Ports" ports: Ports,
        "Networks" networks: BTreeMap<String, Option<Attachment>>,
    }
    Attachment {
        "NetworkID" network_id: String,
        "IPAddress" ip_address: String,
        "Aliases" aliases: Vec<String>,
    }
    Mount {
        "Type" kind: String,
        "Name" name: String,
        "Source" source: String,
        "Destination" destination: String,
        "Driver" driver: String,
        "RW" writable: bool,
    }

    /// The end of a container that was waited for.
    Waited {
        "StatusCode" status_code: i64,
        "Error" error: WaitError,
    }
    WaitError { "Message" message: String, }

    /// An image in a list.
    ImageSummary {
        "Id" id: String,
        "RepoTags" repo_tags: Vec<String>,
        "RepoDigests" repo_digests: Vec<String>,
        "Created" created: i64,
        "Size" size: i64,
        "Labels" labels: BTreeMap<String, String>,
    }
    /// An image that is looked into.
    ImageInspect {
        "Id" id: String,
        "RepoTags" repo_tags: Vec<String>,
        "RepoDigests" repo_digests: Vec<String>,
        "Created" created: String,
        "Size" size: i64,
        "Os" os: String,
        "Architecture" architecture: String,
        "Config" config: Config,
    }

    Network {
        "Id" id: String,
        "Name" name: String,
        "Driver" driver: String,
        "Scope" scope: String,
        "Internal" internal: bool,
        "Labels" labels: BTreeMap<String, String>,
        "IPAM" addresses: Addresses,
    }
    Addresses { "Config" config: Vec<Subnet>, }
    Subnet { "Subnet" subnet: String, }

    VolumeList { "Volumes" volumes: Vec<Volume>, }
    Volume {
        "Name" name: String,
        "Driver" driver: String,
        "Mountpoint" mountpoint: String,
        "Scope" scope: String,
        "CreatedAt" created_at: String,
        "Labels" labels: BTreeMap<String, String>,
        "Options" options: BTreeMap<String, String>,
    }

    Version {
        "Version" version: String,
        "ApiVersion" api_version: String,
        "Os" os: String,
        "Arch" arch: String,
    }
    Info {
        "ServerVersion" server_version: String,
        "OperatingSystem" operating_system: String,
        "DockerRootDir" docker_root_dir: String,
        "NCPU" cpus: u32,
        "MemTotal" mem_total: u64,
        "ContainersRunning" containers_running: u64,
        "CgroupVersion" cgroup_version: String,
    }

    Event {
        "Type" kind: String,
        "Action" action: String,
        "Actor" actor: Actor,
        "timeNano" nanoseconds: i64,
    }
    Actor {
        "ID" id: String,
        "Attributes" attributes: BTreeMap<String, String>,
    }

    /// A line of a pull.
    Progress {
        "id" id: String,
        "status" status: String,
        "error" error: String,
        "progressDetail" detail: ProgressDetail,
    }
    ProgressDetail {
        "current" current: Option<i64>,
        "total" total: Option<i64>,
    }

    Stats {
        "read" read: String,
        "cpu_stats" cpu: CpuStats,
        "memory_stats" memory: MemoryStats,
        "pids_stats" pids: PidsStats,
        "networks" networks: BTreeMap<String, NetworkStats>,
        "blkio_stats" disks: DiskStats,
    }
    CpuStats { "cpu_usage" usage: CpuUsage, }
    CpuUsage { "total_usage" total: u64, }
    MemoryStats {
        "usage" usage: Option<u64>,
        "limit" limit: u64,
        "stats" details: MemoryDetails,
    }
    MemoryDetails {
        /// Named so by the kernel's newer control groups …
        "inactive_file" inactive_file: Option<u64>,
        /// … and so by the older ones.
        "total_inactive_file" total_inactive_file: Option<u64>,
    }
    PidsStats { "current" current: u64, }
    NetworkStats {
        "rx_bytes" received: u64,
        "tx_bytes" sent: u64,
    }
    DiskStats { "io_service_bytes_recursive" bytes: Vec<DiskCount>, }
    DiskCount {
        "op" op: String,
        "value" value: u64,
    }
}

/// Reads null as nothing.
fn nullable<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(from: D) -> Result<T, D::Error> {
    Option::<T>::deserialize(from).map(Option::unwrap_or_default)
}

/// Reads a moment; Go's zero time, and what is none, is `None`.
pub(crate) fn moment(text: &str) -> Option<Timestamp> {
    let moment: Timestamp = text.parse().ok()?;
    (moment > Timestamp::UNIX_EPOCH).then_some(moment)
}

/// A list of words. Some Engines write a single one without the list.
#[derive(Default)]
pub(crate) struct Words(pub(crate) Vec<String>);

impl<'de> Deserialize<'de> for Words {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct OneOrMany;

        impl<'de> Visitor<'de> for OneOrMany {
            type Value = Words;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a word or words")
            }

            fn visit_str<E: serde::de::Error>(self, word: &str) -> Result<Words, E> {
                Ok(Words(vec![word.to_owned()]))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut words: A) -> Result<Words, A::Error> {
                let mut read = Vec::new();
                while let Some(word) = words.next_element()? {
                    read.push(word);
                }
                Ok(Words(read))
            }
        }

        from.deserialize_any(OneOrMany)
    }
}
