//! A data directory, a canary, and the agent's own git.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
};

use claw_core::{JobId, ManualClock, RepoPath, Timestamp, WorkspaceId};
use claw_workspace::{Kept, KeptAs, Limits, Settings, WorkingCopy, Workspaces};
use tempfile::TempDir;

/// Workspaces in a folder of their own, with a command that must never run.
pub(crate) struct House {
    folder: TempDir,
    pub(crate) workspaces: Workspaces,
    pub(crate) clock: Arc<ManualClock>,
}

impl House {
    pub(crate) async fn new() -> Self {
        Self::with(Limits::default(), None).await
    }

    pub(crate) async fn with(limits: Limits, git: Option<PathBuf>) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let clock = Arc::new(ManualClock::new(Timestamp::from_second(1_800_000_000).expect("a time")));
        let canary = folder.path().join("canary");
        let marker = folder.path().join("marker");
        fs::write(&canary, format!("#!/bin/sh\necho \"$0 $*\" >> '{}'\ncat\n", marker.display()))
            .expect("a canary");
        fs::set_permissions(&canary, fs::Permissions::from_mode(0o755)).expect("an executable canary");
        let git = git.or_else(|| std::env::var_os("CLAW_TEST_GIT").map(PathBuf::from));
        let settings = Settings { git, limits, clock: clock.clone() };
        let workspaces =
            Workspaces::open_with(&folder.path().join("data"), settings).await.expect("git 2.39 or newer");
        Self { folder, workspaces, clock }
    }

    /// A second process with the same data directory.
    pub(crate) async fn restarted(&self) -> Workspaces {
        Workspaces::open(&self.data()).await.expect("the same data directory")
    }

    pub(crate) fn root(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.root().join("data")
    }

    pub(crate) fn repository(&self, workspace: WorkspaceId) -> PathBuf {
        self.data().join(format!("repos/{workspace}.git"))
    }

    pub(crate) fn job_folder(&self, job: JobId) -> PathBuf {
        self.data().join(format!("jobs/{job}"))
    }

    /// The command that must never run.
    pub(crate) fn canary(&self) -> String {
        self.root().join("canary").to_string_lossy().into_owned()
    }

    pub(crate) fn canary_ran(&self) -> bool {
        self.root().join("marker").exists()
    }

    /// A workspace with `files` and a working copy of it.
    pub(crate) async fn job(&self, files: &[(&str, &str)]) -> (WorkspaceId, WorkingCopy) {
        let workspace = self.workspace(files).await;
        (workspace, self.checkout(workspace).await)
    }

    pub(crate) async fn workspace(&self, files: &[(&str, &str)]) -> WorkspaceId {
        let workspace = WorkspaceId::new();
        let files: Vec<_> =
            files.iter().map(|(name, content)| (path(name), content.as_bytes().to_vec())).collect();
        self.workspaces.create(workspace, &files).await.expect("a workspace");
        workspace
    }

    pub(crate) async fn checkout(&self, workspace: WorkspaceId) -> WorkingCopy {
        self.workspaces.checkout(workspace, JobId::new(), None).await.expect("a working copy")
    }

    pub(crate) async fn keep(&self, copy: &WorkingCopy) -> Kept {
        self.workspaces.keep(copy).await.expect("the work is kept")
    }

    pub(crate) async fn read(&self, workspace: WorkspaceId, name: &str) -> Option<String> {
        let content = self.workspaces.read_file(workspace, &path(name), 1 << 20).await.ok()?;
        Some(String::from_utf8_lossy(&content).into_owned())
    }

    pub(crate) async fn write(&self, workspace: WorkspaceId, name: &str, content: &str) {
        self.workspaces
            .write_file(workspace, &path(name), content.as_bytes(), "user:ann")
            .await
            .expect("an edit");
    }

    /// All files of a workspace, without folders.
    pub(crate) async fn names(&self, workspace: WorkspaceId) -> Vec<String> {
        let listing = self.workspaces.list_files(workspace, 10_000).await.expect("a listing");
        listing.files.into_iter().filter(|entry| !entry.is_dir()).map(|entry| entry.path).collect()
    }

    /// Fails if the workspace's repository is damaged.
    pub(crate) fn check(&self, workspace: WorkspaceId) {
        let output =
            git_output(&self.repository(workspace), &["fsck", "--full", "--strict", "--no-dangling"]);
        let lines = [output.stdout, output.stderr].concat();
        let lines = String::from_utf8_lossy(&lines).into_owned();
        // A `.gitmodules` that would run something is data here; refusing to act on it is for whoever clones.
        let is_damage = |line: &&str| !line.contains("gitmodulesUpdate") && !line.starts_with("warning");
        let damage: Vec<_> = lines.lines().filter(is_damage).collect();
        assert!(damage.is_empty(), "{damage:?}");
    }
}

pub(crate) fn path(text: &str) -> RepoPath {
    text.parse().expect("a path")
}

/// The job's commit, if the outcome is that it is on `main`.
pub(crate) fn committed(kept: &Kept) -> String {
    match &kept.outcome {
        KeptAs::Committed { commit } => commit.to_string(),
        other => panic!("expected a commit, got {other:?}"),
    }
}

/// Runs git in `folder` as an agent would, without any protection.
pub(crate) fn git(folder: &Path, args: &[&str]) -> String {
    let output = git_output(folder, args);
    assert!(output.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

pub(crate) fn git_output(folder: &Path, args: &[&str]) -> std::process::Output {
    Command::new("git")
        .args(["-c", "protocol.file.allow=always"])
        .args(args)
        .current_dir(folder)
        .env("HOME", folder.join("../home"))
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .output()
        .expect("git is installed")
}

/// Commits everything in `folder` as an agent would, without running what is planted there.
pub(crate) fn commit_all(folder: &Path, message: &str) -> String {
    git(folder, &["add", "-A"]);
    git(folder, &["commit", "-q", "-m", message]);
    git(folder, &["rev-parse", "HEAD"])
}
