//! The handle to all workspaces, and the life of a repository.

use std::{
    collections::HashMap,
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError, Weak},
    time::{Duration, SystemTime},
};

use claw_core::{Clock, RepoPath, SystemClock, WorkspaceId};
use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard};

use crate::{
    CommitId, GitVersion, Limits, WorkspaceError, files,
    git::{Call, Git, IDENTITY_NAME},
    import::{self, Imported, NewCommit},
    layout::{self, BASELINE_GITIGNORE, Layout},
    objects::mode,
    refs,
    remove::remove_tree,
};

/// Age from which a lock file, or a half-made repository, can only be what a killed process left.
///
/// Git holds the lock of a reference for milliseconds; our longest process is far shorter than this.
const STALE_AFTER: Duration = Duration::from_secs(15 * 60);

/// Age from which the lock of a single reference is taken for a leftover. Nothing slow happens under it.
const STALE_LOCK_AFTER: Duration = Duration::from_secs(10);

/// Loose objects in one of git's 256 folders, and packs, from which a repository is packed anew. Each clone copies
/// every one of these files, and each git process opens every pack.
const MANY_LOOSE_OBJECTS_IN_ONE_FOLDER: usize = 1;
const MANY_PACKS: usize = 24;

/// How workspaces are opened.
#[derive(Clone)]
pub struct Settings {
    /// The git program; `None` looks in the usual places.
    pub git: Option<PathBuf>,
    /// Bounds on what a job may bring back.
    pub limits: Limits,
    /// Tells the time that commits get.
    pub clock: Arc<dyn Clock>,
}

impl Default for Settings {
    fn default() -> Self {
        Self { git: None, limits: Limits::default(), clock: Arc::new(SystemClock) }
    }
}

impl std::fmt::Debug for Settings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Settings")
            .field("git", &self.git)
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

/// All workspaces under one data directory. Clones are cheap and share everything.
#[derive(Clone)]
pub struct Workspaces {
    pub(crate) shared: Arc<Shared>,
}

pub(crate) struct Shared {
    pub(crate) git: Git,
    pub(crate) layout: Layout,
    pub(crate) limits: Limits,
    pub(crate) clock: Arc<dyn Clock>,
    /// One lock per workspace that is being written. Held for short sections only, hence a std mutex around the map.
    writers: Mutex<HashMap<WorkspaceId, Weak<AsyncMutex<()>>>>,
}

impl std::fmt::Debug for Workspaces {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Workspaces").field("layout", &self.shared.layout).finish_non_exhaustive()
    }
}

impl Workspaces {
    /// Opens the workspaces under `data_dir` with default settings.
    ///
    /// # Errors
    ///
    /// Fails if git is missing or too old, or if the folders cannot be made.
    pub async fn open(data_dir: &Path) -> Result<Self, WorkspaceError> {
        Self::open_with(data_dir, Settings::default()).await
    }

