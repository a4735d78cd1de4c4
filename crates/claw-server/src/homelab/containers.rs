//! Containers.

use std::collections::BTreeMap;

use axum::{
    extract::State,
    response::{IntoResponse as _, Response},
};
use claw_core::{ErrorCode, Timestamp};
use claw_docker::{ContainerEntry, PortEntry};
use claw_homelab::{ContainerConfig, Homelab, LogsRequest};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::view::{DoneView, Envelope};
use crate::{
    app::Server,
    error::{ApiError, ApiResult},
    extract::{Caller, Name, Query, RawJson},
};

pub(super) fn routes() -> OpenApiRouter<Server> {
    OpenApiRouter::default()
        .routes(routes!(list_containers, create_container))
        .routes(routes!(get_container_logs))
        .routes(routes!(get_container_config))
        .routes(routes!(start_container))
        .routes(routes!(stop_container))
        .routes(routes!(restart_container))
        .routes(routes!(delete_container, delete_container_by_post))
}

/// A container as lists show it.
#[derive(Serialize, ToSchema)]
pub(super) struct ContainerView<'a> {
    /// Full id.
    id: &'a str,
    /// Name.
    name: &'a str,
    /// Image, as it was named when the container was made.
    image: &'a str,
    /// One word, such as `running` or `exited`.
    #[schema(example = "running")]
    state: &'a str,
    /// A line for people.
    #[schema(example = "Up 2 hours")]
    status: String,
    /// When it was made.
    #[schema(value_type = String, format = DateTime)]
    created: Timestamp,
    /// Its ports.
    ports: Vec<PortView<'a>>,
    /// `starting`, `healthy` or `unhealthy`; left out without a health check.
    #[serde(skip_serializing_if = "Option::is_none")]
    health: Option<&'a str>,
}

/// A port of a container, in the two ways in which clients read it.
#[derive(Serialize, ToSchema)]
struct PortView<'a> {
    /// Port inside the container.
    private: u16,
    /// Port of the host; left out if it is not published.
    #[serde(skip_serializing_if = "Option::is_none")]
    public: Option<u16>,
    /// `tcp` or `udp`.
    protocol: &'a str,
    /// Port of the host as text; empty if it is not published.
    host: String,
    /// Port inside the container as text.
    container: String,
    /// Address of the host at which it is published.
    #[serde(skip_serializing_if = "Option::is_none")]
    address: Option<&'a str>,
}

impl<'a> From<&'a PortEntry> for PortView<'a> {
    fn from(port: &'a PortEntry) -> Self {
        let PortEntry { private, public, protocol, address } = port;
        Self {
            private: *private,
            public: *public,
            protocol,
            host: public.map(|port| port.to_string()).unwrap_or_default(),
            container: private.to_string(),
            address: address.as_deref(),
        }
    }
}

impl<'a> ContainerView<'a> {
    pub(super) fn of(entry: &'a ContainerEntry, now: Timestamp) -> Self {
        Self {
            id: &entry.id,
            name: &entry.name,
            image: &entry.image,
            state: &entry.state,
            status: entry.status_line(now),
            created: entry.created,
            ports: entry.ports.iter().map(PortView::from).collect(),
            health: entry.health.as_deref(),
        }
    }
}

/// List containers
///
/// All of them, running or not, the newest first.
#[utoipa::path(
    get, path = "/api/containers", tag = "containers",
    responses(
        (status = 200, description = "The containers.", body = Envelope<Vec<ContainerView<'static>>>),
        (status = 503, description = "`DOCKER_ERROR`: the Docker Engine does not answer; `STORE_UNAVAILABLE`"),
    ),
    extensions(("x-scope" = json!("containers:read"))),
)]
async fn list_containers(caller: Caller, State(homelab): State<Homelab>) -> ApiResult<Response> {
    let containers = homelab.containers.list(&caller).await?;
    let now = homelab.now();
    let views: Vec<_> = containers.iter().map(|entry| ContainerView::of(entry, now)).collect();
    Ok(Envelope::of(views).into_response())
}

