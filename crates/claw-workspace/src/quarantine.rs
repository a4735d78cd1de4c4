//! Commits that the agent made: copied out of its repository, checked, and taken into ours.
//!
//! Objects go through a store of our own beside the work tree. Loose objects are copied by name, packs are indexed
//! anew; the agent's indexes, alternates, commit graphs and configuration are never read. From there
//! `pack-objects | index-pack --strict` carries into the repository what the agent's references reach, under the names
//! that the content really has, and a walk over the repository alone proves that nothing is missing.

use std::{
    fs::{self, File},
    io::{self, Read},
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    process::Stdio,
};

use crate::{
    CommitId, Limits, WorkspaceError,
    agent_refs::{AgentRefs, open_git_folder},
    beneath,
    checkout::is_fan_out,
    git::{Call, Git, Input},
    layout::private_folder,
    objects::{ObjectKind, ObjectReader},
    remove::remove_tree,
    workspaces::blocking,
};

const MAX_LOOSE_OBJECTS: usize = 200_000;
const MAX_PACKS: usize = 64;
const MAX_BRANCHES: usize = 64;

/// Largest commit: message, names and parents.
const MAX_COMMIT_BYTES: u64 = 32 << 10;

/// Most bytes of a list of kinds and sizes: some five million objects.
const MAX_SIZES_BYTES: usize = 64 << 20;

/// Refuses malformed objects and trees that hold a `.git`. What `.gitmodules` and `.gitattributes` are and say is data, as
/// it is in the job's files: refusing commits for it would protect nobody and would cost every later job of the
/// workspace its commits too. Padded file modes are a harmless fault of old histories.
const STRICT: &str = "--strict=gitmodulesBlob=ignore,gitmodulesLarge=ignore,gitmodulesUpdate=ignore,\
                      gitmodulesUrl=ignore,gitmodulesPath=ignore,gitmodulesName=ignore,gitattributesBlob=ignore,\
                      gitattributesLarge=ignore,gitattributesLineLength=ignore,zeroPaddedFilemode=ignore";

/// Where objects come from and go to.
pub(crate) struct Quarantine<'a> {
    pub(crate) git: &'a Git,
    pub(crate) limits: &'a Limits,
    /// Our repository.
    pub(crate) repository: &'a Path,
    /// The clone's work tree.
    pub(crate) work: &'a Path,
    /// A folder for the objects on their way.
    pub(crate) folder: &'a Path,
    /// The commit that the clone was made from.
    pub(crate) base: CommitId,
    /// Packs that the clone was made with.
    pub(crate) packs: &'a [String],
}

/// What of the agent's commits is in our repository now.
#[derive(Debug, Default)]
pub(crate) struct AgentWork {
    /// The agent's last commit, if it is not one that the job started with.
    pub(crate) head: Option<CommitId>,
    /// How many commits it made up to there.
    pub(crate) commits: usize,
    /// Further branches with commits of their own.
    pub(crate) branches: Vec<(Vec<u8>, CommitId)>,
    /// What was left out and why.
    pub(crate) notes: Vec<String>,
}

