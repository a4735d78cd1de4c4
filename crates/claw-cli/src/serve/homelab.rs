//! The homelab, built from the settings: its policy, what is ours on this Docker, and the mirror of the Engine.

use std::{
    collections::BTreeSet,
    io::Read as _,
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use claw_core::{Clock, ErrorCode};
use claw_docker::{
    Docker, Mirror,
    policy::{Own, Policy},
};
use claw_gate::Gate;
use claw_homelab::{
    Homelab, HomelabParts,
    marketplace::{MarketplaceConfig, Remote},
};
use claw_store::Store;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::failed;
use crate::{
    error::CliError,
    settings::{Environment, Settings},
};

/// Largest policy file; one with every line of the sample has a few KB.
const MAX_POLICY_BYTES: u64 = 1 << 20;

/// Longest time that an end of the server waits for what was begun on Docker. Whoever started the server does not wait for
/// ever either.
const SETTLE_LIMIT: Duration = Duration::from_secs(20);

/// The homelab with the task that it depends on.
pub(crate) struct HomelabPart {
    pub(crate) homelab: Homelab,
    mirroring: JoinHandle<()>,
    stop: CancellationToken,
}

impl HomelabPart {
    /// Begins to mirror the Engine, which need not be there yet.
    pub(crate) fn build(
        settings: &Settings,
        environment: &Environment,
        docker: &Docker,
        gate: &Gate,
        store: &Store,
        clock: &Arc<dyn Clock>,
    ) -> Result<Self, CliError> {
        let policy = policy(settings)?;
        let marketplace = marketplace(settings, environment, clock)?;
        let stop = CancellationToken::new();
        let (mirror, mirroring) = Mirror::start(docker.clone(), stop.clone());
        let homelab = Homelab::new(HomelabParts {
            docker: docker.clone(),
            mirror,
            gate: gate.clone(),
            store: store.clone(),
            clock: Arc::clone(clock),
            policy,
            own: own(settings),
            own_images: vec![settings.sandbox.image.clone()],
            data_dir: settings.server.data_dir.clone(),
            activity_keep: settings.retention.activity_count.limit().unwrap_or(u64::MAX),
            marketplace,
        });
        Ok(Self { homelab, mirroring: tokio::spawn(mirroring), stop })
    }

    /// Lets what was begun come to its end, and ends the rest.
    pub(crate) async fn close(self) {
        // The mirror last: work that was begun waits for what it shows.
        if tokio::time::timeout(SETTLE_LIMIT, self.homelab.settle()).await.is_err() {
            tracing::warn!(
                "what was begun on Docker is not waited for any longer: the next start finds out how it went"
            );
        }
        self.stop.cancel();
        if let Err(error) = self.mirroring.await {
            tracing::error!(%error, "the mirror of the Docker Engine ended badly");
        }
    }
}

/// Returns where the marketplace keeps things, and makes the folder of the apps.
fn marketplace(
    settings: &Settings,
    environment: &Environment,
    clock: &Arc<dyn Clock>,
) -> Result<MarketplaceConfig, CliError> {
    let server = &settings.server;
    // What Compose needs to reach the Engine and the registries that this user is logged in to.
    let mut variables: Vec<(String, String)> = Vec::new();
    let mut pass = |name: &str, value: Option<String>| {
        variables.extend(value.map(|value| (name.to_owned(), value)));
    };
    let certificates = server.docker_cert_path.as_deref().map(|path| path.to_string_lossy().into_owned());
    pass("DOCKER_HOST", server.docker_host.clone());
    pass("DOCKER_TLS_VERIFY", certificates.as_ref().map(|_| "1".to_owned()));
    pass("DOCKER_CERT_PATH", certificates);
    pass("DOCKER_CONFIG", environment.get("DOCKER_CONFIG").map(str::to_owned));
    let path = environment.get("PATH").unwrap_or_default().into();
    let home = environment.home().unwrap_or_else(|| server.data_dir.clone());
    let mut config = MarketplaceConfig::below(&server.data_dir, path, home, variables);
    config.apps_folder = settings.containers_dir();
    config.host_apps_folder = settings.host_containers_dir();
    if let Some(url) = &settings.homelab.marketplace_url {
        let folder = config.state_folder.join("catalog");
        let remote = Remote::new(&url.0, folder, Arc::clone(clock))
            .map_err(failed("using `homelab.marketplace_url`"))?;
        config.catalog = config.catalog.with_remote(remote);
    }
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o755).create(&config.apps_folder);
    made.map_err(|error| {
        let folder = config.apps_folder.display();
        CliError::new(ErrorCode::Internal, format!("cannot make the folder of the apps {folder}: {error}"))
            .with_hint("choose another one with `homelab.containers_dir`")
    })?;
    Ok(config)
}

/// Returns the policy that the settings name, or the default one.
pub(crate) fn policy(settings: &Settings) -> Result<Policy, CliError> {
    let Some(path) = settings.policy_file() else { return Ok(Policy::default()) };
    let text = policy_text(&path)?;
    Policy::parse(&text).map_err(|error| {
        CliError::usage(format!("{}: {error}", path.display()))
            .with_hint("`claw policy sample` prints a file with every line explained")
    })
}

/// Reads a policy file.
pub(crate) fn policy_text(path: &Path) -> Result<String, CliError> {
    let problem = |error: std::io::Error| {
        CliError::usage(format!("cannot read the policy {}: {error}", path.display()))
    };
    let mut text = String::new();
    let file = std::fs::File::open(path).map_err(problem)?;
    file.take(MAX_POLICY_BYTES + 1).read_to_string(&mut text).map_err(problem)?;
    if text.len() as u64 > MAX_POLICY_BYTES {
        return Err(CliError::usage(format!("the policy {} is too large for one", path.display())));
    }
    Ok(text)
}

