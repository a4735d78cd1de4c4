//! Every part of the server, built from the settings.

use std::{
    fs::Permissions,
    net::SocketAddr,
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    sync::Arc,
};

use claw_agent::{
    docker::{DockerSandbox, DockerSandboxConfig, HostPaths},
    gateway::{CredentialSource, Gateway, GatewayConfig},
    local::{LocalConfig, LocalSandbox},
    run::DiskWatch,
    sandbox::{Limits, Sandbox, SandboxKind},
};
use claw_core::{Clock, ErrorCode, RetryPolicy, Secret, SystemClock, Usd, WorkspaceId};
use claw_docker::Docker;
use claw_gate::{Gate, GateConfig};
use claw_jobs::{
    DiskGuard, JobService, JobsGauges, Redactor, Retention, RetentionRules, Settings as JobSettings,
    SettingsDefaults, SpendingService, Worker, WorkerConfig, WorkerParts, WorkerState, WorkspaceService,
};
use claw_server::{App, HttpConfig};
use claw_store::sqlite::{SqliteOptions, SqliteStore};
use claw_workspace::Workspaces;

use super::{failed, homelab::HomelabPart, prices, probes::ServerProbes, telemetry::Scrape};
use crate::{
    error::CliError,
    settings::{Environment, ExecutionBackend, MetricsAccess, ModelSettings, Settings},
};

/// Longest pause between two runs of a job that failed.
const MAX_RETRY_DELAY: std::time::Duration = std::time::Duration::from_secs(300);

/// The right of the group and of all others to write.
const OTHERS_WRITE: u32 = 0o022;

/// In a folder with this bit, files can be removed by their owners alone.
const STICKY: u32 = 0o1000;

/// Everything that `claw serve` runs.
pub(super) struct Parts {
    pub(super) gate: Gate,
    pub(super) retention: Retention,
    gauges: JobsGauges,
    gateway: Gateway,
    disk: DiskGuard,
    database: SqliteStore,
    docker: Docker,
    homelab: HomelabPart,
    docker_sandbox: Option<DockerSandbox>,
    jobs: JobService,
    workspaces: WorkspaceService,
    settings: JobSettings,
    worker_state: WorkerState,
}

