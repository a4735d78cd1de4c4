//! The life of a container.

use std::{collections::HashMap, time::Duration};

use bollard::{
    errors::Error as ClientError,
    models::ContainerStateStatusEnum,
    query_parameters::{
        CreateContainerOptions, InspectContainerOptions, KillContainerOptions, ListContainersOptions,
        RemoveContainerOptions, RenameContainerOptions, StartContainerOptions, StatsOptions,
        WaitContainerOptions,
    },
};
use futures_util::{StreamExt, TryStreamExt};

use crate::{Docker, DockerError, SandboxContainer, connection::LIMIT, name, request::Ask};

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
        self.call(
            |client| async move { client.start_container(container, None::<StartContainerOptions>).await },
        )
        .await
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
        let container = name::check_name("container", container)?;
        let found = self
            .call(|client| async move {
                client.inspect_container(container, None::<InspectContainerOptions>).await
            })
            .await?;
        let state = found.state.unwrap_or_default();
        use ContainerStateStatusEnum as Word;
        let status = match state.status.unwrap_or(Word::EMPTY) {
            Word::EMPTY | Word::CREATED => Status::Created,
            Word::RUNNING | Word::PAUSED | Word::RESTARTING | Word::STOPPING => Status::Running,
            Word::REMOVING => Status::Removing,
            Word::EXITED | Word::DEAD => Status::Exited,
        };
        Ok(ContainerState {
            status,
            exit_code: state.exit_code.unwrap_or(0),
            out_of_memory: state.oom_killed.unwrap_or(false),
        })
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

    /// Returns the bytes of memory that a running container uses now, without what the kernel could take back at once.
    ///
    /// # Errors
    ///
    /// Returns [`DockerError::NotFound`] when it is gone, and [`DockerError::Unreadable`] when the Engine does not know.
    pub async fn memory_used(&self, container: &str) -> Result<u64, DockerError> {
        let container = name::check_name("container", container)?;
        // Asked once, not followed: the Engine would measure for two seconds to tell the load of the processors.
        let options = StatsOptions { stream: false, one_shot: true };
        let stats = self
            .call(|client| async move { client.stats(container, Some(options)).boxed().try_next().await })
            .await?;
        let memory = stats.and_then(|stats| stats.memory_stats);
        let used = memory.as_ref().and_then(|memory| memory.usage);
        let Some(used) = used else {
            return Err(DockerError::Unreadable {
                message: "it tells no memory of the container".to_owned(),
            });
        };
        // Named by the kernel's control groups, the newer and the older ones.
        let idle_files = memory.and_then(|memory| memory.stats).map_or(0, |stats| {
            let of = |name: &str| stats.get(name).copied();
            of("inactive_file").or_else(|| of("total_inactive_file")).unwrap_or(0)
        });
        Ok(used.saturating_sub(idle_files))
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
        let filters = HashMap::from([("label".to_owned(), vec![format!("{key}={value}")])]);
        let options = ListContainersOptions { all: true, filters: Some(filters), ..Default::default() };
        let found = self.call(|client| async move { client.list_containers(Some(options)).await }).await?;
        Ok(found
            .into_iter()
            .map(|container| FoundContainer {
                id: container.id.unwrap_or_default(),
                name: container
                    .names
                    .unwrap_or_default()
                    .first()
                    .map(|name| name.trim_start_matches('/').to_owned())
                    .unwrap_or_default(),
                labels: container.labels.unwrap_or_default(),
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
        let options = WaitContainerOptions { condition: condition.to_owned() };
        let mut answers = self.endless().wait_container(container, Some(options)).boxed();
        match answers.try_next().await {
            Ok(Some(answer)) => Ok(answer.status_code),
            // The client library takes every exit code but 0 for an error. With words, it is one of the Engine's.
            Err(ClientError::DockerContainerWaitError { error, code }) if error.is_empty() => Ok(code),
            Err(error) => Err(self.error(error)),
            Ok(None) => Err(DockerError::hung_up(self.endpoint())),
        }
    }
}
