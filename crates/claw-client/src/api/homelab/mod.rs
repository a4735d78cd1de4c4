//! Containers, images, templates, apps and the activity feed, in the homelab's dialect.
//!
//! The calls are methods of [`Client`](crate::Client); here are what they take and answer. Moments are text as the
//! server wrote it (RFC 3339). Members that a server leaves out are empty.

mod activity;
mod apps;
mod containers;
mod exec;
mod images;
mod machine;
mod templates;

pub use activity::{ActivityEvent, ActivityPage, ActivityQuery};
pub use apps::{
    App, AppDetails, AppPort, AppProgress, AppService, AppTemplate, AppUpdate, AppVariable, AppVolume,
    InstallApp, InstalledApp, NewApp, UninstalledApp, WhichApp,
};
pub use containers::{
    Container, ContainerLogs, ContainerPort, ContainerStats, Done, NewContainer, NewPort, NewVolume,
};
pub use exec::{ExecRequest, ExecResult};
pub use images::{Image, Pull};
pub use machine::{ContainerCounts, MetricsSummary, SystemInfo, SystemMetrics};
pub use templates::SavedTemplate;

use claw_core::ErrorCode;

use crate::ClientError;

/// Checks what somebody called a thing, for use as one part of a path. The server judges whether it is a name; here it
/// only must not become another path: addresses drop `.` and `..` and the control characters of names without a word.
fn part<'a>(kind: &str, name: &'a str) -> Result<&'a str, ClientError> {
    if name.is_empty() || matches!(name, "." | "..") || name.chars().any(char::is_control) {
        let message = format!("{name:?} is no name of {kind}");
        return Err(ClientError::new(ErrorCode::InvalidRequest, message));
    }
    Ok(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_would_become_another_path_are_refused() {
        for name in ["", ".", "..", "a\nb", "a\tb", "\u{0}"] {
            assert!(part("a container", name).is_err(), "{name:?}");
        }
        for name in ["web", "a/b", "../../x", "%2e%2e", "sha256:abc", "..."] {
            assert_eq!(part("a container", name).expect("one part"), name);
        }
    }
}
