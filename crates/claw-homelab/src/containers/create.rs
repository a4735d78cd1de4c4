//! Making a container: one way for every door.

use std::{collections::BTreeMap, path::Path, sync::Arc};

use claw_core::{Action, Actor, Decision, ErrorCode, Resource, decide};
use claw_docker::{
    ContainerEntry, Docker, DockerError, RemoveContainer,
    policy::{Approved, ContainerWish, Facts, Grants, MountWishSource},
};
use claw_gate::{Deed, EffectPlace};
use claw_store::fault;
use serde_json::json;

use crate::{Core, HomelabError};

type Result<T> = std::result::Result<T, HomelabError>;

/// How often a container is made anew when the name of its image leads elsewhere meanwhile.
const IMAGE_TRIES: usize = 3;

/// Judges, makes and starts what is wished for. `by` tells the door, for the record of who made it.
pub(crate) async fn create(
    core: &Arc<Core>,
    actor: &Actor,
    action: Action,
    wish: ContainerWish,
    by: &str,
) -> Result<ContainerEntry> {
    let (own_core, actor, by) = (Arc::clone(core), actor.clone(), by.to_owned());
    core.work.to_its_end(async move { Box::pin(own_core.create(&actor, action, wish, &by)).await }).await
}

impl Core {
    async fn create(
        &self,
        actor: &Actor,
        action: Action,
        wish: ContainerWish,
        by: &str,
    ) -> Result<ContainerEntry> {
        let name = wish.name.clone().unwrap_or_default();
        let deed = Deed {
            action,
            verb: "container.create",
            resource: Resource::Any,
            target: format!("container:{name}"),
            place: EffectPlace::Outside,
            detail: Some(json!({ "image": wish.image, "by": by })),
        };
        let may_ask = decide(actor, action, &Resource::Any) == Decision::Allow;
        // Boxed, here and below: together they would be a hundred kilobytes that move about on the stack.
        let effect = Box::pin(self.judge_and_make(actor, action, wish, by));
        let done = self.gate.perform(actor, deed, effect).await;
        if may_ask {
            let made = done.as_ref().ok();
            let target = made.map_or(name.as_str(), |made: &ContainerEntry| made.name.as_str());
            let id = made.map(|made| made.id.as_str());
            self.tell(actor, "create", target, id, done.as_ref().err()).await;
        }
        done
    }

    async fn judge_and_make(
        &self,
        actor: &Actor,
        action: Action,
        wish: ContainerWish,
        by: &str,
    ) -> Result<ContainerEntry> {
        // First of all, so that nothing is pulled for what may not be.
        let approved = Box::pin(self.judge(wish.clone())).await?;
        Box::pin(self.require_image(actor, action, &approved.wish().image)).await?;
        let id = Box::pin(self.judge_again_and_make(wish)).await?;
        match Box::pin(self.begin(&id, actor, by)).await {
            Ok(entry) => Ok(entry),
            Err(error) => {
                self.remove_what_never_ran(&id).await;
                Err(error)
            }
        }
    }

    /// Judges once more and makes the container, while nobody else makes one: two that are judged side by side do not see
    /// each other's mounts.
    async fn judge_again_and_make(&self, wish: ContainerWish) -> Result<String> {
        let _alone = self.making.lock().await;
        let has_binds = wish.mounts.iter().any(|mount| matches!(mount.source, MountWishSource::Bind(_)));
        let approved = Box::pin(self.judge(wish)).await?;
        self.make_folders(&approved).await;
        let id = Box::pin(self.make(&approved)).await?;
        if !has_binds {
            return Ok(id);
        }
        // What was judged by its path is mounted by its path: nobody may have put a link there meanwhile.
        match Box::pin(self.judge(approved.wish().clone())).await {
            Ok(again) if again.wish().mounts == approved.wish().mounts => Ok(id),
            Ok(_) => {
                self.remove_what_never_ran(&id).await;
                let message = "what is to be mounted changed while the container was made: try again";
                Err(HomelabError::invalid(ErrorCode::Conflict, message))
            }
            Err(error) => {
                self.remove_what_never_ran(&id).await;
                Err(error)
            }
        }
    }

