//! A disk that can be filled.

use std::{
    fs::File,
    io::Write,
    path::{Path, PathBuf},
    process::Command,
};

use crate::TempDir;

/// A small disk of its own in memory, as large as the test says. Mounting one takes root.
pub struct SmallDisk {
    path: PathBuf,
    _folder: TempDir,
}

impl SmallDisk {
    /// Mounts a disk of so many bytes.
    ///
    /// # Panics
    ///
    /// Panics if it cannot be mounted.
    pub fn mount(bytes: u64) -> Self {
        let folder = TempDir::new();
        let path = folder.folder("disk");
        let size = format!("size={bytes},mode=700");
        run("mount", &["-t", "tmpfs", "-o", &size, "tmpfs"], &path);
        Self { path, _folder: folder }
    }

    /// Returns where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Fills it until only `free` bytes are left.
    ///
    /// # Panics
    ///
    /// Panics if it cannot be written to.
    pub fn fill(&self, free: u64) -> Filler {
        let path = self.path.join("filler");
        let mut file = File::create(&path).expect("a file on the disk");
        let block = vec![0; 64 << 10];
        while let Some(missing) = available(&self.path).checked_sub(free).filter(|missing| *missing > 0) {
            let piece = usize::try_from(missing).map_or(block.len(), |missing| missing.min(block.len()));
            file.write_all(&block[..piece]).expect("there is room");
        }
        Filler(path)
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        run("umount", &["-l"], &self.path);
    }
}

/// What fills a [`SmallDisk`]; gone on drop.
pub struct Filler(PathBuf);

impl Drop for Filler {
    fn drop(&mut self) {
        std::fs::remove_file(&self.0).expect("the filler is removed");
    }
}

fn run(program: &str, arguments: &[&str], path: &Path) {
    #[expect(clippy::disallowed_methods, reason = "mounting a small disk takes the system's own program")]
    let ended = Command::new(program).args(arguments).arg(path).output();
    let output = ended.unwrap_or_else(|error| panic!("cannot run {program}: {error}"));
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} failed; this test must run as root: {text}");
}

fn available(path: &Path) -> u64 {
    let disk = rustix::fs::statvfs(path).expect("the disk answers");
    disk.f_bavail * disk.f_frsize
}
