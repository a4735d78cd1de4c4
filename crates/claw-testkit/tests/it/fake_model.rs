use std::{process::Stdio, time::Duration};

use claw_testkit::{TempDir, wait_until};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    process::Command,
};

#[tokio::test]
#[expect(clippy::disallowed_methods, reason = "starts this crate's own program")]
async fn the_program_tells_its_port_answers_and_ends_by_itself() {
    let folder = TempDir::new();
    let file = folder.join("port");
    let mut program = Command::new(env!("CARGO_BIN_EXE_claw-fake-model"))
        .args(["--max-seconds", "2", "--port-file"])
        .arg(&file)
        .stdout(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .expect("the program starts");
    wait_until("the port is written", Duration::from_secs(10), async || file.exists()).await;

    let body = r#"{"messages":[{"role":"user","content":"hello"}]}"#;
    let head = format!(
        "POST /v1/messages HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    let mut stream =
        TcpStream::connect(format!("127.0.0.1:{}", folder.read("port"))).await.expect("it listens");
    stream.write_all(format!("{head}{body}").as_bytes()).await.expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("answered");
    let status = tokio::time::timeout(Duration::from_secs(30), program.wait()).await;

    assert!(answer.contains("offline scripted model"), "{answer}");
    assert!(status.expect("it ends by itself").expect("it can be waited for").success());
}
