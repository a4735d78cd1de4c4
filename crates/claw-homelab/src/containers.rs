//! Containers: what there is, and what is done to them.

mod config;
mod create;
mod exec;
mod logs;
mod stats;

use std::{sync::Arc, time::Duration};

use claw_core::{Action, Actor, Coded as _, Decision, Resource, decide};
use claw_docker::{ContainerEntry, RemoveContainer, policy::ContainerWish};
use claw_gate::{Deed, EffectPlace};
use serde_json::json;

pub use config::ContainerConfig;
pub(crate) use create::{create, is_same_image};
pub use exec::ExecOutcome;
pub(crate) use exec::{ExecRequest, MAX_AT_A_TIME};
pub use logs::LogsRequest;

use crate::{Core, EventKind, EventStatus, HomelabError, container_wish};

/// How long a container may take to end by itself when it is stopped.
const STOP_GRACE: Duration = Duration::from_secs(10);

type Result<T> = std::result::Result<T, HomelabError>;

/// The use cases of containers. Cheap to clone.
#[derive(Clone)]
pub struct Containers {
    core: Arc<Core>,
}

/// Something that is done to a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    Start,
    Stop,
    Restart,
    Delete,
}

impl Change {
    fn action(self) -> Action {
        match self {
            Self::Start | Self::Stop | Self::Restart => Action::ContainersWrite,
            Self::Delete => Action::ContainersDelete,
        }
    }

    fn verb(self) -> &'static str {
        match self {
            Self::Start => "container.start",
            Self::Stop => "container.stop",
            Self::Restart => "container.restart",
            Self::Delete => "container.delete",
        }
    }

    fn word(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Stop => "stop",
            Self::Restart => "restart",
            Self::Delete => "delete",
        }
    }
}

impl Containers {
    pub(crate) fn new(core: Arc<Core>) -> Self {
        Self { core }
    }

    /// Lists all containers, running or not.
    ///
    /// # Errors
    ///
    /// The gate's refusal; [`HomelabError::Docker`] when the Engine is away: never a list of before as if it were true.
    pub async fn list(&self, actor: &Actor) -> Result<Arc<[ContainerEntry]>> {
        self.core.gate.permit(actor, Action::ContainersRead, &Resource::Any)?;
        Ok(self.core.mirror.containers().await?)
    }

    /// Makes and starts a container, pulling its image if it is not here. Goes on when the caller hangs up.
    ///
    /// # Errors
    ///
    /// The gate's refusal; [`HomelabError::Refused`] by the policy; [`HomelabError::NameTaken`];
    /// [`HomelabError::PullFailed`]; [`HomelabError::Docker`] with the Engine's reason. Nothing is left behind then.
    pub async fn create(&self, actor: &Actor, wish: ContainerWish) -> Result<ContainerEntry> {
        create(&self.core, actor, Action::ContainersWrite, wish, "create").await
    }

    /// Like [`Containers::create`], for what is described as [`crate::container_wish`] reads it.
    ///
    /// # Errors
    ///
    /// As [`Containers::create`]; [`HomelabError::Invalid`].
    pub async fn create_described(&self, actor: &Actor, body: &[u8]) -> Result<ContainerEntry> {
        let may_ask = decide(actor, Action::ContainersWrite, &Resource::Any) == Decision::Allow;
        // Those who may not are told that, whatever they sent.
        let wish = if may_ask { container_wish(body)? } else { ContainerWish::default() };
        self.create(actor, wish).await
    }

    /// Starts a container. One that runs already is fine.
    ///
    /// # Errors
    ///
    /// The gate's refusal; [`HomelabError::ContainerNotFound`]; [`HomelabError::Protected`]; [`HomelabError::Docker`]
    /// with the Engine's reason.
    pub async fn start(&self, actor: &Actor, container: &str) -> Result<()> {
        self.change(actor, container, Change::Start).await
    }

