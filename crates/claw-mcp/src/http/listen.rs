//! Connections of a program that listens itself: bounded in number, size, time and shutdown.

use std::{future::Future, io, sync::Arc, time::Duration};

use http::{Request, Response};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    task::JoinSet,
    time::{sleep, timeout},
};
use tokio_io_timeout::TimeoutStream;
use tokio_util::sync::CancellationToken;

use super::HttpBody;

/// Pause after a failed accept, which means that the system is out of something.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What a listener gives to connections.
#[derive(Clone, Debug)]
pub struct ConnectionLimits {
    /// Connections open at the same time. Further ones wait in the system's queue.
    pub connections: usize,
    /// Bytes of a request's head.
    pub head_bytes: usize,
    /// How long the head of a request may take, and how long a connection may wait for its next one.
    pub head_time: Duration,
    /// How long the other side may take nothing of what is sent to it.
    pub write_time: Duration,
    /// How long requests that run when the program is told to stop may take to end.
    pub drain_time: Duration,
}

impl Default for ConnectionLimits {
    fn default() -> Self {
        Self {
            connections: 256,
            head_bytes: 16 * 1024,
            head_time: Duration::from_secs(120),
            write_time: Duration::from_secs(30),
            drain_time: Duration::from_secs(10),
        }
    }
}

/// Answers requests until `stop` is cancelled; lets those that run end for a while, and returns.
///
/// # Errors
///
/// The listener has no address.
pub async fn serve<F, A>(
    listener: TcpListener,
    limits: ConnectionLimits,
    stop: CancellationToken,
    answer: F,
) -> io::Result<()>
where
    F: Fn(Request<Incoming>) -> A + Clone + Send + Sync + 'static,
    A: Future<Output = Response<HttpBody>> + Send + 'static,
{
    let address = listener.local_addr()?;
    tracing::info!(%address, "listening");
    let room = Arc::new(Semaphore::new(limits.connections));
    let limits = Arc::new(limits);
    let mut connections = JoinSet::new();
    while let Some((stream, place)) = next(&listener, &room, &stop, &mut connections).await {
        let (answer, limits, stop) = (answer.clone(), Arc::clone(&limits), stop.clone());
        connections.spawn(async move {
            converse(stream, answer, &limits, stop).await;
            drop(place);
        });
    }
    drop(listener);
    let drained =
        timeout(limits.drain_time, async { while connections.join_next().await.is_some() {} }).await;
    if drained.is_err() {
        connections.shutdown().await;
    }
    Ok(())
}

/// Returns the next connection; `None` when it is time to stop.
async fn next(
    listener: &TcpListener,
    room: &Arc<Semaphore>,
    stop: &CancellationToken,
    connections: &mut JoinSet<()>,
) -> Option<(TcpStream, OwnedSemaphorePermit)> {
    loop {
        let accepted = async {
            let place = Arc::clone(room).acquire_owned().await.map_err(io::Error::other)?;
            let (stream, _client) = listener.accept().await?;
            Ok::<_, io::Error>((stream, place))
        };
        tokio::select! {
            biased;
            () = stop.cancelled() => return None,
            Some(_ended) = connections.join_next(), if !connections.is_empty() => {}
            accepted = accepted => match accepted {
                Ok(connection) => return Some(connection),
                Err(error) => {
                    tracing::warn!(%error, "could not accept a connection");
                    sleep(ACCEPT_PAUSE).await;
                }
            },
        }
    }
}

/// Answers the requests of one connection until it ends or it is time to stop.
async fn converse<F, A>(stream: TcpStream, answer: F, limits: &ConnectionLimits, stop: CancellationToken)
where
    F: Fn(Request<Incoming>) -> A,
    A: Future<Output = Response<HttpBody>>,
{
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "could not turn off Nagle's algorithm");
    }
    let service = service_fn(|request| {
        let answering = answer(request);
        async move { Ok::<_, std::convert::Infallible>(answering.await) }
    });
    // A session whose reader sleeps would otherwise keep its place for ever.
    let mut patient = TimeoutStream::new(stream);
    patient.set_write_timeout(Some(limits.write_time));
    let http = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head_time)
        .max_buf_size(limits.head_bytes)
        .serve_connection(TokioIo::new(Box::pin(patient)), service);
    tokio::pin!(http);
    let ended = tokio::select! {
        ended = http.as_mut() => ended,
        () = stop.cancelled() => {
            http.as_mut().graceful_shutdown();
            http.await
        }
    };
    if let Err(error) = ended {
        // The other side went away, or sent what is no HTTP.
        tracing::debug!(%error, "a connection ended early");
    }
}
