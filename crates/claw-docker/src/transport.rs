//! How one request gets to the Engine and its answer back.
//!
//! Each request has a connection of its own: one that was left by a restart of the Engine can then never be used for
//! the next. All bytes of an answer are counted, since the client library reads whatever comes into memory.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bollard::{BollardRequest, errors::Error as ClientError};
use http::{HeaderValue, Uri, header::HOST, uri::PathAndQuery};
use hyper::{Response, body::Incoming, client::conn::http1};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::endpoint::{Endpoint, Stream};

/// Longest answer that is read into memory, in bytes. A list of thousands of containers takes a tenth of it.
pub(crate) const MAX_ANSWER_BYTES: u64 = 32 << 20;

/// Sends one request. With `most`, the connection fails as soon as more bytes than that have come.
pub(crate) async fn send(
    endpoint: Arc<Endpoint>,
    request: BollardRequest,
    most: Option<u64>,
) -> Result<Response<Incoming>, ClientError> {
    let request = addressed(request, endpoint.host())?;
    let stream = Metered { inner: endpoint.open().await?, left: most };
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    // Belongs to the answer: it ends when the answer's body was read or dropped, or when nobody waits for one.
    tokio::spawn(connection.with_upgrades());
    Ok(sender.send_request(request).await?)
}

/// Reduces the address of a request to its path, which is what is sent when there is no proxy, and names the host.
fn addressed(mut request: BollardRequest, host: &str) -> Result<BollardRequest, ClientError> {
    let path = request.uri().path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"));
    *request.uri_mut() = Uri::from(path);
    let host = HeaderValue::from_str(host).map_err(io::Error::other)?;
    request.headers_mut().insert(HOST, host);
    Ok(request)
}

/// Told by a connection over which more came than an answer may be long.
#[derive(Debug, thiserror::Error)]
#[error("it is longer than {} MiB", MAX_ANSWER_BYTES >> 20)]
pub(crate) struct TooLong;

/// A connection that counts what comes.
struct Metered {
    inner: Stream,
    left: Option<u64>,
}

impl AsyncRead for Metered {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(self.inner.as_mut().poll_read(cx, buffer))?;
        let came = (buffer.filled().len() - before) as u64;
        if let Some(left) = &mut self.left {
            *left = left.checked_sub(came).ok_or_else(|| io::Error::other(TooLong))?;
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Metered {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.inner.as_mut().poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.inner.as_mut().poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.inner.as_mut().poll_shutdown(cx)
    }
}
