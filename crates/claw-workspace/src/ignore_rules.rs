//! `.gitignore` files of a work tree, read as data.

use std::{ffi::OsStr, os::unix::ffi::OsStrExt, path::Path};

use ignore::{
    Match,
    gitignore::{Gitignore, GitignoreBuilder},
};
use rustix::fd::AsFd;

use crate::beneath;

/// Largest `.gitignore` that is read, and most bytes of all that apply at one place: every byte costs time at every
/// file below.
const MAX_FILE_BYTES: usize = 128 << 10;
const MAX_TOTAL_BYTES: usize = 512 << 10;

const NAME: &[u8] = b".gitignore";

/// The rules that apply in one folder: those of the folder itself and of all above it.
#[derive(Default)]
pub(crate) struct IgnoreRules {
    levels: Vec<Level>,
}

struct Level {
    /// Length of the folder's path with its final slash.
    prefix: usize,
    rules: Gitignore,
    bytes: usize,
}

/// What came of reading a folder's `.gitignore`.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Entered {
    /// There is none, or it is no file: nothing to leave later.
    Nothing,
    /// Its rules apply until [`IgnoreRules::leave`].
    Rules,
    /// It is too large or cannot be read, so its rules do not apply: more is kept, nothing is lost.
    Unusable,
}

impl IgnoreRules {
    /// Adds the rules of the folder at `path` (empty, or ending with a slash).
    pub(crate) fn enter(&mut self, folder: impl AsFd, path: &[u8]) -> Entered {
        let content = match beneath::read_file(folder, NAME, MAX_FILE_BYTES) {
            Ok(Some(content)) => content,
            Ok(None) => return Entered::Unusable,
            Err(_) => return Entered::Nothing,
        };
        let bytes = content.len();
        if bytes + self.levels.iter().map(|level| level.bytes).sum::<usize>() > MAX_TOTAL_BYTES {
            return Entered::Unusable;
        }
        let mut builder = GitignoreBuilder::new("");
        let text = String::from_utf8_lossy(&content);
        for line in text.strip_prefix('\u{feff}').unwrap_or(&text).lines() {
            // A line that is no pattern matches nothing, as in git.
            let _ = builder.add_line(None, line);
        }
        let Ok(rules) = builder.build() else { return Entered::Unusable };
        self.levels.push(Level { prefix: path.len(), rules, bytes });
        Entered::Rules
    }

    /// Removes the rules that were entered last.
    pub(crate) fn leave(&mut self) {
        self.levels.pop();
    }

    /// Tells whether the rules leave `path` out. Rules further down win; in one file, later lines win.
    pub(crate) fn is_ignored(&self, path: &[u8], is_folder: bool) -> bool {
        for level in self.levels.iter().rev() {
            let relative = Path::new(OsStr::from_bytes(&path[level.prefix..]));
            match level.rules.matched(relative, is_folder) {
                Match::None => {}
                Match::Ignore(_) => return true,
                Match::Whitelist(_) => return false,
            }
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules_in(folder: &Path, content: &[u8]) -> IgnoreRules {
        std::fs::write(folder.join(".gitignore"), content).expect("a rules file");
        let mut rules = IgnoreRules::default();
        let root = beneath::open_root(folder).expect("the folder");
        assert_eq!(rules.enter(&root, b""), Entered::Rules);
        rules
    }

    #[test]
    fn patterns_mean_what_git_means() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let rules = rules_in(folder.path(), b"*.log\n!keep.log\n/top\ntarget/\na/**/z\n# no\n[\n");

        for (path, is_folder, expected) in [
            ("x.log", false, true),
            ("deep/x.log", false, true),
            ("keep.log", false, false),
            ("top", false, true),
            ("deep/top", false, false),
            ("target", true, true),
            ("target", false, false),
            ("deep/target", true, true),
            ("a/b/c/z", false, true),
            ("# no", false, false),
        ] {
            assert_eq!(rules.is_ignored(path.as_bytes(), is_folder), expected, "{path}");
        }
    }

    #[test]
    fn rules_further_down_win() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut rules = rules_in(folder.path(), b"*.log\n");
        let inner = folder.path().join("a");
        std::fs::create_dir(&inner).expect("a folder");
        std::fs::write(inner.join(".gitignore"), "!*.log\n").expect("a rules file");
        rules.enter(beneath::open_root(&inner).expect("the folder"), b"a/");

        assert!(!rules.is_ignored(b"a/x.log", false));
        rules.leave();
        assert!(rules.is_ignored(b"a/x.log", false));
    }

    #[test]
    fn a_link_or_a_giant_in_its_place_is_not_read() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let root = beneath::open_root(folder.path()).expect("the folder");
        let mut rules = IgnoreRules::default();
        std::os::unix::fs::symlink("/etc/passwd", folder.path().join(".gitignore")).expect("a link");
        assert_eq!(rules.enter(&root, b""), Entered::Nothing);

        std::fs::remove_file(folder.path().join(".gitignore")).expect("removal");
        std::fs::write(folder.path().join(".gitignore"), vec![b'\n'; MAX_FILE_BYTES + 1]).expect("a giant");
        assert_eq!(rules.enter(&root, b""), Entered::Unusable);
    }
}
