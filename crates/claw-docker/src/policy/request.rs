//! From what was approved to the Engine's request. Nothing else is sent: a field that is not set here stays the Engine's
//! default, and [`effects`](super::effects) says so of every one.

use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use bollard::models::{
    ContainerCreateBody, DeviceMapping, DeviceRequest, EndpointSettings, HealthConfig, HostConfig,
    HostConfigCgroupnsModeEnum, HostConfigLogConfig, Mount, MountBindOptions,
    MountBindOptionsPropagationEnum, MountTmpfsOptions, MountType, NetworkingConfig, PortBinding, PortMap,
    ResourcesUlimits, RestartPolicy, RestartPolicyNameEnum,
};

use bollard::{models::NetworkConnectRequest, query_parameters::CreateContainerOptions};

use super::{Approved, DeviceWish, HealthWish, LogWish, MountWish, MountWishSource, PortWish, RestartWish};
use crate::{Docker, DockerError};

impl Approved {
    /// Returns the request that makes the container. `labels` are our own and win over those of the wish.
    ///
    /// The Engine joins one network when it makes a container; [`Approved::further_networks`] come after.
    pub(crate) fn into_request(self, labels: BTreeMap<String, String>) -> ContainerCreateBody {
        let missing = self.missing;
        let wish = self.wish;
        let mut all_labels: HashMap<String, String> = wish.labels.into_iter().collect();
        all_labels.extend(labels);
        let first_network = wish.networks.first().cloned();
        ContainerCreateBody {
            hostname: wish.hostname,
            user: wish.user,
            attach_stdin: Some(false),
            attach_stdout: Some(false),
            attach_stderr: Some(false),
            exposed_ports: some(wish.ports.iter().map(port_key).collect()),
            tty: Some(wish.tty),
            open_stdin: Some(wish.stdin),
            stdin_once: Some(false),
            env: some(wish.environment.into_iter().map(|(key, value)| format!("{key}={value}")).collect()),
            cmd: wish.command,
            healthcheck: wish.healthcheck.map(health),
            image: Some(wish.image),
            working_dir: wish.working_dir,
            entrypoint: wish.entrypoint,
            labels: Some(all_labels),
            stop_signal: wish.stop_signal,
            stop_timeout: wish.stop_grace.map(|grace| i64::try_from(grace.as_secs()).unwrap_or(i64::MAX)),
            networking_config: first_network.clone().map(|network| NetworkingConfig {
                endpoints_config: Some(HashMap::from([(network, EndpointSettings::default())])),
            }),
            host_config: Some(HostConfig {
                network_mode: first_network.or(wish.network_mode),
                port_bindings: Some(bindings(&wish.ports)),
                publish_all_ports: Some(false),
                restart_policy: Some(restart(wish.restart)),
                auto_remove: Some(false),
                privileged: Some(false),
                cap_add: some(wish.cap_add),
                cap_drop: some(wish.cap_drop),
                security_opt: some(wish.security_opt),
                devices: some(wish.devices.into_iter().map(device).collect()),
                device_requests: wish.gpus.then(|| vec![graphics()]),
                sysctls: (!wish.sysctls.is_empty()).then(|| wish.sysctls.into_iter().collect()),
                ulimits: some(wish.ulimits.into_iter().map(ulimit).collect()),
                pid_mode: wish.pid,
                ipc_mode: Some(wish.ipc.unwrap_or_else(|| "private".to_owned())),
                uts_mode: wish.uts,
                userns_mode: wish.userns,
                cgroupns_mode: Some(match wish.cgroupns.as_deref() {
                    Some("host") => HostConfigCgroupnsModeEnum::HOST,
                    _ => HostConfigCgroupnsModeEnum::PRIVATE,
                }),
                runtime: wish.runtime,
                group_add: some(wish.group_add),
                extra_hosts: some(wish.extra_hosts),
                dns: some(wish.dns),
                readonly_rootfs: Some(wish.read_only),
                init: wish.init,
                shm_size: wish.shm_bytes.map(signed),
                memory: wish.memory_bytes.map(signed),
                // Judged to be a small finite number.
                nano_cpus: wish.cpus.map(|cpus| (cpus * 1e9) as i64),
                pids_limit: wish.pids.map(i64::from),
                oom_score_adj: wish.oom_score_adj.map(i64::from),
                log_config: wish.log.map(log),
                mounts: some(wish.mounts.into_iter().map(|wish| mount(wish, &missing)).collect()),
                ..Default::default()
            }),
            ..Default::default()
        }
    }

    /// Returns the networks to connect after the container is made and before it starts.
    pub(crate) fn further_networks(&self) -> &[String] {
        self.wish.networks.get(1..).unwrap_or_default()
    }
}

