//! All that is said to a Docker Engine.
//!
//! Everything the rest of the house asks of Docker goes through [`Docker`], in our own closed types: what a container
//! of ours may look like is decided by [`SandboxContainer`], which has no field for privileges. The crate knows
//! nothing of jobs and workspaces, and no type of the HTTP client below it is seen outside.
//!
//! ```no_run
//! # async fn example() -> Result<(), claw_docker::DockerError> {
//! let docker = claw_docker::Docker::connect(None)?;
//! let engine = docker.info().await?;
//! println!("Docker {} runs {} containers", engine.server_version, engine.containers_running);
//! # Ok(())
//! # }
//! ```

mod attach;
mod connection;
mod container;
mod engine;
mod error;
mod image;
mod name;
pub mod policy;
mod spec;
mod volume;

pub use attach::{Attached, Chunk};
pub use connection::{DEFAULT_ENDPOINT, Docker};
pub use container::{ContainerState, FoundContainer, Status};
pub use engine::EngineInfo;
pub use error::DockerError;
pub use image::ImageInfo;
pub use spec::{ContainerNetwork, Mount, MountSource, SandboxContainer};
