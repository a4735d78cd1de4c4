//! What the server is made of, and the router over it.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use axum::{
    Router,
    extract::{DefaultBodyLimit, FromRef, FromRequestParts as _, Request, State},
    middleware,
};
use claw_core::{ErrorCode, Timestamp};
use claw_docker::Docker;
use claw_gate::Gate;
use claw_homelab::Homelab;
use claw_jobs::{JobService, Retention, Settings, SpendingService, WorkerState, WorkspaceService};
use tokio::sync::Semaphore;
use utoipa_axum::router::OpenApiRouter;

use crate::{
    error::{ApiError, ApiResult},
    extract::{AfterSetup, Caller},
    frame::{self, RequestIds},
    homelab,
    hosts::HostPolicy,
    mcp,
    measures::{self, Measures},
    network::TrustedProxies,
    openapi,
    pages::{self, Reference},
    probe::{EngineProbe, Remembered},
    rooms::Rooms,
    slashes,
    tickets::Tickets,
    v1,
};

/// Largest JSON body in bytes, where a route does not say otherwise.
pub(crate) const MAX_BODY_BYTES: usize = 2 * 1024 * 1024;

/// Largest body of a request that comes without a credential: a name, a password or a token. As many strangers as there
/// are connections hold no more than so much each.
pub(crate) const MAX_PUBLIC_BODY_BYTES: usize = 16 * 1024;

/// Event streams open at the same time. Further ones are told to come back, so that ordinary requests find room.
const MAX_STREAMS: usize = 256;

/// Sockets of activity viewers open at the same time. They cost less than event streams, which each read the store.
const MAX_VIEWERS: usize = 1024;

/// How long answers count that anybody may ask for, and that take a look at files or the store.
const PUBLIC_ANSWER_FRESH: Duration = Duration::from_secs(1);

/// What the server needs to know from the configuration.
#[derive(Clone, Debug)]
pub struct HttpConfig {
    /// Where the server listens.
    pub listen: SocketAddr,
    /// Names that it answers to besides loopback ones and its own address.
    pub allowed_hosts: Vec<String>,
    /// Origins such as `https://ui.example` whose pages may use the API.
    pub cors_origins: Vec<String>,
    /// Whether session cookies are sent over TLS only.
    pub secure_cookies: bool,
    /// Proxies whose word about the client's address is believed: networks, as address and length of the prefix.
    pub trusted_proxies: Vec<(IpAddr, u8)>,
    /// Event streams that one caller may follow at the same time.
    pub max_streams_per_caller: usize,
    /// Who may read `/metrics`.
    pub metrics: MetricsAccess,
    /// Image of the sandbox, to tell whether it is there.
    pub sandbox_image: String,
    /// Version of the program.
    pub version: String,
}

/// Who may read `/metrics`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetricsAccess {
    /// Programs on this machine, and administrators from anywhere.
    Local,
    /// Everybody.
    Everyone,
    /// Administrators.
    Administrators,
    /// Nobody.
    Nobody,
}

/// How the credential for the model API stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelLogin {
    /// Its kind in words, such as `API key`.
    pub kind: String,
    /// `valid`, `expiring`, `expired`, `missing` or `refresh_failed`.
    pub status: &'static str,
    /// When it runs out.
    pub expires_at: Option<Timestamp>,
    /// When it was last renewed here.
    pub refreshed_at: Option<Timestamp>,
    /// When the token that renews it was first seen.
    pub refresh_token_first_seen: Option<Timestamp>,
    /// What is wrong, for administrators.
    pub error: Option<String>,
}

/// What the server asks of parts that it does not know.
#[async_trait]
pub trait Probes: Send + Sync {
    /// Returns how the credential for the model API stands.
    async fn model_login(&self) -> ModelLogin;

    /// Returns all metrics in Prometheus' text format, with those that are read from elsewhere brought up to date.
    async fn metrics(&self) -> String;

