//! Images: read only, since nothing here builds or pulls.

use std::collections::{BTreeMap, HashMap};

use bollard::query_parameters::ListImagesOptions;

use crate::{Docker, DockerError, name};

/// What is known about an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageInfo {
    /// Content-addressed id, `sha256:…`.
    pub id: String,
    /// Names it goes by, as `repository:tag`.
    pub tags: Vec<String>,
    /// When it was made, as the Engine writes it: RFC 3339 from [`Docker::image`], Unix seconds from
    /// [`Docker::images_of`].
    pub created: String,
    /// Size on disk in bytes, layers shared with other images included.
    pub size_bytes: u64,
    /// Labels.
    pub labels: BTreeMap<String, String>,
}

impl Docker {
    /// Returns the image that `reference` names (a name with tag or digest, or an id); `None` when the Engine does
    /// not have it. Never asks a registry.
    ///
    /// # Errors
    ///
    /// Returns [`DockerError::BadName`] for text that is no reference, or why the Engine could not be asked.
    pub async fn image(&self, reference: &str) -> Result<Option<ImageInfo>, DockerError> {
        let reference = name::check_image(reference)?;
        let found = match self.call(|client| async move { client.inspect_image(reference).await }).await {
            Ok(found) => found,
            Err(error) if error.is_not_found() => return Ok(None),
            Err(error) => return Err(error),
        };
        Ok(Some(ImageInfo {
            id: found.id.unwrap_or_default(),
            tags: found.repo_tags.unwrap_or_default(),
            created: found.created.unwrap_or_default(),
            size_bytes: found.size.and_then(|size| u64::try_from(size).ok()).unwrap_or(0),
            labels: found
                .config
                .and_then(|config| config.labels)
                .map(|labels| labels.into_iter().collect())
                .unwrap_or_default(),
        }))
    }

    /// Returns the images of `repository` (a name without tag), newest first.
    ///
    /// # Errors
    ///
    /// As [`Docker::image`].
    pub async fn images_of(&self, repository: &str) -> Result<Vec<ImageInfo>, DockerError> {
        let repository = name::check_image(repository)?;
        let filters = HashMap::from([("reference".to_owned(), vec![repository.to_owned()])]);
        let options = ListImagesOptions { filters: Some(filters), ..Default::default() };
        let mut found = self.call(|client| async move { client.list_images(Some(options)).await }).await?;
        found.sort_by_key(|image| std::cmp::Reverse(image.created));
        Ok(found
            .into_iter()
            .map(|image| ImageInfo {
                id: image.id,
                tags: image.repo_tags,
                created: image.created.to_string(),
                size_bytes: u64::try_from(image.size).unwrap_or(0),
                labels: image.labels.into_iter().collect(),
            })
            .collect())
    }
}
