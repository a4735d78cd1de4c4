//! What stays after a run, and what must not.

use std::{collections::HashSet, time::Duration};

use claw_agent::sandbox::{Sandbox, SandboxError, SandboxSpec};
use claw_core::WorkspaceId;
use tokio::time::timeout;

use crate::lab::{Lab, PATIENCE};

#[tokio::test]
async fn a_home_lasts_as_long_as_its_workspace_and_no_longer() {
    let lab = Lab::new().await;
    let (first, second) = (WorkspaceId::new(), WorkspaceId::new());
    let look = "cat ~/kept 2>/dev/null || echo nothing";
    let of = |workspace, script| SandboxSpec { workspace: Some(workspace), ..lab.spec(script) };

    lab.run(of(first, "echo a session >~/kept")).await;
    let same = lab.run(of(first, look)).await;
    let other = lab.run(of(second, look)).await;
    let homes = lab.leftovers().await;
    lab.sandbox.forget_workspace(first).await.expect("forgotten");
    let forgotten = lab.run(of(first, look)).await;
    for workspace in [first, second, second] {
        lab.sandbox.forget_workspace(workspace).await.expect("forgetting twice is fine");
    }

    assert_eq!(same.stdout, ["a session"]);
    assert_eq!(other.stdout, ["nothing"]);
    assert_eq!(homes, [format!("claw-home-{first}"), format!("claw-home-{second}")]);
    assert_eq!(forgotten.stdout, ["nothing"]);
    assert_eq!(lab.leftovers().await, [""; 0]);
}

#[tokio::test]
async fn a_home_in_use_is_not_forgotten() {
    let lab = Lab::new().await;
    let workspace = WorkspaceId::new();
    let run = lab.start(SandboxSpec { workspace: Some(workspace), ..lab.spec("sleep 600") }).await;

    let error = lab.sandbox.forget_workspace(workspace).await.expect_err("in use");
    run.remove().await.expect("removed");
    lab.sandbox.forget_workspace(workspace).await.expect("forgotten");

    assert!(matches!(error, SandboxError::Cleanup { .. }), "{error:?}");
}

#[tokio::test]
async fn without_a_workspace_nothing_stays() {
    let lab = Lab::new().await;
    let run = lab.start(lab.spec("echo x >~/x; sleep 600")).await;
    assert_eq!(lab.leftovers().await.len(), 2, "a container and its HOME");

    run.remove().await.expect("removed while it runs");

    assert_eq!(lab.leftovers().await, [""; 0]);
}

#[tokio::test]
async fn a_run_that_is_dropped_is_removed() {
    let lab = Lab::new().await;
    let run = lab.start(lab.spec("sleep 600")).await;

    drop(run);
    timeout(PATIENCE, lab.sandbox.settle()).await.expect("settles");

    assert_eq!(lab.leftovers().await, [""; 0]);
}

#[tokio::test]
async fn a_start_that_is_dropped_midway_leaves_nothing() {
    let lab = Lab::new().await;
    let mut dropped = 0;

    for milliseconds in [0, 1, 2, 4, 8, 16, 32, 64, 96, 128, 160] {
        let start = lab.sandbox.start(lab.spec("sleep 600"));
        match timeout(Duration::from_millis(milliseconds), start).await {
            Ok(run) => run.expect("started").remove().await.expect("removed"),
            Err(_) => dropped += 1,
        }
        timeout(PATIENCE, lab.sandbox.settle()).await.expect("settles");
        assert_eq!(lab.leftovers().await, [""; 0], "dropped after {milliseconds} ms");
    }

    assert!(dropped > 3, "{dropped}");
}

#[tokio::test]
async fn a_second_start_of_one_attempt_is_refused_and_leaves_the_first_alone() {
    let lab = Lab::new().await;
    let spec = lab.spec("until [ -e go ]; do sleep 0.02; done");
    let mut first = lab.start(spec.clone()).await;

    let error = lab.sandbox.start(spec).await.err().expect("the name is taken");
    std::fs::write(lab.work_dir.path().join("go"), "").expect("written");

    assert!(matches!(error, SandboxError::Start { .. }), "{error:?}");
    assert_eq!(timeout(PATIENCE, first.wait()).await.expect("ends").expect("not lost").code, 0);
    first.remove().await.expect("removed");
}

#[tokio::test]
async fn r16_sweeping_removes_what_a_former_start_left_and_spares_live_jobs_and_strangers() {
    let (lab, stranger) = (Lab::new().await, Lab::new().await);
    let workspace = WorkspaceId::new();
    let live = lab.spec("until [ -e go ]; do sleep 0.02; done");
    let live_job = live.job;
    let mut live = lab.start(live).await;
    let foreign = stranger.start(stranger.spec("sleep 600")).await;
    // Leaked, as by a server that was killed: one with a HOME of its own, one with a workspace's, one that ended.
    for spec in [
        lab.spec("sleep 600"),
        SandboxSpec { workspace: Some(workspace), ..lab.spec("sleep 600") },
        lab.spec("exit 1"),
    ] {
        std::mem::forget(lab.start(spec).await);
    }
    assert_eq!(lab.leftovers().await.len(), 8);

    let again = claw_agent::docker::DockerSandbox::new(
        lab.docker.clone(),
        claw_agent::docker::DockerSandboxConfig::new(&lab.instance),
    );
    let removed = again.sweep(&HashSet::from([live_job])).await.expect("swept");
    let nothing = again.sweep(&HashSet::from([live_job])).await.expect("swept");

    assert_eq!((removed, nothing), (3, 0));
    let live_name = format!("claw-job-{live_job}-1");
    let mut expected = vec![format!("claw-home-{workspace}"), format!("{live_name}-home"), live_name];
    expected.sort();
    assert_eq!(lab.leftovers().await, expected);
    assert_eq!(stranger.leftovers().await.len(), 2, "another instance is none of our business");

    std::fs::write(lab.work_dir.path().join("go"), "").expect("written");
    assert_eq!(timeout(PATIENCE, live.wait()).await.expect("ends").expect("not lost").code, 0);
    live.remove().await.expect("removed");
    foreign.remove().await.expect("removed");
    lab.sandbox.forget_workspace(workspace).await.expect("forgotten");
    assert_eq!(lab.leftovers().await, [""; 0]);
}
