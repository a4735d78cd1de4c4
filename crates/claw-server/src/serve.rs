//! The router on a socket: connections bounded in number, size, time and shutdown.

use std::{
    fmt, io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use axum::{Router, body::Body, http::Request};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    task::JoinSet,
    time::{sleep, timeout},
};
use tokio_io_timeout::TimeoutStream;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tower::ServiceExt as _;

use crate::{
    extract::{BODY_TIME, Connection},
    measures::Counted,
    network::{TrustedProxies, party, plain},
    rooms::{Room, Rooms},
};

/// Pause after a failed accept, which means that the system is out of something.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What the server gives to connections. The defaults are the product's; tests lower them.
#[derive(Clone, Debug)]
pub struct ConnectionLimits {
    /// Connections open at the same time. Further ones wait in the system's queue.
    pub connections: usize,
    /// Connections of one party at the same time, so that one client cannot take them all: an address, or the network of
    /// an IPv6 address. Further ones are closed.
    pub connections_each: usize,
    /// Networks, as address and length of the prefix, whose connections are those of many clients: proxies. Loopback is
    /// one always, being the house itself or a proxy of it.
    pub shared: Vec<(IpAddr, u8)>,
    /// Header fields of a request.
    pub max_headers: usize,
    /// Bytes of a request's head.
    pub max_head_bytes: usize,
    /// How long the head of a request may take, and how long a connection may wait for its next one.
    pub head_time: Duration,
    /// How long a small body may take; a large one gets the time that a slow line needs for its length.
    pub body_time: Duration,
    /// How long the other side may take nothing of what is sent to it.
    pub write_time: Duration,
    /// How long requests that run when the server is told to stop may take to end.
    pub drain_time: Duration,
}

impl Default for ConnectionLimits {
    fn default() -> Self {
        Self {
            connections: 1024,
            connections_each: 256,
            shared: Vec::new(),
            max_headers: 100,
            max_head_bytes: 64 * 1024,
            head_time: Duration::from_secs(30),
            body_time: BODY_TIME,
            write_time: Duration::from_secs(30),
            drain_time: Duration::from_secs(10),
        }
    }
}

impl ConnectionLimits {
    /// Returns the defaults for a server behind these proxies.
    pub fn behind(proxies: &[(IpAddr, u8)]) -> Self {
        Self { shared: proxies.to_vec(), ..Self::default() }
    }
}

/// Like [`serve_within`] with the default limits.
///
/// # Errors
///
/// Returns an error if the listener has no address.
pub async fn serve(listener: TcpListener, router: Router, stop: CancellationToken) -> io::Result<()> {
    serve_within(listener, router, ConnectionLimits::default(), stop).await
}

/// Answers requests until `stop` is cancelled; then ends event streams, lets other requests end for a while, and
/// returns.
///
/// # Errors
///
/// Returns an error if the listener has no address.
pub async fn serve_within(
    listener: TcpListener,
    router: Router,
    limits: ConnectionLimits,
    stop: CancellationToken,
) -> io::Result<()> {
    let address = listener.local_addr()?;
    tracing::info!(%address, "listening");
    let room = Arc::new(Semaphore::new(limits.connections));
    let rooms = Rooms::new(limits.connections_each);
    let shared = TrustedProxies::new(&limits.shared);
    let limits = Arc::new(limits);
    let mut connections = JoinSet::new();
    let sockets = TaskTracker::new();
    while let Some((stream, peer, place)) = next(&listener, &room, &stop, &mut connections).await {
        let client = plain(peer.ip());
        let own = if client.is_loopback() || shared.holds(client) {
            None
        } else if let Some(own) = rooms.enter(party(client)) {
            Some(own)
        } else {
            metrics::counter!("claw_http_refused_connections_total").increment(1);
            continue;
        };
        let connection = Connection {
            client,
            stop: stop.clone(),
            body_time: limits.body_time,
            sockets: sockets.clone(),
            _place: Some(Arc::new(Place { _open: place, _own: own })),
        };
        let (router, limits) = (router.clone(), Arc::clone(&limits));
        connections.spawn(async move {
            let _open = Counted::new("claw_http_connections");
            converse(stream, router, connection, &limits).await;
        });
    }
    drop(listener);
    sockets.close();
    let drained = timeout(limits.drain_time, async {
        while connections.join_next().await.is_some() {}
        sockets.wait().await;
    })
    .await;
    if drained.is_err() {
        tracing::warn!(
            connections = connections.len(),
            "closing connections whose requests did not end in time"
        );
        connections.shutdown().await;
    }
    Ok(())
}

/// A connection's place among those that may be open, in all and of its party.
pub(crate) struct Place {
    _open: OwnedSemaphorePermit,
    _own: Option<Room<IpAddr>>,
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Place")
    }
}

/// Returns the next connection; `None` when it is time to stop.
async fn next(
    listener: &TcpListener,
    room: &Arc<Semaphore>,
    stop: &CancellationToken,
    connections: &mut JoinSet<()>,
) -> Option<(TcpStream, SocketAddr, OwnedSemaphorePermit)> {
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
async fn converse(stream: TcpStream, router: Router, connection: Connection, limits: &ConnectionLimits) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "could not turn off Nagle's algorithm");
    }
    let stop = connection.stop.clone();
    let service = service_fn(move |request: Request<Incoming>| {
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(connection.clone());
        router.clone().oneshot(request)
    });
    let mut patient = TimeoutStream::new(stream);
    patient.set_write_timeout(Some(limits.write_time));
    let http = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head_time)
        .max_headers(limits.max_headers)
        .max_buf_size(limits.max_head_bytes)
        .serve_connection(TokioIo::new(Box::pin(patient)), service)
        .with_upgrades();
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
