//! Volumes.

use std::{collections::HashMap, path::PathBuf};

use bollard::query_parameters::{ListVolumesOptions, RemoveVolumeOptions};

use crate::{Docker, DockerError, name};

impl Docker {
    /// Returns the names and labels of the volumes that carry all of `labels`.
    ///
    /// # Errors
    ///
    /// Returns why the Engine could not be asked.
    pub async fn volumes_with_labels(
        &self,
        labels: &[(&str, &str)],
    ) -> Result<Vec<(String, HashMap<String, String>)>, DockerError> {
        let wanted = labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
        let filters = HashMap::from([("label".to_owned(), wanted)]);
        let options = ListVolumesOptions { filters: Some(filters) };
        let found = self.call(|client| async move { client.list_volumes(Some(options)).await }).await?;
        Ok(found.volumes.unwrap_or_default().into_iter().map(|volume| (volume.name, volume.labels)).collect())
    }

    /// Returns the folder of the Engine's host that holds a volume.
    ///
    /// # Errors
    ///
    /// Returns [`DockerError::NotFound`] when there is no such volume.
    pub async fn volume_folder(&self, volume: &str) -> Result<PathBuf, DockerError> {
        let volume = name::check_name("volume", volume)?;
        let found = self.call(|client| async move { client.inspect_volume(volume).await }).await?;
        Ok(found.mountpoint.into())
    }

    /// Removes a volume. One that does not exist is fine.
    ///
    /// # Errors
    ///
    /// Returns [`DockerError::Conflict`] while a container uses it.
    pub async fn remove_volume(&self, volume: &str) -> Result<(), DockerError> {
        let volume = name::check_name("volume", volume)?;
        let removed = self
            .call(|client| async move { client.remove_volume(volume, None::<RemoveVolumeOptions>).await })
            .await;
        match removed {
            Err(error) if error.is_not_found() => Ok(()),
            other => other,
        }
    }
}