impl Quarantine<'_> {
    /// Takes in what `refs` reach. What cannot be taken in is left out with a note: the job's files are kept anyway.
    pub(crate) async fn take_in(&self, refs: AgentRefs) -> Result<AgentWork, WorkspaceError> {
        let mut work = AgentWork { notes: refs.notes, ..AgentWork::default() };
        let head = refs.head.filter(|head| *head != self.base);
        let mut branches: Vec<_> = refs.branches.into_iter().filter(|(_, id)| *id != self.base).collect();
        if branches.len() > MAX_BRANCHES {
            work.notes
                .push(format!("the agent made more than {MAX_BRANCHES} branches; the rest is not kept"));
            branches.truncate(MAX_BRANCHES);
        }
        let mut wanted: Vec<CommitId> = head.into_iter().chain(branches.iter().map(|(_, id)| *id)).collect();
        wanted.sort_unstable();
        wanted.dedup();
        if wanted.is_empty() {
            return Ok(work);
        }
        if let Err(note) = self.collect(&mut work.notes).await? {
            work.notes.push(note);
            return Ok(work);
        }
        let taken = self.take_commits(&wanted, &mut work.notes).await?;
        if let Some(head) = head.filter(|head| taken.contains(head)) {
            work.commits = self.count_new(head).await?;
            work.head = (work.commits > 0).then_some(head);
        }
        branches.retain(|(_, id)| taken.contains(id));
        work.branches = self.only_independent(head, branches).await?;
        Ok(work)
    }

    /// Fills the quarantine. The inner error says why nothing is taken in.
    async fn collect(&self, notes: &mut Vec<String>) -> Result<Result<(), String>, WorkspaceError> {
        let objects = self.folder.join("objects");
        let harvest = Harvest {
            work: self.work.to_owned(),
            target: objects.clone(),
            present: self.repository.join("objects"),
            packs: self.packs.to_vec(),
            room: self.limits.max_new_bytes,
        };
        let folder = self.folder.to_owned();
        let packs = blocking(move || {
            remove_tree(&folder)
                .and_then(|()| private_folder(&harvest.target.join("pack"), true))
                .map_err(WorkspaceError::io("create", folder))?;
            harvest.run()
        })
        .await?;
        let packs = match packs {
            Ok(packs) => packs,
            Err(note) => return Ok(Err(note)),
        };
        for pack in packs {
            let call = Call::new(self.repository, "index-pack")
                .args(["--stdin", "--fix-thin"])
                .arg(format!("--max-input-size={}", self.limits.max_new_bytes))
                .quarantined(self.repository, &objects)
                .input(Input::Handle(Stdio::from(pack)));
            match self.git.run(call).await?.ok() {
                Ok(_) => {}
                Err(WorkspaceError::Git { .. }) => {
                    notes.push("a pack of the agent's repository is damaged and was left out".to_owned());
                }
                Err(error) => return Err(error),
            }
        }
        Ok(Ok(()))
    }

    /// Takes in the commits that are sound, together if possible, else one by one.
    async fn take_commits(
        &self,
        wanted: &[CommitId],
        notes: &mut Vec<String>,
    ) -> Result<Vec<CommitId>, WorkspaceError> {
        let mut reason = match self.try_commits(wanted).await? {
            Ok(()) => return Ok(wanted.to_vec()),
            Err(reason) => reason,
        };
        let mut taken = Vec::new();
        if wanted.len() > 1 {
            for commit in wanted {
                match self.try_commits(&[*commit]).await? {
                    Ok(()) => taken.push(*commit),
                    Err(why) => reason = why,
                }
            }
        }
        tracing::info!(repository = %self.repository.display(), reason, "commits of an agent were refused");
        notes.push(
            "commits of the agent are incomplete, malformed or too large and were left out; its files are kept".into(),
        );
        Ok(taken)
    }

    /// The inner error is git's reason to refuse.
    async fn try_commits(&self, commits: &[CommitId]) -> Result<Result<(), String>, WorkspaceError> {
        let mut range: String = commits.iter().map(|commit| format!("{commit}\n")).collect();
        // As `^`, since `rev-list` reads `--not` from its input only from 2.42 on.
        range += &format!("^{}\n", self.base);
        if let Err(reason) = self.check_sizes(&range).await? {
            return Ok(Err(reason));
        }
        let pack = Call::new(self.repository, "pack-objects")
            .args(["--revs", "--stdout", "-q", "--delta-base-offset"])
            .quarantined(self.repository, &self.folder.join("objects"))
            .input(Input::Bytes(range.clone().into_bytes()));
        let index = Call::new(self.repository, "index-pack")
            .args(["--stdin", STRICT])
            .arg(format!("--max-input-size={}", self.limits.max_new_bytes));
        match self.git.pipe(pack, index).await {
            Ok(_) => {}
            Err(WorkspaceError::Git { detail, .. }) => return Ok(Err(detail)),
            Err(error) => return Err(error),
        }
        let walk = Call::new(self.repository, "rev-list")
            .args(["--objects", "--quiet", "--stdin"])
            .input(Input::Bytes(range.into_bytes()));
        if let Err(WorkspaceError::Git { detail, .. }) = self.git.run(walk).await?.ok() {
            return Ok(Err(detail));
        }
        let mut reader = ObjectReader::start(self.git, self.repository)?;
        for commit in commits {
            let kind = reader.info(&commit.to_string()).await?.map(|info| info.kind);
            if kind != Some(ObjectKind::Commit) {
                return Ok(Err(format!("{commit} is no commit")));
            }
        }
        Ok(Ok(()))
    }

    /// Adds up what the commits unpack to: a thousandth of it may be in the object store, and the next job's working
    /// copy holds it all. Looks too for commits whose text alone is too large, since whoever asks for the history gets
    /// the text of each.
    async fn check_sizes(&self, range: &str) -> Result<Result<(), String>, WorkspaceError> {
        let objects = self.folder.join("objects");
        let list = Call::new(self.repository, "rev-list")
            .args(["--objects", "--no-object-names", "--stdin"])
            .quarantined(self.repository, &objects)
            .input(Input::Bytes(range.into()));
        let sizes = Call::new(self.repository, "cat-file")
            .arg("--batch-check=%(objecttype) %(objectsize)")
            .quarantined(self.repository, &objects)
            .max_stdout(MAX_SIZES_BYTES);
        let stdout = match self.git.pipe(list, sizes).await {
            Ok(stdout) => stdout,
            Err(WorkspaceError::Git { detail, .. }) => return Ok(Err(detail)),
            Err(error) => return Err(error),
        };
        let mut room = self.limits.max_new_bytes;
        for line in String::from_utf8_lossy(&stdout).lines() {
            let Some((kind, Ok(size))) = line.split_once(' ').map(|(kind, size)| (kind, size.parse())) else {
                return Ok(Err(format!("an object is missing: {line}")));
            };
            if kind == "commit" && size > MAX_COMMIT_BYTES {
                return Ok(Err(format!("a commit has {size} bytes")));
            }
            match room.checked_sub(size) {
                Some(left) => room = left,
                None => return Ok(Err("what the commits unpack to is too large".to_owned())),
            }
        }
        Ok(Ok(()))
    }

    async fn count_new(&self, head: CommitId) -> Result<usize, WorkspaceError> {
        let call = Call::new(self.repository, "rev-list").args([
            "--count",
            &head.to_string(),
            &format!("^{}", self.base),
            "--",
        ]);
        let stdout = self.git.run(call).await?.ok()?;
        let text = String::from_utf8_lossy(&stdout);
        text.trim()
            .parse()
            .map_err(|_| WorkspaceError::GitAnswer { what: "rev-list", detail: text.into_owned() })
    }

    /// Drops branches whose commits are all in another branch or in what the job started with.
    async fn only_independent(
        &self,
        head: Option<CommitId>,
        branches: Vec<(Vec<u8>, CommitId)>,
    ) -> Result<Vec<(Vec<u8>, CommitId)>, WorkspaceError> {
        if branches.is_empty() {
            return Ok(branches);
        }
        let known: Vec<CommitId> = head.into_iter().chain([self.base]).collect();
        let commits = known.iter().chain(branches.iter().map(|(_, id)| id)).map(CommitId::to_string);
        let call = Call::new(self.repository, "merge-base").arg("--independent").args(commits);
        let stdout = self.git.run(call).await?.ok()?;
        let text = String::from_utf8_lossy(&stdout);
        let independent: Vec<CommitId> = text.lines().filter_map(|line| line.parse().ok()).collect();
        let is_new = |id: &CommitId| independent.contains(id) && !known.contains(id);
        Ok(branches.into_iter().filter(|(_, id)| is_new(id)).collect())
    }
}