/// A container to make, as the API reference shows it. Members are read strictly, and more are known: `command`,
/// `entrypoint`, `user`, `working_dir`, `hostname`, `restart`, `labels`, `networks`, `network_mode`, `read_only`, `init`,
/// `tty`, `stdin`, `memory_bytes`, `cpus`, `pids`, `shm_bytes`, `cap_add`, `cap_drop`, `group_add`, `extra_hosts`, `dns`,
/// `sysctls`, `stop_signal`, and those that only ever ask for more power, which the policy judges like everything else.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes what `claw_homelab::container_wish` reads")]
struct NewContainerBody {
    /// The image; it is pulled if it is not here.
    #[schema(example = "nginx:1.27")]
    image: String,
    /// A name; Docker picks one if it is left out or empty.
    name: Option<String>,
    /// Variables: an object, or a list of `{key, value}`.
    #[schema(value_type = Option<Object>, example = json!({ "TZ": "Etc/UTC" }))]
    env: Option<BTreeMap<String, String>>,
    /// Ports: `{private, public, protocol}` with numbers, or `{host, container}` with texts.
    #[schema(value_type = Option<Vec<Object>>, example = json!([{ "private": 80, "public": 8080, "protocol": "tcp" }]))]
    ports: Option<Vec<()>>,
    /// Mounts: `{host, container}`, where `host` is a named volume or a folder, and optionally `read_only`.
    #[schema(value_type = Option<Vec<Object>>, example = json!([{ "host": "data", "container": "/data" }]))]
    volumes: Option<Vec<()>>,
    /// Not read.
    #[schema(value_type = Option<Object>)]
    attrs: Option<()>,
}

/// Create and start a container
///
/// Goes on when the caller hangs up. What may not be created is refused with the rule that says so.
#[utoipa::path(
    post, path = "/api/containers", tag = "containers",
    request_body = NewContainerBody,
    responses(
        (status = 200, description = "The container, which runs.", body = Envelope<ContainerView<'static>>),
        (status = 400, description = "`INVALID_REQUEST`, `INVALID_NAME`, `INVALID_IMAGE`, `INVALID_PORT`, `INVALID_ENV`, `INVALID_VOLUME_TARGET`"),
        (status = 403, description = "`SCOPE_REQUIRED`, `POLICY_REFUSED`, `BLOCKED_VOLUME`, `PROTECTED`, `ORIGIN_NOT_ALLOWED`"),
        (status = 404, description = "`NOT_FOUND`: the registry has no such image."),
        (status = 409, description = "`NAME_TAKEN`, `CONFLICT`"),
        (status = 502, description = "`IMAGE_PULL_FAILED`"),
        (status = 503, description = "`DOCKER_ERROR`: the Docker Engine does not answer or refused; `STORE_UNAVAILABLE`"),
    ),
    extensions(("x-scope" = json!("containers:write"))),
)]
async fn create_container(
    caller: Caller,
    State(homelab): State<Homelab>,
    RawJson(body): RawJson,
) -> ApiResult<Response> {
    let made = homelab.containers.create_described(&caller, &body).await?;
    Ok(Envelope::of(ContainerView::of(&made, homelab.now())).into_response())
}

/// Which part of a log to read.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct LogsQuery {
    /// How many of the newest lines, 0 to 1000.
    #[param(value_type = Option<u32>, default = 100)]
    tail: Option<String>,
    /// Not older than this.
    #[param(value_type = Option<String>, format = DateTime)]
    since: Option<Timestamp>,
    /// Not newer than this.
    #[param(value_type = Option<String>, format = DateTime)]
    until: Option<Timestamp>,
    /// Whether each line begins with its time.
    #[serde(default)]
    timestamps: bool,
    /// `object` answers `{"logs": text}` instead of the text.
    format: Option<String>,
}

impl LogsQuery {
    fn tail(&self) -> ApiResult<Option<u32>> {
        let Some(text) = self.tail.as_deref().filter(|text| !text.is_empty()) else { return Ok(None) };
        let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
        if is_number {
            // More than anybody may ask for is as much as anybody may.
            Ok(Some(text.parse().unwrap_or(u32::MAX)))
        } else {
            Err(ApiError::new(ErrorCode::InvalidTail, "`tail` is a number of lines, 0 to 1000"))
        }
    }
}

/// A log in an object.
#[derive(Serialize, ToSchema)]
struct LogsView {
    /// What the container wrote.
    logs: String,
}

