//! Engines that are absent, silent, or hang up.

use claw_core::{Coded, ErrorCode};
use claw_docker::DockerError;
use tokio::{io::AsyncWriteExt, net::UnixListener};

use crate::lab::{at, head as request};

#[tokio::test]
async fn without_an_engine_the_error_says_where_it_was_looked_for_and_how_to_start_one() {
    let folder = tempfile::tempdir().expect("a folder");
    let socket = folder.path().join("docker.sock");

    let absent = at(&socket).info().await.expect_err("nobody there");
    drop(UnixListener::bind(&socket).expect("bound"));
    let left_over = at(&socket).info().await.expect_err("nobody listens");

    for error in [absent, left_over] {
        let text = error.to_string();
        assert!(matches!(error, DockerError::Unavailable { .. }), "{error:?}");
        assert_eq!(error.code(), ErrorCode::DockerError);
        assert!(text.contains(socket.to_str().expect("a plain path")), "{text}");
        assert!(text.contains("systemctl start docker"), "{text}");
    }
}

#[tokio::test]
async fn a_handle_made_before_the_engine_works_once_it_is_there() {
    let folder = tempfile::tempdir().expect("a folder");
    let socket = folder.path().join("docker.sock");
    let docker = at(&socket);
    docker.info().await.expect_err("nobody there yet");

    let listener = UnixListener::bind(&socket).expect("bound");
    let engine = async {
        let (mut stream, _) = listener.accept().await.expect("a caller");
        let request = request(&mut stream).await;
        let answer = "HTTP/1.1 404 Not Found\r\nContent-Type: application/json\r\nContent-Length: 27\r\n\r\n{\"message\":\"no such image\"}";
        stream.write_all(answer.as_bytes()).await.expect("answered");
        request
    };
    let (request, image) = tokio::join!(engine, docker.image("claw-sandbox:latest"));

    assert_eq!(image.expect("asked"), None);
    // The client's own version would be too new for an older Engine, which would then refuse every call.
    assert!(request.starts_with("GET /images/claw-sandbox:latest/json "), "{request}");
}

#[tokio::test(start_paused = true)]
async fn an_engine_that_accepts_and_says_nothing_counts_as_unavailable() {
    let folder = tempfile::tempdir().expect("a folder");
    let socket = folder.path().join("docker.sock");
    let _listener = UnixListener::bind(&socket).expect("bound");

    let error = at(&socket).state("anything").await.expect_err("no answer");

    assert!(error.is_unavailable() && error.to_string().contains("no answer within 30 s"), "{error}");
}

#[tokio::test]
async fn an_engine_that_hangs_up_ends_a_wait() {
    let folder = tempfile::tempdir().expect("a folder");
    let socket = folder.path().join("docker.sock");
    let listener = UnixListener::bind(&socket).expect("bound");
    let docker = at(&socket);

    let engine = async {
        let (mut stream, _) = listener.accept().await.expect("a caller");
        request(&mut stream).await;
        let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n";
        stream.write_all(head.as_bytes()).await.expect("answered");
    };
    let ((), ended) = tokio::join!(engine, docker.wait("anything"));

    let error = ended.expect_err("no exit code came");
    assert!(error.is_unavailable(), "{error:?}");
}

#[tokio::test]
async fn an_answer_that_is_no_json_is_called_unreadable() {
    let folder = tempfile::tempdir().expect("a folder");
    let socket = folder.path().join("docker.sock");
    let listener = UnixListener::bind(&socket).expect("bound");
    let docker = at(&socket);

    let engine = async {
        let (mut stream, _) = listener.accept().await.expect("a caller");
        request(&mut stream).await;
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello").await.expect("answered");
    };
    let ((), state) = tokio::join!(engine, docker.state("anything"));

    assert!(matches!(state, Err(DockerError::Unreadable { .. })), "{state:?}");
}

#[tokio::test]
async fn a_name_that_would_address_something_else_never_leaves_the_house() {
    let folder = tempfile::tempdir().expect("a folder");
    let docker = at(&folder.path().join("docker.sock"));

    for error in [
        docker.remove_force("../images/claw-sandbox").await.expect_err("bad name"),
        docker.remove_volume("x?force=1").await.expect_err("bad name"),
        docker.image("../containers").await.map(|_| ()).expect_err("bad name"),
    ] {
        assert!(matches!(error, DockerError::BadName { .. }), "{error:?}");
    }
}
