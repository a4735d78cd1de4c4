//! From a run's specification to the container that is asked for. Pure, apart from one look at the starting folder.

use std::{collections::BTreeMap, path::Path};

use claw_core::{JobId, NetworkMode, WorkspaceId};
use claw_docker::{ContainerNetwork, Mount, MountSource, SandboxContainer};

use super::{DockerSandboxConfig, HostPaths};
use crate::{
    invocation::model_environment,
    sandbox::{GATEWAY_SOCKET_NAME, JOB_VARIABLE, SandboxSpec},
};

/// Labels on containers and volumes of ours.
pub(super) mod label {
    /// Which data folder's server made it.
    pub(crate) const INSTANCE: &str = "claw.instance";
    /// The job it was made for.
    pub(crate) const JOB: &str = "claw.job";
    /// Which attempt at the job.
    pub(crate) const ATTEMPT: &str = "claw.attempt";
    /// A container that was started before its job was known; [`JOB`] is the place's own id then.
    pub(crate) const WARM: &str = "claw.warm";
    /// The workspace whose HOME a volume is.
    pub(crate) const WORKSPACE: &str = "claw.workspace";
    /// How long a HOME lives.
    pub(crate) const HOME: &str = "claw.home";
    /// A HOME that ends with its run.
    pub(crate) const HOME_OF_RUN: &str = "run";
    /// A HOME that lives as long as its workspace.
    pub(crate) const HOME_OF_WORKSPACE: &str = "workspace";
}

const WORK_DIR: &str = "/workspace";
const HOME: &str = "/home/claw";
const SOCKET_DIR: &str = "/run/claw";

/// Most of `/tmp`, however much memory a run has.
const MAX_TMP_BYTES: u64 = 2 << 30;

/// What a run needs to be started.
pub(super) struct Plan {
    /// The container to make.
    pub(super) container: SandboxContainer,
    /// The volume that is its HOME.
    pub(super) home: String,
    /// Whether to remove the volume when the run is.
    pub(super) home_ends: bool,
    /// What its program reads.
    pub(super) stdin: Vec<u8>,
}

/// Returns the name of the volume that is the HOME of a workspace.
pub(super) fn workspace_home(workspace: WorkspaceId) -> String {
    format!("claw-home-{workspace}")
}

/// Returns the name of the container of a job's run.
pub(super) fn job_container(job: JobId, attempt: u64) -> String {
    format!("claw-job-{job}-{attempt}")
}

/// Plans a container whose CLI waits for a job; `spec.job` is an id that no job has.
pub(super) fn plan_place(config: &DockerSandboxConfig, spec: SandboxSpec, cpus: f64) -> Result<Plan, String> {
    let name = format!("claw-warm-{}", spec.job);
    let mut plan = plan_named(config, name, spec, cpus)?;
    plan.container.labels.insert(label::WARM.to_owned(), "true".to_owned());
    // The id of a place is no job's, and must not pass for one.
    plan.container.environment.retain(|(name, _)| name != JOB_VARIABLE);
    Ok(plan)
}

/// Plans a run on an Engine with `cpus` processors. An error says what is wrong with the specification.
pub(super) fn plan(config: &DockerSandboxConfig, spec: SandboxSpec, cpus: f64) -> Result<Plan, String> {
    plan_named(config, job_container(spec.job, spec.attempt), spec, cpus)
}

fn plan_named(
    config: &DockerSandboxConfig,
    name: String,
    spec: SandboxSpec,
    cpus: f64,
) -> Result<Plan, String> {
    let work_dir = host_folder(config.host_paths.as_ref(), &spec.work_dir)?;
    let socket_dir = host_folder(config.host_paths.as_ref(), &spec.socket_dir)?;
    let working_dir = match &spec.current_dir {
        None => WORK_DIR.to_owned(),
        // The runtime would make a missing folder itself, as root, in the middle of the working copy.
        Some(folder) if spec.work_dir.join(folder.as_str()).is_dir() => format!("{WORK_DIR}/{folder}"),
        Some(folder) => return Err(format!("the workspace has no folder `{folder}` to start in")),
    };

    let instance = (label::INSTANCE.to_owned(), config.instance.clone());
    let job = (label::JOB.to_owned(), spec.job.to_string());
    let (home, kept_for) = match spec.workspace {
        Some(workspace) => (workspace_home(workspace), (label::WORKSPACE.to_owned(), workspace.to_string())),
        None => (format!("{name}-home"), job.clone()),
    };
    let lives = match spec.workspace {
        Some(_) => label::HOME_OF_WORKSPACE,
        None => label::HOME_OF_RUN,
    };
    let home_labels =
        BTreeMap::from([instance.clone(), kept_for, (label::HOME.to_owned(), lives.to_owned())]);

    let container = SandboxContainer {
        name,
        image: config.image.clone(),
        user: config.user,
        program: config.program.clone(),
        arguments: spec.arguments,
        environment: environment(&spec.job.to_string(), spec.environment),
        labels: BTreeMap::from([instance, job, (label::ATTEMPT.to_owned(), spec.attempt.to_string())]),
        working_dir,
        network: match spec.network {
            NetworkMode::None => ContainerNetwork::None,
            NetworkMode::Bridge => ContainerNetwork::Bridge,
        },
        memory_bytes: spec.limits.memory_bytes,
        cpus: spec.limits.cpus.min(cpus),
        pids: spec.limits.pids,
        tmp_bytes: (spec.limits.memory_bytes / 2).min(MAX_TMP_BYTES),
        mounts: vec![
            mount(MountSource::HostFolder(work_dir), WORK_DIR, false),
            // The folder, not the socket: the gateway may make a new socket in it. Connecting needs no writing.
            mount(MountSource::HostFolder(socket_dir), SOCKET_DIR, true),
            mount(MountSource::Volume { name: home.clone(), labels: home_labels }, HOME, false),
        ],
        runtime: config.runtime.clone(),
    };
    Ok(Plan { container, home, home_ends: spec.workspace.is_none(), stdin: spec.stdin })
}