/// Read what a container wrote
///
/// Both outputs together. Secrets of the container's variables and sequences that steer a terminal are left out.
#[utoipa::path(
    get, path = "/api/containers/{id}/logs", tag = "containers",
    params(("id" = String, Path, description = "Name, id, or the beginning of one."), LogsQuery),
    responses(
        (status = 200, description = "The newest lines.", body = Envelope<String>),
        (status = 400, description = "`INVALID_TAIL`, `INVALID_REQUEST`"),
        (status = 404, description = "`NOT_FOUND`"),
        (status = 503, description = "`DOCKER_ERROR`: the Docker Engine does not answer or refused; `STORE_UNAVAILABLE`"),
    ),
    extensions(("x-scope" = json!("containers:read"))),
)]
async fn get_container_logs(
    caller: Caller,
    State(homelab): State<Homelab>,
    Name(container): Name,
    Query(query): Query<LogsQuery>,
) -> ApiResult<Response> {
    let request = LogsRequest {
        tail: query.tail()?,
        since: query.since,
        until: query.until,
        timestamps: query.timestamps,
    };
    let logs = homelab.containers.logs(&caller, &container, request).await?;
    Ok(match query.format.as_deref() {
        Some("object") => Envelope::of(LogsView { logs }).into_response(),
        _ => Envelope::of(logs).into_response(),
    })
}

/// All that is told of a container. Values that look like secrets are hidden.
#[derive(Serialize, ToSchema)]
struct ContainerConfigView<'a> {
    /// What lists show.
    #[serde(flatten)]
    entry: ContainerView<'a>,
    /// Id of its image.
    image_id: &'a str,
    /// Variables.
    env: BTreeMap<&'a str, &'a str>,
    /// Mounts, in the form in which containers are created.
    volumes: Vec<VolumeView<'a>>,
    /// Mounts, in full.
    mounts: Vec<MountView<'a>>,
    /// Labels.
    labels: &'a BTreeMap<String, String>,
    /// Networks.
    networks: Vec<NetworkView<'a>>,
    /// How its network was asked for.
    network_mode: &'a str,
    /// `no`, `always`, `unless-stopped` or `on-failure`.
    restart_policy: &'a str,
    /// How often it was started again by itself.
    restart_count: u64,
    /// Program.
    entrypoint: &'a [String],
    /// Arguments, or the program.
    command: &'a [String],
    /// Folder it starts in.
    working_dir: &'a str,
    /// User it runs as.
    user: &'a str,
    /// Its host name.
    hostname: &'a str,
    /// Whether it has a terminal.
    tty: bool,
    /// Whether it has all powers of the host.
    privileged: bool,
    /// Whether its root folder is read-only.
    read_only: bool,
    /// Capabilities beyond the usual ones.
    cap_add: &'a [String],
    /// Memory in bytes; null without a limit.
    memory_bytes: Option<u64>,
    /// Processors; null without a limit.
    cpus: Option<f64>,
    /// Processes; null without a limit.
    pids: Option<u64>,
    /// When it was last started.
    #[schema(value_type = Option<String>, format = DateTime)]
    started_at: Option<Timestamp>,
    /// When it last ended.
    #[schema(value_type = Option<String>, format = DateTime)]
    finished_at: Option<Timestamp>,
    /// Exit code of its last end.
    exit_code: Option<i64>,
    /// Whether it ran out of memory.
    out_of_memory: bool,
    /// Why it could not be started; empty if it could.
    error: &'a str,
    /// Who made it, such as `key:` and its id; null if it was not made from here.
    created_by: Option<&'a str>,
    /// Whether it belongs to ClawMachine itself, and cannot be changed from here.
    protected: bool,
}

/// A mount in the form in which containers are created.
#[derive(Serialize, ToSchema)]
struct VolumeView<'a> {
    /// Named volume, or folder of the host.
    host: &'a str,
    /// Place in the container.
    container: &'a str,
    /// Whether writing is refused.
    read_only: bool,
}

/// A mount.
#[derive(Serialize, ToSchema)]
struct MountView<'a> {
    /// `bind`, `volume` or `tmpfs`.
    #[serde(rename = "type")]
    kind: &'a str,
    /// Name of the volume, if it is one.
    name: Option<&'a str>,
    /// Folder of the host.
    source: &'a str,
    /// Place in the container.
    target: &'a str,
    /// Driver of the volume, if it is one.
    driver: Option<&'a str>,
    /// Whether writing is refused.
    read_only: bool,
}

/// A container's place in a network.
#[derive(Serialize, ToSchema)]
struct NetworkView<'a> {
    /// Name of the network.
    name: &'a str,
    /// Address in it, while the container runs.
    address: Option<&'a str>,
    /// Names by which others find it.
    aliases: &'a [String],
}

