//! The life of a container.

use std::{collections::HashMap, time::Duration};

use bollard::query_parameters::{
    CreateContainerOptions, KillContainerOptions, RemoveContainerOptions, RenameContainerOptions,
};

use crate::{
    Docker, DockerError, SandboxContainer,
    connection::LIMIT,
    lines::{Lines, Pieces},
    name,
    request::{Ask, filters},
    wire,
};

/// Longest wait for a removal that somebody else has begun.
const REMOVAL_LIMIT: Duration = Duration::from_secs(20);

/// Longest time a container can be given to end by itself.
pub const MAX_GRACE: Duration = Duration::from_secs(600);

/// What a container is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// Made, not started yet.
    Created,
    /// Its program runs (or is stopped by the freezer).
    Running,
    /// Its program has ended.
    Exited,
    /// It is being removed.
    Removing,
}

/// A container's state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ContainerState {
    /// What it is doing.
    pub status: Status,
    /// Exit code of its program, once it has ended.
    pub exit_code: i64,
    /// Whether the kernel ended some process of it for want of memory.
    pub out_of_memory: bool,
}

/// How a container is removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RemoveContainer {
    /// Its anonymous volumes go too. Named ones stay.
    pub volumes: bool,
    /// Also when it runs: it is killed.
    pub force: bool,
}

/// A container found by its labels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundContainer {
    /// Full id.
    pub id: String,
    /// Name.
    pub name: String,
    /// Labels.
    pub labels: HashMap<String, String>,
}

impl Docker {
    /// Makes a container and returns its full id. It does not run yet.
    ///
    /// # Errors
    ///
    /// Returns [`DockerError::NotFound`] without the image and [`DockerError::Conflict`] when the name is taken.
    pub async fn create_container(&self, container: SandboxContainer) -> Result<String, DockerError> {
        name::check_image(&container.image)?;
        let name = name::check_name("container", &container.name)?.to_owned();
        let options = CreateContainerOptions { name: Some(name), ..Default::default() };
        let request = container.into_request();
        let made =
            self.call(|client| async move { client.create_container(Some(options), request).await }).await?;
        Ok(made.id)
    }

    /// Starts a container. One that runs already is fine.
    ///
    /// # Errors
    ///
    /// Returns [`DockerError::Refused`] with the runtime's words when its program cannot be started.
    pub async fn start(&self, container: &str) -> Result<(), DockerError> {
        let container = name::check_name("container", container)?;
        self.tell(Ask::post(format!("/containers/{container}/start")), LIMIT).await
    }

    /// Ends a container: its stop signal, and after `grace` (whole seconds, at most [`MAX_GRACE`]) the end. One that
    /// does not run is fine.
    ///
    /// # Errors
    ///
    /// Returns [`DockerError::NotFound`] when it is gone.
    pub async fn stop(&self, container: &str, grace: Duration) -> Result<(), DockerError> {
        self.with_grace(container, "stop", grace).await
    }

    /// Ends a container as [`Docker::stop`] does, and starts it again. One that does not run is started.
    ///
    /// # Errors
    ///
    /// Returns [`DockerError::NotFound`] when it is gone, and [`DockerError::Refused`] with the runtime's words when
    /// its program cannot be started.
    pub async fn restart(&self, container: &str, grace: Duration) -> Result<(), DockerError> {
        self.with_grace(container, "restart", grace).await
    }

    async fn with_grace(&self, container: &str, what: &str, grace: Duration) -> Result<(), DockerError> {
        let container = name::check_name("container", container)?;
        let grace = grace.min(MAX_GRACE);
        let ask = Ask::post(format!("/containers/{container}/{what}")).with("t", grace.as_secs().to_string());
        self.tell(ask, grace + LIMIT).await
    }

    /// Removes a container.
    ///
    /// # Errors
    ///
    /// Returns [`DockerError::NotFound`] when it is gone, and [`DockerError::Conflict`] when it runs and is not to be
    /// killed, or when somebody else is removing it.
    pub async fn remove(&self, container: &str, how: RemoveContainer) -> Result<(), DockerError> {
        let container = name::check_name("container", container)?;
        let flag = |wanted: bool| if wanted { "1" } else { "0" };
        let ask = Ask::delete(format!("/containers/{container}"))
            .with("v", flag(how.volumes))
            .with("force", flag(how.force));
        self.tell(ask, LIMIT).await
    }

    /// Sends a signal, such as `SIGTERM`, to a container's first process.
    ///
    /// # Errors
    ///
    /// Returns [`DockerError::NotFound`] when it is gone and [`DockerError::Conflict`] when it does not run.
    pub async fn signal(&self, container: &str, signal: &str) -> Result<(), DockerError> {
        let container = name::check_name("container", container)?;
        let options = KillContainerOptions { signal: signal.to_owned() };
        self.call(|client| async move { client.kill_container(container, Some(options)).await }).await
    }

