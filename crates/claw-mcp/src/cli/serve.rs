//! Serving clients, over the transport that was asked for, until they are gone or the program is told to stop.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
};

use bytes::Bytes;
use claw_core::{Clock as _, SystemClock};
use claw_mcp::{
    Fixed, Hosts, McpService, Options,
    http::{ConnectionLimits, Guard, GuardConfig, HttpBody, HttpLimits, HttpService},
    sse::{BaseUrl, SseLimits, SseService},
};
use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use rmcp::transport::io::stdio_pipes;
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
};
use tokio_util::sync::CancellationToken;

use super::{
    Problem,
    log::Log,
    settings::{Settings, VERSION},
};

type Service = McpService<Fixed>;

/// Serves clients.
///
/// # Errors
///
/// An unknown transport, an address that cannot be listened on.
pub(crate) async fn serve(settings: Settings, hosts: Hosts, log: &Log) -> Result<(), Problem> {
    let hosts = Arc::new(hosts);
    let options = Options { read_only: settings.read_only, version: VERSION.into() };
    let service = McpService::new(Fixed(Arc::clone(&hosts)), options);
    let stop = CancellationToken::new();
    let serving = async {
        let served = over(&settings, &service, log, &stop).await;
        stop.cancel();
        served
    };
    let ((), (), served) = tokio::join!(hosts.watch(stop.clone()), told_to_stop(&stop), serving);
    service.tasks().end();
    served
}

async fn over(
    settings: &Settings,
    service: &Service,
    log: &Log,
    stop: &CancellationToken,
) -> Result<(), Problem> {
    let failed = |problem: String| Problem::Words(format!("Server error: {problem}"));
    match settings.transport.as_str() {
        "stdio" => {
            log.line("Starting MCP server over stdio");
            let (reader, writer) = stdio_pipes();
            claw_mcp::talk(service.for_session(), reader, writer, stop.clone()).await;
            Ok(())
        }
        "http" => {
            let address = address(&settings.http_addr, settings.token.is_some());
            let (listener, address) =
                bind("HTTP", &address.map_err(failed)?, settings).await.map_err(failed)?;
            log.line(format_args!("Starting MCP server over HTTP at http://{address}/mcp"));
            let front = Front::new(settings, service, address, None, stop);
            front.serve(listener, stop).await.map_err(failed)
        }
        "sse" => {
            let open = settings.sse_addr_given && settings.token.is_some();
            let address = address(&settings.sse_addr, open);
            let (listener, address) =
                bind("SSE", &address.map_err(failed)?, settings).await.map_err(failed)?;
            let base = BaseUrl::read(&settings.sse_base_url);
            log.line(format_args!("Starting MCP server over SSE at http://{address}{}/sse", base.path()));
            let front = Front::new(settings, service, address, Some(base), stop);
            front.serve(listener, stop).await.map_err(failed)
        }
        unknown => Err(failed(format!("unknown transport: {unknown} (use 'stdio', 'http' or 'sse')"))),
    }
}

/// Returns when the program is told to stop, or stops by itself.
async fn told_to_stop(stop: &CancellationToken) {
    let signals = signal(SignalKind::interrupt())
        .and_then(|interrupt| Ok((interrupt, signal(SignalKind::terminate())?)));
    let Ok((mut interrupt, mut terminate)) = signals else { return stop.cancelled().await };
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
        () = stop.cancelled() => {}
    }
    stop.cancel();
}

/// Reads an address as Go does: without a host it is every one, though here only for those who show a token.
fn address(text: &str, open: bool) -> Result<String, String> {
    let (host, port) =
        text.rsplit_once(':').ok_or_else(|| format!("address {text}: missing port in address"))?;
    match host {
        "" if open => Ok(format!("{}:{port}", Ipv4Addr::UNSPECIFIED)),
        "" => Ok(format!("{}:{port}", Ipv4Addr::LOCALHOST)),
        _ => Ok(text.to_owned()),
    }
}

async fn bind(what: &str, address: &str, settings: &Settings) -> Result<(TcpListener, SocketAddr), String> {
    let failed = |error| format!("bind {what} address {address}: {error}");
    let addresses: Vec<_> = tokio::net::lookup_host(address).await.map_err(failed)?.collect();
    if settings.token.is_none() && !addresses.iter().all(|address| is_loopback(address.ip())) {
        return Err(format!(
            "bind {what} address {address}: others than this machine could reach it; give a token with -token-file or \
             CLAWMACHINE_TOKEN, or listen on 127.0.0.1"
        ));
    }
    let listener = TcpListener::bind(&*addresses).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    Ok((listener, address))
}

