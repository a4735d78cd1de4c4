//! Runs that are ended: nothing of them stays, in any of the ways to end.

use std::{
    collections::HashSet,
    time::{Duration, Instant},
};

use claw_agent::{
    run::{RunEnd, RunReport, RunRequest, run_agent},
    sandbox::{Sandbox, SandboxSpec},
};
use claw_core::JobId;
use claw_testkit::wait_until;
use tokio_util::sync::CancellationToken;

use crate::lab::{Lab, PATIENCE, Recorder, bash, completed};

/// Far below what the commands would take by themselves, and far above what ending them takes on a busy machine.
const SOON: Duration = Duration::from_secs(10);

/// Runs until the agent has made the file `started`, cancels, and returns the report and how long the end took.
async fn cancel_when_started(lab: &Lab, request: RunRequest) -> (RunReport, Duration) {
    let cancel = CancellationToken::new();
    let run = run_agent(&lab.sandbox, &lab.gateway, request, Recorder::default(), cancel.clone());
    let cancelling = async {
        lab.wait_for_file("started").await;
        cancel.cancel();
        Instant::now()
    };
    let (report, cancelled_at) = tokio::join!(run, cancelling);
    (report, cancelled_at.elapsed())
}

#[tokio::test]
async fn a_cancelled_command_is_gone_soon() {
    let lab = Lab::start().await;

    let (report, took) = cancel_when_started(&lab, lab.request(bash("touch started; sleep 300"))).await;

    assert_eq!(report.end, RunEnd::Cancelled);
    assert!(took < SOON, "{took:?}");
    lab.assert_nothing_left();
}

#[tokio::test]
async fn processes_that_ignore_the_signal_or_hide_are_killed() {
    let lab = Lab::start().await;
    // One ignores SIGTERM, one has its own session, one cleared its environment too.
    let command =
        "trap '' TERM; setsid sleep 301 & env -i setsid sleep 302 & touch started; while :; do sleep 1; done";

    let (report, took) = cancel_when_started(&lab, lab.request(bash(command))).await;

    assert_eq!(report.end, RunEnd::Cancelled);
    assert!(took < SOON, "{took:?}");
    lab.assert_nothing_left();
}

#[tokio::test]
async fn a_run_cancelled_before_it_starts_asks_nobody() {
    let lab = Lab::start().await;
    let cancel = CancellationToken::new();
    cancel.cancel();

    let report = run_agent(&lab.sandbox, &lab.gateway, lab.request("x"), Recorder::default(), cancel).await;

    assert_eq!(report.end, RunEnd::Cancelled);
    assert_eq!(lab.api.requests().len(), 0);
    lab.assert_nothing_left();
}

#[tokio::test]
async fn what_the_agent_left_running_ends_with_the_run() {
    let lab = Lab::start().await;

    let report = lab.run_prompt(bash("setsid sleep 303 >/dev/null 2>&1 & touch started")).await;

    assert_eq!(completed(&report), "done");
}

#[tokio::test]
async fn a_dropped_run_is_cleaned_up_in_the_background() {
    let lab = Lab::start().await;
    let request = lab.request(bash("touch started; sleep 304"));
    let run = run_agent(&lab.sandbox, &lab.gateway, request, Recorder::default(), CancellationToken::new());

    tokio::select! {
        report = run => panic!("the run ended by itself: {report:?}"),
        () = lab.wait_for_file("started") => {}
    }

    wait_until("the processes are gone", PATIENCE, async || lab.processes().is_empty()).await;
    let records = lab.data_dir.join("local-runs");
    wait_until("the record is gone", PATIENCE, async || crate::lab::entries(&records).is_empty()).await;
    lab.assert_nothing_left();
}

#[tokio::test]
async fn a_sweep_ends_what_a_killed_server_left_and_spares_live_jobs() {
    let lab = Lab::start().await;
    let (dead, live) = (start_and_forget(&lab, "dead").await, start_and_forget(&lab, "live").await);
    assert_eq!(lab.processes().len(), 2);

    let swept = lab.sandbox.sweep(&HashSet::from([live])).await.unwrap();
    let left = lab.processes();
    let swept_later = lab.sandbox.sweep(&HashSet::new()).await.unwrap();

    assert_ne!(dead, live);
    assert_eq!((swept, swept_later), (1, 1));
    assert!(left.len() == 1 && left[0].contains("live"), "{left:?}");
    lab.assert_nothing_left();
}

/// Starts a run whose CLI only waits, and forgets it as a killed server does.
async fn start_and_forget(lab: &Lab, name: &str) -> JobId {
    let program =
        lab.folder.write(name, format!("#!/bin/sh\ntouch {name}-started\nexec tail -f {name}-started\n"));
    std::fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let sandbox = claw_agent::local::LocalSandbox::new(crate::lab::config(program, &lab.data_dir));
    let request = lab.request("");
    let job = request.job;
    let spec = SandboxSpec {
        job,
        attempt: 1,
        workspace: None,
        work_dir: request.work_dir,
        current_dir: None,
        socket_dir: lab.data_dir.join("run"),
        arguments: Vec::new(),
        environment: Vec::new(),
        stdin: Vec::new(),
        limits: request.limits,
        network: request.network,
    };
    std::mem::forget(sandbox.start(spec).await.unwrap());
    lab.wait_for_file(&format!("{name}-started")).await;
    job
}
