//! Where an Engine is, and how a connection to it is opened.

use std::{
    fmt, io,
    path::{Path, PathBuf},
    pin::Pin,
    sync::Arc,
    time::Duration,
};

use rustls::pki_types::ServerName;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, UnixStream},
};
use tokio_rustls::TlsConnector;

use crate::{DockerError, tls};

/// Longest time until a connection stands. What listens on the same machine or network answers at once or not at all.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);

/// After this long without a byte, the kernel asks whether the other machine is still there.
const KEEPALIVE_AFTER: Duration = Duration::from_secs(30);

/// A connection of any kind.
pub(crate) type Stream = Pin<Box<dyn Io>>;

/// What a connection can do.
pub(crate) trait Io: AsyncRead + AsyncWrite + Send {}

impl<T: AsyncRead + AsyncWrite + Send> Io for T {}

/// The address of an Engine.
pub(crate) struct Endpoint {
    /// As shown to people.
    shown: String,
    way: Way,
}

enum Way {
    Unix(PathBuf),
    Tcp(String),
    Tls { address: String, name: ServerName<'static>, connector: TlsConnector },
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

impl Endpoint {
    /// Reads an address. With a folder of certificates, TCP addresses are spoken to over TLS.
    pub(crate) fn parse(given: &str, certificates: Option<&Path>) -> Result<Self, DockerError> {
        let bad = || DockerError::BadEndpoint { endpoint: given.chars().take(200).collect() };
        let path = given.strip_prefix("unix://").unwrap_or(given);
        if Path::new(path).is_absolute() {
            return Ok(Self { shown: format!("unix://{path}"), way: Way::Unix(path.into()) });
        }
        let (scheme, address) = given.split_once("://").ok_or_else(bad)?;
        let address = address.trim_end_matches('/');
        let host = host_of(address).ok_or_else(bad)?;
        let way = match (scheme, certificates) {
            ("tcp" | "https", Some(folder)) => {
                let name = ServerName::try_from(host.to_owned()).map_err(|_| bad())?;
                let connector = TlsConnector::from(Arc::new(tls::client_config(folder)?));
                Way::Tls { address: address.to_owned(), name, connector }
            }
            ("https", None) => return Err(DockerError::NoCertificates { endpoint: given.to_owned() }),
            ("tcp" | "http", _) => Way::Tcp(address.to_owned()),
            _ => return Err(bad()),
        };
        Ok(Self { shown: given.to_owned(), way })
    }

    pub(crate) fn shown(&self) -> &str {
        &self.shown
    }

    /// What requests name as their host.
    pub(crate) fn host(&self) -> &str {
        match &self.way {
            // Any name does; an empty one is refused by some servers.
            Way::Unix(_) => "docker",
            Way::Tcp(address) | Way::Tls { address, .. } => address,
        }
    }

    /// Opens a connection.
    pub(crate) async fn open(&self) -> io::Result<Stream> {
        let late = |_| io::Error::new(io::ErrorKind::TimedOut, "no connection within 10 s");
        tokio::time::timeout(CONNECT_LIMIT, self.open_unbounded()).await.map_err(late)?
    }

    async fn open_unbounded(&self) -> io::Result<Stream> {
        match &self.way {
            Way::Unix(path) => {
                let stream = UnixStream::connect(path).await.map_err(|error| match error.kind() {
                    io::ErrorKind::NotFound => io::Error::new(error.kind(), "there is no such socket"),
                    _ => error,
                })?;
                Ok(Box::pin(stream))
            }
            Way::Tcp(address) => Ok(Box::pin(tcp(address).await?)),
            Way::Tls { address, name, connector } => {
                Ok(Box::pin(connector.connect(name.clone(), tcp(address).await?).await?))
            }
        }
    }
}

async fn tcp(address: &str) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    // A followed log or event stream may be silent for hours: without this, a machine that has gone is never missed.
    rustix::net::sockopt::set_socket_keepalive(&stream, true)?;
    rustix::net::sockopt::set_tcp_keepidle(&stream, KEEPALIVE_AFTER)?;
    Ok(stream)
}

/// Returns the host of `host:port`, without the brackets of an IPv6 address.
fn host_of(address: &str) -> Option<&str> {
    if address.contains(['/', '@', '?', '#', ' ']) {
        return None;
    }
    let (host, port) = address.rsplit_once(':')?;
    port.parse::<u16>().ok().filter(|port| *port != 0)?;
    let host = match host.strip_prefix('[') {
        Some(rest) => rest.strip_suffix(']')?,
        None if host.contains(':') => return None,
        None => host,
    };
    (!host.is_empty()).then_some(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usable_addresses_are_taken_without_asking_whether_anybody_listens() {
        for (given, shown, host) in [
            ("unix:///nowhere/docker.sock", "unix:///nowhere/docker.sock", "docker"),
            ("/nowhere/docker.sock", "unix:///nowhere/docker.sock", "docker"),
            ("tcp://127.0.0.1:2375", "tcp://127.0.0.1:2375", "127.0.0.1:2375"),
            ("tcp://[::1]:2375/", "tcp://[::1]:2375/", "[::1]:2375"),
            ("http://engine.example:2375", "http://engine.example:2375", "engine.example:2375"),
        ] {
            let endpoint = Endpoint::parse(given, None).expect("usable");
            assert_eq!((endpoint.shown(), endpoint.host()), (shown, host));
        }
    }

    #[test]
    fn other_addresses_are_refused_with_what_was_expected() {
        for given in [
            "",
            "docker.sock",
            "ssh://me@host",
            "tcp://host",
            "tcp://a@b:1",
            "tcp://a:b:1",
            "tcp://[::1:1",
            "tcp://host:0",
            "npipe:////./x",
        ] {
            let error = Endpoint::parse(given, None).expect_err(given).to_string();
            assert!(error.contains("unix:///path"), "{error}");
        }
    }

    #[test]
    fn tls_without_certificates_says_where_they_are_expected() {
        let error = Endpoint::parse("https://host:2376", None).expect_err("no certificates").to_string();
        assert!(error.contains("DOCKER_CERT_PATH"), "{error}");

        let folder = Path::new("/nowhere/certificates");
        let error = Endpoint::parse("tcp://host:2376", Some(folder)).expect_err("no folder").to_string();
        assert!(error.contains("/nowhere/certificates/ca.pem"), "{error}");
    }
}
