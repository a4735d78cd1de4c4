//! Where things are on disk, and what a new repository looks like.

use std::{
    fs::{self, DirBuilder, File},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use claw_core::{JobId, WorkspaceId};

use crate::WorkspaceError;

/// What git shall not take up in any workspace: the house's own folder, secrets by habit, and what can be rebuilt.
pub(crate) const BASELINE_GITIGNORE: &str = "\
.claw/
.claw-*.sh
.claw-*.json
.DS_Store
node_modules/
__pycache__/
target/
.env*
";

const BARE_CONFIG: &str = "\
[core]
\trepositoryformatversion = 0
\tfilemode = true
\tbare = true
";

/// The clone's own configuration, for the agent's git.
///
/// The sandbox sees other owners and change times than we do, so git shall not compare them, or its first `status`
/// would read every file again.
const CLONE_CONFIG: &str = "\
[core]
\trepositoryformatversion = 0
\tfilemode = true
\tbare = false
\tlogallrefupdates = true
\tcheckStat = minimal
\ttrustctime = false
[user]
\tname = Claw Machine
\temail = claw@local
";

/// The clone's git converts no content, as ours does not: a workspace holds the bytes that were on disk.
const CLONE_ATTRIBUTES: &str = "* -text !eol -ident -filter !working-tree-encoding\n";

/// The folders under the data directory.
#[derive(Clone, Debug)]
pub(crate) struct Layout {
    repositories: PathBuf,
    jobs: PathBuf,
}

impl Layout {
    /// Makes the folders, for us alone.
    pub(crate) fn create(data_dir: &Path) -> Result<Self, WorkspaceError> {
        let data_dir = std::path::absolute(data_dir).map_err(WorkspaceError::io("find", data_dir))?;
        let layout = Self { repositories: data_dir.join("repos"), jobs: data_dir.join("jobs") };
        for folder in [&layout.repositories, &layout.jobs] {
            private_folder(folder, true)
                // One that was there already, such as from a backup, may be open to every user of the machine.
                .and_then(|()| fs::set_permissions(folder, fs::Permissions::from_mode(0o700)))
                .map_err(WorkspaceError::io("create", folder))?;
        }
        Ok(layout)
    }

    pub(crate) fn repositories(&self) -> &Path {
        &self.repositories
    }

    pub(crate) fn jobs(&self) -> &Path {
        &self.jobs
    }

    pub(crate) fn repository(&self, workspace: WorkspaceId) -> PathBuf {
        self.repositories.join(format!("{workspace}.git"))
    }

    /// A name beside the repositories for one that is being made or removed.
    pub(crate) fn temporary_repository(&self, purpose: &str) -> PathBuf {
        self.repositories.join(format!(".{purpose}-{}", uuid::Uuid::new_v4().simple()))
    }

    pub(crate) fn job(&self, job: JobId) -> PathBuf {
        self.jobs.join(job.to_string())
    }

    pub(crate) fn work(&self, job: JobId) -> PathBuf {
        self.job(job).join("work")
    }

    pub(crate) fn record(&self, job: JobId) -> PathBuf {
        self.job(job).join("meta.json")
    }

    pub(crate) fn quarantine(&self, job: JobId) -> PathBuf {
        self.job(job).join("quarantine")
    }
}

/// Makes a folder that only we can enter.
pub(crate) fn private_folder(path: &Path, with_parents: bool) -> io::Result<()> {
    DirBuilder::new().mode(0o700).recursive(with_parents).create(path)
}

/// Writes an empty bare repository at `path`, which must not exist.
///
/// By hand rather than by `git init`: four small files, and no template of the host's.
pub(crate) fn write_bare_repository(path: &Path) -> io::Result<()> {
    private_folder(path, false)?;
    write_skeleton(path, BARE_CONFIG)
}

/// Writes the git folder of a clone at `path`.
pub(crate) fn write_clone_repository(path: &Path) -> io::Result<()> {
    fs::create_dir(path)?;
    write_skeleton(path, CLONE_CONFIG)?;
    fs::create_dir(path.join("info"))?;
    fs::write(path.join("info/attributes"), CLONE_ATTRIBUTES)
}

fn write_skeleton(path: &Path, config: &str) -> io::Result<()> {
    for folder in ["objects", "objects/info", "objects/pack", "refs", "refs/heads", "refs/tags"] {
        fs::create_dir(path.join(folder))?;
    }
    fs::write(path.join("HEAD"), "ref: refs/heads/main\n")?;
    fs::write(path.join("config"), config)
}

/// Writes a private file so that a process that ends at any time leaves it as a whole or not at all.
pub(crate) fn write_whole(path: &Path, content: &[u8]) -> io::Result<()> {
    let temporary = path.with_extension("tmp");
    let mut options = File::options();
    let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
    file.write_all(content)?;
    fs::rename(&temporary, path)
}

/// Returns what tells this start of the machine from others.
pub(crate) fn machine_start() -> String {
    // Where there is no such file, all starts look alike.
    fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned()
}

/// Makes renames and removals in a folder durable.
pub(crate) fn sync_folder(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}