/// Copies object data out of a hostile `.git`.
struct Harvest {
    work: PathBuf,
    target: PathBuf,
    present: PathBuf,
    packs: Vec<String>,
    room: u64,
}

impl Harvest {
    /// Returns the packs that are new. The inner error says why nothing is taken in.
    fn run(mut self) -> Result<Result<Vec<File>, String>, WorkspaceError> {
        let git = open_git_folder(&self.work);
        let Some(objects) = git.and_then(|git| beneath::open_folder(git, b"objects").ok()) else {
            return Ok(Err(
                "the agent's object store was removed or replaced; only files are kept".to_owned()
            ));
        };
        let too_much =
            || "the agent's commits are too large and were left out; its files are kept".to_owned();
        let mut count = 0;
        for folder in beneath::names(&objects, 4096).unwrap_or_default().0 {
            if !is_fan_out(&folder) {
                continue;
            }
            let Ok(inner) = beneath::open_folder(&objects, &folder) else { continue };
            let (names, more) = beneath::names(&inner, MAX_LOOSE_OBJECTS).unwrap_or_default();
            count += names.len();
            if more || count > MAX_LOOSE_OBJECTS || !self.copy_loose(&inner, &folder, &names)? {
                return Ok(Err(too_much()));
            }
        }
        Ok(self.new_packs(&objects).ok_or_else(too_much))
    }

