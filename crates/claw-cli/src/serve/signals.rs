//! SIGTERM and SIGINT.

use tokio::signal::unix::{SignalKind, signal};

/// Waits for the next signal.
pub(super) async fn next() {
    let (terminate, interrupt) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()));
    match (terminate, interrupt) {
        (Ok(mut terminate), Ok(mut interrupt)) => {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        }
        (Err(error), _) | (_, Err(error)) => {
            // The kernel's own handling stays in force: a signal still ends the process, if less orderly.
            tracing::warn!(%error, "cannot listen for signals");
            std::future::pending::<()>().await;
        }
    }
}