impl<'a> ContainerConfigView<'a> {
    fn of(config: &'a ContainerConfig, now: Timestamp) -> Self {
        let ContainerConfig { details, creator, protected } = config;
        let mounts = &details.mounts;
        let environment = &details.environment;
        Self {
            entry: ContainerView::of(&details.entry, now),
            image_id: &details.image_id,
            env: environment.iter().map(|variable| (&*variable.name, &*variable.value)).collect(),
            volumes: mounts
                .iter()
                .filter(|mount| mount.kind != "tmpfs")
                .map(|mount| VolumeView {
                    host: mount.volume.as_deref().unwrap_or(&mount.source),
                    container: &mount.target,
                    read_only: mount.read_only,
                })
                .collect(),
            mounts: mounts
                .iter()
                .map(|mount| MountView {
                    kind: &mount.kind,
                    name: mount.volume.as_deref(),
                    source: &mount.source,
                    target: &mount.target,
                    driver: mount.driver.as_deref(),
                    read_only: mount.read_only,
                })
                .collect(),
            labels: &details.entry.labels,
            networks: details
                .attachments
                .iter()
                .map(|network| NetworkView {
                    name: &network.name,
                    address: network.address.as_deref(),
                    aliases: &network.aliases,
                })
                .collect(),
            network_mode: &details.network_mode,
            restart_policy: if details.restart_policy.is_empty() { "no" } else { &details.restart_policy },
            restart_count: details.restart_count,
            entrypoint: &details.entrypoint,
            command: &details.command,
            working_dir: &details.working_dir,
            user: &details.user,
            hostname: &details.hostname,
            tty: details.terminal,
            privileged: details.privileged,
            read_only: details.read_only,
            cap_add: &details.cap_add,
            memory_bytes: details.memory_bytes,
            cpus: details.nano_cpus.map(|nanos| nanos as f64 / 1e9),
            pids: details.pids,
            started_at: details.entry.started_at,
            finished_at: details.entry.finished_at,
            exit_code: details.entry.exit_code,
            out_of_memory: details.out_of_memory,
            error: &details.error,
            created_by: creator.as_ref().map(|creator| &*creator.actor),
            protected: *protected,
        }
    }
}

/// Get a container's configuration
///
/// What lists show and everything else. Values that look like secrets are hidden.
#[utoipa::path(
    get, path = "/api/containers/{id}/config", tag = "containers",
    params(("id" = String, Path, description = "Name, id, or the beginning of one.")),
    responses(
        (status = 200, description = "The configuration.", body = Envelope<ContainerConfigView<'static>>),
        (status = 404, description = "`NOT_FOUND`"),
        (status = 503, description = "`DOCKER_ERROR`: the Docker Engine does not answer or refused; `STORE_UNAVAILABLE`"),
    ),
    extensions(("x-scope" = json!("containers:read"))),
)]
async fn get_container_config(
    caller: Caller,
    State(homelab): State<Homelab>,
    Name(container): Name,
) -> ApiResult<Response> {
    let config = homelab.containers.config(&caller, &container).await?;
    Ok(Envelope::of(ContainerConfigView::of(&config, homelab.now())).into_response())
}

/// Start a container
///
/// One that runs already is fine. Goes on when the caller hangs up.
#[utoipa::path(
    post, path = "/api/containers/{id}/start", tag = "containers",
    params(("id" = String, Path, description = "Name, id, or the beginning of one.")),
    responses(
        (status = 200, description = "It runs.", body = Envelope<DoneView>),
        (status = 403, description = "`SCOPE_REQUIRED`, `PROTECTED`, `ORIGIN_NOT_ALLOWED`"),
        (status = 404, description = "`NOT_FOUND`"),
        (status = 409, description = "`CONFLICT`: its state does not allow this."),
        (status = 503, description = "`DOCKER_ERROR`: the Docker Engine does not answer or refused; `STORE_UNAVAILABLE`"),
    ),
    extensions(("x-scope" = json!("containers:write"))),
)]
async fn start_container(
    caller: Caller,
    State(homelab): State<Homelab>,
    Name(container): Name,
) -> ApiResult<Envelope<DoneView>> {
    homelab.containers.start(&caller, &container).await?;
    Ok(DoneView::of("started"))
}

