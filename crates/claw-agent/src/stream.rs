//! What the CLI says: its stream-json lines, parsed once, and the verdict on a run.
//!
//! The format is not frozen: fields are found by name, unknown kinds and fields are tolerated, and a line that is not
//! JSON is just a line. The rules of the verdict were measured with CLI 2.1.329 and 2.1.197.

mod claim;
mod event;
mod failure;
mod tally;

pub use claim::may_claim_type;
pub use event::{Denial, Event, ResultEvent, parse_line};
pub(crate) use failure::upstream_failure;
pub use failure::{Failure, api_failure};
pub use tally::{MAX_FALLBACK_BYTES, RunTally, Verdict};