fn is_loopback(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_loopback(),
        IpAddr::V6(address) => address == Ipv6Addr::LOCALHOST,
    }
}

/// What stands in front of the services: who may speak here, and which path is whose.
struct Front {
    guard: Guard,
    /// Like the other without the token: what anybody may know.
    open_guard: Guard,
    mcp: HttpService<Service>,
    sse: Option<SseService<Service>>,
}

impl Front {
    fn new(
        settings: &Settings,
        service: &Service,
        listen: SocketAddr,
        base: Option<BaseUrl>,
        stop: &CancellationToken,
    ) -> Arc<Self> {
        let public = base.as_ref().and_then(BaseUrl::host).map(str::to_owned);
        let hosts = settings.allowed_hosts.iter().cloned().chain(public).collect();
        let open = GuardConfig { listen, hosts, origins: settings.allowed_origins.clone(), token: None };
        let guard = GuardConfig { token: settings.token.clone(), ..open.clone() };
        let for_mcp = service.for_session();
        let mcp = HttpService::new(move || for_mcp.for_session(), HttpLimits::default(), stop.clone());
        let sse = base.map(|base| {
            let service = service.for_session();
            SseService::new(move || service.for_session(), base, SseLimits::default(), stop.clone())
        });
        Arc::new(Self { guard: Guard::new(guard), open_guard: Guard::new(open), mcp, sse })
    }

    async fn serve(self: Arc<Self>, listener: TcpListener, stop: &CancellationToken) -> Result<(), String> {
        // Each session of SSE keeps one open.
        let limits = ConnectionLimits { connections: 512, ..ConnectionLimits::default() };
        let front = Arc::clone(&self);
        let answer = move |request| {
            let front = Arc::clone(&front);
            async move { front.answer(request).await }
        };
        let served = claw_mcp::http::serve(listener, limits, stop.clone(), answer).await;
        if let Some(sse) = &self.sse {
            sse.ended().await;
        }
        served.map_err(|error| error.to_string())
    }

    async fn answer(&self, request: Request<Incoming>) -> Response<HttpBody> {
        let (parts, body) = request.into_parts();
        let is_health = parts.uri.path() == "/healthz";
        let guard = if is_health { &self.open_guard } else { &self.guard };
        if let Err(refusal) = guard.check(&parts) {
            return *refusal;
        }
        let headers = parts.headers.clone();
        let request = Request::from_parts(parts, body);
        let mut response = if is_health { health() } else { self.route(request).await };
        guard.allow(&headers, response.headers_mut());
        if matches!(response.status(), StatusCode::PAYLOAD_TOO_LARGE | StatusCode::REQUEST_TIMEOUT) {
            // The rest of the message is not read, so nothing can follow it.
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }

    async fn route(&self, request: Request<Incoming>) -> Response<HttpBody> {
        if request.uri().path() == "/mcp" {
            return self.mcp.answer(request).await;
        }
        let answer = match &self.sse {
            Some(sse) => sse.answer(request).await,
            None => None,
        };
        answer.unwrap_or_else(|| {
            with_type(StatusCode::NOT_FOUND, "text/plain; charset=utf-8", "404 page not found\n")
        })
    }
}

fn health() -> Response<HttpBody> {
    let health = serde_json::json!({
        "status": "healthy", "timestamp": SystemClock.now().to_string(), "version": VERSION,
    });
    with_type(StatusCode::OK, "application/json", health.to_string())
}

fn with_type(status: StatusCode, kind: &'static str, body: impl Into<Bytes>) -> Response<HttpBody> {
    let mut response = Response::new(Full::new(body.into()).boxed_unsync());
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn d1_an_address_without_a_host_is_loopback_unless_clients_must_show_a_token() {
        for (text, open, expected) in [
            (":8080", false, "127.0.0.1:8080"),
            (":8080", true, "0.0.0.0:8080"),
            ("0.0.0.0:8080", false, "0.0.0.0:8080"),
            ("localhost:1", true, "localhost:1"),
            ("[::1]:1", false, "[::1]:1"),
        ] {
            assert_eq!(address(text, open).as_deref(), Ok(expected), "{text}");
        }
        assert!(address("8080", false).is_err());
    }
}
