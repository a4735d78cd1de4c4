//! Points at which a test can have the process die, as a crash or a power cut of the process would.
//!
//! Without the feature `faults` nothing of this is compiled in. With it, the variable `CLAW_FAULT` says when:
//!
//! ```text
//! CLAW_FAULT=store.after_commit:3     the third time that this point is passed
//! CLAW_FAULT=any:250                  the 250th time that any point is passed
//! ```

/// Passes a point. With the feature `faults` the process kills itself here (SIGKILL: nothing is flushed, no destructor
/// runs) if the variable `CLAW_FAULT` asks for it.
#[cfg(not(feature = "faults"))]
#[inline(always)]
pub fn point(_name: &str) {}

/// Passes a point. With the feature `faults` the process kills itself here (SIGKILL: nothing is flushed, no destructor
/// runs) if the variable `CLAW_FAULT` asks for it.
#[cfg(feature = "faults")]
pub fn point(name: &str) {
    armed::pass(name);
}

#[cfg(feature = "faults")]
mod armed {
    use std::sync::{
        OnceLock,
        atomic::{AtomicU64, Ordering},
    };

    struct Fault {
        /// `None`: any point.
        name: Option<String>,
        count: u64,
        passed: AtomicU64,
    }

    pub(super) fn pass(name: &str) {
        static FAULT: OnceLock<Option<Fault>> = OnceLock::new();
        let Some(fault) = FAULT.get_or_init(read) else { return };
        if fault.name.as_deref().is_some_and(|wanted| wanted != name) {
            return;
        }
        // Relaxed: a counter on its own.
        if fault.passed.fetch_add(1, Ordering::Relaxed) + 1 == fault.count {
            let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
            // The signal ends the process before this; whatever happens, nothing after the point is done.
            std::process::abort();
        }
    }

    #[expect(clippy::disallowed_methods, reason = "compiled into tests only, and read by no setting")]
    fn read() -> Option<Fault> {
        let text = std::env::var("CLAW_FAULT").ok()?;
        let (name, count) = text.rsplit_once(':')?;
        let name = (name != "any").then(|| name.to_owned());
        Some(Fault { name, count: count.parse().ok()?, passed: AtomicU64::new(0) })
    }
}