impl Parts {
    /// Opens the data folder and builds every part. Nothing runs yet but the mirror of the Docker Engine.
    pub(super) async fn build(
        settings: &Settings,
        environment: &Environment,
    ) -> Result<(Self, Worker), CliError> {
        let (data_dir, database) = open_store(settings)?;
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let store = database.store();
        // Only after the store: its lock makes sure that no other server uses this folder.
        let instance = instance(&data_dir)?;
        let config = GateConfig { api_token: settings.server.api_token.clone(), data_dir: data_dir.clone() };
        let gate = Gate::new(config, store.clone(), Arc::clone(&clock))
            .map_err(failed("preparing access control"))?;
        gate.audit().record_reads(settings.audit.reads);
        let files = Workspaces::open(&data_dir).await.map_err(failed("opening the workspaces"))?;
        let (engine, certificates) = (&settings.server.docker_host, &settings.server.docker_cert_path);
        let docker = Docker::connect_with(engine.as_deref(), certificates.as_deref())
            .map_err(failed("preparing the way to Docker"))?;
        let mut gateway = GatewayConfig::new(credential(&settings.model));
        gateway.upstream = settings.model.base_url.0.parse().map_err(|error| {
            CliError::usage(format!(
                "`model.base_url`: `{}` is not an address: {error}",
                settings.model.base_url.0
            ))
        })?;
        gateway.prices = prices::load(settings.model.prices.as_deref())?;
        let gateway = Gateway::new(gateway, Arc::clone(&clock))
            .map_err(|error| CliError::new(ErrorCode::InvalidRequest, error.to_string()))?;
        let (sandbox, docker_sandbox) = sandbox(settings, environment, &data_dir, &instance, &docker)?;

        let defaults = defaults(settings, sandbox.kind());
        if !defaults.has_model_credential {
            tracing::warn!(
                "no credential for the model API: log in with `claude` or set ANTHROPIC_API_KEY, or jobs will fail"
            );
        }
        let job_settings = JobSettings::new(store.clone(), gate.clone(), defaults);
        let disk = DiskGuard::new(data_dir.clone(), settings.storage.reserve.bytes());
        let redactor = Redactor::new(secrets(settings));
        let workspaces = WorkspaceService::new(
            store.clone(),
            gate.clone(),
            files.clone(),
            job_settings.clone(),
            disk.clone(),
            Arc::clone(&clock),
        )
        .forgetting_in(Arc::clone(&sandbox));
        let jobs = JobService::new(store.clone(), gate.clone(), workspaces.clone(), Arc::clone(&clock));
        let worker_state = WorkerState::default();
        let config = WorkerConfig {
            instance,
            boot: WorkspaceId::new().short(),
            capacity: settings.server.workers.get(),
            run_root: data_dir.join("run"),
            run_disk: Some(DiskWatch::new(
                settings.sandbox.disk.limit(),
                data_dir.clone(),
                settings.storage.reserve.bytes(),
            )),
            lease: settings.jobs.lease,
            retry: RetryPolicy {
                max_retries: settings.jobs.max_retries,
                base_delay: settings.jobs.retry_base_delay,
                max_delay: MAX_RETRY_DELAY,
            },
            shutdown_grace: settings.jobs.shutdown_grace,
        };
        let retention = Retention::new(
            store.clone(),
            gate.clone(),
            files.clone(),
            Arc::clone(&sandbox),
            retention_rules(settings),
            Arc::clone(&clock),
        );
        let homelab = HomelabPart::build(settings, environment, &docker, &gate, &store, &clock)?;
        let gauges = JobsGauges::new(store.clone(), disk.clone(), Arc::clone(&clock));
        let worker = Worker::new(WorkerParts {
            store,
            gate: gate.clone(),
            files,
            sandbox,
            gateway: gateway.clone(),
            settings: job_settings.clone(),
            disk: disk.clone(),
            redactor,
            clock,
            config,
            state: worker_state.clone(),
        });
        let parts = Self {
            gate,
            retention,
            gauges,
            gateway,
            disk,
            database,
            docker,
            homelab,
            docker_sandbox,
            jobs,
            workspaces,
            settings: job_settings,
            worker_state,
        };
        Ok((parts, worker))
    }

    /// Returns the HTTP side, to be served on `listen`.
    pub(super) fn app(&self, settings: &Settings, listen: SocketAddr, scrape: Scrape) -> App {
        let server = &settings.server;
        // Behind TLS the pages of this server have an https origin, which must then be configured.
        let secure_cookies = settings
            .http
            .secure_cookies
            .unwrap_or_else(|| server.cors_origins.0.iter().any(|origin| origin.starts_with("https://")));
        let store = self.database.store();
        let probes = ServerProbes {
            store: store.clone(),
            disk: self.disk.clone(),
            worker: self.worker_state.clone(),
            gateway: self.gateway.clone(),
            sandbox: self.docker_sandbox.clone(),
            gauges: self.gauges.clone(),
            scrape,
        };
        App {
            gate: self.gate.clone(),
            jobs: self.jobs.clone(),
            workspaces: self.workspaces.clone(),
            settings: self.settings.clone(),
            spending: SpendingService::new(store, self.gate.clone()),
            retention: self.retention.clone(),
            homelab: self.homelab.homelab.clone(),
            probes: Arc::new(probes),
            engine: Some(self.docker.clone()),
            worker: self.worker_state.clone(),
            config: HttpConfig {
                listen,
                allowed_hosts: server.allowed_hosts.0.clone(),
                cors_origins: server.cors_origins.0.clone(),
                secure_cookies,
                trusted_proxies: settings.http.trusted_proxies.0.clone(),
                max_streams_per_caller: settings.http.max_streams_per_caller.get(),
                metrics: match settings.telemetry.metrics {
                    MetricsAccess::Local => claw_server::MetricsAccess::Local,
                    MetricsAccess::On => claw_server::MetricsAccess::Everyone,
                    MetricsAccess::Admin => claw_server::MetricsAccess::Administrators,
                    MetricsAccess::Off => claw_server::MetricsAccess::Nobody,
                },
                sandbox_image: settings.sandbox.image.clone(),
                version: env!("CARGO_PKG_VERSION").to_owned(),
            },
        }
    }

