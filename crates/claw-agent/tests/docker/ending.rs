//! Ends: asked for, forced, from outside, and of what hides.

use std::time::{Duration, Instant};

use claw_agent::sandbox::{Output, SandboxError};
use tokio::time::timeout;

use crate::lab::{Lab, PATIENCE, expect_line};

/// Far below what the runs would take by themselves, and far above what ending them takes on a busy machine.
const QUICK: Duration = Duration::from_secs(10);

/// Tells whether a process with `marker` in its command line runs on this machine.
fn runs(marker: &str) -> bool {
    std::fs::read_dir("/proc")
        .expect("Linux")
        .flatten()
        .filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok())
        .any(|command| command.windows(marker.len()).any(|window| window == marker.as_bytes()))
}

#[tokio::test]
async fn an_agent_that_listens_gets_to_say_its_last_words() {
    let lab = Lab::new().await;
    let mut run = lab
        .start(lab.spec("trap 'echo bye; exit 9' TERM; echo ready; while :; do read -t 1 <> <(:); done"))
        .await;
    let mut output = run.take_output().expect("the first call");
    expect_line(&mut output, "ready").await;

    run.stop(PATIENCE).await.expect("stopped");

    expect_line(&mut output, "bye").await;
    assert_eq!(timeout(PATIENCE, run.wait()).await.expect("ended").expect("not lost").code, 9);
    run.stop(Duration::ZERO).await.expect("stopping twice is fine");
    run.remove().await.expect("removed");
}

#[tokio::test]
async fn t27_an_agent_that_ignores_the_signal_is_killed_with_all_its_processes() {
    let lab = Lab::new().await;
    let marker = format!("marker-{}", lab.instance);
    let script = format!(
        r#"trap '' TERM
           setsid bash -c 'trap "" TERM; while :; do sleep 600 <&- & wait; done' {marker} &
           (sleep 600; : {marker}) &
           until pgrep -f 'trap "" TER[M].*{marker}' >/dev/null; do :; done
           echo ready; while :; do wait; done"#
    );
    let mut run = lab.start(lab.spec(&script)).await;
    let mut output = run.take_output().expect("the first call");
    expect_line(&mut output, "ready").await;
    assert!(runs(&marker), "the processes of the run are seen on this machine");

    let begun = Instant::now();
    run.stop(Duration::from_millis(500)).await.expect("stopped");
    let still = runs(&marker);
    let exit = timeout(PATIENCE, run.wait()).await.expect("ended").expect("not lost");
    run.remove().await.expect("removed");
    let took = begun.elapsed();

    assert!(!still, "something of the run still runs");
    assert_eq!(exit.code, 137);
    assert!(took > Duration::from_millis(500) && took < QUICK, "{took:?}");
    assert_eq!(lab.leftovers().await, [""; 0]);
}

#[tokio::test]
async fn t27_a_fork_bomb_is_stopped_quickly() {
    let lab = Lab::new().await;
    let mut run =
        lab.start(lab.spec("echo ready; bomb() { bomb | bomb & }; bomb 2>/dev/null; sleep 600")).await;
    let mut output = run.take_output().expect("the first call");
    expect_line(&mut output, "ready").await;

    let begun = Instant::now();
    run.stop(Duration::from_secs(1)).await.expect("stopped");
    run.remove().await.expect("removed");

    let took = begun.elapsed();
    assert!(took < Duration::from_secs(1) + QUICK, "{took:?}");
}

#[tokio::test]
async fn t27_a_flood_that_nobody_reads_does_not_hold_up_the_stop() {
    let lab = Lab::new().await;
    let mut run = lab.start(lab.spec("seq 1000000000")).await;
    let mut output = run.take_output().expect("the first call");
    expect_line(&mut output, "100000").await;

    let begun = Instant::now();
    run.stop(Duration::from_secs(1)).await.expect("stopped");
    run.remove().await.expect("removed");
    let took = begun.elapsed();

    assert!(took < QUICK, "{took:?}");
    let mut numbers = Vec::new();
    while let Some(Output::Stdout { line, .. }) = timeout(PATIENCE, output.recv()).await.expect("ends") {
        numbers.push(String::from_utf8(line).expect("text").parse::<u64>().unwrap_or(0));
    }
    // The last line may have been cut by the kill.
    numbers.pop();
    assert!(numbers.len() > 1000, "{}", numbers.len());
    assert!(numbers.iter().zip(100_001..).all(|(number, expected)| *number == expected), "a gap");
}

#[tokio::test]
async fn waiting_may_be_given_up_and_taken_up_again() {
    let lab = Lab::new().await;
    let mut run = lab.start(lab.spec("until [ -e go ]; do sleep 0.02; done; exit 6")).await;

    timeout(Duration::from_millis(50), run.wait()).await.expect_err("it has not ended");
    std::fs::write(lab.work_dir.path().join("go"), "").expect("written");
    let exit = timeout(PATIENCE, run.wait()).await.expect("ended").expect("not lost");
    let again = timeout(PATIENCE, run.wait()).await.expect("ended").expect("not lost");
    run.remove().await.expect("removed");

    assert_eq!((exit.code, again), (6, exit));
}

#[tokio::test]
async fn a_container_removed_by_hand_is_lost_at_once() {
    let lab = Lab::new().await;
    let spec = lab.spec("echo ready; sleep 600");
    let name = format!("claw-job-{}-1", spec.job);
    let mut run = lab.start(spec).await;
    let mut output = run.take_output().expect("the first call");
    expect_line(&mut output, "ready").await;

    lab.docker.remove_force(&name).await.expect("removed by hand");
    let error = timeout(Duration::from_secs(5), run.wait()).await.expect("no hang").expect_err("lost");
    let end = timeout(PATIENCE, output.recv()).await.expect("the output ends");

    assert!(matches!(&error, SandboxError::Lost { reason } if reason.contains("removed")), "{error:?}");
    assert_eq!(end, None);
    run.stop(Duration::from_secs(1)).await.expect("stopping what is gone is fine");
    run.remove().await.expect("removing what is gone is fine");
    assert_eq!(lab.leftovers().await, [""; 0]);
}

#[tokio::test]
async fn a_container_killed_by_hand_says_so_by_its_exit_code() {
    let lab = Lab::new().await;
    let spec = lab.spec("echo ready; sleep 600");
    let name = format!("claw-job-{}-1", spec.job);
    let mut run = lab.start(spec).await;
    expect_line(&mut run.take_output().expect("the first call"), "ready").await;

    lab.docker.kill(&name).await.expect("killed by hand");
    let exit = timeout(PATIENCE, run.wait()).await.expect("no hang").expect("it is still there");
    run.remove().await.expect("removed");

    assert_eq!(exit.code, 137);
    assert!(!exit.out_of_memory);
}
