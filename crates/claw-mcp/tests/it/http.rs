//! Streamable HTTP with clients that behave badly.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use claw_mcp::{
    Fixed, Hosts, McpService, Options,
    http::{ConnectionLimits, HttpLimits, HttpService, serve},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    time::timeout,
};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

use crate::lab::PATIENCE;

async fn server(limits: ConnectionLimits) -> (SocketAddr, AbortOnDropHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("an address");
    let tools = McpService::new(Fixed(Arc::new(Hosts::many([]))), Options::default());
    let stop = CancellationToken::new();
    let service = HttpService::new(move || tools.for_session(), HttpLimits::default(), stop.clone());
    let serving = serve(listener, limits, stop, move |request| {
        let service = service.clone();
        async move { service.answer(request).await }
    });
    (address, AbortOnDropHandle::new(tokio::spawn(async move { serving.await.expect("it serves") })))
}

/// A request whose answer is many times as long.
fn reading() -> String {
    let body = r#"{"jsonrpc":"2.0","id":1,"method":"resources/read","params":{"uri":"skill://clawmachine/SKILL.md",
        "_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28",
        "io.modelcontextprotocol/clientInfo":{"name":"test","version":"1"},
        "io.modelcontextprotocol/clientCapabilities":{}}}}"#;
    format!(
        "POST /mcp HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n\
         accept: application/json, text/event-stream\r\nmcp-protocol-version: 2026-07-28\r\n\
         mcp-method: resources/read\r\nmcp-name: skill://clawmachine/SKILL.md\r\n\
         content-length: {}\r\n\r\n{body}",
        body.len()
    )
}

#[tokio::test]
async fn t32_a_client_that_reads_nothing_is_given_up_and_nobody_waits_for_it() {
    let (address, _serving) =
        server(ConnectionLimits { write_time: Duration::from_millis(200), ..ConnectionLimits::default() })
            .await;
    let request = reading();
    let mut silent = TcpStream::connect(address).await.expect("a connection");

    let given_up = timeout(PATIENCE, async { while silent.write_all(request.as_bytes()).await.is_ok() {} });
    let others = async {
        let mut other = TcpStream::connect(address).await.expect("a connection");
        for _ in 0..20 {
            other.write_all(request.as_bytes()).await.expect("it reads");
            let mut answer = Vec::new();
            while !answer.ends_with(b"}") {
                assert_ne!(other.read_buf(&mut answer).await.expect("it answers"), 0);
            }
            assert!(answer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&answer));
        }
    };
    let (given_up, others) = tokio::join!(given_up, timeout(PATIENCE, others));

    given_up.expect("the silent one is given up");
    others.expect("the others are answered");
}

#[tokio::test]
async fn t32_connections_beyond_the_limit_wait_their_turn() {
    let (address, _serving) =
        server(ConnectionLimits { connections: 1, ..ConnectionLimits::default() }).await;
    let request = reading();
    let first = TcpStream::connect(address).await.expect("a connection");
    let mut second = TcpStream::connect(address).await.expect("it waits in the system's queue");
    second.write_all(request.as_bytes()).await.expect("the system takes it");

    drop(first);

    let mut answer = [0; 12];
    timeout(PATIENCE, second.read_exact(&mut answer)).await.expect("in time").expect("an answer");
    assert_eq!(&answer, b"HTTP/1.1 200");
}
