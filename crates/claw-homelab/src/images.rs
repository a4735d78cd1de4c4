//! Images: what there is, getting them and removing them.

use std::sync::Arc;

use claw_core::{Action, Actor, Coded as _, Decision, Resource, decide};
use claw_docker::{
    DockerError, ImageEntry,
    policy::{ContainerWish, Facts, Grants, Refused},
};
use claw_gate::{Deed, EffectPlace};
use serde_json::json;

use crate::{
    Core, EventKind, EventStatus, HomelabError, PullView,
    pulls::{PullHandle, whole_name},
    request,
};

type Result<T> = std::result::Result<T, HomelabError>;

/// The use cases of images. Cheap to clone.
#[derive(Clone)]
pub struct Images {
    core: Arc<Core>,
}

impl Images {
    pub(crate) fn new(core: Arc<Core>) -> Self {
        Self { core }
    }

    /// Lists the images that are here.
    ///
    /// # Errors
    ///
    /// The gate's refusal; [`HomelabError::Docker`] when the Engine is away.
    pub async fn list(&self, actor: &Actor) -> Result<Arc<[ImageEntry]>> {
        self.core.gate.permit(actor, Action::ImagesRead, &Resource::Any)?;
        Ok(self.core.mirror.images().await?)
    }

    /// Begins to pull an image, or joins the pull that goes on, and returns how that stands. It goes on by itself.
    ///
    /// # Errors
    ///
    /// The gate's refusal; [`HomelabError::Invalid`] for what is no image; [`HomelabError::Refused`] by the policy;
    /// [`HomelabError::Protected`]; [`HomelabError::TooManyPulls`].
    pub async fn begin_pull(&self, actor: &Actor, image: &str) -> Result<PullView> {
        Ok(self.pull_handle(actor, image).await?.view())
    }

    /// Pulls an image and returns its name when it is here. The pull goes on when the caller hangs up.
    ///
    /// # Errors
    ///
    /// As [`Images::begin_pull`]; [`HomelabError::PullFailed`].
    pub async fn pull(&self, actor: &Actor, image: &str) -> Result<PullView> {
        let pull = self.pull_handle(actor, image).await?;
        pull.ended().await?;
        Ok(pull.view())
    }

    async fn pull_handle(&self, actor: &Actor, image: &str) -> Result<PullHandle> {
        let core = &self.core;
        if decide(actor, Action::ImagesWrite, &Resource::Any) != Decision::Allow {
            let deed = deed("image.pull", image);
            // Refused on the record: the effect is never asked for.
            core.gate.perform(actor, deed, std::future::ready(Ok::<(), HomelabError>(()))).await?;
        }
        request::check_image(image)?;
        Box::pin(core.judge_image(image)).await?;
        core.pulls.begin(core, actor, Action::ImagesWrite, image)
    }

    /// Returns how a pull stands.
    ///
    /// # Errors
    ///
    /// The gate's refusal; [`HomelabError::PullNotFound`].
    pub fn pull_state(&self, actor: &Actor, id: &str) -> Result<PullView> {
        self.core.gate.permit(actor, Action::ImagesWrite, &Resource::Any)?;
        let found = self.core.pulls.get(id);
        found.map(|pull| pull.view()).ok_or_else(|| HomelabError::PullNotFound(HomelabError::shown(id)))
    }

    /// Says that one of those who asked for it no longer wants a pull, and returns how it stands then. It ends if nobody
    /// wants it any more.
    ///
    /// # Errors
    ///
    /// The gate's refusal; [`HomelabError::PullNotFound`].
    pub async fn give_up_pull(&self, actor: &Actor, id: &str) -> Result<PullView> {
        let (core, actor, id) = (Arc::clone(&self.core), actor.clone(), id.to_owned());
        self.core
            .work
            .to_its_end(async move {
                let found = core.pulls.get(&id);
                let image = found.as_ref().map(|pull| pull.view().image).unwrap_or_default();
                let effect = async {
                    let pull = found.ok_or_else(|| HomelabError::PullNotFound(HomelabError::shown(&id)))?;
                    core.pulls.give_up(&pull).await;
                    Ok(pull.view())
                };
                core.gate.perform(&actor, deed("image.cancel_pull", &image), effect).await
            })
            .await
    }

