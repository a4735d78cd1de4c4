//! Finding and ending all processes of a run.

use std::{
    collections::HashSet,
    fs::File,
    io::{self, Read},
    os::fd::OwnedFd,
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal},
};
use tokio::task::spawn_blocking;

use crate::sandbox::SandboxError;

/// Variable that marks the processes of a run; its value is the run's token.
pub(super) const MARKER: &str = "CLAW_RUN";

/// How much of a process's environment is searched. The marker stands near its beginning.
const MAX_ENVIRONMENT_BYTES: u64 = 2 * 1024 * 1024;

/// How often SIGKILL is repeated for processes that were born meanwhile.
const KILL_ROUNDS: usize = 50;

/// Longest wait for killed processes to be gone, in each round.
const KILL_WAIT: Duration = Duration::from_millis(500);

/// A process of the run, held by a descriptor, so that its id cannot come to mean another one.
#[derive(Debug)]
struct Held {
    id: i32,
    descriptor: OwnedFd,
}

/// One process as `/proc` shows it.
#[derive(Clone, Debug)]
struct Seen {
    id: i32,
    parent: i32,
    group: i32,
    session: i32,
    started: u64,
}

/// Ends every process of the run: SIGTERM, up to `grace`, then SIGKILL until none is left.
///
/// `leader` is the process that was started, whose group and descendants belong to the run even if they cleared
/// their environment. Dropping the future does not stop the killing.
pub(super) async fn end_all(token: &str, leader: Option<i32>, grace: Duration) -> Result<(), SandboxError> {
    let token = token.to_owned();
    let ended = spawn_blocking(move || end_all_blocking(&token, leader, grace)).await;
    let reason = match ended {
        Ok(Ok(true)) => return Ok(()),
        Ok(Ok(false)) => "processes of the run survive SIGKILL; look for a hanging disk".to_owned(),
        Ok(Err(error)) => format!("cannot look for the run's processes: {error}"),
        Err(error) => format!("looking for the run's processes broke off: {error}"),
    };
    Err(SandboxError::Lost { reason })
}

/// Returns whether all have ended.
fn end_all_blocking(token: &str, leader: Option<i32>, grace: Duration) -> io::Result<bool> {
    let mut sessions = HashSet::new();
    if !grace.is_zero() {
        let held = signal(find(token, leader, &mut sessions)?, Signal::TERM);
        wait_until_gone(held, grace);
    }
    for _ in 0..KILL_ROUNDS {
        let held = signal(find(token, leader, &mut sessions)?, Signal::KILL);
        if held.is_empty() {
            return Ok(true);
        }
        wait_until_gone(held, KILL_WAIT);
    }
    Ok(false)
}

/// Kills what is there at this moment without waiting, for when there is nobody left to wait.
pub(super) fn kill_now(token: &str, leader: Option<i32>) {
    let mut sessions = HashSet::new();
    for _ in 0..3 {
        let Ok(held) = find(token, leader, &mut sessions) else { return };
        signal(held, Signal::KILL);
    }
}

/// Finds the run's processes: those with the marker, the leader's group, all their descendants, and everybody in a
/// session that one of them began. `sessions` remembers those from call to call.
fn find(token: &str, leader: Option<i32>, sessions: &mut HashSet<i32>) -> io::Result<Vec<Held>> {
    let marker = format!("{MARKER}={token}");
    let processes = all_processes()?;
    let mut members: HashSet<i32> = processes
        .iter()
        .filter(|process| Some(process.group) == leader || is_marked(process.id, marker.as_bytes()))
        .map(|process| process.id)
        .collect();
    loop {
        let before = members.len();
        for process in &processes {
            if members.contains(&process.parent) || sessions.contains(&process.session) {
                members.insert(process.id);
            }
            // Only a session that the run itself began. The one it was started in may be somebody's terminal.
            if process.session == process.id && members.contains(&process.id) {
                sessions.insert(process.session);
            }
        }
        if members.len() == before {
            break;
        }
    }
    let own_id = rustix::process::getpid().as_raw_nonzero().get();
    let members =
        processes.into_iter().filter(|process| members.contains(&process.id) && process.id != own_id);
    Ok(members.filter_map(|process| hold(&process)).collect())
}

/// Opens a descriptor of the process, and makes sure that it still is the one that was seen.
fn hold(process: &Seen) -> Option<Held> {
    let descriptor = pidfd_open(Pid::from_raw(process.id)?, PidfdFlags::NONBLOCK).ok()?;
    let same = look_at(process.id).is_some_and(|now| now.started == process.started);
    same.then_some(Held { id: process.id, descriptor })
}

/// Signals the processes and returns those that got it. One that we may not signal runs as another user by the
/// machine's own rules (such as sudo), and waiting for it would be in vain.
fn signal(mut processes: Vec<Held>, signal: Signal) -> Vec<Held> {
    processes.retain(|process| match pidfd_send_signal(&process.descriptor, signal) {
        Ok(()) => true,
        Err(rustix::io::Errno::SRCH) => false,
        Err(error) => {
            tracing::warn!(%error, process.id, "could not signal a process of a run");
            false
        }
    });
    processes
}