/// Returns what is ours on this Docker.
pub(crate) fn own(settings: &Settings) -> Own {
    let server = &settings.server;
    let shown = |path: &Path| path.to_string_lossy().into_owned();
    let (inside, outside) = (settings.containers_dir(), settings.host_containers_dir());
    let mut folders: BTreeSet<PathBuf> = [server.data_dir.clone()].into();
    folders.extend(server.host_data_dir.clone());
    // A key or the login of the agent CLI is worth as much as the data.
    folders.insert(settings.model.claude_home.clone());
    folders.extend(server.docker_cert_path.clone());
    Own {
        container_id: own_container(),
        folders: folders.iter().map(|folder| shown(folder)).collect(),
        apps_folder_seen_at: (inside != outside).then(|| shown(&inside)),
        apps_folder: Some(shown(&outside)),
        ports: [server.listen.port()].into(),
        ..Own::default()
    }
}

/// Returns the id of the container that this process runs in, if it runs in one.
fn own_container() -> Option<String> {
    container_in(&std::fs::read_to_string("/proc/self/mountinfo").ok()?)
}

/// Finds it where the Engine mounts what it makes for each container (its host name, its resolver).
fn container_in(mountinfo: &str) -> Option<String> {
    mountinfo.lines().find_map(|line| {
        let mut fields = line.split(' ').skip(3);
        let (root, point) = (fields.next()?, fields.next()?);
        if !matches!(point, "/etc/hostname" | "/etc/hosts" | "/etc/resolv.conf") {
            return None;
        }
        let (_, rest) = root.rsplit_once("containers/")?;
        let id = rest.split('/').next()?;
        let is_id = id.len() == 64 && id.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        is_id.then(|| id.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use claw_docker::policy::{ContainerWish, Facts, Grants, MountWish, MountWishSource};

    use super::*;
    use crate::settings::Overrides;

    fn rules(policy: &Policy, wish: &ContainerWish, own: &Own) -> Vec<&'static str> {
        let facts = Facts { own: own.clone(), ..Facts::default() };
        let refused = policy.judge(wish, &facts, &Grants::default()).err();
        refused.into_iter().flat_map(|refused| refused.refusals).map(|refusal| refusal.rule).collect()
    }

    fn image(reference: &str) -> ContainerWish {
        ContainerWish { image: reference.to_owned(), ..ContainerWish::default() }
    }

    fn own_with(assignments: &[&str]) -> Own {
        let mut flags = Overrides::default();
        for assignment in assignments {
            flags.set_any(assignment).expect("a setting");
        }
        let settings = Settings::load(&flags, &Environment::from([("HOME", "/nowhere/me")]), None);
        own(&settings.expect("settings"))
    }

    #[test]
    fn a17_the_servers_own_volumes_and_folders_are_nobodys_to_mount() {
        let own = own_with(&["data_dir=/srv/claw", "host_data_dir=/host/claw"]);
        let named = |name: &str| MountWishSource::Volume {
            name: name.to_owned(),
            driver: None,
            options: Default::default(),
        };
        let bind = |path: &str| MountWishSource::Bind(path.to_owned());
        for source in
            [named("wagmios_data"), named("claw-data"), bind("/host/claw"), bind("/srv/claw/claw.db")]
        {
            let mount =
                MountWish { source: source.clone(), target: "/x".into(), read_only: true, propagation: None };
            let wish = ContainerWish { mounts: vec![mount], ..image("nginx:1.27") };
            assert!(!rules(&Policy::default(), &wish, &own).is_empty(), "{source:?}");
        }
        assert_eq!(own.apps_folder.as_deref(), Some("/host/claw/containers"));
        assert_eq!(own.apps_folder_seen_at.as_deref(), Some("/srv/claw/containers"));
    }

    #[test]
    fn a18_images_come_from_where_the_policy_says_and_processes_are_limited() {
        let policy = Policy::parse("[images]\nregistries = [\"docker.io\"]\n").expect("a policy");
        let own = own_with(&[]);
        assert!(rules(&policy, &image("nginx:1.27"), &own).is_empty());
        assert!(!rules(&policy, &image("ghcr.io/somebody/anything:1"), &own).is_empty());

        let facts = Facts { own, ..Facts::default() };
        let approved = policy.judge(&image("nginx:1.27"), &facts, &Grants::default()).expect("permitted");
        assert!(approved.wish().pids.is_some_and(|pids| pids > 0));
    }

    #[test]
    fn a5_t8_the_container_around_the_server_is_known_by_its_id() {
        let id = "3f0c".repeat(16);
        let docker = format!(
            "812 788 0:52 / / ro - overlay overlay rw\n\
             821 812 254:0 /var/lib/docker/containers/{id}/resolv.conf /etc/resolv.conf rw,relatime - ext4 /dev/vda rw\n"
        );
        let podman = format!(
            "821 812 0:25 /containers/overlay-containers/{id}/userdata/hostname /etc/hostname rw - tmpfs tmpfs rw"
        );
        // What a host sees of its containers says nothing about the process itself.
        let host = format!("700 30 0:60 / /var/lib/docker/containers/{id}/mounts/shm rw - tmpfs shm rw");
        let other =
            "821 812 254:0 /var/lib/docker/containers/short/hostname /etc/hostname rw - ext4 /dev/vda rw";

        assert_eq!(container_in(&docker).as_deref(), Some(id.as_str()));
        assert_eq!(container_in(&podman).as_deref(), Some(id.as_str()));
        assert_eq!(container_in(&host), None);
        assert_eq!(container_in(other), None);
        assert_eq!(container_in(""), None);
    }
}
