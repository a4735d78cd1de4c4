//! Ending a program that the Engine runs in a container.
//!
//! The Engine has no request for this, so it is done in two other ways, the first of which works when the server shares
//! the machine's processes with the Engine and may signal them:
//!
//! 1. The program's group of processes gets SIGKILL, if its process is seen here and is one of that container.
//! 2. `ls`, `grep` and `kill` of the container's own, run as the program's user, find whatever inherited the program's mark and
//!    end it.
//!
//! Where neither works (the server runs in a container of its own, and the image has no such programs), the program goes
//! on until it ends or the container does, within the container's limits; callers are told.

use std::time::Duration;

use rustix::process::{Pid, Signal, getpgid, kill_process, kill_process_group};
use tokio::time::{Instant, sleep, timeout_at};
use uuid::Uuid;

use super::{ExecConfig, Output, Run};
use crate::{Docker, DockerError, policy::ApprovedExec};

/// How long all of it may take.
const LIMIT: Duration = Duration::from_secs(15);
/// How long a killed program may take to be gone.
const DYING: Duration = Duration::from_secs(3);
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Most bytes that are read of what the helpers in the container write.
const MOST_OUTPUT: usize = 64 << 10;
/// Most processes of a container that are looked at.
const MOST_PROCESSES: usize = 4096;

/// Returns a variable that no other program has.
pub(super) fn mark() -> String {
    format!("CLAW_EXEC={}", Uuid::new_v4().simple())
}

impl Docker {
    /// Ends a program; tells whether it has ended.
    pub(super) async fn end_exec(&self, approved: &ApprovedExec, exec: &str, mark: &str) -> bool {
        let deadline = Instant::now() + LIMIT;
        let work = async {
            if self.kill_seen(approved.container(), exec).await && self.is_gone(exec).await {
                return Ok(true);
            }
            self.kill_marked(approved, mark).await?;
            Ok::<_, DockerError>(self.is_gone(exec).await)
        };
        match timeout_at(deadline, work).await {
            Ok(Ok(gone)) => gone,
            Ok(Err(error)) => {
                tracing::debug!(%error, "a program in a container could not be ended");
                false
            }
            Err(_) => false,
        }
    }

    async fn is_gone(&self, exec: &str) -> bool {
        let deadline = Instant::now() + DYING;
        loop {
            match self.standing(exec).await {
                Ok(standing) if !standing.running => return true,
                // Gone together with its container.
                Err(error) if error.is_not_found() => return true,
                Ok(_) | Err(_) if Instant::now() > deadline => return false,
                Ok(_) | Err(_) => sleep(LOOK_EVERY).await,
            }
        }
    }

    /// Signals the program's processes, if they are seen here.
    async fn kill_seen(&self, container: &str, exec: &str) -> bool {
        // Just begun, its number may not be known yet.
        let deadline = Instant::now() + Duration::from_secs(1);
        let pid = loop {
            match self.standing(exec).await {
                Ok(standing) if standing.running && standing.pid > 1 => break standing.pid,
                Ok(standing) if !standing.running && standing.exit_code.is_some() => return true,
                Ok(_) if Instant::now() < deadline => sleep(LOOK_EVERY).await,
                Ok(_) | Err(_) => return false,
            }
        };
        let Some(pid) = Pid::from_raw(pid) else { return false };
        if !is_of(container, pid) {
            return false;
        }
        // The runtime makes it the leader of a group of its own.
        if getpgid(Some(pid)) == Ok(pid) {
            kill_process_group(pid, Signal::KILL).is_ok()
        } else {
            kill_process(pid, Signal::KILL).is_ok()
        }
    }

    /// Has the container's own programs end what carries the mark.
    pub(super) async fn kill_marked(&self, approved: &ApprovedExec, mark: &str) -> Result<(), DockerError> {
        let run = async |command: Vec<String>| self.helper(approved, &command).await;
        let listed = run(words(&["ls", "/proc"])).await?;
        let numbers = listed.split_whitespace().filter(|name| is_number(name));
        let files: Vec<_> = numbers.take(MOST_PROCESSES).map(|pid| format!("/proc/{pid}/environ")).collect();
        if files.is_empty() {
            return Ok(());
        }
        let mut command = words(&["grep", "-a", "-l", "-s", "-F", "-e", mark]);
        command.extend(files);
        let found = run(command).await?;
        let mut command = words(&["kill", "-KILL"]);
        let helpers = command.len();
        for line in found.lines() {
            let pid = line.strip_prefix("/proc/").and_then(|rest| rest.strip_suffix("/environ"));
            command.extend(pid.filter(|pid| is_number(pid)).map(str::to_owned));
        }
        if command.len() > helpers {
            run(command).await?;
        }
        Ok(())
    }

