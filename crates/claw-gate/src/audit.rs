//! The audit trail: what was done, wanted and refused, in a stream that is chained by hashes.
//!
//! ```text
//! perform ── decide ── intent ──▶ effect ── outcome
//!               └─ denied
//! ```
//!
//! An intent is on disk before its effect, see [`EffectPlace`]. Outcomes and refusals are written soon after by one task,
//! many in one record, so that they cost little; a crash leaves an intent whose outcome reads unknown.

mod deed;
mod repeats;
mod trail;
mod verify;
mod view;
mod writer;

pub use deed::{Deed, EffectPlace};
pub(crate) use deed::{act, anonymous};
pub use trail::AuditTrail;
pub use verify::{ExportError, Verification, verify_export};
pub use view::{AuditFilter, AuditPage, AuditResult, AuditView};