    /// Ends what is left once nothing runs any more, and closes the store.
    pub(super) async fn close(self) {
        if let Some(sandbox) = &self.docker_sandbox {
            sandbox.settle().await;
        }
        self.gateway.settled().await;
        self.homelab.close().await;
        // The last thing that is written: how the deeds of the last requests went.
        self.gate.audit().flush().await;
        let Self { database, gate, gateway, retention, gauges, jobs, workspaces, settings, .. } = self;
        drop((gate, gateway, retention, gauges, jobs, workspaces, settings));
        database.close().await;
    }
}

/// Opens the store in the data folder, which is made if it is not there. Only one process at a time can.
pub(crate) fn open_store(settings: &Settings) -> Result<(PathBuf, SqliteStore), CliError> {
    let data_dir = prepare_data_dir(&settings.server.data_dir)?;
    let database = SqliteStore::open(&data_dir.join("claw.db"), SqliteOptions::default())
        .map_err(failed("opening the store"))?;
    Ok((data_dir, database))
}

/// Makes the data folder, which only its owner may enter. In one that is there already others may not write: whoever
/// puts a setup token there becomes administrator. What is in it is closed to others by itself.
fn prepare_data_dir(path: &Path) -> Result<PathBuf, CliError> {
    let problem = |error: std::io::Error| {
        CliError::new(ErrorCode::Internal, format!("cannot use the data folder {}: {error}", path.display()))
            .with_hint("choose another one with --data-dir")
    };
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(problem)?;
    let mode = path.metadata().map_err(problem)?.mode();
    // A sticky folder, such as /tmp, is shared on purpose, and not for us to close.
    if mode & OTHERS_WRITE != 0 && mode & STICKY == 0 {
        let closed = std::fs::set_permissions(path, Permissions::from_mode(mode & !OTHERS_WRITE));
        match closed {
            Ok(()) => {
                tracing::warn!(path = %path.display(), "other users could write to the data folder: no more")
            }
            // Not ours to change, such as a volume that an orchestrator of containers hands out.
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "other users may be able to write to the data folder");
            }
        }
    }
    path.canonicalize().map_err(problem)
}

/// Returns the name of this data folder, making one at the first start. It stands in the labels of containers and
/// the names of workers.
fn instance(data_dir: &Path) -> Result<String, CliError> {
    let path = data_dir.join("instance");
    match std::fs::read_to_string(&path) {
        Ok(text) => {
            let name = text.trim();
            if name.len() == 12 && name.bytes().all(|byte| byte.is_ascii_hexdigit()) {
                return Ok(name.to_owned());
            }
            Err(CliError::new(
                ErrorCode::Internal,
                format!("{} does not hold an instance name", path.display()),
            )
            .with_hint("restore it from a backup; or, if no job container of this server runs, delete it"))
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            use std::io::Write;
            let name = WorkspaceId::new().short();
            let temporary = path.with_extension("new");
            let mut options = std::fs::File::options();
            let mut file = options.create(true).truncate(true).write(true).mode(0o600).open(&temporary)?;
            writeln!(file, "{name}")?;
            file.sync_all()?;
            std::fs::rename(&temporary, &path)?;
            Ok(name)
        }
        Err(error) => Err(error.into()),
    }
}

/// Returns what must not show in logs and results.
fn secrets(settings: &Settings) -> Vec<Secret> {
    let ModelSettings { api_key, auth_token, oauth_token, .. } = &settings.model;
    [&settings.server.api_token, api_key, auth_token, oauth_token].into_iter().flatten().cloned().collect()
}

