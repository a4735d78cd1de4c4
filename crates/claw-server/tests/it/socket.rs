//! The server on a real socket.

use std::{net::SocketAddr, time::Duration};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
    time::timeout,
};
use tokio_util::sync::CancellationToken;

use crate::lab::{Lab, PATIENCE};

struct Served {
    lab: Lab,
    address: SocketAddr,
    stop: CancellationToken,
    serving: JoinHandle<std::io::Result<()>>,
}

impl Served {
    async fn new() -> Self {
        let lab = Lab::new().await;
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let stop = CancellationToken::new();
        let serving = tokio::spawn(claw_server::serve(listener, lab.router.clone(), stop.clone()));
        Self { lab, address, stop, serving }
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.expect("the server accepts")
    }

    async fn request(&self, head: &str) -> TcpStream {
        let mut stream = self.connect().await;
        let head =
            format!("{head} HTTP/1.1\r\nHost: {}\r\nX-API-Key: {}\r\n\r\n", self.address, self.lab.admin);
        stream.write_all(head.as_bytes()).await.expect("the server reads");
        stream
    }

    async fn stopped(self) -> Duration {
        let asked = tokio::time::Instant::now();
        self.stop.cancel();
        let ended = timeout(PATIENCE, self.serving).await.expect("the server ends in time");
        ended.expect("the server does not panic").expect("the server ends well");
        asked.elapsed()
    }
}

async fn read_until(stream: &mut TcpStream, end: &str) -> String {
    let mut text = String::new();
    let mut buffer = vec![0; 64 * 1024];
    let mut searched = 0;
    while !text[searched..].contains(end) {
        // What was searched is not searched again, but for a match that was cut.
        searched = text.floor_char_boundary(text.len().saturating_sub(end.len()));
        let read = timeout(PATIENCE, stream.read(&mut buffer)).await.expect("bytes in time");
        let count = read.expect("a readable answer");
        assert!(count > 0, "the connection ended after: {text}");
        text.push_str(&String::from_utf8_lossy(&buffer[..count]));
    }
    text
}

async fn read_to_end(stream: &mut TcpStream) -> String {
    let mut text = Vec::new();
    timeout(PATIENCE, stream.read_to_end(&mut text))
        .await
        .expect("an end in time")
        .expect("a readable answer");
    String::from_utf8_lossy(&text).into_owned()
}

#[tokio::test]
async fn requests_are_answered_one_after_the_other_on_one_connection() {
    let served = Served::new().await;
    let mut stream = served.request("GET /api/v1/jobs").await;
    assert!(read_until(&mut stream, "\"total\":0").await.starts_with("HTTP/1.1 200 OK"));

    let again = format!("GET /health HTTP/1.1\r\nHost: {}\r\n\r\n", served.address);
    stream.write_all(again.as_bytes()).await.expect("the server reads");

    read_until(&mut stream, "{\"status\":\"ok\"}").await;
}

#[tokio::test]
async fn event_streams_and_idle_connections_end_at_once_when_the_server_stops() {
    let served = Served::new().await;
    let mut idle = served.request("GET /health").await;
    read_until(&mut idle, "\"ok\"").await;
    let mut events = served.request("GET /api/v1/events/jobs").await;
    read_until(&mut events, "event: connected").await;
    served.lab.job("x").await;
    read_until(&mut events, "event: job_update").await;

    let took = served.stopped().await;

    assert!(took < Duration::from_secs(3), "{took:?}");
    assert!(read_to_end(&mut events).await.ends_with("0\r\n\r\n"), "the stream ends in order");
    assert_eq!(read_to_end(&mut idle).await, "");
}

#[tokio::test]
async fn what_is_no_http_harms_nobody() {
    let served = Served::new().await;
    let long = format!("GET / HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(1 << 20));
    let many = format!("GET / HTTP/1.1\r\n{}\r\n", "X: y\r\n".repeat(1000));
    for garbage in ["\0\0\0\0", "\r\n\r\n\r\n", "GET\r\n\r\n", "GET / HTTP/9.9\r\n\r\n", &long, &many] {
        let mut stream = served.connect().await;
        // The server may hang up before everything is written.
        let _ = stream.write_all(garbage.as_bytes()).await;
        let _ = stream.shutdown().await;
        let mut answer = Vec::new();
        let _ = timeout(PATIENCE, stream.read_to_end(&mut answer)).await.expect("an end in time");
        assert!(!answer.starts_with(b"HTTP/1.1 2"), "{}", String::from_utf8_lossy(&answer));
    }

    let mut stream = served.request("GET /health").await;
    read_until(&mut stream, "\"ok\"").await;
}

#[tokio::test]
async fn an_address_in_the_request_line_is_judged_like_the_host_header() {
    let served = Served::new().await;

    let mut stream = served.request("GET http://evil.example/health").await;

    read_until(&mut stream, "HOST_NOT_ALLOWED").await;
}

#[tokio::test]
async fn a_reader_that_stops_reading_holds_up_nobody_else() {
    let served = Served::new().await;
    let id = served.lab.job("x").await;
    let line = "x".repeat(100_000);
    for _ in 0..100 {
        served.lab.log(id, &[line.as_str(); 2]).await;
    }
    let mut stuck = served.request(&format!("GET /api/v1/jobs/{id}/logs/stream")).await;
    read_until(&mut stuck, "event: log").await;

    let mut other = served.request(&format!("GET /api/v1/jobs/{id}/logs/stream")).await;
    read_until(&mut other, "id: 200\n").await;

    assert!(served.stopped().await < Duration::from_secs(15));
}