    /// Opens the workspaces under `data_dir`.
    ///
    /// # Errors
    ///
    /// As [`Self::open`].
    pub async fn open_with(data_dir: &Path, settings: Settings) -> Result<Self, WorkspaceError> {
        let git = Git::find(settings.git, settings.limits.git_timeout).await?;
        let data_dir = data_dir.to_owned();
        let layout = blocking(move || {
            let layout = Layout::create(&data_dir)?;
            remove_half_made(&layout);
            Ok(layout)
        })
        .await?;
        let (limits, clock) = (settings.limits, settings.clock);
        let shared = Shared { git, layout, limits, clock, writers: Mutex::default() };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// Finds git where [`Self::open`] finds it and returns its version.
    ///
    /// # Errors
    ///
    /// Fails if git is missing or too old.
    pub async fn git_version() -> Result<GitVersion, WorkspaceError> {
        Ok(Git::find(None, Duration::from_secs(10)).await?.version())
    }

    /// Creates the repository of a workspace with a first commit: a `.gitignore`, unless `files` has one, and `files`.
    ///
    /// After a crash the repository is there as a whole or not at all.
    ///
    /// # Errors
    ///
    /// `Exists` if the workspace has one already; `NotAFolder` if one path lies below another.
    pub async fn create(
        &self,
        workspace: WorkspaceId,
        files: &[(RepoPath, Vec<u8>)],
    ) -> Result<CommitId, WorkspaceError> {
        let files = first_files(files)?;
        let repository = self.shared.layout.repository(workspace);
        let _writer = self.shared.writer(workspace).await;
        if self.exists(workspace).await {
            return Err(WorkspaceError::Exists(workspace));
        }
        let temporary = self.shared.layout.temporary_repository("new");
        let target = temporary.clone();
        blocking(move || {
            layout::write_bare_repository(&target).map_err(WorkspaceError::io("create", &target))
        })
        .await?;
        let commit = NewCommit {
            reference: refs::MAIN.to_owned(),
            parent: None,
            merged: None,
            author: IDENTITY_NAME.to_owned(),
            date: self.shared.clock.now(),
            message: "claw: workspace initialized".to_owned(),
            force: false,
        };
        let imported = import::commit(&self.shared.git, &temporary, commit, move |writer| {
            for (path, content) in &files {
                writer
                    .put(path.as_bytes(), mode::FILE, content)
                    .map_err(WorkspaceError::io("write to", "git fast-import"))?;
            }
            Ok(())
        })
        .await;
        let root = self.shared.layout.repositories().to_owned();
        blocking(move || {
            let id = match imported {
                Ok(Imported::Done(id) | Imported::Overtaken(id)) => id,
                Err(error) => {
                    // The first error is the one to tell; what stays behind is removed at the next start.
                    let _ = remove_tree(&temporary);
                    return Err(error);
                }
            };
            match fs::rename(&temporary, &repository) {
                Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => {
                    // As above.
                    let _ = remove_tree(&temporary);
                    return Err(WorkspaceError::Exists(workspace));
                }
                result => result.map_err(WorkspaceError::io("create", &repository))?,
            }
            layout::sync_folder(&root).map_err(WorkspaceError::io("flush", &root))?;
            Ok(id)
        })
        .await
    }

    /// Tells whether the workspace has a repository.
    pub async fn exists(&self, workspace: WorkspaceId) -> bool {
        tokio::fs::try_exists(self.shared.layout.repository(workspace).join("HEAD")).await.unwrap_or(false)
    }

    /// Removes the repository of a workspace. Does nothing if there is none.
    ///
    /// # Errors
    ///
    /// Fails if the file system refuses.
    pub async fn delete(&self, workspace: WorkspaceId) -> Result<(), WorkspaceError> {
        let repository = self.shared.layout.repository(workspace);
        let _writer = self.shared.writer(workspace).await;
        let temporary = self.shared.layout.temporary_repository("old");
        blocking(move || {
            match fs::rename(&repository, &temporary) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
                result => result.map_err(WorkspaceError::io("remove", &repository))?,
            }
            remove_tree(&temporary).map_err(WorkspaceError::io("remove", &temporary))
        })
        .await
    }

    /// Returns where `main` of a workspace points to.
    ///
    /// # Errors
    ///
    /// `NotFound` if the workspace has no repository.
    pub async fn head(&self, workspace: WorkspaceId) -> Result<CommitId, WorkspaceError> {
        let repository = self.shared.layout.repository(workspace);
        blocking(move || refs::read(&repository, refs::MAIN))
            .await?
            .ok_or(WorkspaceError::NotFound(workspace))
    }
}

impl Shared {
    /// Waits until no other task of this process writes to the workspace.
    ///
    /// This only avoids useless attempts: what keeps writers apart is the compare-and-swap on `main`.
    pub(crate) async fn writer(&self, workspace: WorkspaceId) -> OwnedMutexGuard<()> {
        let lock = {
            let mut writers = self.writers.lock().unwrap_or_else(PoisonError::into_inner);
            match writers.get(&workspace).and_then(Weak::upgrade) {
                Some(lock) => lock,
                None => {
                    writers.retain(|_, lock| lock.strong_count() > 0);
                    let lock = Arc::new(AsyncMutex::new(()));
                    writers.insert(workspace, Arc::downgrade(&lock));
                    lock
                }
            }
        };
        lock.lock_owned().await
    }

