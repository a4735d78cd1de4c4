//! Ends runs that fill the disk. No file system here can be told to give a run only so much, so what it has written is
//! measured again and again.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use claw_core::{FailureKind, JobId};
use futures_util::future::BoxFuture;

use super::usage::{Usage, measure};
use crate::stream::Failure;

/// Pause before each measurement. A disk takes some gigabytes meanwhile; what is kept free must hold them.
const PAUSE: Duration = Duration::from_secs(2);

/// The pause is at least so many times what the measurement took, so that counting a million files costs little.
const PAUSE_FACTOR: u32 = 20;

/// Longest pause, however long measurements take.
const LONGEST_PAUSE: Duration = Duration::from_secs(120);

/// Pause before the next largest run is ended if the disk is still nearly full.
const NEXT_VICTIM: Duration = Duration::from_secs(10);

/// What runs may write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiskLimits {
    /// Bytes that the working copy and the HOME of one run may take together; `None` for no limit.
    pub run_bytes: Option<u64>,
    /// A folder on the disk that must not become full.
    pub folder: PathBuf,
    /// Bytes that must stay free there. Below it, the largest run is ended, then the next.
    pub reserve_bytes: u64,
    /// Pause before each measurement; [`DiskWatch::new`] has the usual one.
    pub pause: Duration,
}

/// Watches what runs write. One for all runs of a server; cheap to clone.
#[derive(Clone, Debug)]
pub struct DiskWatch(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    limits: DiskLimits,
    // A std mutex: held for a look, never across an await.
    runs: Mutex<Runs>,
}

#[derive(Debug, Default)]
struct Runs {
    bytes: HashMap<JobId, u64>,
    last_victim: Option<Instant>,
}

impl DiskWatch {
    /// Returns a watch over these limits.
    pub fn new(run_bytes: Option<u64>, folder: PathBuf, reserve_bytes: u64) -> Self {
        Self::with_limits(DiskLimits { run_bytes, folder, reserve_bytes, pause: PAUSE })
    }

    /// Returns a watch that looks as often as `limits` say.
    pub fn with_limits(limits: DiskLimits) -> Self {
        Self(Arc::new(Shared { limits, runs: Mutex::default() }))
    }

    /// Returns once the run has to end, with the reason.
    pub(super) async fn until_full(
        &self,
        job: JobId,
        work_dir: PathBuf,
        home: BoxFuture<'static, Option<PathBuf>>,
    ) -> Failure {
        let watched = Watched { watch: self, job };
        let limits = &self.0.limits;
        let mut pause = limits.pause;
        tokio::time::sleep(pause).await;
        let folders: Vec<_> = std::iter::once(work_dir).chain(home.await).collect();
        loop {
            let begun = Instant::now();
            let usage = measure_all(folders.clone(), limits.run_bytes.unwrap_or(u64::MAX)).await;
            if let Some(failure) = self.judge(job, usage) {
                drop(watched);
                return failure;
            }
            pause = (begun.elapsed() * PAUSE_FACTOR).clamp(limits.pause, LONGEST_PAUSE);
            tokio::time::sleep(pause).await;
        }
    }

    fn judge(&self, job: JobId, usage: Usage) -> Option<Failure> {
        let limits = &self.0.limits;
        if let Some(most) = limits.run_bytes {
            let most = mebibytes(most);
            if usage.is_too_deep {
                let message = format!(
                    "the job nested folders too deeply to tell whether it takes more than its {most} of disk"
                );
                return Some(Failure::new(FailureKind::Agent, message));
            }
            if usage.bytes > limits.run_bytes.unwrap_or(u64::MAX) {
                let message = format!(
                    "the job's working copy and HOME take more than the {most} of disk that a job may have; have it \
                     write less, or raise `sandbox.disk`"
                );
                return Some(Failure::new(FailureKind::Agent, message));
            }
        }
        let is_largest = self.with(|runs| {
            runs.bytes.insert(job, usage.bytes);
            runs.bytes.values().all(|other| *other <= usage.bytes)
        });
        let free = free_bytes(&limits.folder)?;
        if free >= limits.reserve_bytes || !is_largest {
            return None;
        }
        let is_first = self.with(|runs| {
            let waits = runs.last_victim.is_some_and(|last| last.elapsed() < NEXT_VICTIM);
            if !waits {
                runs.last_victim = Some(Instant::now());
            }
            !waits
        });
        is_first.then(|| {
            let message = format!(
                "the server's disk has only {} left, and this job had written most of all ({}): it was ended before \
                 the disk was full; free some space, or lower `storage.reserve`",
                mebibytes(free),
                mebibytes(usage.bytes)
            );
            // Another one may have filled the disk; when it has room again, this one may go well.
            Failure::new(FailureKind::Killed, message)
        })
    }

