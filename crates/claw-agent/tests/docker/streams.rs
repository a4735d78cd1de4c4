//! What goes in and what comes out.

use claw_agent::sandbox::{MAX_LINE_BYTES, Output, Sandbox, SandboxError, SandboxSpec};
use tokio::time::timeout;

use crate::lab::{Lab, PATIENCE};

#[tokio::test]
async fn stdin_arrives_whole_and_ends() {
    let lab = Lab::new().await;
    let stdin: Vec<u8> = (0..3_000_000_u32).map(|n| (n % 251) as u8).collect();
    let expected = lab.work_dir.path().join("expected");
    std::fs::write(&expected, &stdin).expect("written");

    let said = lab.run(SandboxSpec { stdin, ..lab.spec("cmp - expected && echo same") }).await;

    assert_eq!(said.stdout, ["same"], "{said:?}");
}

#[tokio::test]
async fn a_program_that_reads_nothing_ends_all_the_same() {
    let lab = Lab::new().await;

    let said = lab.run(SandboxSpec { stdin: vec![b'x'; 3_000_000], ..lab.spec("exit 5") }).await;

    assert_eq!(said.exit.code, 5);
}

#[tokio::test]
async fn output_is_complete_and_in_order_on_both_channels() {
    let lab = Lab::new().await;
    let script = r#"exec python3 -c '
import sys
for n in range(30000):
    print(n)
    if n % 100 == 0:
        print("e", n, file=sys.stderr, flush=True)
sys.stdout.write("last words")
'"#;

    let said = lab.run(lab.spec(script)).await;

    assert_eq!(said.stdout.len(), 30001);
    assert!(said.stdout[..30000].iter().enumerate().all(|(n, line)| *line == n.to_string()));
    assert_eq!(said.stdout[30000], "last words");
    assert_eq!(said.stderr, (0..300).map(|n| format!("e {}", n * 100)).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_line_of_ten_megabytes_is_cut_and_marked_and_the_next_is_whole() {
    let lab = Lab::new().await;
    let mut run = lab.start(lab.spec("head -c 10000000 /dev/zero | tr '\\0' x; echo; echo next")).await;
    let mut output = run.take_output().expect("the first call");
    assert!(run.take_output().is_none(), "only the first call");

    let long = timeout(PATIENCE, output.recv()).await.expect("in time").expect("a line");
    let next = timeout(PATIENCE, output.recv()).await.expect("in time").expect("a line");
    let end = timeout(PATIENCE, output.recv()).await.expect("in time");
    run.remove().await.expect("removed");

    let Output::Stdout { line, truncated } = long else { panic!("not standard output") };
    assert!(truncated && line.len() == MAX_LINE_BYTES && line.iter().all(|byte| *byte == b'x'));
    assert_eq!(next, Output::Stdout { line: b"next".to_vec(), truncated: false });
    assert_eq!(end, None);
}

#[tokio::test]
async fn a_reader_that_comes_after_the_end_still_gets_everything() {
    let lab = Lab::new().await;
    // More than the sandbox keeps for a slow reader: the end of it waits in the Engine.
    let mut run = lab.start(lab.spec("head -c 8800000 /dev/zero | tr '\\0' x | fold -w 999; echo")).await;
    let mut output = run.take_output().expect("the first call");

    let exit = timeout(PATIENCE, run.wait()).await.expect("ends").expect("not lost");
    run.remove().await.expect("removed");
    let mut bytes = 0;
    while let Some(Output::Stdout { line, truncated: false }) = output.recv().await {
        bytes += line.len();
    }

    assert_eq!((exit.code, bytes), (0, 8_800_000));
}

#[tokio::test]
async fn a_reader_that_goes_away_does_not_hold_the_agent_up() {
    let lab = Lab::new().await;
    let mut run = lab.start(lab.spec("head -c 100000000 /dev/zero | tr '\\0' '\\n'; exit 4")).await;
    drop(run.take_output());

    let exit = timeout(PATIENCE, run.wait()).await.expect("ends").expect("not lost");
    run.remove().await.expect("removed");

    assert_eq!(exit.code, 4);
}

#[tokio::test]
async fn the_agent_starts_in_the_folder_asked_for() {
    let lab = Lab::new().await;
    std::fs::create_dir_all(lab.work_dir.path().join("a/b")).expect("made");
    let current_dir = |text: &str| Some(text.parse().expect("a path"));

    let said = lab.run(SandboxSpec { current_dir: current_dir("a/b"), ..lab.spec("pwd") }).await;
    let missing = SandboxSpec { current_dir: current_dir("a/c"), ..lab.spec("pwd") };
    let error = lab.sandbox.start(missing).await.err().expect("no such folder");

    assert_eq!(said.stdout, ["/workspace/a/b"]);
    assert!(matches!(&error, SandboxError::Start { reason } if reason.contains("`a/c`")), "{error:?}");
    assert_eq!(lab.leftovers().await, [""; 0]);
}

#[tokio::test]
async fn an_unknown_program_is_an_exit_code_and_words() {
    let lab = Lab::new().await;

    let said = lab.run(lab.spec("exec /no/such/program")).await;

    assert_eq!(said.exit.code, 127);
    assert!(said.stderr[0].contains("/no/such/program"), "{said:?}");
}
