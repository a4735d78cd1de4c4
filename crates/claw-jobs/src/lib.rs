//! What people do with jobs: submit, watch, cancel, delete; and the worker that runs them.
//!
//! Every operation takes the [`claw_core::Actor`] who asks and puts the question to the gate itself, so that no
//! door can forget to. Nothing here knows HTTP, SQL, Docker's API or git's command line.

mod error;
mod logs;
mod service;
mod settings;
mod timeline;
mod worker;
mod workspaces;

pub use error::JobsError;
pub use logs::{HouseLine, LogItem, LogPage};
pub use service::{JobService, NewJob, NumberedEvent};
pub use settings::{RunSettings, SettingEntry, Settings, SettingsDefaults, format_size, parse_size};
pub use worker::{Worker, WorkerConfig, WorkerHandle, WorkerSnapshot, WorkerState};
pub use workspaces::{NewWorkspace, WorkspaceChange, WorkspaceLimits, WorkspaceService};
