//! What is read of the Engine's answers.
//!
//! Every member may be absent or null: older Engines, newer ones and Podman leave out different ones.

use std::collections::{BTreeMap, HashMap};

use jiff::Timestamp;
use serde::{Deserialize, Deserializer};

/// Reads null as nothing.
pub(crate) fn nullable<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(
    from: D,
) -> Result<T, D::Error> {
    Option::<T>::deserialize(from).map(Option::unwrap_or_default)
}

/// Reads a moment; Go's zero time, and what is none, is `None`.
pub(crate) fn moment(text: &str) -> Option<Timestamp> {
    let moment: Timestamp = text.parse().ok()?;
    (moment > Timestamp::UNIX_EPOCH).then_some(moment)
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", default)]
#[derive(Default)]
pub(crate) struct Summary {
    #[serde(deserialize_with = "nullable")]
    pub(crate) id: String,
    #[serde(deserialize_with = "nullable")]
    pub(crate) names: Vec<String>,
    #[serde(deserialize_with = "nullable")]
    pub(crate) image: String,
    #[serde(deserialize_with = "nullable")]
    pub(crate) state: String,
    #[serde(deserialize_with = "nullable")]
    pub(crate) created: i64,
    #[serde(deserialize_with = "nullable")]
    pub(crate) labels: BTreeMap<String, String>,
    #[serde(deserialize_with = "nullable")]
    pub(crate) ports: Vec<SummaryPort>,
    #[serde(deserialize_with = "nullable")]
    pub(crate) network_settings: SummaryNetworks,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct SummaryPort {
    #[serde(rename = "IP", deserialize_with = "nullable")]
    pub(crate) address: String,
    #[serde(deserialize_with = "nullable")]
    pub(crate) private_port: u16,
    #[serde(deserialize_with = "nullable")]
    pub(crate) public_port: u16,
    #[serde(rename = "Type", deserialize_with = "nullable")]
    pub(crate) protocol: String,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct SummaryNetworks {
    #[serde(deserialize_with = "nullable")]
    pub(crate) networks: BTreeMap<String, serde::de::IgnoredAny>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct Inspect {
    #[serde(deserialize_with = "nullable")]
    pub(crate) id: String,
    #[serde(deserialize_with = "nullable")]
    pub(crate) name: String,
    #[serde(deserialize_with = "nullable")]
    pub(crate) created: String,
    /// The id of the image; its name is in the configuration.
    #[serde(deserialize_with = "nullable")]
    pub(crate) image: String,
    #[serde(deserialize_with = "nullable")]
    pub(crate) restart_count: u64,
    #[serde(deserialize_with = "nullable")]
    pub(crate) state: State,
    #[serde(deserialize_with = "nullable")]
    pub(crate) config: Config,
    #[serde(deserialize_with = "nullable")]
    pub(crate) host_config: HostConfig,
    #[serde(deserialize_with = "nullable")]
    pub(crate) network_settings: NetworkSettings,
    #[serde(deserialize_with = "nullable")]
    pub(crate) mounts: Vec<Mount>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct State {
    #[serde(deserialize_with = "nullable")]
    pub(crate) status: String,
    #[serde(deserialize_with = "nullable")]
    pub(crate) exit_code: i64,
    #[serde(rename = "OOMKilled", deserialize_with = "nullable")]
    pub(crate) out_of_memory: bool,
    #[serde(deserialize_with = "nullable")]
    pub(crate) error: String,
    #[serde(deserialize_with = "nullable")]
    pub(crate) started_at: String,
    #[serde(deserialize_with = "nullable")]
    pub(crate) finished_at: String,
    #[serde(deserialize_with = "nullable")]
    pub(crate) health: Health,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct Health {
    #[serde(deserialize_with = "nullable")]
    pub(crate) status: String,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct Config {
    #[serde(deserialize_with = "nullable")]
    pub(crate) image: String,
    #[serde(deserialize_with = "nullable")]
    pub(crate) cmd: Vec<String>,
    #[serde(deserialize_with = "words")]
    pub(crate) entrypoint: Vec<String>,
    #[serde(deserialize_with = "nullable")]
    pub(crate) env: Vec<String>,
    #[serde(deserialize_with = "nullable")]
    pub(crate) labels: BTreeMap<String, String>,
    #[serde(deserialize_with = "nullable")]
    pub(crate) working_dir: String,
    #[serde(deserialize_with = "nullable")]
    pub(crate) user: String,
    #[serde(deserialize_with = "nullable")]
    pub(crate) hostname: String,
    #[serde(deserialize_with = "nullable")]
    pub(crate) tty: bool,
    #[serde(deserialize_with = "nullable")]
    pub(crate) exposed_ports: BTreeMap<String, serde::de::IgnoredAny>,
    #[serde(deserialize_with = "nullable")]
    pub(crate) volumes: BTreeMap<String, serde::de::IgnoredAny>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct HostConfig {
    #[serde(deserialize_with = "nullable")]
    pub(crate) network_mode: String,
    #[serde(deserialize_with = "nullable")]
    pub(crate) restart_policy: RestartPolicy,
    #[serde(deserialize_with = "nullable")]
    pub(crate) port_bindings: Ports,
    #[serde(deserialize_with = "nullable")]
    pub(crate) privileged: bool,
    #[serde(deserialize_with = "nullable")]
    pub(crate) readonly_rootfs: bool,
    #[serde(deserialize_with = "nullable")]
    pub(crate) cap_add: Vec<String>,
    #[serde(deserialize_with = "nullable")]
    pub(crate) memory: i64,
    #[serde(deserialize_with = "nullable")]
    pub(crate) nano_cpus: i64,
    #[serde(deserialize_with = "nullable")]
    pub(crate) pids_limit: i64,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct RestartPolicy {
    #[serde(deserialize_with = "nullable")]
    pub(crate) name: String,
}

/// `{"80/tcp": [{"HostIp": "0.0.0.0", "HostPort": "8080"}], "443/tcp": null}`
pub(crate) type Ports = BTreeMap<String, Option<Vec<Binding>>>;

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct Binding {
    #[serde(deserialize_with = "nullable")]
    pub(crate) host_ip: String,
    #[serde(deserialize_with = "nullable")]
    pub(crate) host_port: String,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct NetworkSettings {
    #[serde(deserialize_with = "nullable")]
    pub(crate) ports: Ports,
    #[serde(deserialize_with = "nullable")]
    pub(crate) networks: BTreeMap<String, Option<Attachment>>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct Attachment {
    #[serde(rename = "NetworkID", deserialize_with = "nullable")]
    pub(crate) network_id: String,
    #[serde(rename = "IPAddress", deserialize_with = "nullable")]
    pub(crate) ip_address: String,
    #[serde(deserialize_with = "nullable")]
    pub(crate) aliases: Vec<String>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct Mount {
    #[serde(rename = "Type", deserialize_with = "nullable")]
    pub(crate) kind: String,
    #[serde(deserialize_with = "nullable")]
    pub(crate) name: String,
    #[serde(deserialize_with = "nullable")]
    pub(crate) source: String,
    #[serde(deserialize_with = "nullable")]
    pub(crate) destination: String,
    #[serde(deserialize_with = "nullable")]
    pub(crate) driver: String,
    #[serde(rename = "RW", deserialize_with = "nullable")]
    pub(crate) writable: bool,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct ImageSummary {
    #[serde(deserialize_with = "nullable")]
    pub(crate) id: String,
    #[serde(deserialize_with = "nullable")]
    pub(crate) repo_tags: Vec<String>,
    #[serde(deserialize_with = "nullable")]
    pub(crate) repo_digests: Vec<String>,
    #[serde(deserialize_with = "nullable")]
    pub(crate) created: i64,
    #[serde(deserialize_with = "nullable")]
    pub(crate) size: i64,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct ImageInspect {
    #[serde(deserialize_with = "nullable")]
    pub(crate) id: String,
    #[serde(deserialize_with = "nullable")]
    pub(crate) repo_tags: Vec<String>,
    #[serde(deserialize_with = "nullable")]
    pub(crate) repo_digests: Vec<String>,
    #[serde(deserialize_with = "nullable")]
    pub(crate) created: String,
    #[serde(deserialize_with = "nullable")]
    pub(crate) size: i64,
    #[serde(deserialize_with = "nullable")]
    pub(crate) os: String,
    #[serde(deserialize_with = "nullable")]
    pub(crate) architecture: String,
    #[serde(deserialize_with = "nullable")]
    pub(crate) config: Config,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct Network {
    #[serde(deserialize_with = "nullable")]
    pub(crate) id: String,
    #[serde(deserialize_with = "nullable")]
    pub(crate) name: String,
    #[serde(deserialize_with = "nullable")]
    pub(crate) driver: String,
    #[serde(deserialize_with = "nullable")]
    pub(crate) scope: String,
    #[serde(deserialize_with = "nullable")]
    pub(crate) internal: bool,
    #[serde(deserialize_with = "nullable")]
    pub(crate) labels: BTreeMap<String, String>,
    #[serde(rename = "IPAM", deserialize_with = "nullable")]
    pub(crate) addresses: Addresses,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct Addresses {
    #[serde(deserialize_with = "nullable")]
    pub(crate) config: Vec<Subnet>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct Subnet {
    #[serde(deserialize_with = "nullable")]
    pub(crate) subnet: String,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct VolumeList {
    #[serde(deserialize_with = "nullable")]
    pub(crate) volumes: Vec<Volume>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct Volume {
    #[serde(deserialize_with = "nullable")]
    pub(crate) name: String,
    #[serde(deserialize_with = "nullable")]
    pub(crate) driver: String,
    #[serde(deserialize_with = "nullable")]
    pub(crate) mountpoint: String,
    #[serde(deserialize_with = "nullable")]
    pub(crate) scope: String,
    #[serde(deserialize_with = "nullable")]
    pub(crate) created_at: String,
    #[serde(deserialize_with = "nullable")]
    pub(crate) labels: BTreeMap<String, String>,
    #[serde(deserialize_with = "nullable")]
    pub(crate) options: BTreeMap<String, String>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct Version {
    #[serde(deserialize_with = "nullable")]
    pub(crate) version: String,
    #[serde(deserialize_with = "nullable")]
    pub(crate) api_version: String,
    #[serde(deserialize_with = "nullable")]
    pub(crate) os: String,
    #[serde(deserialize_with = "nullable")]
    pub(crate) arch: String,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct Info {
    #[serde(deserialize_with = "nullable")]
    pub(crate) operating_system: String,
    #[serde(deserialize_with = "nullable")]
    pub(crate) docker_root_dir: String,
    #[serde(rename = "NCPU", deserialize_with = "nullable")]
    pub(crate) cpus: u32,
    #[serde(deserialize_with = "nullable")]
    pub(crate) mem_total: u64,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct Event {
    #[serde(rename = "Type", deserialize_with = "nullable")]
    pub(crate) kind: String,
    #[serde(deserialize_with = "nullable")]
    pub(crate) action: String,
    #[serde(deserialize_with = "nullable")]
    pub(crate) actor: Actor,
    #[serde(rename = "timeNano", deserialize_with = "nullable")]
    pub(crate) nanoseconds: i64,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct Actor {
    #[serde(rename = "ID", deserialize_with = "nullable")]
    pub(crate) id: String,
    #[serde(deserialize_with = "nullable")]
    pub(crate) attributes: BTreeMap<String, String>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Progress {
    #[serde(deserialize_with = "nullable")]
    pub(crate) id: String,
    #[serde(deserialize_with = "nullable")]
    pub(crate) status: String,
    #[serde(deserialize_with = "nullable")]
    pub(crate) error: String,
    #[serde(deserialize_with = "nullable")]
    pub(crate) progress_detail: ProgressDetail,
}

#[derive(Deserialize, Default)]
#[serde(default)]
pub(crate) struct ProgressDetail {
    pub(crate) current: Option<i64>,
    pub(crate) total: Option<i64>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
pub(crate) struct Stats {
    #[serde(deserialize_with = "nullable")]
    pub(crate) read: String,
    #[serde(deserialize_with = "nullable")]
    pub(crate) cpu_stats: CpuStats,
    #[serde(deserialize_with = "nullable")]
    pub(crate) memory_stats: MemoryStats,
    #[serde(deserialize_with = "nullable")]
    pub(crate) pids_stats: PidsStats,
    #[serde(deserialize_with = "nullable")]
    pub(crate) networks: HashMap<String, NetworkStats>,
    #[serde(deserialize_with = "nullable")]
    pub(crate) blkio_stats: BlockStats,
}

#[derive(Deserialize, Default)]
#[serde(default)]
pub(crate) struct CpuStats {
    #[serde(deserialize_with = "nullable")]
    pub(crate) cpu_usage: CpuUsage,
}

#[derive(Deserialize, Default)]
#[serde(default)]
pub(crate) struct CpuUsage {
    #[serde(deserialize_with = "nullable")]
    pub(crate) total_usage: u64,
}

#[derive(Deserialize, Default)]
#[serde(default)]
pub(crate) struct MemoryStats {
    #[serde(deserialize_with = "nullable")]
    pub(crate) usage: u64,
    #[serde(deserialize_with = "nullable")]
    pub(crate) limit: u64,
    #[serde(deserialize_with = "nullable")]
    pub(crate) stats: MemoryDetails,
}

#[derive(Deserialize, Default)]
#[serde(default)]
pub(crate) struct MemoryDetails {
    /// Named by the kernel's newer control groups …
    pub(crate) inactive_file: Option<u64>,
    /// … and by the older ones.
    pub(crate) total_inactive_file: Option<u64>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
pub(crate) struct PidsStats {
    #[serde(deserialize_with = "nullable")]
    pub(crate) current: u64,
}

#[derive(Deserialize, Default)]
#[serde(default)]
pub(crate) struct NetworkStats {
    #[serde(deserialize_with = "nullable")]
    pub(crate) rx_bytes: u64,
    #[serde(deserialize_with = "nullable")]
    pub(crate) tx_bytes: u64,
}

#[derive(Deserialize, Default)]
#[serde(default)]
pub(crate) struct BlockStats {
    #[serde(deserialize_with = "nullable")]
    pub(crate) io_service_bytes_recursive: Vec<BlockCount>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
pub(crate) struct BlockCount {
    #[serde(deserialize_with = "nullable")]
    pub(crate) op: String,
    #[serde(deserialize_with = "nullable")]
    pub(crate) value: u64,
}

/// An entry point is a list of words, or one word in what some builders write.
fn words<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
    struct Words;
    impl<'de> serde::de::Visitor<'de> for Words {
        type Value = Vec<String>;

        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("a word, words or null")
        }

        fn visit_str<E: serde::de::Error>(self, word: &str) -> Result<Self::Value, E> {
            Ok(vec![word.to_owned()])
        }

        fn visit_unit<E: serde::de::Error>(self) -> Result<Self::Value, E> {
            Ok(Vec::new())
        }

        fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut words: A) -> Result<Self::Value, A::Error> {
            let mut read = Vec::new();
            while let Some(word) = words.next_element()? {
                read.push(word);
            }
            Ok(read)
        }
    }
    from.deserialize_any(Words)
}
