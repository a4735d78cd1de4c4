//! What a hostile or unlucky agent does to the machine, and what the machine does to it: whole runs, from the call to the
//! verdict.

use std::{
    collections::HashSet,
    os::{
        linux::net::SocketAddrExt,
        unix::net::{SocketAddr, UnixListener, UnixStream},
    },
    time::Duration,
};

use claw_agent::{
    run::RunEnd,
    sandbox::{Limits, Output, Sandbox, SandboxError, SandboxSpec},
};
use claw_core::FailureKind;
use claw_testkit::wait_until;
use serde_json::json;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::{
    breaking::Wire,
    lab::{Lab, PATIENCE, expect_line},
    warm_lab::{Ran, WarmLab, bash, script},
};

fn failure(ran: &Ran) -> (FailureKind, &str) {
    match &ran.report.end {
        RunEnd::Failed { kind, message } => (*kind, message),
        other => panic!("the run did not fail: {other:?}"),
    }
}

#[tokio::test]
async fn t27_a_fork_bomb_in_a_whole_run_is_held_and_gone_with_it() {
    let lab = WarmLab::new(0).await;
    let steps = json!([bash("bomb() { bomb | bomb & }; bomb 2>/dev/null; echo lit"), {"text": "done"}]);
    let few = Limits { memory_bytes: 512 << 20, cpus: 1.0, pids: 128 };

    let short = |request: &mut claw_agent::run::RunRequest| {
        request.limits = few;
        request.timeout = Duration::from_secs(10);
    };
    let ran = lab.run_as(None, false, script(steps), short, CancellationToken::new()).await;

    // Whether the CLI itself lives through it depends on who gets the last process; either way it is over.
    assert!(!matches!(ran.report.end, RunEnd::Cancelled));
    lab.end().await;
}

#[tokio::test]
async fn t27_a_gibibyte_of_output_passes_through_bounded_memory() {
    let lab = Lab::new().await;
    let script = r#"exec python3 -c '
import os
line = b"x" * 1023 + b"\n"
out = os.fdopen(1, "wb", 1 << 20)
for _ in range(16384):
    out.write(line * 64)
'"#;
    let before = resident_bytes();
    let mut run = lab.start(lab.spec(script)).await;
    let mut output = run.take_output().expect("the first call");

    let (mut bytes, mut most) = (0, 0);
    while let Some(Output::Stdout { line, truncated: false }) =
        timeout(PATIENCE, output.recv()).await.expect("in time")
    {
        bytes += line.len() + 1;
        if bytes.is_multiple_of(64 << 20) {
            most = most.max(resident_bytes());
        }
    }
    let exit = timeout(PATIENCE, run.wait()).await.expect("ends").expect("not lost");
    run.remove().await.expect("removed");

    assert_eq!((exit.code, bytes), (0, 1 << 30));
    assert!(most < before + (200 << 20), "{before} bytes before, up to {most} meanwhile");
}

#[tokio::test]
async fn t27_an_agent_that_floods_its_log_is_ended() {
    let lab = WarmLab::new(0).await;
    // Past the tool, which keeps little of a command's output: straight to where the CLI writes.
    let flood = "yes \"$(head -c 60000 /dev/zero | tr '\\0' x)\" | head -c 1G >/proc/$PPID/fd/1";

    let ran = lab.run(script(json!([bash(flood), {"hold": "for ever"}]))).await;

    let (kind, message) = failure(&ran);
    assert_eq!(kind, FailureKind::Agent, "{message}");
    assert!(message.contains("256 MB"), "{message}");
    lab.end().await;
}

/// What this process holds in memory. Other tests run in it at the same time, so bounds must leave them room.
fn resident_bytes() -> u64 {
    let text = std::fs::read_to_string("/proc/self/statm").expect("Linux");
    text.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok()).expect("a number") * 4096
}

#[tokio::test]
async fn t27_processes_that_nobody_waits_for_do_not_use_up_the_limit() {
    let lab = Lab::new().await;
    // Each leaves a child behind that ends after its parent: without an init process all would stay as zombies.
    let script = "for round in $(seq 300); do (true & ) ; done
        while ps -eo stat | grep -q Z; do :; done; ps -eo stat | grep -c Z; echo ended";

    let said = lab
        .run(SandboxSpec {
            limits: Limits { memory_bytes: 256 << 20, cpus: 1.0, pids: 32 },
            ..lab.spec(script)
        })
        .await;

    assert_eq!(said.stdout, ["0", "ended"], "{said:?}");
}

#[tokio::test]
async fn t27_a_huge_environment_fails_the_command_and_nothing_else() {
    let lab = Lab::new().await;
    let script = "export HUGE=$(head -c 4000000 /dev/zero | tr '\\0' x); /bin/true 2>/dev/null || echo refused; echo here";

    assert_eq!(lab.lines(script).await, ["refused", "here"]);
}

