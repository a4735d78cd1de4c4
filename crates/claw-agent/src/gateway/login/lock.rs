//! One renewal at a time among all processes that use a login.
//!
//! Two locks are taken. The folder's own (`flock`) keeps out other servers of ours, and ends with its process. The Claude CLI
//! knows another one: it makes the folder `.oauth_refresh.lock` beside the login, keeps its time of change fresh, and takes over
//! one that was left alone for a minute (CLI 2.1.329).

use std::{
    io,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    time::Duration,
};

use rustix::{
    fs::{AtFlags, CWD, FlockOperation, Mode, OFlags, Timespec, Timestamps, UTIME_NOW},
    io::Errno,
};
use tokio::time::Instant;

use super::refresh::RefreshError;

const CLI_LOCK_NAME: &str = ".oauth_refresh.lock";

/// How long a lock that nobody keeps fresh counts.
const STALE_AFTER: Duration = Duration::from_secs(60);

/// Longest wait for another process to finish its renewal.
const MAX_WAIT: Duration = Duration::from_secs(40);

/// Pause before looking again.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// Both locks, until dropped.
#[derive(Debug)]
pub(super) struct RefreshLock {
    cli_lock: PathBuf,
    _folder: OwnedFd,
}

impl RefreshLock {
    pub(super) async fn take(folder: &Path) -> Result<Self, RefreshError> {
        let deadline = Instant::now() + MAX_WAIT;
        let handle =
            rustix::fs::open(folder, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
                .map_err(|error| RefreshError::write(error.into()))?;
        wait(deadline, || match rustix::fs::flock(&handle, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(true),
            Err(Errno::WOULDBLOCK) => Ok(false),
            Err(error) => Err(error.into()),
        })
        .await?;
        let cli_lock = folder.join(CLI_LOCK_NAME);
        wait(deadline, || take_cli_lock(&cli_lock)).await?;
        Ok(Self { cli_lock, _folder: handle })
    }

    /// Keeps the lock from looking left alone.
    pub(super) fn keep_fresh(&self) {
        let now = Timespec { tv_sec: 0, tv_nsec: UTIME_NOW };
        let times = Timestamps { last_access: now, last_modification: now };
        if let Err(error) = rustix::fs::utimensat(CWD, &self.cli_lock, &times, AtFlags::SYMLINK_NOFOLLOW) {
            tracing::warn!(%error, "could not keep the lock of the Claude login fresh");
        }
    }
}

impl Drop for RefreshLock {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir(&self.cli_lock) {
            tracing::warn!(%error, "could not remove the lock of the Claude login");
        }
    }
}

fn take_cli_lock(path: &Path) -> io::Result<bool> {
    match std::fs::create_dir(path) {
        Ok(()) => return Ok(true),
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        Err(_) => {}
    }
    let age = match std::fs::symlink_metadata(path) {
        Ok(metadata) => metadata.modified()?.elapsed().unwrap_or_default(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error),
    };
    if age > STALE_AFTER {
        // Whoever made it is gone; the next look makes it anew. If another one was quicker, it is not empty of meaning, and
        // its maker holds the same login by then, which is looked at again before anything is asked for.
        match std::fs::remove_dir(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(false)
}

async fn wait(deadline: Instant, mut take: impl FnMut() -> io::Result<bool>) -> Result<(), RefreshError> {
    while !take().map_err(RefreshError::write)? {
        if Instant::now() >= deadline {
            return Err(RefreshError::Locked);
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
    Ok(())
}
