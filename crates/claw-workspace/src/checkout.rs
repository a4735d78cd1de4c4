//! Working copies: made before a job, removed after it.

use std::{
    fs, io,
    os::unix::fs::{PermissionsExt, lchown},
    path::{Path, PathBuf},
};

use claw_core::{JobId, Timestamp, WorkspaceId};
use serde::{Deserialize, Serialize};

use crate::{
    CommitId, WorkspaceError, Workspaces,
    git::Call,
    layout::{self, private_folder, write_whole},
    refs,
    remove::remove_tree,
    workspaces::blocking,
};

/// A job's folder with the files it works on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkingCopy {
    /// The job.
    pub job: JobId,
    /// Whose files they are; `None` for a job without a workspace.
    pub workspace: Option<WorkspaceId>,
    /// The folder to give to the sandbox. What is beside it is not for the sandbox.
    pub dir: PathBuf,
    /// The commit that was checked out.
    pub base: Option<CommitId>,
}

/// What is stored about a working copy, where the sandbox cannot write.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Record {
    pub(crate) job: JobId,
    pub(crate) workspace: Option<WorkspaceId>,
    pub(crate) base: Option<CommitId>,
    /// The start of the machine in which it was made. Nothing here is flushed to disk, which would take longer than all
    /// the rest, so after a power cut files may be empty or missing that the job never touched.
    machine_start: String,
    /// Packs that were copied from the repository: nothing in them is new.
    pub(crate) packs: Vec<String>,
    /// When it was first kept. A second attempt takes the same time and so makes the same commit.
    pub(crate) kept_at: Option<Timestamp>,
}

impl Record {
    fn new(job: JobId, source: Option<(WorkspaceId, CommitId)>, packs: Vec<String>) -> Self {
        let (workspace, base) = source.unzip();
        Self { job, workspace, base, machine_start: layout::machine_start(), packs, kept_at: None }
    }
}

impl Workspaces {
    /// Clones a workspace for a job, with `main` checked out.
    ///
    /// Files are copied, never linked: the sandbox may write to all of them. They belong to `owner` (user and group) if
    /// given, which needs the right to change owners.
    ///
    /// # Errors
    ///
    /// `WorkingCopyExists` if the job has one; `NotFound` if the workspace has no repository.
    pub async fn checkout(
        &self,
        workspace: WorkspaceId,
        job: JobId,
        owner: Option<(u32, u32)>,
    ) -> Result<WorkingCopy, WorkspaceError> {
        let dir = self.make_job_folder(job).await?;
        let repository = self.shared.layout.repository(workspace);
        let git_dir = dir.join(".git");
        let (base, packs) = {
            // No packing while the packs are copied.
            let _writer = self.shared.writer(workspace).await;
            let base = self.head(workspace).await?;
            let target = git_dir.clone();
            let packs = blocking(move || {
                layout::write_clone_repository(&target)
                    .and_then(|()| fs::write(target.join(refs::MAIN), format!("{base}\n")))
                    .and_then(|()| copy_objects(&repository.join("objects"), &target.join("objects")))
                    .map_err(WorkspaceError::io("copy the repository to", target))
            })
            .await?;
            (base, packs)
        };
        let call = Call::new(&git_dir, "read-tree")
            .env("GIT_WORK_TREE", &dir)
            .args(["-m", "-u", "--no-recurse-submodules"])
            .arg(base.to_string());
        self.shared.git.run(call).await?.ok()?;
        self.finish_checkout(Record::new(job, Some((workspace, base)), packs), dir, owner).await
    }

    /// Makes an empty folder for a job without a workspace.
    ///
    /// # Errors
    ///
    /// `WorkingCopyExists` if the job has one.
    pub async fn checkout_empty(
        &self,
        job: JobId,
        owner: Option<(u32, u32)>,
    ) -> Result<WorkingCopy, WorkspaceError> {
        let dir = self.make_job_folder(job).await?;
        self.finish_checkout(Record::new(job, None, Vec::new()), dir, owner).await
    }

    /// Gives the working copy of `from` to `to`, and returns it. Its folder is renamed, so that whoever has it mounted
    /// keeps it.
    ///
    /// For copies that are made before it is known which job takes them: `from` is an id that no job has.
    ///
    /// # Errors
    ///
    /// `WorkingCopyExists` if `to` has one; fails if `from` has none.
    pub async fn hand_over(&self, from: JobId, to: JobId) -> Result<WorkingCopy, WorkspaceError> {
        let folder = self.shared.layout.job(from);
        let Some(record) = self.record(from).await? else {
            return Err(WorkspaceError::io("find the record of", folder)(io::ErrorKind::NotFound.into()));
        };
        if self.record(to).await?.is_some() {
            return Err(WorkspaceError::WorkingCopyExists(to));
        }
        // Without a record, what is there is the rest of a checkout or removal that was cut short.
        self.discard(to).await?;
        let target = self.shared.layout.job(to);
        blocking(move || fs::rename(&folder, target).map_err(WorkspaceError::io("rename", folder))).await?;
        let record = Record { job: to, ..record };
        self.store_record(&record).await?;
        Ok(self.copy_of(&record))
    }

    /// Returns the working copy of a job as it was made, also after a restart; `None` if there is none, only a part of
    /// one, or one from before the machine itself was started: working copies do not outlive a power cut.
    ///
    /// # Errors
    ///
    /// `BadRecord` if what is stored about it cannot be read.
    pub async fn working_copy(&self, job: JobId) -> Result<Option<WorkingCopy>, WorkspaceError> {
        let Some(record) = self.record(job).await? else { return Ok(None) };
        Ok(Some(self.copy_of(&record)))
    }

