//! The other process of tests that need one: this test binary again, running one test that is told its part.
#![expect(
    clippy::disallowed_methods,
    reason = "the child is this program itself, told its part by a variable"
)]

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

const FOLDER: &str = "CLAW_STORE_TEST_CHILD";

/// Returns the command that runs the test `part` in a process of its own, with the folder to work in.
pub(crate) fn command(part: &str, folder: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("this program's path"));
    command.args([part, "--exact", "--nocapture", "--test-threads=1"]).env(FOLDER, folder);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::inherit());
    command
}

/// Returns the folder if this process is such a child; `None` in the ordinary run of the tests.
pub(crate) fn folder() -> Option<PathBuf> {
    std::env::var_os(FOLDER).map(PathBuf::from)
}
