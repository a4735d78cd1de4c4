//! All that is known of one container.

use std::fmt;

use crate::{ContainerEntry, Docker, DockerError, PortEntry, entry::ports_of, name, request::Ask, wire};

/// All that is known of one container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContainerDetails {
    /// What lists show of it.
    pub entry: ContainerEntry,
    /// Content-addressed id of its image, `sha256:…`.
    pub image_id: String,
    /// Program with its first arguments.
    pub entrypoint: Vec<String>,
    /// Further arguments, or the program.
    pub command: Vec<String>,
    /// Variables, those of its image too.
    pub environment: Vec<Variable>,
    /// Folder it starts in; empty for the root.
    pub working_dir: String,
    /// User it runs as; empty for root.
    pub user: String,
    /// Its own host name.
    pub hostname: String,
    /// Whether it has a terminal: its outputs are then one.
    pub terminal: bool,
    /// What is mounted into it.
    pub mounts: Vec<MountDetails>,
    /// Networks it is in.
    pub attachments: Vec<NetworkAttachment>,
    /// How its network was asked for: `bridge`, `host`, `none`, `container:…`, or a network's name.
    pub network_mode: String,
    /// Ports as they were asked for; those that are open now are in the entry.
    pub port_bindings: Vec<PortEntry>,
    /// `no`, `always`, `unless-stopped` or `on-failure`; empty counts as `no`.
    pub restart_policy: String,
    /// How often the Engine has started it again.
    pub restart_count: u64,
    /// Whether it has all powers of the host.
    pub privileged: bool,
    /// Whether its root folder is read-only.
    pub read_only: bool,
    /// Capabilities beyond the Engine's usual ones.
    pub cap_add: Vec<String>,
    /// Memory in bytes, if limited.
    pub memory_bytes: Option<u64>,
    /// Billionths of a processor, if limited.
    pub nano_cpus: Option<u64>,
    /// Processes, if limited.
    pub pids: Option<u64>,
    /// Whether the kernel ended some process of it for want of memory.
    pub out_of_memory: bool,
    /// Why it could not be started; empty if it could.
    pub error: String,
}

/// A variable of a container. Its value may be a password: it is not shown by `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct Variable {
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: String,
}

impl fmt::Debug for Variable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}=***", self.name)
    }
}

/// What is mounted into a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MountDetails {
    /// `bind`, `volume`, `tmpfs` or a word of a newer Engine.
    pub kind: String,
    /// Name of the volume, if it is one.
    pub volume: Option<String>,
    /// Folder of the host.
    pub source: String,
    /// Where it is in the container.
    pub target: String,
    /// Driver of the volume, if it is one.
    pub driver: Option<String>,
    /// Whether writing is refused.
    pub read_only: bool,
}

/// A container's place in a network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetworkAttachment {
    /// Name of the network.
    pub name: String,
    /// Full id of the network; empty until the container has run.
    pub id: String,
    /// Address in it, while the container runs.
    pub address: Option<String>,
    /// Further names by which others in the network find it.
    pub aliases: Vec<String>,
}

impl Docker {
    /// Returns all that is known of a container.
    ///
    /// # Errors
    ///
    /// Returns [`DockerError::NotFound`] when there is none of that id or name.
    pub async fn inspect(&self, container: &str) -> Result<ContainerDetails, DockerError> {
        Ok(ContainerDetails::from_wire(self.look(container).await?))
    }

    pub(crate) async fn look(&self, container: &str) -> Result<wire::Inspect, DockerError> {
        let container = name::check_name("container", container)?;
        let found: wire::Inspect = self.ask(Ask::get(format!("/containers/{container}/json"))).await?;
        if found.id.is_empty() {
            return Err(DockerError::Unreadable {
                message: "it describes a container without an id".to_owned(),
            });
        }
        Ok(found)
    }
}

impl ContainerDetails {
    fn from_wire(mut found: wire::Inspect) -> Self {
        let entry = ContainerEntry::from_inspect(&mut found);
        let wire::Inspect {
            image, restart_count, state, config, host_config, network_settings, mounts, ..
        } = found;
        let some = |text: String| (!text.is_empty()).then_some(text);
        let positive = |number: i64| u64::try_from(number).ok().filter(|number| *number > 0);
        Self {
            entry,
            image_id: image,
            entrypoint: config.entrypoint.0,
            command: config.cmd.0,
            environment: config.env.into_iter().map(Variable::from_pair).collect(),
            working_dir: config.working_dir,
            user: config.user,
            hostname: config.hostname,
            terminal: config.tty,
            mounts: mounts
                .into_iter()
                .map(|mount| MountDetails {
                    kind: mount.kind,
                    volume: some(mount.name),
                    source: mount.source,
                    target: mount.destination,
                    driver: some(mount.driver),
                    read_only: !mount.writable,
                })
                .collect(),
            attachments: network_settings
                .networks
                .into_iter()
                .map(|(name, attachment)| {
                    let attachment = attachment.unwrap_or_default();
                    NetworkAttachment {
                        name,
                        id: attachment.network_id,
                        address: some(attachment.ip_address),
                        aliases: attachment.aliases,
                    }
                })
                .collect(),
            network_mode: host_config.network_mode,
            port_bindings: ports_of(&host_config.port_bindings),
            restart_policy: host_config.restart_policy.name,
            restart_count,
            privileged: host_config.privileged,
            read_only: host_config.readonly_rootfs,
            cap_add: host_config.cap_add,
            memory_bytes: positive(host_config.memory),
            nano_cpus: positive(host_config.nano_cpus),
            pids: positive(host_config.pids_limit),
            out_of_memory: state.out_of_memory,
            error: state.error,
        }
    }
}

impl Variable {
    pub(crate) fn from_pair(pair: String) -> Self {
        match pair.split_once('=') {
            Some((name, value)) => Self { name: name.to_owned(), value: value.to_owned() },
            None => Self { name: pair, value: String::new() },
        }
    }
}
