//! Images that the Engine has.

use std::{collections::BTreeMap, time::Duration};

use claw_core::Timestamp;

use crate::{
    Docker, DockerError, Variable,
    connection::LIMIT,
    name,
    request::{Ask, filters},
    wire,
};

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

/// What lists show of an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageEntry {
    /// Content-addressed id, `sha256:…`.
    pub id: String,
    /// Names it goes by, as `repository:tag`; none for what is left of an older build.
    pub tags: Vec<String>,
    /// What registries know it by, as `repository@sha256:…`.
    pub digests: Vec<String>,
    /// When it was made.
    pub created: Timestamp,
    /// Size on disk in bytes, layers shared with other images included.
    pub size_bytes: u64,
}

/// All that is known of an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageDetails {
    /// What lists show of it.
    pub entry: ImageEntry,
    /// Operating system it is made for.
    pub os: String,
    /// Processor it is made for, such as `amd64`.
    pub arch: String,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Program with its first arguments.
    pub entrypoint: Vec<String>,
    /// Further arguments, or the program.
    pub command: Vec<String>,
    /// Variables.
    pub environment: Vec<Variable>,
    /// User it runs as; empty for root.
    pub user: String,
    /// Folder it starts in.
    pub working_dir: String,
    /// Ports it says it listens at, such as `80/tcp`.
    pub ports: Vec<String>,
    /// Folders for which a container gets a volume unless something else is mounted there.
    pub volumes: Vec<String>,
    /// How often its health check runs, if it says so.
    pub health_interval: Option<Duration>,
}

impl Docker {
    /// Returns all images with a name and those that are left of older ones, newest first.
    ///
    /// # Errors
    ///
    /// Returns why the Engine could not be asked.
    pub async fn images(&self) -> Result<Vec<ImageEntry>, DockerError> {
        let found: Vec<wire::ImageSummary> = self.ask(Ask::get("/images/json")).await?;
        let mut images: Vec<_> = found
            .into_iter()
            .map(|image| ImageEntry {
                id: image.id,
                tags: real_names(image.repo_tags),
                digests: real_names(image.repo_digests),
                created: whole_seconds(image.created),
                size_bytes: u64::try_from(image.size).unwrap_or(0),
            })
            .collect();
        images.sort_by(|a, b| (b.created, &a.id).cmp(&(a.created, &b.id)));
        Ok(images)
    }

    /// Returns all that is known of the image that `reference` names. Never asks a registry.
    ///
    /// # Errors
    ///
    /// Returns [`DockerError::NotFound`] when the Engine does not have it, and [`DockerError::BadName`] for text that
    /// is no reference.
    pub async fn inspect_image(&self, reference: &str) -> Result<ImageDetails, DockerError> {
        let reference = name::check_image(reference)?;
        let found: wire::ImageInspect = self.ask(Ask::get(format!("/images/{reference}/json"))).await?;
        let config = found.config;
        Ok(ImageDetails {
            entry: ImageEntry {
                id: found.id,
                tags: real_names(found.repo_tags),
                digests: real_names(found.repo_digests),
                // Lists tell whole seconds.
                created: whole_seconds(wire::moment(&found.created).map_or(0, Timestamp::as_second)),
                size_bytes: u64::try_from(found.size).unwrap_or(0),
            },
            os: found.os,
            arch: found.architecture,
            labels: config.labels,
            entrypoint: config.entrypoint.0,
            command: config.cmd.0,
            environment: config.env.into_iter().map(Variable::from_pair).collect(),
            user: config.user,
            working_dir: config.working_dir,
            ports: config.exposed_ports.into_keys().collect(),
            volumes: config.volumes.into_keys().collect(),
            health_interval: u64::try_from(config.healthcheck.interval)
                .ok()
                .filter(|nanos| *nanos > 0)
                .map(Duration::from_nanos),
        })
    }

    /// Takes a name from an image, and removes the image when it was its last one.
    ///
    /// # Errors
    ///
    /// Returns [`DockerError::NotFound`] when the Engine does not have it and [`DockerError::Conflict`] while a
    /// container, also one that has ended, uses it.
    pub async fn remove_image(&self, reference: &str) -> Result<(), DockerError> {
        let reference = name::check_image(reference)?;
        self.tell(Ask::delete(format!("/images/{reference}")), 4 * LIMIT).await
    }

    /// Returns the image that `reference` names (a name with tag or digest, or an id); `None` when the Engine does
    /// not have it. Never asks a registry.
    ///
    /// # Errors
    ///
    /// Returns [`DockerError::BadName`] for text that is no reference, or why the Engine could not be asked.
    pub async fn image(&self, reference: &str) -> Result<Option<ImageInfo>, DockerError> {
        let reference = name::check_image(reference)?;
        let found = match self.ask::<wire::ImageInspect>(Ask::get(format!("/images/{reference}/json"))).await
        {
            Ok(found) => found,
            Err(error) if error.is_not_found() => return Ok(None),
            Err(error) => return Err(error),
        };
        Ok(Some(ImageInfo {
            id: found.id,
            tags: found.repo_tags,
            created: found.created,
            size_bytes: u64::try_from(found.size).unwrap_or(0),
            labels: found.config.labels,
        }))
    }

    /// Returns the images of `repository` (a name without tag), newest first.
    ///
    /// # Errors
    ///
    /// As [`Docker::image`].
    pub async fn images_of(&self, repository: &str) -> Result<Vec<ImageInfo>, DockerError> {
        let repository = name::check_image(repository)?;
        let ask = Ask::get("/images/json").with("filters", filters("reference", &[repository.to_owned()]));
        let mut found: Vec<wire::ImageSummary> = self.ask(ask).await?;
        found.sort_by_key(|image| std::cmp::Reverse(image.created));
        Ok(found
            .into_iter()
            .map(|image| ImageInfo {
                id: image.id,
                tags: image.repo_tags,
                created: image.created.to_string(),
                size_bytes: u64::try_from(image.size).unwrap_or(0),
                labels: image.labels,
            })
            .collect())
    }
}

/// Leaves out the `<none>:<none>` that Engines write for no name.
fn real_names(mut names: Vec<String>) -> Vec<String> {
    names.retain(|name| !name.starts_with("<none>"));
    names
}

fn whole_seconds(seconds: i64) -> Timestamp {
    Timestamp::from_second(seconds).unwrap_or(Timestamp::UNIX_EPOCH)
}
