//! SIGTERM and SIGINT.

use tokio::signal::unix::{Signal, SignalKind, signal};

/// Listens from when it is made, so that no signal ends the process in the middle of a start.
pub(super) struct Signals {
    /// `None` if the kernel's own handling stays in force: a signal still ends the process, if less orderly.
    listening: Option<(Signal, Signal)>,
}

impl Signals {
    /// Begins to listen.
    pub(super) fn listen() -> Self {
        let both = signal(SignalKind::terminate()).and_then(|terminate| {
            let interrupt = signal(SignalKind::interrupt())?;
            Ok((terminate, interrupt))
        });
        let listening = both.inspect_err(|error| tracing::warn!(%error, "cannot listen for signals")).ok();
        Self { listening }
    }

    /// Waits for the next signal; one that came since the last is not lost.
    pub(super) async fn next(&mut self) {
        match &mut self.listening {
            Some((terminate, interrupt)) => {
                tokio::select! {
                    _ = terminate.recv() => {}
                    _ = interrupt.recv() => {}
                }
            }
            None => std::future::pending().await,
        }
    }
}