    fn with<T>(&self, act: impl FnOnce(&mut Runs) -> T) -> T {
        act(&mut self.0.runs.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// A run that counts among those that are measured, until it is dropped.
struct Watched<'a> {
    watch: &'a DiskWatch,
    job: JobId,
}

impl Drop for Watched<'_> {
    fn drop(&mut self) {
        self.watch.with(|runs| runs.bytes.remove(&self.job));
    }
}

/// Measures on a thread where blocking is fine. A folder that cannot be opened counts for nothing: of a HOME that is kept
/// on another machine, or by another user, nothing can be known.
async fn measure_all(folders: Vec<PathBuf>, enough: u64) -> Usage {
    let measuring = tokio::task::spawn_blocking(move || {
        let mut all = Usage::default();
        for folder in folders {
            match measure(&folder, enough.saturating_sub(all.bytes)) {
                Ok(Usage { bytes, is_too_deep }) => {
                    all.bytes = all.bytes.saturating_add(bytes);
                    all.is_too_deep |= is_too_deep;
                }
                Err(error) => tracing::debug!(%error, "cannot measure {}", folder.display()),
            }
        }
        all
    });
    // An error says that the runtime ends.
    measuring.await.unwrap_or_default()
}

/// Returns the bytes that may still be written to the disk of `folder`; `None` if the system cannot tell.
fn free_bytes(folder: &Path) -> Option<u64> {
    let disk = rustix::fs::statvfs(folder).ok()?;
    Some(disk.f_bavail.saturating_mul(disk.f_frsize))
}

fn mebibytes(bytes: u64) -> String {
    // Two digits at least, so that little is lost.
    match bytes {
        _ if bytes < 10 << 20 => format!("{} kB", bytes >> 10),
        _ if bytes < 10 << 30 => format!("{} MB", bytes >> 20),
        _ => format!("{} GB", bytes >> 30),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn watch(run_bytes: Option<u64>, reserve_bytes: u64) -> DiskWatch {
        DiskWatch::new(run_bytes, "/".into(), reserve_bytes)
    }

    fn used(bytes: u64) -> Usage {
        Usage { bytes, is_too_deep: false }
    }

    #[test]
    fn t27_a_run_past_its_limit_ends_and_is_not_tried_again() {
        let watch = watch(Some(1 << 30), 0);

        assert_eq!(watch.judge(JobId::new(), used(1 << 30)), None);
        let failure = watch.judge(JobId::new(), used((1 << 30) + 1)).expect("too much");
        assert_eq!(failure.kind, FailureKind::Agent);
        assert!(
            failure.message.contains("1024 MB") && failure.message.contains("sandbox.disk"),
            "{failure:?}"
        );
        let deep = watch.judge(JobId::new(), Usage { bytes: 0, is_too_deep: true });
        assert_eq!(deep.expect("unknown").kind, FailureKind::Agent);
    }

    #[test]
    fn t27_on_a_disk_that_is_nearly_full_the_largest_run_ends_and_only_that() {
        let watch = watch(None, u64::MAX);
        let (small, large) = (JobId::new(), JobId::new());
        watch.with(|runs| runs.bytes.insert(large, 1000));

        assert_eq!(watch.judge(small, used(10)), None);
        assert_eq!(watch.judge(large, used(1000)).expect("the largest").kind, FailureKind::Killed);
        watch.with(|runs| runs.bytes.remove(&large));
        assert_eq!(watch.judge(small, used(10)), None, "what was ended gets time to be removed");
    }

    #[test]
    fn a_run_without_limits_goes_on() {
        assert_eq!(watch(None, 0).judge(JobId::new(), used(u64::MAX)), None);
    }
}
