//! The private folder of a run, which holds the gateway's socket.

use std::{
    collections::HashSet,
    fs::{DirBuilder, Permissions},
    io,
    os::unix::fs::{DirBuilderExt, PermissionsExt},
    path::{Path, PathBuf},
};

use claw_core::JobId;

/// A folder that ends with the run.
#[derive(Debug)]
pub(crate) struct RunDirectory {
    path: PathBuf,
}

impl RunDirectory {
    /// Makes `{root}/{job}-{attempt}`. Only we get through `root`; the folder itself may be passed by the sandbox's
    /// user, who gets it mounted.
    pub(crate) fn create(root: &Path, job: JobId, attempt: u64) -> io::Result<Self> {
        DirBuilder::new().recursive(true).mode(0o700).create(root)?;
        // One that was there already, such as from a backup, may be open to every user of the machine; and whoever gets
        // to the socket uses the model at our cost.
        std::fs::set_permissions(root, Permissions::from_mode(0o700))?;
        let path = path_of(root, job, attempt)?;
        remove(&path)?;
        DirBuilder::new().mode(0o711).create(&path)?;
        // The process's umask may have taken bits away.
        std::fs::set_permissions(&path, Permissions::from_mode(0o711))?;
        Ok(Self { path })
    }

    /// Takes over the folder that was made ahead for a run, or makes one.
    pub(super) fn for_run(
        root: &Path,
        job: JobId,
        attempt: u64,
        made_ahead: Option<Self>,
    ) -> io::Result<Self> {
        match made_ahead {
            Some(directory) => directory.hand_over(root, job, attempt),
            None => Self::create(root, job, attempt),
        }
    }

    /// Gives the folder to another run. Whoever has it mounted keeps it.
    fn hand_over(mut self, root: &Path, job: JobId, attempt: u64) -> io::Result<Self> {
        let path = path_of(root, job, attempt)?;
        remove(&path)?;
        std::fs::rename(&self.path, &path)?;
        self.path = path;
        Ok(self)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for RunDirectory {
    fn drop(&mut self) {
        if let Err(error) = remove(&self.path) {
            tracing::warn!(%error, "could not remove the folder of a run, {}", self.path.display());
        }
    }
}

/// Removes the folders that a former server's runs left in `root`, except those of `live` jobs. Returns how many.
///
/// # Errors
///
/// Fails if `root` cannot be read or a folder not be removed.
pub fn sweep_run_directories(root: &Path, live: &HashSet<JobId>) -> io::Result<usize> {
    let live: HashSet<String> = live.iter().map(|job| job.short()).collect();
    let entries = match std::fs::read_dir(root) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        entries => entries?,
    };
    let mut removed = 0;
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name();
        let job = name.to_str().and_then(|name| name.split_once('-')).map(|(job, _)| job);
        if job.is_some_and(|job| !live.contains(job)) {
            remove(&entry.path())?;
            removed += 1;
        }
    }
    Ok(removed)
}

fn path_of(root: &Path, job: JobId, attempt: u64) -> io::Result<PathBuf> {
    Ok(std::path::absolute(root)?.join(format!("{}-{attempt}", job.short())))
}

fn remove(path: &Path) -> io::Result<()> {
    match std::fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_else_gets_to_a_runs_socket_however_its_root_was_made() {
        let folder = tempfile::tempdir().expect("a folder");
        let root = folder.path().join("run");
        std::fs::create_dir(&root).expect("made");
        std::fs::set_permissions(&root, Permissions::from_mode(0o755)).expect("opened");

        let _run = RunDirectory::create(&root, JobId::new(), 1).expect("made");

        assert_eq!(root.metadata().expect("a folder").permissions().mode() & 0o777, 0o700);
    }

    #[test]
    fn the_folder_ends_with_its_run_and_leftovers_are_swept() {
        let root = tempfile::tempdir().expect("a folder");
        let (dead, live) = (JobId::new(), JobId::new());
        let keep = |job| std::mem::forget(RunDirectory::create(root.path(), job, 1).expect("made"));
        keep(dead);
        keep(live);

        let path = RunDirectory::create(root.path(), JobId::new(), 2).expect("made").path().to_owned();
        let swept = sweep_run_directories(root.path(), &HashSet::from([live])).expect("swept");

        assert!(!path.exists());
        assert_eq!(swept, 1);
        assert!(root.path().join(format!("{}-1", live.short())).exists());
    }
}