impl Docker {
    /// Makes a container as it was approved and returns its full id. It does not run yet. `labels` are our own.
    ///
    /// # Errors
    ///
    /// Returns [`DockerError::NotFound`] without the image, or a network that has gone, and [`DockerError::Conflict`]
    /// when the name is taken. Nothing is left behind then.
    pub async fn make(
        &self,
        approved: &Approved,
        labels: BTreeMap<String, String>,
    ) -> Result<String, DockerError> {
        let options = CreateContainerOptions { name: approved.wish().name.clone(), ..Default::default() };
        let request = approved.clone().into_request(labels);
        let made =
            self.call(|client| async move { client.create_container(Some(options), request).await }).await?;
        for network in approved.further_networks() {
            let request = NetworkConnectRequest { container: made.id.clone(), endpoint_config: None };
            let joined =
                self.call(|client| async move { client.connect_network(network, request).await }).await;
            if let Err(error) = joined {
                // What went wrong first is what the caller is told.
                let _ = self.remove_force(&made.id).await;
                return Err(error);
            }
        }
        Ok(made.id)
    }
}

fn some<T>(list: Vec<T>) -> Option<Vec<T>> {
    (!list.is_empty()).then_some(list)
}

fn signed(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

fn port_key(port: &PortWish) -> String {
    format!("{}/{}", port.container, port.protocol.as_str())
}

fn bindings(ports: &[PortWish]) -> PortMap {
    let mut map = PortMap::new();
    for port in ports {
        let Some(host) = port.host else { continue };
        let binding = PortBinding {
            host_ip: port.address.map(|address| address.to_string()),
            host_port: Some(if host == 0 { String::new() } else { host.to_string() }),
        };
        map.entry(port_key(port)).or_default().get_or_insert_default().push(binding);
    }
    map
}

fn restart(wish: RestartWish) -> RestartPolicy {
    let (name, count) = match wish {
        RestartWish::No => (RestartPolicyNameEnum::NO, None),
        RestartWish::Always => (RestartPolicyNameEnum::ALWAYS, None),
        RestartWish::UnlessStopped => (RestartPolicyNameEnum::UNLESS_STOPPED, None),
        RestartWish::OnFailure(count) => (RestartPolicyNameEnum::ON_FAILURE, count.map(i64::from)),
    };
    RestartPolicy { name: Some(name), maximum_retry_count: count }
}

fn device(wish: DeviceWish) -> DeviceMapping {
    DeviceMapping {
        path_in_container: Some(wish.container.unwrap_or_else(|| wish.host.clone())),
        path_on_host: Some(wish.host),
        cgroup_permissions: wish.permissions,
    }
}

/// All graphics processors, as `--gpus all` asks for them.
fn graphics() -> DeviceRequest {
    DeviceRequest { count: Some(-1), capabilities: Some(vec![vec!["gpu".to_owned()]]), ..Default::default() }
}

fn ulimit((name, (soft, hard)): (String, (i64, i64))) -> ResourcesUlimits {
    ResourcesUlimits { name: Some(name), soft: Some(soft), hard: Some(hard) }
}

fn health(wish: HealthWish) -> HealthConfig {
    let nanos = |time: Duration| i64::try_from(time.as_nanos()).unwrap_or(i64::MAX);
    HealthConfig {
        test: some(wish.test),
        interval: wish.interval.map(nanos),
        timeout: wish.timeout.map(nanos),
        retries: wish.retries.map(i64::from),
        start_period: wish.start_period.map(nanos),
        start_interval: None,
    }
}

fn log(wish: LogWish) -> HostConfigLogConfig {
    HostConfigLogConfig { typ: wish.driver, config: Some(wish.options.into_iter().collect()) }
}

/// The long form, never `a:b:ro`: a colon in a path means nothing there.
fn mount(wish: MountWish, missing: &[String]) -> Mount {
    let plain = Mount { target: Some(wish.target), read_only: Some(wish.read_only), ..Default::default() };
    match wish.source {
        MountWishSource::Bind(source) => Mount {
            typ: Some(MountType::BIND),
            bind_options: Some(MountBindOptions {
                propagation: Some(MountBindOptionsPropagationEnum::RPRIVATE),
                // Understood since API 1.42; an older Engine says that the folder is missing.
                create_mountpoint: missing.contains(&source).then_some(true),
                ..Default::default()
            }),
            source: Some(source),
            ..plain
        },
        MountWishSource::Volume { name, .. } => {
            Mount { typ: Some(MountType::VOLUME), source: Some(name), ..plain }
        }
        MountWishSource::Anonymous => Mount { typ: Some(MountType::VOLUME), ..plain },
        MountWishSource::Tmpfs { bytes } => Mount {
            typ: Some(MountType::TMPFS),
            tmpfs_options: Some(MountTmpfsOptions { size_bytes: bytes.map(signed), ..Default::default() }),
            ..plain
        },
    }
}

#[cfg(test)]
#[path = "request_tests.rs"]
mod tests;