    /// Removes a job's folder with everything in it. Does nothing if there is none.
    ///
    /// # Errors
    ///
    /// Fails if the file system refuses; what is left is no working copy any more and can be discarded again.
    pub async fn discard(&self, job: JobId) -> Result<(), WorkspaceError> {
        let (folder, record) = (self.shared.layout.job(job), self.shared.layout.record(job));
        blocking(move || {
            // First of all: a copy that is half removed must never be kept, for every file that is gone would then count
            // as deleted by the job.
            match fs::remove_file(&record) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(WorkspaceError::io("remove", record)(error)),
            }
            remove_tree(&folder).map_err(WorkspaceError::io("remove", folder))
        })
        .await
    }

    /// Returns the jobs that have a folder. After a start, these are the ones that a crash has left.
    ///
    /// # Errors
    ///
    /// Fails if the folder of jobs cannot be read.
    pub async fn leftover_jobs(&self) -> Result<Vec<JobId>, WorkspaceError> {
        let jobs = self.shared.layout.jobs().to_owned();
        blocking(move || {
            let names = fs::read_dir(&jobs)
                .and_then(|entries| {
                    entries.map(|entry| Ok(entry?.file_name())).collect::<io::Result<Vec<_>>>()
                })
                .map_err(WorkspaceError::io("read", jobs))?;
            let mut jobs: Vec<JobId> = names.iter().filter_map(|name| name.to_str()?.parse().ok()).collect();
            jobs.sort_unstable();
            Ok(jobs)
        })
        .await
    }

    /// Reads what is stored about a job's working copy.
    pub(crate) async fn record(&self, job: JobId) -> Result<Option<Record>, WorkspaceError> {
        let path = self.shared.layout.record(job);
        blocking(move || match fs::read(&path) {
            Ok(bytes) => {
                let record = serde_json::from_slice::<Record>(&bytes);
                let record = record.map_err(|source| WorkspaceError::BadRecord { job, source })?;
                Ok(Some(record).filter(|record| record.machine_start == layout::machine_start()))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(WorkspaceError::io("read", path)(error)),
        })
        .await
    }

    /// Stores what is known about a job's working copy.
    pub(crate) async fn store_record(&self, record: &Record) -> Result<(), WorkspaceError> {
        let path = self.shared.layout.record(record.job);
        let job = record.job;
        let bytes = serde_json::to_vec(record).map_err(|source| WorkspaceError::BadRecord { job, source })?;
        blocking(move || write_whole(&path, &bytes).map_err(WorkspaceError::io("write", &path))).await
    }

    fn copy_of(&self, record: &Record) -> WorkingCopy {
        let Record { job, workspace, base, .. } = *record;
        WorkingCopy { job, workspace, dir: self.shared.layout.work(job), base }
    }

    async fn make_job_folder(&self, job: JobId) -> Result<PathBuf, WorkspaceError> {
        if self.record(job).await?.is_some() {
            return Err(WorkspaceError::WorkingCopyExists(job));
        }
        // Without a record, what is there is the rest of a checkout or removal that was cut short.
        self.discard(job).await?;
        let (folder, work) = (self.shared.layout.job(job), self.shared.layout.work(job));
        blocking(move || {
            private_folder(&folder, false).map_err(WorkspaceError::io("create", &folder))?;
            fs::create_dir(&work)
                .and_then(|()| fs::set_permissions(&work, fs::Permissions::from_mode(0o755)))
                .map_err(WorkspaceError::io("create", &work))?;
            Ok(work)
        })
        .await
    }

    async fn finish_checkout(
        &self,
        record: Record,
        dir: PathBuf,
        owner: Option<(u32, u32)>,
    ) -> Result<WorkingCopy, WorkspaceError> {
        if let Some(owner) = owner {
            blocking(move || give_tree(&dir, owner).map_err(WorkspaceError::io("change the owner of", dir)))
                .await?;
        }
        self.store_record(&record).await?;
        Ok(self.copy_of(&record))
    }
}

/// Copies loose objects and packs, and returns the names of the packs.
fn copy_objects(from: &Path, to: &Path) -> io::Result<Vec<String>> {
    let mut packs = Vec::new();
    for folder in fs::read_dir(from)? {
        let folder = folder?.file_name();
        let name = folder.to_string_lossy().into_owned();
        let is_pack = name == "pack";
        if !is_pack && !is_fan_out(name.as_bytes()) {
            continue;
        }
        let (source, target) = (from.join(&folder), to.join(&folder));
        if !is_pack {
            fs::create_dir(&target)?;
        }
        for file in fs::read_dir(&source)? {
            let file = file?.file_name();
            let name = file.to_string_lossy();
            let wanted =
                name.starts_with("pack-") && [".pack", ".idx", ".rev"].iter().any(|it| name.ends_with(it));
            if is_pack && !wanted || !is_pack && name.starts_with("tmp_") {
                continue;
            }
            fs::copy(source.join(&file), target.join(&file))?;
            if is_pack && name.ends_with(".pack") {
                packs.push(name.into_owned());
            }
        }
    }
    packs.sort_unstable();
    Ok(packs)
}

/// Tells whether a name is one of the 256 folders of loose objects.
pub(crate) fn is_fan_out(name: &[u8]) -> bool {
    name.len() == 2 && name.iter().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(byte))
}

/// Gives a fresh tree, which no sandbox has seen yet, to `owner`. Links themselves change owners, not their targets.
fn give_tree(path: &Path, (user, group): (u32, u32)) -> io::Result<()> {
    let mut folders = vec![path.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                folders.push(entry.path());
            } else {
                lchown(entry.path(), Some(user), Some(group))?;
            }
        }
        lchown(folder, Some(user), Some(group))?;
    }
    Ok(())
}
