//! Paths inside a workspace.

use std::{fmt, str::FromStr};

/// A path that cannot name a file of a workspace.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RepoPathError {
    /// Nothing was given.
    #[error("the path is empty")]
    Empty,
    /// The path is longer than 4,096 bytes or a part of it longer than 255.
    #[error("the path is too long")]
    TooLong,
    /// The path starts at the root of the machine.
    #[error("the path must be relative to the workspace")]
    Absolute,
    /// A part of the path is `..`, `.`, empty, or holds a NUL.
    #[error("the path has a part that is not a file name")]
    BadPart,
    /// A part of the path is git's own folder, in any spelling a file system may take for it.
    #[error("the path names git's own folder")]
    GitFolder,
}

/// A checked path of a file or folder inside a workspace: relative, `/`-separated, without `.`, `..`, empty parts,
/// NUL or any spelling of `.git`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RepoPath(String);

impl RepoPath {
    /// Returns the path as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for RepoPath {
    type Err = RepoPathError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.is_empty() {
            return Err(RepoPathError::Empty);
        }
        if text.len() > 4096 {
            return Err(RepoPathError::TooLong);
        }
        if text.starts_with('/') {
            return Err(RepoPathError::Absolute);
        }
        for part in text.split('/') {
            if part.is_empty() || part == "." || part == ".." || part.contains('\0') || part.contains('\\') {
                return Err(RepoPathError::BadPart);
            }
            if part.len() > 255 {
                return Err(RepoPathError::TooLong);
            }
            if is_git_folder(part) {
                return Err(RepoPathError::GitFolder);
            }
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for RepoPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Tells whether some file system takes `part` for `.git`: case folding, the NTFS short name and trailing dots or
/// blanks, and the code points that HFS+ ignores (the list of git's own `is_hfs_dotgit`).
fn is_git_folder(part: &str) -> bool {
    let visible: String = part
        .chars()
        .filter(|c| !matches!(*c, '\u{200c}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{206a}'..='\u{206f}' | '\u{feff}'))
        .collect();
    let name = visible.to_lowercase();
    let name = name.split(':').next().unwrap_or_default().trim_end_matches(['.', ' ']);
    name == ".git" || name == "git~1"
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(text: &str, expected: Result<(), RepoPathError>) {
        assert_eq!(text.parse::<RepoPath>().map(|_| ()), expected, "{text:?}");
    }

    #[test]
    fn ordinary_paths_pass() {
        for text in
            ["a", "a/b.txt", ".gitignore", ".github/x", "a b/ü", "..a", "git", ".claude/skills/x/SKILL.md"]
        {
            check(text, Ok(()));
        }
    }

    #[test]
    fn paths_that_leave_the_workspace_are_refused() {
        check("", Err(RepoPathError::Empty));
        check("/etc/passwd", Err(RepoPathError::Absolute));
        for text in ["..", "a/../../b", "a//b", "./a", "a/", "a\0b", "a\\..\\b"] {
            check(text, Err(RepoPathError::BadPart));
        }
    }

    #[test]
    fn every_spelling_of_the_git_folder_is_refused() {
        for text in [
            ".git",
            ".GIT/config",
            "a/.Git/hooks/x",
            ".git./x",
            ".git ",
            "git~1",
            ".g\u{200c}it",
            ".git::$INDEX",
        ] {
            check(text, Err(RepoPathError::GitFolder));
        }
    }

    proptest! {
        #[test]
        fn what_parses_stays_below_the_root(text in "\\PC{0,40}") {
            if let Ok(path) = text.parse::<RepoPath>() {
                let joined = std::path::Path::new("/root").join(path.as_str());
                prop_assert!(joined.components().all(|part| part != std::path::Component::ParentDir));
                prop_assert!(joined.starts_with("/root") && joined != std::path::Path::new("/root"));
            }
        }
    }
}