    /// Ends all processes of a container at once.
    ///
    /// # Errors
    ///
    /// As [`Docker::signal`].
    pub async fn kill(&self, container: &str) -> Result<(), DockerError> {
        self.signal(container, "SIGKILL").await
    }

    /// Waits for a started container to end and returns its exit code, at once if it has ended before.
    ///
    /// The one call without a time limit of its own. Cancel safe.
    ///
    /// # Errors
    ///
    /// Returns [`DockerError::NotFound`] when it is gone and [`DockerError::Unavailable`] when the Engine ends first.
    pub async fn wait(&self, container: &str) -> Result<i64, DockerError> {
        self.wait_until(container, "not-running").await
    }

    /// Returns what a container is doing.
    ///
    /// # Errors
    ///
    /// Returns [`DockerError::NotFound`] when it is gone.
    pub async fn state(&self, container: &str) -> Result<ContainerState, DockerError> {
        let state = self.look(container).await?.state;
        let status = match state.status.as_str() {
            "running" | "paused" | "restarting" | "stopping" => Status::Running,
            "removing" => Status::Removing,
            // Podman says `stopped`.
            "exited" | "dead" | "stopped" => Status::Exited,
            _ => Status::Created,
        };
        Ok(ContainerState { status, exit_code: state.exit_code, out_of_memory: state.out_of_memory })
    }

    /// Gives a container another name.
    ///
    /// # Errors
    ///
    /// Returns [`DockerError::NotFound`] when it is gone and [`DockerError::Conflict`] when the name is taken.
    pub async fn rename_container(&self, container: &str, new_name: &str) -> Result<(), DockerError> {
        let container = name::check_name("container", container)?;
        let options = RenameContainerOptions { name: name::check_name("container", new_name)?.to_owned() };
        self.call(|client| async move { client.rename_container(container, options).await }).await
    }

    /// Ends and removes a container with its anonymous volumes, and returns when it is gone. One that does not exist
    /// is fine.
    ///
    /// # Errors
    ///
    /// Returns [`DockerError::Refused`] when the Engine could not remove it.
    pub async fn remove_force(&self, container: &str) -> Result<(), DockerError> {
        let container = name::check_name("container", container)?;
        let options = RemoveContainerOptions { v: true, force: true, link: false };
        match self.call(|client| async move { client.remove_container(container, Some(options)).await }).await
        {
            Err(error) if error.is_not_found() => Ok(()),
            // Somebody else is removing it right now.
            Err(DockerError::Conflict { .. }) => self.removed(container).await,
            other => other,
        }
    }

    /// Returns all containers, running or not, that carry the label `key` with `value`.
    ///
    /// # Errors
    ///
    /// Returns why the Engine could not be asked.
    pub async fn containers_with_label(
        &self,
        key: &str,
        value: &str,
    ) -> Result<Vec<FoundContainer>, DockerError> {
        let filters = filters("label", &[format!("{key}={value}")]);
        let ask = Ask::get("/containers/json").with("all", "1").with("filters", filters);
        let found: Vec<wire::Summary> = self.ask(ask).await?;
        Ok(found
            .into_iter()
            .map(|container| FoundContainer {
                id: container.id,
                name: container.names.first().map_or("", |name| name.trim_start_matches('/')).to_owned(),
                labels: container.labels.into_iter().collect(),
            })
            .collect())
    }

    async fn removed(&self, container: &str) -> Result<(), DockerError> {
        match tokio::time::timeout(REMOVAL_LIMIT, self.wait_until(container, "removed")).await {
            Ok(Err(error)) if !error.is_not_found() => Err(error),
            Ok(_) => Ok(()),
            Err(_) => Err(DockerError::timed_out(self.endpoint(), REMOVAL_LIMIT)),
        }
    }

    async fn wait_until(&self, container: &str, condition: &str) -> Result<i64, DockerError> {
        let container = name::check_name("container", container)?;
        let ask = Ask::post(format!("/containers/{container}/wait")).with("condition", condition);
        let answer = self.open(ask).await?;
        let mut lines = Lines::new(Pieces::new(self.clone(), answer.into_body(), None));
        match lines.next::<wire::Waited>().await? {
            Some(waited) if waited.error.message.is_empty() => Ok(waited.status_code),
            Some(waited) => Err(DockerError::refused(&waited.error.message)),
            None => Err(DockerError::hung_up(self.endpoint())),
        }
    }
}
