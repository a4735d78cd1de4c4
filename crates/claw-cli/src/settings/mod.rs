//! Settings of the server: each is defined once here, with its meaning, its variables and its default.
//!
//! The macro below makes of one list the typed sections, the table that the sample file is written from, and the
//! reading of every layer. A value that cannot be used stops the program and names its key, where it came from and
//! what was expected.

mod environment;
mod file;
mod layers;
mod sample;
mod value;

use std::{
    net::SocketAddr,
    num::NonZeroUsize,
    path::{Path, PathBuf},
    time::Duration,
};

use claw_core::{NetworkMode, Secret};

pub(crate) use self::{
    environment::Environment,
    file::ConfigFile,
    layers::{Overrides, SettingsError},
    sample::sample,
    value::{
        ByteSize, CpuLimit, DiskSize, Dollars, ExecutionBackend, HostNames, HttpUrl, KeptCount, KeptDays,
        LogFormat, MetricsAccess, Networks, Origins, PidsLimit, WarmCount,
    },
};
use self::{
    layers::{Initial, Layers, Setting, Source},
    value::Value,
};

/// A part of the file, with its settings.
pub(crate) struct Section {
    name: &'static str,
    doc: &'static [&'static str],
    settings: &'static [Setting],
}

macro_rules! sections {
    ($(
        $(#[doc = $section_doc:literal])*
        $section:ident: $type_name:ident in $section_name:literal {$(
            $(#[doc = $doc:literal])*
            $field:ident: $type:ty, $key:literal, [$($variable:literal),*], $kind:ident $initial:literal;
        )*}
    )*) => {
        $(
            $(#[doc = $section_doc])*
            #[derive(Clone, Debug)]
            pub(crate) struct $type_name { $($(#[doc = $doc])* pub(crate) $field: sections!(@type $kind $type),)* }

            impl $type_name {
                const SETTINGS: &'static [Setting] = &[$(Setting {
                    key: $key,
                    doc: &[$($doc),*],
                    variables: &[$($variable),*],
                    initial: sections!(@initial $kind $initial),
                    expected: <$type as Value>::EXPECTED,
                    is_secret: <$type as Value>::SECRET,
                }),*];

                fn resolve(layers: &Layers<'_>) -> Result<Self, SettingsError> {
                    let mut settings = Self::SETTINGS.iter();
                    // The table has one entry for each field, in the same order.
                    $(let $field = match settings.next() {
                        Some(setting) => sections!(@resolve $kind layers setting),
                        None => return Err(SettingsError::Together("the table of settings is incomplete")),
                    };)*
                    Ok(Self { $($field),* })
                }
            }
        )*

        /// All settings of the server.
        #[derive(Clone, Debug)]
        pub(crate) struct Settings { $($(#[doc = $section_doc])* pub(crate) $section: $type_name,)* }

        impl Settings {
            fn resolve(layers: &Layers<'_>) -> Result<Self, SettingsError> {
                Ok(Self { $($section: $type_name::resolve(layers)?,)* })
            }
        }

        /// The sections, in the order of the sample file.
        const SECTIONS: &[Section] =
            &[$(Section { name: $section_name, doc: &[$($section_doc),*], settings: $type_name::SETTINGS }),*];
    };
    (@type default $type:ty) => { $type };
    (@type example $type:ty) => { Option<$type> };
    (@initial default $text:literal) => { Initial::Default($text) };
    (@initial example $text:literal) => { Initial::Example($text) };
    (@resolve default $layers:ident $setting:ident) => { $layers.required($setting)? };
    (@resolve example $layers:ident $setting:ident) => { $layers.optional($setting)? };
}

sections! {
    /// The server: where it listens, where it keeps its data, who may enter.
    server: ServerSettings in "" {
        /// Address and port to listen on. Only this machine can reach a loopback address; to be reached from others,
        /// listen on `0.0.0.0:5179` and put TLS in front.
        /// The variables CLAW_API_PORT and PORT change the port alone.
        listen: SocketAddr, "listen", ["CLAW_LISTEN"], default "\"127.0.0.1:5179\"";
        /// Folder for the database, the workspaces and the logs.
        data_dir: PathBuf, "data_dir", ["CLAW_DATA_DIR", "WAGMIOS_DATA_DIR"], default "\"~/.claw\"";
        /// How many jobs run at once.
        workers: NonZeroUsize, "workers", ["CLAW_WORKER_CONCURRENCY"], default "2";
        /// A token that may do everything (`Authorization: Bearer …`), good from the first start.
        api_token: Secret, "api_token", ["CLAW_API_TOKEN"], example "\"a long random text\"";
        /// Name of the administrator who is created at the first start, together with `admin_password`.
        admin_user: String, "admin_user", ["CLAW_ADMIN_USER"], example "\"admin\"";
        /// Password of that administrator.
        admin_password: Secret, "admin_password", ["CLAW_ADMIN_PASSWORD"], example "\"a long password\"";
        /// Origins of other sites whose pages may call this server.
        cors_origins: Origins, "cors_origins", ["CLAW_CORS_ORIGIN"], default "[]";
        /// Names besides loopback ones and the listen address under which this server answers.
        allowed_hosts: HostNames, "allowed_hosts", ["CLAW_ALLOWED_HOSTS"], default "[]";
        /// Where jobs run: `docker`, each in a container of its own, or `local`, as processes of this machine
        /// without a sandbox. A word other than these stops the start.
        execution_backend: ExecutionBackend, "execution_backend", ["CLAW_EXECUTION_BACKEND"], default "\"docker\"";
        /// Where the Docker Engine listens; unset takes the platform's default.
        docker_host: String, "docker_host", ["DOCKER_HOST"], example "\"unix:///var/run/docker.sock\"";
        /// Folder with `ca.pem`, `cert.pem` and `key.pem`, for a Docker Engine that is reached over TLS.
        docker_cert_path: PathBuf, "docker_cert_path", ["DOCKER_CERT_PATH"], example "\"/etc/clawmachine/docker\"";
        /// The path of `data_dir` as the Docker Engine sees it, when this server itself runs in a container.
        host_data_dir: PathBuf, "host_data_dir", ["CLAW_HOST_DATA_DIR", "WAGMIOS_HOST_PATH"],
            example "\"/srv/clawmachine\"";
    }

    /// What the server takes from those who connect.
    http: HttpSettings in "server" {
        /// Addresses of proxies in front of this server, as single ones or as networks. From them alone the header
        /// `X-Forwarded-For` tells who the client is; rate limits and the audit trail go by it.
        trusted_proxies: Networks, "server.trusted_proxies", ["CLAW_TRUSTED_PROXIES"], default "[]";
        /// Whether session cookies are for TLS alone. Unset means: when one of `cors_origins` begins with https.
        secure_cookies: bool, "server.secure_cookies", ["CLAW_SECURE_COOKIES"], example "true";
        /// How many live streams (logs, events) one caller may follow at once.
        max_streams_per_caller: NonZeroUsize, "server.max_streams_per_caller", ["CLAW_MAX_STREAMS_PER_CALLER"],
            default "32";
    }

    /// The homelab: what agents may do with the machine's own containers, and the apps of the marketplace.
    homelab: HomelabSettings in "homelab" {
        /// File that says what may be created on Docker; `claw policy sample` prints one with comments. Unset means
        /// `policy.toml` in `data_dir` if it is there, and otherwise what this version allows by itself.
        policy: PathBuf, "homelab.policy", ["CLAW_POLICY"], example "\"/etc/clawmachine/policy.toml\"";
        /// Folder of the installed apps, and the only one besides those of the policy that containers may mount from.
        /// Unset means `containers` in `data_dir`.
        containers_dir: PathBuf, "homelab.containers_dir",
            ["CLAW_CONTAINERS_DIR", "WAGMIOS_CONTAINER_CONTAINERS_DIR"], example "\"/srv/containers\"";
        /// The path of that folder as the Docker Engine sees it, when this server itself runs in a container.
        host_containers_dir: PathBuf, "homelab.host_containers_dir",
            ["CLAW_HOST_CONTAINERS_DIR", "WAGMIOS_HOST_CONTAINERS_DIR"], example "\"/home/me/.wagmios/containers\"";
        /// Address of a catalog (its `manifest.json`) whose apps are offered beside the built-in ones.
        marketplace_url: HttpUrl, "homelab.marketplace_url", ["CLAW_MARKETPLACE_URL", "WAGMIOS_MARKETPLACE_URL"],
            example "\"https://apps.example.org/manifest.json\"";
    }

    /// The audit trail.
    audit: AuditSettings in "audit" {
        /// Whether reading is recorded too. Changes and refusals always are.
        reads: bool, "audit.reads", ["CLAW_AUDIT_READS"], default "false";
    }

    /// The containers that jobs run in. Workspaces can set limits of their own, up to these.
    sandbox: SandboxSettings in "sandbox" {
        /// Image with the agent CLI.
        image: String, "sandbox.image", ["CLAW_SANDBOX_IMAGE"], default "\"claw-sandbox:latest\"";
        /// Memory limit of one job, and the most that a workspace can have.
        memory: ByteSize, "sandbox.memory", ["CLAW_SANDBOX_MEMORY"], default "\"4g\"";
        /// CPU limit of one job, in cores, and the most that a workspace can have.
        cpus: CpuLimit, "sandbox.cpus", ["CLAW_SANDBOX_CPUS"], default "2.0";
        /// Most processes of one job.
        pids: PidsLimit, "sandbox.pids", ["CLAW_SANDBOX_PIDS"], default "256";
        /// Network of a job: `none` (the model is reached through a socket of its own) or `bridge`. With `none` no
        /// workspace can have another one.
        network: NetworkMode, "sandbox.network", ["CLAW_SANDBOX_NETWORK"], default "\"none\"";
        /// Most that one job may write: its working copy and its HOME together. 0 means no limit.
        disk: DiskSize, "sandbox.disk", ["CLAW_SANDBOX_DISK"], default "\"10g\"";
        /// How many containers wait with the agent CLI started, so that a job begins at once. Each serves one job.
        /// 0 starts every job's container when the job begins.
        warm: WarmCount, "sandbox.warm", ["CLAW_SANDBOX_WARM"], default "1";
        /// Most memory that all waiting containers hold together; one that waits takes about 160 MB.
        warm_memory: ByteSize, "sandbox.warm_memory", ["CLAW_SANDBOX_WARM_MEMORY"], default "\"1g\"";
    }

    /// Jobs without a sandbox (`execution_backend = "local"`).
    local: LocalSettings in "local" {
        /// The agent CLI: a name that is looked for in PATH, or a path.
        claude_program: String, "local.claude_program", ["CLAW_CLAUDE_PROGRAM"], default "\"claude\"";
    }

    /// The model API. Credentials stay in this process: jobs reach the model through it and see none of them.
    model: ModelSettings in "model" {
        /// Address of the API.
        base_url: HttpUrl, "model.base_url", ["ANTHROPIC_BASE_URL"], default "\"https://api.anthropic.com\"";
        /// API key.
        api_key: Secret, "model.api_key", ["ANTHROPIC_API_KEY"], example "\"sk-ant-…\"";
        /// Bearer token, for a proxy that speaks the API.
        auth_token: Secret, "model.auth_token", ["ANTHROPIC_AUTH_TOKEN"], example "\"a token\"";
        /// The long-lived token of a Claude login, as `claude setup-token` prints it.
        oauth_token: Secret, "model.oauth_token", ["CLAUDE_CODE_OAUTH_TOKEN"], example "\"sk-ant-oat…\"";
        /// Folder with the login of the agent CLI, used when neither a key nor a token is set.
        claude_home: PathBuf, "model.claude_home", ["CLAUDE_CONFIG_DIR"], default "\"~/.claude\"";
        /// File with prices of your own, for models that this version does not know or that cost you something else.
        prices: PathBuf, "model.prices", ["CLAW_MODEL_PRICES"], example "\"/etc/clawmachine/prices.toml\"";
    }

    /// What holds for jobs that do not say otherwise.
    jobs: JobSettings in "jobs" {
        /// Longest run of a job, in seconds.
        default_timeout: Duration, "jobs.default_timeout_secs", ["CLAW_DEFAULT_TIMEOUT_SECS"], default "1800";
        /// Most that a job may cost, in US dollars over all its runs; unset means no limit.
        default_max_budget: Dollars, "jobs.default_max_budget_usd", ["CLAW_DEFAULT_MAX_BUDGET_USD"], example "10.0";
        /// Most that any job may cost, whatever it asks for, in US dollars; unset means no ceiling.
        max_budget: Dollars, "jobs.max_budget_usd", ["CLAW_MAX_BUDGET_USD"], example "25.0";
        /// Most that all jobs together may cost in a day (UTC), in US dollars. Beyond it no job begins until the next
        /// day or until this is raised; unset means no limit.
        max_cost_per_day: Dollars, "jobs.max_cost_per_day_usd", ["CLAW_MAX_COST_PER_DAY_USD"], example "100.0";
        /// How often a run that failed for a passing reason is tried again.
        max_retries: u32, "jobs.max_retries", ["CLAW_MAX_RETRIES"], default "3";
        /// Pause before the first retry, in seconds; it doubles with each further one.
        retry_base_delay: Duration, "jobs.retry_base_delay_secs", ["CLAW_RETRY_BASE_DELAY_SECS"], default "5";
        /// After so many seconds without a sign of life a worker's job is given to another one.
        lease: Duration, "jobs.lease_secs", ["CLAW_LEASE_SECS"], default "30";
        /// At shutdown, running jobs have so many seconds to end before they are handed back to the queue.
        shutdown_grace: Duration, "jobs.shutdown_grace_secs", ["CLAW_SHUTDOWN_GRACE_SECS"], default "10";
    }

    /// How long things are kept. What is older goes in small steps, once an hour or with `claw gc`. 0 keeps it for ever.
    retention: RetentionSettings in "retention" {
        /// Days that an ended job is kept, with its log and its result.
        jobs_days: KeptDays, "retention.jobs_days", ["CLAW_RETENTION_JOBS_DAYS"], default "0";
        /// How many ended jobs are kept, the newest ones.
        jobs_count: KeptCount, "retention.jobs_count", ["CLAW_RETENTION_JOBS_COUNT"], default "0";
        /// Days that the log of an ended job is kept; the job itself stays.
        logs_days: KeptDays, "retention.logs_days", ["CLAW_RETENTION_LOGS_DAYS"], default "90";
        /// Days that job events are kept, for clients that come back and ask what they missed.
        events_days: KeptDays, "retention.events_days", ["CLAW_RETENTION_EVENTS_DAYS"], default "30";
        /// Days that audit entries are kept.
        audit_days: KeptDays, "retention.audit_days", ["CLAW_RETENTION_AUDIT_DAYS"], default "365";
        /// How many events of the activity feed are kept, the newest ones.
        activity_count: KeptCount, "retention.activity_count", ["CLAW_RETENTION_ACTIVITY_COUNT"], default "10000";
        /// Days that the entries of a workspace's timeline are kept. Its files and their history are never touched.
        timeline_days: KeptDays, "retention.timeline_days", ["CLAW_RETENTION_TIMELINE_DAYS"], default "365";
        /// Size of the database beyond which the oldest ended jobs go, whatever their age.
        store_size: DiskSize, "retention.store_size", ["CLAW_RETENTION_STORE_SIZE"], default "0";
    }

    /// The disk of the data folder.
    storage: StorageSettings in "storage" {
        /// Bytes kept free for the jobs that run. With less, new work is refused until there is room again.
        reserve: DiskSize, "storage.reserve", ["CLAW_STORAGE_RESERVE"], default "\"1g\"";
    }

    /// What the server tells about itself.
    telemetry: TelemetrySettings in "telemetry" {
        /// Who may read `/metrics`: `local` (programs on this machine, and administrators from anywhere), `on`
        /// (everybody who reaches this server), `admin` (administrators alone) or `off`.
        metrics: MetricsAccess, "telemetry.metrics", ["CLAW_METRICS"], default "\"local\"";
        /// Where traces are sent: a collector that takes OTLP over HTTP. Unset sends nothing.
        otlp_endpoint: HttpUrl, "telemetry.otlp_endpoint", ["CLAW_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"],
            example "\"http://127.0.0.1:4318\"";
    }

    /// The server's own log, on standard error.
    log: LogSettings in "log" {
        /// `text` for people or `json` for programs.
        format: LogFormat, "log.format", ["CLAW_LOG_FORMAT"], default "\"text\"";
        /// What is logged, such as `info` or `warn,claw_jobs=debug`.
        filter: String, "log.filter", ["RUST_LOG"], default "\"info\"";
    }
}

/// Returns every setting.
fn all() -> impl Iterator<Item = &'static Setting> {
    SECTIONS.iter().flat_map(|section| section.settings)
}

/// Tells whether the file has a section of this name.
fn is_section(name: &str) -> bool {
    !name.is_empty() && SECTIONS.iter().any(|section| section.name == name)
}

impl Settings {
    /// Merges all layers. `config` is the file named on the command line.
    pub(crate) fn load(
        flags: &Overrides,
        environment: &Environment,
        config: Option<&Path>,
    ) -> Result<Self, SettingsError> {
        let file = ConfigFile::find(config, environment, Path::new("."))?;
        Self::merge(flags, environment, file.as_ref())
    }

    fn merge(
        flags: &Overrides,
        environment: &Environment,
        file: Option<&ConfigFile>,
    ) -> Result<Self, SettingsError> {
        let layers = Layers { flags, environment, file };
        let mut settings = Self::resolve(&layers)?;
        let server = &mut settings.server;
        if let Some(port) = port_variable(&layers)? {
            server.listen.set_port(port);
        }
        if server.data_dir.starts_with("~") && environment.home().is_none() {
            return Err(SettingsError::Together(
                "`data_dir` begins with `~` and HOME is not set; set CLAW_DATA_DIR to an absolute path",
            ));
        }
        server.data_dir = environment.expand(&server.data_dir);
        if server.admin_user.is_some() != server.admin_password.is_some() {
            return Err(SettingsError::Together("`admin_user` and `admin_password` must be set together"));
        }
        let jobs = &settings.jobs;
        if let (Some(default), Some(most)) = (jobs.default_max_budget, jobs.max_budget)
            && default.0 > most.0
        {
            return Err(SettingsError::Together(
                "`jobs.default_max_budget_usd` is above `jobs.max_budget_usd`",
            ));
        }
        for path in [
            &mut settings.server.docker_cert_path,
            &mut settings.homelab.policy,
            &mut settings.homelab.containers_dir,
        ] {
            *path = path.take().map(|path| environment.expand(&path));
        }
        // Docker takes no path that begins anywhere else, and none of ours must be read as the name of a volume.
        if settings.homelab.host_containers_dir.as_ref().is_some_and(|path| !path.is_absolute()) {
            return Err(SettingsError::Together("`homelab.host_containers_dir` must be an absolute path"));
        }
        settings.model.claude_home = environment.expand(&settings.model.claude_home);
        settings.model.prices = settings.model.prices.map(|path| environment.expand(&path));
        let program = &mut settings.local.claude_program;
        if program.contains('/') {
            *program = environment.expand(Path::new(program)).to_string_lossy().into_owned();
        }
        Ok(settings)
    }
}

impl Settings {
    /// Returns the folder of the installed apps.
    pub(crate) fn containers_dir(&self) -> PathBuf {
        self.homelab.containers_dir.clone().unwrap_or_else(|| self.server.data_dir.join("containers"))
    }

    /// Returns the path of that folder as the Docker Engine sees it.
    pub(crate) fn host_containers_dir(&self) -> PathBuf {
        let server = &self.server;
        match (&self.homelab.host_containers_dir, &server.host_data_dir) {
            (Some(named), _) => named.clone(),
            // Somewhere else than in the data folder, where is known to nobody but the one who chose it.
            (None, Some(host)) => match self.containers_dir().strip_prefix(&server.data_dir) {
                Ok(inside) => host.join(inside),
                Err(_) => self.containers_dir(),
            },
            (None, None) => self.containers_dir(),
        }
    }

    /// Returns the file with the policy, if there is one. One that was named must be there; a reader says so.
    pub(crate) fn policy_file(&self) -> Option<PathBuf> {
        let in_data_dir = self.server.data_dir.join("policy.toml");
        // A broken link is a file that was meant to be used.
        self.homelab.policy.clone().or_else(|| in_data_dir.symlink_metadata().is_ok().then_some(in_data_dir))
    }
}

/// Returns the port that a variable sets alone. A whole address from a flag or variable comes before it.
fn port_variable(layers: &Layers<'_>) -> Result<Option<u16>, SettingsError> {
    let listen = &ServerSettings::SETTINGS[0];
    if matches!(layers.source(listen), Source::Flag(_) | Source::Variable(_)) {
        return Ok(None);
    }
    for name in ["CLAW_API_PORT", "PORT"] {
        if let Some(text) = layers.environment.get(name) {
            let port = text
                .parse()
                .map_err(|_| SettingsError::BadPort { name, text: text.chars().take(20).collect() })?;
            return Ok(Some(port));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests;