    /// Returns why new work is not taken, each as a sentence; nothing if all is well.
    async fn not_ready(&self) -> Vec<String>;

    /// Returns how many started sandboxes wait for a job, if there are such.
    fn sandboxes_waiting(&self) -> Option<usize> {
        None
    }
}

/// The use cases that the server puts on the network.
pub struct App {
    /// Who may do what.
    pub gate: Gate,
    /// Jobs.
    pub jobs: JobService,
    /// Workspaces.
    pub workspaces: WorkspaceService,
    /// Settings.
    pub settings: Settings,
    /// What was spent.
    pub spending: SpendingService,
    /// Removing what is old.
    pub retention: Retention,
    /// Containers, images, templates, and what everybody does.
    pub homelab: Homelab,
    /// Other parts, asked how they are.
    pub probes: Arc<dyn Probes>,
    /// The Docker Engine, if one is configured.
    pub engine: Option<Docker>,
    /// How things stand with the worker.
    pub worker: WorkerState,
    /// What the configuration says.
    pub config: HttpConfig,
}

/// The state that handlers share. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Server(Arc<Inner>);

struct Inner {
    app: App,
    hosts: HostPolicy,
    probe: EngineProbe,
    model_login: Remembered<ModelLogin>,
    not_ready: Remembered<Vec<String>>,
    streams: Arc<Semaphore>,
    streams_of: Rooms<String>,
    viewers: Arc<Semaphore>,
    tickets: Tickets,
    proxies: TrustedProxies,
    request_ids: RequestIds,
    measures: Measures,
    reference: Reference,
}

impl Server {
    fn new(app: App, reference: Reference) -> Self {
        let config = &app.config;
        let hosts = HostPolicy::new(config.listen, &config.allowed_hosts, &config.cors_origins);
        let probe = EngineProbe::new(app.engine.clone(), config.sandbox_image.clone());
        let streams = Arc::new(Semaphore::new(MAX_STREAMS));
        let streams_of = Rooms::new(config.max_streams_per_caller);
        let viewers = Arc::new(Semaphore::new(MAX_VIEWERS));
        let proxies = TrustedProxies::new(&config.trusted_proxies);
        let (model_login, not_ready) =
            (Remembered::new(PUBLIC_ANSWER_FRESH), Remembered::new(PUBLIC_ANSWER_FRESH));
        Self(Arc::new(Inner {
            hosts,
            probe,
            model_login,
            not_ready,
            streams,
            streams_of,
            viewers,
            tickets: Tickets::default(),
            proxies,
            request_ids: RequestIds::new(),
            measures: Measures::default(),
            reference,
            app,
        }))
    }

    pub(crate) fn gate(&self) -> &Gate {
        &self.0.app.gate
    }

    pub(crate) fn jobs(&self) -> &JobService {
        &self.0.app.jobs
    }

    pub(crate) fn settings(&self) -> &Settings {
        &self.0.app.settings
    }

    pub(crate) fn worker(&self) -> &WorkerState {
        &self.0.app.worker
    }

    pub(crate) fn config(&self) -> &HttpConfig {
        &self.0.app.config
    }

    pub(crate) fn hosts(&self) -> &HostPolicy {
        &self.0.hosts
    }

    pub(crate) fn probe(&self) -> &EngineProbe {
        &self.0.probe
    }

    pub(crate) fn streams(&self) -> &Arc<Semaphore> {
        &self.0.streams
    }

    pub(crate) fn viewers(&self) -> &Arc<Semaphore> {
        &self.0.viewers
    }

    pub(crate) fn tickets(&self) -> &Tickets {
        &self.0.tickets
    }

    pub(crate) fn homelab(&self) -> &Homelab {
        &self.0.app.homelab
    }

    pub(crate) fn streams_of(&self) -> &Rooms<String> {
        &self.0.streams_of
    }

    pub(crate) fn proxies(&self) -> &TrustedProxies {
        &self.0.proxies
    }

