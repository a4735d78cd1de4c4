//! Runs that fill the disk.

use std::time::Duration;

use claw_agent::run::{DiskLimits, DiskWatch, RunEnd};
use claw_core::FailureKind;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::warm_lab::{Ran, WarmLab, bash, script};

/// Runs `command`, which then waits, where a run may take 20 MB.
async fn run(lab: &WarmLab, command: &str) -> Ran {
    let limits = DiskLimits {
        run_bytes: Some(20 << 20),
        folder: "/".into(),
        reserve_bytes: 0,
        pause: Duration::from_millis(50),
    };
    let watch = DiskWatch::with_limits(limits);
    let steps = json!([bash(command), {"hold": "measured"}, {"text": "done"}]);
    lab.run_as(None, false, script(steps), |request| request.disk = Some(watch), CancellationToken::new())
        .await
}

#[tokio::test]
async fn t27_a_run_that_fills_the_working_copy_or_its_home_ends_and_what_it_wrote_is_gone() {
    let lab = WarmLab::new(0).await;

    let files = run(&lab, "head -c 30000000 /dev/urandom >big").await;
    let home = run(&lab, "mkdir -p ~/.cache && head -c 30000000 /dev/urandom >~/.cache/big").await;
    let together = run(&lab, "head -c 15000000 /dev/urandom | tee ~/half >half").await;
    let many = run(&lab, "mkdir many && cd many && seq 100000 | split -l 1 -a 5 - f").await;

    for ran in [files, home, together, many] {
        let RunEnd::Failed { kind, message } = &ran.report.end else { panic!("{:?}", ran.report.end) };
        assert_eq!(*kind, FailureKind::Agent, "{message}");
        assert!(message.contains("20 MB") && message.contains("sandbox.disk"), "{message}");
    }
    lab.end().await;
}

#[tokio::test]
async fn t27_a_disk_that_is_nearly_full_ends_the_run_before_it_is_full() {
    let lab = WarmLab::new(0).await;
    let limits = DiskLimits {
        run_bytes: None,
        folder: "/".into(),
        reserve_bytes: u64::MAX,
        pause: Duration::from_millis(50),
    };
    let steps = script(json!([{"hold": "for ever"}]));
    let watch = DiskWatch::with_limits(limits);

    let ran = lab.run_as(None, false, steps, |it| it.disk = Some(watch), CancellationToken::new()).await;

    let RunEnd::Failed { kind, message } = &ran.report.end else { panic!("{:?}", ran.report.end) };
    assert_eq!(*kind, FailureKind::Killed);
    assert!(message.contains("storage.reserve"), "{message}");
    lab.end().await;
}
