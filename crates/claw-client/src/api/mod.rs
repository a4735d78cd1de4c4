//! The routes, one file for each kind of thing.

pub(crate) mod auth;
pub mod homelab;
pub(crate) mod house;
pub(crate) mod jobs;
pub(crate) mod system;
pub(crate) mod users;
pub(crate) mod workspaces;

/// Routes of the orchestrator's dialect.
macro_rules! v1 {
    ($($segment:expr),* $(,)?) => { ["api", "v1", $($segment),*] };
}
pub(crate) use v1;
