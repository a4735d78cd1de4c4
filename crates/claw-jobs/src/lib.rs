//! What people do with jobs: submit, watch, cancel, delete; and the worker that runs them.
//!
//! Every operation takes the [`claw_core::Actor`] who asks and puts the question to the gate itself, so that no
//! door can forget to. Nothing here knows HTTP, SQL, Docker's API or git's command line.

mod disk;
mod error;
mod gauges;
mod logs;
mod purse;
mod redact;
mod retention;
mod service;
mod settings;
mod spans;
mod spending;
mod timeline;
mod worker;
mod workspaces;

pub use disk::{DiskGuard, StorageFull};
pub use error::JobsError;
pub use gauges::JobsGauges;
pub use logs::{HouseLine, LogItem, LogPage};
pub use redact::{REDACTED, Redactor};
pub use retention::{GcCount, GcReport, GcSubject, Retention, RetentionRules};
pub use service::{JobService, NewJob, NumberedEvent};
pub use settings::{RunSettings, SettingEntry, Settings, SettingsDefaults, format_size, parse_size};
pub use spending::SpendingService;
pub use worker::{Wait, Worker, WorkerConfig, WorkerHandle, WorkerParts, WorkerSnapshot, WorkerState};
pub use workspaces::{NewWorkspace, WorkspaceChange, WorkspaceLimits, WorkspaceService};
