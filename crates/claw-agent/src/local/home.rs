//! The agent's HOME folders: one per workspace, or one per run.

use std::{
    fs::DirBuilder,
    io,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
};

use claw_core::WorkspaceId;

/// Makes and removes HOME folders.
#[derive(Clone, Debug)]
pub(super) struct Homes {
    folder: PathBuf,
}

/// A HOME folder in use. One that belongs to a single run ends with it.
#[derive(Debug)]
pub(super) struct Home {
    path: PathBuf,
    ends_with_run: bool,
}

impl Homes {
    pub(super) fn new(folder: PathBuf) -> Self {
        Self { folder }
    }

    pub(super) fn prepare(&self, workspace: Option<WorkspaceId>, token: &str) -> io::Result<Home> {
        let path = match workspace {
            Some(workspace) => self.folder.join(workspace.to_string()),
            None => self.of_run(token),
        };
        DirBuilder::new().recursive(true).mode(0o700).create(&path)?;
        Ok(Home { path: std::path::absolute(path)?, ends_with_run: workspace.is_none() })
    }

    pub(super) fn forget_workspace(&self, workspace: WorkspaceId) -> io::Result<()> {
        remove(&self.folder.join(workspace.to_string()))
    }

    /// Returns the workspaces that have a folder.
    pub(super) fn workspaces(&self) -> io::Result<Vec<WorkspaceId>> {
        let entries = match std::fs::read_dir(&self.folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries?,
        };
        let names = entries.map(|entry| Ok(entry?.file_name())).collect::<io::Result<Vec<_>>>()?;
        Ok(names.iter().filter_map(|name| name.to_str()?.parse().ok()).collect())
    }

    pub(super) fn forget_run(&self, token: &str) -> io::Result<()> {
        remove(&self.of_run(token))
    }

    fn of_run(&self, token: &str) -> PathBuf {
        self.folder.join(format!("run-{token}"))
    }
}

impl Home {
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Removes the folder, unless it is kept for the workspace.
    pub(super) fn finish(&mut self) -> io::Result<()> {
        if std::mem::take(&mut self.ends_with_run) { remove(&self.path) } else { Ok(()) }
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        if let Err(error) = self.finish() {
            tracing::warn!(%error, "could not remove the HOME of a run, {}", self.path.display());
        }
    }
}

fn remove(path: &Path) -> io::Result<()> {
    match std::fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
