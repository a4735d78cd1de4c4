//! Compose processes of a server that died. They would go on beside those that this server starts.
//!
//! They are known by the folder that they run in, which is the installation's own and empty, and by their arguments. A
//! server is alone with its data, so before it starts Compose for the first time all of them are strays.

use std::{
    fs,
    os::{fd::OwnedFd, unix::ffi::OsStrExt as _},
    path::Path,
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal},
};

/// How long they may take to be gone after they were killed.
const LIMIT: Duration = Duration::from_secs(10);

/// What stands in the arguments of each.
const ARGUMENTS: &[u8] = b"\0--project-name\0claw-app-";

/// Kills every process of Compose that runs in `folder`, and waits until they are gone. Returns how many there were.
/// Blocking.
pub(super) fn end(folder: &Path) -> usize {
    let Ok(folder) = fs::canonicalize(folder) else { return 0 };
    let deadline = Instant::now() + LIMIT;
    let mut ended = 0;
    // Once more after that: they start others.
    loop {
        let strays = find(&folder);
        if strays.is_empty() || Instant::now() > deadline {
            return ended;
        }
        for stray in &strays {
            // Fails when it has ended meanwhile, which is what is wanted.
            let _ = pidfd_send_signal(stray, Signal::KILL);
        }
        for stray in &strays {
            let left = deadline.saturating_duration_since(Instant::now());
            let left = Timespec::try_from(left).unwrap_or_default();
            let _ = poll(&mut [PollFd::new(stray, PollFlags::IN)], Some(&left));
        }
        ended += strays.len();
    }
}

fn find(folder: &Path) -> Vec<OwnedFd> {
    let Ok(processes) = fs::read_dir("/proc") else { return Vec::new() };
    let number = |name: std::ffi::OsString| name.to_str()?.parse().ok();
    let ids = processes.flatten().filter_map(|process| number(process.file_name()));
    ids.filter(|&id| is_stray(id, folder)).filter_map(|id| open(id, folder)).collect()
}

/// Whoever has the number now may be another process than the one that was seen: it is looked at again once it is held.
fn open(id: i32, folder: &Path) -> Option<OwnedFd> {
    let held = pidfd_open(Pid::from_raw(id)?, PidfdFlags::empty()).ok()?;
    is_stray(id, folder).then_some(held)
}

fn is_stray(id: i32, folder: &Path) -> bool {
    // Those of others cannot be read, and dead ones run nowhere.
    let place = fs::read_link(format!("/proc/{id}/cwd"));
    if !place.is_ok_and(|place| place.as_os_str().as_bytes() == folder.as_os_str().as_bytes()) {
        return false;
    }
    let arguments = fs::read(format!("/proc/{id}/cmdline")).unwrap_or_default();
    arguments.windows(ARGUMENTS.len()).any(|part| part == ARGUMENTS)
}
