//! Waiting for a state.

use std::time::Duration;

/// How long to wait before looking again. Short, since the state is nearly always there within a few looks.
const INTERVAL: Duration = Duration::from_millis(5);

/// Waits until `condition` holds, looking every few milliseconds; for states that nobody announces.
///
/// # Panics
///
/// Panics, naming `what`, when the condition does not hold within `timeout`.
pub async fn wait_until(what: &str, timeout: Duration, mut condition: impl AsyncFnMut() -> bool) {
    let looking = async {
        while !condition().await {
            tokio::time::sleep(INTERVAL).await;
        }
    };
    if tokio::time::timeout(timeout, looking).await.is_err() {
        panic!("waited {} s in vain until {what}", timeout.as_secs_f64());
    }
}
