//! The one shape of container that is made here.

use std::collections::{BTreeMap, HashMap};

use bollard::models::{
    ContainerCreateBody, HealthConfig, HostConfig, HostConfigCgroupnsModeEnum, HostConfigLogConfig,
    Mount as EngineMount, MountBindOptions, MountType, MountVolumeOptions, ResourcesUlimits,
};

/// The Engine keeps no log of its own: whoever attached has the output. Any other driver costs the daemon, outside of
/// the container's limits, an entry for every line (0.2 s become 2.5 s for two million empty lines with `json-file`),
/// and leaves what an agent said on the host's disk.
const LOG_DRIVER: &str = "none";

/// When memory runs short on the whole machine, the kernel ends sandboxes before anything else.
const OOM_SCORE: i64 = 500;

/// A container for untrusted work.
///
/// The type is closed: there is no field for privileges, capabilities, devices, host namespaces or security options,
/// so no caller can ask for them. Every container gets: no capabilities, no new privileges, the Engine's default
/// seccomp profile, a read-only root, private namespaces, an init process that reaps, no core dumps, no swap, no log,
/// and no health check, however the image was made.
#[derive(Clone, Debug, PartialEq)]
pub struct SandboxContainer {
    /// Name, unique in the Engine.
    pub name: String,
    /// Image reference. Not pulled.
    pub image: String,
    /// User and group by number.
    pub user: (u32, u32),
    /// Program with its first arguments; replaces the image's entry point.
    pub program: Vec<String>,
    /// Further arguments.
    pub arguments: Vec<String>,
    /// Variables beyond the image's own. Shown by `docker inspect`: no secrets.
    pub environment: Vec<(String, String)>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Folder inside the container to start in.
    pub working_dir: String,
    /// Which network it sees.
    pub network: ContainerNetwork,
    /// Memory in bytes.
    pub memory_bytes: u64,
    /// CPU cores.
    pub cpus: f64,
    /// Processes and threads.
    pub pids: u32,
    /// Size of `/tmp` in bytes. It lives in memory and counts as such.
    pub tmp_bytes: u64,
    /// What is mounted.
    pub mounts: Vec<Mount>,
    /// Another OCI runtime, such as `runsc`.
    pub runtime: Option<String>,
}

/// The networks a container may see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ContainerNetwork {
    /// Loopback alone.
    None,
    /// The Engine's default bridge.
    Bridge,
}

/// One mount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// What is mounted.
    pub source: MountSource,
    /// Where in the container, absolute.
    pub target: String,
    /// Whether writing is refused.
    pub read_only: bool,
}

/// What can be mounted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MountSource {
    /// A folder of the Engine's host, absolute. It must exist.
    HostFolder(String),
    /// A named volume, made with these labels when it does not exist. A new one takes content, owner and mode of the
    /// image's folder at the target.
    Volume {
        /// Its name.
        name: String,
        /// Its labels.
        labels: BTreeMap<String, String>,
    },
}

impl SandboxContainer {
    pub(crate) fn into_request(self) -> ContainerCreateBody {
        let memory = i64::try_from(self.memory_bytes).unwrap_or(i64::MAX);
        ContainerCreateBody {
            image: Some(self.image),
            user: Some(format!("{}:{}", self.user.0, self.user.1)),
            entrypoint: Some(self.program),
            cmd: Some(self.arguments),
            env: Some(self.environment.into_iter().map(|(key, value)| format!("{key}={value}")).collect()),
            labels: Some(self.labels.into_iter().collect()),
            working_dir: Some(self.working_dir),
            tty: Some(false),
            // Opened once: the program reads to an end as soon as the first attached writer has closed.
            open_stdin: Some(true),
            stdin_once: Some(true),
            attach_stdin: Some(true),
            attach_stdout: Some(true),
            attach_stderr: Some(true),
            // An image may bring one: the Engine would run it every half minute, beside the agent.
            healthcheck: Some(HealthConfig { test: Some(vec!["NONE".to_owned()]), ..Default::default() }),
            host_config: Some(HostConfig {
                network_mode: Some(self.network.as_str().to_owned()),
                memory: Some(memory),
                // Equal to memory: no swap beyond it.
                memory_swap: Some(memory),
                nano_cpus: Some((self.cpus * 1e9) as i64),
                pids_limit: Some(i64::from(self.pids)),
                cap_drop: Some(vec!["ALL".to_owned()]),
                security_opt: Some(vec!["no-new-privileges".to_owned()]),
                privileged: Some(false),
                readonly_rootfs: Some(true),
                ipc_mode: Some("private".to_owned()),
                cgroupns_mode: Some(HostConfigCgroupnsModeEnum::PRIVATE),
                init: Some(true),
                oom_score_adj: Some(OOM_SCORE),
                ulimits: Some(vec![ResourcesUlimits {
                    name: Some("core".to_owned()),
                    soft: Some(0),
                    hard: Some(0),
                }]),
                tmpfs: Some(HashMap::from([(
                    "/tmp".to_owned(),
                    // `exec`, because builds run what they put there.
                    format!("rw,exec,nosuid,nodev,mode=1777,size={}", self.tmp_bytes),
                )])),
                mounts: Some(self.mounts.into_iter().map(Mount::into_request).collect()),
                log_config: Some(HostConfigLogConfig { typ: Some(LOG_DRIVER.to_owned()), config: None }),
                runtime: self.runtime,
                ..Default::default()
            }),
            ..Default::default()
        }
    }
}

impl ContainerNetwork {
    fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Bridge => "bridge",
        }
    }
}

impl Mount {
    /// The long form, never the `a:b:ro` one: a colon in a path means nothing there, and a host folder that does not
    /// exist is an error instead of a new folder owned by root.
    fn into_request(self) -> EngineMount {
        let (typ, source, bind_options, volume_options) = match self.source {
            MountSource::HostFolder(folder) => {
                let options = MountBindOptions { non_recursive: Some(false), ..Default::default() };
                (MountType::BIND, folder, Some(options), None)
            }
            MountSource::Volume { name, labels } => {
                let labels = Some(labels.into_iter().collect());
                let options = MountVolumeOptions { no_copy: Some(false), labels, ..Default::default() };
                (MountType::VOLUME, name, None, Some(options))
            }
        };
        EngineMount {
            typ: Some(typ),
            source: Some(source),
            target: Some(self.target),
            read_only: Some(self.read_only),
            bind_options,
            volume_options,
            ..Default::default()
        }
    }
}
