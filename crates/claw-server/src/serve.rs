//! The router on a socket: every connection bounded in number, header time and shutdown.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use axum::{Router, body::Body, http::Request};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    task::JoinSet,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

use crate::{extract::Connection, network::plain, rooms::Rooms, slow::Impatient};

/// Connections open at the same time. Further ones wait in the system's queue.
const MAX_CONNECTIONS: usize = 1024;

/// Connections of one address at the same time, so that one client cannot take them all. Further ones are closed.
const MAX_CONNECTIONS_EACH: usize = 256;

/// How long the other side may take nothing of what is sent to it.
const WRITE_TIME: Duration = Duration::from_secs(30);

/// Header fields of a request.
const MAX_HEADERS: usize = 100;

/// Bytes of a request's head.
const MAX_HEAD_BYTES: usize = 64 * 1024;

/// How long the head of a request may take, and how long a connection may wait for its next one.
const HEAD_TIME: Duration = Duration::from_secs(30);

/// How long requests that run when the server is told to stop may take to end.
const DRAIN_TIME: Duration = Duration::from_secs(10);

/// Pause after a failed accept, which means that the system is out of something.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Answers requests until `stop` is cancelled; then ends event streams, lets other requests end for ten seconds, and
/// returns.
///
/// # Errors
///
/// Returns an error if the listener has no address.
pub async fn serve(listener: TcpListener, router: Router, stop: CancellationToken) -> io::Result<()> {
    let address = listener.local_addr()?;
    tracing::info!(%address, "listening");
    let room = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let rooms = Rooms::new(MAX_CONNECTIONS_EACH);
    let mut connections = JoinSet::new();
    while let Some((stream, client, place)) = next(&listener, &room, &stop, &mut connections).await {
        // The address is given to as many as the limit lets in; loopback is the house itself, or a proxy of it.
        let client = plain(client.ip());
        let own = match client.is_loopback() {
            true => None,
            false => match rooms.enter(client) {
                Some(room) => Some(room),
                None => continue,
            },
        };
        let connection = Connection { client, stop: stop.clone() };
        metrics::gauge!("claw_http_connections").increment(1.0);
        let router = router.clone();
        connections.spawn(async move {
            converse(stream, router, connection).await;
            drop((place, own));
            metrics::gauge!("claw_http_connections").decrement(1.0);
        });
    }
    drop(listener);
    let drained = timeout(DRAIN_TIME, async { while connections.join_next().await.is_some() {} }).await;
    if drained.is_err() {
        tracing::warn!(
            connections = connections.len(),
            "closing connections whose requests did not end in time"
        );
        connections.shutdown().await;
    }
    Ok(())
}

type Place = tokio::sync::OwnedSemaphorePermit;

/// Returns the next connection; `None` when it is time to stop.
async fn next(
    listener: &TcpListener,
    room: &Arc<Semaphore>,
    stop: &CancellationToken,
    connections: &mut JoinSet<()>,
) -> Option<(TcpStream, SocketAddr, Place)> {
    loop {
        let accepted = async {
            let place = Arc::clone(room).acquire_owned().await.map_err(io::Error::other)?;
            let (stream, client) = listener.accept().await?;
            Ok::<_, io::Error>((stream, client, place))
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

/// Answers the requests of one connection until it ends or the server stops.
async fn converse(stream: TcpStream, router: Router, connection: Connection) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "could not turn off Nagle's algorithm");
    }
    let stop = connection.stop.clone();
    let service = service_fn(move |request: Request<Incoming>| {
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(connection.clone());
        router.clone().oneshot(request)
    });
    let http = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME)
        .max_headers(MAX_HEADERS)
        .max_buf_size(MAX_HEAD_BYTES)
        .serve_connection(TokioIo::new(Impatient::new(stream, WRITE_TIME)), service);
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
