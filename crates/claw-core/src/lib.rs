//! The domain of ClawMachine: what a job, a workspace, a key and a scope are, and which step may follow which.
//!
//! This crate does no I/O and knows no HTTP, SQL, Docker, clap or environment. Rules live here as pure functions,
//! so that every door (REST, CLI, MCP, schedules) and every storage engine obeys the same ones:
//!
//! ```
//! use claw_core::{Action, Actor, Decision, Principal, Resource, Scope, decide};
//!
//! let agent = Actor::new(Principal::Key("018f".into()), "night agent", [Scope::JobsRead]);
//! assert_eq!(decide(&agent, Action::JobsRead, &Resource::Any), Decision::Allow);
//! assert!(matches!(decide(&agent, Action::JobsWrite, &Resource::Any), Decision::ScopeMissing(_)));
//! ```

mod access;
mod audit;
mod clock;
mod error;
mod event;
mod id;
mod job;
mod repo_path;
mod retry;
mod secret;
pub mod untrusted;
mod usage;
mod workspace;

pub use access::{
    Action, Actor, Decision, Origin, Principal, Resource, Role, Scope, UnknownScope, decide, expand_scopes,
};
pub use audit::{AuditAct, AuditEnd, AuditOutcome, AuditRecord, MAX_AUDIT_TEXT};
pub use clock::{Clock, ManualClock, SystemClock};
pub use error::{Coded, ErrorCode};
pub use event::JobEvent;
pub use id::{DeedId, JobId, KeyId, ParseIdError, WorkerId, WorkspaceId};
pub use job::{
    ClaimedJob, FailureKind, IllegalTransition, Job, JobOutcome, JobResult, JobSource, JobSpec, JobState,
    JobStatus, Lease, OutputDest, Priority, RunUsage, SpecError, Transition,
};
pub use repo_path::{RepoPath, RepoPathError};
pub use retry::{RetryDecision, RetryPolicy};
pub use secret::Secret;
pub use usage::{ModelUse, TokenUsage, Usd};
pub use workspace::{
    NetworkMode, Persistence, Workspace, WorkspaceEvent, WorkspaceEventKind, WorkspaceName,
    WorkspaceSettingsError,
};

pub use jiff::Timestamp;