/// The most explicit one wins: whoever sets a key for this server means it to be used.
fn credential(model: &ModelSettings) -> CredentialSource {
    if let Some(key) = &model.api_key {
        CredentialSource::ApiKey(key.clone())
    } else if let Some(token) = &model.auth_token {
        CredentialSource::AuthToken(token.clone())
    } else if let Some(token) = &model.oauth_token {
        CredentialSource::OauthToken(token.clone())
    } else {
        CredentialSource::LoginFile(model.claude_home.join(".credentials.json"))
    }
}

fn sandbox(
    settings: &Settings,
    environment: &Environment,
    data_dir: &Path,
    instance: &str,
    docker: &Docker,
) -> Result<(Arc<dyn Sandbox>, Option<DockerSandbox>), CliError> {
    match settings.server.execution_backend {
        ExecutionBackend::Docker => {
            let mut config = DockerSandboxConfig::new(instance);
            config.image = settings.sandbox.image.clone();
            config.warm.count = settings.sandbox.warm.0;
            config.warm.memory_bytes = settings.sandbox.warm_memory.0;
            config.host_paths = settings
                .server
                .host_data_dir
                .clone()
                .map(|host| HostPaths { inside: data_dir.to_owned(), host });
            let sandbox = DockerSandbox::new(docker.clone(), config);
            Ok((Arc::new(sandbox.clone()), Some(sandbox)))
        }
        ExecutionBackend::Local => {
            tracing::warn!("jobs run as plain processes of this user, without a sandbox");
            let text = |name: &str, default: &str| environment.get(name).unwrap_or(default).to_owned();
            let config = LocalConfig {
                program: settings.local.claude_program.clone().into(),
                data_dir: data_dir.to_owned(),
                path: text("PATH", "/usr/local/bin:/usr/bin:/bin"),
                lang: text("LANG", "C.UTF-8"),
            };
            Ok((Arc::new(LocalSandbox::new(config)), None))
        }
    }
}

fn retention_rules(settings: &Settings) -> RetentionRules {
    let retention = &settings.retention;
    RetentionRules {
        jobs_days: retention.jobs_days.limit(),
        jobs_count: retention.jobs_count.limit(),
        logs_days: retention.logs_days.limit(),
        events_days: retention.events_days.limit(),
        audit_days: retention.audit_days.limit(),
        timeline_days: retention.timeline_days.limit(),
        store_bytes: retention.store_size.limit(),
    }
}

fn defaults(settings: &Settings, backend: SandboxKind) -> SettingsDefaults {
    SettingsDefaults {
        backend,
        sandbox_image: settings.sandbox.image.clone(),
        limits: Limits {
            memory_bytes: settings.sandbox.memory.0,
            cpus: settings.sandbox.cpus.0,
            pids: settings.sandbox.pids.0,
        },
        network: settings.sandbox.network,
        timeout: settings.jobs.default_timeout,
        max_budget_usd: settings.jobs.default_max_budget.map(|dollars| dollars.0),
        budget_ceiling: settings.jobs.max_budget.and_then(|most| Usd::from_dollars(most.0)),
        max_cost_per_day: settings.jobs.max_cost_per_day.and_then(|most| Usd::from_dollars(most.0)),
        has_model_credential: match credential(&settings.model) {
            CredentialSource::LoginFile(path) => path.exists(),
            CredentialSource::Missing => false,
            CredentialSource::ApiKey(_)
            | CredentialSource::AuthToken(_)
            | CredentialSource::OauthToken(_) => true,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn others_may_not_write_to_the_data_folder() {
        let folder = tempfile::tempdir().expect("a folder");
        let shared = folder.path().join("shared");
        std::fs::create_dir(&shared).expect("made");
        for (before, after) in
            [(0o777, 0o755), (0o2775, 0o2755), (0o1777, 0o1777), (0o750, 0o750), (0o700, 0o700)]
        {
            std::fs::set_permissions(&shared, Permissions::from_mode(before)).expect("changed");

            prepare_data_dir(&shared).expect("prepared");

            assert_eq!(shared.metadata().expect("a folder").mode() & 0o7777, after, "{before:o}");
        }
        let new = prepare_data_dir(&folder.path().join("new/folder")).expect("made");
        assert_eq!(new.metadata().expect("a folder").mode() & 0o777, 0o700);
    }
}
