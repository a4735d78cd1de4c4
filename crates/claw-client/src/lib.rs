//! Typed client of the REST API, for the command line and the MCP server.
//!
//! It speaks both dialects (`/api/v1/*` plain JSON, `/api/*` with the homelab's envelope), turns every failure into
//! one [`ClientError`], and follows server-sent events across broken connections. Requests and answers are types of
//! their own: fields it does not know are ignored, and fields that older servers lack are optional. It knows no
//! command line, no environment and no files.
//!
//! ```no_run
//! use claw_client::{Client, Credential, SubmitJob};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let client = Client::new("http://127.0.0.1:5179".parse()?, Some(Credential::new("wag_live_…")))?;
//! let job = client.submit_job(&SubmitJob::new("say hello"), "my-idempotency-key").await?;
//! let mut log = client.follow_log(job.id, 0).await?;
//! while let Some(event) = log.next().await? {
//!     println!("{event:?}");
//! }
//! # Ok(())
//! # }
//! ```

mod answer;
mod api;
mod client;
mod error;
mod events;
mod in_process;
mod server_url;
mod sse;
mod wait;

pub use answer::Answer;
pub use api::{
    auth::{KeyMeta, NewKey, SetupStatus, UpdateKey, VerifiedKey},
    house::{
        AuditEntry, AuditPage, AuditQuery, AuditVerification, ModelLogin, Removals, Removed, Session,
        SessionList, Spending, SpendingQuery, SpendingRow,
    },
    jobs::{
        Cancelled, Job, JobLog, JobQuery, JobResult, JobSort, JobUpdate, LogEvent, LogFollower, SubmitJob,
        Submitted,
    },
    system::{DockerStatus, QueueCounts, Readiness, Setting, Status, Worker, Workers},
    users::{User, UserList},
    workspaces::{
        Commit, FileEntry, FileList, History, NewWorkspace, Timeline, TimelineEntry, Workspace, WorkspacePage,
    },
};
pub use api::{homelab, jobs::JobPage};
pub use client::{Client, Credential, FileDownload};
pub use error::ClientError;
pub use events::{Attendance, EventStream};
pub use in_process::{Body, InProcess};
pub use server_url::{ServerUrl, ServerUrlError};
pub use sse::{SseError, SseEvent, SseParser};
