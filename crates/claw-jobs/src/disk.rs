//! Looks after the disk of the data folder: new work is refused before the store has no room left.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use claw_core::{Coded, ErrorCode};

/// How long a look at the disk holds. A job writes at the most what a disk takes in this time beyond the reserve.
const LOOK_HOLDS: Duration = Duration::from_secs(1);

/// There is too little room for new work.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StorageFull {
    /// Less is free than the setting keeps.
    #[error(
        "the disk of the data folder has {} free, less than the {} that `storage.reserve` keeps for running jobs: \
         free some space (`claw gc` removes what is old), enlarge the disk, or lower `storage.reserve`",
        people_size(*.free),
        people_size(*.reserve)
    )]
    Low {
        /// Free bytes.
        free: u64,
        /// Bytes that must be free.
        reserve: u64,
    },
    /// Nobody knows how much is free.
    #[error("cannot tell how much space the disk of the data folder has left: {reason}")]
    Unknown {
        /// What the system said.
        reason: String,
    },
}

impl Coded for StorageFull {
    fn code(&self) -> ErrorCode {
        ErrorCode::StorageFull
    }
}

/// Tells whether there is room for new work. Cheap to clone and to ask.
#[derive(Clone, Debug)]
pub struct DiskGuard(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    folder: PathBuf,
    reserve: u64,
    look: Mutex<Option<Look>>,
}

#[derive(Clone, Debug)]
struct Look {
    at: Instant,
    free: Result<u64, String>,
}

impl DiskGuard {
    /// Returns a guard that keeps `reserve` bytes free on the disk of `folder`; 0 refuses nothing.
    pub fn new(folder: PathBuf, reserve: u64) -> Self {
        Self(Arc::new(Inner { folder, reserve, look: Mutex::new(None) }))
    }

    /// Returns how many bytes are free for us, as seen within the last second.
    ///
    /// # Errors
    ///
    /// [`StorageFull::Unknown`] if the system does not tell.
    pub fn free(&self) -> Result<u64, StorageFull> {
        // A std mutex: held for one system call at the most, never across an await.
        let mut look = self.0.look.lock().unwrap_or_else(PoisonError::into_inner);
        let fresh = look.take().filter(|look| look.at.elapsed() < LOOK_HOLDS);
        let fresh = fresh.unwrap_or_else(|| {
            let free = rustix::fs::statvfs(&self.0.folder)
                .map(|disk| disk.f_bavail.saturating_mul(disk.f_frsize))
                .map_err(|error| error.to_string());
            Look { at: Instant::now(), free }
        });
        look.insert(fresh).free.clone().map_err(|reason| StorageFull::Unknown { reason })
    }

    /// Checks that there is room for new work.
    ///
    /// # Errors
    ///
    /// [`StorageFull`], with what to do.
    pub fn check(&self) -> Result<(), StorageFull> {
        let reserve = self.0.reserve;
        if reserve == 0 {
            return Ok(());
        }
        match self.free()? {
            free if free < reserve => Err(StorageFull::Low { free, reserve }),
            _ => Ok(()),
        }
    }
}

/// Returns a size as people write it, rounded down to one decimal.
pub(crate) fn people_size(bytes: u64) -> String {
    let (unit, shift) = match bytes {
        0..0x400 => return format!("{bytes} bytes"),
        0x400..0x10_0000 => ("KiB", 10),
        0x10_0000..0x4000_0000 => ("MiB", 20),
        _ => ("GiB", 30),
    };
    let tenths = (u128::from(bytes) * 10) >> shift;
    format!("{}.{} {unit}", tenths / 10, tenths % 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_reserve_nothing_is_refused_and_with_one_beyond_the_disk_everything() {
        let folder = std::env::temp_dir();

        assert_eq!(DiskGuard::new(folder.clone(), 0).check(), Ok(()));
        let refused = DiskGuard::new(folder, u64::MAX).check().expect_err("no disk is that large");
        assert!(matches!(refused, StorageFull::Low { reserve: u64::MAX, free } if free > 0), "{refused:?}");
    }

    #[test]
    fn a_disk_that_does_not_answer_takes_no_work() {
        let guard = DiskGuard::new("/nowhere/at/all".into(), 1);

        assert!(matches!(guard.check(), Err(StorageFull::Unknown { .. })));
    }

    #[test]
    fn sizes_read_like_sizes() {
        for (bytes, text) in [(0, "0 bytes"), (1536, "1.5 KiB"), (12 << 20, "12.0 MiB"), (1 << 30, "1.0 GiB")]
        {
            assert_eq!(people_size(bytes), text);
        }
    }
}
