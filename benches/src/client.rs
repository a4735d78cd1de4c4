//! A lean HTTP client for loopback: one connection, requests made ahead as bytes, no header read that is not needed.
//! It costs the machine a few microseconds a request, so that two cores are left to the server.

use std::{io, net::SocketAddr, path::Path};

use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpStream, UnixStream},
};

use crate::Outcome;

/// Largest answer that is read.
const MAX_ANSWER: usize = 64 << 20;

/// An answer. The body stays in the connection's buffer until the next request.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    /// Returns the body as JSON, if the status says that all is well.
    pub(crate) fn json(&self) -> Outcome<Value> {
        if !(200..300).contains(&self.status) {
            return Err(format!("status {}: {}", self.status, String::from_utf8_lossy(&self.body)).into());
        }
        if self.body.is_empty() { Ok(Value::Null) } else { Ok(serde_json::from_slice(&self.body)?) }
    }
}

/// A connection that stays open.
#[derive(Debug)]
pub(crate) struct Client<S> {
    stream: S,
    received: Vec<u8>,
    /// Headers that go with every request.
    headers: String,
}

impl Client<TcpStream> {
    /// Connects to a server on this machine; `key` goes with every request.
    pub(crate) async fn connect(address: SocketAddr, key: &str) -> io::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let headers = format!("host: {address}\r\nx-api-key: {key}\r\n");
        Ok(Self { stream, received: Vec::with_capacity(16 * 1024), headers })
    }
}

impl Client<UnixStream> {
    /// Connects to a unix socket.
    pub(crate) async fn connect_unix(path: &Path) -> io::Result<Self> {
        let stream = UnixStream::connect(path).await?;
        Ok(Self { stream, received: Vec::new(), headers: "host: localhost\r\n".to_owned() })
    }
}

impl<S: AsyncReadExt + AsyncWriteExt + Unpin> Client<S> {
    /// Returns the same connection with more headers on every request.
    pub(crate) fn with_headers(mut self, headers: &[(&str, &str)]) -> Self {
        for (name, value) in headers {
            self.headers.push_str(&format!("{name}: {value}\r\n"));
        }
        self
    }

    /// Returns a request as bytes, to be sent as often as one likes.
    pub(crate) fn request(&self, method: &str, path: &str, body: Option<&str>) -> Vec<u8> {
        let headers = &self.headers;
        match body {
            None => format!("{method} {path} HTTP/1.1\r\n{headers}\r\n"),
            Some(body) => {
                let length = body.len();
                format!(
                    "{method} {path} HTTP/1.1\r\n{headers}content-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
                )
            }
        }
        .into_bytes()
    }

    /// Gets a path as JSON.
    pub(crate) async fn get(&mut self, path: &str) -> Outcome<Value> {
        let request = self.request("GET", path, None);
        self.send(&request).await?.json()
    }

    /// Posts JSON and returns the JSON of the answer.
    pub(crate) async fn post(&mut self, path: &str, body: &Value) -> Outcome<Value> {
        let request = self.request("POST", path, Some(&body.to_string()));
        self.send(&request).await?.json()
    }

    /// Sends a request and reads the whole answer.
    pub(crate) async fn send(&mut self, request: &[u8]) -> io::Result<Answer> {
        let (status, body) = self.exchange(request).await?;
        let body = match body {
            Body::Sized(end) => {
                while self.received.len() < end {
                    self.more().await?;
                }
                self.received.drain(..end).collect()
            }
            Body::Chunked => self.chunks().await?,
        };
        Ok(Answer { status, body })
    }

    /// Sends a request and reads the whole answer, of which only the status is wanted.
    pub(crate) async fn status(&mut self, request: &[u8]) -> io::Result<u16> {
        match self.exchange(request).await? {
            (status, Body::Sized(end)) => {
                while self.received.len() < end {
                    self.more().await?;
                }
                self.received.drain(..end);
                Ok(status)
            }
            (status, Body::Chunked) => self.chunks().await.map(|_| status),
        }
    }

