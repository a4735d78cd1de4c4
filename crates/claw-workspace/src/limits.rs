//! The bounds on what a working copy may bring back.

use std::time::Duration;

/// Longest path of a file in a workspace, in bytes: with the data directory in front it has to stay below what the
/// system can open (4,096), or no job could check the workspace out any more.
pub(crate) const MAX_PATH_BYTES: usize = 2048;

/// Bounds on what [`crate::Workspaces::keep`] accepts from a working copy.
///
/// What lies beyond a bound is left out and named in [`crate::Kept`]; the workspace keeps its former version of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Largest single file, in bytes. Bigger ones do not belong into a repository that every job clones.
    pub max_file_bytes: u64,
    /// Most bytes that are read from one work tree, so that sparse files cannot keep the host hashing for hours.
    pub max_read_bytes: u64,
    /// Most bytes of new or changed content that one job may add, files and commits each.
    pub max_new_bytes: u64,
    /// Most files and folders that are looked at.
    pub max_entries: usize,
    /// Deepest folder that is looked at. Each level holds one file descriptor while the tree is walked.
    pub max_depth: usize,
    /// Longest that one git process may take.
    pub git_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_file_bytes: 256 << 20,
            max_read_bytes: 16 << 30,
            max_new_bytes: 2 << 30,
            max_entries: 500_000,
            max_depth: 128,
            git_timeout: Duration::from_secs(120),
        }
    }
}