    /// Nobody should have to clear away what never ran before trying again.
    async fn remove_what_never_ran(&self, id: &str) {
        let remove = RemoveContainer { volumes: true, force: true };
        if let Err(error) = self.docker.remove(id, remove).await {
            tracing::warn!(%error, container = id, "a container that could not be started is left behind");
        }
        self.mirror.settled(id).await;
    }

    /// Asks the policy about a wish, as things stand on the host right now.
    pub(crate) async fn judge(&self, wish: ContainerWish) -> Result<Approved> {
        let wishes = [wish];
        let facts = Facts::gather(&self.docker, &self.policy, &wishes, &self.own).await?;
        Ok(self.policy.judge(&wishes[0], &facts, &Grants::default())?)
    }

    async fn require_image(&self, actor: &Actor, action: Action, image: &str) -> Result<()> {
        if self.docker.image(image).await?.is_some() {
            return Ok(());
        }
        self.pulls.begin(self, actor, action, image)?.ended().await
    }

    /// Makes the folders below that of the apps which are to be mounted and are not there.
    async fn make_folders(&self, approved: &Approved) {
        let Some(apps) = &self.own.apps_folder else { return };
        for folder in approved.missing_folders() {
            let Ok(inside) = Path::new(folder).strip_prefix(apps) else { continue };
            let seen_at = self.own.apps_folder_seen_at.as_ref().unwrap_or(apps);
            if let Err(error) = tokio::fs::create_dir_all(Path::new(seen_at).join(inside)).await {
                // The Engine will refuse to mount it, and say so.
                tracing::warn!(%error, folder, "a folder to be mounted could not be made");
            }
        }
    }

    /// Makes a container from the very image that was judged: a name can lead to another one a moment later.
    async fn make(&self, approved: &Approved) -> Result<String> {
        let name = &approved.wish().image;
        for _ in 0..IMAGE_TRIES {
            let image = self.docker.inspect_image(name).await?;
            let approved = approved.of_image(&self.policy, &image, &self.own)?;
            let id = self.make_as(&approved).await?;
            fault::point("container.made");
            let made = self.docker.inspect(&id).await;
            match made {
                Ok(made) if is_same_image(&self.docker, &made.image_id, &image.entry.id).await => {
                    return Ok(id);
                }
                Ok(_) => self.remove_what_never_ran(&id).await,
                Err(error) => {
                    self.remove_what_never_ran(&id).await;
                    return Err(error.into());
                }
            }
        }
        Err(HomelabError::ImageMoves(HomelabError::shown(name)))
    }

    async fn make_as(&self, approved: &Approved) -> Result<String> {
        match self.docker.make(approved, BTreeMap::new()).await {
            Ok(id) => Ok(id),
            Err(DockerError::Conflict { message }) => match &approved.wish().name {
                Some(name) => Err(HomelabError::NameTaken(name.clone())),
                None => Err(DockerError::Conflict { message }.into()),
            },
            Err(error) => Err(error.into()),
        }
    }

    async fn begin(&self, id: &str, actor: &Actor, by: &str) -> Result<ContainerEntry> {
        let now = self.clock.now();
        self.creators.note(id, actor, by, now).await?;
        self.docker.start(id).await?;
        self.mirror.settled(id).await;
        // Seldom needed, cheap, and nobody else would do it.
        if let Ok(containers) = self.mirror.containers().await
            && let Err(error) = self.creators.sweep(&containers, now).await
        {
            tracing::warn!(%error, "records of containers that are gone could not be cleared away");
        }
        Ok(self.docker.inspect(id).await?.entry)
    }
}

/// Tells whether two ids are of one image. Engines write them in more than one way.
pub(crate) async fn is_same_image(docker: &Docker, made_from: &str, judged: &str) -> bool {
    let plain = |id: &str| id.trim_start_matches("sha256:").to_owned();
    if plain(made_from) == plain(judged) {
        return !made_from.is_empty();
    }
    // What cannot be looked at is not it.
    let found = docker.inspect_image(made_from).await;
    found.is_ok_and(|found| plain(&found.entry.id) == plain(judged))
}