/// Stop a container
///
/// It is asked to end, and ended if it does not. Goes on when the caller hangs up.
#[utoipa::path(
    post, path = "/api/containers/{id}/stop", tag = "containers",
    params(("id" = String, Path, description = "Name, id, or the beginning of one.")),
    responses(
        (status = 200, description = "It does not run.", body = Envelope<DoneView>),
        (status = 403, description = "`SCOPE_REQUIRED`, `PROTECTED`, `ORIGIN_NOT_ALLOWED`"),
        (status = 404, description = "`NOT_FOUND`"),
        (status = 409, description = "`CONFLICT`: its state does not allow this."),
        (status = 503, description = "`DOCKER_ERROR`: the Docker Engine does not answer or refused; `STORE_UNAVAILABLE`"),
    ),
    extensions(("x-scope" = json!("containers:write"))),
)]
async fn stop_container(
    caller: Caller,
    State(homelab): State<Homelab>,
    Name(container): Name,
) -> ApiResult<Envelope<DoneView>> {
    homelab.containers.stop(&caller, &container).await?;
    Ok(DoneView::of("stopped"))
}

/// Restart a container
///
/// Goes on when the caller hangs up.
#[utoipa::path(
    post, path = "/api/containers/{id}/restart", tag = "containers",
    params(("id" = String, Path, description = "Name, id, or the beginning of one.")),
    responses(
        (status = 200, description = "It was stopped and runs again.", body = Envelope<DoneView>),
        (status = 403, description = "`SCOPE_REQUIRED`, `PROTECTED`, `ORIGIN_NOT_ALLOWED`"),
        (status = 404, description = "`NOT_FOUND`"),
        (status = 409, description = "`CONFLICT`: its state does not allow this."),
        (status = 503, description = "`DOCKER_ERROR`: the Docker Engine does not answer or refused; `STORE_UNAVAILABLE`"),
    ),
    extensions(("x-scope" = json!("containers:write"))),
)]
async fn restart_container(
    caller: Caller,
    State(homelab): State<Homelab>,
    Name(container): Name,
) -> ApiResult<Envelope<DoneView>> {
    homelab.containers.restart(&caller, &container).await?;
    Ok(DoneView::of("restarted"))
}

/// Delete a container
///
/// It is stopped first. Its volumes stay. Ask the person before.
#[utoipa::path(
    delete, path = "/api/containers/{id}/delete", tag = "containers",
    params(("id" = String, Path, description = "Name, id, or the beginning of one.")),
    responses(
        (status = 200, description = "It is gone.", body = Envelope<DoneView>),
        (status = 403, description = "`SCOPE_REQUIRED`, `PROTECTED`, `ORIGIN_NOT_ALLOWED`"),
        (status = 404, description = "`NOT_FOUND`"),
        (status = 409, description = "`CONFLICT`: its state does not allow this."),
        (status = 503, description = "`DOCKER_ERROR`: the Docker Engine does not answer or refused; `STORE_UNAVAILABLE`"),
    ),
    extensions(("x-scope" = json!("containers:delete"))),
)]
async fn delete_container(
    caller: Caller,
    State(homelab): State<Homelab>,
    Name(container): Name,
) -> ApiResult<Envelope<DoneView>> {
    homelab.containers.delete(&caller, &container).await?;
    Ok(DoneView::of("deleted"))
}

/// Delete a container, for clients that cannot send DELETE
#[utoipa::path(
    post, path = "/api/containers/{id}/delete", tag = "containers",
    params(("id" = String, Path, description = "Name, id, or the beginning of one.")),
    responses(
        (status = 200, description = "It is gone.", body = Envelope<DoneView>),
        (status = 403, description = "`SCOPE_REQUIRED`, `PROTECTED`, `ORIGIN_NOT_ALLOWED`"),
        (status = 404, description = "`NOT_FOUND`"),
        (status = 409, description = "`CONFLICT`: its state does not allow this."),
        (status = 503, description = "`DOCKER_ERROR`: the Docker Engine does not answer or refused; `STORE_UNAVAILABLE`"),
    ),
    extensions(("x-scope" = json!("containers:delete"))),
)]
async fn delete_container_by_post(
    caller: Caller,
    homelab: State<Homelab>,
    name: Name,
) -> ApiResult<Envelope<DoneView>> {
    delete_container(caller, homelab, name).await
}