#[tokio::test]
async fn output_that_is_not_utf8_arrives_as_it_is() {
    let lab = Lab::new().await;
    let mut run = lab.start(lab.spec(r"printf 'a\xff\xfe\x00b\n'; printf '\xc3\n' >&2")).await;
    let mut output = run.take_output().expect("the first call");

    let mut lines = Vec::new();
    while let Some(line) = timeout(PATIENCE, output.recv()).await.expect("in time") {
        lines.push(line);
    }
    run.remove().await.expect("removed");

    assert!(
        lines.contains(&Output::Stdout { line: b"a\xff\xfe\0b".to_vec(), truncated: false }),
        "{lines:?}"
    );
    assert!(lines.contains(&Output::Stderr { line: b"\xc3".to_vec() }), "{lines:?}");
}

#[tokio::test]
async fn a_cli_that_is_killed_or_removed_midway_fails_the_run_so_that_it_is_tried_again() {
    let lab = WarmLab::new(0).await;
    let begun = || script(json!([{"hold": "for ever"}]));
    for (at, is_removed) in [(1, false), (2, true)] {
        let end = async {
            lab.api.wait_for_request(at).await;
            let container = lab.leftovers().await.into_iter().find(|name| name.starts_with("claw-job-"));
            let container = container.filter(|name| !name.ends_with("-home")).expect("a container");
            match is_removed {
                true => lab.docker.remove_force(&container).await.expect("removed"),
                false => lab.docker.kill(&container).await.expect("killed"),
            }
        };

        let (ran, ()) = tokio::join!(lab.run(begun()), end);

        let (kind, message) = failure(&ran);
        assert!(kind.is_retryable(), "{kind:?}: {message}");
    }
    lab.end().await;
}

#[tokio::test]
async fn what_could_not_be_removed_while_the_engine_was_away_is_removed_when_it_is_back() {
    let lab = Lab::new().await;
    let wire = Wire::to_the_engine();
    let sandbox = lab.sandbox_at(&wire.socket());
    let mut run = sandbox.start(lab.spec("echo ready; sleep 600")).await.expect("started");
    expect_line(&mut run.take_output().expect("the first call"), "ready").await;

    let folder = wire.cut().await;
    let lost = timeout(PATIENCE, run.wait()).await.expect("no hang").expect_err("lost");
    run.remove().await.expect_err("nobody answers");
    assert_eq!(lab.leftovers().await.len(), 2);
    let _wire = Wire::again(folder);

    assert!(matches!(lost, SandboxError::Lost { .. }), "{lost:?}");
    // Asked before every claim; an answer is believed for a while.
    wait_until("it is removed", PATIENCE, async || {
        drop(sandbox.ready().await);
        lab.leftovers().await.is_empty()
    })
    .await;
    sandbox.settle().await;
    assert_eq!(sandbox.sweep(&HashSet::new()).await.expect("swept"), 0);
}

#[tokio::test]
async fn t28_without_network_nothing_on_the_host_can_be_reached() {
    let lab = Lab::new().await;
    let tcp = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = tcp.local_addr().expect("bound").port();
    let name = format!("claw-test-{}", lab.instance);
    let address = SocketAddr::from_abstract_name(&name).expect("a name");
    let abstract_socket = UnixListener::bind_addr(&address).expect("bound");
    for listener in [tcp.set_nonblocking(true), abstract_socket.set_nonblocking(true)] {
        listener.expect("set");
    }
    // What the sandbox tries works from outside of it.
    drop(std::net::TcpStream::connect(("127.0.0.1", port)).expect("reached"));
    drop(UnixStream::connect_addr(&address).expect("reached"));
    assert!(tcp.accept().is_ok() && abstract_socket.accept().is_ok());
    let script = format!(
        r#"exec python3 -c '
import socket
def tries(what, family, address, kind=socket.SOCK_STREAM):
    try:
        with socket.socket(family, kind) as s:
            s.settimeout(3)
            s.connect(address)
            s.send(b"secret")
            print(what, "REACHED")
    except OSError as error:
        print(what, "refused")
for host in ["127.0.0.1", "172.17.0.1", "169.254.169.254", "1.1.1.1"]:
    tries(host, socket.AF_INET, (host, {port}))
tries("::1", socket.AF_INET6, ("::1", {port}))
tries("udp", socket.AF_INET, ("1.1.1.1", 53), socket.SOCK_DGRAM)
tries("abstract", socket.AF_UNIX, "\0{name}")
try:
    print("raw", socket.socket(socket.AF_INET, socket.SOCK_RAW, 1) and "REACHED")
except OSError:
    print("raw refused")
try:
    print("name", socket.getaddrinfo("example.com", 80) and "REACHED")
except OSError:
    print("name refused")
'"#
    );

    let said = lab.run(lab.spec(&script)).await;

    assert_eq!(said.stdout.len(), 9, "{said:?}");
    assert!(said.stdout.iter().all(|line| line.ends_with("refused")), "{said:?}");
    let came = (tcp.accept().map(drop).ok(), abstract_socket.accept().map(drop).ok());
    assert_eq!(came, (None, None), "something came through");
}