    /// Lists the pulls that go on, and those that were over last, the newest first.
    ///
    /// # Errors
    ///
    /// The gate's refusal.
    pub fn pulls(&self, actor: &Actor) -> Result<Vec<PullView>> {
        self.core.gate.permit(actor, Action::ImagesWrite, &Resource::Any)?;
        Ok(self.core.pulls.all().iter().map(PullHandle::view).collect())
    }

    /// Removes an image. One that a container uses stays.
    ///
    /// # Errors
    ///
    /// The gate's refusal; [`HomelabError::ImageNotFound`]; [`HomelabError::Protected`]; [`HomelabError::Docker`] with
    /// the Engine's reason.
    pub async fn delete(&self, actor: &Actor, image: &str) -> Result<()> {
        let (core, actor, image) = (Arc::clone(&self.core), actor.clone(), image.to_owned());
        self.core.work.to_its_end(async move { Box::pin(core.delete_image(&actor, &image)).await }).await
    }
}

fn deed(verb: &'static str, image: &str) -> Deed {
    Deed {
        action: Action::ImagesWrite,
        verb,
        resource: Resource::Any,
        target: format!("image:{image}"),
        place: EffectPlace::Outside,
        detail: None,
    }
}

impl Core {
    /// Refuses images that the policy would not let a container be made from, and those that the house itself runs:
    /// whoever pulls over their name decides what jobs run in.
    async fn judge_image(&self, image: &str) -> Result<()> {
        if self.own_images.iter().any(|own| whole_name(own) == whole_name(image)) {
            return Err(HomelabError::Protected { what: "image", name: HomelabError::shown(image) });
        }
        let wishes = [ContainerWish { image: image.to_owned(), ..ContainerWish::default() }];
        let facts = Facts::gather(&self.docker, &self.policy, &wishes, &self.own).await?;
        match self.policy.judge(&wishes[0], &facts, &Grants::default()) {
            Ok(_) => Ok(()),
            Err(Refused { mut refusals }) => {
                refusals.retain(|refusal| refusal.field == "image");
                if refusals.is_empty() { Ok(()) } else { Err(Refused { refusals }.into()) }
            }
        }
    }

    async fn delete_image(&self, actor: &Actor, image: &str) -> Result<()> {
        let may_ask = decide(actor, Action::ImagesWrite, &Resource::Any) == Decision::Allow;
        let effect = async {
            let not_found = || HomelabError::ImageNotFound(HomelabError::shown(image));
            let found = match self.docker.image(image).await {
                Ok(found) => found.ok_or_else(not_found)?,
                Err(DockerError::BadName { .. }) => return Err(not_found()),
                Err(error) => return Err(error.into()),
            };
            let is_own = self.own_images.iter().any(|own| {
                let own = whole_name(own);
                own == whole_name(image) || found.tags.iter().any(|tag| whole_name(tag) == own)
            });
            if is_own {
                return Err(HomelabError::Protected { what: "image", name: HomelabError::shown(image) });
            }
            match self.docker.remove_image(image).await {
                Err(error) if error.is_not_found() => return Err(not_found()),
                removed => removed?,
            }
            self.mirror.settled_images().await;
            Ok(())
        };
        let done = self.gate.perform(actor, deed("image.delete", image), effect).await;
        if may_ask {
            let error = done.as_ref().err();
            let status = if error.is_some() { EventStatus::Error } else { EventStatus::Success };
            let details =
                error.map(|error| json!({ "details": error.to_string(), "code": error.code().as_str() }));
            self.activity.note(actor, EventKind::ImageDelete, "delete", image, status, details).await;
        }
        done
    }
}