    /// Stops a container: asks it to end, and ends it if it does not.
    ///
    /// # Errors
    ///
    /// As [`Containers::start`].
    pub async fn stop(&self, actor: &Actor, container: &str) -> Result<()> {
        self.change(actor, container, Change::Stop).await
    }

    /// Stops a container and starts it again.
    ///
    /// # Errors
    ///
    /// As [`Containers::start`].
    pub async fn restart(&self, actor: &Actor, container: &str) -> Result<()> {
        self.change(actor, container, Change::Restart).await
    }

    /// Stops and removes a container. Its volumes stay.
    ///
    /// # Errors
    ///
    /// As [`Containers::start`].
    pub async fn delete(&self, actor: &Actor, container: &str) -> Result<()> {
        self.change(actor, container, Change::Delete).await
    }

    async fn change(&self, actor: &Actor, container: &str, change: Change) -> Result<()> {
        let (core, actor, asked) = (Arc::clone(&self.core), actor.clone(), container.to_owned());
        self.core.work.to_its_end(async move { Box::pin(core.change(&actor, &asked, change)).await }).await
    }
}

impl Core {
    /// Finds the one container that a name, an id or the unambiguous beginning of one stands for.
    pub(crate) async fn find(&self, asked: &str) -> Result<ContainerEntry> {
        let found = self.mirror.find(asked).await?;
        found.ok_or_else(|| HomelabError::ContainerNotFound(HomelabError::shown(asked)))
    }

    async fn change(&self, actor: &Actor, asked: &str, change: Change) -> Result<()> {
        let deed = |target: String, detail| Deed {
            action: change.action(),
            verb: change.verb(),
            resource: Resource::Any,
            target,
            place: EffectPlace::Outside,
            detail,
        };
        if decide(actor, change.action(), &Resource::Any) != Decision::Allow {
            // Refused on the record, and without a word about whether there is such a container.
            let nothing = std::future::ready(Ok(()));
            return self.gate.perform(actor, deed(format!("container:{asked}"), None), nothing).await;
        }
        let container = self.find(asked).await?;
        let deed = deed(format!("container:{}", container.id), Some(json!({ "name": container.name })));
        let done = self
            .gate
            .perform(actor, deed, async {
                self.protection.check(&container).await?;
                self.apply(&container, change).await
            })
            .await;
        self.tell(actor, change.word(), asked, Some(&container.id), done.as_ref().err()).await;
        done
    }

    async fn apply(&self, container: &ContainerEntry, change: Change) -> Result<()> {
        let id = container.id.as_str();
        match change {
            Change::Start => self.docker.start(id).await?,
            Change::Stop => self.docker.stop(id, STOP_GRACE).await?,
            Change::Restart => self.docker.restart(id, STOP_GRACE).await?,
            Change::Delete => {
                if container.is_running()
                    && let Err(error) = self.docker.stop(id, STOP_GRACE).await
                {
                    // It is removed all the same, only less gently.
                    tracing::debug!(%error, container = id, "a container to be removed could not be stopped");
                }
                match self.docker.remove(id, RemoveContainer { volumes: false, force: true }).await {
                    // Somebody else was quicker.
                    Err(error) if error.is_not_found() => {}
                    removed => removed?,
                }
                self.creators.forget(id).await?;
            }
        }
        self.mirror.settled(id).await;
        Ok(())
    }

    /// Tells the feed what was done to a container.
    pub(crate) async fn tell(
        &self,
        actor: &Actor,
        action: &str,
        target: &str,
        id: Option<&str>,
        error: Option<&HomelabError>,
    ) {
        let status = if error.is_some() { EventStatus::Error } else { EventStatus::Success };
        let mut details = json!({ "container_id": id.unwrap_or_default() });
        if let Some(error) = error {
            details["details"] = error.to_string().into();
            details["code"] = error.code().as_str().into();
        }
        self.activity.note(actor, EventKind::ContainerAction, action, target, status, Some(details)).await;
    }
}
