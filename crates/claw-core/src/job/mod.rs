//! Jobs and their state machine.
//!
//! ```text
//!            claim                       complete
//! pending ───────────▶ running ─────────────────────▶ completed
//!    │ ▲                 │ │ └─ fail (final) ────────▶ failed
//!    │ └─ fail (retry) ──┘ │ └─ cancel confirmed ────▶ cancelled
//!    │    release, lapse   │
//!    └─────── cancel ──────┴─ asked to cancel (still running)
//! ```
//!
//! Every change goes through [`Job::apply`]. A storage engine calls it inside its own atomic step and writes what
//! comes out, so all engines and doors share one table of what may follow what.

mod spec;
mod state;
mod transition;

pub use spec::{JobSource, JobSpec, OutputDest, Priority, SpecError};
pub use state::{FailureKind, JobOutcome, JobResult, JobState, JobStatus, Lease, RunUsage};
pub use transition::{ClaimedJob, IllegalTransition, Job, Transition};
