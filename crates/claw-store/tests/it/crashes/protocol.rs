//! What the child tells the parent: which operation begins, and how it ended. A line that came through the pipe was
//! written before the child died.

use claw_core::JobId;
use serde::{Deserialize, Serialize};

/// Marks the lines that are meant for the parent among what the test harness prints.
const MARK: &str = "@";

/// A line of the child.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) enum Line {
    /// The actor is about to do this.
    Begin(usize, Deed),
    /// The store acknowledged it. `claimed` is what a claim handed out.
    Acknowledged { actor: usize, claimed: Option<JobId> },
    /// Everything is done and the store is closed.
    End,
}

/// One call of the store.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) enum Deed {
    Submit(JobId),
    /// Submits a job again with its key, as a client does that saw no answer.
    SubmitAgain(JobId),
    Claim,
    Finish {
        job: JobId,
        ending: Ending,
        cost_nanos: u64,
    },
    Cancel(JobId),
    Charge {
        job: JobId,
        cost_nanos: u64,
    },
    /// Appends so many lines to the job's log.
    Log {
        job: JobId,
        lines: u64,
    },
    /// Appends the next record of the actor to the chained stream.
    Audit,
    Delete(JobId),
}

/// How a run ends.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) enum Ending {
    Completed,
    Failed,
    Retried,
    Released,
}

impl Line {
    /// Returns the line as it is printed. It begins with a line break, because what stands before may be unfinished.
    pub(super) fn text(&self) -> String {
        format!("\n{MARK}{}\n", serde_json::to_string(self).expect("plain data"))
    }

    /// Reads what [`Line::text`] wrote; `None` for other lines, and for the one in which the child died.
    pub(super) fn read(text: &str) -> Option<Self> {
        serde_json::from_str(text.strip_prefix(MARK)?).ok()
    }
}

/// Returns the owner mark of an actor, which also begins everything that it writes.
pub(super) fn owner(actor: usize) -> String {
    format!("actor-{actor}")
}

/// Returns the key with which an actor submits a job.
pub(super) fn key(job: JobId) -> String {
    format!("key of {job}")
}

/// Picks what happens, the same for the same seed (splitmix64).
pub(super) struct Random(pub(super) u64);

impl Random {
    /// Returns a number below `bound`.
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }

    /// Returns one of several, if there are any.
    pub(super) fn pick<T: Copy>(&mut self, of: &[T]) -> Option<T> {
        let bound = u64::try_from(of.len()).ok().filter(|bound| *bound > 0)?;
        of.get(usize::try_from(self.below(bound)).ok()?).copied()
    }
}
