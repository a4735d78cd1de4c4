//! Making a container: one way for every door.

use std::{collections::BTreeMap, path::Path, sync::Arc};

use claw_core::{Action, Actor, Decision, Resource, decide};
use claw_docker::{
    ContainerEntry, DockerError, RemoveContainer,
    policy::{Approved, ContainerWish, Facts, Grants},
};
use claw_gate::{Deed, EffectPlace};
use serde_json::json;

use crate::{Core, HomelabError};

type Result<T> = std::result::Result<T, HomelabError>;

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
        let approved = Box::pin(self.judge(wish)).await?;
        Box::pin(self.require_image(actor, action, &approved.wish().image)).await?;
        self.make_folders(&approved).await;
        let id = Box::pin(self.make(&approved)).await?;
        match Box::pin(self.begin(&id, actor, by)).await {
            Ok(entry) => Ok(entry),
            Err(error) => {
                // Nobody should have to clear away what never ran before trying again.
                let remove = RemoveContainer { volumes: true, force: true };
                if let Err(error) = self.docker.remove(&id, remove).await {
                    tracing::warn!(%error, container = id, "a container that could not be started is left behind");
                }
                self.mirror.settled(&id).await;
                Err(error)
            }
        }
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

    async fn make(&self, approved: &Approved) -> Result<String> {
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