    /// Copies the loose objects of one folder that we do not have. `Ok(false)`: there is no room.
    fn copy_loose(
        &mut self,
        folder: &OwnedFd,
        fan_out: &[u8],
        names: &[Vec<u8>],
    ) -> Result<bool, WorkspaceError> {
        let fan_out = String::from_utf8_lossy(fan_out).into_owned();
        let target = self.target.join(&fan_out);
        let mut made = false;
        for name in names {
            if name.len() != 38 || !name.chunks(2).all(is_fan_out) {
                continue;
            }
            let text = String::from_utf8_lossy(name).into_owned();
            if self.present.join(&fan_out).join(&text).exists() {
                continue;
            }
            let Ok((file, stat)) = beneath::open_file(folder, name) else { continue };
            let size = u64::try_from(stat.st_size).unwrap_or(u64::MAX);
            let Some(room) = self.room.checked_sub(size) else { return Ok(false) };
            self.room = room;
            if !made {
                fs::create_dir(&target).map_err(WorkspaceError::io("create", &target))?;
                made = true;
            }
            let path = target.join(text);
            let mut copy = File::create_new(&path).map_err(WorkspaceError::io("create", &path))?;
            io::copy(&mut file.take(size), &mut copy).map_err(WorkspaceError::io("write", &path))?;
        }
        Ok(true)
    }

    /// Opens the packs that the clone was not made with; `None` if there are too many or they are too large.
    fn new_packs(&mut self, objects: &OwnedFd) -> Option<Vec<File>> {
        let Ok(folder) = beneath::open_folder(objects, b"pack") else { return Some(Vec::new()) };
        let mut packs = Vec::new();
        let (names, more) = beneath::names(&folder, 4096).unwrap_or_default();
        for name in &names {
            let is_pack = name.starts_with(b"pack-") && name.ends_with(b".pack");
            if !is_pack || self.packs.iter().any(|known| known.as_bytes() == name) {
                continue;
            }
            let Ok((file, stat)) = beneath::open_file(&folder, name) else { continue };
            self.room = self.room.checked_sub(u64::try_from(stat.st_size).unwrap_or(u64::MAX))?;
            packs.push(file);
        }
        (!more && packs.len() <= MAX_PACKS).then_some(packs)
    }
}
