//! From what was approved to containers that run: made first, looked at, and only then started.
//!
//! Compose gets and makes by the names of images, which can lead to others a moment later, and nobody but us judges
//! what an image brings along. So the containers are made without starting them, the very images they were made from are
//! compared with those that were judged, and Compose then starts what is there and makes nothing anew.

use std::collections::BTreeMap;

use claw_core::ErrorCode;
use claw_docker::{
    RemoveContainer,
    policy::{Grants, MountWishSource},
};
use claw_store::fault;

use super::{ComposeVerb, Inner, MarketplaceError, PROJECT_LABEL, Record, Result, project_name};
use crate::{compose::Project, containers::is_same_image};

/// How often containers are made anew when the names of their images lead elsewhere meanwhile.
const TRIES: usize = 3;

/// The labels by which Compose knows what it made. It writes them itself, and refuses to be told them.
const COMPOSES: &str = "com.docker.compose.";

/// The image of each service, by its id.
type Images = BTreeMap<String, String>;

impl Inner {
    /// Judges a project once more, makes its containers, looks at them and starts them. Returns the end of what Compose
    /// said.
    pub(super) async fn raise(&self, project: &Project, record: &Record, grants: &Grants) -> Result<String> {
        self.get_images(project, record, grants).await?;
        let (file, images) = {
            let _alone = self.making.lock().await;
            self.make(project, record, grants).await?
        };
        fault::point("app.made");
        let name = project_name(&record.install_id);
        let output = self.config.composer.run(&name, &file, ComposeVerb::Up, &self.stop).await;
        // Whatever was missing by then was made of what its name led to.
        self.are_made_of(project, record, &images).await?;
        Ok(output?)
    }

    /// Gets what is not here, which may take long: while containers are made, all doors wait.
    async fn get_images(&self, project: &Project, record: &Record, grants: &Grants) -> Result<()> {
        let mut missing = self.approve(project, record, grants).await?;
        let mut here = Vec::new();
        for (name, service) in &missing.services {
            if self.docker.image(&service.wish.image).await?.is_some() {
                here.push(name.clone());
            }
        }
        missing.services.retain(|name, _| !here.contains(name));
        if missing.services.is_empty() {
            return Ok(());
        }
        for service in missing.services.values_mut() {
            // On services that are not in this file.
            service.depends_on.clear();
        }
        let file = self.file_for_compose(&missing, record).await?;
        let name = project_name(&record.install_id);
        self.config.composer.run(&name, &file, ComposeVerb::Pull, &self.stop).await?;
        Ok(())
    }

    /// Makes the containers, and returns the file that they were made by with the images they were made from.
    async fn make(&self, project: &Project, record: &Record, grants: &Grants) -> Result<(String, Images)> {
        let name = project_name(&record.install_id);
        for _ in 0..TRIES {
            let approved = self.approve(project, record, grants).await?;
            let (of_images, images) = self.with_images(&approved).await?;
            let file = self.file_for_compose(&of_images, record).await?;
            self.config.composer.run(&name, &file, ComposeVerb::Create, &self.stop).await?;
            fault::point("app.created");
            // What was judged by its path is mounted by its path: nobody may have put a link there meanwhile.
            let is_as_judged =
                !has_binds(&approved) || self.approve(project, record, grants).await? == approved;
            if is_as_judged && self.are_made_of(project, record, &images).await.is_ok() {
                return Ok((file, images));
            }
        }
        let message =
            "the images of the app changed again and again while its containers were made: try again";
        Err(MarketplaceError::invalid(ErrorCode::Conflict, message))
    }

    /// Judges what the images bring along, and returns the project with what has to be said against it.
    async fn with_images(&self, approved: &Project) -> Result<(Project, Images)> {
        let (mut project, mut images) = (approved.clone(), Images::new());
        for (name, service) in &mut project.services {
            let image = self.docker.inspect_image(&service.wish.image).await?;
            let judged = self.policy.judge_image(&service.wish, &image, &self.own);
            let refused = |refused| MarketplaceError::Refused { service: name.clone(), refused };
            service.wish = judged.map_err(refused)?;
            service.wish.labels.retain(|key, _| !key.to_ascii_lowercase().starts_with(COMPOSES));
            images.insert(name.clone(), image.entry.id);
        }
        Ok((project, images))
    }

    /// Compares the images of the containers with those that were judged, and removes what was made of another one.
    async fn are_made_of(&self, project: &Project, record: &Record, images: &Images) -> Result<()> {
        let own = project_name(&record.install_id);
        let mut others = Vec::new();
        for service in project.services.keys() {
            let container = record.services.get(service).map_or("", String::as_str);
            let made = match self.docker.inspect(container).await {
                Ok(made) if made.entry.labels.get(PROJECT_LABEL) == Some(&own) => made,
                Err(error) if !error.is_not_found() => return Err(error.into()),
                // It is not there, or somebody else's: nothing of ours was made of anything.
                Ok(_) | Err(_) => continue,
            };
            let judged = images.get(service).map_or("", String::as_str);
            if !is_same_image(&self.docker, &made.image_id, judged).await {
                let remove = RemoveContainer { volumes: false, force: true };
                self.docker.remove(&made.entry.id, remove).await?;
                others.push(service.as_str());
            }
        }
        if others.is_empty() {
            return Ok(());
        }
        let message = format!(
            "the image of {} changed while its container was made, so the container was removed: start the app again",
            others.join(", ")
        );
        Err(MarketplaceError::invalid(ErrorCode::Conflict, message))
    }
}

fn has_binds(project: &Project) -> bool {
    let mut mounts = project.services.values().flat_map(|service| &service.wish.mounts);
    mounts.any(|mount| matches!(mount.source, MountWishSource::Bind(_)))
}
