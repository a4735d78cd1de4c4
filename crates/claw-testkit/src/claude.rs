//! Where the real Claude Code CLI is.

use std::path::PathBuf;

/// The variable that names the CLI's binary by its absolute path; `scripts/test` sets it.
pub const CLAUDE_VARIABLE: &str = "CLAW_TEST_CLAUDE";

/// Returns the path of the real Claude Code CLI.
///
/// # Panics
///
/// Panics with the way out when the variable is unset or does not name a file.
#[expect(clippy::disallowed_methods, reason = "the test run's only setting comes from scripts/test")]
pub fn claude_binary() -> PathBuf {
    let Some(path) = std::env::var_os(CLAUDE_VARIABLE).map(PathBuf::from) else {
        panic!(
            "{CLAUDE_VARIABLE} is not set: run `scripts/test`, or set it to the claude binary in .cache/claude-code/"
        );
    };
    assert!(
        path.is_absolute() && path.is_file(),
        "{CLAUDE_VARIABLE} is `{}`, which is not the absolute path of a file: run `scripts/test` to fetch the CLI",
        path.display(),
    );
    path
}