    /// Sends a request and reads the head of an answer that goes on for ever.
    pub(crate) async fn open(mut self, request: &[u8]) -> io::Result<(u16, S, Vec<u8>)> {
        let (status, _) = self.exchange(request).await?;
        Ok((status, self.stream, self.received))
    }

    /// Leaves the beginning of the body in the buffer.
    async fn exchange(&mut self, request: &[u8]) -> io::Result<(u16, Body)> {
        self.received.clear();
        self.stream.write_all(request).await?;
        loop {
            self.more().await?;
            if let Some(end) = self.received.windows(4).position(|four| four == b"\r\n\r\n") {
                let head = parse_head(&self.received[..end]);
                self.received.drain(..end + 4);
                return head.ok_or_else(|| io::Error::other("the answer is no HTTP"));
            }
        }
    }

    async fn chunks(&mut self) -> io::Result<Vec<u8>> {
        let mut body = Vec::new();
        loop {
            let line = loop {
                if let Some(end) = self.received.windows(2).position(|two| two == b"\r\n") {
                    break self.received.drain(..end + 2).collect::<Vec<_>>();
                }
                self.more().await?;
            };
            let size =
                std::str::from_utf8(&line).ok().and_then(|line| usize::from_str_radix(line.trim(), 16).ok());
            let size = size.ok_or_else(|| io::Error::other("a chunk of the answer has no size"))?;
            while self.received.len() < size + 2 {
                self.more().await?;
            }
            body.extend(self.received.drain(..size + 2).take(size));
            if size == 0 {
                return Ok(body);
            }
        }
    }

    async fn more(&mut self) -> io::Result<()> {
        if self.received.len() > MAX_ANSWER {
            return Err(io::Error::other("the answer is larger than anything that is asked for here"));
        }
        match self.stream.read_buf(&mut self.received).await? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }
}

/// How the end of a body is known.
enum Body {
    Sized(usize),
    Chunked,
}

fn parse_head(head: &[u8]) -> Option<(u16, Body)> {
    let head = std::str::from_utf8(head).ok()?;
    let mut lines = head.split("\r\n");
    let status: u16 = lines.next()?.split(' ').nth(1)?.parse().ok()?;
    let mut body = Body::Sized(0);
    for line in lines {
        let (name, value) = line.split_once(':')?;
        if name.eq_ignore_ascii_case("content-length") {
            body = Body::Sized(value.trim().parse().ok()?);
        } else if name.eq_ignore_ascii_case("transfer-encoding") {
            body = Body::Chunked;
        }
    }
    Some((status, body))
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn answers_to(script: &'static [u8], requests: usize) -> Vec<Answer> {
        let (near, mut far) = UnixStream::pair().expect("a pair");
        let playing = tokio::spawn(async move {
            let mut asked = [0; 1024];
            // All at once, as a fast server would: what belongs to the next answer must not get lost or mixed up.
            for part in script.split(|byte| *byte == b'|') {
                assert!(far.read(&mut asked).await.expect("read") > 0);
                far.write_all(part).await.expect("written");
            }
        });
        let mut client = Client { stream: near, received: Vec::new(), headers: String::new() };
        let mut answers = Vec::new();
        for _ in 0..requests {
            let request = client.request("GET", "/", None);
            answers.push(client.send(&request).await.expect("an answer"));
        }
        playing.await.expect("played");
        answers
    }

    #[tokio::test]
    async fn bodies_of_every_kind_are_read_to_their_end() {
        let answers = answers_to(
            b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello|HTTP/1.1 204 No Content\r\n\r\n|\
              HTTP/1.1 201 Created\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n",
            3,
        )
        .await;

        let seen: Vec<_> = answers.iter().map(|answer| (answer.status, answer.body.as_slice())).collect();
        assert_eq!(seen, [(200, &b"hello"[..]), (204, b""), (201, b"abcde")]);
    }
}
