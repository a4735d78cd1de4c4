//! Installs as callers see them.

use claw_core::Timestamp;
use claw_docker::ContainerEntry;
use serde::Serialize;

use super::{AppSource, Inner, Published, files, own_container, record::Phase, record::Record, shown};

/// An install and how it is.
#[derive(Clone, Debug, PartialEq)]
pub struct Installed {
    /// Identifies it.
    pub install_id: String,
    /// Its app.
    pub app_id: String,
    /// The app's name.
    pub app_name: String,
    /// Version of the app.
    pub version: String,
    /// A newer version that the catalog has.
    pub update: Option<String>,
    /// Which catalog the app came from.
    pub source: AppSource,
    /// Name of its main container.
    pub container_name: String,
    /// How it is.
    pub state: InstallState,
    /// What is being done with it right now, such as `started`.
    pub doing: Option<&'static str>,
    /// Its folder, as the host sees it.
    pub install_dir: String,
    /// Its compose file, as the host sees it.
    pub compose_path: String,
    /// Where its ports are.
    pub ports: Vec<Published>,
    /// Its services.
    pub services: Vec<ServiceState>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When its files were last written by us.
    pub updated_at: Timestamp,
    /// Why what was tried last did not work.
    pub failure: Option<String>,
}

/// How an install is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum InstallState {
    /// Its files are there; it was never started.
    Created,
    /// All its services run.
    Running,
    /// Some of its services run.
    Partial,
    /// None of its services runs.
    Stopped,
    /// Its files were not all written: create it again.
    Incomplete,
    /// It was not wholly removed: uninstall it again.
    Removing,
    /// The Engine does not answer.
    Unknown,
}

impl InstallState {
    /// Returns the word that clients see.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Running => "running",
            Self::Partial => "partial",
            Self::Stopped => "stopped",
            Self::Incomplete => "incomplete",
            Self::Removing => "removing",
            Self::Unknown => "unknown",
        }
    }
}

/// A service of an install.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceState {
    /// Its name.
    pub name: String,
    /// Name of its container.
    pub container_name: String,
    /// Full id of its container, if there is one.
    pub container_id: Option<String>,
    /// The Engine's word for how it is; `absent` if there is no container.
    pub state: String,
    /// Whether its health check passes, if it has one.
    pub health: Option<String>,
    /// Its image.
    pub image: String,
}

impl Inner {
    pub(super) fn view(&self, record: Record, containers: Result<&[ContainerEntry], String>) -> Installed {
        let host_folder = self.host_folder(&record);
        let known = containers.as_ref().copied().unwrap_or_default();
        let service = |(name, container): (&String, &String)| {
            let found = own_container(known, &record, container);
            ServiceState {
                name: name.clone(),
                container_name: container.clone(),
                container_id: found.map(|found| found.id.clone()),
                state: found.map_or_else(|| "absent".to_owned(), |found| found.state.clone()),
                health: found.and_then(|found| found.health.clone()),
                image: found.map(|found| found.image.clone()).unwrap_or_default(),
            }
        };
        let services: Vec<ServiceState> = record.services.iter().map(service).collect();
        // One that did its work and ended well is no service that stopped, as long as others run.
        let done = |service: &&ServiceState| {
            let found = own_container(known, &record, &service.container_name);
            found.is_some_and(|found| found.state == "exited" && found.exit_code == Some(0))
        };
        let runs = services.iter().filter(|service| service.state == "running").count();
        let ended = services.iter().filter(done).count();
        let exist = services.iter().any(|service| service.container_id.is_some());
        let state = match record.phase {
            Phase::Writing => InstallState::Incomplete,
            Phase::Removing => InstallState::Removing,
            Phase::Ready if containers.is_err() => InstallState::Unknown,
            Phase::Ready if runs > 0 && runs + ended == services.len() => InstallState::Running,
            Phase::Ready if runs > 0 => InstallState::Partial,
            Phase::Ready if exist || record.started => InstallState::Stopped,
            Phase::Ready => InstallState::Created,
        };
        let doing = self.running.doing(&record.install_id);
        let cut_off = record.begun.as_ref().filter(|_| doing.is_none()).map(|begun| {
            format!("the server ended while this was being {begun}, so it may be half done: ask for it again")
        });
        let newest = self.config.catalog.own(&record.app_id).map(|app| app.about.version.clone());
        let update = newest.filter(|newest| record.source == AppSource::BuiltIn && *newest != record.version);
        Installed {
            doing,
            install_dir: shown(&host_folder),
            compose_path: shown(&host_folder.join(files::COMPOSE)),
            update,
            state,
            services,
            install_id: record.install_id,
            app_id: record.app_id,
            app_name: record.app_name,
            version: record.version,
            source: record.source,
            container_name: record.container_name,
            ports: record.ports,
            created_at: record.created_at,
            updated_at: record.updated_at,
            failure: cut_off.or(record.failure),
        }
    }
}
