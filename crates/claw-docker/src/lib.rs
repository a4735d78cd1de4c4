//! All that is said to a Docker Engine.
//!
//! Everything the rest of the house asks of Docker goes through [`Docker`], in our own closed types: a sandbox is a
//! [`SandboxContainer`], which has no field for privileges, and whatever people wish for is judged by a
//! [`policy`] before it can be made. [`Mirror`] answers from memory what containers and images there are. The crate
//! knows nothing of jobs and workspaces, and no type of the HTTP client below it is seen outside.
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
mod details;
mod endpoint;
mod engine;
mod entry;
mod error;
mod events;
mod exec;
mod image;
mod lines;
mod logs;
mod mirror;
mod name;
mod network;
pub mod policy;
mod pull;
mod request;
mod spec;
mod stats;
mod tls;
mod transport;
mod volume;
mod wire;

pub use attach::{Attached, Chunk};
pub use connection::{DEFAULT_ENDPOINT, Docker};
pub use container::{ContainerState, FoundContainer, MAX_GRACE, RemoveContainer, Status};
pub use details::{ContainerDetails, MountDetails, NetworkAttachment, Variable};
pub use engine::{EngineInfo, EngineVersion};
pub use entry::{ContainerEntry, PortEntry};
pub use error::DockerError;
pub use events::EngineEvent;
pub use exec::{ExecEnd, ExecLimits, ExecStop, Executed, MAX_EXEC_TIME};
pub use image::{ImageDetails, ImageEntry, ImageInfo};
pub use logs::{LogChunk, LogSource, LogText, LogsQuery};
pub use mirror::{Mirror, MirrorPace};
pub use network::NetworkDetails;
pub use pull::PullProgress;
pub use spec::{ContainerNetwork, Mount, MountSource, SandboxContainer};
pub use stats::ContainerStats;
pub use volume::VolumeDetails;