    /// Packs a repository that has become many small files. Call with the writer's lock held.
    ///
    /// Nothing is pruned: objects that no reference holds may be those of a job that is being kept.
    pub(crate) async fn maintain(&self, repository: &Path) {
        let folder = repository.to_owned();
        let due = blocking(move || {
            remove_leftovers(&folder);
            let count = |inner: &str, ending: &str| {
                let entries =
                    fs::read_dir(folder.join("objects").join(inner)).into_iter().flatten().flatten();
                entries.filter(|entry| entry.file_name().to_string_lossy().ends_with(ending)).count()
            };
            // Names are evenly spread, so one of the 256 folders tells about all.
            Ok(count("17", "") > MANY_LOOSE_OBJECTS_IN_ONE_FOLDER || count("pack", ".pack") > MANY_PACKS)
        });
        if !due.await.unwrap_or(false) {
            return;
        }
        let call = Call::new(repository, "repack").args(["-a", "-d", "-k", "-q"]);
        if let Err(error) = self.git.run(call).await.and_then(|output| output.ok()) {
            tracing::warn!(repository = %repository.display(), %error, "could not pack a repository");
        }
    }
}

/// Runs file work on a thread where it may block.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, WorkspaceError> + Send + 'static,
) -> Result<T, WorkspaceError> {
    tokio::task::spawn_blocking(work).await.map_err(|_| WorkspaceError::Interrupted)?
}

/// Adds the baseline and refuses paths of which one would have to be a file and a folder.
fn first_files(files: &[(RepoPath, Vec<u8>)]) -> Result<Vec<(String, Vec<u8>)>, WorkspaceError> {
    files.iter().try_for_each(|(path, _)| files::check_length(path))?;
    let mut all: Vec<_> = files.iter().map(|(path, content)| (path.to_string(), content.clone())).collect();
    if !all.iter().any(|(path, _)| path == ".gitignore") {
        all.push((".gitignore".to_owned(), BASELINE_GITIGNORE.as_bytes().to_vec()));
    }
    let names: std::collections::HashSet<&str> = all.iter().map(|(path, _)| path.as_str()).collect();
    for (path, _) in &all {
        if path.match_indices('/').any(|(slash, _)| names.contains(&path[..slash])) {
            return Err(WorkspaceError::NotAFolder { path: path.clone() });
        }
    }
    Ok(all)
}

#[expect(clippy::disallowed_methods, reason = "compared with what the machine's own clock wrote on the file")]
fn is_older_than(path: &Path, age: Duration) -> bool {
    let modified = fs::symlink_metadata(path).and_then(|metadata| metadata.modified());
    modified.is_ok_and(|time| SystemTime::now().duration_since(time).is_ok_and(|past| past > age))
}

/// Removes repositories whose creation or removal a crash has cut short.
fn remove_half_made(layout: &Layout) {
    for entry in fs::read_dir(layout.repositories()).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let half_made =
            [b".new-".as_slice(), b".old-"].iter().any(|it| name.as_encoded_bytes().starts_with(it));
        if half_made
            && is_older_than(&entry.path(), STALE_AFTER)
            && let Err(error) = remove_tree(&entry.path())
        {
            tracing::warn!(path = %entry.path().display(), %error, "could not remove a half-made repository");
        }
    }
}

/// Removes what a killed git process left: locks of references, and unfinished packs.
pub(crate) async fn remove_stale_locks(repository: &Path) -> Result<(), WorkspaceError> {
    let repository = repository.to_owned();
    blocking(move || {
        remove_leftovers(&repository);
        Ok(())
    })
    .await
}

fn remove_leftovers(repository: &Path) {
    let mut folders = vec![repository.join("refs")];
    let mut locks = vec![repository.join("packed-refs.lock")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                folders.push(entry.path());
            } else if entry.file_name().as_encoded_bytes().ends_with(b".lock") {
                locks.push(entry.path());
            }
        }
    }
    for path in locks {
        if is_older_than(&path, STALE_LOCK_AFTER) {
            tracing::warn!(path = %path.display(), "removing the lock of a git process that was killed");
            // Somebody else may have been faster.
            let _ = fs::remove_file(path);
        }
    }
    for entry in fs::read_dir(repository.join("objects/pack")).into_iter().flatten().flatten() {
        if entry.file_name().as_encoded_bytes().starts_with(b"tmp_")
            && is_older_than(&entry.path(), STALE_AFTER)
        {
            // As above.
            let _ = fs::remove_file(entry.path());
        }
    }
}
