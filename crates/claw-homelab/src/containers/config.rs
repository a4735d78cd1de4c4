//! All that is told of one container.

use claw_core::{Action, Actor, Resource};
use claw_docker::{ContainerDetails, Variable};

use super::{Containers, Result};
use crate::{Creator, masking};

/// All that is told of one container: what looks like a secret is hidden.
#[derive(Clone, Debug, PartialEq)]
pub struct ContainerConfig {
    /// What the Engine knows of it.
    pub details: ContainerDetails,
    /// Who made it, if it was made from here.
    pub creator: Option<Creator>,
    /// Whether it is ours, and cannot be changed from here.
    pub protected: bool,
}

impl Containers {
    /// Returns all that is told of a container.
    ///
    /// # Errors
    ///
    /// The gate's refusal; [`crate::HomelabError::ContainerNotFound`]; [`crate::HomelabError::Docker`].
    pub async fn config(&self, actor: &Actor, container: &str) -> Result<ContainerConfig> {
        let core = &self.core;
        core.gate.permit(actor, Action::ContainersRead, &Resource::Any)?;
        let found = core.find(container).await?;
        let details = core.docker.inspect(&found.id).await?;
        let creator = core.creators.of(&found.id).await?;
        let protected = core.protection.check(&details.entry).await.is_err();
        Ok(ContainerConfig { details: shown(details), creator, protected })
    }
}

fn shown(mut details: ContainerDetails) -> ContainerDetails {
    for Variable { name, value } in &mut details.environment {
        *value = masking::shown_value(name, value);
    }
    for (name, value) in &mut details.entry.labels {
        *value = masking::shown_value(name, value);
    }
    details.command = masking::shown_arguments(&details.command);
    details.entrypoint = masking::shown_arguments(&details.entrypoint);
    details
}
