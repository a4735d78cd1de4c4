//! Logs of a real Engine.

use claw_docker::{DockerError, LogChunk, LogSource, LogsQuery};
use futures_util::{StreamExt, TryStreamExt};
use tokio::time::timeout;

use crate::lab::{Outsider, PATIENCE, docker, outside};

fn joined(chunks: &[LogChunk], source: LogSource) -> Vec<u8> {
    chunks.iter().filter(|chunk| chunk.source == source).flat_map(|chunk| chunk.bytes.to_vec()).collect()
}

#[tokio::test]
async fn both_outputs_come_apart_and_bytes_that_are_no_text_do_no_harm() {
    let docker = docker().await;
    let made = Outsider::run(
        "logs",
        &[],
        r"printf 'one\n\xff\xfe \xe2\x82\xac\n'; printf 'bad\x00\x80\n' >&2; exec true",
    );
    docker.wait(&made.id).await.expect("ends");

    let chunks: Vec<LogChunk> =
        docker.logs(&made.id, LogsQuery::default()).try_collect().await.expect("a log");
    let text = docker.log_text(&made.id, LogsQuery::default(), 1 << 20).await.expect("a log");

    assert_eq!(String::from_utf8_lossy(&joined(&chunks, LogSource::Stderr)), "bad\0\u{fffd}\n");
    let stdout = String::from_utf8_lossy(&joined(&chunks, LogSource::Stdout)).into_owned();
    assert!(stdout.starts_with("one\n") && stdout.contains('\u{fffd}') && stdout.contains('€'), "{stdout:?}");
    assert!(text.text.contains("one\n") && text.text.contains('€') && text.text.contains("bad") && !text.cut);
}

#[tokio::test]
async fn a_part_of_a_log_is_its_last_lines_or_what_was_written_in_a_time() {
    let docker = docker().await;
    let made = Outsider::run("logs", &[], "for n in 1 2 3 4 5 6 7 8 9; do echo line $n; done");
    docker.wait(&made.id).await.expect("ends");
    let log = async |query| docker.log_text(&made.id, query, 1 << 20).await.expect("a log").text;

    let last = log(LogsQuery { tail: Some(2), ..Default::default() }).await;
    let none = log(LogsQuery { tail: Some(0), ..Default::default() }).await;
    let stamped = log(LogsQuery { timestamps: true, ..Default::default() }).await;
    let moments: Vec<claw_core::Timestamp> = stamped
        .lines()
        .map(|line| line.split_once(' ').expect("a moment").0.parse().expect("a moment"))
        .collect();
    let since = log(LogsQuery { since: Some(moments[4]), ..Default::default() }).await;
    let until = log(LogsQuery { until: Some(moments[4]), ..Default::default() }).await;
    let short = docker.log_text(&made.id, LogsQuery::default(), 17).await.expect("a log");

    assert_eq!((last.as_str(), none.as_str()), ("line 8\nline 9\n", ""));
    assert!(since.contains("line 5\n") && since.contains("line 9\n"), "{since}");
    assert!(until.contains("line 1\n") && until.contains("line 5\n"), "{until}");
    if moments[3] < moments[4] {
        assert!(!since.contains("line 4\n"), "{since}");
    }
    if moments[5] > moments[4] {
        assert!(!until.contains("line 6\n"), "{until}");
    }
    assert_eq!((short.text.as_str(), short.cut), (" 7\nline 8\nline 9\n", true));
}

#[tokio::test]
async fn a_followed_log_goes_on_until_the_container_ends() {
    let docker = docker().await;
    let made =
        Outsider::run("follow", &[], "echo first; while [ ! -e /tmp/go ]; do sleep 0.02; done; echo last");
    let mut log = docker.logs(&made.id, LogsQuery { follow: true, ..Default::default() });

    let first = timeout(PATIENCE, log.next()).await.expect("at once").expect("an item").expect("a line");
    outside(&["exec", &made.id, "touch", "/tmp/go"]);
    let rest: Vec<LogChunk> = timeout(PATIENCE, log.try_collect()).await.expect("ends").expect("a log");

    assert_eq!(first.text(), "first\n");
    assert_eq!(joined(&rest, LogSource::Stdout), b"last\n");
}

#[tokio::test]
async fn the_log_of_a_terminal_is_one() {
    let docker = docker().await;
    let made = Outsider::run("terminal", &["--tty"], "echo out; echo err >&2");
    docker.wait(&made.id).await.expect("ends");

    let chunks: Vec<LogChunk> =
        docker.logs(&made.id, LogsQuery::default()).try_collect().await.expect("a log");

    assert!(chunks.iter().all(|chunk| chunk.source == LogSource::Terminal), "{chunks:?}");
    assert_eq!(joined(&chunks, LogSource::Terminal), b"out\r\nerr\r\n");
}

#[tokio::test]
async fn b6_a_container_without_a_log_says_so() {
    let docker = docker().await;
    let made = Outsider::run("none", &["--log-driver", "none"], "echo lost");
    docker.wait(&made.id).await.expect("ends");

    let error = docker.log_text(&made.id, LogsQuery::default(), 1000).await;

    // Newer Engines give an empty log, older ones an error.
    match error {
        Err(DockerError::Refused { message }) => assert!(message.contains("logging driver"), "{message}"),
        Ok(text) => assert!(text.text.is_empty() || text.text.contains("logging driver"), "{text:?}"),
        Err(other) => panic!("{other:?}"),
    }
}