/// Waits until all have ended, at most for `limit`. A process descriptor becomes readable then.
fn wait_until_gone(mut processes: Vec<Held>, limit: Duration) {
    let deadline = Instant::now() + limit;
    while !processes.is_empty() {
        let left = deadline.saturating_duration_since(Instant::now());
        let Ok(left) = Timespec::try_from(left) else { return };
        let mut waiting: Vec<PollFd<'_>> =
            processes.iter().map(|process| PollFd::new(&process.descriptor, PollFlags::IN)).collect();
        match poll(&mut waiting, Some(&left)) {
            Ok(0) => return,
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => {
                tracing::warn!(%error, "could not wait for processes of a run");
                return;
            }
        }
        let mut gone =
            waiting.iter().map(|descriptor| !descriptor.revents().is_empty()).collect::<Vec<_>>().into_iter();
        processes.retain(|_| !gone.next().unwrap_or(false));
    }
}

fn all_processes() -> io::Result<Vec<Seen>> {
    let mut processes = Vec::new();
    for entry in std::fs::read_dir("/proc")? {
        let id = entry?.file_name().to_str().and_then(|name| name.parse().ok());
        processes.extend(id.and_then(look_at));
    }
    Ok(processes)
}

/// Reads `/proc/{id}/stat` (proc_pid_stat(5)); `None` for a process that is gone or only waits to be reaped.
fn look_at(id: i32) -> Option<Seen> {
    let text = std::fs::read(format!("/proc/{id}/stat")).ok()?;
    // The name in parentheses may hold anything, so the fields are counted from the last `)`.
    let end = text.iter().rposition(|byte| *byte == b')')?;
    let fields: Vec<&str> = std::str::from_utf8(&text[end + 1..]).ok()?.split_ascii_whitespace().collect();
    if matches!(*fields.first()?, "Z" | "X") {
        return None;
    }
    let number = |index: usize| fields.get(index)?.parse().ok();
    Some(Seen {
        id,
        parent: number(1)?,
        group: number(2)?,
        session: number(3)?,
        started: fields.get(19)?.parse().ok()?,
    })
}

fn is_marked(id: i32, marker: &[u8]) -> bool {
    let mut environment = Vec::new();
    let read = File::open(format!("/proc/{id}/environ"))
        .and_then(|file| file.take(MAX_ENVIRONMENT_BYTES).read_to_end(&mut environment));
    read.is_ok() && environment.split(|byte| *byte == 0).any(|variable| variable == marker)
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[expect(clippy::disallowed_methods, reason = "the tests need plain processes")]
    fn sleeper(token: &str) -> std::process::Child {
        Command::new("sleep")
            .arg("300")
            .env(MARKER, token)
            .stdin(Stdio::null())
            .spawn()
            .expect("sleep starts")
    }

    #[tokio::test]
    async fn marked_processes_end_and_others_live() {
        let mut ours = sleeper("0123-ours");
        let mut other = sleeper("0123-other");

        let waiting = tokio::task::spawn_blocking(move || ours.wait());
        end_all("0123-ours", None, Duration::from_secs(5)).await.expect("all end");

        let status = waiting.await.expect("joined").expect("waited");
        assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(15));
        assert!(other.try_wait().expect("asked").is_none());
        other.kill().expect("killed");
        other.wait().expect("reaped");
    }

    #[tokio::test]
    #[expect(clippy::disallowed_methods, reason = "the tests need plain processes")]
    async fn the_session_that_a_run_was_started_in_is_not_its_own() {
        // As in a terminal: the session's leader is a shell, and the run's process is in the shell's session.
        let script =
            format!("env {MARKER}=0123-inside sh -c 'echo started; exec sleep 300' & wait; read end");
        let mut terminal = Command::new("setsid")
            .args(["--wait", "sh", "-c", &script])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the shell starts");
        let mut line = [0; 8];
        terminal.stdout.take().expect("a pipe").read_exact(&mut line).expect("the shell says so");

        let before = find("0123-inside", None, &mut HashSet::new()).expect("found");
        end_all("0123-inside", None, Duration::from_secs(5)).await.expect("it ends");
        let alive = terminal.try_wait().expect("asked").is_none();

        assert_eq!(before.len(), 1);
        assert!(alive, "the shell goes on");
        drop(terminal.stdin.take());
        terminal.wait().expect("reaped");
    }

    #[test]
    fn the_own_process_is_seen_with_its_parent() {
        let id = std::process::id().cast_signed();
        let seen = look_at(id).expect("we exist");

        assert_eq!(seen.parent, std::os::unix::process::parent_id().cast_signed());
        assert!(seen.started > 0);
    }
}