    pub(crate) fn request_ids(&self) -> &RequestIds {
        &self.0.request_ids
    }

    pub(crate) fn measures(&self) -> &Measures {
        &self.0.measures
    }

    pub(crate) fn spending(&self) -> &SpendingService {
        &self.0.app.spending
    }

    pub(crate) fn retention(&self) -> &Retention {
        &self.0.app.retention
    }

    pub(crate) fn probes(&self) -> &dyn Probes {
        self.0.app.probes.as_ref()
    }

    /// Returns how the credential for the model API stands, or stood a second ago.
    pub(crate) async fn model_login(&self) -> ModelLogin {
        self.0.model_login.get(self.probes().model_login()).await
    }

    /// Returns why new work is not taken, or was not a second ago.
    pub(crate) async fn not_ready(&self) -> Vec<String> {
        self.0.not_ready.get(self.probes().not_ready()).await
    }

    pub(crate) fn reference(&self) -> &Reference {
        &self.0.reference
    }
}

impl FromRef<Server> for Gate {
    fn from_ref(server: &Server) -> Self {
        server.0.app.gate.clone()
    }
}

impl FromRef<Server> for Homelab {
    fn from_ref(server: &Server) -> Self {
        server.0.app.homelab.clone()
    }
}

impl FromRef<Server> for JobService {
    fn from_ref(server: &Server) -> Self {
        server.0.app.jobs.clone()
    }
}

impl FromRef<Server> for WorkspaceService {
    fn from_ref(server: &Server) -> Self {
        server.0.app.workspaces.clone()
    }
}

impl FromRef<Server> for Settings {
    fn from_ref(server: &Server) -> Self {
        server.0.app.settings.clone()
    }
}

/// Every route that the OpenAPI document describes.
pub(crate) fn described_routes() -> OpenApiRouter<Server> {
    OpenApiRouter::with_openapi(openapi::frame())
        .merge(v1::routes())
        .merge(homelab::routes())
        .merge(measures::routes())
        .merge(pages::described())
}

/// Returns the whole server as a router.
///
/// [`crate::serve`] puts it on a socket; tests call it in process.
pub fn router(app: App) -> Router {
    let (routes, document) = described_routes().split_for_parts();
    let reference = Reference::new(&openapi::finish(document));
    let server = Server::new(app, reference);
    let routes = routes
        .merge(pages::routes())
        .fallback(unknown_route)
        .method_not_allowed_fallback(wrong_method)
        // As one layer: each costs every request two allocations.
        .layer((
            middleware::from_fn_with_state(server.clone(), frame::around),
            DefaultBodyLimit::max(MAX_BODY_BYTES),
        ))
        .with_state(server.clone());
    // What MCP clients call is answered by the other routes, in process: what holds for the one holds for the other.
    let mcp = mcp::routes(&server, routes.clone())
        .layer(middleware::from_fn_with_state(server.clone(), frame::around))
        .with_state(server);
    slashes::forgiving(routes.merge(mcp))
}

async fn unknown_route(State(server): State<Server>, request: Request) -> ApiError {
    match admitted(&server, request).await {
        Ok(()) => ApiError::new(ErrorCode::RouteNotFound, "there is no such route: GET /docs lists them"),
        Err(error) => error,
    }
}

async fn wrong_method(State(server): State<Server>, request: Request) -> ApiError {
    let message = "the route does not take this method: GET /docs lists those it takes";
    match admitted(&server, request).await {
        Ok(()) => ApiError::new(ErrorCode::MethodNotAllowed, message),
        Err(error) => error,
    }
}

/// Below `/api`, what there is not takes a credential like what there is.
async fn admitted(server: &Server, request: Request) -> ApiResult<()> {
    let (mut parts, _body) = request.into_parts();
    if parts.uri.path().starts_with("/api/") {
        Caller::from_request_parts(&mut parts, server).await.map(drop)
    } else {
        AfterSetup::from_request_parts(&mut parts, server).await.map(drop)
    }
}