    /// Runs one of the container's programs, as the user of the program that is to be ended, and returns what it writes.
    async fn helper(&self, approved: &ApprovedExec, command: &[String]) -> Result<String, DockerError> {
        let config = ExecConfig {
            attach_stdin: false,
            attach_stdout: true,
            attach_stderr: true,
            tty: false,
            privileged: false,
            cmd: command,
            env: Vec::new(),
            user: approved.wish().user.as_deref(),
            working_dir: Some("/"),
        };
        let exec = self.make_exec(approved.container(), &config).await?;
        let mut run = Run { docker: self, exec: &exec, output: Output::new(MOST_OUTPUT) };
        run.until_end().await?;
        Ok(String::from_utf8_lossy(&run.output.stdout).into_owned())
    }
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|&word| word.to_owned()).collect()
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.len() <= 10 && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// Tells whether the process of this number, as it is seen here, runs in this container. Elsewhere the Engine's numbers
/// mean other processes, or none.
fn is_of(container: &str, pid: Pid) -> bool {
    let file = format!("/proc/{}/cgroup", pid.as_raw_nonzero());
    std::fs::read_to_string(file).is_ok_and(|groups| container.len() == 64 && groups.contains(container))
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, time::Duration};

    use super::*;
    use crate::{
        ContainerNetwork, DEFAULT_ENDPOINT, ExecEnd, ExecLimits, SandboxContainer,
        policy::{ExecWish, Facts, Grants, Own, Policy},
    };

    #[expect(clippy::disallowed_methods, reason = "whoever runs the tests says where the Engine is")]
    fn docker() -> Docker {
        let endpoint = std::env::var("DOCKER_HOST").unwrap_or_else(|_| DEFAULT_ENDPOINT.to_owned());
        Docker::connect(Some(&endpoint)).expect("DOCKER_HOST is usable")
    }

    async fn container(docker: &Docker) -> String {
        let sandbox = SandboxContainer {
            name: format!("claw-test-end-{}", Uuid::new_v4().simple()),
            image: "claw-sandbox:latest".to_owned(),
            user: (10001, 10001),
            program: words(&["sleep"]),
            arguments: words(&["600"]),
            environment: Vec::new(),
            labels: BTreeMap::new(),
            working_dir: "/".to_owned(),
            network: ContainerNetwork::None,
            memory_bytes: 256 << 20,
            cpus: 1.0,
            pids: 64,
            tmp_bytes: 16 << 20,
            mounts: Vec::new(),
            runtime: None,
        };
        let id = docker.create_container(sandbox).await.expect("these tests need an Engine and claw-sandbox");
        docker.start(&id).await.expect("started");
        id
    }

    async fn approved(docker: &Docker, container: &str, script: &str) -> ApprovedExec {
        let present = docker.present(container).await.expect("looked at");
        let (policy, own) = (Policy::default(), Own::default());
        let wishes = [present.wish().clone()];
        let facts = Facts::gather(docker, &policy, &wishes, &own).await.expect("gathered");
        let wish = ExecWish { command: words(&["bash", "-c", script]), ..ExecWish::default() };
        policy.judge_exec(&wish, &present, &facts, &Grants::default()).expect("permitted")
    }

    #[tokio::test]
    async fn where_no_process_is_seen_the_containers_own_programs_end_what_carries_the_mark() {
        let docker = docker();
        let id = container(&docker).await;
        let script = "trap '' TERM; (setsid sleep 3337 &) ; sleep 3338; true";
        let approved = approved(&docker, &id, script).await;
        let mark = mark();
        let exec = docker.make_exec(&id, &ExecConfig::of(&approved, &mark)).await.expect("made");
        let mut run = Run { docker: &docker, exec: &exec, output: Output::new(100) };
        let listing = words(&["grep", "-l", "-r", "-s", "-a", "--include=cmdline", "333[78]", "/proc"]);
        let both_run = async {
            while docker.helper(&approved, &listing).await.expect("listed").lines().count() < 2 {
                sleep(LOOK_EVERY).await;
            }
        };

        let killed = async {
            both_run.await;
            docker.kill_marked(&approved, &mark).await.expect("asked");
        };
        let (code, ()) = tokio::join!(run.until_end(), killed);

        assert_eq!(code.expect("ended"), Some(137));
        let left = docker.helper(&approved, &words(&["cat", "/proc/1/cmdline"])).await.expect("still there");
        assert!(left.contains("sleep"), "{left}");
        let rest =
            docker.helper(&approved, &words(&["pgrep", "-f", "sleep 333[78]$"])).await.expect("listed");
        assert_eq!(rest, "");
        docker.remove_force(&id).await.expect("removed");
    }

    #[tokio::test]
    async fn a_program_ends_with_its_container() {
        let docker = docker();
        let id = container(&docker).await;
        let approved = approved(&docker, &id, "echo begun; sleep 3339").await;
        let limits = ExecLimits { time: Duration::from_secs(600), bytes: 100 };

        let removed = async {
            while docker.present(&id).await.expect("looked at").programs == 0 {
                sleep(LOOK_EVERY).await;
            }
            docker.kill(&id).await.expect("killed");
        };
        let (done, ()) = tokio::join!(docker.exec(&approved, limits, std::future::pending()), removed);
        docker.remove_force(&id).await.expect("removed");

        let end = done.expect("an end").end;
        assert!(matches!(end, ExecEnd::Code(code) if code != 0), "{end:?}");
    }

    #[test]
    fn processes_of_others_are_not_taken_for_the_containers() {
        let own = Pid::from_raw(i32::try_from(std::process::id()).expect("a number")).expect("not zero");

        assert!(!is_of(&"a".repeat(64), own));
        assert!(!is_of("", own), "the beginning of every text is no container");
    }

    #[test]
    fn marks_differ() {
        assert_ne!(mark(), mark());
        assert!(mark().starts_with("CLAW_EXEC="));
    }
}
