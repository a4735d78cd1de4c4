//! Volumes.

use std::{
    collections::{BTreeMap, HashMap},
    path::PathBuf,
};

use claw_core::Timestamp;

use crate::{
    Docker, DockerError,
    connection::LIMIT,
    name,
    request::{Ask, filters},
    wire,
};

/// What is known about a volume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VolumeDetails {
    /// Its name.
    pub name: String,
    /// `local`, or a plugin's name.
    pub driver: String,
    /// What its driver was told: a `local` one with `o=bind` is some folder of the host.
    pub options: BTreeMap<String, String>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Folder of the Engine's host that holds it.
    pub folder: PathBuf,
    /// `local` or `global`.
    pub scope: String,
    /// When it was made.
    pub created: Option<Timestamp>,
}

impl Docker {
    /// Returns all volumes, by name.
    ///
    /// # Errors
    ///
    /// Returns why the Engine could not be asked.
    pub async fn volumes(&self) -> Result<Vec<VolumeDetails>, DockerError> {
        let found: wire::VolumeList = self.ask(Ask::get("/volumes")).await?;
        let mut volumes: Vec<_> = found.volumes.into_iter().map(VolumeDetails::from).collect();
        volumes.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(volumes)
    }

    /// Returns a volume; `None` when there is none of that name.
    ///
    /// # Errors
    ///
    /// Returns why the Engine could not be asked.
    pub async fn volume(&self, name: &str) -> Result<Option<VolumeDetails>, DockerError> {
        let name = name::check_name("volume", name)?;
        match self.ask::<wire::Volume>(Ask::get(format!("/volumes/{name}"))).await {
            Ok(found) => Ok(Some(found.into())),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Returns the names and labels of the volumes that carry all of `labels`.
    ///
    /// # Errors
    ///
    /// Returns why the Engine could not be asked.
    pub async fn volumes_with_labels(
        &self,
        labels: &[(&str, &str)],
    ) -> Result<Vec<(String, HashMap<String, String>)>, DockerError> {
        let wanted: Vec<_> = labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
        let ask = Ask::get("/volumes").with("filters", filters("label", &wanted));
        let found: wire::VolumeList = self.ask(ask).await?;
        Ok(found
            .volumes
            .into_iter()
            .map(|volume| (volume.name, volume.labels.into_iter().collect()))
            .collect())
    }

    /// Returns the folder of the Engine's host that holds a volume.
    ///
    /// # Errors
    ///
    /// Returns [`DockerError::NotFound`] when there is no such volume.
    pub async fn volume_folder(&self, volume: &str) -> Result<PathBuf, DockerError> {
        let volume = name::check_name("volume", volume)?;
        let found: wire::Volume = self.ask(Ask::get(format!("/volumes/{volume}"))).await?;
        Ok(found.mountpoint.into())
    }

    /// Removes a volume. One that does not exist is fine.
    ///
    /// # Errors
    ///
    /// Returns [`DockerError::Conflict`] while a container uses it.
    pub async fn remove_volume(&self, volume: &str) -> Result<(), DockerError> {
        let volume = name::check_name("volume", volume)?;
        match self.tell(Ask::delete(format!("/volumes/{volume}")), LIMIT).await {
            Err(error) if error.is_not_found() => Ok(()),
            other => other,
        }
    }
}

impl From<wire::Volume> for VolumeDetails {
    fn from(found: wire::Volume) -> Self {
        Self {
            name: found.name,
            driver: found.driver,
            options: found.options,
            labels: found.labels,
            folder: found.mountpoint.into(),
            scope: found.scope,
            created: wire::moment(&found.created_at),
        }
    }
}
