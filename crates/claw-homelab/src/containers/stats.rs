//! What containers use.

use claw_core::{Action, Actor, Resource};
use claw_docker::ContainerStats;

use super::{Containers, Result};

impl Containers {
    /// Returns what a container uses now, after a quarter of a second's look. All zero when it does not run.
    ///
    /// # Errors
    ///
    /// The gate's refusal; [`crate::HomelabError::ContainerNotFound`]; [`crate::HomelabError::Docker`].
    pub async fn stats(&self, actor: &Actor, container: &str) -> Result<ContainerStats> {
        let core = &self.core;
        core.gate.permit(actor, Action::ContainersRead, &Resource::Any)?;
        let found = core.find(container).await?;
        Ok(core.docker.stats(&found.id).await?)
    }
}