fn mount(source: MountSource, target: &str, read_only: bool) -> Mount {
    Mount { source, target: target.to_owned(), read_only }
}

/// Returns the variables of a run. Ours win: without them the CLI does not find its model.
fn environment(job: &str, more: Vec<(String, String)>) -> Vec<(String, String)> {
    let socket = Path::new(SOCKET_DIR).join(GATEWAY_SOCKET_NAME);
    let mut variables = model_environment(&socket);
    variables.push(("HOME".to_owned(), HOME.to_owned()));
    variables.push((JOB_VARIABLE.to_owned(), job.to_owned()));
    for (key, value) in more {
        if !variables.iter().any(|(taken, _)| *taken == key) {
            variables.push((key, value));
        }
    }
    variables
}

/// Returns what the Engine's host calls a folder of ours.
fn host_folder(paths: Option<&HostPaths>, folder: &Path) -> Result<String, String> {
    let shown = folder.display();
    let on_host = match paths {
        None => folder.to_owned(),
        Some(HostPaths { inside, host }) => match folder.strip_prefix(inside) {
            Ok(rest) => host.join(rest),
            Err(_) => {
                return Err(format!("`{shown}` is not below `{}`, which the host knows", inside.display()));
            }
        },
    };
    match on_host.to_str() {
        Some(text) if on_host.is_absolute() => Ok(text.to_owned()),
        _ => Err(format!("`{shown}` cannot be mounted: the path must be absolute and valid UTF-8")),
    }
}

#[cfg(test)]
mod tests {
    use claw_core::JobId;

    use super::*;
    use crate::sandbox::Limits;

    fn spec(folder: &Path) -> SandboxSpec {
        SandboxSpec {
            job: JobId::new(),
            attempt: 7,
            workspace: None,
            work_dir: folder.to_owned(),
            current_dir: None,
            socket_dir: folder.to_owned(),
            arguments: Vec::new(),
            environment: Vec::new(),
            stdin: Vec::new(),
            limits: Limits { memory_bytes: 1 << 30, cpus: 8.0, pids: 10 },
            network: NetworkMode::None,
        }
    }

    #[test]
    fn the_hosts_name_of_a_folder_is_used_when_the_server_is_in_a_container() {
        let paths = HostPaths { inside: "/data".into(), host: "/srv/claw data".into() };

        assert_eq!(host_folder(Some(&paths), Path::new("/data/a/b")), Ok("/srv/claw data/a/b".to_owned()));
        assert_eq!(host_folder(None, Path::new("/data/a")), Ok("/data/a".to_owned()));
        assert!(host_folder(Some(&paths), Path::new("/database/a")).is_err());
        assert!(host_folder(None, Path::new("a")).is_err());
    }

    #[test]
    fn no_more_processors_are_asked_for_than_there_are() {
        let config = DockerSandboxConfig::new("test");

        let plan = plan(&config, spec(Path::new("/")), 2.0).expect("a good plan");

        assert!((plan.container.cpus - 2.0).abs() < f64::EPSILON);
    }

    #[test]
    fn a_home_ends_with_the_run_unless_a_workspace_keeps_it() {
        let config = DockerSandboxConfig::new("test");
        let workspace = WorkspaceId::new();

        let alone = spec(Path::new("/"));
        let name = format!("claw-job-{}-7-home", alone.job);
        let kept = SandboxSpec { workspace: Some(workspace), ..spec(Path::new("/")) };

        let alone = plan(&config, alone, 2.0).expect("a good plan");
        let kept = plan(&config, kept, 2.0).expect("a good plan");
        assert_eq!((alone.home, alone.home_ends), (name, true));
        assert_eq!((kept.home, kept.home_ends), (workspace_home(workspace), false));
    }

    #[test]
    fn a_starting_folder_that_does_not_exist_is_an_error() {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::create_dir(folder.path().join("there")).expect("made");
        let config = DockerSandboxConfig::new("test");
        let starting_in = |text: &str| {
            let current_dir = Some(text.parse().expect("a path"));
            plan(&config, SandboxSpec { current_dir, ..spec(folder.path()) }, 2.0)
        };

        assert_eq!(starting_in("there").expect("a good plan").container.working_dir, "/workspace/there");
        assert!(starting_in("missing").err().expect("no such folder").contains("`missing`"));
    }

    #[test]
    fn more_variables_never_replace_ours() {
        let more = [("CLAW_TOPIC", "x"), ("ANTHROPIC_BASE_URL", "http://elsewhere"), ("HOME", "/")];

        let variables =
            environment("j", more.map(|(key, value)| (key.to_owned(), value.to_owned())).to_vec());

        let of = |name: &str| variables.iter().filter(|(key, _)| key == name).collect::<Vec<_>>();
        assert_eq!(of("CLAW_TOPIC").len(), 1);
        assert_eq!(
            of("ANTHROPIC_BASE_URL"),
            [&("ANTHROPIC_BASE_URL".to_owned(), "http://localhost".to_owned())]
        );
        assert_eq!(of("HOME"), [&("HOME".to_owned(), "/home/claw".to_owned())]);
    }
}
